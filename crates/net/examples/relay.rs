//! What the kernel charges to move datagrams: relays UDP between two sockets on one thread and
//! prints that thread's CPU time for each datagram, received and sent.
//!
//! `cargo run --release -p net --example relay [datagrams] [bytes]`

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use net::poll::{Events, Poller};
use net::udp::{ReceiveBatch, SendBatch, UdpOptions, UdpSocket};

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let count = arguments.next().and_then(Result::ok).unwrap_or(1_000_000);
    let len = arguments.next().and_then(Result::ok).unwrap_or(600);
    println!("{count} datagrams of {len} bytes, loopback; CPU of the relay's thread");
    for (name, address) in [("IPv4", "127.0.0.1:0"), ("IPv6", "[::1]:0")] {
        for window in [1, 8, 64] {
            let figures = run(address.parse().expect("a literal address"), count, len, window)?;
            println!(
                "{name}, at most {window:2} on their way: {:5.2} us/datagram, {:4.1} per receive",
                figures.nanoseconds as f64 / 1000.0 / count as f64,
                count as f64 / figures.receives as f64,
            );
        }
    }
    Ok(())
}

struct Figures {
    nanoseconds: u64,
    receives: u64,
}

fn run(address: SocketAddr, count: usize, len: usize, window: usize) -> io::Result<Figures> {
    let options = UdpOptions::default();
    let (relay, peer) = (UdpSocket::bind(address, &options)?, UdpSocket::bind(address, &options)?);
    let (to_relay, to_peer) = (relay.local_address(), peer.local_address());
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let relaying = scope.spawn(|| pump(&relay, to_peer, &is_done));
        let sending = send_in_window(&peer, to_relay, &vec![b'x'; len], (count, window));
        is_done.store(true, Ordering::Release);
        sending?;
        relaying.join().expect("the relay does not panic")
    })
}

/// The relay: everything that arrives goes to `target`.
fn pump(socket: &UdpSocket, target: SocketAddr, is_done: &AtomicBool) -> io::Result<Figures> {
    let poller = Poller::new()?;
    poller.add(socket, 0)?;
    let (mut events, mut input, mut output) = (Events::new(), ReceiveBatch::new(), SendBatch::new());
    let start = cpu_nanoseconds()?;
    let mut receives = 0;
    while !is_done.load(Ordering::Acquire) {
        poller.wait(Some(Duration::from_millis(10)), &mut events)?;
        loop {
            let received = socket.receive(&mut input)?;
            if received > 0 {
                receives += 1;
            }
            for datagram in input.iter() {
                // Full only when the peer reads nothing; then the window is closed anyway.
                let _ = output.push(datagram.bytes, target, None);
            }
            output.flush(socket, |to, error| eprintln!("{to}: {error}"));
            if received < input.capacity() {
                break;
            }
        }
    }
    Ok(Figures { nanoseconds: cpu_nanoseconds()? - start, receives })
}

/// Sends `count` datagrams, at most `window` of them not back yet.
fn send_in_window(
    socket: &UdpSocket,
    target: SocketAddr,
    payload: &[u8],
    (count, window): (usize, usize),
) -> io::Result<()> {
    let poller = Poller::new()?;
    poller.add(socket, 0)?;
    let (mut events, mut input, mut output) = (Events::new(), ReceiveBatch::new(), SendBatch::new());
    let (mut sent, mut back) = (0, 0);
    while back < count {
        while sent < count && sent - back < window {
            if output.push(payload, target, None).is_err() {
                break;
            }
            sent += 1;
        }
        output.flush(socket, |to, error| eprintln!("{to}: {error}"));
        poller.wait(Some(Duration::from_secs(1)), &mut events)?;
        if events.iter().next().is_none() {
            return Err(io::Error::other("datagrams were lost"));
        }
        back += socket.receive(&mut input)?;
    }
    Ok(())
}

/// CPU time of this thread by the kernel's accounting.
fn cpu_nanoseconds() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = text.split_whitespace().next().unwrap_or_default();
    first.parse().map_err(io::Error::other)
}
