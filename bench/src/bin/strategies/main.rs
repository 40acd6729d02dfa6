//! Measures who should own a transaction: decision 0001.
//!
//! A program of its own, not the server: each strategy is a page, does the same work for each
//! datagram, and is fed by the same traffic, so that only the strategy differs.
#![forbid(unsafe_code)]

mod ordered;
mod traffic;
mod work;
mod workers;

use std::hash::RandomState;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use bench::accounting::{self, Meter};
use bench::batch;

use traffic::{Outcome, Stamp, Traffic};
use workers::{Mailbox, Plant, SharedTable};

fn main() -> anyhow::Result<()> {
    let rounds = work::calibrate(&traffic::datagram(&Stamp { call: 1, peer: 1, order: 1 }));
    println!("{}, Linux {}", accounting::processor_name(), accounting::kernel_release());
    println!(
        "compute for each datagram: {rounds} rounds = {:?}; medians of {ROUNDS} alternating rounds",
        work::COMPUTE
    );
    for (title, calls_per_second) in [("paced at 3000 calls/s", Some(3000)), ("saturated", None)] {
        for (origin, pairs) in [("128 addresses", 64), ("one address and port", 0)] {
            println!("\n{title}, {origin}");
            println!(
                "{:<34}{:>10}{:>10}{:>12}{:>14}{:>14}",
                "", "us/call", "calls/s", "cores %", "swaps in call", "in peer"
            );
            compare(Traffic { pairs, calls_per_second }, rounds)?;
        }
    }
    Ok(())
}

/// Who reads and who owns.
#[derive(Debug, Clone, Copy)]
enum Strategy {
    OneWorker,
    SharedTable,
    Ownership,
    OrderedOwnership,
    SharedSocket { slots: usize },
}

const STRATEGIES: [(&str, Strategy); 6] = [
    ("one worker (reference)", Strategy::OneWorker),
    ("(a) socket each, shared table", Strategy::SharedTable),
    ("(b) socket each, owner by Call-ID", Strategy::Ownership),
    ("(b') the same, order restored", Strategy::OrderedOwnership),
    ("(c) one socket, batches of 64", Strategy::SharedSocket { slots: 64 }),
    ("(c) one socket, one at a time", Strategy::SharedSocket { slots: 1 }),
];
const ROUNDS: usize = 5;
const WORKERS: usize = 2;
const DURATION: Duration = Duration::from_millis(1200);

/// One run of one strategy.
struct Sample {
    cpu_per_call: f64,
    calls_per_second: f64,
    shares: Vec<f64>,
    call_swaps: f64,
    peer_swaps: f64,
}

fn compare(traffic: Traffic, rounds: u32) -> anyhow::Result<()> {
    let mut samples: Vec<Vec<Sample>> = STRATEGIES.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (samples, (name, strategy)) in samples.iter_mut().zip(STRATEGIES) {
            samples.push(measure(strategy, traffic, rounds).context(name)?);
        }
    }
    for (samples, (name, _)) in samples.iter().zip(STRATEGIES) {
        let median_of = |figure: fn(&Sample) -> f64| median(samples.iter().map(figure));
        let shares =
            (0..samples[0].shares.len()).map(|worker| median(samples.iter().map(|sample| sample.shares[worker])));
        let shares: Vec<String> = shares.map(|share| format!("{:.0}", share * 100.0)).collect();
        println!(
            "{name:<34}{:>10.1}{:>10.0}{:>12}{:>14.1}{:>14.1}",
            median_of(|sample| sample.cpu_per_call),
            median_of(|sample| sample.calls_per_second),
            shares.join(" / "),
            median_of(|sample| sample.call_swaps),
            median_of(|sample| sample.peer_swaps),
        );
    }
    Ok(())
}

/// Runs `strategy` under `traffic` and reads what the kernel charged to its workers.
fn measure(strategy: Strategy, traffic: Traffic, rounds: u32) -> anyhow::Result<Sample> {
    let sink = batch::bind("127.0.0.1:0".parse()?, false)?;
    let SocketAddr::V4(sink_address) = sink.local_addr()? else { anyhow::bail!("bound to IPv4") };
    let sockets = server_sockets(strategy)?;
    let server = sockets[0].local_addr()?;
    let plant = Plant { sink: sink_address, rounds, hasher: RandomState::new(), stop: AtomicBool::new(false) };
    let table = SharedTable::new();
    let mailboxes: Vec<Mailbox<_>> = sockets.iter().map(|_| Mailbox::new()).collect::<io::Result<_>>()?;
    let letters: Vec<Mailbox<_>> = sockets.iter().map(|_| Mailbox::new()).collect::<io::Result<_>>()?;
    let (received, sink_stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (meters, meters_of_workers) = mpsc::channel();
    thread::scope(|scope| {
        for (own, socket) in sockets.iter().enumerate() {
            let (meters, plant, table) = (meters.clone(), &plant, &table);
            let (mailboxes, letters) = (&mailboxes, &letters);
            scope.spawn(move || -> io::Result<()> {
                // The receiver lives as long as the scope.
                let _ = meters.send((own, Meter::of_this_thread()?));
                match strategy {
                    Strategy::Ownership => workers::run_owner(plant, socket, mailboxes, own),
                    Strategy::OrderedOwnership => ordered::run(plant, socket, letters, own),
                    Strategy::SharedSocket { slots } => workers::run_shared(plant, socket, table, slots),
                    Strategy::OneWorker | Strategy::SharedTable => workers::run_shared(plant, socket, table, 64),
                }
            });
        }
        let mut meters: Vec<(usize, Meter)> = meters_of_workers.iter().take(sockets.len()).collect();
        meters.sort_by_key(|(own, _)| *own);
        let observer = scope.spawn(|| traffic::observe(&sink, &received, &sink_stop));
        let start = Instant::now();
        traffic::generate(server, traffic, DURATION, &received)?;
        let elapsed = start.elapsed();
        thread::sleep(Duration::from_millis(100));
        let charged: Vec<Duration> = meters.iter().map(|(_, meter)| meter.read()).collect();
        plant.stop.store(true, Ordering::Relaxed);
        sink_stop.store(true, Ordering::Relaxed);
        let outcome = observer.join().expect("the observer does not panic")?;
        Ok(sample(&outcome, &charged, elapsed))
    })
}

fn server_sockets(strategy: Strategy) -> io::Result<Vec<UdpSocket>> {
    let first = batch::bind(SocketAddr::from(([127, 0, 0, 1], 0)), true)?;
    let address = first.local_addr()?;
    let others = match strategy {
        Strategy::OneWorker => 0,
        Strategy::SharedTable | Strategy::Ownership | Strategy::OrderedOwnership | Strategy::SharedSocket { .. } => {
            WORKERS - 1
        }
    };
    let mut sockets = vec![first];
    for _ in 0..others {
        sockets.push(match strategy {
            Strategy::SharedSocket { .. } => sockets[0].try_clone()?,
            _ => batch::bind(address, true)?,
        });
    }
    Ok(sockets)
}

fn sample(outcome: &Outcome, charged: &[Duration], elapsed: Duration) -> Sample {
    let calls = outcome.datagrams as f64 / traffic::DATAGRAMS_PER_CALL as f64;
    let total: f64 = charged.iter().map(Duration::as_secs_f64).sum();
    Sample {
        cpu_per_call: total * 1e6 / calls,
        calls_per_second: calls / elapsed.as_secs_f64(),
        shares: charged.iter().map(|charged| charged.as_secs_f64() / total).collect(),
        call_swaps: outcome.call_swaps as f64 * 1000.0 / calls,
        peer_swaps: outcome.peer_swaps as f64 * 1000.0 / calls,
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
