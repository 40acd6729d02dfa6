//! Writing a record to where it is wanted.

use std::io::Write as _;
use std::sync::PoisonError;

use module_api::{Call, Level, Value};
use store::TableName;

use super::facts::{Addresses, Event, Facts, values};
use super::settings::{Accounting, Sinks};
use super::table;

/// Writes a record to each of `sinks`; `table` is the database's.
pub(super) fn write(call: &mut Call<'_>, event: &Event<'_>, sinks: Sinks, table: &TableName) {
    let state = call.state::<Accounting>();
    let facts = Facts::of(call, event, state.rules);
    if sinks.log {
        let line = log_line(call, state, &facts);
        call.host.log(state.log_level, &line);
    }
    if sinks.database
        && let Some(spool) = &state.spool
    {
        let row = table::row(call, state, &facts);
        if spool.append(table, &row).is_err() {
            // The log is the last place that may still take it.
            let line = [b"the spool of the accounting database is full; ", &log_line(call, state, &facts)[..]].concat();
            call.host.log(Level::Critical, &line);
        }
    }
    if let Some(file) = &state.json {
        let line = json_line(call, state, &facts);
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        // One call for the whole line, so that lines of different workers do not mix.
        if let Err(error) = file.write_all(line.as_bytes()) {
            drop(file);
            call.host.log(Level::Critical, format!("the file of accounting records: {error}; {line}").as_bytes());
        }
    }
}

fn log_line(call: &mut Call<'_>, state: &Accounting, facts: &Facts) -> Vec<u8> {
    let mut line = facts.occasion.title().as_bytes().to_vec();
    match &state.log_format {
        Some(letters) => ser_format(call, facts, letters, &mut line),
        None => kamailio_format(facts, &mut line),
    }
    let extra = values(call, &state.log_extra);
    for ((name, _), value) in state.log_extra.iter().zip(extra) {
        line.extend_from_slice(format!(";{name}=").as_bytes());
        push_clean(&mut line, &value.to_bytes());
    }
    line
}

fn kamailio_format(facts: &Facts, line: &mut Vec<u8>) {
    line.extend_from_slice(format!("timestamp={}", facts.time.0).as_bytes());
    let pairs: [(&str, &[u8]); 6] = [
        ("method", &facts.method),
        ("from_tag", &facts.from_tag),
        ("to_tag", &facts.to_tag),
        ("call_id", &facts.call_id),
        ("code", facts.code.as_bytes()),
        ("reason", &facts.reason),
    ];
    for (name, value) in pairs {
        line.extend_from_slice(format!(";{name}=").as_bytes());
        push_clean(line, value);
    }
}

/// SER's lines: what the letters of `log_fmt` name, in their order.
fn ser_format(call: &Call<'_>, facts: &Facts, letters: &str, line: &mut Vec<u8>) {
    let addresses = Addresses::of(call);
    for (n, letter) in letters.chars().enumerate() {
        let (name, value): (&str, &[u8]) = match letter {
            'c' => ("call_id", &facts.call_id),
            'd' => ("to_tag", &facts.to_tag),
            'f' => ("from", &addresses.from),
            'i' => ("i-uri", &addresses.inbound_uri),
            'm' => ("method", &facts.method),
            'o' => ("o-uri", &addresses.outbound_uri),
            'r' => ("from_tag", &facts.from_tag),
            's' => ("code", facts.code.as_bytes()),
            't' => ("to", &addresses.to),
            'u' => ("user", &addresses.user),
            _ => ("user_part", &addresses.user_part),
        };
        line.extend_from_slice(if n == 0 { b"" } else { b", " });
        line.extend_from_slice(format!("{name}=").as_bytes());
        push_clean(line, value);
    }
}

/// A value without line ends: one that forged a second record would be believed.
pub(super) fn push_clean(line: &mut Vec<u8>, value: &[u8]) {
    line.extend(value.iter().map(|octet| if octet.is_ascii_control() { b' ' } else { *octet }));
}

fn json_line(call: &mut Call<'_>, state: &Accounting, facts: &Facts) -> String {
    let text = |octets: &[u8]| serde_json::Value::String(String::from_utf8_lossy(octets).into_owned());
    let mut object = serde_json::Map::new();
    object.insert("event".into(), facts.occasion.word().into());
    object.insert("time".into(), (facts.time.0 as f64 + f64::from(facts.time.1) / 1e6).into());
    object.insert("method".into(), text(&facts.method));
    object.insert("from_tag".into(), text(&facts.from_tag));
    object.insert("to_tag".into(), text(&facts.to_tag));
    object.insert("call_id".into(), text(&facts.call_id));
    object.insert("code".into(), facts.code.parse::<i64>().map_or(serde_json::Value::Null, Into::into));
    object.insert("reason".into(), text(&facts.reason));
    let identity = crate::auth::verified(call.context).map(|credentials| text(credentials.username));
    object.insert("authenticated".into(), identity.unwrap_or_default());
    for extra in [&state.log_extra, &state.db_extra] {
        let found = values(call, extra);
        for ((name, _), value) in extra.iter().zip(found) {
            let value = match value {
                Value::Null => serde_json::Value::Null,
                Value::Int(number) => number.into(),
                Value::Str(octets) => text(&octets),
            };
            object.insert(name.clone(), value);
        }
    }
    let mut line = serde_json::Value::Object(object).to_string();
    line.push('\n');
    line
}
