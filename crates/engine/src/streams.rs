//! Messages over TCP, TLS and WebSocket, between connections and workers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use module_api::{Arrival, Host, RouteKind, SocketId};
use net::Protocol;
use net::mailbox::Mailbox;
use net::stream::{Closed, Connection, ConnectionId, Destination, Frame, Framer, Sink, Streams};
use sip_message::{Message, Transport};

use crate::http::{self, Head, How, HttpFramer};
use crate::outgoing::{Outgoing, Sender};
use crate::worker::{Mail, Mailboxes};
use crate::worker_core::Shared;

/// Takes what connections bring and gives it to the workers that own it.
pub struct ToWorkers {
    shared: Arc<Shared>,
    mailboxes: Mailboxes,
}

impl ToWorkers {
    /// A sink in front of all workers.
    pub fn new(shared: Arc<Shared>, mailboxes: Mailboxes) -> ToWorkers {
        ToWorkers { shared, mailboxes }
    }

    fn arrival_of(&self, connection: &Connection) -> Arrival {
        Arrival {
            source: connection.peer,
            local: connection.local,
            transport: transport_of(connection.protocol),
            socket: self.socket_of(connection),
            connection: Some(connection.id.0),
        }
    }

    /// The listening socket that a connection belongs to: the one it came in on, else the first of its kind.
    fn socket_of(&self, connection: &Connection) -> SocketId {
        let sockets = &self.shared.identity.sockets;
        let transport = transport_of(connection.protocol);
        let same_kind = |address: &SocketAddr| address.is_ipv4() == connection.local.is_ipv4();
        let exact =
            sockets.iter().position(|socket| socket.transport == transport && socket.address == connection.local);
        let found = exact
            .or_else(|| sockets.iter().position(|socket| socket.transport == transport && same_kind(&socket.address)));
        SocketId(found.unwrap_or_default() as u16)
    }
}

impl Sink for ToWorkers {
    fn new_framer(&self) -> Box<dyn Framer> {
        Box::new(StreamFramer {
            sip: sip_message::Framer::new(self.shared.settings.limits.clone()),
            http: None,
            shared: Arc::clone(&self.shared),
        })
    }

    fn on_message(&self, connection: &Arc<Connection>, bytes: Bytes) {
        let message = match Message::parse(bytes, &self.shared.settings.limits) {
            Ok(message) => Arc::new(message),
            Err(_) => return self.shared.statistics.malformed.increment(),
        };
        let arrival = self.arrival_of(connection);
        let owner = self.shared.owner(message.call_id(), self.mailboxes.len());
        if self.mailboxes[owner].send(Mail::Message(message, arrival)).is_err() {
            self.shared.statistics.refused.increment();
        }
    }

    /// Has a worker answer an HTTP request: the same one for all of a connection.
    fn on_request(&self, connection: &Arc<Connection>, request: Bytes) -> Result<(), Bytes> {
        let shared = &self.shared;
        let refuse = |refusal| http::refusal(shared, refusal);
        let head = Head::read(&request, &shared.settings.limits).map_err(refuse)?;
        let arrival = self.arrival_of(connection);
        let text = http::as_sip(&request, &arrival);
        // Headers of SIP with another meaning in HTTP may still be in the way.
        let message = Message::parse(text, &shared.settings.limits).map_err(|_| refuse(http::BAD_REQUEST))?;
        let is_taken = shared.program.load().http_route(message.request_uri()).is_some();
        let how = How { keeps_open: head.keeps_open, is_taken };
        let job = move |host: &mut dyn Host| http::answer(host, Arc::new(message), arrival, how);
        let worker = connection.id.0 as usize % self.mailboxes.len();
        self.mailboxes[worker].send(Mail::Job(Box::new(job))).map_err(|_| {
            shared.statistics.refused.increment();
            refuse(http::NO_ROOM)
        })
    }

    // What a lost connection carried is found out by the transactions' own timers; a contact on it
    // leaves when its registration expires.
    fn on_closed(&self, connection: &Arc<Connection>, _why: Closed) {
        if self.shared.program.load().engine_routes().connection_closed.is_none() {
            return;
        }
        let arrival = self.arrival_of(connection);
        let job = move |host: &mut dyn Host| {
            let Some(route) = host.find_route(None, RouteKind::Event, "tcp:closed") else { return };
            let mut context = module_api::made_up_context(host);
            context.arrival = arrival;
            host.start_route(route, context);
        };
        // A full mailbox loses the news, as it would lose a message.
        let _ = self.mailboxes[0].send(Mail::Job(Box::new(job)));
    }

    fn on_send_failed(&self, _peer: SocketAddr, _protocol: Protocol, token: u64, _why: io::ErrorKind) {
        // The token's top byte names the worker; see `send`.
        let Some((worker, sender)) = Sender::from_token(token) else { return };
        if let Some(mailbox) = self.mailboxes.get(worker) {
            // A full mailbox loses the news; the transaction's timer finds out as well.
            let _ = mailbox.send(Mail::SendFailed(sender));
        }
    }
}

/// Sends over a connection, opening one where none is open.
pub(crate) fn send(streams: &Streams, worker: u16, mailbox: &Mailbox<Mail>, outgoing: Outgoing) {
    let token = outgoing.sender.map_or(0, |sender| sender.to_token(worker));
    let destination = Destination {
        connection: outgoing.way.connection.map(ConnectionId),
        peer: outgoing.way.peer,
        protocol: protocol_of(outgoing.way.transport),
        local: None,
        server_name: outgoing.way.server_name.as_deref(),
        // A reply to a connection that is gone has nowhere to go: the port of a client listens to nobody.
        may_connect: (outgoing.sender.is_some() || outgoing.way.connection.is_none()) && !outgoing.way.is_bound,
        is_bound: outgoing.way.is_bound,
        token,
    };
    let is_refused = streams.send(destination, outgoing.bytes).is_err();
    if let (true, Some(sender)) = (is_refused, outgoing.sender) {
        // Back to ourselves, after this turn: the core is busy sending now.
        let _ = mailbox.send(Mail::SendFailed(sender));
    }
}

/// Cuts a stream into SIP messages; one that turns out to bring HTTP, into HTTP requests, where the script answers those.
struct StreamFramer {
    sip: sip_message::Framer,
    http: Option<HttpFramer>,
    shared: Arc<Shared>,
}

impl Framer for StreamFramer {
    fn poll(&mut self, buffer: &[u8]) -> Frame {
        if let Some(http) = &mut self.http {
            return http.poll(buffer);
        }
        match self.sip.poll(buffer) {
            sip_message::Frame::NeedMore => Frame::NeedMore,
            sip_message::Frame::KeepAlive { len, ping: true } => Frame::Ping(len),
            sip_message::Frame::KeepAlive { len, ping: false } => Frame::Skip(len),
            sip_message::Frame::Message { len } => Frame::Message(len),
            sip_message::Frame::Broken(_) if http::is_request(buffer) && self.shared.program.load().speaks_http() => {
                self.http.insert(HttpFramer::new(self.shared.settings.limits.clone())).poll(buffer)
            }
            sip_message::Frame::Broken(_) => Frame::Broken,
        }
    }
}

fn transport_of(protocol: Protocol) -> Transport {
    match protocol {
        Protocol::Udp => Transport::Udp,
        Protocol::Tcp => Transport::Tcp,
        Protocol::Tls => Transport::Tls,
        Protocol::Ws => Transport::Ws,
        Protocol::Wss => Transport::Wss,
    }
}

/// The protocol that carries a transport; SCTP has none here and its targets are never planned.
fn protocol_of(transport: Transport) -> Protocol {
    match transport {
        Transport::Udp | Transport::Sctp => Protocol::Udp,
        Transport::Tcp => Protocol::Tcp,
        Transport::Tls => Protocol::Tls,
        Transport::Ws => Protocol::Ws,
        Transport::Wss => Protocol::Wss,
    }
}
