//! Calls that are over, for whoever writes them down.

use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use module_api::{Call, Dialect, Host, State, made_up_context};

use super::call::{Dialog, Side, Stage};
use super::track::uri_of;
use super::{Chosen, Dialogs};

/// Why a call is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The caller hung up.
    Caller,
    /// The callee hung up.
    Callee,
    /// A side has lost the call: its reply to a request within it was 408 or 481.
    Lost,
    /// Its time was up.
    Timeout,
    /// An operator or a script has ended it.
    Server,
    /// It has not come about.
    Failed,
}

impl Ending {
    /// As records have it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Ending::Caller => "caller",
            Ending::Callee => "callee",
            Ending::Lost => "lost",
            Ending::Timeout => "timeout",
            Ending::Server => "server",
            Ending::Failed => "failed",
        }
    }
}

impl From<Side> for Ending {
    fn from(side: Side) -> Ending {
        match side {
            Side::Caller => Ending::Caller,
            Side::Callee => Ending::Callee,
        }
    }
}

/// A call that is over. Times are of the wall clock; zero: that has not happened.
#[derive(Debug, Clone)]
pub(crate) struct Over {
    pub(crate) created: Duration,
    pub(crate) rang: Duration,
    pub(crate) answered: Duration,
    pub(crate) ended: Duration,
    pub(crate) ending: Ending,
    /// The status that the caller got: 200, or that of the failure.
    pub(crate) code: u16,
    pub(crate) call_id: Bytes,
    pub(crate) from_tag: Bytes,
    pub(crate) to_tag: Bytes,
    pub(crate) from: Bytes,
    pub(crate) to: Bytes,
    pub(crate) request_uri: Bytes,
    /// Whose credentials were verified; empty: nobody's.
    pub(crate) identity: Bytes,
    /// Names of variables of the dialog that are set.
    pub(crate) vars: Vec<Bytes>,
}

/// Told of each call that is over, with its module's state. `$dlg_var` and its kin read that call.
pub(crate) type Watcher = fn(&mut Call<'_>, &Over);

impl Dialogs {
    /// Has `watcher` told of calls that are over, as long as the state of its module is in use.
    pub(crate) fn watch(&self, state: &Arc<dyn State>, watcher: Watcher) {
        let mut watchers = self.watchers.write().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|(state, _)| state.strong_count() > 0);
        watchers.push((Arc::downgrade(state), watcher));
    }

    fn watching(&self) -> Vec<(Weak<dyn State>, Watcher)> {
        self.watchers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Tells the watchers, with the message at hand that ended the call.
pub(super) fn tell(call: &mut Call<'_>, state: &Dialogs, dialog: &Dialog, ending: Ending, code: u16) {
    let watching = state.watching();
    if watching.is_empty() {
        return;
    }
    let over = over(dialog, ending, code, call.host.unix_time());
    let dialect = call.dialect();
    for (state, watcher) in watching {
        if let Some(state) = state.upgrade() {
            watcher(&mut Call::new(call.context, call.host, &[], &state, dialect), &over);
        }
    }
}

/// As [`tell`], where no message is at hand.
pub(super) fn tell_without_message(host: &mut dyn Host, state: &Dialogs, dialog: &Arc<Dialog>, ending: Ending) {
    if state.watching().is_empty() {
        return;
    }
    let mut context = made_up_context(host);
    context.set_note(Chosen(Arc::clone(dialog)));
    let none: Arc<dyn State> = Arc::new(());
    let code = if dialog.facts().started.is_zero() { 408 } else { 200 };
    tell(&mut Call::new(&mut context, host, &[], &none, Dialect::Kamailio), state, dialog, ending, code);
}

fn over(dialog: &Dialog, ending: Ending, code: u16, now: Duration) -> Over {
    let facts = dialog.facts();
    debug_assert_eq!(facts.stage, Stage::Ended);
    Over {
        created: facts.created,
        rang: facts.rang,
        answered: facts.started,
        ended: now,
        ending,
        code,
        call_id: dialog.call_id.clone(),
        from_tag: dialog.from_tag.clone(),
        to_tag: facts.to_tag.clone(),
        from: uri_of(&facts.from),
        to: uri_of(&facts.to),
        request_uri: facts.request_uri.clone(),
        identity: facts.identity.clone(),
        vars: facts.vars.iter().map(|(name, _)| name.clone()).collect(),
    }
}
