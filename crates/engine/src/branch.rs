//! The life of a branch: started, failed over, cancelled, given up.

use std::time::Duration;

use bytes::Bytes;
use module_api::{RelayError, TransactionKey};
use sip_message::{Message, Transport};
use sip_proto::resolve::Hop;
use sip_proto::response_context::TimerC;
use sip_proto::transaction::messages::{ack_for_failure, cancel_for};
use sip_proto::transaction::{InviteClient, NonInviteClient, Timers};

use crate::outgoing::{Outgoing, Sender, Way};
use crate::resolve::{FLOW_FAILED, UNREACHABLE};
use crate::transaction::{Branch, Cancel, Client, Server};
use crate::worker_core::Core;

impl Core {
    /// Sends the request to the best hop left.
    pub(crate) fn start_branch(&mut self, sender: Sender) -> Result<(), RelayError> {
        let random = self.random.next();
        let (way, bytes, via_branch) = self.write_for_next_hop(sender, random)?;
        let Some(transaction) = self.table.transaction(sender.transaction) else { return Err(RelayError::Full) };
        if transaction.program.engine_routes().send.is_some() {
            let program = std::sync::Arc::clone(&transaction.program);
            if !self.may_leave(&program, &bytes, &way) {
                return Err(RelayError::AllDropped);
            }
        }
        let now = self.now;
        let timers = self.timers_of(sender.transaction);
        let Some(transaction) = self.table.transaction_mut(sender.transaction) else { return Err(RelayError::Full) };
        let is_invite = transaction.is_invite();
        let branch = &mut transaction.branches[sender.branch as usize];
        let is_reliable = way.transport.is_reliable();
        branch.client = if is_invite {
            branch.timer_c = Some(TimerC::new(timers.ringing_timeout, now));
            Client::Invite(InviteClient::new(is_reliable, &timers, now))
        } else {
            Client::NonInvite(NonInviteClient::new(is_reliable, &timers, now))
        };
        branch.way = Some(way.clone());
        branch.sent = bytes.clone();
        branch.via_branch = via_branch;
        self.outbox.push(Outgoing { way, bytes, sender: Some(sender) });
        if sender.branch == 0 {
            self.measure_forward(sender.transaction);
        }
        self.settle(sender.transaction);
        Ok(())
    }

    /// Takes hops until one can be reached from a socket of ours, and writes the copy for it.
    fn write_for_next_hop(&mut self, sender: Sender, random: u64) -> Result<(Way, Bytes, Bytes), RelayError> {
        loop {
            let branch = self.branch_mut(sender).ok_or(RelayError::Full)?;
            let hop = branch.further.pop().ok_or(RelayError::Unresolvable)?;
            let connection = branch.target.connection;
            let wanted = branch.target.socket;
            let Some(transaction) = self.table.transaction(sender.transaction) else { return Err(RelayError::Full) };
            let Some(mut way) = self.way_to(&hop, wanted, &transaction.arrival, connection) else { continue };
            let target = &transaction.branches[sender.branch as usize].target;
            way.is_bound = target.is_bound();
            // What came by a flow is reached by that flow, however long the request (RFC 5626 section 5.3).
            let is_kept = target.flow.is_some() && target.path.is_none();
            let via_branch = Bytes::copy_from_slice(&self.via_branch(sender, random));
            let bytes =
                self.write_copy(transaction, &transaction.branches[sender.branch as usize], &way, &via_branch)?;
            let is_settled = is_kept || transaction.branches[sender.branch as usize].is_mtu_settled;
            if !is_settled && let Some(larger) = self.hop_for_large_message(&hop, bytes.len()) {
                // UDP stays as the fall-back where TCP is refused (RFC 3261 section 18.1.1).
                let branch = self.branch_mut(sender).ok_or(RelayError::Full)?;
                branch.further.push(hop);
                branch.further.push(larger);
                branch.is_mtu_settled = true;
                continue;
            }
            return Ok((way, bytes, via_branch));
        }
    }

    /// Tries the next address of the same target in a branch of its own (RFC 3263 section 4.3).
    pub(crate) fn fail_over(&mut self, sender: Sender) {
        let Some(transaction) = self.table.transaction_mut(sender.transaction) else { return };
        let is_room = transaction.branches.len() < usize::from(self.shared.settings.max_branches);
        let is_wanted = !transaction.left.tuning.no_failover && !transaction.responses.is_replica(sender.branch);
        let Some(failed) = transaction.branches.get_mut(sender.branch as usize) else { return };
        if !is_wanted
            || transaction.is_canceled
            || !is_room
            || failed.further.is_empty()
            || !matches!(failed.cancel, Cancel::No)
        {
            return;
        }
        let mut next = Branch::new(failed.target.clone());
        next.further = std::mem::take(&mut failed.further);
        next.edits.clone_from(&failed.edits);
        next.is_mtu_settled = failed.is_mtu_settled;
        next.transport = failed.transport;
        next.max_breadth = failed.max_breadth;
        let Some(number) = transaction.responses.add_branch() else { return };
        transaction.branches.push(next);
        let next = Sender { transaction: sender.transaction, branch: number };
        if self.start_branch(next).is_err() {
            self.on_branch_final_made_here(next, UNREACHABLE);
        }
    }

    /// Tries the next flow of the same user agent instance, in a branch that takes the place of the failed one
    /// (RFC 5626 section 7).
    pub(crate) fn next_flow(&mut self, sender: Sender) {
        loop {
            let Some(transaction) = self.table.transaction_mut(sender.transaction) else { return };
            let is_room = transaction.branches.len() < usize::from(self.shared.settings.max_branches);
            let is_canceled = transaction.is_canceled;
            let Some(failed) = transaction.branches.get_mut(sender.branch as usize) else { return };
            let is_over = is_canceled || !is_room || !matches!(failed.cancel, Cancel::No);
            if is_over || failed.target.flows.is_empty() {
                return;
            }
            let mut flows = std::mem::take(&mut failed.target.flows);
            let mut target = flows.remove(0);
            target.flows = flows;
            let mut next = Branch::new(target.clone());
            next.edits.clone_from(&failed.edits);
            next.transport = failed.transport;
            next.max_breadth = failed.max_breadth;
            // Its failure says nothing about the user: what another flow brings counts in its place.
            transaction.responses.leave_out(sender.branch..sender.branch + 1);
            match self.open_branch(sender.transaction, next, false) {
                Ok(()) => return,
                Err(_) => {
                    let Some(failed) = self.branch_mut(sender) else { return };
                    failed.target.flows = std::mem::take(&mut target.flows);
                }
            }
        }
    }

    /// It rang for too long: cancelled, and as if a 408 had come (RFC 3261 section 16.8). The section would
    /// send the 487 of the cancelled callee upstream; to the caller, and to every failure route that
    /// was ever written, nobody answered in time.
    pub(crate) fn on_ringing_timeout(&mut self, sender: Sender) {
        self.cancel_branch(sender);
        self.count_as(sender, 408);
    }

    /// Nobody answered (RFC 3261 section 16.7 step 1: as if a 408 had come).
    pub(crate) fn on_branch_timeout(&mut self, sender: Sender) {
        // Who has answered provisionally is alive; another address of the same target would ring no
        // other phone (RFC 3263 section 4.3).
        if self.branch_mut(sender).is_some_and(|branch| branch.status == 0) {
            self.fail_over(sender);
            self.next_flow(sender);
        }
        let is_canceled = self.table.transaction(sender.transaction).is_some_and(|transaction| transaction.is_canceled);
        self.on_branch_final_made_here(sender, if is_canceled { 487 } else { 408 });
    }

    /// The request could not be sent (RFC 3261 section 16.9: as if a 503 had come).
    pub(crate) fn on_transport_error(&mut self, sender: Sender) {
        let Some(branch) = self.branch_mut(sender) else { return };
        let is_told = match &mut branch.client {
            Client::Invite(machine) => machine.on_transport_error(),
            Client::NonInvite(machine) => machine.on_transport_error(),
            Client::Resolving | Client::Done => false,
        };
        branch.tidy();
        if is_told {
            self.fail_over(sender);
            self.next_flow(sender);
            let is_flow = self.branch_mut(sender).is_some_and(|branch| branch.target.flow.is_some());
            self.on_branch_final_made_here(sender, if is_flow { FLOW_FAILED } else { UNREACHABLE });
        }
        self.settle(sender.transaction);
    }

    /// A CANCEL has come for an INVITE (RFC 3261 section 16.10).
    pub(crate) fn cancel_transaction(&mut self, key: TransactionKey) {
        let Some(transaction) = self.table.transaction_mut(key) else { return };
        if !transaction.is_invite() || transaction.status >= 200 {
            return;
        }
        transaction.is_canceled = true;
        transaction.responses.close();
        let has_branches = !transaction.branches.is_empty();
        self.cancel_pending(key);
        if !has_branches {
            // Its script still waits for something; what it does later finds the INVITE answered.
            self.reply_for(key, 487, b"Request Terminated");
        }
        self.settle(key);
    }

    /// Cancels every branch that has no final reply.
    pub(crate) fn cancel_pending(&mut self, key: TransactionKey) {
        let Some(transaction) = self.table.transaction(key) else { return };
        let pending: smallvec::SmallVec<[u16; 4]> = transaction.responses.pending().collect();
        for branch in pending {
            self.cancel_branch(Sender { transaction: key, branch });
        }
    }

    pub(crate) fn cancel_branch(&mut self, sender: Sender) {
        let Some(transaction) = self.table.transaction_mut(sender.transaction) else { return };
        // Only an INVITE takes long enough for its CANCEL to have an effect (RFC 3261 section 9.1).
        let is_invite = transaction.is_invite();
        let Some(branch) = transaction.branches.get_mut(sender.branch as usize) else { return };
        if !is_invite || !branch.is_pending() || !matches!(branch.cancel, Cancel::No) {
            return;
        }
        match (&branch.client, branch.status) {
            (Client::Resolving, _) => self.on_branch_final_made_here(sender, 487),
            // No provisional reply yet: the CANCEL could overtake the INVITE (9.1).
            (_, 0) => branch.cancel = Cancel::Wanted,
            _ => self.send_cancel(sender),
        }
    }

    pub(crate) fn send_cancel(&mut self, sender: Sender) {
        let now = self.now;
        let timers = self.timers_of(sender.transaction);
        let Some(branch) = self.branch_mut(sender) else { return };
        let Some(way) = branch.way.clone() else { return };
        let Some(bytes) = cancel_for(&branch.sent) else { return };
        let machine = NonInviteClient::new(way.transport.is_reliable(), &timers, now);
        branch.cancel = Cancel::Sent(machine, bytes.clone());
        branch.further = Vec::new();
        // A callee that answers the CANCEL and not the INVITE counts as cancelled after 64*T1 (9.1).
        branch.timer_c = Some(TimerC::new(64 * timers.t1, now));
        // A CANCEL that cannot be sent is retransmitted by its own transaction, hence no sender.
        self.outbox.push(Outgoing { way, bytes, sender: None });
    }

    /// Acknowledges a failure hop by hop (RFC 3261 section 17.1.1.3).
    pub(crate) fn acknowledge(&mut self, sender: Sender, reply: &Message) {
        let Some(branch) = self.branch_mut(sender) else { return };
        let Some(way) = branch.way.clone() else { return };
        if let Some(bytes) = ack_for_failure(&branch.sent, reply) {
            self.outbox.push(Outgoing { way, bytes, sender: None });
        }
    }

    /// Ends a non-INVITE to which no reply will be sent (RFC 4320 section 4.2).
    pub(crate) fn abandon(&mut self, key: TransactionKey) {
        if let Some(transaction) = self.table.transaction_mut(key)
            && let Server::NonInvite(machine) = &mut transaction.server
        {
            machine.abandon();
        }
    }

    fn hop_for_large_message(&mut self, hop: &Hop, length: usize) -> Option<Hop> {
        let is_large = hop.transport == Transport::Udp && length > self.shared.settings.udp_mtu;
        let has_tcp =
            || {
                self.shared.identity.sockets.iter().any(|socket| {
                    socket.transport == Transport::Tcp && socket.address.is_ipv4() == hop.address.is_ipv4()
                })
            };
        (is_large && has_tcp()).then(|| Hop { transport: Transport::Tcp, ..hop.clone() })
    }

    fn timers_of(&self, key: TransactionKey) -> Timers {
        let mut timers = self.shared.settings.timers.clone();
        if let Some(transaction) = self.table.transaction(key) {
            let (no_reply, no_final) = transaction.left.timeouts;
            if let Some(no_reply) = no_reply {
                timers.invite_timeout = no_reply;
                timers.request_timeout = no_reply;
            }
            timers.ringing_timeout = no_final.unwrap_or(timers.ringing_timeout);
            timers.t1 = transaction.left.tuning.t1.unwrap_or(timers.t1);
            timers.t2 = transaction.left.tuning.t2.unwrap_or(timers.t2);
        }
        timers
    }

    pub(crate) fn ringing_timeout(&self, key: TransactionKey) -> Duration {
        let own = self.table.transaction(key).and_then(|transaction| transaction.left.timeouts.1);
        own.unwrap_or(self.shared.settings.timers.ringing_timeout)
    }

    /// The branch text of a copy: place, loop hash and luck.
    fn via_branch(&self, sender: Sender, random: u64) -> [u8; sip_proto::branch::LEN] {
        let place = sip_proto::branch::Branch {
            slot: sender.transaction.slot,
            generation: sender.transaction.generation,
            index: sender.branch,
        };
        let hash = self.table.transaction(sender.transaction).map_or(0, |transaction| transaction.loop_hash);
        sip_proto::branch::stateful(place, hash, random)
    }
}
