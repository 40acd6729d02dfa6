//! Text to tokens: lexer, preprocessor, and which family a script belongs to.

mod define;
mod dialect;
mod directive;
mod expression;
mod lexer;
mod pieces;
mod preprocess;
mod substitute;
mod token;
mod unused;

pub(crate) use dialect::{Marker, detect};
pub use pieces::{Piece, PieceKind, pieces};
pub(crate) use preprocess::preprocess;
pub(crate) use substitute::{back_references, split as split_rule};
pub(crate) use token::{Kind, Token, parse_number};
