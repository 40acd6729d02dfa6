//! The loop: begin what is due, send, hand in what arrived.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket as Probe};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use net::poll::{Events, Poller};
use net::udp::{ReceiveBatch, SendBatch, UdpOptions, UdpSocket};

use crate::arrivals::Arrivals;
use crate::histogram::Histogram;
use crate::traffic::{Out, Traffic};

/// How often attempts begin, and how long they may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) rate: f64,
    pub(crate) attempts: u64,
    pub(crate) threshold: Duration,
    pub(crate) hold: Duration,
}

/// How the run itself went.
pub(crate) struct Course {
    /// How long after their moments attempts began: what the generator could not do in time.
    pub(crate) late: Histogram,
}

/// The sockets from which the load comes.
pub(crate) struct Ends {
    sockets: Vec<UdpSocket>,
    names: Vec<String>,
    target: SocketAddr,
}

/// How often the generator looks at its sockets.
///
/// It sleeps by the clock and never on a socket: on this machine's own interface the server would pay for waking it at
/// each datagram, which no server pays for a client on another machine.
const TICK: Duration = Duration::from_micros(50);
/// Most attempts begun before looking at the sockets again.
const BURST: usize = 64;
const PROGRESS: Duration = Duration::from_secs(1);
/// Addresses of this machine's own interface that are used, from 127.0.0.1 on.
const OWN_ADDRESSES: u16 = 250;

impl Ends {
    /// Opens `count` sockets that reach `target`.
    pub(crate) fn open(target: SocketAddr, count: u16) -> Result<Ends> {
        let own = own_address(target).with_context(|| format!("{target} cannot be reached"))?;
        let mut ends = Ends { sockets: Vec::new(), names: Vec::new(), target };
        for n in 0..count.max(1) {
            let ip = match own {
                IpAddr::V4(ip) if ip == Ipv4Addr::LOCALHOST => {
                    Ipv4Addr::new(127, 0, 0, 1 + (n % OWN_ADDRESSES) as u8).into()
                }
                own => own,
            };
            let socket = UdpSocket::bind(SocketAddr::new(ip, 0), &UdpOptions::default())
                .with_context(|| format!("socket {n} of {count} cannot be opened"))?;
            ends.names.push(socket.local_address().to_string());
            ends.sockets.push(socket);
        }
        Ok(ends)
    }
}

/// The address from which the kernel would send.
fn own_address(target: SocketAddr) -> std::io::Result<IpAddr> {
    let any: SocketAddr = if target.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let probe = Probe::bind(any)?;
    probe.connect(target)?;
    Ok(probe.local_addr()?.ip())
}

struct Outbox<'a> {
    ends: &'a Ends,
    batches: Vec<SendBatch>,
}

impl Out for Outbox<'_> {
    fn names(&self) -> &[String] {
        &self.ends.names
    }

    fn push(&mut self, socket: usize, bytes: &[u8]) {
        if self.batches[socket].push(bytes, self.ends.target, None).is_err() {
            self.flush(socket);
            // Full still: the network takes nothing, and what is lost shows as a failed attempt.
            let _ = self.batches[socket].push(bytes, self.ends.target, None);
        }
    }
}

impl Outbox<'_> {
    fn flush(&mut self, socket: usize) {
        // A datagram that the kernel refuses is lost, and its attempt fails for want of an answer.
        self.batches[socket].flush(&self.ends.sockets[socket], |_, _| {});
    }

    fn flush_all(&mut self) {
        for socket in 0..self.batches.len() {
            if !self.batches[socket].is_empty() {
                self.flush(socket);
            }
        }
    }
}

/// Begins attempts as `pace` says, and returns when each has ended.
pub(crate) fn drive(ends: &Ends, traffic: &mut Traffic, pace: &Pace, shows_progress: bool) -> Result<Course> {
    traffic.set_pace(pace);
    let poller = Poller::new()?;
    for (n, socket) in ends.sockets.iter().enumerate() {
        poller.add(socket, n as u64)?;
    }
    let mut out = Outbox { ends, batches: ends.sockets.iter().map(|_| SendBatch::new()).collect() };
    let (mut events, mut batch) = (Events::new(), ReceiveBatch::new());
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos() as u64;
    let (mut arrivals, mut late) = (Arrivals::new(pace.rate, seed), Histogram::new());
    let (begin, mut begun, mut shown) = (Instant::now(), 0, Duration::ZERO);
    loop {
        let now = begin.elapsed();
        for _ in 0..BURST {
            if begun >= pace.attempts || arrivals.next() > now {
                break;
            }
            traffic.begin(begun, arrivals.next(), &mut out);
            late.add(now.saturating_sub(arrivals.next()));
            arrivals.step();
            begun += 1;
        }
        traffic.poll(now, &mut out);
        out.flush_all();
        if begun >= pace.attempts && traffic.is_idle() {
            break;
        }
        if shows_progress && now >= shown + PROGRESS {
            shown = now;
            show(traffic, now);
        }
        if begun >= pace.attempts || arrivals.next() > begin.elapsed() {
            thread::sleep(TICK);
        }
        poller.wait(Some(Duration::ZERO), &mut events)?;
        for event in events.iter() {
            let socket = event.token as usize;
            if event.failed {
                ends.sockets[socket].take_errors(|_, _| {});
            }
            ends.sockets[socket].receive(&mut batch)?;
            let now = begin.elapsed();
            batch.iter().for_each(|datagram| traffic.on_datagram(socket, datagram.bytes, now, &mut out));
        }
    }
    if shows_progress {
        eprint!("\r\x1b[K");
    }
    Ok(Course { late })
}

fn show(traffic: &Traffic, now: Duration) {
    let failed: u64 = traffic.failed().values().sum();
    let (attempts, succeeded) = (traffic.attempts(), traffic.succeeded());
    eprint!("\r\x1b[K{:>4} s  {attempts} begun, {succeeded} succeeded, {failed} failed", now.as_secs());
    // Nothing depends on whether it is seen.
    let _ = std::io::stderr().flush();
}
