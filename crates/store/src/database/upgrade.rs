//! Tables that are there already: brought up to our version, and copied from one database to another.

use super::schema::{Column, How, Made, SCHEMA, SchemaTable, name, probe};
use super::{Database, Engine};
use crate::{ColumnName, Error, Rows, Select, TableName, Write};

/// Rows that are read for one table of an import, and at once for a look.
const MOST_ROWS: u32 = 1_000_000_000;

impl Database {
    /// Makes tables of the schema that are not there, and gives those of an older version the columns that they lack.
    ///
    /// A newer version is left alone: what it means is not known here.
    pub async fn upgrade_schema(&self) -> Result<Vec<Made>, Error> {
        let mut made = self.make_schema().await?;
        for (table, made) in SCHEMA.iter().zip(&mut made) {
            match made.how {
                How::Other(found) if found < table.version => {
                    self.upgrade_table(table).await?;
                    made.how = How::Upgraded(found);
                }
                _ => {}
            }
        }
        Ok(made)
    }

    async fn upgrade_table(&self, table: &SchemaTable) -> Result<(), Error> {
        let called = name(table.name);
        for column in table.columns() {
            if !self.has_column(&called, &name(column.name)).await? {
                self.add(&called, &column).await?;
            }
        }
        self.note_version(table.name, table.version).await
    }

    /// Whether a table has a column. False as well when there is no such table.
    pub async fn has_column(&self, table: &TableName, column: &ColumnName) -> Result<bool, Error> {
        match self.select(&Select { columns: vec![column.clone()], limit: 1, ..probe(table) }).await {
            Ok(_) => Ok(true),
            Err(Error::Misfit { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Adds a column of text that may be NULL, of up to `length` characters.
    pub async fn add_text_column(&self, table: &TableName, column: &ColumnName, length: u16) -> Result<(), Error> {
        let kind = length.to_string();
        self.add(table, &Column::text(column.as_str(), &kind)).await
    }

    async fn add(&self, table: &TableName, column: &Column<'_>) -> Result<(), Error> {
        match (self.sql(), &self.0.engine) {
            (Some(sql), _) => {
                let statement = format!("ALTER TABLE {} ADD COLUMN {}", sql.name(table), column.definition(sql));
                self.query(&statement).await.map(drop)
            }
            (None, Engine::Text(files)) => self.guarded(files.add_column(table, &column.header())).await,
            (None, _) => Ok(()),
        }
    }

    /// Copies the rows of each table of the schema that both databases have from `source` to here, where the table is
    /// empty here. Returns each table with its rows, none for one that was not empty.
    ///
    /// A table of an older version lacks columns; those get their defaults.
    pub async fn import(&self, source: &Database) -> Result<Vec<(String, Option<u64>)>, Error> {
        let mut done = Vec::new();
        for table in &SCHEMA {
            let called = name(table.name);
            let Some((columns, found)) = source.all_of(&called, table.column_names()).await? else { continue };
            if !self.select(&probe(&called)).await?.rows.is_empty() {
                done.push((table.name.to_owned(), None));
                continue;
            }
            let count = found.rows.len() as u64;
            let writes: Vec<Write> = found
                .rows
                .into_iter()
                .map(|row| Write::Insert { table: called.clone(), row: columns.iter().cloned().zip(row).collect() })
                .collect();
            for chunk in writes.chunks(1000) {
                self.write(chunk).await?;
            }
            done.push((table.name.to_owned(), Some(count)));
        }
        Ok(done)
    }

    /// Every row, of those columns that are there; none when the table is not.
    async fn all_of(
        &self,
        table: &TableName,
        mut columns: Vec<ColumnName>,
    ) -> Result<Option<(Vec<ColumnName>, Rows)>, Error> {
        let all = |columns: &[ColumnName]| Select { columns: columns.to_vec(), limit: MOST_ROWS, ..probe(table) };
        match self.select(&all(&columns)).await {
            Ok(found) => return Ok(Some((columns, found))),
            Err(Error::Misfit { .. }) => {}
            Err(error) => return Err(error),
        }
        let mut there = Vec::new();
        for column in columns.drain(..) {
            if self.has_column(table, &column).await? {
                there.push(column);
            }
        }
        if there.is_empty() {
            return Ok(None);
        }
        let found = self.select(&all(&there)).await?;
        Ok(Some((there, found)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cell;

    async fn open(address: &str) -> Database {
        Database::open(address, &crate::Settings::default(), std::sync::Arc::new(|_| {})).await.expect("it opens")
    }

    async fn check_upgrade(database: &Database, version: Option<i64>) {
        let grp = name("grp");
        let made = database.upgrade_schema().await.expect("it can be changed");
        let how = made.iter().find(|made| made.table == "grp").map(|made| made.how);
        assert_eq!(how, version.map(How::Upgraded).or(Some(How::Kept)));
        assert_eq!(database.version(&grp).await, Ok(Some(2)));
        let columns = vec![name("username"), name("grp"), name("last_modified")];
        let found = database.select(&Select { columns, ..probe(&grp) }).await.expect("the columns are there");
        assert_eq!(found.rows[0][..2], [Cell::from("alice"), Cell::from("")]);
    }

    #[tokio::test]
    async fn a_table_of_an_older_version_gets_the_columns_that_it_lacks() {
        let database = open(":memory:").await;
        for statement in [
            "CREATE TABLE grp (id INTEGER PRIMARY KEY, username VARCHAR(64), domain VARCHAR(64))",
            "INSERT INTO grp (username, domain) VALUES ('alice', 'a.example')",
            "CREATE TABLE version (table_name VARCHAR(32) NOT NULL, table_version INTEGER DEFAULT 0 NOT NULL)",
            "INSERT INTO version VALUES ('grp', 1)",
        ] {
            database.query(statement).await.expect("it is made");
        }
        check_upgrade(&database, Some(1)).await;
        check_upgrade(&database, None).await;
    }

    #[tokio::test]
    async fn a_text_file_of_an_older_version_gets_the_columns_that_it_lacks() {
        let directory = std::env::temp_dir().join(format!("ser-upgrade-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory can be made");
        std::fs::write(directory.join("grp"), "username(string) domain(string)\nalice:a.example\n").expect("written");
        std::fs::write(directory.join("version"), "table_name(string) table_version(int)\ngrp:1\n").expect("written");
        let database = open(&format!("text://{}", directory.display())).await;
        check_upgrade(&database, Some(1)).await;
        check_upgrade(&database, None).await;
        std::fs::remove_dir_all(&directory).expect("it is ours");
    }

    #[tokio::test]
    async fn a_newer_version_is_left_alone() {
        let database = open(":memory:").await;
        database.make_schema().await.expect("it is made");
        database.query("UPDATE version SET table_version = 99 WHERE table_name = 'acc'").await.expect("it is changed");
        let made = database.upgrade_schema().await.expect("it can be read");
        let how = made.iter().find(|made| made.table == "acc").map(|made| made.how);
        assert_eq!(how, Some(How::Other(99)));
    }

    #[tokio::test]
    async fn rows_of_an_older_table_are_imported() {
        let (old, new) = (open(":memory:").await, open(":memory:").await);
        old.query("CREATE TABLE grp (username VARCHAR(64), grp VARCHAR(64))").await.expect("it is made");
        old.query("INSERT INTO grp VALUES ('alice', 'int')").await.expect("it is written");
        new.make_schema().await.expect("it is made");
        assert_eq!(new.import(&old).await, Ok(vec![("grp".to_owned(), Some(1))]));
        assert_eq!(new.import(&old).await, Ok(vec![("grp".to_owned(), None)]));
    }
}
