//! Too many requests from one source.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use module_api::{
    Answer, ArgumentKind, Call, Command, CommandParam, Data, EventKind, Function, Module, Outcome, Param, ParamKind,
    Parameter, PublicEvents, Routes, SettingKind, Setup, SetupError, State,
};

/// Tells sources that send too much.
pub static MODULE: Module = Module {
    name: "pike",
    doc: "Tells sources that send too many requests.",
    parameters: &[
        Parameter {
            name: "sampling_time_unit",
            kind: SettingKind::Int,
            default: "2",
            doc: "How long requests are counted together, in seconds.",
        },
        Parameter {
            name: "reqs_density_per_unit",
            kind: SettingKind::Int,
            default: "30",
            doc: "How many requests a source may send in that time.",
        },
        Parameter {
            name: "remove_latency",
            kind: SettingKind::Int,
            default: "120",
            doc: "How long a source counts as blocked after it last sent too much, in seconds.",
        },
        Parameter {
            name: "pike_log_level",
            kind: SettingKind::Ignored,
            default: "1",
            doc: "Has no effect: the script says what it logs.",
        },
    ],
    functions: &[CHECK_REQUEST, CHECK_IP],
    commands: &[LIST, RM],
    make,
    ..Module::EMPTY
};

const CHECK_REQUEST: Function = Function {
    name: "pike_check_req",
    params: &[],
    routes: Routes::ANY,
    doc: "Counts the request for its source address (IPv6: its /64 network). False when it has sent too much: -2 the first \
          time, -1 while it stays blocked.",
    example: "if (!pike_check_req()) exit;",
    run: |call| {
        let source = call.context.arrival.source.ip();
        count(call, source)
    },
};

const CHECK_IP: Function = Function {
    name: "pike_check_ip",
    params: &[Param::required("address", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "As pike_check_req(), for a given address.",
    example: "if (!pike_check_ip(\"$si\")) exit;",
    run: |call| match std::str::from_utf8(&call.text(0)).ok().and_then(|text| text.parse().ok()) {
        Some(address) => count(call, address),
        None => Outcome::fail("pike_check_ip: not an address"),
    },
};

const LIST: Command = Command {
    name: "pike.list",
    aliases: &["pike.top", "pike_list", "pike_top"],
    params: &[CommandParam::optional(
        "which",
        ArgumentKind::Str,
        "`hot` shows blocked sources only, as without it; `all` shows every one.",
    )],
    doc: "Lists the sources that sent too much, those with most requests first. At most a thousand are shown.",
    result: "`max_hits`, `list` of sources with requests and seconds until they are free, and `number_of_rows`.",
    example: "pike.list",
    run: |call| {
        let sources = call.state::<Sources>();
        Data::of([
            ("max_hits", sources.most.into()),
            ("list", sources.list(call.now, call.text(0) == Some("all"))),
            ("number_of_rows", sources.blocked(call.now).into()),
        ])
        .into()
    },
};

const RM: Command = Command {
    name: "pike.rm",
    params: &[CommandParam::required("address", ArgumentKind::Str, "The address of the source.")],
    doc: "Forgets what a source has sent, so that it is free again.",
    result: "nothing; error 404 for a source that has sent nothing.",
    example: "pike.rm 192.0.2.7",
    run: |call| match call.text(0).unwrap_or_default().parse() {
        Ok(address) if call.state::<Sources>().forget(network(address)) => Data::Null.into(),
        Ok(_) => Answer::error(404, "nothing is known of this source"),
        Err(_) => Answer::error(400, "argument `address` must be an IP address"),
    },
    ..Command::EMPTY
};

/// How many sources a command shows.
const SHOWN: usize = 1000;

/// The state of module pike.
struct Sources {
    unit: Duration,
    most: u32,
    blocked_for: Duration,
    counts: Mutex<HashMap<IpAddr, Count>>,
    events: PublicEvents,
}

/// What a script is told the first time that a source sends too much.
const NEWLY_BLOCKED: i64 = -2;

struct Count {
    since: Instant,
    requests: u32,
    blocked_until: Option<Instant>,
}

/// Forged source addresses are without number; what is remembered is not.
const MOST_SOURCES: usize = 65_536;

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let number = |name: &'static str| {
        let number = u32::try_from(setup.int(name)).ok().filter(|number| *number > 0);
        number.ok_or(SetupError::Setting { name, cause: "must be a number above 0".into() })
    };
    Ok(Arc::new(Sources {
        unit: Duration::from_secs(number("sampling_time_unit")?.into()),
        most: number("reqs_density_per_unit")?,
        blocked_for: Duration::from_secs(number("remove_latency")?.into()),
        counts: Mutex::default(),
        events: setup.server.events(),
    }))
}

fn count(call: &mut Call<'_>, source: IpAddr) -> Outcome {
    let now = call.host.now();
    let sources = call.state::<Sources>();
    let verdict = sources.count(network(source), now);
    if verdict == NEWLY_BLOCKED {
        sources.events.tell(EventKind::Ban, call.host.unix_time(), || {
            let seconds = sources.blocked_for.as_secs();
            vec![("address", network(source).to_string().into()), ("seconds", seconds.into()), ("by", "pike".into())]
        });
    }
    Outcome::Value(verdict)
}

impl Sources {
    fn list(&self, now: Instant, is_all: bool) -> Data {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let left =
            |count: &Count| count.blocked_until.map_or(0, |until| until.saturating_duration_since(now).as_secs());
        let mut rows: Vec<(u32, u64, IpAddr)> =
            counts.iter().map(|(source, count)| (count.requests, left(count), *source)).collect();
        drop(counts);
        rows.retain(|(_, left, _)| is_all || *left > 0);
        rows.sort_unstable_by(|one, other| other.cmp(one));
        let row = |(requests, left, source): (u32, u64, IpAddr)| {
            Data::of([
                ("ip_addr", source.to_string().into()),
                ("leaf_hits", requests.into()),
                ("expires", left.into()),
                ("status", if left > 0 { "HOT" } else { "WARM" }.into()),
            ])
        };
        rows.into_iter().take(SHOWN).map(row).collect()
    }

    fn blocked(&self, now: Instant) -> usize {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.values().filter(|count| count.blocked_until.is_some_and(|until| until > now)).count()
    }

    fn forget(&self, source: IpAddr) -> bool {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).remove(&source).is_some()
    }

    fn count(&self, source: IpAddr, now: Instant) -> i64 {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MOST_SOURCES && !counts.contains_key(&source) {
            counts.retain(|_, count| count.blocked_until.is_some_and(|until| until > now));
            if counts.len() >= MOST_SOURCES {
                counts.clear();
            }
        }
        let count = counts.entry(source).or_insert(Count { since: now, requests: 0, blocked_until: None });
        if now.duration_since(count.since) >= self.unit {
            count.since = now;
            count.requests = 0;
        }
        count.requests = count.requests.saturating_add(1);
        let was_blocked = count.blocked_until.is_some_and(|until| until > now);
        if count.requests > self.most {
            count.blocked_until = Some(now + self.blocked_for);
            return if was_blocked { -1 } else { NEWLY_BLOCKED };
        }
        if was_blocked { -1 } else { 1 }
    }
}

/// A customer with IPv6 has a whole /64 to send from (RFC 6177), so that is one source.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, INVITE};

    fn sources() -> Sources {
        Sources {
            unit: Duration::from_secs(2),
            most: 3,
            blocked_for: Duration::from_secs(10),
            events: PublicEvents::default(),
            counts: Mutex::default(),
        }
    }

    #[test]
    fn a_source_is_blocked_for_a_while_once_it_sends_too_much() {
        let (sources, ip) = (sources(), IpAddr::from([192, 0, 2, 7]));
        let bench = Bench::with_state(INVITE, Arc::new(()));
        let now = module_api::Host::now(&bench.host);
        let codes: Vec<i64> = (0..5).map(|_| sources.count(ip, now)).collect();
        assert_eq!(codes, [1, 1, 1, -2, -1]);
        assert_eq!(sources.count(ip, now + Duration::from_secs(5)), -1);
        assert_eq!(sources.count(ip, now + Duration::from_secs(16)), 1);
    }

    #[test]
    fn blocked_sources_are_listed_and_can_be_forgiven() {
        let state = Arc::new(sources());
        let bench = crate::testing::CommandBench::new(Arc::clone(&state) as Arc<dyn State>);
        for _ in 0..5 {
            state.count(IpAddr::from([192, 0, 2, 7]), bench.now());
        }
        state.count(IpAddr::from([192, 0, 2, 8]), bench.now());
        let list = |line: &str| bench.run(MODULE.commands, line).expect("a list").to_text();
        let hot = "{ip_addr: 192.0.2.7, leaf_hits: 5, expires: 10, status: HOT}";
        assert_eq!(list("pike.list"), format!("{{max_hits: 3, list: [{hot}], number_of_rows: 1}}"));
        assert!(list("pike.list all").contains("{ip_addr: 192.0.2.8, leaf_hits: 1, expires: 0, status: WARM}"));
        bench.run(MODULE.commands, "pike.rm 192.0.2.7").expect("it is forgotten");
        assert_eq!(bench.run(MODULE.commands, "pike.rm 192.0.2.7").expect_err("it is gone").code, 404);
        assert_eq!(list("pike_top"), "{max_hits: 3, list: [], number_of_rows: 0}");
    }

    #[test]
    fn one_ipv6_network_is_one_source() {
        assert_eq!(network("2001:db8::1".parse().unwrap()), network("2001:db8::ffff".parse().unwrap()));
        assert_ne!(network("2001:db8::1".parse().unwrap()), network("2001:db8:0:1::1".parse().unwrap()));
    }

    #[test]
    fn the_source_of_a_request_is_counted() {
        let mut bench = Bench::with_state(INVITE, Arc::new(sources()));
        assert_eq!(bench.run(&MODULE, "pike_check_req", &[]), 1);
        assert_eq!(bench.run(&MODULE, "pike_check_ip", &["no address"]), -1);
    }
}
