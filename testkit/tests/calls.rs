//! The engine in the simulated network: calls, failures and time.
#![allow(missing_docs)]

use std::time::Duration;

use testkit::{Network, answer, request};

const CALLER: &str = "198.51.100.1:5070";
const CALLEE: &str = "203.0.113.1:5080";

const RELAY: &str = r#"#!KAMAILIO
loadmodule "tm.so"
loadmodule "sl.so"
request_route {
    if (!t_relay()) { sl_send_reply("500", "Cannot Relay"); }
}
"#;

#[test]
fn a_call_goes_through_and_leaves_nothing_behind() {
    let mut network = Network::new(RELAY);
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 100 Trying"]);
    let invite = network.received_one(CALLEE);
    assert!(invite.contains("Max-Forwards: 69\r\n"), "{invite}");
    assert!(
        invite.starts_with("INVITE sip:bob@203.0.113.1:5080 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK"),
        "{invite}"
    );

    for status in ["180 Ringing", "200 OK"] {
        network.send(CALLEE, &answer(&invite, status));
        network.settle();
        let reply = network.received_one(CALLER);
        assert!(
            reply.starts_with(&format!("SIP/2.0 {status}\r\nVia: SIP/2.0/UDP 198.51.100.1:5070;branch=z9hG4bK1\r\n")),
            "{reply}"
        );
    }
    // The ACK to a 2xx is a request of its own and goes through.
    network.send(CALLER, &request("ACK", "z9hG4bK2", ";tag=b1"));
    network.settle();
    assert!(network.received_one(CALLEE).starts_with("ACK "));
    network.advance(Duration::from_secs(40));
    assert_eq!(network.transaction_count(), 0);
    assert_eq!(network.start_lines(CALLER), Vec::<String>::new());
    assert_eq!(network.start_lines(CALLEE), Vec::<String>::new());
}

#[test]
fn a_repeated_invite_is_absorbed_and_answered_with_the_latest_reply() {
    let mut network = Network::new(RELAY);
    for _ in 0..3 {
        network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
        network.settle();
    }
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 100 Trying"; 3]);
    assert_eq!(network.start_lines(CALLEE).len(), 1);
}

#[test]
fn a_busy_callee_is_acknowledged_here_and_reported_to_the_caller() {
    let mut network = Network::new(RELAY);
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    network.received(CALLER);
    let invite = network.received_one(CALLEE);
    network.send(CALLEE, &answer(&invite, "486 Busy Here"));
    network.settle();
    assert_eq!(network.start_lines(CALLEE), ["ACK sip:bob@203.0.113.1:5080 SIP/2.0"]);
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 486 Busy Here"]);
    network.send(CALLER, &request("ACK", "z9hG4bK1", ";tag=b1"));
    network.settle();
    assert_eq!(network.start_lines(CALLEE), Vec::<String>::new());
    network.advance(Duration::from_secs(40));
    assert_eq!(network.transaction_count(), 0);
}

#[test]
fn a_failure_is_repeated_until_its_ack_comes() {
    let mut network = Network::new(RELAY);
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    let invite = network.received_one(CALLEE);
    network.send(CALLEE, &answer(&invite, "486 Busy Here"));
    network.settle();
    network.received(CALLER);
    // Timer G: 500 ms, then doubled up to T2 (RFC 3261 section 17.2.1).
    network.advance(Duration::from_millis(1600));
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 486 Busy Here"; 2]);
}

#[test]
fn a_silent_callee_is_asked_seven_times_and_then_counts_as_408() {
    let mut network = Network::new(RELAY);
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.advance(Duration::from_secs(33));
    // At 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s (17.1.1.2, timers A and B).
    assert_eq!(network.received(CALLEE).len(), 7);
    assert_eq!(network.start_lines(CALLER)[..2], ["SIP/2.0 100 Trying", "SIP/2.0 408 Request Timeout"]);
}

#[test]
fn a_silent_callee_of_a_message_brings_no_408() {
    // RFC 4320 section 4.2.
    let mut network = Network::new(RELAY);
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.advance(Duration::from_secs(70));
    let finals = network.start_lines(CALLER).into_iter().filter(|line| !line.contains("100 ")).count();
    assert_eq!(finals, 0);
    assert_eq!(network.transaction_count(), 0);
}

#[test]
fn cancel_is_answered_here_and_reaches_the_callee_once_it_rings() {
    let mut network = Network::new(RELAY);
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    network.received(CALLER);
    let invite = network.received_one(CALLEE);
    network.send(CALLER, &request("CANCEL", "z9hG4bK1", ""));
    network.settle();
    // No provisional reply yet: the CANCEL waits (RFC 3261 section 9.1).
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 200 OK"]);
    assert_eq!(network.start_lines(CALLEE), Vec::<String>::new());
    network.send(CALLEE, &answer(&invite, "180 Ringing"));
    network.settle();
    let cancel = network.received_one(CALLEE);
    assert!(cancel.starts_with("CANCEL sip:bob@203.0.113.1:5080 SIP/2.0\r\n"), "{cancel}");
    let via = |text: &str| text.lines().find(|line| line.starts_with("Via:")).map(str::to_owned);
    assert_eq!(via(&cancel), via(&invite));
    network.send(CALLEE, &answer(&cancel, "200 OK"));
    network.send(CALLEE, &answer(&invite, "487 Request Terminated"));
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 180 Ringing", "SIP/2.0 487 Request Terminated"]);
    network.send(CALLER, &request("ACK", "z9hG4bK1", ";tag=b1"));
    network.advance(Duration::from_secs(40));
    assert_eq!(network.transaction_count(), 0);
}

#[test]
fn a_peer_where_nobody_listens_fails_at_once() {
    let mut network = Network::new(RELAY);
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    network.received(CALLER);
    network.unreachable(CALLEE);
    network.settle();
    // 503 from a branch becomes 500 upstream (RFC 3261 section 16.7 step 6).
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 500 Server Internal Error"]);
}

#[test]
fn parallel_branches_race_and_the_loser_is_cancelled() {
    let script = r#"#!KAMAILIO
loadmodule "tm.so"
loadmodule "sl.so"
request_route {
    append_branch("sip:bob@203.0.113.2:5080");
    t_relay();
}
"#;
    let second = "203.0.113.2:5080";
    let mut network = Network::new(script);
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    network.received(CALLER);
    let (one, two) = (network.received_one(CALLEE), network.received_one(second));
    network.send(CALLEE, &answer(&one, "180 Ringing"));
    network.send(second, &answer(&two, "180 Ringing"));
    network.send(second, &answer(&two, "200 OK"));
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 180 Ringing", "SIP/2.0 180 Ringing", "SIP/2.0 200 OK"]);
    assert_eq!(network.start_lines(CALLEE), ["CANCEL sip:bob@203.0.113.1:5080 SIP/2.0"]);
}

#[test]
fn a_failure_route_tries_elsewhere() {
    let script = r#"#!KAMAILIO
loadmodule "tm.so"
loadmodule "sl.so"
request_route {
    t_on_failure("VOICEMAIL");
    t_relay();
}
failure_route[VOICEMAIL] {
    if (t_check_status("486")) {
        append_branch("sip:mail@203.0.113.2:5080");
        t_relay();
    }
}
"#;
    let second = "203.0.113.2:5080";
    let mut network = Network::new(script);
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    network.received(CALLER);
    let one = network.received_one(CALLEE);
    network.send(CALLEE, &answer(&one, "486 Busy Here"));
    network.settle();
    assert_eq!(network.start_lines(CALLER), Vec::<String>::new());
    let two = network.received_one(second);
    assert!(two.starts_with("INVITE sip:mail@203.0.113.2:5080 SIP/2.0\r\n"), "{two}");
    network.send(second, &answer(&two, "404 Not Found"));
    network.settle();
    // The failure route was used up; 404 is the lower of the two (16.7 step 6).
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 404 Not Found"]);
}
