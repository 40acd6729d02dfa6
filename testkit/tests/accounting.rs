//! Which transactions are accounted, and how often.
#![allow(missing_docs)]

use std::time::Duration;

use testkit::{Network, answer, request};

const CALLER: &str = "198.51.100.1:5070";
const CALLEE: &str = "203.0.113.1:5080";

/// Flag 1 accounts, 2 accounts failures, 3 accounts missed calls. The flags are set behind t_relay() on purpose.
const SCRIPT: &str = r#"#!KAMAILIO
loadmodule "tm.so"
loadmodule "tmx.so"
loadmodule "sl.so"
loadmodule "textops.so"
loadmodule "acc.so"
modparam("acc", "log_flag", 1)
modparam("acc", "failed_transaction_flag", 2)
modparam("acc", "log_missed_flag", 3)
modparam("acc", "log_extra", "user=$rU;note=$avp(note)")
request_route {
    if (is_method("CANCEL")) { t_relay(); exit; }
    if ($hdr(Subject) == "refuse") { setflag(1); setflag(2); t_newtran(); t_reply("403", "Not Today"); exit; }
    $avp(note) = "kept";
    t_on_failure("ELSEWHERE");
    t_relay();
    if (is_method("INVITE")) { setflag(1); setflag(2); setflag(3); }
}
failure_route[ELSEWHERE] {
    if (t_check_status("408")) { $rU = "voicemail"; t_relay(); }
}
"#;

fn accounted(network: &mut Network) -> Vec<String> {
    network.logged().into_iter().filter(|line| line.starts_with("ACC: ")).collect()
}

fn with_call(script: &str) -> (Network, String) {
    let mut network =
        Network::new(&script.replace("loadmodule \"acc.so\"", "loadmodule \"textops.so\"\nloadmodule \"acc.so\""));
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    let invite = network.received_one(CALLEE);
    assert_eq!(accounted(&mut network), Vec::<String>::new());
    (network, invite)
}

#[test]
fn an_answered_call_is_accounted_once_however_often_its_200_comes() {
    let (mut network, invite) = with_call(SCRIPT);
    network.send(CALLEE, &answer(&invite, "180 Ringing"));
    network.settle();
    assert_eq!(accounted(&mut network), Vec::<String>::new());
    for _ in 0..3 {
        network.send(CALLEE, &answer(&invite, "200 OK"));
        network.settle();
    }
    let lines = accounted(&mut network);
    let expected = "ACC: transaction answered: timestamp=1767225600;method=INVITE;from_tag=a1;to_tag=b1;\
                    call_id=c1@198.51.100.1;code=200;reason=OK;user=bob;note=kept";
    assert_eq!(lines, [expected]);
    network.advance(Duration::from_secs(60));
    assert_eq!(accounted(&mut network), Vec::<String>::new());
}

#[test]
fn a_call_that_nobody_takes_is_missed_and_then_accounted_as_what_became_of_it() {
    let (mut network, invite) = with_call(SCRIPT);
    network.send(CALLEE, &answer(&invite, "486 Busy Here"));
    network.settle();
    let lines = accounted(&mut network);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].starts_with("ACC: call missed: ") && lines[0].contains("code=486;reason=Busy Here"),
        "{}",
        lines[0]
    );
    assert!(lines[1].starts_with("ACC: transaction answered: ") && lines[1].contains("code=486"), "{}", lines[1]);
}

#[test]
fn a_call_that_voicemail_takes_was_missed_by_its_callee() {
    let (mut network, _) = with_call(SCRIPT);
    network.advance(Duration::from_secs(40));
    let lines = accounted(&mut network);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("ACC: call missed: ") && lines[0].contains("code=408"), "{}", lines[0]);
    let invites = network.received(CALLEE);
    let second = invites.iter().map(testkit::Arrived::text).find(|text| text.starts_with("INVITE sip:voicemail@"));
    network.send(CALLEE, &answer(&second.expect("it was sent on"), "200 OK"));
    network.settle();
    let lines = accounted(&mut network);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("code=200") && lines[0].contains(";user=voicemail;"), "{}", lines[0]);
}

#[test]
fn a_refusal_of_the_script_is_accounted_with_the_flags_of_the_moment() {
    let mut network = Network::new(SCRIPT);
    network.send(CALLER, &testkit::with_line(&request("INVITE", "z9hG4bK1", ""), "Subject: refuse"));
    network.settle();
    let lines = accounted(&mut network);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("code=403;reason=Not Today;user=bob;"), "{}", lines[0]);
    let to_tag = network.start_lines(CALLER);
    assert_eq!(to_tag, ["SIP/2.0 403 Not Today"]);
}

#[test]
fn a_cancelled_call_is_accounted_as_cancelled_and_its_cancel_is_not() {
    let (mut network, invite) = with_call(SCRIPT);
    network.send(CALLEE, &answer(&invite, "180 Ringing"));
    network.settle();
    network.send(CALLER, &request("CANCEL", "z9hG4bK1", ""));
    network.settle();
    network.send(CALLEE, &answer(&invite, "487 Request Terminated"));
    network.settle();
    let lines = accounted(&mut network);
    assert!(lines.iter().all(|line| line.contains("method=INVITE") && line.contains("code=487")), "{lines:?}");
    assert_eq!(lines.len(), 2, "{lines:?}");
}

#[test]
fn acks_are_accounted_where_they_have_the_flag() {
    let script = "#!KAMAILIO\nloadmodule \"tm.so\"\nloadmodule \"acc.so\"\nmodparam(\"acc\", \"log_flag\", 1)\nmodparam(\"acc\", \"report_ack\", 1)\n\
                  route { setflag(1); t_relay(); }\n";
    let mut network = Network::new(script);
    network.send(CALLER, &request("ACK", "z9hG4bK2", ";tag=b1"));
    network.settle();
    let lines = accounted(&mut network);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("ACC: request acknowledged: timestamp=1767225600;method=ACK;"), "{}", lines[0]);
}

// The script waits behind its relay, for a database or as here for time, and holds flags and attributes meanwhile.
#[test]
fn a_call_that_is_answered_while_its_script_waits_is_accounted_with_its_attributes() {
    let script = SCRIPT.replace("loadmodule \"tmx.so\"", "loadmodule \"tmx.so\"\nloadmodule \"async.so\"").replace(
        "    t_relay();\n    if (is_method(\"INVITE\")) { setflag(1); setflag(2); setflag(3); }\n",
        "    setflag(1);\n    t_relay();\n    async_ms_sleep(1000);\n    $avp(note) = \"later\";\n",
    );
    let (mut network, invite) = with_call(&script);
    network.send(CALLEE, &answer(&invite, "200 OK"));
    network.settle();
    let lines = accounted(&mut network);
    assert!(lines.len() == 1 && lines[0].contains("note=kept"), "{lines:?}");
    network.advance(Duration::from_secs(2));
    assert_eq!(accounted(&mut network), Vec::<String>::new());
}
