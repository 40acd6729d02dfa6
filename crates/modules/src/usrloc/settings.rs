//! Start of the location tables: settings, database, sweeping.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use module_api::{Counter, EventKind, Parameter, PublicEvents, SettingKind, Setup, SetupError, State, StatisticKind};
use store::Store;

use super::locations::{LocationTable, Locations, Persistence};

pub(super) static PARAMETERS: [Parameter; 49] = [
    Parameter {
        name: "db_mode",
        kind: SettingKind::Int,
        default: "0",
        doc: "0 keeps bindings in memory only. 1, 2 and 3 write each change to the database before its 200 goes out, \
              and load all at start. 4 loads and writes nothing.",
    },
    Parameter {
        name: "db_url",
        kind: SettingKind::Str,
        default: "",
        doc: "The database; by default ser.db in the data directory.",
    },
    Parameter {
        name: "use_domain",
        kind: SettingKind::Int,
        default: "0",
        doc: "1 tells users of different domains apart.",
    },
    Parameter {
        name: "timer_interval",
        kind: SettingKind::Int,
        default: "60",
        doc: "Seconds between two sweeps for bindings that have run out.",
    },
    Parameter {
        name: "preload",
        kind: SettingKind::List,
        default: "",
        doc: "A further table to load at start; location and aliases always are.",
    },
    Parameter {
        name: "desc_time_order",
        kind: SettingKind::Int,
        default: "0",
        doc: "1 orders contacts newest first whatever their preference.",
    },
    Parameter {
        name: "nat_bflag",
        kind: SettingKind::Int,
        default: "-1",
        doc: "The branch flag that marks a contact behind NAT, so that save() keeps its source address.",
    },
    ignored("use_database", "Has no effect: db_mode is meant."),
    ignored("flush_interval", "Has no effect: changes are written before they are acknowledged."),
    ignored("table", "Has no effect: save() and lookup() name the table."),
    ignored("matching_mode", "Has no effect: contacts compare as RFC 3261 section 10.2.4 says."),
    ignored("timer_procs", "Has no effect: sweeping is done beside the workers."),
    ignored("cseq_delay", "Has no effect: a repeated REGISTER is answered again for 32 seconds."),
    ignored("hash_size", "Has no effect: tables grow as they must."),
    ignored("db_ops_ruid", "Has no effect: rows are found by ruid."),
    ignored("db_load", "Has no effect: bindings are loaded at start when db_mode is not 0."),
    ignored("db_insert_update", "Has no effect: rows are written whole."),
    ignored("db_update_as_insert", "Has no effect: rows are written whole."),
    ignored("db_check_update", "Has no effect: rows are written whole."),
    ignored("db_timer_clean", "Has no effect: rows that have run out go with the sweep."),
    ignored("fetch_rows", "Has no effect: rows are read in pages."),
    ignored("version_table", "Has no effect: the version is always checked."),
    ignored("expires_type", "Has no effect: both kinds of times are read."),
    ignored("xavp_contact", "Has no effect."),
    ignored("ka_mode", "Has no effect: keep-alives are not sent by usrloc."),
    ignored("server_id_filter", "Has no effect: every row of the table is loaded."),
    column("user_column"),
    column("domain_column"),
    column("contact_column"),
    column("expires_column"),
    column("q_column"),
    column("callid_column"),
    column("cseq_column"),
    column("method_column"),
    column("flags_column"),
    column("cflags_column"),
    column("user_agent_column"),
    column("received_column"),
    column("ruid_column"),
    column("path_column"),
    column("socket_column"),
    column("methods_column"),
    column("instance_column"),
    column("reg_id_column"),
    column("server_id_column"),
    column("connection_id_column"),
    column("keepalive_column"),
    column("partition_column"),
    ignored("db_skip_delete", "Has no effect: what has run out is deleted."),
];

const fn ignored(name: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Ignored, default: "", doc }
}

const fn column(name: &'static str) -> Parameter {
    ignored(name, "Has no effect: columns have the names of Kamailio's schema.")
}

pub(super) fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let mode = setup.int("db_mode");
    if !(0..=4).contains(&mode) {
        return Err(SetupError::Setting { name: "db_mode", cause: "must be from 0 to 4".into() });
    }
    let persistence = if mode == 0 { None } else { Some(open(setup, mode != 4)?) };
    let locations = Arc::new(Locations::new(
        persistence,
        setup.int("use_domain") != 0,
        setup.int("desc_time_order") != 0,
        u32::try_from(setup.int("nat_bflag")).ok(),
    ));
    load(setup, &locations)?;
    show(setup, &locations);
    let pause = Duration::from_secs(u64::try_from(setup.int("timer_interval")).unwrap_or(0).max(1));
    let expired = setup.counter("expired_contacts");
    let news = (setup.server.events(), expired);
    (setup.spawn)(Box::pin(sweep(Arc::downgrade(&locations), pause, news)));
    Ok(locations)
}

/// The database that modules share unless the script names another.
pub(crate) fn default_database(data_dir: &Path) -> String {
    data_dir.join("ser.db").to_string_lossy().into_owned()
}

/// Opens the database of a module's `db_url`.
pub(crate) fn open_store(setup: &Setup<'_>) -> Result<Store, SetupError> {
    let url = match setup.text("db_url") {
        url if url.is_empty() => default_database(setup.data_dir),
        url => url,
    };
    let mut opened = None;
    (setup.block_on)(Box::pin(async {
        opened = Some(Store::open(&url).await);
    }));
    let opened = opened.ok_or_else(|| SetupError::Unavailable("the runtime is not there".into()))?;
    opened.map_err(|error| SetupError::Unavailable(error.to_string()))
}

fn open(setup: &Setup<'_>, writes: bool) -> Result<Persistence, SetupError> {
    let store = open_store(setup)?;
    let mut runtime = None;
    (setup.block_on)(Box::pin(async {
        runtime = Some(tokio::runtime::Handle::current());
    }));
    let runtime = runtime.ok_or_else(|| SetupError::Unavailable("the runtime is not there".into()))?;
    Ok(Persistence { store, runtime, writes })
}

fn load(setup: &Setup<'_>, locations: &Arc<Locations>) -> Result<(), SetupError> {
    let preloaded = setup.list("preload").into_iter().map(|name| String::from_utf8_lossy(&name).into_owned());
    for name in ["location".to_owned(), "aliases".to_owned()].into_iter().chain(preloaded) {
        let mut outcome = Ok(None);
        if locations.is_persistent() {
            (setup.block_on)(Box::pin(async {
                outcome = locations.open(name.clone()).await.map(Some);
            }));
        } else {
            outcome = locations.open_in_memory(&name).map(Some);
        }
        outcome.map_err(|cause| SetupError::Unavailable(format!("table {name}: {cause}")))?;
    }
    Ok(())
}

/// Figures of the tables that are there at the start, under Kamailio's names.
fn show(setup: &Setup<'_>, locations: &Arc<Locations>) {
    setup.show("registered_users", locations, |locations| {
        let tables = locations.names().into_iter().filter_map(|name| locations.table(&name));
        tables.map(|table| table.bindings.counts().0).sum::<usize>().try_into().unwrap_or(i64::MAX)
    });
    for name in locations.names() {
        let Some(table) = locations.table(&name) else { continue };
        let figure = |what: &'static str, read: fn(&LocationTable) -> usize| {
            let doc = format!("{what} in table {name}.");
            let read = move |table: &LocationTable| read(table).try_into().unwrap_or(i64::MAX);
            let kind = StatisticKind::Gauge;
            setup.statistics.read_from(("usrloc", format!("{name}_{}", what.to_lowercase())), kind, doc, &table, read);
        };
        figure("Users", |table| table.bindings.counts().0);
        figure("Contacts", |table| table.bindings.counts().1);
        figure("Bytes", |table| table.bindings.memory().0);
        let doc = "Memory of a binding, its share of the address-of-record with it.";
        let name = format!("{name}_binding_bytes");
        setup.statistics.read_from(("usrloc", name), StatisticKind::Gauge, doc, &table, |table: &LocationTable| {
            let (bytes, bindings) = table.bindings.memory();
            bytes.checked_div(bindings).unwrap_or(0).try_into().unwrap_or(i64::MAX)
        });
    }
}

/// Removes what has run out, until the tables are gone: a reload makes new ones.
async fn sweep(locations: Weak<Locations>, pause: Duration, (events, expired): (PublicEvents, Counter)) {
    loop {
        tokio::time::sleep(pause).await;
        let Some(locations) = locations.upgrade() else { return };
        let now = now();
        for (table, count) in locations.sweep(now).await {
            expired.add(count as u64);
            events.tell(EventKind::RegistrationExpire, Duration::from_secs(now), || {
                vec![("table", table.into()), ("contacts", count.into())]
            });
        }
    }
}

/// The wall clock. Sweeping runs beside the workers and so cannot ask a `Host` for it.
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
