//! The names that a script may use.

use std::collections::HashMap;

use bytes::Bytes;
use module_api::{FLAG_COUNT, Function, Module, RouteId, RouteKind, Value, Variable};

use super::{Block, Input};
use crate::configuration::LoadedModule;
use crate::diagnostic::{Diagnostic, Diagnostics, codes};
use crate::program::ConfigValue;
use crate::syntax::tree::{Literal, Tree, Word};

/// Everything that can be named.
pub(super) struct Scope<'a> {
    functions: HashMap<&'static str, Vec<(u16, &'static Function)>>,
    variables: HashMap<&'static str, (u16, &'static Variable)>,
    /// Operands of old: variables of module `core`.
    operands: HashMap<&'static str, (u16, &'static Variable)>,
    module_names: Vec<&'static str>,
    flags: HashMap<&'a str, i64>,
    routes: HashMap<(RouteKind, &'a str), RouteId>,
    /// `group.name = value` lines.
    configs: &'a [(Word, Literal)],
    catalog: &'a [&'static Module],
}

impl<'a> Scope<'a> {
    pub(super) fn new(
        input: &Input<'a>,
        modules: &[LoadedModule],
        blocks: &[Block<'a>],
        flags: HashMap<&'a str, i64>,
    ) -> Scope<'a> {
        let mut scope = Scope {
            functions: HashMap::new(),
            variables: HashMap::new(),
            operands: HashMap::new(),
            module_names: modules.iter().map(|loaded| loaded.module.name).collect(),
            flags,
            routes: HashMap::new(),
            configs: &input.tree.variables,
            catalog: input.options.catalog,
        };
        for (n, loaded) in modules.iter().enumerate() {
            scope.add(n as u16, loaded.module);
        }
        for (n, block) in blocks.iter().enumerate() {
            scope.routes.insert((block.kind, block.name), RouteId(n as u16));
        }
        scope
    }

    fn add(&mut self, n: u16, module: &'static Module) {
        for function in module.functions {
            self.functions.entry(function.name).or_default().push((n, function));
        }
        for variable in module.variables {
            if module.name == "core" {
                self.operands.insert(variable.name, (n, variable));
            } else {
                self.variables.entry(variable.name).or_insert((n, variable));
            }
        }
    }

    /// Every entry with this name.
    pub(super) fn functions(&self, name: &str) -> &[(u16, &'static Function)] {
        self.functions.get(name).map_or(&[], Vec::as_slice)
    }

    pub(super) fn variable(&self, name: &str) -> Option<(u16, &'static Variable)> {
        self.variables.get(name).or_else(|| self.operands.get(name)).copied()
    }

    pub(super) fn operand(&self, name: &str) -> Option<(u16, &'static Variable)> {
        self.operands.get(name).copied()
    }

    pub(super) fn module_name(&self, n: u16) -> &'static str {
        self.module_names.get(usize::from(n)).copied().unwrap_or("")
    }

    /// The value of `group.name`, with those of its instances.
    pub(super) fn config(&self, path: &str) -> Option<ConfigValue> {
        let (group, name) = path.split_once('.')?;
        let mut config =
            ConfigValue { group: Bytes::from(group.to_owned()), value: Value::Null, instances: Vec::new() };
        let mut is_known = false;
        for (word, literal) in self.configs {
            let Some((of, last)) = word.text.rsplit_once('.') else { continue };
            let (of, instance) = of.split_once('[').map_or((of, None), |(of, rest)| (of, rest.strip_suffix(']')));
            if of != group || last != name {
                continue;
            }
            is_known = true;
            match instance.and_then(|id| id.trim().parse().ok()) {
                Some(id) => config.instances.push((id, literal.to_value())),
                None => config.value = literal.to_value(),
            }
        }
        is_known.then_some(config)
    }

    pub(super) fn config_names(&self) -> impl Iterator<Item = &'a str> {
        self.configs.iter().map(|(word, _)| word.text.as_str())
    }

    /// The modules that announce an event, loaded or not, with every name of an event.
    pub(super) fn events(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.catalog.iter().flat_map(|module| module.events.iter().map(|event| (module.name, event.name)))
    }

    pub(super) fn is_loaded(&self, module: &str) -> bool {
        self.module_names.contains(&module)
    }

    pub(super) fn flag(&self, name: &str) -> Option<i64> {
        self.flags.get(name).copied()
    }

    pub(super) fn flag_names(&self) -> impl Iterator<Item = &'a str> {
        self.flags.keys().copied()
    }

    pub(super) fn route(&self, kind: RouteKind, name: &str) -> Option<RouteId> {
        self.routes.get(&(kind, name)).copied()
    }

    pub(super) fn route_names(&self, kind: RouteKind) -> impl Iterator<Item = &'a str> {
        self.routes.keys().filter(move |(of, name)| *of == kind && !name.is_empty()).map(|(_, name)| *name)
    }

    /// The modules that have a function, loaded or not.
    pub(super) fn owners_of_function(&self, name: &str) -> Vec<&'static str> {
        let has = |module: &&&'static Module| module.functions.iter().any(|function| function.name == name);
        self.catalog.iter().filter(has).map(|module| module.name).collect()
    }

    pub(super) fn owner_of_variable(&self, name: &str) -> Option<&'static str> {
        let has = |module: &&&'static Module| module.variables.iter().any(|variable| variable.name == name);
        self.catalog.iter().find(has).map(|module| module.name)
    }

    /// Names of functions, those of loaded modules first.
    pub(super) fn function_names(&self) -> impl Iterator<Item = &'static str> {
        let all = self.catalog.iter().flat_map(|module| module.functions.iter().map(|function| function.name));
        self.functions.keys().copied().chain(all).chain(["route"])
    }

    pub(super) fn variable_names(&self) -> impl Iterator<Item = &'static str> {
        let all = self.catalog.iter().filter(|module| module.name != "core");
        let all = all.flat_map(|module| module.variables.iter().map(|variable| variable.name));
        all.chain(["null", "rc"])
    }
}

/// Declared flags with their numbers; those without one get the next free.
pub(super) fn flags<'a>(tree: &'a Tree, diagnostics: &mut Diagnostics) -> HashMap<&'a str, i64> {
    let mut flags: HashMap<&'a str, i64> = HashMap::new();
    for (word, number) in &tree.flags {
        let free = (0..i64::from(FLAG_COUNT)).rev().find(|n| !flags.values().any(|used| used == n));
        let Some(number) = number.or(free).filter(|n| (0..i64::from(FLAG_COUNT)).contains(n)) else {
            let text = format!("flag `{}` has no number from 0 to 31", word.text);
            diagnostics.push(Diagnostic::error(codes::UNKNOWN_FLAG, word.span, text));
            continue;
        };
        flags.insert(&word.text, number);
    }
    flags
}
