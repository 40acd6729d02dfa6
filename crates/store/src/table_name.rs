//! Names of tables that a script chooses, as in `save("location")`.

use std::fmt;

use crate::Error;

/// A name that is safe inside a statement without quotes, in every backend.
///
/// Scripts name location tables freely and a name cannot be bound as a parameter, so it is checked once, here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableName(Box<str>);

impl TableName {
    /// Checks a name: ASCII letters, digits and `_`, 1 to 63 of them, not beginning with a digit.
    pub fn new(name: &str) -> Result<TableName, Error> {
        let is_word = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let begins_well = name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
        // SQLite keeps names with this beginning for itself.
        let is_reserved = name.len() >= 7 && name.as_bytes()[..7].eq_ignore_ascii_case(b"sqlite_");
        if is_word && begins_well && !is_reserved && name.len() <= LONGEST {
            return Ok(TableName(name.into()));
        }
        Err(Error::TableName { name: name.chars().take(LONGEST).collect() })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// PostgreSQL cuts names at 63 bytes and MySQL at 64; the schema's own names are far shorter.
const LONGEST: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_are_names() {
        for name in ["location", "aliases", "_x", "Location_2"] {
            assert_eq!(TableName::new(name).expect("accepted").as_str(), name);
        }
    }

    #[test]
    fn what_could_change_a_statement_is_refused() {
        for name in ["", "2nd", "a b", "a;drop table x", "a\"", "größe", "sqlite_master", "SQLITE_x"] {
            assert!(TableName::new(name).is_err(), "{name}");
        }
        assert!(TableName::new(&"a".repeat(64)).is_err());
        assert!(TableName::new(&"a".repeat(63)).is_ok());
    }
}
