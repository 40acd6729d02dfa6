//! What a loaded script asks of the server.

use module_api::{Dialect, Module, Setting};

use crate::program::Program;
use crate::settings::Settings;

/// A script that can run.
pub struct Configuration {
    /// The family of the script.
    pub dialect: Dialect,
    /// Core parameters.
    pub settings: Settings,
    /// Modules in the order in which they start: `core` and `pv` first, then as the script loads them.
    pub modules: Vec<LoadedModule>,
    /// The routes.
    pub program: Program,
}

/// A module that the script loads.
pub struct LoadedModule {
    /// Its tables.
    pub module: &'static Module,
    /// The `modparam` lines that concern it.
    pub settings: Vec<Setting>,
}
