//! The words that operators know: verbs of SER's script, of `kamctl` and `kamcmd`, and the commands of Kamailio's modules.
//!
//! Always `ser`, whatever is under test. Kamailio is asked which commands it has.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Endpoint, Process, Scratch, free_port, program_file, repository_file};

const PATIENCE: Duration = Duration::from_secs(30);
/// Those of our modules that Debian's packages have, loaded by both.
const MODULES: &str = "tm tmx sl rr pv maxfwd usrloc registrar textops textopsx siputils xlog sanity acc auth avpops cfgutils corex \
                       counters debugger dialplan dialog dispatcher domain htable ipops kex mangler nathelper path pdt \
                       permissions pike pipelimit ratelimit rtimer sdpops siptrace sqlops statistics uac xhttp tls";
/// Modules that do not start without a database.
const WITH_DATABASE: [&str; 4] = ["dialplan", "domain", "pdt", "siptrace"];

/// A directory with the tables of every module, and a script that both programs load.
fn script(scratch: &Scratch, first: &str) -> std::path::PathBuf {
    let directory = scratch.path().display();
    serctl(scratch, &["db", "create"]);
    fs::write(scratch.file("dispatcher.list"), "1 sip:192.0.2.7:5060\n").expect("the directory is writable");
    let mut text = format!("#!KAMAILIO\n{first}loadmodule \"db_sqlite.so\"\n");
    for module in MODULES.split_whitespace() {
        text += &format!("loadmodule \"{module}.so\"\n");
    }
    for module in WITH_DATABASE {
        text += &format!("modparam(\"{module}\", \"db_url\", \"sqlite:///{directory}/ser.db\")\n");
    }
    text += &format!("modparam(\"dispatcher\", \"list_file\", \"{directory}/dispatcher.list\")\n");
    text += "modparam(\"htable\", \"htable\", \"ban=>size=4;\")\nmodparam(\"dialog\", \"enable_stats\", 1)\n";
    text += "request_route {\n    if (is_method(\"REGISTER\")) { save(\"location\"); exit; }\n    if (is_method(\"OPTIONS\")) sl_send_reply(\"200\", \"OK\");\n    exit;\n}\n\
             event_route[xhttp:request] { exit; }\n";
    let file = scratch.file(if first.is_empty() { "ser.cfg" } else { "kamailio.cfg" });
    fs::write(&file, text).expect("the directory is writable");
    file
}

fn output(scratch: &Scratch, words: &[&str]) -> (bool, String) {
    let mut command = Command::new(program_file("serctl"));
    command.arg("--data-dir").arg(scratch.path()).args(words);
    let output = command.output().expect("serctl can be started");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said)
}

fn serctl(scratch: &Scratch, words: &[&str]) -> String {
    let (is_done, said) = output(scratch, words);
    assert!(is_done, "{words:?}: {said}");
    said
}

fn start(scratch: &Scratch) -> (Process, std::net::SocketAddr) {
    let address = ([127, 0, 0, 1], free_port([127, 0, 0, 1].into())).into();
    let mut command = Command::new(program_file("ser"));
    command.arg("--data-dir").arg(scratch.path()).arg("-f").arg(script(scratch, ""));
    command.args(["-l", &format!("udp:{address}")]);
    let server = Process::start("ser", &mut command);
    server.wait_for_line("ser 0.", PATIENCE);
    (server, address)
}

/// What Kamailio can be asked.
fn of_kamailio(scratch: &Scratch) -> BTreeSet<String> {
    let socket = scratch.file("ctl");
    let first = format!(
        "loadmodule \"ctl.so\"\nloadmodule \"cfg_rpc.so\"\nloadmodule \"jsonrpcs.so\"\n\
         modparam(\"ctl\", \"binrpc\", \"unix:{}\")\nmodparam(\"jsonrpcs\", \"transport\", 0)\nmodparam(\"usrloc\", \"db_mode\", 0)\n",
        socket.display()
    );
    // Parameters of a module come after it is loaded.
    let (load, set): (Vec<&str>, Vec<&str>) = first.lines().partition(|line| line.starts_with("loadmodule"));
    let file = script(scratch, &format!("{}\n", load.join("\n")));
    let text = fs::read_to_string(&file).expect("it was written");
    fs::write(&file, text + &set.join("\n") + "\n").expect("the directory is writable");
    let mut command = Command::new("/usr/sbin/kamailio");
    command.args(["-DD", "-E", "-n", "1", "-m", "64", "-M", "16", "-l"]);
    command.arg(format!("udp:127.0.0.1:{}", free_port([127, 0, 0, 1].into())));
    command.arg("-Y").arg(scratch.path()).arg("-w").arg(scratch.path()).arg("-f").arg(&file);
    let kamailio = Process::start("kamailio", &mut command);
    let mut said = String::new();
    let is_there = kamailio.wait_until(PATIENCE, || {
        let mut kamcmd = Command::new("kamcmd");
        kamcmd.arg("-s").arg(format!("unix:{}", socket.display())).arg("system.listMethods");
        let output = kamcmd.output().expect("kamcmd is installed");
        said = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success() && !said.is_empty()
    });
    assert!(is_there, "{}", kamailio.log());
    said.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// What the document says is not here: names, and `*` for all of a group.
fn left_out() -> Vec<String> {
    let text = fs::read_to_string(repository_file("docs/commands.md")).expect("it is there");
    let cells = text.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    cells.flat_map(|cell| cell.split(", ").map(|name| name.trim_matches('`').to_owned()).collect::<Vec<_>>()).collect()
}

#[test]
fn every_command_of_kamailios_modules_is_here_or_said_not_to_be() {
    let scratch = Scratch::new();
    let theirs = of_kamailio(&scratch);
    let (_server, _) = start(&scratch);
    let ours: BTreeSet<String> = serctl(&scratch, &["which"]).lines().map(str::to_owned).collect();
    let missing: Vec<&String> = theirs.iter().filter(|name| !ours.contains(*name)).collect();
    let left_out = left_out();
    let is_meant = |pattern: &str, name: &str| match pattern.strip_suffix('*') {
        Some(group) => name.starts_with(group),
        None => name == pattern,
    };
    let unsaid: Vec<_> =
        missing.iter().filter(|name| !left_out.iter().any(|pattern| is_meant(pattern, name))).collect();
    assert!(unsaid.is_empty(), "neither here nor in docs/commands.md: {unsaid:?}");
    let outdated: Vec<_> =
        left_out.iter().filter(|pattern| !missing.iter().any(|name| is_meant(pattern, name))).collect();
    assert!(outdated.is_empty(), "docs/commands.md says they are not here: {outdated:?}");
    assert!(theirs.len() > 150, "Kamailio has shown few commands: {theirs:?}");
}

/// A line each: what is typed, and what the answer holds. In order: later ones build on earlier ones.
const TYPED: &[(&str, &str)] = &[
    // SER's script of 2003.
    ("add alice secret alice@example.org", ""),
    ("passwd alice secret2", ""),
    ("showdb", "alice"),
    ("rpid add alice sip:+4930123456@example.com", ""),
    ("rpid show alice", "+4930123456"),
    ("rpid rm alice", ""),
    ("acl grant alice int ld", ""),
    ("acl show alice", "int"),
    ("acl revoke alice int", ""),
    ("alias add wonder alice", ""),
    ("alias show wonder", "alice"),
    ("alias rm wonder", ""),
    ("mail alice --show", "alice@example.org"),
    ("domain add example.com", ""),
    ("domain show", "example.com"),
    ("ul add alice sip:alice@192.0.2.7", "is registered"),
    ("ul show", "sip:alice@192.0.2.7"),
    ("usrloc show alice", "sip:alice@192.0.2.7"),
    ("ps", "worker"),
    ("fifo core.version", "ser 0."),
    // kamctl.
    ("ul dump", "sip:alice@192.0.2.7"),
    ("online", "alice"),
    ("domain showdb", "example.com"),
    ("domain reload", ""),
    ("rpc core.version", "ser 0."),
    ("mi core.version", "ser 0."),
    ("stats core:", "core:rcv_requests"),
    ("dispatcher show", "sip:192.0.2.7:5060"),
    ("dispatcher add 1 sip:192.0.2.8:5060", ""),
    ("dispatcher dump", "sip:192.0.2.8:5060"),
    ("dispatcher rm 1 sip:192.0.2.7:5060", ""),
    ("dispatcher state i 1 sip:192.0.2.8:5060", ""),
    ("dispatcher reload", ""),
    ("address show", ""),
    ("address reload", ""),
    ("trusted show", ""),
    ("trusted reload", ""),
    ("dialog show", ""),
    ("dialplan reload", ""),
    ("trap", "worker"),
    ("uptime", "uptime"),
    ("version", "ser 0."),
    ("pike list", ""),
    ("db show", "version"),
    ("ul rm alice", "no longer registered"),
    ("rm alice", ""),
    ("domain rm example.com", ""),
    // kamcmd.
    ("core.psx", "worker"),
    ("core.psa", "worker"),
    ("core.runinfo", "uptime_secs"),
    ("core.modules", "dispatcher"),
    ("core.prints a", "a"),
    ("core.tcp_options", "max_connections"),
    ("htable.setxs ban alice yes 60", ""),
    ("htable.dump ban", "yes"),
    ("pv.shvSet maintenance int 1", ""),
    ("pv.shvGet maintenance", "1"),
    ("cfgutils.set_gflag 3", ""),
    ("cfgutils.get_gflags", "8"),
    ("cnt.help core rcv_requests", "."),
    ("cnt.get_vars core", "rcv_requests"),
    ("cfg.set_delayed core debug 3", ""),
    ("cfg.diff", "debug"),
    ("cfg.commit", ""),
    ("cfg.get core debug", "3"),
    ("pl.list", ""),
    ("dlg.briefing", ""),
];

#[test]
fn the_words_of_sers_script_of_kamctl_and_of_kamcmd_do_what_they_say() {
    let scratch = Scratch::new();
    let (_server, address) = start(&scratch);
    for (typed, expected) in TYPED {
        let said = serctl(&scratch, &typed.split(' ').collect::<Vec<_>>());
        assert!(said.contains(expected), "{typed}: {said}");
    }
    let said = serctl(&scratch, &["ping", &format!("sip:anybody@{address}")]);
    assert!(said.contains("200"), "{said}");
    for wrong in ["dispatcher paint", "acl paint", "frobnicate", "pv.shvSet a int b", "cfgutils.set_gflag 99"] {
        let (is_done, said) = output(&scratch, &wrong.split(' ').collect::<Vec<_>>());
        assert!(!is_done && !said.contains("panicked"), "{wrong}: {said}");
    }
}

#[test]
fn events_are_shown_as_they_happen() {
    let scratch = Scratch::new();
    let (_server, address) = start(&scratch);
    let follow = |words: &[&str]| {
        let mut command = Command::new(program_file("serctl"));
        command.arg("--data-dir").arg(scratch.path()).arg("events").args(words);
        let process = Process::start("serctl", &mut command);
        let kind = words[0].trim_end_matches(".*");
        let listens = || serctl(&scratch, &["--json", "events.consumers"]).contains(kind);
        assert!(process.wait_until(PATIENCE, listens), "{}", process.log());
        process
    };
    let people = follow(&["registration.*", "--user", "bob"]);
    let (others, programs) = (follow(&["message", "--user", "alice"]), follow(&["reload", "--json"]));
    Endpoint::new(address).register_bob();
    serctl(&scratch, &["core.reload"]);
    let has_line = |process: &Process, text: &str| {
        assert!(process.wait_until(PATIENCE, || process.count_lines(text) == 1), "{text}: {}", process.log());
    };
    has_line(&people, "registration.save");
    assert!(people.log().contains("bob") && others.log().is_empty(), "{}", people.log());
    has_line(&programs, "\"event\":\"reload\"");
    assert!(serde_json::from_str::<serde_json::Value>(&programs.log()).is_ok(), "{}", programs.log());
    let (is_done, said) = output(&scratch, &["events", "paint.*"]);
    assert!(!is_done && said.contains("paint"), "{said}");
}
