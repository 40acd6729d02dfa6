//! Relaying a request statefully: targets become branches (RFC 3261 section 16.6).

use std::sync::Arc;

use module_api::{
    Context, Matched, NewTransaction, RelayError, RelayOptions, Reply, RouteKind, Target, TransactionKey,
};
use sip_message::{HeaderName, Method};
use sip_proto::loop_detection;

use crate::outgoing::Sender;
use crate::resolve::Unplanned;
use crate::transaction::Branch;
use crate::worker_core::Core;

impl Core {
    pub(crate) fn relay_request(&mut self, context: &mut Context, options: &RelayOptions) -> Result<(), RelayError> {
        match context.message.method() {
            Method::Ack => {
                let result = self.forward_stateless(context, options.to.as_ref());
                if result.is_ok() {
                    self.observe_ack(context);
                }
                result
            }
            Method::Cancel => {
                self.relay_cancel(context);
                Ok(())
            }
            _ => {
                let result = self.relay_new(context, options);
                self.note_refusal(context, options, result.err());
                result
            }
        }
    }

    /// Keeps why the relay failed, for the reply that is due when the script is over without one.
    fn note_refusal(&mut self, context: &mut Context, options: &RelayOptions, error: Option<RelayError>) {
        let error = error.filter(|_| !options.no_error_reply);
        match context.transaction.and_then(|key| self.table.transaction_mut(key)) {
            Some(transaction) => transaction.left.refusal = error,
            None => context.set_note(Refusal(error)),
        }
    }

    /// CANCEL: answered here, and each pending branch of its INVITE is cancelled (RFC 3261 section 16.10).
    fn relay_cancel(&mut self, context: &mut Context) {
        let request = Arc::clone(&context.message);
        match self.match_request(&request) {
            Matched::Cancel(invite) => {
                self.answer_cancel(context, Some(invite), &Reply::new(200, b"OK"));
                self.cancel_transaction(invite);
            }
            Matched::Retransmission(key) => self.repeat_reply(key),
            // Section 16.10 would have a CANCEL without transaction forwarded statelessly; nothing here
            // could have forwarded its INVITE statefully, so 481 tells the caller the truth (section 9.2).
            _ => self.answer_cancel(context, None, &Reply::new(481, b"Call/Transaction Does Not Exist")),
        }
    }

    fn relay_new(&mut self, context: &mut Context, options: &RelayOptions) -> Result<(), RelayError> {
        let key = match self.make_transaction(context) {
            NewTransaction::Created(key) => key,
            NewTransaction::Retransmission | NewTransaction::Ack => return Ok(()),
            NewTransaction::Full => return Err(RelayError::Full),
        };
        let Some(transaction) = self.table.transaction_mut(key) else { return Err(RelayError::Full) };
        // A script that applied its edits (`msg_apply_changes()`) goes on with another message, of which
        // the copies are made.
        if transaction.branches.is_empty() {
            transaction.request = Arc::clone(&context.message);
        }
        let Some(transaction) = self.table.transaction(key) else { return Err(RelayError::Full) };
        if transaction.status >= 200 {
            return Err(RelayError::AlreadyAnswered);
        }
        // 16.3 step 3: checked before anything is made of the request.
        if matches!(context.message.max_forwards(), Ok(Some(0))) {
            return Err(RelayError::TooManyHops);
        }
        if transaction.branches.is_empty() {
            if self.is_loop(&context.message, transaction.loop_hash) {
                return Err(RelayError::Loop);
            }
            if self.refuses_extension(context) {
                return Ok(());
            }
        }
        let lifetime = context.tuning.lifetime;
        // A copy takes no target away from the relay that follows.
        let targets = if options.is_replica { vec![context.target.clone()] } else { take_targets(context) };
        if targets.is_empty() {
            return Err(RelayError::NoBranches);
        }
        let now = self.now;
        let result = self.add_branches(key, context, targets, options);
        if let Some(transaction) = self.table.transaction_mut(key) {
            transaction.keep_request_edits(context);
            transaction.expires = transaction.expires.or(lifetime.and_then(|lifetime| now.checked_add(lifetime)));
        }
        self.settle(key);
        if result.is_ok() && !options.is_quiet && !options.is_replica {
            self.send_trying(context);
        }
        result
    }

    /// 420 to a Proxy-Require that names anything: no extension is supported by the proxy itself
    /// (RFC 3261 section 16.3 step 5). Returns whether the request is refused.
    fn refuses_extension(&mut self, context: &mut Context) -> bool {
        let mut lines = Vec::new();
        for required in context.message.headers_named(HeaderName::ProxyRequire) {
            lines.extend_from_slice(&[b"Unsupported: ", &required.unfolded()[..], b"\r\n"].concat());
        }
        if lines.is_empty() {
            return false;
        }
        let reply = Reply { code: 420, reason: b"Bad Extension", headers: &lines };
        self.send_stateful_reply(context, &reply).is_ok()
    }

    /// Adds a branch for each target. At least one must come about.
    fn add_branches(
        &mut self,
        key: TransactionKey,
        context: &mut Context,
        targets: Vec<Target>,
        options: &RelayOptions,
    ) -> Result<(), RelayError> {
        let mut first_error = None;
        let mut made = 0;
        let breadths = self.share_breadth(key, &context.message, targets.len())?;
        for (target, breadth) in targets.into_iter().zip(breadths) {
            match self.add_branch(key, context, Aim { target, breadth }, options) {
                Ok(()) => made += 1,
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        context.hooks.branch = None;
        match first_error {
            Some(error) if made == 0 => Err(error),
            _ => Ok(()),
        }
    }

    /// The share of Max-Breadth for each of `count` branches (RFC 5393 section 5.3.3).
    ///
    /// A single branch of a request that brought no limit passes without: its next hop assumes the
    /// same default.
    fn share_breadth(
        &self,
        key: TransactionKey,
        request: &sip_message::Message,
        count: usize,
    ) -> Result<Vec<Option<u32>>, RelayError> {
        if count == 1 && !request.has(HeaderName::MaxBreadth) {
            return Ok(vec![None]);
        }
        let transaction = self.table.transaction(key).ok_or(RelayError::Full)?;
        let pending =
            transaction.responses.pending().filter_map(|branch| transaction.branches.get(usize::from(branch)));
        let taken: u32 = pending.map(|branch| branch.max_breadth.unwrap_or(1)).sum();
        let breadth = loop_detection::max_breadth(request).saturating_sub(taken);
        let count = count as u32;
        (0..count)
            .map(|place| loop_detection::share(breadth, count, place).map(Some))
            .collect::<Option<_>>()
            .ok_or(RelayError::TooBroad)
    }

    /// Whether the request has come round with nothing changed (RFC 5393 section 4.2).
    fn is_loop(&self, request: &sip_message::Message, hash: u64) -> bool {
        loop_detection::is_loop(request, hash, |via| self.shared.identity.is_myself(via.host, via.port, via.transport))
    }

    fn add_branch(
        &mut self,
        key: TransactionKey,
        context: &mut Context,
        aim: Aim,
        options: &RelayOptions,
    ) -> Result<(), RelayError> {
        let transaction = self.table.transaction(key).ok_or(RelayError::Full)?;
        let number = transaction.branches.len() as u16;
        if number >= self.shared.settings.max_branches {
            return Err(RelayError::Full);
        }
        let (target, edits) = self.run_branch_route(context, aim.target, number)?;
        let mut branch = Branch::new(target);
        branch.max_breadth = aim.breadth;
        branch.transport = options.transport;
        branch.edits = (!edits.is_empty()).then(|| Box::new(edits));
        if let Some(to) = &options.to {
            branch.target.destination = Some(to.clone());
        }
        self.settle_own_via(context);
        let transaction = self.table.transaction_mut(key).ok_or(RelayError::Full)?;
        transaction.left.record_route.clone_from(&context.record_route);
        transaction.left.own_via.clone_from(&context.own_via);
        transaction.left.is_rport_forced = context.is_rport_forced;
        transaction.left.timeouts = context.timeouts;
        transaction.left.tuning = context.tuning;
        self.open_branch(key, branch, options.is_replica)
    }

    /// Finds the way of a new branch and starts it, or has its names looked up first.
    pub(crate) fn open_branch(
        &mut self,
        key: TransactionKey,
        mut branch: Branch,
        is_replica: bool,
    ) -> Result<(), RelayError> {
        let questions = match self.plan(&branch.target, branch.transport) {
            Ok(hops) => {
                branch.further = hops;
                None
            }
            Err(Unplanned::Ask(_)) if self.waiting.is_full() => return Err(RelayError::Full),
            Err(Unplanned::Ask(questions)) => Some(questions),
            Err(Unplanned::Never(error)) => return Err(error),
        };
        let transaction = self.table.transaction_mut(key).ok_or(RelayError::Full)?;
        let number = match is_replica {
            true => transaction.responses.add_replica(),
            false => transaction.responses.add_branch(),
        };
        let number = number.ok_or(RelayError::AlreadyAnswered)?;
        transaction.branches.push(branch);
        let sender = Sender { transaction: key, branch: number };
        match questions {
            Some(questions) => self.ask_for_branch(sender, questions),
            None => self.start_branch(sender).inspect_err(|_| self.take_branch_back(sender))?,
        }
        Ok(())
    }

    /// Forgets the latest branch, of which nothing has left.
    fn take_branch_back(&mut self, sender: Sender) {
        if let Some(transaction) = self.table.transaction_mut(sender.transaction) {
            transaction.branches.truncate(usize::from(sender.branch));
            transaction.responses.take_back(sender.branch);
        }
    }

    /// Runs the branch route, which may change target and edits of this branch alone, or drop it.
    fn run_branch_route(
        &mut self,
        context: &mut Context,
        target: Target,
        number: u16,
    ) -> Result<(Target, sip_message::Edits), RelayError> {
        let Some(route) = context.hooks.branch else { return Ok((target, context.edits.clone())) };
        // Its number means something in the program under which the transaction began, and only there.
        let transaction = context.transaction.and_then(|key| self.table.transaction(key));
        let program = transaction.map_or_else(|| self.program(), |transaction| Arc::clone(&transaction.program));
        let is_target_fresh = context.is_target_fresh;
        let kind = std::mem::replace(&mut context.kind, RouteKind::Branch);
        let common_edits = context.edits.clone();
        let common_target = std::mem::replace(&mut context.target, target);
        context.branch_index = number;
        let end = self.run_at_once(&program, route, context);
        context.branch_index = 0;
        context.is_target_fresh = is_target_fresh;
        context.kind = kind;
        let edits = std::mem::replace(&mut context.edits, common_edits);
        let target = std::mem::replace(&mut context.target, common_target);
        if end.is_dropped { Err(RelayError::AllDropped) } else { Ok((target, edits)) }
    }
}

/// Why a request that has no transaction was not relayed, where the server shall say so.
pub(crate) struct Refusal(pub(crate) Option<RelayError>);

/// A target and its share of Max-Breadth.
struct Aim {
    target: Target,
    breadth: Option<u32>,
}

/// The targets of the next relay: the request's own, unless an earlier relay used it, and the appended ones.
fn take_targets(context: &mut Context) -> Vec<Target> {
    let mut targets = Vec::with_capacity(1 + context.branches.len());
    if context.is_target_fresh {
        targets.push(context.target.clone());
    }
    for branch in context.branches.drain(..) {
        let is_twice = targets.iter().any(|target| {
            target.uri == branch.uri && target.destination == branch.destination && target.path == branch.path
        });
        // `rewriteuri(X); append_branch();` names X twice and means it once.
        if !is_twice {
            targets.push(branch);
        }
    }
    context.is_target_fresh = false;
    targets
}
