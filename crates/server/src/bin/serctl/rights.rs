//! What belongs to a user besides the password: groups, identity, address for mail.

use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use store::{Cell, ColumnName, Condition, Database, Kind, Select, TableName, Write};

use crate::arguments::{AclCommand, RpidCommand, Verb};
use crate::schema;
use crate::show::print;
use crate::stored::{check_name, report, split};

/// Does what a verb asks of the database at `address`.
///
/// # Errors
/// What keeps it from being done.
pub(crate) async fn execute(address: &str, verb: &Verb, json: bool) -> Result<()> {
    let database = schema::open(address).await?;
    if database.kind() == Kind::Sqlite {
        // The file is ours, and may be as new as this command.
        database.make_schema().await.with_context(|| format!("database {}", database.address()))?;
    }
    let done = match verb {
        Verb::Acl(command) => acl(&database, command, json).await,
        Verb::Rpid(command) => rpid(&database, command, json).await,
        Verb::Mail { user, subject, set, show, mailer } => match (set, show) {
            (Some(email), _) => set_email(&database, user, email).await,
            (None, true) => show_texts(&database, EMAIL, Some(user), json).await,
            (None, false) => mail(&database, user, subject, mailer).await,
        },
        _ => bail!("this is not kept in the database"),
    };
    database.close().await;
    done.with_context(|| format!("database {}", database.address()))
}

/// Sets where mail reaches a user.
///
/// # Errors
/// When there is no such user, or the address is none.
pub(crate) async fn set_email(database: &Database, user: &str, email: &str) -> Result<()> {
    let is_plain = email.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
    if !is_plain || email.starts_with('-') || email.chars().any(|c| c.is_whitespace() || c.is_control()) {
        bail!("`{email}` is no address for mail");
    }
    set_text(database, user, EMAIL, email).await?;
    println!("mail for {user} goes to {email}");
    Ok(())
}

fn name(text: &str) -> ColumnName {
    TableName::new(text).expect("a literal name")
}

fn select(table: &str, columns: &[&str], filter: Vec<Condition>) -> Select {
    let columns: Vec<ColumnName> = columns.iter().map(|column| name(column)).collect();
    Select { table: name(table), order: vec![columns[0].clone()], columns, filter, limit: 1_000_000 }
}

/// The rows of a user.
fn is_user(user: &str) -> Vec<Condition> {
    let (user, domain) = split(user);
    vec![Condition::equal(&name("username"), user), Condition::equal_folded(&name("domain"), domain)]
}

async fn acl(database: &Database, command: &AclCommand, json: bool) -> Result<()> {
    match command {
        AclCommand::Show { user } => {
            let filter = user.as_deref().map(is_user).unwrap_or_default();
            let found = database.select(&select("grp", &["username", "domain", "grp"], filter)).await?;
            print(&["user", "domain", "group"], &texts(found.rows), json)
        }
        AclCommand::Grant { user, groups } => {
            let (short, domain) = split(user);
            check_name(short)?;
            for group in groups {
                check_group(group)?;
                let row = vec![
                    (name("username"), Cell::from(short)),
                    (name("domain"), Cell::from(domain)),
                    (name("grp"), Cell::from(group.as_str())),
                    (name("last_modified"), Cell::Time(now())),
                ];
                let filter = [is_user(user), vec![Condition::equal(&name("grp"), group.as_str())]].concat();
                let writes = [Write::Delete { table: name("grp"), filter }, Write::Insert { table: name("grp"), row }];
                database.write(&writes).await?;
            }
            println!("{user} is in {}", groups.join(", "));
            Ok(())
        }
        AclCommand::Revoke { user, groups } => {
            let filters = match groups.is_empty() {
                true => vec![is_user(user)],
                false => groups
                    .iter()
                    .map(|group| [is_user(user), vec![Condition::equal(&name("grp"), group.as_str())]].concat())
                    .collect(),
            };
            let deletes: Vec<Write> =
                filters.into_iter().map(|filter| Write::Delete { table: name("grp"), filter }).collect();
            let count: u64 = database.write(&deletes).await?.iter().sum();
            let groups = if groups.is_empty() { "any group".to_owned() } else { groups.join(", ") };
            report(count > 0, &format!("{user} is out of {groups}"), &format!("{user} was not in {groups}"))
        }
    }
}

fn check_group(group: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    if group.is_empty() || group.len() > 64 || !group.chars().all(is_plain) {
        bail!("`{group}` cannot be a group: use up to 64 letters, digits and -_.+");
    }
    Ok(())
}

const RPID: &str = "rpid";
const EMAIL: &str = "email_address";

async fn rpid(database: &Database, command: &RpidCommand, json: bool) -> Result<()> {
    match command {
        RpidCommand::Add { user, rpid } => {
            set_text(database, user, RPID, rpid).await?;
            println!("{user} has the identity {rpid}");
            Ok(())
        }
        RpidCommand::Rm { user } => {
            set_text(database, user, RPID, "").await?;
            println!("{user} has no identity");
            Ok(())
        }
        RpidCommand::Show { user } => show_texts(database, RPID, user.as_deref(), json).await,
    }
}

/// Writes a column of a user; empty is NULL. Kamailio's table has neither of the two, SER's had both.
async fn set_text(database: &Database, user: &str, column: &str, text: &str) -> Result<()> {
    let (short, domain) = split(user);
    if !database.has_column(&name("subscriber"), &name(column)).await? {
        database.add_text_column(&name("subscriber"), &name(column), 128).await?;
        eprintln!("serctl: table subscriber has got a column {column}");
    }
    let value = Some(text).filter(|text| !text.is_empty()).map_or(Cell::Null, Cell::from);
    let set = vec![(name(column), value)];
    let update = Write::Update { table: name("subscriber"), set, filter: is_user(user), must_match: false };
    let touched: u64 = database.write(&[update]).await?.iter().sum();
    if touched == 0 {
        bail!("there is no user {short}@{domain}");
    }
    Ok(())
}

async fn show_texts(database: &Database, column: &str, user: Option<&str>, json: bool) -> Result<()> {
    let mut rows = Vec::new();
    if database.has_column(&name("subscriber"), &name(column)).await? {
        let filter = user.map(is_user).unwrap_or_default();
        let found = database.select(&select("subscriber", &["username", "domain", column], filter)).await?;
        rows = texts(found.rows);
        rows.retain(|row| !row[2].is_empty());
    }
    print(&["user", "domain", column], &rows, json)
}

async fn mail(database: &Database, user: &str, subject: &str, mailer: &str) -> Result<()> {
    let mut address = None;
    if database.has_column(&name("subscriber"), &name(EMAIL)).await? {
        let found = database.select(&select("subscriber", &[EMAIL], is_user(user))).await?;
        address = found.rows.first().and_then(|row| row[0].to_text()).filter(|address| !address.is_empty());
    }
    let Some(address) = address else {
        bail!("no address is known for {user}; `serctl mail {user} --set ADDRESS` sets one");
    };
    // Whoever wrote the row may not turn it into an option.
    if address.starts_with('-') {
        bail!("`{address}` is no address for mail");
    }
    let mut command = Command::new(mailer);
    command.args(["-s", subject, "--", &address]).stdin(Stdio::inherit());
    let status = command.status().with_context(|| format!("cannot run {mailer}; --mailer names another program"))?;
    report(status.success(), &format!("mail to {address} is on its way"), &format!("{mailer} failed: {status}"))
}

fn texts(rows: Vec<Vec<Cell>>) -> Vec<Vec<String>> {
    rows.iter().map(|row| row.iter().map(|cell| cell.to_text().unwrap_or_default()).collect()).collect()
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn database() -> Database {
        let database = schema::open(":memory:").await.expect("it opens");
        database.make_schema().await.expect("the tables are made");
        let row = vec![(name("username"), Cell::from("alice")), (name("domain"), Cell::from("ser"))];
        database.write(&[Write::Insert { table: name("subscriber"), row }]).await.expect("alice is added");
        database
    }

    async fn column(database: &Database, table: &str, column: &str) -> Vec<String> {
        let found = database.select(&select(table, &[column], vec![])).await.expect("it is there");
        texts(found.rows).concat()
    }

    #[tokio::test]
    async fn groups_are_granted_once_and_revoked() {
        let database = database().await;
        let grant = AclCommand::Grant { user: "alice".into(), groups: vec!["int".into(), "ld".into(), "int".into()] };
        acl(&database, &grant, false).await.expect("they are granted");
        assert_eq!(column(&database, "grp", "grp").await, ["int", "ld"]);
        let revoke = |groups: &[&str]| AclCommand::Revoke {
            user: "alice".into(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        };
        acl(&database, &revoke(&["int"]), false).await.expect("it is revoked");
        assert!(acl(&database, &revoke(&["int"]), false).await.is_err(), "it was not there any more");
        acl(&database, &revoke(&[]), false).await.expect("all are revoked");
        assert_eq!(column(&database, "grp", "grp").await, Vec::<String>::new());
        let hostile = AclCommand::Grant { user: "alice".into(), groups: vec!["x'; DROP TABLE grp".into()] };
        assert!(acl(&database, &hostile, false).await.is_err());
    }

    #[tokio::test]
    async fn an_identity_brings_its_column() {
        let database = database().await;
        let add = |user: &str| RpidCommand::Add { user: user.into(), rpid: "sip:+49@example.com".into() };
        rpid(&database, &add("alice"), false).await.expect("it is set");
        assert_eq!(column(&database, "subscriber", "rpid").await, ["sip:+49@example.com"]);
        let error = rpid(&database, &add("mallory"), false).await.expect_err("there is nobody of that name");
        assert_eq!(error.to_string(), "there is no user mallory@ser");
        rpid(&database, &RpidCommand::Rm { user: "alice".into() }, false).await.expect("it is removed");
        assert_eq!(column(&database, "subscriber", "rpid").await, [""]);
    }

    #[tokio::test]
    async fn an_address_for_mail_is_no_option_of_the_mailer() {
        let database = database().await;
        for wrong in ["-oQ/tmp@x", "alice", "a b@c", "a@"] {
            assert!(set_email(&database, "alice", wrong).await.is_err(), "{wrong}");
        }
        set_email(&database, "alice", "alice@example.org").await.expect("it is set");
        mail(&database, "alice", "hello", "true").await.expect("`true` takes any mail");
        assert!(mail(&database, "alice", "hello", "false").await.is_err());
        assert!(mail(&database, "bob", "hello", "true").await.is_err());
    }
}
