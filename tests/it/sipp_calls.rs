//! Calls, messages and registrations between SIPp peers through the residential script.

use crate::harness::{Callee, Caller, Plan, Script, Subject, Wire};

const RESIDENTIAL: &str = "examples/residential/kamailio.cfg";

/// The residential script on every address family and transport that SIPp speaks.
fn residential() -> Plan {
    Plan::script(RESIDENTIAL).on(Wire::Udp6).on(Wire::Tcp4).on(Wire::Tcp6).define("RING_TIMEOUT=1000")
}

/// Bob registers with `callee` on one wire and is called with `caller` on another.
fn check(caller: &str, caller_wire: Wire, callee: &str, callee_wire: Wire) {
    let server = Subject::start(&residential());
    let bob = Callee::registered(callee, "bob", callee_wire, &server);
    Caller::run(&Script::new(caller, "bob"), caller_wire, server.address(caller_wire));
    bob.succeeds();
}

#[test]
fn a_call_over_udp_ipv4() {
    check("call.xml", Wire::Udp4, "answer.xml", Wire::Udp4);
}

#[test]
fn a_call_over_udp_ipv6() {
    check("call.xml", Wire::Udp6, "answer.xml", Wire::Udp6);
}

#[test]
fn a_call_over_tcp_ipv4() {
    check("call.xml", Wire::Tcp4, "answer.xml", Wire::Tcp4);
}

#[test]
fn a_call_over_tcp_ipv6() {
    check("call.xml", Wire::Tcp6, "answer.xml", Wire::Tcp6);
}

/// Each side of the server needs a Record-Route of its own (RFC 5658).
#[test]
fn a_call_crosses_from_udp_ipv4_to_tcp_ipv6() {
    check("call.xml", Wire::Udp4, "answer.xml", Wire::Tcp6);
}

#[test]
fn the_callee_hangs_up_along_the_recorded_route() {
    check("call_and_wait_for_hang_up.xml", Wire::Udp4, "answer_and_hang_up.xml", Wire::Udp4);
}

#[test]
fn the_callee_hangs_up_across_transports_and_families() {
    check("call_and_wait_for_hang_up.xml", Wire::Tcp6, "answer_and_hang_up.xml", Wire::Udp4);
}

#[test]
fn a_new_offer_passes_within_a_call() {
    check("call_and_reinvite.xml", Wire::Udp4, "answer_reinvite.xml", Wire::Udp4);
}

#[test]
fn a_caller_who_gives_up_over_udp_gets_487_and_the_phone_stops_ringing() {
    check("call_and_cancel.xml", Wire::Udp4, "ring_until_cancelled.xml", Wire::Udp4);
}

#[test]
fn a_caller_who_gives_up_over_tcp_gets_487_and_the_phone_stops_ringing() {
    check("call_and_cancel.xml", Wire::Tcp4, "ring_until_cancelled.xml", Wire::Tcp4);
}

#[test]
fn a_busy_phone_answers_486_to_the_caller() {
    check("call_busy.xml", Wire::Udp4, "busy.xml", Wire::Udp4);
}

#[test]
fn a_phone_that_nobody_answers_is_cancelled_and_the_caller_gets_408() {
    check("call_unanswered.xml", Wire::Udp4, "ring_until_cancelled.xml", Wire::Udp4);
}

#[test]
fn a_call_to_nobody_gets_404() {
    let server = Subject::start(&residential());
    Caller::run(&Script::new("call_unknown.xml", "nobody"), Wire::Udp4, server.address(Wire::Udp4));
}

#[test]
fn two_phones_ring_and_the_one_that_is_not_picked_up_is_cancelled() {
    let server = Subject::start(&residential());
    let picked_up = Callee::registered("answer_after_a_pause.xml", "bob", Wire::Udp4, &server);
    let left_ringing = Callee::registered("ring_until_cancelled.xml", "bob", Wire::Tcp4, &server);
    Caller::run(&Script::new("call.xml", "bob"), Wire::Udp4, server.address(Wire::Udp4));
    picked_up.succeeds();
    left_ringing.succeeds();
}

#[test]
fn a_message_arrives_unchanged_over_udp() {
    check("message.xml", Wire::Udp4, "take_message.xml", Wire::Udp4);
}

#[test]
fn a_message_arrives_unchanged_over_tcp_ipv6() {
    check("message.xml", Wire::Tcp6, "take_message.xml", Wire::Tcp6);
}

/// Registers at the built-in set-up as alice, whose password is `secret`.
fn check_digest(scenario: &str, password: &str) {
    let server = Subject::start(&Plan::built_in(&[("alice", "secret")]));
    let script = Script::new(scenario, "alice").at("ser.test").key("contact", "sip:alice@127.0.0.1:9");
    Caller::run(&script.credentials("alice", password), Wire::Udp4, server.address(Wire::Udp4));
}

#[test]
fn the_built_in_set_up_registers_a_user_who_knows_the_password() {
    check_digest("register_with_digest.xml", "secret");
}

#[test]
fn the_built_in_set_up_refuses_a_wrong_password() {
    check_digest("register_refused.xml", "guess");
}
