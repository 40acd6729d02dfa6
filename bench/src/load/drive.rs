//! The loop under every workload: begin what is due, send, sleep, hand in what arrived.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use crate::batch::{self, Interests, ReceiveBatch, SendBatch};

/// The sockets of callers and callees; the n-th caller calls users of the n-th callee.
pub struct Ends {
    sockets: Vec<UdpSocket>,
    ports: Vec<u16>,
    server: SocketAddrV4,
}

/// Which end of a call a socket belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Sends INVITE, ACK and BYE.
    Caller,
    /// Registers, rings and answers.
    Callee,
}

impl Ends {
    /// Opens `pairs` callers and as many callees that all talk to `server`.
    pub fn open(server: SocketAddrV4, pairs: usize) -> io::Result<Ends> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let sockets = (0..2 * pairs.max(1)).map(|_| batch::bind(any, false)).collect::<io::Result<Vec<_>>>()?;
        let ports = sockets.iter().map(|socket| Ok(socket.local_addr()?.port())).collect::<io::Result<_>>()?;
        Ok(Ends { sockets, ports, server })
    }

    /// Number of callers, and of callees.
    pub fn pairs(&self) -> usize {
        self.sockets.len() / 2
    }

    /// Where everything is sent.
    pub fn server(&self) -> SocketAddrV4 {
        self.server
    }

    /// Port of one end.
    pub fn port(&self, side: Side, pair: usize) -> u16 {
        self.ports[position(side, pair)]
    }

    /// Tells the bare relay which ports belong together; a SIP server drops it as no message.
    pub fn introduce(&self) -> io::Result<()> {
        for pair in 0..self.pairs() {
            let text = format!("PAIR {} {}", self.port(Side::Caller, pair), self.port(Side::Callee, pair));
            self.sockets[0].send_to(text.as_bytes(), self.server)?;
        }
        Ok(())
    }
}

/// When the next one begins.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// So many a second at random (Poisson) moments, whatever the server does: an open loop.
    Rate(f64),
    /// As soon as fewer than so many are unanswered, to fill a table quickly.
    Window(usize),
}

/// What is sent and what an answer means.
pub trait Workload {
    /// Sends the first request of number `index`.
    fn begin(&mut self, index: usize, now: Instant, out: &mut Outbox<'_>);
    /// A datagram came to one end.
    fn on_datagram(&mut self, side: Side, pair: usize, bytes: &[u8], now: Instant, out: &mut Outbox<'_>);
    /// Sends what is due by `now`.
    fn poll_due(&mut self, _now: Instant, _out: &mut Outbox<'_>) {}
    /// How many have ended, well or not.
    fn ended(&self) -> usize;
}

/// Where a workload puts what it sends.
pub struct Outbox<'a> {
    /// The ends, for their ports.
    pub ends: &'a Ends,
    batches: Vec<SendBatch>,
}

impl Outbox<'_> {
    /// Queues `bytes` from one end to the server.
    pub fn push(&mut self, side: Side, pair: usize, bytes: &[u8]) {
        self.batches[position(side, pair)].push(bytes, self.ends.server);
    }

    fn flush(&mut self) -> io::Result<()> {
        let queued = self.batches.iter_mut().zip(&self.ends.sockets).filter(|(batch, _)| !batch.is_empty());
        queued.into_iter().try_for_each(|(batch, socket)| batch.flush(socket))
    }
}

/// Begins `total` and waits until they have ended, or until nothing has moved for `patience`.
pub fn drive(ends: &Ends, workload: &mut dyn Workload, pace: Pace, total: usize, patience: Duration) -> io::Result<()> {
    let mut interests = Interests::new(ends.sockets.iter().map(AsRawFd::as_raw_fd));
    let mut received = ReceiveBatch::new(64);
    let batches = ends.sockets.iter().map(|_| SendBatch::default()).collect();
    let mut out = Outbox { ends, batches };
    let mut arrivals = Arrivals { pace, next: Instant::now(), state: RandomState::new().hash_one(0) | 1 };
    let mut begun = 0;
    let mut moved = Instant::now();
    while workload.ended() < total && moved.elapsed() < patience {
        let now = Instant::now();
        while begun < total && arrivals.is_due(now, begun - workload.ended()) {
            workload.begin(begun, now, &mut out);
            begun += 1;
        }
        workload.poll_due(now, &mut out);
        out.flush()?;
        thread::sleep(TICK);
        batch::wait_readable(&mut interests, Duration::ZERO)?;
        for position in interests.ready() {
            let side = if position % 2 == 0 { Side::Caller } else { Side::Callee };
            moved = Instant::now();
            received.receive(&ends.sockets[position])?;
            for (bytes, _) in received.iter() {
                workload.on_datagram(side, position / 2, bytes, moved, &mut out);
            }
        }
        out.flush()?;
    }
    Ok(())
}

/// How often the load looks at its sockets.
///
/// It sleeps by the clock and never on a socket: on loopback the server would pay for waking it at
/// each datagram, which no server pays for a client on another machine.
pub const TICK: Duration = Duration::from_micros(50);

struct Arrivals {
    pace: Pace,
    next: Instant,
    state: u64,
}

impl Arrivals {
    fn is_due(&mut self, now: Instant, unanswered: usize) -> bool {
        match self.pace {
            Pace::Window(most) => unanswered < most,
            Pace::Rate(_) if now < self.next => false,
            Pace::Rate(rate) => {
                let gap = -self.uniform().ln() / rate;
                self.next += Duration::from_secs_f64(gap);
                true
            }
        }
    }

    /// A number in (0, 1] from a xorshift generator, good enough to scatter arrivals.
    fn uniform(&mut self) -> f64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        ((self.state >> 11) + 1) as f64 / (1u64 << 53) as f64
    }
}

fn position(side: Side, pair: usize) -> usize {
    2 * pair + usize::from(side == Side::Callee)
}
