//! `#!subst`: rules that change every later string.

use std::borrow::Cow;

use regex::{Regex, RegexBuilder};

use crate::pattern;

/// A sed-like rule.
#[derive(Debug)]
pub(super) struct Substitution {
    pattern: Regex,
    replacement: String,
    is_global: bool,
}

impl Substitution {
    /// Reads `/pattern/replacement/flags`, with any character in the place of `/`.
    pub(super) fn parse(rule: &str) -> Result<Substitution, String> {
        let (pattern, replacement, flags) = split(rule).ok_or("it must look like /pattern/replacement/flags")?;
        let pattern = RegexBuilder::new(&pattern::translate(&pattern)?)
            .case_insensitive(flags.contains('i'))
            .size_limit(pattern::SIZE_LIMIT)
            .build()
            .map_err(|error| pattern::explain(&error))?;
        Ok(Substitution { pattern, replacement: back_references(&replacement), is_global: flags.contains('g') })
    }

    /// A rule that replaces `name` wherever it stands.
    pub(super) fn literal(name: &str, value: &str) -> Result<Substitution, String> {
        let pattern = Regex::new(&regex::escape(name)).map_err(|error| pattern::explain(&error))?;
        Ok(Substitution { pattern, replacement: value.replace('$', "$$"), is_global: true })
    }

    pub(super) fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let count = if self.is_global { 0 } else { 1 };
        self.pattern.replacen(text, count, self.replacement.as_str())
    }
}

/// The three parts of `/pattern/replacement/flags`; a backslash protects the separator.
pub(crate) fn split(rule: &str) -> Option<(String, String, String)> {
    let separator = rule.chars().next()?;
    let mut parts = vec![String::new()];
    let mut characters = rule[separator.len_utf8()..].chars();
    while let Some(c) = characters.next() {
        let last = parts.last_mut()?;
        if c == separator {
            parts.push(String::new());
        } else if c == '\\' {
            let protected = characters.next();
            if protected != Some(separator) {
                last.push('\\');
            }
            last.extend(protected);
        } else {
            last.push(c);
        }
    }
    let [pattern, replacement, flags] = <[String; 3]>::try_from(parts).ok()?;
    Some((pattern, replacement, flags))
}

/// `\1` and `&`-free sed text in the notation of the regex crate.
pub(crate) fn back_references(text: &str) -> String {
    let mut out = String::new();
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '$' => out.push_str("$$"),
            '\\' => match characters.next() {
                Some(digit @ '0'..='9') => out.push_str(&format!("${{{digit}}}")),
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some('t') => out.push('\t'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_take_any_separator_and_back_references() {
        let rule = Substitution::parse(r"!^sip:([a-z]+)@!tel:\1;x=$!").unwrap();
        assert_eq!(rule.apply("sip:bob@example.com"), "tel:bob;x=$example.com");
        assert!(Substitution::parse("/a/b").is_err());
    }

    #[test]
    fn only_the_global_flag_replaces_every_occurrence() {
        assert_eq!(Substitution::parse("/a/b/").unwrap().apply("aaa"), "baa");
        assert_eq!(Substitution::parse("/A/b/gi").unwrap().apply("aaa"), "bbb");
    }
}
