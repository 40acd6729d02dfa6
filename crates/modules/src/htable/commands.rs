//! `htable.*`: looking at the tables and changing them from outside.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use module_api::{Answer, ArgumentKind, Command, CommandCall, CommandError, CommandParam, Data, Value};

use super::Tables;
use super::stored::Stored;
use super::table::{Full, Table};

const TABLE: CommandParam = CommandParam::required("table", ArgumentKind::Str, "The table.");
const KEY: CommandParam = CommandParam::required("key", ArgumentKind::Str, "The name of the entry.");
const NUMBER: CommandParam = CommandParam::required("value", ArgumentKind::Int, "Its new value.");
const SECONDS: CommandParam =
    CommandParam::required("seconds", ArgumentKind::Int, "How long it shall live from now on.");
const TEXT: CommandParam = CommandParam::required("value", ArgumentKind::Str, "Its new value.");

pub(super) static COMMANDS: &[Command] = &[
    Command {
        name: "htable.dump",
        params: &[TABLE],
        doc: "Shows the entries of a table, 10,000 at most.",
        result: "for each its place (`entry`), and in `slot` its `name`, `value` and `type`.",
        example: "htable.dump ipban",
        run: |call| {
            let row = |(number, (name, value)): (usize, (Bytes, Value))| {
                let slot = Data::List(vec![shown(&name, &value)]);
                Data::of([("entry", number.into()), ("size", 1.into()), ("slot", slot)])
            };
            Answer::Now(table(call).map(|table| table.entries(call.now).take(SHOWN).enumerate().map(row).collect()))
        },
        ..Command::EMPTY
    },
    Command {
        name: "htable.get",
        params: &[TABLE, KEY],
        doc: "Shows one entry.",
        result: "`item` with `name`, `value` and `type`; error 404 when there is none.",
        example: "htable.get ipban 192.0.2.7",
        run: |call| {
            let key = key(call);
            Answer::Now(table(call).and_then(|table| match table.stored(key, call.now) {
                Some(value) => Ok(Data::of([("item", shown(key, &value))])),
                None => Err(no_entry()),
            }))
        },
        ..Command::EMPTY
    },
    Command {
        name: "htable.seti",
        params: &[TABLE, KEY, NUMBER],
        doc: "Sets an entry to a number.",
        result: "nothing.",
        example: "htable.seti ipban 192.0.2.7 1",
        run: |call| set(call, call.int(2).unwrap_or_default().into()),
        ..Command::EMPTY
    },
    Command {
        name: "htable.sets",
        params: &[TABLE, KEY, TEXT],
        doc: "Sets an entry to a text.",
        result: "nothing.",
        example: "htable.sets routes alice gateway1",
        run: |call| set(call, Value::Str(Bytes::copy_from_slice(call.text(2).unwrap_or_default().as_bytes()))),
        ..Command::EMPTY
    },
    Command {
        name: "htable.setex",
        params: &[TABLE, KEY, SECONDS],
        doc: "Sets the life of an entry.",
        result: "nothing; error 404 when there is no such entry.",
        example: "htable.setex ipban 192.0.2.7 60",
        run: |call| {
            let found = table(call).and_then(|table| Ok((table, seconds(call, 2)?)));
            Answer::Now(found.and_then(|(table, life)| match table.set_lifetime(key(call), life, call.now) {
                true => Ok(Data::Null),
                false => Err(no_entry()),
            }))
        },
        ..Command::EMPTY
    },
    Command {
        name: "htable.setxi",
        params: &[TABLE, KEY, NUMBER, SECONDS],
        doc: "Sets an entry to a number, for so long.",
        result: "nothing.",
        example: "htable.setxi ipban 192.0.2.7 1 60",
        run: |call| set_for(call, call.int(2).unwrap_or_default().into()),
        ..Command::EMPTY
    },
    Command {
        name: "htable.setxs",
        params: &[TABLE, KEY, TEXT, SECONDS],
        doc: "Sets an entry to a text, for so long.",
        result: "nothing.",
        example: "htable.setxs routes alice gateway1 3600",
        run: |call| set_for(call, Value::Str(Bytes::copy_from_slice(call.text(2).unwrap_or_default().as_bytes()))),
        ..Command::EMPTY
    },
    Command {
        name: "htable.delete",
        params: &[TABLE, KEY],
        doc: "Removes an entry.",
        result: "nothing; error 404 when there is none.",
        example: "htable.delete ipban 192.0.2.7",
        run: |call| {
            Answer::Now(
                table(call).and_then(|table| if table.remove(key(call)) { Ok(Data::Null) } else { Err(no_entry()) }),
            )
        },
        ..Command::EMPTY
    },
    Command {
        name: "htable.flush",
        params: &[TABLE],
        doc: "Removes every entry of a table.",
        result: "nothing.",
        example: "htable.flush ipban",
        run: |call| {
            Answer::Now(table(call).map(|table| {
                table.clear();
                Data::Null
            }))
        },
        ..Command::EMPTY
    },
    Command {
        name: "htable.reload",
        params: &[TABLE],
        doc: "Loads a table from its database again. When that cannot be read, the entries that are there stay.",
        result: "nothing.",
        example: "htable.reload ipban",
        run: |call| {
            on_stored(call, |table, stored| async move {
                table.replace(stored.read(&table.name, table.rules.clone()).await?);
                Ok(Data::Null)
            })
        },
        ..Command::EMPTY
    },
    Command {
        name: "htable.store",
        params: &[TABLE],
        doc: "Writes a table to its database, in place of what is there.",
        result: "how many entries were written.",
        example: "htable.store ipban",
        run: |call| on_stored(call, |table, stored| async move { stored.write(&table).await.map(Data::from) }),
        ..Command::EMPTY
    },
    Command {
        name: "htable.listTables",
        doc: "Lists the tables with their rules.",
        result: "`name`, `expire` in seconds (0: never), `updateexpire` and `items` of each.",
        example: "htable.listTables",
        run: |call| {
            let row = |table: &Arc<Table>| {
                let life = table.rules.lifetime.map_or(0, |life| life.as_secs());
                Data::of([
                    ("name", table.name.as_str().into()),
                    ("expire", life.into()),
                    ("updateexpire", i64::from(table.rules.is_prolonged).into()),
                    ("items", table.count().into()),
                ])
            };
            call.state::<Tables>().tables.iter().map(row).collect::<Data>().into()
        },
        ..Command::EMPTY
    },
    Command {
        name: "htable.stats",
        doc: "Counts the entries of each table.",
        result: "`name`, `all` (entries) and `max` (the most that there may be) of each.",
        example: "htable.stats",
        run: |call| {
            let row = |table: &Arc<Table>| {
                let most = table.rules.limit.into();
                Data::of([("name", table.name.as_str().into()), ("all", table.count().into()), ("max", most)])
            };
            call.state::<Tables>().tables.iter().map(row).collect::<Data>().into()
        },
        ..Command::EMPTY
    },
];

/// How many entries are shown at once.
const SHOWN: usize = 10_000;

fn table(call: &CommandCall<'_>) -> Result<Arc<Table>, CommandError> {
    let tables = call.state::<Tables>();
    tables.table(call.text(0).unwrap_or_default().as_bytes()).cloned().ok_or_else(|| {
        let names: Vec<&str> = tables.tables.iter().map(|table| table.name.as_str()).collect();
        CommandError::new(404, format!("No such htable; there are: {}", names.join(", ")))
    })
}

/// Does something with the table of a call, which must be one of a database.
fn on_stored<W>(call: &CommandCall<'_>, work: impl FnOnce(Arc<Table>, Arc<Stored>) -> W) -> Answer
where
    W: Future<Output = Result<Data, String>> + Send + 'static,
{
    let found = table(call).and_then(|table| match table.stored.clone() {
        Some(stored) => Ok((table, stored)),
        None => Err(CommandError::new(400, format!("htable {} has no dbtable", table.name))),
    });
    match found {
        Ok((table, stored)) => {
            let done = work(table, stored);
            Answer::later(async move { done.await.map_err(|cause| CommandError::new(500, cause)) })
        }
        Err(error) => Answer::Now(Err(error)),
    }
}

fn key<'a>(call: &CommandCall<'a>) -> &'a [u8] {
    call.text(1).unwrap_or_default().as_bytes()
}

fn seconds(call: &CommandCall<'_>, n: usize) -> Result<Duration, CommandError> {
    let seconds = u64::try_from(call.int(n).unwrap_or_default());
    seconds.map(Duration::from_secs).map_err(|_| CommandError::new(400, "argument `seconds` must be 0 or more"))
}

fn set_for(call: &CommandCall<'_>, value: Value) -> Answer {
    Answer::Now(table(call).and_then(|table| {
        let life = seconds(call, 3)?;
        table.set(key(call), value, call.now).map_err(|Full| CommandError::new(507, "the table is full"))?;
        // It is there: nobody but a request at this very moment could have removed it.
        table.set_lifetime(key(call), life, call.now);
        Ok(Data::Null)
    }))
}

fn no_entry() -> CommandError {
    CommandError::new(404, "Key name doesn't exist in htable")
}

fn set(call: &CommandCall<'_>, value: Value) -> Answer {
    Answer::Now(table(call).and_then(|table| match table.set(key(call), value, call.now) {
        Ok(()) => Ok(Data::Null),
        Err(Full) => Err(CommandError::new(507, "the table is full")),
    }))
}

fn shown(name: &[u8], value: &Value) -> Data {
    let (value, kind) = match value {
        Value::Int(number) => (Data::Int(*number), "int"),
        other => (Data::text(&other.to_bytes()), "str"),
    };
    Data::of([("name", Data::text(name)), ("value", value), ("type", kind.into())])
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{CommandBench, started};

    #[test]
    fn entries_are_set_shown_and_removed() {
        let bench =
            CommandBench::new(started(&MODULE, &[("htable", "a=>size=4;"), ("htable", "b=>size=4;autoexpire=100")]));
        let run = |line: &str| bench.run(COMMANDS, line).map(|data| data.to_text()).map_err(|error| error.to_string());
        assert_eq!(run("htable.seti a one 1"), Ok(String::new()));
        assert_eq!(run("htable.sets a two deux"), Ok(String::new()));
        assert_eq!(run("htable.get a one"), Ok("{item: {name: one, value: 1, type: int}}".to_owned()));
        assert_eq!(run("htable.get a two"), Ok("{item: {name: two, value: deux, type: str}}".to_owned()));
        assert_eq!(run("htable.setex a two 5"), Ok(String::new()));
        assert_eq!(run("htable.delete a one"), Ok(String::new()));
        assert_eq!(
            run("htable.dump a"),
            Ok("[{entry: 0, size: 1, slot: [{name: two, value: deux, type: str}]}]".to_owned())
        );
        let tables =
            "[{name: a, expire: 0, updateexpire: 1, items: 1}, {name: b, expire: 100, updateexpire: 1, items: 0}]";
        assert_eq!(run("htable.listTables"), Ok(tables.to_owned()));
        assert_eq!(run("htable.flush a"), Ok(String::new()));
        assert_eq!(run("htable.get a two"), Err("404 Key name doesn't exist in htable".to_owned()));
        assert_eq!(run("htable.dump c"), Err("404 No such htable; there are: a, b".to_owned()));
        assert!(run("htable.seti a one x").is_err_and(|error| error.contains("`x` is not an integer")));
    }
}
