//! Gateways, rules and groups as the tables have them.

use std::collections::HashMap;
use std::net::IpAddr;

use module_api::{Setup, SetupError};
use sip_message::Uri;

use crate::rows::{Row, Source, number, text};
use crate::tmrec::Recurrence;

/// A gateway.
pub(super) struct Gateway {
    pub(super) kind: i64,
    /// Host, port and parameters, as they stand behind the @ of a URI.
    pub(super) place: String,
    /// Its address, unless it is a name.
    pub(super) address: Option<IpAddr>,
    pub(super) strip: usize,
    pub(super) prefix: String,
    pub(super) attributes: String,
}

/// A rule.
pub(super) struct Rule {
    pub(super) priority: i64,
    /// When it counts; none: always.
    pub(super) time: Option<Recurrence>,
    /// The route to run first.
    pub(super) route: Option<String>,
    /// Gateways by their number, in sets that come one after the other.
    pub(super) gateways: Vec<Vec<i64>>,
}

/// What the tables say.
#[derive(Default)]
pub(super) struct Table {
    pub(super) gateways: HashMap<i64, Gateway>,
    /// Rules of a group by prefix, the highest priority first.
    pub(super) rules: HashMap<i64, HashMap<String, Vec<Rule>>>,
    /// Groups of callers by user and domain.
    pub(super) groups: HashMap<(String, String), i64>,
    /// The longest prefix, in bytes.
    pub(super) longest: usize,
}

/// Where the four tables come from.
pub(super) struct Sources {
    gateways: Source,
    rules: Source,
    lists: Source,
    groups: Source,
}

impl Sources {
    /// The tables that the settings name.
    pub(super) fn at(setup: &Setup<'_>) -> Result<Sources, SetupError> {
        let group = ["drg_user_col", "drg_domain_col", "drg_grpid_col"].map(|name| setup.text(name));
        let group: Vec<&str> = group.iter().map(String::as_str).collect();
        let gateway = ["gwid", "type", "address", "strip", "pri_prefix", "attrs"];
        let rule = ["ruleid", "groupid", "prefix", "timerec", "priority", "routeid", "gwlist"];
        Ok(Sources {
            gateways: Source::named(setup, "drd_table", &gateway, &[3])?,
            rules: Source::named(setup, "drr_table", &rule, &[3])?,
            lists: Source::named(setup, "drl_table", &["id", "gwlist"], &[1])?,
            groups: Source::named(setup, "drg_table", &group, &[2])?,
        })
    }

    pub(super) fn read_at_start(&self, setup: &Setup<'_>) -> Result<Table, SetupError> {
        // Lists and groups are a matter of taste; their files may be absent.
        let optional = |source: &Source| if source.exists() { source.read_at_start(setup) } else { Ok(Vec::new()) };
        let (gateways, rules) = (self.gateways.read_at_start(setup)?, self.rules.read_at_start(setup)?);
        let (lists, groups) = (optional(&self.lists)?, optional(&self.groups)?);
        table_of(&gateways, &rules, &lists, &groups).map_err(SetupError::Unavailable)
    }

    pub(super) async fn read(&self) -> Result<Table, String> {
        let (gateways, rules) = (self.gateways.read().await?, self.rules.read().await?);
        let lists = if self.lists.exists() { self.lists.read().await? } else { Vec::new() };
        let groups = if self.groups.exists() { self.groups.read().await? } else { Vec::new() };
        table_of(&gateways, &rules, &lists, &groups)
    }
}

fn table_of(gateways: &[Row], rules: &[Row], lists: &[Row], groups: &[Row]) -> Result<Table, String> {
    let mut table = Table::default();
    for row in gateways {
        let named = |cause: String| format!("dr_gateways: gateway {}: {cause}", text(row, 0));
        table.gateways.insert(number(row, 0, 0).map_err(named)?, gateway(row).map_err(named)?);
    }
    let mut named_lists = HashMap::new();
    for row in lists {
        let named = |cause: String| format!("dr_gw_lists: list {}: {cause}", text(row, 0));
        let list = sets(text(row, 1), &table).map_err(named)?;
        named_lists.insert(text(row, 0).to_owned(), list);
    }
    for row in rules {
        let named = |cause: String| format!("dr_rules: rule {}: {cause}", text(row, 0));
        let prefix = text(row, 2).to_owned();
        table.longest = table.longest.max(prefix.len());
        let groups = text(row, 1).split(',').map(str::trim).filter(|group| !group.is_empty());
        for group in groups {
            let group = group.parse().map_err(|_| named(format!("`{group}` is no group")))?;
            let rule = rule(row, &table, &named_lists).map_err(named)?;
            let rules = table.rules.entry(group).or_default().entry(prefix.clone()).or_default();
            let at = rules.iter().position(|other| other.priority < rule.priority).unwrap_or(rules.len());
            rules.insert(at, rule);
        }
    }
    for row in groups {
        let named = |cause: String| format!("dr_groups: {}: {cause}", text(row, 0));
        let caller = (text(row, 0).to_owned(), text(row, 1).to_ascii_lowercase());
        table.groups.insert(caller, number(row, 2, 0).map_err(named)?);
    }
    Ok(table)
}

fn gateway(row: &Row) -> Result<Gateway, String> {
    let place = text(row, 2).strip_prefix("sip:").unwrap_or(text(row, 2)).to_owned();
    let uri = format!("sip:{place}");
    let parsed = Uri::parse(uri.as_bytes()).ok().filter(|uri| uri.user.is_none());
    let Some(parsed) = parsed.filter(|_| crate::rewrite::is_clean(place.as_bytes())) else {
        return Err(format!("`{place}` is no address such as 192.0.2.7:5060"));
    };
    let host = String::from_utf8_lossy(parsed.host_text).into_owned();
    let prefix = text(row, 4).to_owned();
    if !prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-_.!~*'()#&=$,/?".contains(&byte)) {
        return Err(format!("`{prefix}` cannot stand in the user of a URI"));
    }
    Ok(Gateway {
        kind: number(row, 1, 0)?,
        address: host.trim_start_matches('[').trim_end_matches(']').parse().ok(),
        place,
        strip: usize::try_from(number(row, 3, 0)?).map_err(|_| "strip is below 0".to_owned())?,
        prefix,
        attributes: text(row, 5).to_owned(),
    })
}

fn rule(row: &Row, table: &Table, lists: &HashMap<String, Vec<Vec<i64>>>) -> Result<Rule, String> {
    Ok(Rule {
        priority: number(row, 4, 0)?,
        time: match text(row, 3) {
            "" => None,
            text => Some(Recurrence::parse(text, '|')?),
        },
        route: Some(text(row, 5)).filter(|route| !matches!(*route, "" | "0")).map(str::to_owned),
        gateways: match text(row, 6).strip_prefix('#') {
            Some(list) => lists.get(list).cloned().ok_or_else(|| format!("there is no list {list}"))?,
            None => sets(text(row, 6), table)?,
        },
    })
}

/// `1,2;3`: gateways in sets.
fn sets(text: &str, table: &Table) -> Result<Vec<Vec<i64>>, String> {
    let mut sets = Vec::new();
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let mut set = Vec::new();
        for id in part.split(',').map(str::trim).filter(|id| !id.is_empty()) {
            let known = id.parse().ok().filter(|id| table.gateways.contains_key(id));
            set.push(known.ok_or_else(|| format!("there is no gateway {id}"))?);
        }
        sets.push(set);
    }
    if sets.is_empty() { Err("it lists no gateway".to_owned()) } else { Ok(sets) }
}
