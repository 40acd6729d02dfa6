//! What a worker keeps of the messages that it has seen.
#![allow(missing_docs)]

use engine::{Record, Settings, What};
use testkit::{Network, StaticNames, Weather, answer, request};

const CALLER: &str = "198.51.100.1:5070";
const CALLEE: &str = "203.0.113.1:5080";
const SCRIPT: &str = "#!KAMAILIO\nloadmodule \"tm.so\"\nloadmodule \"sl.so\"\nloadmodule \"textops.so\"\n\
    request_route {\n    if (is_method(\"OPTIONS\")) {\n        sl_send_reply(\"404\", \"No\");\n        exit;\n    }\n    t_relay();\n}\n";

fn network(capture_bytes: usize) -> Network {
    let settings = Settings { capture_bytes, ..Settings::default() };
    Network::with(SCRIPT, settings, StaticNames::default(), Weather::default())
}

/// `number<cause in|out source>destination: first line`
fn told(records: &[Record]) -> Vec<String> {
    let one = |record: &Record| match &record.what {
        What::Message { cause, sighting } => {
            let direction = if sighting.is_sent { "out" } else { "in" };
            let text = String::from_utf8_lossy(&sighting.bytes).into_owned();
            let line =
                text.split(" SIP/2.0\r").next().unwrap_or_default().lines().next().unwrap_or_default().to_owned();
            Some(format!("{direction} {cause} {}>{} {line}", sighting.source, sighting.destination))
        }
        What::Run { .. } => None,
    };
    records.iter().filter_map(one).collect()
}

#[test]
fn each_message_is_kept_with_its_way_and_the_message_that_caused_it() {
    let mut network = network(100_000);
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.settle();
    let relayed = network.received_one(CALLEE);
    network.send(CALLEE, &answer(&relayed, "200 OK"));
    network.settle();
    let records = network.captured();
    let uri = relayed.split(' ').nth(1).expect("a request line").to_owned();
    assert_eq!(
        told(&records),
        [
            format!("in 0 {CALLER}>192.0.2.1:5060 MESSAGE {uri}"),
            format!("out {} 192.0.2.1:5060>{CALLEE} MESSAGE {uri}", records[0].number),
            format!("in 0 {CALLEE}>192.0.2.1:5060 SIP/2.0 200 OK"),
            format!("out {} 192.0.2.1:5060>{CALLER} SIP/2.0 200 OK", records[3].number),
        ]
    );
    assert!(records.iter().all(|record| record.call == records[0].call));
}

#[test]
fn a_message_leads_to_the_steps_of_the_script_that_it_caused() {
    let mut network = network(100_000);
    network.send(CALLER, &request("OPTIONS", "z9hG4bK1", ""));
    network.settle();
    let records = network.captured();
    let runs: Vec<_> = records
        .iter()
        .filter_map(|record| match &record.what {
            What::Run { cause, steps } => Some((*cause, steps.route(), steps.lines())),
            What::Message { .. } => None,
        })
        .collect();
    let [(cause, route, lines)] = &runs[..] else { panic!("{runs:?}") };
    assert_eq!((*cause, route.as_str()), (records[0].number, "request_route"));
    let lines = lines.join("\n");
    for expected in [":6  if (is_method(\"OPTIONS\"))", "is_method returned 1", ":7  sl_send_reply(\"404\", \"No\")"] {
        assert!(lines.contains(expected), "{expected} is not in\n{lines}");
    }
    assert!(!lines.contains("t_relay"), "{lines}");
}

#[test]
fn what_a_timer_sends_has_no_cause() {
    let mut network = network(100_000);
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.advance(std::time::Duration::from_millis(600));
    let told = told(&network.captured());
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[2].starts_with("out 0 "), "{told:?}");
}

#[test]
fn what_is_sent_after_a_wait_names_the_message_that_waited() {
    let mut names = StaticNames::default();
    names.host("pool.example.net", &["203.0.113.1"]);
    let settings = Settings { capture_bytes: 100_000, ..Settings::default() };
    let mut network = Network::with(SCRIPT, settings, names, Weather::default());
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", "").replacen("203.0.113.1:5080", "pool.example.net:5080", 1));
    network.settle();
    network.received_one(CALLEE);
    let records = network.captured();
    let told = told(&records);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].starts_with(&format!("out {} ", records[0].number)), "{told:?}");
}

#[test]
fn a_script_that_is_reloaded_again_and_again_takes_no_more_memory() {
    let mut network = network(1_000_000);
    let mut scripts = Vec::new();
    for number in 0..10 {
        let (script, _) = testkit::compile(SCRIPT).expect("it is right");
        scripts.push(std::sync::Arc::downgrade(&script));
        network.shared().program.store(script);
        network.send(CALLER, &request("OPTIONS", &format!("z9hG4bK{number}"), ""));
        network.settle();
    }
    assert!(scripts.iter().filter(|script| script.strong_count() > 0).count() <= 5);
    let runs: Vec<_> = network
        .captured()
        .into_iter()
        .filter_map(|record| match record.what {
            What::Run { steps, .. } => Some(steps.lines().join("\n")),
            What::Message { .. } => None,
        })
        .collect();
    assert_eq!(runs.len(), 10);
    assert!(runs[0].contains("its text is gone") && runs[9].contains("sl_send_reply"), "{runs:?}");
}

#[test]
fn nothing_is_kept_unless_asked_for() {
    let mut network = network(0);
    network.send(CALLER, &request("OPTIONS", "z9hG4bK1", ""));
    network.settle();
    assert!(network.captured().is_empty());
}
