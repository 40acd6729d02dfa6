//! Rows of a table that a module keeps in memory: from a database, or from a text file in the form of Kamailio's db_text
//! or CSV with a line of names.

use std::path::{Path, PathBuf};
use std::time::Duration;

use module_api::{Answer, CommandError, Data, Parameter, Setup, SetupError};
use store::{Cause, Cell, ColumnName, Database, Error, Select, Settings, TableName};

use crate::{database, setting};

/// The setting that says where a module's tables are.
pub(crate) const DB_URL: Parameter = setting::text(
    "db_url",
    "",
    "The database of the tables, or a directory of text files: text:///path. By default ser.db in the data directory.",
);

/// One row: a cell for each column that was asked for, none where it is empty or the column is not there.
pub(crate) type Row = Vec<Option<String>>;

/// Where rows come from, to be read at start and again at a reload.
#[derive(Clone)]
pub(crate) struct Source {
    place: Place,
    /// For what is said to the operator.
    table: String,
}

#[derive(Clone)]
enum Place {
    /// A text file that anybody may write, also as CSV.
    File { file: PathBuf, columns: Vec<String> },
    /// A table of a database.
    Table { database: Database, select: Select, versions: &'static [i64] },
}

/// The text of a cell; empty where it has none.
pub(crate) fn text(row: &Row, column: usize) -> &str {
    row[column].as_deref().unwrap_or_default().trim()
}

/// The number in a cell; `missing` where it has none.
///
/// # Errors
/// In words, when what is there is no number.
pub(crate) fn number(row: &Row, column: usize, missing: i64) -> Result<i64, String> {
    match text(row, column) {
        "" => Ok(missing),
        text => text.parse().map_err(|_| format!("`{text}` is no number")),
    }
}

/// What a command answers that reads tables again: nothing, or why those that were there stay.
pub(crate) fn reloaded(reading: impl Future<Output = Result<(), String>> + Send + 'static) -> Answer {
    Answer::later(async move { reading.await.map(|()| Data::Null).map_err(|cause| CommandError::new(500, cause)) })
}

/// A table that a module reads.
pub(crate) struct Wanted<'a> {
    /// The setting that names the database.
    pub(crate) setting: &'static str,
    /// Where it lies; empty for ser.db in the data directory.
    pub(crate) url: &'a str,
    /// Its name.
    pub(crate) table: &'a str,
    /// Its columns, in the order of the rows. The first must be there.
    pub(crate) columns: &'a [&'a str],
    /// The column that says the order of the rows.
    pub(crate) order: Option<&'a str>,
    /// The versions that the table `version` may name; empty: any, and none.
    pub(crate) versions: &'static [i64],
}

/// More rows are a mistake, and would fill the memory.
const MOST_ROWS: u32 = 2_000_000;

/// A table of a million rows takes a while; longer than this nobody waits at a start.
const DEADLINE: Duration = Duration::from_secs(20);

impl Source {
    /// The table that a setting names, in the database of `db_url`.
    ///
    /// # Errors
    /// As [`Source::at`].
    pub(crate) fn named(
        setup: &Setup<'_>,
        setting: &'static str,
        columns: &[&str],
        versions: &'static [i64],
    ) -> Result<Source, SetupError> {
        let (url, table) = (setup.text("db_url"), setup.text(setting));
        Source::at(setup, &Wanted { setting: "db_url", url: &url, table: &table, columns, order: None, versions })
    }

    /// The table that is wanted. `text:///dir` and `dbtext:///dir` are a directory, and the file is `table` or
    /// `table.csv`; other addresses are those of databases.
    ///
    /// # Errors
    /// When the address is none, or a name cannot be that of a table or column.
    pub(crate) fn at(setup: &Setup<'_>, wanted: &Wanted<'_>) -> Result<Source, SetupError> {
        let wrong = |cause: String| SetupError::Setting { name: wanted.setting, cause };
        if let Some(directory) = text_directory(wanted.url) {
            return Source::file(directory, wanted.table, wanted.columns).map_err(wrong);
        }
        let named = |name: &str| ColumnName::new(name).map_err(|error| wrong(error.to_string()));
        let select = Select {
            table: TableName::new(wanted.table).map_err(|error| wrong(error.to_string()))?,
            columns: wanted.columns.iter().map(|name| named(name)).collect::<Result<_, _>>()?,
            filter: Vec::new(),
            order: wanted.order.into_iter().map(named).collect::<Result<_, _>>()?,
            limit: MOST_ROWS + 1,
        };
        let settings = Settings { deadline: DEADLINE, connections: 1 };
        let database = database::open_with(setup, wanted.setting, wanted.url, &settings)?;
        let place = Place::Table { database, select, versions: wanted.versions };
        Ok(Source { place, table: wanted.table.to_owned() })
    }

    fn file(directory: &str, table: &str, columns: &[&str]) -> Result<Source, String> {
        if directory.is_empty() {
            return Err(format!("say where the file of table {table} lies: text:///directory"));
        }
        if table.is_empty() || table.contains(['/', '\0']) {
            return Err(format!("`{table}` is not the name of a table"));
        }
        let plain = Path::new(directory).join(table);
        let csv = Path::new(directory).join(format!("{table}.csv"));
        let file = if !plain.exists() && csv.exists() { csv } else { plain };
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        Ok(Source { place: Place::File { file, columns }, table: table.to_owned() })
    }

    /// Whether the table is there, as far as that can be known without asking: a database has it or is wrong.
    pub(crate) fn exists(&self) -> bool {
        match &self.place {
            Place::File { file, .. } => file.exists(),
            Place::Table { .. } => true,
        }
    }

    /// Every row, while a module starts.
    ///
    /// # Errors
    /// A phrase for the operator: a database that is away, a table that is not as it must be.
    pub(crate) fn read_at_start(&self, setup: &Setup<'_>) -> Result<Vec<Row>, SetupError> {
        let rows = match &self.place {
            Place::File { file, columns } => read_file(file, columns),
            Place::Table { .. } => {
                let mut rows = Err("the runtime is not there".to_owned());
                (setup.block_on)(Box::pin(async { rows = self.read().await }));
                rows
            }
        };
        rows.map_err(SetupError::Unavailable)
    }

    /// Every row.
    ///
    /// # Errors
    /// A phrase for the operator, with file and line, or with the database and what it says.
    pub(crate) async fn read(&self) -> Result<Vec<Row>, String> {
        match &self.place {
            Place::File { file, columns } => {
                let (file, columns) = (file.clone(), columns.clone());
                let read = tokio::task::spawn_blocking(move || read_file(&file, &columns)).await;
                read.unwrap_or_else(|_| Err("interrupted".to_owned()))
            }
            Place::Table { database, select, versions } => {
                let said = |error: Error| match error.is_unavailable() {
                    true => format!("table {}: database {}: {error}", self.table, database.address()),
                    false => database::unfit(database, &error),
                };
                let versions = Some(*versions).filter(|versions| !versions.is_empty());
                // One row comes quickly or not at all; only the whole table may take longer.
                let look = database::ensure_table(database, &select.table, &select.columns, versions);
                let quick = Settings::default().deadline;
                let looked = tokio::time::timeout(quick, look).await;
                looked.unwrap_or(Err(Error::Unavailable(Cause::Deadline(quick)))).map_err(said)?;
                let found = database.select(select).await.map_err(said)?;
                if found.rows.len() > MOST_ROWS as usize {
                    return Err(format!("table {} has more than {MOST_ROWS} rows", self.table));
                }
                Ok(found.rows.iter().map(|row| row.iter().map(cell).collect()).collect())
            }
        }
    }
}

/// An address of text files; a bare path is one of SQLite.
fn text_directory(url: &str) -> Option<&str> {
    match url.split_once("://") {
        Some(("text" | "dbtext" | "db_text", directory)) => Some(directory),
        Some(_) => None,
        None => url.strip_prefix("text:").or_else(|| Path::new(url).is_dir().then_some(url)),
    }
}

fn cell(cell: &Cell) -> Option<String> {
    cell.to_text().filter(|text| !text.is_empty())
}

/// Every row of a text file.
fn read_file(file: &Path, columns: &[String]) -> Result<Vec<Row>, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    parse(&text, &columns).map_err(|(line, cause)| format!("{}:{line}: {cause}", file.display()))
}

/// The rows of a file, or a line and what is wrong with it.
fn parse(text: &str, columns: &[&str]) -> Result<Vec<Row>, (usize, String)> {
    let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim_end_matches('\r')));
    let (first, names) = lines
        .find(|(_, line)| !is_skipped(line))
        .ok_or_else(|| (1, "no line with the names of the columns".to_owned()))?;
    let is_db_text = names.contains('(');
    let names: Vec<String> = match is_db_text {
        true => names.split_whitespace().map(|name| name.split('(').next().unwrap_or("").to_owned()).collect(),
        false => split_csv(names).map_err(|cause| (first, cause))?.into_iter().flatten().collect(),
    };
    let places: Vec<Option<usize>> =
        columns.iter().map(|column| names.iter().position(|name| name.eq_ignore_ascii_case(column))).collect();
    if let (Some(None), Some(column)) = (places.first(), columns.first()) {
        return Err((first, format!("no column `{column}`; there are {}", names.join(", "))));
    }
    let mut rows = Vec::new();
    for (number, line) in lines.filter(|(_, line)| !is_skipped(line)) {
        let cells = if is_db_text { Ok(split_db_text(line)) } else { split_csv(line) };
        let mut cells = cells.map_err(|cause| (number, cause))?;
        if cells.len() != names.len() {
            return Err((number, format!("{} cells where {} columns are named", cells.len(), names.len())));
        }
        rows.push(places.iter().map(|place| place.and_then(|place| cells[place].take())).collect());
    }
    Ok(rows)
}

fn is_skipped(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with('#')
}

/// Cells between colons; a backslash takes the meaning from what follows, or names a line end or tab.
fn split_db_text(line: &str) -> Vec<Option<String>> {
    let mut cells = Vec::new();
    let mut cell = String::new();
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ':' => cells.push(std::mem::take(&mut cell)),
            '\\' => match chars.next() {
                Some('n') => cell.push('\n'),
                Some('r') => cell.push('\r'),
                Some('t') => cell.push('\t'),
                // Kamailio keeps the backslash of what it does not know, and expressions rely on it.
                Some(other) if !matches!(other, ':' | '\\') => cell.extend(['\\', other]),
                Some(other) => cell.push(other),
                None => cell.push('\\'),
            },
            c => cell.push(c),
        }
    }
    cells.push(cell);
    cells.into_iter().map(|cell| Some(cell).filter(|cell| !cell.is_empty())).collect()
}

/// Cells between commas; quotes keep commas, and two quotes inside of them are one.
fn split_csv(line: &str) -> Result<Vec<Option<String>>, String> {
    let mut cells = Vec::new();
    let mut rest = line;
    loop {
        let (cell, after) = match rest.trim_start().strip_prefix('"') {
            Some(quoted) => {
                let (cell, after) = until_quote(quoted).ok_or("a quote is not closed")?;
                (cell, after.trim_start())
            }
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].trim().to_owned(), &rest[end..])
            }
        };
        cells.push(Some(cell).filter(|cell| !cell.is_empty()));
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None if after.is_empty() => return Ok(cells),
            None => return Err("text between a closing quote and the comma".into()),
        }
    }
}

fn until_quote(text: &str) -> Option<(String, &str)> {
    let mut cell = String::new();
    let mut rest = text;
    loop {
        let at = rest.find('"')?;
        cell.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                cell.push('"');
                rest = more;
            }
            None => return Some((cell, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, CommandBench, INVITE, Tables, text};

    fn cells(text: &str, columns: &[&str]) -> Vec<Vec<String>> {
        let rows = parse(text, columns).unwrap();
        rows.into_iter().map(|row| row.into_iter().map(|cell| cell.unwrap_or("-".into())).collect()).collect()
    }

    #[test]
    fn rows_in_the_form_of_db_text_are_read() {
        let text = "id(int,auto) prefix(string) domain(string,null)\n1:00\\:4:example.com\n\n2:01:\n";
        assert_eq!(cells(text, &["prefix", "domain", "nope"]), [["00:4", "example.com", "-"], ["01", "-", "-"]]);
    }

    #[test]
    fn rows_of_csv_are_read() {
        let text = "prefix,domain\r\n# a comment\r\n00,\"a, \"\"b\"\"\"\r\n 01 ,x\r\n";
        assert_eq!(cells(text, &["domain", "prefix"]), [["a, \"b\"", "00"], ["x", "01"]]);
    }

    #[test]
    fn a_wrong_line_is_named() {
        assert_eq!(parse("a,b\n1\n", &["a"]).unwrap_err().0, 2);
        assert!(parse("a,b\n", &["c"]).unwrap_err().1.contains("no column `c`; there are a, b"));
        assert!(parse("", &["c"]).is_err());
        assert!(parse("a,b\n\"1,2\n", &["a"]).unwrap_err().1.contains("quote"));
    }

    #[test]
    fn a_directory_of_text_files_is_told_from_databases() {
        assert_eq!(text_directory("text:///etc/ser"), Some("/etc/ser"));
        assert_eq!(text_directory("dbtext:///etc/ser"), Some("/etc/ser"));
        assert_eq!(text_directory("/etc"), Some("/etc"));
        assert_eq!(text_directory("mysql://u@h/db"), None);
        assert_eq!(text_directory("/var/lib/ser/ser.db"), None);
        assert!(Source::file("", "pdt", &["a"]).is_err());
        assert!(Source::file("/etc", "../x", &["a"]).is_err());
    }

    fn failure(outcome: Result<std::sync::Arc<dyn module_api::State>, SetupError>) -> String {
        outcome.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn each_module_reads_its_table_of_a_database() {
        let tables = Tables::new();
        tables.sql(
            "INSERT INTO dialplan (dpid, pr, match_op, match_exp, subst_exp, repl_exp, attrs) VALUES \
                    (1, 9, 1, '^0', '^0', '+49', 'late'), (1, 1, 0, '012', '012', 'x', 'early')",
        );
        tables.sql("INSERT INTO mtree (tprefix, tvalue) VALUES ('49', 'de')");
        tables.sql("INSERT INTO pdt (sdomain, prefix, domain) VALUES ('*', '49', 'de.example')");
        tables.sql("INSERT INTO address (grp, ip_addr, mask, tag) VALUES (7, '192.0.2.0', 24, NULL)");
        let mut bench = Bench::with_state(INVITE, tables.make(&crate::dialplan::MODULE, &[]));
        bench.context.set_uri("sip:012@h".into());
        assert_eq!(bench.run(&crate::dialplan::MODULE, "dp_translate", &["1"]), 1);
        assert_eq!(bench.uri(), "sip:x@h");
        let tree = [("mtree", text("name=t;dbtable=mtree"))];
        let state = tables.make_with(&crate::mtree::MODULE, &tree).expect("it starts");
        let mut bench = Bench::with_state(INVITE, state);
        assert_eq!(bench.run(&crate::mtree::MODULE, "mt_match", &["t", "4930", "0"]), 1);
        assert_eq!(bench.context.avps.first(b"tvalue"), Some(&text("de")));
        let mut bench = Bench::with_state(INVITE, tables.make(&crate::pdt::MODULE, &[]));
        bench.context.set_uri("sip:4930@h".into());
        assert_eq!(bench.run(&crate::pdt::MODULE, "prefix2domain", &[]), 1);
        assert_eq!(bench.uri(), "sip:30@de.example");
        let mut bench = Bench::with_state(INVITE, tables.make(&crate::permissions::MODULE, &[]));
        assert_eq!(bench.run(&crate::permissions::MODULE, "allow_address", &["7", "192.0.2.9", "0"]), 1);
        assert_eq!(bench.run(&crate::permissions::MODULE, "allow_address", &["8", "192.0.2.9", "0"]), -1);
    }

    #[test]
    fn a_reload_that_fails_leaves_the_rows_and_says_why() {
        let tables = Tables::new();
        tables.sql(
            "INSERT INTO dispatcher (setid, destination, flags, priority, attrs) VALUES \
                    (1, 'sip:192.0.2.1', 0, 5, 'weight=50;x=y'), (1, 'sip:192.0.2.2', 0, 9, '')",
        );
        let bench = CommandBench::new(tables.make(&crate::dispatcher::MODULE, &[]));
        let commands = crate::dispatcher::MODULE.commands;
        let listed = || {
            let all = bench.run(commands, "dispatcher.list").expect("it is listed");
            let module_api::Data::List(all) = all else { panic!("no list") };
            all.iter()
                .map(|one| one.field("uri").map(module_api::Data::to_text).unwrap_or_default())
                .collect::<Vec<_>>()
        };
        assert_eq!(listed(), ["sip:192.0.2.2", "sip:192.0.2.1"]);
        let reload = || bench.run(commands, "dispatcher.reload").map_err(|error| error.to_string());
        tables.sql("UPDATE dispatcher SET destination = 'tel:1' WHERE setid = 1");
        assert!(reload().is_err_and(|error| error.contains("`tel:1` is not a SIP URI")));
        tables.sql("UPDATE version SET table_version = 3 WHERE table_name = 'dispatcher'");
        let error = reload().expect_err("the version is wrong");
        assert!(error.contains("table `dispatcher` has version 3, version 4 is needed"), "{error}");
        assert_eq!(listed(), ["sip:192.0.2.2", "sip:192.0.2.1"]);
        tables.sql("UPDATE version SET table_version = 4 WHERE table_name = 'dispatcher'");
        tables.sql("DELETE FROM dispatcher");
        tables.sql("INSERT INTO dispatcher (setid, destination) VALUES (2, 'sip:192.0.2.3')");
        reload().expect("it is as it must be");
        assert_eq!(listed(), ["sip:192.0.2.3"]);
    }

    #[test]
    fn a_table_of_another_version_keeps_a_module_from_starting() {
        let tables = Tables::new();
        tables.sql("UPDATE version SET table_version = 1 WHERE table_name = 'dialplan'");
        let error = failure(tables.make_with(&crate::dialplan::MODULE, &[]));
        assert!(error.contains("table `dialplan` has version 1, version 2 is needed"), "{error}");
    }

    #[test]
    fn trusted_peers_come_by_priority() {
        let tables = Tables::new();
        tables.sql(
            "INSERT INTO trusted (src_ip, proto, priority, tag) VALUES \
                    ('192.0.2.7', 'any', 5, 'late'), ('192.0.2.7', 'any', 1, 'early')",
        );
        let state = tables.make_with(&crate::permissions::MODULE, &[("peer_tag_avp", text("$avp(tag)"))]);
        let mut bench = Bench::with_state(INVITE, state.expect("it starts"));
        let asked = ["192.0.2.7", "udp", "sip:a@b"];
        assert_eq!(bench.run(&crate::permissions::MODULE, "allow_trusted", &asked), 1);
        assert_eq!(bench.context.avps.first(b"tag"), Some(&text("early")));
        let none = tables.make(&crate::permissions::MODULE, &[("load_backends", 1)]);
        let mut bench = Bench::with_state(INVITE, none);
        assert_eq!(bench.run(&crate::permissions::MODULE, "allow_trusted", &asked), -1);
    }
}
