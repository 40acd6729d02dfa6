//! Parameters: `;name=value` of headers and URIs, `name=value, ...` of credentials.

use crate::{Span, lex};

/// The parameters of a header value or a URI, still as text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Params<'a> {
    /// Empty, or begins with `;`.
    text: &'a [u8],
    /// Where `text` begins in the message (or in the text that was parsed).
    offset: u32,
}

/// One parameter with its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Param<'a> {
    /// Name as written; names compare without case.
    pub name: &'a [u8],
    /// Value as written, quotes kept; `None` without `=`.
    pub value: Option<&'a [u8]>,
    /// From its `;` to its end, so that removing the span removes the parameter.
    pub span: Span,
    /// The value alone; empty when there is none.
    pub value_span: Span,
}

impl<'a> Params<'a> {
    /// Parameters of `text`, which is empty or begins with `;`; `offset` is where it lies.
    #[inline]
    pub(crate) fn new(text: &'a [u8], offset: u32) -> Params<'a> {
        Params { text, offset }
    }

    /// Parameters of a text such as `;lr;transport=tcp`.
    pub fn parse(text: &'a [u8]) -> Params<'a> {
        Params { text, offset: 0 }
    }

    /// The text, from the first `;` on.
    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Where the text lies.
    pub fn span(&self) -> Span {
        Span { start: self.offset, end: self.offset + self.text.len() as u32 }
    }

    /// Each parameter with its place.
    pub fn iter_spans(&self) -> impl Iterator<Item = Param<'a>> + use<'a> {
        let (text, offset) = (self.text, self.offset);
        let mut at = 0;
        std::iter::from_fn(move || {
            while at < text.len() {
                let (param, end) = read(text, at, offset);
                at = end;
                if param.is_some() {
                    return param;
                }
            }
            None
        })
    }

    /// Each parameter's name and value, quotes kept.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        self.iter_spans().map(|param| (param.name, param.value))
    }

    /// The first parameter of that name in any case: `None` when absent, `Some(None)` without value.
    pub fn find(&self, name: &str) -> Option<Option<&'a [u8]>> {
        self.iter().find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// The value of the first parameter of that name; `None` when absent or without value.
    pub fn value(&self, name: &str) -> Option<&'a [u8]> {
        self.find(name).flatten()
    }

    /// Whether a parameter of that name stands, with or without value.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Whether each follows `generic-param` (RFC 3261 section 25.1); else where one breaks.
    /// Values may hold more than the grammar lists, but nothing that separates. `seen` gets each on the way.
    pub(crate) fn check(&self, mut seen: impl FnMut(&'a [u8], Option<&'a [u8]>)) -> Result<(), usize> {
        let mut at = 0;
        while at < self.text.len() {
            let (param, end) = read(self.text, at, self.offset);
            let is_sound = |param: &Param<'_>| lex::is_token(param.name) && param.value.is_none_or(is_value);
            match param.filter(is_sound) {
                Some(param) if self.text[at] == b';' => seen(param.name, param.value),
                _ => return Err(self.offset as usize + at),
            }
            at = end;
        }
        Ok(())
    }
}

fn is_value(value: &[u8]) -> bool {
    match value {
        [] => false,
        [b'"', ..] => lex::quoted_end(value, 0) == Some(value.len()),
        _ => value.iter().all(|&byte| lex::is_value_byte(byte)),
    }
}

/// The parameter that begins at `at` (with its `;`), `None` for an empty one such as between `;;`, and
/// where it ends: at the next `;` outside quotes.
// One pass, byte by byte: parameters are so short that a vectorised search costs more to call than it saves.
#[inline]
fn read(text: &[u8], at: usize, offset: u32) -> (Option<Param<'_>>, usize) {
    let start = (at + 1).min(text.len());
    let mut equals = None;
    let mut end = start;
    while let Some(byte) = text.get(end) {
        match byte {
            b';' => break,
            b'"' => {
                end = lex::quoted_end(text, end).unwrap_or(text.len());
                continue;
            }
            b'=' if equals.is_none() => equals = Some(end),
            _ => {}
        }
        end += 1;
    }
    let (from, to) = lex::trim(text, start, end);
    if from >= to {
        return (None, end);
    }
    let (_, name_end) = lex::trim(text, from, equals.unwrap_or(to));
    let value = equals.map(|at| lex::trim(text, at + 1, to));
    let param = Param {
        name: &text[from..name_end],
        value: value.map(|(start, end)| &text[start..end]),
        span: Span::new(at, to).shifted(offset),
        value_span: value.map_or(Span::new(to, to), |(start, end)| Span::new(start, end)).shifted(offset),
    };
    (Some(param), end)
}

/// A challenge or credentials: a scheme, then `name=value` separated by commas
/// (RFC 3261 sections 20.7 and 20.44).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AuthParams<'a> {
    /// `Digest`, as written.
    pub scheme: &'a [u8],
    rest: &'a [u8],
}

impl<'a> AuthParams<'a> {
    /// Reads the value of an `Authorization`, `Proxy-Authorization`, `WWW-Authenticate` or
    /// `Proxy-Authenticate`. `None` when no scheme stands there.
    pub fn parse(value: &'a [u8]) -> Option<AuthParams<'a>> {
        let value = lex::trimmed(value);
        let end = value.iter().position(|&byte| lex::is_lws(byte)).unwrap_or(value.len());
        let (scheme, rest) = value.split_at(end);
        lex::is_token(scheme).then_some(AuthParams { scheme, rest })
    }

    /// Whether the scheme is `Digest`, in any case.
    pub fn is_digest(&self) -> bool {
        self.scheme.eq_ignore_ascii_case(b"Digest")
    }

    /// Each name and value, quotes kept ([`crate::unquote`] reads them). What has no `=` is left out.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        crate::Values::new(self.rest, 0).filter_map(|value| {
            let equals = memchr::memchr(b'=', value.text)?;
            Some((lex::trimmed(&value.text[..equals]), lex::trimmed(&value.text[equals + 1..])))
        })
    }

    /// The first value of that name in any case, quotes kept.
    pub fn find(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_in_any_case_with_and_without_value() {
        let params = Params::parse(b";LR ; transport = tcp;q=\"a;b\"");
        assert_eq!(params.find("lr"), Some(None));
        assert_eq!(params.find("Transport"), Some(Some(&b"tcp"[..])));
        assert_eq!(params.value("q"), Some(&b"\"a;b\""[..]));
        assert_eq!(params.find("maddr"), None);
    }

    #[test]
    fn the_span_of_a_parameter_takes_its_semicolon() {
        let params = Params::new(b";a=1;rport;b", 10);
        let rport = params.iter_spans().nth(1).expect("three parameters");
        assert_eq!(rport.span, Span { start: 14, end: 20 });
        let first = params.iter_spans().next().expect("three parameters");
        assert_eq!(first.value_span, Span { start: 13, end: 14 });
    }

    #[test]
    fn empty_and_broken_parameters_break_the_grammar() {
        for text in [";;", ";", ";=1", ";a=", ";a=\"b", ";a b", ";a=b c"] {
            assert!(Params::parse(text.as_bytes()).check(|_, _| ()).is_err(), "{text}");
        }
        for text in ["", ";a", ";a=b", ";a=\"x;y\" ;c", ";received=[2001:db8::9]", ";a =b"] {
            assert!(Params::parse(text.as_bytes()).check(|_, _| ()).is_ok(), "{text}");
        }
    }

    #[test]
    fn credentials_are_read_param_by_param() {
        let value = b"Digest username=\"Alice, A\", realm=\"atlanta.com\",\r\n nc=00000001, qop=auth";
        let auth = AuthParams::parse(value).expect("a scheme");
        assert!(auth.is_digest());
        assert_eq!(auth.find("username"), Some(&b"\"Alice, A\""[..]));
        assert_eq!(auth.find("NC"), Some(&b"00000001"[..]));
        assert_eq!(auth.find("qop"), Some(&b"auth"[..]));
        assert_eq!(auth.find("opaque"), None);
    }
}
