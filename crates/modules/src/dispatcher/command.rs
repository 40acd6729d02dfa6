//! What an operator can ask and tell about gateways.

use module_api::{Answer, ArgumentKind, Command, CommandCall, CommandError, CommandParam, Data};

use super::Dispatcher;
use super::target::{Target, read_state};

pub(super) static ALL: [Command; 5] = [
    Command {
        name: "dispatcher.list",
        aliases: &["ds_list"],
        params: &[],
        doc: "Lists every gateway with its state.",
        result: "For each: set, URI, state in letters (A active, I inactive, T trying, D disabled; P probed), priority and attributes.",
        example: "dispatcher.list",
        run: |call| {
            let mut targets = call.state::<Dispatcher>().targets();
            targets.sort_by_key(|target| target.set);
            Answer::Now(Ok(Data::List(targets.iter().map(|target| shown(target)).collect())))
        },
    },
    Command {
        name: "dispatcher.reload",
        aliases: &["ds_reload"],
        params: &[],
        doc: "Reads the list again. What is known of gateways that stay is kept; a list with a mistake changes nothing.",
        result: "Nothing.",
        example: "dispatcher.reload",
        run: |call| {
            let state = call.shared_state::<Dispatcher>();
            Answer::later(async move {
                state.reload().await.map_err(|cause| CommandError::new(500, cause))?;
                Dispatcher::resolve(state.targets()).await;
                Ok(Data::Null)
            })
        },
    },
    Command {
        name: "dispatcher.add",
        aliases: &["ds_add"],
        params: &[
            CommandParam::required("set", ArgumentKind::Int, "The set."),
            CommandParam::required("uri", ArgumentKind::Str, "The gateway, a SIP URI."),
            CommandParam::optional("flags", ArgumentKind::Any, "As in the list."),
            CommandParam::optional("priority", ArgumentKind::Int, "As in the list."),
            CommandParam::optional("attrs", ArgumentKind::Str, "As in the list."),
        ],
        doc: "Adds a gateway until the list is read again. The list itself is not changed.",
        result: "Nothing.",
        example: "dispatcher.add 1 sip:192.0.2.7:5060",
        run: |call| {
            let words: Vec<String> = call.args.iter().map(Data::to_text).filter(|word| !word.is_empty()).collect();
            let state = call.shared_state::<Dispatcher>();
            match super::list::parse(&words.join(" ")) {
                Ok(new) => match state.change(|sets| super::list::add(sets, new)) {
                    Ok(()) => Answer::later(async move {
                        Dispatcher::resolve(state.targets()).await;
                        Ok(Data::Null)
                    }),
                    Err(cause) => Answer::error(409, cause),
                },
                Err(cause) => Answer::error(400, cause),
            }
        },
    },
    Command {
        name: "dispatcher.remove",
        aliases: &["ds_remove"],
        params: &[
            CommandParam::required("set", ArgumentKind::Int, "The set."),
            CommandParam::required("uri", ArgumentKind::Str, "The gateway, as in the list."),
        ],
        doc: "Takes a gateway away until the list is read again. The list itself is not changed.",
        result: "Nothing.",
        example: "dispatcher.remove 1 sip:192.0.2.7:5060",
        run: |call| {
            let (set, uri) = (call.int(0).unwrap_or_default(), call.text(1).unwrap_or_default());
            match call.state::<Dispatcher>().change(|sets| super::list::remove(sets, set, uri.as_bytes())) {
                Ok(()) => Data::Null.into(),
                Err(cause) => Answer::error(404, cause),
            }
        },
    },
    Command {
        name: "dispatcher.set_state",
        aliases: &["ds_set_state"],
        params: &[
            CommandParam::required("state", ArgumentKind::Str, "Letters: a, i, t or d, and p to have it probed."),
            CommandParam::required("set", ArgumentKind::Int, "The set."),
            CommandParam::required("uri", ArgumentKind::Str, "The gateway, as in the list."),
        ],
        doc: "Sets the state of a gateway.",
        result: "Nothing.",
        example: "dispatcher.set_state d 1 sip:192.0.2.7:5060",
        run: set_state,
    },
];

fn shown(target: &Target) -> Data {
    let latency = target.latency();
    Data::of([
        ("set", target.set.into()),
        ("uri", Data::text(&target.uri)),
        ("flags", target.state_letters().into()),
        ("priority", target.priority.into()),
        ("attrs", Data::text(&target.attrs.text)),
        ("latency_avg", Data::Float(latency.average)),
        ("latency_max", Data::Float(latency.max)),
        ("timeouts", i64::from(latency.timeouts).into()),
    ])
}

fn set_state(call: &CommandCall<'_>) -> Answer {
    let (text, uri) = (call.text(0).unwrap_or_default(), call.text(2).unwrap_or_default());
    let Some(state) = read_state(text.as_bytes()) else {
        return Answer::error(400, "a state is made of a, i, t, d and p, such as `ip`");
    };
    let sets = call.state::<Dispatcher>().sets();
    let set = call.int(1).and_then(|set| sets.0.get(&set));
    let Some(target) = set.and_then(|set| set.targets.iter().find(|target| target.uri == uri.as_bytes())) else {
        return Answer::Now(Err(CommandError::new(404, "there is no such gateway; dispatcher.list shows all")));
    };
    target.set_state(state);
    Data::Null.into()
}
