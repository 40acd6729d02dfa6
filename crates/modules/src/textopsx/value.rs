//! Addresses of values within headers: `Supported[2]`, `Contact[1].expires`, `Route[*]`.

use bytes::Bytes;
use sip_message::{Header, Message, Span, Value};

/// Which value of a header is meant, and which parameter of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) header: Bytes,
    pub(super) which: Which,
    pub(super) param: Option<Bytes>,
}

/// Which values of a header.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(super) enum Which {
    /// None is named: the function's own choice.
    Unnamed,
    /// `[0]`: the function's own choice.
    Zero,
    /// From 1.
    At(usize),
    All,
}

impl Address {
    /// Reads `Header`, `Header[2]`, `Header[*]`, each with `.param` behind it.
    pub(super) fn parse(text: &Bytes) -> Option<Address> {
        let end = text.iter().position(|byte| matches!(byte, b'[' | b'.')).unwrap_or(text.len());
        let header = text.slice_ref(text[..end].trim_ascii());
        let mut rest = &text[end..];
        let mut which = Which::Unnamed;
        if let Some(inner) = rest.strip_prefix(b"[") {
            let close = inner.iter().position(|byte| *byte == b']')?;
            which = match inner[..close].trim_ascii() {
                b"*" => Which::All,
                number => match std::str::from_utf8(number).ok()?.parse().ok()? {
                    0 => Which::Zero,
                    number => Which::At(number),
                },
            };
            rest = &inner[close + 1..];
        }
        let param = match rest {
            [] => None,
            [b'.', name @ ..] if !name.is_empty() => Some(text.slice_ref(name)),
            _ => return None,
        };
        (!header.is_empty()).then_some(Address { header, which, param })
    }

    /// The value that is meant where one is; the first where the address leaves it open.
    pub(super) fn one<'a>(&'a self, message: &'a Message) -> Option<Found<'a>> {
        let number = match self.which {
            Which::At(number) => number - 1,
            Which::Unnamed | Which::Zero | Which::All => 0,
        };
        values(message, &self.header).nth(number)
    }
}

/// A value with the header that lists it.
pub(super) struct Found<'a> {
    pub(super) header: Header<'a>,
    pub(super) value: Value<'a>,
}

/// The values of every header of that name, in order.
pub(super) fn values<'a>(message: &'a Message, name: &'a [u8]) -> impl Iterator<Item = Found<'a>> {
    let headers = message.headers_with_name(name);
    headers.flat_map(|header| header.values().map(move |value| Found { header, value }))
}

impl Found<'_> {
    /// What must go so that the value is gone: its header where it is the only one, else a comma with it.
    pub(super) fn removal(&self) -> Span {
        let values: Vec<Value<'_>> = self.header.values().collect();
        let own = self.value.span;
        let (before, after) = (self.value.position.checked_sub(1), values.get(self.value.position + 1));
        match (before, after) {
            (None, None) => self.header.field,
            (_, Some(next)) => Span { start: own.start, end: next.span.start },
            (Some(previous), None) => Span { start: values[previous].span.end, end: own.end },
        }
    }

    /// Where parameter `name` of the value lies: with its separator, and its value alone.
    pub(super) fn param(&self, name: &[u8]) -> Option<(Span, Option<Span>)> {
        pieces(self.value.text, b';').skip(1).find_map(|(start, end)| {
            let piece = &self.value.text[start..end];
            let equals = piece.iter().position(|byte| *byte == b'=');
            let own = piece[..equals.unwrap_or(piece.len())].trim_ascii();
            own.eq_ignore_ascii_case(name).then(|| {
                let at = |from: usize, to: usize| Span::new(from, to).shifted(self.value.span.start);
                (at(start - 1, end), equals.map(|equals| at(start + equals + 1, end)))
            })
        })
    }
}

/// The pieces of `text` between separators that stand neither in quotes nor in angle brackets.
pub(super) fn pieces(text: &[u8], separator: u8) -> impl Iterator<Item = (usize, usize)> {
    let mut bounds = Vec::new();
    let (mut start, mut is_quoted, mut is_bracketed, mut is_escaped) = (0, false, false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b'<' if !is_quoted => is_bracketed = true,
            b'>' if !is_quoted => is_bracketed = false,
            byte if *byte == separator && !is_quoted && !is_bracketed => {
                bounds.push((start, at));
                start = at + 1;
            }
            _ => {}
        }
    }
    bounds.push((start, text.len()));
    bounds.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_header_value_and_parameter() {
        let parse = |text: &'static str| Address::parse(&Bytes::from_static(text.as_bytes()));
        let address = |header: &'static str, which, param: Option<&'static str>| {
            let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
            Some(Address { header: bytes(header), which, param: param.map(bytes) })
        };
        assert_eq!(parse("Supported"), address("Supported", Which::Unnamed, None));
        assert_eq!(parse("Contact[2].expires"), address("Contact", Which::At(2), Some("expires")));
        assert_eq!(parse("Route[*]"), address("Route", Which::All, None));
        assert_eq!(parse("Via.branch"), address("Via", Which::Unnamed, Some("branch")));
        assert_eq!((parse("A[x]"), parse("[1]"), parse("A[1]x"), parse("A.")), (None, None, None, None));
    }

    #[test]
    fn separators_in_quotes_and_brackets_do_not_count() {
        let text = br#""a;b" <sip:x;lr>;q=1;e="\";""#;
        let found: Vec<_> = pieces(text, b';').map(|(start, end)| &text[start..end]).collect();
        assert_eq!(found, [&br#""a;b" <sip:x;lr>"#[..], b"q=1", br#"e="\";""#]);
    }
}
