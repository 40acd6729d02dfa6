//! Statements.

use module_api::Value;

use super::Checker;
use super::tree::{Case, Label, Statement, StatementKind};
use crate::diagnostic::{Diagnostic, codes};
use crate::pattern;
use crate::source::Span;
use crate::syntax::tree as syntax;

impl Checker<'_, '_> {
    /// Checks a list of statements and warns of what can never run.
    pub(super) fn statements(&mut self, list: &[syntax::Statement]) -> Vec<Statement> {
        let mut end: Option<Span> = None;
        let mut out = Vec::new();
        for statement in list {
            if matches!(statement.kind, syntax::StatementKind::Empty) {
                continue;
            }
            if let Some(end) = end.take() {
                let found = Diagnostic::warning(codes::UNREACHABLE, statement.span, "this statement can never run");
                self.report(found.note(Some(end), "nothing comes behind this one"));
            }
            if leaves(statement) {
                end = Some(statement.span);
            }
            out.extend(self.statement(statement));
        }
        out
    }

    fn statement(&mut self, statement: &syntax::Statement) -> Option<Statement> {
        let kind = match &statement.kind {
            syntax::StatementKind::Empty => return None,
            syntax::StatementKind::Block(body) => StatementKind::Block(self.statements(body)),
            syntax::StatementKind::If { condition, then, otherwise } => {
                let condition = self.expression(condition);
                self.conditions += 1;
                let then = self.arm(then);
                let otherwise = otherwise.as_ref().map(|otherwise| self.arm(otherwise));
                self.conditions -= 1;
                StatementKind::If { condition, then, otherwise }
            }
            syntax::StatementKind::While { condition, body } => {
                let condition = self.expression(condition);
                StatementKind::While { condition, body: self.arm(body) }
            }
            syntax::StatementKind::Switch { subject, cases } => {
                let subject = self.expression(subject);
                self.conditions += 1;
                let cases = self.cases(cases);
                self.conditions -= 1;
                StatementKind::Switch { subject, cases }
            }
            syntax::StatementKind::Assign { target, value } => {
                let value = self.expression(value);
                StatementKind::Assign { target: self.target(target)?, value }
            }
            syntax::StatementKind::Call(call) => StatementKind::Evaluate(self.expression(call)),
            syntax::StatementKind::Break => StatementKind::Break,
            syntax::StatementKind::Drop => StatementKind::Drop,
            syntax::StatementKind::Exit(value) => {
                if let Some(value) = value {
                    self.expression(value);
                }
                StatementKind::Exit
            }
            syntax::StatementKind::Return(value) => {
                StatementKind::Return(value.as_ref().map(|value| self.expression(value)))
            }
        };
        Some(Statement { kind, span: statement.span })
    }

    /// The body of a condition or loop: its braces are no block that `break` would leave.
    fn arm(&mut self, statement: &syntax::Statement) -> Vec<Statement> {
        match &statement.kind {
            syntax::StatementKind::Block(body) => self.statements(body),
            _ => self.statements(std::slice::from_ref(statement)),
        }
    }

    fn cases(&mut self, cases: &[syntax::Case]) -> Vec<Case> {
        let mut default: Option<Span> = None;
        let mut out = Vec::new();
        for case in cases {
            let label = match &case.label {
                syntax::Label::Int(number) => Label::Value(Value::Int(*number)),
                syntax::Label::Text(text) => Label::Value(Value::Str(text.clone().into())),
                syntax::Label::Regex(text) => match pattern::compile(text, pattern::Use::Operator) {
                    Ok(regex) => Label::Regex(regex.into()),
                    Err(cause) => {
                        self.bad_regex(text, &cause, case.span);
                        continue;
                    }
                },
                syntax::Label::Default => {
                    if let Some(first) = default.replace(case.span) {
                        let found = Diagnostic::error(codes::SYNTAX, case.span, "a second `default` in one `switch`");
                        self.report(found.note(Some(first), "first here"));
                    }
                    Label::Default
                }
            };
            out.push(Case { label, body: self.statements(&case.body) });
        }
        out
    }

    pub(super) fn bad_regex(&mut self, text: &str, cause: &str, span: Span) {
        let message = format!("`{text}` is not a regular expression: {cause}");
        self.report(Diagnostic::error(codes::BAD_REGEX, span, message));
    }
}

/// Whether nothing behind the statement can run.
fn leaves(statement: &syntax::Statement) -> bool {
    match &statement.kind {
        syntax::StatementKind::Exit(_)
        | syntax::StatementKind::Return(_)
        | syntax::StatementKind::Break
        | syntax::StatementKind::Drop => true,
        syntax::StatementKind::If { then, otherwise: Some(otherwise), .. } => arm_leaves(then) && arm_leaves(otherwise),
        _ => false,
    }
}

fn arm_leaves(statement: &syntax::Statement) -> bool {
    match &statement.kind {
        syntax::StatementKind::Block(body) => body.iter().any(leaves),
        _ => leaves(statement),
    }
}
