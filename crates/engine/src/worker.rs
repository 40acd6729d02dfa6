//! A worker: one thread that receives, decides and sends, and never blocks.

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use module_api::{Arrival, Job, Level, SocketId};
use net::mailbox::{Inbox, Mailbox, mailbox};
use net::poll::{Events, Poller};
use net::stream::Streams;
use net::udp::{ReceiveBatch, SendBatch, UdpSocket};
use sip_message::{Message, Transport};
use sip_proto::stun;
use smallvec::SmallVec;

use crate::capture::Ring;
use crate::desk::{self, Delivery, Desk, Desks, Next, Place};
use crate::outgoing::{Outgoing, Sender};
use crate::overload::Change;
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

/// One thread's share of the server: it reads its own sockets, and works at the desk of whoever owns what it has read.
pub struct Worker {
    number: usize,
    shared: Arc<Shared>,
    desks: Desks,
    poller: Poller,
    sockets: Vec<WorkerSocket>,
    mailboxes: Mailboxes,
    streams: Arc<Streams>,
    /// What a turn has received, by owner.
    received: Vec<Vec<Delivery>>,
    /// Whether more lies in a socket than it has taken in this turn, and since when that has been so in every turn.
    is_behind: bool,
    behind_since: Option<Instant>,
}

/// How a worker reaches others.
pub struct Links {
    /// The mailboxes of all workers.
    pub mailboxes: Mailboxes,
    /// Connections.
    pub streams: Arc<Streams>,
}

struct WorkerSocket {
    id: SocketId,
    udp: UdpSocket,
    out: SendBatch,
}

/// How many batches one socket may deliver in one turn, so that timers and mail get their share.
const BATCHES_PER_TURN: usize = 4;
/// How soon to try again what the kernel had no room for.
const RETRY_SEND: Duration = Duration::from_millis(1);
/// A worker whose wait ended sooner did not sleep: there is more than it can take one by one.
const PRESSED: Duration = Duration::from_micros(20);
/// How often to take back memory that other workers have freed: a call's begin and end may be worked on by two.
const COLLECT: Duration = Duration::from_secs(5);

impl Worker {
    /// One worker for each station, each with its own UDP sockets, which are given with the listening
    /// socket that they belong to.
    ///
    /// # Errors
    /// When the kernel gives no more event queues.
    pub fn all(
        shared: &Arc<Shared>,
        stations: impl IntoIterator<Item = (Station, Vec<(SocketId, UdpSocket)>)>,
        links: &Links,
    ) -> io::Result<Vec<Worker>> {
        let mut workers = Vec::new();
        let mut inboxes = Vec::new();
        let count = links.mailboxes.len();
        for (number, (Station { poller, inbox }, sockets)) in stations.into_iter().enumerate() {
            for (n, (_, udp)) in sockets.iter().enumerate().filter(|(_, (_, udp))| udp.is_read()) {
                poller.add(udp, n as u64)?;
            }
            inboxes.push(inbox);
            workers.push((number, poller, sockets));
        }
        let desks = desk::desks(shared, inboxes);
        let worker = |(number, poller, sockets): (usize, Poller, Vec<(SocketId, UdpSocket)>)| Worker {
            number,
            shared: Arc::clone(shared),
            desks: Arc::clone(&desks),
            poller,
            sockets: sockets.into_iter().map(|(id, udp)| WorkerSocket { id, udp, out: SendBatch::new() }).collect(),
            mailboxes: Mailboxes::clone(&links.mailboxes),
            streams: Arc::clone(&links.streams),
            received: (0..count).map(|_| Vec::new()).collect(),
            is_behind: false,
            behind_since: None,
        };
        Ok(workers.into_iter().map(worker).collect())
    }

    /// Runs until told to stop.
    ///
    /// # Errors
    /// When the kernel refuses to wait for events.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::new();
        // Beside the worker, not in it: what it holds is read while the worker acts on it.
        let mut batch = ReceiveBatch::new();
        let desks = Arc::clone(&self.desks);
        let mut collected = Instant::now();
        let outcome = loop {
            // A mistake outside of the desks, whose work is guarded piece by piece: in reading, or in handing out.
            let turn = AssertUnwindSafe(|| self.turn(&desks, &mut events, &mut batch, &mut collected));
            match catch_unwind(turn) {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => break Ok(()),
                Ok(Err(error)) => break Err(error),
                Err(_) => self.shared.statistics.panics.increment(),
            }
        };
        // Also when it ends in an error: a drain waits for all of them.
        self.shared.workers.fetch_sub(1, Ordering::Release);
        outcome
    }

    /// Acts, sleeps, and takes what has come. False when the work is over.
    fn turn(
        &mut self,
        desks: &[Place],
        events: &mut Events,
        batch: &mut ReceiveBatch,
        collected: &mut Instant,
    ) -> io::Result<bool> {
        let Next::Sleep(now, sleep) = self.act(desks) else { return Ok(false) };
        if now.saturating_duration_since(*collected) >= COLLECT {
            net::memory::collect();
            *collected = now;
        }
        self.poller.wait(Some(sleep), events)?;
        let after = Instant::now();
        let has_slept = after.saturating_duration_since(now) > PRESSED;
        self.is_behind = false;
        for event in events.iter() {
            match has_slept {
                true => self.receive_one(event.token as usize, batch),
                false => self.receive(event.token as usize, batch),
            }
        }
        self.watch_load(after);
        self.act_for_others(desks);
        if events.iter().any(|event| event.failed) {
            self.take_errors();
        }
        Ok(true)
    }

    /// A worker whose sockets hold more than it takes in a turn has too much to do, if that lasts.
    fn watch_load(&mut self, now: Instant) {
        let overload = &self.shared.overload;
        match self.is_behind {
            false => self.behind_since = None,
            true => overload.press(*self.behind_since.get_or_insert(now), now),
        }
        let change = overload.adjust(now);
        if overload.share() > 0 || change == Change::Over {
            self.shared.statistics.overload.set(overload.share().into());
        }
        let (level, text): (Level, &[u8]) = match change {
            Change::None => return,
            Change::Began => (Level::Warning, b"more arrives than can be done: a share of what is new gets 503"),
            Change::Over => (Level::Notice, b"all that arrives can be done again"),
        };
        self.shared.log.write(level, text);
    }

    /// Takes what lies in a UDP socket that has news, in the order in which it came. What is left after
    /// some batches is news again at the next turn.
    fn receive(&mut self, n: usize, batch: &mut ReceiveBatch) {
        for _ in 0..BATCHES_PER_TURN {
            let Some(socket) = self.sockets.get(n) else { return };
            let count = socket.udp.receive(batch).unwrap_or(0);
            self.take_batch(n, batch);
            if count < batch.capacity() {
                return;
            }
        }
        self.is_behind = true;
    }

    /// Takes what woke the worker. If more lies there it will not sleep before the next turn, and take a batch then.
    fn receive_one(&mut self, n: usize, batch: &mut ReceiveBatch) {
        let Some(socket) = self.sockets.get(n) else { return };
        // An error is the socket's own and shows again; what it means for peers comes by `take_errors`.
        if socket.udp.receive_one(batch).unwrap_or(0) > 0 {
            self.take_batch(n, batch);
        }
    }

    fn take_batch(&mut self, n: usize, batch: &ReceiveBatch) {
        let id = self.sockets[n].id;
        for datagram in batch.iter() {
            let arrival = Arrival {
                source: datagram.peer,
                local: datagram.local,
                transport: Transport::Udp,
                socket: id,
                connection: None,
            };
            self.take_datagram(datagram.bytes, arrival);
        }
    }

    fn take_datagram(&mut self, bytes: &[u8], arrival: Arrival) {
        if is_keep_alive(bytes) {
            return;
        }
        if stun::is_stun(bytes) {
            return self.answer_stun(bytes, arrival);
        }
        // Copied out of the receive buffer rather than lent: a suspended request would otherwise keep
        // a whole batch alive for one small message.
        match Message::parse(Bytes::copy_from_slice(bytes), &self.shared.settings.limits) {
            Ok(message) => {
                let owner = self.shared.owner(message.call_id(), self.mailboxes.len());
                self.received[owner].push((Arc::new(message), arrival));
            }
            // It gets no answer: what cannot be read has no Via to answer to.
            Err(_) => self.shared.statistics.malformed.increment(),
        }
    }

    /// The other way of phones to hold a flow open over UDP, which shows them also when it leads elsewhere (RFC 5626
    /// section 4.4.2). It leaves with what the turn sends.
    fn answer_stun(&mut self, bytes: &[u8], arrival: Arrival) {
        let socket = self.sockets.iter_mut().find(|socket| socket.id == arrival.socket);
        if let (Some(answer), Some(socket)) = (stun::answer(bytes, arrival.source), socket) {
            // A full batch drops, as a full network would; the phone asks again.
            let _ = socket.out.push(&answer, arrival.source, Some(arrival.local.ip()));
        }
    }

    /// A turn at the own desk.
    fn act(&mut self, desks: &[Place]) -> Next {
        let mut desk = desks[self.number].own();
        if let Some(turns) = self.shared.turns.get(self.number) {
            turns.fetch_add(1, Ordering::Relaxed);
        }
        self.work_at(self.number, &mut desk);
        match desk.next() {
            // The kernel's buffer was full; what is left goes out as soon as it drains.
            Next::Sleep(now, sleep) if self.sockets.iter().any(|socket| !socket.out.is_empty()) => {
                Next::Sleep(now, sleep.min(RETRY_SEND))
            }
            next => next,
        }
    }

    /// What belongs to others: done in their place where they sleep, else put into their mailboxes.
    fn act_for_others(&mut self, desks: &[Place]) {
        for (owner, desk) in desks.iter().enumerate() {
            if owner == self.number || self.received[owner].is_empty() {
                continue;
            }
            if let Some(mut desk) = desk.free() {
                self.work_at(owner, &mut desk);
                desk.set_alarm(&self.mailboxes[owner]);
                continue;
            }
            for (message, arrival) in self.received[owner].drain(..) {
                if self.mailboxes[owner].send(Mail::Message(message, arrival)).is_err() {
                    // The owner is overloaded; over UDP the peer will try again.
                    self.shared.statistics.refused.increment();
                }
            }
        }
    }

    fn work_at(&mut self, owner: usize, desk: &mut Desk) {
        desk.turn(&mut self.received[owner]);
        let sockets = &mut self.sockets;
        desk.hand_out(owner, (&self.mailboxes, &self.streams), |outgoing| push_datagram(sockets, outgoing));
        let statistics = &self.shared.statistics;
        for socket in sockets {
            socket.out.flush(&socket.udp, |_, _| statistics.send_errors.increment());
        }
        desk.end_turn();
    }

    /// ICMP errors: a peer where nobody listens fails at once, not after a timeout.
    fn take_errors(&mut self) {
        // Each peer once a turn: a gateway that is gone brings as many errors as it had calls, and
        // each look through the table finds them all.
        let mut peers: SmallVec<[SocketAddr; 8]> = SmallVec::new();
        for socket in &self.sockets {
            socket.udp.take_errors(|peer, _| {
                if !peers.contains(&peer) {
                    peers.push(peer);
                }
            });
        }
        // The error comes to any of the sockets that share an address, whoever sent.
        if peers.is_empty() {
            return;
        }
        let peers: Arc<[SocketAddr]> = peers.as_slice().into();
        for mailbox in self.mailboxes.iter() {
            // A full mailbox loses the news; the transactions' timers find out as well.
            let _ = mailbox.send(Mail::Unreachable(Arc::clone(&peers)));
        }
    }
}

fn push_datagram(sockets: &mut [WorkerSocket], outgoing: &Outgoing) {
    let socket = sockets.iter_mut().find(|socket| socket.id == outgoing.way.socket);
    if let Some(socket) = socket {
        // A full batch drops, as a full network would; retransmission is the cure for both.
        let _ = socket.out.push(&outgoing.bytes, outgoing.way.peer, None);
    }
}

/// CRLFs, or the zero bytes that some phones send, hold a NAT binding open and say nothing else.
fn is_keep_alive(bytes: &[u8]) -> bool {
    bytes.len() <= 4 && bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0))
}
