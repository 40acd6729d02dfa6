//! `ser`, Debian's Kamailio and a bare relay, in turn, under the same load.
//!
//! Prints the tables and writes them to `bench/RESULTS.md`.
#![forbid(unsafe_code)]

mod server;
mod table;

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use bench::accounting;
use bench::load::{self, Ends, Pace, Report, calls::Calls, pending::Pending, registers::Registers};

use server::{Server, Subject};
use table::Table;

fn main() -> anyhow::Result<()> {
    let subjects: Vec<Subject> = SUBJECTS.into_iter().filter(|subject| is_there(*subject)).collect();
    let mut tables = Vec::new();
    tables.push(compare(&subjects, "Calls between 16 + 16 addresses", |server, run| call(server, PAIRS, run))?);
    tables.push(compare(&subjects, "Calls between one address and one other", |server, run| call(server, 1, run))?);
    tables.push(compare(&subjects, "REGISTER, refreshed, without authentication", register)?);
    let servers: Vec<Subject> = subjects.into_iter().filter(|subject| *subject != Subject::Relay).collect();
    tables.push(weigh(&servers)?);
    let text = record(&tables);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("RESULTS.md");
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    println!("\nwritten to {}", path.display());
    Ok(())
}

/// What is measured, in the order of a round.
const SUBJECTS: [Subject; 7] = [
    Subject::Relay,
    Subject::Kamailio(1),
    Subject::Kamailio(2),
    Subject::Kamailio(4),
    Subject::Kamailio(8),
    Subject::Ser(Some(1)),
    Subject::Ser(None),
];
const ROUNDS: u32 = 5;
const PAIRS: usize = 16;
const USERS: usize = 1000;
const CALLS_PER_SECOND: f64 = 2000.0;
const CALLS: usize = 3000;
const REGISTERS_PER_SECOND: f64 = 8000.0;
const REGISTERS: usize = 8000;
const STORED_CONTACTS: usize = 100_000;
const PENDING_CALLS: usize = 20_000;
/// How long a server may stay silent before what is open counts as failed.
const PATIENCE: Duration = Duration::from_secs(2);

fn is_there(subject: Subject) -> bool {
    let is_there = subject.program().is_some();
    if !is_there {
        println!("left out: {} (not built or not installed)", subject.name());
    }
    is_there
}

/// One run: what the kernel charged, and what the load saw.
struct Sample {
    cpu_micros: f64,
    report: Report,
}

type Measure = fn(&Server, u32) -> anyhow::Result<Sample>;

/// Rounds in which each server has its turn; all run from the first round to the last.
fn compare(subjects: &[Subject], title: &str, measure: Measure) -> anyhow::Result<Table> {
    let servers = subjects.iter().map(|subject| Server::start(*subject)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut samples: Vec<Vec<Sample>> = servers.iter().map(|_| Vec::new()).collect();
    for run in 1..=ROUNDS {
        for (server, samples) in servers.iter().zip(&mut samples) {
            let sample = measure(server, run).with_context(|| server.subject.name())?;
            samples.push(sample);
        }
    }
    let heads = ["", "CPU us", "of rounds", "p50 us", "p99 us", "p99.9 us", "failed", "swapped", "of"];
    let mut table = Table::new(title, &heads);
    for (server, samples) in servers.iter().zip(&samples) {
        table.add(row(&server.subject.name(), samples));
    }
    println!("\n{table}");
    Ok(table)
}

fn call(server: &Server, pairs: usize, run: u32) -> anyhow::Result<Sample> {
    let ends = server.open_ends(pairs)?;
    fill_locations(server, &ends, USERS, run)?;
    let mut calls = Calls::new(USERS, run);
    let cpu_micros = charged(server, || drive(&ends, &mut calls, Pace::Rate(CALLS_PER_SECOND), CALLS))?;
    Ok(Sample { cpu_micros: cpu_micros / CALLS as f64, report: calls.into_report() })
}

fn register(server: &Server, run: u32) -> anyhow::Result<Sample> {
    let ends = server.open_ends(PAIRS)?;
    let mut registers = Registers::new(USERS, run);
    let pace = Pace::Rate(REGISTERS_PER_SECOND);
    let cpu_micros = charged(server, || drive(&ends, &mut registers, pace, REGISTERS))?;
    Ok(Sample { cpu_micros: cpu_micros / REGISTERS as f64, report: registers.into_report() })
}

/// Memory of a fresh process for each stored contact and each call that rings.
fn weigh(subjects: &[Subject]) -> anyhow::Result<Table> {
    let heads = ["", "idle MB", "KB per contact", "KB per transaction", "failed"];
    let mut table = Table::new("Memory", &heads);
    for subject in subjects {
        let server = Server::start(*subject)?;
        let ends = server.open_ends(PAIRS)?;
        let idle = server.resident_bytes()?;
        // The first thousand users fill what a server allocates once.
        fill_locations(&server, &ends, USERS, 1)?;
        let before = server.resident_bytes()?;
        fill_locations(&server, &ends, STORED_CONTACTS, 2)?;
        let filled = server.resident_bytes()?;
        let mut pending = Pending::new(STORED_CONTACTS, 1);
        drive(&ends, &mut pending, Pace::Window(64), PENDING_CALLS)?;
        let ringing = server.resident_bytes()?;
        let kilobytes = |from: u64, to: u64, count: usize| (to as f64 - from as f64) / 1024.0 / count as f64;
        table.add(vec![
            subject.name(),
            format!("{:.1}", idle as f64 / 1048576.0),
            format!("{:.2}", kilobytes(before, filled, STORED_CONTACTS - USERS)),
            format!("{:.2}", kilobytes(filled, ringing, PENDING_CALLS)),
            pending.into_report().failures().to_string(),
        ]);
    }
    println!("\n{table}");
    Ok(table)
}

fn fill_locations(server: &Server, ends: &Ends, users: usize, run: u32) -> anyhow::Result<()> {
    let mut registers = Registers::new(users, run);
    drive(ends, &mut registers, Pace::Window(64), users)?;
    let failures = registers.into_report().failures();
    anyhow::ensure!(failures == 0, "{}: {failures} of {users} registrations failed", server.subject.name());
    Ok(())
}

fn drive(ends: &Ends, workload: &mut dyn load::Workload, pace: Pace, total: usize) -> anyhow::Result<()> {
    Ok(load::drive(ends, workload, pace, total, PATIENCE)?)
}

fn charged(server: &Server, run: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let meter = server.meter()?;
    let before = meter.read();
    run()?;
    Ok((meter.read() - before).as_secs_f64() * 1e6)
}

fn row(name: &str, samples: &[Sample]) -> Vec<String> {
    let cpu: Vec<f64> = sorted(samples.iter().map(|sample| sample.cpu_micros));
    let quantile = |fraction: f64| {
        let each = sorted(samples.iter().map(|sample| sample.report.quantile(fraction).as_secs_f64() * 1e6));
        format!("{:.0}", each[each.len() / 2])
    };
    let sum =
        |figure: fn(&Report) -> usize| samples.iter().map(|sample| figure(&sample.report)).sum::<usize>().to_string();
    vec![
        name.to_owned(),
        format!("{:.1}", cpu[cpu.len() / 2]),
        format!("{:.0} to {:.0}", cpu[0], cpu[cpu.len() - 1]),
        quantile(0.5),
        quantile(0.99),
        quantile(0.999),
        sum(Report::failures),
        sum(|report| report.swapped),
        sum(|report| report.begun),
    ]
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn record(tables: &[Table]) -> String {
    let tables: Vec<String> = tables.iter().map(Table::to_markdown).collect();
    format!(
        "# Side by side\n\n\
         Written by `make bench`, which repeats it. {processor}, {cores} cores, Linux {kernel}, loopback, \
         {kamailio}; every server runs `bench/scripts/bench.cfg` and keeps locations in memory.\n\n\
         - *CPU us*: processor time that the kernel charged to the server's processes and threads \
         (`/proc/PID/task/TID/schedstat`, Kamailio's children included) for each call or REGISTER; median of {ROUNDS} \
         alternating rounds, and their range.\n\
         - A call is INVITE, 180 and 200 back to back, ACK, 50 ms of talk, BYE, 200: 6 datagrams in, 7 out. \
         {CALLS} calls a round arrive at random moments, {CALLS_PER_SECOND} a second; {REGISTERS} REGISTERs at \
         {REGISTERS_PER_SECOND} a second.\n\
         - Latency: first request to the 180, or to the 200 of a REGISTER, through the server and back; the load \
         shares the cores with the server.\n\
         - *swapped*: calls whose 200 came out before their 180.\n\
         - Memory: growth of the proportional set size of all processes over {STORED_CONTACTS} contacts and over \
         {PENDING_CALLS} calls that ring.\n\
         - The relay moves the same datagrams without reading them.\n\n{tables}",
        processor = accounting::processor_name(),
        cores = std::thread::available_parallelism().map_or(1, usize::from),
        kernel = accounting::kernel_release(),
        kamailio = server::kamailio_version(),
        tables = tables.join("\n"),
    )
}
