//! More than can be done: what is refused, and what goes on (RFC 3261 section 21.5.4, RFC 7339).
#![allow(missing_docs)]

use std::time::{Duration, Instant};

use testkit::{Network, line, request, with_line};

const CALLER: &str = "198.51.100.1:5070";
const CALLEE: &str = "203.0.113.1:5080";
const SCRIPT: &str = "#!KAMAILIO\nloadmodule \"tm.so\"\nloadmodule \"sl.so\"\nloadmodule \"pv.so\"\n\
                      request_route { if ($rm == \"OPTIONS\") { sl_send_reply(\"200\", \"OK\"); exit; } t_relay(); }\n";

/// A server whose workers have been behind for so many ticks.
fn pressed(ticks: u64) -> Network {
    let network = Network::new(SCRIPT);
    let (overload, begin) = (&network.shared().overload, Instant::now());
    for tick in 1..=ticks {
        let now = begin + Duration::from_millis(50 * tick + 1);
        overload.press(begin, now);
        overload.adjust(now);
    }
    network
}

/// Answers to 1,000 INVITEs.
fn answers(network: &mut Network) -> (usize, Vec<String>) {
    for n in 0..1000 {
        let invite = request("INVITE", &format!("z9hG4bK{n}"), "").replace("c1@", &format!("call{n}@"));
        network.send(CALLER, &invite);
    }
    network.settle();
    let refused: Vec<String> = network
        .received(CALLER)
        .iter()
        .map(testkit::Arrived::text)
        .filter(|text| !text.contains(" 100 Trying"))
        .collect();
    (network.received(CALLEE).len(), refused)
}

#[test]
fn a_share_of_new_calls_gets_503_and_the_rest_goes_on() {
    let mut network = pressed(10);
    assert_eq!(network.shared().overload.share(), 400);
    let (relayed, refused) = answers(&mut network);
    assert_eq!(relayed + refused.len(), 1000);
    // Eight standard deviations on either side of 400.
    assert!((276..=524).contains(&refused.len()), "{}", refused.len());
    assert!(refused.iter().all(|text| text.starts_with("SIP/2.0 503 Service Unavailable\r\n")));
    // Not the same for all, or all come back together.
    let pauses: std::collections::HashSet<_> = refused.iter().map(|text| line(text, "Retry-After:")).collect();
    assert!(pauses.len() > 3 && !pauses.contains(&None), "{pauses:?}");
    assert_eq!(network.statistics().shed.value(), refused.len() as u64);
}

#[test]
fn a_server_that_keeps_up_refuses_nothing() {
    let mut network = pressed(0);
    assert_eq!(answers(&mut network).0, 1000);
}

#[test]
fn what_belongs_to_a_call_and_calls_for_help_go_before_what_is_new() {
    let mut network = pressed(100);
    assert_eq!(network.shared().overload.share(), 950);
    for n in 0..20 {
        let of_call = |text: String| text.replace("c1@", &format!("call{n}@"));
        let branch = format!("z9hG4bK{n}");
        network.send(CALLER, &of_call(request("BYE", &branch, ";tag=b1")));
        network.send(CALLER, &of_call(request("ACK", &format!("{branch}a"), ";tag=b1")));
        let help = request("INVITE", &format!("{branch}e"), "").replace("c1@", &format!("help{n}@"));
        network.send(CALLER, &with_line(&help, "Priority: Emergency"));
        let help = request("INVITE", &format!("{branch}r"), "").replace("c1@", &format!("rph{n}@"));
        network.send(CALLER, &with_line(&help, "Resource-Priority: esnet.0"));
    }
    network.settle();
    assert_eq!(network.received(CALLEE).len(), 80);
}

// RFC 7339 section 5: also by replies that refuse nothing.
#[test]
fn a_neighbour_that_asks_for_it_hears_of_the_share() {
    let mut network = pressed(5);
    let asks = request("OPTIONS", "z9hG4bK1;oc;oc-algo=\"loss\"", ";tag=b1");
    network.send(CALLER, &asks);
    network.settle();
    let reply = network.received_one(CALLER);
    let via = line(&reply, "Via:").unwrap_or_default();
    assert!(via.contains(";oc=20;oc-algo=\"loss\";oc-validity=500;oc-seq=1767225600.000"), "{reply}");
}
