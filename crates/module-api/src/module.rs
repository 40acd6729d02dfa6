//! The table entry of a module, its settings, and its start.

use std::any::Any;
use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use crate::watch::FindWatcher;
use crate::{
    Command, Counter, Dialect, Function, Gauge, Level, Observe, Server, Statistic, Statistics, TakesHttp, Value,
    Variable,
};

/// State of a module, made once at start and shared by all workers.
pub trait State: Any + Send + Sync {}

impl<T: Any + Send + Sync> State for T {}

/// Writes down what shall outlive a state. It may run several times.
pub type Save = fn(&Arc<dyn State>) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

/// A module: what `loadmodule` brings into a script.
pub struct Module {
    /// The name in `loadmodule`, without `.so`.
    pub name: &'static str,
    /// What it is for, for the reference.
    pub doc: &'static str,
    /// What `modparam` can set.
    pub parameters: &'static [Parameter],
    /// Functions that scripts can call.
    pub functions: &'static [Function],
    /// Pseudo-variables that it brings.
    pub variables: &'static [Variable],
    /// Routes of the script that it runs when something happens: `event_route[MODULE:EVENT]`.
    pub events: &'static [Event],
    /// What an operator can ask of it while it runs.
    pub commands: &'static [Command],
    /// What it counts and measures.
    pub statistics: &'static [Statistic],
    /// Told what happens to transactions, where the module watches them. Costs nothing where no module does.
    pub observe: Option<Observe>,
    /// Who sees every message that comes and goes, as the module's settings want it; most want nobody to.
    pub watcher: Option<FindWatcher>,
    /// Which HTTP requests at a SIP listener the module has `event_route[xhttp:request]` answer; none where it does not.
    pub takes_http: Option<TakesHttp>,
    /// Runs before the server ends or becomes another program, and before another state takes the place of this one:
    /// `Drop` would come too late for the one, and not at all for the other.
    pub save: Option<Save>,
    /// Makes the state. Runs once, in the order of `loadmodule`, before the server opens a socket.
    pub make: fn(&mut Setup<'_>) -> Result<Arc<dyn State>, SetupError>,
}

impl Module {
    /// A module without name, contents or state, from which tables take what they do not set.
    pub const EMPTY: Module = Module {
        name: "",
        doc: "",
        parameters: &[],
        functions: &[],
        variables: &[],
        events: &[],
        commands: &[],
        statistics: &[],
        observe: None,
        watcher: None,
        takes_http: None,
        save: None,
        make: |_| Ok(Arc::new(())),
    };
}

/// Something that a module lets a script react to, in an `event_route`.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// The name in the brackets of `event_route[...]`, the module's own name included: `dialog:start`.
    /// A name that ends in `:` takes a word of the script's choice behind it: `htable:expired:`.
    pub name: &'static str,
    /// When it happens, and what the message is there, for the reference.
    pub doc: &'static str,
}

/// A setting that `modparam` can change.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What its value must be.
    pub kind: SettingKind,
    /// The default, as an operator would write it; empty when it has none.
    pub default: &'static str,
    /// Its meaning and unit, for the reference.
    pub doc: &'static str,
}

/// What the value of a [`Parameter`] must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingKind {
    /// An integer; `yes` and `no` count as 1 and 0.
    Int,
    /// A string.
    Str,
    /// A string that names a file. A relative name is looked for in the folder of the script, then where the server works.
    File,
    /// A string; the setting may be given several times and the values add up.
    List,
    /// Accepted for the sake of existing scripts and without effect here.
    Ignored,
}

/// One `modparam` line that applies to a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The parameter's name.
    pub name: String,
    /// Its value.
    pub value: Value,
}

/// Runs a future to its end.
pub type BlockOn<'a> = dyn Fn(Pin<Box<dyn Future<Output = ()> + '_>>) + 'a;

/// Starts a future that runs beside the server.
pub type SpawnWork<'a> = dyn Fn(Pin<Box<dyn Future<Output = ()> + Send>>) + 'a;

/// Takes log lines of what runs beside the workers, never blocking.
pub type LogLine = Arc<dyn Fn(Level, &str) + Send + Sync>;

/// What a module has at hand when it starts.
pub struct Setup<'a> {
    module: &'a Module,
    settings: &'a [Setting],
    others: &'a dyn Fn(&str) -> Option<Arc<dyn State>>,
    /// The family of the script.
    pub dialect: Dialect,
    /// Where the server keeps its data.
    pub data_dir: &'a Path,
    /// Runs futures to their end during start, for modules that read a database first.
    pub block_on: &'a BlockOn<'a>,
    /// Starts a future that runs beside the server until it ends.
    pub spawn: &'a SpawnWork<'a>,
    /// What the server counts, for names that are not in the module's table: those that the script gives.
    pub statistics: &'a Statistics,
    /// The workers: for requests of our own, events and timers. To be kept by whoever needs it later.
    pub server: &'a Arc<dyn Server>,
    /// The log, for what runs beside the workers. A call has [`crate::Host::log`].
    pub log: &'a LogLine,
}

/// How [`Setup`] reaches the server, gathered for [`Setup::new`].
pub struct Binding<'a> {
    /// State of another module that started earlier.
    pub others: &'a dyn Fn(&str) -> Option<Arc<dyn State>>,
    /// The family of the script.
    pub dialect: Dialect,
    /// Where the server keeps its data.
    pub data_dir: &'a Path,
    /// See [`Setup::block_on`].
    pub block_on: &'a BlockOn<'a>,
    /// See [`Setup::spawn`].
    pub spawn: &'a SpawnWork<'a>,
    /// See [`Setup::statistics`].
    pub statistics: &'a Statistics,
    /// See [`Setup::server`].
    pub server: &'a Arc<dyn Server>,
    /// See [`Setup::log`].
    pub log: &'a LogLine,
}

impl<'a> Setup<'a> {
    /// The setup of `module` with the `modparam` lines that apply to it.
    pub fn new(module: &'a Module, settings: &'a [Setting], binding: &Binding<'a>) -> Setup<'a> {
        Setup {
            module,
            settings,
            others: binding.others,
            dialect: binding.dialect,
            data_dir: binding.data_dir,
            block_on: binding.block_on,
            spawn: binding.spawn,
            statistics: binding.statistics,
            server: binding.server,
            log: binding.log,
        }
    }

    /// An integer setting; the last line wins, else the default.
    pub fn int(&self, name: &str) -> i64 {
        match self.last(name) {
            Some(value) => value.to_int(),
            None => Value::Str(Bytes::from_static(self.default_of(name).as_bytes())).to_int(),
        }
    }

    /// A string setting; the last line wins, else the default.
    pub fn text(&self, name: &str) -> String {
        match self.last(name) {
            Some(value) => String::from_utf8_lossy(&value.to_bytes()).into_owned(),
            None => self.default_of(name).to_owned(),
        }
    }

    /// Every value of a setting that may be given several times.
    pub fn list(&self, name: &str) -> Vec<Bytes> {
        self.settings.iter().filter(|setting| setting.name == name).map(|setting| setting.value.to_bytes()).collect()
    }

    /// Whether the script gave the setting.
    pub fn is_set(&self, name: &str) -> bool {
        self.last(name).is_some()
    }

    /// The state of module `name` without its type, to be handed to functions and variables of that module.
    pub fn any_module(&self, name: &str) -> Option<Arc<dyn State>> {
        (self.others)(name)
    }

    /// The state of module `name`, which must have been loaded before this one.
    ///
    /// # Errors
    /// [`SetupError::Needs`] when it was not.
    pub fn module<T: State>(&self, name: &'static str) -> Result<Arc<T>, SetupError> {
        let state = (self.others)(name).ok_or(SetupError::Needs(name))?;
        let state: Arc<dyn Any + Send + Sync> = state as _;
        state.downcast().map_err(|_| SetupError::Needs(name))
    }

    /// The counter `name` of the module's own table.
    pub fn counter(&self, name: &str) -> Counter {
        let entry = self.statistic(name);
        self.statistics.counter(entry.group, entry.name, entry.doc)
    }

    /// The gauge `name` of the module's own table.
    pub fn gauge(&self, name: &str) -> Gauge {
        let entry = self.statistic(name);
        self.statistics.gauge(entry.group, entry.name, entry.doc)
    }

    /// Lets the statistic `name` of the module's own table be read from `state` when somebody asks.
    pub fn show<T: State>(&self, name: &str, state: &Arc<T>, read: fn(&T) -> i64) {
        let entry = self.statistic(name);
        self.statistics.read_from((entry.group, entry.name), entry.kind, entry.doc, state, read);
    }

    fn statistic(&self, name: &str) -> &'static Statistic {
        let entry = self.module.statistics.iter().find(|statistic| statistic.name == name);
        entry.expect("a module keeps only the statistics of its own table")
    }

    fn last(&self, name: &str) -> Option<&Value> {
        self.settings.iter().rev().find(|setting| setting.name == name).map(|setting| &setting.value)
    }

    fn default_of(&self, name: &str) -> &'static str {
        let parameter = self.module.parameters.iter().find(|parameter| parameter.name == name);
        parameter.expect("a module reads only the parameters of its own table").default
    }
}

/// Why a module could not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetupError {
    /// Another module must be loaded before.
    Needs(&'static str),
    /// A setting has a value that does not do.
    Setting {
        /// Which.
        name: &'static str,
        /// What is wrong, and what would be right.
        cause: String,
    },
    /// Something outside is not there: a database, a file.
    Unavailable(String),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetupError::Needs(name) => write!(f, "needs module \"{name}\" loaded before it"),
            SetupError::Setting { name, cause } => write!(f, "parameter \"{name}\": {cause}"),
            SetupError::Unavailable(cause) => f.write_str(cause),
        }
    }
}

impl std::error::Error for SetupError {}
