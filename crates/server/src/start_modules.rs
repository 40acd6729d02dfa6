//! Starting the modules that a script loads, in its order.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use module_api::{Binding, Command, Dialect, Level, LogLine, Save, Server, Setting, Setup, State, Statistics};
use script::LoadedModule;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// Modules that have started, in the order of `loadmodule`.
#[derive(Default)]
pub(crate) struct Started(Vec<StartedModule>);

struct StartedModule {
    name: &'static str,
    commands: &'static [Command],
    save: Option<Save>,
    settings: Vec<Setting>,
    state: Arc<dyn State>,
    /// The modules whose states it asked for, and may hold, since it started.
    holds: Vec<String>,
}

impl Started {
    /// The names of the modules.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|module| module.name).collect()
    }

    /// The states, in order.
    pub(crate) fn states(&self) -> Vec<Arc<dyn State>> {
        self.0.iter().map(|module| Arc::clone(&module.state)).collect()
    }

    /// The state of module `name`, where it is loaded.
    pub(crate) fn of<T: State>(&self, name: &str) -> Option<Arc<T>> {
        let state: Arc<dyn Any + Send + Sync> = self.find(name)? as _;
        state.downcast().ok()
    }

    /// The modules' commands, each with the state that they work on.
    pub(crate) fn commands(&self) -> Vec<control::Owner> {
        self.0.iter().map(|module| (module.commands, Arc::clone(&module.state))).collect()
    }

    /// Has the modules write down what shall outlive them, the last that was loaded first. Those that have not by the
    /// end of `within` are left.
    pub(crate) async fn save(&self, within: Duration, log: &dyn Fn(&'static str) -> LogLine) {
        let until = Instant::now() + within;
        for module in self.0.iter().rev() {
            module.save(until, log).await;
        }
    }

    fn find(&self, name: &str) -> Option<Arc<dyn State>> {
        self.0.iter().find(|module| module.name == name).map(|module| Arc::clone(&module.state))
    }
}

impl StartedModule {
    async fn save(&self, until: Instant, log: &dyn Fn(&'static str) -> LogLine) {
        let Some(save) = self.save else { return };
        if tokio::time::timeout_at(until, save(&self.state)).await.is_err() {
            log(self.name)(Level::Error, "there was no time left to write down what it holds");
        }
    }
}

/// How long modules may take to write down what they hold.
pub(crate) const SAVE: Duration = Duration::from_secs(10);

/// Where and for whom modules start.
pub(crate) struct Ground<'a> {
    /// The family of the script.
    pub(crate) dialect: Dialect,
    /// Where data is kept.
    pub(crate) data_dir: &'a Path,
    /// Where futures run.
    pub(crate) runtime: &'a Handle,
    /// Where they count.
    pub(crate) statistics: &'a Statistics,
    /// The workers.
    pub(crate) server: &'a Arc<dyn Server>,
    /// Where what runs beside the workers logs.
    pub(crate) log: &'a dyn Fn(&'static str) -> LogLine,
}

/// Starts `modules`, each with its settings.
///
/// At a reload a module of `before` whose settings are the same goes on with its state, wherever the
/// script loads it now, so that registrations, counters and caches survive. One that holds the state
/// of a module that is made anew is made anew with it. A state that is left has been saved before.
///
/// # Errors
/// The first module that cannot start, and why. `before` is then as it was.
pub(crate) fn start(modules: &[LoadedModule], before: &Started, ground: &Ground<'_>) -> Result<Started> {
    let mut started = Started::default();
    let save_one = |module: &StartedModule| ground.runtime.block_on(module.save(Instant::now() + SAVE, ground.log));
    for loaded in modules {
        let name = loaded.module.name;
        let earlier = before.0.iter().find(|module| module.name == name && module.settings == loaded.settings);
        let same = earlier.filter(|module| module.holds.iter().all(|held| is_same(held, before, &started)));
        let (state, holds) = match same {
            Some(module) => (Arc::clone(&module.state), module.holds.clone()),
            None => {
                // What takes its place may read what this one holds.
                before.0.iter().filter(|module| module.name == name).for_each(save_one);
                make(loaded, &started, ground)?
            }
        };
        started.0.push(StartedModule {
            name,
            commands: loaded.module.commands,
            save: loaded.module.save,
            settings: loaded.settings.clone(),
            state,
            holds,
        });
    }
    before.0.iter().filter(|module| started.find(module.name).is_none()).for_each(save_one);
    Ok(started)
}

/// Whether what `name` stands for is what it stood for.
fn is_same(name: &str, before: &Started, now: &Started) -> bool {
    match (before.find(name), now.find(name)) {
        (Some(before), Some(now)) => Arc::ptr_eq(&before, &now),
        (before, now) => before.is_none() && now.is_none(),
    }
}

/// The state of a module, and the names of those whose states it asked for.
fn make(loaded: &LoadedModule, started: &Started, ground: &Ground<'_>) -> Result<(Arc<dyn State>, Vec<String>)> {
    let asked = RefCell::new(Vec::new());
    let others = |name: &str| {
        asked.borrow_mut().push(name.to_owned());
        started.find(name)
    };
    let block_on = |work: Pin<Box<dyn Future<Output = ()> + '_>>| ground.runtime.block_on(work);
    let spawn = |work: Pin<Box<dyn Future<Output = ()> + Send>>| {
        ground.runtime.spawn(work);
    };
    let log = (ground.log)(loaded.module.name);
    let binding = Binding {
        others: &others,
        dialect: ground.dialect,
        data_dir: ground.data_dir,
        block_on: &block_on,
        spawn: &spawn,
        statistics: ground.statistics,
        server: ground.server,
        log: &log,
    };
    let mut setup = Setup::new(loaded.module, &loaded.settings, &binding);
    let name = loaded.module.name;
    let made = (loaded.module.make)(&mut setup).map_err(|error| anyhow!("module \"{name}\": {error}"))?;
    Ok((made, asked.into_inner()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use module_api::{Module, SetupError, Value};

    static TABLE: Module = Module {
        name: "table",
        doc: "Has a state.",
        parameters: &[],
        functions: &[],
        variables: &[],
        make: |_| Ok::<Arc<dyn State>, SetupError>(Arc::new(String::from("made"))),
        ..Module::EMPTY
    };

    static READER: Module = Module {
        name: "reader",
        doc: "Holds the state of the other.",
        parameters: &[],
        functions: &[],
        variables: &[],
        make: |setup| Ok::<Arc<dyn State>, SetupError>(Arc::new(setup.module::<String>("table")?)),
        ..Module::EMPTY
    };

    fn loaded(module: &'static Module, value: i64) -> LoadedModule {
        let setting = Setting { name: "size".into(), value: Value::Int(value) };
        LoadedModule { module, settings: vec![setting] }
    }

    fn check_kept(after: &[LoadedModule], expected: &[bool]) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
        let server: Arc<dyn Server> = Arc::new(module_api::NoServer);
        let log = |_: &'static str| -> LogLine { Arc::new(|_, _| {}) };
        let ground = Ground {
            dialect: Dialect::Kamailio,
            data_dir: Path::new("/nonexistent"),
            runtime: runtime.handle(),
            statistics: &Statistics::default(),
            server: &server,
            log: &log,
        };
        let first = start(&[loaded(&TABLE, 1), loaded(&READER, 1)], &Started::default(), &ground).expect("it starts");
        let second = start(after, &first, &ground).expect("it starts");
        let is_kept = |state: &Arc<dyn State>| first.states().iter().any(|earlier| Arc::ptr_eq(earlier, state));
        assert_eq!(second.states().iter().map(is_kept).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn at_a_reload_a_module_keeps_its_state_until_its_settings_change() {
        check_kept(&[loaded(&TABLE, 1), loaded(&READER, 1)], &[true, true]);
        check_kept(&[loaded(&TABLE, 1), loaded(&READER, 2)], &[true, false]);
        // The reader holds on to the state of the table, so it starts anew with it.
        check_kept(&[loaded(&TABLE, 2), loaded(&READER, 1)], &[false, false]);
    }

    #[test]
    fn a_module_loaded_in_front_takes_no_state_away() {
        static OTHER: Module = Module { name: "other", ..TABLE };
        check_kept(&[loaded(&OTHER, 1), loaded(&TABLE, 1), loaded(&READER, 1)], &[false, true, true]);
    }
}
