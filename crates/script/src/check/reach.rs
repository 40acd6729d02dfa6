//! Which kinds of routes reach which blocks through `route()`, and what may not be used there.

use std::collections::HashMap;

use module_api::{RouteId, RouteKind, Routes};

use super::Block;
use crate::diagnostic::{Diagnostic, Diagnostics, codes};
use crate::source::Span;
use crate::syntax::tree::{Literal, Tree};

/// What was seen while checking.
#[derive(Default)]
pub(super) struct Reach {
    edges: Vec<Edge>,
    uses: Vec<Use>,
    /// Routes that a module runs by itself, with the kind in which it does.
    roots: Vec<(RouteId, RouteKind)>,
    /// Whether some `route()` computes its name.
    has_computed_calls: bool,
}

struct Edge {
    from: RouteId,
    to: RouteId,
    span: Span,
}

/// A function or variable that only some kinds of routes may use.
pub(super) struct Use {
    pub(super) route: RouteId,
    pub(super) allowed: Routes,
    pub(super) name: String,
    pub(super) is_variable: bool,
    /// Whether a condition stands around it, which may exclude the wrong kinds.
    pub(super) is_guarded: bool,
    pub(super) span: Span,
}

/// By block and kind: the call through which it is reached; none for the block's own kind.
type Kinds = HashMap<(RouteId, u8), Option<(RouteKind, Span)>>;

impl Reach {
    pub(super) fn call(&mut self, from: RouteId, to: RouteId, span: Span) {
        self.edges.push(Edge { from, to, span });
    }

    pub(super) fn computed_call(&mut self) {
        self.has_computed_calls = true;
    }

    pub(super) fn root(&mut self, route: RouteId, kind: RouteKind) {
        self.roots.push((route, kind));
    }

    pub(super) fn used(&mut self, used: Use) {
        self.uses.push(used);
    }

    pub(super) fn finish(self, blocks: &[Block<'_>], tree: &Tree, diagnostics: &mut Diagnostics) {
        let kinds = self.propagate(blocks);
        for used in &self.uses {
            self.judge(used, &kinds, blocks, diagnostics);
        }
        if self.has_computed_calls {
            return;
        }
        for (n, block) in blocks.iter().enumerate() {
            let id = RouteId(n as u16);
            let is_named = block.kind == RouteKind::Request && !block.name.is_empty();
            let is_reached = Routes::ANY.iter().any(|kind| kinds.contains_key(&(id, kind as u8)));
            if is_named && !is_reached && !is_mentioned(tree, block.name) {
                let text = format!("{} is never called", block.title());
                diagnostics.push(Diagnostic::warning(codes::UNUSED_ROUTE, block.span(), text));
            }
        }
    }

    fn propagate(&self, blocks: &[Block<'_>]) -> Kinds {
        let mut kinds = Kinds::new();
        for (n, block) in blocks.iter().enumerate() {
            if block.kind != RouteKind::Request || block.name.is_empty() {
                kinds.insert((RouteId(n as u16), block.kind as u8), None);
            }
        }
        for (route, kind) in &self.roots {
            kinds.entry((*route, *kind as u8)).or_insert(None);
        }
        loop {
            let before = kinds.len();
            for edge in &self.edges {
                for kind in Routes::ANY.iter() {
                    if kinds.contains_key(&(edge.from, kind as u8)) {
                        kinds.entry((edge.to, kind as u8)).or_insert(Some((kind, edge.span)));
                    }
                }
            }
            if kinds.len() == before {
                return kinds;
            }
        }
    }

    fn judge(&self, used: &Use, kinds: &Kinds, blocks: &[Block<'_>], diagnostics: &mut Diagnostics) {
        let reached: Vec<RouteKind> =
            Routes::ANY.iter().filter(|kind| kinds.contains_key(&(used.route, *kind as u8))).collect();
        let Some(bad) = reached.iter().copied().find(|kind| !used.allowed.contains(*kind)) else { return };
        let is_always_bad = reached.iter().all(|kind| !used.allowed.contains(*kind));
        // Reached in several ways, a route mostly tells them apart by a condition.
        if !is_always_bad && (used.is_variable || used.is_guarded) {
            return;
        }
        let found = if used.is_variable {
            let text = format!("{} has no value in {}", used.name, word(bad));
            Diagnostic::warning(codes::VARIABLE_ROUTE, used.span, text).label("always `$null` here")
        } else if is_always_bad && STARTS_ELSEWHERE.contains(&used.name.as_str()) {
            let text = format!("`{}` always fails in {}", used.name, word(bad));
            Diagnostic::warning(codes::WRONG_ROUTE, used.span, text)
        } else if is_always_bad {
            let text = format!("`{}` cannot be called in {}", used.name, word(bad));
            Diagnostic::error(codes::WRONG_ROUTE, used.span, text)
        } else {
            let text = format!("`{}` fails when this route runs as part of {}", used.name, word(bad));
            Diagnostic::warning(codes::WRONG_ROUTE, used.span, text)
        };
        let allowed: Vec<&str> = used.allowed.iter().map(word).collect();
        let found = found.help(format!("it belongs into: {}", allowed.join(", ")));
        let block = &blocks[usize::from(used.route.0)];
        diagnostics.push(match kinds.get(&(used.route, bad as u8)) {
            Some(Some((_, span))) => {
                found.note(Some(*span), format!("{} is called here, coming from {}", block.title(), word(bad)))
            }
            _ => found,
        });
    }
}

/// Functions that Kamailio lets a script call in routes where they cannot do anything: no reason not to start.
const STARTS_ELSEWHERE: &[&str] = &[
    "alias_db_lookup",
    "auth_challenge",
    "dlg_set_ruri",
    "proxy_challenge",
    "reg_send_reply",
    "sanity_reply",
    "save",
    "send_reply",
    "send_reply_mode",
    "sl_forward_reply",
    "t_check_trans",
    "t_drop",
    "t_reply",
    "t_send_reply",
    "t_set_disable_internal_reply",
    "t_suspend",
    "www_challenge",
];

/// Whether a `modparam` names the route, as those of timers do.
fn is_mentioned(tree: &Tree, name: &str) -> bool {
    tree.modparams.iter().any(|modparam| match &modparam.value {
        Literal::Text(text) | Literal::Word(text) => {
            text.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-' | ':')).any(|word| word == name)
        }
        Literal::Int(_) => false,
    })
}

fn word(kind: RouteKind) -> &'static str {
    kind.as_str()
}
