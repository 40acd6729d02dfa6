//! Files that a front end listens at: FIFOs and sockets, with their modes and owners.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use nix::unistd::{Group, User};

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
    pub(crate) path: PathBuf,
}

impl Drop for Listening {
    fn drop(&mut self) {
        // The directory may have been taken away, or belong to somebody else by now; nothing more can be done.
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes a FIFO at `path`.
pub(crate) fn make_fifo(path: &Path, access: &Access) -> Result<Listening, OpenError> {
    make(
        path,
        access,
        |kind| kind.is_fifo(),
        |path| {
            // Nobody gets in before the permissions are right.
            nix::unistd::mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).map_err(io::Error::from)
        },
    )
    .map(|((), listening)| listening)
}

/// Makes a socket at `path` by `bind`.
pub(crate) fn make_socket<T>(
    path: &Path,
    access: &Access,
    bind: impl FnOnce(&Path) -> io::Result<T>,
) -> Result<(T, Listening), OpenError> {
    make(path, access, |kind| kind.is_socket(), bind)
}

fn make<T>(
    path: &Path,
    access: &Access,
    is_own_kind: fn(fs::FileType) -> bool,
    create: impl FnOnce(&Path) -> io::Result<T>,
) -> Result<(T, Listening), OpenError> {
    let refuse = |cause: String| OpenError::new(path.display(), cause);
    match fs::symlink_metadata(path) {
        // Left behind by a server that was killed.
        Ok(found) if is_own_kind(found.file_type()) => {
            fs::remove_file(path).map_err(|error| refuse(format!("{error}; an earlier server left it behind")))?;
        }
        Ok(_) => return Err(refuse("something else is there; move it away or choose another path".into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(refuse(error.to_string())),
    }
    let made = create(path).map_err(|error| refuse(error.to_string()))?;
    let listening = Listening { path: path.to_owned() };
    give(path, access).map_err(refuse)?;
    Ok((made, listening))
}

fn give(path: &Path, access: &Access) -> Result<(), String> {
    let number = |text: &String| text.parse::<u32>().ok();
    let user = access.user.as_ref().map(|name| {
        let found = User::from_name(name).ok().flatten().map(|user| user.uid);
        found.or(number(name).map(Into::into)).ok_or_else(|| format!("there is no user `{name}`"))
    });
    let group = access.group.as_ref().map(|name| {
        let found = Group::from_name(name).ok().flatten().map(|group| group.gid);
        found.or(number(name).map(Into::into)).ok_or_else(|| format!("there is no group `{name}`"))
    });
    let (user, group) = (user.transpose()?, group.transpose()?);
    nix::unistd::chown(path, user, group).map_err(|error| format!("cannot give it away: {error}"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(access.mode & 0o777))
        .map_err(|error| format!("cannot set its permissions: {error}"))
}
