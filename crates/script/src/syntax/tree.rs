//! The tree of a script, as written: nothing is resolved yet.

use module_api::{RouteKind, Value};

use crate::source::Span;

/// A whole script.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) settings: Vec<SettingTree>,
    pub(crate) listens: Vec<ListenTree>,
    pub(crate) aliases: Vec<Word>,
    pub(crate) modules: Vec<Word>,
    pub(crate) modparams: Vec<ModParam>,
    pub(crate) flags: Vec<(Word, Option<i64>)>,
    pub(crate) routes: Vec<RouteTree>,
    /// `group.name = value`.
    pub(crate) variables: Vec<(Word, Literal)>,
}

/// A piece of text with its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// A constant at the top level.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Int(i64),
    Text(String),
    /// A bare word, such as `yes` or `LOG_LOCAL0`.
    Word(String),
}

impl Literal {
    pub(crate) fn to_value(&self) -> Value {
        match self {
            Literal::Int(number) => Value::Int(*number),
            Literal::Text(text) | Literal::Word(text) => Value::Str(text.clone().into()),
        }
    }
}

#[derive(Debug)]
pub(crate) struct SettingTree {
    pub(crate) name: Word,
    pub(crate) value: Literal,
    pub(crate) value_span: Span,
}

#[derive(Debug)]
pub(crate) struct ListenTree {
    pub(crate) address: Word,
    pub(crate) advertise: Option<Word>,
    pub(crate) name: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct ModParam {
    /// A regular expression over module names.
    pub(crate) module: Word,
    pub(crate) parameter: Word,
    pub(crate) value: Literal,
    pub(crate) value_span: Span,
    /// How many `loadmodule` lines came before.
    pub(crate) loaded: usize,
}

#[derive(Debug)]
pub(crate) struct RouteTree {
    pub(crate) kind: RouteKind,
    /// None for the main blocks.
    pub(crate) name: Option<String>,
    /// `route` or what it was called, and the name.
    pub(crate) span: Span,
    pub(crate) body: Vec<Statement>,
}

#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) kind: StatementKind,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) enum StatementKind {
    Empty,
    Block(Vec<Statement>),
    If {
        condition: Expression,
        then: Box<Statement>,
        otherwise: Option<Box<Statement>>,
    },
    While {
        condition: Expression,
        body: Box<Statement>,
    },
    Switch {
        subject: Expression,
        cases: Vec<Case>,
    },
    Assign {
        target: Word,
        value: Expression,
    },
    /// A call.
    Call(Expression),
    Break,
    Drop,
    Exit(Option<Expression>),
    Return(Option<Expression>),
}

#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) label: Label,
    pub(crate) span: Span,
    pub(crate) body: Vec<Statement>,
}

#[derive(Debug)]
pub(crate) enum Label {
    Default,
    Int(i64),
    Text(String),
    Regex(String),
}

#[derive(Debug)]
pub(crate) struct Expression {
    pub(crate) kind: ExpressionKind,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) enum ExpressionKind {
    Int(i64),
    Text(String),
    /// A bare word: an operand, a flag, a constant, a method.
    Word(String),
    /// An address, network or host name written without quotes.
    Address(String),
    /// `$...`, not yet taken apart.
    Variable(String),
    /// `@...`.
    Select(String),
    Call {
        name: Word,
        arguments: Vec<Expression>,
    },
    Unary(Unary, Box<Expression>),
    Binary(Binary, Box<Expression>, Box<Expression>),
    /// An operand of old compared with a value: one unit, so that `!method=="ACK"` negates the whole.
    Test(Binary, Box<Expression>, Box<Expression>),
    Assign(Word, Box<Expression>),
    Select3(Box<[Expression; 3]>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unary {
    Not,
    Negate,
    Complement,
    Defined,
    ToInt,
    ToText,
    Length,
    IsEmpty,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    Or,
    And,
    BitOr,
    BitAnd,
    BitXor,
    ShiftLeft,
    ShiftRight,
    Equal,
    NotEqual,
    Matches,
    TextEqual,
    TextNotEqual,
    IntEqual,
    IntNotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Binary {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Binary::Or => "||",
            Binary::And => "&&",
            Binary::BitOr => "|",
            Binary::BitAnd => "&",
            Binary::BitXor => "^",
            Binary::ShiftLeft => "<<",
            Binary::ShiftRight => ">>",
            Binary::Equal => "==",
            Binary::NotEqual => "!=",
            Binary::Matches => "=~",
            Binary::TextEqual => "eq",
            Binary::TextNotEqual => "ne",
            Binary::IntEqual => "ieq",
            Binary::IntNotEqual => "ine",
            Binary::Less => "<",
            Binary::LessEqual => "<=",
            Binary::Greater => ">",
            Binary::GreaterEqual => ">=",
            Binary::Add => "+",
            Binary::Subtract => "-",
            Binary::Multiply => "*",
            Binary::Divide => "/",
            Binary::Remainder => "mod",
        }
    }
}
