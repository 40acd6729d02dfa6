//! What every kind of database must do alike. Each backend's tests run it: files here, servers where they are started.

use super::{Cell, ColumnName, Comparison, Condition, Database, Select, Write};
use crate::{Error, TableName};

/// What the battery's table is made with, in each kind of SQL.
pub fn table_in_sql(kind: &str) -> &'static str {
    match kind {
        "sqlite" => {
            "CREATE TABLE things (id INTEGER PRIMARY KEY, name VARCHAR(64) DEFAULT '' NOT NULL, domain VARCHAR(64), \
             number INTEGER DEFAULT 0 NOT NULL, rate REAL DEFAULT 1.0, moment TIMESTAMP)"
        }
        "postgres" => {
            "CREATE TABLE things (id SERIAL PRIMARY KEY, name VARCHAR(64) DEFAULT '' NOT NULL, domain VARCHAR(64), \
             number INTEGER DEFAULT 0 NOT NULL, rate DOUBLE PRECISION DEFAULT 1.0, moment TIMESTAMP WITHOUT TIME ZONE)"
        }
        _ => {
            "CREATE TABLE things (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(64) DEFAULT '' NOT NULL, \
             domain VARCHAR(64), number INT DEFAULT 0 NOT NULL, rate DOUBLE DEFAULT 1.0, moment DATETIME) \
             CHARACTER SET utf8mb4"
        }
    }
}

/// The same table as a text file.
pub const TABLE_IN_TEXT: &str =
    "id(int,auto) name(string) domain(string,null) number(int) rate(double,null) moment(string,null)\n";

/// Runs all of it on an empty table `things`.
///
/// # Panics
/// When the database does something else than the others.
pub async fn run(database: &Database) {
    rows_come_back_as_they_were_written(database).await;
    hostile_values_are_values(database).await;
    filters_orders_and_limits(database).await;
    a_change_that_matches_nothing_takes_all_back(database).await;
    updates_and_deletions_are_counted(database).await;
    what_is_not_there_is_said(database).await;
}

fn name(text: &str) -> TableName {
    TableName::new(text).expect("a literal name")
}

fn insert(values: &[(&str, Cell)]) -> Write {
    let row = values.iter().map(|(column, value)| (name(column), value.clone())).collect();
    Write::Insert { table: name("things"), row }
}

fn select(columns: &[&str], filter: Vec<Condition>) -> Select {
    let columns = columns.iter().map(|column| name(column)).collect();
    Select { table: name("things"), columns, filter, order: vec![name("id")], limit: 100 }
}

fn is(column: &str, value: impl Into<Cell>) -> Condition {
    Condition::equal(&name(column), value)
}

async fn rows(database: &Database, select: &Select) -> Vec<Vec<Cell>> {
    database.select(select).await.expect("it can be read").rows
}

async fn write(database: &Database, writes: &[Write]) -> Vec<u64> {
    database.write(writes).await.expect("it can be written")
}

async fn clear(database: &Database) {
    let filter = vec![Condition { column: name("id"), is: Comparison::Greater, value: Cell::Int(0) }];
    write(database, &[Write::Delete { table: name("things"), filter }]).await;
}

async fn rows_come_back_as_they_were_written(database: &Database) {
    let first = insert(&[
        ("name", "alice".into()),
        ("domain", Cell::Null),
        ("number", Cell::Int(-7)),
        ("rate", Cell::Real(0.25)),
        ("moment", Cell::Time(1_767_225_600)),
    ]);
    assert_eq!(write(database, &[first, insert(&[("name", "bob".into())])]).await, [1, 1]);
    let found =
        rows(database, &select(&["name", "domain", "number", "rate", "moment"], vec![is("name", "alice")])).await;
    let expected = ["alice".into(), Cell::Null, Cell::Int(-7), Cell::Real(0.25), "2026-01-01 00:00:00".into()];
    assert_eq!(found, [expected]);
    let found = rows(database, &select(&["name", "number"], vec![is("name", "bob")])).await;
    assert_eq!(found, [["bob".into(), Cell::Int(0)]], "columns that are not named have their defaults");
    clear(database).await;
}

async fn hostile_values_are_values(database: &Database) {
    let hostile = [
        "'; DROP TABLE things; --",
        "\"x\" OR 1=1",
        "a\\' b",
        "co:lon\nand line",
        "50%_",
        "jörg \u{1f4de}",
        "$1 ? {}",
        " ",
    ];
    for value in hostile {
        write(database, &[insert(&[("name", value.into())])]).await;
        let found = rows(database, &select(&["name"], vec![is("name", value)])).await;
        assert_eq!(found, [[Cell::from(value)]]);
    }
    assert_eq!(rows(database, &select(&["name"], vec![])).await.len(), hostile.len());
    clear(database).await;
}

async fn filters_orders_and_limits(database: &Database) {
    for (text, domain, number) in [("a", Some("Example.COM"), 3), ("b", None, 2), ("c", Some("example.org"), 1)] {
        let domain = domain.map_or(Cell::Null, Cell::from);
        write(database, &[insert(&[("name", text.into()), ("domain", domain), ("number", Cell::Int(number))])]).await;
    }
    let names = async |filter: Vec<Condition>, order: &str, limit: u32| {
        let select = Select { order: vec![name(order)], limit, ..select(&["name"], filter) };
        rows(database, &select).await.iter().filter_map(|row| row[0].to_text()).collect::<String>()
    };
    let compare = |is, number| vec![Condition { column: name("number"), is, value: Cell::Int(number) }];
    assert_eq!(names(vec![], "number", 2).await, "cb");
    assert_eq!(names(compare(Comparison::Greater, 1), "id", 9).await, "ab");
    assert_eq!(names(compare(Comparison::Less, 2), "id", 9).await, "c");
    assert_eq!(names(compare(Comparison::NotEqual, 2), "id", 9).await, "ac");
    assert_eq!(names(vec![is("domain", Cell::Null)], "id", 9).await, "b");
    assert_eq!(names(vec![Condition::equal_folded(&name("domain"), "eXample.com")], "id", 9).await, "a");
    assert_eq!(names(vec![is("number", 3), is("name", "b")], "id", 9).await, "");
    clear(database).await;
}

async fn a_change_that_matches_nothing_takes_all_back(database: &Database) {
    let absent = Write::Update {
        table: name("things"),
        set: vec![(name("number"), Cell::Int(1))],
        filter: vec![is("name", "nobody")],
        must_match: true,
    };
    let outcome = database.write(&[insert(&[("name", "early".into())]), absent]).await;
    assert_eq!(outcome, Err(Error::Stale));
    assert_eq!(rows(database, &select(&["name"], vec![])).await, Vec::<Vec<Cell>>::new());
}

async fn updates_and_deletions_are_counted(database: &Database) {
    let three = ["x", "x", "y"].map(|text| insert(&[("name", text.into())]));
    write(database, &three).await;
    let set = vec![(name("number"), Cell::Int(5)), (name("domain"), Cell::from("d"))];
    let update = Write::Update { table: name("things"), set, filter: vec![is("name", "x")], must_match: true };
    // The same again: a row that already is as it shall be counts too.
    assert_eq!(write(database, &[update.clone(), update]).await, [2, 2]);
    assert_eq!(
        rows(database, &select(&["number", "domain"], vec![is("name", "y")])).await,
        [[Cell::Int(0), Cell::Null]]
    );
    let delete = Write::Delete { table: name("things"), filter: vec![is("number", 5)] };
    assert_eq!(write(database, std::slice::from_ref(&delete)).await, [2]);
    assert_eq!(write(database, &[delete]).await, [0]);
    clear(database).await;
}

async fn what_is_not_there_is_said(database: &Database) {
    let column = database.select(&select(&["colour"], vec![])).await;
    assert!(matches!(column, Err(Error::Misfit { .. })), "{column:?}");
    let table = Select { table: name("nothing"), ..select(&["id"], vec![]) };
    let table = database.select(&table).await;
    assert!(matches!(table, Err(Error::Misfit { .. })), "{table:?}");
    let version = ColumnName::new("things").expect("a literal name");
    assert!(matches!(database.version(&version).await, Err(Error::Misfit { .. })), "there is no table of versions");
}
