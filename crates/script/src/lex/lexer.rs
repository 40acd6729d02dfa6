//! Text to raw tokens and directive lines.

use super::directive::{self, Directive};
use super::token::{Kind, Token};
use crate::diagnostic::{Diagnostic, Diagnostics, codes};
use crate::source::{FileId, Span};

/// What the lexer finds next.
pub(super) enum Item {
    Token(Token),
    Directive(Directive),
}

/// Cuts one file, or the value of a definition, into tokens.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    file: FileId,
    /// Set when the text is not a file but an expansion: all tokens then carry this place.
    place: Option<Span>,
    has_gap: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(file: FileId, text: &'a str) -> Lexer<'a> {
        Lexer { text, at: 0, file, place: None, has_gap: true }
    }

    /// A lexer of text that stands at `place`.
    pub(super) fn at_place(place: Span, text: &'a str) -> Lexer<'a> {
        Lexer { text, at: 0, file: place.file, place: Some(place), has_gap: false }
    }

    /// The end of the latest token or directive.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// The next token or directive; none at the end.
    pub(super) fn next(&mut self, diagnostics: &mut Diagnostics) -> Option<Item> {
        loop {
            self.skip_blanks();
            let start = self.at;
            match self.peek()? {
                '#' | '!' if self.rest()[1..].starts_with('!') => {
                    if let Some(directive) = self.directive() {
                        return Some(Item::Directive(directive));
                    }
                    if self.rest().starts_with('#') {
                        self.skip_line();
                    } else {
                        return Some(Item::Token(self.symbol(diagnostics)?));
                    }
                }
                '#' => self.skip_line(),
                '/' if self.rest().starts_with("//") => self.skip_line(),
                '/' if self.rest().starts_with("/*") => self.skip_comment(diagnostics),
                '"' => return Some(Item::Token(self.quoted(diagnostics))),
                '\'' => return Some(Item::Token(self.raw(diagnostics))),
                '$' => return Some(Item::Token(self.variable(diagnostics))),
                '@' => return Some(Item::Token(self.select())),
                c if c.is_ascii_digit() => {
                    self.take_while(is_word_char);
                    return Some(Item::Token(self.token(Kind::Number, start, None)));
                }
                c if c.is_ascii_alphabetic() || c == '_' => {
                    self.take_while(is_word_char);
                    return Some(Item::Token(self.token(Kind::Word, start, None)));
                }
                _ => {
                    if let Some(token) = self.symbol(diagnostics) {
                        return Some(Item::Token(token));
                    }
                }
            }
        }
    }

    /// Skips text until the next directive that opens, turns or closes a condition.
    pub(super) fn next_condition(&mut self) -> Option<Directive> {
        while self.at < self.text.len() {
            let rest = self.rest();
            let Some(found) = rest.find("#!").into_iter().chain(rest.find("!!")).min() else { break };
            self.at += found;
            match self.directive() {
                Some(directive) if directive.is_condition() => return Some(directive),
                Some(_) => {}
                None => self.at += 2,
            }
        }
        self.at = self.text.len();
        None
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.find(|c| !accept(c)).unwrap_or(rest.len());
    }

    fn span(&self, start: usize) -> Span {
        self.place.unwrap_or(Span { file: self.file, start: start as u32, end: self.at as u32 })
    }

    fn token(&mut self, kind: Kind, start: usize, text: Option<String>) -> Token {
        let text = text.unwrap_or_else(|| self.text[start..self.at].to_owned());
        let is_glued = !std::mem::replace(&mut self.has_gap, false);
        Token { kind, text, span: self.span(start), is_glued }
    }

    fn skip_blanks(&mut self) {
        loop {
            let before = self.at;
            self.take_while(char::is_whitespace);
            let rest = self.rest();
            if rest.starts_with("\\\n") || rest.starts_with("\\\r") {
                self.at += 2;
            } else if rest.starts_with('\u{feff}') {
                self.at += '\u{feff}'.len_utf8();
            }
            if self.at == before {
                return;
            }
            self.has_gap = true;
        }
    }

    fn skip_line(&mut self) {
        self.take_while(|c| c != '\n');
        self.has_gap = true;
    }

    /// Comments nest.
    fn skip_comment(&mut self, diagnostics: &mut Diagnostics) {
        let start = self.at;
        self.has_gap = true;
        let mut depth = 0_usize;
        loop {
            let rest = self.rest();
            if rest.starts_with("/*") {
                depth += 1;
                self.at += 2;
            } else if rest.starts_with("*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return;
                }
            } else if let Some(c) = rest.chars().next() {
                self.at += c.len_utf8();
            } else {
                let span = Span { end: start as u32 + 2, ..self.span(start) };
                diagnostics.push(
                    Diagnostic::error(codes::UNTERMINATED, span, "this comment is never closed")
                        .help("comments nest: each `/*` needs its own `*/`"),
                );
                return;
            }
        }
    }

    fn directive(&mut self) -> Option<Directive> {
        let start = self.at;
        let (directive, length) = directive::read(self.rest(), |end| self.span_of(start, end))?;
        self.at += length;
        self.has_gap = true;
        Some(directive)
    }

    fn span_of(&self, start: usize, length: usize) -> Span {
        self.place.unwrap_or(Span { file: self.file, start: start as u32, end: (start + length) as u32 })
    }

    /// A string in double quotes. A backslash before any other character stays, with the character.
    fn quoted(&mut self, diagnostics: &mut Diagnostics) -> Token {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        while let Some(c) = self.peek() {
            self.at += c.len_utf8();
            match c {
                '"' => return self.token(Kind::Text, start, Some(text)),
                '\\' => self.escape(&mut text),
                c => text.push(c),
            }
        }
        self.unterminated(start, '"', diagnostics);
        self.token(Kind::Text, start, Some(text))
    }

    fn escape(&mut self, text: &mut String) {
        let rest = self.rest();
        let simple = match rest.chars().next() {
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some('a') => Some('\u{7}'),
            Some('"') => Some('"'),
            Some('\\') => Some('\\'),
            Some('\n') => {
                self.at += 1;
                return;
            }
            _ => None,
        };
        if let Some(c) = simple {
            text.push(c);
            self.at += 1;
            return;
        }
        let octal: String = rest.chars().take(3).take_while(|c| ('0'..='7').contains(c)).collect();
        let hex: String = rest.strip_prefix('x').map(hex_digits).unwrap_or_default();
        // `\1` stays two characters: it is a back reference in substitutions.
        let (length, code) = if octal.len() >= 2 {
            (octal.len(), u32::from_str_radix(&octal, 8).ok())
        } else if !hex.is_empty() {
            (1 + hex.len(), u32::from_str_radix(&hex, 16).ok())
        } else {
            (0, None)
        };
        match code.and_then(char::from_u32).filter(char::is_ascii) {
            Some(c) => {
                text.push(c);
                self.at += length;
            }
            None => text.push('\\'),
        }
    }

    /// A string in single quotes: nothing is special in it, line ends included.
    fn raw(&mut self, diagnostics: &mut Diagnostics) -> Token {
        let start = self.at;
        self.at += 1;
        self.take_while(|c| c != '\'');
        let text = self.text[start + 1..self.at].to_owned();
        if self.peek().is_some() {
            self.at += 1;
        } else {
            self.unterminated(start, '\'', diagnostics);
        }
        self.token(Kind::Text, start, Some(text))
    }

    fn unterminated(&self, start: usize, quote: char, diagnostics: &mut Diagnostics) {
        let span = Span { end: start as u32 + 1, ..self.span(start) };
        let text = format!("this string is never closed: no second {quote} before the end of the file");
        diagnostics.push(Diagnostic::error(codes::UNTERMINATED, span, text).help(format!("add {quote} at its end")));
    }

    fn variable(&mut self, diagnostics: &mut Diagnostics) -> Token {
        let start = self.at;
        let length = crate::syntax::variable_length(self.rest()).unwrap_or_else(|| {
            let span = Span { end: start as u32 + 1, ..self.span(start) };
            let text = "a name must follow `$`, and each parenthesis must be closed";
            diagnostics.push(Diagnostic::error(codes::VARIABLE_FORM, span, text).help("write `$ru` or `$var(x)`"));
            1
        });
        self.at += length;
        self.token(Kind::Variable, start, None)
    }

    fn select(&mut self) -> Token {
        let start = self.at;
        self.at += 1;
        self.take_while(|c| is_word_char(c) || c == '.');
        if self.rest().starts_with('[') {
            self.at += self.rest().find(']').map_or(0, |end| end + 1);
            self.take_while(|c| is_word_char(c) || c == '.');
        }
        self.token(Kind::Select, start, None)
    }

    fn symbol(&mut self, diagnostics: &mut Diagnostics) -> Option<Token> {
        let start = self.at;
        let rest = self.rest();
        if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            self.at += symbol.len();
            return Some(self.token(Kind::Symbol, start, None));
        }
        let c = self.peek()?;
        self.at += c.len_utf8();
        self.has_gap = true;
        let text = format!("the character `{}` means nothing here", c.escape_default());
        diagnostics.push(Diagnostic::error(codes::STRAY_CHARACTER, self.span(start), text));
        None
    }
}

fn is_word_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn hex_digits(text: &str) -> String {
    text.chars().take(2).take_while(char::is_ascii_hexdigit).collect()
}

/// Longer ones first.
const SYMBOLS: &[&str] = &[
    "<<", ">>", "==", "!=", "=~", "<=", ">=", "&&", "||", "+=", "=>", "(", ")", "[", "]", "{", "}", ";", ",", "=", "<",
    ">", "!", "+", "-", "*", "/", "%", "&", "|", "^", "~", ":", ".", "?",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn lex(text: &str) -> Vec<String> {
        let mut diagnostics = Diagnostics::default();
        let file = diagnostics.sources.add("t", text.to_owned());
        let mut lexer = Lexer::new(file, text);
        let mut out = Vec::new();
        while let Some(item) = lexer.next(&mut diagnostics) {
            match item {
                Item::Token(token) => out.push(format!("{:?}:{}", token.kind, token.text)),
                Item::Directive(directive) => out.push(format!("#{}", directive.name)),
            }
        }
        out.extend(diagnostics.iter().map(|diagnostic| diagnostic.code.to_string()));
        out
    }

    #[test]
    fn comments_of_three_kinds_vanish_and_nest() {
        assert_eq!(lex("a # b\n c // d\n /* e /* f */ g */ h"), ["Word:a", "Word:c", "Word:h"]);
        assert_eq!(lex("a /* b"), ["Word:a", "SCL0003"]);
    }

    #[test]
    fn unknown_escapes_stay_and_known_ones_turn_into_characters() {
        assert_eq!(lex(r#""a\tb\d\"\\\1\x41\101""#), ["Text:a\tb\\d\"\\\\1AA"]);
        assert_eq!(lex("'a\\n\"b'"), ["Text:a\\n\"b"]);
    }

    #[test]
    fn variables_are_one_token_with_key_index_and_transformations() {
        assert_eq!(
            lex("$ru == $(hdr(Via)[0]{s.len}) $avp(s:x)=$var(a);"),
            [
                "Variable:$ru",
                "Symbol:==",
                "Variable:$(hdr(Via)[0]{s.len})",
                "Variable:$avp(s:x)",
                "Symbol:=",
                "Variable:$var(a)",
                "Symbol:;"
            ]
        );
    }

    #[test]
    fn directives_are_lines_and_other_hashes_are_comments() {
        assert_eq!(lex("#!ifdef A\nx\n#!endif\n#!/usr/bin/ser\n"), ["#ifdef", "Word:x", "#endif"]);
    }
}
