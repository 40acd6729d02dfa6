//! Preprocessor lines: `#!define` and its kin, also spelt `!!define`.

use crate::source::Span;

/// A directive with the rest of its line.
#[derive(Debug, Clone)]
pub(super) struct Directive {
    /// Canonical name: `trydefine` is `trydef`.
    pub(super) name: &'static str,
    pub(super) rest: String,
    pub(super) span: Span,
}

impl Directive {
    /// Whether it opens, turns or closes a condition.
    pub(super) fn is_condition(&self) -> bool {
        matches!(self.name, "ifdef" | "ifndef" | "ifexp" | "else" | "endif")
    }
}

/// Reads the directive at the start of `text`, which begins with its two marks. None: it is a comment.
pub(super) fn read(text: &str, span: impl Fn(usize) -> Span) -> Option<(Directive, usize)> {
    let word = text[2..].split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()?;
    let name = NAMES.iter().find(|(spelling, _)| *spelling == word).map(|(_, name)| *name)?;
    let head = 2 + word.len();
    let (rest, length) = logical_line(&text[head..]);
    // A word behind `#!else`, `#!endif` or a marker makes the line an ordinary comment.
    if is_alone(name) && !rest.trim().is_empty() {
        return None;
    }
    Some((Directive { name, rest: rest.trim().to_owned(), span: span(head) }, head + length))
}

/// Whether `text`, which begins with the two marks, would be a directive if nothing stood behind it.
pub(super) fn is_alone(name: &str) -> bool {
    matches!(name, "else" | "endif" | "KAMAILIO" | "SER" | "MAXCOMPAT")
}

/// The line with its continuations joined, and how many bytes it takes; the line end is left.
fn logical_line(text: &str) -> (String, usize) {
    let mut out = String::new();
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let end = rest.find('\n').unwrap_or(rest.len());
        let line = rest[..end].trim_end_matches('\r');
        at += end;
        match line.strip_suffix('\\') {
            Some(head) if at < text.len() => {
                out.push_str(head);
                out.push(' ');
                at += 1;
            }
            _ => {
                out.push_str(line);
                return (out, at);
            }
        }
    }
}

const NAMES: &[(&str, &str)] = &[
    ("define", "define"),
    ("def", "define"),
    ("trydefine", "trydef"),
    ("trydef", "trydef"),
    ("redefine", "redef"),
    ("redef", "redef"),
    ("undefine", "undef"),
    ("undef", "undef"),
    ("tryundefine", "tryundef"),
    ("tryundef", "tryundef"),
    ("ifdef", "ifdef"),
    ("ifndef", "ifndef"),
    ("ifexp", "ifexp"),
    ("else", "else"),
    ("endif", "endif"),
    ("subst", "subst"),
    ("substdef", "substdef"),
    ("substdefs", "substdefs"),
    ("defexp", "defexp"),
    ("defexps", "defexps"),
    ("defenv", "defenv"),
    ("defenvs", "defenvs"),
    ("trydefenv", "trydefenv"),
    ("trydefenvs", "trydefenvs"),
    ("include_file", "include_file"),
    ("import_file", "import_file"),
    ("KAMAILIO", "KAMAILIO"),
    ("OPENSER", "KAMAILIO"),
    ("SER", "SER"),
    ("MAXCOMPAT", "MAXCOMPAT"),
    ("ALL", "MAXCOMPAT"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_behind_endif_makes_the_line_a_comment() {
        let span = |_| Span::default();
        assert!(read("#!endif  \nx", span).is_some());
        assert!(read("#!endif # done\nx", span).is_none());
        assert!(read("#!KAMAILIO rules\n", span).is_none());
    }

    #[test]
    fn a_backslash_continues_the_line() {
        let (directive, length) = read("#!define A 1 \\\n  2\nrest", |_| Span::default()).unwrap();
        assert_eq!(directive.rest, "A 1    2");
        assert_eq!(length, "#!define A 1 \\\n  2".len());
    }
}
