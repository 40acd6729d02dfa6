//! What is known: bounded, each answer for its TTL and, while the DNS is down, longer.
//!
//! Time is an argument.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::upstream::Answer;
use super::{Cached, DnsSettings, Kind, Records};

pub(super) struct Cache {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    settings: DnsSettings,
}

/// One map for each kind, so that a lookup borrows the name and allocates nothing.
#[derive(Default)]
struct Shard {
    kinds: [HashMap<Box<str>, Entry>; Kind::COUNT],
}

struct Entry {
    /// `None` when the only answer so far was a failure.
    records: Option<Arc<Records>>,
    expires: Instant,
    /// From here on it is asked again before it ends.
    refresh_at: Instant,
    /// The last question failed: the next is due then.
    retry_at: Option<Instant>,
}

impl Cache {
    pub(super) fn new(settings: DnsSettings) -> Cache {
        Cache { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::new(), settings }
    }

    /// What is known, and whether the caller should ask again in the background.
    pub(super) fn get(&self, name: &str, kind: Kind, now: Instant, down: bool) -> (Cached, bool) {
        let mut shard = self.shard(name);
        let Some(entry) = shard.kinds[kind as usize].get_mut(name) else {
            return (Cached::Unknown, false);
        };
        let waits = entry.retry_at.is_some_and(|at| now < at);
        let Some(records) = &entry.records else {
            let cached = if waits { Cached::Failed } else { Cached::Unknown };
            return (cached, false);
        };
        let is_fresh = now < entry.expires;
        let may_be_stale = down || entry.retry_at.is_some();
        let serves_stale = may_be_stale && now < entry.expires + self.settings.stale;
        if !is_fresh && !serves_stale {
            return (Cached::Unknown, false);
        }
        let records = Arc::clone(records);
        let is_due = !waits && now >= entry.refresh_at;
        if is_due {
            // Only one caller refreshes; the next try is due when this one must have ended.
            entry.refresh_at = now + self.settings.retry;
        }
        (Cached::Known(records), is_due)
    }

    pub(super) fn store(&self, name: &str, kind: Kind, answer: Answer, now: Instant) -> Arc<Records> {
        let settings = &self.settings;
        let longest = if answer.records == Records::NoSuch { settings.max_negative_ttl } else { settings.max_ttl };
        let ttl = answer.ttl.max(settings.min_ttl).min(longest);
        let records = Arc::new(answer.records);
        let entry = Entry {
            records: Some(Arc::clone(&records)),
            expires: now + ttl,
            refresh_at: now + ttl.mul_f32(REFRESH_AFTER),
            retry_at: None,
        };
        self.insert(name, kind, entry);
        records
    }

    /// Notes that a question failed, and says what is known from before, if not too old.
    pub(super) fn fail(&self, name: &str, kind: Kind, now: Instant) -> Option<Arc<Records>> {
        let retry_at = Some(now + self.settings.retry);
        let mut shard = self.shard(name);
        if let Some(entry) = shard.kinds[kind as usize].get_mut(name) {
            entry.retry_at = retry_at;
            if entry.records.is_some() && now < entry.expires + self.settings.stale {
                return entry.records.clone();
            }
            entry.records = None;
            return None;
        }
        drop(shard);
        let entry = Entry { records: None, expires: now, refresh_at: now, retry_at };
        self.insert(name, kind, entry);
        None
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    pub(super) fn clear(&self) {
        for shard in &self.shards {
            *lock(shard) = Shard::default();
        }
    }

    fn insert(&self, name: &str, kind: Kind, entry: Entry) {
        let mut shard = self.shard(name);
        let is_new = !shard.kinds[kind as usize].contains_key(name);
        if is_new && shard.len() >= (self.settings.capacity / SHARDS).max(1) {
            shard.evict(kind);
        }
        shard.kinds[kind as usize].insert(name.into(), entry);
    }

    fn shard(&self, name: &str) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(name) as usize;
        lock(&self.shards[hash % SHARDS])
    }
}

impl Shard {
    fn len(&self) -> usize {
        self.kinds.iter().map(HashMap::len).sum()
    }

    /// Drops, of a few that the table happens to list first, the one that ends soonest: near
    /// enough to the oldest of all, at a cost that does not grow.
    fn evict(&mut self, wanted: Kind) {
        let longest = (0..self.kinds.len()).max_by_key(|&kind| self.kinds[kind].len());
        let kind = match self.kinds[wanted as usize].len() {
            0 => longest.unwrap_or_default(),
            _ => wanted as usize,
        };
        let sample = self.kinds[kind].iter().take(EVICTION_SAMPLE);
        let soonest = sample.min_by_key(|(_, entry)| (entry.records.is_some(), entry.expires));
        if let Some(name) = soonest.map(|(name, _)| name.clone()) {
            self.kinds[kind].remove(&name);
        }
    }
}

/// Nothing panics while it holds the lock.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

const SHARDS: usize = 16;

/// Part of its TTL after which an answer that is still wanted is asked again.
const REFRESH_AFTER: f32 = 0.9;

const EVICTION_SAMPLE: usize = 8;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const A: Kind = Kind::A;

    fn addresses(text: &str) -> Records {
        Records::Addresses(vec![text.parse().unwrap()])
    }

    fn answer(records: Records, ttl: u64) -> Answer {
        Answer { records, ttl: Duration::from_secs(ttl) }
    }

    /// A cache that learned `records` for 100 s, and a clock that counts seconds since.
    fn learned(records: Records) -> (Cache, impl Fn(u64) -> Instant) {
        let (cache, start) = (Cache::new(DnsSettings::default()), Instant::now());
        cache.store("a.example", A, answer(records, 100), start);
        (cache, move |secs| start + Duration::from_secs(secs))
    }

    fn known(text: &str) -> Cached {
        Cached::Known(Arc::new(addresses(text)))
    }

    #[test]
    fn an_answer_is_known_for_its_ttl() {
        let (cache, at) = learned(addresses("192.0.2.1"));
        assert_eq!(cache.get("a.example", A, at(89), false), (known("192.0.2.1"), false));
        assert_eq!(cache.get("a.example", A, at(100), false), (Cached::Unknown, false));
        assert_eq!(cache.get("a.example", Kind::Aaaa, at(0), false).0, Cached::Unknown);
    }

    #[test]
    fn one_caller_refreshes_an_answer_that_is_about_to_end() {
        let (cache, at) = learned(addresses("192.0.2.1"));
        assert!(cache.get("a.example", A, at(91), false).1);
        assert!(!cache.get("a.example", A, at(91), false).1);
    }

    #[test]
    fn an_old_answer_serves_while_the_dns_is_down() {
        let (cache, at) = learned(addresses("192.0.2.1"));
        assert_eq!(cache.get("a.example", A, at(200), true), (known("192.0.2.1"), true));
        assert_eq!(*cache.fail("a.example", A, at(200)).unwrap(), addresses("192.0.2.1"));
        // The failure itself is remembered, also where other names still resolve.
        assert_eq!(cache.get("a.example", A, at(201), false), (known("192.0.2.1"), false));
        assert_eq!(cache.get("a.example", A, at(206), false), (known("192.0.2.1"), true));
    }

    #[test]
    fn an_answer_is_forgotten_when_too_old() {
        let (cache, at) = learned(addresses("192.0.2.1"));
        assert_eq!(cache.get("a.example", A, at(86_501), true).0, Cached::Unknown);
        assert_eq!(cache.fail("a.example", A, at(86_501)), None);
    }

    #[test]
    fn a_failure_is_remembered_for_a_moment() {
        let (cache, start) = (Cache::new(DnsSettings::default()), Instant::now());
        assert_eq!(cache.fail("a.example", A, start), None);
        assert_eq!(cache.get("a.example", A, start, false).0, Cached::Failed);
        let later = start + Duration::from_secs(5);
        assert_eq!(cache.get("a.example", A, later, false).0, Cached::Unknown);
    }

    #[test]
    fn absence_is_an_answer() {
        let (cache, at) = learned(Records::NoSuch);
        let absent = Cached::Known(Arc::new(Records::NoSuch));
        assert_eq!(cache.get("a.example", A, at(50), false).0, absent);
    }

    #[test]
    fn a_ttl_of_zero_lasts_for_the_question_in_hand() {
        let (cache, start) = (Cache::new(DnsSettings::default()), Instant::now());
        cache.store("a.example", A, answer(addresses("192.0.2.1"), 0), start);
        assert_eq!(cache.get("a.example", A, start, false).0, known("192.0.2.1"));
    }

    #[test]
    fn the_cache_does_not_grow_beyond_its_bound() {
        let settings = DnsSettings { capacity: 64, ..DnsSettings::default() };
        let (cache, now) = (Cache::new(settings), Instant::now());
        for n in 0..1000 {
            cache.store(&format!("{n}.example"), A, answer(addresses("192.0.2.1"), 100), now);
            cache.fail(&format!("{n}.example"), Kind::Srv, now);
        }
        assert!(cache.len() <= 64, "{}", cache.len());
        assert!(cache.len() > 32, "{}", cache.len());
    }
}
