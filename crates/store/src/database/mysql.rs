//! Statements on MySQL and MariaDB.

use std::time::Duration;

use sqlx::mysql::{MySqlArguments, MySqlConnectOptions, MySqlDatabaseError, MySqlPoolOptions, MySqlRow};
use sqlx::{AssertSqlSafe, Column, MySql, MySqlPool, Row, TypeInfo, ValueRef};

use super::cell::{Cell, Rows};
use super::statement::{Bound, Select, Syntax, Write};
use super::url::Server;
use crate::{Cause, Error, Settings};

type Query<'q> = sqlx::query::Query<'q, MySql, MySqlArguments>;

/// A pool that connects when it is first needed.
pub(super) fn connect(server: &Server, settings: &Settings) -> Result<MySqlPool, Error> {
    let mut options = MySqlConnectOptions::new()
        .host(&server.host)
        .username(&server.user)
        .database(&server.database)
        // The script's quotes and `||` keep their MySQL meaning.
        .pipes_as_concat(false);
    if let Some(port) = server.port {
        options = options.port(port);
    }
    if let Some(password) = &server.password {
        options = options.password(password);
    }
    if let Some(socket) = &server.socket {
        options = options.socket(socket);
    }
    if let Some(mode) = &server.tls_mode {
        options = options.ssl_mode(mode.parse().map_err(|_| server.refuse("ssl-mode is not one that MySQL knows"))?);
    }
    if let Some(file) = &server.tls_ca {
        options = options.ssl_ca(file);
    }
    let pool = MySqlPoolOptions::new()
        .max_connections(settings.connections.max(1))
        // Longer than the deadline, which then says what happened: a server that hangs is no pool in use.
        .acquire_timeout(settings.deadline * 2)
        .idle_timeout(Duration::from_secs(600));
    Ok(pool.connect_lazy_with(options))
}

pub(super) async fn select(pool: &MySqlPool, select: &Select) -> Result<Rows, Error> {
    let bound = Syntax::MySql.select(select);
    let rows = query(&bound).fetch_all(pool).await.map_err(error)?;
    rows_of(&rows)
}

/// A statement of the script's own.
pub(super) async fn raw(pool: &MySqlPool, text: &str) -> Result<Rows, Error> {
    let mut connection = pool.acquire().await.map_err(error)?;
    let (mut rows, mut affected) = (Vec::new(), 0);
    let mut results = sqlx::raw_sql(AssertSqlSafe(text)).fetch_many(&mut *connection);
    while let Some(next) = std::future::poll_fn(|context| results.as_mut().poll_next(context)).await {
        match next.map_err(error)? {
            sqlx::Either::Left(done) => affected += done.rows_affected(),
            sqlx::Either::Right(row) => rows.push(row),
        }
    }
    Ok(Rows { affected, ..rows_of(&rows)? })
}

/// All changes, or none, where the tables are of an engine with transactions.
pub(super) async fn write(pool: &MySqlPool, writes: &[Write]) -> Result<Vec<u64>, Error> {
    let mut transaction = pool.begin().await.map_err(error)?;
    let mut touched = Vec::with_capacity(writes.len());
    for (bound, count) in Syntax::MySql.writes(writes) {
        let done = query(&bound).execute(&mut *transaction).await.map_err(error)?;
        super::note_touched(writes, count, done.rows_affected(), &mut touched)?;
    }
    transaction.commit().await.map_err(error)?;
    Ok(touched)
}

fn query(bound: &Bound) -> Query<'_> {
    let query = sqlx::query(AssertSqlSafe(bound.text.as_str()));
    bound.values.iter().fold(query, |query, value| match value {
        Cell::Null => query.bind(None::<String>),
        Cell::Int(number) => query.bind(*number),
        // As text: its functions of seconds know neither 1970 nor what comes after 2038.
        Cell::Time(moment) => query.bind(super::time::text(*moment)),
        Cell::Real(number) => query.bind(*number),
        Cell::Text(text) => query.bind(text.as_str()),
        Cell::Bytes(octets) => query.bind(octets.as_slice()),
    })
}

fn rows_of(rows: &[MySqlRow]) -> Result<Rows, Error> {
    let columns =
        rows.first().map_or_else(Vec::new, |row| row.columns().iter().map(|column| column.name().to_owned()).collect());
    let rows = rows.iter().map(row).collect::<Result<_, _>>().map_err(error)?;
    Ok(Rows { columns, rows, affected: 0 })
}

fn row(row: &MySqlRow) -> Result<Vec<Cell>, sqlx::Error> {
    (0..row.len()).map(|n| cell(row, n)).collect()
}

fn cell(row: &MySqlRow, n: usize) -> Result<Cell, sqlx::Error> {
    let value = row.try_get_raw(n)?;
    if value.is_null() {
        return Ok(Cell::Null);
    }
    let name = value.type_info().name().to_owned();
    Ok(match name.as_str() {
        "BIGINT UNSIGNED" => {
            let number: u64 = row.try_get_unchecked(n)?;
            i64::try_from(number).map_or_else(|_| Cell::Text(number.to_string()), Cell::Int)
        }
        "BOOLEAN" | "YEAR" => Cell::Int(row.try_get_unchecked(n)?),
        name if name.contains("INT") => Cell::Int(row.try_get_unchecked(n)?),
        "FLOAT" => Cell::Real(row.try_get_unchecked::<f32, _>(n)?.into()),
        "DOUBLE" => Cell::Real(row.try_get_unchecked(n)?),
        _ => {
            let octets: &[u8] = row.try_get_unchecked(n)?;
            match (name.as_str(), std::str::from_utf8(octets)) {
                // Year, month and day, and the time of day where it is not midnight, behind their length. As text
                // it would begin with a digit.
                ("DATETIME" | "TIMESTAMP" | "DATE", _) if octets.first().is_some_and(|length| *length <= 11) => {
                    Cell::Text(moment(&octets[1..]))
                }
                (_, Ok(text)) => Cell::Text(text.to_owned()),
                (_, Err(_)) => Cell::Bytes(octets.to_vec()),
            }
        }
    })
}

/// A moment in MySQL's binary protocol, as its text protocol writes it.
fn moment(octets: &[u8]) -> String {
    let part = |n: usize| octets.get(n).copied().unwrap_or(0);
    let year = u16::from_le_bytes([part(0), part(1)]);
    format!("{year:04}-{:02}-{:02} {:02}:{:02}:{:02}", part(2), part(3), part(4), part(5), part(6))
}

/// Puts an error of the driver into our words.
pub(super) fn error(error: sqlx::Error) -> Error {
    match error {
        sqlx::Error::Database(error) => {
            let number = error.try_downcast_ref::<MySqlDatabaseError>().map_or(0, |error| error.number());
            from_number(number, error.message().to_owned())
        }
        other => super::from_driver(other),
    }
}

/// Meaning of the server's error numbers (MySQL and MariaDB error references).
fn from_number(number: u16, detail: String) -> Error {
    match number {
        // Cannot write a file, table full, error 28 from the storage engine.
        3 | 1021 | 1026 | 1114 => Error::Unavailable(Cause::DiskFull),
        1030 if detail.contains("28") => Error::Unavailable(Cause::DiskFull),
        // Too many connections, lock wait, deadlock.
        1040 | 1203 | 1205 | 1213 | 1226 => Error::Unavailable(Cause::Busy),
        // Access denied, read-only.
        1044 | 1045 | 1142 | 1143 | 1227 | 1290 | 1698 | 1792 | 1836 => Error::Unavailable(Cause::Permission(detail)),
        // Unknown column, syntax, unknown table.
        1054 | 1064 | 1136 | 1146 => Error::Misfit { detail },
        // Constraints, values that do not fit, signals of triggers.
        1048 | 1062 | 1216 | 1217 | 1264 | 1265 | 1292 | 1364 | 1366 | 1406 | 1451 | 1452 | 1644 | 3819 | 4025 => {
            Error::Refused { detail }
        }
        _ => Error::Unavailable(Cause::Io(detail)),
    }
}
