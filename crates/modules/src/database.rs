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
        let own = columns.iter().filter(|column| !column.as_str().eq_ignore_ascii_case("id"));
        let rest: String = own.map(|column| format!(", {}", definition(column))).collect();
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

/// A statement of a script as this kind of database reads it.
///
/// `{s.escape.common}` writes `\'` for a quote, which is MySQL's way. To the others a backslash is a letter: the quote would
/// end the text, and its sender go on in SQL. In texts of theirs `\'` becomes `''`, and `\\` one backslash.
pub(crate) fn portable(kind: Kind, statement: &str) -> std::borrow::Cow<'_, str> {
    if kind == Kind::MySql || !statement.contains('\\') {
        return statement.into();
    }
    let mut out = String::with_capacity(statement.len() + 8);
    let mut rest = statement;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' => quoted(rest, &mut out),
            '"' | '`' => 1 + rest[1..].find(first).map_or(rest.len() - 1, |end| end + 1),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            _ => first.len_utf8(),
        };
        if first != '\'' {
            out.push_str(&rest[..length]);
        }
        rest = &rest[length..];
    }
    out.into()
}

/// Copies a text in quotes; returns its length before.
fn quoted(text: &str, out: &mut String) -> usize {
    // PostgreSQL reads E'...' as MySQL reads all.
    let mut letters = out.chars().rev();
    let is_escaped =
        matches!(letters.next(), Some('E' | 'e')) && !letters.next().is_some_and(|c| c.is_alphanumeric() || c == '_');
    out.push('\'');
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match (c, chars.peek().map(|(_, next)| *next)) {
            ('\\', Some(next)) if is_escaped => {
                out.extend([c, next]);
                chars.next();
            }
            ('\\', Some('\'')) => {
                out.push_str("''");
                chars.next();
            }
            ('\\', Some(next @ ('\\' | '"'))) => {
                out.push(next);
                chars.next();
            }
            ('\'', Some('\'')) => {
                out.push_str("''");
                chars.next();
            }
            ('\'', _) => {
                out.push('\'');
                return at + 1;
            }
            (c, _) => out.push(c),
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_quote_ends_no_text_in_any_database() {
        for (statement, expected) in [
            (r"select 1 where a = 'x\' OR 1=1 --'", r"select 1 where a = 'x'' OR 1=1 --'"),
            (r"select 'a\\b', 'c\dd', 'e\\'", r"select 'a\b', 'c\dd', 'e\'"),
            (r"select E'it\'s', 'it\'s'", r"select E'it\'s', 'it''s'"),
            ("select 'it''s' -- it's\n, 'x\\'y'", "select 'it''s' -- it's\n, 'x''y'"),
            (r#"select "it's", 'a\'b'"#, r#"select "it's", 'a''b'"#),
            (r"select /* it's */ 'a\'b'", r"select /* it's */ 'a''b'"),
            (r"select 'open\'", r"select 'open''"),
        ] {
            assert_eq!(portable(Kind::Sqlite, statement), expected, "{statement}");
            assert_eq!(portable(Kind::MySql, statement), statement);
        }
    }
}
