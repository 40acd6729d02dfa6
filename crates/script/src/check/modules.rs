//! `loadmodule` and `modparam`.

use std::collections::HashMap;

use module_api::{Dialect, Module, Setting, SettingKind, Value};
use regex::Regex;

use super::Input;
use super::absent::{self, AbsentModules};
use super::legacy;
use crate::configuration::LoadedModule;
use crate::diagnostic::{Diagnostic, Diagnostics, codes};
use crate::settings::boolean;
use crate::source::Span;
use crate::syntax::tree::{Literal, ModParam, Word};

/// The modules of a script, `core` and `pv` first, and those that it asks for in vain.
pub(super) fn check(
    input: &Input<'_>,
    flags: &HashMap<&str, i64>,
    diagnostics: &mut Diagnostics,
) -> (Vec<LoadedModule>, AbsentModules) {
    let (tree, catalog) = (input.tree, input.options.catalog);
    let (absent, dialect) = (AbsentModules::default(), input.dialect);
    let mut loading = Loading { loaded: Vec::new(), at: Vec::new(), catalog, dialect, flags, absent, diagnostics };
    for name in ["core", "pv"] {
        if let Some(module) = find(catalog, name) {
            loading.add(module, 0);
        }
    }
    for (n, word) in tree.modules.iter().enumerate() {
        loading.load(word, n + 1, &tree.modules[..n]);
    }
    for modparam in &tree.modparams {
        loading.modparam(modparam);
    }
    (loading.loaded, loading.absent)
}

/// A module by its name, or by one that it had in other years.
fn find(catalog: &[&'static Module], name: &str) -> Option<&'static Module> {
    legacy::names_of(name).find_map(|name| catalog.iter().copied().find(|module| module.name == name))
}

struct Loading<'a> {
    loaded: Vec<LoadedModule>,
    /// After how many `loadmodule` lines each is there.
    at: Vec<usize>,
    catalog: &'a [&'static Module],
    dialect: Dialect,
    /// Declared flags: parameters that are flags may name one.
    flags: &'a HashMap<&'a str, i64>,
    absent: AbsentModules,
    diagnostics: &'a mut Diagnostics,
}

impl Loading<'_> {
    fn add(&mut self, module: &'static Module, line: usize) {
        if self.loaded.iter().any(|loaded| loaded.module.name == module.name) {
            return;
        }
        self.loaded.push(LoadedModule { module, settings: Vec::new() });
        self.at.push(line);
    }

    fn load(&mut self, word: &Word, line: usize, before: &[Word]) {
        let Some(module) = find(self.catalog, &word.text) else {
            let names = legacy::names_of(&word.text);
            if names.into_iter().any(|name| self.absent.load(name, word.span, self.diagnostics)) {
                return;
            }
            let known = self.catalog.iter().map(|module| module.name);
            let found = Diagnostic::error(codes::UNKNOWN_MODULE, word.span, format!("unknown module `{}`", word.text))
                .label("there is no such module here");
            return self.diagnostics.push(found.suggest(&word.text, known));
        };
        let is_same =
            |earlier: &&Word| find(self.catalog, &earlier.text).is_some_and(|other| other.name == module.name);
        if let Some(earlier) = before.iter().find(is_same) {
            let text = format!("module `{}` is loaded twice", module.name);
            let found = Diagnostic::warning(codes::MODULE_TWICE, word.span, text);
            return self.diagnostics.push(found.note(Some(earlier.span), "first loaded here"));
        }
        self.add(module, line);
        if self.dialect == Dialect::Ser {
            for companion in legacy::companions(&word.text) {
                if let Some(module) = find(self.catalog, companion) {
                    self.add(module, line);
                }
            }
        }
    }

    fn modparam(&mut self, modparam: &ModParam) {
        // The name is a regular expression, matched against whole names as `usrloc|acc` expects.
        let Ok(pattern) = Regex::new(&format!("^(?:{})$", modparam.module.text)) else {
            let text = format!("`{}` is not a regular expression over module names", modparam.module.text);
            return self.diagnostics.push(Diagnostic::error(codes::BAD_REGEX, modparam.module.span, text));
        };
        let is_there = |(loaded, at): (&LoadedModule, &usize)| {
            *at <= modparam.loaded && legacy::names_of(loaded.module.name).any(|name| pattern.is_match(name))
        };
        let targets: Vec<usize> =
            self.loaded.iter().zip(&self.at).enumerate().filter(|(_, pair)| is_there(*pair)).map(|(n, _)| n).collect();
        if targets.is_empty() {
            // What an absent module could be told is not known, and that it is absent has been said.
            if self.absent.is_loaded(|name| legacy::names_of(name).any(|name| pattern.is_match(name))) {
                return;
            }
            return self.no_module(modparam);
        }
        for target in targets {
            self.set(target, modparam);
        }
    }

    fn no_module(&mut self, modparam: &ModParam) {
        let name = modparam.module.text.as_str();
        let text = format!("no module `{name}` is loaded before this line");
        let found = Diagnostic::error(codes::MODPARAM_NO_MODULE, modparam.module.span, text);
        let found = match find(self.catalog, name) {
            Some(module) => found.help(format!("put `loadmodule \"{}.so\"` above it", module.name)),
            None => found.suggest(name, self.loaded.iter().map(|loaded| loaded.module.name)),
        };
        self.diagnostics.push(found);
    }

    fn set(&mut self, target: usize, modparam: &ModParam) {
        let module = self.loaded[target].module;
        let name = modparam.parameter.text.as_str();
        let Some(parameter) = module.parameters.iter().find(|parameter| parameter.name == name) else {
            if self.set_elsewhere(module.name, modparam) {
                return;
            }
            if let Some(fate) = legacy::gone(module.name, name) {
                let text = format!("parameter `{name}` of module `{}` is gone and has no effect", module.name);
                let found = Diagnostic::warning(codes::NO_EFFECT, modparam.parameter.span, text);
                return self.diagnostics.push(found.label("passed over").help(fate));
            }
            if legacy::names_of(module.name).any(|module| absent::has_parameter(module, name)) {
                let text = format!("parameter `{name}` of module `{}` has no effect yet", module.name);
                let found = Diagnostic::warning(codes::NO_EFFECT, modparam.parameter.span, text);
                return self.diagnostics.push(found.label("known, and passed over"));
            }
            let text = format!("module `{}` has no parameter `{name}`", module.name);
            let known = module.parameters.iter().map(|parameter| parameter.name);
            let found = Diagnostic::error(codes::MODPARAM_UNKNOWN, modparam.parameter.span, text).suggest(name, known);
            return self.diagnostics.push(found);
        };
        let value = match (parameter.kind, &modparam.value) {
            (SettingKind::Int, Literal::Int(number)) => Ok(Value::Int(*number)),
            (SettingKind::Int, Literal::Word(text) | Literal::Text(text)) => {
                let number = text.trim().parse().ok().or_else(|| boolean(text));
                let number = number.or_else(|| self.flags.get(text.as_str()).copied());
                number.map(Value::Int).ok_or("a number")
            }
            (SettingKind::Str | SettingKind::File | SettingKind::List, Literal::Int(number)) => {
                Ok(Value::Str(number.to_string().into()))
            }
            (_, Literal::Text(text) | Literal::Word(text)) => Ok(Value::Str(text.clone().into())),
            (SettingKind::Ignored, Literal::Int(number)) => Ok(Value::Int(*number)),
        };
        match value {
            Ok(value) => self.loaded[target].settings.push(Setting { name: name.to_owned(), value }),
            Err(expected) => self.wrong_kind(module, name, expected, modparam.value_span),
        }
    }

    /// Sets a parameter of old where it is now. False when there never was one of this name.
    fn set_elsewhere(&mut self, module: &str, modparam: &ModParam) -> bool {
        let Some((module, name)) = legacy::parameter(module, &modparam.parameter.text) else { return false };
        if name.is_empty() {
            return true;
        }
        let Some(found) = find(self.catalog, module) else { return false };
        self.add(found, modparam.loaded);
        let Some(target) = self.loaded.iter().position(|loaded| loaded.module.name == found.name) else { return false };
        if !found.parameters.iter().any(|parameter| parameter.name == name) {
            return false;
        }
        let parameter = Word { text: name.to_owned(), span: modparam.parameter.span };
        self.set(target, &ModParam { parameter, ..modparam.clone() });
        true
    }

    fn wrong_kind(&mut self, module: &Module, name: &str, expected: &str, span: Span) {
        let text = format!("parameter `{name}` of module `{}` must be {expected}", module.name);
        let doc = module.parameters.iter().find(|parameter| parameter.name == name).map_or("", |found| found.doc);
        self.diagnostics.push(Diagnostic::error(codes::MODPARAM_KIND, span, text).help(doc));
    }
}
