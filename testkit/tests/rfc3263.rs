//! RFC 3263: finding the next hop, and the one after it when it fails.
#![allow(missing_docs)]

use std::time::Duration;

use engine::Settings;
use testkit::{Network, StaticNames, Weather, answer, request};

const CALLER: &str = "198.51.100.1:5070";
const FIRST: &str = "203.0.113.1:5060";
const SECOND: &str = "203.0.113.2:5060";
const RELAY: &str = "#!KAMAILIO\nloadmodule \"tm.so\"\nrequest_route { t_relay(); }\n";

fn network() -> Network {
    let mut names = StaticNames::default();
    names.host("pool.example.net", &["203.0.113.1", "203.0.113.2"]);
    Network::with(RELAY, Settings::default(), names, Weather::default())
}

fn called(network: &mut Network, method: &str) -> (&'static str, &'static str, String) {
    let text = request(method, "z9hG4bK1", "").replacen("sip:bob@203.0.113.1:5080 ", "sip:bob@pool.example.net ", 1);
    network.send(CALLER, &text);
    network.settle();
    let (one, two) = (network.received(FIRST), network.received(SECOND));
    assert_eq!(one.len() + two.len(), 1, "one address is tried at a time");
    match (one.first(), two.first()) {
        (Some(request), None) => (FIRST, SECOND, request.text()),
        (_, Some(request)) => (SECOND, FIRST, request.text()),
        (None, None) => panic!("neither address was tried"),
    }
}

// Section 4.3: a 503 makes the client try the next address.
#[test]
fn a_503_leads_to_the_next_address() {
    for method in ["INVITE", "MESSAGE"] {
        let mut network = network();
        let (first, next, request) = called(&mut network, method);
        network.received(CALLER);
        network.send(first, &answer(&request, "503 Service Unavailable"));
        network.settle();
        let again = network.received_one(next);
        assert!(again.starts_with(&format!("{method} sip:bob@pool.example.net SIP/2.0\r\n")), "{again}");
        assert_eq!(network.start_lines(CALLER), Vec::<String>::new());
        network.send(next, &answer(&again, "200 OK"));
        network.settle();
        assert_eq!(network.start_lines(CALLER), ["SIP/2.0 200 OK"]);
    }
}

// Section 4.3: also when the transport fails.
#[test]
fn an_unreachable_address_leads_to_the_next_one() {
    let mut network = network();
    let (first, next, _) = called(&mut network, "INVITE");
    network.unreachable(first);
    network.settle();
    assert_eq!(network.start_lines(next).len(), 1);
    // Anybody can send such news: a second one is looked at a little later.
    network.unreachable(next);
    network.advance(Duration::from_millis(100));
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 100 Trying", "SIP/2.0 500 Server Internal Error"]);
}

// Section 4.3: also when nothing at all comes back in time.
#[test]
fn a_silent_address_leads_to_the_next_one() {
    let mut network = network();
    let (_, next, _) = called(&mut network, "INVITE");
    network.advance(Duration::from_millis(32_100));
    assert_eq!(network.start_lines(next).len(), 1);
}

// Section 4.3: a provisional response shows that the address is alive.
#[test]
fn who_rings_for_ever_is_not_tried_at_its_next_address() {
    let mut network = network();
    let (first, next, invite) = called(&mut network, "INVITE");
    network.send(first, &answer(&invite, "180 Ringing"));
    network.advance(Duration::from_secs(300));
    assert_eq!(network.start_lines(next), Vec::<String>::new());
    assert!(network.start_lines(CALLER).iter().any(|line| line.starts_with("SIP/2.0 4")));
}

// Section 4.3: any other failure is an answer.
#[test]
fn a_486_does_not_lead_to_the_next_address() {
    let mut network = network();
    let (first, next, invite) = called(&mut network, "INVITE");
    network.send(first, &answer(&invite, "486 Busy Here"));
    network.settle();
    assert_eq!(network.start_lines(next), Vec::<String>::new());
}
