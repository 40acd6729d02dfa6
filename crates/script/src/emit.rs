//! Checked tree to instructions.

use std::collections::HashMap;
use std::sync::Arc;

use module_api::{Dialect, RouteId, Value};
use regex::bytes::Regex;

use crate::check::tree::{Case, Expression, ExpressionKind, Label, Route, Statement, StatementKind};
use crate::marks::{MarkKind, Marks};
use crate::program::{Bounds, Op, Place, Program, RouteEntry, VariableUse};
use crate::settings::Settings;
use crate::source::{FileId, SourceMap, Span};
use crate::syntax::tree::{Binary, Unary};

/// Translates every route. `dialect` decides what `break` and `drop` mean.
pub(crate) fn emit(routes: Vec<Route>, dialect: Dialect, settings: &Settings, sources: &SourceMap) -> Program {
    let files = (0..sources.len()).map(|n| sources.path(FileId(n as u16)).to_owned()).collect();
    let marks = Marks::new(sources.clone());
    let mut program = Program { dialect, bounds: bounds(settings), files, marks, ..Program::default() };
    for (n, route) in routes.iter().enumerate() {
        program.by_name.insert((route.kind, route.name.clone()), RouteId(n as u16));
    }
    let mut emitter = Emitter { program, sources, blocks: Vec::new(), constants: HashMap::new() };
    for route in routes {
        emitter.route(route);
    }
    emitter.program
}

fn bounds(settings: &Settings) -> Bounds {
    let defaults = Bounds::default();
    let positive = |name: &str| u32::try_from(settings.int(name)).ok().filter(|number| *number > 0);
    Bounds {
        loop_rounds: positive("max_while_loops").unwrap_or(defaults.loop_rounds),
        call_depth: positive("max_recursive_level").map_or(defaults.call_depth, |depth| depth.min(10_000) as usize),
        any_code_is_true: settings.int("return_mode") == 1,
        steps: defaults.steps,
    }
}

struct Emitter<'a> {
    program: Program,
    sources: &'a SourceMap,
    /// What a `break` would leave, innermost last: the jumps to be pointed at its end.
    blocks: Vec<Vec<usize>>,
    /// Constants by value, so that each is stored once.
    constants: HashMap<Vec<u8>, u32>,
}

/// A jump whose target is not known yet.
const LATER: u32 = u32::MAX;

impl Emitter<'_> {
    fn route(&mut self, route: Route) {
        let entry = self.here();
        self.program.routes.push(RouteEntry { kind: route.kind, name: route.name, entry });
        self.blocks.clear();
        self.statements(route.body);
        self.push(Op::ReturnCode);
    }

    fn here(&self) -> u32 {
        self.program.code.len() as u32
    }

    fn push(&mut self, op: Op) -> usize {
        self.program.code.push(op);
        self.program.code.len() - 1
    }

    /// Points the jump at `at` to the next instruction.
    fn patch(&mut self, at: usize) {
        let here = self.here();
        match &mut self.program.code[at] {
            Op::Jump(to)
            | Op::JumpIf(to)
            | Op::JumpUnless(to)
            | Op::JumpIfCode(to)
            | Op::JumpUnlessCode(to)
            | Op::LoopCheck(to)
            | Op::Case(_, to)
            | Op::CaseMatch(_, to) => *to = here,
            _ => {}
        }
    }

    fn patch_all(&mut self, jumps: Vec<usize>) {
        for jump in jumps {
            self.patch(jump);
        }
    }

    fn mark(&mut self, span: Span) {
        let line = self.sources.position(span).line;
        let place = Place { file: span.file.0, line };
        if self.program.places.last().is_none_or(|(_, last)| *last != place) {
            let here = self.here();
            self.program.places.push((here, place));
        }
    }

    /// Says what the next instruction stands for.
    fn note(&mut self, kind: MarkKind, span: Span) {
        let here = self.here();
        self.program.marks.push(here, kind, span);
    }

    fn statements(&mut self, statements: Vec<Statement>) {
        for statement in statements {
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: Statement) {
        self.mark(statement.span);
        if !matches!(statement.kind, StatementKind::Block(_)) {
            self.note(MarkKind::Statement, statement.span);
        }
        match statement.kind {
            StatementKind::Block(body) => {
                self.blocks.push(Vec::new());
                self.statements(body);
                self.end_block();
            }
            StatementKind::If { condition, then, otherwise } => self.conditional(condition, then, otherwise),
            StatementKind::While { condition, body } => self.repetition(condition, body),
            StatementKind::Switch { subject, cases } => self.switch(subject, cases),
            StatementKind::Assign { target, value } => {
                self.value(value);
                self.store(target);
            }
            StatementKind::Evaluate(expression) => self.evaluate(expression),
            StatementKind::Break => self.leave_block(),
            // In SER `drop` is another word for `break`.
            StatementKind::Drop if self.program.dialect == Dialect::Ser => self.leave_block(),
            StatementKind::Drop => drop(self.push(Op::Drop)),
            StatementKind::Exit => drop(self.push(Op::Exit)),
            StatementKind::Return(None) => {
                self.push(Op::SetCode(1));
                self.push(Op::ReturnCode);
            }
            StatementKind::Return(Some(value)) => {
                self.value(value);
                self.push(Op::Return);
            }
        }
    }

    fn leave_block(&mut self) {
        if self.blocks.is_empty() {
            self.push(Op::LeaveRoute);
        } else {
            let jump = self.push(Op::Jump(LATER));
            self.blocks.last_mut().expect("just seen").push(jump);
        }
    }

    fn end_block(&mut self) {
        let jumps = self.blocks.pop().unwrap_or_default();
        self.patch_all(jumps);
    }

    fn conditional(&mut self, condition: Expression, then: Vec<Statement>, otherwise: Option<Vec<Statement>>) {
        let span = condition.span;
        let unless = self.condition(condition, false);
        self.note(MarkKind::Then, span);
        self.statements(then);
        let end = self.push(Op::Jump(LATER));
        self.patch_all(unless);
        self.note(MarkKind::Else, span);
        match otherwise {
            Some(otherwise) => self.statements(otherwise),
            // A condition that does not hold is a statement that went well.
            None => drop(self.push(Op::SetCode(1))),
        }
        self.patch(end);
    }

    fn repetition(&mut self, condition: Expression, body: Vec<Statement>) {
        self.push(Op::LoopEnter);
        self.blocks.push(Vec::new());
        let start = self.here();
        let check = self.push(Op::LoopCheck(LATER));
        let span = condition.span;
        let unless = self.condition(condition, false);
        self.note(MarkKind::Then, span);
        self.statements(body);
        self.push(Op::Jump(start));
        self.patch(check);
        self.patch_all(unless);
        self.end_block();
        self.push(Op::LoopLeave);
    }

    fn switch(&mut self, subject: Expression, cases: Vec<Case>) {
        self.value(subject);
        let mut jumps = Vec::new();
        for case in &cases {
            jumps.push(match &case.label {
                Label::Default => None,
                Label::Value(value) => {
                    let constant = self.constant(value.clone());
                    Some(self.push(Op::Case(constant, LATER)))
                }
                Label::Regex(regex) => {
                    let regex = self.regex(Arc::clone(regex));
                    Some(self.push(Op::CaseMatch(regex, LATER)))
                }
            });
        }
        self.push(Op::Pop);
        let mut otherwise = Some(self.push(Op::Jump(LATER)));
        self.blocks.push(Vec::new());
        for (case, jump) in cases.into_iter().zip(jumps) {
            // `default` is where the jump behind all comparisons goes.
            if let Some(jump) = jump.or_else(|| otherwise.take()) {
                self.patch(jump);
            }
            self.statements(case.body);
        }
        if let Some(jump) = otherwise {
            self.patch(jump);
        }
        self.end_block();
    }

    fn store(&mut self, target: VariableUse) {
        let n = self.read(target);
        self.push(Op::Store(n));
    }

    /// An expression whose value nobody wants.
    fn evaluate(&mut self, expression: Expression) {
        if is_call(&expression) {
            self.call(expression);
        } else {
            self.value(expression);
            self.push(Op::Pop);
        }
    }

    /// Jumps that are taken when the truth of `expression` is `when`.
    fn condition(&mut self, expression: Expression, when: bool) -> Vec<usize> {
        match expression.kind {
            ExpressionKind::Unary(Unary::Not, inner) if is_call(&inner) || is_logic(&inner) => {
                self.condition(*inner, !when)
            }
            ExpressionKind::And(left, right) => self.both(*left, *right, when, false),
            ExpressionKind::Or(left, right) => self.both(*left, *right, when, true),
            _ if is_call(&expression) => {
                let span = expression.span;
                self.call(expression);
                self.note(MarkKind::Condition, span);
                vec![self.push(if when { Op::JumpIfCode(LATER) } else { Op::JumpUnlessCode(LATER) })]
            }
            _ => {
                let span = expression.span;
                self.value(expression);
                self.note(MarkKind::Condition, span);
                vec![self.push(if when { Op::JumpIf(LATER) } else { Op::JumpUnless(LATER) })]
            }
        }
    }

    /// `left && right`, or with `decides` set `left || right`: the left side decides when it is `decides`.
    fn both(&mut self, left: Expression, right: Expression, when: bool, decides: bool) -> Vec<usize> {
        let mut jumps = self.condition(left, decides);
        if when == decides {
            jumps.extend(self.condition(right, when));
            return jumps;
        }
        let taken = self.condition(right, when);
        self.patch_all(jumps);
        taken
    }

    /// A call or route: its code goes to the register.
    fn call(&mut self, expression: Expression) {
        match expression.kind {
            ExpressionKind::Call(site, computed) => {
                for argument in computed {
                    self.value(argument);
                }
                self.program.calls.push(site);
                let n = self.program.calls.len() as u32 - 1;
                self.push(Op::Call(n));
            }
            ExpressionKind::Route(route) => drop(self.push(Op::CallRoute(route))),
            ExpressionKind::RouteByName(name) => {
                self.value(*name);
                self.push(Op::CallRouteByName);
            }
            _ => {}
        }
    }

    /// Pushes the value of an expression. Calls count as 0 or 1 inside of larger ones.
    fn value(&mut self, expression: Expression) {
        if is_call(&expression) {
            self.call(expression);
            self.push(Op::Code);
            return;
        }
        match expression.kind {
            ExpressionKind::Constant(Value::Null) => drop(self.push(Op::Null)),
            ExpressionKind::Constant(Value::Int(number)) if i32::try_from(number).is_ok() => {
                self.push(Op::Int(number as i32));
            }
            ExpressionKind::Constant(value) => {
                let n = self.constant(value);
                self.push(Op::Constant(n));
            }
            ExpressionKind::Read(variable) => {
                self.note(MarkKind::Read, expression.span);
                let n = self.read(variable);
                self.push(Op::Read(n));
            }
            ExpressionKind::Text(text) => {
                self.program.templates.push(text);
                let n = self.program.templates.len() as u32 - 1;
                self.push(Op::Render(n));
            }
            ExpressionKind::And(..) | ExpressionKind::Or(..) => self.logic(expression),
            ExpressionKind::Unary(operator, inner) => self.unary(operator, *inner),
            ExpressionKind::Assign(target, value) => {
                self.value(*value);
                let n = self.read(target);
                self.push(Op::Store(n));
                self.push(Op::Read(n));
            }
            ExpressionKind::Choose(three) => self.choose(*three),
            _ => self.comparison(expression),
        }
    }

    fn operand(&mut self, expression: Expression) {
        if is_call(&expression) {
            self.call(expression);
            let op = if self.program.bounds.any_code_is_true { Op::Code } else { Op::Truth };
            self.push(op);
        } else {
            self.value(expression);
        }
    }

    fn logic(&mut self, expression: Expression) {
        let unless = self.condition(expression, false);
        self.push(Op::Int(1));
        let end = self.push(Op::Jump(LATER));
        self.patch_all(unless);
        self.push(Op::Int(0));
        self.patch(end);
    }

    fn choose(&mut self, [condition, yes, no]: [Expression; 3]) {
        let unless = self.condition(condition, false);
        self.value(yes);
        let end = self.push(Op::Jump(LATER));
        self.patch_all(unless);
        self.value(no);
        self.patch(end);
    }

    fn unary(&mut self, operator: Unary, inner: Expression) {
        self.operand(inner);
        self.push(match operator {
            Unary::Not => Op::Not,
            Unary::Negate => Op::Negate,
            Unary::Complement => Op::Complement,
            Unary::Defined => Op::IsDefined,
            Unary::ToInt => Op::ToInt,
            Unary::ToText => Op::ToText,
            Unary::Length => Op::Length,
            Unary::IsEmpty => Op::IsEmpty,
        });
    }

    fn comparison(&mut self, expression: Expression) {
        let op = match expression.kind {
            ExpressionKind::Binary(operator, left, right) => {
                self.operand(*left);
                match (operator, right.constant()) {
                    (Binary::Equal, Some(value)) if !value.is_null() => {
                        Op::EqualsConstant(self.constant(value.clone()))
                    }
                    _ => {
                        self.operand(*right);
                        if operator == Binary::Matches { Op::MatchDynamic } else { Op::Binary(operator) }
                    }
                }
            }
            ExpressionKind::FoldEquals(left, right) => {
                self.operand(*left);
                match right.constant() {
                    Some(value) => Op::FoldEqualsConstant(self.constant(value.clone())),
                    None => {
                        self.operand(*right);
                        Op::FoldEquals
                    }
                }
            }
            ExpressionKind::Match(subject, regex) => {
                self.operand(*subject);
                Op::Match(self.regex(regex))
            }
            ExpressionKind::InNetworks(subject, networks) => {
                self.operand(*subject);
                self.program.networks.push(networks);
                Op::InNetworks(self.program.networks.len() as u32 - 1)
            }
            ExpressionKind::IsMyself(value, subject) => {
                self.operand(*value);
                Op::IsMyself(subject)
            }
            _ => Op::Null,
        };
        self.push(op);
    }

    fn constant(&mut self, value: Value) -> u32 {
        let key = match &value {
            Value::Null => vec![0],
            Value::Int(number) => [&[1], &number.to_be_bytes()[..]].concat(),
            Value::Str(text) => [&[2], &text[..]].concat(),
        };
        let constants = &mut self.program.constants;
        *self.constants.entry(key).or_insert_with(|| {
            constants.push(value);
            constants.len() as u32 - 1
        })
    }

    fn regex(&mut self, regex: Arc<Regex>) -> u32 {
        self.program.regexes.push(regex);
        self.program.regexes.len() as u32 - 1
    }

    fn read(&mut self, variable: VariableUse) -> u32 {
        self.program.reads.push(variable);
        self.program.reads.len() as u32 - 1
    }
}

fn is_call(expression: &Expression) -> bool {
    matches!(expression.kind, ExpressionKind::Call(..) | ExpressionKind::Route(_) | ExpressionKind::RouteByName(_))
}

/// Whether negating it is no more than jumping the other way. Of a number it is not: `!-3` is false, as is `-3`.
fn is_logic(expression: &Expression) -> bool {
    matches!(
        expression.kind,
        ExpressionKind::And(..)
            | ExpressionKind::Or(..)
            | ExpressionKind::FoldEquals(..)
            | ExpressionKind::Match(..)
            | ExpressionKind::InNetworks(..)
            | ExpressionKind::IsMyself(..)
            | ExpressionKind::Unary(Unary::Not | Unary::Defined | Unary::IsEmpty, _)
    )
}
