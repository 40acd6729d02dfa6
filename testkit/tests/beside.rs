//! Messages that leave beside the proxy's own way: bytes as they are, copies with one Via, replies on demand.
#![allow(missing_docs)]

use std::time::Duration;

use engine::Settings;
use testkit::{Network, StaticNames, Weather, answer, request};

const CALLER: &str = "198.51.100.1:5070";
const CALLEE: &str = "203.0.113.1:5080";
const OTHER: &str = "203.0.113.2:5080";

fn network(routes: &str) -> Network {
    let modules = ["tm", "sl", "pv", "corex", "async", "textops", "textopsx", "xlog"];
    let loads: String = modules.iter().map(|module| format!("loadmodule \"{module}.so\"\n")).collect();
    Network::new(&format!("#!KAMAILIO\n{loads}{routes}"))
}

#[test]
fn a_text_goes_as_it_is_to_where_a_uri_leads() {
    let mut network = network("request_route { send_data(\"sip:203.0.113.2:5080\", \"call of $fU\"); t_relay(); }");
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.settle();
    assert_eq!(network.received_one(OTHER), "call of alice");
    assert_eq!(network.start_lines(CALLEE), ["MESSAGE sip:bob@203.0.113.1:5080 SIP/2.0"]);
}

#[test]
fn a_text_waits_for_the_address_of_a_name() {
    let mut names = StaticNames::default();
    names.host("pool.example.net", &["203.0.113.2"]);
    let script = "#!KAMAILIO\nloadmodule \"corex.so\"\n\
        request_route { send_data(\"sip:pool.example.net:5080\", \"hello\"); send_data(\"sip:nobody.example.net\", \"x\"); }";
    let mut network = Network::with(script, Settings::default(), names, Weather::default());
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.settle();
    assert_eq!(network.received_one(OTHER), "hello");
}

#[test]
fn send_udp_sends_what_came_without_a_via_of_ours() {
    let mut network = network("request_route { append_hf(\"X-New: 1\\r\\n\"); send_udp(\"203.0.113.2:5080\"); exit; }");
    let message = request("MESSAGE", "z9hG4bK1", "");
    network.send(CALLER, &message);
    network.settle();
    assert_eq!(network.received_one(OTHER), message.replace('\n', "\r\n"));
}

#[test]
fn a_copy_with_our_via_alone_keeps_its_answers_here() {
    let mut network =
        network("request_route { sl_send_reply(\"200\", \"OK\"); forward_uac_uri(\"sip:203.0.113.2:5080\"); }");
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 200 OK"]);
    let copy = network.received_one(OTHER);
    assert_eq!(copy.matches("Via:").count(), 1, "{copy}");
    assert!(!copy.contains("198.51.100.1:5070;branch=z9hG4bK1"), "{copy}");
    network.send(OTHER, &answer(&copy, "404 Not Found"));
    network.settle();
    assert_eq!(network.start_lines(CALLER), Vec::<String>::new());
}

#[test]
fn a_copy_leaves_what_is_relayed_later_as_it_is() {
    let mut network = network("request_route { forward_uac_uri(\"sip:203.0.113.2:5080\"); t_relay(); }");
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.settle();
    assert_eq!(network.received_one(OTHER).matches("Via:").count(), 1);
    assert_eq!(network.received_one(CALLEE).matches("Via:").count(), 2);
}

#[test]
fn a_reply_goes_on_from_the_script_with_another_code_and_once() {
    let mut network = network(
        "request_route { forward(); }\n\
         onreply_route { if ($rs == 404) { sl_forward_reply(\"480\", \"Away\"); drop; } }",
    );
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.settle();
    let message = network.received_one(CALLEE);
    network.send(CALLEE, &answer(&message, "404 Not Found"));
    network.settle();
    let reply = network.received_one(CALLER);
    assert!(reply.starts_with("SIP/2.0 480 Away\r\n"), "{reply}");
    assert_eq!(reply.matches("Via:").count(), 1, "{reply}");
}

#[test]
fn forward_reply_sends_a_reply_on_at_once() {
    let mut network = network("request_route { forward(); }\nonreply_route { forward_reply(); drop; }");
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.settle();
    let message = network.received_one(CALLEE);
    network.send(CALLEE, &answer(&message, "200 OK"));
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 200 OK"]);
}

#[test]
fn a_route_runs_beside_the_request_with_the_text_that_it_was_given() {
    let mut network = network(
        "request_route { async_task_data(\"COUNT\", \"$fU called\"); async_sleep(5); t_relay(); }\n\
         route[COUNT] { send_data(\"sip:203.0.113.2:5080\", \"$async(data)\"); }",
    );
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.advance(Duration::from_millis(10));
    assert_eq!(network.received_one(OTHER), "alice called");
    assert_eq!(network.start_lines(CALLEE), Vec::<String>::new());
    network.advance(Duration::from_millis(5_100));
    assert_eq!(network.start_lines(CALLEE), ["MESSAGE sip:bob@203.0.113.1:5080 SIP/2.0"]);
}

#[test]
fn a_route_sees_the_message_as_it_would_leave_and_changes_nothing_of_it() {
    let mut network = network(
        "request_route { append_hf(\"X-New: 1\\r\\n\"); msg_changed_route(\"LOOK\"); if ($hdr(X-New) == $null) { t_relay(); } }\n\
         route[LOOK] { send_data(\"sip:203.0.113.2:5080\", \"$hdr(X-New)\"); append_hf(\"X-Lost: 1\\r\\n\"); }",
    );
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.settle();
    assert_eq!(network.received_one(OTHER), "1");
    let relayed = network.received_one(CALLEE);
    assert!(relayed.contains("X-New: 1\r\n") && !relayed.contains("X-Lost"), "{relayed}");
}

#[test]
fn a_route_that_runs_itself_on_the_changed_message_ends() {
    let mut network = network(
        "request_route { route(AGAIN); sl_send_reply(\"200\", \"OK\"); }\nroute[AGAIN] { msg_changed_route(\"AGAIN\"); }",
    );
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.settle();
    assert_eq!(network.start_lines(CALLER).len(), 1);
}
