//! `serctl top` in a terminal that tmux draws, and where there is none.
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
