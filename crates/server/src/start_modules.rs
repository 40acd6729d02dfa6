//! Starting the modules that a script loads, in its order.

use std::any::Any;
use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use module_api::{Binding, Dialect, Setup, State};
use script::LoadedModule;
use tokio::runtime::Handle;

/// States of the modules of a script, by name and in order.
pub(crate) struct States {
    /// In the order of `loadmodule`.
    pub(crate) in_order: Vec<Arc<dyn State>>,
    by_name: HashMap<&'static str, Arc<dyn State>>,
}

impl States {
    /// The state of module `name`, where it is loaded.
    pub(crate) fn of<T: State>(&self, name: &str) -> Option<Arc<T>> {
        let state: Arc<dyn Any + Send + Sync> = Arc::clone(self.by_name.get(name)?) as _;
        state.downcast().ok()
    }
}

/// Starts `modules`, each with its settings.
///
/// # Errors
/// The first module that cannot start, and why.
pub(crate) fn start(modules: &[LoadedModule], dialect: Dialect, data_dir: &Path, runtime: &Handle) -> Result<States> {
    let mut states = States { in_order: Vec::new(), by_name: HashMap::new() };
    for loaded in modules {
        let by_name = &states.by_name;
        let others = |name: &str| by_name.get(name).cloned();
        let block_on = |work: Pin<Box<dyn Future<Output = ()> + '_>>| runtime.block_on(work);
        let spawn = |work: Pin<Box<dyn Future<Output = ()> + Send>>| {
            runtime.spawn(work);
        };
        let binding = Binding { others: &others, dialect, data_dir, block_on: &block_on, spawn: &spawn };
        let mut setup = Setup::new(loaded.module, &loaded.settings, &binding);
        let name = loaded.module.name;
        let state = (loaded.module.make)(&mut setup).map_err(|error| anyhow!("module \"{name}\": {error}"))?;
        states.in_order.push(Arc::clone(&state));
        states.by_name.insert(name, state);
    }
    Ok(states)
}
