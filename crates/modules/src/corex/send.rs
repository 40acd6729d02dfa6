//! Sending beside the proxy's own way: bytes as they are, copies with one Via, replies on demand.

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Call, Function, Outcome, Param, ParamKind, RouteKind, Routes, SocketId, Target};
use sip_message::{HeaderName, Span, Uri};

use crate::core::socket_named;
use crate::rewrite;

pub(super) const SEND_UDP: Function = Function {
    name: "send_udp",
    params: &[Param::optional("to", ParamKind::Format)],
    routes: Routes::REQUEST.or(Routes::FAILURE),
    doc: "Sends the message as it came, without a Via of this server, over UDP to HOST or HOST:PORT, or to where it would go \
          anyway. Replies to it do not come back here. False when there is nowhere to send to.",
    example: "send_udp(\"192.0.2.7:5070\");",
    run: |call| {
        let to = call.text(0);
        let uri = match to.is_empty() {
            true => rewrite::without_param(next_hop(call), "transport"),
            false => rewrite::uri_of_host(&to, None, None),
        };
        let Some(uri) = uri.and_then(|uri| rewrite::with_param(&uri, b"transport=udp")) else { return Outcome::FALSE };
        let message = Bytes::copy_from_slice(call.context.message.bytes());
        send(call, uri, None, message)
    },
};

pub(super) const SEND_DATA: Function = Function {
    name: "send_data",
    params: &[Param::required("uri", ParamKind::Format), Param::required("data", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Sends any text, as it is, to where a SIP URI leads. Nothing waits for it and nothing answers. False when there is \
          nowhere to send to.",
    example: "send_data(\"sip:192.0.2.7:5070\", \"call of $fu\");",
    run: |call| {
        let (uri, data) = (call.text(0), call.text(1));
        send(call, uri, None, data)
    },
};

pub(super) const SENDX: Function = Function {
    name: "sendx",
    params: &[
        Param::required("uri", ParamKind::Format),
        Param::required("socket", ParamKind::Format),
        Param::required("data", ParamKind::Format),
    ],
    routes: Routes::ANY,
    doc: "As send_data(), from one of the listening sockets, named PROTO:ADDRESS:PORT. False when there is no such socket.",
    example: "sendx(\"sip:192.0.2.7:5070\", \"udp:192.0.2.1:5060\", \"call of $fu\");",
    run: |call| {
        let (uri, socket, data) = (call.text(0), call.text(1), call.text(2));
        match socket_named(call, &socket) {
            Some(socket) => send(call, uri, Some(socket), data),
            None => Outcome::FALSE,
        }
    },
};

pub(super) const FORWARD_UAC: Function = Function {
    name: "forward_uac",
    params: &[Param::optional("branch", ParamKind::Int)],
    routes: Routes::REQUEST,
    doc: "Sends the request on, without a transaction, with a Via of this server alone, so that what answers it goes no \
          further than here: for copies of requests that have been answered. The number, of a branch, has no effect: each \
          such copy of a request has the same. False when there is nowhere to send to.",
    example: "$du = \"sip:mirror.example.com\"; forward_uac();",
    run: |call| forward_alone(call, None),
};

pub(super) const FORWARD_UAC_URI: Function = Function {
    name: "forward_uac_uri",
    params: &[Param::required("uri", ParamKind::Format), Param::optional("branch", ParamKind::Int)],
    routes: Routes::REQUEST,
    doc: "As forward_uac(), to where a URI leads; the Request-URI stays.",
    example: "forward_uac_uri(\"sip:mirror.example.com\");",
    run: |call| {
        let uri = call.text(0);
        forward_alone(call, Some(uri))
    },
};

pub(super) const FORWARD_REPLY: Function = Function {
    name: "forward_reply",
    params: &[],
    routes: Routes::of(RouteKind::Reply),
    doc: "Sends the reply on now, by its second Via. It goes on once more when the script is over, unless that drops it. False \
          when the Via leads nowhere.",
    example: "forward_reply(); drop;",
    run: |call| call.host.forward_reply(call.context).into(),
};

fn next_hop<'a>(call: &'a Call<'_>) -> &'a Bytes {
    call.context.target.destination.as_ref().unwrap_or(&call.context.target.uri)
}

fn send(call: &mut Call<'_>, uri: Bytes, socket: Option<SocketId>, bytes: Bytes) -> Outcome {
    if !Uri::parse(&uri).is_ok_and(|uri| uri.is_sip()) || bytes.is_empty() {
        return Outcome::FALSE;
    }
    let target = Target { socket, ..Target::new(uri) };
    call.host.send_bytes(call.context, target, bytes).is_ok().into()
}

/// The Vias of others are taken out of the copy alone.
fn forward_alone(call: &mut Call<'_>, to: Option<Bytes>) -> Outcome {
    let message = Arc::clone(&call.context.message);
    let edits = call.context.edits.clone();
    let vias: Vec<Span> = message.headers_named(HeaderName::Via).map(|header| header.field).collect();
    vias.iter().for_each(|span| call.context.edits.remove(*span));
    let sent = call.host.forward(call.context, to.as_ref());
    call.context.edits = edits;
    sent.is_ok().into()
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::{Bench, INVITE};
    use module_api::RouteKind;

    #[test]
    fn bytes_go_as_they_are_to_where_a_uri_leads() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "send_data", &["sip:192.0.2.7:5070", "hello"]), 1);
        assert_eq!(bench.run(&MODULE, "sendx", &["sip:192.0.2.7", "tcp:192.0.2.1:5060", "hello"]), 1);
        assert_eq!(bench.run(&MODULE, "send_udp", &["192.0.2.7:5070"]), 1);
        assert_eq!(bench.run(&MODULE, "send_udp", &[]), 1);
        let length = INVITE.len();
        assert_eq!(
            bench.host.done,
            [
                "send 5 bytes to sip:192.0.2.7:5070".to_owned(),
                "send 5 bytes to sip:192.0.2.7 from 1".to_owned(),
                format!("send {length} bytes to sip:192.0.2.7:5070;transport=udp"),
                format!("send {length} bytes to sip:bob@example.com;transport=udp"),
            ]
        );
    }

    #[test]
    fn what_leads_nowhere_is_not_sent() {
        let mut bench = Bench::invite();
        for (function, args) in [
            ("send_data", &["tel:+1", "x"][..]),
            ("send_data", &["sip:h", ""]),
            ("sendx", &["sip:h", "udp:203.0.113.9:5060", "x"]),
            ("send_udp", &["no host"]),
        ] {
            assert_eq!(bench.run(&MODULE, function, args), -1, "{function}");
        }
        assert!(bench.host.done.is_empty());
    }

    #[test]
    fn a_reply_is_forwarded_on_demand() {
        let mut bench = Bench::reply("200 OK");
        bench.context.kind = RouteKind::Reply;
        assert_eq!(bench.run(&MODULE, "forward_reply", &[]), 1);
        assert_eq!(bench.host.done, ["forward reply 200 OK"]);
    }
}
