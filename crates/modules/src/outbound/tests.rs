//! Tests of the edge proxy with modules rr and path.

use std::sync::Arc;

use module_api::{Dialect, Flow, SocketId, State};
use sip_message::Transport;

use super::MODULE;
use crate::testing::{Bench, INVITE, make, started};

/// The states of outbound, and of `module` that has been loaded after it.
fn after_outbound(module: &module_api::Module) -> (Arc<dyn State>, Arc<dyn State>) {
    let outbound = started(&MODULE, &[("flow_token_secret", "s")]);
    let others = |name: &str| (name == "outbound").then(|| Arc::clone(&outbound));
    let other = make(module, &[], Dialect::Kamailio, &others).unwrap();
    (Arc::clone(&outbound), other)
}

fn register(contact: &str) -> String {
    INVITE
        .replace("INVITE", "REGISTER")
        .replace("Contact: <sip:alice@198.51.100.7:5070>", &format!("Contact: {contact}"))
}

fn over_tcp(bench: &mut Bench) {
    bench.context.arrival.transport = Transport::Tcp;
    bench.context.arrival.connection = Some(7);
    bench.context.arrival.socket = SocketId(1);
}

fn path_of(message: &str) -> String {
    let (_, path) = after_outbound(&crate::path::MODULE);
    let mut bench = Bench::with_state(message, path);
    over_tcp(&mut bench);
    assert_eq!(bench.run(&crate::path::MODULE, "add_path", &[]), 1);
    let written = bench.written();
    written.split("\r\n").find_map(|line| line.strip_prefix("Path: ")).unwrap().to_owned()
}

const FLOW: &str = "<sip:alice@198.51.100.7:5070>;reg-id=1;+sip.instance=\"<urn:uuid:1>\"";

// RFC 5626 section 5.1.
#[test]
fn the_path_of_a_register_with_reg_id_names_its_flow() {
    let path = path_of(&register(FLOW));
    assert!(path.starts_with("<sip:") && path.ends_with("@192.0.2.1:5060;transport=tcp;lr;ob>"), "{path}");
    assert_eq!(path_of(&register("<sip:alice@198.51.100.7:5070>")), "<sip:192.0.2.1:5060;transport=tcp;lr>");
    let second_hop = register(FLOW).replacen("Via:", "Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\nVia:", 1);
    assert_eq!(path_of(&second_hop), "<sip:192.0.2.1:5060;transport=tcp;lr>");
}

/// Follows a Route as a request that came from elsewhere; the code, and the bench afterwards.
fn follow(route: &str, prepare: impl FnOnce(&mut Bench)) -> (i64, Bench) {
    let (_, rr) = after_outbound(&crate::rr::MODULE);
    let mut bench = Bench::with_state(&INVITE.replace("Subject", &format!("Route: {route}\r\nSubject")), rr);
    bench.context.arrival.source = ([192, 0, 2, 9], 5060).into();
    prepare(&mut bench);
    (bench.run(&crate::rr::MODULE, "loose_route", &[]), bench)
}

// RFC 5626 section 5.3.1.
#[test]
fn a_request_along_the_path_goes_by_the_flow() {
    let path = path_of(&register(FLOW));
    let (code, bench) = follow(&path, |_| {});
    assert_eq!(code, 2);
    let target = &bench.context.target;
    assert_eq!(target.destination.as_deref(), Some(&b"sip:198.51.100.7:5070;transport=tcp"[..]));
    assert_eq!((target.connection, target.flow, target.socket), (Some(7), Some(Flow::Token), Some(SocketId(1))));
    assert!(target.is_bound());
    assert!(!bench.written().contains("Route:"));
}

// RFC 5626 section 5.3.2: what comes by the flow goes on by the ordinary rules.
#[test]
fn a_request_that_came_by_the_flow_is_not_sent_back_by_it() {
    let path = path_of(&register(FLOW));
    let (code, bench) = follow(&path, |bench| {
        over_tcp(bench);
        bench.context.arrival.source = ([198, 51, 100, 7], 5070).into();
    });
    assert_eq!((code, bench.context.target.destination.as_deref()), (-3, None));
    let (code, bench) = follow(&format!("{path}, <sip:next.example;lr>"), |_| {});
    assert_eq!((code, bench.context.target.destination.as_deref()), (1, Some(&b"sip:next.example;lr"[..])));
}

// RFC 5626 section 5.3: a token that was tampered with is refused with 403.
#[test]
fn a_forged_token_routes_nothing() {
    let path = path_of(&register(FLOW));
    for at in [5, 20, 40] {
        let mut forged = path.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).unwrap();
        let (code, bench) = follow(&forged, |_| {});
        assert_eq!((code, bench.context.target.connection), (-2, None), "{forged}");
    }
    assert_eq!(follow("<sip:alice@192.0.2.1;lr>", |_| {}).0, -3);
}

fn recorded(message: &str) -> (String, String) {
    let (_, rr) = after_outbound(&crate::rr::MODULE);
    let mut bench = Bench::with_state(message, rr);
    over_tcp(&mut bench);
    assert_eq!(bench.run(&crate::rr::MODULE, "record_route", &[]), 1);
    let asked = bench.context.record_route.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&asked.user), text(&asked.params))
}

// RFC 5626 section 5.3.
#[test]
fn a_dialog_of_a_phone_with_ob_is_recorded_with_its_flow() {
    let marked = INVITE
        .replace("<sip:alice@198.51.100.7:5070>\r\n", "<sip:alice@198.51.100.7:5070;ob>\r\nSupported: outbound\r\n");
    let (user, params) = recorded(&marked);
    assert!(!user.is_empty() && params.ends_with(";ob"), "{user} {params}");
    assert_eq!(recorded(INVITE).0, "");
    // Toward a phone: its flow, which the Route names.
    let path = path_of(&register(FLOW));
    let toward = INVITE.replace("Subject", &format!("Route: {path}\r\nSubject"));
    let token = path.trim_start_matches("<sip:").split('@').next().unwrap();
    assert_eq!(recorded(&toward).0, token);
}

fn asked(function: &str, message: &str, flag: Option<u32>) -> i64 {
    let state = crate::testing::try_start(
        &MODULE,
        &[("flow_token_key", "s"), ("force_outbound_flag", "1"), ("force_no_outbound_flag", "2")],
    );
    let mut bench = Bench::with_state(message, state.unwrap());
    if let Some(flag) = flag {
        bench.context.set_flag(flag, true);
    }
    bench.run(&MODULE, function, &[])
}

#[test]
fn flags_force_and_forbid() {
    assert_eq!(asked("use_outbound", &register(FLOW), None), 1);
    assert_eq!(asked("use_outbound", &register(FLOW), Some(2)), -1);
    assert_eq!(asked("use_outbound", INVITE, None), -1);
    assert_eq!(asked("use_outbound", INVITE, Some(1)), 1);
}

#[test]
fn a_token_is_checked_before_it_is_followed() {
    let path = path_of(&register(FLOW));
    let check = |route: &str| {
        asked("check_flow_token", &INVITE.replace("Subject", &format!("Route: {route}\r\nSubject")), None)
    };
    assert_eq!(check(&path), 1);
    assert_eq!(asked("check_flow_token", INVITE, None), -1);
    assert_eq!(check("<sip:next.example;lr>"), -2);
    assert_eq!(check("<sip:192.0.2.1;lr>"), -3);
    assert_eq!(check("<sip:AAAA@192.0.2.1;lr;ob>"), -4);
    assert_eq!(check("<sip:"), -7);
}

#[test]
fn a_secret_of_another_server_opens_nothing() {
    let path = path_of(&register(FLOW));
    let others = started(&MODULE, &[("flow_token_secret", "t")]);
    let mut bench = Bench::with_state(&INVITE.replace("Subject", &format!("Route: {path}\r\nSubject")), others);
    assert_eq!(bench.run(&MODULE, "check_flow_token", &[]), -4);
}
