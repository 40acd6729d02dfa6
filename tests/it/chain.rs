//! A chain of three servers: the one under test, Kamailio, the one under test again.

use crate::harness::{Callee, Caller, Plan, Script, Subject, Wire};

/// The servers in the order in which a caller's request passes them.
struct Chain {
    first: Subject,
    _middle: Subject,
    last: Subject,
}

impl Chain {
    fn start() -> Chain {
        let residential = Plan::script("examples/residential/kamailio.cfg").define("RING_TIMEOUT=2000");
        let last = Subject::start(&residential.on(Wire::Tcp4));
        // Two different transports inside the chain: each change needs its own Record-Route.
        let middle = Subject::start_kamailio(&relay_to(&last, Wire::Tcp4));
        let first = Subject::start(&relay_to(&middle, Wire::Udp4));
        Chain { first, _middle: middle, last }
    }
}

fn relay_to(next: &Subject, wire: Wire) -> Plan {
    let hop = format!("sip:{};transport={}", next.address(wire), wire.transport());
    Plan::script("examples/relay/kamailio.cfg").on(Wire::Tcp4).define(format!("NEXT_HOP=\"{hop}\""))
}

/// Bob is registered at the last server and is called through the first.
fn check(caller: &str, callee: &str) {
    let chain = Chain::start();
    let bob = Callee::registered(callee, "bob", Wire::Udp4, &chain.last);
    // The address names the last server, the chain is how the caller gets there.
    let script = Script::new(caller, "bob").at(chain.last.address(Wire::Udp4));
    Caller::run(&script, Wire::Udp4, chain.first.address(Wire::Udp4));
    bob.succeeds();
}

#[test]
fn a_call_passes_a_chain_with_kamailio_in_the_middle() {
    check("call.xml", "answer.xml");
}

#[test]
fn a_cancel_passes_a_chain_with_kamailio_in_the_middle() {
    check("call_and_cancel.xml", "ring_until_cancelled.xml");
}
