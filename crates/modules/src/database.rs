//! Databases of modules: opened as `db_url` says, their tables looked at before they are used.

use std::sync::Arc;

use module_api::{Level, Setup, SetupError};
use store::{ColumnName, Database, Error, Kind, Report, Select, Settings, TableName};

/// Opens the database that the setting `name` names; by default that which modules share.
///
/// A server that is away keeps nobody from starting.
///
/// # Errors
/// When the address is none, or a file cannot be opened.
pub(crate) fn open(setup: &Setup<'_>, name: &'static str) -> Result<Database, SetupError> {
    open_at(setup, name, &setup.text(name))
}

/// As [`open`], at an address that is part of the setting.
pub(crate) fn open_at(setup: &Setup<'_>, name: &'static str, address: &str) -> Result<Database, SetupError> {
    open_with(setup, name, address, &Settings::default())
}

/// As [`open_at`], with bounds of its own.
pub(crate) fn open_with(
    setup: &Setup<'_>,
    name: &'static str,
    address: &str,
    settings: &Settings,
) -> Result<Database, SetupError> {
    let address = match address {
        "" => crate::usrloc::default_database(setup.data_dir),
        address => address.to_owned(),
    };
    let log = Arc::clone(setup.log);
    let report: Report = Arc::new(move |line| log(Level::Error, line));
    let mut opened = None;
    (setup.block_on)(Box::pin(async {
        opened = Some(Database::open(&address, settings, report).await);
    }));
    let opened = opened.ok_or_else(|| SetupError::Unavailable("the runtime is not there".into()))?;
    opened.map_err(|error| SetupError::Setting { name, cause: error.to_string() })
}

/// The name of a table or column that a setting gives.
pub(crate) fn column(setup: &Setup<'_>, name: &'static str) -> Result<ColumnName, SetupError> {
    named(name, &setup.text(name))
}

/// A name of a table or column out of setting `setting`.
pub(crate) fn named(setting: &'static str, name: &str) -> Result<ColumnName, SetupError> {
    ColumnName::new(name).map_err(|error| SetupError::Setting { name: setting, cause: error.to_string() })
}

/// As [`ensure_table`], while a module starts. A server that is away is mentioned in the log and keeps nobody from
/// starting.
pub(crate) fn check_at_start(
    setup: &Setup<'_>,
    database: &Database,
    table: &TableName,
    columns: &[ColumnName],
    versions: &[i64],
) -> Result<(), SetupError> {
    let mut outcome = Ok(());
    (setup.block_on)(Box::pin(async {
        outcome = ensure_table(database, table, columns, Some(versions)).await;
    }));
    match outcome {
        Err(error) if error.is_unavailable() => {
            (setup.log)(Level::Warning, &format!("database {}: {error}", database.address()));
            Ok(())
        }
        Err(error) => Err(SetupError::Unavailable(unfit(database, &error))),
        Ok(()) => Ok(()),
    }
}

/// What is wrong with a database's tables, and the cure.
pub(crate) fn unfit(database: &Database, error: &Error) -> String {
    format!("database {}: {error}; its tables must be Kamailio's, as `kamdbctl create` makes them", database.address())
}

/// Checks that a table has these columns and one of these versions. In a file of SQLite, which is ours, a table and
/// columns that are missing are made.
pub(crate) async fn ensure_table(
    database: &Database,
    table: &TableName,
    columns: &[ColumnName],
    versions: Option<&[i64]>,
) -> Result<(), Error> {
    if database.kind() == Kind::Sqlite {
        make_missing(database, table, columns, versions).await?;
    }
    let columns = columns.to_vec();
    database.select(&Select { table: table.clone(), columns, filter: vec![], order: vec![], limit: 1 }).await?;
    let Some(versions) = versions else { return Ok(()) };
    match database.version(table).await? {
        Some(version) if versions.contains(&version) => Ok(()),
        found => Err(Error::SchemaVersion {
            table: table.to_string(),
            found,
            needed: versions.first().copied().unwrap_or_default(),
        }),
    }
}

async fn make_missing(
    database: &Database,
    table: &TableName,
    columns: &[ColumnName],
    versions: Option<&[i64]>,
) -> Result<(), Error> {
    let found = database.query(&format!("SELECT name FROM pragma_table_info('{table}')")).await?;
    let has = |column: &ColumnName| {
        found.rows.iter().any(|row| row[0].to_text().is_some_and(|name| name.eq_ignore_ascii_case(column.as_str())))
    };
    let mut statements = Vec::new();
    if found.rows.is_empty() {
        let rest: String = columns.iter().map(|column| format!(", {}", definition(column))).collect();
        statements.push(format!("CREATE TABLE {table} (id INTEGER PRIMARY KEY NOT NULL{rest})"));
        if let Some(version) = versions.and_then(|versions| versions.first()) {
            statements.push(
                "CREATE TABLE IF NOT EXISTS version (id INTEGER PRIMARY KEY NOT NULL, table_name VARCHAR(32) NOT NULL, \
                 table_version INTEGER DEFAULT 0 NOT NULL, CONSTRAINT version_table_name_idx UNIQUE (table_name))"
                    .to_owned(),
            );
            statements.push(format!(
                "INSERT OR REPLACE INTO version (table_name, table_version) VALUES ('{table}', {version})"
            ));
        }
    } else {
        let missing = columns.iter().filter(|column| !has(column));
        statements.extend(missing.map(|column| format!("ALTER TABLE {table} ADD COLUMN {}", definition(column))));
    }
    for statement in statements {
        database.query(&statement).await?;
    }
    Ok(())
}

/// SQLite holds any value in any column; the type says what is meant.
fn definition(column: &ColumnName) -> String {
    match column.as_str() {
        "time" => format!("{column} TIMESTAMP WITHOUT TIME ZONE DEFAULT '2000-01-01 00:00:00' NOT NULL"),
        _ => format!("{column} VARCHAR(255) DEFAULT '' NOT NULL"),
    }
}
