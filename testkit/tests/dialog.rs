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
