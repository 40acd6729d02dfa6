//! The battery on SQLite, and what is SQLite's alone: files, locks, Kamailio's databases, sudden death.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Row, SqliteConnection};
use tokio::runtime::Handle;

use crate::battery::{Fixture, battery, full_binding, location, put, rows};
use crate::{Cause, Change, Error, LocationWriter, Settings, Store, StoredBinding, WriterSettings};

mod in_memory {
    use super::*;

    async fn open() -> Fixture<()> {
        Fixture { store: Store::open(":memory:").await.expect("opened"), _guard: () }
    }

    battery!(open);
}

mod in_a_file {
    use super::*;

    async fn open() -> Fixture<Directory> {
        let directory = Directory::new();
        Fixture { store: directory.open().await.expect("opened"), _guard: directory }
    }

    battery!(open);
}

/// A directory that goes with the test. `ser.db` in it is the store.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ser-store-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        // Left behind by an earlier process of the same number.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).expect("a temporary directory");
        Directory(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("ser.db")
    }

    fn address(&self) -> String {
        format!("sqlite://{}", self.file().display())
    }

    async fn open(&self) -> Result<Store, Error> {
        Store::open(&self.address()).await
    }

    /// A store that soon gives up when the database is locked.
    async fn open_impatient(&self) -> Store {
        let settings = Settings { deadline: Duration::from_millis(100), ..Settings::default() };
        // The tables are made with the usual patience.
        self.open().await.expect("opened").close().await;
        Store::open_with(&self.address(), &settings).await.expect("opened")
    }

    /// Another program at the same file.
    async fn other(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.file()).create_if_missing(true);
        options.connect().await.expect("connected")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn run(connection: &mut SqliteConnection, statements: impl Into<String>) {
    sqlx::raw_sql(AssertSqlSafe(statements.into())).execute(connection).await.expect("executed");
}

#[tokio::test]
async fn the_file_and_its_directories_are_made_for_the_owner_only() {
    let directory = Directory::new();
    let file = directory.0.join("var/lib/ser/ser.db");
    let store = Store::open(&file.display().to_string()).await.expect("opened");
    let mode = |path: &Path| path.metadata().expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&file), 0o600);
    assert_eq!(mode(&file.with_file_name("ser.db-wal")), 0o600);
    assert_eq!(mode(&directory.0.join("var/lib/ser")), 0o700);
    store.close().await;
}

#[tokio::test]
async fn opening_again_finds_what_was_written() {
    let directory = Directory::new();
    let store = directory.open().await.expect("opened");
    store.add_subscriber("alice", "example.org", "x").await.expect("added");
    store.close().await;
    assert_eq!(store.domains().await, Err(Error::Unavailable(Cause::Stopped)));
    let store = directory.open().await.expect("opened");
    assert!(store.credentials("alice", "example.org").await.expect("read").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_programs_may_open_a_new_database_at_once() {
    let directory = Directory::new();
    let openers: Vec<_> = (0..6)
        .map(|_| {
            let address = directory.address();
            tokio::spawn(async move { Store::open(&address).await.map(|_| ()) })
        })
        .collect();
    for opener in openers {
        assert_eq!(opener.await.expect("no panic"), Ok(()));
    }
}

#[tokio::test]
async fn a_commit_is_synced_and_the_log_is_ahead() {
    let directory = Directory::new();
    let store = directory.open().await.expect("opened");
    let crate::store::Backend::Sqlite(super::Sqlite { pool }) = &*store.backend else {
        panic!("it is a store of SQLite")
    };
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(pool).await.expect("read");
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(pool).await.expect("read");
    // 2 is FULL (sqlite.org/pragma.html#pragma_synchronous).
    assert_eq!((synchronous, &*journal), (2, "wal"));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_corrupt() {
    let directory = Directory::new();
    std::fs::write(directory.file(), "this is a text, not a database. ".repeat(64)).expect("written");
    let error = directory.open().await.err().expect("refused");
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
}

#[tokio::test]
async fn a_table_of_unknown_version_is_refused_and_nothing_is_changed() {
    let directory = Directory::new();
    let mut other = directory.other().await;
    run(
        &mut other,
        "CREATE TABLE version (id INTEGER PRIMARY KEY NOT NULL, table_name VARCHAR(32) NOT NULL UNIQUE,
             table_version INTEGER DEFAULT 0 NOT NULL);
         CREATE TABLE location (id INTEGER PRIMARY KEY, username TEXT);
         INSERT INTO version (table_name, table_version) VALUES ('location', 6);",
    )
    .await;
    let error = directory.open().await.err().expect("refused");
    assert_eq!(error, Error::SchemaVersion { table: "location".into(), found: Some(6), needed: 9 });
    let tables: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        .fetch_all(&mut other)
        .await
        .expect("read");
    assert_eq!(tables, ["location", "version"]);
    run(&mut other, "DELETE FROM version").await;
    let error = directory.open().await.err().expect("refused");
    assert_eq!(error, Error::SchemaVersion { table: "location".into(), found: None, needed: 9 });
}

#[tokio::test]
async fn a_locked_database_is_busy_and_then_usable_again() {
    let directory = Directory::new();
    let store = directory.open_impatient().await;
    let impatient = WriterSettings { retries: vec![], ..WriterSettings::default() };
    let writer = LocationWriter::start(store.clone(), location(), impatient, &Handle::current());
    let mut other = directory.other().await;

    run(&mut other, "BEGIN IMMEDIATE").await;
    let locked_out = writer.submit(vec![put(full_binding("r1"))]).await.expect_err("locked");
    assert!(locked_out.is_unavailable(), "{locked_out}");
    // Reading goes on meanwhile.
    assert_eq!(store.domains().await, Ok(vec![]));
    run(&mut other, "ROLLBACK").await;

    writer.submit(vec![put(full_binding("r2"))]).await.expect("written");
    let both = [Ok(full_binding("r1")), Ok(full_binding("r2"))];
    assert_eq!(rows(&store, &location()).await, both, "what memory has and the database did not take is not forgotten");
}

#[tokio::test]
async fn a_removal_that_failed_is_done_before_its_repetition_is_acknowledged() {
    let directory = Directory::new();
    let store = directory.open_impatient().await;
    let impatient = WriterSettings { retries: vec![], ..WriterSettings::default() };
    let writer = LocationWriter::start(store.clone(), location(), impatient, &Handle::current());
    writer.submit(vec![put(full_binding("r1"))]).await.expect("written");
    assert_eq!(writer.behind(), 0);
    let mut other = directory.other().await;
    run(&mut other, "BEGIN IMMEDIATE").await;
    writer.submit(vec![Change::Delete { ruid: "r1".into() }]).await.expect_err("locked");
    assert_eq!(writer.behind(), 1);
    // The phone tries again; memory has nothing left to remove, and the row is still there.
    writer.submit(vec![]).await.expect_err("it is not on the disk yet");
    run(&mut other, "ROLLBACK").await;
    writer.submit(vec![]).await.expect("now it is");
    assert_eq!(writer.behind(), 0);
    assert_eq!(rows(&store, &location()).await, []);
}

#[tokio::test]
async fn the_writer_tries_again_while_the_database_is_locked() {
    let directory = Directory::new();
    let store = directory.open_impatient().await;
    let start = |retries| {
        let settings = WriterSettings { retries, ..WriterSettings::default() };
        LocationWriter::start(store.clone(), location(), settings, &Handle::current())
    };
    let (patient, impatient) = (start(vec![Duration::from_millis(10); 1000]), start(vec![]));
    let mut other = directory.other().await;
    run(&mut other, "BEGIN IMMEDIATE").await;
    let written = patient.submit(vec![put(full_binding("r1"))]);
    // Fails only after a whole deadline, in which the first attempt of the other has failed as well.
    impatient.submit(vec![]).await.expect_err("locked");
    run(&mut other, "ROLLBACK").await;
    written.await.expect("written");
    assert_eq!(rows(&store, &location()).await, [Ok(full_binding("r1"))]);
}

#[tokio::test]
async fn a_refused_submission_does_not_take_its_neighbours_with_it() {
    let directory = Directory::new();
    let store = directory.open().await.expect("opened");
    let mut other = directory.other().await;
    run(
        &mut other,
        "CREATE TRIGGER no_bob BEFORE INSERT ON location WHEN NEW.username = 'bob'
         BEGIN SELECT RAISE(ABORT, 'bob has left'); END",
    )
    .await;
    let writer = LocationWriter::start(store.clone(), location(), WriterSettings::default(), &Handle::current());
    let bob = StoredBinding { username: "bob".into(), ..full_binding("r2") };
    let before = writer.submit(vec![put(full_binding("r1"))]);
    let refused = writer.submit(vec![put(full_binding("r9")), put(bob)]);
    let after = writer.submit(vec![put(full_binding("r3"))]);
    assert_eq!(refused.await, Err(Error::Refused { detail: "bob has left".into() }));
    before.await.expect("written");
    after.await.expect("written");
    // Of the refused submission nothing stays.
    assert_eq!(rows(&store, &location()).await, [Ok(full_binding("r1")), Ok(full_binding("r3"))]);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_does_not_hide_the_others() {
    let directory = Directory::new();
    let store = directory.open().await.expect("opened");
    let mut other = directory.other().await;
    run(
        &mut other,
        "INSERT INTO location (id, ruid) VALUES (1, 'first');
         INSERT INTO location (id, ruid, q) VALUES (2, 'bad', 'much');
         INSERT INTO location (id, ruid, expires) VALUES (3, 'worse', 'tomorrow');
         INSERT INTO location (id, ruid) VALUES (4, 'last');",
    )
    .await;
    let rows = rows(&store, &location()).await;
    assert_eq!(rows[0].as_ref().expect("readable").ruid, "first");
    for (row, place) in [(&rows[1], "table location, row 2"), (&rows[2], "table location, row 3")] {
        let Err(Error::Corrupt { what }) = row else { panic!("{row:?}") };
        assert!(what.starts_with(place), "{what}");
    }
    assert_eq!(rows[3].as_ref().expect("readable").ruid, "last");
}

#[test]
fn kamailio_reads_back_the_second_that_was_written() {
    for second in (0..4_000_000_000_i64).step_by(39_989) {
        // What `TO_DAY` computes, and how Kamailio's db_sqlite turns a day into a time_t.
        let day = (second as f64 - 0.25) / 86400.0 + 2440587.5;
        assert_eq!((86400.0 * (day - 2440587.5) + 0.5) as i64, second);
    }
}

#[test]
fn result_codes_say_whose_fault_it_is() {
    let unavailable = [5, 6, 8, 10, 13, 14, 261, 778];
    assert!(unavailable.iter().all(|code| super::from_result_code(*code, "x").is_unavailable()));
    let corrupt = super::from_result_code(26, "file is not a database");
    assert_eq!(corrupt, Error::Corrupt { what: "file is not a database".into() });
    // SQLITE_CONSTRAINT_TRIGGER.
    assert_eq!(super::from_result_code(1811, "no"), Error::Refused { detail: "no".into() });
}

/// A database as `kamdbctl create` makes it: Debian's schema files, in its order.
async fn kamailio_database(directory: &Directory) -> SqliteConnection {
    let mut connection = directory.other().await;
    for part in ["standard", "auth_db", "usrloc", "registrar", "alias_db", "domain"] {
        let path = format!("/usr/share/kamailio/db_sqlite/{part}-create.sql");
        let statements = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{path}: {error}; install the package kamailio-sqlite-modules"));
        run(&mut connection, statements).await;
    }
    connection
}

#[tokio::test]
async fn a_database_of_kamailio_is_used_as_it_stands() {
    let directory = Directory::new();
    let mut kamailio = kamailio_database(&directory).await;
    // As `kamctl add alice@example.org wonderland` has it, and rows as usrloc writes them: a Julian day, half a
    // second early.
    run(
        &mut kamailio,
        "INSERT INTO subscriber (username, domain, password, ha1, ha1b)
             VALUES ('alice', 'example.org', 'wonderland', 'aa', 'bb');
         INSERT INTO dbaliases (alias_username, alias_domain, username, domain)
             VALUES ('sales', 'example.org', 'alice', 'example.org');
         INSERT INTO domain (domain) VALUES ('example.org');
         INSERT INTO location (ruid, username, contact, expires, last_modified, cseq, flags, q)
             VALUES ('uloc-1', 'alice', 'sip:alice@192.0.2.7', (1900000001 - 0.5) / 86400.0 + 2440587.5,
                 '2000-01-01 00:00:01', -2147483648, -1, -1);",
    )
    .await;
    let before = schema(&mut kamailio).await;

    let store = directory.open().await.expect("opened");
    let alice = store.credentials("alice", "example.org").await.expect("read").expect("found");
    assert_eq!((&*alice.ha1, &*alice.ha1b, alice.ha1_sha256), ("aa", "bb", None));
    assert_eq!(alice.password.as_deref(), Some("wonderland"));
    assert_eq!(store.alias_targets("sales", "example.org").await.expect("read")[0].username, "alice");
    assert_eq!(store.domains().await.expect("read")[0].domain, "example.org");
    let found = rows(&store, &location()).await.remove(0).expect("readable");
    assert_eq!((found.expires, found.last_modified), (1_900_000_001, 946_684_801));
    assert_eq!((found.cseq, found.flags, found.q), (2_147_483_648, u32::MAX, -1.0));

    let writer = LocationWriter::start(store.clone(), location(), WriterSettings::default(), &Handle::current());
    writer.submit(vec![put(full_binding("uloc-1"))]).await.expect("written");
    assert_eq!(rows(&store, &location()).await, [Ok(full_binding("uloc-1"))]);
    // Everything that was there is there unchanged; the table of our own was added.
    let after = schema(&mut kamailio).await;
    assert!(before.is_subset(&after));
    assert!(after.difference(&before).all(|entry| entry.contains("subscriber_sha256")));
}

#[tokio::test]
async fn our_tables_are_kamailios_tables() {
    let (ours, theirs) = (Directory::new(), Directory::new());
    ours.open().await.expect("opened").close().await;
    let (mut ours, mut theirs) = (ours.other().await, kamailio_database(&theirs).await);
    for table in ["version", "subscriber", "location", "aliases", "dbaliases", "domain"] {
        let columns = columns(&mut theirs, table).await;
        assert!(!columns.is_empty());
        assert_eq!(self::columns(&mut ours, table).await, columns, "{table}");
    }
    let versions = "SELECT table_name || ' ' || table_version FROM version ORDER BY 1";
    let of_ours: Vec<String> = sqlx::query_scalar(versions).fetch_all(&mut ours).await.expect("read");
    assert_eq!(
        of_ours,
        ["aliases 8", "dbaliases 1", "domain 2", "location 9", "subscriber 7", "subscriber_sha256 1", "version 1"]
    );
    let of_theirs: Vec<String> = sqlx::query_scalar(versions).fetch_all(&mut theirs).await.expect("read");
    assert!(of_ours.iter().filter(|row| !row.contains("sha256")).all(|row| of_theirs.contains(row)), "{of_theirs:?}");
}

#[tokio::test]
async fn a_password_changed_by_another_tool_outdates_the_sha256_digest() {
    let directory = Directory::new();
    let store = directory.open().await.expect("opened");
    store.add_subscriber("alice", "example.org", "old").await.expect("added");
    let mut kamctl = directory.other().await;
    run(&mut kamctl, "UPDATE subscriber SET password = 'new', ha1 = 'cc', ha1b = 'dd' WHERE username = 'alice'").await;
    let alice = store.credentials("alice", "example.org").await.expect("read").expect("found");
    assert_eq!((&*alice.ha1, alice.ha1_sha256), ("cc", None));
    // Our own change erases the text that the tool stored.
    store.set_password("alice", "example.org", "newest").await.expect("set");
    let alice = store.credentials("alice", "example.org").await.expect("read").expect("found");
    assert!(alice.ha1_sha256.is_some() && alice.password.is_none());
}

async fn schema(connection: &mut SqliteConnection) -> BTreeSet<String> {
    let entries: Vec<String> = sqlx::query_scalar("SELECT name || ': ' || coalesce(sql, tbl_name) FROM sqlite_master")
        .fetch_all(connection)
        .await
        .expect("read");
    entries.into_iter().collect()
}

/// Name, type, NOT NULL and default of each column. The length in `VARCHAR(n)` means nothing to SQLite.
async fn columns(connection: &mut SqliteConnection, table: &str) -> Vec<String> {
    let statement = format!("PRAGMA table_info({table})");
    let rows = sqlx::query(AssertSqlSafe(statement)).fetch_all(connection).await.expect("read");
    let line = |row: &sqlx::sqlite::SqliteRow| {
        let kind: String = row.get("type");
        let kind = kind.split('(').next().unwrap_or_default().to_owned();
        let default: Option<String> = row.get("dflt_value");
        format!("{} {kind} {} {default:?}", row.get::<String, _>("name"), row.get::<i64, _>("notnull"))
    };
    rows.iter().map(line).collect()
}

const CHILD_DATABASE: &str = "SER_STORE_TEST_DATABASE";

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let directory = Directory::new();
    let mut child = Command::new(std::env::current_exe().expect("this test's own file"))
        .args(["--exact", "sqlite::tests::child_that_registers_until_it_is_killed", "--ignored", "--nocapture"])
        .env(CHILD_DATABASE, directory.address())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("started");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map(|line| line.expect("a line"));
    let mut acknowledged: BTreeSet<String> = BTreeSet::new();
    let ruid = |line: String| line.split_once("acknowledged ").map(|(_, ruid)| ruid.to_owned());
    while acknowledged.len() < 1000 {
        acknowledged.extend(ruid(lines.next().expect("the child ended early")));
    }
    // SIGKILL, while 64 tasks go on registering.
    child.kill().expect("killed");
    child.wait().expect("ended");
    acknowledged.extend(lines.filter_map(ruid));

    let store = directory.open().await.expect("opened");
    let there: BTreeSet<String> =
        rows(&store, &location()).await.into_iter().map(|row| row.expect("readable").ruid).collect();
    let lost: Vec<_> = acknowledged.difference(&there).collect();
    assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), acknowledged.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs until killed; started by what_was_acknowledged_survives_kill_9"]
async fn child_that_registers_until_it_is_killed() {
    let address = std::env::var(CHILD_DATABASE).expect("named by the parent");
    let store = Store::open(&address).await.expect("opened");
    let writer = LocationWriter::start(store, location(), WriterSettings::default(), &Handle::current());
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let writer = writer.clone();
            tokio::spawn(async move {
                for n in 0.. {
                    let ruid = format!("r-{task}-{n}");
                    writer.submit(vec![put(full_binding(&ruid))]).await.expect("written");
                    // One write per line, which a pipe takes whole or not at all (PIPE_BUF).
                    let _ = std::io::stdout().write_all(format!("acknowledged {ruid}\n").as_bytes());
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("runs until killed");
    }
}
