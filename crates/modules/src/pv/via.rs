//! `$via0`, `$via1`, `$viaZ`: the way that a message took.

use module_api::{Call, KeyRule, Routes, Selector, Value, Variable};
use sip_message::{Transport, Via};

use super::{copied, text};

pub(super) const TOP: Variable = via(
    "via0",
    "A part of the top Via: host, port, proto, protoid, branch, rport, received, i (of a connection) or params.",
    "xlog(\"$via0(host):$via0(port)\\n\");",
    |call, selector| read(call, selector, |all| all.next()),
);
pub(super) const SECOND: Variable = via(
    "via1",
    "A part of the second Via, to which a reply is sent on; parts as of $via0.",
    "xlog(\"$via1(host)\\n\");",
    |call, selector| read(call, selector, |all| all.nth(1)),
);
pub(super) const LAST: Variable = via(
    "viaZ",
    "A part of the last Via, which the caller wrote; parts as of $via0.",
    "xlog(\"$viaZ(host)\\n\");",
    |call, selector| read(call, selector, |all| all.last()),
);

const fn via(name: &'static str, doc: &'static str, example: &'static str, read: super::Read) -> Variable {
    Variable { name, key: KeyRule::Required, routes: Routes::ANY, doc, example, read, write: None }
}

fn read<'a>(
    call: &'a Call<'_>,
    selector: &Selector<'_>,
    pick: fn(&mut dyn Iterator<Item = Via<'a>>) -> Option<Via<'a>>,
) -> Value {
    let mut all = call.context.message.vias().filter_map(Result::ok);
    pick(&mut all).map_or(Value::Null, |via| part(&via, selector.key()))
}

/// One part of a Via by its name.
pub(super) fn part(via: &Via<'_>, name: &[u8]) -> Value {
    match name {
        b"host" => copied(Some(via.host)),
        b"port" => Value::Int(via.port.unwrap_or(0).into()),
        b"proto" => copied(Some(via.transport_text)),
        b"protoid" => via.transport.map_or(Value::Null, |transport| Value::Int(number(transport))),
        b"branch" => copied(via.branch()),
        b"rport" => via.rport().flatten().map_or(Value::Null, |port| text(port.to_string())),
        b"received" => copied(via.received()),
        b"params" => copied(Some(via.params.text())),
        name => match std::str::from_utf8(name).ok().and_then(|name| via.params.find(name)) {
            Some(value) => copied(Some(value.unwrap_or_default())),
            None => Value::Null,
        },
    }
}

/// The number that Kamailio gives a transport, as in `$K(TCP)`.
pub(super) fn number(transport: Transport) -> i64 {
    match transport {
        Transport::Udp => 1,
        Transport::Tcp => 2,
        Transport::Tls => 3,
        Transport::Sctp => 4,
        Transport::Ws => 5,
        Transport::Wss => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, INVITE, text};

    /// What Kamailio 5.6.3 prints for the same headers.
    #[test]
    fn first_second_and_last_via_are_read_in_parts() {
        let two = "Max-Forwards: 70\r\nVia: SIP/2.0/TCP 10.0.0.2;branch=z9hG4bK66;received=10.9.9.9\r\n";
        let mut bench = Bench::new(&INVITE.replace("Max-Forwards: 70\r\n", two));
        let mut check = |name: &str, key: &str, value: Value| {
            assert_eq!(bench.read(&MODULE, name, Some(key)), value, "{name}({key})");
        };
        check("via0", "host", text("198.51.100.7"));
        check("via0", "port", Value::Int(5070));
        check("via0", "proto", text("UDP"));
        check("via0", "protoid", Value::Int(1));
        check("via0", "branch", text("z9hG4bK77"));
        check("via0", "rport", Value::Null);
        check("via1", "host", text("10.0.0.2"));
        check("via1", "received", text("10.9.9.9"));
        check("viaZ", "proto", text("TCP"));
    }
}
