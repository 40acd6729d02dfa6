//! Scripts in one layout: `ser fmt`.
//!
//! Works on [`pieces`], not on the tree: what stands between `#!ifdef` and `#!endif` is laid out whether or not it is
//! compiled, comments stay where they are, and a script need not be right to be formatted.

mod space;

use crate::diagnostic::Diagnostics;
use crate::lex::{Piece, PieceKind, pieces};

/// Lays a script out anew: four blanks for each block, one statement in a line, the opening brace at the end of a line.
///
/// Tokens, comments and preprocessor lines stay what they are and in their order. Laying out twice changes nothing more.
///
/// # Errors
/// The diagnostics, when the text cannot be cut into tokens: a string or comment that is never closed.
pub fn format(path: &str, text: &str) -> Result<String, Diagnostics> {
    let (pieces, diagnostics) = pieces(path, text);
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    let mut layout = Layout {
        pieces: &pieces,
        out: String::with_capacity(text.len()),
        blocks: Vec::new(),
        parentheses: 0,
        inline_until: None,
        opens_switch: false,
        label: Label::None,
        last_token: None,
    };
    for at in 0..pieces.len() {
        layout.piece(at);
    }
    if !layout.out.is_empty() {
        layout.out.push('\n');
    }
    Ok(layout.out)
}

struct Layout<'a> {
    pieces: &'a [Piece<'a>],
    out: String,
    /// The blocks that are open.
    blocks: Vec<Block>,
    /// Parentheses that are open in the statement.
    parentheses: usize,
    /// The brace that closes a block which stays in one line.
    inline_until: Option<usize>,
    /// Whether the next brace opens the cases of a `switch`.
    opens_switch: bool,
    label: Label,
    /// The last piece that was neither comment nor preprocessor line.
    last_token: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    Statements,
    Cases,
}

/// Whether `case X:` is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    None,
    Open,
    /// Just closed by its colon.
    Closed,
}

/// One level.
const INDENT: &str = "    ";

impl Layout<'_> {
    fn piece(&mut self, at: usize) {
        let piece = self.pieces[at];
        let is_close = piece.is("}");
        if at > 0 {
            if self.breaks_before(at) {
                self.break_line(at);
            } else if space::is_between(&self.pieces[at - 1], &piece) {
                self.out.push(' ');
            }
        }
        if is_close {
            self.blocks.pop();
        }
        self.out.push_str(match piece.kind {
            PieceKind::LineComment | PieceKind::Directive => piece.text.trim_end(),
            _ => piece.text,
        });
        self.advance(at);
    }

    fn advance(&mut self, at: usize) {
        let piece = self.pieces[at];
        if piece.is_comment() || piece.kind == PieceKind::Directive {
            return;
        }
        if self.label == Label::Closed {
            self.label = Label::None;
        }
        if self.inline_until == Some(at) {
            self.inline_until = None;
        }
        match piece.text {
            "{" if piece.kind == PieceKind::Symbol => {
                let is_cases = std::mem::take(&mut self.opens_switch);
                self.blocks.push(if is_cases { Block::Cases } else { Block::Statements });
                self.parentheses = 0;
                if self.inline_until.is_none() && !is_cases {
                    self.inline_until = self.inline_end(at);
                }
            }
            "}" if piece.kind == PieceKind::Symbol => self.parentheses = 0,
            "(" if piece.kind == PieceKind::Symbol => self.parentheses += 1,
            ")" if piece.kind == PieceKind::Symbol => self.parentheses = self.parentheses.saturating_sub(1),
            ":" if self.label == Label::Open && self.parentheses == 0 => self.label = Label::Closed,
            "switch" if piece.kind == PieceKind::Word => self.opens_switch = true,
            "case" | "default" if piece.kind == PieceKind::Word && self.blocks.last() == Some(&Block::Cases) => {
                self.label = Label::Open;
            }
            _ => {}
        }
        self.last_token = Some(at);
    }

    /// The brace that closes the one at `open`, when the block stood in one line and holds neither blocks nor comments.
    fn inline_end(&self, open: usize) -> Option<usize> {
        for (at, piece) in self.pieces.iter().enumerate().skip(open + 1) {
            let is_plain = !piece.is_comment() && piece.kind != PieceKind::Directive && !piece.is("{");
            if piece.lines_before > 0 || !is_plain || piece.text.contains('\n') {
                return None;
            }
            if piece.is("}") {
                return Some(at);
            }
        }
        None
    }

    fn breaks_before(&self, at: usize) -> bool {
        let (before, piece) = (self.pieces[at - 1], self.pieces[at]);
        // These two end with their line, or are a line.
        if before.kind == PieceKind::LineComment
            || before.kind == PieceKind::Directive
            || piece.kind == PieceKind::Directive
        {
            return true;
        }
        if self.inline_until.is_some() {
            return false;
        }
        if piece.is_comment() && piece.lines_before == 0 {
            return false;
        }
        if piece.is(";") && !before.is_comment() {
            return false;
        }
        if piece.is_word("else") && before.is("}") {
            return false;
        }
        if piece.is("{") && !before.is_comment() {
            // Behind a condition or the name of a route; a block of its own begins a line.
            return before.is(";") || before.is("{") || before.is("}");
        }
        let is_forced = before.is("{") || before.is("}") || piece.is("}") || before.is(";") && self.parentheses == 0;
        is_forced || piece.lines_before > 0
    }

    fn break_line(&mut self, at: usize) {
        let (before, piece) = (self.pieces[at - 1], self.pieces[at]);
        self.out.push('\n');
        if piece.lines_before > 1 && !before.is("{") && !piece.is("}") {
            self.out.push('\n');
        }
        // Preprocessor lines begin at the margin, where one sees them.
        if piece.kind != PieceKind::Directive {
            for _ in 0..self.level(at) {
                self.out.push_str(INDENT);
            }
        }
    }

    fn level(&self, at: usize) -> usize {
        let piece = self.pieces[at];
        let inside =
            |blocks: &[Block]| blocks.iter().map(|block| 1 + usize::from(*block == Block::Cases)).sum::<usize>();
        if piece.is("}") {
            return inside(&self.blocks[..self.blocks.len().saturating_sub(1)]);
        }
        let level = inside(&self.blocks);
        let is_label = piece.is_word("case") || piece.is_word("default");
        if is_label && self.blocks.last() == Some(&Block::Cases) {
            return level - 1;
        }
        level + usize::from(self.continues(at))
    }

    /// Whether a line that begins with this piece goes on with a statement of the line before.
    fn continues(&self, at: usize) -> bool {
        let piece = self.pieces[at];
        let open = self.parentheses.saturating_sub(usize::from(piece.is(")")));
        if open > 0 {
            return true;
        }
        let Some(last) = self.last_token.map(|last| self.pieces[last]) else { return false };
        if self.blocks.is_empty() {
            // Settings end with their line; what begins like none is the rest of a list of addresses.
            let next = self.pieces.get(at + 1);
            let is_address = piece.kind == PieceKind::Word && next.is_some_and(|next| next.is(":") && next.is_glued);
            let is_value = matches!(piece.kind, PieceKind::Text | PieceKind::Number) || is_address;
            return is_value && !last.is(";") && !last.is("}");
        }
        let is_finished = last.is(";") || last.is("{") || last.is("}") || self.label == Label::Closed;
        !is_finished
    }
}
