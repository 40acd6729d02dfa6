//! The checked tree: every name is resolved, every constant is ready.

use std::sync::Arc;

use module_api::{RouteId, RouteKind, Value};
use regex::bytes::Regex;

use crate::program::{CallSite, Network, Subject, Text, VariableUse};
use crate::source::Span;
use crate::syntax::tree::{Binary, Unary};

/// A route block; blocks of one name are joined.
pub(crate) struct Route {
    pub(crate) kind: RouteKind,
    pub(crate) name: String,
    pub(crate) body: Vec<Statement>,
}

pub(crate) struct Statement {
    pub(crate) kind: StatementKind,
    pub(crate) span: Span,
}

pub(crate) enum StatementKind {
    /// A free-standing block: `break` leaves it.
    Block(Vec<Statement>),
    If {
        condition: Expression,
        then: Vec<Statement>,
        otherwise: Option<Vec<Statement>>,
    },
    While {
        condition: Expression,
        body: Vec<Statement>,
    },
    Switch {
        subject: Expression,
        cases: Vec<Case>,
    },
    Assign {
        target: VariableUse,
        value: Expression,
    },
    Evaluate(Expression),
    Break,
    Drop,
    Exit,
    Return(Option<Expression>),
}

pub(crate) struct Case {
    pub(crate) label: Label,
    pub(crate) body: Vec<Statement>,
}

pub(crate) enum Label {
    Default,
    Value(Value),
    Regex(Arc<Regex>),
}

/// What is known about the value of an expression before it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Int,
    Text,
    Any,
}

pub(crate) struct Expression {
    pub(crate) kind: ExpressionKind,
    pub(crate) ty: Type,
    pub(crate) span: Span,
}

pub(crate) enum ExpressionKind {
    Constant(Value),
    Read(VariableUse),
    Text(Text),
    /// The call, and the arguments that must be computed before it.
    Call(CallSite, Vec<Expression>),
    Route(RouteId),
    RouteByName(Box<Expression>),
    Unary(Unary, Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    Binary(Binary, Box<Expression>, Box<Expression>),
    /// Comparison in which case does not count.
    FoldEquals(Box<Expression>, Box<Expression>),
    Match(Box<Expression>, Arc<Regex>),
    InNetworks(Box<Expression>, Vec<Network>),
    IsMyself(Box<Expression>, Subject),
    Assign(VariableUse, Box<Expression>),
    Choose(Box<[Expression; 3]>),
}

impl Expression {
    pub(crate) fn int(number: i64, span: Span) -> Expression {
        Expression { kind: ExpressionKind::Constant(Value::Int(number)), ty: Type::Int, span }
    }

    pub(crate) fn text(text: impl Into<bytes::Bytes>, span: Span) -> Expression {
        Expression { kind: ExpressionKind::Constant(Value::Str(text.into())), ty: Type::Text, span }
    }

    pub(crate) fn constant(&self) -> Option<&Value> {
        match &self.kind {
            ExpressionKind::Constant(value) => Some(value),
            _ => None,
        }
    }
}
