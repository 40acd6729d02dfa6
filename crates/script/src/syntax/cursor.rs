//! A place in the list of tokens, and what every part of the parser needs of it.

use module_api::Dialect;

use crate::diagnostic::{Diagnostic, Diagnostics, codes};
use crate::lex::{Kind, Token};
use crate::source::Span;

/// The parser's state.
pub(super) struct Cursor<'a> {
    tokens: &'a [Token],
    at: usize,
    pub(super) dialect: Dialect,
    pub(super) diagnostics: &'a mut Diagnostics,
    pub(super) depth: usize,
    /// Operators in the statement so far: each makes the tree deeper.
    pub(super) operators: usize,
}

/// Something was reported; the caller looks for the next place to go on.
#[derive(Debug)]
pub(super) struct Stuck;

/// How deep statements and expressions may nest.
const DEPTH_LIMIT: usize = 200;
/// How many operators one statement may have.
const OPERATOR_LIMIT: usize = 500;

impl<'a> Cursor<'a> {
    pub(super) fn new(tokens: &'a [Token], dialect: Dialect, diagnostics: &'a mut Diagnostics) -> Cursor<'a> {
        Cursor { tokens, at: 0, dialect, diagnostics, depth: 0, operators: 0 }
    }

    pub(super) fn peek(&self) -> &'a Token {
        self.ahead(0)
    }

    /// The token `n` places further; at the end, the last one.
    pub(super) fn ahead(&self, n: usize) -> &'a Token {
        &self.tokens[(self.at + n).min(self.tokens.len() - 1)]
    }

    pub(super) fn next(&mut self) -> &'a Token {
        let token = self.peek();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    /// The place of the token before.
    pub(super) fn last_span(&self) -> Span {
        self.tokens[self.at.saturating_sub(1)].span
    }

    pub(super) fn is_end(&self) -> bool {
        self.peek().kind == Kind::End
    }

    pub(super) fn at_symbol(&self, symbol: &str) -> bool {
        self.peek().is(symbol)
    }

    pub(super) fn at_word(&self, word: &str) -> bool {
        self.peek().is_word(word)
    }

    /// Takes `symbol` if it comes next.
    pub(super) fn eat(&mut self, symbol: &str) -> bool {
        let is_there = self.at_symbol(symbol);
        if is_there {
            self.next();
        }
        is_there
    }

    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let is_there = self.at_word(word);
        if is_there {
            self.next();
        }
        is_there
    }

    pub(super) fn expect(&mut self, symbol: &str, why: &str) -> Result<(), Stuck> {
        if self.eat(symbol) { Ok(()) } else { Err(self.expected(&format!("`{symbol}` {why}"))) }
    }

    /// Reports that `what` was expected at the next token.
    pub(super) fn expected(&mut self, what: &str) -> Stuck {
        let token = self.peek();
        let text = format!("expected {what}, found {}", token.describe());
        self.diagnostics.push(Diagnostic::error(codes::SYNTAX, token.span, text));
        Stuck
    }

    pub(super) fn enter(&mut self) -> Result<(), Stuck> {
        self.depth += 1;
        if self.depth <= DEPTH_LIMIT && self.operators <= OPERATOR_LIMIT {
            return Ok(());
        }
        self.depth -= 1;
        let found = Diagnostic::error(codes::TOO_DEEP, self.peek().span, "this is nested too deeply");
        self.diagnostics.push(found);
        // Nothing sensible follows: every level above would complain again.
        self.at = self.tokens.len() - 1;
        Err(Stuck)
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Takes one token and all that are glued to it and may be part of an address.
    pub(super) fn glued(&mut self) -> (String, Span) {
        let first = self.next();
        let mut text = first.text.clone();
        let mut span = first.span;
        if first.is("[") {
            self.bracketed(&mut text, &mut span);
        }
        while self.peek().is_glued && is_address_part(self.peek()) {
            let token = self.next();
            text.push_str(&token.text);
            span = span.to(token.span);
            if token.is("[") {
                self.bracketed(&mut text, &mut span);
            }
        }
        (text, span)
    }

    fn bracketed(&mut self, text: &mut String, span: &mut Span) {
        while !self.is_end() && !self.at_symbol(";") {
            let token = self.next();
            text.push_str(&token.text);
            *span = span.to(token.span);
            if token.is("]") {
                return;
            }
        }
    }

    /// Skips to where a statement may begin again.
    pub(super) fn recover_statement(&mut self) {
        let mut depth = 0_usize;
        while !self.is_end() {
            if depth == 0 && (self.at_symbol("}") || self.at_symbol("{")) {
                return;
            }
            let token = self.next();
            match token.text.as_str() {
                "(" if token.kind == Kind::Symbol => depth += 1,
                ")" if token.kind == Kind::Symbol => depth = depth.saturating_sub(1),
                ";" if token.kind == Kind::Symbol => return,
                _ => {}
            }
        }
    }
}

pub(super) fn is_address_part(token: &Token) -> bool {
    match token.kind {
        // Quoted where a definition is: `udp:IP:5060` with `#!define IP "192.0.2.1"`.
        Kind::Word | Kind::Number | Kind::Text => true,
        Kind::Symbol => matches!(token.text.as_str(), "." | ":" | "-" | "[" | "*" | "/"),
        _ => false,
    }
}
