//! Any table of any database: what modules use whose tables an operator names.
//!
//! [`Database`] takes selections and changes said in its own words ([`Select`], [`Write`]) and knows how each kind of
//! database wants them. Values are bound, never pasted. [`Database::query`] takes a statement of the script's own.

#[cfg(any(test, feature = "battery"))]
pub mod battery;
mod breaker;
mod cell;
mod mysql;
mod postgres;
mod postgres_columns;
mod schema;
mod sqlite;
mod statement;
#[cfg(test)]
mod tests;
mod text;
pub(crate) mod time;
mod upgrade;
mod url;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{MySqlPool, SqlitePool};

use crate::place::{Place, without_password};
use crate::sqlite::Sqlite;
use crate::{Cause, Error, Settings, TableName};
use breaker::{Breaker, News};
use url::Url;

pub use cell::{Cell, Rows};
pub use schema::{How, Made, SCHEMA, SchemaTable};
pub use statement::{ColumnName, Comparison, Condition, Select, Write};

/// Whether an address is that of a file of SQLite.
pub(crate) fn is_sqlite(address: &str) -> bool {
    !matches!(Url::parse(address), Ok(Url::Postgres(_) | Url::MySql(_) | Url::Text(_)) | Err(_))
        || Place::parse(address).is_ok()
}

/// A database whose tables others have made. Cloning is cheap and shares the connections.
///
/// Methods need a tokio runtime with time enabled. Dropping a future abandons the answer; a change may still happen.
#[derive(Clone)]
pub struct Database(Arc<Inner>);

struct Inner {
    engine: Engine,
    deadline: Duration,
    breaker: Breaker,
    /// The address without its password.
    shown: String,
    report: Report,
}

/// Where one line goes when a database goes away, and one when it is back.
pub type Report = Arc<dyn Fn(&str) + Send + Sync>;

/// Kinds of databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file of SQLite, or memory.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MySQL or MariaDB.
    MySql,
    /// A directory of text files.
    Text,
}

enum Engine {
    Sqlite(SqlitePool),
    Postgres(postgres::Server),
    MySql(MySqlPool),
    Text(text::TextFiles),
}

impl Database {
    /// Understands an address. Servers are first talked to when they are first needed, so that a server that is away
    /// does not keep anybody from starting; a SQLite file is opened, and made where it is missing.
    ///
    /// # Errors
    /// [`Error::Address`], or what keeps a file from being opened.
    pub async fn open(address: &str, settings: &Settings, report: Report) -> Result<Database, Error> {
        let engine = match Url::parse(address)? {
            Url::Sqlite(place) => {
                Engine::Sqlite(crate::store::within(settings.deadline, Sqlite::connect(&place, settings)).await?)
            }
            Url::Postgres(server) => Engine::Postgres(postgres::connect(&server, settings)?),
            Url::MySql(server) => Engine::MySql(mysql::connect(&server, settings)?),
            Url::Text(directory) => Engine::Text(text::TextFiles::open(directory)?),
        };
        let (deadline, shown) = (settings.deadline, without_password(address));
        Ok(Database(Arc::new(Inner { engine, deadline, breaker: Breaker::default(), shown, report })))
    }

    /// Whether `address` is one that [`Database::open`] understands. Nothing is opened.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub fn check_address(address: &str) -> Result<(), Error> {
        Url::parse(address).map(drop)
    }

    /// The address, without its password.
    pub fn address(&self) -> &str {
        &self.0.shown
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        match self.0.engine {
            Engine::Sqlite(_) => Kind::Sqlite,
            Engine::Postgres(_) => Kind::Postgres,
            Engine::MySql(_) => Kind::MySql,
            Engine::Text(_) => Kind::Text,
        }
    }

    /// Rows of one table.
    pub async fn select(&self, select: &Select) -> Result<Rows, Error> {
        self.guarded(async {
            match &self.0.engine {
                Engine::Sqlite(pool) => sqlite::select(pool, select).await,
                Engine::Postgres(server) => postgres::select(server, select).await,
                Engine::MySql(pool) => mysql::select(pool, select).await,
                Engine::Text(files) => files.select(select).await,
            }
        })
        .await
    }

    /// Makes changes in one transaction: all of them, or none. Returns how many rows each touched.
    ///
    /// # Errors
    /// [`Error::Stale`] when a change that must match a row matched none. After [`Cause::Deadline`] the changes may
    /// be there or not.
    pub async fn write(&self, writes: &[Write]) -> Result<Vec<u64>, Error> {
        self.guarded(async {
            match &self.0.engine {
                Engine::Sqlite(pool) => sqlite::write(pool, writes).await,
                Engine::Postgres(server) => postgres::write(server, writes).await,
                Engine::MySql(pool) => mysql::write(pool, writes).await,
                Engine::Text(files) => files.write(writes).await,
            }
        })
        .await
    }

    /// Runs a statement in the database's own SQL, written by the script's author.
    ///
    /// # Errors
    /// [`Error::Misfit`] when the database does not understand it, or is a directory of text files.
    pub async fn query(&self, statement: &str) -> Result<Rows, Error> {
        self.guarded(async {
            match &self.0.engine {
                Engine::Sqlite(pool) => sqlite::raw(pool, statement).await,
                Engine::Postgres(server) => postgres::raw(server, statement).await,
                Engine::MySql(pool) => mysql::raw(pool, statement).await,
                Engine::Text(_) => Err(Error::Misfit { detail: "text files take no SQL".into() }),
            }
        })
        .await
    }

    /// What the table `version` says of a table; none when it says nothing.
    pub async fn version(&self, table: &TableName) -> Result<Option<i64>, Error> {
        let name = |text| TableName::new(text).expect("a literal name");
        let rows = self
            .select(&Select {
                table: name("version"),
                columns: vec![name("table_version")],
                filter: vec![Condition::equal(&name("table_name"), table.as_str())],
                order: Vec::new(),
                limit: 1,
            })
            .await?;
        Ok(rows.rows.first().and_then(|row| row[0].to_int()))
    }

    /// Makes a table where it is not there. `columns` is a statement that all kinds of SQL understand and that does
    /// nothing where the table is there; `header` is the first line of the table as a text file.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with [`Cause::Permission`] when we may not.
    pub async fn make_table(&self, table: &TableName, statement: &str, header: &str) -> Result<(), Error> {
        match &self.0.engine {
            Engine::Text(files) => self.guarded(files.make(table, header)).await,
            _ => self.query(statement).await.map(drop),
        }
    }

    /// How often the database was given up for a while, and how many questions were not asked meanwhile.
    pub fn outages(&self) -> (u64, u64) {
        self.0.breaker.counts()
    }

    /// Waits for what runs and closes all connections.
    pub async fn close(&self) {
        match &self.0.engine {
            Engine::Sqlite(pool) => pool.close().await,
            Engine::Postgres(server) => server.pool.close().await,
            Engine::MySql(pool) => pool.close().await,
            Engine::Text(_) => {}
        }
    }

    async fn guarded<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.0.breaker.admit(Instant::now())?;
        let outcome = crate::store::within(self.0.deadline, work).await;
        match self.0.breaker.note(&outcome, Instant::now()) {
            Some(News::Away(cause)) => (self.0.report)(&format!("database {} does not answer: {cause}", self.0.shown)),
            Some(News::Back) => (self.0.report)(&format!("database {} answers again", self.0.shown)),
            None => {}
        }
        outcome
    }
}

/// Takes down what a statement for the next `count` of the changes has touched.
fn note_touched(writes: &[Write], count: usize, affected: u64, touched: &mut Vec<u64>) -> Result<(), Error> {
    if count > 1 {
        touched.extend(std::iter::repeat_n(1, count));
        return Ok(());
    }
    check_matched(&writes[touched.len()], affected)?;
    touched.push(affected);
    Ok(())
}

fn check_matched(write: &Write, touched: u64) -> Result<(), Error> {
    match write {
        Write::Update { must_match: true, .. } if touched == 0 => Err(Error::Stale),
        _ => Ok(()),
    }
}

/// An error of a driver that no server has sent.
fn from_driver(error: sqlx::Error) -> Error {
    match error {
        sqlx::Error::PoolTimedOut => Error::Unavailable(Cause::Busy),
        sqlx::Error::PoolClosed => Error::Unavailable(Cause::Stopped),
        sqlx::Error::ColumnDecode { index, source } => Error::Corrupt { what: format!("column {index}: {source}") },
        sqlx::Error::Decode(source) => Error::Corrupt { what: source.to_string() },
        other => Error::Unavailable(Cause::Io(other.to_string())),
    }
}
