//! Statements.

use super::cursor::{Cursor, Stuck};
use super::expression;
use super::tree::{Case, Expression, ExpressionKind, Label, Statement, StatementKind, Word};
use crate::diagnostic::{Diagnostic, codes};
use crate::lex::{Kind, parse_number};

/// Statements up to the closing brace, which is taken.
pub(super) fn block(cursor: &mut Cursor<'_>) -> Vec<Statement> {
    let open = cursor.last_span();
    let mut statements = Vec::new();
    loop {
        if cursor.eat("}") {
            return statements;
        }
        if cursor.is_end() {
            let text = "this block is never closed";
            cursor.diagnostics.push(Diagnostic::error(codes::SYNTAX, open, text).help("add the missing `}`"));
            return statements;
        }
        match statement(cursor) {
            Ok(statement) => statements.push(statement),
            Err(Stuck) => cursor.recover_statement(),
        }
    }
}

pub(super) fn statement(cursor: &mut Cursor<'_>) -> Result<Statement, Stuck> {
    cursor.enter()?;
    let result = statement_inner(cursor);
    cursor.leave();
    result
}

fn statement_inner(cursor: &mut Cursor<'_>) -> Result<Statement, Stuck> {
    let first = cursor.peek();
    let start = first.span;
    cursor.operators = 0;
    let kind = match first.kind {
        Kind::Symbol if first.text == ";" => {
            cursor.next();
            StatementKind::Empty
        }
        Kind::Symbol if first.text == "{" => {
            cursor.next();
            StatementKind::Block(block(cursor))
        }
        Kind::Variable => assignment(cursor)?,
        Kind::Word => match first.text.as_str() {
            "if" => conditional(cursor)?,
            "while" => repetition(cursor)?,
            "switch" => switch(cursor)?,
            "else" => {
                let text = "this `else` belongs to no `if`";
                let found = Diagnostic::error(codes::SYNTAX, start, text)
                    .help("put braces around the statements between `if` and `else`");
                cursor.diagnostics.push(found);
                cursor.next();
                return Err(Stuck);
            }
            _ => simple(cursor)?,
        },
        _ => return Err(stuck_at_statement(cursor)),
    };
    // Keyword and header only: a caret under a whole block says nothing.
    let is_compound = matches!(
        kind,
        StatementKind::If { .. } | StatementKind::While { .. } | StatementKind::Switch { .. } | StatementKind::Block(_)
    );
    let span = if is_compound { start } else { start.to(cursor.last_span()) };
    Ok(Statement { kind, span })
}

fn stuck_at_statement(cursor: &mut Cursor<'_>) -> Stuck {
    let stuck = cursor.expected("a statement");
    cursor.next();
    stuck
}

/// The end of a simple statement. SER writes none before `else`; Kamailio demands one. Both pass.
fn end(cursor: &mut Cursor<'_>) {
    if cursor.eat(";") || cursor.at_word("else") {
        return;
    }
    let place = cursor.last_span().after();
    let found = Diagnostic::error(codes::SYNTAX, place, "expected `;` at the end of this statement");
    cursor.diagnostics.push(found.help("add `;`"));
    // What follows mostly is the next statement; anything else is skipped.
    if !matches!(cursor.peek().kind, Kind::Word | Kind::Variable) && !cursor.at_symbol("}") {
        cursor.recover_statement();
    }
}

fn assignment(cursor: &mut Cursor<'_>) -> Result<StatementKind, Stuck> {
    let token = cursor.next();
    let target = Word { text: token.text.clone(), span: token.span };
    if !cursor.eat("=") {
        return Err(cursor.expected("`=`: a variable alone is no statement"));
    }
    let value = expression::expression(cursor)?;
    end(cursor);
    Ok(StatementKind::Assign { target, value })
}

fn conditional(cursor: &mut Cursor<'_>) -> Result<StatementKind, Stuck> {
    cursor.next();
    let condition = expression::expression(cursor)?;
    let then = Box::new(statement(cursor)?);
    let otherwise = if cursor.eat_word("else") { Some(Box::new(statement(cursor)?)) } else { None };
    Ok(StatementKind::If { condition, then, otherwise })
}

fn repetition(cursor: &mut Cursor<'_>) -> Result<StatementKind, Stuck> {
    cursor.next();
    let condition = expression::expression(cursor)?;
    Ok(StatementKind::While { condition, body: Box::new(statement(cursor)?) })
}

fn switch(cursor: &mut Cursor<'_>) -> Result<StatementKind, Stuck> {
    cursor.next();
    let subject = expression::expression(cursor)?;
    cursor.expect("{", "to open the cases of this `switch`")?;
    let mut cases: Vec<Case> = Vec::new();
    while !cursor.eat("}") {
        let span = cursor.peek().span;
        if cursor.eat_word("case") {
            let label = label(cursor)?;
            cursor.expect(":", "behind the value of this case")?;
            cases.push(Case { label, span, body: Vec::new() });
        } else if cursor.eat_word("default") {
            cursor.expect(":", "behind `default`")?;
            cases.push(Case { label: Label::Default, span, body: Vec::new() });
        } else if cursor.is_end() || cases.is_empty() {
            return Err(cursor.expected("`case`, `default` or `}`"));
        } else {
            match statement(cursor) {
                Ok(statement) => cases.last_mut().expect("checked above").body.push(statement),
                Err(Stuck) => cursor.recover_statement(),
            }
        }
    }
    Ok(StatementKind::Switch { subject, cases })
}

fn label(cursor: &mut Cursor<'_>) -> Result<Label, Stuck> {
    let is_regex = cursor.eat("/");
    let is_negative = !is_regex && cursor.eat("-");
    let token = cursor.peek();
    let label = match token.kind {
        Kind::Text | Kind::Word if is_regex => Label::Regex(token.text.clone()),
        Kind::Number if !is_regex => {
            let Some(number) = parse_number(&token.text) else { return Err(expression::bad_number(cursor)) };
            Label::Int(if is_negative { -number } else { number })
        }
        Kind::Text | Kind::Word if !is_negative => Label::Text(token.text.clone()),
        _ => return Err(cursor.expected("a number, a string or /\"a regular expression\"")),
    };
    cursor.next();
    Ok(label)
}

/// A call, or one of `break`, `drop`, `exit`, `return`.
fn simple(cursor: &mut Cursor<'_>) -> Result<StatementKind, Stuck> {
    let token = cursor.peek();
    let kind = match token.text.as_str() {
        "break" => {
            cursor.next();
            value(cursor)?;
            StatementKind::Break
        }
        "drop" => {
            cursor.next();
            value(cursor)?;
            StatementKind::Drop
        }
        "exit" => {
            cursor.next();
            StatementKind::Exit(value(cursor)?)
        }
        "return" => {
            cursor.next();
            StatementKind::Return(value(cursor)?)
        }
        _ => StatementKind::Call(call(cursor)?),
    };
    end(cursor);
    Ok(kind)
}

/// The value behind `exit`, `return` or `drop`: none, `()`, `(n)` or an expression.
fn value(cursor: &mut Cursor<'_>) -> Result<Option<Expression>, Stuck> {
    if cursor.at_symbol(";") || cursor.at_symbol("}") || cursor.at_word("else") || cursor.is_end() {
        return Ok(None);
    }
    if cursor.at_symbol("(") && cursor.ahead(1).is(")") {
        cursor.next();
        cursor.next();
        return Ok(None);
    }
    expression::expression(cursor).map(Some)
}

fn call(cursor: &mut Cursor<'_>) -> Result<Expression, Stuck> {
    let name = cursor.peek();
    if cursor.ahead(1).is("=") {
        let stuck = cursor.expected("a statement; settings stand outside of routes, and variables begin with `$`");
        cursor.next();
        return Err(stuck);
    }
    if cursor.ahead(1).is("(") {
        return expression::expression(cursor);
    }
    cursor.next();
    let word = Word { text: name.text.clone(), span: name.span };
    Ok(Expression { kind: ExpressionKind::Call { name: word, arguments: Vec::new() }, span: name.span })
}
