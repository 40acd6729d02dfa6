//! What an operator can ask and tell about dialogs.

use std::sync::Arc;

use module_api::{Answer, ArgumentKind, Command, CommandCall, CommandParam, Data};

use super::Dialogs;
use super::call::{Dialog, Side};
use super::track::{say_bye, seconds};
use super::transfer;

const CALL: [CommandParam; 3] = [
    CommandParam::required("call-id", ArgumentKind::Str, "The Call-ID."),
    CommandParam::required("from", ArgumentKind::Str, "The tag of one side."),
    CommandParam::required("to", ArgumentKind::Str, "The tag of the other side."),
];

pub(super) static ALL: [Command; 10] = [
    Command {
        name: "dlg.list",
        aliases: &["dlg_list"],
        params: &[],
        doc: "Lists every dialog that is tracked.",
        result: "For each: numbers, Call-ID, tags, URIs, state, since when and for how long.",
        example: "dlg.list",
        run: |call| Answer::Now(Ok(Data::List(call.state::<Dialogs>().table.all().iter().map(shown).collect()))),
    },
    Command {
        name: "dlg.list_ctx",
        aliases: &["dlg_list_ctx"],
        params: &[],
        doc: "Lists every dialog that is tracked, with what the script has noted at it.",
        result: "As dlg.list, and `variables` and `profiles` of each.",
        example: "dlg.list_ctx",
        run: |call| {
            Answer::Now(Ok(Data::List(call.state::<Dialogs>().table.all().iter().map(shown_with_notes).collect())))
        },
    },
    Command {
        name: "dlg.dlg_list",
        aliases: &["dlg.dlg_list_ctx"],
        params: &[
            CommandParam::required("call-id", ArgumentKind::Str, "The Call-ID."),
            CommandParam::optional("from", ArgumentKind::Str, "The tag of the caller."),
        ],
        doc: "Shows the dialogs of a Call-ID, with what the script has noted at them.",
        result: "As dlg.list_ctx; error 404 when there is none.",
        example: "dlg.dlg_list 3848276298220188511@198.51.100.7",
        run: |call| {
            let (id, tag) = (call.text(0).unwrap_or_default().as_bytes(), call.text(1).map(str::as_bytes));
            let all = call.state::<Dialogs>().table.all();
            let is_it = |dialog: &&Arc<Dialog>| dialog.call_id == id && tag.is_none_or(|tag| dialog.from_tag == tag);
            let found: Vec<Data> = all.iter().filter(is_it).map(shown_with_notes).collect();
            if found.is_empty() {
                return Answer::error(404, "there is no such dialog; dlg.list shows all");
            }
            Answer::Now(Ok(Data::List(found)))
        },
    },
    Command {
        name: "dlg.briefing",
        aliases: &[],
        params: &[CommandParam::optional(
            "fields",
            ArgumentKind::Str,
            "Letters: f and t for the URIs of From and To, c for the Call-ID, s for the state. Without it all.",
        )],
        doc: "Lists every dialog in brief.",
        result: "For each its numbers and what was asked for.",
        example: "dlg.briefing ft",
        run: |call| {
            let fields = call.text(0).unwrap_or("ftcs");
            let kept = |name: &str| match name {
                "h_entry" | "h_id" => true,
                "from_uri" => fields.contains('f'),
                "to_uri" => fields.contains('t'),
                "call-id" => fields.contains('c'),
                "state" => fields.contains('s'),
                _ => false,
            };
            let brief = |dialog: &Arc<Dialog>| match shown(dialog) {
                Data::Struct(all) => Data::Struct(all.into_iter().filter(|(name, _)| kept(name)).collect()),
                other => other,
            };
            Answer::Now(Ok(Data::List(call.state::<Dialogs>().table.all().iter().map(brief).collect())))
        },
    },
    Command {
        name: "dlg.profile_list",
        aliases: &["profile_list_dlgs"],
        params: &[
            CommandParam::required("profile", ArgumentKind::Str, "The profile."),
            CommandParam::optional("value", ArgumentKind::Str, "Only with this value."),
        ],
        doc: "Lists the dialogs of a profile.",
        result: "As dlg.list.",
        example: "dlg.profile_list caller sip:alice@example.com",
        run: |call| {
            let (name, value) = (call.text(0).unwrap_or_default().as_bytes(), call.text(1).map(str::as_bytes));
            let is_it = |of: &(bytes::Bytes, bytes::Bytes)| of.0 == name && value.is_none_or(|value| of.1 == value);
            let all = call.state::<Dialogs>().table.all();
            let members = all.iter().filter(|dialog| dialog.facts().profiles.iter().any(is_it));
            Answer::Now(Ok(Data::List(members.map(shown).collect())))
        },
    },
    Command {
        name: "dlg.stats_active",
        aliases: &[],
        params: &[],
        doc: "Counts the dialogs that are up, and those on their way.",
        result: "starting, ongoing and all.",
        example: "dlg.stats_active",
        run: |call| {
            let (up, starting) = call.state::<Dialogs>().table.by_stage();
            let data =
                Data::of([("starting", starting.into()), ("ongoing", up.into()), ("all", (up + starting).into())]);
            Answer::Now(Ok(data))
        },
    },
    Command {
        name: "dlg.terminate_dlg",
        aliases: &["dlg_terminate_dlg"],
        params: &CALL,
        doc: "Ends a call with a BYE to both sides; one that still rings is refused.",
        result: "Nothing.",
        example: "dlg.terminate_dlg 3848276298220188511@198.51.100.7 9fxced76sl 8321234356",
        run: |call| {
            let text = |n| call.text(n).unwrap_or_default().as_bytes();
            terminate(call, call.state::<Dialogs>().table.find(text(0), text(1), text(2)))
        },
    },
    Command {
        name: "dlg.end_dlg",
        aliases: &["dlg_end_dlg"],
        params: &[
            CommandParam::required("entry", ArgumentKind::Int, "Its first number."),
            CommandParam::required("id", ArgumentKind::Int, "Its second number."),
        ],
        doc: "As dlg.terminate_dlg, by the numbers that dlg.list shows.",
        result: "Nothing.",
        example: "dlg.end_dlg 17 42",
        run: |call| {
            let number = |n| call.int(n).and_then(|number| u32::try_from(number).ok());
            let (entry, id) = (number(0).unwrap_or(u32::MAX), number(1).unwrap_or(0));
            terminate(call, call.state::<Dialogs>().table.numbered(entry, id))
        },
    },
    Command {
        name: "dlg.bridge_dlg",
        aliases: &["dlg_bridge"],
        params: &[
            CommandParam::required("from", ArgumentKind::Str, "The party that is called, a SIP URI."),
            CommandParam::required("to", ArgumentKind::Str, "The party that it is asked to call, a SIP URI."),
            CommandParam::optional("proxy", ArgumentKind::Str, "Through which the first call goes, a SIP URI."),
        ],
        doc: "Brings two parties together, as dlg_bridge() does.",
        result: "Nothing: whether they talk to each other the server does not learn.",
        example: "dlg.bridge_dlg sip:alice@example.com sip:bob@example.com",
        run: bridge,
    },
    Command {
        name: "dlg.profile_get_size",
        aliases: &["profile_get_size"],
        params: &[
            CommandParam::required("profile", ArgumentKind::Str, "The profile."),
            CommandParam::optional("value", ArgumentKind::Str, "Only with this value."),
        ],
        doc: "Counts the dialogs of a profile.",
        result: "The number.",
        example: "dlg.profile_get_size caller sip:alice@example.com",
        run: |call| {
            let name = call.text(0).unwrap_or_default().as_bytes();
            let size = call.state::<Dialogs>().profiles.size(name, call.text(1).map(str::as_bytes));
            Answer::Now(Ok(size.into()))
        },
    },
];

fn bridge(call: &CommandCall<'_>) -> Answer {
    let text = |n| bytes::Bytes::copy_from_slice(call.text(n).unwrap_or_default().as_bytes());
    let (from, to, proxy) = (text(0), text(1), text(2));
    if ![&from, &to].into_iter().all(|uri| transfer::is_sip(uri)) || !(proxy.is_empty() || transfer::is_sip(&proxy)) {
        return Answer::error(400, "both parties, and the proxy, must be SIP URIs");
    }
    let state = call.shared_state::<Dialogs>();
    let server = Arc::clone(&state.server);
    let name = from.clone();
    let job = move |host: &mut dyn module_api::Host| {
        transfer::bridge(&state.settings, host, (&from, &to), &proxy);
    };
    match server.post(&name, Box::new(job)) {
        Ok(()) => Answer::Now(Ok(Data::Null)),
        Err(_) => Answer::error(503, "the server is too busy at the moment"),
    }
}

fn terminate(call: &CommandCall<'_>, dialog: Option<Arc<Dialog>>) -> Answer {
    let Some(dialog) = dialog else { return Answer::error(404, "there is no such dialog; dlg.list shows all") };
    let state = call.shared_state::<Dialogs>();
    let server = Arc::clone(&state.server);
    let call_id = dialog.call_id.clone();
    // What ends a call is done by the worker that owns it.
    let job = move |host: &mut dyn module_api::Host| {
        say_bye(&state, &dialog, host, &[Side::Caller, Side::Callee]);
    };
    match server.post(&call_id, Box::new(job)) {
        Ok(()) => Answer::Now(Ok(Data::Null)),
        Err(_) => Answer::error(503, "the server is too busy at the moment"),
    }
}

fn shown(dialog: &Arc<Dialog>) -> Data {
    let facts = dialog.facts();
    Data::of([
        ("h_entry", dialog.entry.into()),
        ("h_id", dialog.id.into()),
        ("call-id", Data::text(&dialog.call_id)),
        ("from_uri", Data::text(&super::track::uri_of(&facts.from))),
        ("to_uri", Data::text(&super::track::uri_of(&facts.to))),
        ("from_tag", Data::text(&dialog.from_tag)),
        ("to_tag", Data::text(&facts.to_tag)),
        ("state", (facts.stage as i64).into()),
        ("start_ts", seconds(facts.started).into()),
        ("timeout", seconds(facts.lifetime).into()),
    ])
}

/// With what the script has noted.
fn shown_with_notes(dialog: &Arc<Dialog>) -> Data {
    let mut all = match shown(dialog) {
        Data::Struct(all) => all,
        other => return other,
    };
    let facts = dialog.facts();
    let variable = |(name, value): (&bytes::Bytes, &module_api::Value)| {
        (String::from_utf8_lossy(name).into_owned().into(), Data::text(&value.to_bytes()))
    };
    all.push(("variables".into(), Data::Struct(facts.vars.iter().map(variable).collect())));
    let profile = |(name, value): &(bytes::Bytes, bytes::Bytes)| {
        Data::of([("profile", Data::text(name)), ("value", Data::text(value))])
    };
    all.push(("profiles".into(), facts.profiles.iter().map(profile).collect()));
    Data::Struct(all)
}
