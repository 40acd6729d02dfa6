//! Which uses of nonces have been seen, against replay (RFC 7616 sections 3.4 and 5.5).

use std::collections::HashMap;
use std::time::Duration;

use super::Credentials;

/// Remembers what nonces have been used for, with a bound.
///
/// Asked after the response has been verified, so that only who knows a password takes up room. Counts may arrive
/// out of order, as requests do over UDP: of the last 64 each is good once, older ones are not.
pub struct Uses {
    nonces: HashMap<u64, Use>,
    most: usize,
    lifetime: Duration,
    is_once: bool,
}

struct Use {
    highest: u32,
    /// Bit n: the count n below the highest has been seen.
    seen: u64,
    /// Wall-clock second at which the nonce itself has expired.
    until: u64,
}

/// How far a count may lie behind the highest.
const WINDOW: u32 = 64;

impl Uses {
    /// For nonces that live for `lifetime`, at most `most` at a time. With `is_once` each nonce is good for a
    /// single request, else for each of its counts.
    pub fn new(most: usize, lifetime: Duration, is_once: bool) -> Uses {
        Uses { nonces: HashMap::new(), most, lifetime, is_once }
    }

    /// Whether this is the first use of its nonce with its count; it counts as used from now on. `now` is the wall
    /// clock since 1970.
    ///
    /// False also when more nonces are in use than there is room for: the client is challenged again. A client of RFC 2069 sends no
    /// count; its nonces are counted only where each is good once.
    pub fn admit(&mut self, credentials: &Credentials<'_>, now: Duration) -> bool {
        let count = match credentials.qop {
            Some((count, _)) => {
                match std::str::from_utf8(count).ok().and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
                    // The first count is 1.
                    Some(count) if count > 0 => count,
                    _ => return false,
                }
            }
            None if self.is_once => 1,
            None => return true,
        };
        let key = key(credentials.nonce);
        if let Some(known) = self.nonces.get_mut(&key) {
            return !self.is_once && known.admit(count);
        }
        if self.nonces.len() >= self.most {
            self.nonces.retain(|_, known| known.until > now.as_secs());
            if self.nonces.len() >= self.most {
                return false;
            }
        }
        self.nonces.insert(key, Use { highest: count, seen: 1, until: (now + self.lifetime).as_secs() + 1 });
        true
    }
}

impl Use {
    fn admit(&mut self, count: u32) -> bool {
        if count > self.highest {
            let ahead = count - self.highest;
            self.seen = if ahead < WINDOW { self.seen << ahead | 1 } else { 1 };
            self.highest = count;
            return true;
        }
        let behind = self.highest - count;
        let bit = if behind < WINDOW { 1 << behind } else { return false };
        let is_new = self.seen & bit == 0;
        self.seen |= bit;
        is_new
    }
}

/// The end of a nonce, which is part of the code that proves it ours and thus as good as random.
fn key(nonce: &[u8]) -> u64 {
    let end = nonce.last_chunk::<16>().map_or(nonce, |end| end);
    std::str::from_utf8(end).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_700_000_000);
    const LIFETIME: Duration = Duration::from_secs(300);

    fn admit(uses: &mut Uses, nonce: u64, count: &str, now: Duration) -> bool {
        let nonce = format!("{nonce:016x}");
        let credentials = Credentials {
            username: b"alice",
            realm: b"example.com",
            nonce: nonce.as_bytes(),
            uri: b"sip:example.com",
            response: b"",
            algorithm: None,
            qop: (!count.is_empty()).then_some((count.as_bytes(), b"c")),
        };
        uses.admit(&credentials, now)
    }

    #[test]
    fn each_count_of_a_nonce_is_good_once_and_may_come_out_of_order() {
        let mut uses = Uses::new(1000, LIFETIME, false);
        let counts = [
            ("00000001", true),
            ("00000001", false),
            ("00000004", true),
            ("00000003", true),
            ("00000002", true),
            ("00000003", false),
            ("00000044", true),
            ("00000044", false),
            ("00000005", true),
            // 64 behind.
            ("00000004", false),
            ("0000ffff", true),
            ("00000045", false),
        ];
        for (count, is_good) in counts {
            assert_eq!(admit(&mut uses, 1, count, NOW), is_good, "{count}");
        }
        assert!(admit(&mut uses, 2, "00000001", NOW), "another nonce counts for itself");
    }

    #[test]
    fn a_count_that_is_none_is_refused() {
        let mut uses = Uses::new(1000, LIFETIME, false);
        for count in ["00000000", "x", "1ffffffff", "-1"] {
            assert!(!admit(&mut uses, 1, count, NOW), "{count}");
        }
    }

    #[test]
    fn a_nonce_that_is_good_once_is_good_for_no_other_count() {
        let mut uses = Uses::new(1000, LIFETIME, true);
        assert!(admit(&mut uses, 1, "00000001", NOW));
        assert!(!admit(&mut uses, 1, "00000002", NOW));
        assert!(admit(&mut uses, 2, "", NOW));
        assert!(!admit(&mut uses, 2, "", NOW));
    }

    #[test]
    fn at_the_bound_nonces_make_room_when_they_have_expired_and_not_before() {
        let mut uses = Uses::new(1, LIFETIME, false);
        assert!(admit(&mut uses, 16, "00000001", NOW));
        assert!(!admit(&mut uses, 32, "00000001", NOW));
        assert!(!admit(&mut uses, 16, "00000001", NOW + LIFETIME), "it is still remembered");
        let later = NOW + LIFETIME + Duration::from_secs(1);
        assert!(admit(&mut uses, 32, "00000001", later));
    }
}
