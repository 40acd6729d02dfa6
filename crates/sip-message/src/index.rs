//! Finds where the lines of a message lie. The one header model: parsing and framing both use it.

use memchr::memchr3;

use crate::{HeaderName, Reject, Span, lex};

/// Where one header lies. All offsets count from the start of the message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeaderField {
    pub(crate) name: HeaderName,
    /// First byte of the name, and of the header.
    pub(crate) start: u32,
    pub(crate) name_end: u32,
    /// The value without the white space around it.
    pub(crate) value: Span,
    /// One past the final line end.
    pub(crate) end: u32,
}

/// Walks over the lines of a head, from the start line to the empty line.
pub(crate) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    /// The first fault met. Scanning goes on after it, so that a request can be answered.
    pub(crate) defect: Option<Reject>,
}

/// What the scanner met next.
pub(crate) enum Line {
    Field(HeaderField),
    /// The empty line; the body begins at `body`.
    End {
        body: usize,
    },
}

/// A line, or a line with its continuations.
struct Extent {
    /// One past the last byte before the final line end.
    content_end: usize,
    /// Where the next line begins.
    next: usize,
    has_nul: bool,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Scanner<'a> {
        Scanner { text, at: 0, defect: None }
    }

    /// Keeps the first fault only: it is the one that the answer names.
    pub(crate) fn fault(&mut self, reject: Reject) {
        self.defect.get_or_insert(reject);
    }

    /// The start line, without its line end.
    pub(crate) fn start_line(&mut self) -> Span {
        let line = self.line(0);
        if line.has_nul {
            let offset = memchr::memchr(0, self.text).unwrap_or(0);
            self.fault(Reject::Control { byte: 0, offset });
        }
        self.at = line.next;
        // White space right after the start line continues nothing, and would hide a header
        // from readers that skip it.
        while matches!(self.text.get(self.at), Some(b' ' | b'\t')) {
            self.fault(Reject::HeaderLine { offset: self.at });
            self.at = self.line(self.at).next;
        }
        Span::new(0, line.content_end)
    }

    /// The next header, or the end of the head.
    #[inline]
    pub(crate) fn next_line(&mut self) -> Line {
        loop {
            let start = self.at;
            let extent = match self.text.get(start) {
                Some(b'\r') if self.text.get(start + 1) == Some(&b'\n') => {
                    return Line::End { body: start + 2 };
                }
                Some(b'\n') => {
                    self.fault(Reject::Control { byte: b'\n', offset: start });
                    return Line::End { body: start + 1 };
                }
                Some(_) => self.extent(start),
                None => {
                    self.fault(Reject::HeadUnfinished { offset: start });
                    return Line::End { body: start };
                }
            };
            self.at = extent.next;
            if extent.has_nul {
                self.check_nul(start, extent.content_end);
            }
            match self.field(start, &extent) {
                Some(field) => return Line::Field(field),
                None => self.fault(Reject::HeaderLine { offset: start }),
            }
        }
    }

    /// Splits `name : value`. White space before the colon belongs to HCOLON (RFC 3261 section 25.1).
    #[inline]
    fn field(&self, start: usize, extent: &Extent) -> Option<HeaderField> {
        let line = &self.text[..extent.content_end];
        let mut name_end = start;
        while name_end < line.len() && lex::is_token_byte(line[name_end]) {
            name_end += 1;
        }
        let mut colon = name_end;
        while matches!(line.get(colon), Some(b' ' | b'\t')) {
            colon += 1;
        }
        if name_end == start || line.get(colon) != Some(&b':') {
            return None;
        }
        let (value_start, value_end) = lex::trim(line, colon + 1, line.len());
        Some(HeaderField {
            name: HeaderName::from_token(&line[start..name_end]),
            start: start as u32,
            name_end: name_end as u32,
            value: Span { start: value_start as u32, end: value_end as u32 },
            end: extent.next as u32,
        })
    }

    /// The line at `start` with the lines that continue it: those that begin with white space
    /// (RFC 3261 section 7.3.1).
    #[inline]
    fn extent(&mut self, start: usize) -> Extent {
        let mut extent = self.line(start);
        while matches!(self.text.get(extent.next), Some(b' ' | b'\t')) {
            let more = self.line(extent.next);
            extent = Extent { has_nul: extent.has_nul | more.has_nul, ..more };
        }
        extent
    }

    #[inline]
    fn line(&mut self, start: usize) -> Extent {
        let mut at = start;
        let mut has_nul = false;
        while let Some(found) = memchr3(b'\r', b'\n', 0, &self.text[at..]) {
            at += found;
            match self.text[at] {
                b'\r' if self.text.get(at + 1) == Some(&b'\n') => {
                    return Extent { content_end: at, next: at + 2, has_nul };
                }
                b'\n' => {
                    // Taken as a line end so that the headers behind it are found and the 400
                    // can be addressed; the message itself is refused.
                    self.fault(Reject::Control { byte: b'\n', offset: at });
                    return Extent { content_end: at, next: at + 1, has_nul };
                }
                0 => has_nul = true,
                _ => self.fault(Reject::Control { byte: b'\r', offset: at }),
            }
            at += 1;
        }
        Extent { content_end: self.text.len(), next: self.text.len(), has_nul }
    }

    /// A NUL may stand only as a quoted pair in a quoted string (RFC 3261 section 25.1).
    fn check_nul(&mut self, start: usize, end: usize) {
        let mut is_quoted = false;
        let mut at = start;
        while at < end {
            match self.text[at] {
                b'"' => is_quoted = !is_quoted,
                b'\\' if is_quoted => at += 1,
                0 => {
                    return self.fault(Reject::Control { byte: 0, offset: at });
                }
                _ => {}
            }
            at += 1;
        }
    }
}

/// Length of the line ends before a start line, which are skipped (RFC 3261 section 7.5).
pub(crate) fn leading_line_ends(text: &[u8]) -> usize {
    let mut at = 0;
    while text[at..].starts_with(b"\r\n") {
        at += 2;
    }
    at
}

/// Reads a `Content-Length` value; `None` when it is no number or passes 32 bits.
pub(crate) fn content_length(value: &[u8]) -> Option<usize> {
    lex::number(value).map(|length| length as usize)
}
