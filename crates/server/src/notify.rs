//! Telling systemd how the server stands (sd_notify): ready, stopping, and that its workers still turn.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::Shared;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

/// The longest time between two turns of a worker that has nothing to do, with room for a busy machine.
const LONGEST_TURN: Duration = Duration::from_secs(2);

/// How long the service manager may take to make room for another word.
const TAKEN_WITHIN: Duration = Duration::from_secs(2);

/// The way to the service manager; one that leads nowhere when nobody started the server as a service.
pub(crate) struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Reads where the service manager listens from the environment that it made.
    pub(crate) fn from_environment() -> Notifier {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let socket = variable("NOTIFY_SOCKET").and_then(|name| open(&name));
        let microseconds = variable("WATCHDOG_USEC").and_then(|text| text.to_str()?.parse().ok());
        // Meant for another process, when the number is not ours.
        let own = std::process::id().to_string();
        let is_ours = variable("WATCHDOG_PID").is_none_or(|pid| pid.to_str() == Some(&own));
        let watchdog = microseconds.filter(|_| is_ours && socket.is_some()).map(Duration::from_micros);
        Notifier { socket, watchdog }
    }

    /// Says that the server serves.
    pub(crate) fn ready(&self) {
        self.tell("READY=1\nSTATUS=serving\nWATCHDOG=1");
    }

    /// Says that it finishes what is open.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=draining");
    }

    /// Says that another program takes this one's place: for the manager it is the same process, which does not stop.
    pub(crate) fn succeeding(&self) {
        self.tell("RELOADING=1\nSTATUS=making way for a new program");
    }

    /// Says that the server lives, whatever its workers do: it is about to do what may take long.
    pub(crate) fn lives(&self) {
        // Said again soon, and where nothing may wait.
        self.send("WATCHDOG=1", &[], MsgFlags::MSG_DONTWAIT);
    }

    /// Says again and again that the server lives, for as long as every worker takes turns within the time that the
    /// service manager gives. Never ends where no watchdog waits.
    pub(crate) async fn keep_alive(self: Arc<Self>, shared: Arc<Shared>) {
        self.watch(|| shared.turns.iter().map(|turns| turns.load(Ordering::Relaxed)).collect()).await;
    }

    async fn watch(&self, turns: impl Fn() -> Vec<u64>) {
        let Some(limit) = self.watchdog else { return std::future::pending().await };
        let mut before = turns();
        loop {
            // A worker without work takes a turn each second all the same.
            tokio::time::sleep((limit / 2).max(LONGEST_TURN)).await;
            let now = turns();
            if now.iter().zip(&before).all(|(now, before)| now != before) {
                self.lives();
            }
            before = now;
        }
    }

    /// Has the service manager keep a socket open for the next process. An error that ICMP has left at it is no
    /// reason to close it (FDPOLL).
    pub(crate) fn keep(&self, name: &str, socket: BorrowedFd<'_>) {
        self.send(&format!("FDSTORE=1\nFDPOLL=0\nFDNAME={name}"), &[socket.as_raw_fd()], MsgFlags::empty());
    }

    /// Has the service manager close what it keeps under `name`.
    pub(crate) fn forget(&self, name: &str) {
        self.tell(&format!("FDSTOREREMOVE=1\nFDNAME={name}"));
    }

    fn tell(&self, text: &str) {
        self.send(text, &[], MsgFlags::empty());
    }

    /// A manager that has much to read gets its time ([`TAKEN_WITHIN`]): a socket that it does not get to know would be
    /// closed by a restart, and one that never hears that the server is ready ends it.
    fn send(&self, text: &str, files: &[RawFd], flags: MsgFlags) {
        let Some((own, to)) = &self.socket else { return };
        let to = match (to.as_pathname(), to.as_abstract_name()) {
            (Some(path), _) => UnixAddr::new(path),
            (_, Some(name)) => UnixAddr::new_abstract(name),
            _ => return,
        };
        let Ok(to) = to else { return };
        let part = [std::io::IoSlice::new(text.as_bytes())];
        let rights = [ControlMessage::ScmRights(files)];
        let rights = if files.is_empty() { &[][..] } else { &rights[..] };
        // A manager that does not listen any more, or keeps nothing, has its reasons: the server goes on without it.
        while sendmsg(own.as_raw_fd(), &part, rights, flags, Some(&to)) == Err(Errno::EINTR) {}
    }
}

/// A name that begins with `@` lies in the abstract name space.
fn open(name: &OsStr) -> Option<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name).ok()?,
        None => SocketAddr::from_pathname(name).ok()?,
    };
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_write_timeout(Some(TAKEN_WITHIN)).ok()?;
    Some((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_manager_is_told_at_a_path_and_at_an_abstract_name() {
        let name = format!("ser-notify-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(name.as_bytes()).expect("a name");
        let manager = UnixDatagram::bind_addr(&abstract_address).expect("the name is free");
        let socket = open(OsStr::new(&format!("@{name}")));
        let notifier = Notifier { socket, watchdog: None };
        notifier.ready();
        let mut buffer = [0; 100];
        let length = manager.recv(&mut buffer).expect("it was told");
        assert_eq!(&buffer[..length], b"READY=1\nSTATUS=serving\nWATCHDOG=1");
    }

    fn manager(name: &str) -> (UnixDatagram, Notifier) {
        let name = format!("ser-{name}-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).expect("a name");
        let manager = UnixDatagram::bind_addr(&address).expect("the name is free");
        let socket = open(OsStr::new(&format!("@{name}")));
        (manager, Notifier { socket, watchdog: Some(Duration::from_secs(10)) })
    }

    fn heard(manager: &UnixDatagram) -> String {
        let mut buffer = [0; 100];
        let length = manager.recv(&mut buffer).expect("it was told");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn a_manager_that_has_much_to_read_is_waited_for() {
        let (manager, notifier) = manager("busy");
        let (socket, to) = notifier.socket.as_ref().expect("it is there");
        socket.set_nonblocking(true).expect("it is ours");
        let mut junk = 0;
        while socket.send_to_addr(b"junk", to).is_ok() {
            junk += 1;
        }
        socket.set_nonblocking(false).expect("it is ours");
        assert!(junk > 0);
        notifier.lives();
        let reader = std::thread::spawn(move || (0..junk + 2).map(|_| heard(&manager)).collect::<Vec<_>>());
        let kept = UnixDatagram::unbound().expect("the system has a socket");
        notifier.keep("udp", std::os::fd::AsFd::as_fd(&kept));
        notifier.ready();
        let heard = reader.join().expect("it was told everything");
        let told = ["FDSTORE=1\nFDPOLL=0\nFDNAME=udp", "READY=1\nSTATUS=serving\nWATCHDOG=1"];
        assert_eq!(heard[junk..], told, "what nobody has to wait for was left out");
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_takes_no_turn_keeps_the_watchdog_from_being_fed() {
        let (manager, notifier) = manager("watchdog");
        manager.set_nonblocking(true).expect("it is ours");
        let turns = [std::cell::Cell::new(0_u64), std::cell::Cell::new(0)];
        let watch = notifier.watch(|| turns.iter().map(std::cell::Cell::get).collect());
        let check = async {
            let step = |hangs: bool| {
                turns[0].set(turns[0].get() + 1);
                turns[1].set(turns[1].get() + u64::from(!hangs));
            };
            tokio::time::sleep(Duration::from_secs(1)).await;
            for hangs in [false, true, false] {
                step(hangs);
                tokio::time::sleep(Duration::from_secs(5)).await;
                let mut buffer = [0; 100];
                assert_eq!(manager.recv(&mut buffer).is_ok(), !hangs);
            }
        };
        tokio::select! {
            () = watch => unreachable!("it never ends"),
            () = check => {}
        }
    }

    #[test]
    fn without_a_service_manager_nothing_is_said_and_nothing_fails() {
        Notifier { socket: None, watchdog: None }.ready();
        assert!(open(OsStr::new("/nonexistent/notify")).is_some(), "that it leads nowhere shows when it is used");
    }
}
