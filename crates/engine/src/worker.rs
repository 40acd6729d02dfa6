//! A worker: a desk, the thread that sees to its mail and its timers, and a receiver for each of its sockets.

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use module_api::{Arrival, Job, Level, SocketId};
use net::mailbox::{Inbox, Mailbox, mailbox};
use net::poll::{Events, Poller};
use net::stream::Streams;
use net::udp::UdpSocket;
use sip_message::Message;

use crate::capture::Ring;
use crate::desk::{self, Desks, Next, Place};
use crate::hands::Hands;
use crate::outgoing::Sender;
use crate::overload::Change;
use crate::receiver::Receiver;
use crate::wait::Finished;
use crate::worker_core::Shared;

/// What reaches a worker from elsewhere.
pub enum Mail {
    /// A message whose owner this worker is, received by another or from a stream.
    Message(Arc<Message>, Arrival),
    /// A wait is over.
    Finished(u64, Finished),
    /// Something could not be sent over a stream.
    SendFailed(Sender),
    /// Nobody listens at these addresses, as ICMP says.
    Unreachable(Arc<[SocketAddr]>),
    /// Work that a module has posted.
    Job(Job),
    /// Show the messages seen last.
    Look(Box<dyn FnOnce(&Ring) + Send>),
    /// Stop as soon as nothing waits for an answer any more, at the latest then.
    Drain(Instant),
}

/// The mailboxes of all workers; the index is the worker's number.
pub type Mailboxes = Arc<[Mailbox<Mail>]>;

/// Where a worker waits: made before the workers, since each must be able to write to all.
pub struct Station {
    poller: Poller,
    inbox: Inbox<Mail>,
}

/// Stations for `count` workers, and the mailboxes that lead to them. A mailbox takes at most `bound` letters.
///
/// # Errors
/// When the process may open no more files.
pub fn stations(count: usize, bound: usize) -> io::Result<(Mailboxes, Vec<Station>)> {
    let mut mailboxes = Vec::with_capacity(count);
    let mut stations = Vec::with_capacity(count);
    for _ in 0..count {
        let poller = Poller::new()?;
        let (letters, inbox) = mailbox(bound, poller.waker());
        mailboxes.push(letters);
        stations.push(Station { poller, inbox });
    }
    Ok((mailboxes.into(), stations))
}

/// What happens at one desk without a datagram: mail and timers. A thread that never waits for anything but these.
pub struct Worker {
    number: usize,
    desks: Desks,
    poller: Poller,
    hands: Hands,
}

/// How a worker reaches others.
pub struct Links {
    /// The mailboxes of all workers.
    pub mailboxes: Mailboxes,
    /// Connections.
    pub streams: Arc<Streams>,
}

/// How soon to try again what the kernel had no room for.
pub(crate) const RETRY_SEND: Duration = Duration::from_millis(1);
/// How often to take back memory that other threads have freed: a call's begin and end may be worked on by two.
pub(crate) const COLLECT: Duration = Duration::from_secs(5);

impl Worker {
    /// One worker for each station, each with receivers for its own UDP sockets, which are given with the listening
    /// socket that they belong to.
    pub fn all(
        shared: &Arc<Shared>,
        stations: impl IntoIterator<Item = (Station, Vec<(SocketId, UdpSocket)>)>,
        links: &Links,
    ) -> Vec<(Worker, Vec<Receiver>)> {
        let (stations, sockets): (Vec<Station>, Vec<_>) = stations.into_iter().unzip();
        let (pollers, inboxes): (Vec<Poller>, Vec<_>) =
            stations.into_iter().map(|Station { poller, inbox }| (poller, inbox)).unzip();
        let desks = desk::desks(shared, inboxes);
        let worker = |(number, (poller, sockets)): (usize, (Poller, Vec<(SocketId, UdpSocket)>))| {
            let sockets: Vec<_> = sockets.into_iter().map(|(id, udp)| (id, Arc::new(udp))).collect();
            let hands = || Hands::new(number, shared, &sockets, links);
            let read = sockets.iter().filter(|(_, udp)| udp.is_read());
            let receivers = read.map(|(id, udp)| Receiver::new(*id, Arc::clone(udp), hands(), Arc::clone(&desks)));
            let receivers = receivers.collect();
            (Worker { number, desks: Arc::clone(&desks), poller, hands: hands() }, receivers)
        };
        pollers.into_iter().zip(sockets).enumerate().map(worker).collect()
    }

    /// Runs until told to stop.
    ///
    /// # Errors
    /// When the kernel refuses to wait for events.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::new();
        let desks = Arc::clone(&self.desks);
        let mut collected = Instant::now();
        let outcome = loop {
            // A mistake outside of the desk, whose work is guarded piece by piece: in handing out.
            let turn = AssertUnwindSafe(|| self.turn(&desks, &mut events, &mut collected));
            match catch_unwind(turn) {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => break Ok(()),
                Ok(Err(error)) => break Err(error),
                Err(_) => self.hands.shared().statistics.panics.increment(),
            }
        };
        // Also when it ends in an error: a drain waits for all of them.
        self.hands.shared().workers.fetch_sub(1, Ordering::Release);
        outcome
    }

    /// Acts and sleeps. False when the work is over.
    fn turn(&mut self, desks: &[Place], events: &mut Events, collected: &mut Instant) -> io::Result<bool> {
        let Next::Sleep(now, sleep) = self.act(desks) else { return Ok(false) };
        if now.saturating_duration_since(*collected) >= COLLECT {
            net::memory::collect();
            *collected = now;
        }
        self.poller.wait(Some(sleep), events)?;
        Ok(true)
    }

    /// A turn at the own desk.
    fn act(&mut self, desks: &[Place]) -> Next {
        let mut desk = desks[self.number].own();
        if let Some(turns) = self.hands.shared().turns.get(self.number) {
            turns.fetch_add(1, Ordering::Relaxed);
        }
        self.hands.work_at(self.number, &mut desk);
        match desk.next() {
            // The kernel's buffer was full; what is left goes out as soon as it drains.
            Next::Sleep(now, sleep) if self.hands.has_unsent() => Next::Sleep(now, sleep.min(RETRY_SEND)),
            next => next,
        }
    }
}

/// A receiver whose socket holds more than it takes in a turn has too much to do, if that lasts.
pub(crate) fn watch_load(shared: &Shared, behind_since: &mut Option<Instant>, is_behind: bool, now: Instant) {
    let overload = &shared.overload;
    match is_behind {
        false => *behind_since = None,
        true => overload.press(*behind_since.get_or_insert(now), now),
    }
    let change = overload.adjust(now);
    if overload.share() > 0 || change == Change::Over {
        shared.statistics.overload.set(overload.share().into());
    }
    let (level, text): (Level, &[u8]) = match change {
        Change::None => return,
        Change::Began => (Level::Warning, b"more arrives than can be done: a share of what is new gets 503"),
        Change::Over => (Level::Notice, b"all that arrives can be done again"),
    };
    shared.log.write(level, text);
}
