//! `domain` and `dbaliases`.

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row};

use super::{Sqlite, TO_DAY, error};
use crate::{AliasTarget, Error, StoredDomain};

impl Sqlite {
    pub(crate) async fn alias_targets(&self, username: &str, domain: &str) -> Result<Vec<AliasTarget>, Error> {
        let rows = sqlx::query(
            "SELECT username, domain FROM dbaliases
             WHERE alias_username = ?1 AND alias_domain = ?2 COLLATE NOCASE ORDER BY id",
        )
        .bind(username)
        .bind(domain)
        .fetch_all(&self.pool)
        .await
        .map_err(error)?;
        let read = |row: &SqliteRow| Ok(AliasTarget { username: row.try_get(0)?, domain: row.try_get(1)? });
        rows.iter().map(read).collect::<Result<_, _>>().map_err(error)
    }

    pub(crate) async fn add_alias(&self, username: &str, domain: &str, target: &AliasTarget) -> Result<bool, Error> {
        // The table has no UNIQUE constraint that could do this.
        let done = sqlx::query(
            "INSERT INTO dbaliases (alias_username, alias_domain, username, domain) SELECT ?1, ?2, ?3, ?4
             WHERE NOT EXISTS (SELECT 1 FROM dbaliases WHERE alias_username = ?1 AND username = ?3
               AND alias_domain = ?2 COLLATE NOCASE AND domain = ?4 COLLATE NOCASE)",
        )
        .bind(username)
        .bind(domain)
        .bind(&target.username)
        .bind(&target.domain)
        .execute(&self.pool)
        .await
        .map_err(error)?;
        Ok(done.rows_affected() > 0)
    }

    pub(crate) async fn remove_alias(&self, username: &str, domain: &str) -> Result<u64, Error> {
        let done = sqlx::query("DELETE FROM dbaliases WHERE alias_username = ?1 AND alias_domain = ?2 COLLATE NOCASE")
            .bind(username)
            .bind(domain)
            .execute(&self.pool)
            .await
            .map_err(error)?;
        Ok(done.rows_affected())
    }

    pub(crate) async fn domains(&self) -> Result<Vec<StoredDomain>, Error> {
        let rows =
            sqlx::query("SELECT domain, did FROM domain ORDER BY id").fetch_all(&self.pool).await.map_err(error)?;
        let read = |row: &SqliteRow| Ok(StoredDomain { domain: row.try_get(0)?, did: row.try_get(1)? });
        rows.iter().map(read).collect::<Result<_, _>>().map_err(error)
    }

    pub(crate) async fn add_domain(&self, domain: &StoredDomain, now: i64) -> Result<bool, Error> {
        let statement = format!(
            "INSERT INTO domain (last_modified, domain, did) SELECT {TO_DAY}, ?2, ?3
             WHERE NOT EXISTS (SELECT 1 FROM domain WHERE domain = ?2 COLLATE NOCASE)"
        );
        let done = sqlx::query(AssertSqlSafe(statement))
            .bind(now)
            .bind(&domain.domain)
            .bind(&domain.did)
            .execute(&self.pool)
            .await
            .map_err(error)?;
        Ok(done.rows_affected() > 0)
    }

    pub(crate) async fn remove_domain(&self, domain: &str) -> Result<bool, Error> {
        let done = sqlx::query("DELETE FROM domain WHERE domain = ?1 COLLATE NOCASE")
            .bind(domain)
            .execute(&self.pool)
            .await
            .map_err(error)?;
        Ok(done.rows_affected() > 0)
    }
}
