//! Messages as they are on the wire, for whoever watches them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sip_message::Transport;

use crate::State;

/// A message that has come in or goes out, as it is on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// When, since 1970-01-01 00:00 UTC.
    pub at: Duration,
    /// Whether the server sends it.
    pub is_sent: bool,
    /// The transport.
    pub transport: Transport,
    /// Where it comes from.
    pub source: SocketAddr,
    /// Where it goes.
    pub destination: SocketAddr,
    /// The message.
    pub bytes: Bytes,
}

/// Sees messages as they come and go. It runs where they are acted on and must not block.
pub trait Watcher: Send + Sync {
    /// A message has come in and is about to be acted on, or is about to leave.
    fn on(&self, sighting: &Sighting);
}

/// Who sees every message, if the state of a module wants that.
pub type FindWatcher = fn(&Arc<dyn State>) -> Option<Arc<dyn Watcher>>;

/// What a module wants to see of a call from now on.
#[derive(Clone)]
pub struct Watch {
    /// How much of it.
    pub extent: Extent,
    /// Who wants it: a second wish under the same name, for the same messages, replaces the first.
    pub name: Bytes,
    /// Who is told.
    pub watcher: Arc<dyn Watcher>,
}

/// How much of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// What has the Call-ID and the CSeq number of the request: its replies, its ACK, its CANCEL, and all copies of
    /// them that are sent on.
    Transaction,
    /// All that has its Call-ID.
    Dialog,
}
