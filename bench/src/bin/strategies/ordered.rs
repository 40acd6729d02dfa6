//! Strategy (b) with the order of each sender restored: work goes to the owner, results come back
//! to the worker that received the datagram, and leave in the order of arrival.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;

use bench::batch::{self, Interests, ReceiveBatch, SendBatch};

use crate::work;
use crate::workers::{Mailbox, PATIENCE, Plant, Transaction};

/// What one worker tells another.
pub(crate) enum Letter {
    /// A datagram for the owner of `key`; the answer goes to worker `receiver`.
    Work { key: u64, message: Box<[u8]>, receiver: usize, ticket: u64 },
    /// The datagram with this ticket may leave.
    Done { ticket: u64, message: Box<[u8]> },
}

/// A worker that owns transactions and sends what it received in the order of arrival.
pub(crate) fn run(plant: &Plant, socket: &UdpSocket, mailboxes: &[Mailbox<Letter>], own: usize) -> io::Result<()> {
    let mut received = ReceiveBatch::new(64);
    let mut out = SendBatch::default();
    let mut transactions: HashMap<u64, Transaction> = HashMap::new();
    let mut letters: Vec<Vec<Letter>> = mailboxes.iter().map(|_| Vec::new()).collect();
    let mut inbox = Vec::new();
    let mut departures = Departures::default();
    let mut interests = Interests::new([socket.as_raw_fd(), mailboxes[own].waker.as_raw_fd()]);
    while !plant.stop.load(Ordering::Relaxed) {
        batch::wait_readable(&mut interests, PATIENCE)?;
        received.receive(socket)?;
        mailboxes[own].take(&mut inbox);
        for (bytes, _) in received.iter() {
            let message: Box<[u8]> = bytes.into();
            let Some(call_id) = work::call_id(&message) else { continue };
            let key = plant.hasher.hash_one(call_id);
            let owner = (key >> 32) as usize % mailboxes.len();
            let ticket = departures.enter();
            letters[owner].push(Letter::Work { key, message, receiver: own, ticket });
        }
        inbox.append(&mut letters[own]);
        deliver(&mut letters, mailboxes);
        for letter in inbox.drain(..) {
            match letter {
                Letter::Done { ticket, message } => departures.complete(ticket, message),
                Letter::Work { key, message, receiver, ticket } => {
                    let transaction = transactions.entry(key).or_default();
                    if transaction.route(plant, message.clone()) {
                        transactions.remove(&key);
                    }
                    match receiver == own {
                        true => departures.complete(ticket, message),
                        false => letters[receiver].push(Letter::Done { ticket, message }),
                    }
                }
            }
        }
        deliver(&mut letters, mailboxes);
        while let Some(message) = departures.leave() {
            out.push(&message, plant.sink);
        }
        out.flush(socket)?;
    }
    Ok(())
}

/// Datagrams in the order of arrival; each leaves when all before it have.
#[derive(Default)]
struct Departures {
    first: u64,
    waiting: VecDeque<Option<Box<[u8]>>>,
}

impl Departures {
    fn enter(&mut self) -> u64 {
        self.waiting.push_back(None);
        self.first + self.waiting.len() as u64 - 1
    }

    fn complete(&mut self, ticket: u64, message: Box<[u8]>) {
        self.waiting[(ticket - self.first) as usize] = Some(message);
    }

    fn leave(&mut self) -> Option<Box<[u8]>> {
        self.waiting.front()?.as_ref()?;
        self.first += 1;
        self.waiting.pop_front()?
    }
}

fn deliver(letters: &mut [Vec<Letter>], mailboxes: &[Mailbox<Letter>]) {
    for (letters, mailbox) in letters.iter_mut().zip(mailboxes) {
        mailbox.send(letters);
    }
}
