//! Sockets that were open before this process began (sd_listen_fds).
#![allow(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use socket2::{SockRef, Type};

/// The first descriptor that a service manager passes (SD_LISTEN_FDS_START).
const FIRST: RawFd = 3;
/// More than anybody listens at; what is beyond is no number that a service manager wrote.
const MOST: RawFd = 4096;

/// A socket that a service manager has passed.
#[derive(Debug)]
pub struct Inherited {
    /// The name under which the service manager keeps it.
    pub name: String,
    /// The socket.
    pub socket: OwnedFd,
}

impl Inherited {
    /// Whether it is bound to `address`, for datagrams or for a stream.
    #[must_use]
    pub fn is_bound_to(&self, address: SocketAddr, is_datagram: bool) -> bool {
        let socket = SockRef::from(&self.socket);
        let wanted = if is_datagram { Type::DGRAM } else { Type::STREAM };
        let bound = socket.local_addr().ok().and_then(|bound| bound.as_socket());
        bound == Some(address) && socket.r#type().ok() == Some(wanted)
    }

    /// As a listener of connections.
    ///
    /// # Errors
    /// When the kernel refuses to make it non-blocking.
    pub fn into_listener(self) -> io::Result<std::net::TcpListener> {
        let listener = std::net::TcpListener::from(self.socket);
        listener.set_nonblocking(true)?;
        Ok(listener)
    }
}

/// Takes the sockets that the environment promises to this process. To be called once, before any other file is
/// opened: from then on the numbers may be somebody else's.
#[must_use]
pub fn take() -> Vec<Inherited> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let names = variable("LISTEN_FDNAMES");
    let is_ours = variable("LISTEN_PID").parse() == Ok(std::process::id());
    let count = variable("LISTEN_FDS").parse::<RawFd>().ok().filter(|count| is_ours && (0..=MOST).contains(count));
    let mut names = names.split(':');
    let take = |number: RawFd| {
        let name = names.next().unwrap_or_default().to_owned();
        // SAFETY: asked for its flags, a number that names no open file only gives an error.
        let is_open = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == 0;
        // SAFETY: it is open, and the service manager has passed it to this process alone (LISTEN_PID), which has
        // opened nothing yet: nobody else owns it.
        is_open.then(|| Inherited { name, socket: unsafe { OwnedFd::from_raw_fd(number) } })
    };
    (FIRST..FIRST + count.unwrap_or(0)).map(take).collect::<Vec<_>>().into_iter().flatten().collect()
}

/// Becomes another program in place of this process, which finds `sockets` as [`take`] does: the first of `programs` that
/// can be run. `again` is given each of the others before it is tried, with why the one before could not be. Returns only
/// when all of them fail, and then why the last one did; some descriptors of this process are no longer what they were.
#[must_use]
pub fn pass_on(
    sockets: Vec<(String, OwnedFd)>,
    programs: impl IntoIterator<Item = Command>,
    again: impl Fn(&mut Command, &io::Error),
) -> io::Error {
    let count = sockets.len();
    let names: Vec<String> = sockets.iter().map(|(name, _)| name.clone()).collect();
    // Out of the way first: one may lie where another shall be.
    let beyond = FIRST + count as RawFd;
    let mut moved = Vec::new();
    for (_, socket) in sockets {
        // SAFETY: the descriptor is owned here and open; the copy is a new one of this process.
        let copy = unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_DUPFD_CLOEXEC, beyond) };
        if copy < 0 {
            return io::Error::last_os_error();
        }
        moved.push(copy);
    }
    for (to, from) in (FIRST..).zip(moved) {
        // SAFETY: `from` is open. `to` may belong to something of this process, which is about to end; should the
        // other program not start, the caller has to end it. The copy stays open in the other program.
        if unsafe { libc::dup2(from, to) } < 0 {
            return io::Error::last_os_error();
        }
    }
    let mut why = None;
    for mut command in programs {
        if let Some(why) = &why {
            again(&mut command, why);
        }
        command.env("LISTEN_PID", std::process::id().to_string());
        command.env("LISTEN_FDS", count.to_string()).env("LISTEN_FDNAMES", names.join(":"));
        why = Some(command.exec());
    }
    why.unwrap_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_known_by_its_address_and_kind() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let inherited = Inherited { name: "tcp".into(), socket: listener.into() };
        assert!(inherited.is_bound_to(address, false) && !inherited.is_bound_to(address, true));
        assert!(!inherited.is_bound_to(([127, 0, 0, 1], 1).into(), false));
        assert_eq!(inherited.into_listener().unwrap().local_addr().unwrap(), address);
    }

    #[test]
    fn without_a_service_manager_nothing_is_taken() {
        assert!(take().is_empty());
    }
}
