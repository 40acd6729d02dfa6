//! Nonces that prove their own origin and age.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::hash::write_hex;

/// Makes nonces and knows them again.
///
/// A nonce is time, random bits, and a MAC over both and the realm. Nodes that share the secret
/// know each other's nonces.
#[derive(Clone)]
pub struct Nonces {
    secret: [u8; 32],
    lifetime: Duration,
}

impl Nonces {
    /// With a secret from a good source of random bits, and how long a nonce may be used.
    pub fn new(secret: [u8; 32], lifetime: Duration) -> Nonces {
        Nonces { secret, lifetime }
    }

    /// Makes a nonce at `now`, the wall clock since 1970. `random` keeps two of one second apart.
    pub fn issue(&self, realm: &str, now: Duration, random: u64) -> String {
        let mut text = [0; LEN];
        write_hex(&now.as_secs().to_be_bytes()[3..], &mut text[..TIME_DIGITS]);
        write_hex(&random.to_be_bytes(), &mut text[TIME_DIGITS..MAC_AT]);
        let mac = self.mac(&text[..MAC_AT], realm.as_bytes());
        text[MAC_AT..].copy_from_slice(&mac);
        text.iter().map(|digit| char::from(*digit)).collect()
    }

    /// Whether we made this nonce for this realm, not longer ago than its lifetime.
    pub fn is_valid(&self, nonce: &[u8], realm: &[u8], now: Duration) -> bool {
        if nonce.len() != LEN {
            return false;
        }
        let is_ours = bool::from(self.mac(&nonce[..MAC_AT], realm).ct_eq(&nonce[MAC_AT..]));
        let time = std::str::from_utf8(&nonce[..TIME_DIGITS]).ok();
        let Some(issued) = time.and_then(|digits| u64::from_str_radix(digits, 16).ok()) else {
            return false;
        };
        // A clock that was set back makes nonces of the future; they are as good as old ones.
        let age = now.as_secs().checked_sub(issued);
        is_ours && age.is_some_and(|age| age <= self.lifetime.as_secs())
    }

    fn mac(&self, text: &[u8], realm: &[u8]) -> [u8; MAC_DIGITS] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes a key of any length");
        mac.update(text);
        mac.update(realm);
        let mut digits = [0; MAC_DIGITS];
        write_hex(&mac.finalize().into_bytes()[..MAC_DIGITS / 2], &mut digits);
        digits
    }
}

impl std::fmt::Debug for Nonces {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Nonces").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

/// 40 bits of seconds.
const TIME_DIGITS: usize = 10;
const MAC_AT: usize = TIME_DIGITS + 16;
/// 128 bits.
const MAC_DIGITS: usize = 32;
const LEN: usize = MAC_AT + MAC_DIGITS;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_700_000_000);

    fn nonces() -> Nonces {
        Nonces::new([1; 32], Duration::from_secs(60))
    }

    #[test]
    fn a_nonce_is_valid_for_its_lifetime() {
        let nonce = nonces().issue("example.com", NOW, 5);
        let is_valid_after =
            |secs| nonces().is_valid(nonce.as_bytes(), b"example.com", NOW + Duration::from_secs(secs));
        assert!(is_valid_after(0));
        assert!(is_valid_after(60));
        assert!(!is_valid_after(61));
    }

    #[test]
    fn a_nonce_of_the_future_is_not_valid() {
        let nonce = nonces().issue("example.com", NOW, 5);
        assert!(!nonces().is_valid(nonce.as_bytes(), b"example.com", NOW - Duration::from_secs(1)));
    }

    #[test]
    fn a_nonce_of_another_realm_or_secret_is_not_valid() {
        let nonce = nonces().issue("example.com", NOW, 5);
        assert!(!nonces().is_valid(nonce.as_bytes(), b"example.org", NOW));
        let others = Nonces::new([2; 32], Duration::from_secs(60));
        assert!(!others.is_valid(nonce.as_bytes(), b"example.com", NOW));
    }

    #[test]
    fn a_nonce_whose_time_was_changed_is_not_valid() {
        let mut nonce = nonces().issue("example.com", NOW, 5).into_bytes();
        nonce[9] ^= 1;
        assert!(!nonces().is_valid(&nonce, b"example.com", NOW));
        assert!(!nonces().is_valid(b"", b"example.com", NOW));
        assert!(!nonces().is_valid(&[0xff; LEN], b"example.com", NOW));
    }

    #[test]
    fn two_nonces_of_one_second_differ() {
        assert_ne!(nonces().issue("r", NOW, 1), nonces().issue("r", NOW, 2));
    }
}
