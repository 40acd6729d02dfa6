//! Datagrams of one peer keep their order on the way through the server, under load.
//!
//! The endpoints are plain sockets on purpose: what judges the server shares no code with it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::{Endpoint, Plan, Subject, Wire, field, lines};

const CALLS: usize = 5_000;
/// Calls in progress at once: enough to keep every worker busy, few enough for socket buffers.
const WINDOW: usize = 64;
/// How often the callee looks whether the caller is done.
const LOOK_UP: Duration = Duration::from_millis(100);

/// What one side saw out of order, by Call-ID.
#[derive(Default, Debug)]
struct Disorder(Vec<String>);

/// Answers each INVITE with 180 and 200 back to back; notes each BYE that came before its ACK.
fn callee(endpoint: &Endpoint, is_over: &AtomicBool) -> Disorder {
    let mut seen = HashSet::new();
    let mut acknowledged = HashSet::new();
    let mut disorder = Disorder::default();
    while !is_over.load(Ordering::Relaxed) {
        let Some(message) = endpoint.receive() else { continue };
        let call = field(&message, "Call-ID");
        if message.starts_with("INVITE ") && seen.insert(call.clone()) {
            endpoint.answer(&message, "180 Ringing");
            endpoint.answer(&message, "200 OK");
        } else if message.starts_with("ACK ") {
            acknowledged.insert(call);
        } else if message.starts_with("BYE ") {
            if !acknowledged.contains(&call) {
                disorder.0.push(call);
            }
            endpoint.answer(&message, "200 OK");
        }
    }
    disorder
}

/// Makes `CALLS` calls, each INVITE, then ACK and BYE back to back; notes each 200 that came before its 180.
fn caller(endpoint: &Endpoint) -> Disorder {
    let mut has_rung: HashMap<String, bool> = HashMap::new();
    let mut disorder = Disorder::default();
    let (mut started, mut ended) = (0, 0);
    while ended < CALLS {
        while started < CALLS && started - ended < WINDOW {
            started += 1;
            let contact = format!("Contact: <sip:caller@{}>\r\n", endpoint.own());
            let uri = format!("INVITE sip:bob@{}", endpoint.server());
            endpoint.request(&uri, &format!("order-{started}"), "1", "", &contact);
        }
        let Some(message) = endpoint.receive() else {
            panic!("silence after {ended} of {CALLS} calls, {started} started");
        };
        let call = field(&message, "Call-ID");
        if message.starts_with("SIP/2.0 180 ") {
            has_rung.insert(call, true);
        } else if message.starts_with("SIP/2.0 200 ") && field(&message, "CSeq") == "1 INVITE" {
            if has_rung.remove(&call).is_none() {
                disorder.0.push(call.clone());
            }
            let contact = field(&message, "Contact");
            let target = contact.trim_matches(['<', '>']);
            let route = lines(&message, "Record-Route").replace("Record-Route", "Route");
            endpoint.request(&format!("ACK {target}"), &call, "1", ";tag=b", &route);
            endpoint.request(&format!("BYE {target}"), &call, "2", ";tag=b", &route);
        } else if message.starts_with("SIP/2.0 200 ") {
            ended += 1;
        } else {
            assert!(message.starts_with("SIP/2.0 1"), "unexpected:\n{message}");
        }
    }
    disorder
}

#[test]
fn a_180_and_a_200_sent_back_to_back_arrive_in_that_order_and_so_do_ack_and_bye() {
    let server = Subject::start(&Plan::script("examples/residential/kamailio.cfg"));
    let address = server.address(Wire::Udp4);
    let bob = Endpoint::new(address);
    bob.register_bob();
    bob.set_patience(LOOK_UP);
    let is_over = AtomicBool::new(false);
    let (late_180, late_ack) = thread::scope(|scope| {
        let callee = scope.spawn(|| callee(&bob, &is_over));
        let caller = scope.spawn(|| caller(&Endpoint::new(address))).join();
        is_over.store(true, Ordering::Relaxed);
        (caller.expect("the caller says why"), callee.join().expect("the callee says why"))
    });
    let (rings, acks) = (late_180.0.len(), late_ack.0.len());
    assert!(
        rings + acks == 0,
        "of {CALLS} calls, {rings} rang after their answer, {acks} were hung up before their ACK: {:?} {:?}",
        late_180.0.first(),
        late_ack.0.first()
    );
}
