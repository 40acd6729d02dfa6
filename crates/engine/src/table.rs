//! The transactions of one worker, found by number and by matching key.

use std::net::SocketAddr;

use hashbrown::HashTable;
use module_api::{Gauge, Histogram, TransactionKey};
use std::collections::HashSet;

use crate::outgoing::Sender;
use crate::transaction::{Server, Transaction};

/// Owns the transactions of one worker.
///
/// Found by place when a reply or timer names them, and by hash of the matching key when a request
/// comes (RFC 3261 section 17.2.3). No lock: a transaction belongs to one worker for life.
pub(crate) struct Table {
    entries: slab::Slab<Entry>,
    /// Places by hash of the matching key.
    index: HashTable<u32>,
    generation: u32,
    limit: usize,
    /// Counts the transactions of all workers.
    held: Gauge,
    /// How large they are when they end.
    sizes: Histogram,
}

struct Entry {
    generation: u32,
    hash: u64,
    // Boxed so that the slab, which never shrinks, costs little per place.
    transaction: Box<Transaction>,
}

impl Table {
    pub(crate) fn new(limit: usize, held: Gauge, sizes: Histogram) -> Table {
        Table { entries: slab::Slab::new(), index: HashTable::new(), generation: 0, limit, held, sizes }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= self.limit
    }

    /// Takes in a transaction whose matching key hashes to `hash`.
    pub(crate) fn insert(&mut self, hash: u64, transaction: Box<Transaction>) -> TransactionKey {
        self.held.add(1);
        // 24 bits, so that a key survives the trip through `Sender::to_token`.
        self.generation = self.generation % 0xff_ffff + 1;
        let slot = self.entries.insert(Entry { generation: self.generation, hash, transaction }) as u32;
        let entries = &self.entries;
        self.index.insert_unique(hash, slot, |slot| entries[*slot as usize].hash);
        TransactionKey { slot, generation: self.generation }
    }

    /// Takes in a transaction to which no request will ever be matched: of a request of our own.
    pub(crate) fn insert_unmatched(&mut self, transaction: Box<Transaction>) -> TransactionKey {
        self.held.add(1);
        self.generation = self.generation % 0xff_ffff + 1;
        let slot = self.entries.insert(Entry { generation: self.generation, hash: 0, transaction }) as u32;
        TransactionKey { slot, generation: self.generation }
    }

    /// The transaction with that matching key.
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(&Transaction) -> bool) -> Option<TransactionKey> {
        let slot = self.index.find(hash, |slot| {
            let entry = &self.entries[*slot as usize];
            entry.hash == hash && is_it(&entry.transaction)
        })?;
        Some(TransactionKey { slot: *slot, generation: self.entries[*slot as usize].generation })
    }

    pub(crate) fn transaction(&self, key: TransactionKey) -> Option<&Transaction> {
        let entry = self.entries.get(key.slot as usize)?;
        (entry.generation == key.generation).then_some(&*entry.transaction)
    }

    pub(crate) fn transaction_mut(&mut self, key: TransactionKey) -> Option<&mut Transaction> {
        let entry = self.entries.get_mut(key.slot as usize)?;
        (entry.generation == key.generation).then_some(&mut *entry.transaction)
    }

    /// Branches that wait at one of `peers` for a first reply.
    pub(crate) fn waiting_for(&self, peers: &HashSet<SocketAddr>) -> Vec<Sender> {
        let mut found = Vec::new();
        for (slot, entry) in &self.entries {
            let transaction = TransactionKey { slot: slot as u32, generation: entry.generation };
            for (number, branch) in entry.transaction.branches.iter().enumerate() {
                let is_there = || branch.way.as_ref().is_some_and(|way| peers.contains(&way.peer));
                if branch.status == 0 && branch.is_pending() && is_there() {
                    found.push(Sender { transaction, branch: number as u16 });
                }
            }
        }
        found
    }

    /// The transaction of a request with that Call-ID and CSeq number, by a look at all: rarely asked for.
    pub(crate) fn find_call(&self, call_id: &[u8], cseq: u32) -> Option<TransactionKey> {
        let is_it = |transaction: &Transaction| {
            transaction.request.call_id() == call_id
                && transaction.request.cseq().is_ok_and(|found| found.number == cseq)
                && !matches!(transaction.server, Server::Own(_))
        };
        let (slot, entry) = self.entries.iter().find(|(_, entry)| is_it(&entry.transaction))?;
        Some(TransactionKey { slot: slot as u32, generation: entry.generation })
    }

    /// Whether some request has had no final reply yet.
    pub(crate) fn has_unanswered(&self) -> bool {
        self.entries
            .iter()
            .any(|(_, entry)| entry.transaction.status < 200 && !matches!(entry.transaction.server, Server::Own(_)))
    }

    pub(crate) fn remove(&mut self, key: TransactionKey) {
        if self.transaction(key).is_none() {
            return;
        }
        self.held.add(-1);
        let entry = self.entries.remove(key.slot as usize);
        self.sizes.observe(entry.transaction.size() as u64);
        if let Ok(found) = self.index.find_entry(entry.hash, |slot| *slot == key.slot) {
            found.remove();
        }
        self.give_memory_back();
    }

    /// After a peak the index and the slab's tail go back to the system.
    fn give_memory_back(&mut self) {
        if self.entries.is_empty() && self.entries.capacity() > 4096 {
            self.entries = slab::Slab::new();
            self.index = HashTable::new();
        }
    }
}
