//! The small example scripts: each is started, and asked for what it promises.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use crate::harness::{
    Callee, Caller, Endpoint, Plan, Program, Script, Subject, Wire, check_command, field, lines, repository_file,
};

/// Sends a request without a body for `user` of the server.
fn ask(phone: &Endpoint, method: &str, user: &str) {
    let line = format!("{method} sip:{user}@{}", phone.server());
    phone.request(&line, &format!("{method}-{user}"), "1", "", "");
}

/// All scripts under `examples/` whose names start with `prefix`.
fn examples(prefix: &str) -> Vec<PathBuf> {
    let directories = fs::read_dir(repository_file("examples")).expect("there are examples").flatten();
    let files = directories.filter_map(|directory| fs::read_dir(directory.path()).ok()).flat_map(Iterator::flatten);
    let is_wanted = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(prefix) && name.ends_with(".cfg")
    };
    files.map(|file| file.path()).filter(is_wanted).collect()
}

fn check_accepted(program: Program, scripts: &[PathBuf]) {
    assert!(!scripts.is_empty());
    for script in scripts {
        let mut command = check_command(program, script);
        let output = command.args(["-A", "sms_gw=\"127.0.0.1\""]).output().expect("the program can be started");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    }
}

#[test]
fn ser_accepts_every_example() {
    check_accepted(Program::Ser, &examples(""));
}

#[test]
fn kamailio_accepts_every_example_in_its_dialect() {
    check_accepted(Program::Kamailio, &examples("kamailio"));
}

#[test]
fn the_papers_first_rule_sends_messages_for_mobile_numbers_to_the_sms_gateway() {
    // The script names its gateway without a port, so it needs an address whose SIP port is free.
    let mut addresses = (1..=254).map(|last| IpAddr::V4(Ipv4Addr::new(127, 66, 0, last)));
    let gateway = addresses.find_map(|ip| Endpoint::at(ip, 5060)).expect("some port 5060 of loopback is free");
    let plan = Plan::script("examples/paper/sms_gateway.cfg").define(format!("sms_gw=\"{}\"", gateway.own().ip()));
    let server = Subject::start(&plan);
    let gateway = gateway.towards(server.address(Wire::Udp4));
    let phone = Endpoint::new(server.address(Wire::Udp4));

    ask(&phone, "MESSAGE", "01791234567");
    let arrived = gateway.expect("MESSAGE sip:01791234567@");
    assert_eq!(lines(&arrived, "Via").lines().count(), 2, "{arrived}");
    assert_eq!(field(&arrived, "Max-Forwards"), "69");
    gateway.answer(&arrived, "202 Accepted");
    phone.expect("SIP/2.0 202 ");

    ask(&phone, "MESSAGE", "030123456");
    phone.expect("SIP/2.0 404 ");
}

#[test]
fn the_papers_second_rule_challenges_who_registers_without_qop() {
    let server = Subject::start(&Plan::script("examples/paper/challenge.cfg"));
    let phone = Endpoint::new(server.address(Wire::Udp4));
    ask(&phone, "REGISTER", "alice");
    let answer = phone.expect("SIP/2.0 401 ");
    let challenge = field(&answer, "WWW-Authenticate");
    assert!(challenge.starts_with("Digest "), "{answer}");
    assert!(challenge.contains("realm=\"iptel.org\""), "{answer}");
    assert!(challenge.contains("nonce=\""), "{answer}");
    assert!(!challenge.contains("qop"), "{answer}");
}

#[test]
fn the_papers_third_rule_admits_calls_abroad_from_the_office_only() {
    let server = Subject::start(&Plan::script("examples/paper/admission.cfg"));
    let address = server.address(Wire::Udp4);
    let elsewhere = Endpoint::new(address);
    let office = Endpoint::at(Ipv4Addr::new(127, 1, 0, 1).into(), 0).expect("loopback has a free UDP port");
    let office = office.towards(address);

    ask(&elsewhere, "INVITE", "0044123456");
    elsewhere.expect("SIP/2.0 403 ");
    ask(&elsewhere, "INVITE", "0123456");
    elsewhere.expect("SIP/2.0 404 ");
    ask(&office, "INVITE", "0044123456");
    office.expect("SIP/2.0 404 ");
}

/// The program is `ser` whatever is under test: no other reads this dialect.
#[test]
fn a_call_passes_a_script_in_the_dialect_of_2003() {
    let server = Subject::start_ser(&Plan::script("examples/classic/ser.cfg").on(Wire::Tcp4));
    let bob = Callee::registered("answer_and_hang_up.xml", "bob", Wire::Tcp4, &server);
    let script = Script::new("call_and_wait_for_hang_up.xml", "bob");
    Caller::run(&script, Wire::Udp4, server.address(Wire::Udp4));
    bob.succeeds();
}
