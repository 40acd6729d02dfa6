//! Core parameters: what stands as `name = value` at the top of a script.

mod address;
mod table;

use std::collections::HashMap;

use module_api::{Dialect, Value};

pub use address::{Alias, Listen};
pub(crate) use table::boolean;
pub use table::{CORE_PARAMETERS, CoreKind, CoreParameter};

use crate::diagnostic::{Diagnostic, Diagnostics, codes};
use crate::syntax::tree::{SettingTree, Tree};

/// The core parameters of one script, with defaults where it says nothing.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen, in the order of the script; empty: on every address.
    pub listen: Vec<Listen>,
    /// Names that count as this server.
    pub aliases: Vec<Alias>,
    /// `group.name = value` variables.
    pub variables: Vec<(String, Value)>,
    values: HashMap<&'static str, Value>,
    dialect: Dialect,
}

impl Settings {
    pub(crate) fn new(dialect: Dialect) -> Settings {
        Settings { listen: Vec::new(), aliases: Vec::new(), variables: Vec::new(), values: HashMap::new(), dialect }
    }

    /// An integer parameter, or its default.
    ///
    /// # Panics
    /// When no parameter has this name: a mistake in the caller, not in the script.
    pub fn int(&self, name: &str) -> i64 {
        self.value(name).to_int()
    }

    /// A boolean parameter, or its default.
    ///
    /// # Panics
    /// As [`Settings::int`].
    pub fn flag(&self, name: &str) -> bool {
        self.int(name) != 0
    }

    /// A text parameter, or its default; empty when it has none.
    ///
    /// # Panics
    /// As [`Settings::int`].
    pub fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(&self.value(name).to_bytes()).into_owned()
    }

    /// Whether the script gives the parameter.
    pub fn is_set(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Sets a parameter, for instance from the command line.
    ///
    /// # Panics
    /// As [`Settings::int`].
    pub fn set(&mut self, name: &str, value: Value) {
        self.values.insert(parameter(name).name, value);
    }

    /// Whether there is a parameter of this name.
    pub(crate) fn knows(&self, name: &str) -> bool {
        table::find(name).is_some()
    }

    pub(crate) fn value(&self, name: &str) -> Value {
        let parameter = parameter(name);
        self.values.get(parameter.name).cloned().unwrap_or_else(|| parameter.default_in(self.dialect))
    }
}

fn parameter(name: &str) -> &'static CoreParameter {
    table::find(name).expect("only core parameters of the table are asked for")
}

/// Checks the settings of a script.
pub(crate) fn check(tree: &Tree, dialect: Dialect, diagnostics: &mut Diagnostics) -> Settings {
    let mut settings = Settings::new(dialect);
    for setting in &tree.settings {
        check_setting(setting, &mut settings, diagnostics);
    }
    say_what_is_passed_over(tree, dialect, diagnostics);
    for listen in &tree.listens {
        settings.listen.extend(address::listen(listen, diagnostics));
    }
    for alias in &tree.aliases {
        settings.aliases.extend(address::alias(alias, diagnostics));
    }
    for (name, value) in &tree.variables {
        settings.variables.push((name.text.clone(), value.to_value()));
    }
    settings
}

/// Tells once which of the parameters that the script gives do nothing here though they could. Those that concern what
/// does not exist here, memory pools for instance, are not worth a word.
fn say_what_is_passed_over(tree: &Tree, dialect: Dialect, diagnostics: &mut Diagnostics) {
    let is_passed_over = |setting: &&SettingTree| {
        let parameter = table::find(&setting.name.text).filter(|parameter| parameter.is_to_come());
        let given = parameter.and_then(|parameter| parameter.read(&setting.value).ok());
        parameter.zip(given).is_some_and(|(parameter, given)| given != parameter.default_in(dialect))
    };
    let mut passed_over: Vec<&SettingTree> = tree.settings.iter().filter(is_passed_over).collect();
    passed_over.dedup_by_key(|setting| &setting.name.text);
    let Some((first, others)) = passed_over.split_first() else { return };
    let text = format!("parameter `{}` has no effect yet", first.name.text);
    let mut found = Diagnostic::warning(codes::NO_EFFECT, first.name.span, text).label("known, and passed over");
    if !others.is_empty() {
        let names: Vec<&str> = others.iter().map(|setting| setting.name.text.as_str()).collect();
        found = found.help(format!("the same is true of {}", names.join(", ")));
    }
    diagnostics.push(found);
}

fn check_setting(setting: &SettingTree, settings: &mut Settings, diagnostics: &mut Diagnostics) {
    let name = setting.name.text.as_str();
    let Some(parameter) = table::find(name) else {
        let found =
            Diagnostic::error(codes::UNKNOWN_PARAMETER, setting.name.span, format!("unknown parameter `{name}`"));
        return diagnostics.push(found.label("no core parameter has this name").suggest(name, table::names()));
    };
    match parameter.read(&setting.value) {
        Ok(value) => {
            settings.values.insert(parameter.name, value);
        }
        Err(expected) => {
            let text = format!("`{}` must be {expected}", parameter.name);
            let default = match parameter.default {
                "" => String::new(),
                default => format!(" The default is {default}."),
            };
            let found = Diagnostic::error(codes::BAD_PARAMETER, setting.value_span, text);
            diagnostics.push(found.help(format!("{}{default}", parameter.doc)));
        }
    }
}
