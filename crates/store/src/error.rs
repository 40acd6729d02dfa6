//! What can go wrong between us and a database, by what the caller can do about it.

use std::time::Duration;

/// Why the store did not do what was asked.
///
/// On the path of a call every variant means the same: answer 503 and go on. The difference is for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database cannot be used now. Trying again later may succeed.
    #[error("store unavailable: {0}")]
    Unavailable(Cause),
    /// The file is not a database, is damaged, or a value in it has a type or range that no reader of the schema expects.
    #[error("store corrupt: {what}")]
    Corrupt {
        /// Where, as exactly as the backend knows: `location row 17, column q`, or the backend's words.
        what: String,
    },
    /// A table has a layout that this version does not know.
    #[error("table `{table}` has version {}, version {needed} is needed", found.map_or("none".to_owned(), |v| v.to_string()))]
    SchemaVersion {
        /// The table's name.
        table: String,
        /// What its row in the table `version` says; `None` when it has no row.
        found: Option<i64>,
        /// The version that this program reads and writes.
        needed: i64,
    },
    /// The database understood and refused the change (a constraint or a trigger).
    #[error("store refused the change: {detail}")]
    Refused {
        /// The database's words.
        detail: String,
    },
    /// The database lacks a table or column that is asked for, or does not understand the statement.
    #[error("the database does not fit: {detail}")]
    Misfit {
        /// The database's words.
        detail: String,
    },
    /// A change was to be made to a row that is not there, or not as it was.
    #[error("the row to be changed is not there")]
    Stale,
    /// The store's address is not one that this build understands.
    #[error("store address `{address}` not understood: {why}")]
    Address {
        /// The address as it was given, without a password.
        address: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The name cannot be a table's: letters, digits and `_`, at most 63, not beginning with a digit.
    #[error("`{name}` cannot be a table name")]
    TableName {
        /// The offending name.
        name: String,
    },
}

/// Why the database cannot be used now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// No answer within the deadline.
    #[error("no answer within {0:?}")]
    Deadline(Duration),
    /// Another program holds its lock, or all connections are in use.
    #[error("busy")]
    Busy,
    /// It has not answered for a while, and is left alone until this has passed.
    #[error("it has not answered; the next attempt is due in {0:?}")]
    Resting(Duration),
    /// The writer's queue is at its bound.
    #[error("too many changes wait to be written")]
    QueueFull,
    /// The writer has ended: the program is stopping.
    #[error("the writer has stopped")]
    Stopped,
    /// No space is left for it.
    #[error("disk full")]
    DiskFull,
    /// The file or its directory may not be written or opened.
    #[error("no permission: {0}")]
    Permission(String),
    /// Input or output failed.
    #[error("{0}")]
    Io(String),
}

impl Error {
    /// True when trying again later may succeed.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Error::Unavailable(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_error_names_table_and_both_versions() {
        let error = Error::SchemaVersion { table: "location".into(), found: Some(8), needed: 9 };
        assert_eq!(error.to_string(), "table `location` has version 8, version 9 is needed");
        let error = Error::SchemaVersion { table: "domain".into(), found: None, needed: 2 };
        assert_eq!(error.to_string(), "table `domain` has version none, version 2 is needed");
    }
}
