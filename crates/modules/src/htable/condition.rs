//! Which entries of a table are meant.

use bytes::Bytes;
use module_api::Value;
use regex::bytes::{Regex, RegexBuilder};

/// A condition on a key or a value.
pub(super) enum Condition {
    All,
    Matches(Regex),
    StartsWith(Bytes),
    EndsWith(Bytes),
    Contains(Bytes),
    Is(Bytes),
    IsNot(Bytes),
    IsNumber(i64),
}

impl Condition {
    /// What `$shtcn` and `$shtcv` count: an operator of two characters and its text. None when it cannot be read.
    pub(super) fn counting(text: &[u8]) -> Option<Condition> {
        let Some((operator, rest)) = text.split_at_checked(2) else { return Condition::matching(text) };
        let bytes = || Bytes::copy_from_slice(rest);
        Some(match operator {
            b"**" => Condition::All,
            b"~~" => Condition::matching(rest)?,
            b"%~" => Condition::StartsWith(bytes()),
            b"~%" => Condition::EndsWith(bytes()),
            b"==" => Condition::Is(bytes()),
            b"eq" => Condition::IsNumber(std::str::from_utf8(rest).ok()?.trim().parse().ok()?),
            _ => Condition::matching(text)?,
        })
    }

    /// What the functions take: an operator as a word. None when there is no such operator, or the expression is wrong.
    pub(super) fn named(operator: &[u8], text: &Bytes) -> Option<Condition> {
        Some(match operator {
            b"eq" => Condition::Is(text.clone()),
            b"ne" => Condition::IsNot(text.clone()),
            b"re" => Condition::matching(text)?,
            b"sw" => Condition::StartsWith(text.clone()),
            b"ew" => Condition::EndsWith(text.clone()),
            b"in" => Condition::Contains(text.clone()),
            _ => return None,
        })
    }

    /// A regular expression.
    pub(super) fn matching(text: &[u8]) -> Option<Condition> {
        let text = std::str::from_utf8(text).ok()?;
        let regex = RegexBuilder::new(text).unicode(false).case_insensitive(true).size_limit(1 << 20).build();
        regex.ok().map(Condition::Matches)
    }

    pub(super) fn is_met_by(&self, value: &Value) -> bool {
        let Value::Str(text) = value else {
            return match self {
                Condition::All => true,
                Condition::IsNumber(number) => *value == Value::Int(*number),
                _ => false,
            };
        };
        match self {
            Condition::All => true,
            Condition::Matches(regex) => regex.is_match(text),
            Condition::StartsWith(part) => text.starts_with(part),
            Condition::EndsWith(part) => text.ends_with(part),
            Condition::Contains(part) => memmem(text, part),
            Condition::Is(whole) => text == whole,
            Condition::IsNot(whole) => text != whole,
            Condition::IsNumber(_) => false,
        }
    }
}

fn memmem(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_words_or_signs() {
        let met = |operator: &str, text: &'static str, value: &'static str| {
            Condition::named(operator.as_bytes(), &Bytes::from_static(text.as_bytes()))
                .map(|condition| condition.is_met_by(&Value::from_static(value)))
        };
        assert_eq!(met("sw", "ab", "abc"), Some(true));
        assert_eq!(met("ew", "bc", "abc"), Some(true));
        assert_eq!(met("in", "b", "abc"), Some(true));
        assert_eq!(met("ne", "b", "abc"), Some(true));
        assert_eq!(met("re", "^A.c$", "abc"), Some(true));
        assert_eq!(met("re", "(", "abc"), None);
        assert_eq!(met("xx", "a", "abc"), None);
        assert!(Condition::counting(b"~~(").is_none());
    }
}
