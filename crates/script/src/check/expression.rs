//! Expressions.

use std::sync::Arc;

use module_api::Value;

use super::Checker;
use super::tree::{Expression, ExpressionKind, Type};
use crate::diagnostic::{Diagnostic, codes};
use crate::pattern;
use crate::settings::boolean;
use crate::source::Span;
use crate::syntax::tree as syntax;
use crate::syntax::tree::{Binary, Unary};

impl Checker<'_, '_> {
    pub(super) fn expression(&mut self, expression: &syntax::Expression) -> Expression {
        let span = expression.span;
        match &expression.kind {
            syntax::ExpressionKind::Int(number) => Expression::int(*number, span),
            syntax::ExpressionKind::Text(text) | syntax::ExpressionKind::Address(text) => {
                Expression::text(text.clone(), span)
            }
            syntax::ExpressionKind::Word(word) => self.word(word, span),
            syntax::ExpressionKind::Variable(text) => self.read(text, span),
            syntax::ExpressionKind::Select(path) => self.select(path, span),
            syntax::ExpressionKind::Call { name, arguments } => self.call(name, arguments, span),
            syntax::ExpressionKind::Unary(operator, inner) => self.unary(*operator, inner, span),
            syntax::ExpressionKind::Binary(operator, left, right) => self.binary(*operator, left, right, span),
            syntax::ExpressionKind::Test(operator, left, right) => self.test(*operator, left, right, span),
            syntax::ExpressionKind::Assign(target, value) => {
                let value = self.expression(value);
                let ty = value.ty;
                match self.target(target) {
                    Some(target) => Expression { kind: ExpressionKind::Assign(target, Box::new(value)), ty, span },
                    None => placeholder(span),
                }
            }
            syntax::ExpressionKind::Select3(three) => {
                let three = Box::new([&three[0], &three[1], &three[2]].map(|one| self.expression(one)));
                Expression { kind: ExpressionKind::Choose(three), ty: Type::Any, span }
            }
        }
    }

    /// A bare word: an operand of old, a declared flag, a number with a name.
    fn word(&mut self, word: &str, span: Span) -> Expression {
        if let Some(operand) = self.operand(word, span) {
            return operand;
        }
        if let Some(number) = named_number(word).or_else(|| self.scope.flag(word)) {
            return Expression::int(number, span);
        }
        if sip_message::Transport::from_token(word.as_bytes()).is_some() {
            return Expression::text(word.to_ascii_lowercase(), span);
        }
        self.unknown_word(word, span);
        placeholder(span)
    }

    pub(super) fn unknown_word(&mut self, word: &str, span: Span) {
        let found = Diagnostic::error(codes::UNKNOWN_WORD, span, format!("`{word}` means nothing here"))
            .label("no operand, flag or definition has this name");
        let defines = self.input.defines.iter().map(|(name, _)| name.as_str());
        let known = defines.chain(self.scope.flag_names()).chain(super::operand::NAMES.iter().copied());
        let found = match crate::diagnostic::closest(word, known) {
            Some(candidate) => found.help(format!("did you mean `{candidate}`?")),
            None if !self.scope.functions(word).is_empty() => {
                found.help(format!("a call needs parentheses: `{word}()`"))
            }
            None => found.help("strings stand in quotes, variables begin with `$`, and `#!define` makes names"),
        };
        self.report(found);
    }

    fn unary(&mut self, operator: Unary, inner: &syntax::Expression, span: Span) -> Expression {
        let inner = self.expression(inner);
        if let (Unary::Negate, Some(Value::Int(number))) = (operator, inner.constant()) {
            return Expression::int(number.wrapping_neg(), span);
        }
        let ty = if operator == Unary::ToText { Type::Text } else { Type::Int };
        Expression { kind: ExpressionKind::Unary(operator, Box::new(inner)), ty, span }
    }

    fn binary(
        &mut self,
        operator: Binary,
        left: &syntax::Expression,
        right: &syntax::Expression,
        span: Span,
    ) -> Expression {
        let negation = matches!(left.kind, syntax::ExpressionKind::Unary(Unary::Not, _));
        let (left, right) = (self.expression(left), self.expression(right));
        match operator {
            Binary::And => logic(ExpressionKind::And(left.into(), right.into()), span),
            Binary::Or => logic(ExpressionKind::Or(left.into(), right.into()), span),
            Binary::Matches => self.matches(left, right, span),
            Binary::Equal | Binary::NotEqual if is_null(&right) => {
                // `x == $null` asks whether x is defined.
                let defined = logic(ExpressionKind::Unary(Unary::Defined, left.into()), span);
                if operator == Binary::NotEqual { defined } else { negated(defined) }
            }
            Binary::NotEqual => {
                self.check_types(operator, &left, &right, negation, span);
                negated(logic(ExpressionKind::Binary(Binary::Equal, left.into(), right.into()), span))
            }
            _ => {
                self.check_types(operator, &left, &right, negation, span);
                let ty = if operator == Binary::Add { left.ty } else { Type::Int };
                Expression { kind: ExpressionKind::Binary(operator, left.into(), right.into()), ty, span }
            }
        }
    }

    /// `left =~ right`; a constant pattern is compiled now.
    pub(super) fn matches(&mut self, left: Expression, right: Expression, span: Span) -> Expression {
        let Some(constant) = right.constant() else {
            return logic(ExpressionKind::Binary(Binary::Matches, left.into(), right.into()), span);
        };
        let text = constant.to_bytes();
        let text = String::from_utf8_lossy(&text);
        match pattern::compile(&text, pattern::Use::Operator) {
            Ok(regex) => logic(ExpressionKind::Match(left.into(), Arc::new(regex)), span),
            Err(cause) => {
                self.bad_regex(&text, &cause, right.span);
                placeholder(span)
            }
        }
    }

    /// A number and a string that spells none can never be equal or be added.
    fn check_types(&mut self, operator: Binary, left: &Expression, right: &Expression, negation: bool, span: Span) {
        let Some(Value::Str(text)) = right.constant() else { return };
        let is_number = std::str::from_utf8(text).is_ok_and(|text| text.trim().parse::<i64>().is_ok());
        let compares = matches!(operator, Binary::Equal | Binary::NotEqual | Binary::Add);
        if left.ty != Type::Int || is_number || !compares {
            return;
        }
        let text = format!("`{}` between a number and a string", operator.as_str());
        let found = Diagnostic::error(codes::TYPE_CLASH, span, text);
        self.report(match negation {
            true => found.help("`!` binds tighter than the comparison: write `!(a == b)` or `a != b`"),
            false => found.help("convert one side: `(str)` makes a string, `(int)` a number"),
        });
    }
}

/// What stands for an expression that was reported.
pub(super) fn placeholder(span: Span) -> Expression {
    Expression { kind: ExpressionKind::Constant(Value::Int(0)), ty: Type::Any, span }
}

pub(super) fn logic(kind: ExpressionKind, span: Span) -> Expression {
    Expression { kind, ty: Type::Int, span }
}

pub(super) fn negated(inner: Expression) -> Expression {
    let span = inner.span;
    logic(ExpressionKind::Unary(Unary::Not, Box::new(inner)), span)
}

fn is_null(expression: &Expression) -> bool {
    matches!(&expression.kind, ExpressionKind::Constant(Value::Null))
}

/// Words that are numbers: booleans, address families, log levels.
pub(super) fn named_number(word: &str) -> Option<i64> {
    let number = match word {
        "inet" | "INET" | "ipv4" | "IPv4" | "IPV4" => 2,
        "inet6" | "INET6" | "ipv6" | "IPv6" | "IPV6" => 10,
        "max_len" => 65535,
        "L_ALERT" => -5,
        "L_BUG" => -4,
        "L_CRIT2" | "L_CRIT" => -2,
        "L_ERR" => -1,
        "L_WARN" => 0,
        "L_NOTICE" => 1,
        "L_INFO" => 2,
        "L_DBG" => 3,
        word => return boolean(word),
    };
    Some(number)
}
