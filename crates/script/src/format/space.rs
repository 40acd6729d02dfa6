//! Where a blank stands between two pieces of one line.

use crate::lex::{Piece, PieceKind};

/// Whether a blank belongs between two neighbours.
///
/// Where the answer could change what a script means it is what the script has: addresses are made of pieces that
/// touch each other, and two that do not are two.
pub(super) fn is_between(before: &Piece<'_>, piece: &Piece<'_>) -> bool {
    let as_written = !piece.is_glued;
    if piece.is_comment() || before.is_comment() {
        return true;
    }
    if piece.is(";") || piece.is(",") || piece.is(")") || before.is("(") {
        return false;
    }
    if before.is(",") || before.is(";") || piece.is("{") || piece.is("}") || before.is("{") || before.is("}") {
        return true;
    }
    if is_spaced(piece) || is_spaced(before) {
        return true;
    }
    if before.is("!") {
        // Two marks and a word could be a preprocessor line.
        return as_written && piece.is("!");
    }
    if piece.is("(") {
        return match before.kind {
            PieceKind::Word if is_statement_word(before.text) => true,
            PieceKind::Word if before.text == "return" => as_written,
            PieceKind::Word => false,
            _ => as_written,
        };
    }
    if piece.is("[") && before.kind == PieceKind::Word && before.text.ends_with("route") {
        return false;
    }
    as_written
}

fn is_statement_word(word: &str) -> bool {
    matches!(word, "if" | "while" | "switch" | "and" | "or" | "not" | "else" | "case")
}

/// Operators with a blank on both sides. Those that are missing here occur inside of addresses and expressions of
/// the preprocessor's making, or before a value (`-1`), and stay as they are.
fn is_spaced(piece: &Piece<'_>) -> bool {
    const SPACED: &[&str] = &["=", "==", "!=", "=~", "<=", ">=", "<", ">", "&&", "||", "+=", "=>", "<<", ">>"];
    piece.kind == PieceKind::Symbol && SPACED.contains(&piece.text)
}
