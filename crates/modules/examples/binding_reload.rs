//! How long a restart takes with many registrations: `cargo run --release -p modules --example binding_reload [COUNT]`.
//!
//! Fills table `location` of a SQLite database with contacts such as phones send, unless DIRECTORY/ser.db of a
//! second argument has them already, and has module usrloc start on it as the server does.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use module_api::{Binding, Dialect, LogLine, NoServer, Server, Setting, Setup, Statistics, Value};
use modules::usrloc::{Locations, MODULE};
use store::{Change, LocationWriter, Store, StoredBinding, TableName, WriterSettings};
use tokio::runtime::Runtime;

/// Changes in one submission.
const BATCH: u32 = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let count: u32 = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(1_000_000);
    let kept = std::env::args().nth(2).map(PathBuf::from);
    let own = std::env::temp_dir().join(format!("binding-reload-{}", std::process::id()));
    let directory = kept.clone().unwrap_or_else(|| own.clone());
    std::fs::create_dir_all(&directory)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if !directory.join("ser.db").exists() {
        runtime.block_on(fill(&directory, count))?;
    }
    let before = resident_bytes();
    let begin = Instant::now();
    let locations = start(&runtime, &directory)?;
    let took = begin.elapsed();
    let table = locations.table("location").ok_or("usrloc opens table location")?;
    let bindings = table.bindings.counts().1;
    let grown = resident_bytes().saturating_sub(before) / bindings.max(1) as u64;
    println!("{bindings} contacts loaded in {took:.2?}, {grown} bytes resident each");
    if kept.is_none() {
        std::fs::remove_dir_all(&own)?;
    }
    Ok(())
}

async fn fill(directory: &Path, count: u32) -> Result<(), Box<dyn Error>> {
    let store = Store::open(&directory.join("ser.db").to_string_lossy()).await?;
    let table = TableName::new("location")?;
    store.ensure_location_table(&table).await?;
    let settings = WriterSettings { retries: vec![Duration::from_secs(1)], ..WriterSettings::default() };
    let writer = LocationWriter::start(store, table, settings, &tokio::runtime::Handle::current());
    for first in (0..count).step_by(BATCH as usize) {
        let rows = (first..count.min(first + BATCH)).map(|n| Change::Put(Box::new(row(n))));
        writer.submit(rows.collect()).await?;
    }
    Ok(())
}

fn start(runtime: &Runtime, directory: &Path) -> Result<Arc<Locations>, Box<dyn Error>> {
    let settings = [Setting { name: "db_mode".into(), value: Value::Int(3) }];
    let statistics = Statistics::default();
    let server: Arc<dyn Server> = Arc::new(NoServer);
    let log: LogLine = Arc::new(|_, _| {});
    let binding = Binding {
        others: &|_| None,
        dialect: Dialect::Kamailio,
        data_dir: directory,
        block_on: &|work| runtime.block_on(work),
        spawn: &|_| {},
        statistics: &statistics,
        server: &server,
        log: &log,
    };
    let state = (MODULE.make)(&mut Setup::new(&MODULE, &settings, &binding)).map_err(|error| error.to_string())?;
    let state: Arc<dyn std::any::Any + Send + Sync> = state;
    state.downcast().map_err(|_| "usrloc makes the location tables".into())
}

/// A contact as a phone behind NAT registers it that supports outbound.
fn row(n: u32) -> StoredBinding {
    StoredBinding {
        ruid: format!("uloc-60f0a1b2c3d4e5f-{n:x}"),
        username: format!("user{n:07}"),
        domain: None,
        contact: format!("sip:user{n:07}@192.168.1.23:50600;transport=udp"),
        received: Some("sip:203.0.113.200:50600".into()),
        path: None,
        expires: 1_900_000_000,
        q: -1.0,
        callid: format!("{n:08x}-5f3a9c1e7b2d4680@192.168.1.23"),
        cseq: 2,
        last_modified: 1_700_000_000,
        flags: 0,
        cflags: 64,
        user_agent: "Desk Phone 5.2.1.300".into(),
        socket: Some("udp:192.0.2.1:5060".into()),
        methods: Some(8191),
        instance: Some(format!("\"<urn:uuid:f81d4fae-7dec-11d0-a765-{n:012x}>\"")),
        reg_id: 1,
        server_id: 0,
        connection_id: 0,
        keepalive: false,
        partition: 0,
    }
}

/// Pages in memory times their size, from /proc.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has /proc/self/statm");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("the second number is the resident size") * 4096
}
