//! Starts and stops the programs that are measured.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bench::accounting::{self, Meter};
use bench::load::{Ends, Pace, drive, registers::Registers};

/// A program and how many workers it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The bare relay: the floor.
    Relay,
    /// Debian's Kamailio with so many children.
    Kamailio(u32),
    /// `ser` with so many workers; `None` leaves it its own choice.
    Ser(Option<u32>),
    /// The same, of `make optimised`.
    Optimised(Option<u32>),
}

impl Subject {
    /// Name in tables.
    pub(crate) fn name(self) -> String {
        match self {
            Subject::Relay => "bare relay (floor)".into(),
            Subject::Kamailio(children) => format!("Kamailio, {children} workers"),
            Subject::Ser(None) => "ser, own choice of workers".into(),
            Subject::Ser(Some(workers)) => format!("ser, {workers} workers"),
            Subject::Optimised(None) => "optimised ser, own choice".into(),
            Subject::Optimised(Some(workers)) => format!("optimised ser, {workers} workers"),
        }
    }

    /// Where its program lies, `None` when it has not been built or installed.
    pub(crate) fn program(self) -> Option<PathBuf> {
        let beside = |name| std::env::current_exe().ok()?.parent().map(|folder| folder.join(name));
        let program = match self {
            Subject::Relay => beside("relay")?,
            Subject::Kamailio(_) => PathBuf::from("/usr/sbin/kamailio"),
            Subject::Ser(_) => beside("ser")?,
            Subject::Optimised(_) => beside("../optimised/ser")?,
        };
        program.exists().then_some(program)
    }

    fn arguments(self, script: &str, address: SocketAddrV4, folder: &Path) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        match self {
            Subject::Relay => arguments.push(address.to_string().into()),
            Subject::Kamailio(children) => {
                // In the foreground but with children; memory and socket buffer beyond what any run needs.
                // `fm` because its default allocator spends half the processor time of a call once the
                // table has filled; `tlsf` measures like `fm`.
                let options = format!("-DD -E -m 1024 -M 16 -b 4194304 -x fm -X fm -n {children} -l udp:{address}");
                arguments.extend(options.split(' ').map(OsString::from));
                arguments.extend(["-P".into(), folder.join("pid").into(), "-Y".into(), folder.into()]);
                arguments.extend(["-f".into(), path_of(script)]);
            }
            Subject::Ser(workers) | Subject::Optimised(workers) => {
                arguments.extend(["-f".into(), path_of(script), "-l".into(), format!("udp:{address}").into()]);
                arguments.extend(["--data-dir".into(), folder.into()]);
                arguments.extend(workers.into_iter().flat_map(|count| ["--workers".into(), count.to_string().into()]));
            }
        }
        arguments
    }
}

/// A running program; it ends when this is dropped.
pub(crate) struct Server {
    /// What runs.
    pub(crate) subject: Subject,
    /// Its callers and callees, the same from start to end: a new port would be a second contact.
    pub(crate) ends: Ends,
    child: Child,
    folder: PathBuf,
}

impl Server {
    /// Starts `subject` with a script of `bench/scripts` at a free port of loopback for so many callers and callees, and
    /// waits until it answers a REGISTER.
    pub(crate) fn start(subject: Subject, script: &str, pairs: usize) -> anyhow::Result<Server> {
        let program = subject.program().with_context(|| format!("{} is not there", subject.name()))?;
        let address = free_address()?;
        let folder = std::env::temp_dir().join(format!("ser-bench-{}-{}", std::process::id(), address.port()));
        fs::create_dir_all(&folder)?;
        let log = fs::File::create(folder.join("log"))?;
        let child = Command::new(program)
            .args(subject.arguments(script, address, &folder))
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut server = Server { subject, ends: Ends::open(address, pairs)?, child, folder };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Meter over the program's processes and threads as they are now.
    pub(crate) fn meter(&self) -> io::Result<Meter> {
        Meter::of_process_tree(self.child.id())
    }

    /// Resident memory of the program's processes, shared pages once.
    pub(crate) fn resident_bytes(&self) -> io::Result<u64> {
        accounting::resident_bytes(self.child.id())
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        while start.elapsed() < START_DEADLINE {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at once ({status}):\n{}", self.subject.name(), self.log());
            }
            if self.subject == Subject::Relay {
                self.ends.introduce()?;
            }
            // Run 0 comes before all others; repeated, it is a retransmission.
            let mut one = Registers::new(1, 0);
            drive(&self.ends, &mut one, Pace::Window(1), 1, Duration::from_millis(100))?;
            if one.into_report().completed == 1 {
                return Ok(());
            }
        }
        bail!("{} did not answer within {START_DEADLINE:?}:\n{}", self.subject.name(), self.log())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGTERM first: killed outright, Kamailio would leave its children behind.
        let asked = Command::new("kill").arg(self.child.id().to_string()).status();
        let start = Instant::now();
        while asked.is_ok() && start.elapsed() < STOP_DEADLINE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        // Both fail only when the program has ended or its folder has gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn path_of(script: &str) -> OsString {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts")).join(script).into()
}

const START_DEADLINE: Duration = Duration::from_secs(15);
const STOP_DEADLINE: Duration = Duration::from_secs(5);

fn free_address() -> io::Result<SocketAddrV4> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(SocketAddrV4::new(Ipv4Addr::LOCALHOST, socket.local_addr()?.port()))
}

/// First line of what Kamailio says of itself.
pub(crate) fn kamailio_version() -> String {
    let output = Command::new("/usr/sbin/kamailio").arg("-v").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let line = text.lines().next().and_then(|line| line.strip_prefix("version: ")).map(str::trim);
    line.unwrap_or("no Kamailio").to_owned()
}
