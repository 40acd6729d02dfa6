//! Subscribers and the digests of their passwords.

use std::fmt;

use md5::Md5;
use sha2::{Digest, Sha256};

/// What is needed to verify a subscriber's digest credentials (RFC 7616 section 3.4.2).
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Domain, which is also the realm that the digests were made with.
    pub domain: String,
    /// MD5 of `username:domain:password`, 32 hexadecimal digits; empty when the row has none.
    pub ha1: String,
    /// MD5 of `username@domain:domain:password`, for clients that send the domain in the user name.
    pub ha1b: String,
    /// SHA-256 of `username:domain:password` (RFC 8760), when known for the current password.
    pub ha1_sha256: Option<String>,
    /// The password itself, in databases whose tools store it. This crate never writes it.
    pub password: Option<String>,
}

// Secrets must not reach a log through `{:?}`: an HA1 is as good as the password within its realm.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

/// A subscriber in a list, without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Row number: lists are in this order and continue after it.
    pub id: i64,
    /// User name.
    pub username: String,
    /// Domain.
    pub domain: String,
}

/// The digests that are stored in place of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Ha1 {
    /// MD5 of `username:domain:password`, in lower-case hexadecimal.
    pub md5: String,
    /// MD5 of `username@domain:domain:password`.
    pub md5_with_domain: String,
    /// SHA-256 of `username:domain:password`.
    pub sha256: String,
}

impl Ha1 {
    /// Digests of a new password; the domain serves as realm, as `kamctl add` has it.
    pub fn new(username: &str, domain: &str, password: &str) -> Ha1 {
        let plain = format!("{username}:{domain}:{password}");
        let with_domain = format!("{username}@{domain}:{domain}:{password}");
        Ha1 {
            md5: hexadecimal(&Md5::digest(&plain)),
            md5_with_domain: hexadecimal(&Md5::digest(&with_domain)),
            sha256: hexadecimal(&Sha256::digest(&plain)),
        }
    }
}

fn hexadecimal(digest: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    digest.iter().flat_map(|b| [b >> 4, b & 15]).map(|nibble| char::from(DIGITS[usize::from(nibble)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ha1_hashes_user_realm_and_password_with_colons() {
        // RFC 7616 section 3.9.1: user Mufasa, realm http-auth@example.org, password "Circle of Life".
        // The section prints responses only; these are its HA1 values as `md5sum` and `sha256sum` make them.
        let ha1 = Ha1::new("Mufasa", "http-auth@example.org", "Circle of Life");
        assert_eq!(ha1.md5, "3d78807defe7de2157e2b0b6573a855f");
        assert_eq!(ha1.sha256, "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232");
        assert_eq!(ha1.md5_with_domain, "5eb9671dff5d0c0c88f766422637817a");
    }

    #[test]
    fn debug_output_keeps_secrets() {
        let credentials = Credentials {
            username: "alice".into(),
            domain: "example.org".into(),
            ha1: "h1".into(),
            ha1b: "h1b".into(),
            ha1_sha256: None,
            password: Some("wonderland".into()),
        };
        assert_eq!(format!("{credentials:?}"), r#"Credentials { username: "alice", domain: "example.org", .. }"#);
    }
}
