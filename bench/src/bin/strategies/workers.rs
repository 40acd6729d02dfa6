//! The three strategies of decision 0001: who reads a datagram, and who owns its transaction.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bench::batch::{self, Interests, ReceiveBatch, SendBatch, Waker};

use crate::work;

/// What all workers of a run share.
pub(crate) struct Plant {
    /// Where relayed datagrams go.
    pub(crate) sink: SocketAddrV4,
    /// Rounds of [`work::compute`] for each datagram.
    pub(crate) rounds: u32,
    /// Keyed, so that no sender can choose the worker or the bucket of its calls.
    pub(crate) hasher: RandomState,
    /// Ends the run.
    pub(crate) stop: AtomicBool,
}

/// A worker that may touch every transaction: strategies (a) and (c).
pub(crate) fn run_shared(plant: &Plant, socket: &UdpSocket, table: &SharedTable, slots: usize) -> io::Result<()> {
    let mut received = ReceiveBatch::new(slots);
    let mut out = SendBatch::default();
    let mut interests = Interests::new([socket.as_raw_fd()]);
    while !plant.stop.load(Ordering::Relaxed) {
        batch::wait_readable(&mut interests, PATIENCE)?;
        received.receive(socket)?;
        for (bytes, _) in received.iter() {
            // Copied, as the server does, so that a request can outlive its batch.
            let message: Box<[u8]> = bytes.into();
            let Some(call_id) = work::call_id(&message) else { continue };
            table.handle(plant, plant.hasher.hash_one(call_id), message, &mut out);
        }
        out.flush(socket)?;
    }
    Ok(())
}

/// A worker that alone touches the transactions of its Call-IDs: strategy (b).
pub(crate) fn run_owner(
    plant: &Plant,
    socket: &UdpSocket,
    mailboxes: &[Mailbox<Handed>],
    own: usize,
) -> io::Result<()> {
    let mut received = ReceiveBatch::new(64);
    let mut out = SendBatch::default();
    let mut transactions = HashMap::new();
    let mut handed_over: Vec<Vec<Handed>> = mailboxes.iter().map(|_| Vec::new()).collect();
    let mut inbox = Vec::new();
    let mailbox = &mailboxes[own];
    let mut interests = Interests::new([socket.as_raw_fd(), mailbox.waker.as_raw_fd()]);
    while !plant.stop.load(Ordering::Relaxed) {
        batch::wait_readable(&mut interests, PATIENCE)?;
        received.receive(socket)?;
        // First hand over what belongs to others, so that they work while this worker does.
        let mut mine = Vec::with_capacity(64);
        for (bytes, _) in received.iter() {
            let message: Box<[u8]> = bytes.into();
            let Some(call_id) = work::call_id(&message) else { continue };
            let key = plant.hasher.hash_one(call_id);
            let owner = (key >> 32) as usize % mailboxes.len();
            let list = if owner == own { &mut mine } else { &mut handed_over[owner] };
            list.push((key, message));
        }
        for (owner, messages) in handed_over.iter_mut().enumerate() {
            mailboxes[owner].send(messages);
        }
        mailbox.take(&mut inbox);
        for (key, message) in mine.drain(..).chain(inbox.drain(..)) {
            let transaction = transactions.entry(key).or_insert_with(Transaction::default);
            if transaction.handle(plant, message, &mut out) {
                transactions.remove(&key);
            }
        }
        out.flush(socket)?;
    }
    Ok(())
}

/// Transactions behind locks: one a shard for the map, one for each transaction.
pub(crate) struct SharedTable {
    shards: Vec<Mutex<HashMap<u64, Arc<Mutex<Transaction>>>>>,
}

impl SharedTable {
    /// An empty table of [`SHARDS`] shards.
    pub(crate) fn new() -> SharedTable {
        SharedTable { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    fn handle(&self, plant: &Plant, key: u64, message: Box<[u8]>, out: &mut SendBatch) {
        let shard = &self.shards[(key >> 32) as usize % SHARDS];
        let transaction = Arc::clone(locked(shard).entry(key).or_default());
        if locked(&transaction).handle(plant, message, out) {
            locked(shard).remove(&key);
        }
    }
}

/// Bounded queue of what other workers received for this one.
pub(crate) struct Mailbox<T> {
    queue: Mutex<Vec<T>>,
    pub(crate) waker: Waker,
}

impl<T> Mailbox<T> {
    /// An empty mailbox.
    pub(crate) fn new() -> io::Result<Mailbox<T>> {
        Ok(Mailbox { queue: Mutex::new(Vec::new()), waker: Waker::new()? })
    }

    /// One lock and at most one system call for a whole batch; what finds no room is dropped.
    pub(crate) fn send(&self, messages: &mut Vec<T>) {
        if messages.is_empty() {
            return;
        }
        let mut queue = locked(&self.queue);
        let was_empty = queue.is_empty();
        let room = MAILBOX_BOUND.saturating_sub(queue.len());
        queue.extend(messages.drain(..).take(room));
        drop(queue);
        if was_empty {
            self.waker.ring();
        }
    }

    /// Moves what has come into `inbox`, which the caller has emptied.
    pub(crate) fn take(&self, inbox: &mut Vec<T>) {
        std::mem::swap(&mut *locked(&self.queue), inbox);
        if !inbox.is_empty() {
            self.waker.silence();
        }
    }
}

/// A message with the hash of its Call-ID.
pub(crate) type Handed = (u64, Box<[u8]>);

#[derive(Default)]
pub(crate) struct Transaction {
    datagrams: u64,
    last: Box<[u8]>,
    result: u64,
}

impl Transaction {
    /// Works on the message, relays it, and says whether the call is over.
    fn handle(&mut self, plant: &Plant, message: Box<[u8]>, out: &mut SendBatch) -> bool {
        out.push(&message, plant.sink);
        self.route(plant, message)
    }

    /// Works on the message; the caller relays it.
    pub(crate) fn route(&mut self, plant: &Plant, message: Box<[u8]>) -> bool {
        self.result = work::compute(&message, plant.rounds);
        self.last = message;
        self.datagrams += 1;
        self.datagrams == crate::traffic::DATAGRAMS_PER_CALL
    }
}

/// How long an idle worker sleeps before it looks whether the run has ended.
pub(crate) const PATIENCE: Duration = Duration::from_millis(50);

const SHARDS: usize = 256;
const MAILBOX_BOUND: usize = 8192;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
