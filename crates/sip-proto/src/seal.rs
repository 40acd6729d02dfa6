//! Texts that only this server, or one that shares its secret, can make and read.
//!
//! They stand in the user part of URIs: flow tokens (RFC 5626 section 5.2) and temporary GRUUs (RFC 5627
//! appendix A.2). What they are about is encrypted as well as signed, so that they tell an outsider nothing.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Seals texts and opens them again.
///
/// A synthetic initialization vector: the MAC over the text is the first half of what the key stream of the text is
/// made from, so that two texts share a key stream only when they are equal. Whoever wants equal texts to differ
/// puts something random into them.
#[derive(Clone)]
pub struct Sealer {
    signing: [u8; 32],
    hiding: [u8; 32],
}

/// Length of the MAC: 128 bits.
const MAC: usize = 16;
/// Longest text: a URI must not grow without bound.
pub const MOST: usize = 512;

impl Sealer {
    /// From a secret and what the texts are for: texts for one purpose mean nothing for another.
    pub fn new(secret: &[u8], purpose: &str) -> Sealer {
        let derive = |use_of: &[u8]| mac(secret, &[purpose.as_bytes(), b"/", use_of]);
        Sealer { signing: derive(b"sign"), hiding: derive(b"hide") }
    }

    /// The text in letters, digits, `-` and `_`; none when it is longer than [`MOST`].
    pub fn seal(&self, text: &[u8]) -> Option<String> {
        if text.len() > MOST {
            return None;
        }
        let mut sealed = self.mac(text).to_vec();
        sealed.extend_from_slice(text);
        let (vector, rest) = sealed.split_at_mut(MAC);
        self.apply_key_stream(vector, rest);
        Some(to_base64(&sealed))
    }

    /// What was sealed; none when it is nothing of ours.
    pub fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        if sealed.len() > (MAC + MOST) * 4 / 3 + 4 {
            return None;
        }
        let mut sealed = of_base64(sealed)?;
        if sealed.len() < MAC {
            return None;
        }
        let (vector, rest) = sealed.split_at_mut(MAC);
        self.apply_key_stream(vector, rest);
        if !bool::from(self.mac(rest).ct_eq(vector)) {
            return None;
        }
        sealed.drain(..MAC);
        Some(sealed)
    }

    fn mac(&self, text: &[u8]) -> [u8; MAC] {
        let mut short = [0; MAC];
        short.copy_from_slice(&mac(&self.signing, &[text])[..MAC]);
        short
    }

    fn apply_key_stream(&self, vector: &[u8], text: &mut [u8]) {
        for (number, block) in text.chunks_mut(32).enumerate() {
            let stream = mac(&self.hiding, &[vector, &(number as u32).to_be_bytes()]);
            for (byte, key) in block.iter_mut().zip(stream) {
                *byte ^= key;
            }
        }
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Sealer").finish_non_exhaustive()
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Digits that may stand in the user part of a URI (RFC 4648 section 5), without padding.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn to_base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().enumerate().fold(0u32, |bits, (n, byte)| bits | u32::from(*byte) << (16 - 8 * n));
        for n in 0..=chunk.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * n)) as usize & 63]));
        }
    }
    text
}

fn of_base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    for chunk in text.chunks(4) {
        if chunk.len() == 1 {
            return None;
        }
        let mut bits = 0u32;
        for (n, digit) in chunk.iter().enumerate() {
            bits |= (DIGITS.iter().position(|known| known == digit)? as u32) << (18 - 6 * n);
        }
        bytes.extend_from_slice(&bits.to_be_bytes()[1..chunk.len()]);
        // Two texts must not mean the same: what is left of the last digit is zero.
        if bits & ((1 << (8 * (4 - chunk.len()))) - 1) != 0 {
            return None;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer() -> Sealer {
        Sealer::new(b"secret", "test")
    }

    #[test]
    fn what_was_sealed_is_opened_again() {
        for length in 0..=MOST {
            let text: Vec<u8> = (0..length).map(|n| n as u8).collect();
            assert_eq!(sealer().open(sealer().seal(&text).unwrap().as_bytes()), Some(text));
        }
        assert_eq!(sealer().seal(&[0; MOST + 1]), None);
    }

    #[test]
    fn nothing_that_was_changed_is_opened() {
        let sealed = sealer().seal(b"198.51.100.7").unwrap().into_bytes();
        for at in 0..sealed.len() {
            for digit in [b'A', b'B', b'_', b'!'] {
                let mut changed = sealed.clone();
                changed[at] = digit;
                assert_eq!(sealer().open(&changed).is_some(), changed == sealed);
            }
        }
        assert_eq!(sealer().open(b""), None);
        assert_eq!(sealer().open(&sealed[1..]), None);
        assert_eq!(sealer().open(&vec![b'A'; 100_000]), None);
    }

    #[test]
    fn another_secret_or_purpose_opens_nothing() {
        let sealed = sealer().seal(b"text").unwrap();
        assert_eq!(Sealer::new(b"other", "test").open(sealed.as_bytes()), None);
        assert_eq!(Sealer::new(b"secret", "other").open(sealed.as_bytes()), None);
    }

    // RFC 4648 section 10, without the padding.
    #[test]
    fn digits_are_those_of_rfc_4648() {
        for (bytes, text) in
            [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(to_base64(bytes.as_bytes()), text);
            assert_eq!(of_base64(text.as_bytes()).as_deref(), Some(bytes.as_bytes()));
        }
        assert_eq!(of_base64(b"Zh"), None);
    }
}
