//! `event_route[...]` blocks, against the events that modules announce.

use module_api::RouteKind;

use super::{Block, Checker};
use crate::diagnostic::{Diagnostic, codes};

impl Checker<'_, '_> {
    /// Warns of event routes that nothing runs.
    pub(super) fn events(&mut self, blocks: &[Block<'_>]) {
        for block in blocks.iter().filter(|block| block.kind == RouteKind::Event) {
            self.event(block);
        }
    }

    fn event(&mut self, block: &Block<'_>) {
        let owners: Vec<&'static str> =
            self.scope.events().filter(|(_, event)| is_event(event, block.name)).map(|(module, _)| module).collect();
        let Some(owner) = owners.first() else { return self.unknown_event(block) };
        if !owners.iter().any(|owner| self.scope.is_loaded(owner)) {
            let text = format!("`{}` never happens: module `{owner}` is not loaded", block.name);
            let found = Diagnostic::warning(codes::UNKNOWN_EVENT, block.span(), text);
            self.report(found.help(format!("add `loadmodule \"{owner}.so\"`")));
        }
    }

    fn unknown_event(&mut self, block: &Block<'_>) {
        let module = block.name.split(':').next().unwrap_or("");
        if self.absent.is_known(module, self.input.options.catalog) {
            let (what, catalog) = (format!("event_route[{}]", block.name), self.input.options.catalog);
            return self.absent.name(module, &what, block.span(), catalog, self.diagnostics);
        }
        let text = format!("no module announces `{}`", block.name);
        let found = Diagnostic::warning(codes::UNKNOWN_EVENT, block.span(), text).label("this route never runs");
        let known: Vec<&'static str> = self.scope.events().map(|(_, event)| event).collect();
        self.report(found.suggest(block.name, known));
    }
}

/// A name that ends in a colon takes a word of the script's choice.
fn is_event(event: &str, name: &str) -> bool {
    event == name || event.ends_with(':') && name.len() > event.len() && name.starts_with(event)
}
