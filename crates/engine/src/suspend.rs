//! Runs that wait for each other, and runs that wait for the script of another message.

use std::sync::Arc;

use module_api::{Context, NewTransaction, Pending, Reply, RouteKind, TransactionKey};
use sip_message::Message;
use sip_proto::response_context::Preference;

use crate::outgoing::Sender;
use crate::settings::Forgets;
use crate::transaction::{Queued, Suspended, Transaction};
use crate::wait::{After, Parked};
use crate::worker_core::Core;

/// Most runs that may wait for the attributes of one transaction; further replies that come again are lost, as on the
/// network.
const QUEUE: usize = 32;

impl Transaction {
    /// Has something run as soon as the parked run has given the attributes back: one run at a time sees
    /// them, so that none undoes what another has written.
    pub(crate) fn enqueue(&mut self, queued: Queued) {
        // A failure, and the answer of a request that is no INVITE, come once (RFC 3261 section 17.1): their branch is over.
        let comes_again = match &queued {
            Queued::Reply(_, context) => context.reply_code < 200 || (self.is_invite() && context.reply_code < 300),
            Queued::Complete => false,
        };
        if self.queue.len() < QUEUE || !comes_again {
            self.queue.push(queued);
        }
    }

    /// By which rule the best reply is chosen.
    pub(crate) fn preference(&self) -> Preference {
        match self.program.dialect() {
            module_api::Dialect::Ser => Preference::LowestStatus,
            module_api::Dialect::Kamailio => Preference::Rfc,
        }
    }
}

impl Core {
    pub(crate) fn set_lent(&mut self, key: TransactionKey, is_lent: bool) {
        if let Some(transaction) = self.table.transaction_mut(key) {
            transaction.is_lent = is_lent;
        }
    }

    /// Runs what has waited for the attributes, until something parks again.
    pub(crate) fn run_queued(&mut self, key: TransactionKey) {
        while let Some(transaction) = self.table.transaction_mut(key)
            && !transaction.is_lent
            && !transaction.queue.is_empty()
        {
            match transaction.queue.remove(0) {
                Queued::Reply(branch, context) => {
                    self.run_transaction_reply_route(Sender { transaction: key, branch }, *context);
                }
                Queued::Complete => self.complete(key),
            }
        }
    }

    pub(crate) fn suspend_run(&mut self, context: &mut Context) -> Option<Pending> {
        if !matches!(context.kind, RouteKind::Request | RouteKind::Failure) {
            return None;
        }
        match self.make_transaction(context) {
            NewTransaction::Created(_) => {}
            NewTransaction::Retransmission | NewTransaction::Ack | NewTransaction::Full => return None,
        }
        self.send_trying(context);
        let key = context.transaction?;
        let until = self.now + context.timeouts.0.unwrap_or(self.shared.settings.timers.request_timeout);
        let transaction = self.table.transaction_mut(key)?;
        if transaction.suspended.is_some() {
            return None;
        }
        transaction.suspended = Some(Box::new(Suspended { until, parked: None }));
        self.settle(key);
        self.pending_name(context)
    }

    /// Index and label of a message's transaction. The label names the worker in its top byte.
    pub(crate) fn pending_name(&self, context: &Context) -> Option<Pending> {
        let key = context.transaction?;
        Some(Pending { index: key.slot, label: key.generation | u32::from(self.number) << 24 })
    }

    /// Whether the run that has ended was suspended by its script.
    pub(crate) fn is_suspended(&self, key: TransactionKey, after: After) -> bool {
        let is_kind = matches!(after, After::Request | After::Failure(_));
        let suspended = self.table.transaction(key).and_then(|transaction| transaction.suspended.as_ref());
        is_kind && suspended.is_some_and(|suspended| suspended.parked.is_none())
    }

    /// Keeps a run whose script was suspended until it is resumed.
    pub(crate) fn put_aside(&mut self, key: TransactionKey, parked: Parked) {
        if let Some(transaction) = self.table.transaction_mut(key)
            && let Some(suspended) = &mut transaction.suspended
        {
            transaction.is_lent = true;
            suspended.parked = Some((parked.context, parked.after));
        }
        self.settle(key);
    }

    pub(crate) fn resume_run(&mut self, pending: Pending, route: &str) -> bool {
        let worker = (pending.label >> 24) as usize;
        if worker != usize::from(self.number) {
            if worker >= self.worker_count {
                return false;
            }
            let route = route.to_owned();
            self.for_others.push((
                worker,
                Box::new(move |host| {
                    host.resume(pending, &route);
                }),
            ));
            return true;
        }
        let key = TransactionKey { slot: pending.index, generation: pending.label & 0xff_ffff };
        let Some(transaction) = self.table.transaction_mut(key) else { return false };
        let program = Arc::clone(&transaction.program);
        let Some(id) = program.route(RouteKind::Request, route) else { return false };
        let Some((context, after)) = take_suspended(transaction) else { return false };
        if transaction.status >= 200 {
            // Cancelled, or answered by somebody else, while it waited: nothing is left to be routed.
            self.keep(key, &mut { context });
            self.settle(key);
            return false;
        }
        self.run_route(&program, id, context, after);
        true
    }

    /// Nobody has resumed a suspended run in time: as if a 408 had come.
    pub(crate) fn on_suspension_timer(&mut self, key: TransactionKey) {
        let now = self.now;
        let Some(transaction) = self.table.transaction_mut(key) else { return };
        if transaction.suspended.as_ref().is_none_or(|suspended| suspended.until > now) {
            return;
        }
        let parked = take_suspended(transaction);
        transaction.suspended = None;
        if let Some((mut context, _)) = parked {
            transaction.left.target = context.target.clone();
            transaction.left.edits = std::mem::take(&mut context.edits);
            transaction.keep(&mut context);
        }
        if transaction.status >= 200 {
            return;
        }
        let Some(route) = transaction.left.hooks.failure.take() else {
            return self.reply_for(key, 408, b"Request Timeout");
        };
        let mut context = Context::new(Arc::clone(&transaction.request), transaction.arrival, RouteKind::Failure);
        context.transaction = Some(key);
        context.reply_code = 408;
        transaction.lend(&mut context);
        let program = Arc::clone(&transaction.program);
        let branches = transaction.branches.len() as u16;
        self.run_route(&program, route, context, After::Failure(branches));
    }

    /// A transaction has lasted as long as the script allows it: what is pending counts as 408.
    pub(crate) fn on_lifetime_over(&mut self, key: TransactionKey) {
        let now = self.now;
        let Some(transaction) = self.table.transaction_mut(key) else { return };
        if transaction.expires.is_none_or(|expires| expires > now) {
            return;
        }
        transaction.expires = None;
        let pending: smallvec::SmallVec<[u16; 4]> = transaction.responses.pending().collect();
        for branch in pending {
            let sender = Sender { transaction: key, branch };
            match self.branch_mut(sender).is_some_and(|branch| branch.status > 0) {
                true => self.on_ringing_timeout(sender),
                false => self.on_branch_timeout(sender),
            }
        }
    }

    /// A request of which only copies for others were made ends as one that the script has dropped; but
    /// an INVITE that has had its 100 waits for an answer.
    pub(crate) fn end_without_branches(&mut self, key: TransactionKey) {
        let Some(transaction) = self.table.transaction(key) else { return };
        match transaction.is_invite() {
            true => self.reply_for(key, 500, b"Server Internal Error"),
            false => self.abandon(key),
        }
    }

    /// A failure route has tried elsewhere: the replies before may not count any more.
    pub(crate) fn forget_earlier_replies(&mut self, key: TransactionKey, new_try: u16) {
        let forgets = self.shared.settings.forgets;
        let Some(transaction) = self.table.transaction_mut(key) else { return };
        match forgets {
            Forgets::Nothing => {}
            Forgets::Earlier => transaction.responses.leave_out(0..new_try),
            Forgets::Latest => transaction.responses.leave_out(transaction.latest_try..new_try),
        }
        transaction.latest_try = new_try;
    }

    /// Shows the failure of one branch to the script, which may add another before this one counts.
    pub(crate) fn run_branch_failure(&mut self, sender: Sender, status: u16, reply: Option<&Arc<Message>>) {
        let Some(transaction) = self.table.transaction_mut(sender.transaction) else { return };
        if transaction.is_lent {
            return;
        }
        let Some(route) = transaction.left.hooks.branch_failure else { return };
        let mut context = Context::new(Arc::clone(&transaction.request), transaction.arrival, RouteKind::Failure);
        context.transaction = Some(sender.transaction);
        context.reply_code = status;
        context.branch_index = sender.branch;
        context.reply = reply.cloned();
        transaction.lend(&mut context);
        self.run_event_route(route, &mut context);
        self.keep(sender.transaction, &mut context);
    }

    /// Replies to, or cancels, the transaction of another request.
    pub(crate) fn intervene_in(&mut self, call_id: &[u8], cseq: u32, reply: Option<(u16, bytes::Bytes)>) -> bool {
        let owner = self.shared.key.owner(call_id, self.worker_count);
        if owner != usize::from(self.number) {
            let call_id = call_id.to_owned();
            self.for_others.push((
                owner,
                Box::new(move |host| {
                    host.intervene(&call_id, cseq, reply);
                }),
            ));
            return true;
        }
        let Some(key) = self.table.find_call(call_id, cseq) else { return false };
        match reply {
            None => self.cancel_pending(key),
            Some((code, reason)) => {
                let Some(transaction) = self.table.transaction(key) else { return false };
                let mut context =
                    Context::new(Arc::clone(&transaction.request), transaction.arrival, RouteKind::Failure);
                context.transaction = Some(key);
                let reply = Reply::new(code, &reason);
                if self.send_stateful_reply(&mut context, &reply).is_err() {
                    return false;
                }
            }
        }
        self.settle(key);
        true
    }
}

/// Ends a suspension whose run has ended, and gives that run back.
fn take_suspended(transaction: &mut Transaction) -> Option<(Context, After)> {
    let parked = transaction.suspended.as_mut()?.parked.take()?;
    transaction.suspended = None;
    transaction.is_lent = false;
    Some(parked)
}
