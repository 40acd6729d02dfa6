//! Runs the futures that workers hand out, on tokio.

use std::time::Duration;

use engine::{Finished, Mail, Mailboxes, Spawn, Work};
use tokio::runtime::Handle;

/// Runs work on a tokio runtime and mails the result back to its worker.
pub(crate) struct OnTokio {
    runtime: Handle,
    mailboxes: Mailboxes,
    deadline: Duration,
}

impl OnTokio {
    /// Gives each piece of work at most `deadline`.
    pub(crate) fn new(runtime: Handle, mailboxes: Mailboxes, deadline: Duration) -> OnTokio {
        OnTokio { runtime, mailboxes, deadline }
    }
}

impl Spawn for OnTokio {
    fn spawn(&self, worker: u16, id: u64, work: Work) {
        let (mailboxes, deadline) = (Mailboxes::clone(&self.mailboxes), self.deadline);
        self.runtime.spawn(async move {
            let finished = tokio::time::timeout(deadline, work).await.unwrap_or(Finished::Expired);
            let mut mail = Mail::Finished(id, finished);
            // A full mailbox empties within a turn. Losing this letter would leave a request parked for ever.
            while let Err(full) = mailboxes[usize::from(worker)].send(mail) {
                mail = full.0;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }
}
