//! The connections that exist, found by id or by peer, and how many each peer has.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::ConnectionId;
use super::queue::WriteQueue;
use crate::Protocol;

#[derive(Default)]
pub(super) struct Table {
    entries: HashMap<ConnectionId, Entry>,
    by_peer: HashMap<(SocketAddr, Protocol), Vec<ConnectionId>>,
    /// Connections of each address, those in handshake included.
    per_peer: HashMap<IpAddr, usize>,
    total: usize,
}

/// A connection that is open or being opened.
pub(super) struct Entry {
    pub(super) peer: SocketAddr,
    pub(super) protocol: Protocol,
    pub(super) queue: Arc<WriteQueue>,
    /// Whom the certificate proves the peer to be, in lower case.
    pub(super) names: Vec<Box<str>>,
    /// Further addresses under which it may be reused (RFC 5923).
    pub(super) aliases: Vec<SocketAddr>,
}

impl Table {
    /// Counts a connection with `ip` unless a limit is reached; [`Table::release`] undoes it.
    pub(super) fn reserve(&mut self, ip: IpAddr, max_total: usize, max_per_peer: usize) -> bool {
        let of_peer = self.per_peer.entry(ip).or_default();
        if self.total >= max_total || *of_peer >= max_per_peer {
            if *of_peer == 0 {
                self.per_peer.remove(&ip);
            }
            return false;
        }
        *of_peer += 1;
        self.total += 1;
        true
    }

    pub(super) fn release(&mut self, ip: IpAddr) {
        self.total -= 1;
        if let Some(of_peer) = self.per_peer.get_mut(&ip) {
            *of_peer -= 1;
            if *of_peer == 0 {
                self.per_peer.remove(&ip);
            }
        }
    }

    /// Open connections and those in handshake.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    pub(super) fn insert(&mut self, id: ConnectionId, entry: Entry) {
        self.index(id, entry.peer, entry.protocol);
        self.entries.insert(id, entry);
    }

    pub(super) fn remove(&mut self, id: ConnectionId) {
        let Some(entry) = self.entries.remove(&id) else {
            return;
        };
        for address in entry.aliases.iter().chain([&entry.peer]) {
            if let Some(ids) = self.by_peer.get_mut(&(*address, entry.protocol)) {
                ids.retain(|&other| other != id);
                if ids.is_empty() {
                    self.by_peer.remove(&(*address, entry.protocol));
                }
            }
        }
    }

    /// Lets messages for `address` reuse the connection. False when it is gone or has too many.
    pub(super) fn alias(&mut self, id: ConnectionId, address: SocketAddr) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else {
            return false;
        };
        if entry.peer == address || entry.aliases.contains(&address) {
            return true;
        }
        if entry.aliases.len() >= MAX_ALIASES {
            return false;
        }
        entry.aliases.push(address);
        let protocol = entry.protocol;
        self.index(id, address, protocol);
        true
    }

    pub(super) fn queue(&self, id: ConnectionId) -> Option<&Arc<WriteQueue>> {
        self.entries.get(&id).map(|entry| &entry.queue)
    }

    /// As [`Table::queue`], where the connection leads to `peer`.
    pub(super) fn queue_to(&self, id: ConnectionId, peer: SocketAddr) -> Option<&Arc<WriteQueue>> {
        self.entries.get(&id).filter(|entry| entry.peer == peer).map(|entry| &entry.queue)
    }

    /// The newest connection to `peer` that may carry a message for `server_name`.
    ///
    /// Over TLS a name must be among those that the certificate proves: a connection to one
    /// domain of a shared address must not carry another's messages (RFC 5923 section 7).
    pub(super) fn find(
        &self,
        peer: SocketAddr,
        protocol: Protocol,
        server_name: Option<&str>,
    ) -> Option<&Arc<WriteQueue>> {
        let ids = self.by_peer.get(&(peer, protocol))?;
        let entries = ids.iter().rev().filter_map(|id| self.entries.get(id));
        let needs_name = matches!(protocol, Protocol::Tls | Protocol::Wss);
        entries
            .filter(|entry| match server_name {
                Some(name) if needs_name => entry.names.iter().any(|own| own.eq_ignore_ascii_case(name)),
                _ => true,
            })
            .map(|entry| &entry.queue)
            .next()
    }

    pub(super) fn queues(&self) -> impl Iterator<Item = &Arc<WriteQueue>> {
        self.entries.values().map(|entry| &entry.queue)
    }

    /// Connections in no order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (ConnectionId, &Entry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    fn index(&mut self, id: ConnectionId, address: SocketAddr, protocol: Protocol) {
        self.by_peer.entry((address, protocol)).or_default().push(id);
    }
}

/// A peer names its own aliases; more than its interfaces and transports it has no use for.
const MAX_ALIASES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(peer: &str, protocol: Protocol, names: &[&str]) -> Entry {
        Entry {
            peer: peer.parse().unwrap(),
            protocol,
            queue: Arc::new(WriteQueue::new(100)),
            names: names.iter().map(|&name| name.into()).collect(),
            aliases: Vec::new(),
        }
    }

    fn found(table: &Table, peer: &str, name: Option<&str>) -> bool {
        table.find(peer.parse().unwrap(), Protocol::Tls, name).is_some()
    }

    #[test]
    fn a_tls_connection_carries_only_names_that_its_certificate_proves() {
        let mut table = Table::default();
        let peer = "192.0.2.1:5061";
        table.insert(ConnectionId(1), entry(peer, Protocol::Tls, &["a.example"]));
        assert!(found(&table, peer, Some("A.example")));
        assert!(found(&table, peer, None));
        assert!(!found(&table, peer, Some("b.example")));
    }

    #[test]
    fn an_alias_finds_the_connection_until_it_is_gone() {
        let mut table = Table::default();
        let (id, alias) = (ConnectionId(1), "192.0.2.1:5061");
        table.insert(id, entry("192.0.2.1:40000", Protocol::Tls, &[]));
        assert!(table.alias(id, alias.parse().unwrap()));
        assert!(found(&table, alias, None));
        table.remove(id);
        assert!(!found(&table, alias, None));
        assert!(table.by_peer.is_empty());
    }

    #[test]
    fn aliases_are_bounded() {
        let mut table = Table::default();
        table.insert(ConnectionId(1), entry("192.0.2.1:1", Protocol::Tls, &[]));
        let taken = (2..100_u16).filter(|port| table.alias(ConnectionId(1), ([192, 0, 2, 1], *port).into()));
        assert_eq!(taken.count(), 8);
    }

    #[test]
    fn limits_hold_for_one_peer_and_in_total() {
        let mut table = Table::default();
        let (a, b): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "::1".parse().unwrap());
        assert!(table.reserve(a, 3, 2));
        assert!(table.reserve(a, 3, 2));
        assert!(!table.reserve(a, 3, 2));
        assert!(table.reserve(b, 3, 2));
        assert!(!table.reserve(b, 3, 2));
        table.release(a);
        assert!(table.reserve(b, 3, 2));
    }
}
