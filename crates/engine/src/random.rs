//! Unpredictable numbers, from a keyed hash of a counter.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

/// Numbers that a peer cannot predict: SipHash of a counter under a secret key.
///
/// Tags and branch ids come from here. It is no stream cipher, and nothing here keeps a long-lived
/// secret; but unlike a linear generator its next outputs do not follow from those seen.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    key: Key,
    counter: u64,
}

/// A secret of this process, under which things from outside are hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(pub u64, pub u64);

impl Key {
    /// A hasher under this key, for whatever is hashed elsewhere.
    pub fn hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }

    /// Which of `workers` workers owns the call with this Call-ID (decision 0001).
    pub(crate) fn owner(&self, call_id: &[u8], workers: usize) -> usize {
        if workers < 2 {
            return 0;
        }
        (self.hash(&[b"owner", call_id]) % workers as u64) as usize
    }

    /// Keyed hash of `parts`, as if they stood one behind the other with their lengths between.
    pub fn hash(&self, parts: &[&[u8]]) -> u64 {
        let mut hasher = self.hasher();
        for part in parts {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        hasher.finish()
    }
}

impl Random {
    /// Numbers under `key`; `stream` tells the streams of several workers apart.
    pub(crate) fn new(key: Key, stream: u16) -> Random {
        Random { key, counter: u64::from(stream) << 48 }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.counter += 1;
        self.key.hash(&[&self.counter.to_le_bytes(), b"random"])
    }

    /// A number below `bound`, which must not be zero.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.next() as u32) * u64::from(bound)) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_draw_different_numbers_and_the_same_key_repeats_them() {
        let draw = |stream| {
            let mut random = Random::new(Key(1, 2), stream);
            [random.next(), random.next(), random.next()]
        };
        assert_eq!(draw(0), draw(0));
        assert_ne!(draw(0), draw(1));
    }

    #[test]
    fn numbers_below_a_bound_stay_below_it() {
        let mut random = Random::new(Key(1, 2), 0);
        assert!((0..1000).all(|_| random.below(7) < 7));
    }
}
