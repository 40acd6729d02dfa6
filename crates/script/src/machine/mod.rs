//! The virtual machine: runs a program on a request, and can be parked in the middle.

mod call;
mod compare;
mod evaluate;
mod path;
mod run;
mod trace;
mod trace_text;

pub use path::{KeepsPath, Path};
pub use run::{End, Progress, Run, Stop};
pub use trace::{Event, Happening, Tracer};
pub use trace_text::{Entry, EntryKind, render};
