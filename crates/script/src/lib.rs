//! The routing language: lexer, parser, checker, compiler, virtual machine.
//!
//! A script goes from text to tokens (`lex`), to a tree (`syntax`), to a checked tree (`check`) in which
//! every name is resolved against the tables of [`module_api`], and to a [`Program`] (`emit`) that [`Run`]s
//! execute. [`load`] does all of it and tells everything that is wrong in one go.
#![forbid(unsafe_code)]

mod check;
mod configuration;
mod diagnostic;
mod emit;
mod format;
mod lex;
mod load;
mod machine;
mod marks;
mod pattern;
mod program;
mod settings;
mod source;
mod syntax;
mod transform;

pub use configuration::{Configuration, LoadedModule};
pub use diagnostic::{Code, Diagnostic, Diagnostics, Severity, codes};
pub use format::format;
pub use lex::{Piece, PieceKind, pieces};
pub use load::{LoadOptions, Loaded, load};
pub use machine::{End, Progress, Run, Stop};
/// The trace of a run: what happens, kept and shown.
pub mod trace {
    pub use crate::machine::{Entry, EntryKind, Event, Happening, KeepsPath, Path, Tracer, render};
}
pub use program::{BoundProgram, EngineRoutes, Program};
pub use settings::{Alias, CORE_PARAMETERS, CoreKind, CoreParameter, Listen, Settings};
pub use source::{FileId, Position, Reader, SourceMap, Span};
