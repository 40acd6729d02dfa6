//! A script as written: every token, comment and preprocessor line with its place, nothing expanded and nothing left out.

use super::lexer::{Item, Lexer};
use super::token::Kind;
use crate::diagnostic::Diagnostics;

/// A piece of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// What it is.
    pub kind: PieceKind,
    /// As it is written.
    pub text: &'a str,
    /// The byte at which it begins.
    pub start: usize,
    /// How many lines end between it and the piece before.
    pub lines_before: usize,
    /// Whether nothing at all lies between it and the piece before.
    pub is_glued: bool,
}

/// What a [`Piece`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PieceKind {
    /// A word.
    Word,
    /// A number, or a part of an address.
    Number,
    /// A quoted string.
    Text,
    /// `$` and what belongs to it.
    Variable,
    /// `@` and a path.
    Select,
    /// Punctuation.
    Symbol,
    /// A comment up to the end of the line, without it.
    LineComment,
    /// A comment between `/*` and `*/`.
    BlockComment,
    /// A preprocessor line with its continuations, without the last line end.
    Directive,
}

impl Piece<'_> {
    /// Whether it is this punctuation.
    pub fn is(&self, symbol: &str) -> bool {
        self.kind == PieceKind::Symbol && self.text == symbol
    }

    /// Whether it is this word.
    pub fn is_word(&self, word: &str) -> bool {
        self.kind == PieceKind::Word && self.text == word
    }

    /// Whether it is a comment.
    pub fn is_comment(&self) -> bool {
        matches!(self.kind, PieceKind::LineComment | PieceKind::BlockComment)
    }

    /// One past its last byte.
    pub fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

/// Cuts a script into pieces. What is no token is reported, and what follows is cut nevertheless.
pub fn pieces<'a>(path: &str, text: &'a str) -> (Vec<Piece<'a>>, Diagnostics) {
    let mut diagnostics = Diagnostics::default();
    let file = diagnostics.sources.add(path, text.to_owned());
    let mut lexer = Lexer::new(file, text);
    let mut cutter = Cutter { text, at: 0, lines: 0, out: Vec::new() };
    while let Some(item) = lexer.next(&mut diagnostics) {
        let (kind, start) = match &item {
            Item::Directive(directive) => (PieceKind::Directive, directive.span.start as usize),
            Item::Token(token) => (of(token.kind), token.span.start as usize),
        };
        cutter.gap(start);
        cutter.push(kind, start, lexer.offset());
    }
    cutter.gap(text.len());
    (cutter.out, diagnostics)
}

fn of(kind: Kind) -> PieceKind {
    match kind {
        Kind::Word => PieceKind::Word,
        Kind::Number => PieceKind::Number,
        Kind::Text => PieceKind::Text,
        Kind::Variable => PieceKind::Variable,
        Kind::Select => PieceKind::Select,
        Kind::Symbol | Kind::End => PieceKind::Symbol,
    }
}

struct Cutter<'a> {
    text: &'a str,
    /// The end of the piece before.
    at: usize,
    /// Line ends since then.
    lines: usize,
    out: Vec<Piece<'a>>,
}

impl<'a> Cutter<'a> {
    fn push(&mut self, kind: PieceKind, start: usize, end: usize) {
        let is_glued = start == self.at && start > 0;
        let piece = Piece { kind, text: &self.text[start..end], start, lines_before: self.lines, is_glued };
        self.out.push(piece);
        self.at = end;
        self.lines = 0;
    }

    /// Takes the comments between the piece before and `end`.
    fn gap(&mut self, end: usize) {
        let mut at = self.at;
        while at < end {
            let rest = &self.text[at..end];
            if rest.starts_with("/*") {
                let length = block_comment(rest);
                self.push(PieceKind::BlockComment, at, at + length);
                at += length;
            } else if rest.starts_with('#') || rest.starts_with("//") {
                let length = rest.find('\n').unwrap_or(rest.len());
                self.push(PieceKind::LineComment, at, at + length);
                at += length;
            } else {
                let c = rest.chars().next().unwrap_or(' ');
                self.lines += usize::from(c == '\n');
                at += c.len_utf8();
            }
        }
    }
}

/// How long the comment at the start of `text` is. Comments nest; one that is never closed goes to the end.
fn block_comment(text: &str) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_directives_are_pieces_with_their_places() {
        let text = "#!define A 1 \\\n 2\nroute{ # x\n/* a /* b */ */ f(\"#\");\n}";
        let (pieces, diagnostics) = pieces("t", text);
        assert!(diagnostics.is_empty());
        let shown: Vec<_> = pieces.iter().map(|piece| (piece.text, piece.lines_before, piece.is_glued)).collect();
        let expected = [
            ("#!define A 1 \\\n 2", 0, false),
            ("route", 1, false),
            ("{", 0, true),
            ("# x", 0, false),
            ("/* a /* b */ */", 1, false),
            ("f", 0, false),
            ("(", 0, true),
            ("\"#\"", 0, true),
            (")", 0, true),
            (";", 0, true),
            ("}", 1, false),
        ];
        assert_eq!(shown, expected);
    }
}
