//! `$ru`, `$du` and their parts: where the request goes.

use bytes::Bytes;
use module_api::{Call, Fault, KeyRule, Routes, Selector, Value, Variable};
use sip_message::Uri;

use super::{copied, plain, text};
use crate::rewrite;

pub(super) const RU: Variable = writable(
    "ru",
    "The Request-URI.",
    "$ru = \"sip:bob@example.com\";",
    |call, _| Value::Str(call.context.target.uri.clone()),
    |call, _, value| set_uri(call, Some(value.to_bytes()).filter(|uri| Uri::parse(uri).is_ok())),
);

pub(super) const RU_USER: Variable = writable(
    "rU",
    "The user of the Request-URI; assigning $null removes it.",
    "$rU = \"bob\";",
    |call, _| part(&call.context.target.uri, |uri| uri.user),
    |call, _, value| {
        let user = (!value.is_null()).then(|| value.to_bytes());
        set_uri(call, rewrite::with_user(&call.context.target.uri, user.as_deref()))
    },
);

pub(super) const RU_HOST: Variable = writable(
    "rd",
    "The host of the Request-URI.",
    "$rd = \"example.com\";",
    |call, _| part(&call.context.target.uri, |uri| Some(uri.host_text)),
    |call, _, value| set_uri(call, rewrite::with_host(&call.context.target.uri, &value.to_bytes())),
);

pub(super) const RU_PORT: Variable = writable(
    "rp",
    "The port of the Request-URI; undefined when it names none.",
    "$rp = 5080;",
    |call, _| port(&call.context.target.uri),
    |call, _, value| set_uri(call, rewrite::with_port(&call.context.target.uri, &value.to_bytes())),
);

pub(super) const RU_PROTOCOL: Variable = plain(
    "rP",
    "The transport of the Request-URI, udp where it names none.",
    "if ($rP == \"tcp\") exit;",
    |call, _| protocol(&call.context.target.uri),
);

pub(super) const RU_USER_LENGTH: Variable =
    plain("rUl", "The length of the Request-URI's user.", "if ($rUl > 4) exit;", |call, _| {
        let user = Uri::parse(&call.context.target.uri).ok().and_then(|uri| uri.user).unwrap_or_default();
        Value::Int(user.len() as i64)
    });

pub(super) const DU: Variable = writable(
    "du",
    "The next hop as a URI; it wins over the host of the Request-URI. Assigning $null takes it back.",
    "$du = \"sip:192.0.2.7:5080\";",
    |call, _| call.context.target.destination.clone().into(),
    |call, _, value| {
        if value.is_null() || value.to_bytes().is_empty() {
            call.context.set_destination(None);
            return Ok(());
        }
        let uri = value.to_bytes();
        if Uri::parse(&uri).is_err() {
            return Err(not_a_uri());
        }
        call.context.set_destination(Some(uri));
        Ok(())
    },
);

pub(super) const DU_HOST: Variable = plain("dd", "The host of the next hop.", "xlog(\"to $dd\\n\");", |call, _| {
    next_hop(call, |uri| part(uri, |uri| Some(uri.host_text)))
});
pub(super) const DU_PORT: Variable =
    plain("dp", "The port of the next hop.", "xlog(\"to port $dp\\n\");", |call, _| next_hop(call, port));
pub(super) const DU_PROTOCOL: Variable =
    plain("dP", "The transport of the next hop.", "xlog(\"over $dP\\n\");", |call, _| next_hop(call, protocol));

pub(super) const OU: Variable = plain("ou", "The Request-URI as it came.", "xlog(\"asked for $ou\\n\");", |call, _| {
    original(call, |uri| Value::Str(uri.clone()))
});
pub(super) const OU_USER: Variable =
    plain("oU", "The user of the Request-URI as it came.", "xlog(\"asked for $oU\\n\");", |call, _| {
        original(call, |uri| part(uri, |uri| uri.user))
    });
pub(super) const OU_HOST: Variable =
    plain("od", "The host of the Request-URI as it came.", "xlog(\"asked at $od\\n\");", |call, _| {
        original(call, |uri| part(uri, |uri| Some(uri.host_text)))
    });
pub(super) const OU_PORT: Variable =
    plain("op", "The port of the Request-URI as it came.", "xlog(\"asked at $op\\n\");", |call, _| {
        original(call, port)
    });

pub(super) const OU_PROTOCOL: Variable =
    plain("oP", "The transport of the Request-URI as it came.", "xlog(\"asked over $oP\\n\");", |call, _| {
        original(call, protocol)
    });
pub(super) const OU_USER_LENGTH: Variable =
    plain("oUl", "The length of the user of the Request-URI as it came.", "if ($oUl > 4) exit;", |call, _| {
        original(call, |uri| Value::Int(part(uri, |uri| uri.user).to_bytes().len() as i64))
    });
pub(super) const RU_SCHEME: Variable =
    plain("rz", "The scheme of the Request-URI: sip, sips or tel.", "if ($rz == \"sips\") exit;", |call, _| {
        let uri = &call.context.target.uri;
        copied(uri.iter().position(|byte| *byte == b':').map(|colon| &uri[..colon]))
    });
pub(super) const RU_LENGTH: Variable =
    plain("rul", "The length of the Request-URI.", "if ($rul > 200) exit;", |call, _| {
        Value::Int(call.context.target.uri.len() as i64)
    });
pub(super) const DESTINATIONS: Variable = plain(
    "ds",
    "The added targets as a list of Contact values; undefined when there are none.",
    "xlog(\"$ds\\n\");",
    |call, _| {
        let branches = call.context.branches.iter();
        let all: Vec<String> = branches.map(|branch| format!("<{}>", String::from_utf8_lossy(&branch.uri))).collect();
        if all.is_empty() { Value::Null } else { text(format!("Contact: {}", all.join(", "))) }
    },
);
pub(super) const NEXT_HOP: Variable = Variable {
    name: "nh",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "A part of where the request goes, of $du where that is set, else of $ru: u the URI, U its user, d its host, p \
          its port, P its transport.",
    example: "xlog(\"to $nh(d):$nh(p)\\n\");",
    read: |call, selector| {
        let uri = call.context.target.destination.as_ref().unwrap_or(&call.context.target.uri);
        match selector.key() {
            b"u" => Value::Str(uri.clone()),
            b"U" => part(uri, |uri| uri.user),
            b"d" => part(uri, |uri| Some(uri.host_text)),
            b"p" => match port(uri) {
                Value::Null => Value::Int(if protocol(uri) == Value::from_static("tls") { 5061 } else { 5060 }),
                port => port,
            },
            b"P" => protocol(uri),
            _ => Value::Null,
        }
    },
    write: None,
};
pub(super) const SOCKET_NAME: Variable = writable(
    "fsn",
    "The name of the socket that the request shall leave from; undefined while the server chooses or it has none.",
    "$fsn = \"inside\";",
    |call, _| forced(call).and_then(|socket| socket.name.clone()).into(),
    |call, _, value| {
        let name = value.to_bytes();
        let at = call.host.sockets().iter().position(|socket| socket.name.as_ref() == Some(&name));
        let at = if value.is_null() { None } else { Some(at.ok_or(no_socket())?) };
        call.context.target.socket = at.and_then(|at| u16::try_from(at).ok()).map(module_api::SocketId);
        Ok(())
    },
);
pub(super) const SOCKET_PROTOCOL: Variable = plain(
    "fsp",
    "The number of the transport of the socket that the request shall leave from; 0 while the server chooses.",
    "xlog(\"$fsp\\n\");",
    |call, _| Value::Int(forced(call).map_or(0, |socket| super::via::number(socket.transport))),
);

fn forced<'a>(call: &'a Call<'_>) -> Option<&'a module_api::Socket> {
    let id = call.context.target.socket?;
    call.host.sockets().get(usize::from(id.0))
}

fn no_socket() -> Fault {
    Fault { code: -1, cause: "there is no such socket".into() }
}

pub(super) const SOCKET: Variable = writable(
    "fs",
    "The socket that the request shall leave from, as proto:address:port; undefined while the server chooses.",
    "$fs = \"udp:192.0.2.1:5060\";",
    |call, _| {
        let socket = call.context.target.socket.and_then(|id| call.host.sockets().get(usize::from(id.0)));
        socket.map_or(Value::Null, |socket| text(socket.to_string()))
    },
    |call, _, value| {
        if value.is_null() {
            call.context.target.socket = None;
            return Ok(());
        }
        let socket = crate::core::socket_named(call, &value.to_bytes());
        call.context.target.socket = Some(socket.ok_or(no_socket())?);
        Ok(())
    },
);

type Write = fn(&mut Call<'_>, &Selector<'_>, Value) -> Result<(), Fault>;

const fn writable(
    name: &'static str,
    doc: &'static str,
    example: &'static str,
    read: super::Read,
    write: Write,
) -> Variable {
    Variable { name, key: KeyRule::None, routes: Routes::ANY, doc, example, read, write: Some(write) }
}

fn set_uri(call: &mut Call<'_>, uri: Option<Bytes>) -> Result<(), Fault> {
    call.context.set_uri(uri.ok_or_else(not_a_uri)?);
    Ok(())
}

fn not_a_uri() -> Fault {
    Fault { code: -1, cause: "the result would not be a URI".into() }
}

/// One part of a URI; undefined when the URI cannot be read.
pub(super) fn part<'a>(uri: &'a [u8], pick: impl FnOnce(&Uri<'a>) -> Option<&'a [u8]>) -> Value {
    copied(Uri::parse(uri).ok().and_then(|uri| pick(&uri)))
}

fn port(uri: &Bytes) -> Value {
    let port = Uri::parse(uri).ok().and_then(|uri| uri.port);
    port.map_or(Value::Null, |port| Value::Int(port.into()))
}

fn protocol(uri: &Bytes) -> Value {
    match Uri::parse(uri) {
        // RFC 3263 section 4.1: without a transport parameter UDP, or TLS for sips.
        Ok(uri) => Value::from_static(match uri.transport() {
            Some(transport) => transport.uri_param(),
            None if matches!(uri.scheme, sip_message::Scheme::Sips) => "tls",
            None => "udp",
        }),
        Err(_) => Value::Null,
    }
}

fn next_hop(call: &Call<'_>, read: impl FnOnce(&Bytes) -> Value) -> Value {
    call.context.target.destination.as_ref().map_or(Value::Null, read)
}

fn original(call: &Call<'_>, read: impl FnOnce(&Bytes) -> Value) -> Value {
    let message = call.context.request.as_ref().unwrap_or(&call.context.message);
    if !message.is_request() {
        return Value::Null;
    }
    read(&message.slice(message.request_uri_span()))
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, text};

    #[test]
    fn the_request_uri_is_read_and_written_in_parts() {
        let mut bench = Bench::invite();
        assert_eq!(bench.read(&MODULE, "rU", None), text("bob"));
        assert_eq!(bench.read(&MODULE, "rp", None), Value::Null);
        bench.write(&MODULE, "rU", None, text("eve"));
        bench.write(&MODULE, "rd", None, text("h"));
        bench.write(&MODULE, "rp", None, Value::Int(5080));
        assert_eq!(bench.uri(), "sip:eve@h:5080");
        bench.write(&MODULE, "rU", None, Value::Null);
        assert_eq!(bench.uri(), "sip:h:5080");
        assert_eq!(bench.read(&MODULE, "ou", None), text("sip:bob@example.com"));
        assert_eq!(bench.read(&MODULE, "nh", Some("d")), text("h"));
        assert_eq!(bench.read(&MODULE, "nh", Some("p")), Value::Int(5080));
        assert_eq!(bench.read(&MODULE, "oUl", None), Value::Int(3));
        assert_eq!(bench.read(&MODULE, "rz", None), text("sip"));
    }

    #[test]
    fn the_next_hop_is_set_and_taken_back() {
        let mut bench = Bench::invite();
        assert_eq!(bench.read(&MODULE, "du", None), Value::Null);
        bench.write(&MODULE, "du", None, text("sip:192.0.2.7:5080;transport=tcp"));
        assert_eq!(bench.read(&MODULE, "dd", None), text("192.0.2.7"));
        assert_eq!(bench.read(&MODULE, "dp", None), Value::Int(5080));
        assert_eq!(bench.read(&MODULE, "dP", None), text("tcp"));
        bench.write(&MODULE, "du", None, Value::Null);
        assert_eq!(bench.context.target.destination, None);
    }

    #[test]
    fn a_socket_is_chosen_by_its_address() {
        let mut bench = Bench::invite();
        bench.write(&MODULE, "fs", None, text("tcp:192.0.2.1:5060"));
        assert_eq!(bench.read(&MODULE, "fs", None), text("tcp:192.0.2.1:5060"));
        bench.write(&MODULE, "fsn", None, text("secure"));
        assert_eq!(bench.read(&MODULE, "fs", None), text("tls:192.0.2.1:5061"));
        assert_eq!(bench.read(&MODULE, "fsp", None), Value::Int(3));
    }
}
