//! Following the Route headers.

use bytes::Bytes;
use module_api::{Call, Dialect, Function, Outcome, Param, ParamKind, Routes};
use sip_message::Uri;
use sip_proto::routes::{self, Outcome as Way, Routing};

use super::Style;

pub(super) const LOOSE_ROUTE: Function = Function {
    name: "loose_route",
    params: &[],
    routes: Routes::REQUEST,
    doc: "Takes the server's own Route headers away and makes the next one the next hop; strict routers before and \
          behind are served. True when the Routes say where the request goes. When they named this server alone: in SER \
          scripts false; in Kamailio's true inside a dialog, and -3 for a request that begins one. Where module outbound is \
          loaded: 2 when the request goes by the flow that our Route names, -2 when that is forged (RFC 5626 section 5.3).",
    example: "if (loose_route()) { t_relay(); exit; }",
    run: loose_route,
};

pub(super) const LOOSE_ROUTE_MODE: Function = Function {
    name: "loose_route_mode",
    params: &[Param::required("mode", ParamKind::Int)],
    routes: Routes::REQUEST,
    doc: "As loose_route(); the mode has no effect.",
    example: "if (loose_route_mode(\"0\")) { t_relay(); exit; }",
    run: loose_route,
};

pub(super) const LOOSE_ROUTE_PRELOADED: Function = Function {
    name: "loose_route_preloaded",
    params: &[],
    routes: Routes::REQUEST,
    doc: "As loose_route(), for requests that begin a dialog and bring a route; false for all others, which stay as they \
          are.",
    example: "if (loose_route_preloaded()) { t_relay(); exit; }",
    run: |call| match call.context.message.to_tag() {
        Some(_) => Outcome::FALSE,
        None => loose_route(call),
    },
};

pub(super) const HAS_NEXT_ROUTE: Function = Function {
    name: "rr_next_hop_route",
    params: &[],
    routes: Routes::ANY,
    doc: "True when a Route header names another than this server.",
    example: "if (rr_next_hop_route()) xlog(\"goes on along its route\\n\");",
    run: |call| {
        let host = &*call.host;
        let is_own = |uri: &Uri<'_>| host.is_myself(uri.host_text, uri.port, uri.transport());
        let mut routes = call.context.message.routes().filter_map(Result::ok);
        routes.any(|route| route.parsed_uri().is_ok_and(|uri| !is_own(&uri))).into()
    },
};

pub(super) const CHECK_PARAM: Function = Function {
    name: "check_route_param",
    params: &[Param::required("pattern", ParamKind::Regex)],
    routes: Routes::ANY,
    doc: "After loose_route(): matches the parameters of the server's own Route, where record_route() had put them.",
    example: "if (check_route_param(\"nat=yes\")) setflag(6);",
    run: |call| {
        let Some(regex) = call.regex(0) else { return Outcome::FALSE };
        with_own(call, |uri| regex.is_match(uri.params.text()))
    },
};

pub(super) const IS_DIRECTION: Function = Function {
    name: "is_direction",
    params: &[Param::required("direction", ParamKind::Options)],
    routes: Routes::ANY,
    doc: "After loose_route(): true when the request goes \"downstream\" (from the side that began the dialog) or \
          \"upstream\" (to it). Needs the parameter append_fromtag.",
    example: "if (is_direction(\"upstream\")) xlog(\"from the callee\\n\");",
    run: |call| {
        let wants_upstream = match &call.text(0)[..] {
            b"upstream" => true,
            b"downstream" => false,
            _ => return Outcome::fail("is_direction knows upstream and downstream"),
        };
        let tag = call.context.message.from_tag().map(<[u8]>::to_vec);
        with_own(call, |uri| {
            // Without a tag to compare the request counts as one of the caller.
            let is_upstream = uri.params.value("ftag").is_some_and(|began| Some(began) != tag.as_deref());
            is_upstream == wants_upstream
        })
    },
};

/// The server's own Route URI that the request came along.
struct OwnRoute(Bytes);

/// Whether the request goes to the side that began the dialog. Without a tag to compare it counts as one of that side.
pub(crate) fn is_upstream(call: &Call<'_>) -> bool {
    let Some(OwnRoute(uri)) = call.context.note() else { return false };
    let Ok(uri) = Uri::parse(uri) else { return false };
    uri.params.value("ftag").is_some_and(|began| Some(began) != call.context.message.from_tag())
}

fn with_own(call: &Call<'_>, test: impl FnOnce(&Uri<'_>) -> bool) -> Outcome {
    let Some(OwnRoute(uri)) = call.context.note() else { return Outcome::FALSE };
    Uri::parse(uri).is_ok_and(|uri| test(&uri)).into()
}

fn loose_route(call: &mut Call<'_>) -> Outcome {
    let message = std::sync::Arc::clone(&call.context.message);
    let mut edits = std::mem::take(&mut call.context.edits);
    let result = {
        let host = &*call.host;
        let is_own = |uri: &Uri<'_>| host.is_myself(uri.host_text, uri.port, uri.transport());
        routes::loose_route(&message, is_own, &mut edits)
    };
    call.context.edits = edits;
    match result {
        Ok(routing) => follow(call, routing),
        // A Route that cannot be read is the sender's fault; the script sees that nothing was routed.
        Err(_) => Outcome::FALSE,
    }
}

fn follow(call: &mut Call<'_>, routing: Routing) -> Outcome {
    if let Some(socket) = routing.send_from.as_deref().and_then(|uri| socket_of(call, uri)) {
        call.context.target.socket = Some(socket);
    }
    let mut flow = None;
    if let Some(own) = routing.own {
        let outbound = call.state::<Style>().outbound.clone();
        match outbound.zip(Uri::parse(&own).ok()).map(|(outbound, uri)| outbound.flow_of(&uri)) {
            // RFC 5626 section 5.3: to be answered with 403.
            Some(Err(crate::outbound::Forged)) => return Outcome::Value(-2),
            Some(Ok(named)) => flow = named,
            None => {}
        }
        if let Ok(uri) = Uri::parse(&own) {
            crate::uac::restore_within(call.context, &uri.params);
        }
        call.context.set_note(OwnRoute(own));
    }
    if let Some(uri) = routing.request_uri {
        call.context.set_uri(uri);
    }
    let is_last = routing.next_hop.is_none();
    if let Some(hop) = routing.next_hop {
        call.context.set_destination(Some(hop));
    }
    // What came by the flow itself goes on by the ordinary rules (RFC 5626 section 5.3.2).
    if let Some(flow) = flow.filter(|flow| is_last && !flow.is_of(&call.context.arrival)) {
        flow.apply(call);
        return Outcome::Value(2);
    }
    match (routing.outcome, call.dialect(), routing.is_preloaded) {
        (Way::NoRoute, ..) => Outcome::FALSE,
        (Way::OwnRouteOnly, Dialect::Ser, _) => Outcome::FALSE,
        (Way::OwnRouteOnly, Dialect::Kamailio, true) => Outcome::Value(-3),
        _ => Outcome::TRUE,
    }
}

/// The socket that the other half of a double Record-Route names.
fn socket_of(call: &Call<'_>, uri: &[u8]) -> Option<module_api::SocketId> {
    let uri = Uri::parse(uri).ok()?;
    let transport = uri.transport().unwrap_or(sip_message::Transport::Udp);
    let at = call.host.sockets().iter().position(|socket| {
        let is_port = uri.port.is_none_or(|port| port == socket.address.port());
        let is_address = uri.host.address().is_none_or(|ip| {
            ip == socket.address.ip()
                || (socket.address.ip().is_unspecified() && ip.is_ipv4() == socket.address.is_ipv4())
        });
        socket.transport == transport && is_port && is_address
    })?;
    u16::try_from(at).ok().map(module_api::SocketId)
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, INVITE, text};
    use module_api::Value;
    use std::sync::Arc;

    fn routed(routes: &str, in_dialog: bool) -> Bench {
        let mut text = INVITE.replace("Subject", &format!("Route: {routes}\r\nSubject"));
        if in_dialog {
            text = text.replace("To: Bob <sip:bob@example.com>", "To: Bob <sip:bob@example.com>;tag=314");
        }
        Bench::with_state(&text, Arc::new(Style { has_full_lr: false, has_tag: true, outbound: None }))
    }

    fn check(routes: &str, in_dialog: bool, dialect: Dialect, code: i64, destination: Option<&str>) {
        let mut bench = routed(routes, in_dialog);
        bench.dialect = dialect;
        assert_eq!(bench.run(&MODULE, "loose_route", &[]), code, "{routes}");
        let hop = bench.context.target.destination.as_deref().map(|uri| std::str::from_utf8(uri).unwrap());
        assert_eq!(hop, destination, "{routes}");
        assert!(!bench.written().contains("<sip:192.0.2.1;lr"), "{}", bench.written());
    }

    #[test]
    fn the_direction_within_a_dialog_tells_the_tags_apart() {
        for (began, id, name, caller, callee) in
            [("9fxced76sl", 1, "downstream", "9fxced76sl", "314"), ("314", 2, "upstream", "314", "9fxced76sl")]
        {
            let mut bench = routed(&format!("<sip:192.0.2.1;lr;ftag={began}>"), true);
            assert_eq!(bench.run(&MODULE, "loose_route", &[]), 1);
            assert_eq!(bench.read(&MODULE, "rdir", Some("id")), Value::Int(id));
            assert_eq!(bench.read(&MODULE, "rdir", Some("name")), text(name));
            assert_eq!(bench.read(&MODULE, "fti", None), text(caller));
            assert_eq!(bench.read(&MODULE, "tti", None), text(callee));
        }
    }

    #[test]
    fn a_preloaded_route_is_followed_only_by_what_begins_a_dialog() {
        let routes = "<sip:192.0.2.1;lr>, <sip:next.example;lr>";
        assert_eq!(routed(routes, false).run(&MODULE, "rr_next_hop_route", &[]), 1);
        assert_eq!(routed("<sip:192.0.2.1;lr>", false).run(&MODULE, "rr_next_hop_route", &[]), -1);
        let mut bench = routed(routes, false);
        assert_eq!(bench.run(&MODULE, "loose_route_preloaded", &[]), 1);
        assert_eq!(bench.context.target.destination.as_deref(), Some(&b"sip:next.example;lr"[..]));
        let mut bench = routed(routes, true);
        assert_eq!(bench.run(&MODULE, "loose_route_preloaded", &[]), -1);
        assert!(bench.context.edits.is_empty());
        assert_eq!(bench.run(&MODULE, "loose_route_mode", &["1"]), 1);
    }

    #[test]
    fn the_next_route_is_the_next_hop() {
        let routes = "<sip:192.0.2.1;lr>, <sip:next.example;lr>";
        check(routes, true, Dialect::Kamailio, 1, Some("sip:next.example;lr"));
        check("<sip:next.example;lr>", true, Dialect::Ser, 1, Some("sip:next.example;lr"));
    }

    #[test]
    fn our_own_route_alone_counts_as_each_family_has_it() {
        check("<sip:192.0.2.1;lr>", true, Dialect::Kamailio, 1, None);
        check("<sip:192.0.2.1;lr>", false, Dialect::Kamailio, -3, None);
        check("<sip:192.0.2.1;lr>", true, Dialect::Ser, -1, None);
    }

    #[test]
    fn without_routes_nothing_is_routed() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "loose_route", &[]), -1);
    }

    #[test]
    fn a_double_record_route_chooses_the_socket() {
        let routes = "<sip:192.0.2.1;r2=on;lr>, <sip:192.0.2.1;transport=tcp;r2=on;lr>";
        let mut bench = routed(routes, true);
        assert_eq!(bench.run(&MODULE, "loose_route", &[]), 1);
        assert_eq!(bench.context.target.socket, Some(module_api::SocketId(1)));
    }

    #[test]
    fn direction_and_parameters_are_read_from_our_own_route() {
        let mut bench = routed("<sip:192.0.2.1;lr;ftag=9fxced76sl;nat=yes>", true);
        assert_eq!(bench.run(&MODULE, "is_direction", &["downstream"]), -1);
        bench.run(&MODULE, "loose_route", &[]);
        assert_eq!(bench.run(&MODULE, "is_direction", &["downstream"]), 1);
        assert_eq!(bench.run(&MODULE, "is_direction", &["upstream"]), -1);
        let regex = module_api::Arg::Regex(Arc::new(regex::bytes::Regex::new("nat=yes").unwrap()));
        assert_eq!(bench.run_args(&MODULE, "check_route_param", &[regex]), 1);
    }
}
