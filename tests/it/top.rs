//! `serctl top` and `serctl trace` in a terminal that tmux draws, and `top` where there is none.
//!
//! Always `ser`, whatever is under test.

use std::process::{Command, Output};
use std::time::Duration;

use crate::harness::{Endpoint, Plan, Subject, Wire, program_file};

const PATIENCE: Duration = Duration::from_secs(20);

fn start() -> Subject {
    Subject::start_ser(&Plan::script("tests/it/control/observed.cfg"))
}

/// A terminal; gone when this is dropped.
struct Terminal<'a> {
    subject: &'a Subject,
}

impl Terminal<'_> {
    fn start<'a>(subject: &'a Subject, command: &str) -> Terminal<'a> {
        let terminal = Terminal { subject };
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "110", "-y", "50", command]);
        terminal
    }

    fn tmux(&self, words: &[&str]) -> Output {
        let socket = self.subject.scratch().file("tmux");
        let mut tmux = Command::new("tmux");
        tmux.arg("-S").arg(socket).args(words).env("LC_ALL", "C.UTF-8").env_remove("TMUX");
        tmux.output().expect("tmux is installed")
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["capture-pane", "-p"]).stdout).into_owned()
    }

    fn wait_for(&self, what: impl Fn(&str) -> bool) {
        let is_shown = || what(&self.screen());
        assert!(self.subject.process().wait_until(PATIENCE, is_shown), "the screen shows\n{}", self.screen());
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

fn ask(phone: &Endpoint, call: &str) {
    phone.request(&format!("MESSAGE sip:nobody@{}", phone.server()), call, "1", "", "");
    phone.expect("SIP/2.0 404 ");
}

fn command(subject: &Subject, words: &str) -> String {
    format!("{} --data-dir {} {words}", program_file("serctl").display(), subject.scratch().path().display())
}

#[test]
fn top_shows_the_server_live_until_q_is_pressed() {
    let subject = start();
    let phone = Endpoint::new(subject.address(Wire::Udp4));
    phone.register_bob();
    let terminal = Terminal::start(&subject, &command(&subject, "--watch=0.2 top"));
    let has = |line: &'static [&'static str]| {
        move |screen: &str| {
            screen.lines().any(|found| found.split_whitespace().take(line.len()).eq(line.iter().copied()))
        }
    };
    terminal.wait_for(has(&["contacts", "1", "IRA", "0.0", "%"]));
    terminal.wait_for(has(&["127.0.0.1"]));
    phone.request(&format!("MESSAGE sip:nobody@{}", phone.server()), "message", "1", "", "");
    phone.expect("SIP/2.0 404 ");
    terminal.wait_for(|screen| screen.contains("answer message"));
    terminal.tmux(&["send-keys", "q"]);
    // Its session ends with it.
    assert!(subject.process().wait_until(PATIENCE, || !terminal.tmux(&["has-session"]).status.success()));
}

#[test]
fn top_without_a_terminal_is_a_table_and_json_where_asked() {
    let subject = start();
    let run = |words: &[&str]| {
        let mut serctl = Command::new(program_file("serctl"));
        let output = serctl.arg("--data-dir").arg(subject.scratch().path()).args(words).output();
        String::from_utf8_lossy(&output.expect("serctl can be started").stdout).into_owned()
    };
    let table = run(&["top"]);
    assert!(table.starts_with("ser ") && !table.contains('\u{1b}'), "{table}");
    for heading in ["\nNOW\n", "\nCOUNTED ", "\nLATENCY ", "\nPEER "] {
        assert!(table.contains(heading), "no {heading:?} in\n{table}");
    }
    let json: serde_json::Value = serde_json::from_str(&run(&["--json", "top"])).expect("it is JSON");
    assert!(json["figures"]["core:rcv_requests"].as_i64().is_some_and(|count| count > 0), "{json}");
}

#[test]
fn trace_shows_calls_as_they_come_and_opens_them_down_to_the_script() {
    let subject = Subject::start_ser(&Plan::script("tests/it/control/observed.cfg").option("--trace-memory=1"));
    let phone = Endpoint::new(subject.address(Wire::Udp4));
    ask(&phone, "before");
    let terminal = Terminal::start(&subject, &command(&subject, "trace"));
    let messages = |screen: &str| screen.lines().filter(|line| line.contains("  MESSAGE sip:caller@")).count();
    terminal.wait_for(|screen| messages(screen) == 1 && screen.contains("404 Not Found"));
    ask(&phone, "after");
    terminal.wait_for(|screen| messages(screen) == 2);
    // What the harness has asked to find the server is filtered out.
    terminal.tmux(&["send-keys", "-l", "/method=message"]);
    terminal.tmux(&["send-keys", "Enter"]);
    terminal.wait_for(|screen| screen.starts_with("2 calls and other transactions, of method=message"));

    terminal.tmux(&["send-keys", "Enter"]);
    terminal.wait_for(|screen| screen.contains("Call-ID after") && screen.contains("- MESSAGE -"));
    terminal.tmux(&["send-keys", "Enter"]);
    terminal.wait_for(|screen| {
        let lines = ["Call-ID: after", "Script: request_route", "sl_send_reply(\"404\", \"Not Found\")"];
        lines.iter().all(|line| screen.contains(line))
    });

    let file = subject.scratch().file("seen.pcapng").to_string_lossy().into_owned();
    terminal.tmux(&["send-keys", "s"]);
    terminal.tmux(&["send-keys", "-N", "20", "BSpace"]);
    terminal.tmux(&["send-keys", "-l", &file]);
    terminal.tmux(&["send-keys", "Enter"]);
    terminal.wait_for(|screen| screen.contains("2 messages are in "));
    terminal.tmux(&["send-keys", "Left"]);
    terminal.wait_for(|screen| screen.contains("enter: message and script"));
    terminal.tmux(&["send-keys", "q"]);
    assert!(subject.process().wait_until(PATIENCE, || !terminal.tmux(&["has-session"]).status.success()));
    let read = Command::new(program_file("serctl")).args(["--json", "trace", &file]).output().expect("serctl is there");
    let read: serde_json::Value = serde_json::from_slice(&read.stdout).expect("it is JSON");
    assert_eq!((read[0]["call_id"].as_str(), read.as_array().map(Vec::len)), (Some("after"), Some(2)), "{read}");
}

#[test]
fn trace_shows_a_server_that_keeps_nothing_no_empty_screen() {
    let subject = start();
    let terminal = Terminal::start(&subject, &format!("{}; cat", command(&subject, "trace")));
    terminal.wait_for(|screen| screen.contains("start it with --trace-memory"));
}
