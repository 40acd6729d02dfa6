//! Where a database lies, as `db_url` says it.

use std::path::PathBuf;

use crate::Error;
use crate::place::{Place, without_password};

/// The address of a database, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Url {
    Sqlite(Place),
    Postgres(Server),
    MySql(Server),
    /// A directory of text files.
    Text(PathBuf),
}

/// A database server and who we are to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Server {
    pub(super) user: String,
    pub(super) password: Option<String>,
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) database: String,
    /// A Unix socket, or for PostgreSQL the directory that it lies in.
    pub(super) socket: Option<PathBuf>,
    pub(super) tls_mode: Option<String>,
    pub(super) tls_ca: Option<PathBuf>,
    /// For messages: the address without its password.
    shown: String,
}

impl Server {
    pub(super) fn refuse(&self, why: &'static str) -> Error {
        Error::Address { address: self.shown.clone(), why }
    }
}

impl Url {
    /// Reads `sqlite:///path`, `postgres://user:password@host:port/database`, the same with `mysql`, and
    /// `text:///directory`. The password is taken as it stands, as Kamailio takes it: what comes before the last `@`.
    ///
    /// Behind `?`, joined by `&`: `socket=PATH`, `sslmode=MODE` (or `ssl-mode`), `sslrootcert=FILE` (or `ssl-ca`).
    pub(super) fn parse(address: &str) -> Result<Url, Error> {
        let scheme = address.split_once(':').map_or("", |(scheme, _)| scheme);
        let refused = |why| Err(Error::Address { address: without_password(address), why });
        match scheme {
            "postgres" | "postgresql" | "db_postgres" => {
                server(address, "a PostgreSQL address is written postgres://user:password@host/database")
                    .map(Url::Postgres)
            }
            "mysql" | "mariadb" | "db_mysql" => {
                server(address, "a MySQL address is written mysql://user:password@host/database").map(Url::MySql)
            }
            "text" | "dbtext" | "db_text" => match address.split_once("://") {
                Some((_, "")) | None => refused("a text database is written text:///directory"),
                Some((_, path)) => Ok(Url::Text(PathBuf::from(path))),
            },
            _ => Place::parse(address).map(Url::Sqlite),
        }
    }
}

fn server(address: &str, form: &'static str) -> Result<Server, Error> {
    let shown = without_password(address);
    let refused = |why| Error::Address { address: shown.clone(), why };
    let (_, rest) = address.split_once("://").ok_or_else(|| refused(form))?;
    // The part behind `?` holds no `@` in practice, and a password may hold a `?`.
    let (who, place) = rest.rsplit_once('@').unwrap_or(("", rest));
    let (user, password) = match who.split_once(':') {
        Some((user, password)) => (user, Some(password.to_owned())),
        None => (who, None),
    };
    let (place, options) = place.split_once('?').unwrap_or((place, ""));
    let (host, database) = place.split_once('/').ok_or_else(|| refused(form))?;
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.contains(']') => {
            (host, Some(port.parse().map_err(|_| refused("the port is not a number"))?))
        }
        _ => (host, None),
    };
    if database.is_empty() {
        return Err(refused("the name of the database is missing behind the host"));
    }
    let mut server = Server {
        user: if user.is_empty() { "ser".to_owned() } else { user.to_owned() },
        password,
        host: if host.is_empty() { "localhost".to_owned() } else { host.trim_matches(['[', ']']).to_owned() },
        port,
        database: database.to_owned(),
        shown: shown.clone(),
        ..Server::default()
    };
    for option in options.split('&').filter(|option| !option.is_empty()) {
        match option.split_once('=').unwrap_or((option, "")) {
            ("socket", path) => server.socket = Some(PathBuf::from(path)),
            ("sslmode" | "ssl-mode", mode) => server.tls_mode = Some(mode.to_owned()),
            ("sslrootcert" | "ssl-ca", file) => server.tls_ca = Some(PathBuf::from(file)),
            _ => return Err(refused("behind ? only socket, sslmode and sslrootcert are known")),
        }
    }
    Ok(server)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postgres(address: &str) -> Server {
        match Url::parse(address).expect("it is an address") {
            Url::Postgres(server) => server,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_server_is_named_with_user_password_host_port_and_database() {
        let server = postgres("postgres://ser:s3:cr@t/?@db.example.com:5433/sip?sslmode=verify-full");
        assert_eq!((server.user.as_str(), server.password.as_deref()), ("ser", Some("s3:cr@t/?")));
        assert_eq!(
            (server.host.as_str(), server.port, server.database.as_str()),
            ("db.example.com", Some(5433), "sip")
        );
        assert_eq!(server.tls_mode.as_deref(), Some("verify-full"));
        let server = postgres("postgresql:///sip?socket=/run/postgresql");
        assert_eq!((server.user.as_str(), server.password, server.host.as_str()), ("ser", None, "localhost"));
        assert_eq!(server.socket, Some(PathBuf::from("/run/postgresql")));
        assert_eq!(postgres("postgres://u@[::1]:5432/d").host, "::1");
    }

    #[test]
    fn text_files_lie_in_a_directory_and_the_rest_is_sqlite() {
        assert_eq!(Url::parse("text:///usr/local/etc/ser/dbtext"), Ok(Url::Text("/usr/local/etc/ser/dbtext".into())));
        assert!(matches!(Url::parse("sqlite:///var/lib/ser/ser.db"), Ok(Url::Sqlite(_))));
        assert!(matches!(Url::parse("/var/lib/ser/ser.db"), Ok(Url::Sqlite(_))));
    }

    #[test]
    fn what_is_missing_is_said_without_the_password() {
        let error = Url::parse("mysql://ser:heslo@localhost").expect_err("there is no database in it");
        assert!(error.to_string().contains("mysql://user:password@host/database"), "{error}");
        assert!(!error.to_string().contains("heslo"), "{error}");
    }
}
