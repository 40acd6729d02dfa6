//! A table of values that all workers share.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use module_api::Value;

use super::stored::Stored;

/// A table: values by key, each with its own end of life.
///
/// Many small maps, each behind a lock that is held for one look-up. An entry costs about 160 bytes
/// beside the bytes of its key and value, which are copied: a slice of a message would keep all of it.
pub(super) struct Table {
    pub(super) name: String,
    pub(super) rules: Rules,
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    count: AtomicUsize,
    /// Where its entries lie in a database.
    pub(super) stored: Option<Arc<Stored>>,
}

type Shard = HashMap<Bytes, Entry, RandomState>;

struct Entry {
    value: Value,
    expires: Option<Instant>,
}

impl Entry {
    fn is_alive(&self, now: Instant) -> bool {
        self.expires.is_none_or(|expires| expires > now)
    }
}

/// How a table treats its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rules {
    /// How long an entry lives after it is written.
    pub(super) lifetime: Option<Duration>,
    /// Whether writing an entry again gives it a new life.
    pub(super) is_prolonged: bool,
    /// What a key that is not there reads as, and counts from.
    pub(super) initial: Value,
    /// Most entries.
    pub(super) limit: usize,
}

/// The table has its most entries.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// Enough that workers seldom meet, and few enough that an empty table costs little.
pub(super) const SHARDS: usize = 64;

impl Table {
    pub(super) fn new(name: String, rules: Rules) -> Table {
        let hasher = RandomState::default();
        let shards = (0..SHARDS).map(|_| Mutex::new(HashMap::with_hasher(hasher.clone()))).collect();
        Table { name, rules, shards, hasher, count: AtomicUsize::new(0), stored: None }
    }

    /// The value of `key`: what was written, else what the table says for keys that are not there.
    pub(super) fn value(&self, key: &[u8], now: Instant) -> Value {
        self.stored(key, now).unwrap_or_else(|| self.rules.initial.clone())
    }

    /// The value that was written for `key`.
    pub(super) fn stored(&self, key: &[u8], now: Instant) -> Option<Value> {
        let shard = self.shard(key);
        shard.get(key).filter(|entry| entry.is_alive(now)).map(|entry| entry.value.clone())
    }

    /// Writes a value, which lives as long as the table says.
    pub(super) fn set(&self, key: &[u8], value: Value, now: Instant) -> Result<(), Full> {
        let end = self.rules.lifetime.map(|lifetime| now + lifetime);
        let value = owned(value);
        let mut shard = self.shard(key);
        if let Some(entry) = shard.get_mut(key) {
            if self.rules.is_prolonged || !entry.is_alive(now) {
                entry.expires = end;
            }
            entry.value = value;
            return Ok(());
        }
        self.insert(&mut shard, key, Entry { value, expires: end })
    }

    /// Writes a value that lives for `lifetime`; zero: as long as the server.
    pub(super) fn set_for(&self, key: &[u8], value: Value, lifetime: Duration, now: Instant) -> Result<(), Full> {
        let entry = Entry { value: owned(value), expires: end(lifetime, now) };
        let mut shard = self.shard(key);
        if let Some(old) = shard.get_mut(key) {
            *old = entry;
            return Ok(());
        }
        self.insert(&mut shard, key, entry)
    }

    /// Adds to a number, in one step whatever other workers do, and says what it is then.
    ///
    /// As in Kamailio nothing happens, and the answer is undefined, for a string, and for a key that
    /// is not there in a table without a number to begin with.
    pub(super) fn add(&self, key: &[u8], delta: i64, now: Instant) -> Result<Value, Full> {
        let end = self.rules.lifetime.map(|lifetime| now + lifetime);
        let mut shard = self.shard(key);
        if let Some(entry) = shard.get_mut(key).filter(|entry| entry.is_alive(now)) {
            let Value::Int(number) = &mut entry.value else { return Ok(Value::Null) };
            *number = number.wrapping_add(delta);
            let value = Value::Int(*number);
            if self.rules.is_prolonged {
                entry.expires = end;
            }
            return Ok(value);
        }
        let Value::Int(initial) = self.rules.initial else { return Ok(Value::Null) };
        let value = Value::Int(initial.wrapping_add(delta));
        let entry = Entry { value: value.clone(), expires: end };
        match shard.get_mut(key) {
            Some(dead) => *dead = entry,
            None => self.insert(&mut shard, key, entry)?,
        }
        Ok(value)
    }

    /// Removes an entry; false when there is none.
    pub(super) fn remove(&self, key: &[u8]) -> bool {
        let removed = self.shard(key).remove(key);
        if removed.is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        removed.is_some()
    }

    /// Takes the entries of `other` in place of its own. Whoever looks meanwhile sees the old or the new value of a key.
    pub(super) fn replace(&self, other: Table) {
        // The shard of a key depends on the hasher, so that entries are put in anew.
        let fresh = Table { hasher: self.hasher.clone(), ..Table::new(String::new(), self.rules.clone()) };
        for shard in &other.shards {
            for (key, entry) in guard(shard).drain() {
                guard(&fresh.shards[fresh.place(&key)]).insert(key, entry);
            }
        }
        for (own, new) in self.shards.iter().zip(&fresh.shards) {
            let new = std::mem::replace(&mut *guard(new), HashMap::with_hasher(self.hasher.clone()));
            let mut own = guard(own);
            self.count.fetch_add(new.len(), Ordering::Relaxed);
            let old = std::mem::replace(&mut *own, new);
            self.count.fetch_sub(old.len(), Ordering::Relaxed);
        }
    }

    /// Every entry, with how long it still lives; none: without end.
    pub(super) fn lasting(&self, now: Instant) -> Vec<(Bytes, Value, Option<Duration>)> {
        let mut all = Vec::with_capacity(self.count());
        for shard in &self.shards {
            let shard = guard(shard);
            let alive = shard.iter().filter(|(_, entry)| entry.is_alive(now));
            all.extend(alive.map(|(key, entry)| {
                let left = entry.expires.map(|end| end.saturating_duration_since(now));
                (key.clone(), entry.value.clone(), left)
            }));
        }
        all
    }

    /// Removes every entry.
    pub(super) fn clear(&self) {
        for shard in &self.shards {
            let old = std::mem::replace(&mut *guard(shard), HashMap::with_hasher(self.hasher.clone()));
            self.count.fetch_sub(old.len(), Ordering::Relaxed);
        }
    }

    /// How long an entry still lives; zero for one without end, none when there is no such entry.
    pub(super) fn remaining(&self, key: &[u8], now: Instant) -> Option<Duration> {
        let shard = self.shard(key);
        let entry = shard.get(key).filter(|entry| entry.is_alive(now))?;
        Some(entry.expires.map_or(Duration::ZERO, |end| end.saturating_duration_since(now)))
    }

    /// Gives an entry `lifetime` from now; zero: without end. False when there is no such entry.
    pub(super) fn set_lifetime(&self, key: &[u8], lifetime: Duration, now: Instant) -> bool {
        let mut shard = self.shard(key);
        let entry = shard.get_mut(key).filter(|entry| entry.is_alive(now));
        entry.map(|entry| entry.expires = end(lifetime, now)).is_some()
    }

    /// Entries of shard `number`, copied, so that no lock is held while a script looks at them.
    pub(super) fn copy_of_shard(&self, number: usize, now: Instant) -> Option<Vec<(Bytes, Value)>> {
        let shard = guard(self.shards.get(number)?);
        let alive = shard.iter().filter(|(_, entry)| entry.is_alive(now));
        Some(alive.map(|(key, entry)| (key.clone(), entry.value.clone())).collect())
    }

    /// Every entry.
    pub(super) fn entries(&self, now: Instant) -> impl Iterator<Item = (Bytes, Value)> {
        (0..SHARDS).filter_map(move |number| self.copy_of_shard(number, now)).flatten()
    }

    /// Removes from shard `number` what has run out, at most `most` entries, and returns them.
    pub(super) fn sweep(&self, number: usize, now: Instant, most: usize) -> Vec<(Bytes, Value)> {
        let mut shard = guard(&self.shards[number % SHARDS]);
        let gone = shard.extract_if(|_, entry| !entry.is_alive(now)).take(most);
        let gone: Vec<_> = gone.map(|(key, entry)| (key, entry.value)).collect();
        self.count.fetch_sub(gone.len(), Ordering::Relaxed);
        gone
    }

    /// How many entries are stored, those included that have run out and were not swept yet.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn insert(&self, shard: &mut Shard, key: &[u8], entry: Entry) -> Result<(), Full> {
        if self.count.fetch_add(1, Ordering::Relaxed) >= self.rules.limit {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return Err(Full);
        }
        shard.insert(Bytes::copy_from_slice(key), entry);
        Ok(())
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        guard(&self.shards[self.place(key)])
    }

    fn place(&self, key: &[u8]) -> usize {
        // The map picks a bucket by the low bits and tags by the high ones; the middle is free.
        (self.hasher.hash_one(key) >> 32) as usize % SHARDS
    }
}

fn guard(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn end(lifetime: Duration, now: Instant) -> Option<Instant> {
    if lifetime.is_zero() { None } else { now.checked_add(lifetime) }
}

fn owned(value: Value) -> Value {
    match value {
        Value::Str(text) => Value::Str(Bytes::copy_from_slice(&text)),
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(lifetime: Option<u64>, is_prolonged: bool, initial: Value, limit: usize) -> Table {
        let lifetime = lifetime.map(Duration::from_secs);
        Table::new("t".into(), Rules { lifetime, is_prolonged, initial, limit })
    }

    #[test]
    fn an_entry_lives_as_long_as_its_table_says() {
        let (start, seconds) = (Instant::now(), Duration::from_secs);
        let table = table(Some(10), true, Value::Null, 10);
        table.set(b"k", Value::Int(1), start).unwrap();
        assert_eq!(table.value(b"k", start + seconds(9)), Value::Int(1));
        table.set(b"k", Value::Int(2), start + seconds(9)).unwrap();
        assert_eq!(table.remaining(b"k", start + seconds(9)), Some(seconds(10)));
        assert_eq!(table.value(b"k", start + seconds(19)), Value::Null);
        assert_eq!(table.count(), 1);
        let swept: Vec<_> = (0..SHARDS).flat_map(|number| table.sweep(number, start + seconds(19), 9)).collect();
        assert_eq!((swept, table.count()), (vec![(Bytes::from_static(b"k"), Value::Int(2))], 0));
    }

    #[test]
    fn without_updateexpire_a_second_write_gives_no_new_life() {
        let (start, seconds) = (Instant::now(), Duration::from_secs);
        let table = table(Some(10), false, Value::Int(0), 10);
        table.add(b"k", 1, start).unwrap();
        assert_eq!(table.add(b"k", 1, start + seconds(9)), Ok(Value::Int(2)));
        assert_eq!(table.add(b"k", 1, start + seconds(10)), Ok(Value::Int(1)));
    }

    #[test]
    fn counting_begins_at_the_tables_number_and_leaves_strings_alone() {
        let now = Instant::now();
        let counting = table(None, true, Value::Int(5), 10);
        assert_eq!(counting.add(b"k", 1, now), Ok(Value::Int(6)));
        let plain = table(None, true, Value::Null, 10);
        assert_eq!(plain.add(b"k", 1, now), Ok(Value::Null));
        plain.set(b"k", Value::from_static("12"), now).unwrap();
        assert_eq!(plain.add(b"k", 1, now), Ok(Value::Null));
    }

    #[test]
    fn a_full_table_takes_no_new_keys_and_still_changes_old_ones() {
        let now = Instant::now();
        let table = table(None, true, Value::Null, 2);
        for key in [b"a", b"b"] {
            table.set(key, Value::Int(1), now).unwrap();
        }
        assert_eq!(table.set(b"c", Value::Int(1), now), Err(Full));
        assert_eq!(table.set(b"a", Value::Int(2), now), Ok(()));
        assert!(table.remove(b"a") && !table.remove(b"a"));
        assert_eq!(table.set(b"c", Value::Int(1), now), Ok(()));
        table.clear();
        assert_eq!((table.count(), table.entries(now).count()), (0, 0));
    }

    #[test]
    fn workers_count_together_without_losing_one() {
        let (table, now) = (table(None, true, Value::Int(0), 10), Instant::now());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| drop(table.add(b"k", 1, now))));
            }
        });
        assert_eq!(table.value(b"k", now), Value::Int(4000));
    }
}
