//! Runs what takes time: at once, when the test lets time pass.

use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use engine::{Finished, Spawn, Work};
use module_api::{Job, Server};

/// Futures that a core has handed out and that are not finished.
#[derive(Default)]
pub(crate) struct Workshop {
    open: Mutex<Vec<(u64, Work)>>,
}

impl Workshop {
    /// Polls every future once and returns those that are finished.
    pub(crate) fn poll(&self) -> Vec<(u64, Finished)> {
        let mut open = self.open.lock().expect("no future of a test panics");
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
pub(crate) struct Letterbox(Mutex<Vec<Job>>);

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
