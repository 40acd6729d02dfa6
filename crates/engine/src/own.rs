//! Requests of our own: the user agent client in the server (RFC 3261 section 8.1).

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Arrival, Context, OnAnswer, OwnAnswer, OwnRequest, RouteKind, SocketId, Target, TransactionKey};
use sip_message::{Builder, HeaderName, Message, Method, NameAddr, Transport};
use sip_proto::response_context::{Best, ResponseContext};

use crate::transaction::{Branch, Left, Server, Transaction};
use crate::worker_core::Core;

/// In the place of a server transaction: who wants to know what became of the request.
pub(crate) struct Own {
    pub(crate) is_invite: bool,
    /// Taken when it has been answered.
    on_answer: Option<OnAnswer>,
    /// To tags of the dialogs that 2xx have made of an INVITE; the first is that of whoever wanted to know.
    dialogs: Vec<Bytes>,
}

impl Own {
    /// Whether the answer has been given.
    pub(crate) fn is_answered(&self) -> bool {
        self.on_answer.is_none()
    }
}

impl Core {
    /// Sends a request of our own. What owns its Call-ID sends it, so that its replies arrive where it is known.
    pub(crate) fn send_own(&mut self, mut request: OwnRequest, on_answer: OnAnswer) {
        let call_id = request.call_id.take().unwrap_or_else(|| self.new_call_id());
        let owner = self.shared.key.owner(&call_id, self.worker_count);
        request.call_id = Some(call_id);
        if owner != usize::from(self.number) {
            self.for_others.push((owner, Box::new(move |host| host.request(request, on_answer))));
            return;
        }
        let Some(message) = self.build_own(&request) else { return on_answer(self, OwnAnswer::unsent(400)) };
        let arrival = self.own_arrival(request.socket);
        let mut context = Context::new(Arc::clone(&message), arrival, RouteKind::Event);
        context.target = Target {
            destination: request.destination.clone().or_else(|| first_route(&message)),
            socket: request.socket,
            ..Target::new(request.uri.clone())
        };
        context.timeouts.0 = request.timeout;
        let route = self.program().engine_routes().local_request;
        if route.is_some_and(|route| !self.run_event_route(route, &mut context)) {
            return on_answer(self, OwnAnswer::unsent(503));
        }
        if message.method() == Method::Bye {
            let now = self.now;
            self.end_call(&message, now);
        }
        if message.method() == Method::Ack {
            // Nothing answers an ACK, and nothing repeats it but another 2xx (13.2.2.4).
            let status = if self.forward_stateless(&mut context, None).is_ok() { 200 } else { 503 };
            return on_answer(self, OwnAnswer { request: Some(message), ..OwnAnswer::unsent(status) });
        }
        self.open_own(context, on_answer);
    }

    fn open_own(&mut self, mut context: Context, on_answer: OnAnswer) {
        if self.table.is_full() {
            self.shared.statistics.refused.increment();
            return on_answer(self, OwnAnswer::unsent(503));
        }
        let is_invite = context.message.method() == Method::Invite;
        let own = Own { is_invite, on_answer: Some(on_answer), dialogs: Vec::new() };
        let mut transaction = self.own_transaction(&context, own);
        transaction.keep(&mut context);
        // Nobody is upstream for whom a failure route could try elsewhere.
        transaction.left.hooks.failure = None;
        let key = self.table.insert_unmatched(Box::new(transaction));
        self.shared.statistics.transactions.increment();
        let mut branch = Branch::new(context.target);
        branch.edits = (!context.edits.is_empty()).then(|| Box::new(context.edits));
        if let Err(error) = self.open_branch(key, branch, false) {
            let (status, _) = error.status();
            // What cannot be sent counts as 503, as a transport error does (8.1.3.1).
            self.answer_own(key, if status == 400 { 400 } else { 503 }, None);
        }
        self.settle(key);
    }

    fn own_transaction(&mut self, context: &Context, own: Own) -> Transaction {
        Transaction {
            request: Arc::clone(&context.message),
            arrival: context.arrival,
            key: None,
            upstream: None,
            responses: ResponseContext::new(own.is_invite),
            server: Server::Own(own),
            branches: Vec::new(),
            left: Left::default(),
            status: 0,
            tag: 0,
            is_canceled: false,
            loop_hash: self.loop_hash(&context.message),
            holds: 0,
            suspended: None,
            is_lent: false,
            waits_as: None,
            queue: Vec::new(),
            latest_try: 0,
            expires: None,
            born: self.now,
            in_script: std::time::Duration::ZERO,
            wake: None,
            program: self.program(),
        }
    }

    /// The request without its Via, which each hop that is tried gets anew.
    fn build_own(&mut self, request: &OwnRequest) -> Option<Arc<Message>> {
        let method = std::str::from_utf8(&request.method).ok().filter(|_| sip_message::is_token(&request.method))?;
        let mut builder = Builder::request(method, &request.uri);
        builder.header(HeaderName::MaxForwards.as_str(), "70");
        let has_tag = NameAddr::parse(&request.from).is_ok_and(|from| from.tag().is_some());
        match has_tag {
            true => builder.header(HeaderName::From.as_str(), &request.from),
            false => {
                let tag = format!(";tag={:016x}", self.random.next());
                builder.header(HeaderName::From.as_str(), [&request.from[..], tag.as_bytes()].concat())
            }
        };
        builder.header(HeaderName::To.as_str(), &request.to);
        builder.header(HeaderName::CallId.as_str(), request.call_id.as_deref().unwrap_or_default());
        let number = request.cseq.unwrap_or(FIRST_CSEQ);
        builder.header(HeaderName::CSeq.as_str(), format!("{number} {method}"));
        if !request.headers.is_empty() {
            builder.raw_line(&request.headers);
        }
        if let Some(user_agent) = &self.shared.settings.user_agent_header {
            builder.raw_line(user_agent);
        }
        match &request.body {
            Some((kind, content)) => builder.body(&String::from_utf8_lossy(kind), content.as_ref()),
            None => &mut builder,
        };
        Message::parse(builder.finish(), &self.shared.settings.limits).ok().map(Arc::new)
    }

    /// A Call-ID that this worker owns: its replies then come here.
    fn new_call_id(&mut self) -> Bytes {
        // One in as many as there are workers fits; the bound is for the reader's peace of mind.
        let mut text = Bytes::new();
        for _ in 0..10_000 {
            text = format!("{:016x}{:016x}", self.random.next(), self.random.next()).into();
            if self.shared.key.owner(&text, self.worker_count) == usize::from(self.number) {
                break;
            }
        }
        text
    }

    /// As if the request had come from ourselves: replies find the socket by it.
    fn own_arrival(&self, socket: Option<SocketId>) -> Arrival {
        let sockets = &self.shared.identity.sockets;
        let id = socket.filter(|id| usize::from(id.0) < sockets.len()).unwrap_or_default();
        let (transport, local) = sockets
            .get(usize::from(id.0))
            .map_or((Transport::Udp, ([127, 0, 0, 1], 5060).into()), |socket| (socket.transport, socket.address));
        Arrival { source: local, local, transport, socket: id, connection: None }
    }

    /// Whether a transaction is of a request of our own.
    pub(crate) fn is_own(&self, key: TransactionKey) -> bool {
        self.table.transaction(key).is_some_and(|transaction| matches!(transaction.server, Server::Own(_)))
    }

    /// A reply to a request of our own that would go upstream: a provisional one, or a 2xx.
    pub(crate) fn on_own_reply(&mut self, key: TransactionKey, context: &Context) {
        let status = context.reply_code;
        if status < 200 {
            return;
        }
        let is_invite = self.table.transaction(key).is_some_and(Transaction::is_invite);
        if is_invite {
            self.acknowledge_success(key, &context.message);
            if self.is_unwanted(key, &context.message) {
                return self.hang_up_unwanted(key, &context.message);
            }
        }
        self.answer_own(key, status, Some((Arc::clone(&context.message), context.arrival)));
    }

    /// Every branch of a request of our own has failed.
    pub(crate) fn complete_own(&mut self, key: TransactionKey, best: Best) {
        let Some(transaction) = self.table.transaction(key) else { return };
        let reply = transaction.branches.get(usize::from(best.branch)).and_then(|branch| branch.reply.clone());
        let arrival = transaction.arrival;
        self.answer_own(key, best.status, reply.map(|reply| (reply, arrival)));
    }

    fn answer_own(&mut self, key: TransactionKey, status: u16, reply: Option<(Arc<Message>, Arrival)>) {
        let Some(transaction) = self.table.transaction_mut(key) else { return };
        let Server::Own(own) = &mut transaction.server else { return };
        let Some(on_answer) = own.on_answer.take() else { return };
        transaction.status = status;
        transaction.responses.answered();
        let (reply, arrival) = reply.unzip();
        let answer = OwnAnswer { status, reply, request: Some(Arc::clone(&transaction.request)), arrival };
        on_answer(self, answer);
        self.settle(key);
    }

    /// Whether a 2xx makes a dialog of which nobody knows: another phone behind a proxy that forks has answered too, or
    /// the first one after all, when it counted as silent. Said once for each dialog.
    fn is_unwanted(&mut self, key: TransactionKey, reply: &Message) -> bool {
        let Some(transaction) = self.table.transaction_mut(key) else { return false };
        let Server::Own(own) = &mut transaction.server else { return false };
        let tag = reply.to_tag().map(Bytes::copy_from_slice).unwrap_or_default();
        if own.dialogs.contains(&tag) || own.dialogs.len() >= MOST_DIALOGS {
            return false;
        }
        own.dialogs.push(tag);
        own.is_answered()
    }

    /// Ends such a dialog (RFC 3261 section 13.2.2.4).
    fn hang_up_unwanted(&mut self, key: TransactionKey, reply: &Message) {
        let Some(transaction) = self.table.transaction(key) else { return };
        let (invite, socket) = (Arc::clone(&transaction.request), transaction.arrival.socket);
        let value = |message: &Message, name| message.value(name).map(Bytes::copy_from_slice).unwrap_or_default();
        let course = sip_proto::dialog::course_of_caller(&invite, reply);
        let bye = OwnRequest {
            method: Bytes::from_static(b"BYE"),
            uri: course.uri,
            destination: course.next_hop,
            from: value(&invite, HeaderName::From),
            to: value(reply, HeaderName::To),
            call_id: Some(Bytes::copy_from_slice(invite.call_id())),
            cseq: invite.cseq().ok().map(|cseq| cseq.number.saturating_add(1)),
            headers: course.routes,
            socket: Some(socket),
            ..OwnRequest::default()
        };
        self.send_own(bye, Box::new(|_, _| ()));
    }

    /// The ACK to a 2xx, each time that it comes (RFC 3261 section 13.2.2.4).
    fn acknowledge_success(&mut self, key: TransactionKey, reply: &Message) {
        let Some(transaction) = self.table.transaction(key) else { return };
        let request = Arc::clone(&transaction.request);
        let ack = sip_proto::dialog::ack_for_success(&request, reply);
        let Ok(message) = Message::parse(ack.bytes, &self.shared.settings.limits) else { return };
        let mut context = Context::new(Arc::new(message), transaction.arrival, RouteKind::Event);
        context.target.destination = ack.next_hop;
        // An ACK that finds no way is called for again by the next 2xx.
        let _ = self.forward_stateless(&mut context, None);
    }
}

/// Where a route set leads first (RFC 3261 section 8.1.2).
fn first_route(request: &Message) -> Option<Bytes> {
    let value = request.values_of(HeaderName::Route).next()?;
    let text = request.slice(value.span);
    NameAddr::parse(&text).ok().map(|route| text.slice_ref(route.uri))
}

/// Most dialogs of one INVITE that are told apart; what a hostile peer makes beyond them is acknowledged and left to it.
const MOST_DIALOGS: usize = 16;
/// Where both families begin to count.
const FIRST_CSEQ: u32 = 10;
