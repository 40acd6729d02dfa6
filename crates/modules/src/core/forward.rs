//! Stateless forwarding, and how replies and requests find their way.

use bytes::Bytes;
use module_api::{Call, Function, Host, Outcome, Param, ParamKind, Routes, SocketId};
use sip_message::{Transport, Uri};

use crate::rewrite;

const TO: &[Param] = &[Param::optional("host", ParamKind::HostPort), Param::optional("port", ParamKind::Str)];

pub(super) const FORWARD: Function = Function {
    name: "forward",
    params: TO,
    routes: Routes::REQUEST,
    doc: "Sends the request on without a transaction, to its target or to the given host and port. The words uri:host \
          and uri:port stand for those of the Request-URI. False when there is nowhere to send to.",
    example: "forward(\"192.0.2.7\", 5060);",
    run: |call| send(call, None),
};

pub(super) const FORWARD_UDP: Function = Function {
    name: "forward_udp",
    params: TO,
    routes: Routes::REQUEST,
    doc: "As forward(), over UDP.",
    example: "forward_udp(\"192.0.2.7\", 5060);",
    run: |call| send(call, Some(Transport::Udp)),
};

pub(super) const FORWARD_TCP: Function = Function {
    name: "forward_tcp",
    params: TO,
    routes: Routes::REQUEST,
    doc: "As forward(), over TCP.",
    example: "forward_tcp(\"192.0.2.7\", 5060);",
    run: |call| send(call, Some(Transport::Tcp)),
};

pub(super) const FORWARD_TLS: Function = Function {
    name: "forward_tls",
    params: TO,
    routes: Routes::REQUEST,
    doc: "As forward(), over TLS.",
    example: "forward_tls(\"192.0.2.7\", 5061);",
    run: |call| send(call, Some(Transport::Tls)),
};

pub(super) const SEND: Function = Function {
    name: "send",
    params: TO,
    routes: Routes::REQUEST,
    doc: "As forward(): the request gets a Via like any other, so that replies to it come back. False when there is \
          nowhere to send to.",
    example: "send(\"192.0.2.7\", 5060);",
    run: |call| send(call, None),
};

pub(super) const SEND_TCP: Function = Function {
    name: "send_tcp",
    params: TO,
    routes: Routes::REQUESTS,
    doc: "As send(), over TCP.",
    example: "send_tcp(\"192.0.2.7\", 5060);",
    run: |call| send(call, Some(Transport::Tcp)),
};

pub(super) const FORCE_RPORT: Function = Function {
    name: "force_rport",
    params: &[],
    routes: Routes::REQUEST.or(Routes::FAILURE),
    doc: "Answers to the port from which the request came even when its Via does not ask for that (RFC 3581). \
          For phones behind NAT.",
    example: "force_rport();",
    run: |call| {
        call.context.is_rport_forced = true;
        Outcome::TRUE
    },
};

pub(super) const FORCE_SEND_SOCKET: Function = Function {
    name: "force_send_socket",
    params: &[Param::required("socket", ParamKind::HostPort)],
    routes: Routes::REQUESTS,
    doc: "Sends the request from one of the listening sockets, named as [proto:]address[:port]. \
          False when there is no such socket.",
    example: "force_send_socket(udp:192.0.2.1:5060);",
    run: |call| match socket_named(call, &call.text(0)) {
        Some(socket) => {
            call.context.target.socket = Some(socket);
            Outcome::TRUE
        }
        None => Outcome::FALSE,
    },
};

/// The listening socket that `[proto:]address[:port]` describes.
pub(crate) fn socket_named(call: &Call<'_>, text: &[u8]) -> Option<SocketId> {
    socket_of(call.host, text)
}

/// As [`socket_named`], where no message is at hand.
pub(crate) fn socket_of(host: &dyn Host, text: &[u8]) -> Option<SocketId> {
    let uri = rewrite::uri_of_proxy(text)?;
    let uri = Uri::parse(&uri).ok()?;
    let at = host.sockets().iter().position(|socket| {
        uri.host.address() == Some(socket.address.ip())
            && uri.port.is_none_or(|port| port == socket.address.port())
            && uri.transport().is_none_or(|transport| transport == socket.transport)
    })?;
    u16::try_from(at).ok().map(SocketId)
}

fn send(call: &mut Call<'_>, transport: Option<Transport>) -> Outcome {
    let to = match destination(call, transport) {
        Ok(to) => to,
        Err(outcome) => return outcome,
    };
    match call.host.forward(call.context, to.as_ref()) {
        Ok(()) => Outcome::TRUE,
        // The peer's mistake and not ours, so nothing for the log.
        Err(_) => Outcome::FALSE,
    }
}

fn destination(call: &Call<'_>, transport: Option<Transport>) -> Result<Option<Bytes>, Outcome> {
    let word = transport.map(Transport::uri_param);
    let target = call.context.target.destination.as_ref().unwrap_or(&call.context.target.uri);
    if call.arg_count() == 0 {
        let Some(word) = word else { return Ok(None) };
        let bare = rewrite::without_param(target, "transport");
        let uri = bare.and_then(|uri| rewrite::with_param(&uri, format!("transport={word}").as_bytes()));
        return uri.map(Some).ok_or(Outcome::FALSE);
    }
    let parsed = Uri::parse(&call.context.target.uri).map_err(|_| Outcome::FALSE)?;
    let host = match call.text(0) {
        word if &word[..] == b"uri:host" => Bytes::copy_from_slice(parsed.host_text),
        host => host,
    };
    let port = match call.text(1) {
        word if &word[..] == b"uri:port" => parsed.port.map(i64::from),
        word if word.is_empty() => None,
        port => Some(module_api::Value::Str(port).to_int()),
    };
    rewrite::uri_of_host(&host, port, word).map(Some).ok_or(Outcome::FALSE)
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::Bench;

    fn check(function: &str, args: &[&str], sent: &str) {
        let mut bench = Bench::invite();
        bench.context.set_uri(Bytes::from_static(b"sip:bob@h.example:5070"));
        assert_eq!(bench.run(&MODULE, function, args), 1);
        assert_eq!(bench.host.done, [sent]);
    }

    #[test]
    fn a_request_is_forwarded_to_its_target_or_to_a_named_host() {
        check("forward", &[], "forward sip:bob@h.example:5070");
        check("forward", &["192.0.2.7", "5080"], "forward sip:192.0.2.7:5080");
        check("forward", &["uri:host", "uri:port"], "forward sip:h.example:5070");
        check("send", &["192.0.2.7", "5060"], "forward sip:192.0.2.7:5060");
        check("forward_tcp", &["192.0.2.7"], "forward sip:192.0.2.7;transport=tcp");
        check("forward_tcp", &[], "forward sip:bob@h.example:5070;transport=tcp");
    }

    #[test]
    fn a_sending_socket_is_found_by_its_address() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "force_send_socket", &["tcp:192.0.2.1:5060"]), 1);
        assert_eq!(bench.context.target.socket, Some(SocketId(1)));
        assert_eq!(bench.run(&MODULE, "force_send_socket", &["udp:192.0.2.9:5060"]), -1);
    }
}
