//! SQLite: the store that needs no set-up. One file, or memory.

mod account;
mod domain;
mod location;
mod schema;
#[cfg(test)]
mod tests;

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::place::Place;
use crate::{Cause, Error, Settings};

/// Connections to one SQLite database.
pub(crate) struct Sqlite {
    pool: SqlitePool,
}

impl Sqlite {
    /// Opens or makes the database and its tables.
    pub(crate) async fn open(place: &Place, settings: &Settings) -> Result<Sqlite, Error> {
        let sqlite = Sqlite { pool: Sqlite::connect(place, settings).await? };
        sqlite.create_tables().await?;
        Ok(sqlite)
    }

    /// Opens or makes the database alone.
    ///
    /// Programs that open a new database at once all want to turn it to WAL, and SQLite tells some of them without any
    /// wait that it is busy, lest two wait for each other: they try again.
    pub(crate) async fn connect(place: &Place, settings: &Settings) -> Result<SqlitePool, Error> {
        let begin = Instant::now();
        loop {
            match Sqlite::try_connect(place, settings).await {
                Err(Error::Unavailable(Cause::Busy)) if begin.elapsed() < settings.deadline => {
                    tokio::time::sleep(AGAIN).await;
                }
                done => return done,
            }
        }
    }

    async fn try_connect(place: &Place, settings: &Settings) -> Result<SqlitePool, Error> {
        let (options, connections) = match place {
            // Each connection to memory would be a database of its own.
            Place::SqliteMemory => (SqliteConnectOptions::new().in_memory(true), 1),
            Place::SqliteFile(path) => {
                create_private(path)?;
                (file_options(path, settings.deadline), settings.connections.max(1))
            }
        };
        SqlitePoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(settings.deadline)
            // A closed connection to memory is a lost database, and one to a file costs a schema read to replace.
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options)
            .await
            .map_err(error)
    }

    /// Waits for what runs and closes.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

/// How soon to try again to open a database that is busy.
const AGAIN: Duration = Duration::from_millis(20);

fn file_options(path: &Path, deadline: Duration) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        // Readers go on while a batch of registrations is written.
        .journal_mode(SqliteJournalMode::Wal)
        // With WAL, NORMAL would lose the last commits on a power cut; a 200 to REGISTER promises more.
        .synchronous(SqliteSynchronous::Full)
        // Below the deadline, so that the answer is "busy" and the connection is free again.
        .busy_timeout(deadline * 4 / 5)
        // Kamailio's tools never enforce foreign keys on these tables.
        .foreign_keys(false)
}

/// Makes the file, and the directories above it, for the owner only: it holds what authenticates every subscriber.
///
/// SQLite gives its `-wal` and `-shm` files the mode of the main file. What exists keeps its mode.
fn create_private(path: &Path) -> Result<(), Error> {
    let denied = |error: io::Error| Error::Unavailable(cause_of_io(&error, path));
    if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(denied)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(denied(error)),
    }
}

pub(crate) fn cause_of_io(error: &io::Error, path: &Path) -> Cause {
    let detail = format!("{}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Cause::Permission(detail),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Cause::DiskFull,
        _ => Cause::Io(detail),
    }
}

/// Puts an error of the driver into our words.
pub(crate) fn error(error: sqlx::Error) -> Error {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().and_then(|code| code.parse().ok()).unwrap_or(0);
            from_result_code(code, error.message())
        }
        sqlx::Error::PoolTimedOut => Error::Unavailable(Cause::Busy),
        sqlx::Error::PoolClosed => Error::Unavailable(Cause::Stopped),
        sqlx::Error::ColumnDecode { index, source } => Error::Corrupt { what: format!("column {index}: {source}") },
        other => Error::Unavailable(Cause::Io(other.to_string())),
    }
}

/// Meaning of SQLite's result codes (sqlite.org/rescode.html): the low byte is the kind, the rest refines it.
fn from_result_code(code: u32, message: &str) -> Error {
    match code & 0xff {
        // BUSY, LOCKED.
        5 | 6 => Error::Unavailable(Cause::Busy),
        // PERM, READONLY, CANTOPEN, AUTH.
        3 | 8 | 14 | 23 => Error::Unavailable(Cause::Permission(message.to_owned())),
        // CORRUPT, NOTADB.
        11 | 26 => Error::Corrupt { what: message.to_owned() },
        // FULL.
        13 => Error::Unavailable(Cause::DiskFull),
        // ERROR: no such table or column, or a statement that it does not understand.
        1 => Error::Misfit { detail: message.to_owned() },
        // TOOBIG, CONSTRAINT (triggers that raise, too), MISMATCH.
        18..=20 => Error::Refused { detail: message.to_owned() },
        _ => Error::Unavailable(Cause::Io(message.to_owned())),
    }
}

/// A second since 1970 as the tables hold it: a Julian day, bound to this expression's `?`.
///
/// Kamailio's `db_sqlite` reads a day back by cutting the fraction of a second after adding half a second to what
/// it wrote half a second early, so rounding in the sixteenth digit costs it a second now and then. A quarter
/// early is read exactly by both.
const TO_DAY: &str = "((? - 0.25) / 86400.0 + 2440587.5)";

/// The reverse, for a column: also reads the texts (`2030-05-28 21:32:15`) that the schema's defaults insert.
fn seconds_of(column: &str) -> String {
    format!("CAST(round((julianday({column}) - 2440587.5) * 86400.0 + 0.25) AS INTEGER)")
}
