//! Messages that are made here: responses, and requests of our own.

use bytes::Bytes;

use crate::{Header, HeaderName, Message};

/// Writes one message from nothing, header by header. `Content-Length` is added at the end.
#[derive(Clone, Debug)]
pub struct Builder {
    head: Vec<u8>,
    body: Vec<u8>,
    /// Where a tag goes that the request's `To` lacked.
    untagged_to: Option<usize>,
}

impl Builder {
    /// A response to `request` with what RFC 3261 section 8.2.6.2 has copied: every `Via`, `From`,
    /// `To`, `Call-ID`, `CSeq`; and the `Timestamp` into a 100 (section 8.2.6.1).
    ///
    /// A `To` without tag gets one by [`Builder::to_tag`], which all but a 100 need.
    pub fn response(request: &Message, code: u16, reason: &str) -> Builder {
        let mut builder = Builder::start(format!("SIP/2.0 {code:03} "), reason.as_bytes());
        builder.copy(request, HeaderName::Via);
        builder.copy_identity(request, code);
        builder
    }

    /// As [`Builder::response`], with `top_via` in place of the first `Via` value: the one that says
    /// where the request really came from (RFC 3261 section 18.2.1).
    pub fn response_via(request: &Message, code: u16, reason: &str, top_via: &[u8]) -> Builder {
        let mut builder = Builder::start(format!("SIP/2.0 {code:03} "), reason.as_bytes());
        builder.header(HeaderName::Via.as_str(), top_via);
        let mut lines = request.headers_named(HeaderName::Via);
        if let Some(first) = lines.next()
            && let Some(second) = first.values().nth(1)
        {
            let from = (second.span.start - first.value_span.start) as usize;
            builder.header(HeaderName::Via.as_str(), &first.value[from..]);
        }
        for line in lines {
            builder.copy_header(request, &line);
        }
        builder.copy_identity(request, code);
        builder
    }

    fn copy_identity(&mut self, request: &Message, code: u16) {
        self.copy(request, HeaderName::From);
        self.copy_to(request);
        self.copy(request, HeaderName::CallId);
        self.copy(request, HeaderName::CSeq);
        if code == 100 {
            self.copy(request, HeaderName::Timestamp);
        }
    }

    /// A request; the caller adds the headers.
    pub fn request(method: &str, uri: &[u8]) -> Builder {
        let mut builder = Builder::start(String::new(), method.as_bytes());
        builder.head.truncate(builder.head.len() - 2);
        builder.head.push(b' ');
        push_clean(&mut builder.head, uri);
        builder.head.extend_from_slice(b" SIP/2.0\r\n");
        builder
    }

    fn start(prefix: String, text: &[u8]) -> Builder {
        let mut head = Vec::with_capacity(512);
        head.extend_from_slice(prefix.as_bytes());
        push_clean(&mut head, text);
        head.extend_from_slice(b"\r\n");
        Builder { head, body: Vec::new(), untagged_to: None }
    }

    /// Adds a header. CR, LF and NUL in the value become spaces, so that no text from a script or a
    /// peer can add a header of its own.
    pub fn header(&mut self, name: &str, value: impl AsRef<[u8]>) -> &mut Builder {
        push_clean(&mut self.head, name.as_bytes());
        self.head.extend_from_slice(b": ");
        push_clean(&mut self.head, value.as_ref());
        self.head.extend_from_slice(b"\r\n");
        self
    }

    /// Adds header lines as they are; a missing line end is added.
    pub fn raw_line(&mut self, line: impl AsRef<[u8]>) -> &mut Builder {
        let line = line.as_ref();
        self.head.extend_from_slice(line);
        if !line.ends_with(b"\r\n") {
            self.head.extend_from_slice(b"\r\n");
        }
        self
    }

    /// Copies each header of that name from another message.
    pub fn copy(&mut self, message: &Message, name: HeaderName) -> &mut Builder {
        for header in message.headers_named(name) {
            self.copy_header(message, &header);
        }
        self
    }

    /// Sets the tag of a copied `To` that has none; without effect on one that has.
    pub fn to_tag(&mut self, tag: impl AsRef<[u8]>) -> &mut Builder {
        if let Some(at) = self.untagged_to.take() {
            let param = [b";tag=", tag.as_ref()].concat();
            self.head.splice(at..at, param);
        }
        self
    }

    /// Sets the body and its type.
    pub fn body(&mut self, content_type: &str, bytes: impl Into<Vec<u8>>) -> &mut Builder {
        self.header(HeaderName::ContentType.as_str(), content_type);
        self.body = bytes.into();
        self
    }

    /// The finished message.
    pub fn finish(&mut self) -> Bytes {
        let mut out = std::mem::take(&mut self.head);
        out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", self.body.len()).as_bytes());
        out.append(&mut self.body);
        out.into()
    }

    fn copy_to(&mut self, request: &Message) {
        let Some(header) = request.header(HeaderName::To) else {
            return;
        };
        self.copy_header(request, &header);
        // A malformed To gets no tag: where its parameters begin is anybody's guess.
        if request.to().is_ok_and(|to| to.tag().is_none()) {
            let trailing = request.text(header.field).len() - (header.value_span.end - header.field.start) as usize;
            self.untagged_to = Some(self.head.len() - trailing);
        }
    }

    /// As it came; unless stray control bytes in it would break the new message.
    fn copy_header(&mut self, message: &Message, header: &Header<'_>) {
        let field = message.text(header.field);
        let is_sound = field.ends_with(b"\r\n") && message.defect.is_none();
        if is_sound {
            self.head.extend_from_slice(field);
            return;
        }
        push_clean(&mut self.head, header.raw_name);
        self.head.extend_from_slice(b": ");
        push_clean(&mut self.head, &header.unfolded());
        self.head.extend_from_slice(b"\r\n");
    }
}

fn push_clean(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(text.iter().map(|&byte| if matches!(byte, b'\r' | b'\n' | 0) { b' ' } else { byte }));
}
