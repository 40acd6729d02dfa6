//! Files that a front end listens at: FIFOs and sockets, with their modes and owners.

use std::fmt;
use std::fs::{self, File, FileType, Metadata};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, socket};
use nix::sys::stat::{FchmodatFlags, Mode, fchmod, fchmodat};
use nix::unistd::{Gid, Group, Uid, User, fchown, fchownat, geteuid};
use tokio::net::UnixListener;

/// Who may use a FIFO or a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Permissions.
    pub mode: u32,
    /// Owner, by name or number.
    pub user: Option<String>,
    /// Group, by name or number.
    pub group: Option<String>,
}

impl Default for Access {
    /// The server's own user alone.
    fn default() -> Access {
        Access { mode: 0o600, user: None, group: None }
    }
}

/// Why a front end cannot listen.
#[derive(Debug)]
pub struct OpenError {
    /// Where it would listen.
    pub place: String,
    /// What is wrong, and what would cure it.
    pub cause: String,
}

impl OpenError {
    pub(crate) fn new(place: impl fmt::Display, cause: impl fmt::Display) -> OpenError {
        OpenError { place: place.to_string(), cause: cause.to_string() }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen at {}: {}", self.place, self.cause)
    }
}

impl std::error::Error for OpenError {}

/// A file made for listening; it goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Listening {
    path: PathBuf,
    /// Device and number of the file: another server may have put its own in this place since.
    identity: (u64, u64),
}

impl Drop for Listening {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity);
        if is_ours {
            // The directory may belong to somebody else by now; nothing more can be done.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes a FIFO at `path`, open for reading, and for writing too: so it does not end when the last client closes it.
pub(crate) fn make_fifo(path: &Path, access: &Access) -> Result<(File, Listening), OpenError> {
    let refuse = |cause: String| OpenError::new(path.display(), cause);
    make_way(path, FileTypeExt::is_fifo, has_reader).map_err(refuse)?;
    let failed = |error: nix::Error| refuse(error.to_string());
    // Nobody gets in before the permissions are right.
    nix::unistd::mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).map_err(failed)?;
    // What happens from here on happens to this very file: its directory may belong to a user who is less than us,
    // and who could put a link in its place.
    let flags = OFlag::O_RDWR | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let fifo = File::from(open(path, flags, Mode::empty()).map_err(failed)?);
    let found = own(&fifo, FileTypeExt::is_fifo).map_err(refuse)?;
    let listening = Listening { path: path.to_owned(), identity: (found.dev(), found.ino()) };
    give(&found, access, |user, group| fchown(&fifo, user, group), |mode| fchmod(&fifo, mode)).map_err(refuse)?;
    Ok((fifo, listening))
}

/// Makes a stream socket at `path` that listens. Called within a runtime.
pub(crate) fn listen(path: &Path, access: &Access) -> Result<(UnixListener, Listening), OpenError> {
    let (socket, file) = make_socket(path, access, SockType::Stream)?;
    let listener = UnixListener::from_std(socket.into());
    Ok((listener.map_err(|error| OpenError::new(path.display(), error))?, file))
}

/// Makes a socket at `path`. A stream socket listens once its permissions are right.
pub(crate) fn make_socket(path: &Path, access: &Access, kind: SockType) -> Result<(OwnedFd, Listening), OpenError> {
    let refuse = |cause: String| OpenError::new(path.display(), cause);
    make_way(path, FileTypeExt::is_socket, has_server).map_err(refuse)?;
    let failed = |error: nix::Error| refuse(error.to_string());
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, kind, flags, None).map_err(failed)?;
    // The file takes the permissions that its socket has when it is bound.
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR).map_err(failed)?;
    bind(socket.as_raw_fd(), &UnixAddr::new(path).map_err(failed)?).map_err(failed)?;
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty()).map_err(failed)?);
    let found = own(&file, FileTypeExt::is_socket).map_err(refuse)?;
    let listening = Listening { path: path.to_owned(), identity: (found.dev(), found.ino()) };
    let set_owner = |user, group| fchownat(&file, "", user, group, AtFlags::AT_EMPTY_PATH);
    // No call sets the mode of a file that is open only as a place, but this name leads to it and nowhere else.
    let set_mode = |mode: Mode| {
        let name = format!("/proc/self/fd/{}", file.as_raw_fd());
        fchmodat(AT_FDCWD, name.as_str(), mode, FchmodatFlags::FollowSymlink)
    };
    give(&found, access, set_owner, set_mode).map_err(refuse)?;
    if kind == SockType::Stream {
        nix::sys::socket::listen(&socket, Backlog::MAXCONN).map_err(failed)?;
    }
    Ok((socket, listening))
}

/// Removes what a server that was killed has left behind.
fn make_way(
    path: &Path,
    is_own_kind: fn(&FileType) -> bool,
    is_served: fn(&Path) -> nix::Result<bool>,
) -> Result<(), String> {
    match fs::symlink_metadata(path) {
        Ok(found) if is_own_kind(&found.file_type()) => match is_served(path) {
            Ok(true) => Err("another server answers there; stop it, or choose another path".into()),
            Ok(false) => fs::remove_file(path).map_err(|error| format!("{error}; an earlier server left it behind")),
            Err(error) => Err(format!("{error}; it may be another server's")),
        },
        Ok(_) => Err("something else is there; move it away or choose another path".into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

fn has_reader(path: &Path) -> nix::Result<bool> {
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match open(path, flags, Mode::empty()) {
        Ok(_) => Ok(true),
        Err(Errno::ENXIO) => Ok(false),
        Err(error) => Err(error),
    }
}

fn has_server(path: &Path) -> nix::Result<bool> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match connect(socket.as_raw_fd(), &UnixAddr::new(path)?) {
        // A full queue, or one for datagrams, has somebody who reads it.
        Ok(()) | Err(Errno::EAGAIN | Errno::EPROTOTYPE) => Ok(true),
        Err(Errno::ECONNREFUSED) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What an open file is, if it is what was made a moment ago and not something that was put in its place.
fn own(file: &File, is_own_kind: fn(&FileType) -> bool) -> Result<Metadata, String> {
    let found = file.metadata().map_err(|error| error.to_string())?;
    let is_ours = is_own_kind(&found.file_type()) && found.uid() == geteuid().as_raw() && found.nlink() == 1;
    is_ours.then_some(found).ok_or_else(|| "somebody put something else in its place; who may write there?".into())
}

/// Sets owner and permissions where they are not what they should be: a service may have no right to change them.
fn give(
    found: &Metadata,
    access: &Access,
    set_owner: impl FnOnce(Option<Uid>, Option<Gid>) -> nix::Result<()>,
    set_mode: impl FnOnce(Mode) -> nix::Result<()>,
) -> Result<(), String> {
    let number = |text: &String| text.parse::<u32>().ok();
    let user = access.user.as_ref().map(|name| {
        let found = User::from_name(name).ok().flatten().map(|user| user.uid);
        found.or(number(name).map(Into::into)).ok_or_else(|| format!("there is no user `{name}`"))
    });
    let group = access.group.as_ref().map(|name| {
        let found = Group::from_name(name).ok().flatten().map(|group| group.gid);
        found.or(number(name).map(Into::into)).ok_or_else(|| format!("there is no group `{name}`"))
    });
    let user = user.transpose()?.filter(|user| user.as_raw() != found.uid());
    let group = group.transpose()?.filter(|group| group.as_raw() != found.gid());
    if user.is_some() || group.is_some() {
        set_owner(user, group).map_err(|error| format!("cannot give it away: {error}"))?;
    }
    if found.mode() & 0o777 != access.mode & 0o777 {
        let mode = Mode::from_bits_truncate(access.mode & 0o777);
        set_mode(mode).map_err(|error| format!("cannot set its permissions: {error}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of its own, gone at the end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            let directory = std::env::temp_dir().join(format!("ser-control-{name}-{}", std::process::id()));
            fs::create_dir_all(&directory).expect("the directory of temporary files can be written");
            Place(directory)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_a_running_server_serves_is_not_taken_from_it() {
        let place = Place::new("served");
        let access = Access::default();
        for kind in [SockType::Stream, SockType::Datagram] {
            let path = place.0.join("socket");
            let served = make_socket(&path, &access, kind).expect("the place is free");
            let refusal = make_socket(&path, &access, SockType::Stream).expect_err("somebody answers there");
            assert!(refusal.cause.starts_with("another server answers there"), "{refusal}");
            drop(served);
            assert!(!path.exists());
        }
        let path = place.0.join("fifo");
        let _served = make_fifo(&path, &access).expect("the place is free");
        let refusal = make_fifo(&path, &access).expect_err("somebody reads there");
        assert!(refusal.cause.starts_with("another server answers there"), "{refusal}");
    }

    #[test]
    fn what_a_killed_server_left_behind_is_replaced() {
        let place = Place::new("left");
        let (socket_path, fifo_path) = (place.0.join("socket"), place.0.join("fifo"));
        drop(std::os::unix::net::UnixListener::bind(&socket_path).expect("the place is free"));
        nix::unistd::mkfifo(&fifo_path, Mode::S_IRWXU).expect("the place is free");
        make_socket(&socket_path, &Access::default(), SockType::Stream).expect("nobody answers there");
        make_fifo(&fifo_path, &Access::default()).expect("nobody reads there");
    }

    #[test]
    fn a_file_that_another_server_put_in_this_place_stays() {
        let place = Place::new("replaced");
        let path = place.0.join("fifo");
        let (_fifo, listening) = make_fifo(&path, &Access::default()).expect("the place is free");
        fs::remove_file(&path).expect("it is ours");
        fs::write(&path, "another").expect("the place is free");
        drop(listening);
        assert!(path.exists());
    }

    #[test]
    fn permissions_are_those_that_were_asked_for() {
        let place = Place::new("modes");
        let (socket_path, fifo_path) = (place.0.join("socket"), place.0.join("fifo"));
        let access = Access { mode: 0o666, ..Access::default() };
        let _socket = make_socket(&socket_path, &access, SockType::Stream).expect("the place is free");
        let _fifo = make_fifo(&fifo_path, &access).expect("the place is free");
        for path in [socket_path, fifo_path] {
            assert_eq!(fs::symlink_metadata(path).map(|found| found.mode() & 0o777).ok(), Some(0o666));
        }
    }

    #[test]
    fn nothing_is_changed_that_is_right_already() {
        // A service under a filter of system calls is ended for a call of chown that changes nothing.
        let place = Place::new("right");
        let path = place.0.join("file");
        fs::write(&path, "").expect("the place is free");
        let found = fs::metadata(&path).expect("it is there");
        let access = Access { mode: found.mode(), user: Some(found.uid().to_string()), group: None };
        let (owner, mode) = (|_, _| panic!("no owner is set"), |_| panic!("no mode is set"));
        assert_eq!(give(&found, &access, owner, mode), Ok(()));
        assert_eq!(give(&found, &Access { user: None, ..access }, owner, mode), Ok(()));
    }
}
