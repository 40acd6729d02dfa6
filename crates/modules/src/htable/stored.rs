//! Entries of a table in a database: loaded at start and by command, written back at the end and by command.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use module_api::{Level, LogLine, Setup, SetupError, Value};
use store::{Cell, ColumnName, Database, Report, Settings, TableName, Write};

use super::table::{Rules, Table};
use crate::database::named;
use crate::rows::{Row, Source, Wanted};

/// Where the entries of a table lie.
pub(super) struct Stored {
    source: Source,
    address: String,
    table: TableName,
    columns: Columns,
    /// Whether the table goes to the database when the server ends.
    pub(super) is_written_back: bool,
    log: LogLine,
}

enum Columns {
    /// Kamailio's: key, its kind, kind of the value, value, end of life. And what names the size of an array.
    Own(Box<[ColumnName; 5]>, String),
    /// Key and value out of a table of the operator's: several columns are one value, with a text between them and
    /// one for what is NULL.
    Packed { between: String, empty: String },
}

/// What the script says of a table in a database.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) table: String,
    pub(super) columns: Vec<String>,
    pub(super) between: Option<String>,
    pub(super) empty: String,
    pub(super) is_written_back: bool,
}

/// Longest that a write at the end keeps the server from ending.
const LAST_WRITE: Duration = Duration::from_secs(10);

impl Stored {
    pub(super) fn named(setup: &Setup<'_>, asked: &Asked) -> Result<Stored, SetupError> {
        let names = ["key_name_column", "key_type_column", "value_type_column", "key_value_column", "expires_column"];
        let own: Vec<String> = names.into_iter().map(|name| setup.text(name)).collect();
        let wanted: Vec<&str> =
            if asked.columns.is_empty() { &own } else { &asked.columns }.iter().map(String::as_str).collect();
        let url = setup.text("db_url");
        let wanted =
            Wanted { setting: "db_url", url: &url, table: &asked.table, columns: &wanted, order: None, versions: &[] };
        let columns = match asked.columns.is_empty() {
            true => {
                let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(|n| named(names[n], &own[n]));
                Columns::Own(Box::new([a?, b?, c?, d?, e?]), setup.text("array_size_suffix"))
            }
            false => {
                Columns::Packed { between: asked.between.clone().unwrap_or(",".into()), empty: asked.empty.clone() }
            }
        };
        Ok(Stored {
            source: Source::at(setup, &wanted)?,
            address: if url.is_empty() { crate::usrloc::default_database(setup.data_dir) } else { url.clone() },
            table: named("htable", &asked.table)?,
            columns,
            is_written_back: asked.is_written_back,
            log: Arc::clone(setup.log),
        })
    }

    /// Fills a table that is about to be used.
    pub(super) fn fill_at_start(&self, setup: &Setup<'_>, table: &Table) -> Result<(), SetupError> {
        self.fill(table, &self.source.read_at_start(setup)?).map_err(SetupError::Unavailable)
    }

    /// A table with the entries that the database has now.
    pub(super) async fn read(&self, name: &str, rules: Rules) -> Result<Table, String> {
        let table = Table::new(name.to_owned(), rules);
        self.fill(&table, &self.source.read().await?)?;
        Ok(table)
    }

    fn fill(&self, table: &Table, rows: &[Row]) -> Result<(), String> {
        let now = Instant::now();
        let full = || format!("htable {}: too many rows", table.name);
        match &self.columns {
            Columns::Own(_, suffix) => fill(table, rows, suffix, now).ok_or_else(full),
            Columns::Packed { between, empty } => {
                for row in rows {
                    let cells: Vec<&str> = row.iter().skip(1).map(|cell| cell.as_deref().unwrap_or(empty)).collect();
                    let key = row[0].as_deref().unwrap_or_default();
                    let value = Value::Str(Bytes::from(cells.join(between)));
                    table.set(key.as_bytes(), value, now).map_err(|_| full())?;
                }
                Ok(())
            }
        }
    }

    /// Puts the entries in place of those of the database.
    ///
    /// # Errors
    /// A phrase for the operator.
    pub(super) async fn write(&self, table: &Table) -> Result<usize, String> {
        let Columns::Own(columns, _) = &self.columns else {
            return Err(format!("htable {}: a table with cols is only read", table.name));
        };
        let entries = table.lasting(Instant::now());
        let unix_now = unix_now();
        let mut writes = vec![Write::Delete { table: self.table.clone(), filter: Vec::new() }];
        writes.extend(entries.iter().map(|(key, value, left)| {
            let (kind, text) = match value {
                Value::Int(number) => (1, Cell::Text(number.to_string())),
                other => (0, Cell::text(&other.to_bytes())),
            };
            // Rounded up, so that what lives does not read as what has ended.
            let end = left.map_or(0, |left| (unix_now + left.as_secs() + 1) as i64);
            let cells = [Cell::text(key), Cell::Int(0), Cell::Int(kind), text, Cell::Int(end)];
            Write::Insert { table: self.table.clone(), row: columns.iter().cloned().zip(cells).collect() }
        }));
        // Its own connection: there is no need for one while the server runs.
        let report: Report = Arc::new(|_| {});
        let settings = Settings { deadline: LAST_WRITE, connections: 1 };
        let said = |error: store::Error| format!("htable {}: {error}", table.name);
        let database = Database::open(&self.address, &settings, report).await.map_err(said)?;
        let written = database.write(&writes).await.map_err(said);
        database.close().await;
        written.map(|_| entries.len())
    }

    /// As [`Stored::write`], when there is nobody to tell but the log.
    pub(super) async fn write_or_say(&self, table: &Table) {
        if let Err(cause) = self.write(table).await {
            (self.log)(Level::Error, &cause);
        }
    }
}

/// None when the table is full.
fn fill(table: &Table, rows: &[Row], suffix: &str, now: Instant) -> Option<()> {
    let unix_now = unix_now();
    let mut arrays: Vec<(String, i64)> = Vec::new();
    for row in rows {
        let text = |n: usize| row[n].as_deref().unwrap_or_default();
        let value = match (text(2), text(3)) {
            ("1", number) => Value::Int(number.parse().unwrap_or(0)),
            (_, value) => Value::Str(value.to_owned().into()),
        };
        let mut key = text(0).to_owned();
        if text(1) == "1" {
            let at = arrays.iter().position(|(name, _)| *name == key).unwrap_or_else(|| {
                arrays.push((key.clone(), 0));
                arrays.len() - 1
            });
            key = format!("{key}[{}]", arrays[at].1);
            arrays[at].1 += 1;
        }
        let end: u64 = text(4).parse().unwrap_or(0);
        match end {
            0 => table.set(key.as_bytes(), value, now).ok()?,
            end if end <= unix_now => continue,
            end => table.set_for(key.as_bytes(), value, Duration::from_secs(end - unix_now), now).ok()?,
        }
    }
    for (name, count) in arrays {
        table.set(format!("{name}{suffix}").as_bytes(), Value::Int(count), now).ok()?;
    }
    Some(())
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

#[cfg(test)]
mod tests {
    use super::super::{MODULE, Tables as State, commands::COMMANDS};
    use crate::testing::{CommandBench, Tables, text};

    fn bench(tables: &Tables, line: &str) -> CommandBench {
        CommandBench::new(tables.make_with(&MODULE, &[("htable", text(line))]).expect("it starts"))
    }

    fn run(bench: &CommandBench, line: &str) -> String {
        bench.run(COMMANDS, line).map_or_else(|error| error.to_string(), |data| data.to_text())
    }

    #[test]
    fn entries_are_loaded_and_loaded_again_by_command() {
        let tables = Tables::new();
        tables.sql(
            "INSERT INTO htable (key_name, value_type, key_value, expires) VALUES ('a', 1, '7', 0), ('old', 0, 'x', 1)",
        );
        tables.sql("INSERT INTO htable (key_name, key_type, key_value) VALUES ('l', 1, 'x'), ('l', 1, 'y')");
        let bench = bench(&tables, "t=>size=4;dbtable=htable");
        assert_eq!(run(&bench, "htable.get t a"), "{item: {name: a, value: 7, type: int}}");
        assert_eq!(run(&bench, "htable.get t l[1]"), "{item: {name: l[1], value: y, type: str}}");
        assert_eq!(run(&bench, "htable.get t l::size"), "{item: {name: l::size, value: 2, type: int}}");
        assert!(run(&bench, "htable.get t old").starts_with("404"), "it had ended");
        tables.sql("UPDATE htable SET key_value = '8' WHERE key_name = 'a'");
        tables.sql("DELETE FROM htable WHERE key_name = 'l'");
        assert_eq!(run(&bench, "htable.reload t"), "");
        assert_eq!(run(&bench, "htable.get t a"), "{item: {name: a, value: 8, type: int}}");
        assert_eq!(bench.state::<State>().tables[0].count(), 1);
        tables.sql("ALTER TABLE htable RENAME TO gone");
        tables.sql("CREATE VIEW htable AS SELECT x FROM absent");
        assert!(run(&bench, "htable.reload t").starts_with("500"));
        assert_eq!(run(&bench, "htable.get t a"), "{item: {name: a, value: 8, type: int}}", "what was there stays");
    }

    #[test]
    fn entries_are_written_back_at_the_end_and_by_command() {
        let tables = Tables::new();
        let line = "t=>size=4;autoexpire=100;dbtable=htable;dbmode=1";
        let first = bench(&tables, line);
        run(&first, "htable.seti t a 1");
        let hostile = "x'); DROP TABLE htable; --";
        let set = COMMANDS.iter().find(|command| command.is_called("htable.sets")).expect("it is there");
        first.call(set, vec!["t".into(), hostile.into(), "it's".into()]).expect("it is set");
        assert_eq!(run(&first, "htable.store t"), "2");
        run(&first, "htable.seti t a 2");
        first.save(&super::super::MODULE);
        let found = tables.sql("SELECT key_value FROM htable ORDER BY key_name");
        assert_eq!(found, ["2", "it's"]);
        assert_eq!(tables.sql("SELECT count(*) FROM htable WHERE expires > 1700000000"), ["2"]);
        let second = bench(&tables, line);
        assert_eq!(run(&second, "htable.get t a"), "{item: {name: a, value: 2, type: int}}");
        assert_eq!(second.state::<State>().tables[0].stored(hostile.as_bytes(), second.now()), Some(text("it's")));
    }

    #[test]
    fn columns_of_another_table_are_packed_into_one_value() {
        let tables = Tables::new();
        tables.sql(
            "INSERT INTO speed_dial (username, domain, sd_username, fname) VALUES ('alice', 'a.example', '7', '')",
        );
        let bench =
            bench(&tables, "t=>dbtable=speed_dial;cols='username,domain,fname,sd_username';colnull=-;coldelim=:");
        assert_eq!(run(&bench, "htable.get t alice"), "{item: {name: alice, value: a.example:-:7, type: str}}");
        assert!(run(&bench, "htable.store t").contains("only read"));
    }
}
