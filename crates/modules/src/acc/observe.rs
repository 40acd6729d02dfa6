//! Which transactions are accounted, and when.

use std::sync::PoisonError;

use bytes::Bytes;
use module_api::{Call, Happening, Replied};
use sip_message::Method;

use super::facts::{Event, Occasion};
use super::journal;
use super::settings::{Accounting, Sinks};

/// Told of each transaction; most are none of our business.
pub(super) fn observe(call: &mut Call<'_>, happening: &Happening<'_>) {
    match happening {
        Happening::Replied(replied) => on_reply(call, replied),
        Happening::Failed { code, reply } => {
            let (reason, to_tag) = reply.map_or((&b""[..], None), |reply| (reply.reason(), reply.to_tag()));
            on_missed(call, &Event { occasion: Occasion::Missed, code: *code, reason, to_tag });
        }
        Happening::Acknowledged => on_ack(call),
    }
}

fn on_reply(call: &mut Call<'_>, replied: &Replied<'_>) {
    let state = call.state::<Accounting>();
    if call.context.message.method() == Method::Cancel {
        note_elsewhere(call, state);
    }
    let sinks = state.wanted(call.context);
    if sinks.is_empty() || is_skipped_cancel(call, state) || !is_accounted(call, state, replied) {
        return;
    }
    let event = Event {
        occasion: Occasion::Answered,
        code: replied.code,
        reason: replied.reason,
        to_tag: Some(replied.to_tag),
    };
    journal::write(call, &event, sinks, &state.acc_table);
}

/// Cancelled calls that are remembered until their INVITE has failed, which is a moment later.
const MOST_ELSEWHERE: usize = 4096;

/// Takes down that a call which is being cancelled was answered elsewhere (RFC 3326 section 2: cause 200).
fn note_elsewhere(call: &Call<'_>, state: &Accounting) {
    let message = &call.context.message;
    let is_elsewhere = message.headers_with_name(b"Reason").any(|header| {
        let text = String::from_utf8_lossy(&header.unfolded()).to_ascii_lowercase();
        text.split(',').any(|reason| {
            let mut parts = reason.split(';').map(str::trim);
            parts.next() == Some("sip") && parts.any(|part| part.replace(' ', "") == "cause=200")
        })
    });
    if is_elsewhere {
        let mut elsewhere = state.elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
        if elsewhere.len() >= MOST_ELSEWHERE {
            elsewhere.pop_front();
        }
        elsewhere.push_back(Bytes::copy_from_slice(message.call_id()));
    }
}

/// Whether a failed call was answered elsewhere: nobody has missed it.
fn was_elsewhere(call: &Call<'_>, state: &Accounting) -> bool {
    let mut elsewhere = state.elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
    let before = elsewhere.len();
    elsewhere.retain(|call_id| call_id != call.context.message.call_id());
    elsewhere.len() < before
}

fn is_skipped_cancel(call: &Call<'_>, state: &Accounting) -> bool {
    call.context.message.method() == Method::Cancel && !state.reports_cancels
}

fn is_accounted(call: &Call<'_>, state: &Accounting, replied: &Replied<'_>) -> bool {
    match replied.code {
        // Ringing with music is worth money to some; only a body brings any.
        ..=199 => state.reports_early_media && replied.reply.is_some_and(|reply| !reply.body().is_empty()),
        200..=299 => true,
        _ => state.reports_failures || state.failed_flag.is_some_and(|flag| call.context.has_flag(flag)),
    }
}

/// A call that reached nobody. The flags are taken off: each attempt is missed once, and a failure route that tries
/// elsewhere sets them again where it wants to.
fn on_missed(call: &mut Call<'_>, event: &Event<'_>) {
    let state = call.state::<Accounting>();
    if call.context.message.method() != Method::Invite {
        return;
    }
    let sinks = state.wanted_missed(call.context);
    if sinks.is_empty() || was_elsewhere(call, state) {
        return;
    }
    journal::write(call, event, sinks, &state.missed_table);
    for flag in [state.log_missed_flag, state.db_missed_flag].into_iter().flatten() {
        call.context.set_flag(flag, false);
    }
}

fn on_ack(call: &mut Call<'_>) {
    let state = call.state::<Accounting>();
    let sinks: Sinks = state.wanted(call.context);
    if state.reports_acks && !sinks.is_empty() {
        let event = Event { occasion: Occasion::Acknowledged, code: 200, reason: b"", to_tag: None };
        journal::write(call, &event, sinks, &state.acc_table);
    }
}
