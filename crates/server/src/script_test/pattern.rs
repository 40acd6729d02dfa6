//! Patterns of expectations: `*` stands for anything, `{name}` keeps what stands there.

use std::collections::BTreeMap;

use regex::Regex;

/// What tests have kept, by name.
pub(super) type Kept = BTreeMap<String, String>;

/// Whether the whole of `text` is as `pattern` says; keeps what `{name}` stands for.
///
/// A name that is kept already must stand for the same again.
pub(super) fn matches(pattern: &str, text: &str, kept: &mut Kept) -> bool {
    let mut source = String::from("(?s)^");
    let mut names = Vec::new();
    for piece in pieces(pattern) {
        match piece {
            Piece::Text(text) => source.push_str(&regex::escape(text)),
            Piece::Anything => source.push_str(".*"),
            Piece::Name(name) => match kept.get(name) {
                Some(value) => source.push_str(&regex::escape(value)),
                None => {
                    names.push(name.to_owned());
                    source.push_str("(.+?)");
                }
            },
        }
    }
    source.push('$');
    let Ok(regex) = Regex::new(&source) else { return false };
    let Some(found) = regex.captures(text) else { return false };
    for (name, value) in names.into_iter().zip(found.iter().skip(1)) {
        kept.insert(name, value.map_or("", |value| value.as_str()).to_owned());
    }
    true
}

/// Puts what was kept in place of `{name}`.
///
/// # Errors
/// In words, when nothing was kept under a name.
pub(super) fn fill(text: &str, kept: &Kept) -> Result<String, String> {
    let mut out = String::new();
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Anything => out.push('*'),
            Piece::Name(name) => match kept.get(name) {
                Some(value) => out.push_str(value),
                None => return Err(format!("nothing was kept as {{{name}}}: a pattern before must hold {{{name}}}")),
            },
        }
    }
    Ok(out)
}

enum Piece<'a> {
    Text(&'a str),
    Anything,
    Name(&'a str),
}

fn pieces(mut text: &str) -> Vec<Piece<'_>> {
    let mut all = Vec::new();
    while !text.is_empty() {
        let end = text.find(['*', '{']).unwrap_or(text.len());
        if end > 0 {
            all.push(Piece::Text(&text[..end]));
            text = &text[end..];
        } else if let Some(rest) = text.strip_prefix('*') {
            all.push(Piece::Anything);
            text = rest;
        } else {
            let name = text[1..].split_once('}').map(|(name, _)| name).filter(|name| is_name(name));
            let length = name.map_or(1, |name| name.len() + 2);
            all.push(name.map_or(Piece::Text(&text[..1]), Piece::Name));
            text = &text[length..];
        }
    }
    all
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_and_the_rest_for_itself() {
        let mut kept = Kept::new();
        assert!(matches("<sip:*;lr>", "<sip:192.0.2.1;lr>", &mut kept));
        assert!(!matches("<sip:*;lr>", "<sip:192.0.2.1>", &mut kept));
        assert!(matches("a.c", "a.c", &mut kept));
        assert!(!matches("a.c", "abc", &mut kept));
    }

    #[test]
    fn a_name_keeps_what_it_stands_for_and_must_stand_for_it_again() {
        let mut kept = Kept::new();
        assert!(matches("<sip:bob@h>;tag={tag}", "<sip:bob@h>;tag=a1", &mut kept));
        assert_eq!(kept["tag"], "a1");
        assert!(!matches("{tag}", "b2", &mut kept));
        assert_eq!(fill("x;tag={tag}", &kept), Ok("x;tag=a1".to_owned()));
        assert!(fill("{other}", &kept).is_err());
    }
}
