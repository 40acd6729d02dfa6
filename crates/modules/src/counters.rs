//! Numbers that scripts count, beside those that the server counts itself.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use module_api::{Call, Counter, Function, Gauge, Module, Outcome, Param, ParamKind, Routes, Setup, SetupError, State};

use crate::setting::{list, text};

/// Counters of a script, as Kamailio's module counters has them.
pub static COUNTERS: Module = Module {
    name: "counters",
    doc: "Counters of the script. They are shown with those of the server.",
    parameters: &[
        text("script_cnt_grp_name", "script", "The group of counters that name none."),
        list("script_counter", "A counter, NAME or GROUP.NAME; what follows a space says what it counts."),
    ],
    functions: &[CNT_INC, CNT_ADD, CNT_RESET],
    make: make_counters,
    ..Module::EMPTY
};

/// Statistics of a script, as SER's and Kamailio's module statistics has them.
pub static STATISTICS: Module = Module {
    name: "statistics",
    doc: "Statistics of the script, which go up and down. They are shown with those of the server.",
    parameters: &[list("variable", "A statistic: NAME, or NAME/no_reset for one that reset_stat() leaves as it is.")],
    functions: &[UPDATE_STAT, RESET_STAT],
    make: make_statistics,
    ..Module::EMPTY
};

const NAME: &[Param] = &[Param::required("name", ParamKind::Format)];

const CNT_INC: Function = Function {
    name: "cnt_inc",
    params: NAME,
    routes: Routes::ANY,
    doc: "Counts one more. False when there is no such counter.",
    example: "cnt_inc(\"calls\");",
    run: |call| count(call, |counter, _| counter.increment()),
};

const CNT_ADD: Function = Function {
    name: "cnt_add",
    params: &[Param::required("name", ParamKind::Format), Param::required("number", ParamKind::Int)],
    routes: Routes::ANY,
    doc: "Counts so many more. False when there is no such counter.",
    example: "cnt_add(\"octets\", $ml);",
    run: |call| match call.int(1).and_then(|number| u64::try_from(number).ok()) {
        Some(_) => count(call, |counter, number| counter.add(number)),
        None => Outcome::fail("cnt_add: a counter only grows"),
    },
};

const CNT_RESET: Function = Function {
    name: "cnt_reset",
    params: NAME,
    routes: Routes::ANY,
    doc: "Begins again at zero. False when there is no such counter.",
    example: "cnt_reset(\"calls\");",
    run: |call| count(call, |counter, _| counter.reset()),
};

const UPDATE_STAT: Function = Function {
    name: "update_stat",
    params: &[Param::required("name", ParamKind::Format), Param::required("value", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Adds +N, takes -N away, or sets a statistic to N. False when there is no such statistic.",
    example: "update_stat(\"registrations\", \"+1\");",
    run: |call| {
        let value = String::from_utf8_lossy(&call.text(1)).trim().to_owned();
        let Ok(number) = value.parse::<i64>() else { return Outcome::fail("update_stat: not +N, -N or N") };
        let is_change = value.starts_with(['+', '-']);
        with_statistic(call, |statistic| match is_change {
            true => statistic.gauge.add(number),
            false => statistic.gauge.set(number),
        })
    },
};

const RESET_STAT: Function = Function {
    name: "reset_stat",
    params: NAME,
    routes: Routes::ANY,
    doc: "Sets a statistic to zero, unless it is one with no_reset. False when there is no such statistic.",
    example: "reset_stat(\"registrations\");",
    run: |call| {
        with_statistic(call, |statistic| {
            if !statistic.is_kept {
                statistic.gauge.set(0);
            }
        })
    },
};

/// The counters of the script, by name and by `group.name`.
struct Counters(HashMap<Bytes, Counter>);

/// The statistics of the script, by name.
struct Numbers(HashMap<Bytes, Number>);

struct Number {
    gauge: Gauge,
    is_kept: bool,
}

fn make_counters(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let usual_group = setup.text("script_cnt_grp_name");
    let mut counters = HashMap::new();
    for line in setup.list("script_counter") {
        let line = String::from_utf8_lossy(&line).into_owned();
        let (name, doc) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let (group, name) = name.split_once('.').unwrap_or((usual_group.as_str(), name));
        check_name("script_counter", name)?;
        let doc = if doc.is_empty() { "Counted by the script." } else { doc.trim() };
        let counter = setup.statistics.counter(group.to_owned(), name.to_owned(), doc.to_owned());
        counters.insert(Bytes::from(format!("{group}.{name}")), counter.clone());
        counters.insert(Bytes::copy_from_slice(name.as_bytes()), counter);
    }
    Ok(Arc::new(Counters(counters)))
}

fn make_statistics(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let mut numbers = HashMap::new();
    for line in setup.list("variable") {
        let line = String::from_utf8_lossy(&line).into_owned();
        let (name, is_kept) = match line.trim().split_once('/') {
            Some((name, "no_reset")) => (name, true),
            Some(_) => {
                let cause = format!("`{line}` is not NAME or NAME/no_reset");
                return Err(SetupError::Setting { name: "variable", cause });
            }
            None => (line.trim(), false),
        };
        check_name("variable", name)?;
        let gauge = setup.statistics.gauge("script", name.to_owned(), "Kept by the script.");
        numbers.insert(Bytes::copy_from_slice(name.as_bytes()), Number { gauge, is_kept });
    }
    Ok(Arc::new(Numbers(numbers)))
}

fn check_name(setting: &'static str, name: &str) -> Result<(), SetupError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte);
    if !name.is_empty() && name.bytes().all(is_plain) {
        return Ok(());
    }
    let cause = format!("`{name}` is not a name: letters, digits, `_` and `-` make one");
    Err(SetupError::Setting { name: setting, cause })
}

fn count(call: &Call<'_>, act: fn(&Counter, u64)) -> Outcome {
    let name = call.text(0);
    let number = call.int(1).and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
    match call.state::<Counters>().0.get(&name) {
        Some(counter) => {
            act(counter, number);
            Outcome::TRUE
        }
        None => unknown(&name, "modparam(\"counters\", \"script_counter\", \"NAME\")"),
    }
}

fn with_statistic(call: &Call<'_>, act: impl FnOnce(&Number)) -> Outcome {
    let name = call.text(0);
    match call.state::<Numbers>().0.get(&name) {
        Some(number) => {
            act(number);
            Outcome::TRUE
        }
        None => unknown(&name, "modparam(\"statistics\", \"variable\", \"NAME\")"),
    }
}

fn unknown(name: &[u8], cure: &str) -> Outcome {
    Outcome::fail(format!("no counter `{}`: declare it with {cure}", String::from_utf8_lossy(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, INVITE, started, try_start};

    #[test]
    fn a_script_counts_under_names_of_its_own() {
        let state = started(&COUNTERS, &[("script_counter", "calls Calls seen."), ("script_counter", "net.octets")]);
        let mut bench = Bench::with_state(INVITE, Arc::clone(&state));
        bench.run(&COUNTERS, "cnt_inc", &["calls"]);
        bench.run(&COUNTERS, "cnt_add", &["script.calls", "4"]);
        bench.run(&COUNTERS, "cnt_add", &["net.octets", "10"]);
        let state: Arc<dyn std::any::Any + Send + Sync> = state as _;
        let counters = state.downcast::<Counters>().unwrap();
        assert_eq!((counters.0[&b"calls"[..]].value(), counters.0[&b"octets"[..]].value()), (5, 10));
        assert_eq!(bench.run(&COUNTERS, "cnt_add", &["calls", "-1"]), -1);
        assert_eq!(bench.run(&COUNTERS, "cnt_inc", &["nope"]), -1);
        bench.run(&COUNTERS, "cnt_reset", &["calls"]);
        assert_eq!(counters.0[&b"calls"[..]].value(), 0);
    }

    #[test]
    fn a_statistic_goes_up_and_down_and_is_reset() {
        let state = started(&STATISTICS, &[("variable", "now"), ("variable", "ever/no_reset")]);
        let mut bench = Bench::with_state(INVITE, Arc::clone(&state));
        for value in ["10", "+5", "-2"] {
            assert_eq!(bench.run(&STATISTICS, "update_stat", &["now", value]), 1);
        }
        bench.run(&STATISTICS, "update_stat", &["ever", "3"]);
        let state: Arc<dyn std::any::Any + Send + Sync> = state as _;
        let numbers = state.downcast::<Numbers>().unwrap();
        assert_eq!(numbers.0[&b"now"[..]].gauge.value(), 13);
        bench.run(&STATISTICS, "reset_stat", &["now"]);
        bench.run(&STATISTICS, "reset_stat", &["ever"]);
        assert_eq!((numbers.0[&b"now"[..]].gauge.value(), numbers.0[&b"ever"[..]].gauge.value()), (0, 3));
        assert_eq!(bench.run(&STATISTICS, "update_stat", &["now", "much"]), -1);
        assert_eq!(bench.run(&STATISTICS, "reset_stat", &["nope"]), -1);
    }

    #[test]
    fn a_name_that_no_tool_can_show_is_refused() {
        assert!(try_start(&COUNTERS, &[("script_counter", "a\"b")]).is_err());
        assert!(try_start(&STATISTICS, &[("variable", "a/reset")]).is_err());
    }
}
