//! Finding gateways for a call, and trying them.

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use module_api::{Call, Outcome, Value};
use sip_message::{Transport, Uri};

use super::Lcr;
use super::table::{Gateway, Rule, Set};

/// What load_gws() has found for a request; a note.
struct Found {
    set: i64,
    /// The user that was dialled.
    user: Bytes,
    /// Those that are left, by their number, each with the rule by which it was chosen.
    left: VecDeque<(i64, i64)>,
    /// The one chosen last.
    current: Option<i64>,
}

/// Most gateways that are kept for one request.
const MOST: usize = 256;

pub(super) fn load(call: &mut Call<'_>) -> Outcome {
    let lcr = call.state::<Lcr>();
    let (now, table) = (call.host.now(), lcr.table());
    let number = call.int(0).unwrap_or(0);
    let Some(set) = table.0.get(&number) else {
        return Outcome::fail(format!("load_gws: there is no set {number}; lcr_count says how many there are"));
    };
    let uri = call.context.target.uri.clone();
    let given = |n: usize| Some(call.text(n)).filter(|text| !text.is_empty());
    // Whatever user chooses the gateways, it is that of the Request-URI which is called there.
    let dialled = Uri::parse(&uri).ok().and_then(|uri| uri.user).map(|user| uri.slice_ref(user)).unwrap_or_default();
    let user = given(1).unwrap_or_else(|| dialled.clone());
    if user.is_empty() {
        return Outcome::fail("load_gws: the Request-URI has no user");
    }
    let (caller, uri) = (given(2), given(3).unwrap_or(uri));
    let mut found = Vec::new();
    for (length, rule) in rules_of(set, &user, caller.as_deref(), &uri) {
        for target in &rule.targets {
            let gateway = &set.gateways[target.gateway];
            if !lcr.is_left_out(gateway.id, now) {
                let luck = (call.host.random() >> 40) as i64 * target.weight;
                let prefix = if lcr.orders_by_priority { 0 } else { length };
                // Longer prefixes first, then lower numbers of priority, then chance.
                found.push(((-(prefix as i64), target.priority, -luck), gateway.id, rule.id));
            }
        }
    }
    found.sort_unstable();
    let mut seen = HashSet::new();
    let left: VecDeque<(i64, i64)> =
        found.into_iter().filter(|(_, id, _)| seen.insert(*id)).map(|(_, id, rule)| (id, rule)).take(MOST).collect();
    let has_any = !left.is_empty();
    call.context.set_note(Found { set: number, user: dialled, left, current: None });
    Outcome::Value(if has_any { 1 } else { 2 })
}

/// The rules that fit, those with longer prefixes first, up to one that stops.
fn rules_of<'a>(set: &'a Set, user: &[u8], caller: Option<&[u8]>, uri: &[u8]) -> Vec<(usize, &'a Rule)> {
    let mut fitting = Vec::new();
    let longest = set.longest.min(user.len());
    for length in (0..=longest).rev() {
        let rules = std::str::from_utf8(&user[..length]).ok().and_then(|prefix| set.rules.get(prefix));
        let mut is_last = false;
        for rule in rules.into_iter().flatten() {
            let is_caller = rule.caller.as_ref().is_none_or(|pattern| pattern.is_match(caller.unwrap_or_default()));
            if is_caller && rule.uri.as_ref().is_none_or(|pattern| pattern.is_match(uri)) {
                fitting.push((length, rule));
                is_last |= rule.stops;
            }
        }
        if is_last {
            break;
        }
    }
    fitting
}

pub(super) fn next(call: &mut Call<'_>) -> Outcome {
    let lcr = call.state::<Lcr>();
    let table = lcr.table();
    let Some(mut found) = call.context.take_note::<Found>() else {
        return Outcome::fail("next_gw: load_gws() has not been called");
    };
    let set = table.0.get(&found.set);
    // A gateway may have gone with a reload, or been left out since.
    let next = loop {
        let Some((id, rule)) = found.left.pop_front() else { break None };
        let gateway = set.and_then(|set| set.gateways.iter().find(|gateway| gateway.id == id));
        if let Some(gateway) = gateway.filter(|gateway| !lcr.is_left_out(gateway.id, call.host.now())) {
            break Some((gateway, rule));
        }
    };
    let (user, number) = (found.user.clone(), found.set);
    found.current = next.map(|(gateway, _)| gateway.id);
    call.context.set_note(found);
    let Some((gateway, rule)) = next else { return Outcome::FALSE };
    let is_untouched = lcr.untouched_flag.is_some_and(|flag| call.context.has_flag(flag));
    let (uri, destination) = target(gateway, &user, is_untouched);
    if Uri::parse(&uri).is_err() {
        return Outcome::fail("next_gw: the new Request-URI would be none");
    }
    call.context.set_uri(uri);
    call.context.set_destination(destination);
    tell(call, gateway);
    for (name, value) in [(&lcr.attributes.rule, rule), (&lcr.attributes.set, number)] {
        if let Some(name) = name {
            call.context.avps.replace(name.clone(), Value::Int(value));
        }
    }
    Outcome::TRUE
}

/// The Request-URI at a gateway, and the next hop where that is not its host.
fn target(gateway: &Gateway, user: &[u8], is_untouched: bool) -> (Bytes, Option<Bytes>) {
    let user = String::from_utf8_lossy(user);
    let kept = if is_untouched { &user[..] } else { user.get(gateway.strip..).unwrap_or_default() };
    let prefix = if is_untouched { "" } else { &gateway.prefix };
    let scheme = if gateway.is_secure { "sips" } else { "sip" };
    let port = gateway.port.map(|port| format!(":{port}")).unwrap_or_default();
    let transport = gateway.transport.map(|transport| format!(";transport={}", transport.uri_param()));
    let transport = transport.unwrap_or_default();
    let address = gateway.address.map(|address| match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    });
    let params = &gateway.params;
    match (address, gateway.host.as_str()) {
        // The name stands in the URI, and the address is where it is sent.
        (Some(address), host) if !host.is_empty() => (
            format!("{scheme}:{prefix}{kept}@{host}{params}").into(),
            Some(format!("{scheme}:{address}{port}{transport}").into()),
        ),
        (Some(address), _) => (format!("{scheme}:{prefix}{kept}@{address}{port}{transport}{params}").into(), None),
        (None, host) => (format!("{scheme}:{prefix}{kept}@{host}{port}{transport}{params}").into(), None),
    }
}

/// Tells tag and flags of a gateway.
fn tell(call: &mut Call<'_>, gateway: &Gateway) {
    let names = &call.state::<Lcr>().attributes;
    if let Some(name) = names.tag.as_ref().filter(|_| !gateway.tag.is_empty()) {
        call.context.avps.replace(name.clone(), Value::Str(gateway.tag.clone().into()));
    }
    if let Some(name) = &names.flags {
        call.context.avps.replace(name.clone(), Value::Int(gateway.flags));
    }
}

pub(super) fn defunct(call: &mut Call<'_>) -> Outcome {
    let lcr = call.state::<Lcr>();
    if !lcr.can_leave_out {
        return Outcome::fail("defunct_gw: defunct_capability is not set");
    }
    let Some(seconds @ 1..=31_536_000) = call.int(0) else {
        return Outcome::fail("defunct_gw: the time must be from 1 to 31536000 seconds");
    };
    let Some(current) = call.context.note::<Found>().and_then(|found| found.current) else { return Outcome::FALSE };
    lcr.leave_out(current, call.host.now(), Duration::from_secs(seconds.unsigned_abs()));
    Outcome::TRUE
}

/// Whether a message comes from a gateway. The set is in argument `set`, what else is asked from argument `first` on.
pub(super) fn is_source(call: &mut Call<'_>, set: Option<usize>, first: usize) -> Outcome {
    let arrival = call.context.arrival;
    let (address, transport) = match asked(call, first) {
        Ok(Some(asked)) => asked,
        Ok(None) => (arrival.source.ip(), Some(arrival.transport)),
        Err(outcome) => return outcome,
    };
    let port = call.int(first + 2).and_then(|port| u16::try_from(port).ok());
    find(call, set, |gateway| {
        gateway.address == Some(address)
            && gateway.transport.is_none_or(|own| transport.is_none_or(|transport| own == transport))
            && port.is_none_or(|port| gateway.port.unwrap_or(5060) == port)
    })
}

pub(super) fn is_target(call: &mut Call<'_>, set: Option<usize>, first: usize) -> Outcome {
    let (address, transport) = match asked(call, first) {
        Ok(Some(asked)) => asked,
        Ok(None) => {
            let uri = call.context.target.uri.clone();
            let Ok(uri) = Uri::parse(&uri) else { return Outcome::FALSE };
            let Some(address) = super::address(&String::from_utf8_lossy(uri.host_text)) else { return Outcome::FALSE };
            (address, uri.transport())
        }
        Err(outcome) => return outcome,
    };
    find(call, set, |gateway| {
        gateway.address == Some(address)
            && gateway.transport.is_none_or(|own| transport.is_none_or(|transport| own == transport))
    })
}

/// The address and transport that arguments name; none where they name none.
fn asked(call: &Call<'_>, first: usize) -> Result<Option<(IpAddr, Option<Transport>)>, Outcome> {
    if call.arg_count() <= first {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&call.text(first)).into_owned();
    let address = super::address(&text).ok_or_else(|| Outcome::fail(format!("`{text}` is no address")))?;
    let transport = match call.int(first + 1) {
        Some(1) => Some(Transport::Udp),
        Some(2) => Some(Transport::Tcp),
        Some(3) => Some(Transport::Tls),
        _ => None,
    };
    Ok(Some((address, transport)))
}

/// The set of the first gateway that fits; with one set in question, true.
fn find(call: &mut Call<'_>, set: Option<usize>, fits: impl Fn(&Gateway) -> bool) -> Outcome {
    let table = call.state::<Lcr>().table();
    let wanted = set.map(|n| call.int(n).unwrap_or(0));
    let mut numbers: Vec<i64> = table.0.keys().copied().filter(|number| wanted.is_none_or(|n| n == *number)).collect();
    numbers.sort_unstable();
    let found = numbers.into_iter().find_map(|number| {
        let gateway = table.0[&number].gateways.iter().find(|gateway| fits(gateway))?;
        Some((number, gateway))
    });
    match found {
        Some((number, gateway)) => {
            tell(call, gateway);
            Outcome::Value(if wanted.is_some() { 1 } else { number })
        }
        None => Outcome::FALSE,
    }
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::{Bench, INVITE, Scratch, started, text, try_start};
    use module_api::{Arg, Value};

    const GATEWAYS: &str = "id,lcr_id,gw_name,ip_addr,hostname,port,params,uri_scheme,transport,strip,prefix,tag,flags\n\
        1,1,cheap,192.0.2.11,,5070,;user=phone,1,1,2,00,low,1\n\
        2,1,good,192.0.2.12,gw.example.net,,,1,2,,,high,2\n\
        3,1,far,,far.example.net,,,2,,,,,0\n\
        4,2,other,198.51.100.7,,,,,1,,,two,4\n";
    const RULES: &str = "id,lcr_id,prefix,from_uri,request_uri,stopper,enabled\n\
        1,1,49,,,0,1\n2,1,4930,,,0,1\n3,1,,,,0,1\n4,1,49,^sip:boss@,,1,1\n5,1,493,,,1,0\n";
    const TARGETS: &str =
        "lcr_id,rule_id,gw_id,priority,weight\n1,1,1,5,1\n1,1,2,4,1\n1,2,1,1,1\n1,3,3,1,1\n1,4,2,1,1\n";

    fn bench(settings: &[(&str, &str)]) -> Bench {
        let files = Scratch::new(&[("lcr_gw", GATEWAYS), ("lcr_rule", RULES), ("lcr_rule_target", TARGETS)]);
        let url = files.url();
        let all =
            [("lcr_count", "2"), ("tag_avp", "$avp(tag)"), ("rule_id_avp", "$avp(rule)"), ("defunct_capability", "1")];
        let settings: Vec<(&str, &str)> =
            settings.iter().copied().chain(all).chain([("db_url", url.as_str())]).collect();
        Bench::with_state(INVITE, started(&MODULE, &settings))
    }

    fn number(n: i64) -> Arg {
        Arg::Value(Value::Int(n))
    }

    fn load(bench: &mut Bench, user: &str, caller: &str) -> i64 {
        bench.context.set_uri(format!("sip:{user}@example.com").into());
        bench.run_args(&MODULE, "load_gws", &[number(1), Arg::Value(text(user)), Arg::Value(text(caller))])
    }

    fn tried(bench: &mut Bench) -> Vec<String> {
        std::iter::from_fn(|| (bench.run(&MODULE, "next_gw", &[]) == 1).then(|| bench.uri())).collect()
    }

    // The URIs are those that Kamailio 5.6.3 makes.
    #[test]
    fn longer_prefixes_come_first_and_each_gateway_once() {
        let mut bench = bench(&[]);
        assert_eq!(load(&mut bench, "493012345", "sip:alice@example.com"), 1);
        let expected = [
            "sip:003012345@192.0.2.11:5070;transport=udp;user=phone",
            "sip:493012345@gw.example.net",
            "sips:493012345@far.example.net",
        ];
        assert_eq!(tried(&mut bench), expected);
        assert_eq!(bench.run(&MODULE, "next_gw", &[]), -1);
    }

    #[test]
    fn priority_decides_within_a_prefix() {
        let mut bench = bench(&[]);
        load(&mut bench, "4912345", "sip:alice@example.com");
        assert_eq!(bench.run(&MODULE, "next_gw", &[]), 1);
        assert_eq!(bench.uri(), "sip:4912345@gw.example.net");
        assert_eq!(bench.context.target.destination.as_deref(), Some(&b"sip:192.0.2.12;transport=tcp"[..]));
        assert_eq!(bench.context.avps.first(b"tag"), Some(&text("high")));
        assert_eq!(bench.context.avps.first(b"rule"), Some(&Value::Int(1)));
    }

    #[test]
    fn the_user_that_chooses_is_not_the_one_that_is_called() {
        let mut bench = bench(&[]);
        bench.context.set_uri("sip:493012345@example.com".into());
        assert_eq!(bench.run_args(&MODULE, "load_gws", &[number(1), Arg::Value(text("4912345"))]), 1);
        assert_eq!(tried(&mut bench)[0], "sip:493012345@gw.example.net");
    }

    #[test]
    fn a_rule_that_stops_hides_shorter_prefixes() {
        let mut bench = bench(&[]);
        load(&mut bench, "4912345", "sip:boss@example.com");
        assert_eq!(tried(&mut bench).len(), 2);
        assert_eq!(load(&mut bench, "1", ""), 1);
        assert_eq!(tried(&mut bench), ["sips:1@far.example.net"]);
    }

    #[test]
    fn a_gateway_that_is_left_out_is_not_tried() {
        let mut bench = bench(&[]);
        load(&mut bench, "4912345", "");
        assert_eq!(bench.run_args(&MODULE, "defunct_gw", &[number(60)]), -1);
        bench.run(&MODULE, "next_gw", &[]);
        assert_eq!(bench.run_args(&MODULE, "defunct_gw", &[number(60)]), 1);
        load(&mut bench, "4912345", "");
        assert!(!tried(&mut bench).iter().any(|uri| uri.contains("gw.example.net")));
    }

    #[test]
    fn gateways_are_known_by_their_address() {
        let mut bench = bench(&[]);
        assert_eq!(bench.run_args(&MODULE, "from_gw", &[number(1)]), -1);
        assert_eq!(bench.run_args(&MODULE, "from_gw", &[number(2)]), 1);
        assert_eq!(bench.context.avps.first(b"tag"), Some(&text("two")));
        assert_eq!(bench.run(&MODULE, "from_any_gw", &[]), 2);
        assert_eq!(bench.run_args(&MODULE, "from_any_gw", &[Arg::Value(text("192.0.2.12")), number(2)]), 1);
        assert_eq!(bench.run_args(&MODULE, "from_any_gw", &[Arg::Value(text("192.0.2.12")), number(1)]), -1);
        assert_eq!(bench.run_args(&MODULE, "from_any_gw", &[Arg::Value(text("x")), number(1)]), -1);
        bench.context.set_uri("sip:49@192.0.2.11".into());
        assert_eq!(bench.run_args(&MODULE, "to_gw", &[number(1)]), 1);
        assert_eq!(bench.run(&MODULE, "to_any_gw", &[]), 1);
        bench.context.set_uri("sip:49@example.com".into());
        assert_eq!(bench.run(&MODULE, "to_any_gw", &[]), -1);
    }

    #[test]
    fn digits_stay_where_a_flag_says_so() {
        let mut bench = bench(&[("dont_strip_or_prefix_flag", "9")]);
        bench.context.set_flag(9, true);
        load(&mut bench, "493012345", "");
        bench.run(&MODULE, "next_gw", &[]);
        assert_eq!(bench.uri(), "sip:493012345@192.0.2.11:5070;transport=udp;user=phone");
    }

    #[test]
    fn rows_that_make_no_sense_are_named() {
        let wrong = |gateways: &str, rules: &str, targets: &str| {
            let files = Scratch::new(&[("lcr_gw", gateways), ("lcr_rule", rules), ("lcr_rule_target", targets)]);
            let url = files.url();
            try_start(&MODULE, &[("db_url", &url)]).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(wrong(GATEWAYS, RULES, TARGETS), "");
        assert!(wrong("id,lcr_id,ip_addr\n7,1,x\n", RULES, TARGETS).contains("gateway 7"));
        assert!(wrong("id,lcr_id,ip_addr\n7,1,\n", RULES, TARGETS).contains("neither address nor host"));
        assert!(wrong(GATEWAYS, "id,lcr_id,prefix,from_uri\n3,1,,(\n", TARGETS).contains("rule 3"));
        assert!(wrong(GATEWAYS, RULES, "lcr_id,rule_id,gw_id,priority,weight\n1,1,1,1,0\n").contains("weight 0"));
    }
}
