//! The tables: names, columns and versions are Kamailio's (5.x), so that its tools and SER's scripts find theirs.

use sqlx::{AssertSqlSafe, Row, Sqlite as Db, Transaction};

use super::{Sqlite, error};
use crate::{Error, TableName};

/// A table, its version, and how it is made.
struct Table {
    name: &'static str,
    /// Versions whose columns are the same for our purposes; the last is what we make.
    versions: &'static [i64],
    create: &'static str,
}

const VERSION: &str = "CREATE TABLE IF NOT EXISTS version (
    id INTEGER PRIMARY KEY NOT NULL,
    table_name VARCHAR(32) NOT NULL,
    table_version INTEGER DEFAULT 0 NOT NULL,
    CONSTRAINT version_table_name_idx UNIQUE (table_name)
);
INSERT OR IGNORE INTO version (table_name, table_version) VALUES ('version', 1);";

const TABLES: &[Table] = &[
    Table {
        name: "subscriber",
        // 6 has additional columns with defaults.
        versions: &[6, 7],
        create: "CREATE TABLE subscriber (
            id INTEGER PRIMARY KEY NOT NULL,
            username VARCHAR(64) DEFAULT '' NOT NULL,
            domain VARCHAR(64) DEFAULT '' NOT NULL,
            password VARCHAR(64) DEFAULT '' NOT NULL,
            ha1 VARCHAR(128) DEFAULT '' NOT NULL,
            ha1b VARCHAR(128) DEFAULT '' NOT NULL,
            CONSTRAINT subscriber_account_idx UNIQUE (username, domain)
        );
        CREATE INDEX subscriber_username_idx ON subscriber (username);",
    },
    // Ours. A table of its own: `kamctl` and other tools keep finding `subscriber` exactly as they know it. `ha1`
    // repeats the MD5 digest that the row belongs to. When a tool changes the password it changes
    // `subscriber.ha1` alone; the row then no longer counts, and the old password is not accepted through it.
    Table {
        name: "subscriber_sha256",
        versions: &[1],
        create: "CREATE TABLE subscriber_sha256 (
            id INTEGER PRIMARY KEY NOT NULL,
            username VARCHAR(64) NOT NULL,
            domain VARCHAR(64) NOT NULL,
            ha1 VARCHAR(128) NOT NULL,
            ha1_sha256 VARCHAR(64) NOT NULL,
            CONSTRAINT subscriber_sha256_account_idx UNIQUE (username, domain)
        );",
    },
    Table {
        name: "dbaliases",
        versions: &[1],
        create: "CREATE TABLE dbaliases (
            id INTEGER PRIMARY KEY NOT NULL,
            alias_username VARCHAR(64) DEFAULT '' NOT NULL,
            alias_domain VARCHAR(64) DEFAULT '' NOT NULL,
            username VARCHAR(64) DEFAULT '' NOT NULL,
            domain VARCHAR(64) DEFAULT '' NOT NULL
        );
        CREATE INDEX dbaliases_alias_user_idx ON dbaliases (alias_username);
        CREATE INDEX dbaliases_alias_idx ON dbaliases (alias_username, alias_domain);
        CREATE INDEX dbaliases_target_idx ON dbaliases (username, domain);",
    },
    Table {
        name: "domain",
        versions: &[2],
        create: "CREATE TABLE domain (
            id INTEGER PRIMARY KEY NOT NULL,
            domain VARCHAR(64) NOT NULL,
            did VARCHAR(64) DEFAULT NULL,
            last_modified TIMESTAMP WITHOUT TIME ZONE DEFAULT '2000-01-01 00:00:01' NOT NULL,
            CONSTRAINT domain_domain_idx UNIQUE (domain)
        );",
    },
];

/// Versions of a location table: Kamailio 5 has `location` at 9 and `aliases` still at 8, with the same columns.
fn location_versions(name: &str) -> &'static [i64] {
    if name == "aliases" { &[9, 8] } else { &[8, 9] }
}

impl Sqlite {
    /// Makes every table that is absent and checks the version of every other, in one transaction.
    pub(super) async fn create_tables(&self) -> Result<(), Error> {
        let mut transaction = self.begin_write().await?;
        run(&mut transaction, VERSION.to_owned()).await?;
        for table in TABLES {
            ensure(&mut transaction, table.name, table.versions, || table.create.to_owned()).await?;
        }
        for name in ["location", "aliases"] {
            ensure(&mut transaction, name, location_versions(name), || location_table(name)).await?;
        }
        transaction.commit().await.map_err(error)
    }

    /// Makes one more location table.
    pub(crate) async fn ensure_location_table(&self, table: &TableName) -> Result<(), Error> {
        let name = table.as_str();
        let mut transaction = self.begin_write().await?;
        ensure(&mut transaction, name, location_versions(name), || location_table(name)).await?;
        transaction.commit().await.map_err(error)
    }

    /// A transaction that holds the write lock from its beginning: one that took it later could find the
    /// database changed since its first read and fail without waiting.
    pub(super) async fn begin_write(&self) -> Result<Transaction<'static, Db>, Error> {
        self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(error)
    }
}

async fn ensure(
    transaction: &mut Transaction<'_, Db>,
    name: &str,
    versions: &[i64],
    create: impl FnOnce() -> String,
) -> Result<(), Error> {
    let newest = versions.last().copied().unwrap_or(0);
    let exists =
        sqlx::query("SELECT 1 FROM sqlite_master WHERE type IN ('table', 'view') AND name = ?1 COLLATE NOCASE")
            .bind(name)
            .fetch_optional(&mut **transaction)
            .await
            .map_err(error)?
            .is_some();
    if !exists {
        run(transaction, create()).await?;
        sqlx::query("INSERT OR REPLACE INTO version (table_name, table_version) VALUES (?1, ?2)")
            .bind(name)
            .bind(newest)
            .execute(&mut **transaction)
            .await
            .map_err(error)?;
        return Ok(());
    }
    let found = sqlx::query("SELECT table_version FROM version WHERE table_name = ?1")
        .bind(name)
        .fetch_optional(&mut **transaction)
        .await
        .map_err(error)?
        .map(|row| row.try_get::<i64, _>(0).map_err(error))
        .transpose()?;
    match found {
        Some(version) if versions.contains(&version) => Ok(()),
        _ => Err(Error::SchemaVersion { table: name.to_owned(), found, needed: newest }),
    }
}

/// Runs statements that this file made of constants and checked names.
async fn run(transaction: &mut Transaction<'_, Db>, statements: String) -> Result<(), Error> {
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut **transaction).await.map_err(error)?;
    Ok(())
}

fn location_table(name: &str) -> String {
    format!(
        "CREATE TABLE {name} (
            id INTEGER PRIMARY KEY NOT NULL,
            ruid VARCHAR(64) DEFAULT '' NOT NULL,
            username VARCHAR(64) DEFAULT '' NOT NULL,
            domain VARCHAR(64) DEFAULT NULL,
            contact VARCHAR(512) DEFAULT '' NOT NULL,
            received VARCHAR(128) DEFAULT NULL,
            path VARCHAR(512) DEFAULT NULL,
            expires TIMESTAMP WITHOUT TIME ZONE DEFAULT '2030-05-28 21:32:15' NOT NULL,
            q REAL DEFAULT 1.0 NOT NULL,
            callid VARCHAR(255) DEFAULT 'Default-Call-ID' NOT NULL,
            cseq INTEGER DEFAULT 1 NOT NULL,
            last_modified TIMESTAMP WITHOUT TIME ZONE DEFAULT '2000-01-01 00:00:01' NOT NULL,
            flags INTEGER DEFAULT 0 NOT NULL,
            cflags INTEGER DEFAULT 0 NOT NULL,
            user_agent VARCHAR(255) DEFAULT '' NOT NULL,
            socket VARCHAR(64) DEFAULT NULL,
            methods INTEGER DEFAULT NULL,
            instance VARCHAR(255) DEFAULT NULL,
            reg_id INTEGER DEFAULT 0 NOT NULL,
            server_id INTEGER DEFAULT 0 NOT NULL,
            connection_id INTEGER DEFAULT 0 NOT NULL,
            keepalive INTEGER DEFAULT 0 NOT NULL,
            partition INTEGER DEFAULT 0 NOT NULL,
            CONSTRAINT {name}_ruid_idx UNIQUE (ruid)
        );
        CREATE INDEX {name}_account_contact_idx ON {name} (username, domain, contact);
        CREATE INDEX {name}_expires_idx ON {name} (expires);
        CREATE INDEX {name}_connection_idx ON {name} (server_id, connection_id);"
    )
}
