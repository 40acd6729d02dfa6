//! The addresses that a message came from and goes by.

use std::net::SocketAddr;

use bytes::Bytes;
use module_api::{Call, Function, KeyRule, Outcome, Param, ParamKind, Routes, SocketId, Value, Variable};
use sip_message::{Transport, Uri};

use crate::core::socket_named;
use crate::rewrite;

const SOCKET: &[Param] = &[Param::required("socket", ParamKind::Format)];
const NAME: &[Param] = &[Param::required("name", ParamKind::Format)];

pub(super) const SET_SEND: Function = Function {
    name: "set_send_socket",
    params: SOCKET,
    routes: Routes::ANY,
    doc: "Sends the request from one of the listening sockets, named as PROTO:ADDRESS:PORT. False when there is none.",
    example: "set_send_socket(\"udp:192.0.2.1:5060\");",
    run: |call| send_from(call, socket_named),
};

pub(super) const SET_SEND_NAME: Function = Function {
    name: "set_send_socket_name",
    params: NAME,
    routes: Routes::ANY,
    doc: "Sends the request from the listening socket of that name. False when there is none.",
    example: "set_send_socket_name(\"outside\");",
    run: |call| send_from(call, by_name),
};

pub(super) const SET_RECEIVE: Function = Function {
    name: "set_recv_socket",
    params: SOCKET,
    routes: Routes::ANY,
    doc: "Lets the message count as received on another of the listening sockets. False when there is none.",
    example: "set_recv_socket(\"udp:192.0.2.1:5060\");",
    run: |call| received_on(call, socket_named),
};

pub(super) const SET_RECEIVE_NAME: Function = Function {
    name: "set_recv_socket_name",
    params: NAME,
    routes: Routes::ANY,
    doc: "Lets the message count as received on the listening socket of that name. False when there is none.",
    example: "set_recv_socket_name(\"outside\");",
    run: |call| received_on(call, by_name),
};

pub(super) const SET_SOURCE: Function = Function {
    name: "set_source_address",
    params: &[Param::required("address", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Lets the message count as received from another address, PROTO:ADDRESS:PORT, which replies go to where the Via \
          asks for the source. The protocol stays that of the message. False when it cannot be read.",
    example: "set_source_address(\"udp:192.0.2.7:5060\");",
    run: |call| match address(&call.text(0)) {
        Some(source) => {
            call.context.arrival.source = source;
            Outcome::TRUE
        }
        None => Outcome::fail("set_source_address: not PROTO:ADDRESS:PORT"),
    },
};

pub(super) const IS_NAME: Function = Function {
    name: "is_socket_name",
    params: NAME,
    routes: Routes::ANY,
    doc: "True when there is a listening socket of that name.",
    example: "if (is_socket_name(\"outside\")) set_send_socket_name(\"outside\");",
    run: |call| by_name(call, &call.text(0)).is_some().into(),
};

pub(super) const LISTENING: Variable = Variable {
    name: "lsock",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "$lsock(FIND=>SHOW): a listening socket. FIND is PROTO:ADDRESS:PORT or the socket's name, SHOW is listen, \
          advertise or name.",
    example: "$var(outside) = $lsock(outside=>listen);",
    read: |call, selector| {
        let key = String::from_utf8_lossy(selector.key()).into_owned();
        let (find, show) = key.split_once("=>").unwrap_or((&key, "listen"));
        let find = find.trim().as_bytes();
        let Some(id) = by_name(call, find).or_else(|| socket_named(call, find)) else { return Value::Null };
        let Some(socket) = call.host.sockets().get(usize::from(id.0)) else { return Value::Null };
        let transport = socket.transport.uri_param();
        match show.trim() {
            "listen" => Value::Str(format!("{transport}:{}", socket.address).into()),
            "name" => socket.name.clone().into(),
            "advertise" => {
                let shown = socket.advertised.as_ref();
                shown
                    .map(|(host, port)| [transport.as_bytes(), b":", host, b":", port.to_string().as_bytes()].concat())
                    .map(Bytes::from)
                    .into()
            }
            _ => Value::Null,
        }
    },
    write: None,
};

fn by_name(call: &Call<'_>, name: &[u8]) -> Option<SocketId> {
    let at = call.host.sockets().iter().position(|socket| socket.name.as_deref() == Some(name))?;
    u16::try_from(at).ok().map(SocketId)
}

fn send_from(call: &mut Call<'_>, find: fn(&Call<'_>, &[u8]) -> Option<SocketId>) -> Outcome {
    match find(call, &call.text(0)) {
        Some(socket) => {
            call.context.target.socket = Some(socket);
            Outcome::TRUE
        }
        None => Outcome::fail("no such listening socket"),
    }
}

fn received_on(call: &mut Call<'_>, find: fn(&Call<'_>, &[u8]) -> Option<SocketId>) -> Outcome {
    let Some(id) = find(call, &call.text(0)) else { return Outcome::fail("no such listening socket") };
    let Some(socket) = call.host.sockets().get(usize::from(id.0)) else { return Outcome::FALSE };
    // Replies leave by the socket and connection that the message came by, so they must speak the same.
    if socket.transport != call.context.arrival.transport {
        return Outcome::fail("set_recv_socket: the message came over another transport");
    }
    let mut local = socket.address;
    if local.ip().is_unspecified() {
        local.set_ip(call.context.arrival.local.ip());
    }
    call.context.arrival.local = local;
    call.context.arrival.socket = id;
    Outcome::TRUE
}

fn address(text: &Bytes) -> Option<SocketAddr> {
    let uri = rewrite::uri_of_proxy(text)?;
    let uri = Uri::parse(&uri).ok()?;
    Some(SocketAddr::new(uri.host.address()?, uri.port.unwrap_or(Transport::Udp.default_port())))
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, text};

    #[test]
    fn sockets_are_chosen_by_address_or_name() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "set_send_socket", &["tcp:192.0.2.1:5060"]), 1);
        assert_eq!(bench.context.target.socket, Some(SocketId(1)));
        assert_eq!(bench.run(&MODULE, "set_send_socket_name", &["secure"]), 1);
        assert_eq!(bench.context.target.socket, Some(SocketId(2)));
        assert_eq!(bench.run(&MODULE, "set_send_socket_name", &["nope"]), -1);
        assert_eq!(bench.run(&MODULE, "is_socket_name", &["secure"]), 1);
        assert_eq!(bench.run(&MODULE, "set_recv_socket", &["udp:192.0.2.1:5060"]), 1);
        // It came over UDP.
        assert_eq!(bench.run(&MODULE, "set_recv_socket_name", &["secure"]), -1);
    }

    #[test]
    fn a_message_can_count_as_from_elsewhere() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "set_source_address", &["udp:203.0.113.9:6060"]), 1);
        assert_eq!(bench.context.arrival.source, ([203, 0, 113, 9], 6060).into());
        assert_eq!(bench.run(&MODULE, "set_source_address", &["udp:name.example:6060"]), -1);
    }

    #[test]
    fn a_listening_socket_is_shown() {
        let mut bench = Bench::invite();
        assert_eq!(bench.read(&MODULE, "lsock", Some("secure=>listen")), text("tls:192.0.2.1:5061"));
        assert_eq!(bench.read(&MODULE, "lsock", Some("tls:192.0.2.1:5061=>name")), text("secure"));
        assert_eq!(bench.read(&MODULE, "lsock", Some("nope=>name")), Value::Null);
    }
}
