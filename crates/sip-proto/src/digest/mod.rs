//! Digest authentication, server side (RFC 3261 section 22, RFC 7616, RFC 8760).
//!
//! Nonces carry their time and a MAC, so that no table of them is kept: a flood of requests without
//! credentials costs no memory. The price is that the nonce count cannot be checked against a
//! replay within the nonce's lifetime; keep that short where requests travel in the clear.

mod credentials;
mod hash;
mod nonce;
mod uses;

pub use credentials::Credentials;
pub use hash::{Algorithm, HexDigest, ha1};
pub use nonce::Nonces;
pub use uses::Uses;

use std::time::Duration;

use subtle::ConstantTimeEq;

use hash::digest;

/// What a challenge says.
#[derive(Debug, Clone, Copy)]
pub struct Challenge<'a> {
    /// The protection domain.
    pub realm: &'a str,
    /// From [`Nonces::issue`].
    pub nonce: &'a str,
    /// Send one header per algorithm, most preferred first (RFC 8760 section 2.4).
    pub algorithm: Algorithm,
    /// Whether only the age of the nonce was wrong, so that the client need not ask its user.
    pub is_stale: bool,
    /// Whether to offer `qop="auth"`; clients of RFC 2069 cannot do it.
    pub offers_qop: bool,
}

impl Challenge<'_> {
    /// The value of a WWW-Authenticate or Proxy-Authenticate header.
    pub fn to_value(&self) -> String {
        let mut value = String::with_capacity(160);
        value.push_str("Digest realm=\"");
        // Only what a quoted string can hold; a realm comes from the script, maybe from a From domain.
        for character in self.realm.chars().filter(|character| !character.is_control()) {
            if matches!(character, '"' | '\\') {
                value.push('\\');
            }
            value.push(character);
        }
        value.push_str("\", nonce=\"");
        value.push_str(self.nonce);
        value.push('"');
        if self.offers_qop {
            value.push_str(", qop=\"auth\"");
        }
        // Clients of RFC 2617 read a missing algorithm as MD5; all read the word.
        value.push_str(", algorithm=");
        value.push_str(self.algorithm.as_str());
        if self.is_stale {
            value.push_str(", stale=true");
        }
        value
    }
}

/// How credentials stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The client knows the password, and the nonce is ours and young.
    Accepted,
    /// The client knows the password but used a nonce that is old or not ours: challenge with `stale=true`.
    Stale,
    /// Wrong password or no such user; nothing tells which.
    Refused,
}

/// Checks credentials against the HA1 of their user; `ha1` is none when there is no such user.
///
/// An unknown user costs the same work and gives the same verdict as a wrong password, so that
/// nobody can find out who has an account. `now` is the wall clock since 1970.
pub fn verify(
    credentials: &Credentials<'_>,
    method: &[u8],
    ha1: Option<&str>,
    nonces: &Nonces,
    now: Duration,
) -> Verdict {
    let Some(algorithm) = credentials.algorithm else {
        return Verdict::Refused;
    };
    let expected = response(credentials, algorithm, method, ha1.unwrap_or(nobody(algorithm)));
    let given = credentials.response.to_ascii_lowercase();
    let is_right = bool::from(expected.as_bytes().ct_eq(&given)) & ha1.is_some_and(|ha1| !ha1.is_empty());
    let is_young = nonces.is_valid(credentials.nonce, credentials.realm, now);
    match (is_right, is_young) {
        (true, true) => Verdict::Accepted,
        // RFC 7616 section 3.3: stale only when the digest is right for the nonce that was used.
        (true, false) => Verdict::Stale,
        (false, _) => Verdict::Refused,
    }
}

/// What is hashed for a user who does not exist. As long as an HA1, or the hash would take fewer blocks and less time;
/// and never equal to one, since it is not of hexadecimal digits.
fn nobody(algorithm: Algorithm) -> &'static str {
    const NOBODY: &str = "no-such-user----no-such-user----no-such-user----no-such-user----";
    match algorithm {
        Algorithm::Md5 => &NOBODY[..32],
        Algorithm::Sha256 | Algorithm::Sha512_256 => NOBODY,
    }
}

/// The response that a client gives to a challenge (RFC 7616 section 3.4.1).
pub fn response(credentials: &Credentials<'_>, algorithm: Algorithm, method: &[u8], ha1: &str) -> HexDigest {
    // RFC 7616 section 3.4.3.
    let ha2 = digest(algorithm, &[method, credentials.uri]);
    // RFC 5090 and old tools store HA1 in upper case now and then.
    let ha1 = ha1.to_ascii_lowercase();
    match credentials.qop {
        Some((nonce_count, cnonce)) => {
            digest(algorithm, &[ha1.as_bytes(), credentials.nonce, nonce_count, cnonce, b"auth", ha2.as_bytes()])
        }
        // RFC 2069 clients, which RFC 3261 section 22.4 still wants served.
        None => digest(algorithm, &[ha1.as_bytes(), credentials.nonce, ha2.as_bytes()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_700_000_000);

    fn nonces() -> Nonces {
        Nonces::new([7; 32], Duration::from_secs(300))
    }

    // RFC 7616 section 3.9.1.
    const EXAMPLE: &str = "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", \
        nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
        cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, opaque=\"x\", ";

    fn check_example(rest: &str, algorithm: Algorithm) {
        let text = format!("{EXAMPLE}{rest}");
        let credentials = Credentials::parse(text.as_bytes()).unwrap();
        let ha1 = ha1(algorithm, b"Mufasa", b"http-auth@example.org", b"Circle of Life");
        assert_eq!(response(&credentials, algorithm, b"GET", ha1.as_str()).as_bytes(), credentials.response);
    }

    #[test]
    fn the_md5_example_of_rfc_7616_verifies() {
        check_example("response=\"8ca523f5e9506fed4657c9700eebdbec\", algorithm=MD5", Algorithm::Md5);
    }

    #[test]
    fn the_sha_256_example_of_rfc_7616_verifies() {
        check_example(
            "response=\"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1\", algorithm=SHA-256",
            Algorithm::Sha256,
        );
    }

    #[test]
    fn a_client_without_qop_is_served() {
        let nonce = nonces().issue("example.com", NOW, 1);
        let right = signed(&nonce, None);
        let text = format!(
            "Digest username=\"alice\",realm=\"example.com\",nonce=\"{nonce}\",uri=\"sip:b@example.com\",response=\"{right}\""
        );
        assert_eq!(verdict_of(&text, Some("secret"), NOW), Verdict::Accepted);
    }

    fn signed(nonce: &str, qop: Option<(&[u8], &[u8])>) -> String {
        let credentials = Credentials {
            username: b"alice",
            realm: b"example.com",
            nonce: nonce.as_bytes(),
            uri: b"sip:b@example.com",
            response: b"",
            algorithm: Some(Algorithm::Md5),
            qop,
        };
        let ha1 = ha1(Algorithm::Md5, b"alice", b"example.com", b"secret");
        response(&credentials, Algorithm::Md5, b"INVITE", ha1.as_str()).as_str().to_owned()
    }

    fn credentials_text(nonce: &str) -> String {
        let right = signed(nonce, Some((b"00000001", b"abc")));
        format!(
            "Digest username=\"alice\", realm=\"example.com\", nonce=\"{nonce}\", uri=\"sip:b@example.com\", \
             qop=auth, nc=00000001, cnonce=\"abc\", response=\"{right}\", algorithm=MD5"
        )
    }

    fn verdict_of(text: &str, password: Option<&str>, now: Duration) -> Verdict {
        let credentials = Credentials::parse(text.as_bytes()).unwrap();
        let ha1 = password.map(|password| ha1(Algorithm::Md5, b"alice", b"example.com", password.as_bytes()));
        verify(&credentials, b"INVITE", ha1.as_ref().map(HexDigest::as_str), &nonces(), now)
    }

    #[test]
    fn the_right_password_is_accepted() {
        let text = credentials_text(&nonces().issue("example.com", NOW, 1));
        assert_eq!(verdict_of(&text, Some("secret"), NOW), Verdict::Accepted);
        assert_eq!(verdict_of(&text, Some("secret"), NOW + Duration::from_secs(300)), Verdict::Accepted);
    }

    #[test]
    fn an_unknown_user_looks_like_a_wrong_password() {
        let text = credentials_text(&nonces().issue("example.com", NOW, 1));
        assert_eq!(verdict_of(&text, Some("wrong"), NOW), Verdict::Refused);
        assert_eq!(verdict_of(&text, None, NOW), Verdict::Refused);
        let late = NOW + Duration::from_secs(9_999);
        assert_eq!(verdict_of(&text, Some("wrong"), late), Verdict::Refused);
        assert_eq!(verdict_of(&text, None, late), Verdict::Refused);
    }

    #[test]
    fn an_unknown_user_costs_as_many_digits_as_a_known_one() {
        for algorithm in [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512_256] {
            let ha1 = ha1(algorithm, b"alice", b"example.com", b"secret");
            assert_eq!(nobody(algorithm).len(), ha1.as_bytes().len());
        }
    }

    #[test]
    fn who_hashes_with_what_stands_for_nobody_is_refused() {
        let nonce = nonces().issue("example.com", NOW, 1);
        let text = credentials_text(&nonce);
        let credentials = Credentials::parse(text.as_bytes()).unwrap();
        let forged = response(&credentials, Algorithm::Md5, b"INVITE", nobody(Algorithm::Md5));
        let forged = Credentials { response: forged.as_bytes(), ..credentials };
        assert_eq!(verify(&forged, b"INVITE", None, &nonces(), NOW), Verdict::Refused);
    }

    #[test]
    fn an_empty_ha1_lets_nobody_in() {
        let text = credentials_text(&nonces().issue("example.com", NOW, 1));
        let credentials = Credentials::parse(text.as_bytes()).unwrap();
        assert_eq!(verify(&credentials, b"INVITE", Some(""), &nonces(), NOW), Verdict::Refused);
    }

    #[test]
    fn an_old_nonce_with_the_right_password_is_stale() {
        let text = credentials_text(&nonces().issue("example.com", NOW, 1));
        assert_eq!(verdict_of(&text, Some("secret"), NOW + Duration::from_secs(301)), Verdict::Stale);
    }

    #[test]
    fn a_foreign_nonce_with_the_right_password_is_stale() {
        assert_eq!(verdict_of(&credentials_text("0123456789abcdef"), Some("secret"), NOW), Verdict::Stale);
    }

    #[test]
    fn the_method_is_part_of_what_is_signed() {
        let text = credentials_text(&nonces().issue("example.com", NOW, 1));
        let credentials = Credentials::parse(text.as_bytes()).unwrap();
        let ha1 = ha1(Algorithm::Md5, b"alice", b"example.com", b"secret");
        assert_eq!(verify(&credentials, b"BYE", Some(ha1.as_str()), &nonces(), NOW), Verdict::Refused);
    }

    #[test]
    fn a_challenge_says_what_rfc_7616_wants() {
        let challenge = Challenge {
            realm: "example.com",
            nonce: "abc",
            algorithm: Algorithm::Sha256,
            is_stale: true,
            offers_qop: true,
        };
        assert_eq!(
            challenge.to_value(),
            "Digest realm=\"example.com\", nonce=\"abc\", qop=\"auth\", algorithm=SHA-256, stale=true"
        );
    }

    #[test]
    fn a_realm_cannot_break_out_of_its_quotes() {
        let challenge = Challenge {
            realm: "a\"b\r\nX: y",
            nonce: "n",
            algorithm: Algorithm::Md5,
            is_stale: false,
            offers_qop: false,
        };
        assert_eq!(challenge.to_value(), "Digest realm=\"a\\\"bX: y\", nonce=\"n\", algorithm=MD5");
    }
}
