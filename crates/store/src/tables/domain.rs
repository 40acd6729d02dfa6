//! `domain` and `dbaliases`.

use super::{Tables, is, is_domain, name, text};
use crate::{AliasTarget, Cell, Error, StoredDomain, Write};

/// More targets than this no alias has.
const MOST: u32 = 1000;
/// More domains than this no server has.
const MOST_DOMAINS: u32 = 1_000_000;

impl Tables {
    pub(crate) async fn alias_targets(&self, username: &str, domain: &str) -> Result<Vec<AliasTarget>, Error> {
        let filter = vec![is("alias_username", username), is_domain("alias_domain", domain)];
        let rows = self.rows("dbaliases", &["username", "domain"], filter, MOST).await?;
        Ok(rows.iter().map(|row| AliasTarget { username: text(&row[0]), domain: text(&row[1]) }).collect())
    }

    pub(crate) async fn add_alias(&self, username: &str, domain: &str, target: &AliasTarget) -> Result<bool, Error> {
        let is_same = |other: &AliasTarget| {
            other.username == target.username && other.domain.eq_ignore_ascii_case(&target.domain)
        };
        if self.alias_targets(username, domain).await?.iter().any(is_same) {
            return Ok(false);
        }
        let row = [
            ("alias_username", username),
            ("alias_domain", domain),
            ("username", &target.username),
            ("domain", &target.domain),
        ];
        let row = row.map(|(column, value)| (name(column), Cell::from(value))).to_vec();
        self.database.write(&[Write::Insert { table: name("dbaliases"), row }]).await?;
        Ok(true)
    }

    pub(crate) async fn remove_alias(&self, username: &str, domain: &str) -> Result<u64, Error> {
        let filter = vec![is("alias_username", username), is_domain("alias_domain", domain)];
        Ok(self.database.write(&[Write::Delete { table: name("dbaliases"), filter }]).await?[0])
    }

    pub(crate) async fn domains(&self) -> Result<Vec<StoredDomain>, Error> {
        let rows = self.rows("domain", &["domain", "did"], Vec::new(), MOST_DOMAINS).await?;
        Ok(rows.iter().map(|row| StoredDomain { domain: text(&row[0]), did: row[1].to_text() }).collect())
    }

    pub(crate) async fn add_domain(&self, domain: &StoredDomain, now: i64) -> Result<bool, Error> {
        if !self.rows("domain", &["domain"], vec![is_domain("domain", &domain.domain)], 1).await?.is_empty() {
            return Ok(false);
        }
        let row = vec![
            (name("domain"), Cell::from(&*domain.domain)),
            (name("did"), Cell::from(domain.did.clone())),
            (name("last_modified"), Cell::Time(now)),
        ];
        self.database.write(&[Write::Insert { table: name("domain"), row }]).await?;
        Ok(true)
    }

    pub(crate) async fn remove_domain(&self, domain: &str) -> Result<bool, Error> {
        let filter = vec![is_domain("domain", domain)];
        Ok(self.database.write(&[Write::Delete { table: name("domain"), filter }]).await?[0] > 0)
    }
}
