//! SIPp, as caller and as callee, with the scenarios of `tests/sipp/`.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use super::port::free_port;
use super::process::Process;
use super::repository_file;
use super::scratch::Scratch;
use super::subject::Subject;
use super::wire::Wire;

/// SIPp's own limit; a call here takes at most a few seconds.
const CALL_SECONDS: &str = "20";
/// Limit of the process around it.
const PROCESS: Duration = Duration::from_secs(30);
/// SIPp's exit code when it cannot bind its port.
const CANNOT_BIND: i32 = 254;

/// SIPp that starts calls.
pub(crate) struct Caller {
    process: Process,
    scratch: Scratch,
}

/// SIPp that waits for one call at its own port.
pub(crate) struct Callee {
    process: Process,
    scratch: Scratch,
    contact: String,
}

/// What a caller does.
pub(crate) struct Script<'a> {
    scenario: &'a str,
    user: &'a str,
    /// Host part of the addresses; the server's own address unless set.
    domain: Option<String>,
    options: Vec<String>,
}

impl<'a> Script<'a> {
    /// A scenario, and the user in its request URI.
    pub(crate) fn new(scenario: &'a str, user: &'a str) -> Script<'a> {
        Script { scenario, user, domain: None, options: Vec::new() }
    }

    /// Sets the host part of the addresses.
    pub(crate) fn at(mut self, domain: impl ToString) -> Script<'a> {
        self.domain = Some(domain.to_string());
        self
    }

    /// Sets a keyword that the scenario names as `[keyword]`.
    pub(crate) fn key(mut self, keyword: &str, value: &str) -> Script<'a> {
        self.options.extend(["-key".into(), keyword.into(), value.into()]);
        self
    }

    /// Answers digest challenges with this name and password.
    pub(crate) fn credentials(mut self, user: &str, password: &str) -> Script<'a> {
        self.options.extend(["-au".into(), user.into(), "-ap".into(), password.into()]);
        self
    }
}

impl Caller {
    /// Starts one call of `script` to `server`.
    pub(crate) fn start(script: &Script<'_>, wire: Wire, server: SocketAddr) -> Caller {
        let scratch = Scratch::new();
        let mut command = sipp(script.scenario, wire, &scratch);
        let domain = script.domain.clone().unwrap_or_else(|| server.to_string());
        command.args(["-p", &free_port(wire.ip()).to_string(), "-s", script.user]);
        command.args(["-key", "domain", &domain]).args(&script.options);
        command.arg(server.to_string());
        let process = Process::start(&format!("SIPp caller {}", script.scenario), &mut command);
        Caller { process, scratch }
    }

    /// Starts the call and waits until it went as its scenario says.
    pub(crate) fn run(script: &Script<'_>, wire: Wire, server: SocketAddr) {
        loop {
            let caller = Caller::start(script, wire, server);
            let exit = caller.process.wait_for_exit(PROCESS);
            if exit.code() != Some(CANNOT_BIND) {
                return require_success(&caller.process, &caller.scratch, exit.code());
            }
        }
    }
}

impl Callee {
    /// Starts a callee for `user` at a port of its own.
    pub(crate) fn start(scenario: &str, user: &str, wire: Wire) -> Callee {
        loop {
            let scratch = Scratch::new();
            let address = SocketAddr::new(wire.ip(), free_port(wire.ip()));
            let mut command = sipp(scenario, wire, &scratch);
            command.args(["-p", &address.port().to_string()]);
            let process = Process::start(&format!("SIPp callee {scenario}"), &mut command);
            if process.wait_until(PROCESS, || is_bound(wire, address.port())) {
                let contact = format!("sip:{user}@{address};transport={}", wire.transport());
                return Callee { process, scratch, contact };
            }
            if process.wait_for_exit(PROCESS).code() != Some(CANNOT_BIND) {
                process.fail("ended before it listened");
            }
        }
    }

    /// Starts a callee and registers its address for `user` at the server, over the same transport.
    pub(crate) fn registered(scenario: &str, user: &str, wire: Wire, server: &Subject) -> Callee {
        let callee = Callee::start(scenario, user, wire);
        let script = Script::new("register.xml", user).key("contact", &callee.contact);
        Caller::run(&script, wire, server.address(wire));
        callee
    }

    /// Contact URI at which the callee listens.
    pub(crate) fn contact(&self) -> &str {
        &self.contact
    }

    /// Waits until the call went as its scenario says.
    pub(crate) fn succeeds(self) {
        let exit = self.process.wait_for_exit(PROCESS);
        require_success(&self.process, &self.scratch, exit.code());
    }
}

fn sipp(scenario: &str, wire: Wire, scratch: &Scratch) -> Command {
    let mut command = Command::new("sipp");
    command.arg("-sf").arg(repository_file("tests/sipp").join(scenario));
    command.args(["-i", &wire.ip().to_string(), "-bind_local", "-t"]);
    command.arg(match wire {
        Wire::Udp4 | Wire::Udp6 => "u1",
        Wire::Tcp4 | Wire::Tcp6 => "t1",
        Wire::Tls4 | Wire::Ws4 | Wire::Wss4 => panic!("Debian's SIPp speaks neither TLS nor WebSocket"),
    });
    command.args(["-m", "1", "-nostdin", "-timeout", CALL_SECONDS, "-timeout_error"]);
    command.args(["-cp", &free_port(wire.ip()).to_string()]);
    command.arg("-trace_msg").arg("-message_file").arg(scratch.file("messages.log"));
    command.arg("-trace_err").arg("-error_file").arg(scratch.file("errors.log"));
    command.current_dir(scratch.path());
    command
}

fn require_success(process: &Process, scratch: &Scratch, code: Option<i32>) {
    if code != Some(0) {
        let errors = scratch.read("errors.log");
        let messages = scratch.read("messages.log");
        process.fail(&format!("exit code {code:?}\n--- errors ---\n{errors}\n--- messages ---\n{messages}"));
    }
}

/// Whether some process waits at `port`, by the kernel's own tables (proc(5), `/proc/net/udp`).
fn is_bound(wire: Wire, port: u16) -> bool {
    // A TCP socket must listen (state 0A): the port may also be one end of a connection.
    let (table, state) = match wire {
        Wire::Udp4 => ("udp", "07"),
        Wire::Udp6 => ("udp6", "07"),
        Wire::Tcp4 | Wire::Tls4 | Wire::Ws4 | Wire::Wss4 => ("tcp", "0A"),
        Wire::Tcp6 => ("tcp6", "0A"),
    };
    let table = fs::read_to_string(format!("/proc/net/{table}")).expect("Linux has this table");
    let local = format!(":{port:04X}");
    table.lines().any(|line| {
        let columns: Vec<&str> = line.split_whitespace().take(4).collect();
        matches!(columns[..], [_, address, _, its] if its == state && address.ends_with(&local))
    })
}
