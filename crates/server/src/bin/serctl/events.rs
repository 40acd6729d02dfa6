//! `serctl events`: what happens, as it happens.

use std::io::Write;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::client::Client;
use crate::show::printable;

/// Prints events until interrupted, or until the server ends.
///
/// # Errors
/// What the server says, and when it is gone.
pub(crate) fn run(client: &Client, filter: &str, json: bool) -> Result<()> {
    let mut listener = Value::from("new");
    loop {
        let number = listener.as_str().map_or_else(|| listener.to_string(), str::to_owned);
        let answer = client.call("events.follow", &[number, "30".to_owned(), filter.to_owned()])?;
        listener = answer["listener"].clone();
        let mut out = std::io::stdout().lock();
        for event in answer["events"].as_array().into_iter().flatten() {
            let line = if json { event.to_string() } else { line(event) };
            writeln!(out, "{line}").context("cannot print")?;
        }
        out.flush().context("cannot print")?;
    }
}

/// The filter in the form that the server reads.
pub(crate) fn filter(kinds: &[String], user: Option<&str>, address: Option<&str>) -> String {
    let kinds = Some(kinds.join(",")).filter(|kinds| !kinds.is_empty());
    let parts = [("events", kinds.as_deref()), ("user", user), ("address", address)];
    let parts = parts.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", escaped(value?))));
    parts.collect::<Vec<_>>().join("&")
}

/// What means something in a query is escaped (RFC 3986 section 2.1).
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~*,:@".contains(&byte);
    let shown = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(shown).collect()
}

/// The time of day in UTC, the kind, and what else is known.
fn line(event: &Value) -> String {
    let seconds = event["time"].as_f64().unwrap_or_default() as u64 % 86_400;
    let clock = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut line = format!("{clock}  {:<20}", event["event"].as_str().unwrap_or_default());
    for (name, value) in event.as_object().into_iter().flatten() {
        if !["id", "event", "time"].contains(&name.as_str()) {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            line += &format!("  {name}={}", printable(&value));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line_that_commands_no_terminal() {
        let event = serde_json::json!({"id": 7, "event": "ban", "time": 3_723.5, "address": "192.0.2.1\u{1b}[2J"});
        assert_eq!(line(&event), "01:02:03  ban                   address=192.0.2.1?[2J");
    }

    #[test]
    fn filters_are_written_as_a_query() {
        let kinds = ["call.*".to_owned(), "ban".to_owned()];
        assert_eq!(filter(&kinds, Some("a&b"), None), "events=call.*,ban&user=a%26b");
        assert_eq!(filter(&[], None, None), "");
    }
}
