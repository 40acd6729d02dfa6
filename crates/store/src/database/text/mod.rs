//! Tables in text files, one a table: SER's dbtext.
//!
//! A file is read when it has changed since it was last read, so that an editor is as good a tool as any. A change
//! writes the tables that it touches anew beside the old ones and then puts all of them in place: a crash leaves
//! all of it or nothing.

mod file;

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::cell::{Cell, Rows};
use super::statement::{Comparison, Condition, Select, Write};
use crate::{Cause, ColumnName, Error, TableName};
use file::Table;

/// A directory of tables.
pub(super) struct TextFiles(Arc<Directory>);

struct Directory {
    path: PathBuf,
    read: Mutex<HashMap<TableName, Loaded>>,
}

/// A table as it was when it was read.
struct Loaded {
    stamp: (SystemTime, u64),
    table: Table,
}

/// Its presence means that every table it names has a successor which must take its place.
const JOURNAL: &str = ".journal";
/// What a table is called before it takes its place.
const NEW: &str = "new";

impl TextFiles {
    /// Looks into a directory, and ends what a crash has left half done.
    pub(super) fn open(path: PathBuf) -> Result<TextFiles, Error> {
        if !path.is_dir() {
            return Err(unusable(&path, &io::Error::new(io::ErrorKind::NotFound, "there is no such directory")));
        }
        let directory = Directory { path, read: Mutex::default() };
        directory.finish_journal()?;
        Ok(TextFiles(Arc::new(directory)))
    }

    pub(super) async fn select(&self, select: &Select) -> Result<Rows, Error> {
        let (directory, select) = (Arc::clone(&self.0), select.clone());
        run(move || directory.select(&select)).await
    }

    /// Makes a table where there is none.
    pub(super) async fn make(&self, table: &TableName, header: &str) -> Result<(), Error> {
        let path = self.0.path.join(table.as_str());
        match OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .and_then(|mut file| file.write_all(header.as_bytes()))
        {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made.map_err(|error| unusable(&path, &error)),
        }
    }

    /// Adds a column behind the others, written as the first line of a file has it.
    pub(super) async fn add_column(&self, table: &TableName, column: &str) -> Result<(), Error> {
        let (directory, table, column) = (Arc::clone(&self.0), table.clone(), column.to_owned());
        run(move || directory.add_column(&table, &column)).await
    }

    pub(super) async fn write(&self, writes: &[Write]) -> Result<Vec<u64>, Error> {
        let (directory, writes) = (Arc::clone(&self.0), writes.to_vec());
        run(move || directory.write(&writes)).await
    }
}

/// Files may stall, so they are read and written where waiting harms nobody.
async fn run<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Error::Unavailable(Cause::Stopped)))
}

impl Directory {
    fn select(&self, select: &Select) -> Result<Rows, Error> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let table = self.table(&mut read, &select.table)?;
        let columns = places(table, select.columns.iter())?;
        let order = places(table, select.order.iter())?;
        let filter = compile(table, &select.filter)?;
        let mut found: Vec<&Vec<Cell>> = table.rows.iter().filter(|row| passes(row, &filter)).collect();
        found.sort_by(|a, b| {
            let by_column = order.iter().map(|at| file::compare(&a[*at], &b[*at]));
            by_column.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
        });
        found.truncate(select.limit as usize);
        Ok(Rows {
            columns: select.columns.iter().map(ToString::to_string).collect(),
            rows: found.iter().map(|row| columns.iter().map(|at| row[*at].clone()).collect()).collect(),
            affected: 0,
        })
    }

    fn write(&self, writes: &[Write]) -> Result<Vec<u64>, Error> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed: HashMap<TableName, Table> = HashMap::new();
        let mut touched = Vec::with_capacity(writes.len());
        for write in writes {
            let name = table_of(write);
            if !changed.contains_key(name) {
                changed.insert(name.clone(), self.table(&mut read, name)?.clone());
            }
            let table = changed.get_mut(name).expect("it has just been put there");
            let count = apply(table, write)?;
            super::check_matched(write, count)?;
            touched.push(count);
        }
        changed.retain(|name, table| read.get(name).is_none_or(|before| before.table != *table));
        self.replace(&changed)?;
        for (name, table) in changed {
            let stamp = stamp(&self.path.join(name.as_str()))?;
            read.insert(name, Loaded { stamp, table });
        }
        Ok(touched)
    }

    fn add_column(&self, name: &TableName, column: &str) -> Result<(), Error> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = self.table(&mut read, name)?.clone();
        table.add_column(column).map_err(|detail| Error::Misfit { detail })?;
        self.replace(&HashMap::from([(name.clone(), table)]))?;
        read.remove(name);
        Ok(())
    }

    /// The table as the file has it now.
    fn table<'a>(&self, read: &'a mut HashMap<TableName, Loaded>, name: &TableName) -> Result<&'a Table, Error> {
        let path = self.path.join(name.as_str());
        let stamp = match stamp(&path) {
            Err(Error::Misfit { .. }) => {
                return Err(Error::Misfit { detail: format!("there is no table {}", path.display()) });
            }
            stamp => stamp?,
        };
        if read.get(name).is_none_or(|loaded| loaded.stamp != stamp) {
            let text = fs::read_to_string(&path).map_err(|error| unusable(&path, &error))?;
            let table =
                Table::parse(&text).map_err(|why| Error::Corrupt { what: format!("{}: {why}", path.display()) })?;
            read.insert(name.clone(), Loaded { stamp, table });
        }
        Ok(&read[name].table)
    }

    /// Puts new tables in the place of old ones: all, or none.
    fn replace(&self, tables: &HashMap<TableName, Table>) -> Result<(), Error> {
        if tables.is_empty() {
            return Ok(());
        }
        for (name, table) in tables {
            let path = self.path.join(name.as_str()).with_extension(NEW);
            write_synced(&path, table.to_text().as_bytes())?;
        }
        let names: Vec<&str> = tables.keys().map(TableName::as_str).collect();
        let journal = self.path.join(JOURNAL);
        let draft = journal.with_extension(NEW);
        write_synced(&draft, names.join("\n").as_bytes())?;
        fs::rename(&draft, &journal).map_err(|error| unusable(&journal, &error))?;
        self.sync()?;
        self.finish_journal()
    }

    /// Does what the journal says; without one there is nothing to do.
    fn finish_journal(&self) -> Result<(), Error> {
        let journal = self.path.join(JOURNAL);
        let names = match fs::read_to_string(&journal) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unusable(&journal, &error)),
        };
        for name in names.lines() {
            let path = self.path.join(name);
            match fs::rename(path.with_extension(NEW), &path) {
                Ok(()) => {}
                // It took its place before the crash.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(unusable(&path, &error)),
            }
        }
        self.sync()?;
        fs::remove_file(&journal).map_err(|error| unusable(&journal, &error))
    }

    fn sync(&self) -> Result<(), Error> {
        let synced = File::open(&self.path).and_then(|directory| directory.sync_all());
        synced.map_err(|error| unusable(&self.path, &error))
    }
}

fn write_synced(path: &Path, octets: &[u8]) -> Result<(), Error> {
    let written = File::create(path).and_then(|mut file| {
        file.write_all(octets)?;
        file.sync_all()
    });
    written.map_err(|error| unusable(path, &error))
}

fn stamp(path: &Path) -> Result<(SystemTime, u64), Error> {
    let data = fs::metadata(path).map_err(|error| unusable(path, &error))?;
    Ok((data.modified().unwrap_or(SystemTime::UNIX_EPOCH), data.len()))
}

fn unusable(path: &Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::Misfit { detail: format!("{}: {error}", path.display()) },
        _ => Error::Unavailable(crate::sqlite::cause_of_io(error, path)),
    }
}

fn table_of(write: &Write) -> &TableName {
    match write {
        Write::Insert { table, .. }
        | Write::Put { table, .. }
        | Write::Update { table, .. }
        | Write::Delete { table, .. } => table,
    }
}

/// Changes a table; returns how many rows were touched.
fn apply(table: &mut Table, write: &Write) -> Result<u64, Error> {
    match write {
        Write::Insert { row, .. } => {
            let at = places(table, row.iter().map(|(column, _)| column))?;
            let mut cells = table.new_row();
            for (at, (_, value)) in at.into_iter().zip(row) {
                cells[at] = table.columns[at].fit(value);
            }
            if table.breaks_key(&cells) {
                return Err(Error::Refused { detail: "a row with this key is there".into() });
            }
            table.rows.push(cells);
            Ok(1)
        }
        Write::Put { table: name, key, row } => {
            let value =
                row.iter().find(|(column, _)| column == key).map(|(_, value)| value.clone()).unwrap_or_default();
            let filter = vec![Condition::equal(key, value)];
            let update = Write::Update { table: name.clone(), set: row.clone(), filter, must_match: false };
            match apply(table, &update)? {
                0 => apply(table, &Write::Insert { table: name.clone(), row: row.clone() }),
                count => Ok(count),
            }
        }
        Write::Update { set, filter, .. } => {
            let at = places(table, set.iter().map(|(column, _)| column))?;
            let filter = compile(table, filter)?;
            let values: Vec<Cell> = at.iter().zip(set).map(|(at, (_, value))| table.columns[*at].fit(value)).collect();
            let mut count = 0;
            for row in table.rows.iter_mut().filter(|row| passes(row, &filter)) {
                count += 1;
                at.iter().zip(&values).for_each(|(at, value)| row[*at] = value.clone());
            }
            Ok(count)
        }
        Write::Delete { filter, .. } => {
            let filter = compile(table, filter)?;
            let before = table.rows.len();
            table.rows.retain(|row| !passes(row, &filter));
            Ok((before - table.rows.len()) as u64)
        }
    }
}

fn places<'a>(table: &Table, names: impl Iterator<Item = &'a ColumnName>) -> Result<Vec<usize>, Error> {
    names
        .map(|name| {
            let at = table.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name.as_str()));
            at.ok_or_else(|| Error::Misfit { detail: format!("there is no column {name}") })
        })
        .collect()
}

/// A condition with the place of its column.
type Compiled = (usize, Comparison, Cell);

fn compile(table: &Table, filter: &[Condition]) -> Result<Vec<Compiled>, Error> {
    let at = places(table, filter.iter().map(|condition| &condition.column))?;
    Ok(at
        .into_iter()
        .zip(filter)
        .map(|(at, condition)| (at, condition.is, table.columns[at].fit(&condition.value)))
        .collect())
}

fn passes(row: &[Cell], filter: &[Compiled]) -> bool {
    filter.iter().all(|(at, is, value)| {
        let order = file::compare(&row[*at], value);
        match is {
            Comparison::Equal => order.is_eq(),
            Comparison::EqualFolded => match (&row[*at], value) {
                (Cell::Text(a), Cell::Text(b)) => a.eq_ignore_ascii_case(b),
                _ => order.is_eq(),
            },
            Comparison::Greater => order.is_gt(),
            Comparison::Less => order.is_lt(),
            Comparison::NotEqual => order.is_ne(),
        }
    })
}
