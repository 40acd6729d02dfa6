//! Calls shared among gateways, as scripts see it.
#![allow(missing_docs)]

use std::time::Duration;

use testkit::{Network, answer, request};

const CALLER: &str = "198.51.100.1:5070";
const FIRST: &str = "203.0.113.11:5060";
const SECOND: &str = "203.0.113.12:5060";

/// A server with a list of two gateways. The file is gone when the test is over.
struct Gateways(std::path::PathBuf);

impl Gateways {
    fn new(test: &str) -> Gateways {
        let path = std::env::temp_dir().join(format!("dispatcher-{}-{test}.list", std::process::id()));
        std::fs::write(&path, "1 sip:203.0.113.11:5060 0 10\n1 sip:203.0.113.12:5060 0 5\n")
            .expect("a file in the temporary directory");
        Gateways(path)
    }

    fn network(&self, settings: &str, routes: &str) -> Network {
        let script = format!(
            "#!KAMAILIO\nloadmodule \"tm.so\"\nloadmodule \"sl.so\"\nloadmodule \"pv.so\"\nloadmodule \"textops.so\"\n\
             loadmodule \"xlog.so\"\nloadmodule \"dispatcher.so\"\n\
             modparam(\"dispatcher\", \"list_file\", \"{}\")\nmodparam(\"dispatcher\", \"flags\", 2)\n{settings}\n{routes}\n",
            self.0.display()
        );
        Network::new(&script)
    }
}

impl Drop for Gateways {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const FAIL_OVER: &str = "request_route {\n\
      if (!ds_select_dst(1, 8)) { sl_send_reply(\"503\", \"No Gateway\"); exit; }\n\
      t_on_failure(\"GW\"); t_relay();\n\
    }\n\
    failure_route[GW] {\n\
      if (t_check_status(\"5..|408\")) { ds_mark_dst(\"ip\"); if (ds_next_dst()) { t_on_failure(\"GW\"); t_relay(); } }\n\
    }";

#[test]
fn a_call_goes_on_to_the_next_gateway_and_the_failed_one_is_left_out() {
    let gateways = Gateways::new("failover");
    let mut network = gateways.network("", FAIL_OVER);
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    let invite = network.received_one(FIRST);
    // The Request-URI stays: the gateway is the next hop only.
    assert!(invite.starts_with("INVITE sip:bob@203.0.113.1:5080 SIP/2.0\r\n"), "{invite}");
    network.send(FIRST, &answer(&invite, "500 Broken"));
    network.settle();
    let invite = network.received_one(SECOND);
    network.send(SECOND, &answer(&invite, "200 OK"));
    network.settle();
    assert_eq!(network.start_lines(CALLER).last().map(String::as_str), Some("SIP/2.0 200 OK"));
    network.received(FIRST);
    // The next call does not try it at all.
    network.send(CALLER, &request("INVITE", "z9hG4bK2", "").replace("c1@", "c2@"));
    network.settle();
    assert!(network.received(FIRST).is_empty());
    assert_eq!(network.received(SECOND).len(), 1);
}

#[test]
fn without_a_gateway_left_the_caller_is_told() {
    let gateways = Gateways::new("none");
    let mut network = gateways.network("", FAIL_OVER);
    for (call, gateway) in [(1, FIRST), (2, SECOND)] {
        let text = request("INVITE", &format!("z9hG4bK{call}"), "").replace("c1@", &format!("c{call}@"));
        network.send(CALLER, &text);
        network.settle();
        let invite = network.received_one(gateway);
        network.send(gateway, &answer(&invite, "500 Broken"));
        network.settle();
        if call == 1 {
            let invite = network.received_one(SECOND);
            network.send(SECOND, &answer(&invite, "486 Busy Here"));
            network.settle();
            network.received(SECOND);
        }
    }
    network.received(CALLER);
    network.send(CALLER, &request("INVITE", "z9hG4bK3", "").replace("c1@", "c3@"));
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 503 No Gateway"]);
}

const PROBED: &str = "modparam(\"dispatcher\", \"ds_ping_interval\", 10)\n\
    modparam(\"dispatcher\", \"ds_probing_mode\", 1)\n\
    modparam(\"dispatcher\", \"ds_probing_threshold\", 2)\n\
    modparam(\"dispatcher\", \"ds_ping_fr_timeout\", 2000)\n\
    modparam(\"dispatcher\", \"ds_ping_reply_codes\", \"class=4\")";
const EVENTS: &str = "event_route[dispatcher:dst-down] { xlog(\"L_NOTICE\", \"down $ru\\n\"); }\n\
    event_route[dispatcher:dst-up] { xlog(\"L_NOTICE\", \"up $ru\\n\"); }\n";

/// Answers what asks gateway 2, and gateway 1 only where `status` says how.
fn ask(network: &mut Network, status: Option<&str>) {
    network.advance(Duration::from_secs(10));
    for (gateway, status) in [(FIRST, status), (SECOND, Some("404 Not Found"))] {
        let asked = network.received(gateway);
        let options = asked.last().expect("each gateway is asked every ten seconds").text();
        assert!(options.starts_with("OPTIONS sip:203.0.113.1"), "{options}");
        if let Some(status) = status {
            network.send(gateway, &answer(&options, status));
        }
    }
    network.settle();
}

#[test]
fn a_silent_gateway_is_left_out_until_it_answers_again() {
    let gateways = Gateways::new("probing");
    let mut network = gateways.network(PROBED, &format!("{EVENTS}{FAIL_OVER}"));
    ask(&mut network, Some("200 OK"));
    ask(&mut network, None);
    ask(&mut network, None);
    assert_eq!(network.logged(), Vec::<String>::new());
    // Two in a row have not been answered by now.
    network.advance(Duration::from_millis(2100));
    assert_eq!(network.logged(), ["down sip:203.0.113.11:5060"]);
    network.received(FIRST);
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    assert!(network.received(FIRST).is_empty());
    let invite = network.received_one(SECOND);
    network.send(SECOND, &answer(&invite, "486 Busy Here"));
    network.settle();
    network.received(SECOND);
    network.advance(Duration::from_millis(7900));
    let options = network.received(FIRST).remove(0).text();
    network.send(FIRST, &answer(&options, "200 OK"));
    network.settle();
    assert_eq!(network.logged(), ["up sip:203.0.113.11:5060"]);
}

#[test]
fn calls_from_a_gateway_are_recognised() {
    let gateways = Gateways::new("source");
    let mut network = gateways.network(
        "",
        "request_route { if (ds_is_from_list(1)) sl_send_reply(\"200\", \"Gateway\"); else sl_send_reply(\"403\", \"Stranger\"); }",
    );
    network.send(CALLER, &request("OPTIONS", "z9hG4bK1", ""));
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 403 Stranger"]);
    let from_gateway = request("OPTIONS", "z9hG4bK2", "").replace("198.51.100.1:5070", "203.0.113.12:5060");
    network.send(SECOND, &from_gateway);
    network.settle();
    assert_eq!(network.start_lines(SECOND), ["SIP/2.0 200 Gateway"]);
}

#[test]
fn the_gateway_that_was_chosen_shows_in_variables() {
    let gateways = Gateways::new("variables");
    let mut network = gateways.network(
        "",
        "request_route { ds_select_domain(1, 8); sl_send_reply(\"200\", \"$rd:$rp $xavp(_dsdst_=>uri) $xavp(_dsctx_=>cnt)\"); }",
    );
    network.send(CALLER, &request("OPTIONS", "z9hG4bK1", ""));
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 200 203.0.113.11:5060 sip:203.0.113.11:5060 2"]);
}
