//! Finding gateways for a call, and trying them.

use std::collections::VecDeque;

use bytes::Bytes;
use module_api::{Call, Outcome, RouteKind, Value};
use sip_message::Uri;

use super::table::{Gateway, Rule, Table};
use super::{Order, Routing};

/// What do_routing() has found for a request; a note.
struct Found {
    /// The URIs that are left, each with the attributes of its gateway.
    left: VecDeque<(Bytes, Bytes)>,
}

pub(super) fn route(call: &mut Call<'_>) -> Outcome {
    let state = call.shared_state::<Routing>();
    let table = state.table();
    let Some(group) = call.int(0).or_else(|| group_of(call, &state, &table)) else { return Outcome::FALSE };
    let Some(user) = user(call) else { return Outcome::fail("do_routing: the Request-URI has no user") };
    let Some(rule) = find(call, &table, group, &user) else { return Outcome::FALSE };
    if let Some(name) = &rule.route {
        match call.host.find_route(Some(call.context), RouteKind::Request, name) {
            Some(route) => {
                call.host.run_route(route, call.context);
            }
            None => return Outcome::fail(format!("do_routing: there is no route[{name}]")),
        }
    }
    // The route may have changed the number.
    let Some(user) = self::user(call) else { return Outcome::fail("do_routing: the Request-URI has no user") };
    let mut left = VecDeque::new();
    for set in &rule.gateways {
        for id in ordered(call, set, state.order) {
            let Some(gateway) = table.gateways.get(&id) else { continue };
            if let Some(uri) = uri(gateway, &user) {
                left.push_back((uri, Bytes::copy_from_slice(gateway.attributes.as_bytes())));
            }
        }
    }
    call.context.set_note(Found { left });
    next(call)
}

fn user(call: &Call<'_>) -> Option<Bytes> {
    let uri = &call.context.target.uri;
    Uri::parse(uri).ok().and_then(|parsed| parsed.user).map(|user| uri.slice_ref(user))
}

fn group_of(call: &Call<'_>, state: &Routing, table: &Table) -> Option<i64> {
    let from = call.context.message.from().ok()?;
    let uri = from.parsed_uri().ok()?;
    let user = String::from_utf8_lossy(uri.user?).into_owned();
    let domain = String::from_utf8_lossy(uri.host_text).to_ascii_lowercase();
    if state.uses_domain {
        return table.groups.get(&(user, domain)).copied();
    }
    table.groups.iter().find(|((known, _), _)| *known == user).map(|(_, group)| *group)
}

/// The rule with the longest prefix whose time it is.
fn find<'a>(call: &Call<'_>, table: &'a Table, group: i64, user: &[u8]) -> Option<&'a Rule> {
    let rules = table.rules.get(&group)?;
    let now = call.local_time();
    let prefixes = (0..=table.longest.min(user.len())).rev();
    prefixes
        .filter_map(|length| rules.get(std::str::from_utf8(&user[..length]).ok()?))
        .flatten()
        .find(|rule| rule.time.as_ref().is_none_or(|time| time.covers(&now)))
}

fn ordered(call: &mut Call<'_>, set: &[i64], order: Order) -> Vec<i64> {
    let mut ids = set.to_vec();
    if order == Order::AsListed {
        return ids;
    }
    for n in (1..ids.len()).rev() {
        let other = call.host.random() % (n as u64 + 1);
        ids.swap(n, other as usize);
    }
    if order == Order::OneOfEach {
        ids.truncate(1);
    }
    ids
}

/// The Request-URI at a gateway; none where it takes off as many digits as there are.
fn uri(gateway: &Gateway, user: &[u8]) -> Option<Bytes> {
    let kept = user.get(gateway.strip..).filter(|kept| !kept.is_empty() || !gateway.prefix.is_empty())?;
    let uri: Bytes = [b"sip:", gateway.prefix.as_bytes(), kept, b"@", gateway.place.as_bytes()].concat().into();
    Uri::parse(&uri).is_ok().then_some(uri)
}

pub(super) fn next(call: &mut Call<'_>) -> Outcome {
    let Some(mut found) = call.context.take_note::<Found>() else { return Outcome::FALSE };
    let next = found.left.pop_front();
    call.context.set_note(found);
    let Some((uri, attributes)) = next else { return Outcome::FALSE };
    call.context.set_uri(uri);
    tell(call, attributes);
    Outcome::TRUE
}

fn tell(call: &mut Call<'_>, attributes: Bytes) {
    if let Some(name) = call.state::<Routing>().attributes.clone() {
        call.context.avps.replace(name, Value::Str(attributes));
    }
}

/// Whether the message comes from a gateway, of that type where one is given.
pub(super) fn is_source(call: &mut Call<'_>, kind: Option<i64>) -> Outcome {
    let table = call.state::<Routing>().table();
    let source = call.context.arrival.source.ip();
    let fits = |gateway: &&Gateway| gateway.address == Some(source) && kind.is_none_or(|kind| gateway.kind == kind);
    match table.gateways.values().find(fits) {
        Some(gateway) => {
            tell(call, Bytes::copy_from_slice(gateway.attributes.as_bytes()));
            Outcome::TRUE
        }
        None => Outcome::FALSE,
    }
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::{Bench, INVITE, Scratch, started, text, try_start};
    use module_api::{Arg, Value};

    const GATEWAYS: &str = "gwid,type,address,strip,pri_prefix,attrs\n1,0,192.0.2.11:5070,2,00,a1\n2,0,192.0.2.12,0,,a2\n\
        3,1,192.0.2.13;transport=tcp,0,+,a3\n4,7,198.51.100.7,0,,a4\n";
    const RULES: &str = "ruleid,groupid,prefix,timerec,priority,routeid,gwlist\n1,5,49,,1,0,\"1,2\"\n2,5,4930,,1,0,3\n\
        3,5,,,1,0,#1\n4,5,49,,9,0,2;1\n5,\"5,6\",7,20200101T000000|PT1H|daily,1,0,2\n6,6,,,1,DR,2\n\
        7,5,8,20200101T000000|P1D|daily,1,DR,\"1;2,3\"\n";
    const LISTS: &str = "id,gwlist\n1,\"2,3\"\n";
    const GROUPS: &str = "username,domain,groupid\nalice,Example.com,5\n";

    fn bench(settings: &[(&str, &str)]) -> Bench {
        let files = Scratch::new(&[
            ("dr_gateways", GATEWAYS),
            ("dr_rules", RULES),
            ("dr_gw_lists", LISTS),
            ("dr_groups", GROUPS),
        ]);
        let url = files.url();
        let settings: Vec<(&str, &str)> =
            settings.iter().copied().chain([("attrs_avp", "$avp(attrs)"), ("db_url", url.as_str())]).collect();
        let mut bench = Bench::with_state(INVITE, started(&MODULE, &settings));
        bench.host.routes = vec!["DR"];
        bench
    }

    fn tried(bench: &mut Bench, user: &str, group: Option<i64>) -> Vec<String> {
        bench.context.set_uri(format!("sip:{user}@example.com").into());
        let args: Vec<Arg> = group.into_iter().map(|group| Arg::Value(Value::Int(group))).collect();
        let mut code = bench.run_args(&MODULE, "do_routing", &args);
        let mut uris = Vec::new();
        while code == 1 {
            uris.push(bench.uri());
            code = bench.run(&MODULE, "use_next_gw", &[]);
        }
        assert_eq!(code, -1);
        uris
    }

    /// Each as Kamailio 5.6.3 does it.
    #[test]
    fn the_longest_prefix_whose_time_it_is_decides() {
        let mut bench = bench(&[]);
        for (user, group, expected) in [
            ("493012345", Some(5), &["sip:+493012345@192.0.2.13;transport=tcp"][..]),
            ("4912345", Some(5), &["sip:4912345@192.0.2.12", "sip:0012345@192.0.2.11:5070"]),
            ("12345", Some(5), &["sip:12345@192.0.2.12", "sip:+12345@192.0.2.13;transport=tcp"]),
            ("7", Some(6), &["sip:7@192.0.2.12"]),
            ("7", Some(5), &["sip:7@192.0.2.12", "sip:+7@192.0.2.13;transport=tcp"]),
            (
                "8123",
                Some(5),
                &["sip:0023@192.0.2.11:5070", "sip:8123@192.0.2.12", "sip:+8123@192.0.2.13;transport=tcp"],
            ),
            ("8123", Some(9), &[]),
            ("4912345", None, &["sip:4912345@192.0.2.12", "sip:0012345@192.0.2.11:5070"]),
            ("bob", Some(5), &["sip:bob@192.0.2.12", "sip:+bob@192.0.2.13;transport=tcp"]),
        ] {
            assert_eq!(tried(&mut bench, user, group), expected, "{user} of {group:?}");
        }
        assert_eq!(bench.host.done, ["route DR", "route DR"]);
        assert_eq!(bench.context.avps.first(b"attrs"), Some(&text("a3")));
    }

    #[test]
    fn one_of_a_set_may_be_enough() {
        let mut bench = bench(&[("sort_order", "2")]);
        assert_eq!(tried(&mut bench, "8123", Some(5)).len(), 2);
        let mut bench = self::bench(&[("sort_order", "1")]);
        assert_eq!(tried(&mut bench, "8123", Some(5)).len(), 3);
    }

    #[test]
    fn callers_without_a_group_have_no_gateway() {
        let mut bench = bench(&[]);
        bench.context.message = Bench::new(&INVITE.replace("alice@example.com", "eve@example.com")).context.message;
        assert!(tried(&mut bench, "4912345", None).is_empty());
    }

    #[test]
    fn gateways_are_known_by_their_address() {
        let mut bench = bench(&[]);
        assert_eq!(bench.run(&MODULE, "is_from_gw", &[]), 1);
        assert_eq!(bench.context.avps.first(b"attrs"), Some(&text("a4")));
        assert_eq!(bench.run_args(&MODULE, "is_from_gw", &[Arg::Value(Value::Int(7))]), 1);
        assert_eq!(bench.run_args(&MODULE, "is_from_gw", &[Arg::Value(Value::Int(1))]), -1);
    }

    #[test]
    fn rows_that_make_no_sense_are_named() {
        let wrong = |gateways: &str, rules: &str| {
            let files = Scratch::new(&[("dr_gateways", gateways), ("dr_rules", rules)]);
            let url = files.url();
            try_start(&MODULE, &[("db_url", &url)]).err().map(|error| error.to_string()).unwrap_or_default()
        };
        let rule = |fields: &str| format!("ruleid,groupid,prefix,timerec,priority,routeid,gwlist\n{fields}\n");
        assert_eq!(wrong(GATEWAYS, &rule("1,5,49,,1,0,1")), "");
        assert!(wrong("gwid,address\n9,a b\n", &rule("1,5,49,,1,0,1")).contains("gateway 9"));
        assert!(wrong(GATEWAYS, &rule("1,5,49,,1,0,99")).contains("no gateway 99"));
        assert!(wrong(GATEWAYS, &rule("1,5,49,,1,0,#7")).contains("no list 7"));
        assert!(wrong(GATEWAYS, &rule("1,5,49,sometimes,1,0,1")).contains("rule 1"));
        assert!(wrong(GATEWAYS, &rule("1,x,49,,1,0,1")).contains("`x` is no group"));
        let files = Scratch::new(&[("dr_gateways", GATEWAYS), ("dr_rules", &rule("1,5,49,,1,0,1"))]);
        let refused = try_start(&MODULE, &[("db_url", &files.url()), ("sort_order", "3")]).err();
        assert!(refused.is_some_and(|error| error.to_string().contains("sort_order")));
    }
}
