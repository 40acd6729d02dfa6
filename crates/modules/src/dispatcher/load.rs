//! Which calls count for algorithm 10.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use module_api::{Call, Function, Outcome, Routes};
use sip_message::Method;

use super::Dispatcher;
use super::target::Target;

/// Calls by Call-ID, each with its gateway and when it counts no longer.
#[derive(Default)]
pub(super) struct Calls(Mutex<HashMap<Bytes, (Arc<Target>, Duration)>>);

/// Most calls that are counted; beyond it a call has no weight.
const LIMIT: usize = 1_000_000;

impl Calls {
    /// A call begins at a gateway. It counts until it ends, at most until the wall clock says `expires`.
    pub(super) fn begin(&self, call_id: Bytes, target: &Arc<Target>, expires: Duration) {
        self.end(&call_id);
        let mut calls = self.lock();
        if calls.len() < LIMIT {
            target.load.fetch_add(1, Ordering::Relaxed);
            calls.insert(call_id, (Arc::clone(target), expires));
        }
    }

    /// A call that counts goes on to another gateway.
    pub(super) fn change(&self, call_id: &[u8], target: &Arc<Target>) {
        if let Some((before, _)) = self.lock().get_mut(call_id) {
            take_one(before);
            target.load.fetch_add(1, Ordering::Relaxed);
            *before = Arc::clone(target);
        }
    }

    /// A call has ended. False when it did not count.
    pub(super) fn end(&self, call_id: &[u8]) -> bool {
        let ended = self.lock().remove(call_id);
        ended.inspect(|(target, _)| take_one(target)).is_some()
    }

    /// Forgets the calls whose end nobody has told.
    pub(super) fn expire(&self, now: Duration) {
        self.lock().retain(|_, (target, expires)| {
            let is_over = *expires <= now;
            if is_over {
                take_one(target);
            }
            !is_over
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Bytes, (Arc<Target>, Duration)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take_one(target: &Target) {
    // A list that was loaded anew has taken the count over, and may have lost a call with it.
    let less = |load: u64| load.checked_sub(1);
    let _ = target.load.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
}

pub(super) const LOAD_UPDATE: Function = Function {
    name: "ds_load_update",
    params: &[],
    routes: Routes::ANY,
    doc: "Has a call count no longer for algorithm 10 when the message ends it: a BYE, a CANCEL, or a failure of its INVITE.",
    example: "if (is_method(\"BYE|CANCEL\")) ds_load_update();",
    run: |call| {
        let message = &call.context.message;
        let ends = match message.status() {
            None => matches!(message.method(), Method::Bye | Method::Cancel),
            Some(status) => message.method() == Method::Invite && status >= 300,
        };
        match ends {
            true => end(call),
            false => Outcome::TRUE,
        }
    },
};

pub(super) const LOAD_UNSET: Function = Function {
    name: "ds_load_unset",
    params: &[],
    routes: Routes::ANY,
    doc: "Has the call count no longer for algorithm 10.",
    example: "failure_route[GW] { ds_load_unset(); }",
    run: end,
};

fn end(call: &mut Call<'_>) -> Outcome {
    let state: &Dispatcher = call.state();
    state.calls.end(call.context.message.call_id());
    Outcome::TRUE
}
