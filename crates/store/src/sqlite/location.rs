//! Location tables.

use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Row, Sqlite as Db, query::Query};

use super::{Sqlite, TO_DAY, error, seconds_of};
use crate::{Change, Error, StoredBinding, TableName};

/// Columns in the order in which they are bound and read; `ruid` first.
const COLUMNS: [&str; 22] = [
    "ruid",
    "username",
    "domain",
    "contact",
    "received",
    "path",
    "expires",
    "q",
    "callid",
    "cseq",
    "last_modified",
    "flags",
    "cflags",
    "user_agent",
    "socket",
    "methods",
    "instance",
    "reg_id",
    "server_id",
    "connection_id",
    "keepalive",
    "partition",
];

/// Rows in one statement, when there are that many. Each statement is a trip to the connection's thread and back,
/// which costs more than the insertion: 46 µs of processor time per binding with one row, 17 µs with sixteen.
const ROWS: usize = 16;

impl Sqlite {
    /// Applies changes in order, all or none; durable when this returns.
    pub(crate) async fn commit(&self, table: &TableName, changes: &[&Change]) -> Result<(), Error> {
        let put_one = put_statement(table, 1);
        let put_many = put_statement(table, ROWS);
        let delete = format!("DELETE FROM {table} WHERE ruid = ?");
        let mut transaction = self.begin_write().await?;
        let mut rest = changes;
        while let [first, others @ ..] = rest {
            let rows = leading_puts(rest);
            let query = if rows.len() == ROWS {
                rest = &rest[ROWS..];
                rows.into_iter().fold(sqlx::query(AssertSqlSafe(put_many.as_str())), bind)
            } else {
                rest = others;
                match first {
                    Change::Put(binding) => bind(sqlx::query(AssertSqlSafe(put_one.as_str())), binding),
                    Change::Delete { ruid } => sqlx::query(AssertSqlSafe(delete.as_str())).bind(ruid),
                }
            };
            query.execute(&mut *transaction).await.map_err(error)?;
        }
        transaction.commit().await.map_err(error)
    }

    /// Rows after `after`, each with its id. A row that cannot be read says so in its place.
    pub(crate) async fn bindings_page(
        &self,
        table: &TableName,
        after: i64,
        limit: u32,
    ) -> Result<Vec<(i64, Result<StoredBinding, Error>)>, Error> {
        let statement = format!("SELECT id, {} FROM {table} WHERE id > ? ORDER BY id LIMIT ?", selected());
        let rows =
            sqlx::query(AssertSqlSafe(statement)).bind(after).bind(limit).fetch_all(&self.pool).await.map_err(error)?;
        rows.iter().map(|row| read_row(table, row)).collect()
    }

    /// Removes rows whose time is over. 0 is "never".
    pub(crate) async fn delete_expired(&self, table: &TableName, now: i64) -> Result<u64, Error> {
        let expires = seconds_of("expires");
        // The comparison on the bare column finds candidates by index; the texts of the schema's defaults sort
        // after every number and are left alone.
        let statement = format!("DELETE FROM {table} WHERE expires < {TO_DAY} AND {expires} < ? AND {expires} <> 0");
        let done =
            sqlx::query(AssertSqlSafe(statement)).bind(now).bind(now).execute(&self.pool).await.map_err(error)?;
        Ok(done.rows_affected())
    }
}

/// Bindings at the front of the list, as many as one statement takes at most.
fn leading_puts<'a>(changes: &[&'a Change]) -> Vec<&'a StoredBinding> {
    let put = |change: &&'a Change| match change {
        Change::Put(binding) => Some(&**binding),
        Change::Delete { .. } => None,
    };
    changes.iter().take(ROWS).map_while(put).collect()
}

fn put_statement(table: &TableName, rows: usize) -> String {
    let row = format!("({})", COLUMNS.map(|column| if is_time(column) { TO_DAY } else { "?" }).join(", "));
    let updates: Vec<_> = COLUMNS[1..].iter().map(|column| format!("{column} = excluded.{column}")).collect();
    format!(
        "INSERT INTO {table} ({}) VALUES {} ON CONFLICT (ruid) DO UPDATE SET {}",
        COLUMNS.join(", "),
        vec![row; rows].join(", "),
        updates.join(", ")
    )
}

fn selected() -> String {
    COLUMNS
        .map(|column| if is_time(column) { format!("{} AS {column}", seconds_of(column)) } else { column.to_owned() })
        .join(", ")
}

fn is_time(column: &str) -> bool {
    matches!(column, "expires" | "last_modified")
}

fn bind<'q>(query: Query<'q, Db, SqliteArguments>, binding: &'q StoredBinding) -> Query<'q, Db, SqliteArguments> {
    query
        .bind(&binding.ruid)
        .bind(&binding.username)
        .bind(&binding.domain)
        .bind(&binding.contact)
        .bind(&binding.received)
        .bind(&binding.path)
        .bind(in_calendar(binding.expires))
        .bind(binding.q)
        .bind(&binding.callid)
        .bind(binding.cseq)
        .bind(in_calendar(binding.last_modified))
        .bind(binding.flags)
        .bind(binding.cflags)
        .bind(&binding.user_agent)
        .bind(&binding.socket)
        .bind(binding.methods)
        .bind(&binding.instance)
        .bind(binding.reg_id)
        .bind(binding.server_id)
        .bind(binding.connection_id)
        .bind(binding.keepalive)
        .bind(binding.partition)
}

/// Julian days can be read back up to the end of the year 9999.
fn in_calendar(seconds: i64) -> i64 {
    seconds.clamp(0, 253_402_300_799)
}

/// `Err` outside only when not even the row's id can be read: without it there is no next page.
fn read_row(table: &TableName, row: &SqliteRow) -> Result<(i64, Result<StoredBinding, Error>), Error> {
    let id: i64 = row.try_get("id").map_err(error)?;
    let binding = read(row).map_err(|error| Error::Corrupt { what: format!("table {table}, row {id}: {error}") });
    Ok((id, binding))
}

fn read(row: &SqliteRow) -> Result<StoredBinding, sqlx::Error> {
    Ok(StoredBinding {
        ruid: row.try_get("ruid")?,
        username: row.try_get("username")?,
        domain: row.try_get("domain")?,
        contact: row.try_get("contact")?,
        received: row.try_get("received")?,
        path: row.try_get("path")?,
        expires: seconds(row, "expires")?,
        q: row.try_get("q")?,
        callid: row.try_get("callid")?,
        // Kamailio binds these as signed 32 bits: large values lie in the table as negative ones.
        cseq: low_half(row.try_get("cseq")?),
        last_modified: seconds(row, "last_modified")?,
        flags: low_half(row.try_get("flags")?),
        cflags: low_half(row.try_get("cflags")?),
        user_agent: row.try_get("user_agent")?,
        socket: row.try_get("socket")?,
        methods: row.try_get("methods")?,
        instance: row.try_get("instance")?,
        reg_id: row.try_get("reg_id")?,
        server_id: row.try_get("server_id")?,
        connection_id: row.try_get("connection_id")?,
        keepalive: row.try_get::<i64, _>("keepalive")? != 0,
        partition: row.try_get("partition")?,
    })
}

/// A time that SQLite cannot read is NULL, which the driver would hand over as 0: "never".
fn seconds(row: &SqliteRow, column: &str) -> Result<i64, sqlx::Error> {
    row.try_get::<Option<i64>, _>(column)?
        .ok_or_else(|| sqlx::Error::ColumnDecode { index: column.to_owned(), source: "not a time".into() })
}

fn low_half(value: i64) -> u32 {
    (value & 0xffff_ffff) as u32
}
