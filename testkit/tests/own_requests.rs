//! RFC 3261 section 8.1: requests of our own.
#![allow(missing_docs)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use engine::Settings;
use module_api::{OwnAnswer, OwnRequest};
use testkit::{Network, StaticNames, Weather, answer, answer_tagged, line};

const PEER: &str = "203.0.113.1:5080";
const SCRIPT: &str = r#"#!KAMAILIO
loadmodule "tm.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "xlog.so"
request_route { exit; }
"#;

type Answers = Arc<Mutex<Vec<OwnAnswer>>>;

fn send(network: &mut Network, request: OwnRequest) -> Answers {
    let answers = Answers::default();
    let into = Arc::clone(&answers);
    network.post(Box::new(move |host| {
        host.request(request, Box::new(move |_, answer| into.lock().expect("no test panics here").push(answer)));
    }));
    answers
}

fn options() -> OwnRequest {
    OwnRequest::new("OPTIONS", "sip:gw@203.0.113.1:5080", b"sip:ser@example.com")
}

fn statuses(answers: &Answers) -> Vec<u16> {
    answers.lock().expect("no test panics here").iter().map(|answer| answer.status).collect()
}

// 8.1.1: what every request must have.
#[test]
fn a_request_of_our_own_has_what_8_1_1_demands_and_its_reply_comes_back() {
    let mut network = Network::new(SCRIPT);
    let answers = send(&mut network, OwnRequest { headers: Bytes::from_static(b"X-Test: 1\r\n"), ..options() });
    network.settle();
    let request = network.received_one(PEER);
    let wanted = [
        "OPTIONS sip:gw@203.0.113.1:5080 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK",
        "\r\nMax-Forwards: 70\r\n",
        "\r\nFrom: <sip:ser@example.com>;tag=",
        "\r\nTo: <sip:gw@203.0.113.1:5080>\r\n",
        "\r\nCSeq: 10 OPTIONS\r\n",
        "\r\nX-Test: 1\r\n",
        "\r\nContent-Length: 0\r\n\r\n",
    ];
    for wanted in wanted {
        assert!(request.contains(wanted), "{wanted} in {request}");
    }
    network.send(PEER, &answer(&request, "200 OK"));
    network.advance(Duration::from_secs(40));
    assert_eq!(statuses(&answers), [200]);
    assert_eq!(network.transaction_count(), 0);
}

// 17.1.2.2: timers E and F.
#[test]
fn a_silent_peer_counts_as_408_after_repetitions() {
    let mut network = Network::new(SCRIPT);
    let answers = send(&mut network, options());
    network.advance(Duration::from_secs(40));
    assert_eq!(network.received(PEER).len(), 11);
    assert_eq!(statuses(&answers), [408]);
    assert_eq!(network.transaction_count(), 0);
}

#[test]
fn a_request_can_be_given_less_time() {
    let mut network = Network::new(SCRIPT);
    let answers = send(&mut network, OwnRequest { timeout: Some(Duration::from_secs(2)), ..options() });
    network.advance(Duration::from_millis(2100));
    assert_eq!(statuses(&answers), [408]);
}

#[test]
fn a_refusal_is_an_answer_with_its_own_status() {
    for (reply, status) in [("404 Not Found", 404), ("503 Service Unavailable", 503), ("401 Unauthorized", 401)] {
        let mut network = Network::new(SCRIPT);
        let answers = send(&mut network, options());
        network.settle();
        let request = network.received_one(PEER);
        network.send(PEER, &answer(&request, reply));
        network.settle();
        assert_eq!(statuses(&answers), [status]);
        assert!(answers.lock().expect("no test panics here")[0].reply.is_some());
    }
}

// RFC 3263 section 4.
#[test]
fn a_name_is_looked_up_and_the_next_address_tried() {
    let mut names = StaticNames::default();
    names.host("gw.example.net", &["203.0.113.1", "203.0.113.2"]);
    let mut network = Network::with(SCRIPT, Settings::default(), names, Weather::default());
    let answers = send(&mut network, OwnRequest::new("OPTIONS", "sip:gw.example.net:5080", b"sip:ser@example.com"));
    network.settle();
    let first = if network.received("203.0.113.1:5080").is_empty() { "203.0.113.2:5080" } else { "203.0.113.1:5080" };
    network.unreachable(first);
    network.settle();
    let other = if first == "203.0.113.1:5080" { "203.0.113.2:5080" } else { "203.0.113.1:5080" };
    let request = network.received_one(other);
    network.send(other, &answer(&request, "200 OK"));
    network.settle();
    assert_eq!(statuses(&answers), [200]);
}

#[test]
fn what_cannot_be_sent_is_answered_at_once() {
    let mut network = Network::new(SCRIPT);
    let answers = send(&mut network, OwnRequest::new("OPTIONS", "sip:nobody.invalid", b"sip:ser@example.com"));
    network.settle();
    assert_eq!(statuses(&answers), [503]);
    let answers = send(&mut network, OwnRequest::new("OPT IONS", "sip:203.0.113.1", b"sip:ser@example.com"));
    assert_eq!(statuses(&answers), [400]);
}

// 13.2.2.4: the ACK to a 2xx is made by the user agent, each time that the 2xx comes.
#[test]
fn an_invite_of_our_own_is_acknowledged_and_again_when_its_200_repeats() {
    let mut network = Network::new(SCRIPT);
    let answers = send(&mut network, OwnRequest::new("INVITE", "sip:gw@203.0.113.1:5080", b"sip:ser@example.com"));
    network.settle();
    let invite = network.received_one(PEER);
    network.send(PEER, &answer(&invite, "180 Ringing"));
    network.settle();
    for _ in 0..2 {
        network.send(PEER, &answer(&invite, "200 OK"));
        network.settle();
        let ack = network.received_one(PEER);
        assert!(ack.starts_with("ACK sip:bob@203.0.113.1:5080 SIP/2.0\r\n"), "{ack}");
        assert_eq!(line(&ack, "CSeq:"), Some("CSeq: 10 ACK"));
        assert!(line(&ack, "To:").is_some_and(|to| to.ends_with(";tag=b1")), "{ack}");
    }
    assert_eq!(statuses(&answers), [200]);
}

// 17.1.1.3.
#[test]
fn a_refused_invite_of_our_own_is_acknowledged_in_its_transaction() {
    let mut network = Network::new(SCRIPT);
    let answers = send(&mut network, OwnRequest::new("INVITE", "sip:gw@203.0.113.1:5080", b"sip:ser@example.com"));
    network.settle();
    let invite = network.received_one(PEER);
    network.send(PEER, &answer(&invite, "486 Busy Here"));
    network.settle();
    let ack = network.received_one(PEER);
    assert_eq!(line(&ack, "Via:"), line(&invite, "Via:"));
    assert_eq!(statuses(&answers), [486]);
}

#[test]
fn a_reply_with_a_second_via_is_not_for_us() {
    let mut network = Network::new(SCRIPT);
    let answers = send(&mut network, options());
    network.settle();
    let request = network.received_one(PEER);
    let reply = answer(&request, "200 OK").replacen("From:", "Via: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bKx\nFrom:", 1);
    network.send(PEER, &reply);
    network.settle();
    assert_eq!(statuses(&answers), Vec::<u16>::new());
}

#[test]
fn the_script_sees_requests_of_our_own_and_may_change_or_stop_them() {
    let script = SCRIPT.replace(
        "request_route",
        r#"event_route[tm:local-request] {
    append_hf("X-Seen: $rm\r\n");
    $du = "sip:203.0.113.2:5080";
}
request_route"#,
    );
    let mut network = Network::new(&script);
    send(&mut network, options());
    network.settle();
    let request = network.received_one("203.0.113.2:5080");
    assert!(request.contains("\r\nX-Seen: OPTIONS\r\n"), "{request}");

    let script = SCRIPT.replace("request_route", "event_route[tm:local-request] { drop; }\nrequest_route");
    let mut network = Network::new(&script);
    let answers = send(&mut network, options());
    network.settle();
    assert_eq!(statuses(&answers), [503]);
    assert!(network.received(PEER).is_empty());
}

// 13.2.2.4: each 2xx makes a dialog; one of which nobody here knows is acknowledged and ended.
#[test]
fn a_second_phone_that_answers_our_invite_is_hung_up() {
    let mut network = Network::new(SCRIPT);
    let answers = send(&mut network, OwnRequest::new("INVITE", "sip:gw@203.0.113.1:5080", b"sip:ser@example.com"));
    network.settle();
    let invite = network.received_one(PEER);
    network.send(PEER, &answer_tagged(&invite, "200 OK", "first"));
    network.settle();
    assert_eq!(network.start_lines(PEER), ["ACK sip:bob@203.0.113.1:5080 SIP/2.0"]);
    for _ in 0..2 {
        network.send(PEER, &answer_tagged(&invite, "200 OK", "second"));
        network.settle();
    }
    let arrived: Vec<String> = network.received(PEER).iter().map(testkit::Arrived::text).collect();
    let starts: Vec<&str> = arrived.iter().map(|text| text.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(starts, ["ACK", "BYE", "ACK"]);
    assert!(line(&arrived[1], "To:").is_some_and(|to| to.ends_with(";tag=second")), "{}", arrived[1]);
    assert_eq!(line(&arrived[1], "CSeq:"), Some("CSeq: 11 BYE"));
    assert_eq!(line(&arrived[1], "Call-ID:"), line(&invite, "Call-ID:"));
    assert_eq!(statuses(&answers), [200]);
    network.send(PEER, &answer(&arrived[1], "200 OK"));
    network.advance(Duration::from_secs(70));
    assert_eq!(network.transaction_count(), 0);
}

// 13.2.2.4 and 16.8: it counted as silent, was cancelled, and has answered all the same.
#[test]
fn an_answer_that_crosses_our_cancel_is_hung_up() {
    let mut network = Network::new(SCRIPT);
    let answers = send(&mut network, OwnRequest::new("INVITE", "sip:gw@203.0.113.1:5080", b"sip:ser@example.com"));
    network.settle();
    let invite = network.received_one(PEER);
    network.send(PEER, &answer(&invite, "180 Ringing"));
    network.advance(Duration::from_secs(200));
    assert_eq!(statuses(&answers), [408]);
    network.received(PEER);
    network.send(PEER, &answer(&invite, "200 OK"));
    network.settle();
    let starts = network.start_lines(PEER);
    assert!(
        starts.iter().any(|line| line.starts_with("ACK ")) && starts.iter().any(|line| line.starts_with("BYE ")),
        "{starts:?}"
    );
}

// 8.1.2: "the first URI in the route set" is where it goes.
#[test]
fn a_request_of_our_own_follows_its_route() {
    let mut network = Network::new(SCRIPT);
    let mut request = OwnRequest::new("OPTIONS", "sip:bob@192.0.2.77", b"sip:ser@example.com");
    request.headers = Bytes::from_static(b"Route: <sip:203.0.113.1:5080;lr>\r\n");
    send(&mut network, request);
    network.settle();
    assert!(network.received_one(PEER).starts_with("OPTIONS sip:bob@192.0.2.77 SIP/2.0\r\n"));
}
