//! Transactions as scripts steer them.
#![allow(missing_docs)]

use std::time::Duration;

use engine::{Forgets, Settings};
use testkit::{Network, StaticNames, Weather, answer, answer_tagged, request};

const CALLER: &str = "198.51.100.1:5070";
const CALLEE: &str = "203.0.113.1:5080";
const OTHER: &str = "203.0.113.2:5080";

fn script(routes: &str) -> String {
    format!(
        "#!KAMAILIO\nloadmodule \"tm.so\"\nloadmodule \"tmx.so\"\nloadmodule \"sl.so\"\nloadmodule \"pv.so\"\n\
         loadmodule \"textops.so\"\nloadmodule \"xlog.so\"\nloadmodule \"async.so\"\n{routes}\n"
    )
}

fn network(routes: &str) -> Network {
    Network::new(&script(routes))
}

#[test]
fn a_suspended_request_goes_on_with_everything_it_had() {
    let mut network = network(
        "request_route {\n\
           if ($rm == \"MESSAGE\") { t_continue(\"$hdr(X-Index)\", \"$hdr(X-Label)\", \"RESUMED\"); sl_send_reply(\"200\", \"$rc\"); exit; }\n\
           $avp(kept) = \"yes\"; append_hf(\"X-Edit: 1\\r\\n\"); $du = \"sip:203.0.113.2:5080\";\n\
           t_suspend(); xlog(\"L_NOTICE\", \"$T(id_index) $T(id_label)\\n\"); exit;\n\
         }\n\
         route[RESUMED] { append_hf(\"X-Avp: $avp(kept)\\r\\n\"); t_relay(); }",
    );
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    // 17.2.1: what takes time gets a 100, and its repetitions are absorbed.
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 100 Trying"]);
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 100 Trying"]);
    let logged = network.logged();
    let (index, label) = logged[0].split_once(' ').expect("two numbers");
    let resume = testkit::with_line(
        &request("MESSAGE", "z9hG4bK2", "").replace("c1@", "c2@"),
        &format!("X-Index: {index}\nX-Label: {label}"),
    );
    network.send(CALLER, &resume);
    network.settle();
    let invite = network.received_one(OTHER);
    assert!(invite.contains("\r\nX-Edit: 1\r\n") && invite.contains("\r\nX-Avp: yes\r\n"), "{invite}");
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 200 1"]);
    // A second time there is nothing to go on with.
    network.send(CALLER, &resume.replace("z9hG4bK2", "z9hG4bK3"));
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 200 -1"]);
    assert!(network.received(OTHER).is_empty());
}

#[test]
fn a_request_that_nobody_resumes_counts_as_408() {
    // A 408 to any other request would come too late (RFC 4320 section 4.2).
    let mut network = network("request_route { t_suspend(); exit; }");
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.advance(Duration::from_secs(33));
    assert!(network.start_lines(CALLER).contains(&"SIP/2.0 408 Request Timeout".to_owned()));
    network.advance(Duration::from_secs(70));
    assert_eq!(network.transaction_count(), 0);
}

#[test]
fn a_suspended_invite_can_be_cancelled() {
    let mut network = network("request_route { if ($rm == \"CANCEL\") { t_relay(); exit; } t_suspend(); exit; }");
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    network.received(CALLER);
    network.send(CALLER, &request("CANCEL", "z9hG4bK1", ""));
    network.settle();
    let lines = network.start_lines(CALLER);
    assert!(lines.contains(&"SIP/2.0 487 Request Terminated".to_owned()), "{lines:?}");
    network.send(CALLER, &request("ACK", "z9hG4bK1", ";tag=x"));
    network.advance(Duration::from_secs(80));
    assert_eq!(network.transaction_count(), 0);
}

#[test]
fn a_request_goes_on_at_a_route_when_its_time_has_come() {
    let mut network = network(
        "request_route { $avp(a) = \"x\"; async_route(\"LATER\", 60); sl_send_reply(\"500\", \"not reached\"); }\n\
         route[LATER] { append_hf(\"X-Avp: $avp(a)\\r\\n\"); t_relay(); }",
    );
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.advance(Duration::from_millis(59_900));
    assert!(network.received(CALLEE).is_empty());
    network.advance(Duration::from_millis(200));
    assert!(network.received_one(CALLEE).contains("\r\nX-Avp: x\r\n"));
}

#[test]
fn a_script_can_sleep_longer_than_a_wait_may_last() {
    let mut network = network("request_route { async_sleep(9); t_relay(); }");
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.advance(Duration::from_millis(8_900));
    assert!(network.received(CALLEE).is_empty());
    network.advance(Duration::from_millis(200));
    assert_eq!(network.received(CALLEE).len(), 1);
}

#[test]
fn replies_to_a_copy_for_another_server_are_not_relayed() {
    let mut network = network("request_route { t_replicate(\"sip:203.0.113.2:5080\"); t_relay(); }");
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.settle();
    let copy = network.received_one(OTHER);
    let message = network.received_one(CALLEE);
    network.send(OTHER, &answer(&copy, "200 OK"));
    network.settle();
    assert_eq!(network.start_lines(CALLER), Vec::<String>::new());
    network.send(CALLEE, &answer(&message, "404 Not Found"));
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 404 Not Found"]);
    network.advance(Duration::from_secs(70));
    assert_eq!(network.transaction_count(), 0);
}

#[test]
fn a_request_that_is_only_copied_leaves_nothing_behind() {
    let mut network = network("request_route { t_replicate(\"203.0.113.2\", \"5080\"); }");
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.advance(Duration::from_secs(70));
    assert_eq!(network.start_lines(CALLER), Vec::<String>::new());
    assert_eq!(network.received(OTHER).len(), 11);
    assert_eq!(network.transaction_count(), 0);
}

#[test]
fn a_failed_branch_is_replaced_while_another_still_rings() {
    let mut network = network(
        "request_route { append_branch(\"sip:two@203.0.113.2:5080\"); t_on_branch_failure(\"NEXT\"); t_relay(); }\n\
         event_route[tm:branch-failure:NEXT] { if (t_check_status(\"486\")) { $ru = \"sip:vm@203.0.113.3:5080\"; t_relay(); } }",
    );
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    network.received(CALLER);
    let first = network.received_one(CALLEE);
    network.send(CALLEE, &answer(&first, "486 Busy Here"));
    network.settle();
    let third = network.received_one("203.0.113.3:5080");
    assert!(third.starts_with("INVITE sip:vm@203.0.113.3:5080 SIP/2.0\r\n"), "{third}");
    assert_eq!(network.start_lines(CALLER), Vec::<String>::new());
    network.send("203.0.113.3:5080", &answer(&third, "200 OK"));
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 200 OK"]);
}

const SERIAL: &str = "request_route { t_on_failure(\"NEXT\"); t_relay(); }\n\
    failure_route[NEXT] { $ru = \"sip:two@203.0.113.2:5080\"; t_relay(); }";

fn serial(script: &str, forgets: Forgets, first: &str, second: &str, expected: &str) {
    let settings = Settings { forgets, ..Settings::default() };
    let mut network = Network::with(script, settings, StaticNames::default(), Weather::default());
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    let invite = network.received_one(CALLEE);
    network.send(CALLEE, &answer(&invite, first));
    network.settle();
    let invite = network.received_one(OTHER);
    network.send(OTHER, &answer(&invite, second));
    network.settle();
    assert_eq!(network.start_lines(CALLER).last().map(String::as_str), Some(expected));
}

// failure_reply_mode, as Kamailio 5.6 behaves by default (3) and with 0.
#[test]
fn replies_of_an_earlier_try_count_or_do_not() {
    let script = script(SERIAL);
    serial(&script, Forgets::Earlier, "404 Not Found", "486 Busy Here", "SIP/2.0 486 Busy Here");
    serial(&script, Forgets::Nothing, "404 Not Found", "486 Busy Here", "SIP/2.0 404 Not Found");
}

#[test]
fn a_script_can_have_the_replies_so_far_forgotten() {
    let script = script(&SERIAL.replace("{ $ru", "{ t_drop_replies(); $ru"));
    serial(&script, Forgets::Nothing, "404 Not Found", "486 Busy Here", "SIP/2.0 486 Busy Here");
}

#[test]
fn ser_takes_the_lowest_code_of_all_branches() {
    let ser = "loadmodule \"/usr/lib/ser/modules/tm.so\"\n\
        route { append_branch(\"sip:two@203.0.113.2:5080\"); t_relay(); break; }";
    let check = |script: &str, expected: &str| {
        let mut network = Network::new(script);
        network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
        network.settle();
        for (peer, status, tag) in [(CALLEE, "404 Not Found", "b1"), (OTHER, "407 Proxy Authentication Required", "b2")]
        {
            let invite = network.received_one(peer);
            network.send(peer, &answer_tagged(&invite, status, tag));
            network.settle();
        }
        assert_eq!(network.start_lines(CALLER).last().map(String::as_str), Some(expected));
    };
    check(ser, "SIP/2.0 404 Not Found");
    check(
        &script("request_route { append_branch(\"sip:two@203.0.113.2:5080\"); t_relay(); }"),
        "SIP/2.0 407 Proxy Authentication Required",
    );
}

// Both reply routes wait; the second begins where the first has ended.
#[test]
fn two_routes_of_one_transaction_lose_no_attribute_of_each_other() {
    let mut network = network(
        "request_route { $avp(n) = 0; t_on_reply(\"COUNT\"); t_relay(); }\n\
         onreply_route[COUNT] { async_ms_sleep(100); $avp(n) = $avp(n) + 1; xlog(\"L_NOTICE\", \"$avp(n)\\n\"); }",
    );
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    let invite = network.received_one(CALLEE);
    network.send(CALLEE, &answer(&invite, "180 Ringing"));
    network.send(CALLEE, &answer(&invite, "183 Session Progress"));
    network.send(CALLEE, &answer(&invite, "200 OK"));
    network.advance(Duration::from_secs(1));
    assert_eq!(network.logged(), ["1", "2", "3"]);
    assert_eq!(
        network.start_lines(CALLER),
        ["SIP/2.0 100 Trying", "SIP/2.0 180 Ringing", "SIP/2.0 183 Session Progress", "SIP/2.0 200 OK"]
    );
}

#[test]
fn a_transaction_can_be_given_a_lifetime() {
    let mut network = network("request_route { t_set_max_lifetime(10000, 3000); t_relay(); }");
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    let invite = network.received_one(CALLEE);
    network.send(CALLEE, &answer(&invite, "180 Ringing"));
    network.advance(Duration::from_millis(10_100));
    assert_eq!(network.start_lines(CALLER).last().map(String::as_str), Some("SIP/2.0 408 Request Timeout"));
    assert!(network.start_lines(CALLEE).contains(&"CANCEL sip:bob@203.0.113.1:5080 SIP/2.0".to_owned()));
}

#[test]
fn intervals_of_one_transaction_can_be_set() {
    let mut network = network("request_route { t_set_retr(100, 200); t_relay(); }");
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    // At 0, 100, 300, 500, 700 and 900 ms.
    network.advance(Duration::from_millis(950));
    assert_eq!(network.received(CALLEE).len(), 6);
}

#[test]
fn a_6xx_can_leave_the_other_branches_alone() {
    let mut network =
        network("request_route { t_set_disable_6xx(1); append_branch(\"sip:two@203.0.113.2:5080\"); t_relay(); }");
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    let (first, second) = (network.received_one(CALLEE), network.received_one(OTHER));
    network.send(OTHER, &answer_tagged(&second, "180 Ringing", "b2"));
    network.send(CALLEE, &answer(&first, "603 Decline"));
    network.settle();
    assert!(network.received(OTHER).is_empty());
    network.send(OTHER, &answer_tagged(&second, "200 OK", "b2"));
    network.settle();
    assert_eq!(network.start_lines(CALLER).last().map(String::as_str), Some("SIP/2.0 200 OK"));
}

#[test]
fn another_request_can_be_answered_by_its_call_id() {
    let mut network = network(
        "request_route { if ($rm == \"MESSAGE\") { t_reply_callid(\"c1@198.51.100.1\", 1, 480, \"Away\"); exit; } t_relay(); }",
    );
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    network.received(CALLER);
    network.send(CALLER, &request("MESSAGE", "z9hG4bK2", "").replace("c1@", "c2@"));
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 480 Away"]);
}

// RFC 3261 section 17.1.1.2: a failure is said once; its repetitions are answered with ACK alone.
#[test]
fn a_failure_reaches_the_caller_though_many_replies_wait_for_a_reply_route() {
    let mut network = network(
        "request_route { t_on_reply(\"SLOW\"); t_relay(); }\n\
         onreply_route[SLOW] { if ($rs == 180) async_ms_sleep(1000); }",
    );
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    let invite = network.received_one(CALLEE);
    network.send(CALLEE, &answer(&invite, "180 Ringing"));
    for _ in 0..40 {
        network.send(CALLEE, &answer(&invite, "183 Session Progress"));
    }
    network.send(CALLEE, &answer(&invite, "486 Busy Here"));
    network.advance(Duration::from_secs(2));
    assert_eq!(network.start_lines(CALLER).last().map(String::as_str), Some("SIP/2.0 486 Busy Here"));
    network.advance(Duration::from_secs(64));
    assert_eq!(network.transaction_count(), 0);
}
