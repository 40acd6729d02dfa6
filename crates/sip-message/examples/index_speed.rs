//! Measures what it costs to index, judge and rewrite an ordinary INVITE of 12 headers.
//!
//! `cargo run --release -p sip-message --example index_speed`

#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::hint::black_box;
use std::time::Instant;

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

fn main() {
    let bytes = Bytes::from_static(INVITE.as_bytes());
    let limits = Limits::default();
    let parse = || Message::parse(bytes.clone(), &limits).expect("an INVITE");
    measure("index", || drop(black_box(parse())));
    measure("index and validate", || assert!(black_box(parse()).validate().is_ok()));
    let message = parse();
    let mut out = Vec::with_capacity(2048);
    measure("write with 5 edits", || {
        let mut edits = Edits::new();
        edits.set_request_uri(Bytes::from_static(b"sip:bob@192.0.2.4"));
        edits.prepend_header(Bytes::from_static(b"Via: SIP/2.0/UDP proxy.example.com;branch=z9hG4bKx\r\n"));
        edits.insert_before(HeaderName::Route, Bytes::from_static(b"Record-Route: <sip:proxy.example.com;lr>\r\n"));
        edits.remove_headers(&message, HeaderName::Route);
        edits.replace(message.header(HeaderName::MaxForwards).expect("stands").value_span, Bytes::from_static(b"69"));
        out.clear();
        write(&message, &[&edits], &mut out);
        black_box(&out);
    });
}

/// Best of many short rounds, so that a busy machine does not count.
fn measure(what: &str, mut work: impl FnMut()) {
    const TURNS: u32 = 1_000;
    let round = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..TURNS).for_each(|_| work());
        start.elapsed().as_nanos() as f64 / f64::from(TURNS)
    };
    let best = (0..1_000).map(|_| round(&mut work)).fold(f64::INFINITY, f64::min);
    println!("{what:20} {best:7.0} ns");
}
