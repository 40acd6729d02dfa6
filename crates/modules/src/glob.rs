//! Patterns as a shell has them.

/// Whether all of `text` matches. A star that fails later is tried one character further on, and
/// stars before it are not tried again, which takes at most text times pattern steps.
pub(crate) fn matches(text: &[u8], pattern: &[u8]) -> bool {
    let (mut at, mut place) = (0, 0);
    let mut star = None;
    loop {
        let step = match pattern.get(place) {
            Some(b'*') => {
                place += 1;
                star = Some((place, at));
                continue;
            }
            None if at == text.len() => return true,
            None => None,
            Some(_) => text.get(at).and_then(|byte| one(*byte, &pattern[place..])),
        };
        match (step, star) {
            (Some(length), _) => {
                at += 1;
                place += length;
            }
            (None, Some((behind, from))) if from < text.len() => {
                star = Some((behind, from + 1));
                (at, place) = (from + 1, behind);
            }
            (None, _) => return false,
        }
    }
}

/// How much of the pattern stands for `byte`; none when it does not match.
fn one(byte: u8, pattern: &[u8]) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [b'[', rest @ ..] => match class(byte, rest) {
            Some((is_in, length)) => is_in.then_some(length + 1),
            // Without a closing bracket it is a character like others.
            None => (byte == b'[').then_some(1),
        },
        [own, ..] => (*own == byte).then_some(1),
        [] => None,
    }
}

/// Whether `byte` is in the class behind `[`, and how long it is with its `]`.
fn class(byte: u8, text: &[u8]) -> Option<(bool, usize)> {
    let negates = matches!(text.first(), Some(b'!' | b'^'));
    let start = usize::from(negates);
    let mut at = start;
    let mut is_in = false;
    loop {
        let low = *text.get(at)?;
        if low == b']' && at > start {
            return Some((is_in != negates, at + 1));
        }
        let high = match text.get(at + 1..at + 3) {
            Some([b'-', high]) if *high != b']' => {
                at += 2;
                *high
            }
            _ => low,
        };
        is_in |= (low..=high).contains(&byte);
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_match(text: &str, pattern: &str) -> bool {
        matches(text.as_bytes(), pattern.as_bytes())
    }

    #[test]
    fn patterns_match_the_whole_text() {
        for (text, pattern) in [
            ("abc.example.com", "*.example.com"),
            ("abc", "[a-c]??"),
            ("abc", "a*c"),
            ("a*c", "a\\*c"),
            ("", "*"),
            ("abcabd", "*ab?"),
            ("x", "[!a-c]"),
            ("[", "["),
            ("]", "[]]"),
        ] {
            assert!(is_match(text, pattern), "{text} {pattern}");
        }
        for (text, pattern) in [("abc", "x*"), ("abc", "ab"), ("abc", "a\\*c"), ("b", "[!a-c]"), ("", "?")] {
            assert!(!is_match(text, pattern), "{text} {pattern}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        assert!(!is_match(&"a".repeat(5000), &format!("{}b", "*a".repeat(500))));
    }
}
