//! sipsak's user-location mode: it registers a user and checks what the server then knows.
//!
//! Debian's sipsak 0.9.8.1 crashes in its own calls and messages (`-I`, `-M`) whatever the
//! server, so SIPp calls the users that it registers.

use std::process::Command;
use std::time::Duration;

use crate::harness::{Callee, Caller, Plan, Process, Script, Subject, Wire};

const PATIENCE: Duration = Duration::from_secs(20);
const RESIDENTIAL: &str = "examples/residential/kamailio.cfg";

/// Runs sipsak in user-location mode with more options; it must find everything as it expects.
fn check(server: &Subject, options: &[&str]) {
    // The port goes beside the host: sipsak cuts a port of five digits inside an address.
    let port = server.address(Wire::Udp4).port().to_string();
    let mut command = Command::new("sipsak");
    command.args(["-U", "-i", "-v", "-x", "60", "-k", "127.0.0.1", "-H", "127.0.0.1"]);
    command.args(["-p", "127.0.0.1", "-r", &port]).args(options);
    let sipsak = Process::start("sipsak", &mut command);
    let exit = sipsak.wait_for_exit(PATIENCE);
    if !exit.success() || !sipsak.log().contains("All usrloc tests completed successful") {
        sipsak.fail(&format!("was not content: {exit}"));
    }
}

#[test]
fn sipsak_finds_the_contact_that_it_registered() {
    let server = Subject::start(&Plan::script(RESIDENTIAL));
    check(&server, &["-s", "sip:visitor@127.0.0.1"]);
}

#[test]
fn sipsak_registers_with_digest() {
    let server = Subject::start(&Plan::built_in(&[("alice", "secret")]));
    // Without -u sipsak calls the user "alice@".
    check(&server, &["-s", "sip:alice@ser.test", "-u", "alice", "-a", "secret"]);
}

#[test]
fn a_user_whom_sipsak_registered_can_be_called() {
    let server = Subject::start(&Plan::script(RESIDENTIAL));
    let bob = Callee::start("answer.xml", "bob", Wire::Udp4);
    check(&server, &["-s", "sip:bob@127.0.0.1", "-C", bob.contact()]);
    Caller::run(&Script::new("call.xml", "bob"), Wire::Udp4, server.address(Wire::Udp4));
    bob.succeeds();
}
