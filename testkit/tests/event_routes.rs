//! Routes of events that make transactions and replies of their own.
#![allow(missing_docs)]

use std::time::Duration;

use testkit::{Network, request};

const CALLER: &str = "198.51.100.1:5070";
const CALLEE: &str = "203.0.113.1:5080";

fn network(routes: &str) -> Network {
    Network::new(&format!("#!KAMAILIO\nloadmodule \"tm.so\"\nloadmodule \"sl.so\"\nloadmodule \"pv.so\"\n{routes}"))
}

#[test]
fn a_transaction_that_an_event_route_makes_ends_as_any_other() {
    let mut network = network(
        "request_route { route(CHECK); t_relay(); }\nevent_route[core:pre-routing] { route(CHECK); }\n\
         route[CHECK] { if ($rm == \"INVITE\") { t_newtran(); t_reply(\"403\", \"No\"); drop; } }\n",
    );
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 403 No"]);
    // Nobody acknowledges it: it is repeated, and forgotten after timer H (RFC 3261 section 17.2.1).
    network.advance(Duration::from_secs(40));
    assert!(network.start_lines(CALLER).len() > 3);
    assert_eq!(network.transaction_count(), 0);
}

#[test]
fn a_reply_that_causes_itself_ends() {
    let mut network = network(
        "request_route { route(RING); t_relay(); }\nevent_route[tm:local-response-sent] { route(RING); }\n\
         route[RING] { if ($rm == \"INVITE\") { t_newtran(); t_reply(\"183\", \"Wait\"); } }\n",
    );
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    assert!(network.start_lines(CALLER).len() < 20);
    assert_eq!(network.start_lines(CALLEE), ["INVITE sip:bob@203.0.113.1:5080 SIP/2.0"]);
}

// A call that rings is not the script's to end any more.
#[test]
fn a_bound_met_after_the_relay_leaves_the_call_alone() {
    let mut network = network("request_route { t_relay(); route(LOOP); }\nroute[LOOP] { route(LOOP); }\n");
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 100 Trying"]);
    assert_eq!(network.start_lines(CALLEE), ["INVITE sip:bob@203.0.113.1:5080 SIP/2.0"]);
}
