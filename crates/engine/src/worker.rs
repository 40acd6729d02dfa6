//! A worker: one thread that receives, decides and sends, and never blocks.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use module_api::{Arrival, Job, SocketId};
use net::mailbox::{Inbox, Mailbox, mailbox};
use net::poll::{Events, Poller};
use net::stream::Streams;
use net::udp::{ReceiveBatch, SendBatch, UdpSocket};
use sip_message::{Message, Transport};
use smallvec::SmallVec;

use crate::outgoing::{Outgoing, Sender};
use crate::streams;
use crate::wait::Finished;
use crate::worker_core::{Core, Shared};

/// What reaches a worker from elsewhere.
pub enum Mail {
    /// A message whose owner this worker is, received by another or from a stream.
    Message(Arc<Message>, Arrival),
    /// A wait is over.
    Finished(u64, Finished),
    /// Something could not be sent over a stream.
    SendFailed(Sender),
    /// Work that a module has posted.
    Job(Job),
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

/// One thread's share of the server: its sockets and the transactions that it owns.
pub struct Worker {
    number: u16,
    shared: Arc<Shared>,
    core: Core,
    station: Station,
    sockets: Vec<WorkerSocket>,
    mailboxes: Mailboxes,
    streams: Arc<Streams>,
    mail: Vec<Mail>,
    stop_at: Option<Instant>,
    /// Whether this worker counts among [`Shared::busy_workers`].
    is_busy: bool,
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
/// The longest sleep while the server drains: how late a worker notices that all others are done.
const DRAIN_SLEEP: Duration = Duration::from_millis(20);
/// The longest sleep: a turn without reason costs nothing, a forgotten one much.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

impl Worker {
    /// Worker `number` with its own UDP sockets, each given with the listening socket that it belongs to.
    ///
    /// # Errors
    /// When the kernel gives no more event queues.
    pub fn new(
        number: u16,
        shared: Arc<Shared>,
        station: Station,
        sockets: Vec<(SocketId, UdpSocket)>,
        links: Links,
    ) -> io::Result<Worker> {
        for (n, (_, udp)) in sockets.iter().enumerate() {
            station.poller.add(udp, n as u64)?;
        }
        let mut core = Core::new(number, Arc::clone(&shared), Instant::now());
        core.set_worker_count(links.mailboxes.len());
        core.set_clock(Instant::now);
        let sockets = sockets.into_iter().map(|(id, udp)| WorkerSocket { id, udp, out: SendBatch::new() }).collect();
        Ok(Worker {
            number,
            core,
            shared,
            station,
            sockets,
            mailboxes: links.mailboxes,
            streams: links.streams,
            mail: Vec::new(),
            stop_at: None,
            is_busy: true,
        })
    }

    /// Runs until told to stop.
    ///
    /// # Errors
    /// When the kernel refuses to wait for events.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::new();
        // Beside the worker, not in it: what it holds is read while the worker acts on it.
        let mut batch = ReceiveBatch::new();
        while !self.is_finished() {
            self.station.poller.wait(Some(self.sleep()), &mut events)?;
            self.core.begin_turn(Instant::now(), unix_time());
            for event in events.iter() {
                self.receive(event.token as usize, &mut batch);
            }
            self.take_mail();
            self.core.on_timers();
            self.flush();
            self.core.end_turn();
            if events.iter().any(|event| event.failed) {
                self.take_errors();
            }
        }
        self.shared.workers.fetch_sub(1, Ordering::Release);
        Ok(())
    }

    fn sleep(&self) -> Duration {
        let longest = if self.stop_at.is_some() { DRAIN_SLEEP } else { LONGEST_SLEEP };
        if self.sockets.iter().any(|socket| !socket.out.is_empty()) {
            // The kernel's buffer was full; what is left goes out as soon as it drains.
            return RETRY_SEND;
        }
        let until = self.core.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()));
        until.unwrap_or(longest).min(longest)
    }

    /// Whether the drain is over: no worker has an open request left, or the time is up. A worker
    /// without work still hands over what arrives at its sockets for the others.
    fn is_finished(&mut self) -> bool {
        let Some(stop_at) = self.stop_at else { return false };
        let is_busy = self.core.is_busy();
        match (self.is_busy, is_busy) {
            (true, false) => self.shared.busy_workers.fetch_sub(1, Ordering::AcqRel),
            (false, true) => self.shared.busy_workers.fetch_add(1, Ordering::AcqRel),
            _ => 0,
        };
        self.is_busy = is_busy;
        self.shared.busy_workers.load(Ordering::Acquire) == 0 || Instant::now() >= stop_at
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
        // Copied out of the receive buffer rather than lent: a suspended request would otherwise keep
        // a whole batch alive for one small message.
        match Message::parse(Bytes::copy_from_slice(bytes), &self.shared.settings.limits) {
            Ok(message) => self.deliver(Arc::new(message), arrival),
            Err(reject) => self.core.on_garbage(&reject),
        }
    }

    /// Gives a message to the worker that owns its call.
    fn deliver(&mut self, message: Arc<Message>, arrival: Arrival) {
        let owner = self.shared.owner(message.call_id(), self.mailboxes.len());
        if owner == usize::from(self.number) {
            self.core.on_message(message, arrival);
        } else if self.mailboxes[owner].send(Mail::Message(message, arrival)).is_err() {
            // The owner is overloaded; over UDP the peer will try again.
            self.shared.statistics.refused.increment();
        }
    }

    fn take_mail(&mut self) {
        let mut mail = std::mem::take(&mut self.mail);
        mail.extend(self.station.inbox.drain());
        for letter in mail.drain(..) {
            match letter {
                Mail::Message(message, arrival) => self.core.on_message(message, arrival),
                Mail::Finished(id, finished) => self.core.on_finished(id, finished),
                Mail::Job(job) => self.core.do_job(job),
                Mail::SendFailed(sender) => self.core.on_send_failed(sender),
                Mail::Drain(stop_at) => self.stop_at = Some(stop_at),
            }
        }
        self.mail = mail;
    }

    /// Sends what the turn has produced.
    fn flush(&mut self) {
        for outgoing in self.core.take_outbox() {
            match outgoing.way.transport {
                Transport::Udp => push_datagram(&mut self.sockets, &outgoing),
                _ => streams::send(&self.streams, self.number, &self.mailboxes[usize::from(self.number)], outgoing),
            }
        }
        for (worker, job) in self.core.take_jobs_for_others() {
            if self.mailboxes[worker].send(Mail::Job(job)).is_err() {
                self.shared.statistics.refused.increment();
            }
        }
        let statistics = &self.shared.statistics;
        for socket in &mut self.sockets {
            socket.out.flush(&socket.udp, |_, _| statistics.send_errors.increment());
        }
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
        for peer in peers {
            self.core.on_unreachable(peer);
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

fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
