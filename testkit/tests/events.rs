//! Routes that run because something happens.
#![allow(missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use module_api::{Host, RouteKind, made_up_context};
use testkit::{Network, answer, request};

const CALLER: &str = "198.51.100.1:5070";
const CALLEE: &str = "203.0.113.1:5080";

fn network(routes: &str) -> Network {
    Network::new(&format!(
        "#!KAMAILIO\nloadmodule \"tm.so\"\nloadmodule \"sl.so\"\nloadmodule \"pv.so\"\nloadmodule \"textops.so\"\n\
         loadmodule \"xlog.so\"\n{routes}\n"
    ))
}

/// How the routes tell that they have run.
const REPORT: &str = "xlog(\"L_NOTICE\", \"told of $rm\\n\");";

#[test]
fn every_message_can_be_stopped_before_anything_is_made_of_it() {
    let mut network =
        network("event_route[core:msg-received] { if ($rm == \"MESSAGE\") drop; }\nrequest_route { t_relay(); }");
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.settle();
    assert!(network.received(CALLEE).is_empty());
    assert_eq!(network.transaction_count(), 0);
    network.send(CALLER, &request("OPTIONS", "z9hG4bK2", ""));
    network.settle();
    assert_eq!(network.received(CALLEE).len(), 1);
}

#[test]
fn new_requests_can_be_stopped_before_the_request_route() {
    let mut network = network("event_route[core:pre-routing] { drop; }\nrequest_route { t_relay(); }");
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.settle();
    assert!(network.received(CALLEE).is_empty());
}

#[test]
fn a_reply_made_here_is_told_with_its_code() {
    let routes = format!(
        "event_route[sl:local-response] {{ if ($T_reply_code == 404) {REPORT} }}\n\
         event_route[tm:local-response-sent] {{ if ($T_reply_code == 486) {REPORT} }}\n\
         request_route {{ if ($rm == \"OPTIONS\") {{ sl_send_reply(\"404\", \"No\"); exit; }}\n\
         t_newtran(); t_reply(\"486\", \"Busy\"); }}"
    );
    let mut network = network(&routes);
    network.send(CALLER, &request("OPTIONS", "z9hG4bK1", ""));
    network.settle();
    assert_eq!(network.logged(), ["told of OPTIONS"]);
    network.send(CALLER, &request("MESSAGE", "z9hG4bK2", ""));
    network.settle();
    assert_eq!(network.logged(), ["told of MESSAGE"]);
}

#[test]
fn the_ack_to_a_stateless_reply_is_told() {
    let routes =
        format!("event_route[sl:filtered-ack] {{ {REPORT} }}\nrequest_route {{ sl_send_reply(\"404\", \"No\"); }}");
    let mut network = network(&routes);
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    let reply = network.received_one(CALLER);
    let tag = reply.split(";tag=").nth(2).and_then(|rest| rest.split("\r\n").next()).expect("a tag").to_owned();
    network.send(CALLER, &request("ACK", "z9hG4bK1", &format!(";tag={tag}")));
    network.settle();
    assert_eq!(network.logged(), ["told of ACK"]);
}

#[test]
fn the_start_is_told_once() {
    let routes = format!("event_route[core:worker-one-init] {{ {REPORT} }}\nrequest_route {{ exit; }}");
    let mut network = network(&routes);
    network.advance(Duration::from_secs(5));
    assert_eq!(network.logged(), ["told of OPTIONS"]);
}

#[test]
fn an_onsend_route_may_keep_a_request_from_leaving() {
    let mut network = network(
        "onsend_route { if ($rm == \"MESSAGE\") drop; }\n\
         request_route { if (!t_relay()) sl_reply_error(); }",
    );
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.settle();
    assert!(network.received(CALLEE).is_empty());
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 500 No Branches"]);
    network.send(CALLER, &request("OPTIONS", "z9hG4bK2", ""));
    network.settle();
    let options = network.received_one(CALLEE);
    network.send(CALLEE, &answer(&options, "200 OK"));
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 200 OK"]);
}

#[test]
fn a_timer_repeats_until_its_work_says_no_and_may_run_routes() {
    let mut network = network(&format!("event_route[demo:tick] {{ {REPORT} }}\nrequest_route {{ exit; }}"));
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let tick = move |host: &mut dyn Host| {
        if let Some(route) = host.find_route(None, RouteKind::Event, "demo:tick") {
            let context = made_up_context(host);
            host.start_route(route, context);
        }
        counter.fetch_add(1, Ordering::Relaxed) + 1 < 3
    };
    let server = network.server();
    module_api::every(server.as_ref(), "demo", Duration::from_millis(100), Arc::new(tick));
    network.advance(Duration::from_millis(250));
    assert_eq!(count.load(Ordering::Relaxed), 2);
    network.advance(Duration::from_secs(10));
    assert_eq!(count.load(Ordering::Relaxed), 3);
    assert_eq!(network.logged(), ["told of OPTIONS"; 3]);
}
