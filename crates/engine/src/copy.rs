//! Writing what leaves: copies of a request for each branch, and replies on their way upstream.

use std::net::SocketAddr;

use bytes::Bytes;
use module_api::{
    Arrival, Context, RecordKind, RecordRoute, RelayError, Socket, SocketId, Target, TransactionKey, Value,
};
use sip_message::{Edits, HeaderName, Message, NameAddr, Span, Transport};
use sip_proto::forward::{self, OwnVia};
use sip_proto::resolve::Hop;
use sip_proto::routes::{self, RecordRouteOptions, Side};
use sip_proto::{branch, loop_detection};

use crate::observe::Gone;
use crate::outgoing::{Outgoing, Way};
use crate::resolve::{MOST_ROUNDS, Unplanned};
use crate::transaction::{Branch, Transaction};
use crate::wait::{Finished, Waiting};
use crate::worker_core::Core;

/// Noted in a context that carries bytes which leave as they are.
#[derive(Clone)]
struct Verbatim(Bytes);

/// What a copy of a request is made from.
struct Copy<'a> {
    message: &'a Message,
    arrival: &'a Arrival,
    target: &'a Target,
    record_route: Option<&'a RecordRoute>,
    own_via: Option<&'a module_api::OwnVia>,
    is_rport_forced: bool,
    max_breadth: Option<u32>,
}

impl Core {
    /// The request of a transaction as it leaves on one branch.
    pub(crate) fn write_copy(
        &self,
        transaction: &Transaction,
        branch: &Branch,
        way: &Way,
        via_branch: &[u8],
    ) -> Result<Bytes, RelayError> {
        let copy = Copy {
            message: &transaction.request,
            arrival: &transaction.arrival,
            target: &branch.target,
            record_route: transaction.left.record_route.as_ref(),
            own_via: transaction.left.own_via.as_deref(),
            is_rport_forced: transaction.left.is_rport_forced,
            max_breadth: branch.max_breadth,
        };
        self.write(&copy, branch.edits.as_deref(), way, via_branch)
    }

    /// The script's edits and the proxy's own, applied (RFC 3261 section 16.6).
    fn write(
        &self,
        copy: &Copy<'_>,
        script: Option<&Edits>,
        way: &Way,
        via_branch: &[u8],
    ) -> Result<Bytes, RelayError> {
        let mut edits = Edits::new();
        // A request without Via is our own, and has not travelled yet.
        if copy.message.has(HeaderName::Via) {
            forward::count_down(copy.message, &mut edits).map_err(|_| RelayError::TooManyHops)?;
        }
        if let Some(share) = copy.max_breadth {
            loop_detection::set_max_breadth(copy.message, share, &mut edits);
        }
        if copy.target.uri != copy.message.request_uri() {
            edits.set_request_uri(copy.target.uri.clone());
        }
        forward::mark_sender(copy.message, copy.arrival.source, copy.is_rport_forced, &mut edits);
        if let Some(asked) = copy.record_route {
            self.record_route(copy, way, asked, &mut edits);
        }
        if let Some(path) = &copy.target.path {
            // The binding's Path becomes the route set (RFC 3327 section 5.2).
            let line = [b"Route: ", path.as_ref(), b"\r\n"].concat();
            edits.insert_before(HeaderName::Route, line);
        }
        let (mut host, mut port) = (&self.sent_by(way.socket).0, self.sent_by(way.socket).1);
        let mut asks_rport = self.shared.settings.asks_rport;
        if let Some(change) = copy.own_via {
            host = change.host.as_ref().unwrap_or(host);
            port = change.port.unwrap_or(port);
            asks_rport |= change.asks_rport;
        }
        let params = copy.own_via.map_or(&[][..], |change| &change.params);
        let via = OwnVia { transport: way.transport, host, port, branch: via_branch, asks_rport, params };
        forward::push_via(&via, &mut edits);
        if way.transport.is_reliable() {
            edits.require_content_length();
        }
        let mut out = Vec::with_capacity(copy.message.bytes().len() + 256);
        match script {
            Some(script) => sip_message::write(copy.message, &[script, &edits], &mut out),
            None => sip_message::write(copy.message, &[&edits], &mut out),
        }
        Ok(out.into())
    }

    /// One Record-Route, or two when the request leaves over another transport or address family (RFC 5658).
    fn record_route(&self, copy: &Copy<'_>, way: &Way, asked: &RecordRoute, edits: &mut Edits) {
        let (inbound, outbound) = (self.socket(copy.arrival.socket), self.socket(way.socket));
        let (in_name, out_name) = (self.sent_by(copy.arrival.socket), self.sent_by(way.socket));
        let options = RecordRouteOptions {
            params: &asked.params,
            user: &asked.user,
            is_secure: is_secure(copy.message.request_uri()),
            ..RecordRouteOptions::default()
        };
        let lines = routes::record_route(&side(inbound, in_name), &side(outbound, out_name), &options);
        routes::push_record_route_lines(lines, copy.message, edits);
    }

    fn socket(&self, id: SocketId) -> &Socket {
        &self.shared.identity.sockets[usize::from(id.0)]
    }

    /// Host and port of a socket as Via and Record-Route show them; IPv6 in brackets.
    fn sent_by(&self, id: SocketId) -> &(Bytes, u16) {
        &self.sent_by[usize::from(id.0)]
    }

    /// The way to a hop: from the socket that was asked for, else where the routing table says it, else from the one that the request came to
    /// when it fits, else from the first of that transport and address family.
    pub(crate) fn way_to(
        &self,
        hop: &Hop,
        wanted: Option<SocketId>,
        arrival: &Arrival,
        connection: Option<u64>,
    ) -> Option<Way> {
        let sockets = &self.shared.identity.sockets;
        let fits = |id: &SocketId| {
            sockets.get(usize::from(id.0)).is_some_and(|socket| {
                socket.transport == hop.transport && socket.address.is_ipv4() == hop.address.is_ipv4()
            })
        };
        let all = (0..sockets.len() as u16).map(SocketId);
        let wanted = wanted.filter(fits);
        let by_route = match (wanted, self.shared.settings.source_toward) {
            (None, Some(source_toward)) => source_toward(hop.address).and_then(|source| {
                let is_there = |id: &SocketId| sockets[usize::from(id.0)].address.ip() == source;
                all.clone().find(|id| fits(id) && is_there(id))
            }),
            _ => None,
        };
        let socket = wanted.into_iter().chain(by_route).chain([arrival.socket]).chain(all).find(fits)?;
        let server_name = hop.host.clone();
        Some(Way { socket, transport: hop.transport, peer: hop.address, connection, is_bound: false, server_name })
    }

    /// Forwards without a transaction (RFC 3261 section 16.11).
    pub(crate) fn forward_stateless(&mut self, context: &mut Context, to: Option<&Bytes>) -> Result<(), RelayError> {
        self.forward_in_round(context, to, 1)
    }

    /// Sends bytes as they are to where `target` leads.
    pub(crate) fn send_verbatim(&mut self, context: &Context, target: Target, bytes: Bytes) -> Result<(), RelayError> {
        let mut carrier = Context::new(std::sync::Arc::clone(&context.message), context.arrival, context.kind);
        carrier.target = target;
        carrier.set_note(Verbatim(bytes));
        self.forward_in_round(&mut carrier, None, 1)
    }

    fn forward_in_round(&mut self, context: &mut Context, to: Option<&Bytes>, round: u8) -> Result<(), RelayError> {
        self.settle_own_via(context);
        let mut target = context.target.clone();
        if let Some(to) = to {
            target.destination = Some(to.clone());
        }
        match self.plan(&target, None) {
            Ok(mut hops) => self.send_stateless(context, &target, hops.pop().ok_or(RelayError::Unresolvable)?),
            Err(Unplanned::Never(error)) => Err(error),
            Err(Unplanned::Ask(questions)) => {
                if self.waiting.is_full() || round > MOST_ROUNDS {
                    return Err(RelayError::Full);
                }
                let mut copy = Context::new(std::sync::Arc::clone(&context.message), context.arrival, context.kind);
                copy.edits = context.edits.clone();
                copy.target = target;
                copy.record_route.clone_from(&context.record_route);
                copy.own_via.clone_from(&context.own_via);
                copy.is_rport_forced = context.is_rport_forced;
                if let Some(bytes) = context.note::<Verbatim>() {
                    copy.set_note(bytes.clone());
                }
                let id = self.wait(Waiting::Stateless { context: Box::new(copy), round });
                let answer = self.shared.names.ask(questions);
                let work = Box::pin(async move {
                    answer.await;
                    Finished::Resolved
                });
                self.shared.spawn.spawn(self.number, id, work);
                Ok(())
            }
        }
    }

    /// Goes on with [`Core::forward_stateless`] once the names are known.
    pub(crate) fn forward_resolved(&mut self, context: &mut Context, round: u8, finished: Finished) {
        if matches!(finished, Finished::Expired) {
            return;
        }
        // A request that cannot be forwarded statelessly is dropped: its sender repeats it or gives up.
        let _ = self.forward_in_round(context, None, round + 1);
    }

    fn send_stateless(&mut self, context: &Context, target: &Target, hop: Hop) -> Result<(), RelayError> {
        let way = self.way_to(&hop, target.socket, &context.arrival, target.connection);
        let way = Way { is_bound: target.is_bound(), ..way.ok_or(RelayError::Unresolvable)? };
        if let Some(Verbatim(bytes)) = context.note() {
            self.outbox.push(Outgoing { way, bytes: bytes.clone(), sender: None });
            return Ok(());
        }
        let identity = forward::stateless_identity(&context.message, self.shared.key.hasher());
        let via_branch = branch::stateless(identity, self.loop_hash(&context.message));
        let copy = Copy {
            message: &context.message,
            arrival: &context.arrival,
            target,
            record_route: context.record_route.as_ref(),
            own_via: context.own_via.as_deref(),
            is_rport_forced: context.is_rport_forced,
            max_breadth: None,
        };
        let bytes = self.write(&copy, Some(&context.edits), &way, &via_branch)?;
        let program = self.program_of(Some(context));
        if !self.may_leave(&program, &bytes, &way) {
            return Err(RelayError::AllDropped);
        }
        self.outbox.push(Outgoing { way, bytes, sender: None });
        Ok(())
    }

    /// Reads what our Via shall say where the script keeps that in records. As late as this: a script may fill them
    /// after it asked for it.
    pub(crate) fn settle_own_via(&self, context: &mut Context) {
        let settings = &self.shared.settings;
        let Some(via) = context.own_via.as_deref_mut() else { return };
        let records = &context.records;
        if via.takes_fields
            && let Some(fields) = records.all(RecordKind::Stacked, &settings.via_records.fields).next()
        {
            via.host = fields.field(b"address").map(Value::to_bytes).filter(|host| is_plain(host)).or(via.host.take());
            let port = fields.field(b"port").map(Value::to_int);
            via.port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0).or(via.port);
        }
        let mut params = Vec::new();
        if via.takes_params
            && let Some(fields) =
                records.all(RecordKind::Stacked, &settings.via_records.params).next().and_then(|record| record.fields())
        {
            for (name, value) in fields.iter() {
                let value = value.to_bytes();
                // What is no parameter would break the header, and `branch` and its kin are ours to write.
                if sip_message::is_token(name) && sip_message::is_token(&value) && !is_ours(name) {
                    params.extend_from_slice(&[b";", &name[..], b"=", &value].concat());
                }
            }
        }
        if via.tells_server_id && settings.server_id != 0 {
            params.extend_from_slice(format!(";srvid={}", settings.server_id).as_bytes());
        }
        via.params = params.into();
    }

    /// Tells a loop from a spiral: the same for copies that would be routed alike (RFC 5393 section 4.2.2).
    pub(crate) fn loop_hash(&self, request: &Message) -> u64 {
        loop_detection::loop_hash(request, self.shared.key.hasher())
    }

    /// Sends a reply of a branch upstream (RFC 3261 section 16.7 step 9).
    pub(crate) fn forward_reply(&mut self, key: TransactionKey, reply: &Message, script: &Edits) {
        let mut edits = Edits::new();
        if !forward::pop_via(reply, &mut edits) {
            return;
        }
        self.restore_names(key, reply, &mut edits);
        let is_stream =
            self.table.transaction(key).is_some_and(|transaction| transaction.arrival.transport.is_reliable());
        let bytes = write_reply(reply, script, edits, is_stream);
        let code = reply.status().unwrap_or_default();
        if self.send_upstream(key, code, bytes) && self.is_observed(key) {
            let to_tag = reply.to_tag().map(Bytes::copy_from_slice).unwrap_or_default();
            let gone = Gone { code, reason: reply.reason(), to_tag, reply: Some(reply) };
            self.observe_reply(key, &gone, None);
        }
    }

    /// Gives From and To back the names with which the request came, tags and all else kept.
    fn restore_names(&self, key: TransactionKey, reply: &Message, edits: &mut Edits) {
        let Some(transaction) = self.table.transaction(key) else { return };
        // The first change of a header was made to what came.
        for (n, restore) in transaction.left.restores.iter().enumerate() {
            let is_first = transaction.left.restores[..n].iter().all(|other| other.header != restore.header);
            let Some(found) = reply.header(restore.header).filter(|_| is_first) else { continue };
            let Ok(name) = NameAddr::parse(found.value) else { continue };
            let from_uri = name.uri.as_ptr() as usize - found.value.as_ptr() as usize + name.uri.len();
            let end = from_uri + usize::from(found.value.get(from_uri) == Some(&b'>'));
            let start = found.value_span.start;
            edits.replace(Span { start, end: start + end as u32 }, restore.address.clone());
        }
    }

    /// Sends a reply of no transaction on by its next Via. Names are not looked up for it: a Via of a
    /// request that passed here carries `received` unless it holds the very address (18.2.1).
    /// False when it leads nowhere.
    pub(crate) fn forward_stray_reply(&mut self, context: &Context) -> bool {
        let reply = &context.message;
        let mut edits = Edits::new();
        if !forward::pop_via(reply, &mut edits) {
            self.shared.statistics.stray_replies.increment();
            return false;
        }
        let Some((transport, peer)) = next_via_address(reply) else { return false };
        let hop = Hop { address: peer, transport, host: None };
        let Some(way) = self.way_to(&hop, None, &context.arrival, None) else { return false };
        let bytes = write_reply(reply, &context.edits, edits, transport.is_reliable());
        self.send_reply_bytes(way, bytes);
        true
    }
}

fn write_reply(reply: &Message, script: &Edits, mut edits: Edits, is_stream: bool) -> Bytes {
    if is_stream {
        edits.require_content_length();
    }
    let mut out = Vec::with_capacity(reply.bytes().len() + 64);
    sip_message::write(reply, &[script, &edits], &mut out);
    out.into()
}

/// Where the second Via leads, when that is an address.
fn next_via_address(reply: &Message) -> Option<(Transport, SocketAddr)> {
    let via = reply.vias().nth(1)?.ok()?;
    let target = forward::response_target(&via)?;
    let transport = target.transport.unwrap_or(Transport::Udp);
    let port = target.port.unwrap_or_else(|| transport.default_port());
    Some((transport, SocketAddr::new(target.host.address()?, port)))
}

fn side<'a>(socket: &Socket, (host, port): &'a (Bytes, u16)) -> Side<'a> {
    Side { host, port: *port, transport: socket.transport }
}

fn is_plain(host: &[u8]) -> bool {
    sip_message::Host::parse(host).is_some()
}

/// Parameters of Via that a proxy writes (RFC 3261 section 20.42, RFC 3581).
fn is_ours(name: &[u8]) -> bool {
    [&b"branch"[..], b"rport", b"received", b"maddr", b"ttl"].iter().any(|own| name.eq_ignore_ascii_case(own))
}

fn is_secure(uri: &[u8]) -> bool {
    uri.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"sips:"))
}
