//! What every front end stands on, and the handle by which it is closed again.

use std::sync::Arc;

use module_api::Level;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::path::Listening;
use crate::{Commands, Limits};

/// Takes a line for the operator, without blocking.
pub type Say = dyn Fn(Level, &str) + Send + Sync;

/// What every front end stands on.
#[derive(Clone)]
pub struct Ground {
    /// The commands that are served.
    pub commands: Commands,
    /// The bounds that are kept.
    pub limits: Limits,
    /// Where front ends run.
    pub runtime: Handle,
    /// Takes what an operator should know.
    pub log: Arc<Say>,
}

/// A task that runs until this is dropped.
pub(crate) struct Task(pub(crate) AbortHandle);

/// A front end that serves until this is dropped.
pub struct FrontEnd {
    _task: Task,
    _file: Option<Listening>,
}

impl FrontEnd {
    pub(crate) fn start(
        ground: &Ground,
        file: Option<Listening>,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> FrontEnd {
        FrontEnd { _task: Task(ground.runtime.spawn(work).abort_handle()), _file: file }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
