//! Limits and time-outs of connections.

use std::sync::Arc;
use std::time::Duration;

use super::kernel::KernelOptions;
use crate::tls::TlsClient;

/// Limits and time-outs of all connections of one [`super::Streams`].
#[derive(Clone, Debug)]
pub struct StreamSettings {
    /// A connection on which nothing travels, in either direction, is closed.
    pub idle_timeout: Duration,
    /// TCP connect must have succeeded.
    pub connect_timeout: Duration,
    /// TLS and WebSocket handshakes together must be done.
    pub handshake_timeout: Duration,
    /// An accepted connection must have brought a whole message.
    pub first_message_timeout: Duration,
    /// A message that has begun must be complete.
    pub message_timeout: Duration,
    /// The peer must have taken some of what is written to it.
    pub write_timeout: Duration,
    /// Pings go out on connections that this side opened, and on WebSockets, when nothing was
    /// received for so long. RFC 5626 section 4.4.1 suggests 95 to 120 s.
    pub ping_interval: Option<Duration>,
    /// A ping must have been answered (RFC 5626 section 4.4.1: 10 s).
    pub pong_timeout: Duration,
    /// Bytes that wait for one connection.
    pub write_queue_bytes: usize,
    /// Connections in total, those in handshake included.
    pub max_connections: usize,
    /// Connections with one IP address.
    pub max_per_peer: usize,
    /// Length of a message.
    pub max_message_bytes: usize,
    /// Connections are never opened from this side: only those that peers opened are used.
    pub never_connects: bool,
    /// What the kernel shall do with each.
    pub kernel: KernelOptions,
    /// For connections that are opened to TLS servers.
    pub tls_client: Option<Arc<TlsClient>>,
}

impl Default for StreamSettings {
    fn default() -> Self {
        StreamSettings {
            idle_timeout: Duration::from_secs(120),
            connect_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            first_message_timeout: Duration::from_secs(30),
            message_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            ping_interval: None,
            pong_timeout: Duration::from_secs(10),
            write_queue_bytes: 256 << 10,
            max_connections: 16_384,
            max_per_peer: 1024,
            max_message_bytes: 65_536,
            never_connects: false,
            kernel: KernelOptions::default(),
            tls_client: None,
        }
    }
}
