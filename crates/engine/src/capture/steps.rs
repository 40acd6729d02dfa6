//! The steps of one run of the script.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use module_api::RouteId;
use script::BoundProgram;
use script::trace::{KeepsPath, Path};

/// The steps of one run: places and codes, no values. `serctl trace.on` writes those too.
pub struct Steps {
    /// Whoever keeps the steps keeps the scripts of late; what a record holds must not add up.
    program: Weak<BoundProgram>,
    route: RouteId,
    // Written when the run ends or waits and read when somebody looks, each for as long as it takes to copy it.
    path: Mutex<Path>,
}

impl Steps {
    /// The most memory that one of these takes.
    pub(super) const MOST_BYTES: usize = Path::MOST_BYTES + size_of::<Steps>();

    pub(super) fn new(program: &Arc<BoundProgram>, route: RouteId) -> Steps {
        Steps { program: Arc::downgrade(program), route, path: Mutex::default() }
    }

    /// The route that ran, as the script writes it.
    pub fn route(&self) -> String {
        let Some(program) = self.program.upgrade() else { return "a script before".to_owned() };
        let kind = program.kind(self.route).map_or("route", |kind| kind.as_str());
        match (kind.trim_end_matches("[...]"), program.name(self.route)) {
            (kind, "") => kind.to_owned(),
            ("request_route", name) => format!("route[{name}]"),
            (kind, name) => format!("{kind}[{name}]"),
        }
    }

    /// One line for each statement, and under it what came of it. Of a run that goes on at this moment, nothing yet.
    pub fn lines(&self) -> Vec<String> {
        let Some(program) = self.program.upgrade() else {
            return vec!["  its text is gone: the script has been reloaded several times since".to_owned()];
        };
        let path = self.path.lock().unwrap_or_else(PoisonError::into_inner).clone();
        path.lines(&program)
    }
}

impl KeepsPath for Steps {
    fn take(&self, path: Path) {
        *self.path.lock().unwrap_or_else(PoisonError::into_inner) = path;
    }
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Steps").field(&self.route()).finish()
    }
}
