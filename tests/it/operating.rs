//! How `ser` behaves as a program: refused starts, signals, the name it is started by.
//!
//! Always `ser`, whatever is under test: other programs say these things in other words.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::harness::{
    Endpoint, Plan, Process, Program, Scratch, Subject, Wire, check_command, free_port, program_file,
};

const PATIENCE: Duration = Duration::from_secs(15);

/// A script that answers every request, but ACK, with 200 and this reason.
fn answering(reason: &str) -> String {
    format!(
        "loadmodule \"sl.so\"\nroute {{\n    if (method==\"ACK\") break;\n    sl_send_reply(\"200\", \"{reason}\");\n}}\n"
    )
}

/// A function that does not exist, in line 3.
const BROKEN: &str = "loadmodule \"sl.so\"\nroute {\n    sl_send_replay(\"200\", \"OK\");\n}\n";

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Asks until the answer's status line is `wanted`: what a signal asks for takes a moment.
fn wait_for_answer(phone: &Endpoint, wanted: &str) {
    let deadline = Instant::now() + PATIENCE;
    for attempt in 0u32.. {
        let call = format!("{wanted}-{attempt}").replace([' ', '/'], "-");
        phone.request(&format!("OPTIONS sip:{}", phone.server()), &call, "1", "", "");
        let answer = phone.expect("SIP/2.0 ");
        if answer.starts_with(wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "instead of {wanted:?} still:\n{answer}");
    }
}

#[test]
fn a_broken_script_is_explained_by_file_and_line_with_exit_code_1() {
    let scratch = Scratch::new();
    let script = scratch.file("broken.cfg");
    fs::write(&script, BROKEN).expect("the directory is writable");
    let output = check_command(Program::Ser, &script).output().expect("ser can be started");
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("broken.cfg:3:"), "{said}");
    assert!(said.contains("sl_send_reply"), "no hint at the right name:\n{said}");
}

#[test]
fn a_port_in_use_is_named() {
    let scratch = Scratch::new();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback has a free UDP port");
    let address = taken.local_addr().expect("a bound socket has an address").to_string();
    let mut command = Command::new(program_file("ser"));
    command.arg("--data-dir").arg(scratch.path()).args(["-l", &format!("udp:{address}"), "-E"]);
    let server = Process::start("ser", &mut command);
    let exit = server.wait_for_exit(PATIENCE);
    if exit.code() != Some(1) || !server.log().contains(&address) || !server.log().contains("in use") {
        server.fail(&format!("did not name the port: {exit}"));
    }
}

#[test]
fn a_hang_up_signal_loads_the_script_anew_and_a_broken_one_changes_nothing() {
    let scratch = Scratch::new();
    let script = scratch.file("answer.cfg");
    fs::write(&script, answering("First")).expect("the directory is writable");
    let server = Subject::start_ser(&Plan::script(&script.to_string_lossy()));
    let phone = Endpoint::new(server.address(Wire::Udp4));
    wait_for_answer(&phone, "SIP/2.0 200 First");

    fs::write(&script, answering("Second")).expect("the directory is writable");
    server.process().signal("HUP");
    wait_for_answer(&phone, "SIP/2.0 200 Second");

    fs::write(&script, BROKEN).expect("the directory is writable");
    server.process().signal("HUP");
    let complains = || server.process().log().contains("answer.cfg:3:");
    assert!(server.process().wait_until(PATIENCE, complains), "the broken script was not complained about");
    wait_for_answer(&phone, "SIP/2.0 200 Second");
}

/// With the log as quiet as it is by default.
#[test]
fn a_user_signal_prints_the_counters() {
    let server = Subject::start_ser(&Plan::built_in(&[]));
    server.process().signal("USR1");
    server.process().wait_for_line("NOTICE core:script_errors = 0", PATIENCE);
}

/// SIGTERM: a call that rings is still answered, a new one is refused, and then the server ends.
#[test]
fn a_call_in_progress_survives_the_termination_signal() {
    let server = Subject::start_ser(&Plan::script("examples/residential/kamailio.cfg"));
    let address = server.address(Wire::Udp4);
    let (alice, bob) = (Endpoint::new(address), Endpoint::new(address));
    bob.register_bob();
    let contact = format!("Contact: <sip:alice@{}>\r\n", alice.own());
    alice.request(&format!("INVITE sip:bob@{address}"), "ringing", "1", "", &contact);
    let invite = bob.expect("INVITE ");
    bob.answer(&invite, "180 Ringing");
    while !alice.expect("SIP/2.0 1").starts_with("SIP/2.0 180 ") {}

    server.process().signal("TERM");
    let stranger = Endpoint::new(address);
    wait_for_answer(&stranger, "SIP/2.0 503");
    bob.answer(&invite, "200 OK");
    alice.expect("SIP/2.0 200 ");
    let exit = server.process().wait_for_exit(PATIENCE);
    assert_eq!(exit.code(), Some(0));
}

/// Ends the process that a pid file names, also when the test fails.
struct Daemon<'a>(&'a Path);

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let pid = fs::read_to_string(self.0).unwrap_or_default();
        if let Ok(pid) = pid.trim().parse::<u32>() {
            let _ = Command::new("kill").arg(pid.to_string()).status();
        }
    }
}

#[test]
fn started_as_kamailio_it_goes_to_the_background_and_leaves_its_number() {
    let scratch = Scratch::new();
    let (link, script, pid_file) = (scratch.file("kamailio"), scratch.file("answer.cfg"), scratch.file("pid"));
    symlink(program_file("ser"), &link).expect("the directory is writable");
    fs::write(&script, answering("Here")).expect("the directory is writable");
    let address = std::net::SocketAddr::new(Wire::Udp4.ip(), free_port(Wire::Udp4.ip()));
    let mut command = Command::new(link);
    command.arg("-f").arg(&script).arg("-P").arg(&pid_file).arg("-w").arg(scratch.path());
    command.arg("--data-dir").arg(scratch.path()).args(["-l", &format!("udp:{address}"), "-m", "64"]);
    let _daemon = Daemon(&pid_file);
    let starter = Process::start("ser as kamailio", &mut command);
    let exit = starter.wait_for_exit(PATIENCE);
    if !exit.success() {
        starter.fail(&exit.to_string());
    }
    // Who returns has opened its sockets: whoever started it may call at once.
    wait_for_answer(&Endpoint::new(address), "SIP/2.0 200 Here");
    let pid = scratch.read("pid");
    let name = fs::read_to_string(format!("/proc/{}/comm", pid.trim())).unwrap_or_default();
    assert_eq!(name.trim(), "kamailio", "{pid}");
}

#[test]
fn a_chosen_caller_is_watched_on_the_way_through_the_script_and_others_are_not() {
    let scratch = Scratch::new();
    let script = scratch.file("answer.cfg");
    fs::write(&script, answering("Here")).expect("the directory is writable");
    let server = Subject::start_ser(&Plan::script(&script.to_string_lossy()));
    let phone = Endpoint::new(server.address(Wire::Udp4));
    let serctl = |arguments: &[&str]| {
        let mut command = Command::new(program_file("serctl"));
        command.arg("--data-dir").arg(server.scratch().path()).args(arguments);
        let output = command.output().expect("serctl can be started");
        assert!(output.status.success(), "{command:?}: {}", said(&output));
        said(&output)
    };
    let ask = |call: &str| {
        phone.request(&format!("OPTIONS sip:{}", phone.server()), call, "1", "", "");
        phone.expect("SIP/2.0 200 Here");
    };
    ask("before");
    // The endpoint calls itself `caller`.
    assert!(serctl(&["trace.on", "caller"]).contains("caller"));
    ask("watched");
    server.process().wait_for_line("NOTICE trace watched:   answer.cfg:4  sl_send_reply(\"200\", \"Here\");", PATIENCE);
    serctl(&["trace.on", "somebody-else"]);
    ask("other");
    serctl(&["trace.off"]);
    ask("after");
    let log = server.process().log();
    assert!(!["trace before", "trace other", "trace after"].iter().any(|line| log.contains(line)), "{log}");
}
