//! What is kept in the database: users, aliases, domains, and registrations as they are written there.

use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use store::{AliasTarget, Store, StoredBinding, StoredDomain, TableName};

use crate::arguments::{AliasCommand, DomainCommand, Verb};
use crate::show::print;

/// The realm of users without a domain, as the built-in set-up has it.
const DEFAULT_REALM: &str = "ser";

/// Does what a verb asks of the database at `address`.
///
/// # Errors
/// What keeps it from being done.
pub(crate) async fn execute(address: &str, verb: &Verb, json: bool) -> Result<()> {
    let store = Store::open(address).await.with_context(|| format!("cannot open the database {address}"))?;
    let result = of_verb(&store, verb, json).await;
    store.close().await;
    result?;
    if let Verb::Add { user, email: Some(email), .. } = verb {
        let database = crate::schema::open(address).await?;
        crate::rights::set_email(&database, user, email).await?;
        database.close().await;
    }
    Ok(())
}

async fn of_verb(store: &Store, verb: &Verb, json: bool) -> Result<()> {
    match verb {
        Verb::Add { user, password, .. } => add(store, user, password.clone()).await,
        Verb::Passwd { user, password } => passwd(store, user, password.clone()).await,
        Verb::Rm { user } => {
            let (name, domain) = split(user);
            let removed = store.remove_subscriber(name, domain).await?;
            report(removed, &format!("{user} is removed"), &format!("there is no user {name}@{domain}"))
        }
        Verb::Show => show_users(store, json).await,
        Verb::Alias(command) => alias(store, command, json).await,
        Verb::Domain(command) => domain(store, command, json).await,
        _ => bail!("this is not kept in the database"),
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

/// Registrations as the database has them.
///
/// # Errors
/// When it cannot be read.
pub(crate) async fn show_locations(address: &str, user: Option<&str>, json: bool) -> Result<()> {
    let store = Store::open(address).await.with_context(|| format!("cannot open the database {address}"))?;
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
    store.close().await;
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

async fn alias(store: &Store, command: &AliasCommand, json: bool) -> Result<()> {
    match command {
        AliasCommand::Add { alias, user } => {
            let (name, domain) = split(alias);
            check_name(name)?;
            let (target, target_domain) = split(user);
            let target = AliasTarget { username: target.to_owned(), domain: target_domain.to_owned() };
            let added = store.add_alias(name, domain, &target).await?;
            report(added, &format!("{alias} means {user}"), &format!("{alias} is taken"))
        }
        AliasCommand::Show { alias } => {
            let (name, domain) = split(alias);
            let targets = store.alias_targets(name, domain).await?;
            let rows: Vec<_> = targets.into_iter().map(|target| vec![target.username, target.domain]).collect();
            print(&["user", "domain"], &rows, json)
        }
        AliasCommand::Rm { alias } => {
            let (name, domain) = split(alias);
            let removed = store.remove_alias(name, domain).await? > 0;
            report(removed, &format!("{alias} is removed"), &format!("there is no alias {name}@{domain}"))
        }
    }
}

async fn domain(store: &Store, command: &DomainCommand, json: bool) -> Result<()> {
    match command {
        DomainCommand::Add { domain } => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64;
            let added = store.add_domain(&StoredDomain { domain: domain.clone(), did: None }, now).await?;
            report(added, &format!("{domain} is added"), &format!("{domain} exists"))
        }
        DomainCommand::Reload => bail!("this is asked of the running server"),
        DomainCommand::Show => {
            let rows: Vec<_> = store.domains().await?.into_iter().map(|domain| vec![domain.domain]).collect();
            print(&["domain"], &rows, json)
        }
        DomainCommand::Rm { domain } => {
            let removed = store.remove_domain(domain).await?;
            report(removed, &format!("{domain} is removed"), &format!("there is no domain {domain}"))
        }
    }
}

/// Name and domain.
pub(crate) fn split(user: &str) -> (&str, &str) {
    let user = user.strip_prefix("sip:").unwrap_or(user);
    user.split_once('@').unwrap_or((user, DEFAULT_REALM))
}

/// The characters of a SIP user part that need no escape (RFC 3261 section 25.1), so that what is typed
/// here is what phones send.
pub(crate) fn check_name(name: &str) -> Result<()> {
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
    let stdin = std::io::stdin();
    let mut line = String::new();
    if stdin.is_terminal() {
        let _unseen = Unseen::on(&stdin).context("cannot keep the terminal from showing the password")?;
        write!(stderr, "Password: ").and_then(|()| stderr.flush()).context("cannot ask for the password")?;
        stdin.read_line(&mut line).context("cannot read the password")?;
        // The line end was not shown either. Where standard error is closed, nobody misses it.
        let _ = writeln!(stderr);
    } else {
        stdin.read_line(&mut line).context("cannot read the password")?;
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A terminal that does not show what is typed until this is dropped.
struct Unseen<'a, T: AsFd> {
    terminal: &'a T,
    before: Termios,
}

impl<'a, T: AsFd> Unseen<'a, T> {
    fn on(terminal: &'a T) -> nix::Result<Unseen<'a, T>> {
        let before = tcgetattr(terminal)?;
        let mut without = before.clone();
        without.local_flags.remove(LocalFlags::ECHO);
        // What was typed before the question is thrown away: it has been shown.
        tcsetattr(terminal, SetArg::TCSAFLUSH, &without)?;
        Ok(Unseen { terminal, before })
    }
}

impl<T: AsFd> Drop for Unseen<'_, T> {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing.
        let _ = tcsetattr(self.terminal, SetArg::TCSANOW, &self.before);
    }
}

pub(crate) fn report(done: bool, yes: &str, no: &str) -> Result<()> {
    if !done {
        bail!("{no}");
    }
    println!("{yes}");
    Ok(())
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
    fn a_terminal_does_not_show_a_password() {
        let terminal = nix::pty::openpty(None, None).expect("there is a terminal left");
        let is_shown = || tcgetattr(&terminal.slave).expect("a terminal").local_flags.contains(LocalFlags::ECHO);
        let unseen = Unseen::on(&terminal.slave).expect("a terminal");
        assert!(!is_shown());
        drop(unseen);
        assert!(is_shown());
    }

    #[test]
    fn an_empty_password_is_refused_wherever_it_comes_from() {
        assert!(password_or_ask(Some(String::new())).is_err());
        assert!(password_or_ask(Some("secret".to_owned())).is_ok());
    }

    #[test]
    fn a_user_of_another_domain_is_not_shown() {
        assert!(is_of("alice", "alice", Some("example.com")));
        assert!(is_of("alice@example.com", "alice", Some("example.com")));
        assert!(is_of("alice@example.com", "alice", None));
        assert!(!is_of("alice@example.org", "alice", Some("example.com")));
        assert!(!is_of("bob@example.com", "alice", Some("example.com")));
    }
}
