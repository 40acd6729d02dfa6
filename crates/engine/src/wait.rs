//! Requests that wait, and who brings them back.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use module_api::{Context, Resume};
use script::Run;

use crate::capture::Cause;
use crate::outgoing::Sender;

/// Work that a worker hands out; its result comes back as [`Finished`] under the same number.
pub type Work = Pin<Box<dyn Future<Output = Finished> + Send>>;

/// What came of a [`Work`].
pub enum Finished {
    /// A script function may go on.
    Resume(Resume),
    /// Names that were asked for are known now, or known to be unknown.
    Resolved,
    /// The deadline passed first.
    Expired,
}

/// Runs futures beside the workers.
pub trait Spawn: Send + Sync {
    /// Runs `work` for at most the wait deadline and gives its result back to `worker` as event `id`.
    fn spawn(&self, worker: u16, id: u64, work: Work);
}

/// What goes on when a wait is over.
pub(crate) enum Waiting {
    /// A script, at the statement after the call that waits.
    Script(Box<Parked>),
    /// A branch whose next hop is being looked up.
    Branch(Sender),
    /// A message that needs no transaction to be sent on.
    Stateless {
        /// The message and what the script did to it.
        context: Box<Context>,
        /// How many rounds of questions its next hop has taken.
        round: u8,
    },
}

/// Who waits, and how that began.
pub(crate) struct Guest {
    pub(crate) waiting: Waiting,
    pub(crate) since: Instant,
    /// The message because of which it waits.
    pub(crate) cause: Cause,
}

/// A parked script run.
pub(crate) struct Parked {
    pub(crate) context: Context,
    pub(crate) run: Run,
    pub(crate) after: After,
    /// How long it has run.
    pub(crate) spent: Duration,
}

/// What to do when a script run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// It was the request route.
    Request,
    /// It was a failure route that began with so many branches: if there are no more of them now and
    /// no reply has gone out, the best reply goes upstream.
    Failure(u16),
    /// It was the route of an event: nothing follows.
    Event,
    /// It was a reply route of this branch: the reply goes on.
    Reply(u16),
}

/// The requests of one worker that wait, with a bound.
pub(crate) struct WaitingRoom {
    entries: slab::Slab<(u32, Guest)>,
    generation: u32,
    limit: usize,
}

impl WaitingRoom {
    pub(crate) fn new(limit: usize) -> WaitingRoom {
        WaitingRoom { entries: slab::Slab::new(), generation: 0, limit }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= self.limit
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes a guest in and says under which number its result shall come.
    pub(crate) fn enter(&mut self, guest: Guest) -> u64 {
        self.generation = self.generation.wrapping_add(1);
        let slot = self.entries.insert((self.generation, guest));
        (self.generation as u64) << 32 | slot as u64
    }

    /// The context of the run that waits under `id`.
    pub(crate) fn parked_mut(&mut self, id: u64) -> Option<&mut Context> {
        let (generation, guest) = self.entries.get_mut(id as u32 as usize)?;
        match &mut guest.waiting {
            Waiting::Script(parked) if *generation == (id >> 32) as u32 => Some(&mut parked.context),
            _ => None,
        }
    }

    /// Who waits under `id`; none when it has left already.
    pub(crate) fn leave(&mut self, id: u64) -> Option<Guest> {
        let slot = id as u32 as usize;
        let (generation, _) = self.entries.get(slot)?;
        if *generation != (id >> 32) as u32 {
            return None;
        }
        Some(self.entries.remove(slot).1)
    }
}
