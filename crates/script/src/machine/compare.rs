//! Comparisons with the rules of operands of old and of variables.

use std::net::IpAddr;

use module_api::{Host, Value};
use sip_message::Uri;

use crate::program::{Network, Subject};

/// `==` between values: the left side decides how. Undefined takes the type of the right.
pub(super) fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Str(a), Value::Str(b)) => a == b,
        (Value::Str(a), Value::Int(_)) => *a == right.to_bytes(),
        (Value::Str(_), Value::Null) => left.to_bytes().is_empty(),
        (Value::Int(a), _) => *a == right.to_int(),
        (Value::Null, Value::Str(b)) => b.is_empty(),
        (Value::Null, Value::Int(b)) => *b == 0,
    }
}

/// `==` of an operand of old: case does not count.
pub(super) fn fold_equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Str(a), Value::Str(b)) => a.eq_ignore_ascii_case(b),
        (Value::Int(_), _) | (_, Value::Int(_)) => left.to_int() == right.to_int(),
        _ => left.to_bytes().eq_ignore_ascii_case(&right.to_bytes()),
    }
}

pub(super) fn in_networks(value: &Value, networks: &[Network]) -> bool {
    let Some(address) = address(value) else { return false };
    networks.iter().any(|network| network.contains(address))
}

fn address(value: &Value) -> Option<IpAddr> {
    let Value::Str(text) = value else { return None };
    let text = std::str::from_utf8(text).ok()?;
    text.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// `== myself`.
pub(super) fn is_myself(value: &Value, subject: Subject, host: &dyn Host) -> bool {
    let Value::Str(text) = value else { return false };
    match subject {
        Subject::Host => host.is_myself(text, None, None),
        Subject::Uri => match Uri::parse(text) {
            Ok(uri) => !uri.host_text.is_empty() && host.is_myself(uri.host_text, uri.port, None),
            Err(_) => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undefined_equals_the_empty_string_and_zero() {
        assert!(equal(&Value::Null, &Value::from_static("")));
        assert!(equal(&Value::Null, &Value::Int(0)));
        assert!(!equal(&Value::Null, &Value::from_static("a")));
    }

    #[test]
    fn the_left_side_decides_how_values_compare() {
        assert!(equal(&Value::from_static("5"), &Value::Int(5)));
        assert!(equal(&Value::Int(5), &Value::from_static("5")));
        assert!(!equal(&Value::from_static("BOB"), &Value::from_static("bob")));
        assert!(fold_equal(&Value::from_static("INVITE"), &Value::from_static("invite")));
    }
}
