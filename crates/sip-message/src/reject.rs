//! Why a message, or a value inside it, is refused, and what the RFC answers.

use std::fmt;

use crate::HeaderName;

/// Why a message was refused. `offset` counts bytes from its start.
///
/// Whether the answer is sent at all depends on the message, not on the fault: a
/// response or an ACK is dropped whatever is wrong with it ([`crate::Verdict`]).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reject {
    /// Not a SIP message: no start line that names SIP. Dropped, since nobody can be answered.
    NotSip {
        /// Where the start line began.
        offset: usize,
    },
    /// The start line breaks the grammar of RFC 3261 section 7.1 or 7.2.
    StartLine {
        /// Where it breaks.
        offset: usize,
    },
    /// Another SIP version than 2.0 (RFC 3261 section 21.5.6).
    Version {
        /// Where the version stands.
        offset: usize,
    },
    /// The Request-URI, or another URI that had to be understood, is malformed.
    Uri {
        /// Where it breaks.
        offset: usize,
    },
    /// The scheme of the Request-URI is not served (RFC 3261 section 8.2.2.1).
    Scheme {
        /// Where the Request-URI stands.
        offset: usize,
    },
    /// A header line without a name or without a colon, or a fold with nothing to continue.
    HeaderLine {
        /// Where the line begins.
        offset: usize,
    },
    /// A CR without LF, an LF without CR, or a NUL outside a quoted pair.
    Control {
        /// The byte.
        byte: u8,
        /// Where it stands.
        offset: usize,
    },
    /// The head does not end with an empty line.
    HeadUnfinished {
        /// Where the bytes ran out.
        offset: usize,
    },
    /// A header that RFC 3261 section 8.1.1 requires is absent.
    Missing(HeaderName),
    /// A header that may stand only once stands again.
    Duplicate {
        /// Which header.
        name: HeaderName,
        /// Where the second one begins.
        offset: usize,
    },
    /// A header whose value breaks its grammar or its range.
    Header {
        /// Which header.
        name: HeaderName,
        /// Where its value breaks.
        offset: usize,
    },
    /// `CSeq` names another method than the request line (RFC 3261 section 8.1.1.5).
    CSeqMethod {
        /// Where the `CSeq` value stands.
        offset: usize,
    },
    /// `Content-Length` promises more than arrived (RFC 3261 section 18.3).
    Truncated {
        /// What it promised.
        promised: usize,
        /// What came.
        got: usize,
    },
    /// Extensions that this element does not know stand in `Require` or `Proxy-Require`
    /// (RFC 3261 sections 8.2.2.3 and 16.3).
    Extension {
        /// `Require` or `Proxy-Require`: its option tags belong in the `Unsupported` of the answer.
        name: HeaderName,
        /// Where the first unknown option tag stands.
        offset: usize,
    },
    /// Longer than [`crate::Limits::message_bytes`] or [`crate::Limits::head_bytes`].
    TooLarge {
        /// The bound that was passed.
        limit: usize,
    },
    /// More header lines than [`crate::Limits::headers`].
    TooManyHeaders {
        /// The bound that was passed.
        limit: usize,
    },
    /// A body breaks the grammar of its type.
    Body {
        /// Where it breaks, counted from the start of the text that was parsed.
        offset: usize,
    },
}

impl Reject {
    /// The status code of the RFC's answer; `None` when the message is silently dropped.
    pub fn status(&self) -> Option<u16> {
        match self {
            Reject::NotSip { .. } => None,
            Reject::Version { .. } => Some(505),
            Reject::Scheme { .. } => Some(416),
            Reject::Extension { .. } => Some(420),
            Reject::TooLarge { .. } | Reject::TooManyHeaders { .. } => Some(513),
            Reject::StartLine { .. }
            | Reject::Uri { .. }
            | Reject::HeaderLine { .. }
            | Reject::Control { .. }
            | Reject::HeadUnfinished { .. }
            | Reject::Missing(_)
            | Reject::Duplicate { .. }
            | Reject::Header { .. }
            | Reject::CSeqMethod { .. }
            | Reject::Truncated { .. }
            | Reject::Body { .. } => Some(400),
        }
    }

    /// Short text for the status line. RFC 3261 section 21.4.1 asks that a 400 names the
    /// fault in more detail, "Missing Call-ID header field" being its example.
    pub fn reason(&self) -> &'static str {
        match self {
            Reject::NotSip { .. } => "Not SIP",
            Reject::StartLine { .. } => "Malformed Start Line",
            Reject::Version { .. } => "Version Not Supported",
            Reject::Uri { .. } => "Malformed URI",
            Reject::Scheme { .. } => "Unsupported URI Scheme",
            Reject::HeaderLine { .. } => "Malformed Header Line",
            Reject::Control { .. } => "Stray Control Byte",
            Reject::HeadUnfinished { .. } => "No End Of Headers",
            Reject::Missing(_) => "Missing Header Field",
            Reject::Duplicate { .. } => "Header Field Stands Twice",
            Reject::Header { .. } => "Malformed Header Field",
            Reject::CSeqMethod { .. } => "CSeq Names Another Method",
            Reject::Truncated { .. } => "Body Shorter Than Content-Length",
            Reject::Extension { .. } => "Bad Extension",
            Reject::TooLarge { .. } | Reject::TooManyHeaders { .. } => "Message Too Large",
            Reject::Body { .. } => "Malformed Body",
        }
    }

    /// Where the fault lies, in bytes from the start of the message; 0 when it has no place.
    pub fn offset(&self) -> usize {
        match self {
            Reject::NotSip { offset }
            | Reject::StartLine { offset }
            | Reject::Version { offset }
            | Reject::Uri { offset }
            | Reject::Scheme { offset }
            | Reject::HeaderLine { offset }
            | Reject::Control { offset, .. }
            | Reject::HeadUnfinished { offset }
            | Reject::Duplicate { offset, .. }
            | Reject::Header { offset, .. }
            | Reject::CSeqMethod { offset }
            | Reject::Extension { offset, .. }
            | Reject::Body { offset } => *offset,
            Reject::Missing(_) | Reject::Truncated { .. } | Reject::TooLarge { .. } | Reject::TooManyHeaders { .. } => {
                0
            }
        }
    }

    /// The header that is at fault, where it is one.
    pub fn header(&self) -> Option<HeaderName> {
        match self {
            Reject::Missing(name)
            | Reject::Duplicate { name, .. }
            | Reject::Header { name, .. }
            | Reject::Extension { name, .. } => Some(*name),
            Reject::CSeqMethod { .. } => Some(HeaderName::CSeq),
            Reject::Truncated { .. } => Some(HeaderName::ContentLength),
            _ => None,
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())?;
        if let Some(name) = self.header() {
            write!(f, " ({})", name.as_str())?;
        }
        Ok(())
    }
}

impl std::error::Error for Reject {}
