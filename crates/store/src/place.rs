//! Where a store lies, read from the text that an operator wrote.

use std::path::PathBuf;

use crate::Error;

/// A store's address, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A private database that ends with the program.
    SqliteMemory,
    /// A database in a file.
    SqliteFile(PathBuf),
}

impl Place {
    /// Reads `:memory:`, a path, `sqlite:PATH`, `sqlite:///absolute/path` or `sqlite::memory:`.
    ///
    /// `sqlite:///path` is Kamailio's `db_url` form, so a configuration's value works as it stands.
    pub(crate) fn parse(address: &str) -> Result<Place, Error> {
        let refused = |why| Err(Error::Address { address: without_password(address), why });
        let path = match split_scheme(address) {
            (None, path) => path,
            (Some("sqlite"), rest) => rest.strip_prefix("//").unwrap_or(rest),
            (Some("mysql" | "mariadb" | "postgres" | "postgresql"), _) => {
                return refused("this build stores in SQLite only; write sqlite:///path/to/file");
            }
            (Some(_), _) => return refused("unknown kind of store; write sqlite:///path/to/file"),
        };
        match path {
            "" => refused("the path is empty"),
            ":memory:" => Ok(Place::SqliteMemory),
            path if path.contains('\0') => refused("the path contains a NUL"),
            path => Ok(Place::SqliteFile(PathBuf::from(path))),
        }
    }
}

/// Splits `scheme:rest`. A path that merely contains a colon has no scheme.
fn split_scheme(address: &str) -> (Option<&str>, &str) {
    match address.split_once(':') {
        Some((scheme, rest)) if !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            (Some(scheme), rest)
        }
        _ => (None, address),
    }
}

/// The address as it may be logged: `scheme://user:password@host` loses what is between scheme and `@`.
pub(crate) fn without_password(address: &str) -> String {
    match (address.split_once("://"), address.rfind('@')) {
        (Some((scheme, _)), Some(at)) if at > scheme.len() => format!("{scheme}://***{}", &address[at..]),
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_file(address: &str, path: &str) {
        assert_eq!(Place::parse(address), Ok(Place::SqliteFile(PathBuf::from(path))), "{address}");
    }

    #[test]
    fn paths_and_sqlite_addresses_name_a_file() {
        check_file("/var/lib/ser/ser.db", "/var/lib/ser/ser.db");
        check_file("ser.db", "ser.db");
        check_file("./odd:name.db", "./odd:name.db");
        check_file("sqlite:///var/lib/ser/ser.db", "/var/lib/ser/ser.db");
        check_file("sqlite:ser.db", "ser.db");
    }

    #[test]
    fn memory_is_understood_with_and_without_scheme() {
        assert_eq!(Place::parse(":memory:"), Ok(Place::SqliteMemory));
        assert_eq!(Place::parse("sqlite::memory:"), Ok(Place::SqliteMemory));
        assert_eq!(Place::parse("sqlite://:memory:"), Ok(Place::SqliteMemory));
    }

    #[test]
    fn a_refused_address_is_repeated_without_its_password() {
        let error = Place::parse("mysql://ser:s3cr@t@localhost/ser").expect_err("no such backend");
        assert!(error.to_string().contains("`mysql://***@localhost/ser`"), "{error}");
    }

    #[test]
    fn an_empty_path_is_refused() {
        assert!(Place::parse("").is_err());
        assert!(Place::parse("sqlite://").is_err());
    }
}
