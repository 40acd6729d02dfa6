//! Tree to checked tree: resolves every name and reports everything that is wrong in one go.

mod absent;
mod answer;
mod argument;
mod call;
mod event;
mod expression;
mod legacy;
mod modules;
mod operand;
mod reach;
mod scope;
mod statement;
pub(crate) mod tree;
mod variable;

use module_api::{Dialect, RouteId, RouteKind};

use crate::configuration::LoadedModule;
use crate::diagnostic::{Diagnostic, Diagnostics, codes};
use crate::lex::Marker;
use crate::load::LoadOptions;
use crate::program::{ConfigValue, Text};
use crate::settings::Settings;
use crate::source::{SourceMap, Span};
use crate::syntax::tree::{RouteTree, Tree};
use scope::Scope;

/// What is checked, and against what.
pub(crate) struct Input<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) dialect: Dialect,
    pub(crate) marker: Option<Marker>,
    /// What was defined, with its text.
    pub(crate) defines: &'a [(String, String)],
    pub(crate) settings: &'a Settings,
    pub(crate) options: &'a LoadOptions<'a>,
    /// The files, for what a script asks about itself.
    pub(crate) sources: &'a SourceMap,
}

/// What came of it.
pub(crate) struct Checked {
    pub(crate) routes: Vec<tree::Route>,
    pub(crate) modules: Vec<LoadedModule>,
    pub(crate) values: Vec<ConfigValue>,
    pub(crate) log_prefix: Option<Text>,
}

/// Checks a whole script.
pub(crate) fn check(input: &Input<'_>, diagnostics: &mut Diagnostics) -> Checked {
    let flags = scope::flags(input.tree, diagnostics);
    let (modules, absent) = modules::check(input, &flags, diagnostics);
    let blocks = gather(input.tree, diagnostics);
    let scope = Scope::new(input, &modules, &blocks, flags);
    let mut checker = Checker {
        input,
        scope,
        absent,
        diagnostics,
        reach: reach::Reach::default(),
        values: Vec::new(),
        route: RouteId(0),
        route_name: String::new(),
        conditions: 0,
        depth: 0,
    };
    let routes: Vec<_> = blocks.iter().enumerate().map(|(n, block)| checker.block(RouteId(n as u16), block)).collect();
    let log_prefix = checker.log_prefix();
    let values = std::mem::take(&mut checker.values);
    checker.events(&blocks);
    checker.finish(&blocks);
    answer::check(&routes, &blocks, &modules, input.dialect, diagnostics);
    Checked { routes, modules, values, log_prefix }
}

/// The blocks of one route.
pub(crate) struct Block<'a> {
    pub(crate) kind: RouteKind,
    pub(crate) name: &'a str,
    pub(crate) parts: Vec<&'a RouteTree>,
}

impl Block<'_> {
    fn span(&self) -> Span {
        self.parts.first().map_or(Span::default(), |part| part.span)
    }

    /// As a script writes it.
    fn title(&self) -> String {
        if self.name.is_empty() {
            self.kind.as_str().trim_end_matches("[...]").to_owned()
        } else {
            title(self.kind, self.name)
        }
    }
}

/// `failure_route[NAME]`.
fn title(kind: RouteKind, name: &str) -> String {
    let word = match kind {
        RouteKind::Request => "route",
        kind => kind.as_str().trim_end_matches("[...]"),
    };
    format!("{word}[{name}]")
}

/// Joins main blocks; a named route must be there once.
fn gather<'a>(tree: &'a Tree, diagnostics: &mut Diagnostics) -> Vec<Block<'a>> {
    let mut blocks: Vec<Block<'a>> = Vec::new();
    for part in tree.routes.iter().take(usize::from(u16::MAX)) {
        let name = part.name.as_deref().unwrap_or("");
        match blocks.iter_mut().find(|block| block.kind == part.kind && block.name == name) {
            None => blocks.push(Block { kind: part.kind, name, parts: vec![part] }),
            Some(block) if name.is_empty() => block.parts.push(part),
            Some(block) => {
                let text = format!("{} is there twice", title(part.kind, name));
                let found = Diagnostic::error(codes::ROUTE_TWICE, part.span, text);
                diagnostics.push(found.note(Some(block.span()), "first here").help("rename one, or join them"));
            }
        }
    }
    blocks
}

/// The checker's state while it walks the routes.
struct Checker<'a, 'b> {
    input: &'a Input<'a>,
    scope: Scope<'a>,
    absent: absent::AbsentModules,
    diagnostics: &'b mut Diagnostics,
    reach: reach::Reach,
    /// Values of the configuration that the routes read.
    values: Vec<ConfigValue>,
    /// The route that is being checked.
    route: RouteId,
    /// The name of that route as a script gave it.
    route_name: String,
    /// How many conditions surround the statement.
    conditions: usize,
    /// How deep variables are nested in each other.
    depth: usize,
}

impl Checker<'_, '_> {
    fn block(&mut self, id: RouteId, block: &Block<'_>) -> tree::Route {
        self.route = id;
        self.route_name = if block.name.is_empty() { "DEFAULT".to_owned() } else { block.name.to_owned() };
        let mut body = Vec::new();
        for part in &block.parts {
            body.extend(self.statements(&part.body));
        }
        tree::Route { kind: block.kind, name: block.name.to_owned(), body }
    }

    /// The text in front of log lines, with the variables in it.
    fn log_prefix(&mut self) -> Option<Text> {
        let setting = self.input.tree.settings.iter().rev().find(|setting| setting.name.text == "log_prefix")?;
        let text = self.input.settings.text("log_prefix");
        if text.is_empty() { None } else { self.text(&text, setting.value_span) }
    }

    fn finish(mut self, blocks: &[Block<'_>]) {
        let reach = std::mem::take(&mut self.reach);
        reach.finish(blocks, self.input.tree, self.diagnostics);
        let has_main = blocks.iter().any(|block| block.kind == RouteKind::Request && block.name.is_empty());
        if !has_main && !self.diagnostics.has_errors() {
            let place = self.input.tree.routes.first().map_or(Span::default(), |route| route.span);
            let found = Diagnostic::error(codes::NO_MAIN_ROUTE, place, "the script has no route for requests");
            self.diagnostics.push(found.help("add `route { ... }` (SER) or `request_route { ... }` (Kamailio)"));
        }
    }

    fn is_ser(&self) -> bool {
        self.input.dialect == Dialect::Ser
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }
}
