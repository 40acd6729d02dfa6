//! Instructions that the server executes for a REGISTER, for a call and for a script's route, counted by callgrind.
//!
//! Time depends on the machine and on what else runs there; instructions repeat exactly. The real
//! engine runs the scripts of `bench/scripts` on the simulated network, and only what happens between the
//! arrival of a message and what it makes the server send is counted: no system calls, no simulator.
#![forbid(unsafe_code)]

use std::process::Command;

use anyhow::{Context, bail};
use testkit::Network;

/// As in the server.
#[global_allocator]
static ALLOCATOR: net::memory::Allocator = net::memory::Allocator;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => count_all(),
        ["--run", name, count] => run(find(name)?, count.parse().context(USAGE)?),
        ["--profile", name] => profile(find(name)?),
        _ => bail!(USAGE),
    }
}

/// Something that a server does again and again.
struct Workload {
    name: &'static str,
    what: &'static str,
    script: &'static str,
    run: fn(&mut Network, usize),
}

const WORKLOADS: [Workload; 4] = [
    Workload { name: "register", what: "REGISTER, refreshed, and its 200", script: BENCH, run: register },
    Workload {
        name: "call",
        what: "INVITE, 180, 200, ACK, BYE, 200 with lookup and Record-Route",
        script: BENCH,
        run: call,
    },
    Workload {
        name: "bare",
        what: "OPTIONS, answered at once",
        script: ROUTE,
        run: |network, number| ask(network, "OPTIONS", number),
    },
    Workload {
        name: "route",
        what: "INFO, answered after a residential request route",
        script: ROUTE,
        run: |network, number| ask(network, "INFO", number),
    },
];

const USAGE: &str = "usage: instructions [--profile register|call|bare|route]";
const BENCH: &str = include_str!("../../scripts/bench.cfg");
const ROUTE: &str = include_str!("../../scripts/route.cfg");
/// What both runs do; the difference of two runs is free of it and of the start.
const FEW: usize = 200;
const MANY: usize = 1200;
const USERS: usize = 100;

fn find(name: &str) -> anyhow::Result<&'static Workload> {
    WORKLOADS.iter().find(|workload| workload.name == name).context(USAGE)
}

fn count_all() -> anyhow::Result<()> {
    println!("{:<10}{:>14}  of", "", "instructions");
    for workload in &WORKLOADS {
        let (few, many) = (counted(workload, FEW)?, counted(workload, MANY)?);
        println!("{:<10}{:>14}  {}", workload.name, (many - few) / (MANY - FEW) as u64, workload.what);
    }
    Ok(())
}

/// Instructions of one run, as callgrind sums them up.
fn counted(workload: &Workload, count: usize) -> anyhow::Result<u64> {
    let output = callgrind("/dev/null", workload, count)?;
    let collected = output.lines().find_map(|line| line.split_once("Collected :"));
    let (_, collected) = collected.with_context(|| format!("callgrind said:\n{output}"))?;
    Ok(collected.trim().parse()?)
}

/// Leaves a profile in the current folder, for `callgrind_annotate`.
fn profile(workload: &Workload) -> anyhow::Result<()> {
    let file = format!("callgrind.{}", workload.name);
    callgrind(&file, workload, MANY)?;
    println!("callgrind_annotate --inclusive=yes {file}");
    Ok(())
}

fn callgrind(file: &str, workload: &Workload, count: usize) -> anyhow::Result<String> {
    let program = std::env::current_exe()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=testkit::network::Network::land"])
        .arg(format!("--callgrind-out-file={file}"))
        .arg(program)
        .args(["--run", workload.name, &count.to_string()])
        .output()
        .context("valgrind is not installed")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    anyhow::ensure!(output.status.success(), "{said}");
    Ok(said)
}

fn run(workload: &Workload, count: usize) -> anyhow::Result<()> {
    let mut network = Network::new(workload.script);
    for user in 0..USERS {
        register(&mut network, user);
    }
    for number in USERS..USERS + count {
        (workload.run)(&mut network, number);
    }
    Ok(())
}

const CALLER: &str = "198.51.100.1:5070";
const CALLEE: &str = "203.0.113.1:5080";
const SERVER: &str = "192.0.2.1";

fn register(network: &mut Network, number: usize) {
    ask(network, "REGISTER", number);
}

/// A request that the server answers itself.
fn ask(network: &mut Network, method: &str, number: usize) {
    let user = number % USERS;
    let uri = if method == "REGISTER" { format!("sip:{SERVER}") } else { format!("sip:u{user}@{SERVER}") };
    network.send(
        CALLEE,
        &format!(
            "{method} {uri} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {CALLEE};branch=z9hG4bKr{number:x};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:u{user}@{SERVER}>;tag={number:x}\r\nTo: <sip:u{user}@{SERVER}>\r\n\
             Call-ID: {user:x}-register@bench\r\nCSeq: {number} {method}\r\nContact: <sip:u{user}@{CALLEE}>\r\n\
             Expires: 3600\r\nUser-Agent: bench\r\nContent-Length: 0\r\n\r\n"
        ),
    );
    network.settle();
    assert!(network.received_one(CALLEE).starts_with("SIP/2.0 200"));
}

fn call(network: &mut Network, number: usize) {
    let user = number % USERS;
    let request = |method: &str, uri: &str, branch: &str, to_tag: &str, rest: &str| {
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK{branch}{number:x};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:caller@{SERVER}>;tag={number:x}\r\nTo: <sip:u{user}@{SERVER}>{to_tag}\r\n\
             Call-ID: {number:x}-call@bench\r\nCSeq: {cseq} {method}\r\n{rest}",
            cseq = if method == "BYE" { 2 } else { 1 },
        )
    };
    let sdp = "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n\
               m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n";
    let contact = format!("Contact: <sip:caller@{CALLER}>\r\n");
    let body = format!("{contact}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len());
    network.send(CALLER, &request("INVITE", &format!("sip:u{user}@{SERVER}"), "i", "", &body));
    network.settle();
    let invite = network.received_one(CALLEE);
    let routes: String = header_lines(&invite, "Record-Route");
    network.send(CALLEE, &answer(&invite, "180 Ringing", ""));
    network.send(CALLEE, &answer(&invite, "200 OK", &format!("Contact: <sip:u{user}@{CALLEE}>\r\n")));
    network.settle();
    assert_eq!(network.received(CALLER).len(), 3, "100, 180 and 200");
    let remote = format!("sip:u{user}@{CALLEE}");
    let route = format!("{}Content-Length: 0\r\n\r\n", routes.replace("Record-Route", "Route"));
    network.send(CALLER, &request("ACK", &remote, "a", ";tag=callee", &route));
    network.settle();
    assert!(network.received_one(CALLEE).starts_with("ACK "));
    network.send(CALLER, &request("BYE", &remote, "b", ";tag=callee", &route));
    network.settle();
    let bye = network.received_one(CALLEE);
    network.send(CALLEE, &answer(&bye, "200 OK", ""));
    network.settle();
    assert!(network.received_one(CALLER).starts_with("SIP/2.0 200"));
    // The next call begins when nobody repeats this one any more.
    network.advance(std::time::Duration::from_millis(100));
}

fn answer(request: &str, status: &str, more: &str) -> String {
    let copied: String =
        ["Via", "Record-Route", "From", "Call-ID", "CSeq"].map(|name| header_lines(request, name)).concat();
    let to = header_lines(request, "To");
    let to = if to.contains(";tag=") { to } else { to.replace("\r\n", ";tag=callee\r\n") };
    format!("SIP/2.0 {status}\r\n{copied}{to}{more}Content-Length: 0\r\n\r\n")
}

fn header_lines(message: &str, name: &str) -> String {
    let head = message.split("\r\n\r\n").next().unwrap_or_default();
    let lines = head.split("\r\n").filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(':')));
    lines.map(|line| format!("{line}\r\n")).collect()
}
