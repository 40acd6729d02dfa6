//! What a mistake of ours may cost: the work on one message, and its transaction.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use module_api::{Level, TransactionKey};

use crate::worker_core::Core;

impl Core {
    /// Does one piece of work. A panic in it is our mistake, and whoever found the message for it must not end the calls
    /// of all others with it.
    pub(crate) fn guarded(&mut self, act: impl FnOnce(&mut Core)) {
        self.at_work = None;
        if catch_unwind(AssertUnwindSafe(|| act(self))).is_ok() {
            return;
        }
        self.shared.statistics.panics.increment();
        self.shared.log.write(Level::Critical, b"a mistake in the server ended the work on one message (see above)");
        // Routes that were inside each other are all over.
        self.nesting = 0;
        self.log_prefix = Bytes::new();
        if let Some(key) = self.at_work.take() {
            // A transaction that is half changed may bring the same panic again, and again.
            let _ = catch_unwind(AssertUnwindSafe(|| self.give_up(key)));
            self.table.remove(key);
        }
        self.forget_cause();
    }

    /// Tells both sides of a transaction that it comes to nothing.
    fn give_up(&mut self, key: TransactionKey) {
        let Some(transaction) = self.table.transaction_mut(key) else { return };
        let is_unanswered = transaction.status < 200;
        // Nobody comes back to it.
        transaction.queue.clear();
        transaction.suspended = None;
        self.cancel_pending(key);
        if is_unanswered && !self.is_own(key) {
            self.reply_for(key, 500, b"Server Internal Error");
        }
    }
}
