//! The ways to ask the running server: FIFO, JSON-RPC, binrpc, HTTP, `serctl`, and what bad clients do to them.
//!
//! Always `ser`, whatever is under test. The clients are those of others: shell, Python, Node.js, `kamcmd`, `promtool`.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::harness::{Endpoint, Plan, Process, Subject, Wire, free_port, program_file, repository_file};

const PATIENCE: Duration = Duration::from_secs(20);

/// A place of its own to listen at: tests run beside each other.
fn listen() -> String {
    format!("udp:127.0.0.1:{}", free_port(Ipv4Addr::LOCALHOST.into()))
}

/// A server with every way in, its files in its scratch directory.
struct Operated {
    subject: Subject,
    http: SocketAddr,
}

impl Operated {
    fn start() -> Operated {
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(Ipv4Addr::LOCALHOST.into())));
        let plan = Plan::script("tests/it/control/operated.cfg").option(format!("--http={http}"));
        Operated { subject: Subject::start_ser(&plan), http }
    }

    fn directory(&self) -> &Path {
        self.subject.scratch().path()
    }

    fn run(&self, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.directory());
        command.output().unwrap_or_else(|why| panic!("{command:?}: {why}; `make test` installs what tests need"))
    }

    /// What a program prints, which must succeed.
    fn said(&self, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> String {
        let output = self.run(program, arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    fn fifo(&self, words: &[&str]) -> String {
        let client = repository_file("tests/peers/fifo_client.sh");
        self.said(client, &[&["ser_fifo", "."], words].concat())
    }

    fn kamcmd(&self, words: &[&str]) -> String {
        self.said("kamcmd", &[&["-s", "unixs:kamailio_ctl"], words].concat())
    }

    fn serctl(&self, words: &[&str]) -> Output {
        self.run(program_file("serctl"), &[&["--data-dir", "."], words].concat())
    }

    /// Sends a request as it is written and reads until the server closes.
    fn http(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.http).expect("HTTP listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("the timeout is not zero");
        stream.write_all(request.as_bytes()).expect("HTTP takes a request");
        let mut answer = Vec::new();
        // A server that refuses early may reset what was still on its way.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn post(&self, headers: &str, body: &str) -> String {
        let length = body.len();
        self.http(&format!(
            "POST /RPC HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        ))
    }

    fn answers_sip(&self) {
        let phone = Endpoint::new(self.subject.address(Wire::Udp4));
        let begin = Instant::now();
        phone.request(&format!("OPTIONS sip:{}", phone.server()), "still-there", "1", "", "");
        phone.expect("SIP/2.0 200 ");
        assert!(begin.elapsed() < Duration::from_secs(1), "SIP was held up for {:?}", begin.elapsed());
    }
}

const JSON: &str = "Content-Type: application/json\r\n";
const UPTIME: &str = r#"{"jsonrpc": "2.0", "method": "core.uptime", "id": 1}"#;

#[test]
fn a_shell_script_of_sers_users_works_over_the_fifo() {
    let server = Operated::start();
    assert_eq!(server.fifo(&["ul_add", "location", "alice", "sip:alice@192.0.2.7", "0", "0.5"]), "200 OK\n");
    let shown = server.fifo(&["ul_show_contact", "location", "alice"]);
    assert_eq!(shown, "200 OK\n<sip:alice@192.0.2.7>;q=0.50;expires=permanent\n");
    assert!(server.fifo(&["uptime"]).starts_with("200 OK\nNow: "));
    assert!(server.fifo(&["ps"]).contains("\tworker 0\n"));
    assert!(server.fifo(&["which"]).contains("\nul_show_contact\n"));
    assert_eq!(server.fifo(&["ul_rm", "location", "alice"]), "200 OK\n");
    assert_eq!(server.fifo(&["ul_show_contact", "location", "alice"]), "404 AOR not found in location table\n");
    assert_eq!(
        server.fifo(&["ul_shaw_contact"]),
        "404 no command is called `ul_shaw_contact`; did you mean `ul_show_contact`?\n"
    );
}

/// What SER's serctl did to send a message: a request in the FIFO, with header lines and a body.
#[test]
fn a_message_is_sent_from_the_fifo_and_its_answer_is_the_reply() {
    let server = Operated::start();
    let phone = Endpoint::new(server.subject.address(Wire::Udp4));
    let uri = format!("sip:bob@{}", phone.own());
    let words =
        ["MESSAGE", &uri, ".", "From: <sip:me@example.com>", "Content-Type: text/plain", ".", "hello", "", "bob", "."];
    let client = Process::start(
        "client",
        Command::new(repository_file("tests/peers/fifo_client.sh"))
            .args(["ser_fifo", ".", "t_uac_dlg"])
            .args(words)
            .current_dir(server.directory()),
    );
    let message = phone.expect("MESSAGE ");
    assert!(
        message.contains("From: <sip:me@example.com>;tag=") && message.ends_with("\r\n\r\nhello\r\n\r\nbob"),
        "{message}"
    );
    phone.answer(&message, "486 Busy Here");
    client.wait_for_line("486 Busy Here", PATIENCE);
}

#[test]
fn clients_that_die_or_lie_do_not_hold_up_the_fifo() {
    let server = Operated::start();
    // Gone only when all is read: a request that lies in the pipe behind half of another belongs to that one.
    let write = |text: &str| {
        let fifo = fs::OpenOptions::new().write(true).open(server.directory().join("ser_fifo"));
        let mut fifo = fifo.expect("the FIFO is there");
        fifo.write_all(text.as_bytes()).expect("the FIFO takes requests");
        let is_read = || rustix::io::ioctl_fionread(&fifo).is_ok_and(|unread| unread == 0);
        assert!(server.subject.process().wait_until(PATIENCE, is_read), "the server does not read its FIFO");
    };
    // Nobody reads the reply; the reply would go elsewhere; the request is not ended; it has no end of line.
    assert!(Command::new("mkfifo").arg(server.directory().join("unread")).status().is_ok_and(|s| s.success()));
    (0..10).for_each(|_| write(":which:unread\n\n"));
    write(":which:../outside\n\n");
    fs::write(server.directory().join("file"), "kept").expect("the directory is writable");
    write(":which:file\n\n");
    write(":ul_add:half\nlocation\n");
    assert!(server.fifo(&["uptime"]).starts_with("200 OK\nNow: "));
    write(":ul_add:half\nlocat");
    assert!(server.fifo(&["uptime"]).starts_with("200 OK\nNow: "));
    write(&"x".repeat(100_000));
    write("\n");
    assert!(server.fifo(&["uptime"]).starts_with("200 OK\nNow: "));
    assert_eq!(server.subject.scratch().read("file"), "kept");
    server.answers_sip();
}

#[test]
fn kamcmd_speaks_to_it() {
    let server = Operated::start();
    assert!(server.kamcmd(&["core.uptime"]).contains("\tuptime: "));
    server.kamcmd(&["ul.add", "location", "alice", "sip:alice@192.0.2.7", "3600", "0.5"]);
    let dump = server.kamcmd(&["ul.dump"]);
    assert!(dump.contains("AoR: alice") && dump.contains("Address: sip:alice@192.0.2.7"), "{dump}");
    assert!(dump.contains("Q: 0.500000"), "{dump}");
    let lookup = server.run("kamcmd", &["-s", "unixs:kamailio_ctl", "ul.lookup", "location", "bob"]);
    let said = String::from_utf8_lossy(&lookup.stdout).into_owned() + &String::from_utf8_lossy(&lookup.stderr);
    assert_eq!(said, "error: 404 - AOR not found in location table\n");
    assert!(server.kamcmd(&["system.listMethods"]).lines().any(|line| line == "stats.get_statistics"));
}

#[test]
fn python_and_node_clients_call_over_json_rpc() {
    let server = Operated::start();
    let python = |words: &[&str]| {
        let client = repository_file("tests/peers/json_rpc.py").to_string_lossy().into_owned();
        server.said("python3", &[&[&*client, "."], words].concat())
    };
    let url = format!("http://{}/RPC", server.http);
    let node = |words: &[&str]| {
        let client = repository_file("tests/peers/json_rpc.mjs").to_string_lossy().into_owned();
        server.said("node", &[&[&*client, &*url, "control.sock"], words].concat())
    };
    assert_eq!(python(&["core.echo", "a", "b"]), "[\"a\", \"b\"]\n".repeat(2));
    assert_eq!(python(&["ul.lookup", "location", "bob"]), "error 404 AOR not found in location table\n".repeat(2));
    assert_eq!(node(&["core.echo", "a", "b"]), "[\"a\",\"b\"]\n".repeat(2));
    let unknown = "error -32601 Method Not Found: no command is called `core.ekho`; did you mean `core.echo`?\n";
    assert_eq!(node(&["core.ekho"]), unknown.repeat(2));
}

#[test]
fn http_lets_in_whom_it_should_and_says_why_it_does_not() {
    let server = Operated::start();
    let check = |answer: String, status: &str, text: &str| {
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(text), "{answer}");
    };
    check(server.post(JSON, UPTIME), "200", r#""result":{"now":"#);
    check(server.post("", UPTIME), "415", "send the header `Content-Type: application/json`");
    check(server.post(&format!("{JSON}Origin: http://evil.example\r\n"), UPTIME), "403", "pages of other sites");
    let renamed = "GET /metrics HTTP/1.1\r\nHost: rebound.example\r\nConnection: close\r\n\r\n";
    check(server.http(renamed), "403", "call it by the name localhost");
    check(server.post(JSON, &" ".repeat(70_000)), "413", "65536 bytes at most");
    check(server.post(JSON, "{"), "200", r#""code":-32700"#);
    check(server.http("GET /RPC HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"), "405", "POST");
    check(server.http("GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"), "404", "/metrics");
    check(server.http("GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"), "200", "ready");
    let call = r#"{"table": "location", "aor": "bob"}"#;
    let request = format!(
        "POST /commands/ul.lookup HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{JSON}Content-Length: {}\r\n\r\n{call}",
        call.len()
    );
    check(server.http(&request), "404", r#"{"code":404,"message":"AOR not found in location table"}"#);
}

#[test]
fn with_a_token_nobody_without_it_is_let_in() {
    let scratch = crate::harness::Scratch::new();
    let token = scratch.file("token");
    fs::write(&token, "a-token-that-nobody-guesses\n").expect("the directory is writable");
    let http = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(Ipv4Addr::LOCALHOST.into())));
    let plan = Plan::script("tests/it/control/operated.cfg")
        .option(format!("--http={http}"))
        .option(format!("--http-token-file={}", token.display()));
    let server = Operated { subject: Subject::start_ser(&plan), http };
    let with = |token: &str| server.post(&format!("{JSON}Authorization: Bearer {token}\r\n"), UPTIME);
    assert!(server.post(JSON, UPTIME).starts_with("HTTP/1.1 401 "));
    assert!(with("a-token-that-nobody-guesse").starts_with("HTTP/1.1 401 "));
    assert!(with("a-token-that-nobody-guesses").starts_with("HTTP/1.1 200 "));
}

#[test]
fn http_that_others_could_reach_needs_a_token() {
    let scratch = crate::harness::Scratch::new();
    let mut command = Command::new(program_file("ser"));
    command.arg("--data-dir").arg(scratch.path()).args(["-l", "udp:127.0.0.1:0", "--http", "0.0.0.0:0"]);
    let server = Process::start("ser", &mut command);
    let exit = server.wait_for_exit(PATIENCE);
    if exit.code() != Some(1) || !server.log().contains("others could control the server; give a token") {
        server.fail(&format!("did not refuse: {exit}"));
    }
}

#[test]
fn a_thousand_clients_at_once_hold_up_neither_sip_nor_each_other_for_long() {
    let server = Operated::start();
    let memory = |server: &Operated| {
        let output = server.serctl(&["--json", "core.shmmem"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let used = said.lines().find_map(|line| line.trim().strip_prefix("\"used\": ")).map(|n| n.trim_matches(','));
        used.and_then(|n| n.parse::<u64>().ok()).unwrap_or_else(|| panic!("{said}"))
    };
    let before = memory(&server);
    let mut command = Command::new("python3");
    command.arg(repository_file("tests/peers/crowd.py")).arg(server.http.port().to_string());
    command.arg(server.directory().join("control.sock")).arg("904");
    let crowd = Process::start("crowd", &mut command);
    crowd.wait_for_line("crowd", PATIENCE);
    server.answers_sip();
    // 64 are served on the socket and 32 of one address over HTTP; the others have been told.
    crowd.tell("count");
    crowd.wait_for_line("turned away 904", PATIENCE);
    crowd.wait_for_exit(PATIENCE);
    let is_served = || server.serctl(&["core.uptime"]).status.success();
    assert!(server.subject.process().wait_until(PATIENCE, is_served), "nobody is served after the crowd has gone");
    let grown = memory(&server).saturating_sub(before);
    assert!(grown < 16 << 20, "memory grew by {grown} bytes");
}

/// Over the control socket, as it is written; what comes back until the server closes.
fn over_the_socket(server: &Operated, request: &[u8]) -> String {
    let mut stream =
        std::os::unix::net::UnixStream::connect(server.directory().join("control.sock")).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("the timeout is not zero");
    // A server that refuses early may close before all is written.
    let _ = stream.write_all(request).and_then(|()| stream.shutdown(std::net::Shutdown::Write));
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn each_bad_request_on_the_control_socket_gets_an_error_that_says_what_is_wrong() {
    let server = Operated::start();
    let check = |request: &[u8], error: &str| {
        let answer = over_the_socket(&server, request);
        assert!(answer.contains(error), "{}: {answer}", String::from_utf8_lossy(&request[..request.len().min(60)]));
    };
    let call = |method: &str, params: &str| {
        format!(r#"{{"jsonrpc": "2.0", "id": 1, "method": "{method}", "params": {params}}}"#)
    };
    check(call("core.uptyme", "[]").as_bytes(), "did you mean `core.uptime`?");
    check(call("ul.lookup", "[]").as_bytes(), "argument `table` is missing; usage: ul.lookup TABLE AOR");
    check(call("ul.lookup", r#"["location", "a", "b", "c"]"#).as_bytes(), "too many arguments (4)");
    check(call("corex.debug", r#"["loud"]"#).as_bytes(), "`loud` is not an integer");
    check(call("core.echo", "7").as_bytes(), "-32");
    check(b"{\"jsonrpc\": \"2.0\",", "-32700");
    check(b"\x16\x03\x01\x02\x00\x01\xff\xfe", "-32700");
    check("[".repeat(20_000).as_bytes(), "\"error\"");
    check(call("core.echo", &format!("[\"{}\"]", "x".repeat(70_000))).as_bytes(), "65536 bytes");
    server.answers_sip();
}

#[test]
fn another_user_of_the_machine_is_not_let_in_on_the_control_socket() {
    let server = Operated::start();
    if fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own)).expect("there is a /proc") != 0 {
        // Only root can call as another one.
        return;
    }
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(server.directory(), open).expect("the directory is ours");
    let serctl = server.directory().join("serctl");
    fs::copy(program_file("serctl"), &serctl).expect("the directory is writable");
    let socket = server.directory().join("control.sock").display().to_string();
    let serctl = serctl.display().to_string();
    let words = ["--reuid=nobody", "--clear-groups", &serctl, "--socket", &socket, "core.uptime"];
    let output = server.run("setpriv", &words);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("is not open to you"), "{said}");
}

#[test]
fn prometheus_finds_nothing_wrong_with_the_metrics() {
    let server = Operated::start();
    server.answers_sip();
    let answer = server.http("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let (head, metrics) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    assert!(!metrics.contains("ser_core_rcv_requests_total 0\n") && metrics.contains("ser_core_rcv_requests_total "));
    fs::write(server.directory().join("metrics"), metrics).expect("the directory is writable");
    let said = server.said("sh", &["-c", "promtool check metrics <metrics 2>&1"]);
    assert_eq!(said, "");
}

#[test]
fn serctl_shows_the_running_server_and_says_what_to_do_without_one() {
    let server = Operated::start();
    let said = |words: &[&str]| {
        let output = server.serctl(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    said(&["ul", "add", "alice", "sip:alice@192.0.2.7"]);
    assert_eq!(
        said(&["ul", "show"]),
        "user   contact              received  q  expires in s  user agent\n\
         alice  sip:alice@192.0.2.7               permanent     SER control\n"
    );
    assert_eq!(said(&["online"]), "user\nalice\n");
    assert!(said(&["core.version"]).starts_with("ser "));
    said(&["ul", "rm", "alice"]);
    assert_eq!(said(&["cfg.set", "core", "debug", "3"]), "");
    assert_eq!(said(&["cfg.get", "core", "debug"]), "3\n");
    let refused = server.serctl(&["cfg.set", "core", "children", "3"]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("is read at start"), "{why}");

    assert_eq!(said(&["stop"]), "the server has stopped\n");
    let output = server.serctl(&["core.uptime"]);
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && why.contains("start one with `serctl start`"), "{why}");
    assert!(!server.directory().join("ser_fifo").exists(), "the FIFO is left behind");
}

#[test]
fn serctl_starts_stops_and_restarts_a_server() {
    let scratch = crate::harness::Scratch::new();
    let serctl = |words: &[&str]| {
        let mut command = Command::new(program_file("serctl"));
        let output = command.arg("--data-dir").arg(scratch.path()).args(words).output().expect("serctl can be started");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), said + &String::from_utf8_lossy(&output.stderr))
    };
    assert_eq!(serctl(&["start", "-l", &listen()]), (true, "the server runs\n".to_owned()));
    let (is_started, why) = serctl(&["start"]);
    assert!(!is_started && why.contains("`serctl restart` starts it anew"), "{why}");
    let pid = || serctl(&["--json", "core.info"]).1.lines().find(|line| line.contains("\"pid\"")).map(str::to_owned);
    let before = pid();
    assert_eq!(serctl(&["restart"]), (true, "the server has stopped\nthe server runs\n".to_owned()));
    let after = pid();
    assert!(before.is_some() && after.is_some() && before != after, "{before:?} {after:?}");
    let progress =
        "the new program would start; the running one finishes what is open\nthe new program has taken over\n";
    assert_eq!(serctl(&["upgrade"]), (true, progress.to_owned()));
    assert_eq!(pid(), after, "it is the same process");
    let (_, figures) = serctl(&["stats", "core:"]);
    assert!(figures.contains("core:rcv_requests = 0"), "{figures}");
    assert!(serctl(&["ps"]).1.contains("worker 0"));
    assert_eq!(serctl(&["stop"]), (true, "the server has stopped\n".to_owned()));
}

/// `systemd-analyze verify` demands that what the unit starts is there.
#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let scratch = crate::harness::Scratch::new();
    let unit = fs::read_to_string(repository_file("contrib/systemd/ser.service")).expect("the unit is there");
    let program = program_file("ser").to_string_lossy().into_owned();
    let file = scratch.file("ser.service");
    fs::write(&file, unit.replace("/usr/bin/ser", &program)).expect("the directory is writable");
    let output = Command::new("systemd-analyze").arg("verify").arg(&file).output().expect("systemd is installed");
    // It reads the other units of the machine as well.
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let of_ours: Vec<&str> = said.lines().filter(|line| line.contains("/ser.service")).collect();
    assert_eq!((output.status.code(), of_ours), (Some(0), Vec::new()));
}

/// The service manager is told when the sockets are open, and that the workers turn.
#[test]
fn a_service_manager_is_told_that_the_server_is_ready_and_lives() {
    let scratch = crate::harness::Scratch::new();
    let path = scratch.file("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).expect("the directory is writable");
    manager.set_read_timeout(Some(PATIENCE)).expect("the timeout is not zero");
    let mut command = Command::new(program_file("ser"));
    command.arg("--data-dir").arg(scratch.path()).args(["--workers", "1", "-l", &listen()]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    let server = Process::start("ser", &mut command);
    let told = || {
        let mut buffer = [0; 100];
        let length = manager.recv(&mut buffer).expect("the server says something");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    assert!(
        told().starts_with("FDSTORE=1\nFDPOLL=0\nFDNAME=udp-127.0.0.1_"),
        "its socket goes into the manager's care"
    );
    assert_eq!(told(), "READY=1\nSTATUS=serving\nWATCHDOG=1");
    assert_eq!((told(), told()), ("WATCHDOG=1".to_owned(), "WATCHDOG=1".to_owned()));
    server.signal("TERM");
    let last = std::iter::repeat_with(told).find(|text| text != "WATCHDOG=1");
    assert_eq!(last.as_deref(), Some("STOPPING=1\nSTATUS=draining"));
}

#[test]
fn the_description_of_the_http_side_knows_every_command_that_runs() {
    let server = Operated::start();
    let names = String::from_utf8_lossy(&server.serctl(&["which"]).stdout).into_owned();
    fs::write(server.directory().join("names"), names).expect("the directory is writable");
    let description = server.said(program_file("ser"), &["--print-openapi"]);
    fs::write(server.directory().join("openapi.json"), description).expect("the directory is writable");
    let check = "import json; d = json.load(open('openapi.json')); assert d['openapi'] == '3.1.0'\n\
        rpc = d['paths']['/RPC']['post']['requestBody']['content']['application/json']['schema']['anyOf'][0]\n\
        names = open('names').read().split(); assert len(names) > 50, names\n\
        print(sorted(set(names) - set(rpc['properties']['method']['enum'])))";
    assert_eq!(server.said("python3", &["-c", check]), "[]\n");
}
