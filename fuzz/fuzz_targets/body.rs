//! Any bytes as a session description and as a multipart body: nothing panics, and each span
//! covers the text that it says.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sip_message::{Limits, Message, Span, multipart, sdp};

/// Where the body lies in a message that is not there: spans must count from it.
const OFFSET: u32 = 1000;

fuzz_target!(|data: &[u8]| {
    let text = |span: Span| Span { start: span.start - OFFSET, end: span.end - OFFSET }.of(data);
    if let Ok(session) = sdp::Session::parse(data, OFFSET) {
        for line in session.lines() {
            assert_eq!(text(line.value_span), line.value);
        }
        for connection in session.connections() {
            assert_eq!(text(connection.address_span), connection.address);
        }
        if let Some(origin) = session.origin() {
            assert_eq!(text(origin.address_span), origin.address);
            assert_eq!(text(origin.version_span), origin.version);
        }
        for media in session.media() {
            assert!(text(media.port_span).iter().all(u8::is_ascii_digit));
            assert_eq!(text(media.protocol_span), media.protocol);
            let _ = (media.connection(), media.attributes().count());
        }
    }
    let limits = Limits::default();
    if let Ok(parts) = multipart::parts(data, b"b", OFFSET, &limits) {
        for part in parts {
            assert_eq!(text(part.body_span), part.body());
            let _ = part.content_type();
        }
    }
    let head = b"MESSAGE sip:a@b SIP/2.0\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n".as_slice();
    let message = Message::parse(Bytes::from([head, data].concat()), &limits).expect("a sound head");
    let _ = multipart::session(&message, &limits);
});
