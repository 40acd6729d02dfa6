//! The store on database servers and text files: the same tables as in SQLite, through [`Database`].

mod account;
mod domain;
mod location;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::{Cell, ColumnName, Condition, Database, Error, Select, Settings, TableName};

/// Subscribers, locations, aliases and domains in a database whose tables others may have made.
pub(crate) struct Tables {
    database: Database,
    /// Whether there may be digests of SHA-256, which Kamailio's schema has no room for.
    has_sha256: bool,
}

impl Tables {
    /// Looks at the versions of tables that are there. What is not there is not made: that is for
    /// [`Database::make_schema`], which an operator asks for.
    pub(crate) async fn open(address: &str, settings: &Settings) -> Result<Tables, Error> {
        let database = Database::open(address, settings, Arc::new(|_| {})).await?;
        for (table, versions) in [("subscriber", &[7, 6][..]), ("location", &[9, 8]), ("aliases", &[8, 9])] {
            check_version(&database, table, versions).await?;
        }
        let statement = "CREATE TABLE IF NOT EXISTS subscriber_sha256 (username VARCHAR(64) NOT NULL, \
            domain VARCHAR(64) NOT NULL, ha1 VARCHAR(128) NOT NULL, ha1_sha256 VARCHAR(64) NOT NULL, \
            CONSTRAINT subscriber_sha256_account_idx UNIQUE (username, domain))";
        let header = "username(string,key) domain(string,key) ha1(string) ha1_sha256(string)\n";
        // Where we may make no table, subscribers have the digests that are there.
        let made = database.make_table(&name("subscriber_sha256"), statement, header).await;
        Ok(Tables { has_sha256: made.is_ok(), database })
    }

    pub(crate) async fn close(&self) {
        self.database.close().await;
    }

    /// Makes a location table of this name when there is none.
    pub(crate) async fn ensure_location_table(&self, table: &TableName) -> Result<(), Error> {
        check_version(&self.database, table.as_str(), &[9, 8]).await?;
        self.database.make_table_like("location", table).await.map(drop)
    }

    async fn rows(
        &self,
        table: &str,
        columns: &[&str],
        filter: Vec<Condition>,
        limit: u32,
    ) -> Result<Vec<Vec<Cell>>, Error> {
        let columns = columns.iter().map(|column| name(column)).collect();
        let select = Select { table: name(table), columns, filter, order: vec![name("id")], limit };
        Ok(self.database.select(&select).await?.rows)
    }
}

/// A database that says nothing of versions says nothing of this one either.
async fn check_version(database: &Database, table: &str, versions: &[i64]) -> Result<(), Error> {
    match database.version(&name(table)).await {
        Ok(Some(found)) if !versions.contains(&found) => {
            Err(Error::SchemaVersion { table: table.to_owned(), found: Some(found), needed: versions[0] })
        }
        Ok(_) | Err(Error::Misfit { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn name(text: &str) -> ColumnName {
    TableName::new(text).expect("a literal name, or one that was checked")
}

fn is(column: &str, value: &str) -> Condition {
    Condition::equal(&name(column), value)
}

fn is_domain(column: &str, value: &str) -> Condition {
    Condition::equal_folded(&name(column), value)
}

fn text(cell: &Cell) -> String {
    cell.to_text().unwrap_or_default()
}
