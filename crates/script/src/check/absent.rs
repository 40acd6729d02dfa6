//! Modules that exist elsewhere and not here, so that a script which needs one is told so once and plainly.

use std::collections::HashSet;

use module_api::Module;

use crate::diagnostic::{Diagnostic, Diagnostics, codes};
use crate::source::Span;

/// A line of the table.
struct Absent {
    name: &'static str,
    functions: &'static str,
    variables: &'static str,
    parameters: &'static str,
}

const TABLE: &str = include_str!("absent_modules.txt");

fn table() -> impl Iterator<Item = Absent> {
    TABLE.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let mut cells = line.split('|').map(str::trim);
        let mut cell = || cells.next().unwrap_or("");
        Absent { name: cell(), functions: cell(), variables: cell(), parameters: cell() }
    })
}

/// Whether a module is known to have a parameter elsewhere.
pub(super) fn has_parameter(module: &str, parameter: &str) -> bool {
    let mut lines = table().filter(|absent| absent.name == module);
    lines.any(|absent| absent.parameters.split_whitespace().any(|known| known == parameter))
}

/// The absent modules that a script asks for.
#[derive(Default)]
pub(super) struct AbsentModules {
    /// Those that it loads, and those that were named since.
    named: HashSet<&'static str>,
    /// Whether it loads one of which no functions are known.
    loads_unknown: bool,
}

impl AbsentModules {
    /// Whether `name` is such a module; if so the script is told.
    pub(super) fn load(&mut self, name: &str, span: Span, diagnostics: &mut Diagnostics) -> bool {
        let Some(absent) = table().find(|absent| absent.name == name) else { return false };
        self.loads_unknown |= absent.functions.is_empty();
        if self.named.insert(absent.name) {
            diagnostics.push(report(absent.name, span, format!("module `{name}` is not there yet")));
        }
        true
    }

    /// Whether `name` is a module that `catalog` lacks and that is known to exist elsewhere.
    pub(super) fn is_known(&self, name: &str, catalog: &[&'static Module]) -> bool {
        catalog.iter().all(|module| module.name != name) && table().any(|absent| absent.name == name)
    }

    /// Whether an absent module was loaded whose name fits a pattern of `modparam`.
    pub(super) fn is_loaded(&self, fits: impl Fn(&str) -> bool) -> bool {
        self.named.iter().any(|name| fits(name))
    }

    /// The module that has a function which the catalogue lacks.
    pub(super) fn owner_of_function(&self, name: &str, catalog: &[&'static Module]) -> Option<&'static str> {
        self.owner(catalog, |absent| absent.functions, name)
    }

    /// The module that has a variable which the catalogue lacks.
    pub(super) fn owner_of_variable(&self, name: &str, catalog: &[&'static Module]) -> Option<&'static str> {
        self.owner(catalog, |absent| absent.variables, name)
    }

    /// Of several owners the one that the script loads, then one that is absent as a whole.
    fn owner(
        &self,
        catalog: &[&'static Module],
        list: fn(&Absent) -> &'static str,
        name: &str,
    ) -> Option<&'static str> {
        let is_here = |owner: &&&str| catalog.iter().any(|module| module.name == **owner);
        let has = |absent: &Absent| list(absent).split_whitespace().any(|item| item == name);
        let owners: Vec<&'static str> = table().filter(has).map(|absent| absent.name).collect();
        let loaded = owners.iter().find(|owner| self.named.contains(*owner));
        loaded.or_else(|| owners.iter().find(|owner| !is_here(owner))).or(owners.first()).copied()
    }

    /// Tells that something belongs to an absent module, unless the script heard of that module before; or that a
    /// module which is here lacks it.
    pub(super) fn name(
        &mut self,
        owner: &str,
        what: &str,
        span: Span,
        catalog: &[&'static Module],
        diagnostics: &mut Diagnostics,
    ) {
        let Some(owner) = table().map(|absent| absent.name).find(|name| *name == owner) else { return };
        if catalog.iter().any(|module| module.name == owner) {
            let text = format!("`{what}` of module `{owner}` is not there yet");
            let found = Diagnostic::error(codes::ABSENT_MODULE, span, text).label("known, but not built in");
            return diagnostics.push(found.help("the module is there; this part of it is not"));
        }
        if self.named.insert(owner) {
            let text = format!("`{what}` belongs to module `{owner}`, which is not there yet");
            diagnostics.push(report(owner, span, text));
        }
    }

    /// Whether an unknown function may belong to a loaded module of which nothing but the name is known.
    pub(super) fn may_explain(&self) -> bool {
        self.loads_unknown
    }
}

fn report(name: &str, span: Span, text: String) -> Diagnostic {
    let guard = format!("#!ifdef WITH_{}", name.to_ascii_uppercase().replace('-', "_"));
    Diagnostic::error(codes::ABSENT_MODULE, span, text)
        .label("known, but not built in")
        .help(format!("remove what needs it, or put it between `{guard}` and `#!endif`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_no_function_is_listed_twice_in_one_module() {
        let mut names = HashSet::new();
        for absent in table() {
            assert!(names.insert(absent.name), "{}", absent.name);
            let mut functions = HashSet::new();
            assert!(absent.functions.split_whitespace().all(|name| functions.insert(name)), "{}", absent.name);
        }
        assert!(names.len() > 200);
    }

    #[test]
    fn a_loaded_module_is_preferred_as_the_owner() {
        let mut absent = AbsentModules::default();
        assert_eq!(absent.owner_of_function("start_recording", &[]), Some("rtpengine"));
        absent.load("rtpproxy", Span::default(), &mut Diagnostics::default());
        assert_eq!(absent.owner_of_function("start_recording", &[]), Some("rtpproxy"));
        assert_eq!(absent.owner_of_variable("subs", &[]), Some("presence"));
    }
}
