//! What columns of PostgreSQL hold: it converts no number to text and no text to a number by itself.
//!
//! Other databases do, and schemas that grew over twenty years rely on it: a variable of the script is text, and
//! the column that it goes to may hold numbers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::PgPool;

use super::cell::Cell;
use super::postgres::error;
use super::statement::{Condition, Write};
use crate::{ColumnName, Error, TableName};

/// Kinds of columns by table, asked for once. A table that is altered while the server runs is known as it was;
/// the server's answer to a value of the wrong kind then says so.
#[derive(Default)]
pub(super) struct Columns(Mutex<HashMap<TableName, Arc<Kinds>>>);

type Kinds = HashMap<String, Kind>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Int,
    Real,
    Text,
    Octets,
    /// Taken as it comes.
    Other,
}

impl Columns {
    /// Makes the values of a change what their columns hold.
    pub(super) async fn fit(&self, pool: &PgPool, write: &mut Write) -> Result<(), Error> {
        match write {
            Write::Insert { table, row } | Write::Put { table, row, .. } => fit_row(&*self.of(pool, table).await?, row),
            Write::Update { table, set, filter, .. } => {
                let kinds = self.of(pool, table).await?;
                fit_row(&kinds, set);
                fit_conditions(&kinds, filter);
            }
            Write::Delete { table, filter } => fit_conditions(&*self.of(pool, table).await?, filter),
        }
        Ok(())
    }

    /// As [`Columns::fit`], for what rows are compared with.
    pub(super) async fn fit_filter(
        &self,
        pool: &PgPool,
        table: &TableName,
        filter: &mut [Condition],
    ) -> Result<(), Error> {
        if !filter.is_empty() {
            fit_conditions(&*self.of(pool, table).await?, filter);
        }
        Ok(())
    }

    async fn of(&self, pool: &PgPool, table: &TableName) -> Result<Arc<Kinds>, Error> {
        if let Some(kinds) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(table) {
            return Ok(Arc::clone(kinds));
        }
        let statement = "SELECT column_name::text, data_type::text FROM information_schema.columns \
                         WHERE table_name = $1 AND table_schema = ANY (current_schemas(false))";
        let rows: Vec<(String, String)> =
            sqlx::query_as(statement).bind(table.as_str().to_ascii_lowercase()).fetch_all(pool).await.map_err(error)?;
        let kinds = Arc::new(rows.into_iter().map(|(name, kind)| (name, Kind::of(&kind))).collect::<Kinds>());
        // A table that is not there yet may be soon.
        if !kinds.is_empty() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(table.clone(), Arc::clone(&kinds));
        }
        Ok(kinds)
    }
}

impl Kind {
    fn of(name: &str) -> Kind {
        match name {
            "smallint" | "integer" | "bigint" => Kind::Int,
            "real" | "double precision" => Kind::Real,
            "text" | "character varying" | "character" => Kind::Text,
            "bytea" => Kind::Octets,
            _ => Kind::Other,
        }
    }

    /// Text that spells no number stays text, and the server says what is wrong with it.
    fn fit(self, cell: &mut Cell) {
        let fitting = match (self, &*cell) {
            (Kind::Int, Cell::Text(text)) if text.is_empty() => Some(Cell::Int(0)),
            (Kind::Int, Cell::Text(_) | Cell::Time(_)) => cell.to_int().map(Cell::Int),
            (Kind::Real, Cell::Int(number)) => Some(Cell::Real(*number as f64)),
            (Kind::Real, Cell::Text(text)) => text.trim().parse().ok().map(Cell::Real),
            (Kind::Text, Cell::Int(_) | Cell::Real(_)) => cell.to_text().map(Cell::Text),
            (Kind::Octets, Cell::Text(text)) => Some(Cell::Bytes(text.clone().into_bytes())),
            _ => None,
        };
        if let Some(fitting) = fitting {
            *cell = fitting;
        }
    }
}

fn fit_row(kinds: &Kinds, row: &mut [(ColumnName, Cell)]) {
    for (column, cell) in row {
        fit_cell(kinds, column, cell);
    }
}

fn fit_conditions(kinds: &Kinds, filter: &mut [Condition]) {
    for condition in filter {
        fit_cell(kinds, &condition.column, &mut condition.value);
    }
}

fn fit_cell(kinds: &Kinds, column: &ColumnName, cell: &mut Cell) {
    if let Some(kind) = kinds.get(&column.as_str().to_ascii_lowercase()) {
        kind.fit(cell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: &str, value: Cell, expected: Cell) {
        let mut cell = value;
        Kind::of(kind).fit(&mut cell);
        assert_eq!(cell, expected);
    }

    #[test]
    fn a_value_becomes_what_its_column_holds() {
        check("integer", "12".into(), Cell::Int(12));
        check("integer", "".into(), Cell::Int(0));
        check("integer", "twelve".into(), "twelve".into());
        check("character varying", Cell::Int(5), "5".into());
        check("double precision", "0.5".into(), Cell::Real(0.5));
        check("text", Cell::Null, Cell::Null);
        check("jsonb", "{}".into(), "{}".into());
    }
}
