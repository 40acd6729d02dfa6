//! Places in a text: bytes here, lines and UTF-16 units in the protocol.

use lsp_types::{Position, Range};
use script::Piece;

/// The place of a byte.
pub(super) fn position(text: &str, byte: usize) -> Position {
    let before = text.get(..byte).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count();
    Position { line: line as u32, character: before[start..].encode_utf16().count() as u32 }
}

/// The byte at a place; behind the end of a line, its end.
pub(super) fn byte(text: &str, place: Position) -> usize {
    let mut at = 0;
    for _ in 0..place.line {
        match text[at..].find('\n') {
            Some(end) => at += end + 1,
            None => return text.len(),
        }
    }
    let line = text[at..].split('\n').next().unwrap_or_default();
    let mut units = 0;
    for (offset, c) in line.char_indices() {
        if units >= place.character {
            return at + offset;
        }
        units += c.len_utf16() as u32;
    }
    at + line.len()
}

/// The place of a range of bytes.
pub(super) fn range(text: &str, start: usize, end: usize) -> Range {
    Range { start: position(text, start), end: position(text, end) }
}

/// The whole text.
pub(super) fn whole(text: &str) -> Range {
    range(text, 0, text.len())
}

/// The piece at a byte: the one that it lies in, else the one that ends there.
pub(super) fn piece_at(pieces: &[Piece<'_>], byte: usize) -> Option<usize> {
    let inside = |piece: &Piece<'_>| piece.start <= byte && byte < piece.end();
    pieces.iter().position(inside).or_else(|| pieces.iter().position(|piece| piece.end() == byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted_in_units_of_utf_16() {
        let text = "ä\n😀 x\n";
        assert_eq!(position(text, "ä\n😀 ".len()), Position { line: 1, character: 3 });
        assert_eq!(byte(text, Position { line: 1, character: 3 }), "ä\n😀 ".len());
        assert_eq!(byte(text, Position { line: 9, character: 0 }), text.len());
        assert_eq!(byte(text, Position { line: 0, character: 99 }), "ä".len());
    }
}
