//! One table as text: a line that names the columns, and a line a row, its values separated by `:`.

use std::cmp::Ordering;

use super::super::cell::Cell;

/// A table in memory.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<Cell>>,
}

/// A column: `name(type,attribute)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    kind: Kind,
    /// The word for the type, to be written as it was read.
    word: String,
    may_be_null: bool,
    is_automatic: bool,
    is_key: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Int,
    Real,
    Text,
}

impl Table {
    pub(super) fn parse(text: &str) -> Result<Table, String> {
        let mut lines = text.lines();
        let header = lines.next().ok_or("the line that names the columns is missing")?;
        let columns = header.split_whitespace().map(Column::parse).collect::<Result<Vec<_>, _>>()?;
        if columns.is_empty() {
            return Err("the first line names no column".into());
        }
        let rows = lines
            .enumerate()
            .filter(|(_, line)| !line.is_empty())
            .map(|(n, line)| row(line, &columns).map_err(|why| format!("line {}: {why}", n + 2)))
            .collect::<Result<_, _>>()?;
        Ok(Table { columns, rows })
    }

    /// Adds a column behind the others; each row gets what a row without a value for it has.
    pub(super) fn add_column(&mut self, text: &str) -> Result<(), String> {
        self.columns.push(Column::parse(text)?);
        let value = self.new_row().pop().unwrap_or_default();
        self.rows.iter_mut().for_each(|row| row.push(value.clone()));
        Ok(())
    }

    pub(super) fn to_text(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(Column::to_text).collect();
        let mut out = names.join(" ");
        out.push('\n');
        for row in &self.rows {
            for (n, value) in row.iter().enumerate() {
                out.push_str(if n == 0 { "" } else { ":" });
                escape(&value.to_text().unwrap_or_default(), &mut out);
            }
            out.push('\n');
        }
        out
    }

    /// A row of defaults. An automatic column counts on from its highest value.
    pub(super) fn new_row(&self) -> Vec<Cell> {
        let default = |(n, column): (usize, &Column)| match column {
            column if column.is_automatic => {
                let highest = self.rows.iter().filter_map(|row| row[n].to_int()).max();
                Cell::Int(highest.unwrap_or(0) + 1)
            }
            column if column.may_be_null => Cell::Null,
            column => column.empty(),
        };
        self.columns.iter().enumerate().map(default).collect()
    }

    /// Whether a row with the same key is there. Without a column marked as key there is none to break.
    pub(super) fn breaks_key(&self, row: &[Cell]) -> bool {
        let key: Vec<usize> = (0..self.columns.len()).filter(|n| self.columns[*n].is_key).collect();
        !key.is_empty() && self.rows.iter().any(|other| key.iter().all(|n| other[*n] == row[*n]))
    }
}

impl Column {
    fn parse(word: &str) -> Result<Column, String> {
        let bad = || format!("`{word}` is no column; it is written name(type) or name(type,attribute)");
        let (name, rest) = word.split_once('(').ok_or_else(bad)?;
        let mut parts = rest.strip_suffix(')').ok_or_else(bad)?.split(',');
        let kind_word = parts.next().unwrap_or_default();
        let kind = match kind_word.as_bytes().first() {
            Some(b'i' | b't' | b'l') => Kind::Int,
            Some(b'd' | b'f') => Kind::Real,
            Some(b's' | b'b') => Kind::Text,
            _ => return Err(bad()),
        };
        let attributes: Vec<&str> = parts.collect();
        let has = |attribute| attributes.contains(&attribute);
        Ok(Column {
            name: name.to_owned(),
            kind,
            word: kind_word.to_owned(),
            may_be_null: has("null"),
            is_automatic: has("auto"),
            is_key: has("key"),
        })
    }

    fn to_text(&self) -> String {
        let attributes = [(self.may_be_null, ",null"), (self.is_automatic, ",auto"), (self.is_key, ",key")];
        let set: String = attributes.iter().filter(|(is_set, _)| *is_set).map(|(_, word)| *word).collect();
        format!("{}({}{set})", self.name, self.word)
    }

    fn empty(&self) -> Cell {
        match self.kind {
            Kind::Int => Cell::Int(0),
            Kind::Real => Cell::Real(0.0),
            Kind::Text => Cell::Text(String::new()),
        }
    }

    /// A value as this column holds it. Text that spells no number stays text, and is refused when it is read back.
    pub(super) fn fit(&self, value: &Cell) -> Cell {
        match (self.kind, value) {
            (_, Cell::Null) => Cell::Null,
            (Kind::Int, value) => value.to_int().map_or_else(|| value.clone(), Cell::Int),
            (Kind::Real, Cell::Int(number)) => Cell::Real(*number as f64),
            (Kind::Real, Cell::Text(text)) => text.parse().map_or_else(|_| value.clone(), Cell::Real),
            (Kind::Real, value) => value.clone(),
            (Kind::Text, Cell::Time(moment)) => Cell::Text(super::super::time::text(*moment)),
            (Kind::Text, value) => value.to_text().map_or(Cell::Null, Cell::Text),
        }
    }

    fn read(&self, text: String) -> Result<Cell, String> {
        if text.is_empty() && self.may_be_null {
            return Ok(Cell::Null);
        }
        match self.kind {
            Kind::Text => Ok(Cell::Text(text)),
            _ if text.is_empty() => Ok(self.empty()),
            Kind::Int => text.parse().map(Cell::Int).map_err(|_| format!("{}: `{text}` is no number", self.name)),
            Kind::Real => text.parse().map(Cell::Real).map_err(|_| format!("{}: `{text}` is no number", self.name)),
        }
    }
}

/// NULL sorts first; values of different kinds do not equal.
pub(super) fn compare(a: &Cell, b: &Cell) -> Ordering {
    match (a, b) {
        (Cell::Int(a), Cell::Int(b)) => a.cmp(b),
        (Cell::Real(a), Cell::Real(b)) => a.total_cmp(b),
        (Cell::Text(a), Cell::Text(b)) => a.cmp(b),
        (Cell::Null, Cell::Null) => Ordering::Equal,
        (Cell::Null, _) => Ordering::Less,
        (_, Cell::Null) => Ordering::Greater,
        _ => a.to_text().cmp(&b.to_text()).then(Ordering::Less),
    }
}

fn row(line: &str, columns: &[Column]) -> Result<Vec<Cell>, String> {
    let mut cells = Vec::with_capacity(columns.len());
    let mut value = String::new();
    let mut letters = line.chars();
    let mut push = |value: &mut String| {
        let column = columns.get(cells.len()).ok_or_else(|| format!("more than {} values", columns.len()))?;
        cells.push(column.read(std::mem::take(value))?);
        Ok::<(), String>(())
    };
    while let Some(letter) = letters.next() {
        match letter {
            ':' => push(&mut value)?,
            '\\' => value.push(match letters.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('0') => '\0',
                Some(other) => other,
                None => '\\',
            }),
            other => value.push(other),
        }
    }
    push(&mut value)?;
    if cells.len() < columns.len() {
        return Err(format!("{} values where {} columns are", cells.len(), columns.len()));
    }
    Ok(cells)
}

fn escape(value: &str, out: &mut String) {
    for letter in value.chars() {
        match letter {
            ':' | '\\' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0' => out.push_str("\\0"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBSCRIBER: &str = "id(int,auto) username(str,key) domain(string) note(string,null) rate(double)\n\
        1:alice:example.com::0.5\n2:bob\\:x:example.com:two\\nlines \\\\ and \\: more:1\n";

    #[test]
    fn a_table_is_written_as_it_was_read() {
        let table = Table::parse(SUBSCRIBER).expect("it is a table");
        assert_eq!(table.rows[0][3], Cell::Null);
        assert_eq!(table.rows[1][1], Cell::from("bob:x"));
        assert_eq!(table.rows[1][3], Cell::from("two\nlines \\ and : more"));
        assert_eq!(table.to_text(), SUBSCRIBER);
    }

    #[test]
    fn what_is_no_table_is_said_with_its_line() {
        for (text, cause) in [
            ("", "the line that names the columns is missing"),
            ("a(int) b\n", "`b` is no column; it is written name(type) or name(type,attribute)"),
            ("a(int) b(str)\n1:x\n2\n", "line 3: 1 values where 2 columns are"),
            ("a(int)\n1:2\n", "line 2: more than 1 values"),
            ("a(int)\nx\n", "line 2: a: `x` is no number"),
        ] {
            assert_eq!(Table::parse(text), Err(cause.to_owned()));
        }
    }

    #[test]
    fn an_automatic_column_counts_on_and_a_key_is_unique() {
        let table = Table::parse(SUBSCRIBER).expect("it is a table");
        let mut row = table.new_row();
        assert_eq!(row[0], Cell::Int(3));
        row[1] = Cell::from("alice");
        assert!(table.breaks_key(&row));
    }
}
