//! What the systemd unit forbids, held against what the server does.
//!
//! Always `ser`, whatever is under test. systemd's tools judge the unit, and strace says which system calls the server
//! makes, also those that no request of `systemd.rs` brings about.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Endpoint, Process, Scratch, free_port, program_file, repository_file};

const PATIENCE: Duration = Duration::from_secs(30);

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|why| panic!("{program}: {why}; `make test` installs what tests need"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    said
}

#[test]
fn systemd_rates_the_unit_as_little_exposed() {
    let scratch = Scratch::new();
    let unit = fs::read_to_string(repository_file("contrib/systemd/ser.service")).expect("the unit is there");
    let file = scratch.file("ser.service");
    let program = program_file("ser").display().to_string();
    fs::write(&file, unit.replace("/usr/bin/ser", &program)).expect("the directory is writable");
    // Above this exposure, of 0 to 100, it fails.
    let file = file.display().to_string();
    said("systemd-analyze", &["security", "--offline=true", "--no-pager", "--threshold=20", &file]);
}

/// The calls of a group, with those of the groups in it.
fn group(name: &str) -> BTreeSet<String> {
    let mut calls = BTreeSet::new();
    for line in said("systemd-analyze", &["syscall-filter", "--no-pager", name]).lines().map(str::trim) {
        if line == name || line.starts_with('#') || line.is_empty() {
            continue;
        }
        match line.starts_with('@') {
            true => calls.extend(group(line)),
            false => drop(calls.insert(line.to_owned())),
        }
    }
    calls
}

#[test]
fn the_server_makes_no_system_call_that_its_unit_forbids() {
    let unit = fs::read_to_string(repository_file("contrib/systemd/ser.service")).expect("the unit is there");
    let mut allowed = BTreeSet::new();
    for line in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let is_refused = line.starts_with('~');
        for calls in line.trim_start_matches('~').split(' ').map(group) {
            match is_refused {
                true => allowed.retain(|call| !calls.contains(call)),
                false => allowed.extend(calls),
            }
        }
    }
    assert!(allowed.contains("sendmmsg") && !allowed.contains("setuid"), "the filter is read wrongly: {allowed:?}");

    let scratch = Scratch::new();
    let (trace, data) = (scratch.file("trace"), scratch.file("data"));
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], free_port([127, 0, 0, 1].into())));
    // As a user of its own, as under systemd: SQLite gives files away only where root runs it.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(scratch.path(), open).expect("it is ours");
    let mut command = Command::new("strace");
    command
        .args(["-u", "nobody", "-f", "-qq", "--signal=none", "-o"])
        .arg(&trace)
        .arg(program_file("ser"))
        .arg("--data-dir")
        .arg(&data);
    command.args(["-l", &format!("udp:{address}"), "-l", &format!("tcp:{address}"), "--http", "127.0.0.1:0"]);
    let server = Process::start("ser", &mut command);
    server.wait_for_line("ser 0.", PATIENCE);
    let serctl = |words: &[&str]| {
        let mut command = Command::new(program_file("serctl"));
        command.arg("--data-dir").arg(&data).args(words).output().expect("serctl can be started")
    };
    // Users in the database, a challenge, commands, a reload and a drain: what a day brings.
    serctl(&["add", "alice", "secret"]);
    let phone = Endpoint::new(address);
    let contact = format!("Contact: <sip:alice@{}>\r\n", phone.own());
    phone.request(&format!("REGISTER sip:{address}"), "register", "1", "", &contact);
    phone.expect("SIP/2.0 401 ");
    phone.request(&format!("INVITE sip:alice@{address}"), "call", "1", "", &contact);
    assert!(phone.receive().is_some_and(|answer| answer.starts_with("SIP/2.0 ")));
    drop(std::net::TcpStream::connect(address).expect("it listens"));
    for words in [&["core.reload"][..], &["core.top"], &["stop"]] {
        let output = serctl(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    server.wait_for_exit(PATIENCE);

    let trace = fs::read_to_string(&trace).expect("strace has written");
    let call = |line: &str| {
        let text = line.split_once(' ')?.1.trim_start();
        let text = text.strip_prefix("<... ").unwrap_or(text);
        let name: String = text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        (!name.is_empty()).then_some(name)
    };
    let made: BTreeSet<String> = trace.lines().filter_map(call).collect();
    assert!(made.len() > 30 && made.contains("epoll_wait"), "{made:?}");
    let forbidden: Vec<_> = made.iter().filter(|call| !allowed.contains(*call) && *call != "exited").collect();
    assert!(forbidden.is_empty(), "{forbidden:?}");
}
