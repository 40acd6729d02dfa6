//! One received message: its bytes and where everything lies in them.

use std::fmt;

use bytes::Bytes;

use crate::decoded::Decoded;
use crate::index::{HeaderField, Line, Scanner, content_length, leading_line_ends};
use crate::{Header, HeaderName, Limits, Method, Reject, Span};

/// One received message. Immutable: changes are [`crate::Edits`], applied by [`crate::write()`].
///
/// Parsing allocates once, for the index; the bytes are shared, not copied.
#[derive(Clone)]
pub struct Message {
    bytes: Bytes,
    start: StartLine,
    fields: Vec<HeaderField>,
    /// A bit for each [`HeaderName`] that stands in the message, so that asking for an absent
    /// header costs no walk.
    present: u128,
    /// A bit for each that stands more than once.
    repeated: u128,
    body: Span,
    pub(crate) defect: Option<Reject>,
    pub(crate) decoded: Decoded,
}

#[derive(Clone, Copy, Debug)]
struct StartLine {
    line: Span,
    /// Known method of a request.
    method: Method,
    method_text: Span,
    request_uri: Span,
    /// Zero in a request.
    status: u16,
    reason: Span,
}

/// Headers that fit the index before it grows: more than nearly every message has.
const USUAL_HEADERS: usize = 24;

impl Message {
    /// Indexes one whole message: a datagram, or a message that a [`crate::Framer`] cut from a stream.
    ///
    /// Line ends before the start line are skipped, and what follows a body of `Content-Length`
    /// bytes is cut (RFC 3261 sections 7.5 and 18.3): [`Message::bytes`] holds neither.
    ///
    /// # Errors
    /// Only where nobody could be answered: no SIP start line, a malformed status line, a bound
    /// passed. Every other fault is kept in the message; see [`Message::verdict`].
    pub fn parse(bytes: Bytes, limits: &Limits) -> Result<Message, Reject> {
        let limit = limits.message_bytes.min(u32::MAX as usize);
        let skipped = leading_line_ends(&bytes);
        if bytes.len() - skipped > limit {
            return Err(Reject::TooLarge { limit });
        }
        let mut bytes = bytes;
        if skipped > 0 {
            bytes = bytes.slice(skipped..);
        }
        let mut scanner = Scanner::new(&bytes);
        let line = scanner.start_line();
        let start = start_line(&bytes, line, &mut scanner)?;
        let mut fields = Vec::with_capacity(USUAL_HEADERS.min(limits.headers));
        let (mut present, mut repeated) = (0u128, 0u128);
        let body = loop {
            match scanner.next_line() {
                Line::End { body } => break body,
                Line::Field(_) if fields.len() >= limits.headers => {
                    return Err(Reject::TooManyHeaders { limit: limits.headers });
                }
                Line::Field(field) => {
                    let bit = 1 << field.name as u32;
                    repeated |= present & bit;
                    present |= bit;
                    fields.push(field);
                }
            }
        };
        if body > limits.head_bytes {
            return Err(Reject::TooLarge { limit: limits.head_bytes });
        }
        let defect = scanner.defect;
        let body = Span::new(body, bytes.len());
        let mut message =
            Message { bytes, start, fields, present, repeated, body, defect, decoded: Decoded::default() };
        message.measure_body();
        Ok(message)
    }

    /// Cuts the body to `Content-Length`, or notes that it cannot be (RFC 3261 section 18.3).
    fn measure_body(&mut self) {
        let Some(header) = self.header(HeaderName::ContentLength) else {
            return;
        };
        let promised = content_length(header.value);
        let offset = header.value_span.start as usize;
        let got = self.body.len();
        match promised {
            None => {
                let name = HeaderName::ContentLength;
                self.defect.get_or_insert(Reject::Header { name, offset });
            }
            Some(promised) if promised > got => {
                self.defect.get_or_insert(Reject::Truncated { promised, got });
            }
            Some(promised) => {
                self.body.end = self.body.start + promised as u32;
                self.bytes.truncate(self.body.end as usize);
            }
        }
    }

    /// The message's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of a span; empty when it lies outside.
    pub fn text(&self, span: Span) -> &[u8] {
        span.of(&self.bytes)
    }

    /// The bytes of a span, sharing the message's storage; empty when it lies outside.
    pub fn slice(&self, span: Span) -> Bytes {
        let (start, end) = (span.start as usize, span.end as usize);
        if start > end || end > self.bytes.len() {
            return Bytes::new();
        }
        self.bytes.slice(start..end)
    }

    /// Whether it is a request.
    pub fn is_request(&self) -> bool {
        self.start.status == 0
    }

    /// The method; of a response, the one that its `CSeq` names.
    pub fn method(&self) -> Method {
        if self.is_request() { self.start.method } else { Method::from_token(self.method_text()) }
    }

    /// The method as written; of a response, the one that its `CSeq` names, or empty.
    pub fn method_text(&self) -> &[u8] {
        if self.is_request() {
            return self.text(self.start.method_text);
        }
        self.cseq().map(|cseq| cseq.method_text).unwrap_or_default()
    }

    /// The Request-URI as written; empty for a response.
    pub fn request_uri(&self) -> &[u8] {
        self.text(self.start.request_uri)
    }

    /// Where the Request-URI lies; empty for a response.
    pub fn request_uri_span(&self) -> Span {
        self.start.request_uri
    }

    /// The status code of a response, 100 to 699.
    pub fn status(&self) -> Option<u16> {
        (!self.is_request()).then_some(self.start.status)
    }

    /// The reason phrase of a response; empty for a request.
    pub fn reason(&self) -> &[u8] {
        self.text(self.start.reason)
    }

    /// Where the start line lies, without its line end.
    pub fn start_line(&self) -> Span {
        self.start.line
    }

    /// Every header, in order.
    pub fn headers(&self) -> impl Iterator<Item = Header<'_>> {
        self.fields.iter().map(|field| self.show(field))
    }

    /// How many header lines there are.
    pub fn header_count(&self) -> usize {
        self.fields.len()
    }

    /// The headers of that name, in order; compact forms count. Nothing for [`HeaderName::Other`]:
    /// ask [`Message::headers_with_name`].
    pub fn headers_named(&self, name: HeaderName) -> impl Iterator<Item = Header<'_>> {
        let fields = if self.has(name) { &self.fields[..] } else { &[] };
        fields.iter().filter(move |field| field.name == name).map(|field| self.show(field))
    }

    /// The first header of that name.
    pub fn header(&self, name: HeaderName) -> Option<Header<'_>> {
        self.headers_named(name).next()
    }

    /// Whether a header of that name stands.
    pub fn has(&self, name: HeaderName) -> bool {
        name != HeaderName::Other && self.present & (1 << name as u32) != 0
    }

    /// Whether a header of that name stands on more than one line.
    pub(crate) fn is_repeated(&self, name: HeaderName) -> bool {
        self.repeated & (1 << name as u32) != 0
    }

    /// The headers of a name given as text, known or not, in any case; a compact form finds the
    /// long one and the other way round.
    pub fn headers_with_name<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = Header<'a>> {
        let name = HeaderName::from_token(text);
        let is_same = move |field: &&HeaderField| {
            field.name == name && (name != HeaderName::Other || self.name_of(field).eq_ignore_ascii_case(text))
        };
        self.fields.iter().filter(is_same).map(|field| self.show(field))
    }

    /// The body; empty when there is none.
    pub fn body(&self) -> &[u8] {
        self.text(self.body)
    }

    /// Where the body lies.
    pub fn body_span(&self) -> Span {
        self.body
    }

    /// Where the first header begins.
    pub(crate) fn headers_start(&self) -> u32 {
        self.fields.first().map_or(self.headers_end(), |field| field.start)
    }

    /// Where the last header ends, which is where the empty line begins.
    pub(crate) fn headers_end(&self) -> u32 {
        match self.fields.last() {
            Some(field) => field.end,
            None => self.body.start.saturating_sub(2).max(self.start.line.end),
        }
    }

    fn name_of(&self, field: &HeaderField) -> &[u8] {
        self.text(Span { start: field.start, end: field.name_end })
    }

    fn show(&self, field: &HeaderField) -> Header<'_> {
        Header {
            name: field.name,
            raw_name: self.name_of(field),
            value: self.text(field.value),
            field: Span { start: field.start, end: field.end },
            value_span: field.value,
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = String::from_utf8_lossy(self.text(self.start.line));
        f.debug_struct("Message").field("start_line", &line).field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

// The bit set of names must have room for each.
const _: () = assert!((HeaderName::Other as u32) < u128::BITS);

fn start_line(text: &[u8], span: Span, scanner: &mut Scanner<'_>) -> Result<StartLine, Reject> {
    let line = span.of(text);
    if is_version_start(line) { status_line(line, span) } else { request_line(line, span, scanner) }
}

fn is_version_start(text: &[u8]) -> bool {
    text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/"))
}

/// `SIP/2.0 SP 3DIGIT SP reason`. A malformed one is nobody's response: it is dropped.
///
/// The space before an empty reason is often left out by peers; nothing else could be meant.
fn status_line(line: &[u8], span: Span) -> Result<StartLine, Reject> {
    let drop = Reject::NotSip { offset: 0 };
    let is_version = line.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/2.0 "));
    let code = line.get(8..11).filter(|_| is_version).and_then(crate::lex::number);
    let status = code.and_then(|code| u16::try_from(code).ok()).filter(|code| (100..700).contains(code));
    let status = status.ok_or(drop.clone())?;
    let reason = match line.get(11) {
        None => Span::new(11, 11),
        Some(b' ') => Span::new(12, line.len()),
        Some(_) => return Err(drop),
    };
    let none = Span::default();
    Ok(StartLine { line: span, method: Method::Other, method_text: none, request_uri: none, status, reason })
}

/// `Method SP Request-URI SP SIP-Version`, single spaces only (RFC 3261 section 7.1).
fn request_line(line: &[u8], span: Span, scanner: &mut Scanner<'_>) -> Result<StartLine, Reject> {
    let drop = Reject::NotSip { offset: 0 };
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let first = memchr::memchr(b' ', line).ok_or(drop.clone())?;
    let version_end = line.iter().rposition(|byte| !is_space(byte)).map_or(0, |at| at + 1);
    let last = line[..version_end].iter().rposition(is_space).filter(|&last| last > first).ok_or(drop.clone())?;
    let version = &line[last + 1..version_end];
    if !is_version_start(version) {
        return Err(drop);
    }
    if !crate::lex::is_token(&line[..first]) {
        scanner.fault(Reject::StartLine { offset: 0 });
    }
    if !version.eq_ignore_ascii_case(b"SIP/2.0") {
        scanner.fault(Reject::Version { offset: last + 1 });
    }
    let (uri_start, uri_end) = crate::lex::trim(line, first + 1, last);
    let inner = line[uri_start..uri_end].iter().position(is_space).map(|at| uri_start + at);
    let is_single_spaced = (uri_start, uri_end, version_end) == (first + 1, last, line.len());
    if uri_start >= uri_end || !is_single_spaced || inner.is_some() {
        scanner.fault(Reject::StartLine { offset: inner.unwrap_or(first + 1) });
    }
    Ok(StartLine {
        line: span,
        method: Method::from_token(&line[..first]),
        method_text: Span::new(0, first),
        request_uri: Span::new(uri_start, uri_end),
        status: 0,
        reason: Span::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Verdict;

    fn parse(text: &str) -> Message {
        Message::parse(Bytes::from(text.to_owned()), &Limits::default()).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    fn defect(text: &str) -> Option<Reject> {
        parse(text).defect
    }

    #[test]
    fn headers_are_found_by_name_compact_form_and_text() {
        let message = parse("INVITE sip:a@b SIP/2.0\r\nv: 1\r\nX-Y : z\r\nVIA: 2\r\n\r\n");
        let vias: Vec<_> = message.headers_named(HeaderName::Via).map(|header| header.value).collect();
        assert_eq!(vias, [b"1", b"2"]);
        assert_eq!(message.headers_with_name(b"V").count(), 2);
        let other = message.headers_with_name(b"x-y").next().expect("the header");
        assert_eq!((other.raw_name, other.value), (&b"X-Y"[..], &b"z"[..]));
        assert_eq!(message.text(other.field), b"X-Y : z\r\n");
        assert!(message.header(HeaderName::Route).is_none());
    }

    #[test]
    fn a_response_takes_its_method_from_cseq() {
        let message = parse("SIP/2.0 180 Ringing\r\nCSeq: 1 INVITE\r\n\r\n");
        assert_eq!(
            (message.status(), message.reason(), message.method()),
            (Some(180), &b"Ringing"[..], Method::Invite)
        );
        assert_eq!(parse("sip/2.0 200\r\n\r\n").reason(), b"");
    }

    #[test]
    fn what_nobody_can_answer_is_no_message() {
        for text in [
            "",
            "\r\n",
            "x",
            "GET / HTTP/1.1\r\n\r\n",
            "SIP/2.0 99 x\r\n\r\n",
            "SIP/3.0 200 OK\r\n\r\n",
            "INVITE SIP/2.0\r\n",
        ] {
            let parsed = Message::parse(Bytes::from(text), &Limits::default());
            assert_eq!(parsed.err(), Some(Reject::NotSip { offset: 0 }), "{text:?}");
        }
    }

    #[test]
    fn line_ends_before_the_start_line_are_skipped() {
        let message = parse("\r\n\r\nINVITE sip:a@b SIP/2.0\r\n\r\n");
        assert!(message.bytes().starts_with(b"INVITE"));
    }

    #[test]
    fn stray_control_bytes_are_found_where_they_stand() {
        let head = "INVITE sip:a@b SIP/2.0\r\n";
        for (line, byte, at) in [
            ("A: b\nC: d\r\n", b'\n', 4),
            ("A: b\rC: d\r\n", b'\r', 4),
            ("A: \"b\r\"\r\n", b'\r', 5),
            ("A: b\0\r\n", 0, 4),
            ("A: \"\0\"\r\n", 0, 4),
            ("A: \\\0\r\n", 0, 4),
        ] {
            let expected = Some(Reject::Control { byte, offset: head.len() + at });
            assert_eq!(defect(&format!("{head}{line}\r\n")), expected, "{line:?}");
        }
        assert_eq!(defect(&format!("{head}A: \"\\\0\"\r\n\r\n")), None);
    }

    #[test]
    fn lines_that_are_no_headers_are_refused() {
        let head = "INVITE sip:a@b SIP/2.0\r\n";
        for line in ["no colon\r\n", ": x\r\n", "a b: c\r\n", "a\r\n : b\r\n", " fold: x\r\n"] {
            let expected = Some(Reject::HeaderLine { offset: head.len() });
            assert_eq!(defect(&format!("{head}{line}\r\n")), expected, "{line:?}");
        }
    }

    #[test]
    fn a_head_without_empty_line_is_refused() {
        assert_eq!(defect("INVITE sip:a@b SIP/2.0\r\nA: b\r\n"), Some(Reject::HeadUnfinished { offset: 30 }));
        assert_eq!(defect("INVITE sip:a@b SIP/2.0\r\nA: b"), Some(Reject::HeadUnfinished { offset: 28 }));
    }

    #[test]
    fn the_body_is_measured_by_content_length() {
        let head = "INVITE sip:a@b SIP/2.0\r\n";
        assert_eq!(parse(&format!("{head}l: 2\r\n\r\nbody")).body(), b"bo");
        assert_eq!(parse(&format!("{head}\r\nbody")).body(), b"body");
        let short = defect(&format!("{head}l: 5\r\n\r\nbody"));
        assert_eq!(short, Some(Reject::Truncated { promised: 5, got: 4 }));
        for value in ["4294967296", "99999999999999999999", "-1", "+4", "4x", "4, 4", "0x4", ""] {
            let defect = defect(&format!("{head}l: {value}\r\n\r\nbody"));
            assert!(matches!(defect, Some(Reject::Header { name: HeaderName::ContentLength, .. })), "{value}");
        }
    }

    #[test]
    fn bounds_are_settings() {
        let text = Bytes::from("INVITE sip:a@b SIP/2.0\r\nA: 1\r\nB: 2\r\n\r\nbody");
        let parse = |limits: Limits| Message::parse(text.clone(), &limits).err();
        assert_eq!(parse(Limits { headers: 1, ..Limits::default() }), Some(Reject::TooManyHeaders { limit: 1 }));
        assert_eq!(parse(Limits { message_bytes: 41, ..Limits::default() }), Some(Reject::TooLarge { limit: 41 }));
        assert_eq!(parse(Limits { head_bytes: 37, ..Limits::default() }), Some(Reject::TooLarge { limit: 37 }));
        assert_eq!(parse(Limits::default()), None);
    }

    #[test]
    fn another_version_is_answered_with_505() {
        let message = parse("INVITE sip:a@b SIP/3.0\r\n\r\n");
        assert!(matches!(message.verdict(), Verdict::Answer(Reject::Version { offset: 15 })));
    }
}
