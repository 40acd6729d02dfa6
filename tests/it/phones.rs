//! Phones on the PJSIP stack, with digest and audio, through the built-in set-up.

use std::process::Command;
use std::time::Duration;

use crate::harness::{DOMAIN, Plan, Process, Subject, Wire, repository_file, share_of_tone, write_tone};

/// Registering, ringing and hanging up take milliseconds, the audio two seconds.
const PATIENCE: Duration = Duration::from_secs(15);
const ALICE_HERTZ: f64 = 440.0;
const BOB_HERTZ: f64 = 880.0;
/// Least share of a recording's energy that must be the tone played at the other end. G.711
/// adds noise about 38 dB below the tone; a jitter buffer may drop a packet.
const CLEAR: f64 = 0.9;

/// A registered phone that plays a tone and records what it hears.
struct Phone {
    process: Process,
    recording: std::path::PathBuf,
}

impl Phone {
    fn start(user: &str, hertz: f64, wire: Wire, server: &Subject) -> Phone {
        let files = server.scratch();
        let recording = files.file(&format!("{user}_heard.wav"));
        let tone = files.file(&format!("{user}_says.wav"));
        write_tone(&tone, hertz, 1);
        let mut command = Command::new(repository_file("tests/peers/.venv/bin/python"));
        command.arg(repository_file("tests/peers/phone.py"));
        command.args(["--user", user, "--password", "secret", "--domain", DOMAIN]);
        command.args(["--server", &server.address(wire).to_string(), "--transport", wire.transport()]);
        command.arg("--play").arg(&tone).arg("--record").arg(&recording);
        command.arg("--trust").arg(server.certificate());
        let process = Process::start(user, &mut command);
        process.wait_for_line("registered", PATIENCE);
        Phone { process, recording }
    }

    fn waits_for(&self, event: &str) {
        self.process.wait_for_line(event, PATIENCE);
    }
}

fn two_phones(alice: Wire, bob: Wire) -> (Subject, Phone, Phone) {
    let plan = Plan::built_in(&[("alice", "secret"), ("bob", "secret")]).on(alice).on(bob);
    let server = Subject::start(&plan);
    let alice = Phone::start("alice", ALICE_HERTZ, alice, &server);
    let bob = Phone::start("bob", BOB_HERTZ, bob, &server);
    (server, alice, bob)
}

fn check_call(alice: Wire, bob: Wire) {
    let (_server, alice, bob) = two_phones(alice, bob);
    alice.process.tell(&format!("call sip:bob@{DOMAIN}"));
    for phone in [&alice, &bob] {
        phone.waits_for("answered");
        phone.waits_for("heard");
    }
    alice.process.tell("hang up");
    alice.waits_for("ended");
    bob.waits_for("ended 200");
    check_audio(&alice, BOB_HERTZ);
    check_audio(&bob, ALICE_HERTZ);
}

fn check_audio(phone: &Phone, hertz: f64) {
    let share = share_of_tone(&phone.recording, hertz);
    if share < CLEAR {
        phone.process.fail(&format!("heard the {hertz} Hz tone with a share of {share:.3} only"));
    }
}

#[test]
fn two_phones_hear_each_other_over_udp() {
    check_call(Wire::Udp4, Wire::Udp4);
}

#[test]
fn two_phones_hear_each_other_over_tcp() {
    check_call(Wire::Tcp4, Wire::Tcp4);
}

#[test]
fn two_phones_hear_each_other_over_tls() {
    check_call(Wire::Tls4, Wire::Tls4);
}

#[test]
fn a_phone_on_tls_hears_one_on_udp() {
    check_call(Wire::Tls4, Wire::Udp4);
}

#[test]
fn phones_send_each_other_messages_across_transports() {
    let (_server, alice, bob) = two_phones(Wire::Tls4, Wire::Tcp4);
    alice.process.tell(&format!("message sip:bob@{DOMAIN} tea at five?"));
    bob.waits_for("got tea at five?");
    alice.waits_for("sent 200");
    bob.process.tell(&format!("message sip:alice@{DOMAIN} with pleasure"));
    alice.waits_for("got with pleasure");
    bob.waits_for("sent 200");
}
