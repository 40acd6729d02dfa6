//! The way of modules to the workers, before and after these run.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use module_api::{Dns, Job, Server, Web};

use crate::random::Key;
use crate::worker::{Mail, Mailboxes};

/// Takes jobs of modules and gives each to the worker that it is for.
///
/// Modules start before there are workers; what they post until [`Posts::open`] waits here.
#[derive(Default)]
pub struct Posts {
    /// The way of news, which modules find here.
    pub events: module_api::PublicEvents,
    /// The DNS, once it is set up.
    pub dns: OnceLock<Arc<dyn Dns>>,
    /// The web, once it is set up.
    pub web: OnceLock<Arc<dyn Web>>,
    open: OnceLock<(Key, Mailboxes)>,
    early: Mutex<Vec<(Box<[u8]>, Job)>>,
}

/// Most jobs that may wait for the workers to start.
const MOST_EARLY: usize = 10_000;

impl Posts {
    /// Opens the way, once the mailboxes are there. `key` is that of [`crate::Shared`].
    pub fn open(&self, key: Key, mailboxes: Mailboxes) {
        // Opened twice it stays as it is.
        let _ = self.open.set((key, mailboxes));
        let early = std::mem::take(&mut *self.early.lock().unwrap_or_else(PoisonError::into_inner));
        for (call_id, job) in early {
            // Mailboxes hold more than can have waited here.
            let _ = self.post(&call_id, job);
        }
    }
}

impl Server for Posts {
    fn events(&self) -> module_api::PublicEvents {
        self.events.clone()
    }

    fn dns(&self) -> Option<Arc<dyn Dns>> {
        self.dns.get().cloned()
    }

    fn web(&self) -> Option<Arc<dyn Web>> {
        self.web.get().cloned()
    }

    fn post(&self, call_id: &[u8], job: Job) -> Result<(), Job> {
        if self.open.get().is_none() {
            let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
            // Looked at again under the lock: it may have been opened, and emptied, meanwhile.
            if self.open.get().is_none() {
                if early.len() >= MOST_EARLY {
                    return Err(job);
                }
                early.push((call_id.into(), job));
                return Ok(());
            }
        }
        let Some((key, mailboxes)) = self.open.get() else { return Err(job) };
        match mailboxes[key.owner(call_id, mailboxes.len())].send(Mail::Job(job)) {
            Err(net::mailbox::Full(Mail::Job(job))) => Err(job),
            _ => Ok(()),
        }
    }
}
