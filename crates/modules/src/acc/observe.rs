//! Which transactions are accounted, and when.

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
    state.elsewhere.note(call);
    let sinks = state.wanted(call.context);
    if sinks.is_empty() || !state.rules.accounts(call, replied) {
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

/// A call that reached nobody. The flags are taken off: each attempt is missed once, and a failure route that tries
/// elsewhere sets them again where it wants to.
fn on_missed(call: &mut Call<'_>, event: &Event<'_>) {
    let state = call.state::<Accounting>();
    if call.context.message.method() != Method::Invite {
        return;
    }
    let sinks = state.wanted_missed(call.context);
    if sinks.is_empty() || state.elsewhere.take(call) {
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
    if state.rules.reports_acks && !sinks.is_empty() {
        let event = Event { occasion: Occasion::Acknowledged, code: 200, reason: b"", to_tag: None };
        journal::write(call, &event, sinks, &state.acc_table);
    }
}
