//! `ser`, Debian's Kamailio and a bare relay, in turn, under the same load.
//!
//! Prints the tables and writes them to `bench/RESULTS.md`.
#![forbid(unsafe_code)]

mod plan;
mod server;
mod table;

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use bench::accounting::{self, Meter};
use bench::load::{self, Pace, Report, calls::Calls, pending::Pending, registers::Registers};

use plan::Plan;
use server::{Server, Subject};
use table::Table;

fn main() -> anyhow::Result<()> {
    let mut plan = Plan::from_arguments(std::env::args().skip(1))?;
    plan.subjects.retain(|subject| is_there(*subject));
    let comparisons = [&CALLS_OF_MANY, &CALLS_OF_TWO, &REGISTERS, &BARE, &ROUTE];
    let wanted = comparisons.into_iter().filter(|comparison| plan.wants(comparison.title));
    let mut tables = wanted.map(|comparison| compare(&plan, comparison)).collect::<anyhow::Result<Vec<_>>>()?;
    if plan.wants(MEMORY) {
        tables.push(weigh(&plan)?);
    }
    if plan.is_standard {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("RESULTS.md");
        std::fs::write(&path, record(&plan, &tables)).with_context(|| format!("cannot write {}", path.display()))?;
        println!("\nwritten to {}", path.display());
    }
    Ok(())
}

const MEMORY: &str = "Memory";
/// Runs before it warm up.
const FIRST_RUN: u32 = 2;
const PAIRS: usize = 16;
const USERS: usize = 1000;
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

/// What the servers are compared by.
struct Comparison {
    title: &'static str,
    script: &'static str,
    pairs: usize,
    /// Brings a server to the state that it would be in after an hour; not counted.
    warm_up: fn(&Server, &Plan) -> anyhow::Result<()>,
    /// How long all servers rest after it, and after the last round.
    rest: Duration,
    measure: fn(&Server, &Plan, u32) -> anyhow::Result<Sample>,
}

const CALLS_OF_MANY: Comparison = Comparison {
    title: "Calls between 16 + 16 addresses",
    script: "bench.cfg",
    pairs: PAIRS,
    warm_up: fill_transactions,
    rest: LINGER,
    measure: call,
};
const CALLS_OF_TWO: Comparison =
    Comparison { title: "Calls between one address and one other", pairs: 1, ..CALLS_OF_MANY };
const REGISTERS: Comparison = Comparison {
    title: "REGISTER, refreshed, without authentication",
    script: "bench.cfg",
    pairs: PAIRS,
    warm_up: |server, _| fill_locations(server, USERS, 1),
    rest: Duration::ZERO,
    measure: register,
};
/// What a script costs is the difference of the next two.
const BARE: Comparison = Comparison {
    title: "OPTIONS answered at once",
    script: "route.cfg",
    pairs: PAIRS,
    warm_up: |server, plan| ask(server, plan, 0, "OPTIONS").map(drop),
    rest: Duration::ZERO,
    measure: |server, plan, run| ask(server, plan, run, "OPTIONS"),
};
const ROUTE: Comparison = Comparison {
    title: "INFO answered after a residential request route",
    measure: |server, plan, run| ask(server, plan, run, "INFO"),
    ..BARE
};
/// Ended transactions stay for 32 seconds (RFC 3261 timers D and J, RFC 6026 timer L).
const LINGER: Duration = Duration::from_secs(33);

/// Rounds in which each server has its turn; all run from the first round to the last.
fn compare(plan: &Plan, comparison: &Comparison) -> anyhow::Result<Table> {
    let Comparison { title, script, pairs, .. } = *comparison;
    // The relay answers no requests; what it does for a REGISTER stands for all that are answered at once.
    let is_compared = |subject: &&Subject| script == "bench.cfg" || **subject != Subject::Relay;
    let subjects = plan.subjects.iter().filter(is_compared);
    let servers = subjects.map(|subject| Server::start(*subject, script, pairs)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut samples: Vec<Vec<Sample>> = servers.iter().map(|_| Vec::new()).collect();
    for server in &servers {
        (comparison.warm_up)(server, plan).with_context(|| server.subject.name())?;
    }
    thread::sleep(comparison.rest);
    let meters = servers.iter().map(Server::meter).collect::<std::io::Result<Vec<_>>>()?;
    let before: Vec<Duration> = meters.iter().map(Meter::read).collect();
    for run in FIRST_RUN..FIRST_RUN + plan.rounds {
        for (server, samples) in servers.iter().zip(&mut samples) {
            let sample = (comparison.measure)(server, plan, run).with_context(|| server.subject.name())?;
            samples.push(sample);
        }
    }
    thread::sleep(comparison.rest);
    let heads = ["", "CPU us", "of rounds", "to the end", "p50 us", "p99 us", "p99.9 us", "failed", "swapped", "of"];
    let mut table = Table::new(title, &heads);
    for (n, (server, samples)) in servers.iter().zip(&samples).enumerate() {
        table.add(row(&server.subject.name(), samples, meters[n].read() - before[n]));
    }
    println!("\n{table}");
    Ok(table)
}

/// As many transactions as the rounds will keep alive at once, so that no round pays for fresh memory.
fn fill_transactions(server: &Server, plan: &Plan) -> anyhow::Result<()> {
    fill_locations(server, USERS, 1)?;
    let mut calls = Calls::new(USERS, 1);
    drive(server, &mut calls, Pace::Window(64), 2 * plan.calls)
}

fn call(server: &Server, plan: &Plan, run: u32) -> anyhow::Result<Sample> {
    let mut calls = Calls::new(USERS, run);
    let cpu_micros = charged(server, || drive(server, &mut calls, Pace::Rate(plan.calls_per_second), plan.calls))?;
    Ok(Sample { cpu_micros: cpu_micros / plan.calls as f64, report: calls.into_report() })
}

fn register(server: &Server, plan: &Plan, run: u32) -> anyhow::Result<Sample> {
    ask(server, plan, run, "REGISTER")
}

/// Requests that the server answers itself, at the rate of REGISTERs.
fn ask(server: &Server, plan: &Plan, run: u32, method: &'static str) -> anyhow::Result<Sample> {
    let mut registers = Registers::new(USERS, run).asking(method);
    let pace = Pace::Rate(plan.registers_per_second);
    let cpu_micros = charged(server, || drive(server, &mut registers, pace, plan.registers))?;
    Ok(Sample { cpu_micros: cpu_micros / plan.registers as f64, report: registers.into_report() })
}

/// Memory of a fresh process for each stored contact and each call that rings.
fn weigh(plan: &Plan) -> anyhow::Result<Table> {
    let heads = ["", "idle MB", "KB per contact", "KB per transaction", "failed"];
    let mut table = Table::new(MEMORY, &heads);
    // The number of Kamailio's children changes nothing here but the time that this takes.
    let is_weighed = |subject: &&Subject| matches!(subject, Subject::Kamailio(2) | Subject::Ser(_));
    for subject in plan.subjects.iter().filter(is_weighed) {
        let server = Server::start(*subject, "bench.cfg", PAIRS)?;
        let idle = server.resident_bytes()?;
        // The first thousand users fill what a server allocates once.
        fill_locations(&server, USERS, 1)?;
        let before = server.resident_bytes()?;
        fill_locations(&server, STORED_CONTACTS, 2)?;
        let filled = server.resident_bytes()?;
        let mut pending = Pending::new(STORED_CONTACTS, 1);
        drive(&server, &mut pending, Pace::Window(64), PENDING_CALLS)?;
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

fn fill_locations(server: &Server, users: usize, run: u32) -> anyhow::Result<()> {
    let mut registers = Registers::new(users, run);
    drive(server, &mut registers, Pace::Window(64), users)?;
    let failures = registers.into_report().failures();
    anyhow::ensure!(failures == 0, "{}: {failures} of {users} registrations failed", server.subject.name());
    Ok(())
}

fn drive(server: &Server, workload: &mut dyn load::Workload, pace: Pace, total: usize) -> anyhow::Result<()> {
    Ok(load::drive(&server.ends, workload, pace, total, PATIENCE)?)
}

fn charged(server: &Server, run: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let meter = server.meter()?;
    let before = meter.read();
    run()?;
    Ok((meter.read() - before).as_secs_f64() * 1e6)
}

fn row(name: &str, samples: &[Sample], to_the_end: Duration) -> Vec<String> {
    let begun: usize = samples.iter().map(|sample| sample.report.begun).sum();
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
        format!("{:.1}", to_the_end.as_secs_f64() * 1e6 / begun as f64),
        quantile(0.5),
        quantile(0.99),
        quantile(0.999),
        sum(Report::failures),
        sum(|report| report.swapped),
        begun.to_string(),
    ]
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn record(plan: &Plan, tables: &[Table]) -> String {
    let tables: Vec<String> = tables.iter().map(Table::to_markdown).collect();
    let Plan { rounds, calls, calls_per_second, registers, registers_per_second, .. } = plan;
    format!(
        "# Side by side\n\n\
         Written by `make bench`, which repeats it. {processor}, {cores} cores, Linux {kernel}, loopback, \
         load average {load} at the end (what else ran on the machine widens the ranges), \
         {kamailio}; every server runs the same script of `bench/scripts` and keeps locations in memory.\n\n\
         - *CPU us*: processor time that the kernel charged to the server's processes and threads \
         (`/proc/PID/task/TID/schedstat`, Kamailio's children included) for each call or REGISTER; median of {rounds} \
         alternating rounds, and their range.\n\
         - *to the end*: all processor time from the first round until 33 seconds after the last, divided by all calls: \
         with the end of each transaction, and with what the server does when idle.\n\
         - A call is INVITE, 180 and 200 back to back, ACK, 50 ms of talk, BYE, 200: 6 datagrams in, 7 out. \
         {calls} calls a round arrive at random moments, {calls_per_second} a second; {registers} REGISTERs at \
         {registers_per_second} a second.\n\
         - Before the rounds each server takes twice the calls of a round and forgets them: transactions linger for up to \
         32 seconds, and without that a server would be charged for memory that it has not used before.\n\
         - Latency: first request to the 180, or to the 200 of a REGISTER, through the server and back; the load \
         shares the cores with the server.\n\
         - *swapped*: calls whose 200 came out before their 180.\n\
         - Memory: growth of the proportional set size of all processes over {STORED_CONTACTS} contacts and over \
         {PENDING_CALLS} calls that ring.\n\
         - Kamailio has 4 MB of socket buffer (`-b`) and its fastest allocator (`-x fm -X fm`); with its default \
         one a call costs two to three times as much.\n\
         - The relay moves the same datagrams without reading them.\n\n{tables}",
        processor = accounting::processor_name(),
        cores = std::thread::available_parallelism().map_or(1, usize::from),
        kernel = accounting::kernel_release(),
        load = accounting::load_average(),
        kamailio = server::kamailio_version(),
        tables = tables.join("\n"),
    )
}
