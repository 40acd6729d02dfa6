//! Messages that leave beside the proxy's own way: bytes as they are, copies with one Via, replies on demand.
#![allow(missing_docs)]

use std::time::Duration;

use engine::Settings;
use testkit::{Network, StaticNames, Weather, answer, line, request};

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

/// A server at 192.0.2.1 and 192.0.2.2.
fn two_homed(script: &str, settings: Settings) -> Network {
    struct Quiet;
    impl engine::Log for Quiet {
        fn write(&self, _: module_api::Level, _: &[u8]) {}
    }
    let socket = |address: &str| module_api::Socket {
        transport: sip_message::Transport::Udp,
        address: address.parse().expect("a literal address"),
        advertised: None,
        name: None,
    };
    let Ok((program, _)) = testkit::compile(script) else { panic!("the script has a mistake") };
    Network::assemble(testkit::Parts {
        program,
        settings,
        identity: engine::Identity {
            sockets: vec![socket(testkit::SERVER), socket("192.0.2.2:5060")],
            aliases: Vec::new(),
        },
        names: std::sync::Arc::new(StaticNames::default()),
        log: std::sync::Arc::new(Quiet),
        weather: Weather::default(),
        begin_unix: Duration::from_secs(1_767_225_600),
        runtime: None,
        letters: std::sync::Arc::default(),
    })
}

const RELAY: &str =
    "#!KAMAILIO\nloadmodule \"tm.so\"\nloadmodule \"rr.so\"\nrequest_route { record_route(); t_relay(); }\n";

// RFC 3261 section 18.1.1: the socket must be one from which the next hop can be reached.
#[test]
fn the_routing_table_chooses_the_socket_where_the_script_asks_for_that() {
    let toward: fn(std::net::SocketAddr) -> Option<std::net::IpAddr> =
        |peer| (peer.ip() == std::net::IpAddr::from([203, 0, 113, 1])).then_some([192, 0, 2, 2].into());
    let settings = Settings { source_toward: Some(toward), ..Settings::default() };
    let mut network = two_homed(RELAY, settings);
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.settle();
    let arrived = network.received(CALLEE).remove(0);
    assert_eq!(arrived.from.to_string(), "192.0.2.2:5060");
    let text = arrived.text();
    assert!(text.contains("Via: SIP/2.0/UDP 192.0.2.2:5060;branch="), "{text}");
    // Both sides must find back here (RFC 5658).
    assert!(text.contains("<sip:192.0.2.2:5060;r2=on;lr") && text.contains("<sip:192.0.2.1:5060;r2=on;lr"), "{text}");
    let mut network = two_homed(RELAY, Settings::default());
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.settle();
    assert_eq!(network.received(CALLEE).remove(0).from.to_string(), testkit::SERVER);
}

// Deviates from RFC 3261 section 18.2.1, where the script says so.
#[test]
fn replies_go_to_the_address_in_the_via_where_the_script_asks_for_that() {
    let script = "#!KAMAILIO\nloadmodule \"sl.so\"\nloadmodule \"tm.so\"\nrequest_route { if ($rm == \"OPTIONS\") { t_newtran(); t_reply(\"200\", \"OK\"); } else sl_send_reply(\"200\", \"OK\"); }\n";
    let script = script.replace("loadmodule \"tm.so\"", "loadmodule \"tm.so\"\nloadmodule \"pv.so\"");
    for method in ["OPTIONS", "MESSAGE"] {
        for (trusts, at) in [(true, CALLER), (false, "198.51.100.9:5070")] {
            let settings = Settings { replies_to_via: trusts, ..Settings::default() };
            let mut network = Network::with(&script, settings, StaticNames::default(), Weather::default());
            network.send("198.51.100.9:40000", &request(method, "z9hG4bK1", ""));
            network.settle();
            assert_eq!(network.start_lines(at), ["SIP/2.0 200 OK"], "{method} {trusts}");
        }
    }
}

#[test]
fn the_own_via_says_what_the_script_keeps_in_records() {
    let script = "#!KAMAILIO\nloadmodule \"tm.so\"\nloadmodule \"pv.so\"\nloadmodule \"corex.so\"\n\
        request_route { via_add_xavp_params(1); via_use_xavp_fields(1); via_add_srvid(1);\n\
          $xavp(more=>site) = \"berlin\"; $xavp(more[0]=>branch) = \"evil\"; $xavp(more[0]=>bad) = \"a b\";\n\
          $xavp(at=>address) = \"192.0.2.1\"; $xavp(at[0]=>port) = 5062; t_relay(); }\n";
    let via_records = engine::ViaRecords { params: "more".into(), fields: "at".into() };
    let settings = Settings { via_records, server_id: 7, ..Settings::default() };
    let mut network = Network::with(script, settings, StaticNames::default(), Weather::default());
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.settle();
    let message = network.received_one(CALLEE);
    let via = line(&message, "Via:").expect("it has a Via");
    assert!(via.starts_with("Via: SIP/2.0/UDP 192.0.2.1:5062;branch=z9hG4bK"), "{via}");
    assert!(via.ends_with(";site=berlin;srvid=7") && !via.contains("evil"), "{via}");
    network.send(CALLEE, &answer(&message, "200 OK"));
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 200 OK"]);
}
