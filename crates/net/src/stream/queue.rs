//! What waits to be written to one connection.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

/// A message on its way out.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) bytes: Bytes,
    /// `None` for what nobody asks about, as keep-alives.
    pub(super) token: Option<u64>,
}

/// Bounded queue: any thread pushes, the connection's task writes.
pub(super) struct WriteQueue {
    state: Mutex<State>,
    news: Notify,
    /// The request that was read last has its answer in the queue, and the next may be read.
    answered: Notify,
    max_bytes: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Queued>,
    /// Bytes of `waiting` and of what the task has taken and not written yet.
    bytes: usize,
    phase: Phase,
}

#[derive(Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// Takes no more; what it holds is still written.
    Finishing,
    Closed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NotQueued {
    Full,
    Closed,
}

impl WriteQueue {
    pub(super) fn new(max_bytes: usize) -> WriteQueue {
        WriteQueue { state: Mutex::default(), news: Notify::new(), answered: Notify::new(), max_bytes }
    }

    pub(super) fn push(&self, message: Queued) -> Result<(), NotQueued> {
        {
            let mut state = self.lock();
            if state.phase != Phase::Open {
                return Err(NotQueued::Closed);
            }
            // Each message also costs its slot, so that tiny ones are bounded too.
            let cost = cost(&message);
            if state.bytes + cost > self.max_bytes && state.bytes > 0 {
                return Err(NotQueued::Full);
            }
            state.bytes += cost;
            state.waiting.push_back(message);
        }
        self.news.notify_one();
        Ok(())
    }

    /// Queues the answer of a request, the last that is written if it `closes`. An answer without room ends the
    /// connection: without it the next one would be taken for it.
    pub(super) fn answer(&self, bytes: Bytes, closes: bool) {
        let is_queued = self.push(Queued { bytes, token: None }).is_ok();
        if closes || !is_queued {
            return self.finish();
        }
        self.answered.notify_one();
    }

    /// Ready when the request that was read last has its answer.
    pub(super) async fn answered(&self) {
        self.answered.notified().await;
    }

    /// Bytes that wait or are being written.
    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Waits for messages and moves them into `taken`, at least one and about `CHUNK_BYTES`.
    /// False when the queue is finished and empty.
    pub(super) async fn take(&self, taken: &mut Vec<Queued>) -> bool {
        loop {
            // One task waits, and `notify_one` keeps a permit: no news is lost between.
            let news = self.news.notified();
            {
                let mut state = self.lock();
                let mut bytes = 0;
                while bytes < CHUNK_BYTES
                    && let Some(message) = state.waiting.pop_front()
                {
                    bytes += message.bytes.len();
                    taken.push(message);
                }
                if !taken.is_empty() {
                    return true;
                }
                if state.phase != Phase::Open {
                    return false;
                }
            }
            news.await;
        }
    }

    /// What was taken is written: its room is free again.
    pub(super) fn written(&self, taken: &mut Vec<Queued>) {
        let bytes: usize = taken.iter().map(cost).sum();
        taken.clear();
        self.lock().bytes -= bytes;
    }

    /// Takes no more; the task ends when all is written.
    pub(super) fn finish(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Finishing;
        }
        drop(state);
        self.news.notify_one();
    }

    /// Takes no more, and gives back what will not be written.
    pub(super) fn close(&self) -> VecDeque<Queued> {
        let mut state = self.lock();
        state.phase = Phase::Closed;
        std::mem::take(&mut state.waiting)
    }

    /// Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cost(message: &Queued) -> usize {
    message.bytes.len() + SLOT_COST
}

const SLOT_COST: usize = 48;

/// Bytes that go into one write.
const CHUNK_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(len: usize, token: u64) -> Queued {
        Queued { bytes: vec![b'x'; len].into(), token: Some(token) }
    }

    #[test]
    fn bytes_in_writing_count_until_written() {
        let queue = WriteQueue::new(250);
        queue.push(message(100, 1)).unwrap();
        let mut taken: Vec<Queued> = queue.lock().waiting.drain(..).collect();
        assert_eq!(queue.push(message(100, 2)), Err(NotQueued::Full));
        queue.written(&mut taken);
        assert_eq!(queue.push(message(100, 3)), Ok(()));
    }

    #[test]
    fn one_message_fits_though_it_is_longer_than_the_bound() {
        let queue = WriteQueue::new(10);
        assert_eq!(queue.push(message(100, 1)), Ok(()));
        assert_eq!(queue.push(message(1, 2)), Err(NotQueued::Full));
    }

    #[tokio::test]
    async fn a_finished_queue_is_written_out_and_takes_no_more() {
        let queue = WriteQueue::new(1000);
        queue.push(message(1, 1)).unwrap();
        queue.finish();
        assert_eq!(queue.push(message(1, 2)), Err(NotQueued::Closed));
        let mut taken = Vec::new();
        assert!(queue.take(&mut taken).await);
        queue.written(&mut taken);
        assert!(!queue.take(&mut taken).await);
    }

    #[test]
    fn a_closed_queue_gives_back_what_it_holds() {
        let queue = WriteQueue::new(1000);
        queue.push(message(1, 7)).unwrap();
        let left: Vec<_> = queue.close().into_iter().map(|m| m.token).collect();
        assert_eq!(left, [Some(7)]);
    }
}
