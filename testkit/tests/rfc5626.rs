//! RFC 5626: requests to a device with several flows.
#![allow(missing_docs)]

use std::time::Duration;

use testkit::{Network, answer, request};

const CALLER: &str = "198.51.100.1:5070";
const FIRST: &str = "203.0.113.1:5080";
const SECOND: &str = "203.0.113.2:5080";
const SCRIPT: &str = r#"#!KAMAILIO
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
modparam("registrar", "outbound_mode", 1)
request_route {
    if (method == "REGISTER") { save("location"); exit; }
    if (!lookup("location", "sip:bob@example.com")) { lookup_send_reply(); exit; }
    t_relay();
}
"#;

/// Registers Bob's device by two flows, the second later than the first.
fn registered() -> Network {
    let mut network = Network::new(SCRIPT);
    for (id, from) in [(1, FIRST), (2, SECOND)] {
        let register = format!(
            "REGISTER sip:example.com SIP/2.0\nVia: SIP/2.0/UDP {from};branch=z9hG4bKr{id}\nMax-Forwards: 70\n\
             From: <sip:bob@example.com>;tag=r\nTo: <sip:bob@example.com>\nCall-ID: r@203.0.113.1\nCSeq: {id} REGISTER\n\
             Supported: path, outbound\n\
             Contact: <sip:bob@10.0.0.1>;reg-id={id};+sip.instance=\"<urn:uuid:1>\"\nContent-Length: 0\n\n"
        );
        network.send(from, &register);
        network.settle();
        assert!(network.received_one(from).contains("\r\nRequire: outbound\r\n"));
        network.advance(Duration::from_secs(2));
    }
    network
}

/// Calls Bob; the INVITE arrives by the latest flow.
fn called() -> (Network, String) {
    let mut network = registered();
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    let invite = network.received_one(SECOND);
    assert!(invite.starts_with("INVITE sip:bob@10.0.0.1 SIP/2.0\r\n"), "{invite}");
    assert_eq!(network.start_lines(FIRST), Vec::<String>::new(), "one flow at a time");
    network.drain();
    (network, invite)
}

fn finals(network: &mut Network) -> Vec<String> {
    network.start_lines(CALLER).into_iter().filter(|line| !line.contains(" 100 ")).collect()
}

// Section 7: a 430 brings the next flow, and what that brings is the answer.
#[test]
fn a_failed_flow_is_replaced_by_the_next_one_of_the_instance() {
    for (status, expected) in [("200 OK", "SIP/2.0 200 OK"), ("486 Busy Here", "SIP/2.0 486 Busy Here")] {
        let (mut network, invite) = called();
        network.send(SECOND, &answer(&invite, "430 Flow Failed"));
        network.settle();
        let invite = network.received(FIRST).last().expect("the other flow").text();
        network.send(FIRST, &answer(&invite, status));
        network.settle();
        assert_eq!(finals(&mut network), [expected]);
    }
}

// Section 7: after any other answer no further flow of the instance is tried.
#[test]
fn a_device_that_has_answered_is_not_asked_by_another_flow() {
    let (mut network, invite) = called();
    network.send(SECOND, &answer(&invite, "486 Busy Here"));
    network.settle();
    assert_eq!(network.start_lines(FIRST), Vec::<String>::new());
    assert_eq!(finals(&mut network), ["SIP/2.0 486 Busy Here"]);
}

// Section 7: nobody answers by the one flow, so the other is tried.
#[test]
fn a_flow_that_is_silent_is_replaced_too() {
    let (mut network, _) = called();
    network.advance(Duration::from_secs(33));
    assert_eq!(network.start_lines(FIRST).first().map(String::as_str), Some("INVITE sip:bob@10.0.0.1 SIP/2.0"));
}

#[test]
fn a_flow_that_cannot_be_reached_is_replaced_at_once() {
    let (mut network, _) = called();
    network.unreachable(SECOND);
    network.settle();
    let invite = network.received(FIRST).last().expect("the other flow").text();
    network.send(FIRST, &answer(&invite, "200 OK"));
    network.settle();
    assert_eq!(finals(&mut network), ["SIP/2.0 200 OK"]);
}

// Section 7: a caller never sees 430.
#[test]
fn a_device_all_of_whose_flows_have_failed_is_not_there() {
    let (mut network, invite) = called();
    network.send(SECOND, &answer(&invite, "430 Flow Failed"));
    network.settle();
    let invite = network.received(FIRST).last().expect("the other flow").text();
    network.send(FIRST, &answer(&invite, "430 Flow Failed"));
    network.settle();
    assert_eq!(finals(&mut network), ["SIP/2.0 480 Temporarily Unavailable"]);
}

#[test]
fn a_canceled_call_tries_no_further_flow() {
    let (mut network, invite) = called();
    network.send(SECOND, &answer(&invite, "180 Ringing"));
    network.send(CALLER, &request("CANCEL", "z9hG4bK1", ""));
    network.settle();
    network.send(SECOND, &answer(&invite, "430 Flow Failed"));
    network.settle();
    assert_eq!(network.start_lines(FIRST), Vec::<String>::new());
}
