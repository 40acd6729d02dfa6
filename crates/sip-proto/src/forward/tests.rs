//! Tests of forwarding, by section.

use std::hash::DefaultHasher;

use sip_message::{Builder, Limits, write};

use super::*;

fn request(headers: &str) -> Message {
    let text = format!("INVITE sip:b@example.com SIP/2.0\r\n{headers}\r\n");
    Message::parse(Bytes::from(text), &Limits::default()).unwrap()
}

fn written(message: &Message, edits: &Edits) -> String {
    let mut out = Vec::new();
    write(message, &[edits], &mut out);
    let text = String::from_utf8(out).unwrap();
    text.split_once("\r\n").unwrap().1.trim_end().replace("\r\n", "|")
}

fn check_count_down(headers: &str, expected: Result<&str, TooManyHops>) {
    let message = request(headers);
    let mut edits = Edits::new();
    let result = count_down(&message, &mut edits).map(|()| written(&message, &edits));
    assert_eq!(result.as_deref(), expected.as_ref().map(|text| *text), "{headers:?}");
}

// 16.6 step 3.
#[test]
fn max_forwards_counts_down_to_zero_and_not_below() {
    check_count_down("Max-Forwards: 70\r\n", Ok("Max-Forwards: 69"));
    check_count_down("Max-Forwards:  1\r\n", Ok("Max-Forwards:  0"));
    check_count_down("Max-Forwards: 0\r\n", Err(TooManyHops));
}

#[test]
fn a_missing_max_forwards_is_added() {
    check_count_down("Call-ID: x\r\n", Ok("Call-ID: x|Max-Forwards: 70"));
}

// 16.6 step 8.
#[test]
fn our_via_stands_on_top_with_its_brackets() {
    let message = request("Max-Forwards: 9\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\n");
    let mut edits = Edits::new();
    let via = OwnVia {
        transport: Transport::Tls,
        host: b"[2001:db8::1]",
        port: 5061,
        branch: b"z9hG4bKx",
        asks_rport: true,
        params: b"",
    };
    push_via(&via, &mut edits);
    assert_eq!(
        written(&message, &edits),
        "Max-Forwards: 9|Via: SIP/2.0/TLS [2001:db8::1]:5061;branch=z9hG4bKx;rport|Via: SIP/2.0/UDP a;branch=z9hG4bK1"
    );
}

fn check_mark(via: &str, source: &str, is_forced: bool, expected: &str) {
    let message = request(&format!("Via: SIP/2.0/UDP {via}, SIP/2.0/UDP z;branch=z9hG4bKz\r\n"));
    let mut edits = Edits::new();
    mark_sender(&message, source.parse().unwrap(), is_forced, &mut edits);
    let expected = format!("Via: SIP/2.0/UDP {expected}, SIP/2.0/UDP z;branch=z9hG4bKz");
    assert_eq!(written(&message, &edits), expected, "{via} {source}");
}

// 18.2.1.
#[test]
fn a_name_or_another_address_gets_received() {
    check_mark("a.example.com;branch=1", "192.0.2.1:5060", false, "a.example.com;branch=1;received=192.0.2.1");
    check_mark("10.0.0.1:5070;branch=1", "192.0.2.1:5060", false, "10.0.0.1:5070;branch=1;received=192.0.2.1");
    check_mark("a.example.com", "[2001:db8::1]:5060", false, "a.example.com;received=2001:db8::1");
}

#[test]
fn the_right_address_stays_as_it_is() {
    check_mark("192.0.2.1:5070;branch=1", "192.0.2.1:9", false, "192.0.2.1:5070;branch=1");
    check_mark("[2001:DB8:0::1];branch=1", "[2001:db8::1]:9", false, "[2001:DB8:0::1];branch=1");
}

// RFC 3581 section 4.
#[test]
fn rport_gets_the_port_and_received_with_it() {
    check_mark(
        "192.0.2.1:5060;rport;branch=1",
        "192.0.2.1:4540",
        false,
        "192.0.2.1:5060;branch=1;received=192.0.2.1;rport=4540",
    );
    check_mark("a;branch=1", "192.0.2.1:4540", true, "a;branch=1;received=192.0.2.1;rport=4540");
}

#[test]
fn marks_that_the_sender_wrote_itself_are_replaced() {
    check_mark("192.0.2.1;received=10.9.9.9;branch=1", "192.0.2.1:5060", false, "192.0.2.1;branch=1");
    check_mark(
        "a;rport=7;received=10.9.9.9;branch=1",
        "192.0.2.1:4540",
        false,
        "a;branch=1;received=192.0.2.1;rport=4540",
    );
}

#[test]
fn a_response_made_here_carries_the_marked_via() {
    let message = request("Via: SIP/2.0/UDP a;rport, SIP/2.0/UDP b\r\nv: SIP/2.0/UDP c\r\nCall-ID: x\r\n");
    let via = message.top_via().unwrap();
    let marked = marked_via(&message, &via, "192.0.2.1:9".parse().unwrap(), false).unwrap();
    let response = Builder::response_via(&message, 100, "Trying", &marked).finish();
    let expected = "SIP/2.0 100 Trying\r\nVia: SIP/2.0/UDP a;received=192.0.2.1;rport=9\r\nVia: SIP/2.0/UDP b\r\n\
        v: SIP/2.0/UDP c\r\nCall-ID: x\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(response, expected);
}

// RFC 7339 sections 4 and 5: a client that can is told which share of its requests to keep to itself.
#[test]
fn a_sender_that_asks_for_it_is_told_of_overload() {
    let source = ("192.0.2.1:9".parse().unwrap(), false);
    let told = |via: &str, loss| {
        let message = request(&format!("Via: {via}\r\nCall-ID: x\r\n"));
        let feedback = OverloadFeedback { loss, decided: Duration::from_millis(1_282_321_615_781) };
        let told = answered_via(&message, &message.top_via().unwrap(), source, Some(feedback));
        told.map(|text| String::from_utf8(text).unwrap())
    };
    let asks = "SIP/2.0/TLS 192.0.2.1;branch=z9hG4bK1;oc;oc-algo=\"loss,A\"";
    let expected = "SIP/2.0/TLS 192.0.2.1;branch=z9hG4bK1;oc=20;oc-algo=\"loss\";oc-validity=500;oc-seq=1282321615.781";
    assert_eq!(told(asks, 20).as_deref(), Some(expected));
    assert!(told(asks, 0).is_some_and(|via| via.contains(";oc=0;oc-algo=\"loss\";oc-validity=0;")));
    assert_eq!(told("SIP/2.0/TLS 192.0.2.1;branch=z9hG4bK1", 20), None);
    assert_eq!(told("SIP/2.0/TLS 192.0.2.1;branch=z9hG4bK1;oc=50", 20), None);
}

fn check_address(via: &str, to_source: bool, expected: &str) {
    let via = Via::parse(via.as_bytes()).unwrap();
    let address = response_address(&via, "192.0.2.1:4540".parse().unwrap(), to_source);
    assert_eq!(address.to_string(), expected);
}

// 18.2.2.
#[test]
fn a_response_goes_to_the_source_address_and_the_port_of_the_via() {
    check_address("SIP/2.0/UDP 10.0.0.1:5070", false, "192.0.2.1:5070");
    check_address("SIP/2.0/UDP 10.0.0.1", false, "192.0.2.1:5060");
    check_address("SIP/2.0/TLS 10.0.0.1", false, "192.0.2.1:5061");
}

#[test]
fn rport_sends_a_response_back_to_the_source_port() {
    check_address("SIP/2.0/UDP 10.0.0.1:5070;rport", false, "192.0.2.1:4540");
    check_address("SIP/2.0/UDP 10.0.0.1:5070", true, "192.0.2.1:4540");
}

#[test]
fn maddr_takes_a_response_elsewhere() {
    check_address("SIP/2.0/UDP 10.0.0.1:5070;maddr=224.0.1.75", false, "224.0.1.75:5070");
}

fn check_target(via: &str, expected: Option<(Host<'_>, Option<u16>)>) {
    let via = Via::parse(via.as_bytes()).unwrap();
    assert_eq!(response_target(&via).map(|target| (target.host, target.port)), expected);
}

#[test]
fn a_via_leads_to_maddr_then_received_then_sent_by() {
    let v4 = |last| Host::V4([192, 0, 2, last].into());
    check_target("SIP/2.0/UDP h:5070;maddr=192.0.2.9;received=192.0.2.1", Some((v4(9), Some(5070))));
    check_target("SIP/2.0/UDP h:5070;received=192.0.2.1;rport=99", Some((v4(1), Some(99))));
    check_target("SIP/2.0/UDP h:5070;received=192.0.2.1", Some((v4(1), Some(5070))));
    check_target("SIP/2.0/UDP h;received=192.0.2.1", Some((v4(1), Some(5060))));
    check_target("SIP/2.0/UDP h", Some((Host::Name(b"h"), None)));
}

// RFC 5118 section 4.5.
#[test]
fn received_is_read_with_and_without_brackets() {
    let host = Host::V6("2001:db8::9".parse().unwrap());
    check_target("SIP/2.0/UDP h;received=2001:db8::9", Some((host, Some(5060))));
    check_target("SIP/2.0/UDP h;received=[2001:db8::9]", Some((host, Some(5060))));
}

fn response(headers: &str) -> Message {
    let text = format!("SIP/2.0 401 Unauthorized\r\n{headers}\r\n");
    Message::parse(Bytes::from(text), &Limits::default()).unwrap()
}

// 16.7 step 3.
#[test]
fn our_via_is_taken_off_a_response() {
    for (headers, expected, follows) in [
        ("Via: SIP/2.0/UDP a, SIP/2.0/UDP b\r\nCall-ID: x\r\n", "Via: SIP/2.0/UDP b|Call-ID: x", true),
        ("Via: SIP/2.0/UDP a\r\nv: SIP/2.0/UDP b\r\nCall-ID: x\r\n", "v: SIP/2.0/UDP b|Call-ID: x", true),
        ("Via: SIP/2.0/UDP a\r\nCall-ID: x\r\n", "Call-ID: x", false),
    ] {
        let message = response(headers);
        let mut edits = Edits::new();
        assert_eq!(pop_via(&message, &mut edits), follows);
        assert_eq!(written(&message, &edits), expected);
    }
}

// 16.7 step 7.
#[test]
fn challenges_of_another_branch_are_added_once() {
    let best = response("Call-ID: x\r\nWWW-Authenticate: Digest realm=\"a\"\r\n");
    let headers = "WWW-Authenticate: Digest realm=\"a\"\r\nProxy-Authenticate: Digest realm=\"b\",\r\n nonce=\"n\"\r\n";
    let mut edits = Edits::new();
    add_challenges(&best, &response(headers), &mut edits);
    assert_eq!(
        written(&best, &edits),
        "Call-ID: x|WWW-Authenticate: Digest realm=\"a\"|Proxy-Authenticate: Digest realm=\"b\", nonce=\"n\""
    );
}

fn identity(method: &str, via: &str, to: &str) -> u64 {
    let text = format!(
        "{method} sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/UDP {via}\r\nFrom: <sip:a@x>;tag=1\r\nTo: {to}\r\n\
         Call-ID: c\r\nCSeq: 1 {method}\r\n\r\n"
    );
    let message = Message::parse(Bytes::from(text), &Limits::default()).unwrap();
    stateless_identity(&message, DefaultHasher::new())
}

// 16.11.
#[test]
fn a_stateless_identity_is_the_same_for_cancel_and_ack() {
    for via in ["h;branch=z9hG4bK1", "h;branch=1", "h"] {
        let invite = identity("INVITE", via, "<sip:b@x>");
        assert_eq!(identity("CANCEL", via, "<sip:b@x>"), invite);
        assert_eq!(identity("ACK", via, "<sip:b@x>;tag=9"), invite);
        assert_ne!(identity("INVITE", "h;branch=z9hG4bK2", "<sip:b@x>"), invite);
    }
}
