//! Leaving the terminal, process number files, and giving up privileges.

use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{Gid, Group, Uid, User};

/// Set for the process that runs in the background, so that it does not start another one.
const MARK: &str = "SER_IN_BACKGROUND";
/// Set for a program that takes the place of another one.
const IN_PLACE: &str = "SER_IN_PLACE";
/// Set for a program that takes its own place, because the newer one cannot be run: why.
const FAILED_UPGRADE: &str = "SER_FAILED_UPGRADE";
/// What the background process writes when it is ready to serve.
const READY: u8 = b'+';

/// Starts this program again in the background and waits until it serves, or fails.
///
/// Re-running beats forking: no thread, lock or runtime of this process exists twice. What the new
/// process prints before it is ready (errors above all) still reaches this terminal.
///
/// # Errors
/// When it cannot be started, or ends before it is ready.
pub(crate) fn start_in_background() -> Result<()> {
    let mut arguments = std::env::args_os();
    // By the name it was started with and not by the file behind it: scripts look for that name in
    // the process list.
    let program = arguments.next().context("this program was started without a name")?;
    let mut child = Command::new(program)
        .args(arguments)
        .env(MARK, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start in the background")?;
    let mut answer = [0];
    let mut pipe = child.stdout.take().context("the background process has no output")?;
    if pipe.read(&mut answer).unwrap_or(0) == 1 && answer[0] == READY {
        return Ok(());
    }
    let status = child.wait().context("cannot wait for the background process")?;
    bail!("the server did not start ({status}); its own message stands above")
}

/// This program as it was started: by the same name, with the same options.
///
/// # Errors
/// When it was started without a name.
pub(crate) fn own_command() -> Result<Command> {
    let mut arguments = std::env::args_os();
    let mut command = Command::new(arguments.next().context("this program was started without a name")?);
    command.args(arguments);
    Ok(command)
}

/// The programs that can take this one's place, in this process: what lies where this one was started from, and should
/// that be gone by then, this one again. A server that ended because its upgrade failed would be the worst of both.
///
/// # Errors
/// When it was started without a name.
pub(crate) fn successors() -> Result<[Command; 2]> {
    let mut new = own_command()?;
    new.env(IN_PLACE, "1").env_remove(FAILED_UPGRADE);
    // The kernel keeps the file for as long as it runs, whatever lies in its place.
    let mut arguments = std::env::args_os();
    let mut same = Command::new("/proc/self/exe");
    same.arg0(arguments.next().context("this program was started without a name")?).args(arguments);
    same.env(IN_PLACE, "1");
    Ok([new, same])
}

/// Lets a program know that it runs because the newer one, `why`, does not.
pub(crate) fn tell_of_failure(command: &mut Command, why: &std::io::Error) {
    command.env(FAILED_UPGRADE, why.to_string());
}

/// Why this program runs again instead of a newer one.
pub(crate) fn failed_upgrade() -> Option<String> {
    std::env::var(FAILED_UPGRADE).ok()
}

/// Whether this program has taken the place of another one: directories are entered and privileges given up by then.
pub(crate) fn is_successor() -> bool {
    std::env::var_os(IN_PLACE).is_some()
}

/// Whether this is the process started by [`start_in_background`].
pub(crate) fn is_in_background() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Tells the process that waits in [`start_in_background`] that the server serves, and leaves its session.
pub(crate) fn announce_ready() -> Result<()> {
    if !is_in_background() {
        return Ok(());
    }
    // A successor of a process in the background is in a session of its own already.
    if nix::unistd::getsid(None) != Ok(nix::unistd::getpid()) {
        nix::unistd::setsid().context("cannot leave the terminal's session")?;
    }
    std::io::stdout().write_all(&[READY]).context("cannot report that the server is ready")?;
    std::io::stdout().flush().context("cannot report that the server is ready")?;
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null").context("cannot open /dev/null")?;
    nix::unistd::dup2_stdout(&null).context("cannot leave the terminal")?;
    nix::unistd::dup2_stderr(&null).context("cannot leave the terminal")
}

/// Writes `number` and a line end to `path`.
pub(crate) fn write_number(path: &Path, number: i32) -> Result<()> {
    std::fs::write(path, format!("{number}\n")).with_context(|| format!("cannot write {}", path.display()))
}

/// Becomes `user` and `group`, where given, for all threads.
///
/// # Errors
/// When there is no such user or group, or this process may not become it.
pub(crate) fn drop_privileges(user: Option<&str>, group: Option<&str>, data_dir: &Path) -> Result<()> {
    let user = user.map(find_user).transpose()?;
    let group = group.map(find_group).transpose()?;
    if user.as_ref().is_none_or(|user| user.uid == Uid::effective()) && group.is_none_or(|gid| gid == Gid::effective())
    {
        // A successor of a process that has given its privileges up.
        return Ok(());
    }
    let gid = group.or(user.as_ref().map(|user| user.gid));
    give_away(data_dir, user.as_ref().map(|user| user.uid), gid)
        .with_context(|| format!("cannot give {} to the user that the server becomes", data_dir.display()))?;
    if let Some(gid) = gid {
        if let Some(user) = &user {
            let name = std::ffi::CString::new(user.name.as_str()).context("a user name with a NUL byte")?;
            nix::unistd::initgroups(&name, gid).context("cannot take over the user's groups")?;
        }
        nix::unistd::setgid(gid).with_context(|| format!("cannot become group {gid}"))?;
    }
    if let Some(user) = user {
        nix::unistd::setuid(user.uid).with_context(|| format!("cannot become user {}", user.name))?;
    }
    Ok(())
}

/// Gives a directory and what this process or one of the same user has made in it to the user that the server becomes:
/// a database that root has made could be read by that user, and never written again.
fn give_away(path: &Path, user: Option<Uid>, group: Option<Gid>) -> Result<()> {
    let found = std::fs::symlink_metadata(path)?;
    // A file with a second name may be somebody else's, put there to be given away.
    let is_plain = found.is_dir() || found.nlink() == 1;
    if found.uid() != Uid::effective().as_raw() || found.file_type().is_symlink() || !is_plain {
        return Ok(());
    }
    nix::unistd::fchownat(AT_FDCWD, path, user, group, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if found.is_dir() {
        for entry in std::fs::read_dir(path)? {
            give_away(&entry?.path(), user, group)?;
        }
    }
    Ok(())
}

/// Looks for the user and group that the server would become.
///
/// # Errors
/// When there is none of that name.
pub(crate) fn find_account(user: Option<&str>, group: Option<&str>) -> Result<()> {
    user.map(find_user).transpose()?;
    group.map(find_group).transpose()?;
    Ok(())
}

/// The number of the group that `user` belongs to first, which the server becomes where no group is named.
pub(crate) fn primary_group(user: &str) -> Option<String> {
    find_user(user).ok().map(|user| user.gid.to_string())
}

fn find_user(name: &str) -> Result<User> {
    let by_number = || name.parse().ok().and_then(|number| User::from_uid(Uid::from_raw(number)).ok().flatten());
    let user = User::from_name(name).ok().flatten().or_else(by_number);
    user.with_context(|| format!("there is no user \"{name}\" on this system (option -u)"))
}

fn find_group(name: &str) -> Result<Gid> {
    let by_number = || name.parse().ok().map(Gid::from_raw);
    let group = Group::from_name(name).ok().flatten().map(|group| group.gid).or_else(by_number);
    group.with_context(|| format!("there is no group \"{name}\" on this system (option -g)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_may_be_given_by_name_or_number() {
        assert_eq!((primary_group("root"), primary_group("0")), (Some("0".to_owned()), Some("0".to_owned())));
        assert_eq!(primary_group("no-such-user-here"), None);
    }

    #[test]
    fn an_unknown_user_is_named_in_the_error() {
        let error = drop_privileges(Some("no-such-user-here"), None, Path::new("/nonexistent"))
            .expect_err("there is no such user");
        assert_eq!(error.to_string(), "there is no user \"no-such-user-here\" on this system (option -u)");
    }
}
