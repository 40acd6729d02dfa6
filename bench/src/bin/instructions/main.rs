//! Instructions that the server executes for a REGISTER, for a call, for a script's route and for their parts, counted by
//! callgrind.
//!
//! Time depends on the machine and on what else runs there; instructions repeat exactly. The real
//! engine runs the scripts of `bench/scripts` on the simulated network, and only what happens between the
//! arrival of a message and what it makes the server send is counted: no system calls, no simulator.
#![forbid(unsafe_code)]

mod message;
mod recorded;
mod traffic;

use std::process::Command;

use anyhow::{Context, bail};

/// As in the server.
#[global_allocator]
static ALLOCATOR: net::memory::Allocator = net::memory::Allocator;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => show(&count_all()?, &recorded::read()?),
        ["--check"] => {
            let (counts, before) = (count_all()?, recorded::read()?);
            show(&counts, &before)?;
            recorded::check(&counts, &before)
        }
        ["--record"] => recorded::write(&count_all()?),
        ["--run", name, count] => {
            (find(name)?.run)(count.parse().context(USAGE)?);
            Ok(())
        }
        ["--profile", name] => profile(find(name)?),
        _ => bail!(USAGE),
    }
}

/// Something that a server does again and again.
struct Workload {
    name: &'static str,
    what: &'static str,
    /// The function within which instructions count.
    counted: &'static str,
    /// Does it so many times.
    run: fn(usize),
}

/// The arrival of a message in the simulated network, with all that follows from it.
const ARRIVAL: &str = "testkit::network::Network::land";

const WORKLOADS: [Workload; 9] = [
    Workload {
        name: "register",
        what: "REGISTER, refreshed, and its 200",
        counted: ARRIVAL,
        run: |count| traffic::run(traffic::BENCH, count, traffic::register),
    },
    Workload {
        name: "call",
        what: "INVITE, 180, 200, ACK, BYE, 200 with lookup and Record-Route",
        counted: ARRIVAL,
        run: |count| traffic::run(traffic::BENCH, count, traffic::call),
    },
    Workload {
        name: "bare",
        what: "OPTIONS, answered at once",
        counted: ARRIVAL,
        run: |count| traffic::run(traffic::ROUTE, count, |network, number| traffic::ask(network, "OPTIONS", number)),
    },
    Workload {
        name: "route",
        what: "INFO, answered after a residential request route",
        counted: ARRIVAL,
        run: |count| traffic::run(traffic::ROUTE, count, |network, number| traffic::ask(network, "INFO", number)),
    },
    Workload {
        name: "kept_call",
        what: "a call, with its messages and their steps kept (--trace-memory)",
        counted: ARRIVAL,
        run: |count| traffic::run_kept(traffic::BENCH, count, traffic::call),
    },
    Workload {
        name: "kept_info",
        what: "an INFO after a residential route, kept as well",
        counted: ARRIVAL,
        run: |count| traffic::run_kept(traffic::ROUTE, count, |network, number| traffic::ask(network, "INFO", number)),
    },
    Workload {
        name: "parse",
        what: "an INVITE of 12 headers, indexed",
        counted: "instructions::message::parse",
        run: |count| message::repeat(count, message::only_parse),
    },
    Workload {
        name: "validate",
        what: "its mandatory headers, decoded and judged",
        counted: "instructions::message::validate",
        run: |count| message::repeat(count, message::validate),
    },
    Workload {
        name: "write",
        what: "its copy for the next hop, with 5 edits",
        counted: "instructions::message::write_copy",
        run: |count| message::repeat(count, message::write_copy),
    },
];

const USAGE: &str = "usage: instructions [--check | --record | --profile register|call|bare|route|kept_call|kept_info|parse|validate|write]";
/// What both runs do; the difference of two runs is free of it and of the start.
const FEW: usize = 200;
const MANY: usize = 1200;

fn find(name: &str) -> anyhow::Result<&'static Workload> {
    WORKLOADS.iter().find(|workload| workload.name == name).context(USAGE)
}

/// Name and instructions of each workload.
fn count_all() -> anyhow::Result<Vec<(&'static str, u64)>> {
    let count = |workload: &'static Workload| {
        let (few, many) = (counted(workload, FEW)?, counted(workload, MANY)?);
        let each = many.saturating_sub(few) / (MANY - FEW) as u64;
        anyhow::ensure!(each > 0, "{}: nothing was counted in {}", workload.name, workload.counted);
        Ok((workload.name, each))
    };
    WORKLOADS.iter().map(count).collect()
}

fn show(counts: &[(&'static str, u64)], recorded: &[(String, u64)]) -> anyhow::Result<()> {
    println!("{:<10}{:>14}{:>10}  of", "", "instructions", "change");
    for (name, count) in counts {
        let before = recorded.iter().find(|(recorded, _)| recorded == name).map(|(_, before)| *before);
        let change = before.map_or("new".to_owned(), |before| recorded::change(before, *count));
        println!("{name:<10}{count:>14}{change:>10}  {}", find(name)?.what);
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
        .args(["--tool=callgrind", &format!("--toggle-collect={}", workload.counted)])
        .arg(format!("--callgrind-out-file={file}"))
        .arg(program)
        .args(["--run", workload.name, &count.to_string()])
        .output()
        .context("valgrind is not installed")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    anyhow::ensure!(output.status.success(), "{said}");
    Ok(said)
}
