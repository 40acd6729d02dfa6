//! Rows of a table that lies in a text file: the form of Kamailio's db_text, or CSV with a line of names.

use std::path::{Path, PathBuf};

/// One row: a cell for each column that was asked for, none where it is empty or the column is not there.
pub(crate) type Row = Vec<Option<String>>;

/// Where rows come from, to be read at start and again at a reload.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    file: PathBuf,
    columns: Vec<String>,
}

impl Source {
    /// Table `table` in the directory that `url` names: `text:///dir`, `dbtext:///dir` or a bare path. The file is
    /// `table`, or `table.csv`.
    ///
    /// # Errors
    /// A phrase for the operator.
    pub(crate) fn at(url: &str, table: &str, columns: &[&str]) -> Result<Source, String> {
        let directory = match url.split_once("://") {
            Some(("text" | "dbtext" | "db_text", directory)) => directory,
            Some((scheme, _)) => {
                return Err(format!(
                    "{table} is read from text files only, not from {scheme}; write text:///directory"
                ));
            }
            None => url.strip_prefix("text:").unwrap_or(url),
        };
        if directory.is_empty() {
            return Err(format!("say where the file of table {table} lies: text:///directory"));
        }
        if table.is_empty() || table.contains(['/', '\0']) {
            return Err(format!("`{table}` is not the name of a table"));
        }
        let plain = Path::new(directory).join(table);
        let csv = Path::new(directory).join(format!("{table}.csv"));
        let file = if !plain.exists() && csv.exists() { csv } else { plain };
        Ok(Source { file, columns: columns.iter().map(|name| (*name).to_owned()).collect() })
    }

    /// Whether the file is there.
    pub(crate) fn exists(&self) -> bool {
        self.file.exists()
    }

    /// Every row. The first of the columns must be there.
    ///
    /// Reads a file, so it belongs to a start or to a thread for such work.
    ///
    /// # Errors
    /// A phrase for the operator, with file and line.
    pub(crate) fn read(&self) -> Result<Vec<Row>, String> {
        let text = std::fs::read_to_string(&self.file).map_err(|error| format!("{}: {error}", self.file.display()))?;
        let columns: Vec<&str> = self.columns.iter().map(String::as_str).collect();
        parse(&text, &columns).map_err(|(line, cause)| format!("{}:{line}: {cause}", self.file.display()))
    }
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
    fn a_source_is_a_directory_of_text_files() {
        assert!(Source::at("text:///etc/ser", "pdt", &["a"]).unwrap().file.ends_with("etc/ser/pdt"));
        assert!(Source::at("mysql://u@h/db", "pdt", &["a"]).unwrap_err().contains("text:///directory"));
        assert!(Source::at("", "pdt", &["a"]).is_err());
        assert!(Source::at("/etc", "../x", &["a"]).is_err());
    }
}
