//! Dialogs in variables.

use bytes::Bytes;
use module_api::{Call, Fault, KeyRule, Routes, Selector, Value, Variable};

use super::call::{Side, Stage};
use super::track::{seconds, uri_of};
use super::{Dialogs, current, side};

pub(super) static ALL: [Variable; 6] = [
    Variable {
        name: "dlg_var",
        key: KeyRule::Required,
        routes: Routes::ANY,
        doc: "A variable of the dialog: every message of the call reads what one has written.",
        example: "$dlg_var(caller) = $fu;",
        read: |call, selector| {
            let value = current(call).and_then(|dialog| dialog.facts().vars.first(selector.key()).cloned());
            value.unwrap_or_default()
        },
        write: Some(|call, selector, value| {
            let Some(dialog) = current(call) else { return Err(no_dialog()) };
            let name = Bytes::copy_from_slice(selector.key());
            let vars = &mut dialog.facts().vars;
            vars.remove(&name);
            if !value.is_null() && !vars.push(name, value) {
                return Err(Fault { code: -1, cause: "the dialog has too many variables".into() });
            }
            call.state::<Dialogs>().touch(&dialog);
            Ok(())
        }),
    },
    Variable {
        name: "dlg",
        key: KeyRule::Required,
        routes: Routes::ANY,
        doc: "The dialog: h_entry, h_id, ref, state (1 seen, 2 rings, 3 answered, 4 up, 5 over), callid, from_uri, to_uri, \
              from_tag, to_tag, from_cseq, to_cseq, from_contact, to_contact, lifetime, start_ts, dflags.",
        example: "xlog(\"$dlg(callid) since $dlg(start_ts)\\n\");",
        read: dialog,
        write: None,
    },
    Variable {
        name: "dlg_ctx",
        key: KeyRule::Required,
        routes: Routes::ANY,
        doc: "The dialog of the message: on (1 when it is tracked), dir (1 from the caller, 2 from the callee), timeout \
              (seconds), timeout_bye (whether its end brings BYEs), flags.",
        example: "$dlg_ctx(timeout_bye) = 1;",
        read: context,
        write: Some(set_context),
    },
    plain("DLG_count", "How many dialogs are tracked.", "xlog(\"$DLG_count calls\\n\");", |call, _| {
        Value::Int(call.state::<Dialogs>().table.len() as i64)
    }),
    plain(
        "DLG_status",
        "The state of the dialog, as $dlg(state); undefined without one.",
        "xlog(\"$DLG_status\\n\");",
        |call, _| current(call).map_or(Value::Null, |dialog| Value::Int(dialog.facts().stage as i64)),
    ),
    plain("DLG_lifetime", "For how many seconds the call has been up.", "xlog(\"$DLG_lifetime s\\n\");", |call, _| {
        let now = call.host.unix_time();
        current(call).map_or(Value::Null, |dialog| {
            let facts = dialog.facts();
            let is_up = facts.stage >= Stage::Answered;
            Value::Int(if is_up { seconds(now.saturating_sub(facts.started)) } else { 0 })
        })
    }),
];

const fn plain(
    name: &'static str,
    doc: &'static str,
    example: &'static str,
    read: fn(&mut Call<'_>, &Selector<'_>) -> Value,
) -> Variable {
    Variable { name, key: KeyRule::None, routes: Routes::ANY, doc, example, read, write: None }
}

fn no_dialog() -> Fault {
    Fault { code: -1, cause: "the message is of no dialog that is tracked; dlg_manage() tracks it".into() }
}

fn dialog(call: &mut Call<'_>, selector: &Selector<'_>) -> Value {
    let Some(dialog) = current(call) else { return Value::Null };
    let facts = dialog.facts();
    let text = |text: &Bytes| Value::Str(text.clone());
    match selector.key() {
        b"h_entry" => Value::Int(dialog.entry.into()),
        b"h_id" => Value::Int(dialog.id.into()),
        b"ref" => Value::Int(std::sync::Arc::strong_count(&dialog) as i64),
        b"state" => Value::Int(facts.stage as i64),
        b"callid" => text(&dialog.call_id),
        b"from_uri" => Value::Str(uri_of(&facts.from)),
        b"to_uri" => Value::Str(uri_of(&facts.to)),
        b"req_uri" => text(&facts.request_uri),
        b"from_tag" => text(&dialog.from_tag),
        b"to_tag" => text(&facts.to_tag),
        b"from_cseq" => Value::Int(facts.caller.cseq.into()),
        b"to_cseq" => Value::Int(facts.callee.cseq.into()),
        b"from_contact" => text(&facts.caller.contact),
        b"to_contact" => text(&facts.callee.contact),
        b"lifetime" => Value::Int(seconds(facts.lifetime)),
        b"start_ts" => Value::Int(seconds(facts.started)),
        b"dflags" | b"sflags" => Value::Int(facts.flags.into()),
        _ => Value::Null,
    }
}

fn context(call: &mut Call<'_>, selector: &Selector<'_>) -> Value {
    let found = current(call);
    let of = |value: i64| Value::Int(value);
    match (selector.key(), found) {
        (b"on", found) => of(i64::from(found.is_some())),
        (b"dir", _) => of(side(call).map_or(0, |(_, side)| if side == Side::Caller { 1 } else { 2 })),
        (_, None) => Value::Null,
        (b"timeout", Some(dialog)) => of(seconds(dialog.facts().lifetime)),
        (b"timeout_bye", Some(dialog)) => of(i64::from(dialog.facts().ends_with_bye)),
        (b"flags", Some(dialog)) => of(dialog.facts().flags.into()),
        _ => Value::Null,
    }
}

fn set_context(call: &mut Call<'_>, selector: &Selector<'_>, value: Value) -> Result<(), Fault> {
    let Some(dialog) = current(call) else { return Err(no_dialog()) };
    let number = value.to_int();
    match selector.key() {
        b"timeout_bye" => dialog.facts().ends_with_bye = number != 0,
        b"flags" => dialog.facts().flags = number as u32,
        b"timeout" => {
            let state = call.shared_state::<Dialogs>();
            let lifetime = std::time::Duration::from_secs(u64::try_from(number).unwrap_or(0).max(1));
            super::track::set_lifetime(&state, &dialog, lifetime, call.host);
        }
        _ => return Err(Fault { code: -1, cause: "of $dlg_ctx timeout, timeout_bye and flags can be set".into() }),
    }
    call.state::<Dialogs>().touch(&dialog);
    Ok(())
}
