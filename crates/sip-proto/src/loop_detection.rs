//! Loops and the growth of forks (RFC 5393).

use std::hash::Hasher;

use sip_message::{Edits, HeaderName, Message, Via};

use crate::branch;

/// Max-Breadth of a request that came without (RFC 5393 section 5.3.3).
pub const MAX_BREADTH: u32 = 60;

/// A hash of all that decides where a request goes (RFC 5393 section 4.2.2), for the branch of our Via.
///
/// The method is not part of it, so that a CANCEL gets the same; neither is a Via, which every hop
/// changes. `hasher` is keyed with a secret of this node, and the same one each time.
pub fn loop_hash(request: &Message, mut hasher: impl Hasher) -> u64 {
    let mut part = |text: &[u8]| {
        hasher.write(text);
        hasher.write_usize(text.len());
    };
    part(request.request_uri());
    part(request.call_id());
    part(request.from_tag().unwrap_or_default());
    part(request.to_tag().unwrap_or_default());
    part(&request.cseq().map_or(0, |cseq| cseq.number).to_be_bytes());
    for name in [HeaderName::Route, HeaderName::ProxyRequire, HeaderName::ProxyAuthorization] {
        for header in request.headers_named(name) {
            part(header.value);
        }
        part(b"");
    }
    hasher.finish()
}

/// Whether the request has been here before with nothing changed: 482 (RFC 3261 section 16.3 step 4,
/// RFC 5393 section 4.2.3). A spiral, where something changed, is none.
///
/// `is_own` tells whether the sent-by of a Via is ours; `hash` is [`loop_hash`] of the request.
pub fn is_loop(request: &Message, hash: u64, is_own: impl Fn(&Via<'_>) -> bool) -> bool {
    let vias = request.vias().filter_map(Result::ok);
    vias.filter(|via| via.branch().and_then(branch::loop_hash) == Some(hash)).any(|via| is_own(&via))
}

/// How many branches a request may have at once, here and further on (RFC 5393 section 5.3).
pub fn max_breadth(request: &Message) -> u32 {
    request.seconds(HeaderName::MaxBreadth).unwrap_or(MAX_BREADTH).min(MAX_BREADTH)
}

/// The Max-Breadth of branch `place` of `count` parallel ones; none when they are more than
/// `breadth`, to be refused with 440 (RFC 5393 section 5.3.3.1) or tried one after the other.
pub fn share(breadth: u32, count: u32, place: u32) -> Option<u32> {
    if count == 0 || count > breadth || place >= count {
        return None;
    }
    let is_early = place < breadth % count;
    Some(breadth / count + u32::from(is_early))
}

/// Writes the share of a branch into its copy of the request.
pub fn set_max_breadth(request: &Message, share: u32, edits: &mut Edits) {
    match request.header(HeaderName::MaxBreadth) {
        Some(header) => edits.replace(header.value_span, share.to_string()),
        None => edits.append_header(format!("Max-Breadth: {share}\r\n")),
    }
}

#[cfg(test)]
mod tests {
    use std::hash::DefaultHasher;

    use bytes::Bytes;
    use sip_message::{Limits, write};

    use super::*;
    use crate::branch::Branch;

    fn request(method: &str, uri: &str, headers: &str) -> Message {
        let text = format!(
            "{method} {uri} SIP/2.0\r\n{headers}From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: c\r\n\
             CSeq: 1 {method}\r\n\r\n"
        );
        Message::parse(Bytes::from(text), &Limits::default()).unwrap()
    }

    fn hash(method: &str, uri: &str, headers: &str) -> u64 {
        loop_hash(&request(method, uri, headers), DefaultHasher::new())
    }

    // RFC 5393 section 4.2.2.
    #[test]
    fn the_hash_follows_what_routes_a_request() {
        let plain = hash("INVITE", "sip:b@h", "");
        assert_eq!(hash("INVITE", "sip:b@h", "Via: SIP/2.0/UDP x\r\nMax-Forwards: 3\r\n"), plain);
        assert_eq!(hash("CANCEL", "sip:b@h", ""), plain);
        assert_ne!(hash("INVITE", "sip:c@h", ""), plain);
        assert_ne!(hash("INVITE", "sip:b@h", "Route: <sip:r;lr>\r\n"), plain);
        assert_ne!(hash("INVITE", "sip:b@h", "Proxy-Require: x\r\n"), plain);
        assert_ne!(hash("INVITE", "sip:b@h", "Route: x\r\n"), hash("INVITE", "sip:b@h", "Proxy-Require: x\r\n"));
    }

    fn returned(uri: &str, sent_by: &str) -> bool {
        let first = hash("INVITE", "sip:b@h", "");
        let text = branch::stateful(Branch { slot: 1, generation: 1, index: 0 }, first, 9);
        let via = format!("Via: SIP/2.0/UDP x, SIP/2.0/UDP {sent_by};branch={}\r\n", text.escape_ascii());
        let message = request("INVITE", uri, &via);
        let hash = loop_hash(&message, DefaultHasher::new());
        is_loop(&message, hash, |via| via.host == b"us.example.com")
    }

    // RFC 5393 section 4.2.3.
    #[test]
    fn an_unchanged_request_that_returns_is_a_loop() {
        assert!(returned("sip:b@h", "us.example.com"));
    }

    #[test]
    fn a_changed_request_that_returns_is_a_spiral() {
        assert!(!returned("sip:c@h", "us.example.com"));
    }

    #[test]
    fn the_via_of_another_element_makes_no_loop() {
        assert!(!returned("sip:b@h", "them.example.com"));
    }

    // RFC 5393 section 5.3.
    #[test]
    fn breadth_is_shared_among_branches_and_never_grows() {
        let shares = |breadth, count| (0..count).map(|place| share(breadth, count, place)).collect::<Option<Vec<_>>>();
        assert_eq!(shares(60, 1), Some(vec![60]));
        assert_eq!(shares(5, 3), Some(vec![2, 2, 1]));
        assert_eq!(shares(2, 3), None);
        assert_eq!(share(0, 1, 0), None);
    }

    #[test]
    fn max_breadth_is_read_and_held_within_its_default() {
        assert_eq!(max_breadth(&request("INVITE", "sip:b@h", "")), 60);
        assert_eq!(max_breadth(&request("INVITE", "sip:b@h", "Max-Breadth: 7\r\n")), 7);
        assert_eq!(max_breadth(&request("INVITE", "sip:b@h", "Max-Breadth: 9999\r\n")), 60);
    }

    #[test]
    fn a_share_replaces_what_came_or_is_added() {
        for headers in ["Max-Breadth: 60\r\n", ""] {
            let message = request("INVITE", "sip:b@h", headers);
            let mut edits = Edits::new();
            set_max_breadth(&message, 30, &mut edits);
            let mut out = Vec::new();
            write(&message, &[&edits], &mut out);
            assert!(out.windows(17).any(|text| text == b"Max-Breadth: 30\r\n"));
            assert!(!out.windows(15).any(|text| text == b"Max-Breadth: 60"));
        }
    }
}
