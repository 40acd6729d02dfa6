//! Copies of messages for a collector: Kamailio's sipcapture takes them, and one that is not there delays nobody.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

use crate::harness::{
    Endpoint, Plan, Process, Scratch, Subject, Wire, free_port, lines, program_file, repository_file,
};

const PATIENCE: Duration = Duration::from_secs(20);

fn tracing(collector: &str) -> Plan {
    Plan::script("tests/it/control/siptrace.cfg").define(format!("COLLECTOR=\"sip:{collector}\""))
}

fn status(subject: &Subject, words: &[&str]) -> serde_json::Value {
    let mut serctl = Command::new(program_file("serctl"));
    serctl.arg("--data-dir").arg(subject.scratch().path()).args(["--json", "siptrace.status"]).args(words);
    let output = serctl.output().expect("serctl can be started");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

fn ask(phone: &Endpoint, method: &str, call: &str) -> String {
    phone.request(&format!("{method} sip:bob@{}", phone.server()), call, "1", "", "");
    phone.receive().unwrap_or_else(|| panic!("silence instead of an answer to {method} {call}"))
}

/// What a table of SQLite holds, a line for each row.
fn sqlite(file: &str, statement: &str) -> String {
    let program = "import sqlite3,sys\nbase=sqlite3.connect(sys.argv[1])\n\
                   for row in base.executescript(sys.argv[2]) if sys.argv[2].count(';') else base.execute(sys.argv[2]):\n  \
                   print(*row)\nbase.commit()";
    let output = Command::new("python3").args(["-c", program, file, statement]).output().expect("python3 is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The columns that sipcapture of Kamailio 5.6 fills.
const COLUMNS: &str = "date, micro_ts, method, reply_reason, ruri, from_user, from_domain, from_tag, to_user, to_domain, \
    to_tag, ruri_user, ruri_domain, pid_user, contact_user, auth_user, callid, callid_aleg, via_1, via_1_branch, cseq, \
    diversion, reason, content_type, auth, user_agent, source_ip, source_port, destination_ip, destination_port, \
    contact_ip, contact_port, originator_ip, originator_port, correlation_id, custom_field1, custom_field2, \
    custom_field3, proto, family, rtp_stat, type, node, msg";

struct Collector {
    kamailio: Process,
    address: SocketAddr,
    file: String,
    _scratch: Scratch,
}

fn collector() -> Collector {
    let scratch = Scratch::new();
    let file = scratch.file("hep.db").to_string_lossy().into_owned();
    let tables = format!(
        "create table version (table_name, table_version); insert into version values ('sip_capture', 4); \
         create table sip_capture ({COLUMNS});"
    );
    sqlite(&file, &tables);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(Ipv4Addr::LOCALHOST.into())));
    let mut kamailio = Command::new("/usr/sbin/kamailio");
    kamailio.arg("-f").arg(repository_file("tests/it/kamailio/collector.cfg"));
    kamailio.args(["-DD", "-E", "-m", "64", "-n", "1", "-l", &format!("udp:{address}")]);
    kamailio.args(["-A", &format!("DATABASE=\"sqlite:///{file}\"")]);
    kamailio.arg("-w").arg(scratch.path()).arg("-Y").arg(scratch.path()).arg("-P").arg(scratch.file("pid"));
    let kamailio = Process::start("Kamailio", &mut kamailio);
    // Its socket is open then, and keeps what comes before it reads.
    let is_open = || kamailio.count_lines("SO_RCVBUF is finally") > 0;
    assert!(kamailio.wait_until(PATIENCE, is_open), "{}", kamailio.log());
    Collector { kamailio, address, file, _scratch: scratch }
}

impl Collector {
    fn has_captured(&self, lines: usize) {
        let has_come = || self.kamailio.count_lines("captured") >= lines;
        assert!(self.kamailio.wait_until(PATIENCE, has_come), "{}", self.kamailio.log());
    }

    fn rows(&self, columns: &str) -> Vec<String> {
        let rows = sqlite(&self.file, &format!("select {columns} from sip_capture order by micro_ts, rowid"));
        rows.lines().map(str::to_owned).collect()
    }
}

#[test]
fn kamailio_reads_what_the_script_has_traced() {
    let collector = collector();
    let to = collector.address;
    let subject = Subject::start_ser(&tracing(&to.to_string()));
    let server = subject.address(Wire::Udp4);
    let (phone, bob) = (Endpoint::new(server), Endpoint::new(server));
    assert!(ask(&phone, "MESSAGE", "single").starts_with("SIP/2.0 404"));
    collector.has_captured(1);
    let columns = "method, callid, correlation_id, node, source_port, destination_ip, destination_port";
    let expected = format!("MESSAGE single of single homer01:234 {} 127.0.0.1 {}", phone.own().port(), server.port());
    assert_eq!(collector.rows(columns), [expected]);

    phone.request(&format!("INVITE sip:bob@{}", bob.own()), "whole", "1", "", "");
    let invite = bob.expect("INVITE ");
    bob.answer(&invite, "486 Busy Here");
    phone.expect("SIP/2.0 100");
    let refusal = phone.expect("SIP/2.0 486");
    let copied = ["Via", "From", "To", "Call-ID"].map(|name| lines(&refusal, name)).concat();
    phone.send(&format!("ACK sip:bob@{} SIP/2.0\r\n{copied}CSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n", bob.own()));
    collector.has_captured(8);
    let mut rows = collector.rows("method, source_port, destination_port");
    let (phone, bob, server) = (phone.own().port(), bob.own().port(), server.port());
    let mut expected = vec![
        format!("MESSAGE {phone} {server}"),
        format!("INVITE {phone} {server}"),
        format!("100 {server} {phone}"),
        format!("INVITE {server} {bob}"),
        format!("486 {bob} {server}"),
        format!("ACK {server} {bob}"),
        format!("486 {server} {phone}"),
        format!("ACK {phone} {server}"),
    ];
    // On a busy machine one may be repeated.
    rows.sort();
    rows.dedup();
    expected.sort();
    assert_eq!(rows, expected);
}

#[test]
fn with_trace_mode_everything_is_traced_until_it_is_switched_off() {
    let collector = collector();
    let to = collector.address;
    let subject = Subject::start_ser(&tracing(&to.to_string()).define("ALL"));
    let phone = Endpoint::new(subject.address(Wire::Udp4));
    let seen = || status(&subject, &["check"])["Sent"].as_i64().unwrap_or_default();
    // The harness has asked as well until the server was there, and what leaves is traced after it has left.
    assert!(subject.process().wait_until(PATIENCE, || seen() > 0 && seen() % 3 == 0), "{}", seen());
    let before = seen();
    // Three: what comes, what the script logs, what leaves.
    ask(&phone, "OPTIONS", "one");
    assert!(subject.process().wait_until(PATIENCE, || seen() == before + 3), "{before} {}", seen());
    collector.has_captured(2);
    assert!(collector.rows("callid, method").contains(&"one 200".to_owned()));
    assert_eq!(status(&subject, &["off"])["Status"], "Disabled");
    ask(&phone, "OPTIONS", "two");
    assert_eq!(status(&subject, &["on"])["Status"], "Enabled");
    ask(&phone, "OPTIONS", "three");
    assert!(subject.process().wait_until(PATIENCE, || seen() == before + 6), "{before} {}", seen());
    assert!(collector.rows("callid").iter().all(|call| call != "two"));
}

#[test]
fn a_collector_whose_name_leads_nowhere_delays_nobody_and_is_told_once() {
    check_absent("collector.invalid:9060");
}

#[test]
fn a_collector_that_is_gone_delays_nobody_and_is_told_once() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        listener.local_addr().expect("it is bound").port()
    };
    check_absent(&format!("127.0.0.1:{port};transport=tcp"));
}

fn check_absent(place: &str) {
    let subject = Subject::start_ser(&tracing(place));
    let phone = Endpoint::new(subject.address(Wire::Udp4));
    // The harness has asked as well until the server was there.
    let dropped = || status(&subject, &[])["Dropped"].as_i64().unwrap_or_default();
    assert!(subject.process().wait_until(PATIENCE, || dropped() > 0), "{}", subject.process().log());
    let before = dropped();
    for call in 0..200 {
        assert!(ask(&phone, "MESSAGE", &call.to_string()).starts_with("SIP/2.0 404"));
    }
    assert!(subject.process().wait_until(PATIENCE, || dropped() >= before + 200), "{before} {}", dropped());
    assert_eq!(subject.process().count_lines("siptrace: collector"), 1, "{}", subject.process().log());
}

/// The columns of Kamailio, in a table that Kamailio's own `siptrace` finds fit.
#[test]
fn what_is_traced_is_stored_in_a_table_as_kamailio_has_it() {
    let scratch = Scratch::new();
    let file = scratch.file("trace.db").to_string_lossy().into_owned();
    sqlite(
        &file,
        &std::fs::read_to_string("/usr/share/kamailio/db_sqlite/standard-create.sql").expect("Kamailio is there"),
    );
    sqlite(
        &file,
        &std::fs::read_to_string("/usr/share/kamailio/db_sqlite/siptrace-create.sql").expect("Kamailio is there"),
    );
    let script = scratch.file("ser.cfg");
    let text = format!(
        "#!KAMAILIO\nloadmodule \"sl.so\"\nloadmodule \"siptrace.so\"\nmodparam(\"siptrace\", \"trace_on\", 1)\n\
         modparam(\"siptrace\", \"trace_to_database\", 1)\nmodparam(\"siptrace\", \"trace_mode\", 2)\n\
         modparam(\"siptrace\", \"db_url\", \"sqlite:///{file}\")\nrequest_route {{ sl_send_reply(\"200\", \"OK\"); }}\n"
    );
    std::fs::write(&script, text).expect("the directory is writable");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(Ipv4Addr::LOCALHOST.into())));
    let mut command = Command::new(crate::harness::program_file("ser"));
    command.arg("--data-dir").arg(scratch.path()).arg("-f").arg(&script).args(["-l", &format!("udp:{address}")]);
    let server = Process::start("ser", &mut command);
    server.wait_for_line("ser 0.", PATIENCE);
    let phone = Endpoint::new(address);
    phone.request(&format!("OPTIONS sip:{address}"), "stored", "1", "", "");
    phone.expect("SIP/2.0 200 ");
    let rows =
        || sqlite(&file, "select direction, method, status, callid, fromip, toip, fromtag from sip_trace order by id");
    assert!(server.wait_until(PATIENCE, || rows().lines().count() == 2), "{}\n{}", rows(), server.log());
    let (own, there) = (format!("udp:{}", phone.own()), format!("udp:{address}"));
    assert_eq!(rows(), format!("in OPTIONS  stored {own} {there} c\nout OPTIONS 200 stored {there} {own} c\n"));
    assert!(sqlite(&file, "select msg from sip_trace order by id").starts_with("OPTIONS sip:"));
}
