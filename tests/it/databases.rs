//! The store's batteries on database servers.

use std::sync::Arc;
use std::time::Duration;

use store::{Cell, Database, Error, Settings, Store, TableName, Write, database_battery};

use crate::harness::{DatabaseKind, DatabaseServer};

const DEADLINE: Duration = Duration::from_secs(2);

fn on_runtime<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(work)
}

async fn open(server: &DatabaseServer) -> Database {
    let settings = Settings { deadline: DEADLINE, connections: 2 };
    Database::open(&server.url(), &settings, Arc::new(|_| {})).await.expect("the address is one")
}

fn check_battery(kind: DatabaseKind, name: &str) {
    let server = DatabaseServer::start(kind);
    on_runtime(async {
        let database = open(&server).await;
        database.query(database_battery::table_in_sql(name)).await.expect("the table is made");
        database_battery::run(&database).await;
    });
}

/// The store's own battery: subscribers, locations, aliases and domains.
fn check_store(kind: DatabaseKind, empty: &str) {
    let server = DatabaseServer::start(kind);
    on_runtime(store::battery::run_all(async || {
        server.sql(empty);
        let database = open(&server).await;
        database.make_schema().await.expect("the tables are made");
        database.close().await;
        Store::open(&server.url()).await.expect("it opens")
    }));
}

#[test]
fn a_store_in_postgresql_passes_the_battery() {
    check_store(DatabaseKind::Postgres, "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
}

#[test]
fn a_store_in_mariadb_passes_the_battery() {
    check_store(DatabaseKind::MariaDb, "DROP DATABASE ser; CREATE DATABASE ser CHARACTER SET utf8mb4");
}

#[test]
fn postgresql_passes_the_battery() {
    check_battery(DatabaseKind::Postgres, "postgres");
}

#[test]
fn mariadb_passes_the_battery() {
    check_battery(DatabaseKind::MariaDb, "mysql");
}

fn insert(value: &str) -> Write {
    let name = |text| TableName::new(text).expect("a literal name");
    Write::Insert { table: name("t"), row: vec![(name("v"), Cell::from(value))] }
}

/// Tries until it is as wanted: the breaker leaves a database alone for a while.
async fn wait_for(mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !is_so().await {
        assert!(tokio::time::Instant::now() < deadline, "it does not come to that");
        tokio::task::yield_now().await;
    }
}

fn check_restart(kind: DatabaseKind) {
    let mut server = DatabaseServer::start(kind);
    server.sql("CREATE TABLE t (v VARCHAR(10) NOT NULL)");
    on_runtime(async {
        let database = open(&server).await;
        database.write(&[insert("before")]).await.expect("it is there");
        server.kill();
        let away = database.write(&[insert("meanwhile")]).await;
        assert!(matches!(&away, Err(error) if error.is_unavailable()), "{away:?}");
        server.start_again();
        wait_for(async || database.write(&[insert("after")]).await.is_ok()).await;
        assert_eq!(server.sql("SELECT v FROM t ORDER BY v"), ["after", "before"]);
        // A value that no column holds is an answer, and the connection goes on.
        let refused = database.write(&[insert("longer than ten")]).await;
        assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
        database.write(&[insert("again")]).await.expect("it is there");
    });
}

#[test]
fn postgresql_that_was_killed_is_found_again() {
    check_restart(DatabaseKind::Postgres);
}

#[test]
fn mariadb_that_was_killed_is_found_again() {
    check_restart(DatabaseKind::MariaDb);
}

#[test]
fn a_database_that_hangs_costs_a_deadline_and_soon_nothing() {
    // MariaDB is one process, so that stopping it stops all of it.
    let server = DatabaseServer::start(DatabaseKind::MariaDb);
    server.sql("CREATE TABLE t (v VARCHAR(10) NOT NULL)");
    on_runtime(async {
        let database = open(&server).await;
        database.write(&[insert("before")]).await.expect("it is there");
        server.hang();
        let begin = tokio::time::Instant::now();
        for _ in 0..3 {
            let outcome = database.write(&[insert("x")]).await;
            assert!(matches!(&outcome, Err(error) if error.is_unavailable()), "{outcome:?}");
        }
        assert!(begin.elapsed() < DEADLINE * 4, "{:?}", begin.elapsed());
        let begin = tokio::time::Instant::now();
        assert!(database.write(&[insert("x")]).await.is_err());
        assert!(begin.elapsed() < DEADLINE / 4, "it is left alone now: {:?}", begin.elapsed());
    });
}
