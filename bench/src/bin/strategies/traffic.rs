//! Calls of six datagrams from many addresses or from one, and the order in which they come out.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bench::batch::{self, ReceiveBatch};
use bench::load::TICK;

/// How the datagrams of one run reach the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traffic {
    /// Pairs of callers and callees; zero means one socket for everything, a trunk.
    pub(crate) pairs: usize,
    /// Calls offered in a second; `None` keeps a window full.
    pub(crate) calls_per_second: Option<u32>,
}

/// What came out of the server.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Datagrams relayed.
    pub(crate) datagrams: u64,
    /// Datagrams that came out behind a later one of the same call and sender.
    pub(crate) call_swaps: u64,
    /// Datagrams that came out behind a later one of the same sender.
    pub(crate) peer_swaps: u64,
}

/// Datagrams of a call: INVITE, 180 and 200 back to back, ACK, BYE, 200.
pub(crate) const DATAGRAMS_PER_CALL: u64 = 6;

const LIVE_CALLS: usize = 128;
const WINDOW: u64 = 512;
/// Which datagrams leave together, and whether the callee sends them.
const STEPS: [(&[u8], bool); 5] = [(&[0], false), (&[1, 2], true), (&[3], false), (&[4], false), (&[5], true)];

/// Sends for `duration`; counts in `received` let it keep its window.
pub(crate) fn generate(
    server: SocketAddr,
    traffic: Traffic,
    duration: Duration,
    received: &AtomicU64,
) -> io::Result<u64> {
    let peers: Vec<UdpSocket> =
        (0..(2 * traffic.pairs).max(1)).map(|_| batch::bind(LOOPBACK_ANY, false)).collect::<io::Result<_>>()?;
    let mut generator = Generator { orders: vec![0; peers.len()], peers, server, sent: 0 };
    let mut calls: Vec<(u32, usize)> = (0..LIVE_CALLS).map(|slot| (slot as u32, slot % STEPS.len())).collect();
    let mut next_call = LIVE_CALLS as u32;
    // The first turn starts calls in mid-life so that steps are mixed from the beginning.
    let mut window = Window { received, lost: 0 };
    let start = Instant::now();
    while start.elapsed() < duration {
        for (call, step) in &mut calls {
            match traffic.calls_per_second {
                Some(rate) => wait_until_due(start, generator.sent, rate),
                None => window.wait(generator.sent),
            }
            generator.send_step(*call, *step)?;
            *step += 1;
            if *step == STEPS.len() {
                (*call, *step) = (next_call, 0);
                next_call += 1;
            }
        }
    }
    Ok(generator.sent)
}

/// Receives at `socket` until told to stop and watches the order.
pub(crate) fn observe(socket: &UdpSocket, received: &AtomicU64, stop: &AtomicBool) -> io::Result<Outcome> {
    let mut batch = ReceiveBatch::new(64);
    let mut outcome = Outcome::default();
    // Highest order seen, by sender and by call and sender's side.
    let mut of_peer: Vec<u32> = Vec::new();
    let mut of_call: Vec<[u32; 2]> = Vec::new();
    loop {
        // By the clock, not on the socket: no worker shall pay for waking the observer.
        thread::sleep(TICK);
        let count = batch.receive(socket)?;
        if count == 0 && stop.load(Ordering::Relaxed) {
            return Ok(outcome);
        }
        for stamp in batch.iter().filter_map(|(bytes, _)| Stamp::read(bytes)) {
            outcome.datagrams += 1;
            let side = &mut slot(&mut of_call, stamp.call)[(stamp.peer % 2) as usize];
            outcome.call_swaps += u64::from(falls_behind(side, stamp.order));
            outcome.peer_swaps += u64::from(falls_behind(slot(&mut of_peer, stamp.peer), stamp.order));
        }
        received.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// A message of the size and shape of an INVITE, stamped with its place in the traffic.
pub(crate) fn datagram(stamp: &Stamp) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(800);
    // Writing to a vector cannot fail.
    let _ = write!(
        bytes,
        "{STAMP}{:08x} {:08x} {:08x} SIP/2.0\r\n\
         Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK{:08x};rport\r\n\
         Max-Forwards: 70\r\nFrom: \"Caller\" <sip:caller@example.org>;tag={:08x}\r\n\
         To: <sip:callee@example.org>\r\nCall-ID: {:08x}@client.example.org\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:caller@127.0.0.1:5060>\r\nUser-Agent: strategies\r\n\
         Allow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\nContent-Type: application/sdp\r\nContent-Length: 143\r\n\r\n\
         v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n",
        stamp.call, stamp.peer, stamp.order, stamp.call, stamp.call, stamp.call
    );
    bytes
}

/// Where a datagram stands: its call, its sender, and the sender's running number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    /// Number of the call.
    pub(crate) call: u32,
    /// Number of the sending socket.
    pub(crate) peer: u32,
    /// Datagrams that this socket had sent.
    pub(crate) order: u32,
}

impl Stamp {
    fn read(bytes: &[u8]) -> Option<Stamp> {
        let text = std::str::from_utf8(bytes.get(STAMP.len()..STAMP.len() + 26)?).ok()?;
        let mut fields = text.split(' ').map(|field| u32::from_str_radix(field, 16).ok());
        Some(Stamp { call: fields.next()??, peer: fields.next()??, order: fields.next()?? })
    }
}

const STAMP: &str = "INVITE sip:callee@example.org;stamp=";
const LOOPBACK_ANY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));

struct Generator {
    peers: Vec<UdpSocket>,
    orders: Vec<u32>,
    server: SocketAddr,
    sent: u64,
}

impl Generator {
    fn send_step(&mut self, call: u32, step: usize) -> io::Result<()> {
        let (datagrams, is_callee) = STEPS[step];
        for _ in datagrams {
            let pairs = self.peers.len() / 2;
            let peer = if pairs == 0 { 0 } else { 2 * (call as usize % pairs) + usize::from(is_callee) };
            self.orders[peer] += 1;
            let stamp = Stamp { call, peer: peer as u32, order: self.orders[peer] };
            self.peers[peer].send_to(&datagram(&stamp), self.server)?;
            self.sent += 1;
        }
        Ok(())
    }
}

/// Keeps at most [`WINDOW`] datagrams inside the server; what stays away for long is lost.
struct Window<'a> {
    received: &'a AtomicU64,
    lost: u64,
}

impl Window<'_> {
    fn wait(&mut self, sent: u64) {
        let start = Instant::now();
        loop {
            let inside = sent.saturating_sub(self.received.load(Ordering::Relaxed) + self.lost);
            if inside < WINDOW {
                return;
            }
            if start.elapsed() > Duration::from_millis(50) {
                self.lost += inside;
                return;
            }
            thread::sleep(Duration::from_micros(50));
        }
    }
}

fn wait_until_due(start: Instant, sent: u64, calls_per_second: u32) {
    let due = Duration::from_nanos(sent * 1_000_000_000 / (u64::from(calls_per_second) * DATAGRAMS_PER_CALL));
    while start.elapsed() < due {
        thread::sleep(Duration::from_micros(100));
    }
}

fn falls_behind(highest: &mut u32, order: u32) -> bool {
    let is_behind = order < *highest;
    *highest = order.max(*highest);
    is_behind
}

fn slot<T: Default + Clone>(table: &mut Vec<T>, index: u32) -> &mut T {
    let index = index as usize;
    if table.len() <= index {
        table.resize(index + 1024, T::default());
    }
    &mut table[index]
}
