//! The tools for whoever writes scripts, as programs: `ser check`, `ser explain`, `ser test`.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::harness::{Scratch, program_file, repository_file};

fn ser(arguments: &[&str]) -> Output {
    let mut command = Command::new(program_file("ser"));
    command.args(arguments).current_dir(repository_file(".")).output().expect("ser can be started")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn test_files() -> Vec<PathBuf> {
    let folders = fs::read_dir(repository_file("examples")).expect("there are examples").flatten();
    let files = folders.filter_map(|folder| fs::read_dir(folder.path()).ok()).flat_map(Iterator::flatten);
    files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|ending| ending == "sertest")).collect()
}

#[test]
fn the_examples_pass_their_own_tests() {
    let files = test_files();
    assert!(files.len() >= 6, "{files:?}");
    let mut arguments = vec!["test"];
    arguments.extend(files.iter().map(|file| file.to_str().expect("paths of this project are UTF-8")));
    let output = ser(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}{}", out(&output), String::from_utf8_lossy(&output.stderr));
    assert!(out(&output).trim_end().ends_with(" 0 failed"), "{}", out(&output));
}

#[test]
fn a_test_that_fails_shows_what_was_expected_what_came_and_the_way_there() {
    let scratch = Scratch::new();
    let (script, test) = (scratch.file("a.cfg"), scratch.file("a.sertest"));
    let text = "loadmodule \"sl.so\"\nroute {\n    if (method==\"OPTIONS\") sl_send_reply(\"404\", \"No\");\n}\n";
    fs::write(&script, text).expect("the directory is writable");
    let steps = "phone a 192.0.2.1\ntest \"it answers\"\n a sends OPTIONS sip:x\n a expects 200\n";
    fs::write(&test, steps).expect("the directory is writable");
    let output = ser(&["test", test.to_str().expect("a path in UTF-8"), "--coverage"]);
    let said = out(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in [
        "FAIL  it answers",
        "a.sertest:4",
        "expected: a expects 200",
        "SIP/2.0 404 No",
        "sl_send_reply(404, \"No\") returned 1",
        "a.cfg: 100.0% (1 of 1 lines)",
    ] {
        assert!(said.contains(part), "no {part:?} in:\n{said}");
    }
}

#[test]
fn explain_shows_the_way_of_a_call_to_its_failure_route() {
    let output = ser(&[
        "explain",
        "-f",
        "examples/residential/kamailio.cfg",
        "INVITE",
        "sip:bob@198.18.0.1",
        "--user-registered",
        "sip:bob@192.0.2.20",
        "--answer",
        "486",
    ]);
    let said = out(&output);
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for part in [
        "<- udp:192.0.2.1:5060  INVITE sip:bob@198.18.0.1 SIP/2.0",
        "lookup(\"location\") returned 1",
        "-> udp:192.0.2.20:5060  INVITE sip:bob@192.0.2.20 SIP/2.0",
        "     + Max-Forwards: 69",
        "failure_route[NO_ANSWER]",
        "-> udp:192.0.2.1:5060  SIP/2.0 486 Busy Here",
    ] {
        assert!(said.contains(part), "no {part:?} in:\n{said}");
    }
}

#[test]
fn explain_reads_a_message_from_standard_input_and_prints_json() {
    let mut command = Command::new("sh");
    let ser = program_file("ser");
    let line = format!(
        "printf 'OPTIONS sip:198.18.0.1 SIP/2.0\\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\\nMax-Forwards: 70\\nFrom: \
         <sip:a@h>;tag=1\\nTo: <sip:198.18.0.1>\\nCall-ID: c\\nCSeq: 1 OPTIONS\\n\\n' | {} explain --format json",
        ser.display()
    );
    let output = command.arg("-c").arg(line).output().expect("a shell can be started");
    let events: serde_json::Value = serde_json::from_str(&out(&output)).expect("JSON on standard output");
    let sent = events.as_array().expect("an array").iter().find(|event| event["event"] == "sent");
    let message = sent.expect("a reply is sent")["message"].as_str().expect("text").to_owned();
    assert!(message.starts_with("SIP/2.0 200 OK\r\n"), "{message}");
}

/// With the file of Debian's package beside the examples: a script of somebody else's hand.
#[test]
fn formatting_keeps_every_token_and_is_done_once() {
    let scratch = Scratch::new();
    let mut scripts = vec![PathBuf::from("/etc/kamailio/kamailio.cfg")];
    scripts.extend(["residential/kamailio.cfg", "classic/ser.cfg"].map(|name| repository_file("examples").join(name)));
    for script in scripts {
        let before = fs::read_to_string(&script).unwrap_or_else(|why| panic!("{}: {why}", script.display()));
        let copy = scratch.file("copy.cfg");
        fs::write(&copy, &before).expect("the directory is writable");
        let copy = copy.to_str().expect("a path in UTF-8");
        assert_eq!(ser(&["fmt", copy]).status.code(), Some(0));
        let after = fs::read_to_string(copy).expect("it was written");
        assert_eq!(stream(&after), stream(&before), "{}", script.display());
        let check = ser(&["fmt", "--check", copy]);
        assert_eq!(check.status.code(), Some(0), "{}: {}", script.display(), out(&check));
        fs::write(copy, format!("{after}route[MORE]{{exit;}}\n")).expect("the directory is writable");
        assert_eq!(ser(&["fmt", "--check", copy]).status.code(), Some(1));
    }
}

/// Tokens, comments and preprocessor lines, in order.
fn stream(text: &str) -> Vec<(script::PieceKind, String)> {
    let (pieces, diagnostics) = script::pieces("t", text);
    assert!(!diagnostics.has_errors(), "{}", diagnostics.render(false));
    pieces.iter().map(|piece| (piece.kind, piece.text.trim_end().to_owned())).collect()
}

#[test]
fn check_takes_several_files_and_names_the_one_that_would_not_start() {
    let scratch = Scratch::new();
    let broken = scratch.file("broken.cfg");
    fs::write(&broken, "loadmodule \"sl.so\"\nroute { sl_send_replay(\"200\", \"OK\"); }\n").expect("it is writable");
    let broken = broken.to_str().expect("a path in UTF-8");
    let output = ser(&["check", "examples/relay/kamailio.cfg", broken]);
    let said = out(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("examples/relay/kamailio.cfg: valid\n"), "{said}");
    assert!(said.contains("error[SCL0201]"), "{said}");
    assert!(said.contains("broken.cfg: has errors\n"), "{said}");
    assert!(!said.contains('\x1b'), "colour goes to terminals only: {said:?}");

    let output = ser(&["check", "--format", "json", broken]);
    let all: serde_json::Value = serde_json::from_str(&out(&output)).expect("JSON on standard output");
    assert_eq!(all[0]["valid"], false);
    assert_eq!(all[0]["diagnostics"][0]["code"], "SCL0201");
    assert_eq!(ser(&["check", "examples/relay/kamailio.cfg"]).status.code(), Some(0));
    assert_eq!(ser(&["check"]).status.code(), Some(2));
}
