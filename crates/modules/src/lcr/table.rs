//! Gateways and rules as the tables have them.

use std::collections::HashMap;
use std::net::IpAddr;

use module_api::{Setup, SetupError};
use regex::bytes::{Regex, RegexBuilder};
use sip_message::Transport;

use crate::rows::{Row, Source, number, text};

/// A gateway.
pub(super) struct Gateway {
    pub(super) id: i64,
    pub(super) address: Option<IpAddr>,
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// With their semicolons.
    pub(super) params: String,
    pub(super) is_secure: bool,
    pub(super) transport: Option<Transport>,
    pub(super) strip: usize,
    pub(super) prefix: String,
    pub(super) tag: String,
    pub(super) flags: i64,
}

/// A rule: who may be reached under a prefix, by which gateways.
pub(super) struct Rule {
    pub(super) id: i64,
    pub(super) prefix: String,
    pub(super) caller: Option<Regex>,
    pub(super) uri: Option<Regex>,
    /// No shorter prefix counts.
    pub(super) stops: bool,
    pub(super) targets: Vec<Target>,
}

/// A gateway of a rule.
pub(super) struct Target {
    /// Its place among the gateways of the set.
    pub(super) gateway: usize,
    pub(super) priority: i64,
    pub(super) weight: i64,
}

/// One set of gateways and rules.
#[derive(Default)]
pub(super) struct Set {
    pub(super) gateways: Vec<Gateway>,
    /// By prefix.
    pub(super) rules: HashMap<String, Vec<Rule>>,
    /// The longest prefix, in bytes.
    pub(super) longest: usize,
}

/// The sets by their number.
#[derive(Default)]
pub(super) struct Table(pub(super) HashMap<i64, Set>);

/// Where the three tables come from.
pub(super) struct Sources {
    gateways: Source,
    rules: Source,
    targets: Source,
    count: i64,
}

const GATEWAY: [&str; 14] = [
    "id",
    "lcr_id",
    "ip_addr",
    "hostname",
    "port",
    "params",
    "uri_scheme",
    "transport",
    "strip",
    "prefix",
    "tag",
    "flags",
    "defunct",
    "gw_name",
];
const RULE: [&str; 7] = ["id", "lcr_id", "prefix", "from_uri", "request_uri", "stopper", "enabled"];
const TARGET: [&str; 5] = ["rule_id", "gw_id", "lcr_id", "priority", "weight"];

impl Sources {
    /// The tables that the settings name.
    pub(super) fn at(setup: &Setup<'_>) -> Result<Sources, SetupError> {
        let count = setup.int("lcr_count");
        if !(1..=1000).contains(&count) {
            return Err(SetupError::Setting { name: "lcr_count", cause: "must be from 1 to 1000".to_owned() });
        }
        Ok(Sources {
            gateways: Source::named(setup, "lcr_gw_table", &GATEWAY, &[3])?,
            rules: Source::named(setup, "lcr_rule_table", &RULE, &[3])?,
            targets: Source::named(setup, "lcr_rule_target_table", &TARGET, &[1])?,
            count,
        })
    }

    pub(super) fn read_at_start(&self, setup: &Setup<'_>) -> Result<Table, SetupError> {
        let rows = [&self.gateways, &self.rules, &self.targets].map(|source| source.read_at_start(setup));
        let [gateways, rules, targets] = rows;
        table_of(self.count, &gateways?, &rules?, &targets?).map_err(SetupError::Unavailable)
    }

    pub(super) async fn read(&self) -> Result<Table, String> {
        let (gateways, rules) = (self.gateways.read().await?, self.rules.read().await?);
        table_of(self.count, &gateways, &rules, &self.targets.read().await?)
    }
}

fn table_of(count: i64, gateways: &[Row], rules: &[Row], targets: &[Row]) -> Result<Table, String> {
    let mut table = Table((1..=count).map(|id| (id, Set::default())).collect());
    // Where the gateways of a set are, by set and number.
    let mut places = HashMap::new();
    for row in gateways {
        let named = |cause: String| format!("lcr_gw: gateway {} ({}): {cause}", text(row, 0), text(row, 13));
        let (set, id) = (number(row, 1, 0).map_err(named)?, number(row, 0, 0).map_err(named)?);
        let Some(set_of) = table.0.get_mut(&set) else { continue };
        // A gateway that an operator has put out of service until some time is a matter of that time alone.
        if let Some(gateway) = gateway(row, id).map_err(named)? {
            places.insert((set, id), set_of.gateways.len());
            set_of.gateways.push(gateway);
        }
    }
    let mut targets_of: HashMap<i64, Vec<Target>> = HashMap::new();
    for row in targets {
        let named = |cause: String| format!("lcr_rule_target: rule {}: {cause}", text(row, 0));
        let numbers = [0, 1, 2, 3].map(|n| number(row, n, 0));
        let [rule, gateway, set, priority] = numbers;
        let (rule, gateway, set) = (rule.map_err(named)?, gateway.map_err(named)?, set.map_err(named)?);
        let Some(place) = places.get(&(set, gateway)) else { continue };
        let weight = number(row, 4, 1).map_err(named)?;
        if !(1..=254).contains(&weight) {
            return Err(named(format!("weight {weight} is not from 1 to 254")));
        }
        let target = Target { gateway: *place, priority: priority.map_err(named)?, weight };
        targets_of.entry(rule).or_default().push(target);
    }
    for row in rules {
        let named = |cause: String| format!("lcr_rule: rule {}: {cause}", text(row, 0));
        let set = number(row, 1, 0).map_err(named)?;
        if number(row, 6, 1).map_err(named)? == 0 {
            continue;
        }
        let Some(set) = table.0.get_mut(&set) else { continue };
        let id = number(row, 0, 0).map_err(named)?;
        let rule = Rule {
            id,
            prefix: text(row, 2).to_owned(),
            caller: pattern(text(row, 3)).map_err(named)?,
            uri: pattern(text(row, 4)).map_err(named)?,
            stops: number(row, 5, 0).map_err(named)? != 0,
            targets: targets_of.remove(&id).unwrap_or_default(),
        };
        set.longest = set.longest.max(rule.prefix.len());
        set.rules.entry(rule.prefix.clone()).or_default().push(rule);
    }
    Ok(table)
}

fn gateway(row: &Row, id: i64) -> Result<Option<Gateway>, String> {
    let address = match text(row, 2) {
        "" => None,
        written => Some(super::address(written).ok_or_else(|| format!("`{written}` is no address"))?),
    };
    let host = text(row, 3).to_owned();
    if address.is_none() && host.is_empty() {
        return Err("it has neither address nor host name".to_owned());
    }
    if !crate::rewrite::is_clean(host.as_bytes()) || host.contains([' ', ';', '@', '>']) {
        return Err(format!("`{host}` is no host name"));
    }
    let params = text(row, 5).to_owned();
    if !(params.is_empty() || params.starts_with(';')) || params.contains(['<', '>', ' ', '\r', '\n']) {
        return Err(format!("`{params}` are no parameters such as ;user=phone"));
    }
    let transport = match number(row, 7, 0)? {
        0 => None,
        1 => Some(Transport::Udp),
        2 => Some(Transport::Tcp),
        3 => Some(Transport::Tls),
        other => return Err(format!("transport {other} is not spoken: it must be 1 (UDP), 2 (TCP) or 3 (TLS)")),
    };
    let prefix = text(row, 9).to_owned();
    if !prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-_.!~*'()#&=$,/?".contains(&byte)) {
        return Err(format!("`{prefix}` cannot stand in the user of a URI"));
    }
    Ok(Some(Gateway {
        id,
        address,
        host,
        port: match number(row, 4, 0)? {
            0 => None,
            port => Some(u16::try_from(port).map_err(|_| format!("`{port}` is no port"))?),
        },
        params,
        is_secure: number(row, 6, 1)? == 2,
        transport,
        strip: usize::try_from(number(row, 8, 0)?).map_err(|_| "strip is below 0".to_owned())?,
        prefix,
        tag: text(row, 10).to_owned(),
        flags: number(row, 11, 0)?,
    }))
}

fn pattern(text: &str) -> Result<Option<Regex>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let built = RegexBuilder::new(text).unicode(false).size_limit(1 << 20).build();
    built.map(Some).map_err(|error| format!("`{text}` is no regular expression: {error}"))
}
