//! A reply arrives: matched to its branch, shown to the reply routes, and sent on as RFC 3261 section 16.7 says.

use std::sync::Arc;

use module_api::{Arrival, Context, Flow, RouteKind, TransactionKey};
use sip_message::{HeaderName, Message, Method};
use sip_proto::response_context::{Decision, Upstream};
use sip_proto::transaction::ClientVerdict;
use sip_proto::{branch, forward};

use crate::outgoing::Sender;
use crate::resolve::{FLOW_FAILED, UNREACHABLE};
use crate::transaction::{Branch, Cancel, Client, Queued, Server};
use crate::wait::After;
use crate::worker_core::Core;

impl Core {
    pub(crate) fn on_reply(&mut self, message: Arc<Message>, arrival: Arrival) {
        if message.validate().is_err() {
            self.shared.statistics.malformed.increment();
            return;
        }
        let Some(sender) = self.branch_of(&message) else {
            return self.on_stray_reply(message, arrival);
        };
        let is_for_us = message.values_of(HeaderName::Via).nth(1).is_none();
        if message.method() != Method::Cancel && is_for_us != self.is_own(sender.transaction) {
            // Every request that is forwarded has the sender's Via below ours; its reply cannot go anywhere
            // without (16.7 step 3), and must not end a branch in its place. Below that of our own request is none.
            self.shared.statistics.malformed.increment();
            return;
        }
        self.at_work = Some(sender.transaction);
        let mut context = Context::new(Arc::clone(&message), arrival, RouteKind::Reply);
        context.reply_code = message.status().unwrap_or_default();
        if !self.passes_reply_route(&mut context) {
            return;
        }
        if message.method() == Method::Cancel {
            return self.on_cancel_reply(sender, context.reply_code);
        }
        self.on_branch_reply(sender, context);
    }

    /// The branch that a reply belongs to: the top Via carries its place, and must be the one we wrote (17.1.3).
    fn branch_of(&mut self, message: &Message) -> Option<Sender> {
        let via = message.top_via().ok()?;
        let text = via.branch()?;
        let place = branch::parse(text)?;
        let transaction = module_api::TransactionKey { slot: place.slot, generation: place.generation };
        let sender = Sender { transaction, branch: place.index };
        let is_invite = self.table.transaction(transaction)?.is_invite();
        let branch = self.branch_mut(sender)?;
        // The method counts too: a CANCEL shares the branch of its INVITE (17.1.3).
        let is_of_method = match message.method() {
            Method::Invite => is_invite,
            Method::Cancel => matches!(branch.cancel, Cancel::Sent(..) | Cancel::Over),
            _ => !is_invite,
        };
        (is_of_method && branch.via_branch.eq_ignore_ascii_case(text)).then_some(sender)
    }

    /// Runs the reply route that sees every reply. False when it drops the reply.
    fn passes_reply_route(&mut self, context: &mut Context) -> bool {
        let program = self.program();
        match program.reply() {
            Some(route) => !self.run_at_once(&program, route, context).is_dropped,
            None => true,
        }
    }

    /// A reply of no transaction: sent on by its second Via if its request was forwarded statelessly from
    /// here (16.11), else dropped. RFC 6026 forbids what RFC 3261 section 16.7 says, to send on any stray
    /// reply: everybody could use the server to throw replies at others.
    fn on_stray_reply(&mut self, message: Arc<Message>, arrival: Arrival) {
        if !self.is_reply_to_stateless(&message) {
            self.shared.statistics.stray_replies.increment();
            return;
        }
        let mut context = Context::new(message, arrival, RouteKind::Reply);
        context.reply_code = context.message.status().unwrap_or_default();
        if self.passes_reply_route(&mut context) {
            self.forward_stray_reply(&context);
        }
    }

    /// Whether the top Via is the one that [`Core::forward_stateless`] made from the Via below.
    fn is_reply_to_stateless(&self, reply: &Message) -> bool {
        let mut vias = reply.vias().filter_map(Result::ok);
        let (Some(own), Some(next)) = (vias.next(), vias.next()) else { return false };
        if !self.shared.identity.is_myself(own.host, own.port, own.transport) {
            return false;
        }
        let Some(text) = own.branch() else { return false };
        match forward::stateless_identity_of(reply, &next, self.shared.key.hasher()) {
            Some(identity) => branch::stateless_identity(text) == Some(identity),
            // Elements of RFC 2543 give nothing to compare.
            None => branch::stateless_identity(text).is_some(),
        }
    }

    fn on_cancel_reply(&mut self, sender: Sender, status: u16) {
        let now = self.now;
        let Some(branch) = self.branch_mut(sender) else { return };
        if let Cancel::Sent(machine, _) = &mut branch.cancel {
            machine.on_response(status, now);
            if machine.is_terminated() {
                branch.cancel = Cancel::Over;
            }
        }
        self.settle(sender.transaction);
    }

    fn on_branch_reply(&mut self, sender: Sender, mut context: Context) {
        let (now, status) = (self.now, context.reply_code);
        let Some(branch) = self.branch_mut(sender) else { return };
        let verdict = match &mut branch.client {
            Client::Invite(machine) => machine.on_response(status, now),
            Client::NonInvite(machine) => machine.on_response(status, now),
            Client::Resolving | Client::Done => ClientVerdict::Absorb,
        };
        branch.tidy();
        match verdict {
            ClientVerdict::Absorb => return self.settle(sender.transaction),
            ClientVerdict::AckAgain => {
                self.acknowledge(sender, &context.message);
                return self.settle(sender.transaction);
            }
            ClientVerdict::AckAndPass => self.acknowledge(sender, &context.message),
            ClientVerdict::Pass => {}
        }
        if status == UNREACHABLE {
            // It cannot serve us now; the next address of the same target may (RFC 3263 section 4.3).
            self.fail_over(sender);
        }
        if matches!(status, 408 | FLOW_FAILED) {
            self.next_flow(sender);
        }
        self.note_reply(sender, &context.message, status);
        context.kind = RouteKind::TransactionReply;
        context.transaction = Some(sender.transaction);
        context.branch_index = sender.branch;
        self.run_transaction_reply_route(sender, context);
    }

    /// Takes down what the reply says about its branch.
    fn note_reply(&mut self, sender: Sender, message: &Arc<Message>, status: u16) {
        let ringing_timeout = self.ringing_timeout(sender.transaction);
        let now = self.now;
        let Some(branch) = self.branch_mut(sender) else { return };
        if let (Some(timer_c), Cancel::No) = (&mut branch.timer_c, &branch.cancel) {
            timer_c.on_response(status, ringing_timeout, now);
        }
        branch.status = branch.status.max(status);
        // A success is sent on at once and never looked at again; failures may be chosen later.
        branch.reply = (!(200..300).contains(&status)).then(|| Arc::clone(message));
        if status >= 200 {
            branch.settle();
        }
        if !branch.may_acknowledge(status) {
            branch.sent = bytes::Bytes::new();
        }
        if status < 200 && matches!(branch.cancel, Cancel::Wanted) {
            self.send_cancel(sender);
        }
    }

    pub(crate) fn run_transaction_reply_route(&mut self, sender: Sender, mut context: Context) {
        let Some(transaction) = self.table.transaction_mut(sender.transaction) else { return };
        let route = transaction.left.hooks.reply;
        let program = Arc::clone(&transaction.program);
        let Some(route) = route else {
            self.finish_reply_route(sender, context, false);
            return self.settle(sender.transaction);
        };
        if transaction.is_lent {
            return transaction.enqueue(Queued::Reply(sender.branch, Box::new(context)));
        }
        context.request = Some(Arc::clone(&transaction.request));
        transaction.lend(&mut context);
        self.run_route(&program, route, context, After::Reply(sender.branch));
    }

    /// The reply routes are over; now the reply counts.
    pub(crate) fn finish_reply_route(&mut self, sender: Sender, context: Context, is_dropped: bool) {
        let status = context.reply_code;
        // Dropping a final reply would leave the caller waiting for ever; both families drop only 1xx here.
        if is_dropped && status < 200 {
            return;
        }
        let Some(transaction) = self.table.transaction_mut(sender.transaction) else { return };
        if status >= 300 && transaction.left.hooks.branch_failure.is_some() {
            self.run_branch_failure(sender, status, Some(&context.message));
        }
        let Some(transaction) = self.table.transaction_mut(sender.transaction) else { return };
        match transaction.responses.on_response(sender.branch, status) {
            Decision::Absorb => {}
            Decision::Forward { cancel_others } => {
                if self.is_own(sender.transaction) {
                    self.on_own_reply(sender.transaction, &context);
                } else {
                    self.forward_reply(sender.transaction, &context.message, &context.edits);
                }
                if cancel_others {
                    self.cancel_pending(sender.transaction);
                }
            }
            Decision::Keep { cancel_others } => {
                self.keep_reply_changes(sender, context);
                if cancel_others {
                    self.cancel_pending(sender.transaction);
                }
            }
            Decision::Complete => {
                self.keep_reply_changes(sender, context);
                self.complete(sender.transaction);
            }
        }
    }

    /// Keeps what a reply route made of a failure, which may be chosen later.
    fn keep_reply_changes(&mut self, sender: Sender, context: Context) {
        let Some(branch) = self.branch_mut(sender) else { return };
        if !context.edits.is_empty() {
            branch.edits = Some(Box::new(context.edits));
        }
        // Another one where the script has applied its edits.
        branch.reply = Some(context.message);
    }

    /// A final response that no message brought: a timeout, an unreachable peer. The branch is over.
    pub(crate) fn on_branch_final_made_here(&mut self, sender: Sender, status: u16) {
        let Some(branch) = self.branch_mut(sender) else { return };
        branch.client = Client::Done;
        branch.settle();
        self.count_as(sender, status);
    }

    /// Lets a branch count as finally answered; its client transaction may still have something to absorb.
    pub(crate) fn count_as(&mut self, sender: Sender, status: u16) {
        let Some(transaction) = self.table.transaction_mut(sender.transaction) else { return };
        let Some(branch) = transaction.branches.get_mut(sender.branch as usize) else { return };
        if branch.status >= 200 {
            return;
        }
        branch.status = status;
        branch.reply = None;
        if transaction.left.hooks.branch_failure.is_some() {
            self.run_branch_failure(sender, status, None);
        }
        let Some(transaction) = self.table.transaction_mut(sender.transaction) else { return };
        match transaction.responses.on_local(sender.branch, status) {
            Decision::Complete => self.complete(sender.transaction),
            Decision::Absorb | Decision::Forward { .. } | Decision::Keep { .. } => {}
        }
    }

    /// Every branch has failed: the failure route may try elsewhere, else the best reply goes upstream.
    pub(crate) fn complete(&mut self, key: TransactionKey) {
        let Some(transaction) = self.table.transaction_mut(key) else { return };
        if transaction.status >= 200 {
            return;
        }
        let Some(best) = transaction.responses.best(transaction.preference()) else { return };
        if transaction.is_lent && transaction.left.hooks.failure.is_some() {
            return transaction.enqueue(Queued::Complete);
        }
        if transaction.program.is_observed() {
            let reply = transaction.branches.get(best.branch as usize).and_then(|branch| branch.reply.clone());
            self.observe_failure(key, best.status, reply.as_ref());
        }
        let Some(transaction) = self.table.transaction_mut(key) else { return };
        let Some(route) = transaction.left.hooks.failure.take() else { return self.send_best(key) };
        let mut context = Context::new(Arc::clone(&transaction.request), transaction.arrival, RouteKind::Failure);
        context.transaction = Some(key);
        context.reply_code = best.status;
        context.branch_index = best.branch;
        context.reply = transaction.branches.get(best.branch as usize).and_then(|branch| branch.reply.clone());
        transaction.lend(&mut context);
        let program = Arc::clone(&transaction.program);
        let branches = transaction.branches.len() as u16;
        self.run_route(&program, route, context, After::Failure(branches));
    }

    /// The failure route is over, which began with `branches` branches.
    pub(crate) fn finish_failure(&mut self, key: TransactionKey, branches: u16) {
        let Some(transaction) = self.table.transaction(key) else { return };
        let has_more = transaction.branches.len() > usize::from(branches);
        if has_more {
            self.forget_earlier_replies(key, branches);
        }
        let Some(transaction) = self.table.transaction(key) else { return };
        if transaction.status >= 200 || !transaction.responses.all_final() {
            return;
        }
        if has_more {
            // Its branches have failed meanwhile: a route that armed itself again is asked again.
            self.complete(key);
        } else {
            self.send_best(key);
        }
    }

    /// Sends the best reply upstream (16.7 steps 6 to 9).
    fn send_best(&mut self, key: TransactionKey) {
        let Some(transaction) = self.table.transaction(key) else { return };
        let Some(best) = transaction.responses.best(transaction.preference()) else { return };
        if matches!(transaction.server, Server::Own(_)) {
            return self.complete_own(key, best);
        }
        let upstream = transaction.responses.upstream(best);
        let branch = &transaction.branches[best.branch as usize];
        let upstream = match (best.status, branch.target.flow) {
            // That is between an edge proxy and us; to the caller nobody is there (RFC 5626 section 7).
            (FLOW_FAILED, Some(Flow::Registered)) => Upstream::Made(480),
            _ => upstream,
        };
        match (upstream, &branch.reply) {
            (Upstream::AsReceived, Some(reply)) => {
                let reply = Arc::clone(reply);
                let mut edits = branch.edits.as_deref().cloned().unwrap_or_default();
                for other in transaction.responses.challenges_besides(best) {
                    if let Some(other) = &transaction.branches[other as usize].reply {
                        forward::add_challenges(&reply, other, &mut edits);
                    }
                }
                self.forward_reply(key, &reply, &edits);
            }
            (Upstream::Made(status), _) => self.reply_for(key, status, reason(status)),
            (Upstream::AsReceived, None) => self.reply_for(key, best.status, reason(best.status)),
            (Upstream::Nothing, _) => self.abandon(key),
        }
    }
}

impl Branch {
    /// Whether the request as sent may still be needed after this status: for repetitions, for CANCEL, and
    /// for the ACK to each repetition of a failure.
    fn may_acknowledge(&self, status: u16) -> bool {
        status < 200 || (status >= 300 && matches!(self.client, Client::Invite(_)))
    }

    /// A machine that has come to its end needs no further timer.
    pub(crate) fn tidy(&mut self) {
        let is_terminated = match &self.client {
            Client::Invite(machine) => machine.is_terminated(),
            Client::NonInvite(machine) => machine.is_terminated(),
            Client::Resolving | Client::Done => false,
        };
        if is_terminated {
            self.client = Client::Done;
        }
    }
}

/// Reason phrases of the replies that the engine itself makes.
fn reason(status: u16) -> &'static [u8] {
    match status {
        408 => b"Request Timeout",
        430 => b"Flow Failed",
        440 => b"Max-Breadth Exceeded",
        480 => b"Temporarily Unavailable",
        487 => b"Request Terminated",
        500 => b"Server Internal Error",
        503 => b"Service Unavailable",
        _ => b"Failure",
    }
}
