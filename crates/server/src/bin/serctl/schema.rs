//! Tables of a database as a whole: made, upgraded, filled, looked at.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use store::{Database, Error, How, Made, SCHEMA, Select, Settings, TableName};

use crate::arguments::DbCommand;
use crate::show::print;

/// Opens the database at `address`, for work that may take longer than a call would wait.
///
/// # Errors
/// When it cannot be opened.
pub(crate) async fn open(address: &str) -> Result<Database> {
    let settings = Settings { deadline: std::time::Duration::from_secs(600), connections: 1 };
    // What goes wrong is said by the answer itself.
    let opened = Database::open(address, &settings, Arc::new(|_| {})).await;
    opened.context("cannot open the database")
}

/// Does what a verb asks of the tables at `address`.
///
/// # Errors
/// What keeps it from being done.
pub(crate) async fn execute(address: &str, command: &DbCommand, json: bool) -> Result<()> {
    let database = open(address).await?;
    let done = of_command(&database, command, json).await;
    database.close().await;
    done
}

async fn of_command(database: &Database, command: &DbCommand, json: bool) -> Result<()> {
    let failed = || format!("database {}", database.address());
    match command {
        DbCommand::Create => tell_made(&database.make_schema().await.map_err(explained).with_context(failed)?, json),
        DbCommand::Upgrade => {
            tell_made(&database.upgrade_schema().await.map_err(explained).with_context(failed)?, json)
        }
        DbCommand::Import { from } => import(database, from, json).await.with_context(failed),
        DbCommand::Show { table: None } => show_tables(database, json).await.with_context(failed),
        DbCommand::Show { table: Some(table) } => show_rows(database, table, json).await.with_context(failed),
    }
}

/// What an operator can do about it.
fn explained(error: Error) -> anyhow::Error {
    let is_absent = matches!(&error, Error::Unavailable(cause) if cause.to_string().contains("nknown database")
        || cause.to_string().contains("does not exist"));
    let error = anyhow::Error::from(error);
    match is_absent {
        true => error.context("make the database itself first: CREATE DATABASE, or createdb"),
        false => error,
    }
}

fn tell_made(made: &[Made], json: bool) -> Result<()> {
    let word = |how| match how {
        How::New => "made".to_owned(),
        How::Kept => "is there".to_owned(),
        How::Versioned => "is there; its version is written down".to_owned(),
        How::Upgraded(from) => format!("upgraded from version {from}"),
        How::Other(found) => format!("has version {found}"),
    };
    let rows: Vec<Vec<String>> = made.iter().map(|made| vec![made.table.clone(), word(made.how)]).collect();
    print(&["table", "what"], &rows, json)?;
    for made in made {
        let Some(needed) = SCHEMA.iter().find(|table| table.name == made.table).map(|table| table.version) else {
            continue;
        };
        match made.how {
            How::Other(found) if found < needed => {
                bail!(
                    "table {} has version {found}, version {needed} is needed; `serctl db upgrade` brings it there",
                    made.table
                )
            }
            How::Other(found) => {
                bail!(
                    "table {} has version {found}, which is newer than {needed}, the one that is known here",
                    made.table
                )
            }
            _ => {}
        }
    }
    Ok(())
}

async fn import(database: &Database, from: &str, json: bool) -> Result<()> {
    let source = open(from).await?;
    database.make_schema().await.map_err(explained)?;
    let done = database.import(&source).await;
    source.close().await;
    let shown = |count: Option<u64>| count.map_or("not empty here; left alone".to_owned(), |count| count.to_string());
    let rows: Vec<Vec<String>> = done?.into_iter().map(|(table, count)| vec![table, shown(count)]).collect();
    print(&["table", "rows copied"], &rows, json)
}

async fn show_tables(database: &Database, json: bool) -> Result<()> {
    let mut rows = Vec::new();
    for table in &SCHEMA {
        let name = TableName::new(table.name)?;
        let is_there = match table.column_names().first() {
            Some(column) => database.has_column(&name, column).await?,
            None => false,
        };
        let version = match database.version(&name).await {
            Err(Error::Misfit { .. }) => None,
            version => version?,
        };
        let verdict = match (is_there, version) {
            (false, _) => "absent",
            (true, Some(found)) if found == table.version => "good",
            (true, Some(found)) if found > table.version => "newer than known here",
            (true, _) => "old; see `serctl db upgrade`",
        };
        let version = version.map(|version| version.to_string()).unwrap_or_default();
        rows.push(vec![table.name.to_owned(), version, table.version.to_string(), verdict.to_owned()]);
    }
    print(&["table", "version", "needed", "state"], &rows, json)
}

/// More rows than anybody reads.
const MOST_ROWS: u32 = 10_000;

async fn show_rows(database: &Database, table: &str, json: bool) -> Result<()> {
    let Some(entry) = SCHEMA.iter().find(|entry| entry.name == table) else {
        let names: Vec<&str> = SCHEMA.iter().map(|entry| entry.name).collect();
        bail!("there is no table {table}; there are {}", names.join(", "));
    };
    let columns = entry.column_names();
    let select = Select {
        table: TableName::new(table)?,
        columns: columns.clone(),
        filter: vec![],
        order: vec![],
        limit: MOST_ROWS + 1,
    };
    let mut rows = database.select(&select).await?.rows;
    let is_cut = rows.len() > MOST_ROWS as usize;
    rows.truncate(MOST_ROWS as usize);
    // A password is nobody's business, whoever looks over the operator's shoulder.
    let is_secret = |name: &str| ["password", "ha1", "ha1b", "auth_password", "auth_ha1"].contains(&name);
    let shown = |row: Vec<store::Cell>| {
        let cells = row.iter().zip(&columns);
        cells
            .map(|(cell, column)| match (is_secret(column.as_str()), cell.to_text()) {
                (true, Some(text)) if !text.is_empty() => "***".to_owned(),
                (_, text) => text.unwrap_or_default(),
            })
            .collect()
    };
    let rows: Vec<Vec<String>> = rows.into_iter().map(shown).collect();
    let names: Vec<&str> = columns.iter().map(|column| column.as_str()).collect();
    print(&names, &rows, json)?;
    if is_cut {
        eprintln!("serctl: there are more than {MOST_ROWS} rows; the rest is left out");
    }
    Ok(())
}
