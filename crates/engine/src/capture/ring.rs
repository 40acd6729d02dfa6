//! The ring: what was seen last, within a bound of memory; calls that failed stay longer.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::steps::Steps;
use module_api::Sighting;

/// Something that was seen.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its number, from 1 in the order in which things happened on this worker.
    pub number: u64,
    /// When, since 1970-01-01 00:00 UTC.
    pub at: Duration,
    /// A hash of its Call-ID, or of that of the message that caused it.
    pub call: u64,
    /// What it was.
    pub what: What,
}

/// What was seen.
#[derive(Debug, Clone)]
pub enum What {
    /// A message.
    Message {
        /// The number of the message that made the server send this one; 0 for those that came in,
        /// for timers, and for what the script sends after it has waited for something.
        cause: u64,
        /// The message.
        sighting: Sighting,
    },
    /// A run of the script.
    Run {
        /// The number of the message that it runs for; 0 when a timer made it run.
        cause: u64,
        /// Its steps.
        steps: Arc<Steps>,
    },
}

/// What a worker has seen last.
pub struct Ring {
    recent: Shelf,
    /// What was pushed out of `recent` and belongs to a call that failed.
    kept: Shelf,
    failed: HashSet<u64>,
    /// Of `failed`, the oldest first.
    failed_in_order: VecDeque<u64>,
    last: u64,
}

struct Shelf {
    records: VecDeque<Record>,
    bytes: usize,
    most: usize,
}

/// The share of the memory that is for calls that failed: one part in this many.
const SHARE_OF_FAILED: usize = 4;
/// Calls that failed and are remembered as such; of those beyond, nothing is kept longer.
const MOST_FAILED: usize = 4096;

impl Ring {
    pub(super) fn new(bytes: usize) -> Ring {
        let for_failed = bytes / SHARE_OF_FAILED;
        let shelf = |most| Shelf { records: VecDeque::new(), bytes: 0, most };
        Ring {
            recent: shelf(bytes - for_failed),
            kept: shelf(for_failed),
            failed: HashSet::new(),
            failed_in_order: VecDeque::new(),
            last: 0,
        }
    }

    /// The number of the latest record; 0 where nothing has been seen.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// What is there, the oldest first.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.kept.records.iter().chain(&self.recent.records)
    }

    /// What came after record `number`, the oldest first.
    pub fn since(&self, number: u64) -> impl Iterator<Item = &Record> {
        let from = |shelf: &VecDeque<Record>| shelf.partition_point(|record| record.number <= number);
        let (kept, recent) = (&self.kept.records, &self.recent.records);
        kept.range(from(kept)..).chain(recent.range(from(recent)..))
    }

    /// How many records that came after `number` are gone.
    pub fn lost_since(&self, number: u64) -> u64 {
        let there = self.since(number).count() as u64;
        self.last.saturating_sub(number).saturating_sub(there)
    }

    /// Bytes in use.
    pub fn bytes(&self) -> usize {
        self.recent.bytes + self.kept.bytes
    }

    pub(super) fn push(&mut self, call: u64, at: Duration, what: What) -> u64 {
        self.last += 1;
        self.recent.push(Record { number: self.last, at, call, what });
        while let Some(old) = self.recent.pop_beyond() {
            if !self.failed.is_empty() && self.failed.contains(&old.call) {
                self.kept.push(old);
                while self.kept.pop_beyond().is_some() {}
            }
        }
        self.last
    }

    pub(super) fn keep_longer(&mut self, call: u64) {
        if !self.failed.insert(call) {
            return;
        }
        self.failed_in_order.push_back(call);
        if self.failed_in_order.len() > MOST_FAILED
            && let Some(oldest) = self.failed_in_order.pop_front()
        {
            self.failed.remove(&oldest);
        }
    }
}

impl Shelf {
    fn push(&mut self, record: Record) {
        self.bytes += record.size();
        self.records.push_back(record);
    }

    /// Takes the oldest record while there is too much.
    fn pop_beyond(&mut self) -> Option<Record> {
        if self.bytes <= self.most {
            return None;
        }
        let record = self.records.pop_front()?;
        self.bytes -= record.size();
        Some(record)
    }
}

impl Record {
    /// What it costs to keep it.
    fn size(&self) -> usize {
        let beside = match &self.what {
            // Two allocations lie behind shared bytes, and their place in the ring may be free half of the time.
            What::Message { sighting, .. } => sighting.bytes.len() + size_of::<Record>(),
            What::Run { .. } => Steps::MOST_BYTES,
        };
        beside + size_of::<Record>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use sip_message::Transport;

    fn message() -> What {
        let address = "192.0.2.1:5060".parse().expect("a literal");
        let sighting = Sighting {
            at: Duration::ZERO,
            is_sent: false,
            transport: Transport::Udp,
            source: address,
            destination: address,
            bytes: Bytes::from_static(&[b'x'; 500]),
        };
        What::Message { cause: 0, sighting }
    }

    #[test]
    fn memory_stays_within_its_bound_and_calls_that_failed_stay_longer() {
        const BOUND: usize = 100_000;
        let mut ring = Ring::new(BOUND);
        ring.keep_longer(7);
        for _ in 0..10 {
            ring.push(7, Duration::ZERO, message());
        }
        for _ in 0..5_000 {
            ring.push(8, Duration::ZERO, message());
            assert!(ring.bytes() <= BOUND);
        }
        assert_eq!(ring.records().filter(|record| record.call == 7).count(), 10);
        let numbers: Vec<u64> = ring.records().map(|record| record.number).collect();
        assert!(numbers.is_sorted());
        for _ in 0..5_000 {
            ring.push(7, Duration::ZERO, message());
            assert!(ring.bytes() <= BOUND);
        }
    }

    #[test]
    fn who_comes_late_learns_how_much_is_gone() {
        let mut ring = Ring::new(10_000);
        for _ in 0..100 {
            ring.push(1, Duration::ZERO, message());
        }
        let there = ring.records().count() as u64;
        assert_eq!(ring.lost_since(0), 100 - there);
        assert_eq!(ring.lost_since(99), 0);
        assert_eq!(ring.since(98).map(|record| record.number).collect::<Vec<_>>(), [99, 100]);
        assert_eq!(ring.since(500).count(), 0);
    }

    #[test]
    fn calls_beyond_the_bound_are_not_remembered_as_failed() {
        let mut ring = Ring::new(10_000);
        for call in 0..MOST_FAILED as u64 + 1 {
            ring.keep_longer(call);
        }
        assert_eq!((ring.failed.len(), ring.failed_in_order.len()), (MOST_FAILED, MOST_FAILED));
        assert!(!ring.failed.contains(&0));
    }
}
