//! A request arrives: checked, matched to a transaction, or routed by the script.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use module_api::{Arrival, Context, Host, Matched, NewTransaction, Reply, RouteKind, TransactionKey};
use sip_message::{Message, Method};
use sip_proto::response_context::ResponseContext;
use sip_proto::transaction::{Ack, InviteServer, NonInviteServer, key};

use crate::transaction::{Left, Server, Transaction};
use crate::worker_core::Core;

impl Core {
    pub(crate) fn on_request(&mut self, message: Arc<Message>, arrival: Arrival) {
        if let Err(reject) = message.validate() {
            self.shared.statistics.malformed.increment();
            let mut context = Context::new(message, arrival, RouteKind::Request);
            context.is_rport_forced = self.shared.settings.forces_rport;
            if let Some(code) = reject.status() {
                // Where even the Via cannot be read the reply has nowhere to go, and that is all right.
                let _ = self.reply_stateless(&mut context, &Reply::new(code, reject.reason().as_bytes()));
            }
            return;
        }
        if self.is_ack_to_stateless_reply(&message) {
            return self.tell_of_filtered_ack(message, arrival);
        }
        match self.match_request(&message) {
            Matched::Retransmission(key) => self.repeat_reply(key),
            Matched::FailureAck(key) => self.absorb_ack(key),
            _ => self.route_request(Context::new(message, arrival, RouteKind::Request)),
        }
    }

    /// What a request is to the transactions at hand (RFC 3261 section 17.2.3).
    pub(crate) fn match_request(&self, message: &Message) -> Matched {
        let Some(server_key) = key::server_key(message) else { return Matched::None };
        match (message.method(), self.find(&server_key)) {
            (Method::Ack, Some(found)) => match self.table.transaction(found) {
                Some(transaction) if transaction.status >= 300 => Matched::FailureAck(found),
                Some(_) => Matched::SuccessAck(found),
                None => Matched::None,
            },
            (_, Some(found)) => Matched::Retransmission(found),
            (Method::Cancel, None) => {
                let invite = key::cancelled_key(message).and_then(|invite| self.find(&invite));
                invite.map_or(Matched::None, Matched::Cancel)
            }
            (_, None) => Matched::None,
        }
    }

    fn find(&self, server_key: &key::Key) -> Option<TransactionKey> {
        let hash = self.hash_key(server_key);
        self.table.find(hash, |transaction| transaction.key.as_ref() == Some(server_key))
    }

    fn hash_key(&self, server_key: &key::Key) -> u64 {
        let mut hasher = self.shared.key.hasher();
        server_key.hash(&mut hasher);
        hasher.finish()
    }

    /// Answers a repetition with the latest reply; before there is one it is absorbed (17.2.1, 17.2.2).
    pub(crate) fn repeat_reply(&mut self, found: TransactionKey) {
        self.shared.statistics.retransmissions.increment();
        let Some(transaction) = self.table.transaction_mut(found) else { return };
        let reply = match &mut transaction.server {
            Server::Invite(machine) => machine.on_request(),
            Server::NonInvite(machine) => machine.on_request(),
            Server::Own(_) => None,
        };
        if let (Some(bytes), Some(way)) = (reply, transaction.upstream.clone()) {
            self.send_reply_bytes(way, bytes);
        }
    }

    fn absorb_ack(&mut self, found: TransactionKey) {
        let now = self.now;
        if let Some(transaction) = self.table.transaction_mut(found)
            && let Server::Invite(machine) = &mut transaction.server
        {
            let _: Ack = machine.on_ack(now);
        }
        self.settle(found);
    }

    /// Makes the transaction of a request.
    pub(crate) fn make_transaction(&mut self, context: &mut Context) -> NewTransaction {
        if let Some(key) = context.transaction {
            return NewTransaction::Created(key);
        }
        if context.message.method() == Method::Ack {
            return NewTransaction::Ack;
        }
        let Some(server_key) = key::server_key(&context.message) else { return NewTransaction::Full };
        if let Some(found) = self.find(&server_key) {
            self.repeat_reply(found);
            return NewTransaction::Retransmission;
        }
        if self.table.is_full() {
            self.shared.statistics.refused.increment();
            return NewTransaction::Full;
        }
        let hash = self.hash_key(&server_key);
        let transaction = self.new_transaction_for(context, server_key);
        let key = self.table.insert(hash, Box::new(transaction));
        self.shared.statistics.transactions.increment();
        context.transaction = Some(key);
        self.at_work = Some(key);
        NewTransaction::Created(key)
    }

    fn new_transaction_for(&mut self, context: &Context, server_key: key::Key) -> Transaction {
        let timers = &self.shared.settings.timers;
        let is_reliable = context.arrival.transport.is_reliable();
        let server = match context.message.method() {
            Method::Invite => Server::Invite(InviteServer::new(is_reliable, timers, self.now)),
            _ => Server::NonInvite(NonInviteServer::new(is_reliable, timers, self.now)),
        };
        Transaction {
            request: Arc::clone(&context.message),
            arrival: context.arrival,
            key: Some(server_key),
            upstream: self.way_upstream(&context.message, &context.arrival, context.is_rport_forced),
            server,
            responses: ResponseContext::new(context.message.method() == Method::Invite),
            branches: Vec::new(),
            left: Left::default(),
            status: 0,
            tag: self.random.next(),
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

    /// Does what an event made necessary: removes the transaction when it is over, else sees to its timer.
    pub(crate) fn settle(&mut self, key: TransactionKey) {
        let Some(transaction) = self.table.transaction_mut(key) else { return };
        if transaction.is_over() {
            self.table.remove(key);
            return;
        }
        if let Some(deadline) = transaction.deadline()
            && transaction.wake.is_none_or(|wake| deadline < wake)
        {
            transaction.wake = Some(deadline);
            self.wheel.insert(deadline, key);
        }
    }

    pub(crate) fn keep(&mut self, key: TransactionKey, context: &mut Context) {
        if let Some(transaction) = self.table.transaction_mut(key) {
            transaction.keep(context);
        }
    }

    /// Keeps a transaction alive while a script or a lookup will come back to it.
    pub(crate) fn hold(&mut self, key: TransactionKey) {
        if let Some(transaction) = self.table.transaction_mut(key) {
            transaction.holds += 1;
        }
    }

    pub(crate) fn unhold(&mut self, key: TransactionKey) {
        if let Some(transaction) = self.table.transaction_mut(key) {
            transaction.holds = transaction.holds.saturating_sub(1);
        }
    }
}
