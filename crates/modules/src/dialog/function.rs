//! What scripts do with dialogs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use module_api::{Call, Function, Outcome, Param, ParamKind, Routes, Value};
use sip_message::Method;

use super::call::{Dialog, Side, request_to};
use super::{Chosen, Dialogs, current, side, track};

const NONE: &[Param] = &[];

pub(super) const MANAGE: Function = Function {
    name: "dlg_manage",
    params: NONE,
    routes: Routes::REQUEST,
    doc: "Tracks the dialog of an initial INVITE; for a request within a dialog true when it is tracked. To be called \
          before the relay; with record_route(), so that the BYE passes here.",
    example: "if (is_method(\"INVITE\")) dlg_manage();",
    run: |call| {
        let message = &call.context.message;
        match message.method() {
            Method::Invite if message.to_tag().is_none() => track::begin(call).is_some().into(),
            Method::Cancel => Outcome::TRUE,
            _ => side(call).is_some().into(),
        }
    },
};

pub(super) const IS_KNOWN: Function = Function {
    name: "is_known_dlg",
    params: NONE,
    routes: Routes::ANY,
    doc: "True when the message belongs to a dialog that is tracked.",
    example: "if (has_totag() && !is_known_dlg()) { sl_send_reply(\"481\", \"No Such Call\"); exit; }",
    run: |call| current(call).is_some().into(),
};

pub(super) const GET: Function = Function {
    name: "dlg_get",
    params: &[
        Param::required("call-id", ParamKind::Format),
        Param::required("from tag", ParamKind::Format),
        Param::required("to tag", ParamKind::Format),
    ],
    routes: Routes::ANY,
    doc: "Chooses the dialog that the functions and variables which follow are about, by Call-ID and tags.",
    example: "if (dlg_get(\"$ci\", \"$ft\", \"$tt\")) dlg_bye(\"all\");",
    run: |call| {
        let (call_id, from, to) = (call.text(0), call.text(1), call.text(2));
        match call.state::<Dialogs>().table.find(&call_id, &from, &to) {
            Some(dialog) => {
                call.context.set_note(Chosen(dialog));
                Outcome::TRUE
            }
            None => Outcome::FALSE,
        }
    },
};

pub(super) const BYE: Function = Function {
    name: "dlg_bye",
    params: &[Param::required("side", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Ends the call with a BYE of the server's own to \"caller\", \"callee\" or \"all\". A call that still rings is \
          ended with the status of bye_early_code.",
    example: "dlg_bye(\"all\");",
    run: |call| {
        let Some(dialog) = current(call) else { return Outcome::FALSE };
        let text = call.text(0);
        let Some(sides) = sides(&text) else {
            return Outcome::fail("dlg_bye knows \"caller\", \"callee\" and \"all\"");
        };
        let state = call.shared_state::<Dialogs>();
        track::say_bye(&state, &dialog, call.host, sides);
        Outcome::TRUE
    },
};

/// The sides that a script or a command names.
pub(super) fn sides(text: &[u8]) -> Option<&'static [Side]> {
    Some(match text {
        b"caller" => &[Side::Caller],
        b"callee" => &[Side::Callee],
        b"all" | b"both" => &[Side::Caller, Side::Callee],
        _ => return None,
    })
}

pub(super) const SET_TIMEOUT: Function = Function {
    name: "dlg_set_timeout",
    params: &[Param::required("seconds", ParamKind::Int)],
    routes: Routes::ANY,
    doc: "Gives the call so many seconds: from now when it is up, else from its answer.",
    example: "dlg_set_timeout(3600);",
    run: |call| {
        let dialog = current(call);
        set_timeout(call, dialog)
    },
};

pub(super) const SET_TIMEOUT_OF: Function = Function {
    name: "dlg_set_timeout",
    params: &[
        Param::required("seconds", ParamKind::Int),
        Param::required("entry", ParamKind::Int),
        Param::required("id", ParamKind::Int),
    ],
    routes: Routes::ANY,
    doc: "As above, for the dialog with those numbers ($dlg(h_entry) and $dlg(h_id)).",
    example: "dlg_set_timeout(60, \"$var(entry)\", \"$var(id)\");",
    run: |call| {
        let number = |n| call.int(n).and_then(|number| u32::try_from(number).ok());
        let (Some(entry), Some(id)) = (number(1), number(2)) else { return Outcome::FALSE };
        let dialog = call.state::<Dialogs>().table.numbered(entry, id);
        set_timeout(call, dialog)
    },
};

fn set_timeout(call: &mut Call<'_>, dialog: Option<Arc<Dialog>>) -> Outcome {
    let Some(dialog) = dialog else { return Outcome::FALSE };
    let Some(seconds) = call.int(0).and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0)
    else {
        return Outcome::fail("dlg_set_timeout needs seconds above 0");
    };
    let state = call.shared_state::<Dialogs>();
    track::set_lifetime(&state, &dialog, Duration::from_secs(seconds), call.host);
    Outcome::TRUE
}

const FLAG: &[Param] = &[Param::required("flag", ParamKind::Flag)];

pub(super) const SET_FLAG: Function = Function {
    name: "dlg_setflag",
    params: FLAG,
    routes: Routes::ANY,
    doc: "Sets a flag of the dialog.",
    example: "dlg_setflag(\"1\");",
    run: |call| flag(call, |flags, bit| *flags |= bit),
};

pub(super) const RESET_FLAG: Function = Function {
    name: "dlg_resetflag",
    params: FLAG,
    routes: Routes::ANY,
    doc: "Clears a flag of the dialog.",
    example: "dlg_resetflag(\"1\");",
    run: |call| flag(call, |flags, bit| *flags &= !bit),
};

pub(super) const IS_FLAG_SET: Function = Function {
    name: "dlg_isflagset",
    params: FLAG,
    routes: Routes::ANY,
    doc: "True when a flag of the dialog is set.",
    example: "if (dlg_isflagset(\"1\")) exit;",
    run: |call| {
        let bit = 1_u32.checked_shl(call.int(0).unwrap_or(0) as u32).unwrap_or(0);
        current(call).is_some_and(|dialog| dialog.facts().flags & bit != 0).into()
    },
};

fn flag(call: &mut Call<'_>, change: fn(&mut u32, u32)) -> Outcome {
    let Some(dialog) = current(call) else { return Outcome::FALSE };
    let bit = 1_u32.checked_shl(call.int(0).unwrap_or(0) as u32).unwrap_or(0);
    change(&mut dialog.facts().flags, bit);
    call.state::<Dialogs>().touch(&dialog);
    Outcome::TRUE
}

const PROPERTY: &[Param] = &[Param::required("property", ParamKind::Format)];

pub(super) const SET_PROPERTY: Function = Function {
    name: "dlg_set_property",
    params: PROPERTY,
    routes: Routes::ANY,
    doc: "Sets a property of the dialog: timeout-bye has both sides get a BYE when its time is up. ka-src, ka-dst and \
          timeout-noreset are true, and nothing more.",
    example: "dlg_set_property(\"timeout-bye\");",
    run: |call| property(call, true),
};

pub(super) const RESET_PROPERTY: Function = Function {
    name: "dlg_reset_property",
    params: PROPERTY,
    routes: Routes::ANY,
    doc: "Takes dlg_set_property() back.",
    example: "dlg_reset_property(\"timeout-bye\");",
    run: |call| property(call, false),
};

fn property(call: &mut Call<'_>, is_on: bool) -> Outcome {
    let Some(dialog) = current(call) else { return Outcome::FALSE };
    let name = call.text(0);
    match &name[..] {
        b"timeout-bye" => dialog.facts().ends_with_bye = is_on,
        b"ka-src" | b"ka-dst" | b"timeout-noreset" => {}
        _ => return Outcome::fail("dialog properties are timeout-bye, ka-src, ka-dst and timeout-noreset"),
    }
    call.state::<Dialogs>().touch(&dialog);
    Outcome::TRUE
}

const OTHER: [Param; 4] = [
    Param::required("call-id", ParamKind::Format),
    Param::required("from tag", ParamKind::Format),
    Param::required("to tag", ParamKind::Format),
    Param::required("name", ParamKind::Format),
];

pub(super) const SET_VAR: Function = Function {
    name: "dlg_set_var",
    params: &[OTHER[0], OTHER[1], OTHER[2], OTHER[3], Param::required("value", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Sets a variable of another dialog, named by Call-ID and tags.",
    example: "dlg_set_var(\"$ci\", \"$ft\", \"$tt\", \"paid\", \"yes\");",
    run: |call| {
        let Some(dialog) = other(call) else { return Outcome::FALSE };
        let (name, value) = (call.text(3), call.text(4));
        dialog.facts().vars.replace(name, Value::Str(value));
        call.state::<Dialogs>().touch(&dialog);
        Outcome::TRUE
    },
};

pub(super) const GET_VAR: Function = Function {
    name: "dlg_get_var",
    params: &[OTHER[0], OTHER[1], OTHER[2], OTHER[3], Param::required("into", ParamKind::Output)],
    routes: Routes::ANY,
    doc: "Reads a variable of another dialog, named by Call-ID and tags.",
    example: "dlg_get_var(\"$ci\", \"$ft\", \"$tt\", \"paid\", \"$var(paid)\");",
    run: |call| {
        let Some(dialog) = other(call) else { return Outcome::FALSE };
        let name = call.text(3);
        let value = dialog.facts().vars.first(&name).cloned();
        let Some(value) = value else { return Outcome::FALSE };
        match call.write_output(4, value) {
            Ok(()) => Outcome::TRUE,
            Err(fault) => Outcome::Fail(fault),
        }
    },
};

fn other(call: &Call<'_>) -> Option<Arc<Dialog>> {
    call.state::<Dialogs>().table.find(&call.text(0), &call.text(1), &call.text(2))
}

pub(super) const REQUEST_WITHIN: Function = Function {
    name: "dlg_req_within",
    params: &[
        Param::required("side", ParamKind::Format),
        Param::required("method", ParamKind::Format),
        Param::optional("headers", ParamKind::Format),
        Param::optional("content type", ParamKind::Format),
        Param::optional("content", ParamKind::Format),
    ],
    routes: Routes::ANY,
    doc: "Sends a request within the dialog to \"caller\", \"callee\" or \"all\", as if the other side had sent it.",
    example: "dlg_req_within(\"callee\", \"INFO\", \"X-Note: 1\\r\\n\");",
    run: |call| {
        let Some(dialog) = current(call) else { return Outcome::FALSE };
        let (text, method) = (call.text(0), call.text(1));
        let Some(sides) = sides(&text) else { return Outcome::fail("a side is \"caller\", \"callee\" or \"all\"") };
        let mut headers = call.text(2).to_vec();
        if !headers.is_empty() && !headers.ends_with(b"\r\n") {
            headers.extend_from_slice(b"\r\n");
        }
        let (kind, content) = (call.text(3), call.text(4));
        for side in sides {
            let mut request = request_to(&dialog, *side, &method);
            request.headers = Bytes::from([&request.headers[..], &headers].concat());
            request.body = (!content.is_empty()).then(|| (kind.clone(), content.clone()));
            call.host.request(request, Box::new(|_, _| ()));
        }
        call.state::<Dialogs>().touch(&dialog);
        Outcome::TRUE
    },
};
