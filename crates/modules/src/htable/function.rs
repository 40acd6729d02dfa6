//! Functions on whole tables and on entries named at run time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use module_api::{Call, Function, Level, Outcome, Param, ParamKind, Routes, Value};

use super::condition::Condition;
use super::table::Table;
use super::variable::{full, unknown};
use super::{Tables, iterate};
use crate::named_lock;

const ENTRY: &[Param] = &[Param::required("entry", ParamKind::Format)];
const TABLE_AND_KEY: &[Param] =
    &[Param::required("table", ParamKind::Format), Param::required("key", ParamKind::Format)];
const CONDITION: &[Param] = &[
    Param::required("table", ParamKind::Format),
    Param::required("operator", ParamKind::Format),
    Param::required("text", ParamKind::Format),
];

pub(super) const FUNCTIONS: &[Function] = &[
    LOCK,
    UNLOCK,
    iterate::START,
    iterate::NEXT,
    iterate::END,
    iterate::REMOVE,
    iterate::SET_STRING,
    iterate::SET_NUMBER,
    iterate::SET_EXPIRES,
    REMOVE_NAME_RE,
    REMOVE_VALUE_RE,
    REMOVE_NAME,
    REMOVE_VALUE,
    REMOVE,
    RESET,
    MATCH_NAME,
    crate::also("sht_has_name", MATCH_NAME),
    MATCH_VALUE,
    crate::also("sht_has_str_value", MATCH_VALUE),
    SET_STRING,
    SET_NUMBER,
    IS_NULL,
    INCREMENT,
    DECREMENT,
    PRINT,
];

const LOCK: Function = Function {
    name: "sht_lock",
    params: ENTRY,
    routes: Routes::ANY,
    doc: "Takes the lock of TABLE=>KEY; where another request holds it, this one waits. It is released by sht_unlock(), \
          and at the latest when the request is over.",
    example: "sht_lock(\"calls=>$fU\");",
    run: |call| {
        let locks = Arc::clone(&call.state::<Tables>().locks);
        named_lock::lock(call, locks, &call.text(0))
    },
};

const UNLOCK: Function = Function {
    name: "sht_unlock",
    params: ENTRY,
    routes: Routes::ANY,
    doc: "Releases the lock of TABLE=>KEY.",
    example: "sht_unlock(\"calls=>$fU\");",
    run: |call| {
        let locks = Arc::clone(&call.state::<Tables>().locks);
        named_lock::unlock(call, &locks, &call.text(0))
    },
};

const REMOVE_NAME_RE: Function = Function {
    name: "sht_rm_name_re",
    params: &[Param::required("what", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Removes the entries whose key matches: TABLE=>REGEX.",
    example: "sht_rm_name_re(\"calls=>^alice\");",
    run: |call| remove_matching(call, true),
};

const REMOVE_VALUE_RE: Function = Function {
    name: "sht_rm_value_re",
    params: &[Param::required("what", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Removes the entries whose value matches: TABLE=>REGEX.",
    example: "sht_rm_value_re(\"calls=>^stale\");",
    run: |call| remove_matching(call, false),
};

const REMOVE_NAME: Function = Function {
    name: "sht_rm_name",
    params: CONDITION,
    routes: Routes::ANY,
    doc: "Removes the entries whose key matches (re), begins with (sw), ends with (ew), contains (in) or is (eq) a text.",
    example: "sht_rm_name(\"calls\", \"sw\", \"alice\");",
    run: |call| with_condition(call, |table, condition, call| remove(call, &table, &condition, true)),
};

const REMOVE_VALUE: Function = Function {
    name: "sht_rm_value",
    params: CONDITION,
    routes: Routes::ANY,
    doc: "As sht_rm_name(), by the value.",
    example: "sht_rm_value(\"calls\", \"eq\", \"stale\");",
    run: |call| with_condition(call, |table, condition, call| remove(call, &table, &condition, false)),
};

const REMOVE: Function = Function {
    name: "sht_rm",
    params: TABLE_AND_KEY,
    routes: Routes::ANY,
    doc: "Removes an entry; true also when it is not there.",
    example: "sht_rm(\"calls\", \"$fU\");",
    run: |call| {
        with_table(call, |table, call| {
            table.remove(&call.text(1));
            Outcome::TRUE
        })
    },
};

const RESET: Function = Function {
    name: "sht_reset",
    params: &[Param::required("table", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Removes every entry of a table.",
    example: "sht_reset(\"calls\");",
    run: |call| {
        with_table(call, |table, _| {
            table.clear();
            Outcome::TRUE
        })
    },
};

const MATCH_NAME: Function = Function {
    name: "sht_match_name",
    params: CONDITION,
    routes: Routes::ANY,
    doc: "True when the key of an entry is (eq), is not (ne), matches (re), begins with (sw), ends with (ew) or contains \
          (in) a text.",
    example: "if (sht_match_name(\"calls\", \"sw\", \"alice\")) xlog(\"she calls\\n\");",
    run: |call| with_condition(call, |table, condition, call| is_any(call, &table, &condition, true)),
};

const MATCH_VALUE: Function = Function {
    name: "sht_match_str_value",
    params: CONDITION,
    routes: Routes::ANY,
    doc: "As sht_match_name(), for values that are strings.",
    example: "if (sht_match_str_value(\"calls\", \"eq\", \"$ci\")) xlog(\"known\\n\");",
    run: |call| with_condition(call, |table, condition, call| is_any(call, &table, &condition, false)),
};

const SET_STRING: Function = Function {
    name: "sht_setxs",
    params: &[
        Param::required("table", ParamKind::Format),
        Param::required("key", ParamKind::Format),
        Param::required("value", ParamKind::Format),
        Param::required("seconds", ParamKind::Int),
    ],
    routes: Routes::ANY,
    doc: "Sets a string that lives for so many seconds, in one step.",
    example: "sht_setxs(\"calls\", \"$fU\", \"$ci\", 60);",
    run: |call| {
        let value = Value::Str(call.text(2));
        set_for(call, value)
    },
};

const SET_NUMBER: Function = Function {
    name: "sht_setxi",
    params: &[
        Param::required("table", ParamKind::Format),
        Param::required("key", ParamKind::Format),
        Param::required("value", ParamKind::Int),
        Param::required("seconds", ParamKind::Int),
    ],
    routes: Routes::ANY,
    doc: "Sets a number that lives for so many seconds, in one step.",
    example: "sht_setxi(\"tries\", \"$si\", 1, 60);",
    run: |call| {
        let value = Value::Int(call.int(2).unwrap_or(0));
        set_for(call, value)
    },
};

const IS_NULL: Function = Function {
    name: "sht_is_null",
    params: TABLE_AND_KEY,
    routes: Routes::ANY,
    doc: "True when there is no such entry.",
    example: "if (sht_is_null(\"calls\", \"$fU\")) xlog(\"no call\\n\");",
    run: |call| {
        let now = call.host.now();
        with_table(call, |table, call| table.value(&call.text(1), now).is_null().into())
    },
};

const INCREMENT: Function = Function {
    name: "sht_inc",
    params: TABLE_AND_KEY,
    routes: Routes::ANY,
    doc: "Adds 1 in one step, and returns the sum; false where $shtinc is undefined.",
    example: "sht_inc(\"tries\", \"$si\");",
    run: |call| add(call, 1),
};

const DECREMENT: Function = Function {
    name: "sht_dec",
    params: TABLE_AND_KEY,
    routes: Routes::ANY,
    doc: "Takes 1 away in one step, and returns the rest; false where $shtdec is undefined.",
    example: "sht_dec(\"calls\", \"$fU\");",
    run: |call| add(call, -1),
};

const PRINT: Function = Function {
    name: "sht_print",
    params: &[],
    routes: Routes::ANY,
    doc: "Writes every table to the log, up to 1000 entries of each.",
    example: "sht_print();",
    run: |call| {
        let now = call.host.now();
        for table in &call.state::<Tables>().tables {
            let head = format!("htable {}: {} entries", table.name, table.count());
            call.host.log(Level::Notice, head.as_bytes());
            for (key, value) in table.entries(now).take(MOST_PRINTED) {
                let mut line = [table.name.as_bytes(), b"=>", &key, b" "].concat();
                value.show(&mut line);
                call.host.log(Level::Notice, &line);
            }
        }
        Outcome::TRUE
    },
};

/// Entries of a table that are written to the log.
const MOST_PRINTED: usize = 1000;

fn with_table(call: &mut Call<'_>, act: impl FnOnce(Arc<Table>, &mut Call<'_>) -> Outcome) -> Outcome {
    match call.state::<Tables>().table(&call.text(0)) {
        Some(table) => act(Arc::clone(table), call),
        None => Outcome::Fail(unknown()),
    }
}

fn with_condition(call: &mut Call<'_>, act: impl FnOnce(Arc<Table>, Condition, &Call<'_>) -> Outcome) -> Outcome {
    with_table(call, |table, call| match Condition::named(&call.text(1), &call.text(2)) {
        Some(condition) => act(table, condition, call),
        None => Outcome::fail("unknown operator, or not a regular expression"),
    })
}

fn remove_matching(call: &mut Call<'_>, by_name: bool) -> Outcome {
    let text = call.text(0);
    let Some((table, text)) = call.state::<Tables>().split(&text) else { return Outcome::Fail(unknown()) };
    match Condition::matching(text) {
        Some(condition) => remove(call, table, &condition, by_name),
        None => Outcome::fail("not a regular expression"),
    }
}

fn meets(condition: &Condition, key: &Bytes, value: &Value, by_name: bool) -> bool {
    if by_name { condition.is_met_by(&Value::Str(key.clone())) } else { condition.is_met_by(value) }
}

fn remove(call: &Call<'_>, table: &Table, condition: &Condition, by_name: bool) -> Outcome {
    for (key, value) in table.entries(call.host.now()) {
        if meets(condition, &key, &value, by_name) {
            table.remove(&key);
        }
    }
    Outcome::TRUE
}

fn is_any(call: &Call<'_>, table: &Table, condition: &Condition, by_name: bool) -> Outcome {
    let now = call.host.now();
    // The usual question needs no walk through the table.
    if let (Condition::Is(key), true) = (condition, by_name) {
        return table.stored(key, now).is_some().into();
    }
    table.entries(now).any(|(key, value)| meets(condition, &key, &value, by_name)).into()
}

fn set_for(call: &mut Call<'_>, value: Value) -> Outcome {
    let now = call.host.now();
    let lifetime = Duration::from_secs(u64::try_from(call.int(3).unwrap_or(0)).unwrap_or(0));
    with_table(call, |table, call| match table.set_for(&call.text(1), value, lifetime, now) {
        Ok(()) => Outcome::TRUE,
        Err(_) => Outcome::Fail(full()),
    })
}

fn add(call: &mut Call<'_>, delta: i64) -> Outcome {
    let now = call.host.now();
    with_table(call, |table, call| match table.add(&call.text(1), delta, now) {
        // A sum of 0 would end the script, which nobody means who counts.
        Ok(Value::Int(0)) => Outcome::TRUE,
        Ok(Value::Int(sum)) => Outcome::Value(sum),
        Ok(_) => Outcome::FALSE,
        Err(_) => Outcome::Fail(full()),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{MODULE, tests::bench};
    use crate::testing::text;
    use module_api::Value;

    #[test]
    fn entries_are_removed_by_key_and_value() {
        let mut bench = bench();
        let keys = ["k1", "k2", "x1", "x2"];
        for key in keys {
            bench.write(&MODULE, "sht", Some(&format!("a=>{key}")), text(&format!("v{key}")));
        }
        assert_eq!(bench.run(&MODULE, "sht_rm_name_re", &["a=>^K1"]), 1);
        assert_eq!(bench.run(&MODULE, "sht_rm_value", &["a", "ew", "x2"]), 1);
        assert_eq!(bench.run(&MODULE, "sht_rm", &["a", "x1"]), 1);
        assert_eq!(bench.run(&MODULE, "sht_rm", &["a", "x1"]), 1);
        let left: Vec<_> =
            keys.iter().filter(|key| bench.run(&MODULE, "sht_has_name", &["a", "eq", key]) == 1).collect();
        assert_eq!(left, [&"k2"]);
        assert_eq!(bench.run(&MODULE, "sht_match_str_value", &["a", "re", "^vk"]), 1);
        assert_eq!(bench.run(&MODULE, "sht_rm_name", &["a", "??", "x"]), -1);
        bench.run(&MODULE, "sht_reset", &["a"]);
        assert_eq!(bench.run(&MODULE, "sht_is_null", &["a", "k2"]), 1);
    }

    #[test]
    fn a_value_is_set_together_with_its_life() {
        let mut bench = bench();
        assert_eq!(bench.run(&MODULE, "sht_setxs", &["a", "k", "v", "30"]), 1);
        assert_eq!(bench.read(&MODULE, "shtex", Some("a=>k")), Value::Int(30));
        assert_eq!(bench.run(&MODULE, "sht_setxi", &["a", "n", "7", "30"]), 1);
        assert_eq!(bench.run(&MODULE, "sht_inc", &["a", "n"]), 8);
        assert_eq!(bench.run(&MODULE, "sht_dec", &["nope", "n"]), -1);
    }

    #[test]
    fn an_entry_is_locked_and_unlocked() {
        let mut bench = bench();
        assert_eq!(bench.run(&MODULE, "sht_lock", &["a=>k"]), 1);
        assert_eq!(bench.run(&MODULE, "sht_unlock", &["a=>k"]), 1);
        assert_eq!(bench.run(&MODULE, "sht_unlock", &["a=>k"]), -1);
    }

    #[test]
    fn tables_are_printed_to_the_log() {
        let mut bench = bench();
        bench.write(&MODULE, "sht", Some("a=>k"), Value::Int(1));
        bench.run(&MODULE, "sht_print", &[]);
        assert!(bench.host.logged.iter().any(|(_, line)| line == "a=>k 1"), "{:?}", bench.host.logged);
    }
}
