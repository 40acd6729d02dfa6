//! What the server tells the outside world: to curl, to a WebSocket of Node.js, to receivers written in Python.
//!
//! Always `ser`, whatever is under test.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use crate::harness::{Endpoint, Plan, Process, Scratch, Subject, Wire, free_port, program_file, repository_file};

const PATIENCE: Duration = Duration::from_secs(20);
const SECRET: &str = "a-secret-that-nobody-guesses";

struct Observed {
    subject: Subject,
    http: SocketAddr,
}

impl Observed {
    fn start(options: &[String]) -> Observed {
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(Ipv4Addr::LOCALHOST.into())));
        let plan = Plan::script("tests/it/control/observed.cfg").option(format!("--http={http}"));
        let plan = options.iter().fold(plan, |plan, option| plan.option(option.clone()));
        Observed { subject: Subject::start_ser(&plan), http }
    }

    fn phone(&self) -> Endpoint {
        Endpoint::new(self.subject.address(Wire::Udp4))
    }

    /// A client that has begun to listen.
    fn curl(&self, query: &str) -> Process {
        let url = format!("http://localhost:{}/events{query}", self.http.port());
        let client = Process::start("curl", Command::new("curl").args(["-sN", &url]));
        client.wait_for_line(": listening", PATIENCE);
        client
    }

    /// A call that is answered and ended, between two phones.
    fn call(&self, id: &str) {
        let (caller, callee) = (self.phone(), self.phone());
        let bob = format!("sip:bob@{}", callee.own());
        caller.request(&format!("INVITE {bob}"), id, "1", "", &format!("Contact: <sip:a@{}>\r\n", caller.own()));
        caller.expect("SIP/2.0 100 ");
        callee.answer(&callee.expect("INVITE "), "200 OK");
        caller.expect("SIP/2.0 200 ");
        caller.request(&format!("ACK {bob}"), id, "1", ";tag=b", "");
        callee.expect("ACK ");
        caller.request(&format!("BYE {bob}"), id, "2", ";tag=b", "");
        callee.answer(&callee.expect("BYE "), "200 OK");
        caller.expect("SIP/2.0 200 ");
    }

    fn serctl(&self, words: &[&str]) -> String {
        let mut command = Command::new(program_file("serctl"));
        command.args(["--data-dir", "."]).args(words).current_dir(self.subject.scratch().path());
        let output = command.output().expect("serctl can be started");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{words:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }
}

fn wait_for(process: &Process, text: &str) {
    if !process.wait_until(PATIENCE, || process.count_lines(text) > 0) {
        process.fail(&format!("did not say {text:?}"));
    }
}

/// The port that a receiver prints.
fn port(receiver: &Process) -> u16 {
    receiver.wait_for_line("port ", PATIENCE);
    let log = receiver.log();
    let port = log.lines().find_map(|line| line.strip_prefix("port ")).and_then(|port| port.parse().ok());
    port.unwrap_or_else(|| receiver.fail("said no port"))
}

fn python(name: &str, arguments: &[&str]) -> Process {
    let file = repository_file(&format!("tests/peers/{name}.py"));
    Process::start(name, Command::new("python3").arg(file).args(arguments))
}

#[test]
fn curl_hears_of_calls_registrations_messages_refusals_bans_and_reloads() {
    let server = Observed::start(&[]);
    let listener = server.curl("");
    server.call("sse-call");
    for event in ["call.start", "call.answer", "call.end"] {
        wait_for(&listener, &format!("event: {event}"));
    }
    wait_for(&listener, r#""call_id":"sse-call""#);

    let phone = server.phone();
    phone.register_bob();
    wait_for(&listener, r#""event":"registration.save""#);
    let remove = format!("Contact: <sip:bob@{}>\r\nExpires: 0\r\n", phone.own());
    phone.request(&format!("REGISTER sip:{}", phone.server()), "register", "2", "", &remove);
    phone.expect("SIP/2.0 200 ");
    wait_for(&listener, r#""event":"registration.remove""#);

    phone.request(&format!("MESSAGE sip:nobody@{}", phone.server()), "message", "1", "", "");
    phone.expect("SIP/2.0 404 ");
    wait_for(&listener, r#""event":"message""#);
    wait_for(&listener, r#""event":"reject""#);
    phone.request(&format!("INVITE sip:nobody@{}", phone.server()), "failed", "1", "", "");
    phone.expect("SIP/2.0 404 ");
    wait_for(&listener, r#""event":"call.fail""#);

    for n in 0..12 {
        phone.request(&format!("OPTIONS sip:flood@{}", phone.server()), &format!("flood-{n}"), "1", "", "");
        phone.expect("SIP/2.0 200 ");
    }
    wait_for(&listener, r#""event":"ban""#);
    assert_eq!(listener.count_lines(r#""event":"ban""#), 1, "a ban is news once");
    server.serctl(&["core.reload"]);
    wait_for(&listener, r#""event":"reload""#);
    server.subject.process().signal("TERM");
    wait_for(&listener, r#""event":"drain""#);
}

#[test]
fn a_listener_hears_only_what_it_asked_for_and_is_told_what_it_cannot_ask_for() {
    let server = Observed::start(&[]);
    let ends = server.curl("?events=call.end&user=bob");
    let nobody = server.curl("?user=carol");
    server.call("filtered");
    wait_for(&ends, r#""event":"call.end""#);
    assert_eq!((ends.count_lines("event: "), nobody.count_lines("event: ")), (1, 0));
    let consumers = server.serctl(&["events.consumers"]);
    assert!(consumers.contains("call.end") && consumers.lines().count() == 3, "{consumers}");

    let url = format!("http://localhost:{}/events?events=calls", server.http.port());
    let refused = Command::new("curl").args(["-s", &url]).output().expect("curl is installed");
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(said.contains("there are no events `calls`; there are call.start, "), "{said}");
}

#[test]
fn node_hears_events_over_a_websocket() {
    let server = Observed::start(&[]);
    let url = format!("ws://localhost:{}/events?events=call.*", server.http.port());
    let client =
        Process::start("node", Command::new("node").arg(repository_file("tests/peers/event_socket.mjs")).arg(url));
    client.wait_for_line("open", PATIENCE);
    server.call("over-websocket");
    client.wait_for_line(r#"{"id":1,"event":"call.start","time":"#, PATIENCE);
    wait_for(&client, r#""event":"call.end""#);
    client.stop();
    let is_gone = || server.serctl(&["--json", "events.consumers"]).trim() == "[]";
    assert!(server.subject.process().wait_until(PATIENCE, is_gone), "a client that has gone still counts");
}

#[test]
fn a_webhook_is_signed_and_comes_again_until_it_is_taken() {
    let receiver = python("webhook_receiver", &[SECRET]);
    let scratch = Scratch::new();
    let secret = scratch.file("secret");
    fs::write(&secret, format!("{SECRET}\n")).expect("the directory is writable");
    let server = Observed::start(&[
        format!("--webhook=http://127.0.0.1:{}/ser", port(&receiver)),
        format!("--webhook-secret-file={}", secret.display()),
        "--webhook-events=events=call.*".to_owned(),
    ]);
    server.call("hooked");
    for line in ["call.start signed 503", "call.start signed 204", "call.answer signed 204", "call.end signed 204"] {
        wait_for(&receiver, line);
    }
    let counted = server.serctl(&["stats.get_statistics", "webhook:"]);
    assert!(counted.contains("webhook:retried = 1"), "{counted}");
    let delivered = || server.serctl(&["stats.get_statistics", "webhook:delivered"]).contains("= 3");
    assert!(server.subject.process().wait_until(PATIENCE, delivered));
    // Neither the command line nor the list of consumers shows the secret.
    assert!(!server.serctl(&["events.consumers"]).contains(SECRET) && !server.serctl(&["core.arg"]).contains(SECRET));
    assert!(!server.subject.process().log().contains(SECRET));
}

/// A receiver that takes connections and never answers, and a stream that nobody reads.
#[test]
fn listeners_that_stall_hold_up_no_call() {
    let stalled = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let hook = stalled.local_addr().expect("a bound socket has an address");
    let server = Observed::start(&[format!("--webhook=http://{hook}/"), format!("--otlp=http://{hook}/v1/traces")]);
    let mut unread = TcpStream::connect(server.http).expect("HTTP listens");
    std::io::Write::write_all(&mut unread, b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("HTTP takes it");
    let begin = std::time::Instant::now();
    (0..50).for_each(|n| server.call(&format!("stalled-{n}")));
    // What would hold them up would hold them up for seconds each.
    assert!(begin.elapsed() < PATIENCE, "50 calls took {:?}", begin.elapsed());
    assert!(server.serctl(&["events.consumers"]).contains(&format!("webhook http://{hook}/")));
}

#[test]
fn each_request_is_a_span_of_its_calls_trace() {
    let collector = python("trace_collector", &[]);
    let server = Observed::start(&[format!("--otlp=http://127.0.0.1:{}/v1/traces", port(&collector))]);
    server.call("traced");
    wait_for(&collector, "ser INVITE 200 ");
    wait_for(&collector, "ser BYE 200 ");
    let log = collector.log();
    let trace =
        |method: &str| log.lines().find(|line| line.contains(method)).and_then(|line| line.split(' ').next_back());
    assert_eq!(trace("INVITE"), trace("BYE"), "{log}");
    let counted = || server.serctl(&["stats.get_statistics", "traces:spans_exported"]).contains("= 2");
    assert!(server.subject.process().wait_until(PATIENCE, counted));
}

#[test]
fn bad_listeners_are_told_what_is_wrong_or_cut_off_and_their_places_given_back() {
    let server = Observed::start(&[]);
    let ask = |head: &str| {
        let mut stream = TcpStream::connect(server.http).expect("HTTP listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("the timeout is not zero");
        let request = format!("GET {head}\r\nHost: localhost\r\n\r\n");
        std::io::Write::write_all(&mut stream, request.as_bytes()).expect("HTTP takes it");
        stream
    };
    let first_line = |mut stream: TcpStream| {
        let mut start = [0; 40];
        let length = std::io::Read::read(&mut stream, &mut start).expect("an answer");
        String::from_utf8_lossy(&start[..length]).lines().next().unwrap_or_default().to_owned()
    };
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let old = format!("/events HTTP/1.1\r\n{upgrade}\r\nSec-WebSocket-Version: 8");
    assert_eq!(first_line(ask(&old)), "HTTP/1.1 426 Upgrade Required");
    assert_eq!(first_line(ask("/events?address=x HTTP/1.1")), "HTTP/1.1 400 Bad Request");
    assert_eq!(first_line(ask("/events HTTP/1.1\r\nOrigin: http://evil.example")), "HTTP/1.1 403 Forbidden");

    // A frame without mask, and one that is longer than anybody may say, end the connection (RFC 6455 section 5.1).
    for frame in [&[0x81, 0x01, b'x'][..], &[0x81, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4]] {
        let mut stream = ask(&format!("/events HTTP/1.1\r\n{upgrade}\r\nSec-WebSocket-Version: 13"));
        let mut heard = [0; 4096];
        assert!(std::io::Read::read(&mut stream, &mut heard).is_ok_and(|length| length > 0));
        std::io::Write::write_all(&mut stream, frame).expect("it is sent");
        while std::io::Read::read(&mut stream, &mut heard).is_ok_and(|length| length > 0) {}
    }
    // As many as one address may hold; the next is told, and once they are gone there is room again.
    let listeners: Vec<TcpStream> = (0..32).map(|_| ask("/events HTTP/1.1")).collect();
    let is_full = || first_line(ask("/metrics HTTP/1.1")) == "HTTP/1.1 429 Too Many Requests";
    assert!(server.subject.process().wait_until(PATIENCE, is_full));
    server.call("while-full");
    drop(listeners);
    let is_free = || first_line(ask("/metrics HTTP/1.1")) == "HTTP/1.1 200 OK";
    assert!(server.subject.process().wait_until(Duration::from_secs(40), is_free));
}
