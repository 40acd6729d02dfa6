//! What is measured, as Prometheus reads it; and that the dashboard shows nothing that is not measured.
//!
//! Always `ser`, whatever is under test.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

use crate::harness::{Endpoint, Plan, Subject, Wire, free_port, program_file, repository_file};

struct Measured {
    subject: Subject,
    http: SocketAddr,
}

impl Measured {
    fn start() -> Measured {
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(Ipv4Addr::LOCALHOST.into())));
        let plan = Plan::script("tests/it/control/observed.cfg").option(format!("--http={http}"));
        Measured { subject: Subject::start_ser(&plan.on(Wire::Tcp4)), http }
    }

    fn metrics(&self, accept: &str) -> String {
        let url = format!("http://localhost:{}/metrics", self.http.port());
        let output = Command::new("curl").args(["-sf", "-H", &format!("Accept: {accept}"), &url]).output();
        let output = output.expect("curl is installed");
        assert!(output.status.success(), "{url}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The value of a series, as it is written.
    fn value(&self, series: &str) -> Option<f64> {
        let metrics = self.metrics("*/*");
        metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    /// One call that succeeds, one that is refused, one registration that succeeds and one that does not.
    fn live(&self) {
        let phone = || Endpoint::new(self.subject.address(Wire::Udp4));
        // The refused caller says no ACK and so may hear its refusal again; it listens to nothing else.
        let (caller, refused, callee) = (phone(), phone(), phone());
        let bob = format!("sip:bob@{}", callee.own());
        for (caller, id, status) in [(&caller, "one", "200 OK"), (&refused, "two", "486 Busy Here")] {
            caller.request(&format!("INVITE {bob}"), id, "1", "", &format!("Contact: <sip:a@{}>\r\n", caller.own()));
            caller.expect("SIP/2.0 100 ");
            let invite = callee.expect("INVITE ");
            callee.answer(&invite, "180 Ringing");
            caller.expect("SIP/2.0 180 ");
            callee.answer(&invite, status);
            caller.expect(&format!("SIP/2.0 {}", &status[..3]));
            if id == "one" {
                caller.request(&format!("ACK {bob}"), id, "1", ";tag=b", "");
            }
            callee.expect("ACK ");
        }
        caller.request(&format!("BYE {bob}"), "one", "2", ";tag=b", "");
        callee.answer(&callee.expect("BYE "), "200 OK");
        caller.expect("SIP/2.0 200 ");
        callee.register_bob();
        let bad = "Contact: *\r\nExpires: 60\r\n";
        callee.request(&format!("REGISTER sip:{}", callee.server()), "bad", "1", "", bad);
        callee.expect("SIP/2.0 400 ");
    }
}

#[test]
fn the_measures_of_rfc_6076_are_those_of_the_calls_that_were_made() {
    let server = Measured::start();
    server.live();
    for (series, expected) in [
        ("ser_rfc6076_sessions_total", 2.0),
        ("ser_rfc6076_session_establishment_ratio", 0.5),
        ("ser_rfc6076_session_establishment_effectiveness_ratio", 1.0),
        ("ser_rfc6076_ineffective_session_attempts_ratio", 0.0),
        ("ser_rfc6076_session_completion_ratio", 0.5),
        ("ser_rfc6076_ineffective_registration_attempts_ratio", 0.5),
        ("ser_rfc6076_session_request_delay_seconds_count", 2.0),
        ("ser_rfc6076_session_disconnect_delay_seconds_count", 1.0),
        ("ser_rfc6076_session_duration_seconds_count", 1.0),
        ("ser_rfc6076_registration_request_delay_seconds_count", 1.0),
        ("ser_core_answer_seconds_count{method=\"invite\"}", 2.0),
        ("ser_core_forward_seconds_count{method=\"bye\"}", 1.0),
        ("ser_core_script_seconds_count{method=\"invite\"}", 2.0),
        ("ser_core_active_calls", 0.0),
        ("ser_registrar_accepted_regs_total", 1.0),
        ("ser_registrar_rejected_regs_total", 1.0),
        ("ser_usrloc_location_contacts", 1.0),
    ] {
        assert_eq!(server.value(series), Some(expected), "{series}");
    }
    let binding = server.value("ser_usrloc_location_binding_bytes").expect("it is shown");
    assert!((64.0..4096.0).contains(&binding), "a binding of {binding} bytes");
}

#[test]
fn prometheus_and_openmetrics_parsers_read_every_figure() {
    let server = Measured::start();
    server.live();
    let page = server.metrics("text/plain");
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut checker = promtool.spawn().expect("promtool is installed");
    checker.stdin.take().expect("it is piped").write_all(page.as_bytes()).expect("it reads");
    let output = checker.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*said), (Some(0), ""), "{page}");

    let open = server.metrics("application/openmetrics-text; version=1.0.0");
    let file = server.subject.scratch().file("open");
    fs::write(&file, open).expect("the directory is writable");
    let check = "from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
        import sys; families = list(parse(open(sys.argv[1]).read()))\n\
        print(sum(family.type == 'histogram' for family in families) >= 8)";
    let python = repository_file("tests/peers/.venv/bin/python3");
    let output = Command::new(python).args(["-c", check]).arg(&file).output().expect("the peers are installed");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "True\n");
}

#[test]
fn the_dashboard_shows_nothing_that_is_not_measured() {
    let server = Measured::start();
    server.live();
    let metrics = server.metrics("*/*");
    let families: BTreeSet<&str> =
        metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let text = fs::read_to_string(repository_file("contrib/grafana/ser.json")).expect("the dashboard is there");
    let dashboard: serde_json::Value = serde_json::from_str(&text).expect("the dashboard is JSON");
    let mut shown = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("it has panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().expect("each target has an expression");
            let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            shown.extend(words.filter(|word| word.starts_with("ser_")).map(str::to_owned));
        }
    }
    assert!(shown.len() > 20, "{shown:?}");
    let is_measured = |name: &&String| {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        families.contains(name.as_str()) || family.is_some_and(|family| families.contains(family))
    };
    let missing: Vec<_> = shown.iter().filter(|name| !is_measured(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_peers_that_send_most_are_listed() {
    let server = Measured::start();
    server.live();
    let mut command = Command::new(program_file("serctl"));
    command.args(["--data-dir", ".", "--json", "core.top"]).current_dir(server.subject.scratch().path());
    let output = command.output().expect("serctl can be started");
    let top: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let peer = &top["peers"][0];
    assert_eq!((&peer["address"], &peer["failures"]), (&"127.0.0.1".into(), &1.into()), "{top}");
    assert!(peer["requests"].as_i64().is_some_and(|count| count >= 7), "{top}");
    let name = |latency: &serde_json::Value| latency["name"].as_str().map(str::to_owned);
    let names: BTreeSet<String> = top["latencies"].as_array().into_iter().flatten().filter_map(name).collect();
    assert!(
        names.contains("core:script_seconds") && names.contains("rfc6076:session_request_delay_seconds"),
        "{names:?}"
    );
}
