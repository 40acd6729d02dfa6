//! `cfg.*`: settings of the running server, as Kamailio's cfg_rpc has them.

use std::sync::{MutexGuard, PoisonError};

use module_api::{Answer, ArgumentKind, Command, CommandCall, CommandParam, Data};

use super::{OfServer, SettingValue, server};

const GROUP: CommandParam = CommandParam::required("group", ArgumentKind::Str, "The group: `core`, or a module.");
const NAME: CommandParam = CommandParam::required("name", ArgumentKind::Str, "The setting.");

pub(super) static COMMANDS: &[Command] = &[
    Command {
        name: "cfg.list",
        params: &[CommandParam::optional("group", ArgumentKind::Str, "Only this group.")],
        doc: "Lists the settings of the running server.",
        result: "a line `group: name` for each.",
        example: "cfg.list core",
        run: |call| {
            let names = matching(call).map(|setting| format!("{}: {}", setting.group, setting.name));
            names.collect::<Data>().into()
        },
        ..Command::EMPTY
    },
    Command {
        name: "cfg.get",
        params: &[
            GROUP,
            CommandParam::optional("name", ArgumentKind::Str, "The setting; without it all of the group are shown."),
        ],
        doc: "Shows the value of a setting, or of all settings of a group.",
        result: "the value, or a struct of values by name.",
        example: "cfg.get core debug",
        run: get,
        ..Command::EMPTY
    },
    Command {
        name: "cfg.help",
        params: &[GROUP, NAME],
        doc: "Explains a setting.",
        result: "a text.",
        example: "cfg.help core debug",
        run: |call| match matching(call).find(|setting| Some(&*setting.name) == call.text(1)) {
            Some(setting) => {
                let when = if setting.is_live { "can be changed while the server runs" } else { "is read at start" };
                format!("{} It {when}.", setting.doc).into()
            }
            None => absent(call),
        },
        ..Command::EMPTY
    },
    Command {
        name: "cfg.set",
        aliases: &["cfg.set_now_int", "cfg.set_now_string", "cfg.seti", "cfg.sets"],
        params: &[GROUP, NAME, CommandParam::required("value", ArgumentKind::Any, "Its new value.")],
        doc: "Changes a setting at once. `cfg.list` and `cfg.help` tell which there are and which can be changed.",
        result: "nothing.",
        example: "cfg.set core debug 3",
        run: |call| {
            let (group, name) = (call.text(0).unwrap_or_default(), call.text(1).unwrap_or_default());
            match server(call).set(group, name, &call.args[2]) {
                Ok(()) => Data::Null.into(),
                Err(error) => Answer::error(400, error.0),
            }
        },
    },
    Command {
        name: "cfg.set_delayed",
        aliases: &["cfg.set_delayed_int", "cfg.set_delayed_string"],
        params: &[GROUP, NAME, CommandParam::required("value", ArgumentKind::Any, "Its new value.")],
        doc: "Notes a change of a setting, for `cfg.commit` to make together with others; 64 at most.",
        result: "nothing.",
        example: "cfg.set_delayed core debug 3",
        run: |call| {
            let mut pending = pending(call);
            let [group, name] = [0, 1].map(|n| call.text(n).unwrap_or_default().to_owned());
            if !server(call).settings().iter().any(|setting| setting.group == group && setting.name == name) {
                return absent(call);
            }
            pending.retain(|change| (&change.0, &change.1) != (&group, &name));
            if pending.len() >= MOST_PENDING {
                return Answer::error(
                    507,
                    "there are too many changes; `cfg.commit` makes them, `cfg.rollback` drops them",
                );
            }
            pending.push((group, name, call.args[2].clone()));
            Data::Null.into()
        },
    },
    Command {
        name: "cfg.commit",
        doc: "Makes the changes that were noted. The first that cannot be made is named, and stays noted with those after it.",
        result: "nothing.",
        example: "cfg.commit",
        run: |call| {
            let mut pending = pending(call);
            while let Some((group, name, value)) = pending.first() {
                if let Err(error) = server(call).set(group, name, value) {
                    return Answer::error(400, error.0);
                }
                pending.remove(0);
            }
            Data::Null.into()
        },
        ..Command::EMPTY
    },
    Command {
        name: "cfg.rollback",
        doc: "Drops the changes that were noted.",
        result: "nothing.",
        example: "cfg.rollback",
        run: |call| {
            pending(call).clear();
            Data::Null.into()
        },
        ..Command::EMPTY
    },
    Command {
        name: "cfg.diff",
        doc: "Lists the changes that were noted and are not made yet.",
        result: "`group name`, `variable name`, the `old value` and the `new value` of each.",
        example: "cfg.diff",
        run: |call| {
            let settings = server(call).settings();
            let row = |(group, name, value): &(String, String, Data)| {
                let old = settings.iter().find(|setting| setting.group == *group && setting.name == *name);
                Data::of([
                    ("group name", group.as_str().into()),
                    ("variable name", name.as_str().into()),
                    ("old value", old.map_or(Data::Null, |setting| setting.value.clone())),
                    ("new value", value.clone()),
                ])
            };
            pending(call).iter().map(row).collect::<Data>().into()
        },
        ..Command::EMPTY
    },
    Command {
        name: "corex.debug",
        aliases: &["debug", "log_level"],
        params: &[CommandParam::optional("level", ArgumentKind::Int, "The new level, as the script's `debug` counts.")],
        doc: "Shows or changes how much is logged.",
        result: "the level.",
        example: "corex.debug 3",
        run: |call| {
            if let Some(level) = call.int(0)
                && let Err(error) = server(call).set("core", "debug", &level.into())
            {
                return Answer::error(400, error.0);
            }
            let debug = server(call).settings().into_iter().find(|s| s.group == "core" && s.name == "debug");
            debug.map_or(Data::Null, |setting| setting.value).into()
        },
    },
];

/// Changes that may wait for `cfg.commit`.
const MOST_PENDING: usize = 64;

fn pending<'a>(call: &CommandCall<'a>) -> MutexGuard<'a, Vec<(String, String, Data)>> {
    call.state::<OfServer>().pending.lock().unwrap_or_else(PoisonError::into_inner)
}

fn matching<'a>(call: &CommandCall<'a>) -> impl Iterator<Item = SettingValue> + 'a {
    let group = call.text(0);
    server(call).settings().into_iter().filter(move |setting| group.is_none_or(|group| setting.group == group))
}

fn get(call: &CommandCall<'_>) -> Answer {
    let found: Vec<SettingValue> = matching(call).collect();
    match call.text(1) {
        Some(name) => match found.into_iter().find(|setting| setting.name == name) {
            Some(setting) => Answer::Now(Ok(setting.value)),
            None => absent(call),
        },
        None if found.is_empty() => absent(call),
        None => Data::Struct(found.into_iter().map(|setting| (setting.name.into(), setting.value)).collect()).into(),
    }
}

fn absent(call: &CommandCall<'_>) -> Answer {
    let names: Vec<&str> =
        call.args.iter().filter_map(|arg| if let Data::Str(text) = arg { Some(&**text) } else { None }).collect();
    Answer::error(404, format!("there is no setting `{}`; `cfg.list` lists them", names.join(".")))
}
