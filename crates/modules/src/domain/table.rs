//! The table of domains, in memory and kept up to date.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use module_api::{Level, LogLine, Parameter, Setup, SetupError, State, Value};
use store::{ColumnName, Database, Error, Select, TableName};
use tokio::sync::Notify;

use crate::database::{self, column};
use crate::setting::{ignored, number, text};

pub(super) static PARAMETERS: [Parameter; 12] = [
    text("db_url", "", "The database; by default ser.db in the data directory."),
    number("reload_interval", "5", "Seconds between two looks at the table; 0 looks at start and when it is told to."),
    text("domain_table", "domain", "The table of domains."),
    text("domain_attrs_table", "domain_attrs", "The table of their attributes."),
    text("domain_col", "domain", "The column of names."),
    text("did_col", "did", "The column of identifiers, which several names of one domain share."),
    text("name_col", "name", "The column of attributes' names."),
    text("type_col", "type", "The column of attributes' types: 0 a number, 2 a text."),
    text("value_col", "value", "The column of attributes' values."),
    ignored("db_mode", "Has no effect: domains are always kept in memory."),
    ignored("register_myself", "Has no effect: a script asks is_uri_host_local() or names its domains as aliases."),
    ignored("domain_col_type", "Has no effect."),
];

/// The domains; the state of the module.
pub(super) struct Domains {
    source: Source,
    known: RwLock<Arc<Known>>,
    wake: Notify,
    log: LogLine,
    /// Whether the operator has been told that the table cannot be read.
    is_told: Mutex<bool>,
}

struct Source {
    database: Database,
    domains: TableName,
    attributes: TableName,
    domain: ColumnName,
    did: ColumnName,
    name: ColumnName,
    kind: ColumnName,
    value: ColumnName,
}

/// What the tables say.
#[derive(Default)]
struct Known {
    /// Identifiers by name in lower case.
    domains: HashMap<Vec<u8>, Bytes>,
    attributes: HashMap<Bytes, Attributes>,
}

/// Names and values.
type Attributes = Arc<Vec<(String, Value)>>;

/// More than this no server has.
const MOST: u32 = 1_000_000;

pub(super) fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let source = Source {
        domains: column(setup, "domain_table")?,
        attributes: column(setup, "domain_attrs_table")?,
        domain: column(setup, "domain_col")?,
        did: column(setup, "did_col")?,
        name: column(setup, "name_col")?,
        kind: column(setup, "type_col")?,
        value: column(setup, "value_col")?,
        database: database::open(setup, "db_url")?,
    };
    let columns = [source.domain.clone(), source.did.clone()];
    database::check_at_start(setup, &source.database, &source.domains, &columns, &[2])?;
    let domains = Arc::new(Domains {
        source,
        known: RwLock::default(),
        wake: Notify::new(),
        log: Arc::clone(setup.log),
        is_told: Mutex::new(false),
    });
    (setup.block_on)(Box::pin(domains.reload()));
    let seconds = u64::try_from(setup.int("reload_interval")).unwrap_or(0);
    let pause = if seconds == 0 { Duration::MAX } else { Duration::from_secs(seconds) };
    (setup.spawn)(Box::pin(keep_up(Arc::downgrade(&domains), pause)));
    Ok(domains)
}

/// Reads the table again and again, until the module is gone.
async fn keep_up(domains: Weak<Domains>, pause: Duration) {
    /// How often it is looked whether the module is still there.
    const LOOK: Duration = Duration::from_secs(60);
    let mut slept = Duration::ZERO;
    loop {
        let Some(domains) = domains.upgrade() else { return };
        let nap = pause.saturating_sub(slept).min(LOOK);
        let is_woken = tokio::time::timeout(nap, domains.wake.notified()).await.is_ok();
        slept += nap;
        if is_woken || slept >= pause {
            slept = Duration::ZERO;
            domains.reload().await;
        }
    }
}

impl Domains {
    /// Whether a host is one of the domains.
    pub(super) fn has(&self, host: &[u8]) -> bool {
        self.known().domains.contains_key(&host.to_ascii_lowercase())
    }

    /// Identifier and attributes of a domain.
    pub(super) fn attributes(&self, domain: &[u8]) -> Option<(Bytes, Attributes)> {
        let known = self.known();
        let did = known.domains.get(&domain.to_ascii_lowercase())?.clone();
        let attributes = known.attributes.get(&did).cloned().unwrap_or_default();
        Some((did, attributes))
    }

    /// The names, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.known().domains.keys().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        names.sort_unstable();
        names
    }

    /// Has the table read again beside the workers.
    pub(super) fn ask_for_reload(&self) {
        self.wake.notify_one();
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the tables. Where they cannot be read what was known goes on to count.
    async fn reload(&self) {
        let read = self.source.read().await;
        let mut is_told = self.is_told.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(known) => {
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
                *is_told = false;
            }
            Err(error) if !*is_told => {
                *is_told = true;
                (self.log)(
                    Level::Error,
                    &format!("domains cannot be read, those known so far go on to count: {error}"),
                );
            }
            Err(_) => {}
        }
    }
}

impl Source {
    async fn read(&self) -> Result<Known, Error> {
        let columns = vec![self.domain.clone(), self.did.clone()];
        let mut known = Known::default();
        for row in self.rows(&self.domains, columns).await? {
            let name = row[0].to_text().unwrap_or_default();
            let did = row[1].to_text().filter(|did| !did.is_empty()).unwrap_or_else(|| name.clone());
            known.domains.insert(name.to_ascii_lowercase().into_bytes(), Bytes::from(did));
        }
        let columns = vec![self.did.clone(), self.name.clone(), self.kind.clone(), self.value.clone()];
        let mut attributes: HashMap<Bytes, Vec<(String, Value)>> = HashMap::new();
        let rows = match self.rows(&self.attributes, columns).await {
            // Schemas older than attributes.
            Err(Error::Misfit { .. }) => Vec::new(),
            rows => rows?,
        };
        for row in rows {
            let text = |n: usize| row[n].to_text().unwrap_or_default();
            let value = match row[2].to_int() {
                Some(0) => Value::Int(text(3).trim().parse().unwrap_or(0)),
                _ => Value::Str(Bytes::from(text(3))),
            };
            attributes.entry(Bytes::from(text(0))).or_default().push((text(1), value));
        }
        known.attributes = attributes.into_iter().map(|(did, list)| (did, Arc::new(list))).collect();
        Ok(known)
    }

    async fn rows(&self, table: &TableName, columns: Vec<ColumnName>) -> Result<Vec<Vec<store::Cell>>, Error> {
        let select = Select { table: table.clone(), columns, filter: Vec::new(), order: Vec::new(), limit: MOST };
        Ok(self.database.select(&select).await?.rows)
    }
}
