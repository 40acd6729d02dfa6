//! Expressions, by precedence.

use module_api::Dialect;

use super::cursor::{Cursor, Stuck, is_address_part};
use super::tree::{Binary, Expression, ExpressionKind, Unary, Word};
use crate::diagnostic::{Diagnostic, codes};
use crate::lex::{Kind, parse_number};
use crate::source::Span;

/// How tightly `+` binds; operands of comparisons are read from here up.
const SUM: u8 = 10;

pub(super) fn expression(cursor: &mut Cursor<'_>) -> Result<Expression, Stuck> {
    binary(cursor, 0)
}

fn binary(cursor: &mut Cursor<'_>, floor: u8) -> Result<Expression, Stuck> {
    cursor.enter()?;
    let result = binary_inner(cursor, floor);
    cursor.leave();
    result
}

fn binary_inner(cursor: &mut Cursor<'_>, floor: u8) -> Result<Expression, Stuck> {
    let mut left = unary(cursor)?;
    while let Some((operator, level)) = operator(cursor) {
        if level < floor {
            break;
        }
        cursor.next();
        cursor.operators += 1;
        let right = binary(cursor, level + 1)?;
        let span = left.span.to(right.span);
        left = Expression { kind: ExpressionKind::Binary(operator, Box::new(left), Box::new(right)), span };
    }
    Ok(left)
}

/// The operator that comes next and its precedence. In SER one bar or ampersand is as good as two.
fn operator(cursor: &Cursor<'_>) -> Option<(Binary, u8)> {
    let token = cursor.peek();
    if !matches!(token.kind, Kind::Symbol | Kind::Word) {
        return None;
    }
    let found = match token.text.as_str() {
        "||" | "or" => (Binary::Or, 1),
        "&&" | "and" => (Binary::And, 2),
        "|" if cursor.dialect == Dialect::Ser => (Binary::Or, 1),
        "&" if cursor.dialect == Dialect::Ser => (Binary::And, 2),
        "|" => (Binary::BitOr, 3),
        "&" => (Binary::BitAnd, 4),
        "^" => (Binary::BitXor, 5),
        "<<" => (Binary::ShiftLeft, 6),
        ">>" => (Binary::ShiftRight, 7),
        "==" => (Binary::Equal, 8),
        "!=" => (Binary::NotEqual, 8),
        "=~" => (Binary::Matches, 8),
        "eq" => (Binary::TextEqual, 8),
        "ne" => (Binary::TextNotEqual, 8),
        "ieq" => (Binary::IntEqual, 8),
        "ine" => (Binary::IntNotEqual, 8),
        "<" => (Binary::Less, 9),
        "<=" => (Binary::LessEqual, 9),
        ">" => (Binary::Greater, 9),
        ">=" => (Binary::GreaterEqual, 9),
        "+" => (Binary::Add, SUM),
        "-" => (Binary::Subtract, SUM),
        "*" => (Binary::Multiply, 11),
        "/" => (Binary::Divide, 11),
        "mod" => (Binary::Remainder, 11),
        _ => return None,
    };
    Some(found)
}

fn unary(cursor: &mut Cursor<'_>) -> Result<Expression, Stuck> {
    let token = cursor.peek();
    let start = token.span;
    let operator = match (token.kind, token.text.as_str()) {
        (Kind::Symbol, "!") | (Kind::Word, "not") => Unary::Not,
        (Kind::Symbol, "-") => Unary::Negate,
        (Kind::Symbol, "~") => Unary::Complement,
        (Kind::Word, "defined") => Unary::Defined,
        (Kind::Word, "strlen") => Unary::Length,
        (Kind::Word, "strempty") => Unary::IsEmpty,
        (Kind::Symbol, "(") if cursor.ahead(1).kind == Kind::Word && cursor.ahead(2).is(")") => {
            match cursor.ahead(1).text.as_str() {
                "int" => Unary::ToInt,
                "str" => Unary::ToText,
                _ => return primary(cursor),
            }
        }
        _ => return primary(cursor),
    };
    cursor.enter()?;
    cursor.next();
    if matches!(operator, Unary::ToInt | Unary::ToText) {
        cursor.next();
        cursor.next();
    }
    let inner = unary(cursor);
    cursor.leave();
    let inner = inner?;
    let span = start.to(inner.span);
    if let (Unary::Negate, ExpressionKind::Int(number)) = (operator, &inner.kind) {
        return Ok(Expression { kind: ExpressionKind::Int(number.wrapping_neg()), span });
    }
    Ok(Expression { kind: ExpressionKind::Unary(operator, Box::new(inner)), span })
}

fn primary(cursor: &mut Cursor<'_>) -> Result<Expression, Stuck> {
    let token = cursor.peek();
    let start = token.span;
    let kind = match token.kind {
        Kind::Number => return number(cursor),
        Kind::Text => {
            let mut text = cursor.next().text.clone();
            while cursor.peek().kind == Kind::Text {
                text.push_str(&cursor.next().text);
            }
            ExpressionKind::Text(text)
        }
        Kind::Variable => ExpressionKind::Variable(cursor.next().text.clone()),
        Kind::Select => ExpressionKind::Select(cursor.next().text.clone()),
        Kind::Symbol if token.text == "(" => return parenthesized(cursor),
        Kind::Symbol if token.text == "[" || token.text == ":" => return Ok(address(cursor)),
        Kind::Word => return word(cursor),
        _ => return Err(cursor.expected("a value")),
    };
    Ok(Expression { kind, span: start.to(cursor.last_span()) })
}

fn number(cursor: &mut Cursor<'_>) -> Result<Expression, Stuck> {
    let token = cursor.peek();
    let next = cursor.ahead(1);
    if next.is_glued && (next.is(".") || next.is(":")) {
        return Ok(address(cursor));
    }
    let Some(number) = parse_number(&token.text) else { return Err(bad_number(cursor)) };
    cursor.next();
    Ok(Expression { kind: ExpressionKind::Int(number), span: token.span })
}

pub(super) fn bad_number(cursor: &mut Cursor<'_>) -> Stuck {
    let token = cursor.next();
    let text = format!("`{}` is not a number", token.text);
    let help = "numbers are decimal, 0x hexadecimal, leading-0 octal or 101b binary, up to 64 bits";
    cursor.diagnostics.push(Diagnostic::error(codes::BAD_NUMBER, token.span, text).help(help));
    Stuck
}

fn address(cursor: &mut Cursor<'_>) -> Expression {
    let (text, span) = cursor.glued();
    Expression { kind: ExpressionKind::Address(text), span }
}

/// `( expression )`, or an assignment that is a value.
fn parenthesized(cursor: &mut Cursor<'_>) -> Result<Expression, Stuck> {
    let start = cursor.next().span;
    let mut inner = if cursor.peek().kind == Kind::Variable && cursor.ahead(1).is("=") {
        let token = cursor.next();
        let target = Word { text: token.text.clone(), span: token.span };
        cursor.next();
        let value = expression(cursor)?;
        Expression { span: value.span, kind: ExpressionKind::Assign(target, Box::new(value)) }
    } else {
        expression(cursor)?
    };
    cursor.expect(")", "to close this parenthesis")?;
    inner.span = start.to(cursor.last_span());
    Ok(inner)
}

fn word(cursor: &mut Cursor<'_>) -> Result<Expression, Stuck> {
    let token = cursor.peek();
    if cursor.ahead(1).is("(") {
        return call(cursor);
    }
    let operand = operand(cursor);
    if let Some((name, span)) = operand {
        let left = Expression { kind: ExpressionKind::Word(name), span };
        return test(cursor, left);
    }
    let next = cursor.ahead(1);
    let joins = next.is_glued && (next.is(".") || next.is(":") || next.is("-")) && is_address_part(cursor.ahead(2));
    if joins && cursor.ahead(2).is_glued {
        return Ok(address(cursor));
    }
    cursor.next();
    Ok(Expression { kind: ExpressionKind::Word(token.text.clone()), span: token.span })
}

/// Takes an operand of old if one comes next.
fn operand(cursor: &mut Cursor<'_>) -> Option<(String, Span)> {
    let token = cursor.peek();
    let is_path = cursor.ahead(1).is(":") && cursor.ahead(2).kind == Kind::Word;
    if is_path && (token.text == "msg" || token.text == "uri") {
        cursor.next();
        cursor.next();
        let field = cursor.next();
        return Some((format!("{}:{}", token.text, field.text), token.span.to(field.span)));
    }
    if !OPERANDS.contains(&token.text.as_str()) {
        return None;
    }
    cursor.next();
    Some((token.text.clone(), token.span))
}

/// An operand and, where a comparison follows, the value that it is compared with.
fn test(cursor: &mut Cursor<'_>, left: Expression) -> Result<Expression, Stuck> {
    let Some((operator, 8 | 9)) = operator(cursor) else { return Ok(left) };
    cursor.next();
    let right = right_side(cursor)?;
    let span = left.span.to(right.span);
    Ok(Expression { kind: ExpressionKind::Test(operator, Box::new(left), Box::new(right)), span })
}

fn right_side(cursor: &mut Cursor<'_>) -> Result<Expression, Stuck> {
    if let Some((name, span)) = operand(cursor) {
        return Ok(Expression { kind: ExpressionKind::Word(name), span });
    }
    let token = cursor.peek();
    let next = cursor.ahead(1);
    let is_network = token.kind == Kind::Number && next.is(".") || token.is("[") || token.is(":");
    let is_host = matches!(token.kind, Kind::Word | Kind::Number)
        && next.is_glued
        && (next.is(".") || next.is(":") || next.is("-"));
    if !is_network && !is_host {
        return binary(cursor, SUM);
    }
    let (mut text, mut span) = cursor.glued();
    // `10.0.0.0 / 8` may be spaced.
    if cursor.at_symbol("/") {
        cursor.next();
        let (mask, mask_span) = cursor.glued();
        text = format!("{text}/{mask}");
        span = span.to(mask_span);
    }
    Ok(Expression { kind: ExpressionKind::Address(text), span })
}

fn call(cursor: &mut Cursor<'_>) -> Result<Expression, Stuck> {
    let token = cursor.next();
    let name = Word { text: token.text.clone(), span: token.span };
    cursor.next();
    let mut arguments = Vec::new();
    while !cursor.at_symbol(")") {
        arguments.push(expression(cursor)?);
        if !cursor.at_symbol(")") {
            cursor.expect(",", "or `)` behind this argument")?;
        }
    }
    cursor.next();
    let span = token.span.to(cursor.last_span());
    if name.text == "selval" {
        if let Ok(three) = <[Expression; 3]>::try_from(arguments) {
            return Ok(Expression { kind: ExpressionKind::Select3(Box::new(three)), span });
        }
        let text = "`selval` takes a condition and two values";
        cursor.diagnostics.push(Diagnostic::error(codes::ARGUMENT_COUNT, span, text));
        return Err(Stuck);
    }
    Ok(Expression { kind: ExpressionKind::Call { name, arguments }, span })
}

const OPERANDS: &[&str] = &[
    "method",
    "uri",
    "status",
    "from_uri",
    "to_uri",
    "src_ip",
    "dst_ip",
    "src_port",
    "dst_port",
    "snd_ip",
    "to_ip",
    "snd_port",
    "to_port",
    "proto",
    "snd_proto",
    "to_proto",
    "af",
    "snd_af",
    "myself",
];
