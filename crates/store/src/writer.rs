//! Writes registrations: many submissions, one transaction, one sync of the disk.
//!
//! A sync costs milliseconds whatever it carries. While one is under way new submissions gather in the queue, and
//! the next transaction takes them all: throughput grows with load while each waits for two syncs at most.
//!
//! Memory has changed before the disk has. What the database did not take in time is therefore not forgotten when
//! its submitter is told so: it is written before anything that comes later, as soon as the database is back.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    /// Changes that the database has not taken in time and must still take.
    behind: Arc<AtomicUsize>,
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
        let behind = Arc::new(AtomicUsize::new(0));
        let writing = Writing { store, table, settings, backlog: Vec::new(), behind: Arc::clone(&behind) };
        runtime.spawn(writing.run(submissions));
        LocationWriter { queue, behind }
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

    /// How many changes the database has not taken in time. While there are any, memory is ahead of the disk: an
    /// empty submission resolves when it is not any more.
    pub fn behind(&self) -> usize {
        self.behind.load(Ordering::Acquire)
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
    /// What the database did not take in time, in order.
    backlog: Vec<Change>,
    behind: Arc<AtomicUsize>,
}

impl Writing {
    async fn run(mut self, mut submissions: mpsc::Receiver<Submission>) {
        let limit = self.settings.batch.max(1);
        let mut batch = Vec::with_capacity(limit);
        loop {
            let received = submissions.recv_many(&mut batch, limit);
            let count = if self.backlog.is_empty() {
                received.await
            } else {
                // Without new submissions the old ones are tried again from time to time.
                match tokio::time::timeout(CATCH_UP, received).await {
                    Ok(count) => count,
                    Err(_) => {
                        // What comes of it is known to the backlog.
                        let _ = self.catch_up().await;
                        continue;
                    }
                }
            };
            if count == 0 {
                break;
            }
            self.write(&mut batch).await;
        }
        // The program ends; this is the last chance.
        let _ = self.catch_up().await;
    }

    /// Writes what was left behind.
    async fn catch_up(&mut self) -> Result<(), Error> {
        while !self.backlog.is_empty() {
            let count = self.backlog.len().min(self.settings.batch.max(1));
            let changes: Vec<&Change> = self.backlog[..count].iter().collect();
            match self.store.commit(&self.table, &changes).await {
                Err(error) if error.is_unavailable() => return Err(error),
                // What the database refuses now it would have refused then.
                Err(_) => {
                    for change in &changes {
                        if let Err(error) = self.store.commit(&self.table, &[*change]).await
                            && error.is_unavailable()
                        {
                            return Err(error);
                        }
                    }
                }
                Ok(()) => {}
            }
            self.backlog.drain(..count);
            self.behind.store(self.backlog.len(), Ordering::Release);
        }
        Ok(())
    }

    /// Answers a batch with an error and keeps its changes. Beyond the bound they are forgotten: with so many
    /// registrations lost, the phones that refresh theirs are the cure.
    fn leave_behind(&mut self, batch: &mut Vec<Submission>, error: &Error) {
        for submission in batch.drain(..) {
            if self.backlog.len() + submission.changes.len() <= MOST_BEHIND {
                self.backlog.extend(submission.changes.iter().cloned());
            }
            // Before the answer, so that whoever hears it also finds the writer behind.
            self.behind.store(self.backlog.len(), Ordering::Release);
            submission.resolve(Err(error.clone()));
        }
    }

    /// Writes a batch and answers each of its submissions.
    async fn write(&mut self, batch: &mut Vec<Submission>) {
        if let Err(error) = self.catch_up().await {
            return self.leave_behind(batch, &error);
        }
        match self.commit_with_retries(batch).await {
            Err(error) if error.is_unavailable() => self.leave_behind(batch, &error),
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

/// How often the backlog is tried where nothing new comes.
const CATCH_UP: Duration = Duration::from_secs(2);
/// Changes that are kept while the database is away.
const MOST_BEHIND: usize = 1 << 17;

impl Submission {
    fn resolve(self, outcome: Result<(), Error>) {
        // Nobody waits any more when the request's own deadline has passed.
        let _ = self.answer.send(outcome);
    }
}
