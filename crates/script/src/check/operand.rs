//! Operands of old: `method`, `uri`, `src_ip` and their comparisons.

use std::net::IpAddr;

use bytes::Bytes;
use module_api::{Index, Value};

use super::Checker;
use super::expression::{logic, negated, placeholder};
use super::reach::Use;
use super::tree::{Expression, ExpressionKind, Type};
use crate::diagnostic::{Diagnostic, codes};
use crate::program::{IndexUse, Network, Source, Subject, VariableUse};
use crate::source::Span;
use crate::syntax::tree as syntax;
use crate::syntax::tree::Binary;

/// How an operand compares.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Uri,
    Address,
    Number,
    Text,
}

pub(super) const NAMES: &[&str] =
    &["method", "uri", "status", "from_uri", "to_uri", "src_ip", "dst_ip", "src_port", "dst_port", "proto", "myself"];

fn family(name: &str) -> Family {
    match name {
        "uri" | "status" | "from_uri" | "to_uri" => Family::Uri,
        "src_ip" | "dst_ip" | "snd_ip" | "to_ip" => Family::Address,
        "src_port" | "dst_port" | "snd_port" | "to_port" | "msg:len" | "af" | "snd_af" => Family::Number,
        _ => Family::Text,
    }
}

impl Checker<'_, '_> {
    /// A read of an operand; none when `name` is none.
    pub(super) fn operand(&mut self, name: &str, span: Span) -> Option<Expression> {
        let (module, variable) = self.scope.operand(name)?;
        let (route, is_guarded) = (self.route, self.conditions > 0);
        let allowed = variable.routes;
        self.reach.used(Use { route, allowed, name: format!("`{name}`"), is_variable: true, is_guarded, span });
        let source = Source::Module { variable, module };
        let read = VariableUse { source, key: None, index: IndexUse::Fixed(Index::Default), transforms: Box::new([]) };
        let ty = if family(name) == Family::Number { Type::Int } else { Type::Any };
        Some(Expression { kind: ExpressionKind::Read(read), ty, span })
    }

    /// An operand compared with a value.
    pub(super) fn test(
        &mut self,
        operator: Binary,
        left: &syntax::Expression,
        right: &syntax::Expression,
        span: Span,
    ) -> Expression {
        let (Some(name), other) = (word(left), word(right)) else { return placeholder(span) };
        let positive = match (name, other) {
            ("myself", Some(name)) | (name, Some("myself")) => self.is_myself(name, left, right, span),
            ("myself", None) => {
                self.not_comparable("myself", right.span);
                return placeholder(span);
            }
            _ => return self.compare(operator, name, (left, right), span),
        };
        match operator {
            Binary::Equal => positive,
            Binary::NotEqual => negated(positive),
            _ => {
                let text = "`myself` can only be compared with `==` and `!=`";
                self.report(Diagnostic::error(codes::TYPE_CLASH, span, text));
                placeholder(span)
            }
        }
    }

    fn is_myself(
        &mut self,
        name: &str,
        left: &syntax::Expression,
        right: &syntax::Expression,
        span: Span,
    ) -> Expression {
        let place = if word(left) == Some(name) { left.span } else { right.span };
        let subject = match family(name) {
            Family::Uri => Subject::Uri,
            Family::Address => Subject::Host,
            _ => {
                self.not_comparable(name, place);
                return placeholder(span);
            }
        };
        let Some(read) = self.operand(name, place) else {
            self.unknown_word(name, place);
            return placeholder(span);
        };
        logic(ExpressionKind::IsMyself(Box::new(read), subject), span)
    }

    fn not_comparable(&mut self, name: &str, span: Span) {
        let text = format!("`{name}` cannot be compared with `myself`");
        let found = Diagnostic::error(codes::TYPE_CLASH, span, text);
        self.report(found.help("`myself` goes with uri, from_uri, to_uri, src_ip and dst_ip"));
    }

    fn compare(
        &mut self,
        operator: Binary,
        name: &str,
        (left, right): (&syntax::Expression, &syntax::Expression),
        span: Span,
    ) -> Expression {
        let Some(read) = self.operand(name, left.span) else {
            self.unknown_word(name, left.span);
            return placeholder(span);
        };
        let family = family(name);
        if operator == Binary::Matches {
            let pattern = self.right_side(right);
            return self.matches(read, pattern, span);
        }
        let is_equality = matches!(operator, Binary::Equal | Binary::NotEqual);
        if family == Family::Number || !is_equality {
            let right = self.expression(right);
            return logic(ExpressionKind::Binary(operator, Box::new(read), Box::new(right)), span);
        }
        let positive = match (family, literal(right)) {
            (Family::Address, Some(text)) => {
                let networks = self.networks(text, right.span);
                logic(ExpressionKind::InNetworks(Box::new(read), networks), span)
            }
            _ => {
                let right = self.right_side(right);
                logic(ExpressionKind::FoldEquals(Box::new(read), Box::new(right)), span)
            }
        };
        if operator == Binary::Equal { positive } else { negated(positive) }
    }

    /// The right side of a test: there a bare word is a string, as in `method==INVITE`.
    fn right_side(&mut self, right: &syntax::Expression) -> Expression {
        match &right.kind {
            syntax::ExpressionKind::Word(word) if self.scope.operand(word).is_none() => {
                Expression::text(Bytes::from(word.clone()), right.span)
            }
            _ => self.expression(right),
        }
    }

    /// The addresses that a literal stands for; host names are looked up once, now.
    fn networks(&mut self, text: &str, span: Span) -> Vec<Network> {
        if let Some(network) = parse_network(text) {
            return vec![network];
        }
        let addresses = self.input.options.reader.resolve(text);
        if addresses.is_empty() {
            let found = Diagnostic::warning(codes::UNRESOLVED_HOST, span, format!("`{text}` has no address"));
            let found = found.label("this comparison never holds");
            self.report(found.help("write an address or a network, such as 192.0.2.0/24 or [2001:db8::]/32"));
        }
        addresses.into_iter().map(whole).collect()
    }
}

fn word(expression: &syntax::Expression) -> Option<&str> {
    match &expression.kind {
        syntax::ExpressionKind::Word(word) => Some(word),
        _ => None,
    }
}

fn literal(expression: &syntax::Expression) -> Option<&str> {
    match &expression.kind {
        syntax::ExpressionKind::Text(text)
        | syntax::ExpressionKind::Address(text)
        | syntax::ExpressionKind::Word(text) => Some(text),
        _ => None,
    }
}

fn whole(address: IpAddr) -> Network {
    Network { address, prefix: if address.is_ipv4() { 32 } else { 128 } }
}

/// `address`, `address/length` or `address/mask`.
pub(super) fn parse_network(text: &str) -> Option<Network> {
    let (address, mask) = text.split_once('/').map_or((text, None), |(address, mask)| (address, Some(mask)));
    let address: IpAddr = address.trim().trim_start_matches('[').trim_end_matches(']').parse().ok()?;
    let network = whole(address);
    let Some(mask) = mask else { return Some(network) };
    let prefix = match mask.trim().parse::<u8>() {
        Ok(length) => length,
        Err(_) => prefix_of(mask.trim())?,
    };
    (prefix <= network.prefix).then_some(Network { prefix, ..network })
}

/// How many leading ones a mask has; a mask with a hole is none.
fn prefix_of(mask: &str) -> Option<u8> {
    match mask.trim_start_matches('[').trim_end_matches(']').parse().ok()? {
        IpAddr::V4(mask) => {
            let bits = mask.to_bits();
            (bits.leading_ones() + bits.trailing_zeros().min(32 - bits.leading_ones()) == 32)
                .then_some(bits.leading_ones() as u8)
        }
        IpAddr::V6(mask) => {
            let bits = mask.to_bits();
            (bits.leading_ones() + bits.trailing_zeros().min(128 - bits.leading_ones()) == 128)
                .then_some(bits.leading_ones() as u8)
        }
    }
}

/// Undefined as a constant.
pub(super) fn null(span: Span) -> Expression {
    Expression { kind: ExpressionKind::Constant(Value::Null), ty: Type::Any, span }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_a_length_or_a_mask() {
        let check = |text: &str, address: &str, prefix: u8| {
            assert_eq!(parse_network(text), Some(Network { address: address.parse().unwrap(), prefix }), "{text}");
        };
        check("10.0.0.1", "10.0.0.1", 32);
        check("10.0.0.0/8", "10.0.0.0", 8);
        check("192.168.0.0/255.255.0.0", "192.168.0.0", 16);
        check("[2001:db8::]/32", "2001:db8::", 32);
        check("0.0.0.0/0.0.0.0", "0.0.0.0", 0);
        for text in ["10.0.0.0/33", "10.0.0.0/255.0.255.0", "example.com", "10.0.0"] {
            assert_eq!(parse_network(text), None, "{text}");
        }
    }
}
