//! Addresses of `From`, `To`, `Contact`, `Route` and their kin (RFC 3261 section 20.10).

use std::borrow::Cow;

use crate::{HeaderName, Params, Reject, Span, Uri, lex};

/// An address: `"Display" <uri>;params` or `uri;params`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NameAddr<'a> {
    /// Display name as written, quotes kept; empty when there is none.
    pub display: &'a [u8],
    /// The URI between the brackets, or up to the first `;` without them.
    pub uri: &'a [u8],
    /// The header's parameters, not those of the URI.
    pub params: Params<'a>,
    /// The whole value.
    pub span: Span,
    /// Where the URI lies, brackets not included.
    pub uri_span: Span,
    pub(crate) tag: Option<&'a [u8]>,
}

impl<'a> NameAddr<'a> {
    /// Reads one address; spans count from the start of `text`.
    ///
    /// # Errors
    /// [`Reject::Header`] with [`HeaderName::Other`] and the offset where the grammar breaks.
    pub fn parse(text: &'a [u8]) -> Result<NameAddr<'a>, Reject> {
        NameAddr::parse_at(text, 0).map_err(|offset| Reject::Header { name: HeaderName::Other, offset })
    }

    /// As [`NameAddr::parse`], with `text` lying at `offset` of its message.
    pub(crate) fn parse_at(text: &'a [u8], offset: u32) -> Result<NameAddr<'a>, usize> {
        let (start, end) = lex::trim(text, 0, text.len());
        let shape = shape(text, start, end).map_err(|at| offset as usize + at)?;
        let params = Params::new(&text[shape.params..end], offset + shape.params as u32);
        let mut tag = None;
        params.check(|name, value| {
            if name.eq_ignore_ascii_case(b"tag") {
                tag.get_or_insert(value);
            }
        })?;
        let uri_span = Span::new(shape.uri.0, shape.uri.1);
        Ok(NameAddr {
            display: &text[shape.display.0..shape.display.1],
            uri: uri_span.of(text),
            params,
            span: Span::new(start, end).shifted(offset),
            uri_span: uri_span.shifted(offset),
            tag: tag.flatten(),
        })
    }

    /// The display name with quotes and quoted pairs read.
    pub fn display_text(&self) -> Cow<'a, [u8]> {
        lex::unquote(self.display)
    }

    /// The `tag` parameter.
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.tag
    }

    /// The URI taken apart. Offsets in the error count from the start of the URI.
    pub fn parsed_uri(&self) -> Result<Uri<'a>, Reject> {
        Uri::parse(self.uri)
    }

    /// The `q` parameter in thousandths, 1000 when absent or malformed (RFC 3261 section 20.10).
    pub fn q(&self) -> u16 {
        self.params.value("q").and_then(parse_q).unwrap_or(1000)
    }

    /// The `expires` parameter in seconds; larger than fits counts as the largest.
    pub fn expires(&self) -> Option<u32> {
        let value = lex::saturating_number(self.params.value("expires")?)?;
        Some(u32::try_from(value).unwrap_or(u32::MAX))
    }
}

/// A `qvalue`: 0 to 1 with up to three decimals.
fn parse_q(text: &[u8]) -> Option<u16> {
    let (whole, decimals) = match memchr::memchr(b'.', text) {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &b""[..]),
    };
    if decimals.len() > 3 || !decimals.iter().all(|&byte| lex::is_digit(byte)) {
        return None;
    }
    let thousandths = decimals.iter().zip([100u16, 10, 1]).map(|(&digit, weight)| u16::from(digit - b'0') * weight);
    let q = thousandths.sum::<u16>()
        + match whole {
            b"0" => 0,
            b"1" => 1000,
            _ => return None,
        };
    (q <= 1000).then_some(q)
}

struct Shape {
    display: (usize, usize),
    uri: (usize, usize),
    params: usize,
}

/// Errors are offsets in `text`.
fn shape(text: &[u8], start: usize, end: usize) -> Result<Shape, usize> {
    if text[start..end].first() == Some(&b'"') {
        let close = lex::quoted_end(&text[..end], start).ok_or(start)?;
        let open = lex::skip_lws(&text[..end], close);
        if text[..end].get(open) != Some(&b'<') {
            return Err(open);
        }
        return bracketed(text, (start, close), open, end);
    }
    match memchr::memchr2(b'<', b'"', &text[start..end]).map(|at| start + at) {
        Some(open) if text[open] == b'<' => {
            let display = lex::trim(text, start, open);
            // An unquoted display name is tokens and white space. Deviates from section 25.1: UTF-8
            // is borne, since phones send names as people write them and nothing else is meant.
            let is_display = |&byte: &u8| lex::is_token_byte(byte) || lex::is_lws(byte) || byte >= 0x80;
            match text[display.0..display.1].iter().position(|byte| !is_display(byte)) {
                Some(at) => Err(display.0 + at),
                None => bracketed(text, display, open, end),
            }
        }
        _ => bare(text, start, end),
    }
}

fn bracketed(text: &[u8], display: (usize, usize), open: usize, end: usize) -> Result<Shape, usize> {
    let close = memchr::memchr(b'>', &text[open..end]).map(|at| open + at).ok_or(open)?;
    let uri = (open + 1, close);
    // No white space may stand between bracket and URI, nor inside the URI. Nearly every URI passes the table alone.
    let inner = &text[uri.0..uri.1];
    if !inner.iter().all(|&byte| lex::is_value_byte(byte))
        && let Some(at) = inner.iter().position(|byte| matches!(byte, 0..=b' ' | b'<' | b'"' | 0x7f))
    {
        return Err(uri.0 + at);
    }
    if uri.0 == uri.1 {
        return Err(open);
    }
    let params = lex::skip_lws(&text[..end], close + 1);
    match text[..end].get(params) {
        None | Some(b';') => Ok(Shape { display, uri, params }),
        Some(_) => Err(params),
    }
}

/// Without brackets the URI ends at the first `;`, and `?` and `,` may not stand in it (20.10).
fn bare(text: &[u8], start: usize, end: usize) -> Result<Shape, usize> {
    let semicolon = memchr::memchr(b';', &text[start..end]).map_or(end, |at| start + at);
    let uri = lex::trim(text, start, semicolon);
    let is_wrong = |byte: &u8| matches!(byte, 0..=b' ' | b'?' | b',' | b'"' | b'<' | b'>' | 0x7f);
    match text[uri.0..uri.1].iter().position(is_wrong) {
        Some(at) => Err(uri.0 + at),
        None if uri.0 == uri.1 => Err(uri.0),
        None => Ok(Shape { display: (start, start), uri, params: semicolon }),
    }
}

/// One value of a `Contact` header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ContactValue<'a> {
    /// `*`: every binding (RFC 3261 section 10.2.2).
    Star,
    /// An address.
    Address(NameAddr<'a>),
}

impl<'a> ContactValue<'a> {
    /// The address, unless it is the star.
    pub fn address(self) -> Option<NameAddr<'a>> {
        match self {
            ContactValue::Star => None,
            ContactValue::Address(address) => Some(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, display: &str, uri: &str, params: &str) {
        let parsed = NameAddr::parse(text.as_bytes()).unwrap_or_else(|reject| panic!("{text}: {reject}"));
        let show = |bytes| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(
            (show(parsed.display), show(parsed.uri), show(parsed.params.text())),
            (display.into(), uri.into(), params.into()),
            "{text}"
        );
        assert_eq!(parsed.uri_span.of(text.as_bytes()), uri.as_bytes());
    }

    #[test]
    fn each_form_of_an_address_is_read() {
        check("<sip:a@b>", "", "sip:a@b", "");
        check(
            "\"A. G. Bell\" <sip:agb@bell-telephone.com> ;tag=a48s",
            "\"A. G. Bell\"",
            "sip:agb@bell-telephone.com",
            ";tag=a48s",
        );
        check(
            "Anonymous <sip:c8oqz84zk7z@privacy.org>;tag=hyh8",
            "Anonymous",
            "sip:c8oqz84zk7z@privacy.org",
            ";tag=hyh8",
        );
        check("caller<sip:caller@example.com>;tag=323", "caller", "sip:caller@example.com", ";tag=323");
        check(
            "sip:+12125551212@server.phone2net.com;tag=887s",
            "",
            "sip:+12125551212@server.phone2net.com",
            ";tag=887s",
        );
        check("Jürgen <sip:j@b>", "Jürgen", "sip:j@b", "");
        check("<sip:a@b;lr?x=y>", "", "sip:a@b;lr?x=y", "");
    }

    #[test]
    fn what_breaks_the_grammar_is_refused_with_the_place() {
        for (text, offset) in [
            ("", 0),
            ("\"Mr. J. User <sip:j.user@example.com>", 0),
            ("\"Watson\" < sip:t.watson@example.org >", 10),
            ("Bell, Alexander <sip:a.g.bell@example.com>", 4),
            ("<>", 0),
            ("<sip:a@b", 0),
            ("<sip:a@b> x", 10),
            ("\"A\" sip:a@b", 4),
            ("sip:user@example.com?Route=%3Csip:sip.example.com%3E", 20),
            ("sip:a@b;;", 7),
        ] {
            assert_eq!(
                NameAddr::parse(text.as_bytes()),
                Err(Reject::Header { name: HeaderName::Other, offset }),
                "{text}"
            );
        }
    }

    #[test]
    fn q_is_read_in_thousandths() {
        for (text, q) in [
            ("0.7", 700),
            ("1", 1000),
            ("1.000", 1000),
            ("0", 0),
            ("0.05", 50),
            ("1.5", 1000),
            ("x", 1000),
            ("0.1234", 1000),
        ] {
            let value = format!("<sip:a@b>;q={text}");
            assert_eq!(NameAddr::parse(value.as_bytes()).expect("an address").q(), q, "{text}");
        }
    }

    #[test]
    fn an_expiry_beyond_32_bits_counts_as_the_largest() {
        let value = b"<sip:a@b>;expires=99999999999999999999";
        assert_eq!(NameAddr::parse(value).expect("an address").expires(), Some(u32::MAX));
    }
}
