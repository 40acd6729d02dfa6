//! Compiling the script of a test.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use ::script::{BoundProgram, LoadOptions, Reader};
use module_api::{Binding, Server, Setup, State};

/// What is wrong with a test's script, as an operator would see it.
#[derive(Debug)]
pub struct ScriptFailure(pub String);

struct OneFile<'a>(&'a str);

impl Reader for OneFile<'_> {
    fn read(&self, _path: &str) -> std::io::Result<String> {
        Ok(self.0.to_owned())
    }
}

/// Compiles `text` with the server's modules, started without any database. What they post is never done.
///
/// # Errors
/// The rendered diagnostics, or the module that did not start.
pub fn compile(text: &str) -> Result<(Arc<BoundProgram>, ::script::Settings), ScriptFailure> {
    compile_for(text, &(Arc::new(module_api::NoServer) as _))
}

/// As [`compile`], for a server whose modules can post jobs to it.
///
/// # Errors
/// The rendered diagnostics, or the module that did not start.
pub fn compile_for(
    text: &str,
    server: &Arc<dyn Server>,
) -> Result<(Arc<BoundProgram>, ::script::Settings), ScriptFailure> {
    let options = LoadOptions { defines: Vec::new(), catalog: modules::catalog(), reader: &OneFile(text) };
    let loaded = ::script::load("test.cfg", &options);
    let shown = loaded.diagnostics.render(false);
    let configuration = loaded.configuration.ok_or(ScriptFailure(shown))?;
    let mut by_name: HashMap<&str, Arc<dyn State>> = HashMap::new();
    let mut states = Vec::new();
    let statistics = module_api::Statistics::default();
    for loaded in &configuration.modules {
        let others = |name: &str| by_name.get(name).cloned();
        let block_on = |_work: std::pin::Pin<Box<dyn Future<Output = ()> + '_>>| {};
        let spawn = |_work: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {};
        let log: module_api::LogLine = Arc::new(|_, _| {});
        let binding = Binding {
            others: &others,
            dialect: configuration.dialect,
            data_dir: Path::new("/nonexistent"),
            block_on: &block_on,
            spawn: &spawn,
            statistics: &statistics,
            server,
            log: &log,
        };
        let mut setup = Setup::new(loaded.module, &loaded.settings, &binding);
        let state = (loaded.module.make)(&mut setup).map_err(|error| ScriptFailure(error.to_string()))?;
        states.push(Arc::clone(&state));
        by_name.insert(loaded.module.name, state);
    }
    Ok((Arc::new(configuration.program.bind(states)), configuration.settings))
}
