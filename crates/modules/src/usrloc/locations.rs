//! All location tables, and the way of a change to the disk.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use store::{Change, LocationWriter, Store, TableName, WriterSettings, Written};
use tokio::runtime::Handle;

use super::binding::Contact;
use super::table::Table;

/// The location tables; the state of module usrloc.
pub struct Locations {
    tables: RwLock<HashMap<String, Arc<LocationTable>>>,
    persistence: Option<Persistence>,
    /// Whether users of different domains are different.
    pub uses_domain: bool,
    /// Whether contacts are ordered newest first, whatever their preference.
    pub newest_first: bool,
    /// The branch flag that marks a contact behind NAT.
    pub nat_branch_flag: Option<u32>,
    serial: AtomicU64,
    epoch: u64,
}

/// Where bindings are kept beside memory.
pub(super) struct Persistence {
    pub(super) store: Store,
    pub(super) runtime: Handle,
    pub(super) writes: bool,
}

/// One table: memory, and the writer of its rows where it has one.
pub struct LocationTable {
    /// The bindings.
    pub bindings: Table,
    writer: Option<LocationWriter>,
}

/// The database did not take a change in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteFailed(pub String);

/// A table name may be computed from a message, so the number of tables has a bound.
const MAX_TABLES: usize = 64;

impl Locations {
    pub(super) fn new(
        persistence: Option<Persistence>,
        uses_domain: bool,
        newest_first: bool,
        nat_branch_flag: Option<u32>,
    ) -> Locations {
        let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Locations {
            tables: RwLock::new(HashMap::new()),
            persistence,
            uses_domain,
            newest_first,
            nat_branch_flag,
            serial: AtomicU64::new(0),
            // With the process id no two servers that share a database number alike.
            epoch: (seed.as_micros() as u64) << 8 ^ u64::from(std::process::id()),
        }
    }

    /// Whether bindings are kept beside memory.
    pub fn is_persistent(&self) -> bool {
        self.persistence.is_some()
    }

    /// A table that is open.
    pub fn table(&self, name: &str) -> Option<Arc<LocationTable>> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).get(name).map(Arc::clone)
    }

    /// Names of the open tables.
    pub fn names(&self) -> Vec<String> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Opens a table that is kept in memory only.
    pub(super) fn open_in_memory(&self, name: &str) -> Result<Arc<LocationTable>, String> {
        TableName::new(name).map_err(|error| error.to_string())?;
        self.insert(name, LocationTable { bindings: Table::default(), writer: None })
    }

    /// Opens a table, with all its rows when it is in the database.
    ///
    /// # Errors
    /// In words, when the name will not do or the database cannot be read.
    pub async fn open(&self, name: String) -> Result<Arc<LocationTable>, String> {
        if let Some(table) = self.table(&name) {
            return Ok(table);
        }
        let Some(persistence) = &self.persistence else { return self.open_in_memory(&name) };
        let row_table = TableName::new(&name).map_err(|error| error.to_string())?;
        persistence.store.ensure_location_table(&row_table).await.map_err(|error| error.to_string())?;
        let bindings = Table::default();
        let load = |row: Result<store::StoredBinding, store::Error>| {
            // A row that cannot be read must not keep the server from starting.
            if let Ok(row) = row {
                let aor = self.aor(&row.username.clone().into(), row.domain.as_deref().unwrap_or_default().as_bytes());
                bindings.load(&aor, &Contact::of_row(&row));
            }
        };
        persistence.store.all_bindings(&row_table, load).await.map_err(|error| error.to_string())?;
        let start = || {
            LocationWriter::start(persistence.store.clone(), row_table, WriterSettings::default(), &persistence.runtime)
        };
        let writer = persistence.writes.then(start);
        self.insert(&name, LocationTable { bindings, writer })
    }

    /// Two requests may open a table at once; the first counts.
    fn insert(&self, name: &str, table: LocationTable) -> Result<Arc<LocationTable>, String> {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = tables.get(name) {
            return Ok(Arc::clone(table));
        }
        if tables.len() >= MAX_TABLES {
            return Err("too many location tables".into());
        }
        let table = Arc::new(table);
        tables.insert(name.to_owned(), Arc::clone(&table));
        Ok(table)
    }

    /// The key of an address-of-record.
    pub fn aor(&self, user: &Bytes, domain: &[u8]) -> Bytes {
        if !self.uses_domain {
            return user.clone();
        }
        [user, &b"@"[..], &domain.to_ascii_lowercase()].concat().into()
    }

    /// An id for a new binding, of which there is no second.
    pub fn new_ruid(&self) -> Bytes {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        format!("uloc-{:x}-{serial:x}", self.epoch).into()
    }

    /// Removes what has run out, from memory and from the database. Gives how many went from which table.
    pub(super) async fn sweep(&self, now: u64) -> Vec<(String, usize)> {
        let mut gone = Vec::new();
        for name in self.names() {
            let Some(table) = self.table(&name) else { continue };
            let count = table.bindings.sweep(now);
            if count > 0 {
                gone.push((name.clone(), count));
            }
            if let Some(persistence) = self.persistence.as_ref().filter(|persistence| persistence.writes)
                && let Ok(name) = TableName::new(&name)
            {
                // What could not be deleted now is tried again with the next sweep.
                let _ = persistence.store.delete_expired(&name, i64::try_from(now).unwrap_or(i64::MAX)).await;
            }
        }
        gone
    }
}

impl LocationTable {
    /// Whether changes go to a database.
    pub fn is_written(&self) -> bool {
        self.writer.is_some()
    }

    /// Whether the database has not taken changes that memory has.
    pub fn is_behind(&self) -> bool {
        self.writer.as_ref().is_some_and(|writer| writer.behind() > 0)
    }

    /// Queues changes for the database, in the order of calls. None when the table is in memory only.
    ///
    /// To be called while the table is locked for the same change ([`Table::update`]), so that the disk
    /// sees changes of one address-of-record in the order in which memory did.
    pub(crate) fn submit(&self, changes: Vec<Change>) -> Option<Written> {
        self.writer.as_ref().map(|writer| writer.submit(changes))
    }
}

#[cfg(test)]
mod tests {
    use super::super::binding::tests::contact;
    use super::*;

    fn locations(persistence: Option<Persistence>) -> Locations {
        Locations::new(persistence, false, false, None)
    }

    #[test]
    fn ids_and_keys_are_made() {
        let mut locations = locations(None);
        assert_ne!(locations.new_ruid(), locations.new_ruid());
        assert_eq!(locations.aor(&"alice".into(), b"Example.COM"), "alice");
        locations.uses_domain = true;
        assert_eq!(locations.aor(&"alice".into(), b"Example.COM"), "alice@example.com");
    }

    #[test]
    fn the_number_of_tables_has_a_bound() {
        let locations = locations(None);
        let opened = (0..100).filter(|n| locations.open_in_memory(&format!("t{n}")).is_ok()).count();
        assert_eq!(opened, 64);
        assert!(locations.open_in_memory("no table").is_err());
    }

    #[test]
    fn what_was_acknowledged_is_there_after_a_restart() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let store = Store::open(":memory:").await.unwrap();
            let persistence = || Some(Persistence { store: store.clone(), runtime: Handle::current(), writes: true });
            let first = locations(persistence());
            let table = first.open("location".into()).await.unwrap();
            let binding = contact("sip:a@h", "r1", 4_000_000_000);
            let row = binding.to_row(&"alice".into(), None, None);
            table.submit(vec![Change::Put(Box::new(row))]).unwrap().await.unwrap();

            let second = locations(persistence());
            let table = second.open("location".into()).await.unwrap();
            assert_eq!(table.bindings.contacts(b"alice", 0)[0].binding.uri, "sip:a@h");
        });
    }
}
