//! Whether the request route can come to its end without having answered or relayed the request.
//!
//! Only its very end counts. Elsewhere `exit` and `drop` say that the script means to be silent; an `exit` as its last
//! word says no more than the end itself, and what comes as far as that was forgotten.

use module_api::{Dialect, Function, RouteId, RouteKind};

use super::Block;
use super::tree::{Expression, ExpressionKind, Label, Route, Statement, StatementKind};
use crate::configuration::LoadedModule;
use crate::diagnostic::{Diagnostic, Diagnostics, codes};

/// Warns of a request route that may leave a request without an answer.
pub(super) fn check(
    routes: &[Route],
    blocks: &[Block<'_>],
    modules: &[LoadedModule],
    dialect: Dialect,
    diagnostics: &mut Diagnostics,
) {
    let Some(main) = blocks.iter().position(|block| block.kind == RouteKind::Request && block.name.is_empty()) else {
        return;
    };
    // What could not be resolved might well be what answers.
    if diagnostics.has_errors() {
        return;
    }
    let mut walk = Walk { routes, modules, dialect, depth: 0, ends: vec![None; routes.len()], has_answer: false };
    // `break` and `return` in the main route are words for `exit`.
    let (body, is_exit) = match routes[main].body.as_slice() {
        [before @ .., last] if matches!(last.kind, StatementKind::Exit) => (before, true),
        body => (body, false),
    };
    let is_silent = walk.list(body).silent;
    // A script that answers nothing at all listens only, and its `exit` is meant.
    if is_silent && (walk.has_answer || !is_exit) {
        let last = routes[main].body.last();
        let span = last.map_or(blocks[main].span(), |statement| statement.span);
        let text = "a request can come to the end of this route without an answer";
        let found = Diagnostic::warning(codes::UNANSWERED, span, text)
            .label("no reply and no relay on some way to here")
            .note(Some(blocks[main].span()), "the route begins here")
            .help("relay it or send a reply; an `exit` in a condition says that silence is meant");
        diagnostics.push(found);
    }
}

/// How a list of statements may be left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ends {
    /// To the statement behind, with nothing sent.
    silent: bool,
    /// To the statement behind, with an answer.
    answered: bool,
    /// Out of the route, with nothing sent.
    returns_silent: bool,
    /// Out of the route, with an answer.
    returns_answered: bool,
    /// Out of the innermost block, with nothing sent.
    breaks_silent: bool,
    /// Out of the innermost block, with an answer.
    breaks_answered: bool,
}

const THROUGH: Ends = Ends {
    silent: true,
    answered: false,
    returns_silent: false,
    returns_answered: false,
    breaks_silent: false,
    breaks_answered: false,
};

impl Ends {
    /// What follows when `self` was left to what `next` is.
    fn then(self, next: Ends) -> Ends {
        let answered = Ends {
            silent: false,
            answered: next.silent || next.answered,
            returns_silent: false,
            returns_answered: next.returns_silent || next.returns_answered,
            breaks_silent: false,
            breaks_answered: next.breaks_silent || next.breaks_answered,
        };
        let mut ends = Ends { silent: false, answered: false, ..self };
        if self.silent {
            ends = ends.or(next);
        }
        if self.answered {
            ends = ends.or(answered);
        }
        ends
    }

    fn or(self, other: Ends) -> Ends {
        Ends {
            silent: self.silent || other.silent,
            answered: self.answered || other.answered,
            returns_silent: self.returns_silent || other.returns_silent,
            returns_answered: self.returns_answered || other.returns_answered,
            breaks_silent: self.breaks_silent || other.breaks_silent,
            breaks_answered: self.breaks_answered || other.breaks_answered,
        }
    }

    /// `break` inside of it leads behind it.
    fn catching_breaks(self) -> Ends {
        Ends {
            silent: self.silent || self.breaks_silent,
            answered: self.answered || self.breaks_answered,
            breaks_silent: false,
            breaks_answered: false,
            ..self
        }
    }
}

/// How deep calls of routes are followed; beyond it a route is taken to answer.
const DEEPEST: usize = 16;

struct Walk<'a> {
    routes: &'a [Route],
    modules: &'a [LoadedModule],
    dialect: Dialect,
    /// How many routes call each other at the moment.
    depth: usize,
    /// What is known of each route; of one that is being walked, that it does not return.
    ends: Vec<Option<Ends>>,
    /// Whether any call on the way may answer.
    has_answer: bool,
}

impl Walk<'_> {
    /// How a call of the route may end: seen from the caller, it is a statement.
    fn route(&mut self, id: RouteId) -> Ends {
        let n = usize::from(id.0);
        if let Some(known) = self.ends[n] {
            return known;
        }
        if self.depth >= DEEPEST {
            return Ends { answered: true, ..Ends::default() };
        }
        self.depth += 1;
        self.ends[n] = Some(Ends::default());
        let routes = self.routes;
        let ends = self.list(&routes[n].body).catching_breaks();
        let ends = Ends {
            silent: ends.silent || ends.returns_silent,
            answered: ends.answered || ends.returns_answered,
            ..Ends::default()
        };
        self.ends[n] = Some(ends);
        self.depth -= 1;
        ends
    }

    fn list(&mut self, statements: &[Statement]) -> Ends {
        let mut ends = THROUGH;
        for statement in statements {
            if !ends.silent && !ends.answered {
                break;
            }
            let next = self.statement(statement);
            ends = ends.then(next);
        }
        ends
    }

    fn statement(&mut self, statement: &Statement) -> Ends {
        match &statement.kind {
            StatementKind::Block(body) => self.list(body).catching_breaks(),
            StatementKind::If { condition, then, otherwise } => {
                let before = self.value(condition);
                let yes = self.list(then);
                let no = otherwise.as_ref().map_or(THROUGH, |otherwise| self.list(otherwise));
                before.then(match constant(condition) {
                    Some(true) => yes,
                    Some(false) => no,
                    None => yes.or(no),
                })
            }
            StatementKind::While { condition, body } => {
                let before = self.value(condition);
                let body = self.list(body);
                // Out of a loop without a condition lead `break`, `return` and `exit` alone.
                before.then(match constant(condition) {
                    Some(true) => Ends { silent: false, answered: false, ..body }.catching_breaks(),
                    Some(false) => THROUGH,
                    None => body.catching_breaks().or(THROUGH),
                })
            }
            StatementKind::Switch { subject, cases } => {
                let before = self.value(subject);
                let has_default = cases.iter().any(|case| matches!(case.label, Label::Default));
                let bodies: Vec<Ends> = cases.iter().map(|case| self.list(&case.body)).collect();
                let mut any = if has_default { Ends::default() } else { THROUGH };
                // From the last to the first, since a case falls through to those behind it.
                let mut behind = THROUGH;
                for body in bodies.into_iter().rev() {
                    behind = body.then(behind);
                    any = any.or(behind.catching_breaks());
                }
                before.then(any)
            }
            StatementKind::Assign { value, .. } | StatementKind::Evaluate(value) => self.value(value),
            StatementKind::Return(value) => {
                let before = value.as_ref().map_or(THROUGH, |value| self.value(value));
                before.then(Ends { returns_silent: true, ..Ends::default() })
            }
            StatementKind::Drop if self.dialect == Dialect::Ser => Ends { breaks_silent: true, ..Ends::default() },
            StatementKind::Break => Ends { breaks_silent: true, ..Ends::default() },
            StatementKind::Drop | StatementKind::Exit => Ends::default(),
        }
    }

    /// How evaluating an expression may end: its calls may answer, or end the script.
    fn value(&mut self, expression: &Expression) -> Ends {
        match &expression.kind {
            ExpressionKind::Call(site, computed) => {
                let before = computed.iter().fold(THROUGH, |ends, value| {
                    let next = self.value(value);
                    ends.then(next)
                });
                let module = self.modules.get(usize::from(site.module)).map_or("", |loaded| loaded.module.name);
                let answers = may_answer(module, site.function);
                self.has_answer |= answers;
                before.then(if answers { Ends { answered: true, ..Ends::default() } } else { THROUGH })
            }
            ExpressionKind::Route(route) => self.route(*route),
            // Any route may be meant.
            ExpressionKind::RouteByName(_) => Ends { answered: true, ..Ends::default() },
            ExpressionKind::Unary(_, inner)
            | ExpressionKind::Match(inner, _)
            | ExpressionKind::InNetworks(inner, _)
            | ExpressionKind::IsMyself(inner, _)
            | ExpressionKind::Assign(_, inner) => self.value(inner),
            ExpressionKind::And(left, right) | ExpressionKind::Or(left, right) => {
                let (left, right) = (self.value(left), self.value(right));
                left.then(right.or(THROUGH))
            }
            ExpressionKind::Binary(_, left, right) | ExpressionKind::FoldEquals(left, right) => {
                let (left, right) = (self.value(left), self.value(right));
                left.then(right)
            }
            ExpressionKind::Choose(three) => three.iter().fold(THROUGH, |ends, value| {
                let next = self.value(value);
                ends.then(next.or(THROUGH))
            }),
            ExpressionKind::Constant(_) | ExpressionKind::Read(_) | ExpressionKind::Text(_) => THROUGH,
        }
    }
}

/// What a condition is, where it is always the same.
fn constant(condition: &Expression) -> Option<bool> {
    match &condition.kind {
        ExpressionKind::Constant(value) => Some(value.to_int() > 0),
        _ => None,
    }
}

/// Whether a call may send a reply or the request on. When in doubt it may: a false alarm is worse than none.
fn may_answer(module: &str, function: &Function) -> bool {
    const QUIET: &[&str] = &[
        "pv",
        "xlog",
        "textops",
        "textopsx",
        "siputils",
        "kex",
        "maxfwd",
        "rr",
        "nathelper",
        "path",
        "cfgutils",
        "ipops",
        "regex",
        "htable",
        "statistics",
        "counters",
        "pike",
        "permissions",
        "uri_db",
        "domain",
        "group",
        "avpops",
        "acc",
        "tmx",
        "dialplan",
        "pdt",
        "mtree",
        "speeddial",
        "alias_db",
        "sqlops",
        "sdpops",
        "print",
        "debugger",
        "usrloc",
        "jansson",
        "json",
        "tmrec",
    ];
    let name = function.name;
    match module {
        "core" => ["forward", "send", "exec"].iter().any(|head| name.starts_with(head)),
        "tm" => [
            "t_relay",
            "t_reply",
            "t_forward",
            "t_send",
            "t_suspend",
            "t_release",
            "t_retransmit",
            "t_continue",
            "t_drop",
        ]
        .iter()
        .any(|head| name.starts_with(head)),
        "auth" => name.contains("challenge"),
        "auth_db" => false,
        "registrar" => name.starts_with("save") || name.contains("reply"),
        "siputils" => name == "options_reply",
        module => !QUIET.contains(&module),
    }
}
