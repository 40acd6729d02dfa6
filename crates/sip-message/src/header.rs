//! One header of a message, and the values that it lists.

use std::borrow::Cow;

use crate::{HeaderName, Span, lex};

/// One header as it stands in a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header<'a> {
    /// Which header; compact forms mean the same as long ones.
    pub name: HeaderName,
    /// The name as written.
    pub raw_name: &'a [u8],
    /// The value as written, white space at its ends cut, folds still inside.
    pub value: &'a [u8],
    /// The whole line or lines, line end included: removing it removes the header.
    pub field: Span,
    /// Where `value` lies in the message.
    pub value_span: Span,
}

impl<'a> Header<'a> {
    /// The value with folds read as one space.
    pub fn unfolded(&self) -> Cow<'a, [u8]> {
        lex::unfold(self.value)
    }

    /// The comma-separated values, with their places in the message.
    ///
    /// Not for `Authorization` and its kin, where a comma separates parameters.
    pub fn values(&self) -> Values<'a> {
        Values::new(self.value, self.value_span.start)
    }
}

/// One of several values that a header lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Value<'a> {
    /// Its text, white space at its ends cut. May be empty, as between two commas.
    pub text: &'a [u8],
    /// Where it lies in the message.
    pub span: Span,
    /// Its place in the list, from 0.
    pub position: usize,
}

/// Splits a header value at its commas, but not inside quotes or `<>`
/// (RFC 3261 section 7.3.1).
#[derive(Clone, Debug)]
pub struct Values<'a> {
    text: &'a [u8],
    offset: u32,
    at: Option<usize>,
    position: usize,
}

impl<'a> Values<'a> {
    /// Values of `text`, which lies at `offset` of its message.
    pub fn new(text: &'a [u8], offset: u32) -> Values<'a> {
        let at = (!lex::trimmed(text).is_empty()).then_some(0);
        Values { text, offset, at, position: 0 }
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let start = self.at?;
        let comma = comma_after(self.text, start);
        self.at = comma.map(|at| at + 1);
        let (from, to) = lex::trim(self.text, start, comma.unwrap_or(self.text.len()));
        let position = self.position;
        self.position += 1;
        Some(Value { text: &self.text[from..to], span: Span::new(from, to).shifted(self.offset), position })
    }
}

fn comma_after(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr3(b',', b'"', b'<', text.get(at..)?)?;
        match text[at] {
            b',' => return Some(at),
            // An unclosed quote or bracket takes the rest; the decoder of the value refuses it.
            b'"' => at = lex::quoted_end(text, at)?,
            _ => at += memchr::memchr(b'>', &text[at..])?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let found: Vec<_> = Values::new(text.as_bytes(), 0).map(|v| String::from_utf8_lossy(v.text)).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn commas_in_quotes_and_brackets_do_not_split() {
        check(r#""Bell, A" <sip:a,b@c>;q=1 , <sip:d>"#, &[r#""Bell, A" <sip:a,b@c>;q=1"#, "<sip:d>"]);
    }

    #[test]
    fn empty_values_are_kept_so_that_decoders_can_refuse_them() {
        check("a,,b,", &["a", "", "b", ""]);
        check(" \t", &[]);
    }

    #[test]
    fn an_unclosed_quote_takes_the_rest() {
        check("\"a, b, c", &["\"a, b, c"]);
        check("<a, b", &["<a, b"]);
    }

    #[test]
    fn values_know_where_they_lie() {
        let second = Values::new(b"ab,  cd", 100).nth(1).expect("two values");
        assert_eq!((second.span, second.position), (Span { start: 105, end: 107 }, 1));
    }
}
