//! A location table: addresses-of-record and their bindings, in memory.

use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::hash::BuildHasher;

use super::binding::{Contact, Packed};

/// Bindings by address-of-record, split over locks so that workers seldom wait for each other.
pub struct Table {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
}

type Shard = HashMap<Box<[u8]>, Vec<Packed>, RandomState>;

/// Enough that two of a machine's workers rarely want the same one.
const SHARDS: usize = 64;

impl Default for Table {
    fn default() -> Table {
        let hasher = RandomState::default();
        let shards = (0..SHARDS).map(|_| Mutex::new(HashMap::with_hasher(hasher.clone()))).collect();
        Table { shards, hasher }
    }
}

impl Table {
    /// Bindings of an address-of-record that have not run out.
    pub fn contacts(&self, aor: &[u8], now: u64) -> Vec<Contact> {
        let shard = self.shard(aor);
        let bindings = shard.get(aor).map(Vec::as_slice).unwrap_or_default();
        bindings.iter().filter(|binding| !binding.is_over(now)).map(Packed::unpack).collect()
    }

    /// Lets `change` look at the bindings of an address-of-record and put others in their place, with
    /// nobody else in between. None from `change` leaves them as they are.
    pub fn update<R>(&self, aor: &[u8], change: impl FnOnce(Vec<Contact>) -> (Option<Vec<Contact>>, R)) -> R {
        let mut shard = self.shard(aor);
        let known = shard.get_mut(aor);
        let (after, result) = change(known.as_deref().into_iter().flatten().map(Packed::unpack).collect());
        match (known, after) {
            (_, None) => {}
            (None, Some(after)) if after.is_empty() => {}
            (Some(_), Some(after)) if after.is_empty() => {
                shard.remove(aor);
            }
            (Some(known), Some(after)) => replace(known, &after),
            (None, Some(after)) => {
                shard.insert(aor.into(), after.iter().filter_map(Packed::new).collect());
            }
        }
        result
    }

    /// Adds a binding as it was stored.
    pub(super) fn load(&self, aor: &[u8], contact: &Contact) {
        let Some(packed) = Packed::new(contact) else { return };
        let mut shard = self.shard(aor);
        match shard.get_mut(aor) {
            Some(bindings) => bindings.push(packed),
            None => {
                shard.insert(aor.into(), vec![packed]);
            }
        }
    }

    /// Removes what has run out; returns how many bindings went.
    pub fn sweep(&self, now: u64) -> usize {
        let mut count = 0;
        for shard in &self.shards {
            // One shard at a time: a sweep over a million bindings must not hold up a call.
            let mut shard = lock(shard);
            shard.retain(|_, bindings| {
                let before = bindings.len();
                bindings.retain(|binding| !binding.is_over(now));
                count += before - bindings.len();
                !bindings.is_empty()
            });
        }
        count
    }

    /// How many addresses-of-record and how many bindings there are.
    pub fn counts(&self) -> (usize, usize) {
        self.shards.iter().map(lock).fold((0, 0), |(aors, bindings), shard| {
            (aors + shard.len(), bindings + shard.values().map(Vec::len).sum::<usize>())
        })
    }

    /// Memory of the bindings with their addresses-of-record, and how many bindings there are.
    pub fn memory(&self) -> (usize, usize) {
        let mut sum = (0, 0);
        for shard in &self.shards {
            for (aor, bindings) in lock(shard).iter() {
                let own = size_of::<(Box<[u8]>, Vec<Packed>)>() + aor.len();
                sum.0 += own + bindings.iter().map(Packed::size).sum::<usize>();
                sum.1 += bindings.len();
            }
        }
        sum
    }

    /// `most` addresses-of-record with their bindings that have not run out, and how many addresses have such.
    ///
    /// Nothing is unpacked that is not given: a table of a million must not hold up calls while it is shown.
    pub fn some(&self, most: usize, now: u64) -> (Vec<Registered>, usize) {
        let (mut some, mut count) = (Vec::new(), 0);
        for shard in &self.shards {
            for (aor, bindings) in lock(shard).iter() {
                if bindings.iter().all(|binding| binding.is_over(now)) {
                    continue;
                }
                count += 1;
                if some.len() < most {
                    let live = bindings.iter().filter(|binding| !binding.is_over(now));
                    some.push((aor.to_vec(), live.map(Packed::unpack).collect()));
                }
            }
        }
        (some, count)
    }

    fn shard(&self, aor: &[u8]) -> MutexGuard<'_, Shard> {
        // The upper bits: the map inside uses the lower ones.
        let at = (self.hasher.hash_one(aor) >> 40) as usize % SHARDS;
        lock(&self.shards[at])
    }
}

/// Puts `after` in place of what is there: in the memory that is there, where only numbers have changed.
fn replace(known: &mut Vec<Packed>, after: &[Contact]) {
    if known.len() == after.len() {
        for (known, after) in known.iter_mut().zip(after) {
            if !known.refresh(after)
                && let Some(packed) = Packed::new(after)
            {
                *known = packed;
            }
        }
    } else {
        *known = after.iter().filter_map(Packed::new).collect();
    }
}

/// An address-of-record and its bindings.
pub(super) type Registered = (Vec<u8>, Vec<Contact>);

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // A panic elsewhere leaves the bindings as they were before or after a change, never between.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::binding::tests::contact;
    use super::*;

    #[test]
    fn some_are_given_and_all_are_counted_but_those_that_have_run_out() {
        let table = Table::default();
        for (aor, expires) in [("a", 100), ("b", 200), ("c", 300), ("d", 300)] {
            table.load(aor.as_bytes(), &contact("sip:a@one", aor, expires));
        }
        let (some, count) = table.some(2, 150);
        assert_eq!((some.len(), count), (2, 3));
        assert_eq!(table.some(9, 250).0.iter().map(|(_, contacts)| contacts.len()).collect::<Vec<_>>(), [1, 1]);
    }

    #[test]
    fn bindings_are_replaced_together_and_found_until_they_run_out() {
        let table = Table::default();
        let new = vec![contact("sip:a@one", "1", 100), contact("sip:a@two", "2", 200)];
        table.update(b"a", |before| {
            assert!(before.is_empty());
            (Some(new), ())
        });
        assert_eq!(table.contacts(b"a", 50).len(), 2);
        assert_eq!(table.contacts(b"a", 100).len(), 1);
        assert_eq!(table.contacts(b"b", 50).len(), 0);
        assert_eq!(table.sweep(100), 1);
        assert_eq!(table.counts(), (1, 1));
        table.update(b"a", |_| (Some(Vec::new()), ()));
        assert_eq!(table.counts(), (0, 0));
    }
}
