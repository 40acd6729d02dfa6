//! What is asked of a database, said once for all of them.

use super::cell::Cell;
use crate::TableName;

/// The name of a column, checked as names of tables are.
pub type ColumnName = TableName;

/// A comparison that rows must pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The column.
    pub column: ColumnName,
    /// How it is compared. NULL equals NULL here.
    pub is: Comparison,
    /// With what.
    pub value: Cell,
}

/// How a column is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Equal. Texts compare as the database does: MySQL's usual collations know no case.
    Equal,
    /// Equal without regard to case, as host names are.
    EqualFolded,
    /// Greater.
    Greater,
    /// Less.
    Less,
    /// Not equal.
    NotEqual,
}

impl Condition {
    /// `column = value`.
    pub fn equal(column: &ColumnName, value: impl Into<Cell>) -> Condition {
        Condition { column: column.clone(), is: Comparison::Equal, value: value.into() }
    }

    /// `column = value` without regard to case.
    pub fn equal_folded(column: &ColumnName, value: impl Into<Cell>) -> Condition {
        Condition { column: column.clone(), is: Comparison::EqualFolded, value: value.into() }
    }
}

/// Asks for rows of one table.
#[derive(Debug, Clone, PartialEq)]
pub struct Select {
    /// The table.
    pub table: TableName,
    /// The columns, in the order of the answer.
    pub columns: Vec<ColumnName>,
    /// What rows must pass.
    pub filter: Vec<Condition>,
    /// Columns to sort by, ascending.
    pub order: Vec<ColumnName>,
    /// How many rows at most.
    pub limit: u32,
}

/// A change of one table.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// A new row.
    Insert {
        /// The table.
        table: TableName,
        /// Its columns; others have their defaults.
        row: Vec<(ColumnName, Cell)>,
    },
    /// A new row, in place of the one with the same key if there is one.
    Put {
        /// The table.
        table: TableName,
        /// The column that is unique.
        key: ColumnName,
        /// Its columns, the key among them.
        row: Vec<(ColumnName, Cell)>,
    },
    /// Changes rows.
    Update {
        /// The table.
        table: TableName,
        /// What is set.
        set: Vec<(ColumnName, Cell)>,
        /// Which rows.
        filter: Vec<Condition>,
        /// Whether there must be such a row: without one nothing of the transaction happens.
        must_match: bool,
    },
    /// Removes rows.
    Delete {
        /// The table.
        table: TableName,
        /// Which.
        filter: Vec<Condition>,
    },
}

/// How a kind of database writes things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    Sqlite,
    Postgres,
    MySql,
}

/// A statement and what is bound to it, in order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bound {
    pub(super) text: String,
    pub(super) values: Vec<Cell>,
}

/// Rows in one statement.
const ROWS: [usize; 4] = [64, 16, 4, 1];

/// Whether both are rows for the same columns, with NULL in the same places.
fn is_alike(a: &Write, b: &Write) -> bool {
    let (Write::Insert { table, row }, Write::Insert { table: other_table, row: other }) = (a, b) else { return false };
    let pairs = || row.iter().zip(other);
    table == other_table
        && row.len() == other.len()
        && pairs().all(|((column, value), (other, cell))| column == other && value.is_null() == cell.is_null())
}

impl Syntax {
    pub(super) fn select(self, select: &Select) -> Bound {
        let mut out = Bound { text: "SELECT ".to_owned(), values: Vec::new() };
        out.text.push_str(&self.names(select.columns.iter()));
        out.text.push_str(&format!(" FROM {}", self.name(&select.table)));
        self.push_filter(&select.filter, &mut out);
        if !select.order.is_empty() {
            out.text.push_str(&format!(" ORDER BY {}", self.names(select.order.iter())));
        }
        out.text.push_str(&format!(" LIMIT {}", select.limit));
        out
    }

    /// Changes as statements, each with how many of the changes it makes: rows of the same columns go together,
    /// since each statement is a trip to the server and back.
    pub(super) fn writes(self, writes: &[Write]) -> Vec<(Bound, usize)> {
        let mut statements = Vec::new();
        let mut rest = writes;
        while let Some(first) = rest.first() {
            let alike = rest.iter().take_while(|write| is_alike(first, write)).count();
            // Few different sizes, so that few different statements are prepared.
            let count = ROWS.into_iter().find(|size| *size <= alike).unwrap_or(1);
            statements.push((self.together(&rest[..count]), count));
            rest = &rest[count..];
        }
        statements
    }

    /// One statement for changes that are alike.
    fn together(self, writes: &[Write]) -> Bound {
        let mut out = self.write(&writes[0]);
        for write in &writes[1..] {
            if let Write::Insert { row, .. } = write {
                out.text.push_str(", ");
                self.push_row(row, &mut out);
            }
        }
        out
    }

    fn push_row(self, row: &[(ColumnName, Cell)], out: &mut Bound) {
        out.text.push('(');
        for (n, (_, value)) in row.iter().enumerate() {
            out.text.push_str(if n == 0 { "" } else { ", " });
            self.push_value(value, out);
        }
        out.text.push(')');
    }

    pub(super) fn write(self, write: &Write) -> Bound {
        let mut out = Bound { text: String::new(), values: Vec::new() };
        match write {
            Write::Insert { table, row } => {
                let columns = self.names(row.iter().map(|(column, _)| column));
                out.text = format!("INSERT INTO {} ({columns}) VALUES ", self.name(table));
                self.push_row(row, &mut out);
            }
            Write::Put { table, key, row } => {
                out = self.write(&Write::Insert { table: table.clone(), row: row.clone() });
                let others = row.iter().map(|(column, _)| self.name(column)).filter(|column| *column != self.name(key));
                let updates: Vec<String> = match self {
                    Syntax::MySql => others.map(|column| format!("{column} = VALUES({column})")).collect(),
                    Syntax::Sqlite | Syntax::Postgres => {
                        others.map(|column| format!("{column} = excluded.{column}")).collect()
                    }
                };
                let (key, updates) = (self.name(key), updates.join(", "));
                out.text.push_str(&match self {
                    Syntax::MySql => format!(" ON DUPLICATE KEY UPDATE {updates}"),
                    Syntax::Sqlite | Syntax::Postgres => format!(" ON CONFLICT ({key}) DO UPDATE SET {updates}"),
                });
            }
            Write::Update { table, set, filter, .. } => {
                out.text = format!("UPDATE {} SET ", self.name(table));
                for (n, (column, value)) in set.iter().enumerate() {
                    out.text.push_str(if n == 0 { "" } else { ", " });
                    out.text.push_str(&format!("{} = ", self.name(column)));
                    self.push_value(value, &mut out);
                }
                self.push_filter(filter, &mut out);
            }
            Write::Delete { table, filter } => {
                out.text = format!("DELETE FROM {}", self.name(table));
                self.push_filter(filter, &mut out);
            }
        }
        out
    }

    /// MySQL has words such as `partition` that only quotes make a name. PostgreSQL would take a quoted name by the
    /// letter, and the schema's own were made without quotes.
    pub(super) fn name(self, name: &TableName) -> String {
        match self {
            Syntax::MySql => format!("`{name}`"),
            Syntax::Sqlite | Syntax::Postgres => name.to_string(),
        }
    }

    fn names<'a>(self, names: impl Iterator<Item = &'a TableName>) -> String {
        names.map(|name| self.name(name)).collect::<Vec<_>>().join(", ")
    }

    fn push_filter(self, filter: &[Condition], out: &mut Bound) {
        for (n, condition) in filter.iter().enumerate() {
            out.text.push_str(if n == 0 { " WHERE " } else { " AND " });
            let column = self.name(&condition.column);
            if condition.value.is_null() {
                let not = if condition.is == Comparison::NotEqual { "NOT " } else { "" };
                out.text.push_str(&format!("{column} IS {not}NULL"));
                continue;
            }
            let operator = match condition.is {
                Comparison::Equal | Comparison::EqualFolded => "=",
                Comparison::Greater => ">",
                Comparison::Less => "<",
                Comparison::NotEqual => "<>",
            };
            if condition.is == Comparison::EqualFolded {
                out.text.push_str(&format!("LOWER({column}) {operator} LOWER("));
                self.push_value(&condition.value, out);
                out.text.push(')');
            } else {
                out.text.push_str(&format!("{column} {operator} "));
                self.push_value(&condition.value, out);
            }
        }
    }

    fn push_value(self, value: &Cell, out: &mut Bound) {
        out.values.push(value.clone());
        let place = match self {
            Syntax::Postgres => format!("${}", out.values.len()),
            Syntax::Sqlite | Syntax::MySql => "?".to_owned(),
        };
        // Sessions are set to UTC, so these say the same moment everywhere.
        let text = match (self, value) {
            (Syntax::Sqlite, Cell::Time(_)) => format!("datetime({place}, 'unixepoch')"),
            (Syntax::Postgres, Cell::Time(_)) => format!("to_timestamp({place}::bigint)::timestamp"),
            // A bare NULL says nothing of its type, which a parameter must have.
            (_, Cell::Null) => {
                out.values.pop();
                "NULL".to_owned()
            }
            _ => place,
        };
        out.text.push_str(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TableName {
        TableName::new(text).expect("a literal name")
    }

    #[test]
    fn values_are_bound_and_never_part_of_the_text() {
        let select = Select {
            table: name("grp"),
            columns: vec![name("username"), name("grp")],
            filter: vec![
                Condition::equal(&name("username"), "x'; DROP TABLE grp; --"),
                Condition::equal_folded(&name("domain"), "A"),
            ],
            order: vec![name("id")],
            limit: 5,
        };
        let bound = Syntax::Postgres.select(&select);
        assert_eq!(
            bound.text,
            "SELECT username, grp FROM grp WHERE username = $1 AND LOWER(domain) = LOWER($2) ORDER BY id LIMIT 5"
        );
        assert_eq!(bound.values, [Cell::from("x'; DROP TABLE grp; --"), Cell::from("A")]);
    }

    #[test]
    fn rows_of_the_same_columns_go_together() {
        let insert = |value: Cell| Write::Insert { table: name("t"), row: vec![(name("a"), value)] };
        let mut writes = vec![insert(Cell::Int(1)); 6];
        writes.push(insert(Cell::Null));
        let statements = Syntax::Sqlite.writes(&writes);
        let texts: Vec<_> = statements.iter().map(|(bound, count)| (bound.text.as_str(), *count)).collect();
        let four = "INSERT INTO t (a) VALUES (?), (?), (?), (?)";
        let one = "INSERT INTO t (a) VALUES (?)";
        assert_eq!(texts, [(four, 4), (one, 1), (one, 1), ("INSERT INTO t (a) VALUES (NULL)", 1)]);
    }

    #[test]
    fn each_database_gets_its_own_names_places_and_times() {
        let row = vec![(name("partition"), Cell::Int(3)), (name("gone"), Cell::Null), (name("time"), Cell::Time(9))];
        let insert = Write::Insert { table: name("t"), row };
        assert_eq!(
            Syntax::MySql.write(&insert).text,
            "INSERT INTO `t` (`partition`, `gone`, `time`) VALUES (?, NULL, ?)"
        );
        let bound = Syntax::Postgres.write(&insert);
        assert_eq!(
            bound.text,
            "INSERT INTO t (partition, gone, time) VALUES ($1, NULL, to_timestamp($2::bigint)::timestamp)"
        );
        assert_eq!(bound.values, [Cell::Int(3), Cell::Time(9)]);
    }
}
