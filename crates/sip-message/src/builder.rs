//! Messages that are made here: responses, and requests of our own.

use bytes::Bytes;

use crate::{Header, HeaderName, Message, push_number};

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
    pub fn response(request: &Message, code: u16, reason: impl AsRef<[u8]>) -> Builder {
        let mut builder = Builder::status(request, code, reason.as_ref());
        builder.copy(request, HeaderName::Via);
        builder.copy_identity(request, code);
        builder
    }

    /// As [`Builder::response`], with `top_via` in place of the first `Via` value: the one that says
    /// where the request really came from (RFC 3261 section 18.2.1).
    pub fn response_via(request: &Message, code: u16, reason: impl AsRef<[u8]>, top_via: &[u8]) -> Builder {
        let mut builder = Builder::status(request, code, reason.as_ref());
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
        let mut builder = Builder::empty(512);
        push_clean(&mut builder.head, method.as_bytes());
        builder.head.push(b' ');
        push_clean(&mut builder.head, uri);
        builder.head.extend_from_slice(b" SIP/2.0\r\n");
        builder
    }

    /// A status line, and room for what a response repeats of its request.
    fn status(request: &Message, code: u16, reason: &[u8]) -> Builder {
        let mut builder = Builder::empty(request.body_span().start as usize + 256);
        builder.head.extend_from_slice(b"SIP/2.0 ");
        push_number(&mut builder.head, code.clamp(100, 999).into());
        builder.head.push(b' ');
        push_clean(&mut builder.head, reason);
        builder.head.extend_from_slice(b"\r\n");
        builder
    }

    fn empty(capacity: usize) -> Builder {
        Builder { head: Vec::with_capacity(capacity), body: Vec::new(), untagged_to: None }
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
            let (behind, tag) = (self.head.len() - at, tag.as_ref());
            self.head.extend_from_slice(b";tag=");
            self.head.extend_from_slice(tag);
            self.head[at..].rotate_left(behind);
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
        out.extend_from_slice(b"Content-Length: ");
        push_number(&mut out, self.body.len() as u64);
        out.extend_from_slice(b"\r\n\r\n");
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
    if memchr::memchr3(b'\r', b'\n', 0, text).is_none() {
        return out.extend_from_slice(text);
    }
    out.extend(text.iter().map(|&byte| if matches!(byte, b'\r' | b'\n' | 0) { b' ' } else { byte }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, Verdict};

    const REQUEST: &str = "OPTIONS sip:b@c SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1,\r\n SIP/2.0/TCP b\r\n\
        Max-Forwards: 1\r\nv: SIP/2.0/UDP d\r\nf: <sip:a@b>;tag=1\r\nt: \"B\" <sip:b@c>  \r\ni: x\r\nCSeq: 7 OPTIONS\r\n\r\n";

    fn request(text: &str) -> Message {
        Message::parse(Bytes::from(text.to_owned()), &Limits::default()).expect("a request")
    }

    #[test]
    fn a_response_copies_what_8_2_6_2_names() {
        let mut builder = Builder::response(&request(REQUEST), 404, "Not Found");
        let response = builder.to_tag("t1").header("Server", "ser").finish();
        assert_eq!(
            String::from_utf8_lossy(&response),
            "SIP/2.0 404 Not Found\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1,\r\n SIP/2.0/TCP b\r\nv: SIP/2.0/UDP d\r\n\
             f: <sip:a@b>;tag=1\r\nt: \"B\" <sip:b@c>;tag=t1  \r\ni: x\r\nCSeq: 7 OPTIONS\r\nServer: ser\r\n\
             Content-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn a_tag_that_stands_is_kept() {
        let text = REQUEST.replace("<sip:b@c>  ", "<sip:b@c>;tag=old");
        let response = Builder::response(&request(&text), 200, "OK").to_tag("new").finish();
        let response = Message::parse(response, &Limits::default()).expect("a response");
        assert_eq!(response.to_tag(), Some(&b"old"[..]));
    }

    #[test]
    fn a_request_with_stray_line_ends_can_still_be_answered() {
        let request = request(&REQUEST.replace("i: x\r\n", "i: x\rEvil: 1\r\n"));
        assert!(matches!(request.verdict(), Verdict::Answer(_)));
        let response = Builder::response(&request, 400, "Stray Control Byte").to_tag("t").finish();
        let response = Message::parse(response, &Limits::default()).expect("a response");
        assert_eq!(response.verdict(), Verdict::Accept);
        assert_eq!(response.call_id(), b"x Evil: 1");
    }

    #[test]
    fn no_value_adds_a_header_of_its_own() {
        let mut builder = Builder::request("MESSAGE", b"sip:b@c\r\nA: 1");
        builder.header("Subject", "x\r\nEvil: 1").raw_line("P: 1").body("text/plain", "hi");
        assert_eq!(
            builder.finish(),
            "MESSAGE sip:b@c  A: 1 SIP/2.0\r\nSubject: x  Evil: 1\r\nP: 1\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi"
        );
    }
}
