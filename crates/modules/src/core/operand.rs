//! Operands of conditions: `method`, `uri`, `src_ip` and their kin.
//!
//! They read like variables; how they compare (without regard to case, against networks) is the
//! language's part.

use bytes::Bytes;
use module_api::{
    Call, Departure, Function, KeyRule, Outcome, Param, ParamKind, RouteKind, Routes, Selector, Socket, Value, Variable,
};

pub(super) static ALL: [Variable; 19] = [
    operand("method", "The method; in reply routes the one of the CSeq.", "if (method==\"INVITE\") exit;", method),
    operand("uri", "The current Request-URI; in reply routes the status code.", "if (uri==myself) exit;", uri),
    operand("status", "In reply routes the status code; elsewhere the Request-URI.", "if (status=~\"1..\") exit;", uri),
    operand("src_ip", "The address from which the message came.", "if (src_ip==192.0.2.0/24) exit;", |call, _| {
        text(call.context.arrival.source.ip().to_string())
    }),
    operand("dst_ip", "The local address at which the message arrived.", "if (dst_ip==192.0.2.1) exit;", |call, _| {
        text(call.context.arrival.local.ip().to_string())
    }),
    operand("src_port", "The port from which the message came.", "if (src_port==5060) exit;", |call, _| {
        Value::Int(call.context.arrival.source.port().into())
    }),
    operand("dst_port", "The local port at which the message arrived.", "if (dst_port==5060) exit;", |call, _| {
        Value::Int(call.context.arrival.local.port().into())
    }),
    operand("proto", "The transport over which the message came.", "if (proto==TCP) exit;", |call, _| {
        Value::from_static(call.context.arrival.transport.as_str())
    }),
    operand("msg:len", "The length of the message in bytes.", "if (msg:len > 4096) exit;", |call, _| {
        Value::Int(i64::try_from(call.context.message.bytes().len()).unwrap_or(i64::MAX))
    }),
    operand("af", "The address family: inet or inet6.", "if (af==INET6) exit;", |call, _| {
        // The numbers of AF_INET and AF_INET6, which the words stand for.
        Value::Int(if call.context.arrival.source.is_ipv4() { 2 } else { 10 })
    }),
    operand("from_uri", "The URI of the From header.", "if (from_uri==myself) exit;", |call, _| {
        let message = &call.context.message;
        message.from().ok().map(|from| message.slice(from.uri_span)).into()
    }),
    operand("to_uri", "The URI of the To header.", "if (to_uri==myself) exit;", |call, _| {
        let message = &call.context.message;
        message.to().ok().map(|to| message.slice(to.uri_span)).into()
    }),
    leaving(
        "snd_ip",
        "In onsend_route the local address that the message leaves from.",
        "if (snd_ip==192.0.2.1) exit;",
        |call, _| socket(call).map_or(Value::Null, |socket| text(socket.address.ip().to_string())),
    ),
    leaving(
        "snd_port",
        "In onsend_route the local port that the message leaves from.",
        "if (snd_port==5060) exit;",
        |call, _| socket(call).map_or(Value::Null, |socket| Value::Int(socket.address.port().into())),
    ),
    leaving(
        "snd_proto",
        "In onsend_route the transport over which the message leaves.",
        "if (snd_proto==TCP) exit;",
        |call, _| departure(call).map_or(Value::Null, |departure| Value::from_static(departure.transport.as_str())),
    ),
    leaving("snd_af", "In onsend_route the address family: inet or inet6.", "if (snd_af==INET6) exit;", |call, _| {
        departure(call).map_or(Value::Null, |departure| Value::Int(if departure.peer.is_ipv4() { 2 } else { 10 }))
    }),
    leaving(
        "to_ip",
        "In onsend_route the address that the message is sent to.",
        "if (to_ip==192.0.2.7) drop;",
        |call, _| departure(call).map_or(Value::Null, |departure| text(departure.peer.ip().to_string())),
    ),
    leaving(
        "to_port",
        "In onsend_route the port that the message is sent to.",
        "if (to_port==5060) exit;",
        |call, _| departure(call).map_or(Value::Null, |departure| Value::Int(departure.peer.port().into())),
    ),
    leaving(
        "to_proto",
        "In onsend_route the transport over which the message leaves.",
        "if (to_proto==TCP) exit;",
        |call, _| departure(call).map_or(Value::Null, |departure| Value::from_static(departure.transport.as_str())),
    ),
];

/// An operand that has a value only just before a message leaves.
const fn leaving(name: &'static str, doc: &'static str, example: &'static str, read: Read) -> Variable {
    Variable { routes: Routes::of(RouteKind::Send), ..operand(name, doc, example, read) }
}

fn departure(call: &Call<'_>) -> Option<Departure> {
    call.context.note::<Departure>().copied()
}

fn socket<'a>(call: &'a Call<'_>) -> Option<&'a Socket> {
    let departure = departure(call)?;
    call.host.sockets().get(usize::from(departure.socket.0))
}

pub(super) const LEN_GT: Function = Function {
    name: "len_gt",
    params: &[Param::required("bytes", ParamKind::Int)],
    routes: Routes::ANY,
    doc: "True when the message is longer; the word max_len stands for the longest that is accepted.",
    example: "if (len_gt(max_len)) sl_send_reply(\"513\", \"Message too big\");",
    run: |call| {
        let length = i64::try_from(call.context.message.bytes().len()).unwrap_or(i64::MAX);
        Outcome::from(call.int(0).is_some_and(|bound| length > bound))
    },
};

type Read = fn(&mut Call<'_>, &Selector<'_>) -> Value;

const fn operand(name: &'static str, doc: &'static str, example: &'static str, read: Read) -> Variable {
    Variable { name, key: KeyRule::None, routes: Routes::ANY, doc, example, read, write: None }
}

fn method(call: &mut Call<'_>, _: &Selector<'_>) -> Value {
    Value::Str(Bytes::copy_from_slice(call.context.message.method_text()))
}

fn uri(call: &mut Call<'_>, _: &Selector<'_>) -> Value {
    match call.context.message.status() {
        Some(code) => text(code.to_string()),
        None => Value::Str(call.context.target.uri.clone()),
    }
}

fn text(text: String) -> Value {
    Value::Str(text.into())
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, text};

    #[test]
    fn operands_describe_the_request_and_its_arrival() {
        let mut bench = Bench::invite();
        let expected = [
            ("method", text("INVITE")),
            ("uri", text("sip:bob@example.com")),
            ("src_ip", text("198.51.100.7")),
            ("src_port", Value::Int(5070)),
            ("dst_ip", text("192.0.2.1")),
            ("proto", text("UDP")),
            ("af", Value::Int(2)),
            ("from_uri", text("sip:alice@example.com")),
            ("to_uri", text("sip:bob@example.com")),
        ];
        for (name, value) in expected {
            assert_eq!(bench.read(&MODULE, name, None), value, "{name}");
        }
    }

    #[test]
    fn in_a_reply_uri_and_status_are_the_code() {
        let mut bench = Bench::reply("183 Session Progress");
        assert_eq!(bench.read(&MODULE, "status", None), text("183"));
        assert_eq!(bench.read(&MODULE, "uri", None), text("183"));
        assert_eq!(bench.read(&MODULE, "method", None), text("INVITE"));
    }

    #[test]
    fn just_before_it_leaves_a_message_shows_its_way() {
        let mut bench = Bench::invite();
        assert_eq!(bench.read(&MODULE, "to_ip", None), Value::Null);
        bench.context.set_note(Departure {
            socket: module_api::SocketId(1),
            transport: sip_message::Transport::Tcp,
            peer: ([203, 0, 113, 9], 5080).into(),
        });
        let expected = [
            ("snd_ip", text("192.0.2.1")),
            ("snd_port", Value::Int(5060)),
            ("snd_proto", text("TCP")),
            ("snd_af", Value::Int(2)),
            ("to_ip", text("203.0.113.9")),
            ("to_port", Value::Int(5080)),
        ];
        for (name, value) in expected {
            assert_eq!(bench.read(&MODULE, name, None), value, "{name}");
        }
        assert_eq!(bench.read(&crate::pv::MODULE, "sndto", Some("ip")), text("203.0.113.9"));
        assert_eq!(bench.read(&crate::pv::MODULE, "sndfrom", Some("port")), Value::Int(5060));
    }

    #[test]
    fn a_length_is_compared() {
        assert_eq!(Bench::invite().run(&MODULE, "len_gt", &["100"]), 1);
        assert_eq!(Bench::invite().run(&MODULE, "len_gt", &["65535"]), -1);
    }
}
