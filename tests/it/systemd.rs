//! The package under a systemd of its own: booted in a clean root, which shares nothing with this machine but its network.
//!
//! Always `ser`, whatever is under test. What `contrib/systemd/ser.service` promises is seen here: the start, the
//! hardening, restarts that close no socket, the watchdog, and the upgrade of the package.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use crate::harness::{CertificateFiles, Endpoint, Process, Scratch, free_port};
use crate::package::{build_package, clean_root, run, said};

/// A machine with other work to do takes its time to boot another.
const PATIENCE: Duration = Duration::from_secs(60);
/// Waits, with sockets in systemd's care, for as long as a file is there; and is watched more closely than the package asks.
const DROP_IN: &str =
    "[Service]\nWatchdogSec=6\nExecStartPre=/bin/sh -c 'while test -e /var/lib/ser/hold; do sleep 0.1; done'\n";

/// A machine that systemd has booted, in namespaces.
struct Machine {
    container: Process,
    root: PathBuf,
    init: String,
    // Dropped last: the machine lives in it.
    _scratch: Scratch,
}

impl Machine {
    fn boot() -> Machine {
        let scratch = Scratch::new();
        let root = PathBuf::from(clean_root(&scratch));
        let name = scratch.path().file_name().expect("it has a name").display().to_string();
        let mut command = Command::new("systemd-nspawn");
        command.args(["--quiet", "--boot", "--register=no", "--keep-unit", "--timezone=off", "--resolv-conf=off"]);
        command.args(["--console=pipe", "--machine", &name, "-D"]).arg(&root);
        let container = Process::start("systemd-nspawn", &mut command);
        let mut init = String::new();
        let is_there = container.wait_until(PATIENCE, || {
            let children = Command::new("pgrep").arg("-P").arg(container.id().to_string()).output();
            init = children.map(|output| said(&output).trim().to_owned()).unwrap_or_default();
            !init.is_empty()
        });
        assert!(is_there, "{}", container.log());
        let machine = Machine { container, root, init, _scratch: scratch };
        machine.wait_for("the end of the boot", || {
            let state = said(&machine.run(&["systemctl", "is-system-running"]));
            ["running", "degraded"].contains(&state.trim())
        });
        machine
    }

    /// Runs a command in the machine.
    fn run(&self, words: &[&str]) -> Output {
        let namespaces =
            ["--target", &self.init, "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--root", "--wdns=/"];
        run("nsenter", &[&namespaces, words].concat())
    }

    /// Runs a command that must succeed, and gives what it says.
    fn said(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {}\n{}", said(&output), self.journal());
        said(&output).trim().to_owned()
    }

    fn shown(&self, property: &str) -> String {
        self.said(&["systemctl", "show", "--value", "--property", property, "ser"])
    }

    fn journal(&self) -> String {
        said(&self.run(&["journalctl", "--no-pager", "-u", "ser"]))
    }

    fn wait_for(&self, what: &str, condition: impl FnMut() -> bool) {
        if !self.container.wait_until(PATIENCE, condition) {
            self.container.fail(&format!("did not reach {what}\n{}", self.journal()));
        }
    }

    fn wait_until_serving(&self, not: &str) -> String {
        let mut serving = None;
        self.wait_for("a server that serves", || {
            // In one question: between two, a process may end and leave its last status behind.
            let all = self.said(&["systemctl", "show", "--property=ActiveState,MainPID,StatusText", "ser"]);
            let has = |line: &str| all.lines().any(|said| said == line);
            let process = all.lines().find_map(|line| line.strip_prefix("MainPID=")).unwrap_or_default();
            let is_new = !["0", "", not].contains(&process);
            serving = (is_new && has("ActiveState=active") && has("StatusText=serving")).then(|| process.to_owned());
            serving.is_some()
        });
        serving.expect("that was waited for")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().expect("it lies somewhere")).expect("the root is writable");
        fs::write(path, text).expect("the root is writable");
    }

    fn off(self) {
        self.said(&["systemctl", "poweroff"]);
        self.container.wait_for_exit(PATIENCE);
    }
}

/// Where the server listens.
struct Places {
    sip: SocketAddr,
    tls: SocketAddr,
    http: SocketAddr,
}

fn place() -> SocketAddr {
    ([127, 0, 0, 1], free_port([127, 0, 0, 1].into())).into()
}

fn check_register(places: &Places) {
    let port = places.sip.port().to_string();
    // The proxy goes first: sipsak looks up the name of the address as soon as it reads it.
    let to = ["-U", "-i", "-v", "-x", "60", "-k", "127.0.0.1", "-H", "127.0.0.1", "-p", "127.0.0.1", "-r", &port];
    let output = run("sipsak", &[&to[..], &["-s", "sip:alice@ser.test", "-u", "alice", "-a", "secret"]].concat());
    assert!(said(&output).contains("All usrloc tests completed successful"), "{}", said(&output));
}

fn check_tls(places: &Places, trusted: &str) {
    let place = places.tls.to_string();
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", "-crlf", "-verify_return_error", "-CAfile", trusted, "-connect", &place]);
    let client = Process::start("openssl", &mut command);
    let fields =
        "To: <sip:127.0.0.1>\nFrom: <sip:a@127.0.0.1>;tag=a\nCall-ID: by-tls\nCSeq: 1 OPTIONS\nMax-Forwards: 70";
    let via = "Via: SIP/2.0/TLS 127.0.0.1:5061;branch=z9hG4bK-by-tls";
    client.tell(&format!("OPTIONS sip:127.0.0.1:{} SIP/2.0\n{via}\n{fields}\nContent-Length: 0\n", places.tls.port()));
    client.wait_for_line("SIP/2.0 200 ", PATIENCE);
}

fn check_http(places: &Places) {
    let body = r#"{"jsonrpc": "2.0", "id": 1, "method": "core.uptime"}"#;
    let url = format!("http://{}/RPC", places.http);
    let output = run("curl", &["-sS", "-H", "Content-Type: application/json", "-d", body, &url]);
    assert!(said(&output).contains("uptime"), "{}", said(&output));
}

/// The kernel's number of a process in the machine.
fn outer_number(machine: &Machine, inner: &str) -> String {
    let processes = run("pgrep", &["--ns", &machine.init, "--nslist", "pid", "."]);
    let status = |pid: &str| fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let is_it = |pid: &&str| {
        let status = status(pid);
        let line = status.lines().find(|line| line.starts_with("NSpid:")).unwrap_or_default();
        line.split_whitespace().last() == Some(inner) && status.starts_with("Name:\tser\n")
    };
    let list = said(&processes);
    list.lines().find(is_it).unwrap_or_else(|| panic!("{inner} is none of {list}")).to_owned()
}

#[test]
fn under_systemd_the_package_serves_restarts_without_loss_is_watched_and_upgraded() {
    let machine = Machine::boot();
    let root = machine.root.display().to_string();
    let places = Places { sip: place(), tls: place(), http: place() };
    fs::create_dir_all(machine.root.join("etc/ser")).expect("the root is writable");
    let certificate = CertificateFiles::create(&machine.root.join("etc/ser"), &["127.0.0.1"]);
    let (sip, tls, http) = (places.sip, places.tls, places.http);
    machine.write(
        "etc/default/ser",
        &format!(
            "SER_OPTIONS=-l udp:{sip} -l tcp:{sip} -l tls:{tls} --http {http} --domain ser.test --workers 2 \
             --tls-cert /etc/ser/certificate.pem --tls-key /etc/ser/key.pem --tls-ca /etc/ser/certificate.pem\n"
        ),
    );
    machine.write("etc/systemd/system/ser.service.d/tests.conf", DROP_IN);
    fs::copy(build_package(machine.root.parent().expect("it lies somewhere")), machine.root.join("ser.deb"))
        .expect("the root is writable");

    // Installed it runs, as a user that exists only while it does.
    let install = ["dpkg", "--force-confold", "-i", "/ser.deb"];
    machine.said(&install);
    let first = machine.wait_until_serving("");
    assert_eq!(machine.said(&["systemctl", "is-enabled", "ser"]), "enabled");
    let status = fs::read_to_string(format!("/proc/{}/status", outer_number(&machine, &first))).expect("it runs");
    let value =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
    assert!(!value("Uid:").starts_with('0'), "{status}");
    // Filtered by seccomp, with no capability but that of binding to ports below 1024.
    assert_eq!(
        (value("Seccomp:"), value("CapBnd:"), value("NoNewPrivs:")),
        ("2".into(), "0000000000000400".into(), "1".into())
    );
    // Two sockets for datagrams, a listener each for TCP and TLS.
    assert_eq!(machine.shown("NFileDescriptorStore"), "4");

    // What the unit forbids is nothing that the server needs.
    machine.said(&["serctl", "--data-dir", "/var/lib/ser", "add", "alice@ser.test", "secret"]);
    check_register(&places);
    check_tls(&places, &certificate.certificate.display().to_string());
    check_http(&places);
    machine.said(&["systemctl", "reload", "ser"]);
    machine.wait_for("a reload", || machine.journal().contains("script and certificates are reloaded"));
    let entries = machine.said(&["journalctl", "-u", "ser", "-o", "json", "--output-fields=SER_SOURCE,PRIORITY"]);
    assert!(entries.contains(r#""SER_SOURCE":"core""#), "the journal has no fields: {entries}");

    // Between two processes: what arrives is answered by the second, and no connection is refused.
    let phone = Endpoint::new(sip);
    phone.set_patience(PATIENCE);
    machine.write("var/lib/private/ser/hold", "");
    machine.said(&["systemctl", "restart", "--no-block", "ser"]);
    machine.wait_for("the time between two processes", || machine.shown("SubState") == "start-pre");
    phone.request(&format!("OPTIONS sip:{sip}"), "between", "1", "", "");
    let connection = TcpStream::connect(sip).expect("a connection is not refused while nobody runs");
    let unanswered = TcpStream::connect(http);
    assert!(unanswered.is_err(), "HTTP belongs to the process");
    fs::remove_file(machine.root.join("var/lib/private/ser/hold")).expect("it is there");
    phone.expect("SIP/2.0 200 ");
    drop(connection);
    let second = machine.wait_until_serving(&first);
    assert_eq!(machine.shown("NFileDescriptorStore"), "4");
    check_register(&places);

    // A server that hangs is replaced.
    assert!(run("kill", &["-STOP", &outer_number(&machine, &second)]).status.success());
    let third = machine.wait_until_serving(&second);
    assert!(machine.journal().contains("Watchdog timeout"), "{}", machine.journal());
    assert_eq!(machine.shown("NRestarts"), "1");
    check_register(&places);

    // The package again, as an upgrade: another process, the same sockets and data.
    machine.said(&install);
    machine.wait_until_serving(&third);
    check_register(&places);
    check_tls(&places, &certificate.certificate.display().to_string());

    machine.said(&["dpkg", "--purge", "ser"]);
    assert!(TcpStream::connect(sip).is_err(), "it still runs");
    assert!(!machine.root.join("var/lib/private/ser").exists() && !machine.root.join("usr/bin/ser").exists(), "{root}");
    machine.off();
}
