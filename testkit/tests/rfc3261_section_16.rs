//! RFC 3261 section 16: what a proxy does with requests and responses.
#![allow(missing_docs)]

use std::time::Duration;

use testkit::{Network, answer, answer_tagged, line, request, with_line};

const CALLER: &str = "198.51.100.1:5070";
const CALLEE: &str = "203.0.113.1:5080";
const SECOND: &str = "203.0.113.2:5080";
const RELAY: &str = r#"#!KAMAILIO
loadmodule "tm.so"
loadmodule "sl.so"
request_route { t_relay(); }
"#;
const FORK: &str = r#"#!KAMAILIO
loadmodule "tm.so"
request_route { append_branch("sip:bob@203.0.113.2:5080"); t_relay(); }
"#;
const STATELESS: &str = "#!KAMAILIO\nrequest_route { forward(); }\n";

fn check_refused(script: &str, sent: &str, expected: &str) -> String {
    let mut network = Network::new(script);
    network.send(CALLER, sent);
    network.settle();
    let reply = network.received_one(CALLER);
    assert_eq!(reply.lines().next(), Some(expected));
    assert_eq!(network.start_lines(CALLEE), Vec::<String>::new());
    network.send(CALLER, &request("ACK", "z9hG4bK1", ";tag=x"));
    network.advance(Duration::from_secs(40));
    assert_eq!(network.transaction_count(), 0, "nothing is left behind");
    reply
}

// 16.3 step 3.
#[test]
fn a_request_without_hops_left_is_refused() {
    for method in ["INVITE", "MESSAGE"] {
        let sent = request(method, "z9hG4bK1", "").replace("Max-Forwards: 70", "Max-Forwards: 0");
        check_refused(RELAY, &sent, "SIP/2.0 483 Too Many Hops");
    }
    let sent = request("MESSAGE", "z9hG4bK1", "").replace("Max-Forwards: 70", "Max-Forwards: 0");
    check_refused(STATELESS, &sent, "SIP/2.0 483 Too Many Hops");
}

// 16.3 step 5.
#[test]
fn an_extension_that_the_proxy_must_know_is_refused_with_its_names() {
    let sent = with_line(&request("INVITE", "z9hG4bK1", ""), "Proxy-Require: foo, bar\nProxy-Require: baz");
    let reply = check_refused(RELAY, &sent, "SIP/2.0 420 Bad Extension");
    assert!(reply.contains("\r\nUnsupported: foo, bar\r\nUnsupported: baz\r\n"), "{reply}");
}

// 8.1.3.5 and table 3: neither ACK nor CANCEL can be refused for an extension.
#[test]
fn an_ack_with_proxy_require_goes_on() {
    let mut network = Network::new(RELAY);
    network.send(CALLER, &with_line(&request("ACK", "z9hG4bK1", ";tag=b1"), "Proxy-Require: foo"));
    network.settle();
    assert_eq!(network.start_lines(CALLEE), ["ACK sip:bob@203.0.113.1:5080 SIP/2.0"]);
}

#[test]
fn what_no_address_is_known_for_is_refused() {
    let sent = request("MESSAGE", "z9hG4bK1", "").replacen("sip:bob@203.0.113.1:5080 ", "sip:bob@nowhere.invalid ", 1);
    let mut network = Network::new(RELAY);
    network.send(CALLER, &sent);
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 500 Server Internal Error"]);
}

// 17.2.1: an INVITE that has had a 100 must get a final response.
#[test]
fn a_script_that_does_nothing_leaves_no_transaction() {
    let script = "#!KAMAILIO\nloadmodule \"tm.so\"\nrequest_route { t_newtran(); exit; }\n";
    let mut network = Network::new(script);
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    assert_eq!(network.transaction_count(), 0);
    assert_eq!(network.start_lines(CALLER), Vec::<String>::new());
}

// 16.6 step 3.
#[test]
fn max_forwards_is_counted_down_or_added() {
    for (line, expected) in [("Max-Forwards: 70\n", "\r\nMax-Forwards: 69\r\n"), ("", "\r\nMax-Forwards: 70\r\n")] {
        for script in [RELAY, STATELESS] {
            let mut network = Network::new(script);
            network.send(CALLER, &request("MESSAGE", "z9hG4bK1", "").replace("Max-Forwards: 70\n", line));
            network.settle();
            let sent = network.received_one(CALLEE);
            assert!(sent.contains(expected), "{sent}");
        }
    }
}

fn fork(network: &mut Network) -> (String, String) {
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    network.received(CALLER);
    (network.received_one(CALLEE), network.received_one(SECOND))
}

fn both_answer(one: &str, two: &str, expected: &str) -> String {
    let mut network = Network::new(FORK);
    let (first, second) = fork(&mut network);
    network.send(CALLEE, &answer_tagged(&first, one, "b1"));
    network.settle();
    assert_eq!(network.start_lines(CALLER), Vec::<String>::new(), "another branch may bring something better");
    network.send(SECOND, &answer_tagged(&second, two, "b2"));
    network.settle();
    let reply = network.received_one(CALLER);
    assert_eq!(reply.lines().next(), Some(expected));
    reply
}

// 16.7 step 6.
#[test]
fn the_best_response_goes_upstream() {
    both_answer("404 Not Found", "603 Decline", "SIP/2.0 603 Decline");
    both_answer("500 Server Internal Error", "486 Busy Here", "SIP/2.0 486 Busy Here");
    both_answer("486 Busy Here", "302 Moved Temporarily", "SIP/2.0 302 Moved Temporarily");
    both_answer("404 Not Found", "407 Proxy Authentication Required", "SIP/2.0 407 Proxy Authentication Required");
    both_answer("503 Service Unavailable", "503 Service Unavailable", "SIP/2.0 500 Server Internal Error");
}

// 16.7 step 7.
#[test]
fn challenges_of_all_branches_are_gathered() {
    let mut network = Network::new(FORK);
    let (first, second) = fork(&mut network);
    let one = with_line(&answer(&first, "401 Unauthorized"), "WWW-Authenticate: Digest realm=\"one\"");
    let two =
        with_line(&answer(&second, "407 Proxy Authentication Required"), "Proxy-Authenticate: Digest realm=\"two\"");
    network.send(CALLEE, &one);
    network.send(SECOND, &two);
    network.settle();
    let reply = network.received_one(CALLER);
    assert!(reply.contains("WWW-Authenticate: Digest realm=\"one\"\r\n"), "{reply}");
    assert!(reply.contains("Proxy-Authenticate: Digest realm=\"two\"\r\n"), "{reply}");
}

// 16.7 step 5: a 6xx ends the search, and is sent on when the other branches are final.
#[test]
fn a_6xx_cancels_the_other_branches() {
    let mut network = Network::new(FORK);
    let (first, second) = fork(&mut network);
    network.send(SECOND, &answer(&second, "180 Ringing"));
    network.settle();
    network.received(CALLER);
    network.send(CALLEE, &answer(&first, "603 Decline"));
    network.settle();
    assert_eq!(network.start_lines(CALLER), Vec::<String>::new());
    assert_eq!(network.start_lines(SECOND), ["CANCEL sip:bob@203.0.113.2:5080 SIP/2.0"]);
    network.send(SECOND, &answer(&second, "487 Request Terminated"));
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 603 Decline"]);
}

// 16.7 step 5: every 2xx to an INVITE goes upstream.
#[test]
fn both_callees_that_answer_reach_the_caller() {
    let mut network = Network::new(FORK);
    let (first, second) = fork(&mut network);
    network.send(CALLEE, &answer_tagged(&first, "200 OK", "b1"));
    network.send(SECOND, &answer_tagged(&second, "200 OK", "b2"));
    network.settle();
    let replies: Vec<_> = network.received(CALLER).iter().map(testkit::Arrived::text).collect();
    assert_eq!(replies.len(), 2);
    assert_eq!(line(&replies[1], "To:"), Some("To: <sip:bob@example.com>;tag=b2"));
}

// 16.7 step 5: a 2xx also goes upstream when the script has answered before.
#[test]
fn a_200_after_a_reply_of_the_script_still_reaches_the_caller() {
    let script = "#!KAMAILIO\nloadmodule \"tm.so\"\nrequest_route { t_relay(); t_reply(\"480\", \"No\"); }\n";
    let mut network = Network::new(script);
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    let invite = network.received_one(CALLEE);
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 100 Trying", "SIP/2.0 480 No"]);
    network.send(CALLEE, &answer(&invite, "200 OK"));
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 200 OK"]);
}

// 16.7 step 3.
#[test]
fn a_response_with_our_via_alone_is_dropped_and_ends_nothing() {
    let mut network = Network::new(RELAY);
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    network.received(CALLER);
    let invite = network.received_one(CALLEE);
    let broken = answer(&invite, "486 Busy Here").replace("Via: SIP/2.0/UDP 198.51.100.1:5070;branch=z9hG4bK1\n", "");
    network.send(CALLEE, &broken);
    network.settle();
    assert_eq!(network.start_lines(CALLEE), Vec::<String>::new());
    assert_eq!(network.statistics().malformed.value(), 1);
    network.send(CALLEE, &answer(&invite, "486 Busy Here"));
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 486 Busy Here"]);
}

// 16.8: Timer C, after a provisional response. What the callee still says to the CANCEL is absorbed.
#[test]
fn who_rings_for_more_than_three_minutes_is_cancelled_and_counts_as_408() {
    let mut network = Network::new(RELAY);
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    let invite = network.received_one(CALLEE);
    network.send(CALLEE, &answer(&invite, "180 Ringing"));
    network.advance(Duration::from_secs(180));
    assert_eq!(network.start_lines(CALLEE), Vec::<String>::new());
    network.received(CALLER);
    network.advance(Duration::from_millis(1100));
    assert_eq!(network.start_lines(CALLEE)[0], "CANCEL sip:bob@203.0.113.1:5080 SIP/2.0");
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 408 Request Timeout"]);
    network.send(CALLER, &request("ACK", "z9hG4bK1", ";tag=x"));
    network.send(CALLEE, &answer(&invite, "487 Request Terminated"));
    network.advance(Duration::from_secs(40));
    assert!(network.start_lines(CALLEE).iter().any(|line| line.starts_with("ACK ")));
    assert_eq!(network.start_lines(CALLER), Vec::<String>::new());
    assert_eq!(network.transaction_count(), 0);
}

// 16.7 step 2: anything from 101 to 199 starts Timer C again.
#[test]
fn ringing_again_starts_timer_c_again() {
    let mut network = Network::new(RELAY);
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    let invite = network.received_one(CALLEE);
    for _ in 0..3 {
        network.send(CALLEE, &answer(&invite, "180 Ringing"));
        network.advance(Duration::from_secs(170));
    }
    assert_eq!(network.start_lines(CALLEE), Vec::<String>::new());
}

// 16.11: the copies of a retransmission, of its CANCEL and of its ACK bear the same branch.
#[test]
fn a_stateless_copy_has_the_same_branch_each_time() {
    let mut network = Network::new(STATELESS);
    for method in ["INVITE", "INVITE", "CANCEL", "ACK"] {
        network.send(CALLER, &request(method, "z9hG4bK1", ""));
    }
    network.send(CALLER, &request("INVITE", "z9hG4bK2", ""));
    network.settle();
    let vias: Vec<String> = network
        .received(CALLEE)
        .iter()
        .filter_map(|arrived| line(&arrived.text(), "Via:").map(str::to_owned))
        .collect();
    assert_eq!(vias.len(), 5);
    assert!(vias[..4].iter().all(|via| *via == vias[0]), "{vias:?}");
    assert_ne!(vias[4], vias[0]);
    assert_eq!(network.transaction_count(), 0);
}

// 16.11.
#[test]
fn a_reply_to_a_stateless_copy_goes_back_by_its_via() {
    let mut network = Network::new(STATELESS);
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    let invite = network.received_one(CALLEE);
    network.send(CALLEE, &answer(&invite, "200 OK"));
    network.settle();
    let reply = network.received_one(CALLER);
    assert!(reply.starts_with("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 198.51.100.1:5070;branch=z9hG4bK1\r\n"), "{reply}");
}

// 16.7: a failure route may arm itself again, as often as it adds a target.
#[test]
fn a_failure_route_that_arms_itself_is_run_for_each_failure() {
    let script = r#"#!KAMAILIO
loadmodule "tm.so"
request_route { t_on_failure("NEXT"); t_relay(); }
failure_route[NEXT] {
    t_on_failure("NEXT");
    append_branch("sip:bob@203.0.113.2:5080");
    t_relay();
}
"#;
    let mut network = Network::new(script);
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    network.received(CALLER);
    let invite = network.received_one(CALLEE);
    network.send(CALLEE, &answer(&invite, "486 Busy Here"));
    network.settle();
    let mut tried = 0;
    while let Some(invite) =
        network.received(SECOND).into_iter().find(|arrived| arrived.start_line().starts_with("INVITE"))
    {
        tried += 1;
        network.send(SECOND, &answer(&invite.text(), "480 Gone"));
        network.settle();
    }
    // The bound on branches ends what the script would do for ever: 60, of which the first went elsewhere.
    assert_eq!(tried, 59);
    assert!(network.start_lines(CALLER).iter().any(|line| line == "SIP/2.0 480 Gone"));
}

// The failure route begins with the Request-URI that the request route left.
#[test]
fn a_failure_route_sees_the_target_of_the_request_route() {
    let script = r#"#!KAMAILIO
loadmodule "tm.so"
loadmodule "pv.so"
request_route { $rU = "carol"; t_on_failure("NEXT"); t_relay(); }
failure_route[NEXT] { $rd = "203.0.113.2"; t_relay(); }
"#;
    let mut network = Network::new(script);
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    let invite = network.received_one(CALLEE);
    network.send(CALLEE, &answer(&invite, "486 Busy Here"));
    network.settle();
    assert_eq!(network.start_lines(SECOND), ["INVITE sip:carol@203.0.113.2:5080 SIP/2.0"]);
}
