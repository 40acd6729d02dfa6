//! Starting the modules that a script loads, in its order.

use std::any::Any;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use module_api::{Binding, Dialect, Setting, Setup, State};
use script::LoadedModule;
use tokio::runtime::Handle;

/// Modules that have started, in the order of `loadmodule`.
#[derive(Default)]
pub(crate) struct Started(Vec<StartedModule>);

struct StartedModule {
    name: &'static str,
    settings: Vec<Setting>,
    state: Arc<dyn State>,
}

impl Started {
    /// The states, in order.
    pub(crate) fn states(&self) -> Vec<Arc<dyn State>> {
        self.0.iter().map(|module| Arc::clone(&module.state)).collect()
    }

    /// The state of module `name`, where it is loaded.
    pub(crate) fn of<T: State>(&self, name: &str) -> Option<Arc<T>> {
        let state: Arc<dyn Any + Send + Sync> = self.find(name)? as _;
        state.downcast().ok()
    }

    fn find(&self, name: &str) -> Option<Arc<dyn State>> {
        self.0.iter().find(|module| module.name == name).map(|module| Arc::clone(&module.state))
    }
}

/// Where and for whom modules start.
pub(crate) struct Ground<'a> {
    /// The family of the script.
    pub(crate) dialect: Dialect,
    /// Where data is kept.
    pub(crate) data_dir: &'a Path,
    /// Where futures run.
    pub(crate) runtime: &'a Handle,
}

/// Starts `modules`, each with its settings.
///
/// At a reload a module of `before` whose settings are the same goes on with its state, so that
/// registrations, counters and caches survive. One that is made anew may hold states that others
/// hold too; so from the first new one on, all are.
///
/// # Errors
/// The first module that cannot start, and why. `before` is then as it was.
pub(crate) fn start(modules: &[LoadedModule], before: &Started, ground: &Ground<'_>) -> Result<Started> {
    let mut started = Started::default();
    let mut are_same = true;
    for (place, loaded) in modules.iter().enumerate() {
        let earlier = before.0.get(place);
        let same = earlier
            .filter(|module| are_same && module.name == loaded.module.name && module.settings == loaded.settings);
        let state = match same {
            Some(module) => Arc::clone(&module.state),
            None => {
                are_same = false;
                make(loaded, &started, ground)?
            }
        };
        started.0.push(StartedModule { name: loaded.module.name, settings: loaded.settings.clone(), state });
    }
    Ok(started)
}

fn make(loaded: &LoadedModule, started: &Started, ground: &Ground<'_>) -> Result<Arc<dyn State>> {
    let others = |name: &str| started.find(name);
    let block_on = |work: Pin<Box<dyn Future<Output = ()> + '_>>| ground.runtime.block_on(work);
    let spawn = |work: Pin<Box<dyn Future<Output = ()> + Send>>| {
        ground.runtime.spawn(work);
    };
    let binding = Binding {
        others: &others,
        dialect: ground.dialect,
        data_dir: ground.data_dir,
        block_on: &block_on,
        spawn: &spawn,
    };
    let mut setup = Setup::new(loaded.module, &loaded.settings, &binding);
    let name = loaded.module.name;
    (loaded.module.make)(&mut setup).map_err(|error| anyhow!("module \"{name}\": {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use module_api::{Module, SetupError, Value};

    static COUNTING: Module = Module {
        name: "counting",
        doc: "Has a state that tells one start from another.",
        parameters: &[],
        functions: &[],
        variables: &[],
        make: |_| Ok::<Arc<dyn State>, SetupError>(Arc::new(String::from("made"))),
    };

    fn loaded(value: i64) -> LoadedModule {
        let setting = Setting { name: "size".into(), value: Value::Int(value) };
        LoadedModule { module: &COUNTING, settings: vec![setting] }
    }

    #[test]
    fn at_a_reload_a_module_keeps_its_state_until_its_settings_change() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
        let ground =
            Ground { dialect: Dialect::Kamailio, data_dir: Path::new("/nonexistent"), runtime: runtime.handle() };
        let start = |modules: &[LoadedModule], before: &Started| start(modules, before, &ground).expect("it starts");
        let first = start(&[loaded(1), loaded(2)], &Started::default());
        let same = start(&[loaded(1), loaded(2)], &first);
        let changed = start(&[loaded(3), loaded(2)], &first);
        let is_kept = |after: &Started, place: usize| Arc::ptr_eq(&first.states()[place], &after.states()[place]);
        assert_eq!([is_kept(&same, 0), is_kept(&same, 1)], [true, true]);
        // The second may hold on to the state of the first, so it starts anew with it.
        assert_eq!([is_kept(&changed, 0), is_kept(&changed, 1)], [false, false]);
    }
}
