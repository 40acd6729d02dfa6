//! Connections: TCP, TLS, WebSocket and secure WebSocket behind one handle.
//!
//! A worker sends without waiting: the message goes into the bounded queue of a connection that
//! is open, or of one that is being opened. What arrives is cut into messages by a framer that the
//! user of this crate brings, and handed to its [`Sink`].

mod accept;
mod connect;
mod framing;
pub(crate) mod kernel;
mod queue;
mod serve;
mod settings;
mod streams;
mod table;
mod websocket;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;

use crate::Protocol;

pub use kernel::KernelOptions;
pub use settings::StreamSettings;
pub use streams::{Counts, Streams, bind_listener};

/// Names one connection for as long as the process lives; never used twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ConnectionId(pub u64);

/// An established connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Connection {
    /// Its name.
    pub id: ConnectionId,
    /// What it speaks.
    pub protocol: Protocol,
    /// The other end.
    pub peer: SocketAddr,
    /// This end.
    pub local: SocketAddr,
    /// Whether this end opened it.
    pub is_outgoing: bool,
    /// Who the peer is by its verified certificate: DNS names and URIs (RFC 5922 section 7.1).
    /// Empty without TLS, without a certificate, and where verification is off.
    pub identities: Vec<Box<str>>,
}

/// Finds the messages in a stream.
pub trait Framer: Send {
    /// Looks at all bytes that are not consumed yet.
    ///
    /// Called again with more bytes after [`Frame::NeedMore`], and with the rest after the others.
    fn poll(&mut self, buffer: &[u8]) -> Frame;
}

/// What the start of a buffer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame {
    /// Not decided by these bytes.
    NeedMore,
    /// So many bytes mean nothing, as a pong.
    Skip(usize),
    /// So many bytes are a keep-alive that wants an answer: CRLF CRLF (RFC 5626 section 3.5.1).
    Ping(usize),
    /// So many bytes are a message.
    Message(usize),
    /// So many bytes are a request: nothing behind it is looked at before [`Streams::answer`].
    Request(usize),
    /// The peer waits for these words before it sends the rest. To be said once: the same bytes are looked at again.
    Say(&'static [u8]),
    /// Where the next message starts can no longer be known; the connection is closed.
    Broken,
}

/// Takes what the connections have to say. Called from runtime threads; must not block.
pub trait Sink: Send + Sync + 'static {
    /// A framer for a new connection.
    fn new_framer(&self) -> Box<dyn Framer>;
    /// A message has arrived.
    fn on_message(&self, connection: &Arc<Connection>, message: Bytes);
    /// A request has arrived, [`Frame::Request`]. [`Streams::answer`] answers it, at once or later.
    ///
    /// # Errors
    /// The answer of a request that is not taken; the connection ends behind it.
    fn on_request(&self, connection: &Arc<Connection>, request: Bytes) -> Result<(), Bytes>;
    /// An established connection is gone.
    fn on_closed(&self, connection: &Arc<Connection>, why: Closed);
    /// A message that was accepted for sending did not leave (or perhaps only in part).
    fn on_send_failed(&self, to: SocketAddr, protocol: Protocol, token: u64, kind: io::ErrorKind);
    /// Whether a WebSocket may be opened; the answer to a refused one is 403.
    fn accepts_websocket(&self, opening: &WebSocketOpening<'_>) -> bool {
        let _ = opening;
        true
    }
}

/// Request to open a WebSocket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WebSocketOpening<'a> {
    /// Who asks.
    pub peer: SocketAddr,
    /// Path and query of the request.
    pub resource: &'a str,
    /// `Origin`: the site whose page opens it (RFC 6455 section 10.2).
    pub origin: Option<&'a str>,
    /// `Host` as the peer names this server.
    pub host: Option<&'a str>,
}

/// Why a connection was closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closed {
    /// The peer closed it.
    ByPeer,
    /// This side closed it: [`Streams::close`] or [`Streams::shutdown`].
    ByUs,
    /// Nothing travelled for the idle time-out.
    Idle,
    /// No message came in the time given for the first.
    Silent,
    /// A message took too long to arrive in full.
    Slow,
    /// The peer read nothing for the write time-out.
    NotReading,
    /// A keep-alive was not answered (RFC 5626 section 4.4.1).
    NoPong,
    /// The bytes cannot be framed.
    Malformed,
    /// A message is longer than the limit.
    TooLong,
    /// The system reported an error.
    Failed(io::ErrorKind),
}

/// Where a message should go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Destination<'a> {
    /// This connection if it is still open.
    pub connection: Option<ConnectionId>,
    /// Else one to this address, unless `is_bound`.
    pub peer: SocketAddr,
    /// Of this protocol.
    pub protocol: Protocol,
    /// A new connection leaves from this address of the host.
    pub local: Option<IpAddr>,
    /// Name that the peer's certificate must carry (RFC 5922); also sent as SNI. Without it the
    /// certificate must carry the address.
    pub server_name: Option<&'a str>,
    /// Whether a connection may be opened. A WebSocket never is: only clients open those.
    pub may_connect: bool,
    /// Whether only `connection` will do, and only while it leads to `peer`: a number of before a restart may mean
    /// another one now.
    pub is_bound: bool,
    /// Comes back in [`Sink::on_send_failed`].
    pub token: u64,
}

/// Why a message was not accepted for sending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// No connection is open, and none may or can be opened.
    NoConnection,
    /// The peer reads too slowly: its queue is full.
    QueueFull,
    /// The limit of connections, in total or of this peer, is reached.
    TooManyConnections,
    /// TLS without settings for a client.
    NoTlsClient,
    /// [`Streams::shutdown`] was called.
    ShuttingDown,
}

/// Answer to a keep-alive (RFC 5626 section 3.5.1).
const PONG: &[u8] = b"\r\n";
/// The keep-alive itself.
const PING: &[u8] = b"\r\n\r\n";

#[cfg(test)]
mod tests;
