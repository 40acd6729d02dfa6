//! `subscriber`, and `subscriber_sha256` beside it.

use super::{Tables, is, is_domain, name, text};
use crate::{Account, Cell, Comparison, Condition, Credentials, Error, Ha1, Write};

const COLUMNS: [&str; 5] = ["username", "domain", "ha1", "ha1b", "password"];
/// Rows of one user name that are looked at: MySQL finds those of other case too.
const LOOK: u32 = 100;

impl Tables {
    pub(crate) async fn credentials(&self, username: &str, domain: &str) -> Result<Option<Credentials>, Error> {
        self.find(username, vec![is("username", username), is_domain("domain", domain)]).await
    }

    pub(crate) async fn credentials_in_any_domain(&self, username: &str) -> Result<Option<Credentials>, Error> {
        self.find(username, vec![is("username", username)]).await
    }

    async fn find(&self, username: &str, filter: Vec<Condition>) -> Result<Option<Credentials>, Error> {
        let rows = self.rows("subscriber", &COLUMNS, filter, LOOK).await?;
        let Some(row) = rows.iter().find(|row| text(&row[0]) == username) else { return Ok(None) };
        let password = text(&row[4]);
        let mut found = Credentials {
            username: text(&row[0]),
            domain: text(&row[1]),
            ha1: text(&row[2]),
            ha1b: text(&row[3]),
            ha1_sha256: None,
            password: (!password.is_empty()).then_some(password),
        };
        if self.has_sha256 {
            // It counts as long as it belongs to the password that the row has now.
            let filter = vec![is("username", username), is("domain", &found.domain), is("ha1", &found.ha1)];
            let columns = vec![name("ha1_sha256")];
            let select = crate::Select { table: name("subscriber_sha256"), columns, filter, order: vec![], limit: 1 };
            found.ha1_sha256 = self.database.select(&select).await?.rows.first().map(|row| text(&row[0]));
        }
        Ok(Some(found))
    }

    /// The domain as the subscriber's row spells it.
    async fn stored_domain(&self, username: &str, domain: &str) -> Result<Option<String>, Error> {
        Ok(self.credentials(username, domain).await?.map(|found| found.domain))
    }

    pub(crate) async fn add_subscriber(&self, username: &str, domain: &str, ha1: &Ha1) -> Result<bool, Error> {
        if self.stored_domain(username, domain).await?.is_some() {
            return Ok(false);
        }
        let row = [("username", username), ("domain", domain), ("ha1", &ha1.md5), ("ha1b", &ha1.md5_with_domain)];
        let row = row.map(|(column, value)| (name(column), Cell::from(value))).to_vec();
        let mut writes = vec![Write::Insert { table: name("subscriber"), row }];
        writes.extend(self.sha256(username, domain, ha1));
        self.database.write(&writes).await?;
        Ok(true)
    }

    pub(crate) async fn set_password(&self, username: &str, domain: &str, password: &str) -> Result<bool, Error> {
        let Some(domain) = self.stored_domain(username, domain).await? else { return Ok(false) };
        let ha1 = Ha1::new(username, &domain, password);
        let set = [("ha1", &*ha1.md5), ("ha1b", &ha1.md5_with_domain), ("password", "")];
        let set = set.map(|(column, value)| (name(column), Cell::from(value))).to_vec();
        let filter = vec![is("username", username), is("domain", &domain)];
        let mut writes = vec![Write::Update { table: name("subscriber"), set, filter, must_match: true }];
        writes.extend(self.sha256(username, &domain, &ha1));
        match self.database.write(&writes).await {
            Err(Error::Stale) => Ok(false),
            outcome => outcome.map(|_| true),
        }
    }

    pub(crate) async fn remove_subscriber(&self, username: &str, domain: &str) -> Result<bool, Error> {
        let Some(domain) = self.stored_domain(username, domain).await? else { return Ok(false) };
        let filter = || vec![is("username", username), is("domain", &domain)];
        let mut writes = vec![Write::Delete { table: name("subscriber"), filter: filter() }];
        if self.has_sha256 {
            writes.push(Write::Delete { table: name("subscriber_sha256"), filter: filter() });
        }
        Ok(self.database.write(&writes).await?[0] > 0)
    }

    pub(crate) async fn subscribers(&self, after: i64, limit: u32) -> Result<Vec<Account>, Error> {
        let filter = vec![Condition { column: name("id"), is: Comparison::Greater, value: Cell::Int(after) }];
        let rows = self.rows("subscriber", &["id", "username", "domain"], filter, limit).await?;
        let read = |row: &Vec<Cell>| Account {
            id: row[0].to_int().unwrap_or_default(),
            username: text(&row[1]),
            domain: text(&row[2]),
        };
        Ok(rows.iter().map(read).collect())
    }

    /// Replaces the digest of SHA-256.
    fn sha256(&self, username: &str, domain: &str, ha1: &Ha1) -> Vec<Write> {
        if !self.has_sha256 {
            return Vec::new();
        }
        let table = name("subscriber_sha256");
        let filter = vec![is("username", username), is("domain", domain)];
        let row = [("username", username), ("domain", domain), ("ha1", &ha1.md5), ("ha1_sha256", &ha1.sha256)];
        let row = row.map(|(column, value)| (name(column), Cell::from(value))).to_vec();
        vec![Write::Delete { table: table.clone(), filter }, Write::Insert { table, row }]
    }
}
