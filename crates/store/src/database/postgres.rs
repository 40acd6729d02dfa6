//! Statements on PostgreSQL.

use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow, PgValueFormat};
use sqlx::{AssertSqlSafe, Column, PgPool, Postgres, Row, TypeInfo, ValueRef};

use super::cell::{Cell, Rows};
use super::postgres_columns::Columns;
use super::statement::{Bound, Select, Syntax, Write};
use super::url::Server as Address;
use crate::{Cause, Error, Settings};

type Query<'q> = sqlx::query::Query<'q, Postgres, PgArguments>;

/// A server, and what is known of its tables.
pub(super) struct Server {
    pub(super) pool: PgPool,
    columns: Columns,
}

/// Connects when that is first needed.
pub(super) fn connect(server: &Address, settings: &Settings) -> Result<Server, Error> {
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(&server.host)
        .username(&server.user)
        .application_name("ser")
        .database(&server.database)
        // The server ends what nobody waits for any more.
        .options([("statement_timeout", settings.deadline.as_millis().to_string())]);
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
        options =
            options.ssl_mode(mode.parse().map_err(|_| server.refuse("sslmode is not one that PostgreSQL knows"))?);
    }
    if let Some(file) = &server.tls_ca {
        options = options.ssl_root_cert(file);
    }
    let pool = PgPoolOptions::new()
        .max_connections(settings.connections.max(1))
        // Longer than the deadline, which then says what happened: a server that hangs is no pool in use.
        .acquire_timeout(settings.deadline * 2)
        .idle_timeout(Duration::from_secs(600));
    Ok(Server { pool: pool.connect_lazy_with(options), columns: Columns::default() })
}

pub(super) async fn select(server: &Server, select: &Select) -> Result<Rows, Error> {
    let mut select = select.clone();
    server.columns.fit_filter(&server.pool, &select.table, &mut select.filter).await?;
    let bound = Syntax::Postgres.select(&select);
    let rows = query(&bound).fetch_all(&server.pool).await.map_err(error)?;
    rows_of(&rows)
}

/// A statement of the script's own. The simple protocol hands every value over as text, so no type is unknown.
pub(super) async fn raw(server: &Server, text: &str) -> Result<Rows, Error> {
    let mut connection = server.pool.acquire().await.map_err(error)?;
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

/// All changes, or none.
pub(super) async fn write(server: &Server, writes: &[Write]) -> Result<Vec<u64>, Error> {
    let mut writes = writes.to_vec();
    for write in &mut writes {
        server.columns.fit(&server.pool, write).await?;
    }
    let writes = &writes[..];
    let mut transaction = server.pool.begin().await.map_err(error)?;
    let mut touched = Vec::with_capacity(writes.len());
    for (bound, count) in Syntax::Postgres.writes(writes) {
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
        Cell::Int(number) | Cell::Time(number) => query.bind(*number),
        Cell::Real(number) => query.bind(*number),
        Cell::Text(text) => query.bind(text.as_str()),
        Cell::Bytes(octets) => query.bind(octets.as_slice()),
    })
}

fn rows_of(rows: &[PgRow]) -> Result<Rows, Error> {
    let columns =
        rows.first().map_or_else(Vec::new, |row| row.columns().iter().map(|column| column.name().to_owned()).collect());
    let rows = rows.iter().map(row).collect::<Result<_, _>>().map_err(error)?;
    Ok(Rows { columns, rows, affected: 0 })
}

fn row(row: &PgRow) -> Result<Vec<Cell>, sqlx::Error> {
    (0..row.len()).map(|n| cell(row, n)).collect()
}

fn cell(row: &PgRow, n: usize) -> Result<Cell, sqlx::Error> {
    let value = row.try_get_raw(n)?;
    if value.is_null() {
        return Ok(Cell::Null);
    }
    let name = value.type_info().name().to_owned();
    let octets = value.as_bytes().map_err(sqlx::Error::Decode)?;
    if value.format() == PgValueFormat::Text {
        let text = String::from_utf8_lossy(octets).into_owned();
        return Ok(match name.as_str() {
            "INT2" | "INT4" | "INT8" => text.parse().map_or(Cell::Text(text), Cell::Int),
            _ => Cell::Text(text),
        });
    }
    Ok(match name.as_str() {
        "INT2" => Cell::Int(row.try_get_unchecked::<i16, _>(n)?.into()),
        "INT4" => Cell::Int(row.try_get_unchecked::<i32, _>(n)?.into()),
        "INT8" => Cell::Int(row.try_get_unchecked(n)?),
        "FLOAT4" => Cell::Real(row.try_get_unchecked::<f32, _>(n)?.into()),
        "FLOAT8" => Cell::Real(row.try_get_unchecked(n)?),
        "BOOL" => Cell::Int(row.try_get_unchecked::<bool, _>(n)?.into()),
        "BYTEA" => Cell::Bytes(octets.to_vec()),
        // Microseconds since 2000 (PostgreSQL's own epoch).
        "TIMESTAMP" | "TIMESTAMPTZ" => {
            let micros = octets.try_into().map(i64::from_be_bytes).unwrap_or_default();
            Cell::Text(super::time::text(micros.div_euclid(1_000_000) + POSTGRES_EPOCH))
        }
        _ => Cell::Text(String::from_utf8_lossy(octets).into_owned()),
    })
}

/// 2000-01-01 in seconds since 1970.
const POSTGRES_EPOCH: i64 = 946_684_800;

/// Puts an error of the driver into our words.
pub(super) fn error(error: sqlx::Error) -> Error {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().map(|code| code.into_owned()).unwrap_or_default();
            from_state(&code, error.message().to_owned())
        }
        other => super::from_driver(other),
    }
}

/// Meaning of an SQLSTATE (PostgreSQL documentation, appendix A).
fn from_state(code: &str, detail: String) -> Error {
    match code {
        "53100" => Error::Unavailable(Cause::DiskFull),
        "53300" | "40001" | "40P01" | "55P03" => Error::Unavailable(Cause::Busy),
        // The server's own end of our statement_timeout.
        "57014" => Error::Unavailable(Cause::Io(detail)),
        "25006" | "42501" => Error::Unavailable(Cause::Permission(detail)),
        _ if code.starts_with("28") => Error::Unavailable(Cause::Permission(detail)),
        _ if code.starts_with("42") => Error::Misfit { detail },
        _ if ["22", "23", "44", "P0"].iter().any(|class| code.starts_with(class)) => Error::Refused { detail },
        _ => Error::Unavailable(Cause::Io(detail)),
    }
}
