//! Values of rows, on their way to and from a database.

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Cell {
    /// NULL.
    #[default]
    Null,
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Real(f64),
    /// Text. Dates and decimals that a query brings are text too, as the database writes them.
    Text(String),
    /// Octets that are no text.
    Bytes(Vec<u8>),
    /// A moment, in seconds since 1970 UTC: written as the column's own kind of time. Never read.
    Time(i64),
}

impl Cell {
    /// Text from octets. Those that are no UTF-8 become `%xx`: not every database takes them, and what is written
    /// so can still be read.
    pub fn text(octets: &[u8]) -> Cell {
        let mut text = String::with_capacity(octets.len());
        for chunk in octets.utf8_chunks() {
            text.push_str(chunk.valid());
            chunk.invalid().iter().for_each(|octet| text.push_str(&format!("%{octet:02X}")));
        }
        // PostgreSQL has no NUL in text, and no other column of these tables has a use for one.
        if text.contains('\0') {
            text = text.replace('\0', "%00");
        }
        Cell::Text(text)
    }

    /// As text; NULL is none.
    pub fn to_text(&self) -> Option<String> {
        Some(match self {
            Cell::Null => return None,
            Cell::Int(number) | Cell::Time(number) => number.to_string(),
            Cell::Real(number) => number.to_string(),
            Cell::Text(text) => text.clone(),
            Cell::Bytes(octets) => String::from_utf8_lossy(octets).into_owned(),
        })
    }

    /// As a whole number, where it is one or spells one.
    pub fn to_int(&self) -> Option<i64> {
        match self {
            Cell::Int(number) | Cell::Time(number) => Some(*number),
            Cell::Real(number) => Some(*number as i64),
            Cell::Text(text) => text.trim().parse().ok(),
            Cell::Null | Cell::Bytes(_) => None,
        }
    }

    /// Whether it is NULL.
    pub fn is_null(&self) -> bool {
        *self == Cell::Null
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Text(text)
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Cell {
        Cell::Int(number)
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Cell {
        Cell::Real(number)
    }
}

impl From<Option<String>> for Cell {
    fn from(text: Option<String>) -> Cell {
        text.map_or(Cell::Null, Cell::Text)
    }
}

/// What a query brought.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    /// Names of the columns; empty when the query was no query or brought no row.
    pub columns: Vec<String>,
    /// The rows, each with a value for each column.
    pub rows: Vec<Vec<Cell>>,
    /// How many rows a change touched.
    pub affected: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_that_are_no_text_stay_readable() {
        assert_eq!(Cell::text(b"sip:j\xf6rg\0@example.com"), Cell::from("sip:j%F6rg%00@example.com"));
        assert_eq!(Cell::text("jörg".as_bytes()), Cell::from("jörg"));
    }
}
