//! Values of the routing language.

use bytes::Bytes;

/// A value of the routing language: undefined, a 64-bit integer or a string of bytes.
///
/// Strings are bytes and not `str`, since SIP header values may hold any octets. A string that comes
/// from the message is a slice of it and costs a reference count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Value {
    /// Undefined: what `$null` is, and what an absent header reads as.
    #[default]
    Null,
    /// An integer.
    Int(i64),
    /// A string of bytes.
    Str(Bytes),
}

impl Value {
    /// The string of a literal that lives as long as the program.
    pub fn from_static(text: &'static str) -> Value {
        Value::Str(Bytes::from_static(text.as_bytes()))
    }

    /// Whether this is [`Value::Null`].
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// As an integer: a string counts as its decimal or `0x` number, else (like undefined) as 0.
    pub fn to_int(&self) -> i64 {
        match self {
            Value::Null => 0,
            Value::Int(number) => *number,
            Value::Str(text) => parse_int(text).unwrap_or(0),
        }
    }

    /// As a string: integers in decimal, undefined as the empty string.
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Value::Null => Bytes::new(),
            Value::Int(number) => Bytes::from(number.to_string()),
            Value::Str(text) => text.clone(),
        }
    }

    /// Appends what a format string shows for this value; undefined shows as `<null>`.
    pub fn show(&self, out: &mut Vec<u8>) {
        match self {
            Value::Null => out.extend_from_slice(b"<null>"),
            Value::Int(number) => {
                use std::io::Write;
                write!(out, "{number}").expect("writing to a vector cannot fail");
            }
            Value::Str(text) => out.extend_from_slice(text),
        }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Int(number)
    }
}

impl From<Bytes> for Value {
    fn from(text: Bytes) -> Value {
        Value::Str(text)
    }
}

impl From<Option<Bytes>> for Value {
    fn from(text: Option<Bytes>) -> Value {
        text.map_or(Value::Null, Value::Str)
    }
}

fn parse_int(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.trim();
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return i64::from_str_radix(hex, 16).ok();
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_count_as_the_number_they_spell_else_as_zero() {
        for (text, number) in [("12", 12), ("-3", -3), ("0x1F", 31), ("abc", 0), ("", 0), ("9x", 0)] {
            assert_eq!(Value::Str(Bytes::from(text)).to_int(), number, "{text}");
        }
    }

    #[test]
    fn undefined_shows_as_null_in_angle_brackets() {
        let mut out = Vec::new();
        Value::Null.show(&mut out);
        Value::Int(-7).show(&mut out);
        assert_eq!(out, b"<null>-7");
    }
}
