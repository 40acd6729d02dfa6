//! Where something lies in a message, and the bounds that a message must keep.

/// A range of bytes of one message or body: `start` inclusive, `end` exclusive.
///
/// Thirty-two bits are enough: no message is longer than [`Limits::message_bytes`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The span of `start..end`; an end before the start counts as empty.
    pub fn new(start: usize, end: usize) -> Span {
        let start = saturate(start);
        Span { start, end: saturate(end).max(start) }
    }

    /// Number of bytes.
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether it covers no byte.
    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// The bytes of `text` that it covers; empty when it lies outside.
    pub fn of(self, text: &[u8]) -> &[u8] {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// The same span seen from `offset` bytes earlier, as when a part is placed in its whole.
    pub fn shifted(self, offset: u32) -> Span {
        Span { start: self.start.saturating_add(offset), end: self.end.saturating_add(offset) }
    }

    /// Whether `other` lies wholly inside.
    pub fn contains(self, other: Span) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

/// Bounds on what a peer may send. Each is a setting of the operator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Longest message in bytes, head and body. Default 65,536.
    pub message_bytes: usize,
    /// Longest head (start line and headers) in bytes. Default 65,536.
    pub head_bytes: usize,
    /// Most header lines. Default 256.
    pub headers: usize,
    /// How deep multipart bodies may nest. Default 8.
    pub nesting: usize,
    /// Most parts in one multipart body. Default 64.
    pub body_parts: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { message_bytes: 65_536, head_bytes: 65_536, headers: 256, nesting: 8, body_parts: 64 }
    }
}

fn saturate(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_outside_the_text_is_empty() {
        assert_eq!(Span { start: 2, end: 9 }.of(b"abc"), b"");
        assert_eq!(Span { start: 1, end: 3 }.of(b"abc"), b"bc");
    }

    #[test]
    fn an_end_before_the_start_is_empty() {
        assert!(Span::new(5, 3).is_empty());
        assert_eq!(Span::new(5, 3).len(), 0);
    }
}
