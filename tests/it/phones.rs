//! Phones that other people wrote, with digest, through the built-in set-up: audio between
//! PJSIP phones, signalling between WebSocket phones (RFC 7118) and across to the others.

use crate::harness::{Phone, Plan, Stack, Subject, Wire};

const ALICE: Stack = Stack::Pjsip { hertz: 440 };
const BOB: Stack = Stack::Pjsip { hertz: 880 };

fn two_phones(alice: (Stack, Wire), bob: (Stack, Wire)) -> (Subject, Phone, Phone) {
    let plan = Plan::built_in(&[("alice", "secret"), ("bob", "secret")]).on(alice.1).on(bob.1);
    let server = Subject::start(&plan);
    let alice = Phone::start("alice", alice.0, alice.1, &server);
    let bob = Phone::start("bob", bob.0, bob.1, &server);
    (server, alice, bob)
}

/// Alice calls, both hear each other's tone, Alice hangs up.
fn check_audio(alice: Wire, bob: Wire) {
    let (_server, alice, bob) = two_phones((ALICE, alice), (BOB, bob));
    alice.calls("bob");
    for phone in [&alice, &bob] {
        phone.waits_for("answered");
        phone.waits_for("heard");
    }
    alice.hangs_up();
    alice.waits_for("ended");
    bob.waits_for("ended");
    alice.has_heard(880);
    bob.has_heard(440);
}

/// Alice calls, Bob answers and hangs up.
fn check_signalling(alice: (Stack, Wire), bob: (Stack, Wire)) {
    let (_server, alice, bob) = two_phones(alice, bob);
    alice.calls("bob");
    alice.waits_for("answered");
    bob.waits_for("answered");
    bob.hangs_up();
    alice.waits_for("ended");
    bob.waits_for("ended");
}

/// A message each way.
fn check_messages(alice: (Stack, Wire), bob: (Stack, Wire)) {
    let (_server, alice, bob) = two_phones(alice, bob);
    alice.writes("bob", "tea at five?");
    bob.waits_for("got tea at five?");
    alice.waits_for("sent 200");
    bob.writes("alice", "with pleasure");
    alice.waits_for("got with pleasure");
    bob.waits_for("sent 200");
}

#[test]
fn two_phones_hear_each_other_over_udp() {
    check_audio(Wire::Udp4, Wire::Udp4);
}

#[test]
fn two_phones_hear_each_other_over_tcp() {
    check_audio(Wire::Tcp4, Wire::Tcp4);
}

#[test]
fn two_phones_hear_each_other_over_tls() {
    check_audio(Wire::Tls4, Wire::Tls4);
}

#[test]
fn a_phone_on_tls_and_one_on_udp_hear_each_other() {
    check_audio(Wire::Tls4, Wire::Udp4);
}

#[test]
fn messages_pass_between_tls_and_tcp() {
    check_messages((ALICE, Wire::Tls4), (BOB, Wire::Tcp4));
}

#[test]
fn a_websocket_phone_calls_another() {
    check_signalling((Stack::JsSip, Wire::Ws4), (Stack::SipJs, Wire::Ws4));
}

#[test]
fn a_phone_on_secure_websocket_calls_one_on_plain_websocket() {
    check_signalling((Stack::SipJs, Wire::Wss4), (Stack::JsSip, Wire::Ws4));
}

#[test]
fn a_websocket_phone_calls_one_on_udp() {
    check_signalling((Stack::SipJs, Wire::Ws4), (BOB, Wire::Udp4));
}

#[test]
fn a_phone_on_tcp_calls_one_on_websocket() {
    check_signalling((ALICE, Wire::Tcp4), (Stack::JsSip, Wire::Ws4));
}

#[test]
fn messages_pass_between_websocket_phones() {
    check_messages((Stack::JsSip, Wire::Ws4), (Stack::SipJs, Wire::Ws4));
}

#[test]
fn messages_pass_between_websocket_and_udp() {
    check_messages((Stack::JsSip, Wire::Ws4), (BOB, Wire::Udp4));
}

/// What was answered with 200 is on disk (the built-in set-up of `ser`; nothing else keeps it).
#[test]
fn a_registered_phone_can_be_called_after_a_power_cut() {
    let plan = Plan::built_in(&[("alice", "secret"), ("bob", "secret")]);
    let mut server = Subject::start_ser(&plan);
    let alice = Phone::start("alice", ALICE, Wire::Udp4, &server);
    let bob = Phone::start("bob", BOB, Wire::Udp4, &server);
    server.suffer_a_power_cut();
    alice.calls("bob");
    bob.waits_for("answered");
    alice.waits_for("answered");
}
