//! Who sends how much: figures for the peers that send most, without lock and without bound broken.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};

use module_api::PeerFigures;

/// Peers of one worker. That worker alone writes; anybody may read.
///
/// A set-associative table of plain cells, so that counting is a few loads and one store. Where a set is full the
/// peer that has sent least makes room and its count goes over, as in the Space-Saving algorithm: whoever sends much
/// is never lost, whoever is new may be shown with too much.
pub(crate) struct Peers {
    sets: Box<[[Slot; WAYS]]>,
}

#[derive(Default)]
struct Slot {
    address: [AtomicU64; 2],
    requests: AtomicU64,
    replies: AtomicU64,
    failures: AtomicU64,
}

const SETS: usize = 64;
const WAYS: usize = 8;

impl Default for Peers {
    fn default() -> Peers {
        Peers { sets: (0..SETS).map(|_| Default::default()).collect() }
    }
}

impl Peers {
    /// Counts a request, or a reply with its status.
    pub(crate) fn count(&self, address: IpAddr, status: Option<u16>) {
        let key = words(address);
        let slot = self.slot(key);
        match status {
            None => add(&slot.requests),
            Some(status) => {
                add(&slot.replies);
                if status >= 400 && !matches!(status, 401 | 407) {
                    add(&slot.failures);
                }
            }
        }
    }

    fn slot(&self, key: [u64; 2]) -> &Slot {
        // Multiplication mixes well enough: peers that share a set on purpose only make their own figures coarse.
        let mixed = (key[0] ^ key[1].rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let set = &self.sets[(mixed >> 58) as usize % SETS];
        let read = |slot: &Slot| [load(&slot.address[0]), load(&slot.address[1])];
        if let Some(found) = set.iter().find(|slot| read(slot) == key) {
            return found;
        }
        let least = |slot: &&Slot| load(&slot.requests) + load(&slot.replies);
        let slot = set.iter().min_by_key(least).unwrap_or(&set[0]);
        slot.address[0].store(key[0], Ordering::Relaxed);
        slot.address[1].store(key[1], Ordering::Relaxed);
        slot.failures.store(0, Ordering::Relaxed);
        slot
    }

    /// Every peer that is known.
    pub(crate) fn all(&self) -> impl Iterator<Item = PeerFigures> + '_ {
        self.sets.iter().flatten().filter_map(|slot| {
            let (high, low) = (load(&slot.address[0]), load(&slot.address[1]));
            let address = Ipv6Addr::from(u128::from(high) << 64 | u128::from(low)).to_canonical();
            let figures = PeerFigures {
                address,
                requests: load(&slot.requests),
                replies: load(&slot.replies),
                failures: load(&slot.failures),
            };
            ((high, low) != (0, 0)).then_some(figures)
        })
    }
}

fn words(address: IpAddr) -> [u64; 2] {
    let number = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    };
    [(number >> 64) as u64, number as u64]
}

fn load(cell: &AtomicU64) -> u64 {
    cell.load(Ordering::Relaxed)
}

fn add(cell: &AtomicU64) {
    cell.store(load(cell).wrapping_add(1), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_is_counted_by_what_it_sends() {
        let peers = Peers::default();
        let (one, other): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), "2001:db8::1".parse().unwrap());
        (0..3).for_each(|_| peers.count(one, None));
        [200, 407, 503].into_iter().for_each(|status| peers.count(other, Some(status)));
        let mut all: Vec<_> = peers.all().collect();
        all.sort_by_key(|peer| peer.requests);
        assert_eq!(
            all,
            [
                PeerFigures { address: other, requests: 0, replies: 3, failures: 1 },
                PeerFigures { address: one, requests: 3, replies: 0, failures: 0 },
            ]
        );
    }

    #[test]
    fn a_flood_of_addresses_hides_none_that_sends_much_and_takes_no_memory() {
        let peers = Peers::default();
        let gateway: IpAddr = [192, 0, 2, 1].into();
        (0..100_000).for_each(|_| peers.count(gateway, None));
        (0..50_000_u32).for_each(|n| peers.count(std::net::Ipv4Addr::from(0x0a00_0000 + n).into(), None));
        assert!(peers.all().count() <= SETS * WAYS);
        assert!(peers.all().any(|peer| peer.address == gateway && peer.requests >= 100_000));
    }
}
