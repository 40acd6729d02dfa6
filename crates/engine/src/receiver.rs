//! A receiver: one thread that waits at one UDP socket, and does what has come at the desks of those who own it.
//!
//! A thread that sleeps in the very call that brings the datagram costs a microsecond less for each than one that is told of it
//! and then fetches it ([decision 0005](../../../docs/decisions/0005-a-thread-for-each-socket.md)).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use module_api::{Arrival, SocketId};
use net::udp::{ReceiveBatch, UdpSocket};
use sip_message::Transport;

use crate::desk::Desks;
use crate::hands::Hands;
use crate::worker::{COLLECT, RETRY_SEND, watch_load};

/// Reads one socket of a worker.
pub struct Receiver {
    id: SocketId,
    udp: Arc<UdpSocket>,
    hands: Hands,
    desks: Desks,
    /// More has come than could be taken one by one.
    is_pressed: bool,
    /// ICMP has left an error at some socket.
    has_met_error: bool,
    /// Since when each turn has left something in the socket.
    behind_since: Option<Instant>,
}

/// How many batches are taken in one turn, before what they hold is done.
const BATCHES_PER_TURN: usize = 4;
/// A wait that ended sooner was none: more comes than can be taken one by one.
const PRESSED: Duration = Duration::from_micros(20);

impl Receiver {
    pub(crate) fn new(id: SocketId, udp: Arc<UdpSocket>, hands: Hands, desks: Desks) -> Receiver {
        Receiver { id, udp, hands, desks, is_pressed: false, has_met_error: false, behind_since: None }
    }

    /// Runs until all workers have ended, and then for [`net::udp::PATIENCE`] at most. What it has read it has done by then; what
    /// comes later lies in the socket for whoever reads it next.
    pub fn run(mut self) {
        // Beside the receiver, not in it: what it holds is read while the receiver acts on it.
        let mut batch = ReceiveBatch::new();
        let mut collected = Instant::now();
        while self.hands.shared().workers.load(Ordering::Acquire) > 0 {
            // A mistake outside of the desks, whose work is guarded piece by piece: in reading, or in handing out.
            let turn = AssertUnwindSafe(|| self.turn(&mut batch, &mut collected));
            if catch_unwind(turn).is_err() {
                self.hands.shared().statistics.panics.increment();
            }
        }
    }

    fn turn(&mut self, batch: &mut ReceiveBatch, collected: &mut Instant) {
        let before = Instant::now();
        if before.saturating_duration_since(*collected) >= COLLECT {
            net::memory::collect();
            *collected = before;
        }
        let is_behind = match (self.hands.has_unsent(), self.is_pressed) {
            (false, false) => self.take_one(batch, before),
            (false, true) => self.take_many(batch),
            (true, _) => {
                // The kernel's buffer was full; what is left goes out as soon as it drains.
                thread::sleep(RETRY_SEND);
                self.has_met_error |= self.hands.flush();
                self.take_many(batch)
            }
        };
        watch_load(self.hands.shared(), &mut self.behind_since, is_behind, before);
        self.hands.act(&self.desks);
        if std::mem::take(&mut self.has_met_error) {
            self.hands.take_errors();
        }
    }

    /// Waits for one datagram. If more lies there, the next wait will be none, and after it a batch is taken.
    fn take_one(&mut self, batch: &mut ReceiveBatch, before: Instant) -> bool {
        match self.udp.wait(batch) {
            Ok(count) => {
                self.is_pressed = count > 0 && before.elapsed() <= PRESSED;
                self.take_batch(batch);
            }
            // The socket's own, and no datagram's: it shows again.
            Err(_) => thread::sleep(RETRY_SEND),
        }
        false
    }

    /// Takes what lies in the socket, in the order in which it came. Whether more is left there.
    fn take_many(&mut self, batch: &mut ReceiveBatch) -> bool {
        for _ in 0..BATCHES_PER_TURN {
            let count = self.udp.receive(batch).unwrap_or(0);
            self.take_batch(batch);
            if count < batch.capacity() {
                self.is_pressed = count > 1;
                return false;
            }
        }
        true
    }

    fn take_batch(&mut self, batch: &ReceiveBatch) {
        self.has_met_error |= batch.has_met_error();
        for datagram in batch.iter() {
            let arrival = Arrival {
                source: datagram.peer,
                local: datagram.local,
                transport: Transport::Udp,
                socket: self.id,
                connection: None,
            };
            self.hands.take_datagram(datagram.bytes, arrival);
        }
    }
}
