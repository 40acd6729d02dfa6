//! A spool and a database that comes and goes.

use std::path::Path;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use super::*;
use crate::{Database, Select, Settings};

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("ser-spool-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a directory can be made");
        Scratch(path)
    }

    fn spools(&self) -> PathBuf {
        self.0.join("acc")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn name(text: &str) -> TableName {
    TableName::new(text).expect("a literal name")
}

fn quiet() -> Arc<dyn Fn(&str) + Send + Sync> {
    Arc::new(|_| {})
}

/// A database in a file, with a table `acc` where it is wanted.
async fn database(path: &Path, has_table: bool) -> Database {
    let settings = Settings { deadline: Duration::from_secs(2), connections: 1 };
    let database = Database::open(&path.join("acc.db").to_string_lossy(), &settings, quiet()).await.expect("it opens");
    if has_table {
        make_acc(&database).await;
    }
    database
}

async fn make_acc(database: &Database) {
    let made = database.query("CREATE TABLE acc (callid VARCHAR(64) NOT NULL CHECK (callid <> 'poison'))").await;
    made.expect("the table is made");
}

fn append(spool: &Spool, numbers: std::ops::Range<u32>) {
    for n in numbers {
        spool.append(&name("acc"), &[(name("callid"), Cell::from(format!("call-{n}")))]).expect("there is room");
    }
}

async fn delivered(database: &Database) -> Vec<String> {
    let (table, columns) = (name("acc"), vec![name("callid")]);
    let select = Select { table, columns, filter: vec![], order: vec![], limit: 1_000_000 };
    let rows = database.select(&select).await.expect("it can be read").rows;
    rows.iter().filter_map(|row| row[0].to_text()).collect()
}

fn calls(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|n| format!("call-{n}")).collect()
}

#[tokio::test]
async fn rows_arrive_in_order_and_the_spool_goes_when_its_writer_has_gone() {
    let scratch = Scratch::new();
    let database = database(&scratch.0, true).await;
    let (spool, drain) = Spool::create(&scratch.spools(), "db", 1 << 20).expect("it is made");
    append(&spool, 0..1000);
    drop(spool);
    drain.run(database.clone(), vec![], quiet()).await;
    assert_eq!(delivered(&database).await, calls(0..1000));
    assert_eq!(fs::read_dir(scratch.spools()).expect("the root is there").count(), 0);
    let left = database.query("SELECT * FROM ser_spool").await.expect("the table is there");
    assert_eq!(left.rows.len(), 0);
}

#[tokio::test]
async fn what_a_killed_process_left_is_delivered_once_wherever_it_was_killed() {
    // The process dies after each of these many rows were delivered, and in the middle of writing one.
    for done in [0, 1, 7, 20] {
        let scratch = Scratch::new();
        let database = database(&scratch.0, true).await;
        let (spool, drain) = Spool::create(&scratch.spools(), "db", 1 << 20).expect("it is made");
        append(&spool, 0..done);
        if done > 0 {
            let running = tokio::spawn(drain.run(database.clone(), vec![], quiet()));
            while delivered(&database).await.len() < done as usize {
                tokio::task::yield_now().await;
            }
            running.abort();
            assert!(running.await.is_err(), "it was killed");
        } else {
            drop(drain);
        }
        append(&spool, done..20);
        let half = b"[\"acc\",[[\"callid\",\"call-half";
        spool.0.writer.lock().expect("nobody else has it").append(half, 1 << 20).expect("there is room");
        let Orphans { drains, strangers } = orphans(&scratch.spools(), "db").expect("the root can be read");
        assert_eq!((drains.len(), strangers.len()), (1, 0));
        for drain in drains {
            drain.run(database.clone(), vec![], quiet()).await;
        }
        assert_eq!(delivered(&database).await, calls(0..20), "killed after {done}");
    }
}

#[tokio::test]
async fn rows_for_another_database_are_left_to_it() {
    let scratch = Scratch::new();
    let (spool, drain) = Spool::create(&scratch.spools(), "mysql://***@old/ser", 1 << 20).expect("it is made");
    append(&spool, 0..1);
    assert_eq!(
        orphans(&scratch.spools(), "mysql://***@old/ser").expect("it is read").drains.len(),
        0,
        "its drain lives"
    );
    drop(drain);
    let Orphans { drains, strangers } = orphans(&scratch.spools(), "mysql://***@new/ser").expect("it is read");
    assert_eq!((drains.len(), strangers.len()), (0, 1));
    assert_eq!(strangers[0].1, "mysql://***@old/ser");
}

#[tokio::test]
async fn everything_waits_for_a_table_that_is_missing() {
    let scratch = Scratch::new();
    let database = database(&scratch.0, false).await;
    let (spool, drain) = Spool::create(&scratch.spools(), "db", 1 << 20).expect("it is made");
    append(&spool, 0..3);
    let (told, hears) = tokio::sync::mpsc::unbounded_channel();
    let report = Arc::new(move |line: &str| told.send(line.to_owned()).expect("somebody listens"));
    let running = tokio::spawn(drain.run(database.clone(), vec![name("acc")], report));
    let mut hears = hears;
    let line = hears.recv().await.expect("it is told");
    assert!(line.contains("rows wait in"), "{line}");
    make_acc(&database).await;
    append(&spool, 3..5);
    drop(spool);
    running.await.expect("it ends by itself");
    assert_eq!(delivered(&database).await, calls(0..5));
    assert!(hears.recv().await.is_none(), "it was told once");
}

#[tokio::test]
async fn a_row_that_is_refused_is_kept_and_takes_no_other_with_it() {
    let scratch = Scratch::new();
    let database = database(&scratch.0, true).await;
    let (spool, drain) = Spool::create(&scratch.spools(), "db", 1 << 20).expect("it is made");
    append(&spool, 0..2);
    spool.append(&name("acc"), &[(name("callid"), Cell::from("poison"))]).expect("there is room");
    spool.append(&name("elsewhere"), &[(name("callid"), Cell::from("x"))]).expect("there is room");
    append(&spool, 2..4);
    drop(spool);
    drain.run(database.clone(), vec![name("acc")], quiet()).await;
    assert_eq!(delivered(&database).await, calls(0..4));
    let kept = fs::read_to_string(scratch.spools().join("refused.jsonl")).expect("it is kept");
    assert_eq!(kept, "[\"acc\",[[\"callid\",\"poison\"]]]\n[\"elsewhere\",[[\"callid\",\"x\"]]]\n");
}

#[test]
fn a_spool_at_its_bound_says_so() {
    let scratch = Scratch::new();
    let (spool, _drain) = Spool::create(&scratch.spools(), "db", 100).expect("it is made");
    append(&spool, 0..2);
    let row = [(name("callid"), Cell::from("a call that is one too many for one hundred octets"))];
    assert_eq!(spool.append(&name("acc"), &row), Err(Full));
    assert_eq!(spool.counts(), (2, 1));
}

#[tokio::test]
async fn files_that_are_delivered_are_given_back() {
    let scratch = Scratch::new();
    let database = database(&scratch.0, true).await;
    let (spool, drain) = Spool::create(&scratch.spools(), "db", 1 << 30).expect("it is made");
    // The bound of a segment is made small by making one row large.
    let long = Cell::from("x".repeat(300_000));
    for _ in 0..60 {
        spool.append(&name("acc"), &[(name("callid"), long.clone())]).expect("there is room");
    }
    assert!(spool.0.writer.lock().expect("nobody else has it").base > 0, "a second file was begun");
    drop(spool);
    drain.run(database.clone(), vec![], quiet()).await;
    assert_eq!(delivered(&database).await.len(), 60);
}
