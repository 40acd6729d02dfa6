//! Telling modules what happens to transactions.

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Context, Happening, Replied, RouteKind, TransactionKey};
use sip_message::Message;

use crate::worker_core::Core;

/// A reply that has gone into the outbox.
pub(crate) struct Gone<'a> {
    pub(crate) code: u16,
    pub(crate) reason: &'a [u8],
    pub(crate) to_tag: Bytes,
    /// As it came from a branch.
    pub(crate) reply: Option<&'a Message>,
}

impl Core {
    /// Whether anybody watches this transaction. A reload does not change who does.
    pub(crate) fn is_observed(&self, key: TransactionKey) -> bool {
        self.table.transaction(key).is_some_and(|transaction| transaction.program.is_observed())
    }

    /// A reply goes upstream. `running` is the script's context where the script itself makes the reply: flags
    /// and attributes are there and not yet with the transaction.
    pub(crate) fn observe_reply(&mut self, key: TransactionKey, gone: &Gone<'_>, running: Option<&mut Context>) {
        let replied = Replied { code: gone.code, reason: gone.reason, to_tag: &gone.to_tag, reply: gone.reply };
        match running.filter(|context| context.message.is_request()) {
            Some(context) => self.tell(key, &Happening::Replied(replied), context),
            None => self.observe(key, gone.code, &Happening::Replied(replied)),
        }
    }

    /// Every branch has failed with `code` at best.
    pub(crate) fn observe_failure(&mut self, key: TransactionKey, code: u16, reply: Option<&Arc<Message>>) {
        self.observe(key, code, &Happening::Failed { code, reply });
    }

    /// The script relays an ACK.
    pub(crate) fn observe_ack(&mut self, context: &mut Context) {
        let program = self.program();
        if program.is_observed() {
            program.observe(context, self, &Happening::Acknowledged);
        }
    }

    /// Tells of a transaction whose script does not run now.
    fn observe(&mut self, key: TransactionKey, code: u16, happening: &Happening<'_>) {
        let Some(transaction) = self.table.transaction_mut(key) else { return };
        let mut context = Context::new(Arc::clone(&transaction.request), transaction.arrival, RouteKind::Event);
        context.transaction = Some(key);
        context.reply_code = code;
        if !transaction.left.target.uri.is_empty() {
            context.target = transaction.left.target.clone();
        }
        // A run that waits has the attributes.
        if let Some(run) = self.parked_run(key) {
            run.swap_attributes(&mut context);
            self.tell(key, happening, &mut context);
            if let Some(run) = self.parked_run(key) {
                run.swap_attributes(&mut context);
            }
            return;
        }
        let Some(transaction) = self.table.transaction_mut(key) else { return };
        transaction.lend(&mut context);
        self.tell(key, happening, &mut context);
        self.keep(key, &mut context);
    }

    /// The context of the run that waits with the attributes of a transaction.
    fn parked_run(&mut self, key: TransactionKey) -> Option<&mut Context> {
        let transaction = self.table.transaction_mut(key).filter(|transaction| transaction.is_lent)?;
        match (&mut transaction.suspended, transaction.waits_as) {
            (Some(suspended), _) if suspended.parked.is_some() => suspended.parked.as_mut().map(|(context, _)| context),
            (_, waits_as) => self.waiting.parked_mut(waits_as?),
        }
    }

    fn tell(&mut self, key: TransactionKey, happening: &Happening<'_>, context: &mut Context) {
        let Some(transaction) = self.table.transaction(key) else { return };
        let program = Arc::clone(&transaction.program);
        program.observe(context, self, happening);
    }
}
