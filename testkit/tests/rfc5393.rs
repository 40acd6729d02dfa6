//! RFC 5393: loops, spirals and Max-Breadth.
#![allow(missing_docs)]

use testkit::{Network, request, with_line};

const CALLER: &str = "198.51.100.1:5070";
const CALLEE: &str = "203.0.113.1:5080";
const SERVER: &str = "192.0.2.1:5060";
const RELAY: &str = "#!KAMAILIO\nloadmodule \"tm.so\"\nrequest_route { t_relay(); }\n";

// Section 4.2.
#[test]
fn a_request_that_comes_round_unchanged_is_a_loop() {
    let mut network = Network::new(RELAY);
    let text =
        request("MESSAGE", "z9hG4bK1", "").replacen("sip:bob@203.0.113.1:5080 ", &format!("sip:bob@{SERVER} "), 1);
    network.send(CALLER, &text);
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 482 Loop Detected"]);
}

// Section 4.2: where the Request-URI has changed it is a spiral, and goes on.
#[test]
fn a_request_that_comes_round_changed_goes_on() {
    let script = r#"#!KAMAILIO
loadmodule "tm.so"
loadmodule "pv.so"
request_route {
    if ($rU == "bob") { $ru = "sip:carol@192.0.2.1:5060"; } else { $ru = "sip:carol@203.0.113.1:5080"; }
    t_relay();
}
"#;
    let mut network = Network::new(script);
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.settle();
    assert_eq!(network.start_lines(CALLEE), ["MESSAGE sip:carol@203.0.113.1:5080 SIP/2.0"]);
}

// Section 5.3.
#[test]
fn breadth_is_split_among_the_branches_or_refused() {
    let script =
        "#!KAMAILIO\nloadmodule \"tm.so\"\nrequest_route { append_branch(\"sip:bob@203.0.113.2:5080\"); t_relay(); }\n";
    let mut network = Network::new(script);
    network.send(CALLER, &with_line(&request("INVITE", "z9hG4bK1", ""), "Max-Breadth: 5"));
    network.settle();
    assert!(network.received_one(CALLEE).contains("\r\nMax-Breadth: 3\r\n"));
    assert!(network.received_one("203.0.113.2:5080").contains("\r\nMax-Breadth: 2\r\n"));

    let mut network = Network::new(script);
    network.send(CALLER, &with_line(&request("INVITE", "z9hG4bK1", ""), "Max-Breadth: 1"));
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 440 Max-Breadth Exceeded"]);
}
