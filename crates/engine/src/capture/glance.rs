//! What must be known of a message to file it, found without an index: what leaves has none.

use memchr::memchr;

/// What one look at a message shows.
pub(super) struct Glance<'a> {
    /// The Call-ID; empty where there is none.
    pub(super) call_id: &'a [u8],
    /// It says that a call has failed: a final reply to an INVITE that is neither success nor a redirection, nor asks for
    /// credentials (401, 407), nor says that the caller gave up (487).
    pub(super) is_failed_call: bool,
    /// The value of CSeq, where it was asked for.
    cseq: &'a [u8],
    is_success: bool,
}

impl Glance<'_> {
    pub(super) fn cseq_number(&self) -> Option<u32> {
        let digits = self.cseq.split(|byte| !byte.is_ascii_digit()).next()?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// Whether it is the success of a BYE.
    pub(super) fn ends_dialog(&self) -> bool {
        self.is_success && self.cseq.ends_with(b"BYE")
    }
}

/// Looks at a message. CSeq costs a little and is looked for only where it matters.
pub(super) fn glance(bytes: &[u8], wants_cseq: bool) -> Glance<'_> {
    let mut rest = bytes;
    let is_success = bytes.starts_with(b"SIP/2.0 2");
    let mut seen = Glance { call_id: b"", is_failed_call: false, cseq: b"", is_success };
    let is_failure = is_failure(bytes);
    let mut wants_cseq = wants_cseq || is_failure;
    while let Some(end) = memchr(b'\n', rest) {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        match line.first() {
            None | Some(b'\r') => break,
            Some(b'C' | b'c' | b'I' | b'i') => {}
            Some(_) => continue,
        }
        if let Some(value) = value_of(line, b"call-id").or_else(|| value_of(line, b"i")) {
            seen.call_id = value;
        } else if wants_cseq && let Some(value) = value_of(line, b"cseq") {
            seen.is_failed_call = is_failure && value.ends_with(b"INVITE");
            seen.cseq = value;
            wants_cseq = false;
        }
        if !(seen.call_id.is_empty() || wants_cseq) {
            break;
        }
    }
    seen
}

/// Whether it is a reply that may say so, by its status.
pub(super) fn is_failure(bytes: &[u8]) -> bool {
    let status = bytes.strip_prefix(b"SIP/2.0 ").and_then(|rest| rest.get(..3));
    status.is_some_and(|status| status[0] >= b'4' && !matches!(status, b"401" | b"407" | b"487"))
}

/// The value of header `name` (in lower case) if this line is one.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let start = line.get(..name.len()).filter(|start| start.eq_ignore_ascii_case(name))?;
    let rest = line[start.len()..].trim_ascii_start();
    rest.strip_prefix(b":").map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &str, call_id: &str, is_failed_call: bool) {
        let message = message.replace('\n', "\r\n");
        let seen = glance(message.as_bytes(), false);
        assert_eq!((seen.call_id, seen.is_failed_call), (call_id.as_bytes(), is_failed_call), "{message}");
    }

    #[test]
    fn a_final_reply_to_an_invite_says_that_its_call_failed() {
        check("SIP/2.0 486 Busy Here\nCSeq: 1 INVITE\ni : a@b \n\n", "a@b", true);
        check("SIP/2.0 603 Decline\nCALL-ID:a\nCSeq: 1 INVITE\n\n", "a", true);
        check("SIP/2.0 404 Not Found\nCall-ID: a\nCSeq: 1 OPTIONS\n\n", "a", false);
        check("SIP/2.0 401 Unauthorized\nCall-ID: a\nCSeq: 1 INVITE\n\n", "a", false);
        check("SIP/2.0 200 OK\nCall-ID: a\nCSeq: 1 INVITE\n\n", "a", false);
    }

    #[test]
    fn what_stands_in_a_body_is_no_header() {
        check("INVITE sip:b SIP/2.0\nContact: <sip:x>\n\nCall-ID: no\n\n", "", false);
        check("", "", false);
        check("SIP/2.0 ", "", false);
    }
}
