//! Database servers that a test starts for itself: a directory, a Unix socket, nobody else.

use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Process, Scratch};

/// How long a server may take to come up or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A database server of one test.
pub(crate) struct DatabaseServer {
    kind: Kind,
    scratch: Scratch,
    process: Option<Process>,
}

/// What it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Postgres,
    MariaDb,
}

impl DatabaseServer {
    /// Starts a server with an empty database `ser`.
    pub(crate) fn start(kind: Kind) -> DatabaseServer {
        let mut server = DatabaseServer { kind, scratch: Scratch::new(), process: None };
        let data = server.data();
        for directory in [&data, &server.temporary()] {
            std::fs::create_dir_all(directory).expect("the directory is writable");
            if let Some((user, group)) = server.account() {
                chown(directory, Some(user), Some(group)).expect("root may give a directory away");
            }
        }
        match kind {
            Kind::Postgres => run(server
                .as_account(&postgres("initdb"))
                .args(["-A", "trust", "-U", "ser", "--no-sync", "-E", "UTF8", "-D"])
                .arg(&data)),
            Kind::MariaDb => run(server
                .as_account(Path::new("mariadb-install-db"))
                .arg("--no-defaults")
                .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
                .arg(format!("--tmpdir={}", server.temporary().display()))
                .arg(format!("--datadir={}", data.display()))),
        }
        server.start_again();
        match kind {
            Kind::Postgres => run(Command::new(postgres("createdb")).arg("-h").arg(&data).args(["-U", "ser", "ser"])),
            Kind::MariaDb => drop(server.client(&["-e", "CREATE DATABASE ser CHARACTER SET utf8mb4"])),
        }
        server
    }

    /// The address for `db_url`.
    pub(crate) fn url(&self) -> String {
        match self.kind {
            Kind::Postgres => format!("postgres://ser@localhost/ser?socket={}", self.data().display()),
            Kind::MariaDb => format!("mysql://root@localhost/ser?socket={}", self.socket().display()),
        }
    }

    /// Ends the server at once, as a power cut would.
    pub(crate) fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Stops the server from answering, while its connections stay.
    pub(crate) fn hang(&self) {
        self.process.as_ref().expect("it runs").signal("STOP");
    }

    /// Starts the server over the data that are there.
    pub(crate) fn start_again(&mut self) {
        let data = self.data();
        let process = match self.kind {
            Kind::Postgres => {
                let mut command = self.as_account(&postgres("postgres"));
                command.arg("-D").arg(&data).arg("-k").arg(&data);
                command.args(["-c", "listen_addresses=", "-c", "log_line_prefix="]);
                Process::start("postgres", &mut command)
            }
            Kind::MariaDb => {
                let mut command = self.as_account(Path::new("/usr/sbin/mariadbd"));
                command.args(["--no-defaults", "--skip-networking"]);
                let places = [
                    ("datadir", data.clone()),
                    ("tmpdir", self.temporary()),
                    ("socket", self.socket()),
                    ("pid-file", data.join("pid")),
                ];
                for (name, path) in places {
                    command.arg(format!("--{name}={}", path.display()));
                }
                Process::start("mariadbd", &mut command)
            }
        };
        match self.kind {
            Kind::Postgres => process.wait_for_line("LOG:  database system is ready to accept connections", PATIENCE),
            Kind::MariaDb => {
                let is_up = process.wait_until(PATIENCE, || UnixStream::connect(self.socket()).is_ok());
                assert!(is_up, "mariadbd does not come up\n{}", process.log());
            }
        }
        self.process = Some(process);
    }

    /// Runs SQL and returns its rows, a line each, values separated by `|`.
    pub(crate) fn sql(&self, statement: &str) -> Vec<String> {
        let said = match self.kind {
            Kind::Postgres => {
                let mut command = Command::new(postgres("psql"));
                command.arg("-h").arg(self.data()).args([
                    "-U",
                    "ser",
                    "-d",
                    "ser",
                    "-qAt",
                    "-v",
                    "ON_ERROR_STOP=1",
                    "-c",
                    statement,
                ]);
                output(&mut command)
            }
            Kind::MariaDb => self.client(&["ser", "-e", statement]).replace('\t', "|"),
        };
        said.lines().map(ToOwned::to_owned).collect()
    }

    fn client(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("mariadb");
        command.args(["--no-defaults", "-uroot", "-N", "-B"]).arg(format!("--socket={}", self.socket().display()));
        output(command.args(arguments))
    }

    fn data(&self) -> PathBuf {
        self.scratch.file("data")
    }

    /// MariaDB removes the temporary tables that it finds when it starts, those of another server too.
    fn temporary(&self) -> PathBuf {
        self.scratch.file("temporary")
    }

    fn socket(&self) -> PathBuf {
        self.data().join("socket")
    }

    /// Neither server runs as root.
    fn as_account(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some((user, group)) = self.account() {
            command.uid(user).gid(group);
        }
        command.current_dir("/");
        command
    }

    fn account(&self) -> Option<(u32, u32)> {
        let id = |arguments: &[&str]| output(Command::new("id").args(arguments)).trim().parse::<u32>().ok();
        if id(&["-u"]) != Some(0) {
            return None;
        }
        let name = match self.kind {
            Kind::Postgres => "postgres",
            Kind::MariaDb => "mysql",
        };
        Some((id(&["-u", name])?, id(&["-g", name])?))
    }
}

impl Drop for DatabaseServer {
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            // One that hangs must hear it.
            process.signal("CONT");
            // PostgreSQL's quick way out; its TERM waits until all clients have gone.
            process.signal("INT");
        }
    }
}

/// A program of PostgreSQL; Debian keeps those of each version in a directory of their own.
fn postgres(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        versions.map(|version| version.path().join("bin").join(name)).filter(|path| path.exists()).collect();
    found.sort();
    found.pop().unwrap_or_else(|| panic!("PostgreSQL's {name} is missing; `make test` installs what tests need"))
}

fn run(command: &mut Command) {
    output(command);
}

fn output(command: &mut Command) -> String {
    let output =
        command.output().unwrap_or_else(|why| panic!("{command:?}: {why}; `make test` installs what tests need"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
