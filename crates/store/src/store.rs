//! The store as callers see it: dispatch to a backend, and a deadline on each query.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::database::is_sqlite;
use crate::place::Place;
use crate::sqlite::Sqlite;
use crate::tables::Tables;
use crate::{Account, AliasTarget, Cause, Change, Credentials, Error, Ha1, StoredBinding, StoredDomain, TableName};

/// A database. Cloning is cheap and shares the connections.
///
/// All methods need a tokio runtime with time enabled. Dropping a future abandons the answer; a change it
/// asked for may still happen.
#[derive(Clone)]
pub struct Store {
    pub(crate) backend: Arc<Backend>,
    deadline: Duration,
}

/// How a store is used.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Longest that one query may take; then [`Cause::Deadline`]. Default 5 s.
    pub deadline: Duration,
    /// Connections at most. Default 4; a database in memory has one.
    pub connections: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { deadline: Duration::from_secs(5), connections: 4 }
    }
}

/// One variant per backend. An enum and not a trait object: the set is closed, `match` finds every place that a
/// new backend must serve, and futures need no boxes.
pub(crate) enum Backend {
    Sqlite(Sqlite),
    /// A server, or text files.
    Tables(Tables),
}

impl Store {
    /// Opens a store with default settings; see [`Store::open_with`].
    pub async fn open(address: &str) -> Result<Store, Error> {
        Store::open_with(address, &Settings::default()).await
    }

    /// Opens `sqlite:///path`, a bare path or `:memory:`, and makes what is missing: directory, file, tables. The file
    /// is created readable by its owner only.
    ///
    /// Of `postgres://`, `mysql://` and `text:///` addresses the tables are used as they stand, and none is made.
    ///
    /// # Errors
    /// [`Error::SchemaVersion`] when a table has a version that this program does not know; nothing is changed then.
    pub async fn open_with(address: &str, settings: &Settings) -> Result<Store, Error> {
        let backend = if is_sqlite(address) {
            let place = Place::parse(address)?;
            Backend::Sqlite(within(settings.deadline, Sqlite::open(&place, settings)).await?)
        } else {
            Backend::Tables(Tables::open(address, settings).await?)
        };
        Ok(Store { backend: Arc::new(backend), deadline: settings.deadline })
    }

    /// Waits for queries that run and closes all connections. Later calls answer [`Error::Unavailable`].
    pub async fn close(&self) {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.close().await,
            Backend::Tables(tables) => tables.close().await,
        }
    }

    /// What is needed to verify `username` of `domain`; `None` when there is no such subscriber.
    ///
    /// User names compare byte by byte, domains without regard to case (RFC 3261 section 19.1.4).
    pub async fn credentials(&self, username: &str, domain: &str) -> Result<Option<Credentials>, Error> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => self.within(sqlite.credentials(username, domain)).await,
            Backend::Tables(tables) => self.within(tables.credentials(username, domain)).await,
        }
    }

    /// The oldest subscriber called `username`, whatever the domain: what `use_domain=0` asks for.
    pub async fn credentials_in_any_domain(&self, username: &str) -> Result<Option<Credentials>, Error> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => self.within(sqlite.credentials_in_any_domain(username)).await,
            Backend::Tables(tables) => self.within(tables.credentials_in_any_domain(username)).await,
        }
    }

    /// Adds a subscriber; false when there is one of that name already. Only digests are stored.
    pub async fn add_subscriber(&self, username: &str, domain: &str, password: &str) -> Result<bool, Error> {
        let ha1 = Ha1::new(username, domain, password);
        match &*self.backend {
            Backend::Sqlite(sqlite) => self.within(sqlite.add_subscriber(username, domain, &ha1)).await,
            Backend::Tables(tables) => self.within(tables.add_subscriber(username, domain, &ha1)).await,
        }
    }

    /// Replaces a subscriber's password; false when there is no such subscriber. A password that another tool
    /// stored as text is erased with it.
    pub async fn set_password(&self, username: &str, domain: &str, password: &str) -> Result<bool, Error> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => self.within(sqlite.set_password(username, domain, password)).await,
            Backend::Tables(tables) => self.within(tables.set_password(username, domain, password)).await,
        }
    }

    /// Removes a subscriber; false when there was none.
    pub async fn remove_subscriber(&self, username: &str, domain: &str) -> Result<bool, Error> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => self.within(sqlite.remove_subscriber(username, domain)).await,
            Backend::Tables(tables) => self.within(tables.remove_subscriber(username, domain)).await,
        }
    }

    /// Up to `limit` subscribers whose row follows `after` (0 to begin), in row order.
    pub async fn subscribers(&self, after: i64, limit: u32) -> Result<Vec<Account>, Error> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => self.within(sqlite.subscribers(after, limit)).await,
            Backend::Tables(tables) => self.within(tables.subscribers(after, limit)).await,
        }
    }

    /// Addresses that an alias stands for, oldest first (`dbaliases`).
    pub async fn alias_targets(&self, username: &str, domain: &str) -> Result<Vec<AliasTarget>, Error> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => self.within(sqlite.alias_targets(username, domain)).await,
            Backend::Tables(tables) => self.within(tables.alias_targets(username, domain)).await,
        }
    }

    /// Lets an alias stand for `target` too; false when it does already.
    pub async fn add_alias(&self, username: &str, domain: &str, target: &AliasTarget) -> Result<bool, Error> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => self.within(sqlite.add_alias(username, domain, target)).await,
            Backend::Tables(tables) => self.within(tables.add_alias(username, domain, target)).await,
        }
    }

    /// Removes all targets of an alias; returns how many there were.
    pub async fn remove_alias(&self, username: &str, domain: &str) -> Result<u64, Error> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => self.within(sqlite.remove_alias(username, domain)).await,
            Backend::Tables(tables) => self.within(tables.remove_alias(username, domain)).await,
        }
    }

    /// All domains that this server is responsible for.
    pub async fn domains(&self) -> Result<Vec<StoredDomain>, Error> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => self.within(sqlite.domains()).await,
            Backend::Tables(tables) => self.within(tables.domains()).await,
        }
    }

    /// Adds a domain; false when it is there already. `now` is wall-clock seconds since 1970.
    pub async fn add_domain(&self, domain: &StoredDomain, now: i64) -> Result<bool, Error> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => self.within(sqlite.add_domain(domain, now)).await,
            Backend::Tables(tables) => self.within(tables.add_domain(domain, now)).await,
        }
    }

    /// Removes a domain; false when there was none.
    pub async fn remove_domain(&self, domain: &str) -> Result<bool, Error> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => self.within(sqlite.remove_domain(domain)).await,
            Backend::Tables(tables) => self.within(tables.remove_domain(domain)).await,
        }
    }

    /// Makes a location table of this name when there is none. `location` and `aliases` always exist.
    ///
    /// # Errors
    /// [`Error::SchemaVersion`] when a table of this name is something else.
    pub async fn ensure_location_table(&self, table: &TableName) -> Result<(), Error> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => self.within(sqlite.ensure_location_table(table)).await,
            Backend::Tables(tables) => self.within(tables.ensure_location_table(table)).await,
        }
    }

    /// Hands every binding of a table to `each`, in row order, without holding them all in memory.
    ///
    /// A row that cannot be read is handed over as [`Error::Corrupt`] and the walk goes on: one bad row must not
    /// keep a server from starting. Returns the number of rows. The deadline applies to each page of rows.
    pub async fn all_bindings(
        &self,
        table: &TableName,
        mut each: impl FnMut(Result<StoredBinding, Error>) + Send,
    ) -> Result<u64, Error> {
        let (mut after, mut count) = (i64::MIN, 0);
        loop {
            let page = match &*self.backend {
                Backend::Sqlite(sqlite) => self.within(sqlite.bindings_page(table, after, PAGE)).await?,
                Backend::Tables(tables) => self.within(tables.bindings_page(table, after, PAGE)).await?,
            };
            let Some((last, _)) = page.last() else { return Ok(count) };
            after = *last;
            count += page.len() as u64;
            page.into_iter().for_each(|(_, binding)| each(binding));
        }
    }

    /// Removes bindings that ended before `now` (wall-clock seconds since 1970); returns how many there were.
    pub async fn delete_expired(&self, table: &TableName, now: i64) -> Result<u64, Error> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => self.within(sqlite.delete_expired(table, now)).await,
            Backend::Tables(tables) => self.within(tables.delete_expired(table, now)).await,
        }
    }

    /// Applies changes in one transaction and returns when they are durable: all of them, or none.
    pub(crate) async fn commit(&self, table: &TableName, changes: &[&Change]) -> Result<(), Error> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => self.within(sqlite.commit(table, changes)).await,
            Backend::Tables(tables) => self.within(tables.commit(table, changes)).await,
        }
    }

    async fn within<T>(&self, query: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        within(self.deadline, query).await
    }
}

pub(crate) async fn within<T>(deadline: Duration, query: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match tokio::time::timeout(deadline, query).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::Unavailable(Cause::Deadline(deadline))),
    }
}

/// Rows per query of [`Store::all_bindings`]. Pages end the read transaction between them: a long one would keep
/// SQLite from shortening its log while registrations go on.
const PAGE: u32 = 1000;
