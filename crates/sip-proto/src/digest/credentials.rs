//! Reading Authorization and Proxy-Authorization values.

use super::Algorithm;

/// The credentials of an Authorization or Proxy-Authorization header (RFC 7616 section 3.4).
///
/// Quoted values are without their quotes and otherwise as they came: the hash covers them so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// Who claims to be there.
    pub username: &'a [u8],
    /// For which protection domain.
    pub realm: &'a [u8],
    /// The nonce of the challenge.
    pub nonce: &'a [u8],
    /// The URI as the client hashed it, which need not be the Request-URI any more (RFC 3261 section 22.4).
    pub uri: &'a [u8],
    /// The proof.
    pub response: &'a [u8],
    /// None when it is one that is not known here.
    pub algorithm: Option<Algorithm>,
    /// Nonce count and client nonce, when the client uses `qop=auth`.
    pub qop: Option<(&'a [u8], &'a [u8])>,
}

impl<'a> Credentials<'a> {
    /// Reads a header value.
    ///
    /// None when it is of another scheme, lacks a parameter, names one twice, or asks for a quality
    /// of protection that was not offered.
    pub fn parse(value: &'a [u8]) -> Option<Credentials<'a>> {
        let value = value.trim_ascii();
        let (scheme, rest) = value.split_at_checked(SCHEME.len())?;
        if !scheme.eq_ignore_ascii_case(SCHEME) || !rest.first()?.is_ascii_whitespace() {
            return None;
        }
        let mut found = [None; NAMES.len()];
        for parameter in Parameters(rest) {
            let (name, value) = parameter?;
            if let Some(place) = NAMES.iter().position(|known| known.eq_ignore_ascii_case(name)) {
                // A parameter that comes twice could be read differently by the next element.
                if found[place].replace(value).is_some() {
                    return None;
                }
            }
        }
        let [username, realm, nonce, uri, response, algorithm, qop, nonce_count, cnonce] = found;
        let qop = match qop {
            None => None,
            Some(qop) if qop.eq_ignore_ascii_case(b"auth") => Some((nonce_count?, cnonce?)),
            Some(_) => return None,
        };
        Some(Credentials {
            username: username?,
            realm: realm?,
            nonce: nonce?,
            uri: uri?,
            response: response?,
            algorithm: algorithm.map_or(Some(Algorithm::Md5), Algorithm::from_token),
            qop,
        })
    }
}

/// `name=value` pairs between commas; `None` once, at the first that cannot be read.
struct Parameters<'a>(&'a [u8]);

impl<'a> Iterator for Parameters<'a> {
    type Item = Option<(&'a [u8], &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        while let [b',' | b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = self.0 {
            self.0 = rest;
        }
        if self.0.is_empty() {
            return None;
        }
        let parameter = parameter(self.0);
        self.0 = parameter.map_or(&[], |(_, _, rest)| rest);
        Some(parameter.map(|(name, value, _)| (name, value)))
    }
}

/// Name, value and what follows.
fn parameter(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let equals = text.iter().position(|byte| *byte == b'=')?;
    let name = text[..equals].trim_ascii();
    let text = text[equals + 1..].trim_ascii_start();
    let (value, rest) = match text {
        [b'"', quoted @ ..] => {
            let end = closing_quote(quoted)?;
            (&quoted[..end], &quoted[end + 1..])
        }
        _ => {
            let end = text.iter().position(|byte| *byte == b',').unwrap_or(text.len());
            (text[..end].trim_ascii_end(), &text[end..])
        }
    };
    let rest = rest.trim_ascii_start();
    let is_separated = rest.first().is_none_or(|byte| *byte == b',');
    (!name.is_empty() && is_separated).then_some((name, value, rest))
}

fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

const SCHEME: &[u8] = b"Digest";
const NAMES: [&[u8]; 9] =
    [b"username", b"realm", b"nonce", b"uri", b"response", b"algorithm", b"qop", b"nc", b"cnonce"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_rfc_3261_are_read() {
        // RFC 3261 section 22.4.
        let text = b"Digest username=\"bob\",\r\n realm=\"biloxi.com\",\r\n nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\",\r\n uri=\"sip:bob@biloxi.com\",\r\n qop=auth,\r\n nc=00000001,\r\n cnonce=\"0a4f113b\",\r\n response=\"6629fae49393a05397450978507c4ef1\",\r\n opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
        let credentials = Credentials::parse(text).unwrap();
        assert_eq!(credentials.username, b"bob");
        assert_eq!(credentials.realm, b"biloxi.com");
        assert_eq!(credentials.uri, b"sip:bob@biloxi.com");
        assert_eq!(credentials.algorithm, Some(Algorithm::Md5));
        assert_eq!(credentials.qop, Some((&b"00000001"[..], &b"0a4f113b"[..])));
    }

    const REST: &str = "realm=r, nonce=n, uri=u, response=x";

    fn parses(text: String) -> bool {
        Credentials::parse(text.as_bytes()).is_some()
    }

    #[test]
    fn commas_and_escaped_quotes_inside_quotes_do_not_end_a_value() {
        let text = format!("digest username=\"a, \\\"b\", {REST}");
        assert_eq!(Credentials::parse(text.as_bytes()).unwrap().username, b"a, \\\"b");
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        assert!(parses(format!("Digest username=a,{REST}")));
        assert!(!parses(format!("Digest {REST}")));
        assert!(!parses(format!("Basic username=a,{REST}")));
        assert!(!parses(format!("Digestusername=a,{REST}")));
        assert!(!parses(format!("Digest username=\"a,{REST}")));
        assert!(!parses(format!("Digest username=\"a\"b,{REST}")));
        assert!(!parses(format!("Digest username=a,username=b,{REST}")));
        assert!(!parses("Digest username=\"a\\".to_owned()));
        assert!(!parses("Digest".to_owned()));
        assert!(!parses(String::new()));
    }

    #[test]
    fn a_quality_of_protection_that_was_not_offered_is_refused() {
        assert!(!parses(format!("Digest username=a,{REST},qop=auth-int,nc=1,cnonce=c")));
        assert!(!parses(format!("Digest username=a,{REST},qop=auth")));
        assert!(parses(format!("Digest username=a,{REST},qop=\"auth\",nc=1,cnonce=c")));
    }

    #[test]
    fn an_unknown_algorithm_is_noticed() {
        let text = format!("Digest username=a,{REST},algorithm=MD5-sess");
        assert_eq!(Credentials::parse(text.as_bytes()).unwrap().algorithm, None);
    }
}
