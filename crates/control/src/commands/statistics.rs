//! `stats.*` and `cnt.*`: what the server has counted.

use std::borrow::Cow;

use module_api::{Answer, ArgumentKind, Command, CommandCall, CommandError, CommandParam, Data, Reading};

use super::server;

const WHICH: CommandParam = CommandParam::optional(
    "which",
    ArgumentKind::Rest,
    "`all` (the default), a group as `core:`, or names as `rcv_requests` or `core:rcv_requests`.",
);

pub(super) static COMMANDS: &[Command] = &[
    Command {
        name: "stats.get_statistics",
        aliases: &["get_statistics"],
        params: &[WHICH],
        doc: "Shows statistics, as lines.",
        result: "a line `group:name = value` for each.",
        example: "stats.get_statistics core:",
        run: |call| Answer::Now(chosen(call).map(|found| found.iter().map(line).collect())),
    },
    Command {
        name: "stats.fetch",
        params: &[WHICH],
        doc: "Shows statistics by name, values as text.",
        result: "a struct of `group.name` and value.",
        example: "stats.fetch all",
        run: |call| Answer::Now(chosen(call).map(|found| by_name(&found, |value| value.to_string().into()))),
        ..Command::EMPTY
    },
    Command {
        name: "stats.fetchn",
        params: &[WHICH],
        doc: "Shows statistics by name, values as numbers.",
        result: "a struct of `group.name` and value.",
        example: "stats.fetchn core:",
        run: |call| Answer::Now(chosen(call).map(|found| by_name(&found, Data::Int))),
        ..Command::EMPTY
    },
    Command {
        name: "stats.reset_statistics",
        aliases: &["reset_statistics"],
        params: &[WHICH],
        doc: "Sets counters to zero. What shows a state, such as the number of users, stays.",
        result: "a line for each that was reset.",
        example: "stats.reset_statistics core:",
        run: |call| {
            Answer::Now(chosen(call).map(|found| found.iter().filter(|reading| reading.reset()).map(line).collect()))
        },
    },
    Command {
        name: "stats.clear_statistics",
        aliases: &["clear_statistics"],
        params: &[WHICH],
        doc: "Shows statistics and sets counters to zero.",
        result: "a line `group:name = value` for each, with the value from before.",
        example: "stats.clear_statistics core:",
        run: |call| {
            let clear = |reading: &Reading| {
                let shown = line(reading);
                reading.reset();
                shown
            };
            Answer::Now(chosen(call).map(|found| found.iter().map(clear).collect()))
        },
    },
    Command {
        name: "tm.stats",
        aliases: &["t_stats"],
        params: &[],
        doc: "Counts transactions.",
        result: "how many are held, how many there were, and how they ended by class.",
        example: "tm.stats",
        run: |call| {
            let value =
                |name: &str| Data::from(server(call).statistics().find(name).and_then(|one| one.value()).unwrap_or(0));
            Data::of([
                ("current", value("tmx:inuse_transactions")),
                ("total", value("tmx:UAS_transactions")),
                ("rpl_received", value("core:rcv_replies")),
                ("6xx", value("tmx:6xx_transactions")),
                ("5xx", value("tmx:5xx_transactions")),
                ("4xx", value("tmx:4xx_transactions")),
                ("3xx", value("tmx:3xx_transactions")),
                ("2xx", value("tmx:2xx_transactions")),
            ])
            .into()
        },
    },
    Command {
        name: "sl.stats",
        aliases: &["sl_stats"],
        params: &[],
        doc: "Counts replies that were sent without a transaction, by code and class.",
        result: "a struct of code or class and count.",
        example: "sl.stats",
        run: |call| {
            let all = server(call).statistics().all().into_iter().filter(|one| one.group == "sl");
            let by_code = all.filter_map(|one| {
                let code = one.name.strip_suffix("_replies").filter(|code| *code != "sent")?;
                Some((code.to_owned().into(), one.value().unwrap_or(0).into()))
            });
            Data::Struct(by_code.collect()).into()
        },
    },
    Command {
        name: "cnt.grps_list",
        aliases: &["cnt.list_groups"],
        params: &[],
        doc: "Lists the groups of statistics.",
        result: "a list of names.",
        example: "cnt.grps_list",
        run: |call| {
            let mut groups: Vec<_> = server(call).statistics().all().into_iter().map(|one| one.group).collect();
            groups.dedup();
            groups.into_iter().map(Cow::into_owned).collect::<Data>().into()
        },
    },
    Command {
        name: "cnt.var_list",
        aliases: &["cnt.list_vars"],
        params: &[CommandParam::required("group", ArgumentKind::Str, "The group.")],
        doc: "Lists the statistics of a group.",
        result: "a list of names.",
        example: "cnt.var_list core",
        run: |call| {
            let group = call.text(0).unwrap_or_default();
            let all = server(call).statistics().all().into_iter().filter(|one| one.group == group);
            all.map(|one| one.name.into_owned()).collect::<Data>().into()
        },
    },
    Command {
        name: "cnt.get",
        aliases: &["cnt.get_raw"],
        params: ONE,
        doc: "Shows one statistic.",
        result: "its value.",
        example: "cnt.get core rcv_requests",
        run: |call| {
            let absent = || Answer::Now(Err(absent(call.text(1).unwrap_or_default())));
            one(call, |reading| reading.value().map_or_else(absent, Answer::from))
        },
    },
    Command {
        name: "cnt.help",
        params: ONE,
        doc: "Explains one statistic.",
        result: "a text.",
        example: "cnt.help core rcv_requests",
        run: |call| one(call, |reading| Data::from(&*reading.doc).into()),
        ..Command::EMPTY
    },
    Command {
        name: "cnt.reset",
        params: ONE,
        doc: "Sets one counter to zero. What shows a state, such as the number of users, stays.",
        result: "nothing.",
        example: "cnt.reset core rcv_requests",
        run: |call| {
            one(call, |reading| {
                reading.reset();
                Data::Null.into()
            })
        },
        ..Command::EMPTY
    },
    Command {
        name: "cnt.grp_get_all",
        aliases: &["cnt.get_vars"],
        params: &[CommandParam::required("group", ArgumentKind::Str, "The group.")],
        doc: "Shows the statistics of a group.",
        result: "a struct of name and value.",
        example: "cnt.grp_get_all core",
        run: |call| {
            let group = call.text(0).unwrap_or_default();
            let all = server(call).statistics().all().into_iter().filter(|one| one.group == group);
            Data::Struct(all.map(|one| (one.name.clone(), one.value().unwrap_or(0).into())).collect()).into()
        },
    },
];

const ONE: &[CommandParam] = &[
    CommandParam::required("group", ArgumentKind::Str, "The group."),
    CommandParam::required("name", ArgumentKind::Str, "The name within the group."),
];

fn one(call: &CommandCall<'_>, answer: impl FnOnce(&Reading) -> Answer) -> Answer {
    let name = format!("{}:{}", call.text(0).unwrap_or_default(), call.text(1).unwrap_or_default());
    match server(call).statistics().find(&name) {
        Some(reading) => answer(&reading),
        None => Answer::Now(Err(absent(&name))),
    }
}

fn chosen(call: &CommandCall<'_>) -> Result<Vec<Reading>, CommandError> {
    let statistics = server(call).statistics();
    if call.args.is_empty() {
        return Ok(statistics.all());
    }
    let mut found = Vec::new();
    for which in call.args.iter().map(Data::to_text) {
        if which == "all" {
            found.extend(statistics.all());
        } else if let Some(group) = which.strip_suffix([':', '.']) {
            let before = found.len();
            found.extend(statistics.all().into_iter().filter(|reading| reading.group == group));
            if found.len() == before {
                return Err(absent(&which));
            }
        } else {
            found.push(statistics.find(&which).ok_or_else(|| absent(&which))?);
        }
    }
    Ok(found)
}

fn absent(which: &str) -> CommandError {
    CommandError::new(404, format!("there is no statistic `{which}`; `stats.get_statistics all` shows them"))
}

fn line(reading: &Reading) -> String {
    format!("{}:{} = {}", reading.group, reading.name, reading.value().unwrap_or(0))
}

fn by_name(found: &[Reading], show: fn(i64) -> Data) -> Data {
    let field =
        |reading: &Reading| (format!("{}.{}", reading.group, reading.name).into(), show(reading.value().unwrap_or(0)));
    Data::Struct(found.iter().map(field).collect())
}
