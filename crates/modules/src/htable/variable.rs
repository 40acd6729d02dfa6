//! `$sht` and what else shows a table as variables.

use std::time::Duration;

use module_api::{Call, Fault, KeyRule, Routes, Selector, Value, Variable};

use super::condition::Condition;
use super::{Tables, iterate};

const fn shared(
    name: &'static str,
    doc: &'static str,
    example: &'static str,
    read: fn(&mut Call<'_>, &Selector<'_>) -> Value,
) -> Variable {
    Variable { name, key: KeyRule::Required, routes: Routes::ANY, doc, example, read, write: None }
}

pub(super) const VALUE: Variable = Variable {
    write: Some(|call, selector, value| {
        let now = call.host.now();
        let (table, key) = call.state::<Tables>().split(selector.key()).ok_or_else(unknown)?;
        match value {
            Value::Null => {
                table.remove(key);
                Ok(())
            }
            value => table.set(key, value, now).map_err(|_| full()),
        }
    }),
    ..shared(
        "sht",
        "$sht(TABLE=>KEY): a value that all requests share. Assigning $null removes it.",
        "$sht(calls=>$fU) = $ci;",
        |call, selector| {
            let now = call.host.now();
            let found = call.state::<Tables>().split(selector.key());
            found.map_or(Value::Null, |(table, key)| table.value(key, now))
        },
    )
};

pub(super) const EXPIRES: Variable = Variable {
    write: Some(|call, selector, value| {
        let now = call.host.now();
        let (table, key) = call.state::<Tables>().split(selector.key()).ok_or_else(unknown)?;
        let seconds = u64::try_from(value.to_int()).unwrap_or(0);
        table.set_lifetime(key, Duration::from_secs(seconds), now);
        Ok(())
    }),
    ..shared(
        "shtex",
        "$shtex(TABLE=>KEY): how long the entry still lives, in seconds; 0 when it has no end, or is not there. \
         Assigning gives it that long from now.",
        "$shtex(calls=>$fU) = 60;",
        |call, selector| {
            let now = call.host.now();
            let found = call.state::<Tables>().split(selector.key());
            let left = found.and_then(|(table, key)| table.remaining(key, now));
            // A second that has begun counts, as the entry is still there.
            Value::Int(left.map_or(0, |left| left.as_millis().div_ceil(1000) as i64))
        },
    )
};

pub(super) const INCREMENT: Variable = shared(
    "shtinc",
    "$shtinc(TABLE=>KEY): adds 1 and is the sum, in one step whatever other requests do. Undefined for a string, and for \
     a key that is not there in a table without initval.",
    "if ($shtinc(tries=>$si) > 10) exit;",
    |call, selector| add(call, selector, 1),
);

pub(super) const DECREMENT: Variable = shared(
    "shtdec",
    "$shtdec(TABLE=>KEY): takes 1 away and is the rest, in one step whatever other requests do.",
    "$var(left) = $shtdec(calls=>$fU);",
    |call, selector| add(call, selector, -1),
);

pub(super) const COUNT_BY_NAME: Variable = shared(
    "shtcn",
    "$shtcn(TABLE=>CONDITION): how many keys meet it: ~~REGEX, %~PREFIX, ~%SUFFIX, ==TEXT, or ** for all.",
    "$var(calls) = $shtcn(calls=>%~alice);",
    |call, selector| count(call, selector, true),
);

pub(super) const COUNT_BY_VALUE: Variable = shared(
    "shtcv",
    "$shtcv(TABLE=>CONDITION): how many values meet it: as $shtcn, and eqNUMBER for numbers.",
    "$var(busy) = $shtcv(state=>==busy);",
    |call, selector| count(call, selector, false),
);

pub(super) const ITERATOR_KEY: Variable = shared(
    "shtitkey",
    "$shtitkey(ITERATOR): the key at which an iterator stands.",
    "xlog(\"$shtitkey(i)\\n\");",
    |call, selector| iterate::current(call, selector.key()).map_or(Value::Null, |(key, _)| Value::Str(key)),
);

pub(super) const ITERATOR_VALUE: Variable = shared(
    "shtitval",
    "$shtitval(ITERATOR): the value at which an iterator stands.",
    "xlog(\"$shtitval(i)\\n\");",
    |call, selector| iterate::current(call, selector.key()).map_or(Value::Null, |(_, value)| value),
);

fn add(call: &mut Call<'_>, selector: &Selector<'_>, delta: i64) -> Value {
    let now = call.host.now();
    let found = call.state::<Tables>().split(selector.key());
    // A table that is full answers as one that does not count.
    found.and_then(|(table, key)| table.add(key, delta, now).ok()).unwrap_or_default()
}

fn count(call: &mut Call<'_>, selector: &Selector<'_>, by_name: bool) -> Value {
    let now = call.host.now();
    let Some((table, text)) = call.state::<Tables>().split(selector.key()) else { return Value::Null };
    let Some(condition) = Condition::counting(text) else { return Value::Null };
    let mut entries = 0;
    for (key, value) in table.entries(now) {
        let is_met = if by_name { condition.is_met_by(&Value::Str(key)) } else { condition.is_met_by(&value) };
        entries += i64::from(is_met);
    }
    Value::Int(entries)
}

pub(super) fn unknown() -> Fault {
    Fault { code: -1, cause: "no such htable; it must be there as modparam(\"htable\", \"htable\", ...)".into() }
}

pub(super) fn full() -> Fault {
    Fault { code: -1, cause: "the htable has its most entries (max=)".into() }
}

#[cfg(test)]
mod tests {
    use super::super::{MODULE, tests::bench};
    use crate::testing::text;
    use module_api::Value;

    #[test]
    fn values_are_written_read_and_removed() {
        let mut bench = bench();
        assert_eq!(bench.read(&MODULE, "sht", Some("a=>x")), Value::Null);
        bench.write(&MODULE, "sht", Some("a=>x"), text("one"));
        assert_eq!(bench.read(&MODULE, "sht", Some("a=>x")), text("one"));
        bench.write(&MODULE, "sht", Some("a=>x"), Value::Null);
        assert_eq!(bench.read(&MODULE, "sht", Some("a=>x")), Value::Null);
        assert_eq!(bench.read(&MODULE, "sht", Some("nope=>x")), Value::Null);
    }

    // As Kamailio 5.6.3 does it.
    #[test]
    fn counting_up_needs_a_number_to_begin_with() {
        let mut bench = bench();
        assert_eq!(bench.read(&MODULE, "shtinc", Some("a=>x")), Value::Null);
        assert_eq!(bench.read(&MODULE, "sht", Some("b=>x")), Value::Int(5));
        assert_eq!(bench.read(&MODULE, "shtinc", Some("b=>x")), Value::Int(6));
        assert_eq!(bench.read(&MODULE, "shtdec", Some("b=>z")), Value::Int(4));
    }

    // As Kamailio 5.6.3 does it: `~%` looks at the end and `%~` at the beginning.
    #[test]
    fn entries_are_counted_by_key_and_value() {
        let mut bench = bench();
        for (key, value) in [("user1", Value::Int(1)), ("user2", text("two")), ("xuser", Value::Int(2))] {
            bench.write(&MODULE, "sht", Some(&format!("a=>{key}")), value);
        }
        for (condition, count) in [("~~^user", 2), ("~%user", 1), ("%~user", 2), ("==user1", 1), ("**", 3), ("user", 3)]
        {
            let key = format!("a=>{condition}");
            assert_eq!(bench.read(&MODULE, "shtcn", Some(&key)), Value::Int(count), "{condition}");
        }
        for (condition, count) in [("eq1", 1), ("~~two", 1), ("==two", 1), ("==1", 0)] {
            let key = format!("a=>{condition}");
            assert_eq!(bench.read(&MODULE, "shtcv", Some(&key)), Value::Int(count), "{condition}");
        }
    }

    #[test]
    fn the_life_of_an_entry_is_read_and_set() {
        let mut bench = bench();
        bench.read(&MODULE, "shtinc", Some("b=>x"));
        assert_eq!(bench.read(&MODULE, "shtex", Some("b=>x")), Value::Int(100));
        bench.write(&MODULE, "shtex", Some("b=>x"), Value::Int(7));
        assert_eq!(bench.read(&MODULE, "shtex", Some("b=>x")), Value::Int(7));
        assert_eq!(bench.read(&MODULE, "shtex", Some("b=>nope")), Value::Int(0));
    }
}
