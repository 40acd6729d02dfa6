//! Peers at which nobody listens, as ICMP says (RFC 3261 section 18.4).
//!
//! Anybody can send such news, of any address, and to find whom they concern every transaction must be looked at.
//! So they are gathered, and looked through together, a few times a second at most.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use std::collections::HashSet;

use crate::worker_core::Core;

/// Bad news that nothing has been done about yet.
#[derive(Default)]
pub(crate) struct GonePeers {
    peers: HashSet<SocketAddr>,
    /// Not to be looked through before.
    rests_until: Option<Instant>,
}

/// Most peers of one walk; for those beyond, the transactions' timers find out as well.
const MOST: usize = 1024;
/// How much time lies between two walks at least: a walk through 50,000 transactions takes milliseconds.
const REST: Duration = Duration::from_millis(100);

impl GonePeers {
    /// When they are to be looked through.
    pub(crate) fn next_walk(&self) -> Option<Instant> {
        self.rests_until.filter(|_| !self.peers.is_empty())
    }
}

impl Core {
    /// The network says that nobody listens at `peer`: what waits there for a first reply fails, at once or soon.
    pub fn on_unreachable(&mut self, peer: SocketAddr) {
        self.gone.rests_until.get_or_insert(self.now);
        if self.gone.peers.len() < MOST {
            self.gone.peers.insert(peer);
        }
    }

    pub(crate) fn give_up_on_gone_peers(&mut self) {
        if self.gone.next_walk().is_none_or(|walk| walk > self.now) {
            return;
        }
        self.gone.rests_until = Some(self.now + REST);
        let peers = std::mem::take(&mut self.gone.peers);
        for sender in self.table.waiting_for(&peers) {
            self.guarded(|core| core.on_transport_error(sender));
        }
    }
}
