//! `$K`, `$true`, `$version`, `$HN`: what does not depend on the message.

use module_api::{KeyRule, Routes, Value, Variable};
use sip_message::Transport;

use super::attribute::Shared;
use super::{plain, text};

pub(super) const TRUE: Variable = plain("true", "The number 1.", "$var(is_local) = $true;", |_, _| Value::Int(1));
pub(super) const FALSE: Variable = plain("false", "The number 0.", "$var(is_local) = $false;", |_, _| Value::Int(0));
pub(super) const K: Variable = Variable {
    name: "K",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "The number of a protocol or address family: UDP 1, TCP 2, TLS 3, SCTP 4, WS 5, WSS 6, IPv4 2, IPv6 10.",
    example: "if ($prid == $K(TCP)) exit;",
    read: |_, selector| match selector.key() {
        b"IPv4" => Value::Int(2),
        b"IPv6" => Value::Int(10),
        name => Transport::from_token(name).map_or(Value::Null, |transport| Value::Int(super::via::number(transport))),
    },
    write: None,
};
pub(super) const VERSION: Variable = Variable {
    name: "version",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "The version of this server: num, or full with its name.",
    example: "xlog(\"$version(full)\\n\");",
    read: |_, selector| match selector.key() {
        b"num" | b"n" => Value::from_static(env!("CARGO_PKG_VERSION")),
        b"full" | b"f" => Value::from_static(concat!("SER ", env!("CARGO_PKG_VERSION"))),
        _ => Value::Null,
    },
    write: None,
};
pub(super) const SERVER: Variable = Variable {
    name: "ksr",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "The version of this server: ver its text, verval its number, as 1002003 for 1.2.3.",
    example: "xlog(\"$ksr(ver)\\n\");",
    read: |_, selector| match selector.key() {
        b"ver" => Value::from_static(env!("CARGO_PKG_VERSION")),
        b"verval" => {
            let parts = env!("CARGO_PKG_VERSION").split(['.', '-']).map_while(|part| part.parse::<i64>().ok());
            Value::Int(parts.take(3).fold(0, |number, part| number * 1000 + part))
        }
        _ => Value::Null,
    },
    write: None,
};
/// What Kamailio's parser once noted of a message that it could not read; no version fills it.
pub(super) const ERROR_CLASS: Variable = plain(
    "err.class",
    "Always undefined: what cannot be read does not reach a script.",
    "xlog(\"$err.class\\n\");",
    |_, _| Value::Null,
);
pub(super) const HOST_NAME: Variable = Variable {
    name: "HN",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "The name of the host as it was at the start: n the name alone, d its domain, f both.",
    example: "xlog(\"$HN(n)\\n\");",
    read: |call, selector| {
        let full = &call.state::<Shared>().host_name;
        let (name, domain) = full.split_once('.').unwrap_or((full, ""));
        match selector.key() {
            b"n" => text(name),
            b"d" => text(domain),
            b"f" => text(full.as_str()),
            _ => Value::Null,
        }
    },
    write: None,
};
pub(super) const STATISTIC: Variable = Variable {
    name: "stat",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "A number that the server counts, by its name or as group:name; undefined when nothing counts that.",
    example: "xlog(\"$stat(rcv_requests)\\n\");",
    read: |call, selector| {
        let name = String::from_utf8_lossy(selector.key()).into_owned();
        let reading = call.state::<Shared>().statistics.find(&name);
        reading.and_then(|reading| reading.value()).map_or(Value::Null, Value::Int)
    },
    write: None,
};
pub(super) const TEXT: Variable = Variable {
    name: "_s",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "The text in the parentheses, with the variables in it expanded.",
    example: "$var(x) = $_s(sip:$fU@$fd);",
    read: |_, selector| selector.key.cloned().into(),
    write: None,
};

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, text};

    #[test]
    fn what_the_server_counts_is_read_by_name() {
        let state = crate::testing::make(&MODULE, &[], module_api::Dialect::Kamailio, &|_| None).unwrap();
        let counter = {
            let shared: std::sync::Arc<dyn std::any::Any + Send + Sync> = std::sync::Arc::clone(&state) as _;
            shared.downcast::<Shared>().unwrap().statistics.counter("script", "calls", "For a test.")
        };
        counter.add(3);
        let mut bench = Bench::with_state(crate::testing::INVITE, state);
        assert_eq!(bench.read(&MODULE, "stat", Some("calls")), Value::Int(3));
        assert_eq!(bench.read(&MODULE, "stat", Some("nothing")), Value::Null);
    }

    /// The numbers that Kamailio 5.6.3 prints.
    #[test]
    fn protocols_have_the_numbers_that_scripts_expect() {
        let mut bench = Bench::invite();
        for (name, number) in [("IPv4", 2), ("IPv6", 10), ("UDP", 1), ("TCP", 2), ("TLS", 3), ("WSS", 6)] {
            assert_eq!(bench.read(&MODULE, "K", Some(name)), Value::Int(number), "{name}");
        }
        assert_eq!(bench.read(&MODULE, "K", Some("X")), Value::Null);
        assert_eq!(bench.read(&MODULE, "_s", Some("a-b")), text("a-b"));
        assert_eq!(bench.read(&MODULE, "err.class", None), Value::Null);
        assert_eq!(bench.read(&MODULE, "ksr", Some("ver")), text(env!("CARGO_PKG_VERSION")));
    }
}
