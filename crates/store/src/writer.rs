//! Writes registrations: many submissions, one transaction, one sync of the disk.
//!
//! A sync costs milliseconds whatever it carries. While one is under way new submissions gather in the queue, and
//! the next transaction takes them all: throughput grows with load while each waits for two syncs at most.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::{Cause, Change, Error, Store, TableName};

/// Writes the changes of one location table, in the order of submission.
///
/// Cloning shares the queue. When the last clone is dropped, what is queued is still written.
#[derive(Clone)]
pub struct LocationWriter {
    queue: mpsc::Sender<Submission>,
}

/// Bounds of a writer.
#[derive(Debug, Clone)]
pub struct WriterSettings {
    /// Submissions that may wait; the next is answered [`Cause::QueueFull`]. Default 16,384.
    pub queue: usize,
    /// Submissions in one transaction. Default 1,024.
    pub batch: usize,
    /// Waits between attempts to write a batch while the database is unavailable; then its submissions are
    /// answered so. Default 50 ms, 200 ms, 800 ms.
    pub retries: Vec<Duration>,
}

impl Default for WriterSettings {
    fn default() -> WriterSettings {
        WriterSettings { queue: 16_384, batch: 1_024, retries: [50, 200, 800].map(Duration::from_millis).to_vec() }
    }
}

struct Submission {
    changes: Vec<Change>,
    answer: oneshot::Sender<Result<(), Error>>,
}

impl LocationWriter {
    /// Starts the writing task on `runtime`. The table must exist.
    pub fn start(store: Store, table: TableName, settings: WriterSettings, runtime: &Handle) -> LocationWriter {
        let (queue, submissions) = mpsc::channel(settings.queue.max(1));
        runtime.spawn(Writing { store, table, settings }.run(submissions));
        LocationWriter { queue }
    }

    /// Queues changes at once, from any thread, without blocking; the future resolves when they are durable.
    ///
    /// They are applied together or not at all. Dropping the future does not take them back.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: not acknowledged, although after [`Cause::Deadline`] they may be there.
    pub fn submit(&self, changes: Vec<Change>) -> Written {
        let (answer, written) = oneshot::channel();
        match self.queue.try_send(Submission { changes, answer }) {
            Ok(()) => Written(Promise::Queued(written)),
            Err(mpsc::error::TrySendError::Full(_)) => Written(Promise::Refused(Cause::QueueFull)),
            Err(mpsc::error::TrySendError::Closed(_)) => Written(Promise::Refused(Cause::Stopped)),
        }
    }

    /// Submissions that wait now; for statistics.
    pub fn queued(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }
}

/// Resolves when a submission is durable, or is known not to become so.
#[must_use = "a change that nobody waits for must not be acknowledged"]
pub struct Written(Promise);

enum Promise {
    Queued(oneshot::Receiver<Result<(), Error>>),
    Refused(Cause),
}

impl Future for Written {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Promise::Refused(cause) => Poll::Ready(Err(Error::Unavailable(cause.clone()))),
            // The writer drops a submission unanswered only when its runtime is shut down.
            Promise::Queued(answer) => {
                Pin::new(answer).poll(context).map(|answer| answer.unwrap_or(Err(Error::Unavailable(Cause::Stopped))))
            }
        }
    }
}

/// The writing task.
struct Writing {
    store: Store,
    table: TableName,
    settings: WriterSettings,
}

impl Writing {
    async fn run(self, mut submissions: mpsc::Receiver<Submission>) {
        let limit = self.settings.batch.max(1);
        let mut batch = Vec::with_capacity(limit);
        while submissions.recv_many(&mut batch, limit).await > 0 {
            self.write(&mut batch).await;
        }
    }

    /// Writes a batch and answers each of its submissions.
    async fn write(&self, batch: &mut Vec<Submission>) {
        match self.commit_with_retries(batch).await {
            // One submission that the database refuses must not take its neighbours with it.
            Err(error) if !error.is_unavailable() && batch.len() > 1 => {
                for submission in batch.drain(..) {
                    let outcome = self.commit_with_retries(std::slice::from_ref(&submission)).await;
                    submission.resolve(outcome);
                }
            }
            outcome => batch.drain(..).for_each(|submission| submission.resolve(outcome.clone())),
        }
    }

    async fn commit_with_retries(&self, batch: &[Submission]) -> Result<(), Error> {
        let changes: Vec<&Change> = batch.iter().flat_map(|submission| &submission.changes).collect();
        for wait in &self.settings.retries {
            match self.store.commit(&self.table, &changes).await {
                Err(Error::Unavailable(cause)) if cause != Cause::Stopped => tokio::time::sleep(*wait).await,
                outcome => return outcome,
            }
        }
        self.store.commit(&self.table, &changes).await
    }
}

impl Submission {
    fn resolve(self, outcome: Result<(), Error>) {
        // Nobody waits any more when the request's own deadline has passed.
        let _ = self.answer.send(outcome);
    }
}
