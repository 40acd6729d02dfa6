//! POSIX extended regular expressions, as scripts write them, in the notation of the linear-time engine.

use regex::bytes::{Regex, RegexBuilder};

/// How large a compiled expression may be.
pub(crate) const SIZE_LIMIT: usize = 1 << 20;

/// Where an expression is used; the two differ in what a line end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Behind `=~`: the subject is one string.
    Operator,
    /// In a function that searches a message: `^` and `$` match at lines, `.` not beyond.
    Search,
}

/// Compiles `text`, ignoring case as both families do.
///
/// # Errors
/// The reason, in one line.
pub(crate) fn compile(text: &str, purpose: Use) -> Result<Regex, String> {
    let translated = translate(text)?;
    let build = |unicode: bool| {
        RegexBuilder::new(&translated)
            .case_insensitive(true)
            .unicode(unicode)
            .multi_line(purpose == Use::Search)
            .dot_matches_new_line(purpose == Use::Operator)
            .size_limit(SIZE_LIMIT)
            .build()
    };
    // Bytes first: `.` must match any octet of a header. Only classes of foreign letters need the other.
    build(false).or_else(|_| build(true)).map_err(|error| explain(&error))
}

/// The last line of the engine's own explanation, which says what is wrong.
pub(crate) fn explain(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or("it cannot be read");
    last.trim_start_matches("error: ").to_owned()
}

/// Rewrites what POSIX reads differently: bracket expressions, literal braces, back references.
pub(crate) fn translate(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '[' => bracket(rest, &mut out)?,
            '\\' => escape(rest, &mut out)?,
            '{' if !is_repetition(rest) => {
                out.push_str("\\{");
                1
            }
            '*' | '+' | '?' if out.is_empty() => {
                out.push('\\');
                out.push(c);
                1
            }
            _ => {
                out.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    Ok(out)
}

fn is_repetition(text: &str) -> bool {
    let Some(end) = text.find('}') else { return false };
    let inner = &text[1..end];
    inner.starts_with(|c: char| c.is_ascii_digit()) && inner.bytes().all(|b| b.is_ascii_digit() || b == b',')
}

fn escape(text: &str, out: &mut String) -> Result<usize, String> {
    let Some(c) = text[1..].chars().next() else { return Err("a backslash stands at its end".into()) };
    match c {
        '1'..='9' => return Err("back references are not supported: matching takes linear time here".into()),
        'w' | 'W' | 's' | 'S' | 'b' | 'B' | 'd' | 'D' | '<' | '>' | 'n' | 'r' | 't' => {
            out.push('\\');
            out.push(c);
        }
        c if c.is_ascii_alphanumeric() || !c.is_ascii() => out.push(c),
        c => {
            out.push('\\');
            out.push(c);
        }
    }
    Ok(1 + c.len_utf8())
}

/// Copies one `[...]`, protecting what only the other notation takes as special.
fn bracket(text: &str, out: &mut String) -> Result<usize, String> {
    out.push('[');
    let mut at = 1;
    if text[at..].starts_with('^') {
        out.push('^');
        at += 1;
    }
    let first = at;
    while let Some(c) = text[at..].chars().next() {
        if c == ']' && at > first {
            out.push(']');
            return Ok(at + 1);
        }
        if let Some(end) = text[at..].find(":]").filter(|_| text[at..].starts_with("[:")) {
            out.push_str(&text[at..at + end + 2]);
            at += end + 2;
            continue;
        }
        // A backslash is itself in a POSIX bracket; but `\]`-free habits such as `[\.\-]` mean the character.
        if c == '\\' && text[at + 1..].starts_with(|next: char| next.is_ascii_punctuation() && next != ']') {
            at += 1;
            continue;
        }
        if matches!(c, '[' | ']' | '\\' | '&' | '~') {
            out.push('\\');
        }
        out.push(c);
        at += c.len_utf8();
    }
    Err("a `[` is not closed".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        compile(pattern, Use::Operator).unwrap().is_match(text.as_bytes())
    }

    #[test]
    fn matching_ignores_case_and_is_not_anchored() {
        assert!(matches("^SIP:bob", "sip:BOB@example.com"));
        assert!(matches("example", "sip:bob@EXAMPLE.com"));
        assert!(!matches("^example", "sip:bob@example.com"));
    }

    #[test]
    fn posix_brackets_keep_their_meaning() {
        assert!(matches("^[][]+$", "[]"));
        assert!(matches("^[[:digit:]]{3}$", "123"));
        assert!(matches("^[a&&b]+$", "a&b"));
        assert!(matches("^sip:[^@[]+@", "sip:a]b@c"));
        assert!(matches("^[0-9\\.\\-]+$", "1.2-3"));
    }

    #[test]
    fn braces_that_count_nothing_are_literal() {
        assert!(matches("a{s.len}", "a{s.len}"));
        assert!(matches("^a{2,3}$", "aaa"));
    }

    #[test]
    fn back_references_are_refused_with_the_reason() {
        assert!(compile(r"(a)\1", Use::Operator).unwrap_err().contains("back references"));
        assert!(compile("(a", Use::Operator).is_err());
    }

    #[test]
    fn any_octet_matches_a_dot() {
        assert!(compile("^a.b$", Use::Operator).unwrap().is_match(b"a\xffb"));
    }
}
