//! Any bytes as a datagram: nothing panics, every span lies inside, and what is written without
//! edits is what came.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sip_message::{Builder, Edits, Element, HeaderName, Limits, Message, Verdict, write};

fuzz_target!(|data: &[u8]| {
    let limits = Limits::default();
    let Ok(message) = Message::parse(Bytes::copy_from_slice(data), &limits) else { return };
    let verdict = message.verdict();
    let _ = message.verdict_at(Element::Proxy(&[]));
    let _ = message.verdict_at(Element::Server(&["100rel"]));
    decode(&message);

    let mut out = Vec::new();
    write(&message, &[], &mut out);
    assert_eq!(out, message.bytes());

    let again = Message::parse(Bytes::from(out), &limits).expect("what was accepted is accepted again");
    assert_eq!(again.bytes(), message.bytes());
    assert_eq!(again.header_count(), message.header_count());

    if verdict == Verdict::Accept {
        accepted(&message, &limits);
    }
});

fn decode(message: &Message) {
    for header in message.headers() {
        let _ = header.unfolded();
        for value in header.values() {
            assert_eq!(message.text(value.span), value.text);
        }
    }
    for via in message.vias().flatten() {
        let _ = (via.branch(), via.rport(), via.received(), via.ttl(), via.parsed_host());
        assert!(via.span.contains(via.sent_by));
    }
    for address in message.routes().chain(message.record_routes()).chain(message.paths()).flatten() {
        let _ = (address.parsed_uri(), address.display_text(), address.params.iter().count());
    }
    for contact in message.contacts().flatten() {
        let _ = contact.address().map(|address| (address.q(), address.expires()));
    }
    let _ = (message.from_tag(), message.to_tag(), message.cseq(), message.max_forwards(), message.expires());
    let _ = (message.method(), message.content_type(), message.event(), message.rack(), message.parsed_request_uri());
    for name in [HeaderName::Authorization, HeaderName::ProxyAuthenticate] {
        for credentials in message.credentials(name) {
            let _ = credentials.iter().count();
        }
    }
}

/// What is accepted stays accepted after the edits that a proxy makes, and can be answered.
fn accepted(message: &Message, limits: &Limits) {
    let mut edits = Edits::new();
    edits.prepend_header("Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKfuzz\r\n");
    edits.append_header("X-Fuzz: 1\r\n");
    edits.remove_headers(message, HeaderName::Route);
    edits.set_body(None, "v=0\r\n");
    let mut out = Vec::new();
    write(message, &[&edits], &mut out);
    let edited = Message::parse(Bytes::from(out), limits).expect("edits keep the form");
    assert_eq!(edited.verdict(), Verdict::Accept);
    assert_eq!(edited.body(), b"v=0\r\n");
    assert!(!edited.has(HeaderName::Route));
    assert_eq!(edited.top_via().ok().and_then(|via| via.branch().map(<[u8]>::to_vec)), Some(b"z9hG4bKfuzz".to_vec()));

    if message.is_request() {
        let answer = Builder::response(message, 200, "OK").to_tag("fuzz").finish();
        let answer = Message::parse(answer, limits).expect("our own response");
        assert_eq!(answer.verdict(), Verdict::Accept);
        assert!(answer.to_tag().is_some());
        assert_eq!(answer.vias().count(), message.vias().count());
    }
}
