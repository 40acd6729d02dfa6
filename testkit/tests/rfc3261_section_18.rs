//! RFC 3261 section 18, RFC 3581 and RFC 5658: Vias, where responses go, and which side is recorded.
#![allow(missing_docs)]

use testkit::{Network, answer, line, request};

const CALLER: &str = "198.51.100.1:5070";
const CALLEE: &str = "203.0.113.1:5080";
const RELAY: &str = "#!KAMAILIO\nloadmodule \"tm.so\"\nrequest_route { t_relay(); }\n";
const REPLY: &str = "#!KAMAILIO\nloadmodule \"sl.so\"\nrequest_route { sl_send_reply(\"404\", \"No\"); }\n";

fn with_via(via: &str) -> String {
    let own = "SIP/2.0/UDP 198.51.100.1:5070;branch=z9hG4bK1";
    request("MESSAGE", "z9hG4bK1", "").replace(own, via)
}

fn check(via: &str, source: &str, arrives_at: &str, as_marked: &str) {
    let mut network = Network::new(REPLY);
    network.send(source, &with_via(via));
    network.settle();
    let reply = network.received_one(arrives_at);
    assert_eq!(line(&reply, "Via:"), Some(&format!("Via: {as_marked}")[..]));
    // A relayed reply takes the same way.
    let mut network = Network::new(RELAY);
    network.send(source, &with_via(via));
    network.settle();
    let relayed = network.received_one(CALLEE);
    assert_eq!(relayed.lines().filter(|line| line.starts_with("Via:")).nth(1), Some(&format!("Via: {as_marked}")[..]));
    network.send(CALLEE, &answer(&relayed, "200 OK"));
    network.settle();
    assert_eq!(network.start_lines(arrives_at), ["SIP/2.0 200 OK"]);
}

// 18.1.1: the sent-by field says where responses shall come back to, which a script may know better.
#[test]
fn the_via_of_ours_says_what_the_script_wants() {
    let script = "#!KAMAILIO\nloadmodule \"tm.so\"\nrequest_route { set_advertised_address(\"sip.example.com\"); \
                  set_advertised_port(5999); add_local_rport(); t_relay(); }\n";
    let mut network = Network::new(script);
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.settle();
    let relayed = network.received_one(CALLEE);
    let via = line(&relayed, "Via:").unwrap_or_default();
    assert!(via.starts_with("Via: SIP/2.0/UDP sip.example.com:5999;") && via.contains(";rport"), "{via}");
}

// A loop of routes, and one that is left: RFC 3261 section 21.5.1 for the one that the server had to end.
#[test]
fn a_script_that_a_bound_ended_answers_with_500() {
    let script = "#!KAMAILIO\nloadmodule \"tm.so\"\nrequest_route { route(LOOP); }\nroute[LOOP] { route(LOOP); }\n";
    let mut network = Network::new(script);
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 500 Server Internal Error"]);
}

// RFC 3581 section 4: what the script forces counts for the very first copy too.
#[test]
fn a_forced_rport_is_told_to_the_next_hop() {
    let script = "#!KAMAILIO\nloadmodule \"tm.so\"\nrequest_route { force_rport(); t_relay(); }\n";
    let via = "SIP/2.0/UDP 10.0.0.1:5099;branch=z9hG4bK1";
    let mut network = Network::new(script);
    network.send("198.51.100.9:7777", &with_via(via));
    network.settle();
    let relayed = network.received_one(CALLEE);
    let marked = format!("Via: {via};received=198.51.100.9;rport=7777");
    assert_eq!(relayed.lines().filter(|line| line.starts_with("Via:")).nth(1), Some(&marked[..]));
    network.send(CALLEE, &answer(&relayed, "200 OK"));
    network.settle();
    assert_eq!(network.start_lines("198.51.100.9:7777"), ["SIP/2.0 200 OK"]);
}

// 18.2.1, 18.2.2.
#[test]
fn a_sender_behind_another_address_is_answered_there_at_the_port_it_names() {
    let via = "SIP/2.0/UDP 10.0.0.1:5099;branch=z9hG4bK1";
    check(via, "198.51.100.9:7777", "198.51.100.9:5099", &format!("{via};received=198.51.100.9"));
}

#[test]
fn a_via_without_port_means_5060() {
    let via = "SIP/2.0/UDP 198.51.100.1;branch=z9hG4bK1";
    check(via, CALLER, "198.51.100.1:5060", via);
}

// RFC 3581 section 4.
#[test]
fn rport_is_filled_in_and_followed() {
    let via = "SIP/2.0/UDP 10.0.0.1:5099;rport;branch=z9hG4bK1";
    let marked = "SIP/2.0/UDP 10.0.0.1:5099;branch=z9hG4bK1;received=198.51.100.9;rport=7777";
    check(via, "198.51.100.9:7777", "198.51.100.9:7777", marked);
}

// 18.2.2; RFC 3581 section 4: rport counts only where there is no maddr.
#[test]
fn maddr_comes_before_rport() {
    let via = "SIP/2.0/UDP 198.51.100.1:5099;maddr=198.51.100.77;branch=z9hG4bK1";
    check(via, CALLER, "198.51.100.77:5099", via);
    let mut network = Network::new(REPLY);
    network.send(CALLER, &with_via("SIP/2.0/UDP 198.51.100.1:5099;maddr=198.51.100.77;rport;branch=z9hG4bK1"));
    network.settle();
    assert_eq!(network.start_lines("198.51.100.77:5099"), ["SIP/2.0 404 No"]);
}

// RFC 6026: a reply of no transaction is dropped, even if it carries our Via on top.
#[test]
fn a_stray_reply_is_not_thrown_at_others() {
    let mut network = Network::new(RELAY);
    let stray = "SIP/2.0 200 OK\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKxyz\n\
        Via: SIP/2.0/UDP 198.51.100.99:5060;branch=z9hG4bK1\nFrom: <sip:a@h>;tag=1\nTo: <sip:b@h>;tag=2\nCall-ID: c\n\
        CSeq: 1 INVITE\nContent-Length: 0\n\n";
    network.send(CALLEE, stray);
    network.settle();
    assert_eq!(network.start_lines("198.51.100.99:5060"), Vec::<String>::new());
    assert_eq!(network.statistics().stray_replies.value(), 1);
}

// 17.1.3: the method of the CSeq is part of the match.
#[test]
fn a_reply_to_another_method_does_not_match() {
    let mut network = Network::new(RELAY);
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    network.received(CALLER);
    let invite = network.received_one(CALLEE);
    for method in ["BYE", "CANCEL"] {
        network.send(CALLEE, &answer(&invite, "200 OK").replace("CSeq: 1 INVITE", &format!("CSeq: 1 {method}")));
    }
    network.settle();
    assert_eq!(network.start_lines(CALLER), Vec::<String>::new());
}

// RFC 5658 section 4.
#[test]
fn both_sides_are_recorded_where_a_call_goes_from_ipv4_to_ipv6() {
    let script =
        "#!KAMAILIO\nloadmodule \"tm.so\"\nloadmodule \"rr.so\"\nrequest_route { record_route(); t_relay(); }\n";
    let mut network = Network::new(script);
    let text =
        request("INVITE", "z9hG4bK1", "").replacen("sip:bob@203.0.113.1:5080 ", "sip:bob@[2001:db8::b0b]:5080 ", 1);
    network.send(CALLER, &text);
    network.settle();
    let invite = network.received_one("[2001:db8::b0b]:5080");
    let recorded: Vec<_> = invite.lines().filter(|line| line.starts_with("Record-Route:")).collect();
    assert_eq!(recorded.len(), 2, "{invite}");
    assert!(recorded[0].starts_with("Record-Route: <sip:[2001:db8::1]:5060;r2=on;lr"), "{invite}");
    assert!(recorded[1].starts_with("Record-Route: <sip:192.0.2.1:5060;r2=on;lr"), "{invite}");
    assert!(
        line(&invite, "Via:").is_some_and(|via| via.starts_with("Via: SIP/2.0/UDP [2001:db8::1]:5060;branch=z9hG4bK"))
    );
    network.send("[2001:db8::b0b]:5080", &answer(&invite, "200 OK"));
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 100 Trying", "SIP/2.0 200 OK"]);
}

// 16.3 step 1: what is malformed is refused, or dropped where it cannot be.
#[test]
fn malformed_requests_are_refused_and_counted() {
    for (was, is) in [
        ("CSeq: 1 MESSAGE", "CSeq: 1 INVITE"),
        ("From: <sip:alice@example.com>;tag=a1\n", ""),
        ("Call-ID: c1@198.51.100.1\n", ""),
    ] {
        let mut network = Network::new(REPLY);
        network.send(CALLER, &request("MESSAGE", "z9hG4bK1", "").replace(was, is));
        network.settle();
        let lines = network.start_lines(CALLER);
        assert!(lines.len() == 1 && lines[0].starts_with("SIP/2.0 400 "), "{was} -> {lines:?}");
        assert_eq!(network.statistics().malformed.value(), 1);
    }
    let mut network = Network::new(REPLY);
    for text in ["", "\n\n", "hello", "INVITE\n\n", "SIP/2.0 999 No\n\n", "INVITE sip:x SIP/2.0\nVia: \n\n"] {
        network.send(CALLER, text);
    }
    network.settle();
    assert_eq!(network.start_lines(CALLER), Vec::<String>::new());
}
