//! A transaction's deadline has come.

use module_api::TransactionKey;
use sip_proto::response_context::RingingTimeout;
use sip_proto::transaction::{ClientTimer, ServerTimer};

use crate::outgoing::{Outgoing, Sender};
use crate::transaction::{Branch, Cancel, Client, Server};
use crate::worker_core::Core;

impl Core {
    /// Does what is due in one transaction.
    pub(crate) fn on_timer(&mut self, key: TransactionKey) {
        let Some(transaction) = self.table.transaction_mut(key) else { return };
        if transaction.wake.is_some_and(|wake| wake > self.now) {
            // An older entry of the wheel; the one that counts is still to come.
            return;
        }
        transaction.wake = None;
        self.at_work = Some(key);
        self.on_server_timer(key);
        self.on_suspension_timer(key);
        self.on_lifetime_over(key);
        let count = self.table.transaction(key).map_or(0, |transaction| transaction.branches.len());
        for branch in 0..count {
            self.on_branch_timer(Sender { transaction: key, branch: branch as u16 });
        }
        self.settle(key);
    }

    fn on_server_timer(&mut self, key: TransactionKey) {
        let now = self.now;
        let Some(transaction) = self.table.transaction_mut(key) else { return };
        let due = match &mut transaction.server {
            Server::Invite(machine) => machine.on_timer(now),
            Server::NonInvite(machine) => machine.on_timer(now),
            Server::Own(_) => ServerTimer::None,
        };
        match due {
            ServerTimer::Resend(bytes) => {
                if let Some(way) = transaction.upstream.clone() {
                    self.send_reply_bytes(way, bytes);
                }
            }
            ServerTimer::Trying => self.reply_for(key, 100, b"Trying"),
            // An ACK that never came leaves nothing to be done (RFC 3261 section 17.2.1).
            ServerTimer::None | ServerTimer::Failed | ServerTimer::Terminated => {}
        }
    }

    fn on_branch_timer(&mut self, sender: Sender) {
        let now = self.now;
        let Some(branch) = self.branch_mut(sender) else { return };
        let ringing = branch.timer_c.as_mut().map_or(RingingTimeout::None, |timer| timer.on_timer(now));
        let client = branch.on_client_timer(now);
        let cancel = branch.on_cancel_timer(now);
        match client {
            ClientTimer::Resend => self.resend(sender),
            ClientTimer::TimedOut => self.on_branch_timeout(sender),
            ClientTimer::None | ClientTimer::Terminated => {}
        }
        match cancel {
            CancelTimer::Resend(bytes) => self.send_on_branch(sender, bytes),
            // Nobody answers the CANCEL: the branch counts as cancelled (RFC 3261 section 9.1).
            CancelTimer::GaveUp => self.on_branch_final_made_here(sender, 487),
            CancelTimer::None => {}
        }
        match ringing {
            RingingTimeout::Cancel => self.on_ringing_timeout(sender),
            RingingTimeout::Timeout => self.on_branch_timeout(sender),
            RingingTimeout::None => {}
        }
    }

    fn resend(&mut self, sender: Sender) {
        let Some(branch) = self.branch_mut(sender) else { return };
        let bytes = branch.sent.clone();
        self.send_on_branch(sender, bytes);
    }

    pub(crate) fn send_on_branch(&mut self, sender: Sender, bytes: bytes::Bytes) {
        let Some(branch) = self.branch_mut(sender) else { return };
        if let Some(way) = branch.way.clone() {
            self.outbox.push(Outgoing { way, bytes, sender: Some(sender) });
        }
    }

    pub(crate) fn branch_mut(&mut self, sender: Sender) -> Option<&mut Branch> {
        self.table.transaction_mut(sender.transaction)?.branches.get_mut(sender.branch as usize)
    }
}

enum CancelTimer {
    None,
    Resend(bytes::Bytes),
    GaveUp,
}

impl Branch {
    fn on_client_timer(&mut self, now: std::time::Instant) -> ClientTimer {
        let due = match &mut self.client {
            Client::Invite(machine) => machine.on_timer(now),
            Client::NonInvite(machine) => machine.on_timer(now),
            Client::Resolving | Client::Done => ClientTimer::None,
        };
        if matches!(due, ClientTimer::Terminated) {
            self.client = Client::Done;
        }
        due
    }

    fn on_cancel_timer(&mut self, now: std::time::Instant) -> CancelTimer {
        let Cancel::Sent(machine, bytes) = &mut self.cancel else { return CancelTimer::None };
        match machine.on_timer(now) {
            ClientTimer::None => CancelTimer::None,
            ClientTimer::Resend => CancelTimer::Resend(bytes.clone()),
            ClientTimer::TimedOut => {
                self.cancel = Cancel::Over;
                CancelTimer::GaveUp
            }
            ClientTimer::Terminated => {
                self.cancel = Cancel::Over;
                CancelTimer::None
            }
        }
    }
}
