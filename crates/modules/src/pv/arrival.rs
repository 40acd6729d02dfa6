//! `$si`, `$Ri` and their kin: where the message came from and arrived.

use std::net::SocketAddr;

use module_api::{Call, Socket, Value, Variable};
use sip_message::Transport;

use super::{plain, text};

pub(super) const SOURCE_IP: Variable =
    plain("si", "The address from which the message came.", "xlog(\"from $si:$sp\\n\");", |call, _| {
        text(call.context.arrival.source.ip().to_string())
    });
pub(super) const SOURCE_IP_BRACKETS: Variable =
    plain("siz", "The address from which the message came, IPv6 in brackets.", "xlog(\"$siz\\n\");", |call, _| {
        text(bracketed(call.context.arrival.source))
    });
pub(super) const SOURCE_PORT: Variable =
    plain("sp", "The port from which the message came.", "xlog(\"from $si:$sp\\n\");", |call, _| {
        Value::Int(call.context.arrival.source.port().into())
    });
pub(super) const SOURCE_URI: Variable =
    plain("su", "Where the message came from, as a URI; UDP goes without saying.", "$du = $su;", |call, _| {
        let arrival = &call.context.arrival;
        uri(arrival.source, arrival.transport, false)
    });
pub(super) const SOURCE_URI_WHOLE: Variable =
    plain("sut", "Where the message came from, as a URI with its transport.", "$du = $sut;", |call, _| {
        let arrival = &call.context.arrival;
        uri(arrival.source, arrival.transport, true)
    });
pub(super) const SOURCE_PLACE: Variable =
    plain("sas", "Where the message came from, as proto:address:port.", "xlog(\"$sas\\n\");", |call, _| {
        let arrival = &call.context.arrival;
        text(format!("{}:{}", arrival.transport.uri_param(), arrival.source))
    });
pub(super) const RECEIVED_IP: Variable =
    plain("Ri", "The local address at which the message arrived.", "xlog(\"at $Ri:$Rp\\n\");", |call, _| {
        text(call.context.arrival.local.ip().to_string())
    });
pub(super) const RECEIVED_PORT: Variable =
    plain("Rp", "The local port at which the message arrived.", "if ($Rp == 5061) exit;", |call, _| {
        Value::Int(call.context.arrival.local.port().into())
    });
pub(super) const RECEIVED_URI: Variable =
    plain("Ru", "Where the message arrived, as a URI; UDP goes without saying.", "xlog(\"$Ru\\n\");", |call, _| {
        let arrival = &call.context.arrival;
        uri(arrival.local, arrival.transport, false)
    });
pub(super) const RECEIVED_URI_WHOLE: Variable =
    plain("Rut", "Where the message arrived, as a URI with its transport.", "xlog(\"$Rut\\n\");", |call, _| {
        let arrival = &call.context.arrival;
        uri(arrival.local, arrival.transport, true)
    });
pub(super) const RECEIVED_PLACE: Variable =
    plain("Ras", "Where the message arrived, as proto:address:port.", "xlog(\"$Ras\\n\");", |call, _| {
        let arrival = &call.context.arrival;
        text(format!("{}:{}", arrival.transport.uri_param(), arrival.local))
    });
pub(super) const RECEIVED_NAME: Variable = plain(
    "Rn",
    "The name of the socket at which the message arrived; undefined when it has none.",
    "if ($Rn == \"inside\") exit;",
    |call, _| socket(call).and_then(|socket| socket.name.clone()).into(),
);
pub(super) const ADVERTISED_IP: Variable = plain(
    "RAi",
    "The host under which the socket at which the message arrived is advertised.",
    "xlog(\"$RAi\\n\");",
    |call, _| text(advertised(call).0),
);
pub(super) const ADVERTISED_PORT: Variable = plain(
    "RAp",
    "The port under which the socket at which the message arrived is advertised.",
    "xlog(\"$RAp\\n\");",
    |call, _| Value::Int(advertised(call).1.into()),
);
pub(super) const ADVERTISED_URI: Variable = plain("RAu", "As $Ru, as advertised.", "xlog(\"$RAu\\n\");", |call, _| {
    let (host, port) = advertised(call);
    uri_of(&format!("{host}:{port}"), call.context.arrival.transport, false)
});
pub(super) const ADVERTISED_URI_WHOLE: Variable =
    plain("RAut", "As $Rut, as advertised.", "xlog(\"$RAut\\n\");", |call, _| {
        let (host, port) = advertised(call);
        uri_of(&format!("{host}:{port}"), call.context.arrival.transport, true)
    });
pub(super) const PROTOCOL_NUMBER: Variable = plain(
    "prid",
    "The number of the transport over which the message came; see $K.",
    "if ($prid == $K(TCP)) exit;",
    |call, _| Value::Int(super::via::number(call.context.arrival.transport)),
);
pub(super) const CONNECTION: Variable = plain(
    "conid",
    "The number of the connection over which the message came; undefined over UDP.",
    "xlog(\"$conid\\n\");",
    |call, _| call.context.arrival.connection.map_or(Value::Null, |id| Value::Int(id as i64)),
);
pub(super) const PROTOCOL: Variable = plain(
    "proto",
    "The transport over which the message came, in lower case.",
    "if ($proto == \"tls\") exit;",
    |call, _| Value::from_static(call.context.arrival.transport.uri_param()),
);
pub(super) const FAMILY: Variable =
    plain("af", "The address family of the message's way: 4 or 6.", "if ($af == 6) exit;", |call, _| {
        Value::Int(if call.context.arrival.source.is_ipv4() { 4 } else { 6 })
    });
pub(super) const PROCESS: Variable =
    plain("pp", "The process id.", "xlog(\"$pp\\n\");", |_, _| Value::Int(std::process::id().into()));
pub(super) const MESSAGE_ID: Variable = plain(
    "mi",
    "A number that tells this message from others in a log: a hash of its Call-ID, CSeq and top branch.",
    "xlog(\"$mi: $rm\\n\");",
    |call, _| {
        use std::hash::{BuildHasher, Hasher};
        let message = &call.context.message;
        let mut hasher = foldhash::fast::FixedState::with_seed(0).build_hasher();
        hasher.write(message.call_id());
        hasher.write(message.value(sip_message::HeaderName::CSeq).unwrap_or_default());
        hasher.write(message.top_via().ok().and_then(|via| via.branch()).unwrap_or_default());
        Value::Int((hasher.finish() >> 33) as i64)
    },
);

fn uri(address: SocketAddr, transport: Transport, names_udp: bool) -> Value {
    uri_of(&address.to_string(), transport, names_udp)
}

fn uri_of(place: &str, transport: Transport, names_udp: bool) -> Value {
    match transport {
        // RFC 3263 section 4.1: a URI with a port and no transport parameter means UDP.
        Transport::Udp if !names_udp => text(format!("sip:{place}")),
        transport => text(format!("sip:{place};transport={}", transport.uri_param())),
    }
}

fn socket<'a>(call: &'a Call<'_>) -> Option<&'a Socket> {
    call.host.sockets().get(usize::from(call.context.arrival.socket.0))
}

fn advertised(call: &Call<'_>) -> (String, u16) {
    match socket(call).and_then(|socket| socket.advertised.as_ref()) {
        Some((host, port)) => (String::from_utf8_lossy(host).into_owned(), *port),
        None => (bracketed(call.context.arrival.local), call.context.arrival.local.port()),
    }
}

fn bracketed(address: SocketAddr) -> String {
    match address.is_ipv6() {
        true => format!("[{}]", address.ip()),
        false => address.ip().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, text};

    #[test]
    fn source_and_arrival_are_told_apart() {
        let mut bench = Bench::invite();
        let expected = [
            ("si", text("198.51.100.7")),
            ("sp", Value::Int(5070)),
            ("su", text("sip:198.51.100.7:5070")),
            ("sut", text("sip:198.51.100.7:5070;transport=udp")),
            ("Ru", text("sip:192.0.2.1:5060")),
            ("Ras", text("udp:192.0.2.1:5060")),
            ("RAut", text("sip:192.0.2.1:5060;transport=udp")),
            ("Rn", Value::Null),
            ("prid", Value::Int(1)),
            ("Ri", text("192.0.2.1")),
            ("Rp", Value::Int(5060)),
            ("proto", text("udp")),
        ];
        for (name, value) in expected {
            assert_eq!(bench.read(&MODULE, name, None), value, "{name}");
        }
    }

    #[test]
    fn an_ipv6_source_keeps_its_brackets_where_a_port_follows() {
        let mut bench = Bench::invite();
        bench.context.arrival.source = "[2001:db8::7]:5070".parse().unwrap();
        assert_eq!(bench.read(&MODULE, "si", None), text("2001:db8::7"));
        assert_eq!(bench.read(&MODULE, "siz", None), text("[2001:db8::7]"));
        assert_eq!(bench.read(&MODULE, "su", None), text("sip:[2001:db8::7]:5070"));
    }
}
