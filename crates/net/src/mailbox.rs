//! A bounded queue from any thread to one worker, which it wakes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::poll::Waker;

/// The senders' end; clones send to the same worker.
#[derive(Debug)]
pub struct Mailbox<T> {
    shared: Arc<Shared<T>>,
    waker: Waker,
}

/// The worker's end.
#[derive(Debug)]
pub struct Inbox<T> {
    shared: Arc<Shared<T>>,
    /// Swapped with the shared queue, so that senders are locked out for the swap only and both
    /// queues keep their memory.
    taken: VecDeque<T>,
}

/// The mailbox is full; the item comes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full<T>(pub T);

#[derive(Debug)]
struct Shared<T> {
    queue: Mutex<VecDeque<T>>,
    /// Length of `queue`, to be read without the lock.
    waiting: AtomicUsize,
    bound: usize,
}

/// A queue of at most `bound` items to the worker that `waker` wakes.
#[must_use]
pub fn mailbox<T: Send>(bound: usize, waker: Waker) -> (Mailbox<T>, Inbox<T>) {
    let shared = Arc::new(Shared { queue: Mutex::new(VecDeque::new()), waiting: AtomicUsize::new(0), bound });
    let mailbox = Mailbox { shared: Arc::clone(&shared), waker };
    let taken = VecDeque::new();
    (mailbox, Inbox { shared, taken })
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Mailbox { shared: Arc::clone(&self.shared), waker: self.waker.clone() }
    }
}

impl<T: Send> Mailbox<T> {
    /// Queues `item` and wakes the worker if it may sleep.
    ///
    /// Items of one thread arrive in the order in which it sent them.
    ///
    /// # Errors
    /// [`Full`] with the item when the worker is `bound` items behind.
    pub fn send(&self, item: T) -> Result<(), Full<T>> {
        {
            let mut queue = self.shared.lock();
            if queue.len() >= self.shared.bound {
                return Err(Full(item));
            }
            queue.push_back(item);
            self.shared.waiting.store(queue.len(), Ordering::Release);
        }
        self.waker.wake();
        Ok(())
    }

    /// Wakes the worker without an item, when something else has changed for it.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// Items that the worker has not taken, for statistics.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    /// Whether the worker has taken everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Send> Inbox<T> {
    /// Takes what has arrived, oldest first. Costs one load when nothing has.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + '_ {
        if self.shared.waiting.load(Ordering::Acquire) > 0 {
            let mut queue = self.shared.lock();
            if self.taken.is_empty() {
                std::mem::swap(&mut *queue, &mut self.taken);
            } else {
                // The last drain was dropped half way.
                self.taken.append(&mut queue);
            }
            self.shared.waiting.store(0, Ordering::Release);
        }
        std::iter::from_fn(|| self.taken.pop_front())
    }
}

impl<T> Shared<T> {
    /// Nothing panics while it holds the lock, so a poisoned queue is still whole.
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poll::{Events, Poller};
    use std::thread;

    #[test]
    fn items_arrive_in_the_order_sent() {
        let poller = Poller::new().unwrap();
        let (mailbox, mut inbox) = mailbox(8, poller.waker());
        for item in 1..=3 {
            mailbox.send(item).unwrap();
        }
        assert_eq!(inbox.drain().collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(inbox.drain().next(), None);
    }

    #[test]
    fn a_full_mailbox_gives_the_item_back() {
        let poller = Poller::new().unwrap();
        let (mailbox, mut inbox) = mailbox(1, poller.waker());
        mailbox.send(1).unwrap();
        assert_eq!(mailbox.send(2), Err(Full(2)));
        assert_eq!(inbox.drain().next(), Some(1));
        assert_eq!(mailbox.send(3), Ok(()));
    }

    #[test]
    fn a_drain_dropped_half_way_loses_nothing() {
        let poller = Poller::new().unwrap();
        let (mailbox, mut inbox) = mailbox(8, poller.waker());
        mailbox.send(1).unwrap();
        mailbox.send(2).unwrap();
        assert_eq!(inbox.drain().next(), Some(1));
        mailbox.send(3).unwrap();
        assert_eq!(inbox.drain().collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn no_item_is_slept_through() {
        const EACH: usize = 20_000;
        let poller = Poller::new().unwrap();
        let (mailbox, mut inbox) = mailbox(EACH * 2, poller.waker());
        let mut events = Events::new();
        let mut next = [0; 2];
        thread::scope(|scope| {
            for sender in 0..2 {
                let mailbox = mailbox.clone();
                scope.spawn(move || (0..EACH).for_each(|n| mailbox.send((sender, n)).unwrap()));
            }
            // Waits without a timeout: a lost wake-up hangs here.
            while next != [EACH; 2] {
                poller.wait(None, &mut events).unwrap();
                for (sender, n) in inbox.drain() {
                    assert_eq!(n, next[sender]);
                    next[sender] += 1;
                }
            }
        });
    }
}
