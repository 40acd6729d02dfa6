//! Text to program, with everything that is wrong on the way.

use module_api::{Dialect, Module};

use crate::configuration::Configuration;
use crate::diagnostic::Diagnostics;
use crate::source::Reader;
use crate::{check, emit, lex, settings, syntax};

/// What loading needs to know besides the script.
pub struct LoadOptions<'a> {
    /// Definitions of the command line: `-A NAME` and `-A NAME=value`.
    pub defines: Vec<(String, Option<String>)>,
    /// Every module that exists. `core` and `pv` are always loaded.
    pub catalog: &'a [&'static Module],
    /// How to read files.
    pub reader: &'a dyn Reader,
}

/// What came of a script.
pub struct Loaded {
    /// Errors and warnings.
    pub diagnostics: Diagnostics,
    /// The family that it belongs to.
    pub dialect: Dialect,
    /// The script, when it has no errors.
    pub configuration: Option<Configuration>,
}

/// Loads the script at `path`. Never panics, whatever the text.
pub fn load(path: &str, options: &LoadOptions<'_>) -> Loaded {
    let mut diagnostics = Diagnostics::default();
    let script = lex::preprocess(path, &options.defines, options.reader, &mut diagnostics);
    let dialect = lex::detect(&script.tokens, script.marker, script.uses_directives);
    let tree = syntax::parse(&script.tokens, dialect, &mut diagnostics);
    let settings = settings::check(&tree, dialect, &mut diagnostics);
    // A copy, because what is checked writes to the diagnostics, which own them.
    let sources = diagnostics.sources.clone();
    let input = check::Input {
        tree: &tree,
        dialect,
        marker: script.marker,
        defines: &script.defines,
        settings: &settings,
        options,
        sources: &sources,
    };
    let checked = check::check(&input, &mut diagnostics);
    diagnostics.sort();
    let configuration = (!diagnostics.has_errors()).then(|| {
        let mut program = emit::emit(checked.routes, dialect, &settings, &diagnostics.sources);
        program.values = checked.values;
        program.log_prefix = checked.log_prefix;
        let observers = checked.modules.iter().enumerate();
        let mut takers = checked.modules.iter().enumerate();
        program.takes_http = takers.find_map(|(n, loaded)| Some((loaded.module.takes_http?, n as u16)));
        let watchers = checked.modules.iter().enumerate();
        program.watchers = watchers.filter_map(|(n, loaded)| Some((loaded.module.watcher?, n as u16))).collect();
        program.observers = observers.filter_map(|(n, loaded)| Some((loaded.module.observe?, n as u16))).collect();
        Configuration { dialect, settings, modules: checked.modules, program }
    });
    Loaded { diagnostics, dialect, configuration }
}
