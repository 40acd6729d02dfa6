//! The list of gateways: a file with a line for each, or a table with a row for each.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use module_api::{Setup, SetupError};

use crate::rows::{Row, Source, Wanted};

use super::target::{Attrs, DISABLED, INACTIVE, PROBING, Set, Sets, TRYING, Target};

/// Where the list is.
pub(super) enum List {
    File(PathBuf),
    Table(Source),
}

impl List {
    /// The table where `db_url` names a database, else the file.
    pub(super) fn named(setup: &Setup<'_>) -> Result<List, SetupError> {
        let url = setup.text("db_url");
        if url.is_empty() {
            return Ok(List::File(setup.text("list_file").into()));
        }
        let columns = ["setid_col", "destination_col", "flags_col", "priority_col", "attrs_col"];
        let columns = columns.map(|name| setup.text(name));
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let table = setup.text("table_name");
        let wanted =
            Wanted { setting: "db_url", url: &url, table: &table, columns: &columns, order: None, versions: &[4] };
        Source::at(setup, &wanted).map(List::Table)
    }

    pub(super) fn read_at_start(&self, setup: &Setup<'_>) -> Result<Sets, SetupError> {
        match self {
            List::File(path) => read_file(path).map_err(|cause| SetupError::Setting { name: "list_file", cause }),
            List::Table(table) => from_rows(&table.read_at_start(setup)?).map_err(SetupError::Unavailable),
        }
    }

    pub(super) async fn read(&self) -> Result<Sets, String> {
        match self {
            List::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read_file(&path)).await;
                read.unwrap_or_else(|_| Err("interrupted".to_owned()))
            }
            List::Table(table) => from_rows(&table.read().await?),
        }
    }
}

fn read_file(path: &PathBuf) -> Result<Sets, String> {
    let text = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    parse(&String::from_utf8_lossy(&text)).map_err(|error| format!("{}: {error}", path.display()))
}

/// Takes rows of set, URI, flags, priority and attributes.
fn from_rows(rows: &[Row]) -> Result<Sets, String> {
    let mut sets = HashMap::new();
    for (number, row) in rows.iter().enumerate() {
        let wrong = |cause: String| format!("gateway {}: {cause}", number + 1);
        let target = target_of([0, 1, 2, 3, 4].map(|n| row[n].as_deref().map(str::trim))).map_err(wrong)?;
        let set: &mut Set = sets.entry(target.set).or_default();
        set.targets.push(Arc::new(target));
    }
    Ok(sorted(sets))
}

/// Reads a list. Each line is `SET URI [FLAGS [PRIORITY [ATTRS]]]`; `#` begins a comment.
///
/// # Errors
/// The number of the first line that cannot be read, and why.
pub(super) fn parse(text: &str) -> Result<Sets, String> {
    let mut sets = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let target = target(line).map_err(|cause| format!("line {}: {cause}", number + 1))?;
        let set: &mut Set = sets.entry(target.set).or_default();
        set.targets.push(Arc::new(target));
    }
    Ok(sorted(sets))
}

/// Adds the gateways of `new` that are not there yet.
///
/// # Errors
/// When one is there already.
pub(super) fn add(sets: &mut HashMap<i64, Set>, new: Sets) -> Result<(), String> {
    for (id, set) in new.0 {
        let own = sets.entry(id).or_default();
        for target in set.targets {
            if own.targets.iter().any(|same| same.uri == target.uri) {
                return Err(format!("set {id} has that gateway already"));
            }
            own.targets.push(target);
        }
        own.targets.sort_by_key(|target| std::cmp::Reverse(target.priority));
    }
    Ok(())
}

/// Takes a gateway away.
///
/// # Errors
/// When there is no such gateway.
pub(super) fn remove(sets: &mut HashMap<i64, Set>, id: i64, uri: &[u8]) -> Result<(), String> {
    let set = sets.get_mut(&id);
    let at = set.as_ref().and_then(|set| set.targets.iter().position(|target| target.uri == uri));
    let (Some(set), Some(at)) = (set, at) else {
        return Err("there is no such gateway; dispatcher.list shows all".into());
    };
    set.targets.remove(at);
    if set.targets.is_empty() {
        sets.remove(&id);
    }
    Ok(())
}

/// Takes over what is known of gateways that are on both lists.
pub(super) fn inherit(now: &Sets, before: &Sets) {
    for (id, set) in &now.0 {
        let Some(old) = before.0.get(id) else { continue };
        for target in &set.targets {
            if let Some(same) = old.targets.iter().find(|old| old.uri == target.uri) {
                target.inherit(same);
            }
        }
    }
}

fn sorted(mut sets: HashMap<i64, Set>) -> Sets {
    for set in sets.values_mut() {
        // Stable: those of one priority stay as listed.
        set.targets.sort_by_key(|target| std::cmp::Reverse(target.priority));
    }
    Sets(sets)
}

fn target(line: &str) -> Result<Target, String> {
    let mut words = line.split_whitespace();
    target_of(std::array::from_fn(|_| words.next()))
}

/// A gateway out of set, URI, flags, priority and attributes.
fn target_of([set, uri, flags, priority, attributes]: [Option<&str>; 5]) -> Result<Target, String> {
    let number = |word: Option<&str>, what: &str| match word {
        None => Ok(0),
        Some(word) => parse_number(word).ok_or_else(|| format!("`{word}` is not a {what}")),
    };
    let set = number(set, "set number")?;
    let uri = uri.ok_or("the URI is missing: SET URI [FLAGS [PRIORITY [ATTRS]]]")?;
    let flags = number(flags, "number of flags")?;
    let priority = number(priority, "priority")?;
    let attrs = attributes.map(attrs).transpose()?.unwrap_or_default();
    let flags = flags as u8 & (INACTIVE | TRYING | DISABLED | PROBING);
    Target::new(set, Bytes::copy_from_slice(uri.as_bytes()), flags, priority, attrs)
        .ok_or_else(|| format!("`{uri}` is not a SIP URI, such as sip:192.0.2.7:5060"))
}

fn attrs(text: &str) -> Result<Attrs, String> {
    let text = text.trim_matches('"');
    let mut attrs = Attrs { text: Bytes::copy_from_slice(text.as_bytes()), ..Attrs::default() };
    for pair in text.split(';').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let bytes = || Bytes::copy_from_slice(value.as_bytes());
        let number = || value.parse().map_err(|_| format!("`{name}` must be a number, not `{value}`"));
        match name {
            "weight" => attrs.weight = number()?,
            "rweight" => attrs.relative_weight = number()?,
            "maxload" => attrs.max_load = u64::from(number()?),
            "duid" => attrs.id = bytes(),
            "socket" => attrs.socket = bytes(),
            "ping_from" => attrs.ping_from = bytes(),
            "obproxy" => attrs.outbound_proxy = bytes(),
            // Whatever else stands there is for the script.
            _ => {}
        }
    }
    Ok(attrs)
}

fn parse_number(word: &str) -> Option<i64> {
    match word.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => word.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_by_sets_and_priorities() {
        let sets = parse(
            "# gateways\n1 sip:192.0.2.1\n1 sip:gw.example.net:5080;transport=tcp 8 10 weight=70;socket=udp:192.0.2.9:5060;x=y\n\n2 sip:192.0.2.2 1\n",
        )
        .expect("it can be read");
        let first = &sets.0[&1].targets;
        assert_eq!(
            first.iter().map(|target| &target.uri[..]).collect::<Vec<_>>(),
            [&b"sip:gw.example.net:5080;transport=tcp"[..], b"sip:192.0.2.1"]
        );
        assert_eq!((first[0].attrs.weight, &first[0].attrs.socket[..]), (70, &b"udp:192.0.2.9:5060"[..]));
        assert_eq!(first[0].state_letters(), "AP");
        assert_eq!((first[0].port, first[1].port), (5080, 5060));
        assert_eq!(sets.0[&2].targets[0].state_letters(), "IX");
    }

    #[test]
    fn a_bad_line_is_named_with_what_is_wrong() {
        let error = |text| parse(text).err().expect("it is wrong");
        assert_eq!(error("1 sip:a\nx sip:b"), "line 2: `x` is not a set number");
        assert_eq!(error("1"), "line 1: the URI is missing: SET URI [FLAGS [PRIORITY [ATTRS]]]");
        assert_eq!(error("1 tel:5"), "line 1: `tel:5` is not a SIP URI, such as sip:192.0.2.7:5060");
        assert_eq!(error("1 sip:a 0 0 weight=x"), "line 1: `weight` must be a number, not `x`");
    }

    #[test]
    fn a_new_list_keeps_what_is_known_of_old_gateways() {
        let before = parse("1 sip:192.0.2.1\n1 sip:192.0.2.2").expect("a list");
        before.0[&1].targets[0].set_state(INACTIVE | PROBING);
        let now = parse("1 sip:192.0.2.3\n1 sip:192.0.2.1").expect("a list");
        inherit(&now, &before);
        let letters: Vec<_> = now.0[&1].targets.iter().map(|target| target.state_letters()).collect();
        assert_eq!(letters, ["AX", "IP"]);
    }
}
