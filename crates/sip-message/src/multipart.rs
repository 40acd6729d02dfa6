//! Bodies of several parts (RFC 2046 section 5.1, RFC 5621).

use std::borrow::Cow;

use memchr::memmem;

use crate::index::{HeaderField, Line, Scanner};
use crate::{HeaderName, Limits, Message, Params, Reject, Span, lex, sdp};

/// One part of a body. Spans count from the start of the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part<'a> {
    text: &'a [u8],
    /// Headers and body, without the delimiters around them.
    pub span: Span,
    /// The body alone.
    pub body_span: Span,
}

impl<'a> Part<'a> {
    /// The body.
    pub fn body(&self) -> &'a [u8] {
        let start = (self.body_span.start - self.span.start) as usize;
        self.text.get(start..).unwrap_or_default()
    }

    /// The value of a header of this part.
    pub fn value(&self, name: HeaderName) -> Option<&'a [u8]> {
        let field = fields(self.text).find(|field| field.name == name)?;
        Some(field.value.of(self.text))
    }

    /// Media type and parameters; `text/plain` when the part names none (RFC 2046 section 5.2).
    pub fn content_type(&self) -> (&'a [u8], Params<'a>) {
        self.value(HeaderName::ContentType).map_or((b"text/plain", Params::default()), split)
    }
}

/// The parts of `body`, which lies at `offset` of its message, between delimiters of `boundary`.
///
/// # Errors
/// [`Reject::Body`] when there is no part, a part has no empty line after its headers, the closing
/// delimiter is missing, or there are more parts than [`Limits::body_parts`].
pub fn parts<'a>(body: &'a [u8], boundary: &[u8], offset: u32, limits: &Limits) -> Result<Vec<Part<'a>>, Reject> {
    let fail = |at: usize| Reject::Body { offset: offset as usize + at };
    // 1 to 70 bytes (RFC 2046 section 5.1.1).
    if boundary.is_empty() || boundary.len() > 70 {
        return Err(fail(0));
    }
    let needle = [b"--", boundary].concat();
    let mut found = Vec::new();
    let mut start = None;
    for at in memmem::find_iter(body, &needle) {
        let Some(delimiter) = delimiter(body, at, at + needle.len()) else { continue };
        if let Some(start) = start {
            if found.len() >= limits.body_parts {
                return Err(fail(start));
            }
            found.push(part(body, start, delimiter.start, offset).ok_or(fail(start))?);
        }
        if delimiter.is_last && !found.is_empty() {
            return Ok(found);
        }
        start = Some(delimiter.end);
    }
    Err(fail(start.unwrap_or(0)))
}

/// The first part of media type `wanted` (such as `application/sdp`) in a message: its whole body,
/// or a part of it, however deep within [`Limits::nesting`].
///
/// # Errors
/// [`Reject::Body`] for a multipart body that is malformed or nested too deep.
pub fn find<'a>(message: &'a Message, wanted: &str, limits: &Limits) -> Result<Option<Part<'a>>, Reject> {
    let Some(content_type) = message.value(HeaderName::ContentType) else { return Ok(None) };
    let span = message.body_span();
    let whole = Part { text: message.body(), span, body_span: span };
    find_in(whole, split(content_type), wanted, limits, 0)
}

/// The session description of a message, alone or in a multipart body; `None` when it has none.
///
/// # Errors
/// [`Reject::Body`] when the body or the description is malformed.
pub fn session<'a>(message: &'a Message, limits: &Limits) -> Result<Option<sdp::Session<'a>>, Reject> {
    match find(message, "application/sdp", limits)? {
        Some(part) => sdp::Session::parse(part.body(), part.body_span.start).map(Some),
        None => Ok(None),
    }
}

fn find_in<'a>(
    part: Part<'a>,
    (media_type, params): (&'a [u8], Params<'a>),
    wanted: &str,
    limits: &Limits,
    depth: usize,
) -> Result<Option<Part<'a>>, Reject> {
    if media_type.eq_ignore_ascii_case(wanted.as_bytes()) {
        return Ok(Some(part));
    }
    let is_multipart = media_type.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/"));
    if !is_multipart {
        return Ok(None);
    }
    let fail = Reject::Body { offset: part.body_span.start as usize };
    if depth >= limits.nesting {
        return Err(fail);
    }
    let boundary = boundary(&params).ok_or(fail)?;
    for inner in parts(part.body(), &boundary, part.body_span.start, limits)? {
        if let Some(found) = find_in(inner, inner.content_type(), wanted, limits, depth + 1)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The `boundary` of a multipart `Content-Type`.
pub fn boundary<'a>(params: &Params<'a>) -> Option<Cow<'a, [u8]>> {
    params.value("boundary").map(lex::unquote)
}

fn split(content_type: &[u8]) -> (&[u8], Params<'_>) {
    let end = memchr::memchr(b';', content_type).unwrap_or(content_type.len());
    (lex::trimmed(&content_type[..end]), Params::parse(&content_type[end..]))
}

struct Delimiter {
    /// Where the line end before it begins: it belongs to the delimiter, not to the part.
    start: usize,
    /// Where the next part begins.
    end: usize,
    is_last: bool,
}

/// `[CRLF] "--" boundary ["--"] *LWSP CRLF`; the first needs no line end before it, the last none
/// after it. A boundary that is only the beginning of a longer text delimits nothing.
fn delimiter(body: &[u8], at: usize, end: usize) -> Option<Delimiter> {
    let start = match &body[..at] {
        [] => 0,
        [.., b'\r', b'\n'] => at - 2,
        _ => return None,
    };
    let is_last = body[end..].starts_with(b"--");
    let mut end = if is_last { end + 2 } else { end };
    while matches!(body.get(end), Some(b' ' | b'\t')) {
        end += 1;
    }
    match &body[end..] {
        [b'\r', b'\n', ..] => Some(Delimiter { start, end: end + 2, is_last }),
        [] if is_last => Some(Delimiter { start, end, is_last }),
        _ => None,
    }
}

fn part(body: &[u8], start: usize, end: usize, offset: u32) -> Option<Part<'_>> {
    // A part without body may share its empty line with the delimiter behind it.
    let text = body.get(start..end.max(start))?;
    let mut scanner = Scanner::new(text);
    let body_start = loop {
        if let Line::End { body } = scanner.next_line() {
            break body;
        }
    };
    if scanner.defect.is_some() {
        return None;
    }
    let span = Span::new(start, end).shifted(offset);
    Some(Part { text, span, body_span: Span { start: span.start + body_start as u32, end: span.end } })
}

fn fields(text: &[u8]) -> impl Iterator<Item = HeaderField> {
    let mut scanner = Scanner::new(text);
    std::iter::from_fn(move || match scanner.next_line() {
        Line::Field(field) => Some(field),
        Line::End { .. } => None,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(content_type: &str, body: &str) -> Message {
        let text = format!("MESSAGE sip:a@b SIP/2.0\r\nContent-Type: {content_type}\r\n\r\n{body}");
        Message::parse(Bytes::from(text), &Limits::default()).expect("a message")
    }

    #[test]
    fn a_description_is_found_beside_and_inside_other_parts() {
        let body = "preamble\r\n--x\r\nContent-Type: text/plain\r\n\r\nhi\r\n--x \r\n\
            Content-Type: multipart/alternative; boundary=\"y y\"\r\n\r\n--y y\r\n\
            c: application/SDP\r\n\r\nv=0\r\n\r\n--y y--\r\n--x--\r\nepilogue";
        let message = message("multipart/mixed;boundary=x", body);
        let part = find(&message, "application/sdp", &Limits::default()).expect("well formed").expect("a part");
        assert_eq!(part.body(), b"v=0\r\n");
        assert_eq!(message.text(part.body_span), b"v=0\r\n");
        assert!(session(&message, &Limits::default()).expect("well formed").is_some());
    }

    #[test]
    fn a_plain_body_is_its_own_part() {
        let message = message("Application/sdp;x=y", "v=0\r\n");
        let part = find(&message, "application/sdp", &Limits::default()).expect("well formed").expect("the body");
        assert_eq!(part.body_span, message.body_span());
        assert!(find(&message, "text/plain", &Limits::default()).expect("well formed").is_none());
    }

    #[test]
    fn a_part_may_lack_headers_and_holds_any_bytes() {
        let parts = parts(b"--b\r\n\r\na\0\r\n--bc\r\n\r\n--b--", b"b", 10, &Limits::default()).expect("parts");
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].body(), b"a\0\r\n--bc\r\n");
        assert_eq!(parts[0].content_type().0, b"text/plain");
        assert_eq!(parts[0].span.start, 15);
    }

    #[test]
    fn malformed_and_endless_bodies_are_refused() {
        let limits = Limits { body_parts: 2, ..Limits::default() };
        for body in [
            &b""[..],
            b"--b\r\n\r\nx",
            b"--b--",
            b"--b\r\nContent-Type: text/plain\r\n--b--",
            b"--b\r\n\r\n1\r\n--b\r\n\r\n2\r\n--b\r\n\r\n3\r\n--b--",
        ] {
            assert!(parts(body, b"b", 0, &limits).is_err(), "{}", String::from_utf8_lossy(body));
        }
        assert!(parts(b"--b\r\n\r\n1\r\n--b--", &[b'b'; 71], 0, &limits).is_err());
    }

    #[test]
    fn nesting_has_a_bound() {
        let mut body = String::from("end");
        for _ in 0..3 {
            body = format!("--b\r\nContent-Type: multipart/mixed;boundary=a\r\n\r\n{body}\r\n--b--");
            body = body.replace("--b", "--c").replace("=a", "=b").replace("--c", "--a");
        }
        let message = message("multipart/mixed;boundary=a", &body);
        let limits = Limits { nesting: 1, ..Limits::default() };
        assert!(find(&message, "application/sdp", &limits).is_err());
    }
}
