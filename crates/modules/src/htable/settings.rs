//! Which tables there are.

use std::sync::Arc;
use std::time::Duration;

use module_api::{Parameter, Setup, SetupError, State, Value};

use super::stored::{Asked, Stored};
use super::table::{Rules, Table};
use super::{Tables, event};
use crate::named_lock::Locks;
use crate::setting::{ignored, list, number, pairs, text};

pub(super) const PARAMETERS: &[Parameter] = &[
    list(
        "htable",
        "A table: NAME=>size=8;autoexpire=60;updateexpire=1;initval=0;dbtable=NAME;dbmode=1;max=1000000. autoexpire is how \
         long an entry lives, in seconds (0: without end); updateexpire=0 counts from its first write alone; initval is what \
         a key that is not there reads as; dbtable is loaded at start, and with dbmode=1 written back when the server ends; \
         cols='KEY,VALUE,...' loads columns of another table, with coldelim between values and colnull for NULL; max is the \
         most entries. size is accepted.",
    ),
    number(
        "timer_interval",
        "20",
        "How often entries that have run out are removed, in seconds; they read as absent at once.",
    ),
    text(
        "db_url",
        "",
        "The database of each dbtable, or a directory of text files: text:///path. By default ser.db in the data directory.",
    ),
    text("key_name_column", "key_name", "The column of the key, in the table that is loaded."),
    text("key_type_column", "key_type", "The column that tells plain entries (0) from arrays (1)."),
    text("value_type_column", "value_type", "The column that tells strings (0) from numbers (1)."),
    text("key_value_column", "key_value", "The column of the value."),
    text("expires_column", "expires", "The column of the end of life, in seconds since 1970."),
    text("array_size_suffix", "::size", "What is added to the key of an array for the entry that holds its size."),
    ignored("fetch_rows", "Has no effect."),
    ignored("db_expires", "Has no effect: ends of life are loaded and written."),
    ignored("enable_dmq", "Has no effect: tables are not shared between servers."),
    ignored("dmq_init_sync", "Has no effect: tables are not shared between servers."),
    ignored("dmq_peer_id", "Has no effect: tables are not shared between servers."),
    ignored("timer_procs", "Has no effect."),
    ignored("event_callback", "Has no effect: scripts are written in the routing language."),
    ignored("event_callback_mode", "Has no effect."),
];

/// Entries of a table whose script names no number.
const USUAL_LIMIT: usize = 1_000_000;

pub(super) fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let mut tables: Vec<Arc<Table>> = Vec::new();
    for line in setup.list("htable") {
        let line = String::from_utf8_lossy(&line).into_owned();
        let wrong = |cause| SetupError::Setting { name: "htable", cause: format!("`{line}`: {cause}") };
        let (name, rules, asked) = parse(&line).map_err(wrong)?;
        if tables.iter().any(|table| table.name == name) {
            return Err(wrong(format!("table {name} is there twice")));
        }
        let mut table = Table::new(name, rules);
        if let Some(asked) = asked {
            let stored = Stored::named(setup, &asked)?;
            stored.fill_at_start(setup, &table)?;
            table.stored = Some(Arc::new(stored));
        }
        tables.push(Arc::new(table));
    }
    let pause = Duration::from_secs(u64::try_from(setup.int("timer_interval")).unwrap_or(0).max(1));
    let tables = Arc::new(Tables { tables, locks: Arc::new(Locks::default()) });
    event::watch(&**setup.server, &tables, pause);
    Ok(tables)
}

/// Name, rules and the database table of `NAME=>size=8;...`.
fn parse(line: &str) -> Result<(String, Rules, Option<Asked>), String> {
    let (name, rest) = line.split_once("=>").unwrap_or((line, ""));
    let name = name.trim();
    if name.is_empty() || name.contains(['=', ';', ' ']) {
        return Err("no name; write NAME=>size=8;autoexpire=60".into());
    }
    let mut rules = Rules { lifetime: None, is_prolonged: true, initial: Value::Null, limit: USUAL_LIMIT };
    let mut asked = Asked::default();
    for (key, value) in pairs(rest)? {
        let number = || value.parse::<u32>().map_err(|_| format!("{key} must be a number from 0, not `{value}`"));
        match key {
            "size" | "dmqreplicate" => drop(number()?),
            "dbmode" => asked.is_written_back = number()? != 0,
            "autoexpire" => rules.lifetime = Some(number()?).filter(|n| *n > 0).map(|n| Duration::from_secs(n.into())),
            "updateexpire" => rules.is_prolonged = number()? != 0,
            "max" => rules.limit = number()?.max(1) as usize,
            "initval" => {
                let text = || Value::Str(value.to_owned().into());
                rules.initial = value.parse().map_or_else(|_| text(), Value::Int);
            }
            "dbtable" => asked.table = value.to_owned(),
            "cols" => {
                let names = value.trim_matches('\'').split(',');
                asked.columns = names.map(|name| name.trim().to_owned()).collect();
                if asked.columns.len() < 2 {
                    return Err("cols names the column of the key and at least one of a value".into());
                }
            }
            "colnull" => asked.empty = value.trim_matches('\'').to_owned(),
            "coldelim" => asked.between = Some(value.trim_matches('\'').to_owned()),
            _ => {
                return Err(format!(
                    "unknown {key}; there are size, autoexpire, updateexpire, initval, dbtable, dbmode, cols, colnull, coldelim \
                     and max"
                ));
            }
        }
    }
    if asked.is_written_back && !asked.columns.is_empty() {
        return Err("a table with cols is only read; leave dbmode out".into());
    }
    Ok((name.to_owned(), rules, Some(asked).filter(|asked| !asked.table.is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_described_as_in_kamailio() {
        let (name, rules, source) = parse("ipban=>size=8;autoexpire=300;updateexpire=0;initval=0;dbtable=ban").unwrap();
        assert_eq!((name.as_str(), source.map(|asked| asked.table)), ("ipban", Some("ban".into())));
        let lifetime = Some(Duration::from_secs(300));
        assert_eq!(rules, Rules { lifetime, is_prolonged: false, initial: Value::Int(0), limit: 1_000_000 });
        assert_eq!(parse("a=>size=4;autoexpire=0;").unwrap().1.lifetime, None);
        assert_eq!(parse("a").unwrap().0, "a");
    }

    #[test]
    fn what_a_table_cannot_do_is_said_at_load() {
        assert!(parse("=>size=4").is_err());
        assert!(parse("a=>autoexpire=soon").unwrap_err().contains("autoexpire must be a number"));
        assert!(parse("a=>expire=5").unwrap_err().contains("there are size, autoexpire"));
    }
}
