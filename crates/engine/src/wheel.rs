//! Timer wheel: when each transaction wants to be woken.

use std::time::{Duration, Instant};

use module_api::TransactionKey;

/// A hashed timing wheel of [`SLOTS`] slots of [`TICK`] each.
///
/// One entry per transaction at most matters; older ones are recognised as stale by their owner when
/// they come due, so that neither moving nor cancelling a timer costs anything. An entry beyond the
/// horizon waits in its slot for further rounds.
pub(crate) struct Wheel {
    slots: Vec<Vec<Entry>>,
    /// Time of tick 0.
    origin: Instant,
    /// The next tick to be looked at.
    next: u64,
    len: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    tick: u64,
    key: TransactionKey,
}

/// Resolution. Timers never fire early and at most this much late, which is far below T1.
const TICK: Duration = Duration::from_millis(8);
/// A power of two; the horizon is 8 ms * 4096 = 32.8 s, just beyond 64*T1.
const SLOTS: usize = 4096;

impl Wheel {
    pub(crate) fn new(origin: Instant) -> Wheel {
        Wheel { slots: vec![Vec::new(); SLOTS], origin, next: 0, len: 0 }
    }

    /// Wakes `key` at `deadline`, or in the next tick when that is past.
    pub(crate) fn insert(&mut self, deadline: Instant, key: TransactionKey) {
        let tick = self.tick_after(deadline).max(self.next);
        self.slots[tick as usize % SLOTS].push(Entry { tick, key });
        self.len += 1;
    }

    /// Moves everything that is due at `now` to `due`.
    pub(crate) fn expire(&mut self, now: Instant, due: &mut Vec<TransactionKey>) {
        let passed = now.saturating_duration_since(self.origin).as_nanos() / TICK.as_nanos();
        let passed = passed as u64;
        if self.len == 0 || passed < self.next {
            self.next = self.next.max(passed + 1);
            return;
        }
        // After a long pause one round over all slots suffices.
        let first = self.next.max((passed + 1).saturating_sub(SLOTS as u64));
        for tick in first..=passed {
            let slot = &mut self.slots[tick as usize % SLOTS];
            let before = slot.len();
            slot.retain(|entry| {
                if entry.tick <= passed {
                    due.push(entry.key);
                }
                entry.tick > passed
            });
            self.len -= before - slot.len();
            if slot.is_empty() && slot.capacity() > 64 {
                *slot = Vec::new();
            }
        }
        self.next = passed + 1;
    }

    /// When [`Wheel::expire`] should be called next; none when nothing waits.
    ///
    /// Looks ahead a bounded number of slots; an empty stretch yields a wake-up that finds nothing.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        if self.len == 0 {
            return None;
        }
        const LOOK_AHEAD: u64 = 64;
        let ahead = (0..LOOK_AHEAD).find(|ahead| !self.slots[(self.next + ahead) as usize % SLOTS].is_empty());
        let tick = self.next + ahead.unwrap_or(LOOK_AHEAD);
        // In 64 bits: as a `u32` the ticks would run out after thirteen months of uptime.
        Some(self.origin + Duration::from_millis(tick.saturating_mul(TICK.as_millis() as u64)))
    }

    fn tick_after(&self, deadline: Instant) -> u64 {
        let since = deadline.saturating_duration_since(self.origin).as_nanos();
        since.div_ceil(TICK.as_nanos()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(slot: u32) -> TransactionKey {
        TransactionKey { slot, generation: 0 }
    }

    fn check(deadlines_ms: &[u64], at_ms: u64, expected: &[u32]) {
        let origin = Instant::now();
        let mut wheel = Wheel::new(origin);
        for (slot, ms) in deadlines_ms.iter().enumerate() {
            wheel.insert(origin + Duration::from_millis(*ms), key(slot as u32));
        }
        let mut due = Vec::new();
        wheel.expire(origin + Duration::from_millis(at_ms), &mut due);
        let mut slots: Vec<u32> = due.iter().map(|key| key.slot).collect();
        slots.sort_unstable();
        assert_eq!(slots, expected);
    }

    #[test]
    fn what_is_due_fires_and_what_is_not_stays() {
        check(&[500, 1000, 32_000], 1000, &[0, 1]);
    }

    #[test]
    fn nothing_fires_early() {
        check(&[500], 499, &[]);
    }

    #[test]
    fn an_entry_beyond_the_horizon_waits_for_its_round() {
        check(&[180_000, 32_000], 32_768, &[1]);
        check(&[180_000, 32_000], 180_008, &[0, 1]);
    }

    #[test]
    fn the_next_deadline_is_never_later_than_the_first_entry() {
        let origin = Instant::now();
        let mut wheel = Wheel::new(origin);
        assert_eq!(wheel.next_deadline(), None);
        wheel.insert(origin + Duration::from_millis(100), key(1));
        let next = wheel.next_deadline().expect("an entry waits");
        assert!(next <= origin + Duration::from_millis(108));
        let mut due = Vec::new();
        wheel.expire(origin + Duration::from_millis(108), &mut due);
        assert_eq!(due, [key(1)]);
        assert_eq!(wheel.next_deadline(), None);
    }
}
