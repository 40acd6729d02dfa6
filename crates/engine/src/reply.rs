//! Replies made here, with and without a transaction.

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Arrival, Context, NewTransaction, Reply, ReplyError, RouteId, RouteKind, TransactionKey};
use sip_message::{Builder, Message, Method};
use sip_proto::forward::{self, OverloadFeedback};

use crate::observe::Gone;
use crate::outgoing::{Outgoing, Way};
use crate::transaction::Server;
use crate::worker_core::Core;

impl Core {
    /// Sends a reply without a transaction, or through the one that the message has.
    pub(crate) fn send_stateless_reply(&mut self, context: &mut Context, reply: &Reply<'_>) -> Result<(), ReplyError> {
        if context.transaction.is_some() {
            return self.send_stateful_reply(context, reply);
        }
        check_reply(context, reply)?;
        if context.is_answered {
            return Err(ReplyError::AlreadyAnswered);
        }
        let way = self
            .way_upstream(&context.message, &context.arrival, context.is_rport_forced)
            .ok_or(ReplyError::NoDestination)?;
        let tag = self.stateless_tag(&context.message);
        let bytes = self.build_reply(context, reply, tag);
        self.send_reply_bytes(way, bytes);
        self.shared.statistics.count_stateless(reply.code);
        self.measure_stateless(&context.message, reply.code);
        self.tell_of_refusal(&context.message, context.arrival.source, reply.code, reply.reason);
        context.is_answered = reply.code >= 200;
        let route = self.program.engine_routes().stateless_response;
        self.tell_of_reply(route, context, reply.code);
        Ok(())
    }

    /// Sends a reply through the message's transaction.
    pub(crate) fn send_stateful_reply(&mut self, context: &mut Context, reply: &Reply<'_>) -> Result<(), ReplyError> {
        check_reply(context, reply)?;
        let key = context.transaction.ok_or(ReplyError::NoTransaction)?;
        let transaction = self.table.transaction(key).ok_or(ReplyError::NoTransaction)?;
        if transaction.status >= 200 {
            return Err(ReplyError::AlreadyAnswered);
        }
        let bytes = self.build_reply(context, reply, transaction.tag);
        let tag = transaction.tag;
        if self.send_upstream(key, reply.code, bytes) {
            self.tell_of_refusal(&context.message, context.arrival.source, reply.code, reply.reason);
            if self.is_observed(key) {
                let gone = self.gone(key, reply, tag);
                self.observe_reply(key, &gone, Some(context));
            }
        }
        if reply.code >= 200 {
            context.is_answered = true;
            // What the branches may still answer is of no use any more.
            self.cancel_pending(key);
        }
        let route = self.local_response_sent(key);
        self.tell_of_reply(route, context, reply.code);
        Ok(())
    }

    /// A reply that the engine itself makes for a transaction, as to a timeout.
    pub(crate) fn reply_for(&mut self, key: TransactionKey, code: u16, reason: &[u8]) {
        let Some(transaction) = self.table.transaction_mut(key) else { return };
        if transaction.status >= 200 {
            return;
        }
        let mut context = Context::new(Arc::clone(&transaction.request), transaction.arrival, RouteKind::Failure);
        context.reply_headers.clone_from(&transaction.left.reply_headers);
        context.is_rport_forced = transaction.left.is_rport_forced;
        let tag = transaction.tag;
        let reply = Reply::new(code, reason);
        let bytes = self.build_reply(&context, &reply, tag);
        if self.send_upstream(key, code, bytes) {
            self.tell_of_refusal(&context.message, context.arrival.source, code, reason);
            if self.is_observed(key) {
                let gone = self.gone(key, &reply, tag);
                self.observe_reply(key, &gone, None);
            }
        }
        context.transaction = Some(key);
        let route = self.local_response_sent(key);
        self.tell_of_reply(route, &mut context, code);
    }

    fn local_response_sent(&self, key: TransactionKey) -> Option<RouteId> {
        let program = self.table.transaction(key).map_or(&self.program, |transaction| &transaction.program);
        program.engine_routes().local_response_sent
    }

    /// Runs the route of those who want to know about replies made here.
    fn tell_of_reply(&mut self, route: Option<RouteId>, context: &mut Context, code: u16) {
        let Some(route) = route else { return };
        let before = std::mem::replace(&mut context.reply_code, code);
        self.run_event_route(route, context);
        context.reply_code = before;
    }

    /// Runs the route of those who want to know about ACKs that end here.
    pub(crate) fn tell_of_filtered_ack(&mut self, message: Arc<Message>, arrival: Arrival) {
        if let Some(route) = self.program.engine_routes().filtered_ack {
            self.run_event_route(route, &mut Context::new(message, arrival, RouteKind::Event));
        }
    }

    /// What observers are told of a reply that was made here.
    fn gone<'a>(&self, key: TransactionKey, reply: &Reply<'a>, tag: u64) -> Gone<'a> {
        let own = self.table.transaction(key).and_then(|transaction| transaction.request.to_tag());
        let to_tag = own.map_or_else(|| Bytes::copy_from_slice(&tag_text(tag)), Bytes::copy_from_slice);
        Gone { code: reply.code, reason: reply.reason, to_tag, reply: None }
    }

    /// 100 Trying for an INVITE that will take time (RFC 3261 section 17.2.1).
    pub(crate) fn send_trying(&mut self, context: &mut Context) {
        let Some(key) = context.transaction else { return };
        let is_wanted = self.shared.settings.auto_trying && context.message.method() == Method::Invite;
        if is_wanted && self.table.transaction(key).is_some_and(|transaction| transaction.status == 0) {
            let reply = Reply::new(100, b"Trying");
            let bytes = self.build_reply(context, &reply, 0);
            self.send_upstream(key, 100, bytes);
        }
    }

    /// Gives a reply to the server transaction and to the network. Returns whether it is news: it goes, and
    /// no final one has gone before.
    pub(crate) fn send_upstream(&mut self, key: TransactionKey, code: u16, bytes: Bytes) -> bool {
        let now = self.now;
        let Some(transaction) = self.table.transaction_mut(key) else { return false };
        let may_go = match &mut transaction.server {
            Server::Invite(machine) => machine.on_response_sent(code, bytes.clone(), now),
            Server::NonInvite(machine) => machine.on_response_sent(code, bytes.clone(), now),
            Server::Own(_) => return false,
        };
        // A 2xx to an INVITE goes upstream whatever went before (RFC 3261 section 16.7 step 5): the callee
        // has a call, and only the caller can end it.
        let is_late_success = transaction.is_invite() && (200..300).contains(&code);
        if !may_go && !is_late_success {
            return false;
        }
        let before = transaction.status;
        let is_news = before < 200;
        transaction.status = transaction.status.max(code);
        if is_news && code >= 200 {
            self.shared.statistics.count_final(code);
        }
        if code >= 200 {
            transaction.responses.answered();
        }
        if let Some(way) = transaction.upstream.clone() {
            self.send_reply_bytes(way, bytes);
        }
        if is_news && code > 100 {
            self.measure_reply(key, before, code);
        }
        is_news
    }

    pub(crate) fn send_reply_bytes(&mut self, way: Way, bytes: Bytes) {
        self.outbox.push(Outgoing { way, bytes, sender: None });
    }

    /// Where replies to `request` go (RFC 3261 section 18.2.2, RFC 3581).
    pub(crate) fn way_upstream(&self, request: &Message, arrival: &Arrival, is_rport_forced: bool) -> Option<Way> {
        let via = request.top_via().ok()?;
        let to_source = is_rport_forced || arrival.transport.is_reliable();
        let peer = match self.shared.settings.replies_to_via && !to_source {
            true => forward::response_address_as_written(&via, arrival.source),
            false => forward::response_address(&via, arrival.source, to_source),
        };
        Some(Way {
            socket: arrival.socket,
            transport: arrival.transport,
            peer,
            connection: arrival.connection,
            is_bound: false,
            server_name: None,
        })
    }

    fn build_reply(&self, context: &Context, reply: &Reply<'_>, tag: u64) -> Bytes {
        let request = &context.message;
        let sender = (context.arrival.source, context.is_rport_forced);
        let feedback = OverloadFeedback { loss: (self.shared.overload.share() / 10) as u8, decided: self.unix_time };
        let marked =
            request.top_via().ok().and_then(|via| forward::answered_via(request, &via, sender, Some(feedback)));
        let mut builder = match marked {
            Some(via) => Builder::response_via(request, reply.code, reply.reason, &via),
            None => Builder::response(request, reply.code, reply.reason),
        };
        if reply.code > 100 {
            builder.to_tag(tag_text(tag));
        }
        if let Some(contacts) = redirect_contacts(context, reply.code) {
            builder.raw_line(contacts);
        }
        for lines in [context.reply_headers.as_slice(), reply.headers] {
            if !lines.is_empty() {
                builder.raw_line(lines);
            }
        }
        if let Some(server) = &self.shared.settings.server_header {
            builder.raw_line(server);
        }
        if let Some((kind, body)) = &context.reply_body {
            builder.body(&String::from_utf8_lossy(kind), body.as_ref());
        }
        builder.finish()
    }

    /// The tag of replies without a transaction: a keyed hash, so that the ACK to one is recognised.
    fn stateless_tag(&self, request: &Message) -> u64 {
        let from_tag = request.from_tag().unwrap_or_default();
        self.shared.key.hash(&[b"stateless", request.call_id(), from_tag])
    }

    /// Whether an ACK acknowledges a reply that was sent without a transaction: it is absorbed, since
    /// nothing retransmits such a reply.
    pub(crate) fn is_ack_to_stateless_reply(&self, request: &Message) -> bool {
        request.method() == Method::Ack
            && request.to_tag().is_some_and(|tag| tag == tag_text(self.stateless_tag(request)))
    }

    /// Creates the transaction of a CANCEL and answers it (RFC 3261 section 9.2).
    pub(crate) fn answer_cancel(&mut self, context: &mut Context, invite: Option<TransactionKey>, reply: &Reply<'_>) {
        if let NewTransaction::Created(key) = self.make_transaction(context) {
            // The replies to a CANCEL and to its INVITE should bear the same tag (9.2).
            let tag = invite.and_then(|invite| self.table.transaction(invite)).map(|invite| invite.tag);
            if let (Some(tag), Some(transaction)) = (tag, self.table.transaction_mut(key)) {
                transaction.tag = tag;
            }
            // It has just been made, so it has had no other answer.
            let _ = self.send_stateful_reply(context, reply);
        }
    }
}

fn check_reply(context: &Context, reply: &Reply<'_>) -> Result<(), ReplyError> {
    let request = context.request.as_ref().unwrap_or(&context.message);
    if !request.is_request() || request.method() == Method::Ack {
        return Err(ReplyError::NotARequest);
    }
    if !(100..700).contains(&reply.code) {
        return Err(ReplyError::BadCode);
    }
    Ok(())
}

/// A redirection offers the targets that the script has gathered (RFC 3261 section 8.3).
fn redirect_contacts(context: &Context, code: u16) -> Option<Bytes> {
    if !(300..400).contains(&code) {
        return None;
    }
    let own = (context.target.uri != context.message.request_uri()).then_some(&context.target);
    let targets = own.into_iter().chain(&context.branches);
    let contacts: Vec<_> = targets.map(|target| (target.uri.clone(), target.q)).collect();
    (!contacts.is_empty()).then(|| sip_proto::redirect::contact_header(&contacts))
}

fn tag_text(tag: u64) -> [u8; 16] {
    let mut text = [0; 16];
    for (n, place) in text.iter_mut().enumerate() {
        *place = b"0123456789abcdef"[(tag >> (60 - 4 * n)) as usize & 0xf];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_sixteen_hexadecimal_digits() {
        assert_eq!(&tag_text(0x0123_4567_89ab_cdef), b"0123456789abcdef");
    }
}
