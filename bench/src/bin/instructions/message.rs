//! The parts of a message's way: read, judged, written again.

use std::hint::black_box;

use bytes::Bytes;
use sip_message::{Edits, HeaderName, Limits, Message, write};

const INVITE: &str = "INVITE sip:bob@biloxi.example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP pc33.atlanta.example.com:5060;branch=z9hG4bK776asdhds;rport\r\n\
    Max-Forwards: 70\r\n\
    Route: <sip:bigbox3.site3.atlanta.example.com;lr>\r\n\
    From: \"Alice\" <sip:alice@atlanta.example.com>;tag=1928301774\r\n\
    To: \"Bob\" <sip:bob@biloxi.example.com>\r\n\
    Call-ID: a84b4c76e66710@pc33.atlanta.example.com\r\n\
    CSeq: 314159 INVITE\r\n\
    Contact: <sip:alice@pc33.atlanta.example.com;transport=udp>\r\n\
    Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, MESSAGE, SUBSCRIBE, INFO\r\n\
    User-Agent: Softphone Beta1.5\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 150\r\n\r\n\
    v=0\r\no=mhandley 29739 7272939 IN IP4 192.0.2.3\r\ns=-\r\nc=IN IP4 192.0.2.4\r\nt=0 0\r\n\
    m=audio 49217 RTP/AVP 0 12\r\nm=video 3227 RTP/AVP 31\r\na=rtpmap:31 LPC\r\n";

/// Reads the INVITE and does `work` with it, `count` times.
pub(crate) fn repeat(count: usize, work: fn(&Message, &mut Vec<u8>)) {
    let (bytes, limits) = (Bytes::from_static(INVITE.as_bytes()), Limits::default());
    let mut out = Vec::with_capacity(2048);
    for _ in 0..count {
        work(&parse(&bytes, &limits), &mut out);
    }
}

// Each stays a function of its own, for callgrind to find.
#[inline(never)]
fn parse(bytes: &Bytes, limits: &Limits) -> Message {
    Message::parse(black_box(bytes).clone(), limits).expect("an INVITE")
}

/// Reading is all there is to be done.
pub(crate) fn only_parse(message: &Message, _: &mut Vec<u8>) {
    black_box(message);
}

#[inline(never)]
pub(crate) fn validate(message: &Message, _: &mut Vec<u8>) {
    assert!(black_box(message).validate().is_ok());
}

#[inline(never)]
pub(crate) fn write_copy(message: &Message, out: &mut Vec<u8>) {
    let mut edits = Edits::new();
    edits.set_request_uri(Bytes::from_static(b"sip:bob@192.0.2.4"));
    edits.prepend_header(Bytes::from_static(b"Via: SIP/2.0/UDP proxy.example.com;branch=z9hG4bKx\r\n"));
    edits.insert_before(HeaderName::Route, Bytes::from_static(b"Record-Route: <sip:proxy.example.com;lr>\r\n"));
    edits.remove_headers(message, HeaderName::Route);
    edits.replace(
        message.header(HeaderName::MaxForwards).expect("it stands there").value_span,
        Bytes::from_static(b"69"),
    );
    out.clear();
    write(message, &[&edits], out);
    black_box(&out);
}
