//! Whatever a message says: keys, Via, routes, loops and registrar take it without panic, and what
//! they edit still parses.
#![no_main]

use std::hash::DefaultHasher;
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sip_message::{Edits, Limits, Message, write};
use sip_proto::registrar::{Policy, apply, contact_header};
use sip_proto::transaction::{key, messages};
use sip_proto::{digest, forward, loop_detection, routes};

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    let Ok(message) = Message::parse(bytes.clone(), &Limits::default()) else { return };
    let _ = (key::server_key(&message), key::cancelled_key(&message), key::client_key(&message));
    let _ = (messages::cancel_for(&bytes), messages::ack_for_failure(&bytes, &message));
    let hash = loop_detection::loop_hash(&message, DefaultHasher::new());
    let _ = loop_detection::is_loop(&message, hash, |_| true);
    let _ = forward::stateless_identity(&message, DefaultHasher::new());
    for header in message.headers() {
        let _ = digest::Credentials::parse(header.value);
    }
    register(&message);
    if message.is_request() && message.validate().is_ok() {
        forwarded(&message);
    }
});

fn register(message: &Message) {
    let now = Duration::from_secs(1_000);
    let policy = Policy::default();
    if let Ok(update) = apply(message, &[], &policy, now) {
        assert!(update.bindings.len() <= policy.max_contacts);
        let _ = contact_header(&update.bindings, now);
        // The very same REGISTER again: refused for its order, or with nothing to refuse for.
        let _ = apply(message, &update.bindings, &policy, now);
    }
}

fn forwarded(message: &Message) {
    let mut edits = Edits::new();
    let source = "192.0.2.1:5060".parse().expect("a literal address");
    forward::mark_sender(message, source, true, &mut edits);
    let is_read = routes::loose_route(message, |uri| uri.port.is_none(), &mut edits).is_ok();
    if forward::count_down(message, &mut edits).is_err() || !is_read {
        return;
    }
    let mut out = Vec::new();
    write(message, &[&edits], &mut out);
    let limits = Limits { message_bytes: usize::MAX, head_bytes: usize::MAX, ..Limits::default() };
    let again = Message::parse(Bytes::from(out), &limits).expect("what is forwarded is SIP");
    let via = again.top_via().expect("a marked Via still reads");
    assert_eq!(via.rport(), Some(Some(5060)));
}
