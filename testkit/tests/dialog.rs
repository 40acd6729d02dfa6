//! Calls as a whole (RFC 3261 section 12).
#![allow(missing_docs)]

use std::time::Duration;

use testkit::{Network, answer, line, request, with_line};

const CALLER: &str = "198.51.100.1:5070";
const CALLEE: &str = "203.0.113.1:5080";

fn network(settings: &str, routes: &str) -> Network {
    Network::new(&format!(
        "#!KAMAILIO\nloadmodule \"tm.so\"\nloadmodule \"sl.so\"\nloadmodule \"rr.so\"\nloadmodule \"pv.so\"\n\
         loadmodule \"textops.so\"\nloadmodule \"xlog.so\"\nloadmodule \"dialog.so\"\n\
         modparam(\"dialog\", \"profiles_with_value\", \"caller\")\nmodparam(\"dialog\", \"profiles_no_value\", \"all\")\n\
         {settings}\n\
         event_route[dialog:start] {{ xlog(\"L_NOTICE\", \"start $dlg(state)\\n\"); }}\n\
         event_route[dialog:end] {{ xlog(\"L_NOTICE\", \"end $dlg_var(note)\\n\"); }}\n\
         event_route[dialog:failed] {{ xlog(\"L_NOTICE\", \"failed\\n\"); }}\n{routes}\n"
    ))
}

const TRACK: &str = "request_route {\n\
      if ($rm == \"OPTIONS\") { get_profile_size(\"all\", \"$var(n)\"); sl_send_reply(\"200\", \"$DLG_count $var(n)\"); exit; }\n\
      if (loose_route()) { t_relay(); exit; }\n\
      if ($rm == \"CANCEL\") { t_relay(); exit; }\n\
      dlg_manage(); set_dlg_profile(\"all\"); set_dlg_profile(\"caller\", \"$fu\"); $dlg_var(note) = \"kept\";\n\
      record_route(); t_relay();\n\
    }";

/// A call that is up; the Route that leads through the server, and the INVITE as the callee got it.
fn call(network: &mut Network) -> (String, String) {
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    let invite = network.received_one(CALLEE);
    let route = line(&invite, "Record-Route:").expect("it was record-routed").replace("Record-Route:", "Route:");
    assert!(route.contains(";did="), "{route}");
    network.send(CALLEE, &answer(&invite, "180 Ringing"));
    network.send(CALLEE, &answer(&invite, "200 OK"));
    network.settle();
    network.send(CALLER, &with_line(&request("ACK", "z9hG4bK2", ";tag=b1"), &route));
    network.settle();
    network.received(CALLER);
    network.received(CALLEE);
    (route, invite)
}

/// How many calls are tracked, and how many are in the profile.
fn counts(network: &mut Network, n: u32) -> String {
    network.send(CALLER, &request("OPTIONS", &format!("z9hG4bKo{n}"), "").replace("c1@", "o1@"));
    network.settle();
    network.received_one(CALLER).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_call_is_tracked_from_its_answer_to_its_bye() {
    let mut network = network("", TRACK);
    let (route, _) = call(&mut network);
    assert_eq!(network.logged(), ["start 3"]);
    assert_eq!(counts(&mut network, 1), "SIP/2.0 200 1 1");
    network.send(CALLER, &with_line(&request("BYE", "z9hG4bK3", ";tag=b1"), &route));
    network.settle();
    let bye = network.received_one(CALLEE);
    network.send(CALLEE, &answer(&bye, "200 OK"));
    network.settle();
    network.received(CALLER);
    assert_eq!(network.logged(), ["end kept"]);
    assert_eq!(counts(&mut network, 2), "SIP/2.0 200 0 0");
}

#[test]
fn a_call_that_fails_is_forgotten() {
    let mut network = network("", TRACK);
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    let invite = network.received_one(CALLEE);
    network.send(CALLEE, &answer(&invite, "486 Busy Here"));
    network.settle();
    network.received(CALLER);
    assert_eq!(network.logged(), ["failed"]);
    assert_eq!(counts(&mut network, 1), "SIP/2.0 200 0 0");
}

// 15.1.1 and 12.2.1.1: as if each side had hung up.
#[test]
fn when_its_time_is_up_both_sides_get_a_bye() {
    let settings = "modparam(\"dialog\", \"default_timeout\", 60)\nmodparam(\"dialog\", \"send_bye\", 1)";
    let mut network = network(settings, TRACK);
    call(&mut network);
    network.logged();
    network.advance(Duration::from_secs(59));
    assert!(network.received(CALLEE).is_empty());
    network.advance(Duration::from_millis(1100));
    let to_callee = network.received(CALLEE).remove(0).text();
    assert!(to_callee.starts_with("BYE sip:bob@203.0.113.1:5080 SIP/2.0\r\n"), "{to_callee}");
    assert_eq!(line(&to_callee, "From:"), Some("From: <sip:alice@example.com>;tag=a1"));
    assert_eq!(line(&to_callee, "To:"), Some("To: <sip:bob@example.com>;tag=b1"));
    assert_eq!(line(&to_callee, "Call-ID:"), Some("Call-ID: c1@198.51.100.1"));
    assert_eq!(line(&to_callee, "CSeq:"), Some("CSeq: 2 BYE"));
    let to_caller = network.received(CALLER).remove(0).text();
    assert!(to_caller.starts_with("BYE sip:alice@198.51.100.1:5070 SIP/2.0\r\n"), "{to_caller}");
    assert_eq!(line(&to_caller, "From:"), Some("From: <sip:bob@example.com>;tag=b1"));
    assert_eq!(line(&to_caller, "To:"), Some("To: <sip:alice@example.com>;tag=a1"));
    assert_eq!(line(&to_caller, "CSeq:"), Some("CSeq: 1 BYE"));
    assert_eq!(network.logged(), ["end kept"]);
    network.send(CALLER, &answer(&to_caller, "200 OK"));
    network.send(CALLEE, &answer(&to_callee, "200 OK"));
    network.advance(Duration::from_secs(70));
    assert_eq!(network.transaction_count(), 0);
}

#[test]
fn a_script_ends_another_call() {
    let routes = TRACK.replacen(
        "request_route {\n",
        "request_route {\nif ($rm == \"MESSAGE\") { if (dlg_get(\"c1@198.51.100.1\", \"a1\", \"b1\")) dlg_bye(\"all\"); sl_send_reply(\"200\", \"OK\"); exit; }\n",
        1,
    );
    let mut network = network("", &routes);
    call(&mut network);
    network.send(CALLER, &request("MESSAGE", "z9hG4bK9", "").replace("c1@", "m1@"));
    network.settle();
    let lines = network.start_lines(CALLER);
    assert!(lines.contains(&"BYE sip:alice@198.51.100.1:5070 SIP/2.0".to_owned()), "{lines:?}");
    assert_eq!(network.start_lines(CALLEE), ["BYE sip:bob@203.0.113.1:5080 SIP/2.0"]);
}

#[test]
fn a_limit_counts_the_calls_of_one_caller() {
    let routes = "request_route {\n\
        if (loose_route()) { t_relay(); exit; }\n\
        get_profile_size(\"caller\", \"$fu\", \"$var(n)\");\n\
        if ($var(n) >= 1) { sl_send_reply(\"486\", \"One Call Only\"); exit; }\n\
        dlg_manage(); set_dlg_profile(\"caller\", \"$fu\"); record_route(); t_relay();\n\
      }";
    let mut network = network("", routes);
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    network.received(CALLER);
    network.send(CALLER, &request("INVITE", "z9hG4bK2", "").replace("c1@", "c2@"));
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 486 One Call Only"]);
    // Another caller is not concerned.
    network.send(
        CALLER,
        &request("INVITE", "z9hG4bK3", "")
            .replace("c1@", "c3@")
            .replace("sip:alice@example.com", "sip:carol@example.com"),
    );
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 100 Trying"]);
}

/// A call of 65 seconds from its answer, 68 from its INVITE, whose note is written down; the lines that the log has of it.
fn recorded(settings: &str, hangs_up: &str) -> Vec<String> {
    let settings = format!(
        "loadmodule \"acc.so\"\nmodparam(\"acc\", \"cdr_enable\", 1)\n\
         modparam(\"acc\", \"cdr_extra\", \"note=$dlg_var(note)\")\n{settings}"
    );
    let mut network = network(&settings, TRACK);
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    let invite = network.received_one(CALLEE);
    let route = line(&invite, "Record-Route:").unwrap().replace("Record-Route:", "Route:");
    network.advance(Duration::from_millis(3000));
    network.send(CALLEE, &answer(&invite, "200 OK"));
    network.settle();
    network.send(CALLER, &with_line(&request("ACK", "z9hG4bK2", ";tag=b1"), &route));
    network.advance(Duration::from_secs(65));
    network.received(CALLER);
    network.received(CALLEE);
    if hangs_up == "caller" {
        network.send(CALLER, &with_line(&request("BYE", "z9hG4bK3", ";tag=b1"), &route));
        network.settle();
        let bye = network.received_one(CALLEE);
        network.send(CALLEE, &answer(&bye, "200 OK"));
        network.settle();
    } else {
        network.advance(Duration::from_secs(600));
    }
    network.logged().into_iter().filter(|line| line.starts_with("ACC: ")).collect()
}

fn duration_of(line: &str) -> f64 {
    line.split(';').find_map(|part| part.strip_prefix("duration=")).expect("a duration").parse().expect("a number")
}

#[test]
fn a_call_that_is_over_leaves_one_record_with_who_ended_it_and_how_long_it_was() {
    let lines = recorded("", "caller");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("ACC: call ended: start_time="), "{}", lines[0]);
    assert!(lines[0].contains(";call_id=c1@198.51.100.1;ended_by=caller;") && lines[0].ends_with(";note=kept"));
    assert!((68.0..68.5).contains(&duration_of(&lines[0])), "{}", lines[0]);
}

#[test]
fn a_record_may_begin_with_the_answer() {
    let lines = recorded("modparam(\"acc\", \"cdr_start_on_confirmed\", 1)", "caller");
    assert!((65.0..65.5).contains(&duration_of(&lines[0])), "{lines:?}");
}

#[test]
fn a_call_whose_time_was_up_is_recorded_when_that_is_asked_for() {
    let ends = "modparam(\"dialog\", \"default_timeout\", 120)\nmodparam(\"dialog\", \"send_bye\", 1)";
    assert_eq!(recorded(ends, "nobody"), Vec::<String>::new());
    let lines = recorded(&format!("{ends}\nmodparam(\"acc\", \"cdr_expired_dlg_enable\", 1)"), "nobody");
    assert!(lines.len() == 1 && lines[0].contains(";ended_by=timeout;"), "{lines:?}");
}

// A busy server sees more calls in a day than it has room for jobs that wait for the end of one.
#[test]
fn what_waits_for_the_end_of_a_call_does_not_outlive_it_for_long() {
    let mut network = network("", TRACK);
    for n in 0..50 {
        let of_call =
            |text: String| text.replace("c1@", &format!("call{n}@")).replace("z9hG4bK", &format!("z9hG4bK{n}x"));
        network.send(CALLER, &of_call(request("INVITE", "z9hG4bK1", "")));
        network.settle();
        let invite = network.received_one(CALLEE);
        let route = line(&invite, "Record-Route:").expect("it was record-routed").replace("Record-Route:", "Route:");
        network.send(CALLEE, &answer(&invite, "200 OK"));
        network.settle();
        network.send(CALLER, &with_line(&of_call(request("ACK", "z9hG4bK2", ";tag=b1")), &route));
        network.settle();
        network.received(CALLEE);
        network.send(CALLER, &with_line(&of_call(request("BYE", "z9hG4bK3", ";tag=b1")), &route));
        network.settle();
        let bye = network.received_one(CALLEE);
        network.send(CALLEE, &answer(&bye, "200 OK"));
        network.settle();
        assert!(network.deferred_count() <= 60, "{} for {n} calls", network.deferred_count());
    }
    network.received(CALLER);
    assert_eq!(counts(&mut network, 1), "SIP/2.0 200 0 0");
    network.advance(Duration::from_secs(61));
    assert!(network.deferred_count() < 10, "{}", network.deferred_count());
}

// RFC 3515 section 2.4.
#[test]
fn a_side_is_asked_to_call_somebody_else() {
    let mut network = network(
        "",
        &TRACK.replace(
            "if (loose_route())",
            "if (is_method(\"INFO\")) { dlg_refer(\"callee\", \"sip:desk@example.com\"); sl_send_reply(\"200\", \"OK\"); exit; }\n\
             if (loose_route())",
        ),
    );
    let (route, _) = call(&mut network);
    network.send(CALLER, &with_line(&request("INFO", "z9hG4bK3", ";tag=b1"), &route));
    network.settle();
    let refer = network.received_one(CALLEE);
    assert!(refer.starts_with("REFER sip:bob@203.0.113.1:5080 SIP/2.0\r\n"), "{refer}");
    for expected in [
        "Refer-To: <sip:desk@example.com>\r\n",
        "Contact: <sip:alice@198.51.100.1:5070>\r\n",
        "From: <sip:alice@example.com>;tag=a1\r\n",
        "To: <sip:bob@example.com>;tag=b1\r\n",
        "Call-ID: c1@198.51.100.1\r\n",
    ] {
        assert!(refer.contains(expected), "{expected} in {refer}");
    }
}

// RFC 3264 section 5.1, RFC 3515, RFC 5589 section 6.1.
#[test]
fn two_parties_are_brought_together_by_a_call_on_hold_and_a_refer() {
    let mut network = network(
        "modparam(\"dialog\", \"bridge_controller\", \"sip:switch@example.com\")",
        "request_route { dlg_bridge(\"sip:bob@203.0.113.1:5080\", \"sip:carol@example.com\"); sl_send_reply(\"200\", \"OK\"); }",
    );
    network.send(CALLER, &request("OPTIONS", "z9hG4bK1", ""));
    network.settle();
    let invite = network.received_one(CALLEE);
    assert!(invite.starts_with("INVITE sip:bob@203.0.113.1:5080 SIP/2.0\r\n"), "{invite}");
    assert!(invite.contains("From: <sip:switch@example.com>;tag=") && invite.contains("a=inactive\r\n"), "{invite}");
    network.send(CALLEE, &answer(&invite, "200 OK"));
    network.settle();
    let sent: Vec<String> = network.received(CALLEE).iter().map(|arrived| arrived.text()).collect();
    assert!(sent[0].starts_with("ACK sip:bob@203.0.113.1:5080 SIP/2.0\r\n"), "{sent:?}");
    assert!(sent[1].starts_with("REFER ") && sent[1].contains("Refer-To: <sip:carol@example.com>\r\n"), "{sent:?}");
    network.send(CALLEE, &answer(&sent[1], "202 Accepted"));
    network.settle();
    let bye = network.received_one(CALLEE);
    assert!(bye.starts_with("BYE sip:bob@203.0.113.1:5080 SIP/2.0\r\n") && bye.contains(";tag=b1"), "{bye}");
    network.send(CALLEE, &answer(&bye, "200 OK"));
    network.advance(Duration::from_secs(40));
    assert_eq!(network.transaction_count(), 0);
}

#[test]
fn a_party_that_does_not_answer_is_asked_for_nothing() {
    let mut network =
        network("", "request_route { dlg_bridge(\"sip:bob@203.0.113.1:5080\", \"sip:carol@example.com\"); drop; }");
    network.send(CALLER, &request("OPTIONS", "z9hG4bK1", ""));
    network.settle();
    let invite = network.received_one(CALLEE);
    network.send(CALLEE, &answer(&invite, "486 Busy Here"));
    network.advance(Duration::from_secs(40));
    assert!(network.start_lines(CALLEE).iter().all(|line| line.starts_with("ACK ")));
    assert_eq!(network.transaction_count(), 0);
}

#[test]
fn a_request_within_goes_to_the_contact_of_the_other_side() {
    let routes = TRACK.replace(
        "if (loose_route())",
        "if (is_method(\"INFO\") && dlg_set_ruri()) { t_relay(); exit; }\nif (loose_route())",
    );
    let mut network = network("", &routes);
    let (_, _) = call(&mut network);
    let info =
        request("INFO", "z9hG4bK3", ";tag=b1").replace("sip:bob@203.0.113.1:5080 SIP", "sip:server@198.18.0.1 SIP");
    network.send(CALLER, &info);
    network.settle();
    assert_eq!(network.start_lines(CALLEE), ["INFO sip:bob@203.0.113.1:5080 SIP/2.0"]);
}

#[test]
fn a_call_without_transactions_is_tracked_by_what_the_script_says() {
    let mut network = network(
        "",
        "request_route {\n\
           if ($rm == \"OPTIONS\") { sl_send_reply(\"200\", \"$DLG_count\"); exit; }\n\
           if ($rm == \"INVITE\") { dlg_manage(); record_route(); forward(); exit; }\n\
           dlg_update_state(); xlog(\"L_NOTICE\", \"$rm $DLG_status\\n\"); forward();\n\
         }\n\
         onreply_route { dlg_update_state(); xlog(\"L_NOTICE\", \"$rs $DLG_status\\n\"); }",
    );
    let count = |network: &mut Network, n: u32| {
        network.send(CALLER, &request("OPTIONS", &format!("z9hG4bKo{n}"), "").replace("c1@", "o1@"));
        network.settle();
        network.received_one(CALLER).lines().next().unwrap_or_default().to_owned()
    };
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    let invite = network.received_one(CALLEE);
    network.send(CALLEE, &answer(&invite, "180 Ringing"));
    network.send(CALLEE, &answer(&invite, "200 OK"));
    network.settle();
    network.received(CALLER);
    assert_eq!(network.logged(), ["180 2", "200 3"]);
    network.send(CALLER, &request("ACK", "z9hG4bK2", ";tag=b1"));
    network.settle();
    assert_eq!(network.logged(), ["ACK 4"]);
    assert_eq!(count(&mut network, 1), "SIP/2.0 200 1");
    network.send(CALLER, &request("BYE", "z9hG4bK3", ";tag=b1"));
    network.settle();
    assert_eq!(count(&mut network, 2), "SIP/2.0 200 0");
}
