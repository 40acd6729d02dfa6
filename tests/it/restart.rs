//! Restarts in which the listening sockets stay open, by a service manager that keeps them.
//!
//! Always `ser`, whatever is under test.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{Endpoint, Process, Scratch, free_port, program_file, repository_file};

const PATIENCE: Duration = Duration::from_secs(20);
/// The pause between two requests: an answer that is there is taken at once.
const PACE: Duration = Duration::from_millis(4);

/// A service manager with a server on two workers.
fn start(scratch: &Scratch, address: SocketAddr) -> Process {
    let script = scratch.file("ser.cfg");
    let text = "loadmodule \"sl.so\"\nroute {\n    sl_send_reply(\"200\", \"OK\");\n}\n";
    std::fs::write(&script, text).expect("the directory is writable");
    let mut command = Command::new("python3");
    command.arg(repository_file("tests/peers/service_manager.py")).arg(program_file("ser"));
    command.arg("--data-dir").arg(scratch.path()).arg("-f").arg(script);
    command.args(["--workers", "2", "-l", &format!("udp:{address}"), "-l", &format!("tcp:{address}")]);
    let manager = Process::start("manager", &mut command);
    manager.wait_for_line("manager: ready", PATIENCE);
    manager
}

fn wait_for_count(manager: &Process, line: &str, count: usize) {
    if !manager.wait_until(PATIENCE, || manager.count_lines(line) >= count) {
        manager.fail(&format!("did not say {line:?} {count} times"));
    }
}

#[test]
fn what_arrives_between_two_processes_is_answered_by_the_second() {
    let scratch = Scratch::new();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(Ipv4Addr::LOCALHOST.into())));
    let manager = start(&scratch, address);
    manager.tell("stop");
    // A socket for each worker, and the listener.
    manager.wait_for_line("stopped 3", PATIENCE);
    let phones: Vec<Endpoint> = (0..10).map(|_| Endpoint::new(address)).collect();
    for (n, phone) in phones.iter().enumerate() {
        phone.request(&format!("OPTIONS sip:{address}"), &format!("between-{n}"), "1", "", "");
    }
    let connection = TcpStream::connect(address).expect("a connection is not refused while nobody runs");
    manager.tell("start");
    wait_for_count(&manager, "manager: ready", 2);
    phones.iter().for_each(|phone| {
        phone.expect("SIP/2.0 200 ");
    });
    drop(connection);
}

#[test]
fn under_load_restarts_lose_no_request_and_refuse_no_connection() {
    let scratch = Scratch::new();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(Ipv4Addr::LOCALHOST.into())));
    let manager = start(&scratch, address);
    let phone = Endpoint::new(address);
    phone.set_patience(PACE);
    let (mut sent, mut answered) = (0, 0);
    let mut load = |until: &dyn Fn() -> bool| {
        let deadline = Instant::now() + PATIENCE;
        while !until() {
            assert!(Instant::now() < deadline, "the restart does not end");
            phone.request(&format!("OPTIONS sip:{address}"), &format!("load-{sent}"), "1", "", "");
            sent += 1;
            TcpStream::connect(address).expect("no connection is refused");
            // 200, or 503 while the server drains: an answer is an answer.
            while let Some(answer) = phone.receive() {
                assert!(answer.starts_with("SIP/2.0 200 ") || answer.starts_with("SIP/2.0 503 "), "{answer}");
                answered += 1;
            }
        }
    };
    for round in 1..=3 {
        manager.tell("stop");
        load(&|| manager.count_lines("stopped 3") >= round);
        manager.tell("start");
        load(&|| manager.count_lines("manager: ready") > round);
    }
    phone.set_patience(Duration::from_secs(2));
    while answered < sent && phone.receive().is_some() {
        answered += 1;
    }
    assert_eq!(answered, sent, "requests without an answer");
}

/// Without a service manager: the program is replaced on the disk, and the process becomes the new one.
#[test]
fn under_load_upgrades_lose_no_request_and_refuse_no_connection() {
    let scratch = Scratch::new();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(Ipv4Addr::LOCALHOST.into())));
    let (script, program) = (scratch.file("ser.cfg"), scratch.file("ser"));
    let relay = "loadmodule \"sl.so\"\nloadmodule \"tm.so\"\nroute {\n    if (method==\"OPTIONS\") {\n        \
                 sl_send_reply(\"200\", \"OK\");\n        break;\n    }\n    t_relay();\n}\n";
    std::fs::write(&script, relay).expect("the directory is writable");
    copy_program(&program);
    let mut command = Command::new(&program);
    command.arg("--data-dir").arg(scratch.path()).arg("-f").arg(&script).args(["--workers", "2"]);
    command.args(["-l", &format!("udp:{address}"), "-l", &format!("tcp:{address}")]);
    let server = Process::start("ser", &mut command);
    server.wait_for_line("ser 0.", PATIENCE);
    let upgrade = || {
        let mut serctl = Command::new(program_file("serctl"));
        serctl.arg("--data-dir").arg(scratch.path()).arg("upgrade");
        Process::start("serctl", &mut serctl)
    };

    let phone = Endpoint::new(address);
    phone.set_patience(PACE);
    let (mut sent, mut answered) = (0, 0);
    for round in 0..3 {
        // A call that rings when the upgrade begins is answered through the old process.
        let (caller, callee) = (Endpoint::new(address), Endpoint::new(address));
        let bob = format!("sip:bob@{}", callee.own());
        caller.request(&format!("INVITE {bob}"), &format!("ringing-{round}"), "1", "", "");
        caller.expect("SIP/2.0 100 ");
        let invite = callee.expect("INVITE ");
        callee.answer(&invite, "180 Ringing");
        caller.expect("SIP/2.0 180 ");

        let new = scratch.file("new");
        copy_program(&new);
        std::fs::rename(&new, &program).expect("a program that runs can be replaced");
        let upgrade = upgrade();
        let deadline = Instant::now() + PATIENCE;
        let mut is_answered = false;
        while !upgrade.has_ended() {
            assert!(Instant::now() < deadline, "the upgrade does not end\n{}", server.log());
            phone.request(&format!("OPTIONS sip:{address}"), &format!("load-{sent}"), "1", "", "");
            sent += 1;
            TcpStream::connect(address).expect("no connection is refused");
            while let Some(answer) = phone.receive() {
                assert!(answer.starts_with("SIP/2.0 200 ") || answer.starts_with("SIP/2.0 503 "), "{answer}");
                answered += 1;
                if answer.starts_with("SIP/2.0 503 ") && !is_answered {
                    // It drains now.
                    callee.answer(&invite, "200 OK");
                    caller.expect("SIP/2.0 200 ");
                    is_answered = true;
                }
            }
        }
        upgrade.wait_for_line("the new program has taken over", PATIENCE);
        assert!(is_answered && !server.has_ended(), "{}", server.log());
    }
    phone.set_patience(Duration::from_secs(2));
    while answered < sent && phone.receive().is_some() {
        answered += 1;
    }
    assert_eq!(answered, sent, "requests without an answer");

    // What would not start does not take over.
    std::fs::write(&script, "route {\n    t_rellay();\n}\n").expect("the directory is writable");
    let refused = upgrade();
    assert!(!refused.wait_for_exit(PATIENCE).success());
    assert!(
        refused.log().contains("the new program would not start") && refused.log().contains("t_rellay"),
        "{}",
        refused.log()
    );
    phone.request(&format!("OPTIONS sip:{address}"), "still-there", "1", "", "");
    phone.expect("SIP/2.0 200 ");
}

/// A call that rings at a server started in `working` below its directory; returns caller, callee and the INVITE.
fn ringing(address: SocketAddr) -> (Endpoint, Endpoint, String) {
    let (caller, callee) = (Endpoint::new(address), Endpoint::new(address));
    caller.request(&format!("INVITE sip:bob@{}", callee.own()), "ringing", "1", "", "");
    caller.expect("SIP/2.0 100 ");
    let invite = callee.expect("INVITE ");
    callee.answer(&invite, "180 Ringing");
    caller.expect("SIP/2.0 180 ");
    (caller, callee, invite)
}

/// Two operators, or one in a hurry; a working directory that is named relative to where the first program was started;
/// and an HTTP port that somebody else takes meanwhile, without which calls go on.
#[test]
fn a_second_upgrade_while_the_first_is_under_way_changes_nothing() {
    let scratch = Scratch::new();
    let ip = Ipv4Addr::LOCALHOST;
    let address = SocketAddr::from((ip, free_port(ip.into())));
    let http = SocketAddr::from((ip, free_port(ip.into())));
    let script = scratch.file("ser.cfg");
    std::fs::create_dir(scratch.file("working")).expect("the directory is writable");
    let relay = "loadmodule \"sl.so\"\nloadmodule \"tm.so\"\nroute {\n    if (method==\"OPTIONS\") {\n        \
                 sl_send_reply(\"200\", \"OK\");\n        break;\n    }\n    t_relay();\n}\n";
    std::fs::write(&script, relay).expect("the directory is writable");
    let mut command = Command::new(program_file("ser"));
    command.current_dir(scratch.path()).args(["-w", "working"]);
    command.arg("--data-dir").arg(scratch.path()).arg("-f").arg(&script);
    command.args(["-l", &format!("udp:{address}"), "--http", &http.to_string()]);
    let server = Process::start("ser", &mut command);
    server.wait_for_line("ser 0.", PATIENCE);
    let (caller, callee, invite) = ringing(address);
    let upgrade = || {
        let mut serctl = Command::new(program_file("serctl"));
        serctl.arg("--data-dir").arg(scratch.path()).arg("upgrade");
        Process::start("serctl", &mut serctl)
    };
    let first = upgrade();
    server.wait_for_line("NOTICE draining", PATIENCE);
    let second = upgrade();
    second.wait_for_line("the new program would start", PATIENCE);
    callee.answer(&invite, "200 OK");
    caller.expect("SIP/2.0 200 ");
    first.wait_for_line("the new program has taken over", PATIENCE);
    second.wait_for_line("the new program has taken over", PATIENCE);
    assert_eq!(server.count_lines("ser 0."), 2, "{}", server.log());
    caller.request(&format!("OPTIONS sip:{address}"), "after", "1", "", "");
    caller.expect("SIP/2.0 200 ");
    assert!(!server.has_ended(), "{}", server.log());
}

fn serctl(scratch: &Scratch, word: &str) -> Process {
    let mut serctl = Command::new(program_file("serctl"));
    serctl.arg("--data-dir").arg(scratch.file("data")).arg(word);
    Process::start("serctl", &mut serctl)
}

/// Puts a copy of the program there. Not written by this process: what another test starts meanwhile would hold it open for
/// writing, and such a program cannot be run.
fn copy_program(to: &std::path::Path) {
    let status = Command::new("cp").arg(program_file("ser")).arg(to).status().expect("there is a cp");
    assert!(status.success(), "the directory is writable");
}

fn with_copy(scratch: &Scratch, address: SocketAddr, options: &[&str]) -> (Process, std::path::PathBuf) {
    let (script, program) = (scratch.file("ser.cfg"), scratch.file("ser"));
    let text = "loadmodule \"sl.so\"\nloadmodule \"tm.so\"\nroute {\n    if (method==\"OPTIONS\") {\n        \
                sl_send_reply(\"200\", \"OK\");\n        break;\n    }\n    t_relay();\n}\n";
    std::fs::write(&script, text).expect("the directory is writable");
    copy_program(&program);
    let mut command = Command::new(&program);
    command.arg("--data-dir").arg(scratch.file("data")).arg("-f").arg(&script).args(options);
    command.args(["-l", &format!("udp:{address}"), "-l", &format!("tcp:{address}")]);
    let server = Process::start("ser", &mut command);
    server.wait_for_line("ser 0.", PATIENCE);
    (server, program)
}

/// The new program would have started when it was asked, and is gone when its turn comes.
#[test]
fn an_upgrade_to_a_program_that_has_gone_leaves_the_old_one_running() {
    let scratch = Scratch::new();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(Ipv4Addr::LOCALHOST.into())));
    let (server, program) = with_copy(&scratch, address, &[]);
    // A call that rings keeps it from becoming the new one before that is gone.
    let (caller, callee, invite) = ringing(address);
    let upgrade = serctl(&scratch, "upgrade");
    upgrade.wait_for_line("the new program would start", PATIENCE);
    std::fs::remove_file(&program).expect("it is there");
    callee.answer(&invite, "200 OK");
    caller.expect("SIP/2.0 200 ");
    assert!(!upgrade.wait_for_exit(PATIENCE).success());
    assert!(upgrade.log().contains("the new program cannot be run"), "{}", upgrade.log());
    let phone = Endpoint::new(address);
    phone.request(&format!("OPTIONS sip:{address}"), "after", "1", "", "");
    phone.expect("SIP/2.0 200 ");
    assert!(
        server.wait_until(PATIENCE, || server.count_lines("the newer program cannot be run") == 1),
        "{}",
        server.log()
    );

    // With the program back the next one succeeds, and nothing is said of the failure any more.
    copy_program(&program);
    let upgrade = serctl(&scratch, "upgrade");
    assert!(upgrade.wait_for_exit(PATIENCE).success(), "{}", upgrade.log());
    assert_eq!(server.count_lines("the newer program cannot be run"), 1);
    phone.request(&format!("OPTIONS sip:{address}"), "again", "1", "", "");
    phone.expect("SIP/2.0 200 ");
}

/// A port that only root may bind to outlives the upgrade of a server that is nobody by then.
#[test]
fn an_upgrade_after_root_was_given_up_keeps_the_privileged_port() {
    let scratch = Scratch::new();
    if std::fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own)).expect("there is a /proc")
        != 0
    {
        // Nobody else has such ports to keep; `account.rs` has what is said instead.
        return;
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(scratch.path(), mode).expect("the directory is ours");
    let is_free = |port: &u16| {
        let place = (Ipv4Addr::LOCALHOST, *port);
        std::net::UdpSocket::bind(place).is_ok() && std::net::TcpListener::bind(place).is_ok()
    };
    let port = (600..1024).rev().find(is_free).expect("one of them is free");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (server, _) = with_copy(&scratch, address, &["-u", "nobody", "--workers", "2"]);
    let user = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).expect("it runs");
        status.lines().find_map(|line| line.strip_prefix("Uid:")).map(|ids| ids.trim().to_owned())
    };
    let before = user();
    assert!(before.as_ref().is_some_and(|user| !user.starts_with('0')), "{before:?}");
    for round in 0..2 {
        let upgrade = serctl(&scratch, "upgrade");
        upgrade.wait_for_line("the new program has taken over", PATIENCE);
        assert_eq!(user(), before);
        let phone = Endpoint::new(address);
        phone.request(&format!("OPTIONS sip:{address}"), &format!("after-{round}"), "1", "", "");
        phone.expect("SIP/2.0 200 ");
        TcpStream::connect(address).expect("connections are taken");
    }
}
