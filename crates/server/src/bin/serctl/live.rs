//! Verbs that concern the running server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::client::Client;
use crate::show::{print, print_result};

/// Registrations in the running server, of one user or all.
///
/// # Errors
/// When the server does not answer.
pub(crate) fn show_locations(client: &Client, user: Option<&str>, json: bool) -> Result<()> {
    let found = match user {
        Some(user) => match client.call("ul.lookup", &["location".to_owned(), user.to_owned()]) {
            Ok(one) => vec![one],
            // Nobody there is an answer, as an empty table is.
            Err(error) if error.to_string().starts_with("AOR not found") => Vec::new(),
            Err(error) => return Err(error),
        },
        None => all_users(&client.call("ul.dump", &[])?),
    };
    let rows: Vec<Vec<String>> = found.iter().flat_map(rows_of).collect();
    print(&["user", "contact", "received", "q", "expires in s", "user agent"], &rows, json)
}

/// Names of those who are registered.
///
/// # Errors
/// When the server does not answer.
pub(crate) fn online(client: &Client, json: bool) -> Result<()> {
    let users = all_users(&client.call("ul.dump", &["brief".to_owned()])?);
    let rows: Vec<Vec<String>> = users.iter().map(|user| vec![text(user, "AoR")]).collect();
    print(&["user"], &rows, json)
}

/// `AoR` and `Contacts` of everybody in table location.
fn all_users(dump: &Value) -> Vec<Value> {
    let items = |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let domains = items(dump, "Domains").into_iter().filter_map(|domain| domain.get("Domain").cloned());
    let locations = domains.filter(|domain| domain.get("Domain").is_some_and(|name| name == "location"));
    locations.flat_map(|domain| items(&domain, "AoRs")).map(|user| user.get("Info").cloned().unwrap_or(user)).collect()
}

fn rows_of(user: &Value) -> Vec<Vec<String>> {
    let contacts = user.get("Contacts").and_then(Value::as_array).cloned().unwrap_or_default();
    let row = |contact: &Value| {
        let contact = contact.get("Contact").unwrap_or(contact);
        let set = |name| Some(text(contact, name)).filter(|text| text != "[not set]").unwrap_or_default();
        let q = Some(text(contact, "Q")).filter(|q| q != "-1").unwrap_or_default();
        vec![
            text(user, "AoR"),
            text(contact, "Address"),
            set("Received"),
            q,
            text(contact, "Expires"),
            text(contact, "User-Agent"),
        ]
    };
    contacts.iter().map(row).collect()
}

fn text(value: &Value, name: &str) -> String {
    match value.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    }
}

/// Calls a command and prints its result.
///
/// # Errors
/// What the command says.
pub(crate) fn call(client: &Client, words: &[String], json: bool) -> Result<()> {
    let (command, arguments) = words.split_first().context("name a command; `serctl which` lists them")?;
    print_result(&client.call(command, arguments)?, json)
}

/// Adds a contact.
///
/// # Errors
/// What the command says.
pub(crate) fn add_location(client: &Client, user: &str, contact: &str, expires: u32) -> Result<()> {
    let arguments = ["location", user, contact, &expires.to_string()].map(str::to_owned);
    client.call("ul.add", &arguments)?;
    println!("{user} is registered at {contact}");
    Ok(())
}

/// Removes a user's contacts, or one.
///
/// # Errors
/// What the command says.
pub(crate) fn remove_location(client: &Client, user: &str, contact: Option<&str>) -> Result<()> {
    let mut arguments = vec!["location".to_owned(), user.to_owned()];
    arguments.extend(contact.map(str::to_owned));
    client.call(if contact.is_some() { "ul.rm_contact" } else { "ul.rm" }, &arguments)?;
    println!("{user} is no longer registered{}", contact.map(|contact| format!(" at {contact}")).unwrap_or_default());
    Ok(())
}

/// The most telling figures.
///
/// # Errors
/// When the server does not answer.
pub(crate) fn figures(client: &Client, json: bool) -> Result<()> {
    let statistics = client.call("stats.fetchn", &["all".to_owned()])?;
    if json {
        return print_result(&statistics, true);
    }
    println!("{}", text(&client.call("core.uptime", &[])?, "uptime") + " s up");
    print_result(&statistics, false)
}

/// Starts `ser` in the background.
///
/// # Errors
/// When one runs already, or when it does not start.
pub(crate) fn start(client: &Client, options: &[String]) -> Result<()> {
    if client.is_served() {
        bail!("a server answers at {} already; `serctl restart` starts it anew", client.socket().display());
    }
    let own = std::env::current_exe().context("this program does not know where it lies")?;
    let beside = own.with_file_name("ser");
    let program = if beside.exists() { beside } else { "ser".into() };
    launch(&program, options, None)
}

fn launch(program: &Path, options: &[String], directory: Option<&str>) -> Result<()> {
    let mut command = Command::new(program);
    command.arg("--daemon").args(options);
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    let status = command.status().with_context(|| format!("cannot start {}", program.display()))?;
    if !status.success() {
        bail!("the server did not start; its own message stands above");
    }
    println!("the server runs");
    Ok(())
}

/// How long a stop may take: a drain, and time to write down what modules hold.
const STOP: Duration = Duration::from_secs(60);

/// Stops the server and waits until it is gone.
///
/// # Errors
/// When none runs, or when it does not end.
pub(crate) fn stop(client: &Client) -> Result<()> {
    let process = client.call("core.info", &[])?["pid"].clone();
    client.call("core.drain", &[])?;
    let begin = Instant::now();
    // It takes no more commands a moment before it gives its addresses up. A process that has ended has no program.
    let program = format!("/proc/{process}/exe");
    let is_there = || !std::fs::read_link(&program).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
    while client.is_served() || is_there() {
        if begin.elapsed() > STOP {
            bail!("the server still runs after {} seconds; `serctl core.kill 9` ends it at once", STOP.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("the server has stopped");
    Ok(())
}

/// Has the program that lies in the server's place take over, and waits until it has.
///
/// # Errors
/// When none runs, when the new program would not start, or when it does not take over.
pub(crate) fn upgrade(client: &Client) -> Result<()> {
    let began =
        |client: &Client| Ok::<_, anyhow::Error>(client.call("core.top", &["0".to_owned()])?["started"].clone());
    let before = began(client)?;
    client.call("core.upgrade", &[])?;
    println!("the new program would start; the running one finishes what is open");
    let begin = Instant::now();
    while begin.elapsed() < STOP {
        if began(client).is_ok_and(|now| now != before) {
            let failed = text(&client.call("core.info", &[])?, "failed_upgrade");
            if !failed.is_empty() {
                bail!("the new program cannot be run ({failed}); the one before goes on");
            }
            println!("the new program has taken over");
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("the new program has not taken over after {} seconds", STOP.as_secs())
}

/// Stops the server and starts it again under the name, in the directory and with the options that it had.
///
/// # Errors
/// When systemd or somebody else must start it, and as [`stop`] and [`start`].
pub(crate) fn restart(client: &Client) -> Result<()> {
    if text(&client.call("core.info", &[])?, "manager") == "systemd" {
        bail!("systemd started this server and would start a second one; use `systemctl restart` with its unit");
    }
    let directory = client.call("core.pwd", &[])?;
    let directory = directory.as_str().context("the server does not know its working directory")?;
    let line = client.call("core.arg", &[])?;
    let (program, options) = command_line(&line, directory)?;
    stop(client)?;
    launch(&program, &options, Some(directory))
}

/// The program of a command line, as seen from anywhere, and its options without the one that every start adds.
fn command_line(line: &Value, directory: &str) -> Result<(PathBuf, Vec<String>)> {
    let mut words = line.as_array().into_iter().flatten().filter_map(Value::as_str);
    let name = words.next().context("the server does not know its command line")?;
    let options: Vec<String> = words.filter(|word| *word != "--daemon").map(str::to_owned).collect();
    if options.iter().map(String::as_str).chain([name, directory]).any(|word| word.contains('\u{fffd}')) {
        bail!("the server's command line is no text; `serctl stop` it and start it as it was started");
    }
    // A name alone was looked up in PATH and is so again.
    let program = if name.contains('/') { Path::new(directory).join(name) } else { PathBuf::from(name) };
    Ok((program, options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restarted_server_keeps_its_name_and_options() {
        let check = |words: &[&str], program: &str, options: &[&str]| {
            let found = command_line(&serde_json::json!(words), "/srv/sip").expect("it is text");
            assert_eq!(found, (PathBuf::from(program), options.iter().map(|word| (*word).to_owned()).collect()));
        };
        check(&["kamailio", "-f", "a.cfg"], "kamailio", &["-f", "a.cfg"]);
        check(&["bin/ser", "--daemon", "-f", "a.cfg"], "/srv/sip/bin/ser", &["-f", "a.cfg"]);
        check(&["/usr/bin/ser"], "/usr/bin/ser", &[]);
        assert!(command_line(&serde_json::json!(["ser", "-f", "\u{fffd}"]), "/").is_err());
    }

    #[test]
    fn a_dump_becomes_rows() {
        let dump = serde_json::json!({"Domains": [
            {"Domain": {"Domain": "aliases", "AoRs": [{"Info": {"AoR": "x", "Contacts": []}}]}},
            {"Domain": {"Domain": "location", "AoRs": [{"Info": {"AoR": "alice", "Contacts": [{"Contact": {
                "Address": "sip:a@192.0.2.7", "Expires": 60, "Q": -1, "Received": "[not set]", "User-Agent": "phone",
            }}]}}]}},
        ]});
        let rows: Vec<_> = all_users(&dump).iter().flat_map(rows_of).collect();
        assert_eq!(rows, [["alice", "sip:a@192.0.2.7", "", "", "60", "phone"]]);
    }
}
