//! What the DNS says of names and addresses.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use module_api::{
    Call, DnsKind, DnsRecords, Function, KeyRule, Outcome, Param, ParamKind, Routes, Selector, Server, Setup,
    SetupError, State, Value, Variable,
};

use crate::network;

pub(super) const MATCH: Function = Function {
    name: "dns_sys_match_ip",
    params: &[Param::required("name", ParamKind::Format), Param::required("address", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "True when the name has the address in the DNS.",
    example: "if (!dns_sys_match_ip(\"$fd\", \"$si\")) xlog(\"from elsewhere\\n\");",
    run: |call| {
        let Some(wanted) = network::address(&call.text(1)) else { return Outcome::fail("not an address") };
        ask(call, DnsKind::Addresses, move |_, found| match found {
            Some(DnsRecords::Addresses(addresses)) => addresses.contains(&wanted).into(),
            _ => Outcome::FALSE,
        })
    },
};

pub(super) const QUERY: Function = query(
    "dns_query",
    "Asks the DNS for the addresses of a name; $dns(RESULT=>addr) and its kin show them. False when there are none.",
    "if (dns_query(\"$rd\", \"r\")) xlog(\"$dns(r=>addr)\\n\");",
    |call| store(call, DnsKind::Addresses),
);

pub(super) const PTR_QUERY: Function = Function {
    params: &[Param::required("address", ParamKind::Format), Param::required("result", ParamKind::Format)],
    ..query(
        "ptr_query",
        "Asks the DNS for the names of an address; $ptrquery(RESULT=>hostname) and its kin show them. False when there are \
         none.",
        "if (ptr_query(\"$si\", \"r\")) xlog(\"$ptrquery(r=>hostname)\\n\");",
        |call| store(call, DnsKind::Names),
    )
};

pub(super) const SRV_QUERY: Function = query(
    "srv_query",
    "Asks the DNS for the servers of a service; $srvquery(RESULT=>target[0]) and its kin show them, by priority and then by \
     weight, the heaviest first. False when there are none.",
    "if (srv_query(\"_sip._udp.$rd\", \"r\")) xlog(\"$srvquery(r=>target[0])\\n\");",
    |call| store(call, DnsKind::Services),
);

pub(super) const NAPTR_QUERY: Function = query(
    "naptr_query",
    "Asks the DNS for the NAPTR records of a name; $naptrquery(RESULT=>services[0]) and its kin show them, by order and then \
     by preference. False when there are none.",
    "if (naptr_query(\"$rd\", \"r\")) xlog(\"$naptrquery(r=>services[0])\\n\");",
    |call| store(call, DnsKind::Pointers),
);

pub(super) const SET_LOCAL_TTL: Function = Function {
    name: "dns_set_local_ttl",
    params: &[Param::required("seconds", ParamKind::Int)],
    routes: Routes::ANY,
    doc: "How long answers to the questions that follow in this request are kept, in place of what they say of themselves; 0 \
          goes back to that. The bounds of dns_cache_min_ttl and dns_cache_max_ttl hold.",
    example: "dns_set_local_ttl(7200);",
    run: |call| {
        let Some(Ok(seconds)) = call.int(0).map(u32::try_from) else {
            return Outcome::fail("dns_set_local_ttl: not a number of seconds");
        };
        let mut answers = call.context.take_note::<Answers>().unwrap_or_default();
        answers.kept = (seconds > 0).then(|| Duration::from_secs(seconds.into()));
        call.context.set_note(answers);
        Outcome::TRUE
    },
};

pub(super) const DNS: Variable = variable(
    "dns",
    "$dns(RESULT=>KEY): what dns_query() found: count, hostname, addr, addr[1], type (4 or 6), ipv4 and ipv6 (1 when there \
     is such an address).",
    "if ($dns(r=>count) > 1) xlog(\"$dns(r=>addr[1])\\n\");",
    |call, selector| read(call, selector, DnsKind::Addresses),
);

pub(super) const PTRQUERY: Variable = variable(
    "ptrquery",
    "$ptrquery(RESULT=>KEY): what ptr_query() found: count, hostname, hostname[1], addr, type (4 or 6), ipv4 and ipv6 (1 \
     when the address is such).",
    "xlog(\"$ptrquery(r=>hostname)\\n\");",
    |call, selector| read(call, selector, DnsKind::Names),
);

pub(super) const SRVQUERY: Variable = variable(
    "srvquery",
    "$srvquery(RESULT=>KEY): what srv_query() found: count, and port[n], priority[n], target[n] and weight[n], n from 0.",
    "xlog(\"$srvquery(r=>target[0]):$srvquery(r=>port[0])\\n\");",
    |call, selector| read(call, selector, DnsKind::Services),
);

pub(super) const NAPTRQUERY: Variable = variable(
    "naptrquery",
    "$naptrquery(RESULT=>KEY): what naptr_query() found: count, and order[n], pref[n], flags[n], services[n], regex[n] and \
     replace[n], n from 0.",
    "xlog(\"$naptrquery(r=>services[0]) $naptrquery(r=>replace[0])\\n\");",
    |call, selector| read(call, selector, DnsKind::Pointers),
);

/// The way to the DNS.
pub(super) struct Names(Arc<dyn Server>);

pub(super) fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    Ok(Arc::new(Names(Arc::clone(setup.server))))
}

const fn query(
    name: &'static str,
    doc: &'static str,
    example: &'static str,
    run: fn(&mut Call<'_>) -> Outcome,
) -> Function {
    const PARAMS: &[Param] =
        &[Param::required("name", ParamKind::Format), Param::required("result", ParamKind::Format)];
    Function { name, params: PARAMS, routes: Routes::ANY, doc, example, run }
}

const fn variable(
    name: &'static str,
    doc: &'static str,
    example: &'static str,
    read: fn(&mut Call<'_>, &Selector<'_>) -> Value,
) -> Variable {
    Variable { name, key: KeyRule::Required, routes: Routes::ANY, doc, example, read, write: None }
}

/// What the DNS said to a request so far, and how long it shall be kept.
#[derive(Default)]
struct Answers {
    list: Vec<Answer>,
    kept: Option<Duration>,
}

struct Answer {
    result: Bytes,
    kind: DnsKind,
    /// What was asked for.
    name: Bytes,
    records: DnsRecords,
}

/// Answers that a request keeps, and records of each.
const MOST_ANSWERS: usize = 16;
const MOST_RECORDS: usize = 64;

/// Waits for what the DNS says of the name, or the address, in argument 0.
fn ask(
    call: &mut Call<'_>,
    kind: DnsKind,
    then: impl FnOnce(&mut Call<'_>, Option<DnsRecords>) -> Outcome + Send + 'static,
) -> Outcome {
    let text = call.text(0);
    let address = network::address(&text);
    let name = match (kind, address) {
        // Its own answer: nobody need be asked.
        (DnsKind::Addresses, Some(address)) => return then(call, Some(DnsRecords::Addresses(vec![address]))),
        (DnsKind::Names, Some(address)) => Some(reverse(address)),
        (DnsKind::Names, None) => None,
        _ => String::from_utf8(text.to_vec()).ok().filter(|name| !name.is_empty()),
    };
    let (Some(name), Some(dns)) = (name, call.state::<Names>().0.dns()) else { return then(call, None) };
    let kept = call.context.note::<Answers>().and_then(|answers| answers.kept);
    Outcome::wait(dns.ask(name, kind, kept), then)
}

/// The name of an address in the reverse tree (RFC 1035 section 3.5, RFC 3596 section 2.5).
fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev().map(|octet| format!("{:x}.{:x}.", octet & 15, octet >> 4));
            nibbles.collect::<String>() + "ip6.arpa"
        }
    }
}

/// Asks, and keeps the answer under the name in argument 1 in place of an earlier one of its kind.
fn store(call: &mut Call<'_>, kind: DnsKind) -> Outcome {
    let (name, result) = (call.text(0), call.text(1));
    ask(call, kind, move |call, found| {
        let mut answers = call.context.take_note::<Answers>().unwrap_or_default();
        answers.list.retain(|answer| answer.kind != kind || answer.result != result);
        let found = found.map(in_order);
        let is_found = found.is_some();
        let has_room = answers.list.len() < MOST_ANSWERS;
        if let (true, Some(records)) = (has_room, found) {
            answers.list.push(Answer { result, kind, name, records });
        }
        call.context.set_note(answers);
        match has_room {
            true => is_found.into(),
            false => Outcome::fail("a request keeps at most 16 answers of the DNS"),
        }
    })
}

/// Sorted as the script was promised, and bounded.
fn in_order(mut records: DnsRecords) -> DnsRecords {
    match &mut records {
        DnsRecords::Addresses(list) => list.truncate(MOST_RECORDS),
        DnsRecords::Names(list) => list.truncate(MOST_RECORDS),
        DnsRecords::Services(list) => {
            list.sort_by_key(|service| (service.priority, Reverse(service.weight)));
            list.truncate(MOST_RECORDS);
        }
        DnsRecords::Pointers(list) => {
            list.sort_by_key(|pointer| (pointer.order, pointer.preference));
            list.truncate(MOST_RECORDS);
        }
    }
    records
}

/// `RESULT=>FIELD` or `RESULT=>FIELD[NUMBER]`.
fn read(call: &mut Call<'_>, selector: &Selector<'_>, kind: DnsKind) -> Value {
    let key = String::from_utf8_lossy(selector.key()).into_owned();
    let Some((result, field)) = key.split_once("=>") else { return Value::Null };
    let answers = call.context.note::<Answers>();
    let is_meant = |answer: &&Answer| answer.kind == kind && answer.result == result.trim();
    let Some(answer) = answers.and_then(|answers| answers.list.iter().find(is_meant)) else { return Value::Null };
    let (field, number) = match field.trim().strip_suffix(']').and_then(|field| field.split_once('[')) {
        Some((field, number)) => (field, number.trim().parse().unwrap_or(usize::MAX)),
        None => (field.trim(), 0),
    };
    let text = |text: &str| Value::Str(Bytes::copy_from_slice(text.as_bytes()));
    match &answer.records {
        DnsRecords::Addresses(list) if field == "count" => Value::Int(list.len() as i64),
        DnsRecords::Addresses(_) if field == "hostname" => Value::Str(answer.name.clone()),
        DnsRecords::Addresses(list) => of_address(field, list, number),
        DnsRecords::Names(list) => match field {
            "count" => Value::Int(list.len() as i64),
            "hostname" => list.get(number).map_or(Value::Null, |name| text(name)),
            _ => network::address(&answer.name).map_or(Value::Null, |address| of_address(field, &[address], 0)),
        },
        DnsRecords::Services(list) => match (field, list.get(number)) {
            ("count", _) => Value::Int(list.len() as i64),
            ("port", Some(service)) => Value::Int(service.port.into()),
            ("priority", Some(service)) => Value::Int(service.priority.into()),
            ("weight", Some(service)) => Value::Int(service.weight.into()),
            ("target", Some(service)) => text(&service.target),
            _ => Value::Null,
        },
        DnsRecords::Pointers(list) => match (field, list.get(number)) {
            ("count", _) => Value::Int(list.len() as i64),
            ("order", Some(pointer)) => Value::Int(pointer.order.into()),
            ("pref", Some(pointer)) => Value::Int(pointer.preference.into()),
            ("flags", Some(pointer)) => text(&pointer.flags),
            ("services", Some(pointer)) => text(&pointer.services),
            ("regex", Some(pointer)) => text(&pointer.regexp),
            ("replace", Some(pointer)) => text(&pointer.replacement),
            _ => Value::Null,
        },
    }
}

fn of_address(field: &str, list: &[IpAddr], number: usize) -> Value {
    let has = |is: fn(&IpAddr) -> bool| Value::Int(list.iter().any(is).into());
    let address = list.get(number);
    match field {
        "addr" => address.map(|address| Bytes::from(address.to_string())).into(),
        "type" => address.map_or(Value::Null, |address| Value::Int(if address.is_ipv4() { 4 } else { 6 })),
        "ipv4" => has(IpAddr::is_ipv4),
        "ipv6" => has(IpAddr::is_ipv6),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use module_api::{Dns, DnsAnswer, DnsPointer, DnsService, Job};

    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, INVITE, text};

    /// A DNS that says what a test tells it, and notes what it was asked.
    #[derive(Default)]
    struct Told {
        records: Vec<(&'static str, DnsKind, DnsRecords)>,
        asked: Mutex<Vec<(String, Option<Duration>)>>,
    }

    impl Dns for Told {
        fn ask(&self, name: String, kind: DnsKind, kept: Option<Duration>) -> DnsAnswer {
            let known = self.records.iter().find(|(own, of, _)| *own == name && *of == kind);
            let answer = known.map(|(.., records)| records.clone());
            self.asked.lock().expect("no test panics in here").push((name, kept));
            Box::pin(async { answer })
        }
    }

    struct Connected(Arc<Told>);

    impl Server for Connected {
        fn post(&self, _: &[u8], job: Job) -> Result<(), Job> {
            Err(job)
        }

        fn dns(&self) -> Option<Arc<dyn Dns>> {
            Some(Arc::clone(&self.0) as _)
        }
    }

    struct Asking {
        bench: Bench,
        told: Arc<Told>,
        runtime: tokio::runtime::Runtime,
    }

    impl Asking {
        fn new(records: Vec<(&'static str, DnsKind, DnsRecords)>) -> Asking {
            let told = Arc::new(Told { records, ..Told::default() });
            let state = Arc::new(Names(Arc::new(Connected(Arc::clone(&told)))));
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
            Asking { bench: Bench::with_state(INVITE, state), told, runtime }
        }

        fn run(&mut self, function: &str, args: &[&str]) -> i64 {
            self.bench.run_waiting(&MODULE, function, args, &self.runtime)
        }

        fn read(&mut self, name: &str, key: &str) -> Value {
            self.bench.read(&MODULE, name, Some(key))
        }
    }

    #[test]
    fn addresses_of_a_name_are_read_from_a_variable() {
        let list = ["192.0.2.7", "2001:db8::1"].map(|address| address.parse().expect("an address")).to_vec();
        let mut dns = Asking::new(vec![("h.example", DnsKind::Addresses, DnsRecords::Addresses(list))]);
        assert_eq!(dns.run("dns_query", &["h.example", "r"]), 1);
        for (key, expected) in [
            ("r=>addr[0]", text("192.0.2.7")),
            ("r=>type[1]", Value::Int(6)),
            ("r=>count", Value::Int(2)),
            ("r=>hostname", text("h.example")),
            ("r=>ipv6", Value::Int(1)),
            ("r=>addr[2]", Value::Null),
            ("other=>addr", Value::Null),
        ] {
            assert_eq!(dns.read("dns", key), expected, "{key}");
        }
        assert_eq!(dns.run("dns_query", &["none.example", "r"]), -1);
        assert_eq!(dns.read("dns", "r=>count"), Value::Null);
        assert_eq!(dns.run("dns_sys_match_ip", &["h.example", "2001:db8::1"]), 1);
        assert_eq!(dns.run("dns_sys_match_ip", &["192.0.2.7", "192.0.2.8"]), -1);
    }

    #[test]
    fn an_address_is_its_own_answer_and_no_question() {
        let mut dns = Asking::new(Vec::new());
        assert_eq!(dns.run("dns_query", &["192.0.2.7", "r"]), 1);
        assert_eq!(dns.read("dns", "r=>addr"), text("192.0.2.7"));
        assert!(dns.told.asked.lock().expect("no test panics in here").is_empty());
        let nowhere = Arc::new(Names(Arc::new(module_api::NoServer)));
        assert_eq!(Bench::with_state(INVITE, nowhere).run(&MODULE, "dns_query", &["h.example", "r"]), -1);
    }

    #[test]
    fn servers_of_a_service_come_by_priority_and_weight() {
        let service =
            |priority, weight, port, target: &str| DnsService { priority, weight, port, target: target.into() };
        let list = vec![service(20, 0, 5062, "c"), service(10, 1, 5061, "b"), service(10, 9, 5060, "a")];
        let mut dns = Asking::new(vec![("_sip._udp.h", DnsKind::Services, DnsRecords::Services(list))]);
        assert_eq!(dns.run("srv_query", &["_sip._udp.h", "r"]), 1);
        assert_eq!(dns.read("srvquery", "r=>count"), Value::Int(3));
        for (n, target) in ["a", "b", "c"].into_iter().enumerate() {
            assert_eq!(dns.read("srvquery", &format!("r=>target[{n}]")), text(target));
        }
        assert_eq!(dns.read("srvquery", "r=>port[1]"), Value::Int(5061));
        assert_eq!(dns.read("srvquery", "r=>priority[2]"), Value::Int(20));
        assert_eq!(dns.read("srvquery", "r=>weight[0]"), Value::Int(9));
        assert_eq!(dns.read("dns", "r=>count"), Value::Null);
    }

    #[test]
    fn rules_come_by_order_and_preference() {
        let pointer = |order, preference, services: &str| DnsPointer {
            order,
            preference,
            flags: "s".into(),
            services: services.into(),
            regexp: "!^.*$!sip:x@y!".into(),
            replacement: "_sip._udp.h".into(),
        };
        let list = vec![pointer(20, 1, "SIP+D2T"), pointer(10, 2, "SIPS+D2T"), pointer(10, 1, "SIP+D2U")];
        let mut dns = Asking::new(vec![("h", DnsKind::Pointers, DnsRecords::Pointers(list))]);
        assert_eq!(dns.run("naptr_query", &["h", "r"]), 1);
        for (key, expected) in [
            ("r=>services[0]", text("SIP+D2U")),
            ("r=>services[2]", text("SIP+D2T")),
            ("r=>order[1]", Value::Int(10)),
            ("r=>pref[1]", Value::Int(2)),
            ("r=>flags", text("s")),
            ("r=>regex", text("!^.*$!sip:x@y!")),
            ("r=>replace", text("_sip._udp.h")),
            ("r=>count", Value::Int(3)),
        ] {
            assert_eq!(dns.read("naptrquery", key), expected, "{key}");
        }
    }

    #[test]
    fn an_address_is_asked_by_its_name_in_the_reverse_tree() {
        let names = DnsRecords::Names(vec!["a.example".into(), "b.example".into()]);
        let mut dns = Asking::new(vec![("7.2.0.192.in-addr.arpa", DnsKind::Names, names)]);
        assert_eq!(dns.run("ptr_query", &["192.0.2.7", "r"]), 1);
        assert_eq!(dns.read("ptrquery", "r=>hostname"), text("a.example"));
        assert_eq!(dns.read("ptrquery", "r=>hostname[1]"), text("b.example"));
        assert_eq!(dns.read("ptrquery", "r=>addr"), text("192.0.2.7"));
        assert_eq!(dns.read("ptrquery", "r=>ipv6"), Value::Int(0));
        assert_eq!(dns.run("ptr_query", &["no address", "r"]), -1);
        assert_eq!(dns.read("ptrquery", "r=>count"), Value::Null);
        let v6 = reverse("2001:db8::1".parse().expect("an address"));
        assert_eq!(v6, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
    }

    #[test]
    fn a_script_says_how_long_answers_are_kept() {
        let mut dns = Asking::new(Vec::new());
        for seconds in ["7200", "0", "-1"] {
            dns.run("dns_set_local_ttl", &[seconds]);
            dns.run("srv_query", &["h", "r"]);
        }
        let asked = dns.told.asked.lock().expect("no test panics in here");
        let kept: Vec<Option<u64>> = asked.iter().map(|(_, kept)| kept.map(|kept| kept.as_secs())).collect();
        assert_eq!(kept, [Some(7200), None, None]);
    }

    #[test]
    fn a_request_keeps_so_many_answers() {
        let addresses = DnsRecords::Addresses(vec![IpAddr::from([192, 0, 2, 1])]);
        let mut dns = Asking::new(vec![("h", DnsKind::Addresses, addresses)]);
        for n in 0..MOST_ANSWERS {
            assert_eq!(dns.run("dns_query", &["h", &n.to_string()]), 1);
        }
        assert_eq!(dns.run("dns_query", &["h", "more"]), -1);
        assert_eq!(dns.run("dns_query", &["h", "0"]), 1);
    }
}
