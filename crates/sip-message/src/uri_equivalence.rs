//! Which URIs mean the same (RFC 3261 section 19.1.4, RFC 3966 section 4).

use std::borrow::Cow;

use crate::{Params, Scheme, Uri, unescape};

impl Uri<'_> {
    /// Whether both mean the same resource.
    ///
    /// Not the same as equal text: escapes, case of host and parameters, and the order of
    /// parameters do not matter. The relation is not transitive, as the RFC notes.
    pub fn equivalent(&self, other: &Uri<'_>) -> bool {
        if !is_small(self) || !is_small(other) {
            return self.scheme == other.scheme && self.opaque == other.opaque;
        }
        match (self.scheme, other.scheme) {
            (Scheme::Sip, Scheme::Sip) | (Scheme::Sips, Scheme::Sips) => is_same_sip(self, other),
            (Scheme::Tel, Scheme::Tel) => is_same_tel(self, other),
            (Scheme::Other(left), Scheme::Other(right)) => {
                left.eq_ignore_ascii_case(right) && self.opaque == other.opaque
            }
            _ => false,
        }
    }
}

fn is_same_sip(left: &Uri<'_>, right: &Uri<'_>) -> bool {
    is_same_part(left.user, right.user)
        && is_same_part(left.password, right.password)
        && left.host.is_same(right.host)
        // A port left out is not the same as the default port written (19.1.4).
        && left.port == right.port
        && is_matched(&left.params, &right.params)
        && is_matched(&right.params, &left.params)
        && is_same_headers(left, right)
}

/// User and password compare with case (19.1.4).
fn is_same_part(left: Option<&[u8]>, right: Option<&[u8]>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => normal(left) == normal(right),
        (None, None) => true,
        _ => false,
    }
}

/// Each parameter that stands in both has the same value. These never match an absence:
/// `user`, `ttl`, `method`, `maddr`; and `transport`, of which 19.1.4 shows that its absence
/// differs from the default written out.
///
/// A parameter that stands twice breaks section 19.1.1; it matches when one of its values does,
/// so that such a URI still equals itself.
fn is_matched(left: &Params<'_>, right: &Params<'_>) -> bool {
    left.iter().all(|(name, value)| {
        let mut others = right.iter().filter(|(found, _)| is_same_name(found, name)).peekable();
        match others.peek() {
            Some(_) => others.any(|(_, other)| is_same_value(value, other)),
            None => !MUST_MATCH.iter().any(|must| name.eq_ignore_ascii_case(must.as_bytes())),
        }
    })
}

fn is_same_value(left: Option<&[u8]>, right: Option<&[u8]>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => normal(left).eq_ignore_ascii_case(&normal(right)),
        (None, None) => true,
        _ => false,
    }
}

/// Comparing parameters costs the square of their number, so a URI with more of them than any
/// peer has reason to send equals only the same text.
const COMPARED_PARTS: usize = 64;

fn is_small(uri: &Uri<'_>) -> bool {
    uri.params.iter().count() <= COMPARED_PARTS && uri.header_fields().count() <= COMPARED_PARTS
}

const MUST_MATCH: [&str; 5] = ["transport", "user", "ttl", "method", "maddr"];

fn is_same_name(left: &[u8], right: &[u8]) -> bool {
    normal(left).eq_ignore_ascii_case(&normal(right))
}

/// Header parts are never ignored: each must stand in both.
fn is_same_headers(left: &Uri<'_>, right: &Uri<'_>) -> bool {
    let has = |uri: &Uri<'_>, name: &[u8], value: &[u8]| {
        uri.header_fields().any(|(other, text)| is_same_name(other, name) && normal(text) == normal(value))
    };
    left.header_fields().count() == right.header_fields().count()
        && left.header_fields().all(|(name, value)| has(right, name, value))
        && right.header_fields().all(|(name, value)| has(left, name, value))
}

/// Escapes read. An escaped reserved byte differs from the plain one in the RFC's letter; both
/// are taken as the same here only where the byte means nothing in that place.
fn normal(text: &[u8]) -> Cow<'_, [u8]> {
    unescape(text)
}

/// Visual separators do not count (RFC 3966 section 5.1.1).
fn is_same_tel(left: &Uri<'_>, right: &Uri<'_>) -> bool {
    let digits = |number: Option<&[u8]>| -> Vec<u8> {
        let kept = number.unwrap_or_default().iter().filter(|byte| !b"-.()".contains(byte));
        kept.map(u8::to_ascii_lowercase).collect()
    };
    let is_subset = |left: &Params<'_>, right: &Params<'_>| {
        left.iter().all(|(name, value)| {
            right.iter().any(|(other, text)| is_same_name(other, name) && is_same_value(value, text))
        })
    };
    digits(left.user) == digits(right.user)
        && is_subset(&left.params, &right.params)
        && is_subset(&right.params, &left.params)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(left: &str, right: &str, expected: bool) {
        let parse = |text: &'static str| Uri::parse(text.as_bytes()).expect("a URI of the RFC");
        let (left, right) = (String::from(left).leak(), String::from(right).leak());
        assert_eq!(parse(left).equivalent(&parse(right)), expected, "{left} {right}");
        assert_eq!(parse(right).equivalent(&parse(left)), expected, "{right} {left}");
    }

    #[test]
    fn the_equivalent_uris_of_19_1_4() {
        check("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtlanTa.CoM;Transport=tcp", true);
        check("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", true);
        check("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on", true);
        check(
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            true,
        );
        check(
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            true,
        );
    }

    #[test]
    fn the_differing_uris_of_19_1_4() {
        check("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", false);
        check("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false);
        check("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", false);
        check("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp", false);
        check("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting", false);
        check("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", false);
        check("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", false);
        check("sip:a@b", "sips:a@b", false);
    }

    #[test]
    fn a_uri_with_a_parameter_twice_equals_itself() {
        check("sip:a@b;x=1;x=2", "sip:a@b;x=1;x=2", true);
    }

    #[test]
    fn a_uri_with_countless_parameters_equals_only_the_same_text() {
        let long = format!("sip:a@b{}", ";x".repeat(65));
        check(&long, &long, true);
        check(&long, &format!("{long};y"), false);
    }

    #[test]
    fn ipv6_hosts_compare_by_value() {
        check("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0:0::1]", true);
    }

    #[test]
    fn separators_of_a_number_do_not_count() {
        check("tel:+1-201-555-0123", "tel:+1(201)5550123", true);
        check("tel:+1-201-555-0123", "tel:+12015550124", false);
    }
}
