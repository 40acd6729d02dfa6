//! `serctl`: manages the users and looks at the registrations of a SER server.
#![forbid(unsafe_code)]

#[path = "../data.rs"]
mod data;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use store::{AliasTarget, Store, StoredBinding, StoredDomain, TableName};

/// Manages the users of a SER server and shows who is registered.
///
/// Works on the server's database, whether the server runs or not.
#[derive(Debug, Parser)]
#[command(name = "serctl", version, max_term_width = 100)]
#[command(after_help = "Examples:
  serctl add alice secret                a user of the built-in set-up
  serctl add alice@example.com           asks for the password
  serctl ul show --json                  registrations, for programs
Domains: a user without one belongs to the realm \"ser\", which the built-in set-up serves without --domain.")]
struct Arguments {
    /// Database: a path or URL [default: ser.db in the user's data directory]
    #[arg(long, global = true, value_name = "DB")]
    db: Option<String>,
    /// Print JSON instead of tables
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add a user
    Add {
        /// NAME or NAME@DOMAIN
        user: String,
        /// The password; asked for when absent
        password: Option<String>,
    },
    /// Change a user's password
    Passwd {
        /// NAME or NAME@DOMAIN
        user: String,
        /// The password; asked for when absent
        password: Option<String>,
    },
    /// Remove a user
    Rm {
        /// NAME or NAME@DOMAIN
        user: String,
    },
    /// List the users
    #[command(visible_alias = "showdb")]
    Show,
    /// User location: who is registered where
    #[command(subcommand, visible_alias = "usrloc")]
    Ul(UserLocation),
    /// Further names of users, kept in table dbaliases; no module of this server reads it yet
    #[command(subcommand)]
    Alias(AliasCommand),
    /// Domains, kept in table domain; no module of this server reads it yet
    #[command(subcommand)]
    Domain(DomainCommand),
}

#[derive(Debug, Subcommand)]
enum UserLocation {
    /// List the registrations, of one user or all
    Show {
        /// NAME or NAME@DOMAIN
        user: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum AliasCommand {
    /// Write down that ALIAS means USER
    Add {
        /// ALIAS or ALIAS@DOMAIN
        alias: String,
        /// NAME or NAME@DOMAIN
        user: String,
    },
    /// Show whom ALIAS means
    Show {
        /// ALIAS or ALIAS@DOMAIN
        alias: String,
    },
    /// Remove ALIAS
    Rm {
        /// ALIAS or ALIAS@DOMAIN
        alias: String,
    },
}

#[derive(Debug, Subcommand)]
enum DomainCommand {
    /// Add a domain
    Add {
        /// Its name
        domain: String,
    },
    /// List the domains
    Show,
    /// Remove a domain
    Rm {
        /// Its name
        domain: String,
    },
}

/// The realm of users without a domain, as the built-in set-up has it.
const DEFAULT_REALM: &str = "ser";

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("serctl: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(async {
        let address = arguments.db.clone().unwrap_or_else(default_database);
        let store = Store::open(&address).await.with_context(|| format!("cannot open the database {address}"))?;
        let result = execute(&store, arguments).await;
        store.close().await;
        result
    })
}

async fn execute(store: &Store, arguments: Arguments) -> Result<()> {
    let json = arguments.json;
    match arguments.command {
        Command::Add { user, password } => add(store, &user, password).await,
        Command::Passwd { user, password } => passwd(store, &user, password).await,
        Command::Rm { user } => {
            let (name, domain) = split(&user);
            let removed = store.remove_subscriber(name, domain).await?;
            report(removed, &format!("{user} is removed"), &format!("there is no user {name}@{domain}"))
        }
        Command::Show => show_users(store, json).await,
        Command::Ul(UserLocation::Show { user }) => show_locations(store, user.as_deref(), json).await,
        Command::Alias(command) => alias(store, command, json).await,
        Command::Domain(command) => domain(store, command, json).await,
    }
}

async fn add(store: &Store, user: &str, password: Option<String>) -> Result<()> {
    let (name, domain) = split(user);
    check_name(name)?;
    let password = password_or_ask(password)?;
    let added = store.add_subscriber(name, domain, &password).await?;
    report(
        added,
        &format!("{name}@{domain} is added"),
        &format!("{name}@{domain} exists; change it with `serctl passwd`"),
    )
}

async fn passwd(store: &Store, user: &str, password: Option<String>) -> Result<()> {
    let (name, domain) = split(user);
    let password = password_or_ask(password)?;
    let changed = store.set_password(name, domain, &password).await?;
    report(changed, &format!("{name}@{domain} has a new password"), &format!("there is no user {name}@{domain}"))
}

async fn show_users(store: &Store, json: bool) -> Result<()> {
    const PAGE: u32 = 1000;
    let mut rows = Vec::new();
    let mut after = 0;
    loop {
        let page = store.subscribers(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        rows.extend(page.into_iter().map(|account| vec![account.username, account.domain]));
    }
    print(&["user", "domain"], &rows, json)
}

async fn show_locations(store: &Store, user: Option<&str>, json: bool) -> Result<()> {
    let table = TableName::new("location")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64;
    let mut rows = Vec::new();
    let mut unreadable = 0;
    store
        .all_bindings(&table, |binding| {
            let Ok(binding) = binding else { return unreadable += 1 };
            let is_wanted = user.is_none_or(|user| is_of(user, &binding.username, binding.domain.as_deref()));
            if is_wanted && (binding.expires == 0 || binding.expires > now) {
                rows.push(location_row(binding, now));
            }
        })
        .await?;
    if unreadable > 0 {
        eprintln!("serctl: {unreadable} registrations cannot be read and are left out");
    }
    print(&["user", "contact", "received", "q", "expires in s", "user agent"], &rows, json)
}

/// Whether a registration is of `user`. A domain counts where both have one: without --domain the server
/// keeps registrations without.
fn is_of(user: &str, own_name: &str, own_domain: Option<&str>) -> bool {
    let user = user.strip_prefix("sip:").unwrap_or(user);
    let (name, domain) = user.split_once('@').map_or((user, None), |(name, domain)| (name, Some(domain)));
    let own = own_domain.filter(|own| !own.is_empty());
    // The registrar keeps names in lower case.
    let is_domain = domain.zip(own).is_none_or(|(domain, own)| domain.eq_ignore_ascii_case(own));
    name.eq_ignore_ascii_case(own_name) && is_domain
}

fn location_row(binding: StoredBinding, now: i64) -> Vec<String> {
    let user = match binding.domain {
        Some(domain) if !domain.is_empty() => format!("{}@{domain}", binding.username),
        _ => binding.username,
    };
    let q = if binding.q < 0.0 { String::new() } else { format!("{:.2}", binding.q) };
    let expires = if binding.expires == 0 { "never".to_owned() } else { (binding.expires - now).to_string() };
    vec![user, binding.contact, binding.received.unwrap_or_default(), q, expires, binding.user_agent]
}

async fn alias(store: &Store, command: AliasCommand, json: bool) -> Result<()> {
    match command {
        AliasCommand::Add { alias, user } => {
            let (name, domain) = split(&alias);
            check_name(name)?;
            let (target, target_domain) = split(&user);
            let target = AliasTarget { username: target.to_owned(), domain: target_domain.to_owned() };
            let added = store.add_alias(name, domain, &target).await?;
            report(added, &format!("{alias} means {user}"), &format!("{alias} is taken"))
        }
        AliasCommand::Show { alias } => {
            let (name, domain) = split(&alias);
            let targets = store.alias_targets(name, domain).await?;
            let rows: Vec<_> = targets.into_iter().map(|target| vec![target.username, target.domain]).collect();
            print(&["user", "domain"], &rows, json)
        }
        AliasCommand::Rm { alias } => {
            let (name, domain) = split(&alias);
            let removed = store.remove_alias(name, domain).await? > 0;
            report(removed, &format!("{alias} is removed"), &format!("there is no alias {name}@{domain}"))
        }
    }
}

async fn domain(store: &Store, command: DomainCommand, json: bool) -> Result<()> {
    match command {
        DomainCommand::Add { domain } => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64;
            let added = store.add_domain(&StoredDomain { domain: domain.clone(), did: None }, now).await?;
            report(added, &format!("{domain} is added"), &format!("{domain} exists"))
        }
        DomainCommand::Show => {
            let rows: Vec<_> = store.domains().await?.into_iter().map(|domain| vec![domain.domain]).collect();
            print(&["domain"], &rows, json)
        }
        DomainCommand::Rm { domain } => {
            let removed = store.remove_domain(&domain).await?;
            report(removed, &format!("{domain} is removed"), &format!("there is no domain {domain}"))
        }
    }
}

fn default_database() -> String {
    data::database(&data::directory(None)).to_string_lossy().into_owned()
}

fn split(user: &str) -> (&str, &str) {
    let user = user.strip_prefix("sip:").unwrap_or(user);
    user.split_once('@').unwrap_or((user, DEFAULT_REALM))
}

/// The characters of a SIP user part that need no escape (RFC 3261 section 25.1), so that what is typed
/// here is what phones send.
fn check_name(name: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.!~*'()&=+$,;?/".contains(c);
    if name.is_empty() || !name.chars().all(is_plain) {
        bail!("`{name}` cannot be a user name: use letters, digits and -_.!~*'()&=+$,;?/");
    }
    Ok(())
}

fn password_or_ask(given: Option<String>) -> Result<String> {
    let password = given.map_or_else(ask_password, Ok)?;
    if password.is_empty() {
        bail!("an empty password would let anybody in");
    }
    Ok(password)
}

fn ask_password() -> Result<String> {
    let mut stderr = std::io::stderr();
    if std::io::stdin().is_terminal() {
        write!(stderr, "Password: ").and_then(|()| stderr.flush()).context("cannot ask for the password")?;
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("cannot read the password")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn report(done: bool, yes: &str, no: &str) -> Result<()> {
    if !done {
        bail!("{no}");
    }
    println!("{yes}");
    Ok(())
}

fn print(columns: &[&str], rows: &[Vec<String>], json: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let text = if json { as_json(columns, rows)? } else { as_table(columns, rows) };
    out.write_all(text.as_bytes()).context("cannot print")
}

fn as_json(columns: &[&str], rows: &[Vec<String>]) -> Result<String> {
    let object = |row: &Vec<String>| {
        let fields = columns.iter().zip(row);
        fields.map(|(name, value)| (name.replace(' ', "_"), serde_json::Value::from(value.as_str()))).collect()
    };
    let objects: Vec<serde_json::Map<String, serde_json::Value>> = rows.iter().map(object).collect();
    Ok(serde_json::to_string_pretty(&objects).context("cannot write JSON")? + "\n")
}

fn as_table(columns: &[&str], rows: &[Vec<String>]) -> String {
    // What phones sent must not command the terminal.
    let printable = |cell: &String| cell.replace(char::is_control, "?");
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(printable).collect()).collect();
    let width = |n: usize| {
        let cells = rows.iter().map(|row| row[n].chars().count());
        cells.chain([columns[n].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    let body = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(line(columns.to_vec())).chain(body).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_without_domain_belongs_to_the_realm_of_the_built_in_set_up() {
        assert_eq!(split("alice"), ("alice", "ser"));
        assert_eq!(split("sip:alice@example.com"), ("alice", "example.com"));
    }

    #[test]
    fn a_name_that_would_need_escapes_is_refused() {
        assert!(check_name("alice.b-2").is_ok());
        assert!(check_name("a b").is_err());
        assert!(check_name("").is_err());
    }

    #[test]
    fn an_empty_password_is_refused_wherever_it_comes_from() {
        assert!(password_or_ask(Some(String::new())).is_err());
        assert!(password_or_ask(Some("secret".to_owned())).is_ok());
    }

    #[test]
    fn what_a_phone_sent_does_not_command_the_terminal() {
        assert_eq!(as_table(&["user agent"], &[vec!["\u{1b}]0;x\u{7}\u{9b}J".to_owned()]]), "user agent\n?]0;x??J\n");
    }

    #[test]
    fn a_user_of_another_domain_is_not_shown() {
        assert!(is_of("alice", "alice", Some("example.com")));
        assert!(is_of("alice@example.com", "alice", Some("example.com")));
        assert!(is_of("alice@example.com", "alice", None));
        assert!(!is_of("alice@example.org", "alice", Some("example.com")));
        assert!(!is_of("bob@example.com", "alice", Some("example.com")));
    }

    #[test]
    fn tables_align_and_json_names_its_fields() {
        let rows = [vec!["alice".to_owned(), "example.com".to_owned()], vec!["b".to_owned(), "x".to_owned()]];
        assert_eq!(as_table(&["user", "domain"], &rows), "user   domain\nalice  example.com\nb      x\n");
        let json = as_json(&["expires in s"], &[vec!["5".to_owned()]]).expect("strings are JSON");
        assert_eq!(json, "[\n  {\n    \"expires_in_s\": \"5\"\n  }\n]\n");
    }
}
