//! The log: levels that change while the server runs, floods, and what is never written.
//!
//! Always `ser`, whatever is under test.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Endpoint, Plan, Process, Scratch, Subject, Wire, free_port, program_file};

const PATIENCE: Duration = Duration::from_secs(20);

fn serctl(subject: &Subject, words: &[&str]) -> (bool, String) {
    let mut command = Command::new(program_file("serctl"));
    command.arg("--data-dir").arg(subject.scratch().path()).args(words);
    let output = command.output().expect("serctl can be started");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said)
}

#[test]
fn levels_change_while_the_server_runs_for_all_and_for_one() {
    let subject = Subject::start_ser(&Plan::script("tests/it/control/logging.cfg").option("--log-json"));
    let phone = Endpoint::new(subject.address(Wire::Udp4));
    let ask = |call: &str| {
        phone.request(&format!("OPTIONS sip:{}", phone.server()), call, "1", "", "");
        phone.expect("SIP/2.0 200 ");
    };
    let is_logged = |text: &str| subject.process().wait_until(PATIENCE, || subject.process().count_lines(text) > 0);
    ask("one");
    assert_eq!(serctl(&subject, &["log"]), (true, "all: warning\n".to_owned()));
    assert!(serctl(&subject, &["log", "script", "debug"]).0);
    ask("two");
    assert!(is_logged("whispered about two"));
    assert_eq!(subject.process().count_lines("whispered about one"), 0);
    assert_eq!(serctl(&subject, &["log"]), (true, "all: warning\nscript: debug\n".to_owned()));
    assert!(serctl(&subject, &["log", "script", "default"]).0 && serctl(&subject, &["log.level", "all", "debug"]).0);
    ask("three");
    assert!(is_logged("whispered about three") && is_logged(r#""source":"script""#));
    for (words, why) in
        [(["log", "nobody", "debug"], "nothing called `nobody` logs"), (["log", "all", "loud"], "`loud` is no level")]
    {
        let (is_done, said) = serctl(&subject, &words);
        assert!(!is_done && said.contains(why), "{said}");
    }
}

#[test]
fn a_flood_of_one_cause_is_cut_off() {
    let http = free_port([127, 0, 0, 1].into());
    let scratch = Scratch::new();
    let token = scratch.file("token");
    fs::write(&token, "a-token-that-nobody-guesses").expect("the directory is writable");
    let plan = Plan::script("tests/it/control/logging.cfg")
        .option(format!("--http=127.0.0.1:{http}"))
        .option(format!("--http-token-file={}", token.display()));
    let subject = Subject::start_ser(&plan);
    assert!(serctl(&subject, &["log", "control", "info"]).0);
    // Each is refused, which is a line each.
    let url = format!("http://127.0.0.1:{http}/metrics?[1-200]");
    assert!(Command::new("curl").args(["-s", "-o", "/dev/null", &url]).status().expect("curl is installed").success());
    let is_summed_up = || subject.process().count_lines("more lines like this one are left out: HTTP: 127.0.0.1:") > 0;
    assert!(subject.process().wait_until(PATIENCE, is_summed_up));
    // On a machine that takes longer than the window for them, a few windows' worth.
    let written = subject.process().count_lines("showed no valid token");
    assert!((51..200).contains(&written), "{written} lines");
}

/// At its loudest the server writes neither passwords nor tokens nor secrets, in no command's answer either.
#[test]
fn secrets_are_not_written() {
    let scratch = Scratch::new();
    let (token, secret, script) = (scratch.file("token"), scratch.file("secret"), scratch.file("ser.cfg"));
    let secrets = ["token-0123456789abcdef", "webhook-0123456789abcdef", "database-password", "subscriber-password"];
    fs::write(&token, secrets[0]).and_then(|()| fs::write(&secret, secrets[1])).expect("the directory is writable");
    let text = format!(
        "#!KAMAILIO\nloadmodule \"sl.so\"\nloadmodule \"usrloc.so\"\n\
         modparam(\"usrloc\", \"db_url\", \"mysql://ser:{}@127.0.0.1:1/ser\")\nmodparam(\"usrloc\", \"db_mode\", 1)\n\
         request_route {{ sl_send_reply(\"200\", \"OK\"); }}\n",
        secrets[2]
    );
    fs::write(&script, text).expect("the directory is writable");
    // Nothing listens at port 1: the server says what it cannot reach, and not with which password.
    let data = scratch.path().display().to_string();
    let mut command = Command::new(program_file("ser"));
    command.args(["-ddddd", "--data-dir", &data, "-l", "udp:127.0.0.1:0", "-f"]).arg(&script);
    let server = Process::start("ser", &mut command);
    assert!(!server.wait_for_exit(PATIENCE).success());
    let mut log = server.log();
    assert!(log.contains("usrloc"), "{log}");

    let http = free_port([127, 0, 0, 1].into());
    let plan = Plan::built_in(&[("alice", secrets[3])])
        .option("-ddddd")
        .option(format!("--http=127.0.0.1:{http}"))
        .option(format!("--http-token-file={}", token.display()))
        .option("--webhook=http://127.0.0.1:1/?key=token-0123456789abcdef")
        .option(format!("--webhook-secret-file={}", secret.display()));
    let subject = Subject::start_ser(&plan);
    let phone = Endpoint::new(subject.address(Wire::Udp4));
    phone.request(&format!("REGISTER sip:{}", phone.server()), "one", "1", "", "");
    phone.expect("SIP/2.0 401 ");
    phone.request("INVITE sip:nobody@example.com", "two", "1", "", "");
    phone.receive();
    let authorization = format!("Authorization: Bearer {}x", secrets[0]);
    let url = format!("http://127.0.0.1:{http}/metrics");
    assert!(
        Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-H", &authorization, &url])
            .status()
            .is_ok_and(|s| s.success())
    );
    for words in [&["events.consumers"][..], &["core.top"], &["cfg.get", "core"], &["show"]] {
        log += &serctl(&subject, words).1;
    }
    subject.process().stop();
    log += &subject.process().log();
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} is in\n{log}");
    }
}
