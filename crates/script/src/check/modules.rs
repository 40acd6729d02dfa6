//! `loadmodule` and `modparam`.

use module_api::{Module, Setting, SettingKind, Value};
use regex::Regex;

use crate::configuration::LoadedModule;
use crate::diagnostic::{Diagnostic, Diagnostics, codes};
use crate::settings::boolean;
use crate::source::Span;
use crate::syntax::tree::{Literal, ModParam, Tree, Word};

/// The modules of a script, `core` and `pv` first.
pub(super) fn check(tree: &Tree, catalog: &[&'static Module], diagnostics: &mut Diagnostics) -> Vec<LoadedModule> {
    let mut loading = Loading { loaded: Vec::new(), at: Vec::new(), catalog, diagnostics };
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
    loading.loaded
}

/// Modules that went by another name once, or do nothing that has to be loaded here.
fn canonical(name: &str) -> &str {
    match name {
        "tm_mod" => "tm",
        "db_mysql" => "mysql",
        name => name,
    }
}

fn find(catalog: &[&'static Module], name: &str) -> Option<&'static Module> {
    let exact = catalog.iter().copied().find(|module| module.name == name);
    exact.or_else(|| catalog.iter().copied().find(|module| module.name == canonical(name)))
}

struct Loading<'a> {
    loaded: Vec<LoadedModule>,
    /// After how many `loadmodule` lines each is there.
    at: Vec<usize>,
    catalog: &'a [&'static Module],
    diagnostics: &'a mut Diagnostics,
}

impl Loading<'_> {
    fn add(&mut self, module: &'static Module, line: usize) {
        self.loaded.push(LoadedModule { module, settings: Vec::new() });
        self.at.push(line);
    }

    fn load(&mut self, word: &Word, line: usize, before: &[Word]) {
        let Some(module) = find(self.catalog, &word.text) else {
            let known = self.catalog.iter().map(|module| module.name);
            let found = Diagnostic::error(codes::UNKNOWN_MODULE, word.span, format!("unknown module `{}`", word.text))
                .label("there is no such module here");
            return self.diagnostics.push(found.suggest(&word.text, known));
        };
        if let Some(earlier) = before.iter().find(|earlier| canonical(&earlier.text) == canonical(&word.text)) {
            let text = format!("module `{}` is loaded twice", module.name);
            let found = Diagnostic::warning(codes::MODULE_TWICE, word.span, text);
            return self.diagnostics.push(found.note(Some(earlier.span), "first loaded here"));
        }
        if !self.loaded.iter().any(|loaded| loaded.module.name == module.name) {
            self.add(module, line);
        }
    }

    fn modparam(&mut self, modparam: &ModParam) {
        // The name is a regular expression, matched against whole names as `usrloc|acc` expects.
        let Ok(pattern) = Regex::new(&format!("^(?:{})$", modparam.module.text)) else {
            let text = format!("`{}` is not a regular expression over module names", modparam.module.text);
            return self.diagnostics.push(Diagnostic::error(codes::BAD_REGEX, modparam.module.span, text));
        };
        let is_there = |(loaded, at): (&LoadedModule, &usize)| {
            *at <= modparam.loaded
                && (pattern.is_match(loaded.module.name)
                    || canonical(&modparam.module.text) == canonical(loaded.module.name))
        };
        let targets: Vec<usize> =
            self.loaded.iter().zip(&self.at).enumerate().filter(|(_, pair)| is_there(*pair)).map(|(n, _)| n).collect();
        if targets.is_empty() {
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
            let text = format!("module `{}` has no parameter `{name}`", module.name);
            let known = module.parameters.iter().map(|parameter| parameter.name);
            let found = Diagnostic::error(codes::MODPARAM_UNKNOWN, modparam.parameter.span, text).suggest(name, known);
            return self.diagnostics.push(found);
        };
        let value = match (parameter.kind, &modparam.value) {
            (SettingKind::Int, Literal::Int(number)) => Ok(Value::Int(*number)),
            (SettingKind::Int, Literal::Word(word)) => boolean(word).map(Value::Int).ok_or("a number"),
            (SettingKind::Int, Literal::Text(text)) => {
                text.trim().parse().map(Value::Int).or(boolean(text).map(Value::Int).ok_or("a number"))
            }
            (SettingKind::Str | SettingKind::List, Literal::Int(number)) => Ok(Value::Str(number.to_string().into())),
            (_, Literal::Text(text) | Literal::Word(text)) => Ok(Value::Str(text.clone().into())),
            (SettingKind::Ignored, Literal::Int(number)) => Ok(Value::Int(*number)),
        };
        match value {
            Ok(value) => self.loaded[target].settings.push(Setting { name: name.to_owned(), value }),
            Err(expected) => self.wrong_kind(module, name, expected, modparam.value_span),
        }
    }

    fn wrong_kind(&mut self, module: &Module, name: &str, expected: &str, span: Span) {
        let text = format!("parameter `{name}` of module `{}` must be {expected}", module.name);
        let doc = module.parameters.iter().find(|parameter| parameter.name == name).map_or("", |found| found.doc);
        self.diagnostics.push(Diagnostic::error(codes::MODPARAM_KIND, span, text).help(doc));
    }
}
