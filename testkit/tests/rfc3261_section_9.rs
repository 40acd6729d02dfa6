//! RFC 3261 section 9: CANCEL.
#![allow(missing_docs)]

use std::time::Duration;

use engine::Settings;
use testkit::{Network, StaticNames, Weather, answer, line, request};

const CALLER: &str = "198.51.100.1:5070";
const CALLEE: &str = "203.0.113.1:5080";
const RELAY: &str = r#"#!KAMAILIO
loadmodule "tm.so"
request_route { t_relay(); }
"#;

fn ringing(network: &mut Network) -> String {
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    let invite = network.received_one(CALLEE);
    network.send(CALLEE, &answer(&invite, "180 Ringing"));
    network.settle();
    network.received(CALLER);
    invite
}

// 9.1: 64*T1 after the CANCEL the INVITE counts as cancelled, also when the CANCEL itself was answered.
#[test]
fn a_callee_that_never_ends_a_cancelled_invite_is_given_up() {
    let mut network = Network::new(RELAY);
    ringing(&mut network);
    network.send(CALLER, &request("CANCEL", "z9hG4bK1", ""));
    network.settle();
    let cancel = network.received_one(CALLEE);
    network.send(CALLEE, &answer(&cancel, "200 OK"));
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 200 OK"]);
    network.advance(Duration::from_secs(33));
    assert_eq!(network.start_lines(CALLER)[0], "SIP/2.0 487 Request Terminated");
    network.send(CALLER, &request("ACK", "z9hG4bK1", ";tag=x"));
    network.advance(Duration::from_secs(40));
    assert_eq!(network.transaction_count(), 0);
}

#[test]
fn ringing_on_after_a_cancel_does_not_prolong_the_wait() {
    let mut network = Network::new(RELAY);
    let invite = ringing(&mut network);
    network.send(CALLER, &request("CANCEL", "z9hG4bK1", ""));
    network.settle();
    let cancel = network.received_one(CALLEE);
    network.send(CALLEE, &answer(&cancel, "200 OK"));
    for _ in 0..4 {
        network.advance(Duration::from_secs(10));
        network.send(CALLEE, &answer(&invite, "180 Ringing"));
    }
    network.settle();
    assert!(network.start_lines(CALLER).contains(&"SIP/2.0 487 Request Terminated".to_owned()));
}

// 9.2: a CANCEL has no effect on a request that has had its final response.
#[test]
fn a_cancel_after_the_200_is_answered_and_changes_nothing() {
    let mut network = Network::new(RELAY);
    let invite = ringing(&mut network);
    network.send(CALLEE, &answer(&invite, "200 OK"));
    network.settle();
    network.received(CALLER);
    network.send(CALLER, &request("CANCEL", "z9hG4bK1", ""));
    network.advance(Duration::from_secs(1));
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 200 OK"]);
    assert_eq!(network.start_lines(CALLEE), Vec::<String>::new());
}

// 9.2.
#[test]
fn a_cancel_of_nothing_is_answered_481() {
    let mut network = Network::new(RELAY);
    network.send(CALLER, &request("CANCEL", "z9hG4bK1", ""));
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 481 Call/Transaction Does Not Exist"]);
}

// 9.2: the To tags of the replies to CANCEL and INVITE should be the same.
#[test]
fn a_cancel_before_the_next_hop_is_known_ends_the_invite_here() {
    let mut names = StaticNames::default();
    names.host("gateway.example.net", &["203.0.113.1"]);
    let script = r#"#!KAMAILIO
loadmodule "tm.so"
request_route { if (is_method("INVITE")) { $ru = "sip:bob@gateway.example.net"; } t_relay(); }
"#;
    let script = script.replace("loadmodule", "loadmodule \"pv.so\"\nloadmodule \"textops.so\"\nloadmodule");
    let mut network = Network::with(&script, Settings::default(), names, Weather::default());
    // Both land at once, before the name is looked up.
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.send(CALLER, &request("CANCEL", "z9hG4bK1", ""));
    network.settle();
    let arrived: Vec<String> = network.received(CALLER).iter().map(testkit::Arrived::text).collect();
    let lines: Vec<_> = arrived.iter().filter_map(|text| text.lines().next()).collect();
    assert_eq!(lines, ["SIP/2.0 100 Trying", "SIP/2.0 200 OK", "SIP/2.0 487 Request Terminated"]);
    assert_eq!(line(&arrived[1], "To:"), line(&arrived[2], "To:"));
    network.send(CALLER, &request("ACK", "z9hG4bK1", ";tag=x"));
    network.advance(Duration::from_secs(40));
    assert_eq!(network.transaction_count(), 0);
}

// 9.1: CANCEL and 200 cross; the caller gets its call and must end it with BYE.
#[test]
fn a_200_that_crosses_the_cancel_reaches_the_caller() {
    let mut network = Network::new(RELAY);
    let invite = ringing(&mut network);
    network.send(CALLER, &request("CANCEL", "z9hG4bK1", ""));
    network.send(CALLEE, &answer(&invite, "200 OK"));
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 200 OK", "SIP/2.0 200 OK"]);
}
