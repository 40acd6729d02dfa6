//! The hash functions of Digest (RFC 8760 section 2.1).

use md5::{Digest, Md5};
use sha2::{Sha256, Sha512_256};

/// A hash algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// What every client can do.
    Md5,
    /// RFC 7616.
    Sha256,
    /// RFC 7616.
    Sha512_256,
}

impl Algorithm {
    /// Reads the value of an `algorithm` parameter. The `-sess` variants are not offered and not known.
    pub fn from_token(token: &[u8]) -> Option<Algorithm> {
        ALL.into_iter().find(|algorithm| algorithm.as_str().as_bytes().eq_ignore_ascii_case(token))
    }

    /// As in an `algorithm` parameter.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha512_256 => "SHA-512-256",
        }
    }
}

/// A hash in lower-case hexadecimal digits: 32 or 64 of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HexDigest {
    digits: [u8; 64],
    len: usize,
}

impl HexDigest {
    /// The digits.
    pub fn as_bytes(&self) -> &[u8] {
        &self.digits[..self.len]
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("digits are ASCII")
    }
}

impl std::fmt::Debug for HexDigest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // An HA1 is as good as a password: it does not go into logs.
        formatter.write_str("HexDigest(..)")
    }
}

/// The hash of user, realm and password that a server keeps in place of the password.
pub fn ha1(algorithm: Algorithm, user: &[u8], realm: &[u8], password: &[u8]) -> HexDigest {
    digest(algorithm, &[user, realm, password])
}

/// The hash of `parts` with a colon between each.
pub(super) fn digest(algorithm: Algorithm, parts: &[&[u8]]) -> HexDigest {
    match algorithm {
        Algorithm::Md5 => hash::<Md5>(parts),
        Algorithm::Sha256 => hash::<Sha256>(parts),
        Algorithm::Sha512_256 => hash::<Sha512_256>(parts),
    }
}

/// Writes `bytes` as lower-case hexadecimal digits.
pub(super) fn write_hex(bytes: &[u8], out: &mut [u8]) {
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

fn hash<D: Digest>(parts: &[&[u8]]) -> HexDigest {
    let mut state = D::new();
    for (place, part) in parts.iter().enumerate() {
        if place > 0 {
            state.update(b":");
        }
        state.update(part);
    }
    let hash = state.finalize();
    let mut hex = HexDigest { digits: [0; 64], len: hash.len() * 2 };
    write_hex(&hash, &mut hex.digits);
    hex
}

const ALL: [Algorithm; 3] = [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512_256];
const DIGITS: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_their_standards() {
        // RFC 1321 appendix A.5 and the FIPS 180-4 examples, all of "abc".
        assert_eq!(digest(Algorithm::Md5, &[b"abc"]).as_str(), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(
            digest(Algorithm::Sha256, &[b"abc"]).as_str(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            digest(Algorithm::Sha512_256, &[b"abc"]).as_str(),
            "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"
        );
    }

    #[test]
    fn algorithms_are_known_by_name_in_any_case() {
        assert_eq!(Algorithm::from_token(b"md5"), Some(Algorithm::Md5));
        assert_eq!(Algorithm::from_token(b"sha-256"), Some(Algorithm::Sha256));
        assert_eq!(Algorithm::from_token(b"SHA-512-256"), Some(Algorithm::Sha512_256));
        assert_eq!(Algorithm::from_token(b"MD5-sess"), None);
    }

    #[test]
    fn ha1_joins_user_realm_and_password() {
        // RFC 2617 section 3.5.
        let ha1 = ha1(Algorithm::Md5, b"Mufasa", b"testrealm@host.com", b"Circle Of Life");
        assert_eq!(ha1.as_str(), "939e7578ed9e3c518a452acee763bce9");
    }
}
