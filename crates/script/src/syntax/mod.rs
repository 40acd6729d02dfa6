//! Tokens to tree.

mod cursor;
mod expression;
mod statement;
mod top;
pub(crate) mod tree;
mod variable;

pub(crate) use top::{module_name, parse};
pub(crate) use variable::{Piece, VariableTree, parse_text, parse_variable, variable_length};
