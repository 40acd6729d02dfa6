//! The few SIP messages that the load consists of, written and read as fast as text allows.
//!
//! The generator wrote one side of everything that it reads, so it looks for its own marks only;
//! it is no parser of SIP and must not become one.

/// The lines of `bytes` up to the empty one, without their line ends.
pub fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', rest)?;
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        rest = &rest[end + 1..];
        (!line.is_empty()).then_some(line)
    })
}

/// Value of the first header called `name`, which is compared without case.
pub fn header<'a>(bytes: &'a [u8], name: &str) -> Option<&'a [u8]> {
    lines(bytes).find_map(|line| header_value(line, name))
}

/// Appends a response to `request` that copies what RFC 3261 section 8.2.6.2 says to copy.
///
/// `extra` holds whole lines, a `Contact` perhaps. A `To` without a tag gets one.
pub fn answer(request: &[u8], status: &str, extra: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"SIP/2.0 ");
    out.extend_from_slice(status.as_bytes());
    out.extend_from_slice(b"\r\n");
    for line in lines(request).skip(1) {
        let is_copied = COPIED.iter().any(|name| header_value(line, name).is_some());
        if is_copied {
            out.extend_from_slice(line);
            out.extend_from_slice(b"\r\n");
        } else if header_value(line, "To").is_some() {
            out.extend_from_slice(line);
            let has_tag = memchr::memmem::find(line, b";tag=").is_some();
            out.extend_from_slice(if has_tag { b"\r\n" } else { b";tag=callee\r\n" });
        }
    }
    out.extend_from_slice(extra.as_bytes());
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
}

/// Status code of a response, `None` for a request.
pub fn status(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(b"SIP/2.0 ")?.get(..3)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The number before the first dash of the Call-ID, where the generator put the call's number.
pub fn call_number(bytes: &[u8]) -> Option<usize> {
    let call_id = header(bytes, "Call-ID")?;
    let end = memchr::memchr(b'-', call_id)?;
    usize::from_str_radix(std::str::from_utf8(&call_id[..end]).ok()?, 16).ok()
}

/// The From tag, which the generator wrote as a hexadecimal number.
pub fn from_tag(bytes: &[u8]) -> Option<usize> {
    let from = header(bytes, "From")?;
    let digits = &from[memchr::memmem::find(from, b";tag=")? + 5..];
    usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Session description of a phone that offers three codecs: what a call really carries.
pub const OFFER: &str = "v=0\r\no=- 3848219 3848219 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
    m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n";

const COPIED: [&str; 5] = ["Via", "From", "Call-ID", "CSeq", "Record-Route"];

/// Value of `line` when it is a header called `name`.
pub fn header_value<'a>(line: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (head, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    head.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] = b"BYE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=1\r\nTo: <sip:a@b>\r\n\
        From: <sip:c@d>;tag=1\r\nCall-ID: 1f-x@y\r\nCSeq: 2 BYE\r\nMax-Forwards: 9\r\n\r\n";

    #[test]
    fn an_answer_copies_via_to_from_call_id_and_cseq() {
        let mut out = Vec::new();
        answer(REQUEST, "200 OK", "", &mut out);
        let expected = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=1\r\nTo: <sip:a@b>;tag=callee\r\n\
            From: <sip:c@d>;tag=1\r\nCall-ID: 1f-x@y\r\nCSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn the_number_of_a_call_comes_back_in_its_call_id() {
        assert_eq!(call_number(REQUEST), Some(0x1f));
        assert_eq!(status(b"SIP/2.0 180 Ringing\r\n"), Some(180));
        assert_eq!(status(REQUEST), None);
    }
}
