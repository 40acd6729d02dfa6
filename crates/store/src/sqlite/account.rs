//! `subscriber`, and `subscriber_sha256` beside it.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite as Db, Transaction};

use super::{Sqlite, error};
use crate::{Account, Credentials, Error, Ha1};

impl Sqlite {
    pub(crate) async fn credentials(&self, username: &str, domain: &str) -> Result<Option<Credentials>, Error> {
        let row = sqlx::query(
            "SELECT s.username, s.domain, s.ha1, s.ha1b, s.password, x.ha1_sha256
             FROM subscriber s LEFT JOIN subscriber_sha256 x
               ON x.username = s.username AND x.domain = s.domain AND x.ha1 = s.ha1
             WHERE s.username = ?1 AND s.domain = ?2 COLLATE NOCASE ORDER BY s.id LIMIT 1",
        )
        .bind(username)
        .bind(domain)
        .fetch_optional(&self.pool)
        .await
        .map_err(error)?;
        row.map(|row| read(&row).map_err(error)).transpose()
    }

    pub(crate) async fn credentials_in_any_domain(&self, username: &str) -> Result<Option<Credentials>, Error> {
        let row = sqlx::query(
            "SELECT s.username, s.domain, s.ha1, s.ha1b, s.password, x.ha1_sha256
             FROM subscriber s LEFT JOIN subscriber_sha256 x
               ON x.username = s.username AND x.domain = s.domain AND x.ha1 = s.ha1
             WHERE s.username = ?1 ORDER BY s.id LIMIT 1",
        )
        .bind(username)
        .fetch_optional(&self.pool)
        .await
        .map_err(error)?;
        row.map(|row| read(&row).map_err(error)).transpose()
    }

    pub(crate) async fn add_subscriber(&self, username: &str, domain: &str, ha1: &Ha1) -> Result<bool, Error> {
        let mut transaction = self.begin_write().await?;
        // Not left to the UNIQUE constraint, which regards the case of domains.
        if stored_domain(&mut transaction, username, domain).await?.is_some() {
            return Ok(false);
        }
        sqlx::query("INSERT INTO subscriber (username, domain, ha1, ha1b) VALUES (?1, ?2, ?3, ?4)")
            .bind(username)
            .bind(domain)
            .bind(&ha1.md5)
            .bind(&ha1.md5_with_domain)
            .execute(&mut *transaction)
            .await
            .map_err(error)?;
        put_sha256(&mut transaction, username, domain, ha1).await?;
        transaction.commit().await.map_err(error)?;
        Ok(true)
    }

    pub(crate) async fn set_password(&self, username: &str, domain: &str, password: &str) -> Result<bool, Error> {
        let mut transaction = self.begin_write().await?;
        let Some(domain) = stored_domain(&mut transaction, username, domain).await? else {
            return Ok(false);
        };
        // The digest covers the domain as the row spells it, which is what is challenged with.
        let ha1 = Ha1::new(username, &domain, password);
        sqlx::query("UPDATE subscriber SET ha1 = ?3, ha1b = ?4, password = '' WHERE username = ?1 AND domain = ?2")
            .bind(username)
            .bind(&domain)
            .bind(&ha1.md5)
            .bind(&ha1.md5_with_domain)
            .execute(&mut *transaction)
            .await
            .map_err(error)?;
        put_sha256(&mut transaction, username, &domain, &ha1).await?;
        transaction.commit().await.map_err(error)?;
        Ok(true)
    }

    pub(crate) async fn remove_subscriber(&self, username: &str, domain: &str) -> Result<bool, Error> {
        let mut transaction = self.begin_write().await?;
        sqlx::query("DELETE FROM subscriber_sha256 WHERE username = ?1 AND domain = ?2 COLLATE NOCASE")
            .bind(username)
            .bind(domain)
            .execute(&mut *transaction)
            .await
            .map_err(error)?;
        let done = sqlx::query("DELETE FROM subscriber WHERE username = ?1 AND domain = ?2 COLLATE NOCASE")
            .bind(username)
            .bind(domain)
            .execute(&mut *transaction)
            .await
            .map_err(error)?;
        transaction.commit().await.map_err(error)?;
        Ok(done.rows_affected() > 0)
    }

    pub(crate) async fn subscribers(&self, after: i64, limit: u32) -> Result<Vec<Account>, Error> {
        let rows = sqlx::query("SELECT id, username, domain FROM subscriber WHERE id > ?1 ORDER BY id LIMIT ?2")
            .bind(after)
            .bind(limit)
            .fetch_all(&self.pool)
            .await
            .map_err(error)?;
        let read =
            |row: &SqliteRow| Ok(Account { id: row.try_get(0)?, username: row.try_get(1)?, domain: row.try_get(2)? });
        rows.iter().map(read).collect::<Result<_, _>>().map_err(error)
    }
}

fn read(row: &SqliteRow) -> Result<Credentials, sqlx::Error> {
    let password: String = row.try_get("password")?;
    Ok(Credentials {
        username: row.try_get("username")?,
        domain: row.try_get("domain")?,
        ha1: row.try_get("ha1")?,
        ha1b: row.try_get("ha1b")?,
        ha1_sha256: row.try_get("ha1_sha256")?,
        password: (!password.is_empty()).then_some(password),
    })
}

/// The subscriber's domain as its row spells it; `None` when there is no such row.
async fn stored_domain(
    transaction: &mut Transaction<'_, Db>,
    username: &str,
    domain: &str,
) -> Result<Option<String>, Error> {
    sqlx::query_scalar(
        "SELECT domain FROM subscriber WHERE username = ?1 AND domain = ?2 COLLATE NOCASE ORDER BY id LIMIT 1",
    )
    .bind(username)
    .bind(domain)
    .fetch_optional(&mut **transaction)
    .await
    .map_err(error)
}

async fn put_sha256(
    transaction: &mut Transaction<'_, Db>,
    username: &str,
    domain: &str,
    ha1: &Ha1,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO subscriber_sha256 (username, domain, ha1, ha1_sha256) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (username, domain) DO UPDATE SET ha1 = excluded.ha1, ha1_sha256 = excluded.ha1_sha256",
    )
    .bind(username)
    .bind(domain)
    .bind(&ha1.md5)
    .bind(&ha1.sha256)
    .execute(&mut **transaction)
    .await
    .map_err(error)?;
    Ok(())
}
