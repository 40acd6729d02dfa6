//! `ser bench` against the server under test and against Debian's Kamailio.

use std::net::UdpSocket;
use std::process::{Command, Output};

use crate::harness::{Plan, Subject, Wire, program_file};

const RESIDENTIAL: &str = "examples/residential/kamailio.cfg";

fn bench(kind: &str, target: &str, options: &[&str]) -> (Output, serde_json::Value) {
    // Long enough for a machine that does much else; how fast the server is, is not what is tested.
    let patience: &[&str] = if options.contains(&"--threshold") { &[] } else { &["--threshold", "20000"] };
    let fixed = ["--target", target, "--json"];
    let mut command = Command::new(program_file("ser"));
    let output =
        command.args(["bench", kind]).args(fixed).args(patience).args(options).output().expect("ser can be started");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = serde_json::from_str(&said);
    let report = report.unwrap_or_else(|_| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)));
    (output, report)
}

/// Every attempt succeeds, and each has its delay.
fn check(kind: &str, server: &Subject, options: &[&str]) {
    let target = server.address(Wire::Udp4).to_string();
    let (output, report) = bench(kind, &target, options);
    assert_eq!(report["attempts"], 100, "{report}");
    assert_eq!(report["succeeded"], 100, "{report}");
    assert!(report["delay_us"]["p50"].as_u64() <= report["delay_us"]["longest"].as_u64(), "{report}");
    assert_eq!(output.status.code(), Some(0), "{report}");
}

const LITTLE: [&str; 8] = ["--rate", "100", "--duration", "1", "--users", "10", "--addresses", "4"];

fn check_all(server: &Subject) {
    for kind in ["register", "message", "call"] {
        check(kind, server, &LITTLE);
    }
}

#[test]
fn calls_registrations_and_messages_succeed() {
    check_all(&Subject::start(&Plan::script(RESIDENTIAL)));
}

#[test]
fn kamailio_is_measured_as_well() {
    check_all(&Subject::start_kamailio(&Plan::script(RESIDENTIAL)));
}

#[test]
fn challenges_are_answered() {
    let users = ["u0", "u1", "u2", "u3"].map(|user| (user, "secret"));
    let server = Subject::start(&Plan::built_in(&users));
    let options = ["--rate", "100", "--duration", "1", "--users", "4", "--auth", "secret", "--domain", "ser.test"];
    check("register", &server, &options);
    check("call", &server, &options);
}

#[test]
fn what_nobody_answers_has_failed() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let target = silent.local_addr().expect("it is bound").to_string();
    let (output, report) = bench("options", &target, &["--rate", "50", "--duration", "1", "--threshold", "100"]);
    assert_eq!(report["failed"]["not answered in time"], 50, "{report}");
    assert_eq!(output.status.code(), Some(1));
}
