//! The server under test: started on free ports, awaited, stopped.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::certificate::CertificateFiles;
use super::port::free_port;
use super::process::Process;
use super::program::{Program, Run};
use super::scratch::Scratch;
use super::wire::Wire;

/// A server that has not answered after this time will not.
const START: Duration = Duration::from_secs(20);
/// Wait for one answer before asking again.
const ANSWER: Duration = Duration::from_millis(50);
/// Starts on new ports after another process took one of ours.
const ATTEMPTS: u32 = 5;

/// What to run, and where it shall be reachable.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) setup: Setup,
    pub(crate) wires: Vec<Wire>,
    pub(crate) defines: Vec<String>,
    pub(crate) users: Vec<(&'static str, &'static str)>,
    /// Further options of `ser`.
    pub(crate) options: Vec<String>,
}

/// Which configuration the server runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Setup {
    /// The one embedded in `ser`.
    BuiltIn,
    /// A script, named from the root of the repository.
    Script(String),
}

impl Plan {
    /// The built-in set-up with its users, over UDP.
    pub(crate) fn built_in(users: &[(&'static str, &'static str)]) -> Plan {
        Plan {
            setup: Setup::BuiltIn,
            wires: vec![Wire::Udp4],
            defines: Vec::new(),
            users: users.to_vec(),
            options: Vec::new(),
        }
    }

    /// A script of the repository, over UDP.
    pub(crate) fn script(file: &str) -> Plan {
        Plan {
            setup: Setup::Script(file.to_owned()),
            wires: vec![Wire::Udp4],
            defines: Vec::new(),
            users: Vec::new(),
            options: Vec::new(),
        }
    }

    /// Listens on `wire` too.
    pub(crate) fn on(mut self, wire: Wire) -> Plan {
        if !self.wires.contains(&wire) {
            self.wires.push(wire);
        }
        self
    }

    /// Gives `ser` an option.
    pub(crate) fn option(mut self, option: impl Into<String>) -> Plan {
        self.options.push(option.into());
        self
    }

    /// Defines a name for the script's preprocessor: `NAME` or `NAME=text`.
    pub(crate) fn define(mut self, define: impl Into<String>) -> Plan {
        self.defines.push(define.into());
        self
    }
}

/// A running server; stopped when dropped.
pub(crate) struct Subject {
    process: Process,
    program: Program,
    plan: Plan,
    listeners: Vec<(Wire, SocketAddr)>,
    tls: CertificateFiles,
    scratch: Scratch,
}

impl Subject {
    /// Starts the program that `SIP_TEST_SUBJECT` names.
    pub(crate) fn start(plan: &Plan) -> Subject {
        Subject::start_program(Program::under_test(), plan)
    }

    /// Starts `ser` whatever is under test, for scripts that only it can read.
    pub(crate) fn start_ser(plan: &Plan) -> Subject {
        Subject::start_program(Program::Ser, plan)
    }

    /// Starts Kamailio whatever is under test, for chains of servers.
    pub(crate) fn start_kamailio(plan: &Plan) -> Subject {
        Subject::start_program(Program::Kamailio, plan)
    }

    fn start_program(program: Program, plan: &Plan) -> Subject {
        for _ in 0..ATTEMPTS {
            if let Some(subject) = Subject::attempt(program, plan) {
                return subject;
            }
        }
        panic!("{program:?} found its ports in use {ATTEMPTS} times")
    }

    /// `None` when another process took one of the ports first.
    fn attempt(program: Program, plan: &Plan) -> Option<Subject> {
        let scratch = Scratch::new();
        let tls = CertificateFiles::create(scratch.path(), &["127.0.0.1", "localhost", super::program::DOMAIN]);
        let listeners: Vec<_> =
            plan.wires.iter().map(|&wire| (wire, SocketAddr::new(wire.ip(), free_port(wire.ip())))).collect();
        let run = Run { plan, listeners: &listeners, directory: scratch.path(), tls: &tls };
        program.add_users(&run);
        let process = Process::start(&format!("{program:?}"), &mut program.command(&run));
        let subject = Subject { process, program, plan: plan.clone(), listeners, tls, scratch };
        if answers_options(&subject.process, subject.address(Wire::Udp4)) {
            return Some(subject);
        }
        if subject.process.log().to_ascii_lowercase().contains("in use") {
            return None;
        }
        subject.process.fail("did not answer OPTIONS")
    }

    /// Ends the server as a power cut would, and starts it again with the same addresses and data.
    pub(crate) fn suffer_a_power_cut(&mut self) {
        self.process.kill();
        let directory = self.scratch.path();
        let run = Run { plan: &self.plan, listeners: &self.listeners, directory, tls: &self.tls };
        self.process = Process::start(&format!("{:?} again", self.program), &mut self.program.command(&run));
        if !answers_options(&self.process, self.address(Wire::Udp4)) {
            self.process.fail("did not answer OPTIONS after the power cut");
        }
    }

    /// Where the server listens on `wire`.
    pub(crate) fn address(&self, wire: Wire) -> SocketAddr {
        let found = self.listeners.iter().find(|(listener, _)| *listener == wire);
        found.unwrap_or_else(|| panic!("the plan has no listener for {wire:?}")).1
    }

    /// Certificate of the server's TLS listener, for peers to trust.
    pub(crate) fn certificate(&self) -> &std::path::Path {
        &self.tls.certificate
    }

    /// The server's process.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Directory of this run, for the files of its peers.
    pub(crate) fn scratch(&self) -> &Scratch {
        &self.scratch
    }
}

/// Asks until any SIP response comes back; false when the process ends or `START` passes.
fn answers_options(process: &Process, server: SocketAddr) -> bool {
    let socket = UdpSocket::bind((server.ip(), 0)).expect("loopback has a free UDP port");
    socket.set_read_timeout(Some(ANSWER)).expect("the timeout is not zero");
    let own = socket.local_addr().expect("a bound socket has an address");
    let deadline = Instant::now() + START;
    let mut answer = [0; 2048];
    for attempt in 0u32.. {
        let request = format!(
            "OPTIONS sip:{server} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {own};branch=z9hG4bK-ready-{attempt}\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:test@{own}>;tag=ready\r\n\
             To: <sip:{server}>\r\n\
             Call-ID: ready-{attempt}@{own}\r\n\
             CSeq: 1 OPTIONS\r\n\
             Content-Length: 0\r\n\r\n"
        );
        // A refused datagram only says that the server does not listen yet.
        let _ = socket.send_to(request.as_bytes(), server);
        if matches!(socket.recv(&mut answer), Ok(length) if answer[..length].starts_with(b"SIP/2.0 ")) {
            return true;
        }
        if process.has_ended() || Instant::now() >= deadline {
            return false;
        }
    }
    false
}
