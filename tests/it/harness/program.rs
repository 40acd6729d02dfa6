//! Command lines of the server under test: the one place that knows how it is started.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::certificate::CertificateFiles;
use super::repository_file;
use super::subject::{Plan, Setup};
use super::wire::Wire;

/// Domain that the built-in set-up serves in tests.
pub(crate) const DOMAIN: &str = "ser.test";

/// Where Debian puts it.
const KAMAILIO: &str = "/usr/sbin/kamailio";

/// What stands where `ser` stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Program {
    Ser,
    Kamailio,
}

/// Where one run of the program listens and keeps its files.
pub(crate) struct Run<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) listeners: &'a [(Wire, SocketAddr)],
    pub(crate) directory: &'a Path,
    pub(crate) tls: &'a CertificateFiles,
}

impl Program {
    /// The program under test, as `SIP_TEST_SUBJECT` names it.
    pub(crate) fn under_test() -> Program {
        match env::var("SIP_TEST_SUBJECT").as_deref() {
            Ok("kamailio") => Program::Kamailio,
            Ok("ser" | "") | Err(_) => Program::Ser,
            Ok(other) => panic!("SIP_TEST_SUBJECT is {other:?}; it can be ser or kamailio"),
        }
    }

    /// Adds the users of the plan to the program's data, before its first start.
    pub(crate) fn add_users(self, run: &Run<'_>) {
        if self == Program::Ser {
            add_users(run);
        }
    }

    /// The command that starts the program in the foreground.
    pub(crate) fn command(self, run: &Run<'_>) -> Command {
        match self {
            Program::Ser => ser(run),
            Program::Kamailio => kamailio(run),
        }
    }
}

/// The command with which a program checks a script and ends.
pub(crate) fn check_command(program: Program, script: &Path) -> Command {
    let mut command = match program {
        Program::Ser => Command::new(program_file("ser")),
        Program::Kamailio => Command::new(KAMAILIO),
    };
    command.arg("-c").arg("-f").arg(script);
    command
}

/// A program of the workspace, built into the directory above this test's own.
pub(crate) fn program_file(name: &str) -> PathBuf {
    let this = env::current_exe().expect("a running program has a path");
    let directory = this.parent().and_then(Path::parent).expect("tests run from target/<profile>/deps");
    let path = directory.join(name);
    assert!(path.exists(), "{} is not built; `cargo build -p server` builds it", path.display());
    path
}

fn ser(run: &Run<'_>) -> Command {
    let mut command = Command::new(program_file("ser"));
    match &run.plan.setup {
        Setup::BuiltIn => {
            command.args(["--domain", DOMAIN]);
        }
        Setup::Script(file) => {
            command.arg("-f").arg(repository_file(file));
        }
    }
    command.arg("--data-dir").arg(run.directory).arg("-w").arg(run.directory).arg("-E");
    for (wire, address) in run.listeners {
        command.args(["-l", &format!("{}:{address}", wire.transport())]);
    }
    if run.listeners.iter().any(|(wire, _)| wire.is_secure()) {
        command.arg("--tls-cert").arg(&run.tls.certificate).arg("--tls-key").arg(&run.tls.key);
    }
    for define in &run.plan.defines {
        command.args(["-A", define]);
    }
    command.args(&run.plan.options);
    command
}

fn add_users(run: &Run<'_>) {
    for (user, password) in &run.plan.users {
        let database: PathBuf = run.directory.join("ser.db");
        let mut command = Command::new(program_file("serctl"));
        command.args(["add", &format!("{user}@{DOMAIN}"), password, "--db"]).arg(database);
        let output = command.output().expect("serctl can be started");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    }
}

fn kamailio(run: &Run<'_>) -> Command {
    let mut command = Command::new(KAMAILIO);
    let script = match &run.plan.setup {
        Setup::BuiltIn => repository_file("tests/it/kamailio/built_in.cfg"),
        Setup::Script(file) => repository_file(file),
    };
    command.arg("-f").arg(script);
    // One worker for each kind of transport: several swap an ACK and the BYE right behind it.
    command.args(["-DD", "-E", "-m", "512", "-M", "8", "-n", "1", "-N", "1"]);
    command.arg("-w").arg(run.directory).arg("-Y").arg(run.directory);
    command.arg("-P").arg(run.directory.join("kamailio.pid"));
    for (wire, address) in run.listeners {
        // Its WebSocket module takes over connections of a TCP or TLS listener.
        let transport = match wire {
            Wire::Ws4 => "tcp",
            Wire::Wss4 => "tls",
            other => other.transport(),
        };
        command.args(["-l", &format!("{transport}:{address}")]);
    }
    if run.plan.setup == Setup::BuiltIn {
        let settings = run.directory.join("tls.cfg");
        let text = format!(
            "[server:default]\nmethod = TLSv1.2+\ncertificate = {}\nprivate_key = {}\n[client:default]\n",
            run.tls.certificate.display(),
            run.tls.key.display()
        );
        std::fs::write(&settings, text).expect("the directory is writable");
        command.args(["-A", &format!("TLS_SETTINGS=\"{}\"", settings.display())]);
    }
    for define in &run.plan.defines {
        command.args(["-A", define]);
    }
    command
}
