//! The table entry of a pseudo-variable.

use bytes::Bytes;

use crate::{Call, Fault, Routes, Value};

/// A pseudo-variable such as `$ru` or `$hdr(Subject)`.
pub struct Variable {
    /// The name without `$`.
    pub name: &'static str,
    /// Whether a key follows in parentheses.
    pub key: KeyRule,
    /// Kinds of routes in which it can be read.
    pub routes: Routes,
    /// What it holds, for the reference.
    pub doc: &'static str,
    /// A line of script that uses it.
    pub example: &'static str,
    /// Reads it.
    pub read: fn(&mut Call<'_>, &Selector<'_>) -> Value,
    /// Writes it; none where it is read-only. Writing [`Value::Null`] deletes.
    pub write: Option<WriteVariable>,
}

/// Code that writes a variable.
pub type WriteVariable = fn(&mut Call<'_>, &Selector<'_>, Value) -> Result<(), Fault>;

/// Whether a variable takes a key in parentheses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRule {
    /// None: `$ru`.
    None,
    /// One may follow: `$branch(uri)`.
    Optional,
    /// One must follow: `$hdr(Subject)`.
    Required,
    /// Another variable follows, `$T_req($fu)`, and is read as if that message were at hand. The language
    /// does this by itself; the variable's own `read` is never called.
    Of(Other),
}

/// A message beside the one at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Other {
    /// The request of the transaction.
    Request,
    /// The reply that a failure route is about.
    Reply,
    /// The INVITE that the CANCEL at hand is for.
    Invite,
}

/// Which of a variable's values is meant: `$(name(key)[index])`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selector<'a> {
    /// The text in parentheses, with inner variables already expanded.
    pub key: Option<&'a Bytes>,
    /// The position in brackets.
    pub index: Index,
}

impl Selector<'_> {
    /// The variable itself, without key or index.
    pub const PLAIN: Selector<'static> = Selector { key: None, index: Index::Default };

    /// The key, or the empty string.
    pub fn key(&self) -> &[u8] {
        self.key.map_or(&[], |key| key)
    }
}

/// The position in brackets behind a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Index {
    /// None given: the variable's own choice, mostly the first.
    #[default]
    Default,
    /// The n-th, from 0; negative counts from the end.
    At(i64),
    /// All of them: `[*]`.
    All,
}
