//! Walking through a table.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use module_api::{Call, Function, Outcome, Param, ParamKind, Routes, Value};

use super::Tables;
use super::table::Table;
use super::variable::full;
use crate::walk;

const NAME: &[Param] = &[Param::required("iterator", ParamKind::Format)];
const NAME_AND_VALUE: &[Param] =
    &[Param::required("iterator", ParamKind::Format), Param::required("value", ParamKind::Format)];
const NAME_AND_NUMBER: &[Param] =
    &[Param::required("iterator", ParamKind::Format), Param::required("number", ParamKind::Int)];

pub(super) const START: Function = Function {
    name: "sht_iterator_start",
    params: &[Param::required("iterator", ParamKind::Format), Param::required("table", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Starts a walk through a table, before its first entry. Entries that come and go meanwhile may be seen or not; \
          no other request waits. False when there is no such table.",
    example: "sht_iterator_start(\"i\", \"calls\");",
    run: |call| {
        let Some(table) = call.state::<Tables>().table(&call.text(1)) else {
            return Outcome::fail("sht_iterator_start: no such htable");
        };
        let walk = Walk { table: Arc::clone(table), shard: 0, ahead: Vec::new(), current: None };
        let name = call.text(0);
        walk::start(call, name, walk)
    },
};

pub(super) const NEXT: Function = Function {
    name: "sht_iterator_next",
    params: NAME,
    routes: Routes::ANY,
    doc: "Goes to the next entry. False when there is none.",
    example: "while (sht_iterator_next(\"i\")) xlog(\"$shtitkey(i) $shtitval(i)\\n\");",
    run: |call| {
        let now = call.host.now();
        with_walk(call, |walk| walk.advance(now).into())
    },
};

pub(super) const END: Function = Function {
    name: "sht_iterator_end",
    params: NAME,
    routes: Routes::ANY,
    doc: "Ends a walk.",
    example: "sht_iterator_end(\"i\");",
    run: |call| {
        let name = call.text(0);
        walk::end::<Bytes, Walk>(call, &name)
    },
};

pub(super) const REMOVE: Function = Function {
    name: "sht_iterator_rm",
    params: NAME,
    routes: Routes::ANY,
    doc: "Removes the entry at which a walk stands.",
    example: "if ($shtitval(i) == \"stale\") sht_iterator_rm(\"i\");",
    run: |call| with_walk(call, |walk| walk.key().is_some_and(|key| walk.table.remove(&key)).into()),
};

pub(super) const SET_STRING: Function = Function {
    name: "sht_iterator_sets",
    params: NAME_AND_VALUE,
    routes: Routes::ANY,
    doc: "Sets the entry at which a walk stands to a string.",
    example: "sht_iterator_sets(\"i\", \"seen\");",
    run: |call| {
        let value = Value::Str(call.text(1));
        set(call, value)
    },
};

pub(super) const SET_NUMBER: Function = Function {
    name: "sht_iterator_seti",
    params: NAME_AND_NUMBER,
    routes: Routes::ANY,
    doc: "Sets the entry at which a walk stands to a number.",
    example: "sht_iterator_seti(\"i\", 0);",
    run: |call| {
        let value = Value::Int(call.int(1).unwrap_or(0));
        set(call, value)
    },
};

pub(super) const SET_EXPIRES: Function = Function {
    name: "sht_iterator_setex",
    params: NAME_AND_NUMBER,
    routes: Routes::ANY,
    doc: "Lets the entry at which a walk stands live for so many seconds from now.",
    example: "sht_iterator_setex(\"i\", 60);",
    run: |call| {
        let now = call.host.now();
        let lifetime = Duration::from_secs(u64::try_from(call.int(1).unwrap_or(0)).unwrap_or(0));
        with_walk(call, |walk| walk.key().is_some_and(|key| walk.table.set_lifetime(&key, lifetime, now)).into())
    },
};

/// A walk copies one shard after the other, so it holds no lock and little memory.
struct Walk {
    table: Arc<Table>,
    shard: usize,
    ahead: Vec<(Bytes, Value)>,
    current: Option<(Bytes, Value)>,
}

impl Walk {
    fn advance(&mut self, now: Instant) -> bool {
        while self.ahead.is_empty() {
            let Some(entries) = self.table.copy_of_shard(self.shard, now) else {
                self.current = None;
                return false;
            };
            self.ahead = entries;
            self.shard += 1;
        }
        self.current = self.ahead.pop();
        true
    }

    fn key(&self) -> Option<Bytes> {
        self.current.as_ref().map(|(key, _)| key.clone())
    }
}

/// Key and value at which a walk of the request stands.
pub(super) fn current(call: &Call<'_>, name: &[u8]) -> Option<(Bytes, Value)> {
    let walk: &Walk = walk::find(call, |known: &Bytes| known == name)?;
    walk.current.clone()
}

fn with_walk(call: &mut Call<'_>, act: impl FnOnce(&mut Walk) -> Outcome) -> Outcome {
    let name = call.text(0);
    walk::with(call, &name, act).unwrap_or_else(not_started)
}

fn not_started() -> Outcome {
    Outcome::fail("the iterator was not started with sht_iterator_start()")
}

fn set(call: &mut Call<'_>, value: Value) -> Outcome {
    let now = call.host.now();
    with_walk(call, |walk| {
        let Some(key) = walk.key() else { return Outcome::FALSE };
        match walk.table.set(&key, value, now) {
            Ok(()) => Outcome::TRUE,
            Err(_) => Outcome::Fail(full()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::{MODULE, tests::bench};
    use module_api::Value;

    #[test]
    fn a_walk_sees_each_entry_once_and_may_change_it() {
        let mut bench = bench();
        for n in 0..200 {
            bench.write(&MODULE, "sht", Some(&format!("a=>{n}")), Value::Int(n));
        }
        assert_eq!(bench.run(&MODULE, "sht_iterator_start", &["i", "a"]), 1);
        let mut sum = 0;
        while bench.run(&MODULE, "sht_iterator_next", &["i"]) == 1 {
            let value = bench.read(&MODULE, "shtitval", Some("i")).to_int();
            assert_eq!(bench.read(&MODULE, "shtitkey", Some("i")).to_int(), value);
            sum += value;
            let function = if value % 2 == 0 { "sht_iterator_rm" } else { "sht_iterator_seti" };
            let args: &[&str] = if value % 2 == 0 { &["i"] } else { &["i", "7"] };
            assert_eq!(bench.run(&MODULE, function, args), 1);
        }
        assert_eq!(sum, 199 * 200 / 2);
        assert_eq!(bench.read(&MODULE, "shtcv", Some("a=>eq7")), Value::Int(100));
        assert_eq!(bench.read(&MODULE, "shtcn", Some("a=>**")), Value::Int(100));
        assert_eq!(bench.run(&MODULE, "sht_iterator_end", &["i"]), 1);
        assert_eq!(bench.run(&MODULE, "sht_iterator_next", &["i"]), -1);
    }

    #[test]
    fn an_unknown_table_has_no_walk() {
        let mut bench = bench();
        assert_eq!(bench.run(&MODULE, "sht_iterator_start", &["i", "nope"]), -1);
        assert_eq!(bench.read(&MODULE, "shtitkey", Some("i")), Value::Null);
    }
}
