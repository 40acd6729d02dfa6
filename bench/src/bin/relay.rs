//! The floor: moves the datagrams of a call and does nothing else with them.
//!
//! One thread, one socket, batches. `PAIR <port> <port>` joins two ports of loopback; a datagram from
//! one goes to the other. An INVITE is answered with a 100 as well, so that a call is 13 datagrams,
//! 6 in and 7 out, as with a stateful proxy. A REGISTER is answered from where it came.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::Context;
use bench::batch::{self, ReceiveBatch, SendBatch};
use bench::load::message;

fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).context("usage: relay ADDRESS:PORT")?;
    let socket = batch::bind(address.parse().context("not an address and port")?, false)?;
    socket.set_nonblocking(false)?;
    let mut received = ReceiveBatch::new(64);
    let mut out = SendBatch::default();
    let mut partners = HashMap::new();
    let mut answer = Vec::new();
    loop {
        received.receive_waiting(&socket)?;
        for (bytes, peer) in received.iter() {
            if let Some((one, other)) = pair(bytes) {
                partners.insert(one, other);
                partners.insert(other, one);
                continue;
            }
            answer.clear();
            match bytes.first() {
                Some(b'R') => message::answer(bytes, "200 OK", "", &mut answer),
                Some(b'I') => message::answer(bytes, "100 Trying", "", &mut answer),
                _ => {}
            }
            if !answer.is_empty() {
                out.push(&answer, peer);
            }
            if let Some(partner) = partners.get(&peer.port()) {
                out.push(bytes, SocketAddrV4::new(Ipv4Addr::LOCALHOST, *partner));
            }
        }
        out.flush(&socket)?;
    }
}

fn pair(bytes: &[u8]) -> Option<(u16, u16)> {
    let text = std::str::from_utf8(bytes.strip_prefix(b"PAIR ")?).ok()?;
    let (one, other) = text.split_once(' ')?;
    Some((one.parse().ok()?, other.parse().ok()?))
}
