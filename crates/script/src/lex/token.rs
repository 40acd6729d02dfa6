//! Tokens of the routing language.

use crate::source::Span;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A letter or underscore, then letters, digits and underscores.
    Word,
    /// A digit, then letters, digits and underscores: a number, or a piece of an address.
    Number,
    /// A quoted string, its escapes already resolved.
    Text,
    /// `$` and what belongs to it.
    Variable,
    /// `@` and a path.
    Select,
    /// Punctuation.
    Symbol,
    /// The end of the script.
    End,
}

/// A token with its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    pub(crate) span: Span,
    /// Whether nothing lies between it and the token before: addresses are made of such tokens.
    pub(crate) is_glued: bool,
}

impl Token {
    pub(crate) fn is(&self, symbol: &str) -> bool {
        self.kind == Kind::Symbol && self.text == symbol
    }

    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text == word
    }

    /// How to name it in a message.
    pub(crate) fn describe(&self) -> String {
        match self.kind {
            Kind::End => "the end of the file".into(),
            Kind::Text => "a string".into(),
            _ => format!("`{}`", self.text),
        }
    }
}

/// Reads decimal, `0x` hexadecimal, leading-zero octal and `101b` binary numbers.
pub(crate) fn parse_number(text: &str) -> Option<i64> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return i64::from_str_radix(hex, 16).ok();
    }
    if let Some(binary) = text.strip_suffix(['b', 'B']) {
        return i64::from_str_radix(binary, 2).ok();
    }
    if text.len() > 1 && text.starts_with('0') {
        return i64::from_str_radix(text, 8).ok();
    }
    text.parse().ok()
}

/// Words that a definition cannot replace.
pub(crate) fn is_keyword(word: &str) -> bool {
    KEYWORDS.contains(&word)
}

const KEYWORDS: &[&str] = &[
    "if",
    "else",
    "while",
    "switch",
    "case",
    "default",
    "break",
    "exit",
    "return",
    "drop",
    "route",
    "request_route",
    "failure_route",
    "onreply_route",
    "reply_route",
    "branch_route",
    "onsend_route",
    "event_route",
    "loadmodule",
    "loadmodulex",
    "modparam",
    "modparamx",
    "listen",
    "alias",
    "include_file",
    "import_file",
    "and",
    "or",
    "not",
    "eq",
    "ne",
    "ieq",
    "ine",
    "mod",
    "defined",
    "strlen",
    "strempty",
    "selval",
    "uri",
    "method",
    "status",
    "myself",
    "src_ip",
    "dst_ip",
    "src_port",
    "dst_port",
    "proto",
    "from_uri",
    "to_uri",
    "msg",
    "max_len",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_in_four_notations() {
        let cases = [("10", Some(10)), ("0x1F", Some(31)), ("0666", Some(438)), ("101b", Some(5)), ("08", None)];
        for (text, number) in cases {
            assert_eq!(parse_number(text), number, "{text}");
        }
    }
}
