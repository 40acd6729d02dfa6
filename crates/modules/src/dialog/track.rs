//! The life of a dialog (RFC 3261 section 12), as what passes here tells it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use module_api::{Call, Happening, Host, Replied, RouteKind, made_up_context};
use sip_message::{Message, Method, NameAddr, Uri};

use super::call::{Dialog, Side, Stage, request_to};
use super::over::{self, Ending};
use super::{Chosen, Dialogs};

/// Begins to track the dialog of an INVITE, unless that is done already.
pub(super) fn begin(call: &mut Call<'_>) -> Option<Arc<Dialog>> {
    let state = call.shared_state::<Dialogs>();
    let message = Arc::clone(&call.context.message);
    if let Some(Chosen(dialog)) = call.context.note() {
        return Some(Arc::clone(dialog));
    }
    let now = call.host.unix_time();
    let dialog = state.table.begin(&message, call.context.arrival.socket)?;
    {
        let mut facts = dialog.facts();
        facts.created = now;
        facts.identity = crate::auth::verified(call.context)
            .map(|credentials| Bytes::copy_from_slice(credentials.username))
            .unwrap_or_default();
        facts.lifetime = state.settings.lifetime;
        facts.expires = now + state.settings.early;
        facts.ends_with_bye = state.settings.ends_with_bye;
    }
    call.context.set_note(Chosen(Arc::clone(&dialog)));
    if !state.settings.cookie.is_empty() {
        let parameter = format!(";{}={}", state.settings.cookie, dialog.cookie());
        crate::rr::add_parameters(call.context, parameter.as_bytes());
    }
    watch_time(&state, &dialog, call.host);
    Some(dialog)
}

/// Told of everything that happens to transactions.
pub(super) fn observe(call: &mut Call<'_>, happening: &Happening<'_>) {
    let method = call.context.message.method();
    match happening {
        Happening::Replied(replied) if method == Method::Invite && call.context.message.to_tag().is_none() => {
            on_invite_reply(call, replied);
        }
        Happening::Replied(replied) => on_reply_within(call, replied),
        Happening::Acknowledged => on_ack(call),
        Happening::Failed { .. } => {}
    }
}

fn on_invite_reply(call: &mut Call<'_>, replied: &Replied<'_>) {
    let state = call.shared_state::<Dialogs>();
    let is_flagged = state.settings.flag.is_some_and(|flag| call.context.has_flag(flag));
    let known = call.context.note().map(|Chosen(dialog)| Arc::clone(dialog));
    let known = known.or_else(|| state.table.of(&call.context.message).map(|(dialog, _)| dialog));
    let Some(dialog) = known.or_else(|| is_flagged.then(|| begin(call)).flatten()) else { return };
    let stage = dialog.facts().stage;
    match replied.code {
        ..200 if stage == Stage::Unconfirmed => {
            let mut facts = dialog.facts();
            facts.stage = Stage::Early;
            facts.rang = call.host.unix_time();
        }
        ..200 => {}
        200..300 if stage < Stage::Answered => {
            let now = call.host.unix_time();
            let attribute = call.context.avps.first(&state.settings.timeout_attribute).map(|value| value.to_int());
            if let Some(reply) = replied.reply {
                note_callee(call, &dialog, reply);
            }
            {
                let mut facts = dialog.facts();
                facts.stage = Stage::Answered;
                facts.started = now;
                if let Some(seconds) = attribute.and_then(|seconds| u64::try_from(seconds).ok()).filter(|s| *s > 0) {
                    facts.lifetime = Duration::from_secs(seconds);
                }
                facts.expires = now + state.settings.no_ack.min(facts.lifetime);
            }
            watch_time(&state, &dialog, call.host);
            run_event(call, "dialog:start");
            state.touch(&dialog);
        }
        // A second 2xx is of another callee, whom the caller will send a BYE.
        200..300 => {}
        _ if stage < Stage::Answered => {
            end(&state, &dialog);
            call.context.set_note(Chosen(Arc::clone(&dialog)));
            run_event(call, "dialog:failed");
            over::tell(call, &state, &dialog, Ending::Failed, replied.code);
        }
        _ => {}
    }
}

/// A reply to a request within a dialog. Every final reply to a BYE ends it (15.1.1), and so does one that says
/// that there is no dialog, or that nobody answers any more (12.2.1.2).
fn on_reply_within(call: &mut Call<'_>, replied: &Replied<'_>) {
    if replied.code < 200 || call.context.message.to_tag().is_none() {
        return;
    }
    let state = call.shared_state::<Dialogs>();
    let request = Arc::clone(&call.context.message);
    let Some((dialog, side)) = state.table.of(&request) else { return };
    dialog.facts().note_request(side, &request);
    if let (200..300, Some(reply)) = (replied.code, replied.reply) {
        note_target(&dialog, side, &request, reply);
    }
    state.touch(&dialog);
    let is_over = request.method() == Method::Bye || matches!(replied.code, 408 | 481);
    if is_over {
        call.context.set_note(Chosen(Arc::clone(&dialog)));
        end(&state, &dialog);
        run_event(call, "dialog:end");
        let ending = if request.method() == Method::Bye { side.into() } else { Ending::Lost };
        over::tell(call, &state, &dialog, ending, 200);
    }
}

/// Takes down what a 2xx says about the callee.
pub(super) fn note_callee(call: &Call<'_>, dialog: &Dialog, reply: &Message) {
    let host: &dyn Host = call.host;
    dialog.facts().note_callee(reply, |route| is_own(host, route));
}

/// Takes a dialog on to a stage that a script knows of, with its times.
pub(super) fn advance(state: &Arc<Dialogs>, dialog: &Arc<Dialog>, stage: Stage, host: &mut dyn Host) {
    let now = host.unix_time();
    let lifetime = {
        let mut facts = dialog.facts();
        match stage {
            Stage::Unconfirmed => {}
            Stage::Early => facts.rang = now,
            Stage::Answered | Stage::Confirmed if facts.started.is_zero() => facts.started = now,
            Stage::Answered | Stage::Confirmed | Stage::Ended => {}
        }
        facts.stage = stage;
        if stage == Stage::Answered {
            facts.expires = now + state.settings.no_ack.min(facts.lifetime);
        }
        facts.lifetime
    };
    match stage {
        Stage::Confirmed => set_lifetime(state, dialog, lifetime, host),
        Stage::Answered => {
            state.touch(dialog);
            watch_time(state, dialog, host);
        }
        Stage::Ended => {
            end(state, dialog);
            over::tell_without_message(host, state, dialog, Ending::Server);
        }
        Stage::Unconfirmed | Stage::Early => {}
    }
}

/// A target refresh tells both sides where the other is (12.2.1.2).
fn note_target(dialog: &Dialog, sender: Side, request: &Message, reply: &Message) {
    if !matches!(request.method_text(), b"INVITE" | b"UPDATE") {
        return;
    }
    let answering = if sender == Side::Caller { Side::Callee } else { Side::Caller };
    if let Some(contact) = sip_proto::dialog::contact_uri(reply) {
        dialog.facts().leg_mut(answering).contact = contact;
    }
}

fn on_ack(call: &mut Call<'_>) {
    let state = call.shared_state::<Dialogs>();
    let Some((dialog, _)) = state.table.of(&call.context.message) else { return };
    let lifetime = {
        let mut facts = dialog.facts();
        if facts.stage != Stage::Answered {
            return;
        }
        facts.stage = Stage::Confirmed;
        facts.lifetime
    };
    set_lifetime(&state, &dialog, lifetime, call.host);
}

/// Gives a dialog so much time from now.
pub(super) fn set_lifetime(state: &Arc<Dialogs>, dialog: &Arc<Dialog>, lifetime: Duration, host: &mut dyn Host) {
    {
        let mut facts = dialog.facts();
        facts.lifetime = lifetime;
        if facts.stage < Stage::Confirmed {
            // It counts from the moment at which the call is up.
            return;
        }
        facts.expires = host.unix_time() + lifetime;
    }
    state.touch(dialog);
    watch_time(state, dialog, host);
}

/// Comes back to a dialog when its time may be up. In steps: what waits for the end of a call must not be kept long
/// after a call that has ended sooner, or the calls of a busy day fill the worker's memory with it.
pub(super) fn watch_time(state: &Arc<Dialogs>, dialog: &Arc<Dialog>, host: &mut dyn Host) {
    let now = host.unix_time();
    let due = {
        let mut facts = dialog.facts();
        let due = facts.expires.min(now + LOOK);
        if facts.looked_at > now && facts.looked_at <= due {
            return;
        }
        facts.looked_at = due;
        due
    };
    let (weak_state, weak) = (Arc::downgrade(state), Arc::downgrade(dialog));
    let look = move |host: &mut dyn Host| on_time(&weak_state, &weak, due, host);
    if !host.after(due.saturating_sub(now), Box::new(look)) {
        // Too much waits. The next request of the call asks again; without one, only its BYE ends it.
        dialog.facts().looked_at = Duration::ZERO;
    }
}

/// The longest time between two looks at a dialog.
const LOOK: Duration = Duration::from_secs(60);

fn on_time(state: &Weak<Dialogs>, dialog: &Weak<Dialog>, due: Duration, host: &mut dyn Host) {
    let (Some(state), Some(dialog)) = (state.upgrade(), dialog.upgrade()) else { return };
    let (stage, expires, ends_with_bye) = {
        let mut facts = dialog.facts();
        // Another look was set for an earlier end.
        if facts.stage == Stage::Ended || facts.looked_at != due {
            return;
        }
        facts.looked_at = Duration::ZERO;
        (facts.stage, facts.expires, facts.ends_with_bye)
    };
    if expires > host.unix_time() {
        return watch_time(&state, &dialog, host);
    }
    if ends_with_bye && stage >= Stage::Answered {
        hang_up(&state, &dialog, host, &[Side::Caller, Side::Callee], Ending::Timeout);
        return;
    }
    end(&state, &dialog);
    let event = if stage >= Stage::Answered { "dialog:end" } else { "dialog:failed" };
    start_event(&dialog, event, host);
    over::tell_without_message(host, &state, &dialog, Ending::Timeout);
}

/// Ends a call from the middle: a BYE to each of `sides`, or where it still rings a reply to the caller.
pub(super) fn say_bye(state: &Arc<Dialogs>, dialog: &Arc<Dialog>, host: &mut dyn Host, sides: &[Side]) {
    hang_up(state, dialog, host, sides, Ending::Server);
}

fn hang_up(state: &Arc<Dialogs>, dialog: &Arc<Dialog>, host: &mut dyn Host, sides: &[Side], ending: Ending) {
    let stage = dialog.facts().stage;
    if stage == Stage::Ended {
        return;
    }
    if stage < Stage::Answered {
        let reply = (state.settings.early_code, state.settings.early_reason.clone());
        host.intervene(&dialog.call_id, dialog.invite, Some(reply));
        return;
    }
    for side in sides {
        let mut request = request_to(dialog, *side, b"BYE");
        if !state.settings.extra_headers.is_empty() {
            request.headers = [&request.headers[..], &state.settings.extra_headers].concat().into();
        }
        host.request(request, Box::new(|_, _| ()));
    }
    // The other side ends it with a BYE of its own, or its time is up.
    if sides.len() == 2 {
        end(state, dialog);
        start_event(dialog, "dialog:end", host);
        over::tell_without_message(host, state, dialog, ending);
    }
}

fn end(state: &Arc<Dialogs>, dialog: &Arc<Dialog>) {
    dialog.facts().stage = Stage::Ended;
    state.profiles.leave_all(dialog);
    state.table.remove(dialog);
    state.touch(dialog);
}

/// Runs an event's route on the request at hand.
fn run_event(call: &mut Call<'_>, event: &str) {
    if let Some(route) = call.host.find_route(Some(call.context), RouteKind::Event, event) {
        call.host.run_route(route, call.context);
    }
}

/// Runs an event's route where no message is at hand.
fn start_event(dialog: &Arc<Dialog>, event: &str, host: &mut dyn Host) {
    if let Some(route) = host.find_route(None, RouteKind::Event, event) {
        let mut context = made_up_context(host);
        context.set_note(Chosen(Arc::clone(dialog)));
        host.start_route(route, context);
    }
}

fn is_own(host: &dyn Host, route: &[u8]) -> bool {
    let Ok(name) = NameAddr::parse(route) else { return false };
    let Ok(uri) = Uri::parse(name.uri) else { return false };
    host.is_myself(uri.host_text, uri.port, uri.transport())
}

/// The value of a header parameter of a dialog as text.
pub(super) fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// The URI within a From or To value.
pub(super) fn uri_of(value: &Bytes) -> Bytes {
    NameAddr::parse(value).map_or_else(|_| value.clone(), |name| value.slice_ref(name.uri))
}
