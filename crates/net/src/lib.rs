//! Sockets: UDP in batches, TCP, TLS, WebSocket, DNS; IPv4 and IPv6 alike.
//!
//! Knows no SIP: messages are bytes, and what frames them on a stream is handed in.
//! Nothing here starts a thread; what must wait runs on a tokio runtime given by its handle.
//! This is the only crate with `unsafe`, and within it only [`udp`], [`poll`], [`memory`] and [`inherited`] have any.
#![deny(unsafe_code)]

pub mod dns;
pub mod inherited;
pub mod mailbox;
pub mod memory;
pub mod poll;
mod socket_option;
pub mod stream;
pub mod tls;
pub mod udp;

/// How a message travels.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Protocol {
    /// Datagrams.
    Udp,
    /// A plain stream.
    Tcp,
    /// A stream inside TLS.
    Tls,
    /// WebSocket (RFC 7118).
    Ws,
    /// WebSocket inside TLS (RFC 7118).
    Wss,
}
