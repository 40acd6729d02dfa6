//! What a thread works at desks with: the sockets that it sends from, and the ways to all others.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use module_api::{Arrival, SocketId};
use net::stream::Streams;
use net::udp::{SendBatch, UdpSocket};
use sip_message::Message;
use sip_proto::stun;
use smallvec::SmallVec;

use crate::desk::{Delivery, Desk, Place};
use crate::outgoing::Outgoing;
use crate::worker::{Links, Mail, Mailboxes};
use crate::worker_core::Shared;

/// A thread's means of acting, for the worker whose home desk this is and for others.
pub(crate) struct Hands {
    /// Number of the worker that the thread belongs to.
    home: usize,
    shared: Arc<Shared>,
    sockets: Vec<Outlet>,
    mailboxes: Mailboxes,
    streams: Arc<Streams>,
    /// What has been received and not been done or handed over yet, by owner.
    received: Vec<Vec<Delivery>>,
}

/// One of the worker's sockets, and what this thread has for it.
struct Outlet {
    id: SocketId,
    udp: Arc<UdpSocket>,
    out: SendBatch,
}

impl Hands {
    pub(crate) fn new(
        home: usize,
        shared: &Arc<Shared>,
        sockets: &[(SocketId, Arc<UdpSocket>)],
        links: &Links,
    ) -> Hands {
        let outlet =
            |(id, udp): &(SocketId, Arc<UdpSocket>)| Outlet { id: *id, udp: Arc::clone(udp), out: SendBatch::new() };
        Hands {
            home,
            shared: Arc::clone(shared),
            sockets: sockets.iter().map(outlet).collect(),
            mailboxes: Mailboxes::clone(&links.mailboxes),
            streams: Arc::clone(&links.streams),
            received: links.mailboxes.iter().map(|_| Vec::new()).collect(),
        }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Reads a datagram, and lays it aside for its owner.
    pub(crate) fn take_datagram(&mut self, bytes: &[u8], arrival: Arrival) {
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
    /// section 4.4.2).
    fn answer_stun(&mut self, bytes: &[u8], arrival: Arrival) {
        let socket = self.sockets.iter_mut().find(|socket| socket.id == arrival.socket);
        if let (Some(answer), Some(socket)) = (stun::answer(bytes, arrival.source), socket) {
            // A full batch drops, as a full network would; the phone asks again.
            let _ = socket.out.push(&answer, arrival.source, Some(arrival.local.ip()));
            self.flush();
        }
    }

    /// Does what was laid aside: at the home desk, and in place of owners that sleep. The rest goes into their mailboxes.
    pub(crate) fn act(&mut self, desks: &[Place]) {
        for (owner, desk) in desks.iter().enumerate() {
            if self.received[owner].is_empty() {
                continue;
            }
            let desk = if owner == self.home { Some(desk.own()) } else { desk.free() };
            if let Some(mut desk) = desk {
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

    /// A turn at a desk, from the mail to the sending of what came of it all.
    pub(crate) fn work_at(&mut self, owner: usize, desk: &mut Desk) {
        desk.turn(&mut self.received[owner]);
        let sockets = &mut self.sockets;
        desk.hand_out(owner, (&self.mailboxes, &self.streams), |outgoing| push_datagram(sockets, outgoing));
        let has_met_error = self.flush();
        desk.end_turn();
        if has_met_error {
            self.take_errors();
        }
    }

    /// Whether the kernel had no room for something, which is to be sent again soon.
    pub(crate) fn has_unsent(&self) -> bool {
        self.sockets.iter().any(|socket| !socket.out.is_empty())
    }

    /// Sends what the kernel had no room for. Gives whether an error that ICMP had left was met.
    pub(crate) fn flush(&mut self) -> bool {
        let statistics = &self.shared.statistics;
        let mut has_met_error = false;
        for socket in &mut self.sockets {
            has_met_error |= socket.out.flush(&socket.udp, |_, _| statistics.send_errors.increment());
        }
        has_met_error
    }

    /// ICMP errors: a peer where nobody listens fails at once, not after a timeout.
    pub(crate) fn take_errors(&self) {
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

fn push_datagram(sockets: &mut [Outlet], outgoing: &Outgoing) {
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
