//! Statements on SQLite.

use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Column, Row, Sqlite, SqlitePool, TypeInfo, ValueRef};

use super::cell::{Cell, Rows};
use super::statement::{Bound, Select, Syntax, Write};
use crate::Error;
use crate::sqlite::error;

type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

pub(super) async fn select(pool: &SqlitePool, select: &Select) -> Result<Rows, Error> {
    let bound = Syntax::Sqlite.select(select);
    let rows = query(&bound).fetch_all(pool).await.map_err(error)?;
    rows_of(&rows)
}

/// A statement of the script's own.
pub(super) async fn raw(pool: &SqlitePool, text: &str) -> Result<Rows, Error> {
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

/// All changes, or none.
pub(super) async fn write(pool: &SqlitePool, writes: &[Write]) -> Result<Vec<u64>, Error> {
    // It holds the write lock from its beginning: one that took it later could find the database changed since
    // its first read and fail without waiting.
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(error)?;
    let mut touched = Vec::with_capacity(writes.len());
    for (bound, count) in Syntax::Sqlite.writes(writes) {
        let done = query(&bound).execute(&mut *transaction).await.map_err(error)?;
        super::note_touched(writes, count, done.rows_affected(), &mut touched)?;
    }
    transaction.commit().await.map_err(error)?;
    Ok(touched)
}

fn query(bound: &Bound) -> Query<'_> {
    let query = sqlx::query(AssertSqlSafe(bound.text.as_str()));
    bound.values.iter().fold(query, |query, value| match value {
        Cell::Null => query.bind(None::<i64>),
        Cell::Int(number) | Cell::Time(number) => query.bind(*number),
        Cell::Real(number) => query.bind(*number),
        Cell::Text(text) => query.bind(text.as_str()),
        Cell::Bytes(octets) => query.bind(octets.as_slice()),
    })
}

fn rows_of(rows: &[SqliteRow]) -> Result<Rows, Error> {
    let columns =
        rows.first().map_or_else(Vec::new, |row| row.columns().iter().map(|column| column.name().to_owned()).collect());
    let rows = rows.iter().map(row).collect::<Result<_, _>>().map_err(error)?;
    Ok(Rows { columns, rows, affected: 0 })
}

fn row(row: &SqliteRow) -> Result<Vec<Cell>, sqlx::Error> {
    (0..row.len())
        .map(|n| {
            let value = row.try_get_raw(n)?;
            if value.is_null() {
                return Ok(Cell::Null);
            }
            // SQLite knows the type of each value, whatever the column's says.
            Ok(match value.type_info().name() {
                "INTEGER" | "BOOLEAN" | "INT4" | "BIGINT" => Cell::Int(row.try_get_unchecked(n)?),
                "REAL" | "NUMERIC" => Cell::Real(row.try_get_unchecked(n)?),
                "BLOB" => Cell::Bytes(row.try_get_unchecked(n)?),
                _ => Cell::Text(row.try_get_unchecked(n)?),
            })
        })
        .collect()
}
