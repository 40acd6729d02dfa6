//! The battery on databases that need no server.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::battery::{self, TABLE_IN_TEXT, table_in_sql};
use super::*;

/// A directory that goes with its test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("ser-database-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a directory can be made");
        Scratch(path)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).expect("a file can be written");
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).expect("the file is there")
    }

    async fn text(&self) -> Database {
        open(&format!("text://{}", self.0.display())).await
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn open(address: &str) -> Database {
    Database::open(address, &Settings::default(), Arc::new(|_| {})).await.expect("it opens")
}

#[tokio::test]
async fn sqlite_passes_the_battery() {
    let database = open(":memory:").await;
    database.query(table_in_sql("sqlite")).await.expect("the table is made");
    battery::run(&database).await;
}

#[tokio::test]
async fn text_files_pass_the_battery() {
    let scratch = Scratch::new();
    scratch.write("things", TABLE_IN_TEXT);
    battery::run(&scratch.text().await).await;
    assert_eq!(scratch.read("things"), TABLE_IN_TEXT, "all rows are gone, and the first line is as it was");
}

#[tokio::test]
async fn a_statement_of_the_script_brings_columns_rows_and_counts() {
    let database = open(":memory:").await;
    database.query(table_in_sql("sqlite")).await.expect("the table is made");
    let done = database.query("INSERT INTO things (name) VALUES ('a'), ('b')").await.expect("they are inserted");
    assert_eq!((done.affected, done.rows.len()), (2, 0));
    let found = database.query("SELECT name, count(*) AS n FROM things GROUP BY name").await.expect("it is a query");
    assert_eq!(found.columns, ["name", "n"]);
    assert_eq!(found.rows, [["a".into(), Cell::Int(1)], ["b".into(), Cell::Int(1)]]);
    let refused = database.query("SELEKT").await;
    assert!(matches!(refused, Err(Error::Misfit { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_table_that_an_editor_changes_is_read_again() {
    let scratch = Scratch::new();
    scratch.write("version", "table_name(string) table_version(int)\nacc:5\n");
    let database = scratch.text().await;
    let acc = TableName::new("acc").expect("a literal name");
    assert_eq!(database.version(&acc).await, Ok(Some(5)));
    scratch.write("version", "table_name(string) table_version(int)\nsubscriber:7\nacc:4\n");
    assert_eq!(database.version(&acc).await, Ok(Some(4)));
}

#[tokio::test]
async fn a_change_of_two_tables_that_a_crash_cut_short_is_finished() {
    let scratch = Scratch::new();
    for table in ["one", "two"] {
        scratch.write(table, "v(int)\n1\n");
    }
    // As a crash leaves it: the first of the two has taken its place, the second has not.
    scratch.write("one", "v(int)\n2\n");
    scratch.write("two.new", "v(int)\n2\n");
    scratch.write(".journal", "one\ntwo");
    // A crash before the journal leaves successors that nobody asked for.
    scratch.write("three", "v(int)\n1\n");
    scratch.write("three.new", "v(int)\n2\n");
    let database = scratch.text().await;
    assert_eq!(scratch.read("one"), "v(int)\n2\n");
    assert_eq!(scratch.read("two"), "v(int)\n2\n");
    assert_eq!(scratch.read("three"), "v(int)\n1\n");
    assert!(!scratch.0.join(".journal").exists());
    drop(database);
}
