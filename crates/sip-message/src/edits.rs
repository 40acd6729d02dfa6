//! What shall change in a message when it is written.

use bytes::Bytes;
use smallvec::SmallVec;

use crate::{HeaderName, Message, Span};

/// An ordered list of edits on one message. Nothing is applied before [`crate::write()`], which
/// says how edits that touch the same bytes combine.
#[derive(Clone, Default, Debug)]
pub struct Edits {
    pub(crate) changes: SmallVec<[Change; 4]>,
    pub(crate) body: Option<NewBody>,
    pub(crate) needs_length: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Change {
    Cut(Span),
    Replace(Span, Bytes),
    RequestUri(Bytes),
    Insert(Place, Bytes),
}

/// Resolved against the message when it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Offset(u32),
    FirstHeader,
    LastHeader,
    Before(HeaderName),
    After(HeaderName),
}

#[derive(Clone, Debug)]
pub(crate) struct NewBody {
    pub(crate) content_type: Option<Bytes>,
    pub(crate) bytes: Bytes,
}

impl Edits {
    /// No edits.
    pub fn new() -> Edits {
        Edits::default()
    }

    /// Whether nothing shall change.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.body.is_none() && !self.needs_length
    }

    /// Forgets every edit.
    pub fn clear(&mut self) {
        *self = Edits::default();
    }

    /// Leaves out the bytes of `span`.
    pub fn remove(&mut self, span: Span) {
        self.changes.push(Change::Cut(span));
    }

    /// Writes `bytes` in place of `span`.
    pub fn replace(&mut self, span: Span, bytes: impl Into<Bytes>) {
        self.changes.push(Change::Replace(span, bytes.into()));
    }

    /// Writes `bytes` before the byte at `offset`, after what was inserted there earlier.
    pub fn insert(&mut self, offset: u32, bytes: impl Into<Bytes>) {
        self.changes.push(Change::Insert(Place::Offset(offset), bytes.into()));
    }

    /// Adds whole header lines, line ends included, after the last header.
    pub fn append_header(&mut self, lines: impl Into<Bytes>) {
        self.changes.push(Change::Insert(Place::LastHeader, lines.into()));
    }

    /// Adds whole header lines, line ends included, before the first header.
    pub fn prepend_header(&mut self, lines: impl Into<Bytes>) {
        self.changes.push(Change::Insert(Place::FirstHeader, lines.into()));
    }

    /// Adds whole header lines before the first header of that name; before all when there is none.
    pub fn insert_before(&mut self, name: HeaderName, lines: impl Into<Bytes>) {
        self.changes.push(Change::Insert(Place::Before(name), lines.into()));
    }

    /// Adds whole header lines after the last header of that name; after all when there is none.
    pub fn insert_after(&mut self, name: HeaderName, lines: impl Into<Bytes>) {
        self.changes.push(Change::Insert(Place::After(name), lines.into()));
    }

    /// Leaves out each header of that name.
    pub fn remove_headers(&mut self, message: &Message, name: HeaderName) {
        for header in message.headers_named(name) {
            self.remove(header.field);
        }
    }

    /// Sets the Request-URI; of several the last counts. No effect on a response.
    pub fn set_request_uri(&mut self, uri: impl Into<Bytes>) {
        self.changes.push(Change::RequestUri(uri.into()));
    }

    /// Replaces the whole body; of several the last counts, and edits inside the old body are
    /// dropped. With `content_type`, the `Content-Type` is set too. `Content-Length` follows.
    pub fn set_body(&mut self, content_type: Option<Bytes>, bytes: impl Into<Bytes>) {
        self.body = Some(NewBody { content_type, bytes: bytes.into() });
    }

    /// Asks for a `Content-Length` even if the message came without: a stream needs one
    /// (RFC 3261 section 20.14).
    pub fn require_content_length(&mut self) {
        self.needs_length = true;
    }
}
