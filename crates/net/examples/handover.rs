//! What it costs to hand work to a worker through a mailbox, and to ask the DNS cache.
//!
//! `cargo run --release -p net --example handover`

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use net::dns::{DnsSettings, Kind, Resolver};
use net::mailbox::mailbox;
use net::poll::{Events, Poller};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{:6.0} ns to send to a worker that is awake", awake()?);
    println!("{:6.0} ns to send to a worker that sleeps", asleep()?);
    println!("{:6.0} ns there and back, both asleep", there_and_back()?);
    println!("{:6.0} ns to find a name in the DNS cache", dns_cache()?);
    Ok(())
}

/// Sends in turns of 64, taken by the same thread, which is never waiting.
fn awake() -> std::io::Result<f64> {
    let poller = Poller::new()?;
    let (mailbox, mut inbox) = mailbox(64, poller.waker());
    Ok(time(|| {
        for item in 0..64_u64 {
            let _ = mailbox.send(item);
        }
        inbox.drain().count() as u64
    }))
}

/// Time within `send` alone, the worker being back asleep each time.
fn asleep() -> std::io::Result<f64> {
    let (there, back) = (Poller::new()?, Poller::new()?);
    let (to_worker, mut inbox) = mailbox(64, there.waker());
    let (to_main, mut answers) = mailbox(64, back.waker());
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| echo(&there, &mut inbox, &to_main, &is_done));
        let mut events = Events::new();
        let mut spent = 0;
        for item in 0..ROUNDS {
            let start = Instant::now();
            let _ = to_worker.send(item);
            spent += start.elapsed().as_nanos();
            while answers.drain().next().is_none() {
                back.wait(None, &mut events)?;
            }
        }
        is_done.store(true, Ordering::Release);
        there.waker().wake();
        Ok(spent as f64 / ROUNDS as f64)
    })
}

fn there_and_back() -> std::io::Result<f64> {
    let (there, back) = (Poller::new()?, Poller::new()?);
    let (to_worker, mut inbox) = mailbox(64, there.waker());
    let (to_main, mut answers) = mailbox(64, back.waker());
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| echo(&there, &mut inbox, &to_main, &is_done));
        let mut events = Events::new();
        let start = Instant::now();
        for item in 0..ROUNDS {
            let _ = to_worker.send(item);
            while answers.drain().next().is_none() {
                back.wait(None, &mut events)?;
            }
        }
        let spent = start.elapsed().as_nanos();
        is_done.store(true, Ordering::Release);
        there.waker().wake();
        Ok(spent as f64 / ROUNDS as f64)
    })
}

fn echo(
    poller: &Poller,
    inbox: &mut net::mailbox::Inbox<u64>,
    answers: &net::mailbox::Mailbox<u64>,
    is_done: &AtomicBool,
) {
    let mut events = Events::new();
    while !is_done.load(Ordering::Acquire) && poller.wait(None, &mut events).is_ok() {
        for item in inbox.drain() {
            let _ = answers.send(item);
        }
    }
}

fn dns_cache() -> Result<f64, Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Runtime::new()?;
    let resolver = Resolver::new(runtime.handle().clone(), DnsSettings::default())?;
    // From /etc/hosts: no server is asked.
    let found = runtime.block_on(resolver.lookup("localhost", Kind::A));
    found.map_err(|_| "localhost is not in /etc/hosts")?;
    Ok(time(|| {
        for _ in 0..64 {
            std::hint::black_box(resolver.get("localhost", Kind::A));
        }
        64
    }))
}

/// Nanoseconds for each of the items that a round says it did.
fn time(mut round: impl FnMut() -> u64) -> f64 {
    let start = Instant::now();
    let items: u64 = (0..ROUNDS).map(|_| round()).sum();
    start.elapsed().as_nanos() as f64 / items as f64
}

const ROUNDS: u64 = 50_000;
