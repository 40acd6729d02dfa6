//! Where a worker's transactions lie, behind a lock that others may take while the worker sleeps.
//!
//! A datagram may reach another worker than the one that owns its call. Waking the owner for it costs more than
//! the call itself at moderate load, so the receiver looks whether the owner's desk is free and then does the work in
//! its place; only a desk that is in use gets mail ([decision 0004](../../../docs/decisions/0004-acting-for-the-owner.md)).
//! Nobody waits for a desk but its owner's own threads, and nobody holds two, so there is no order of locks to keep.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use module_api::Arrival;
use net::mailbox::{Full, Inbox, Mailbox};
use net::stream::{ConnectionId, Streams};
use sip_message::{Message, Transport};

use crate::http::HttpOut;
use crate::outgoing::Outgoing;
use crate::streams;
use crate::worker::{Mail, Mailboxes};
use crate::worker_core::{Core, Shared};

/// The desks of all workers; the index is the worker's number.
pub(crate) type Desks = Arc<[Place]>;

/// Where a desk stands.
pub(crate) struct Place {
    desk: Mutex<Desk>,
    /// How many of the owner's threads wait for it: others then leave it alone, or on a busy day these never get their turn.
    wanted: AtomicUsize,
}

/// A message on its way to the worker that owns it.
pub(crate) type Delivery = (Arc<Message>, Arrival);

/// What belongs to one worker: its transactions, and the mail for it.
pub(crate) struct Desk {
    core: Core,
    inbox: Inbox<Mail>,
    /// Swapped with the inbox, to keep the memory of both.
    mail: Vec<Mail>,
    /// Set once the server drains: when to stop at the latest.
    stop_at: Option<Instant>,
    /// When the owner will look at its desk unasked.
    wakes_at: Instant,
    /// Whether the owner counts among [`Shared::busy_workers`].
    is_busy: bool,
}

/// How long the owner may sleep, or that its work is over.
pub(crate) enum Next {
    /// Sleep from now on for at most so long.
    Sleep(Instant, Duration),
    /// The drain is over.
    Stop,
}

/// The longest sleep while the server drains: how late a worker notices that all others are done.
const DRAIN_SLEEP: Duration = Duration::from_millis(20);
/// The longest sleep. Shorter than timers A and E at first, so that a receiver which has begun a transaction need not wake the
/// owner for them; four turns a second without reason cost nothing.
const LONGEST_SLEEP: Duration = Duration::from_millis(250);
/// How late a timer may be: on a busy day there is one in each millisecond, and receivers see to them in passing.
const GRAIN: Duration = Duration::from_millis(4);

impl Desk {
    pub(crate) fn new(core: Core, inbox: Inbox<Mail>) -> Desk {
        Desk { core, inbox, mail: Vec::new(), stop_at: None, wakes_at: Instant::now(), is_busy: true }
    }

    /// Does what has come: mail first, since what a receiver could not do itself it has put there before.
    pub(crate) fn turn(&mut self, received: &mut Vec<Delivery>) {
        self.core.begin_turn(Instant::now(), unix_time());
        let mut mail = std::mem::take(&mut self.mail);
        mail.extend(self.inbox.drain());
        for letter in mail.drain(..) {
            self.take_letter(letter);
        }
        self.mail = mail;
        for (message, arrival) in received.drain(..) {
            self.core.on_message(message, arrival);
        }
        self.core.on_timers();
    }

    fn take_letter(&mut self, letter: Mail) {
        match letter {
            Mail::Message(message, arrival) => self.core.on_message(message, arrival),
            Mail::Finished(id, finished) => self.core.on_finished(id, finished),
            Mail::Job(job) => self.core.do_job(job),
            Mail::SendFailed(sender) => self.core.on_send_failed(sender),
            Mail::Unreachable(peers) => peers.iter().for_each(|peer| self.core.on_unreachable(*peer)),
            Mail::Look(look) => self.core.show_capture(look),
            Mail::Drain(stop_at) => self.stop_at = Some(stop_at),
        }
    }

    /// Hands out what the turn has produced: datagrams to `push`, the rest to connections and other workers.
    ///
    /// To be called, and the datagrams to be sent, before the desk is given up: what the next one at the desk
    /// sends must not overtake it.
    pub(crate) fn hand_out(&mut self, number: usize, links: (&Mailboxes, &Streams), mut push: impl FnMut(&Outgoing)) {
        let (mailboxes, streams) = links;
        for outgoing in self.core.take_outbox() {
            match outgoing.way.transport {
                Transport::Udp => push(&outgoing),
                _ => streams::send(streams, number as u16, &mailboxes[number], outgoing),
            }
        }
        for HttpOut { connection, bytes, closes } in self.core.take_http_answers() {
            streams.answer(ConnectionId(connection), bytes, closes);
        }
        for (worker, job) in self.core.take_jobs_for_others() {
            let Err(Full(Mail::Job(job))) = mailboxes[worker].send(Mail::Job(job)) else { continue };
            if !self.core.take_back(worker, job) {
                self.core.shared.statistics.refused.increment();
            }
        }
    }

    /// Takes down that what the turn has produced has left.
    pub(crate) fn end_turn(&mut self) {
        self.core.end_turn();
    }

    /// What the owner does after its turn.
    pub(crate) fn next(&mut self) -> Next {
        let now = Instant::now();
        if self.stop_at.is_some_and(|stop_at| self.is_over(now, stop_at)) {
            return Next::Stop;
        }
        let longest = if self.stop_at.is_some() { DRAIN_SLEEP } else { LONGEST_SLEEP };
        let until = self.core.deadline().map(|deadline| deadline.saturating_duration_since(now).max(GRAIN));
        let sleep = until.unwrap_or(longest).min(longest);
        self.wakes_at = now + sleep;
        Next::Sleep(now, sleep)
    }

    /// Whether no worker has an open request left, or the time is up. A worker without work goes on handing over
    /// what arrives at its sockets for the others.
    fn is_over(&mut self, now: Instant, stop_at: Instant) -> bool {
        let is_busy = self.core.is_busy();
        let busy_workers = &self.core.shared.busy_workers;
        match (self.is_busy, is_busy) {
            (true, false) => busy_workers.fetch_sub(1, Ordering::AcqRel),
            (false, true) => busy_workers.fetch_add(1, Ordering::AcqRel),
            _ => 0,
        };
        let is_over = busy_workers.load(Ordering::Acquire) == 0 || now >= stop_at;
        self.is_busy = is_busy;
        is_over
    }

    /// Sees to it that the owner wakes in time for what somebody else has just left at its desk.
    pub(crate) fn set_alarm(&mut self, owner: &Mailbox<Mail>) {
        if let Some(deadline) = self.core.deadline().filter(|deadline| *deadline < self.wakes_at) {
            self.wakes_at = deadline;
            owner.wake();
        }
    }
}

impl Place {
    /// The way of the owner's threads to its desk: waits for whoever works there.
    pub(crate) fn own(&self) -> MutexGuard<'_, Desk> {
        if let Some(desk) = self.try_lock() {
            return desk;
        }
        self.wanted.fetch_add(1, Ordering::Relaxed);
        let desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        self.wanted.fetch_sub(1, Ordering::Relaxed);
        desk
    }

    /// The desk, if nobody works at it at the moment, or waits to.
    pub(crate) fn free(&self) -> Option<MutexGuard<'_, Desk>> {
        if self.wanted.load(Ordering::Relaxed) > 0 { None } else { self.try_lock() }
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, Desk>> {
        match self.desk.try_lock() {
            Ok(desk) => Some(desk),
            Err(TryLockError::Poisoned(desk)) => Some(desk.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// Desks for as many workers as there are inboxes.
pub(crate) fn desks(shared: &Arc<Shared>, inboxes: Vec<Inbox<Mail>>) -> Desks {
    let count = inboxes.len();
    let desk = |(number, inbox)| {
        let mut core = Core::new(number as u16, Arc::clone(shared), Instant::now());
        core.set_worker_count(count);
        core.set_clock(Instant::now);
        Place { desk: Mutex::new(Desk::new(core, inbox)), wanted: AtomicUsize::new(0) }
    };
    inboxes.into_iter().enumerate().map(desk).collect()
}

fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
