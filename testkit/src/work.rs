//! Runs what takes time: at once, when the test lets time pass.

use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use engine::{Finished, Spawn, Work};
use module_api::{Job, Server};
use tokio::runtime::Handle;

/// Futures that a core has handed out and that are not finished.
pub(crate) struct Workshop {
    open: Mutex<Vec<(u64, Work)>>,
    runtime: Option<Handle>,
}

/// How long the simulation stands still for a database, by the clock on the wall.
const PATIENCE: Duration = Duration::from_secs(5);

impl Workshop {
    /// Runs futures on `runtime`; without one, polls them where they are.
    pub(crate) fn new(runtime: Option<Handle>) -> Workshop {
        Workshop { open: Mutex::default(), runtime }
    }

    /// Returns those that are finished. On a runtime all of them finish; else each is polled once.
    pub(crate) fn poll(&self) -> Vec<(u64, Finished)> {
        let mut open = self.open.lock().expect("no future of a test panics");
        if let Some(runtime) = &self.runtime {
            let finish = |work| runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await });
            let finished = open.drain(..).map(|(id, work)| (id, finish(work).unwrap_or(Finished::Expired)));
            return finished.collect();
        }
        let mut context = Context::from_waker(Waker::noop());
        let mut finished = Vec::new();
        let mut still_open = Vec::new();
        for (id, mut work) in open.drain(..) {
            match work.as_mut().poll(&mut context) {
                Poll::Ready(result) => finished.push((id, result)),
                Poll::Pending => still_open.push((id, work)),
            }
        }
        *open = still_open;
        finished
    }
}

/// Jobs that modules have posted and that are not done.
#[derive(Default)]
pub struct Letterbox(Mutex<Vec<Job>>);

impl Letterbox {
    /// Takes what has been posted.
    pub(crate) fn take(&self) -> Vec<Job> {
        std::mem::take(&mut *self.0.lock().expect("nobody panics while posting"))
    }
}

impl Server for Letterbox {
    fn post(&self, _call_id: &[u8], job: Job) -> Result<(), Job> {
        self.0.lock().expect("nobody panics while posting").push(job);
        Ok(())
    }
}

impl Spawn for Workshop {
    fn spawn(&self, _worker: u16, id: u64, work: Work) {
        self.open.lock().expect("no future of a test panics").push((id, work));
    }
}
