//! How messages are delivered: what the Via of ours says, and over which connections.

use module_api::{Call, Function, HttpRequest, Outcome, OwnVia, Param, ParamKind, Routes};
use sip_message::Host;

pub(super) const ADVERTISED_ADDRESS: Function = Function {
    name: "set_advertised_address",
    params: &[Param::required("host", ParamKind::HostPort)],
    routes: Routes::REQUESTS,
    doc: "Puts this host into the Via of the request, instead of the address that it leaves from. False when it is no \
          host name or address.",
    example: "set_advertised_address(\"sip.example.com\");",
    run: |call| {
        let host = call.text(0);
        if Host::parse(&host).is_none() {
            return Outcome::FALSE;
        }
        own_via(call).host = Some(host);
        Outcome::TRUE
    },
};

pub(super) const ADVERTISED_PORT: Function = Function {
    name: "set_advertised_port",
    params: &[Param::required("port", ParamKind::Int)],
    routes: Routes::REQUESTS,
    doc: "Puts this port into the Via of the request, instead of the one that it leaves from.",
    example: "set_advertised_port(5080);",
    run: |call| match call.int(0).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0) {
        Some(port) => {
            own_via(call).port = Some(port);
            Outcome::TRUE
        }
        None => Outcome::FALSE,
    },
};

pub(super) const LOCAL_RPORT: Function = Function {
    name: "add_local_rport",
    params: &[],
    routes: Routes::REQUESTS,
    doc: "Asks the next hop to answer to the port from which the request leaves (RFC 3581).",
    example: "add_local_rport();",
    run: |call| {
        own_via(call).asks_rport = true;
        Outcome::TRUE
    },
};

pub(super) const REPLY_NO_CONNECT: Function = Function {
    name: "set_reply_no_connect",
    params: &[],
    routes: Routes::ANY,
    doc: "Always true. Replies go over the connection of their request for as long as it is open, as RFC 3261 section \
          18.2.2 demands; after that a new one is tried whether or not this was called.",
    example: "set_reply_no_connect();",
    run: |_| Outcome::TRUE,
};

pub(super) const REPLY_CLOSE: Function = Function {
    name: "set_reply_close",
    params: &[],
    routes: Routes::ANY,
    doc: "Always true. Closes the connection of an HTTP request behind its answer. Connections of SIP are kept until \
          they have been idle for tcp_connection_lifetime: closing one would cut off other transactions on it.",
    example: "set_reply_close();",
    run: |call| {
        if let Some(request) = call.context.note::<HttpRequest>().cloned() {
            call.context.set_note(HttpRequest { keeps_open: false, ..request });
        }
        Outcome::TRUE
    },
};

pub(super) const FORWARD_NO_CONNECT: Function = Function {
    name: "set_forward_no_connect",
    params: &[],
    routes: Routes::ANY,
    doc: "Always true. An open connection to the next hop is used where there is one; else a new one is made, whether or \
          not this was called.",
    example: "set_forward_no_connect();",
    run: |_| Outcome::TRUE,
};

pub(super) const FORWARD_CLOSE: Function = Function {
    name: "set_forward_close",
    params: &[],
    routes: Routes::ANY,
    doc: "Always true. Connections are kept until they have been idle for tcp_connection_lifetime.",
    example: "set_forward_close();",
    run: |_| Outcome::TRUE,
};

pub(super) const TCP_ALIAS: Function = Function {
    name: "force_tcp_alias",
    params: &[Param::optional("port", ParamKind::Int)],
    routes: Routes::REQUESTS,
    doc: "True when the request came over a connection. Requests to its sender use that connection by themselves, where \
          the next hop names the address and port that it came from.",
    example: "force_tcp_alias();",
    run: |call| call.context.arrival.transport.is_reliable().into(),
};

pub(super) const MTU_TRANSPORT: Function = Function {
    name: "udp_mtu_try_proto",
    params: &[Param::required("transport", ParamKind::HostPort)],
    routes: Routes::REQUESTS,
    doc: "True for a transport that is known. A request too large for UDP leaves over TCP where the next hop takes it \
          (RFC 3261 section 18.1.1), whichever transport is named.",
    example: "udp_mtu_try_proto(TCP);",
    run: |call| sip_message::Transport::from_token(&call.text(0)).is_some().into(),
};

fn own_via<'a>(call: &'a mut Call<'_>) -> &'a mut OwnVia {
    call.context.own_via.get_or_insert_default()
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::Bench;

    #[test]
    fn the_own_via_can_name_another_place() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "set_advertised_address", &["sip.example.net"]), 1);
        assert_eq!(bench.run(&MODULE, "set_advertised_port", &["5080"]), 1);
        assert_eq!(bench.run(&MODULE, "add_local_rport", &[]), 1);
        let via = bench.context.own_via.as_deref().unwrap();
        assert_eq!((via.host.as_deref(), via.port, via.asks_rport), (Some(&b"sip.example.net"[..]), Some(5080), true));
        assert_eq!(bench.run(&MODULE, "set_advertised_port", &["0"]), -1);
        assert_eq!(bench.run(&MODULE, "set_advertised_address", &["a b"]), -1);
    }

    #[test]
    fn an_alias_belongs_to_a_connection() {
        assert_eq!(Bench::invite().run(&MODULE, "force_tcp_alias", &[]), -1);
    }
}
