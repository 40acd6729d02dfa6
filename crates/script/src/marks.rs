//! What instructions stand for in the script: the side table that a trace reads.

use crate::source::{SourceMap, Span};

/// The marks of a program, and the texts that they point into.
#[derive(Default)]
pub(crate) struct Marks {
    pub(crate) sources: SourceMap,
    /// In the order of the instructions.
    items: Vec<Mark>,
}

/// Something that begins at an instruction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    at: u32,
    pub(crate) kind: MarkKind,
    pub(crate) span: Span,
}

/// What begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MarkKind {
    /// A statement.
    Statement,
    /// The jump that a condition, or a part of one between `&&` and `||`, comes to.
    Condition,
    /// What runs when the condition holds.
    Then,
    /// What runs when it does not.
    Else,
    /// A variable is read.
    Read,
}

impl Marks {
    pub(crate) fn new(sources: SourceMap) -> Marks {
        Marks { sources, items: Vec::new() }
    }

    /// Adds what begins at instruction `at`; instructions come in their order.
    pub(crate) fn push(&mut self, at: u32, kind: MarkKind, span: Span) {
        self.items.push(Mark { at, kind, span });
    }

    /// What begins at instruction `at`.
    pub(crate) fn at(&self, at: u32) -> &[Mark] {
        let start = self.items.partition_point(|mark| mark.at < at);
        let length = self.items[start..].partition_point(|mark| mark.at == at);
        &self.items[start..start + length]
    }

    /// The place of each statement.
    pub(crate) fn statements(&self) -> impl Iterator<Item = Span> {
        self.items.iter().filter(|mark| mark.kind == MarkKind::Statement).map(|mark| mark.span)
    }
}
