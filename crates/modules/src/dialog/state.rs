//! What scripts tell the module about dialogs that it cannot see by itself.

use std::sync::Arc;

use module_api::{Call, Function, Outcome, Param, ParamKind, RouteKind, Routes};
use sip_message::Method;
use sip_proto::dialog::contact_uri;

use super::call::{Dialog, Side, Stage};
use super::{Dialogs, current, side, track};

pub(super) const SET: Function = Function {
    name: "dlg_set_state",
    params: &[Param::required("state", ParamKind::Int)],
    routes: Routes::ANY,
    doc: "Says how far the dialog has come: 1 unconfirmed, 2 early, 3 answered, 4 confirmed, 5 ended. For calls that are \
          not relayed by a transaction. Never back: false then.",
    example: "dlg_set_state(4);",
    run: |call| {
        let Some(dialog) = current(call) else { return Outcome::FALSE };
        let stage = match call.int(0) {
            Some(1) => Stage::Unconfirmed,
            Some(2) => Stage::Early,
            Some(3) => Stage::Answered,
            Some(4) => Stage::Confirmed,
            Some(5) => Stage::Ended,
            _ => return Outcome::fail("dlg_set_state: a state is a number from 1 to 5"),
        };
        advance(call, &dialog, stage).into()
    },
};

pub(super) const UPDATE: Function = Function {
    name: "dlg_update_state",
    params: &[],
    routes: Routes::ANY,
    doc: "Says that the message at hand has happened to its dialog: a reply to the INVITE, the ACK, the BYE. For calls that \
          are not relayed by a transaction. False when that changes nothing.",
    example: "onreply_route { dlg_update_state(); }",
    run: |call| {
        let Some(dialog) = current(call) else { return Outcome::FALSE };
        let message = Arc::clone(&call.context.message);
        let stage = match (message.status(), message.method()) {
            (Some(100..=199), Method::Invite) => Stage::Early,
            (Some(200..=299), Method::Invite) => Stage::Answered,
            (Some(_), Method::Invite) if dialog.facts().stage < Stage::Answered => Stage::Ended,
            (None, Method::Ack) => Stage::Confirmed,
            (_, Method::Bye) => Stage::Ended,
            _ => return Outcome::FALSE,
        };
        if stage == Stage::Answered && dialog.facts().stage < stage {
            track::note_callee(call, &dialog, &message);
        }
        // An ACK to a failure confirms nothing.
        let is_early_ack = stage == Stage::Confirmed && dialog.facts().stage < Stage::Answered;
        (!is_early_ack && advance(call, &dialog, stage)).into()
    },
};

pub(super) const SET_RURI: Function = Function {
    name: "dlg_set_ruri",
    params: &[],
    routes: Routes::REQUEST.or(Routes::of(RouteKind::Branch)),
    doc: "Makes the Request-URI of a request within a dialog the Contact of the side that it is for. False when the dialog is \
          not tracked, or that side has not told where it is.",
    example: "if (has_totag() && dlg_set_ruri()) t_relay();",
    run: |call| {
        let Some((dialog, sender)) = side(call) else { return Outcome::FALSE };
        let contact = dialog.facts().leg_of_other(sender).contact.clone();
        if contact.is_empty() {
            return Outcome::FALSE;
        }
        call.context.set_uri(contact);
        Outcome::TRUE
    },
};

pub(super) const UPDATE_CONTACT: Function = Function {
    name: "dlg_update_contact",
    params: &[],
    routes: Routes::ANY,
    doc: "Takes the Contact of the message at hand as where its sender is from now on. False when the dialog is not tracked or \
          the message has no Contact.",
    example: "if (is_method(\"UPDATE\")) dlg_update_contact();",
    run: |call| {
        let Some((dialog, sender)) = sender(call) else { return Outcome::FALSE };
        let Some(contact) = contact_uri(&call.context.message) else { return Outcome::FALSE };
        dialog.facts().leg_mut(sender).contact = contact;
        call.state::<Dialogs>().touch(&dialog);
        Outcome::TRUE
    },
};

pub(super) const UPDATE_SOCKET: Function = Function {
    name: "dlg_update_socket",
    params: &[],
    routes: Routes::ANY,
    doc: "Has requests of the server's own to the sender of the message at hand leave from the socket at which it arrived. \
          False when the dialog is not tracked.",
    example: "if (has_totag()) dlg_update_socket();",
    run: |call| {
        let Some((dialog, sender)) = sender(call) else { return Outcome::FALSE };
        dialog.facts().leg_mut(sender).socket = Some(call.context.arrival.socket);
        call.state::<Dialogs>().touch(&dialog);
        Outcome::TRUE
    },
};

/// The dialog of the message, and the side that sent the message: a reply is sent by the other side than its request.
fn sender(call: &Call<'_>) -> Option<(Arc<Dialog>, Side)> {
    let (dialog, side) = side(call)?;
    let sender = if call.context.message.is_request() { side } else { side.other() };
    Some((dialog, sender))
}

/// A dialog goes on to `stage`; false when it is there or further already.
fn advance(call: &mut Call<'_>, dialog: &Arc<Dialog>, stage: Stage) -> bool {
    if dialog.facts().stage >= stage {
        return false;
    }
    let state = call.shared_state::<Dialogs>();
    track::advance(&state, dialog, stage, call.host);
    true
}
