//! Replies into a client's own FIFO.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe::Sender;
use tokio::time::{Instant, timeout_at};

/// The path of the reply FIFO that a client names, in the directory where such FIFOs may be.
///
/// # Errors
/// For a name that would lead out of the directory.
pub(crate) fn place(directory: &Path, name: &str) -> Result<PathBuf, String> {
    if name.is_empty() || name.len() > 255 || name.contains(['/', '\0']) || name.contains("..") {
        let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
        return Err(format!(
            "`{shown}` cannot name a reply FIFO: it must be a plain file name in {}",
            directory.display()
        ));
    }
    Ok(directory.join(name))
}

/// Writes `text` into the FIFO at `path` within `patience`: until then its reader may still be about to open it.
///
/// Opened without blocking and without following links, and only if it is a FIFO: a client must not make the
/// server write into files that the client itself could not write.
pub(crate) async fn write(path: &Path, text: &[u8], patience: Duration) -> io::Result<()> {
    const LOOK: Duration = Duration::from_millis(20);
    let deadline = Instant::now() + patience;
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
    let file = loop {
        match OpenOptions::new().write(true).custom_flags(flags.bits()).open(path) {
            Ok(file) => break file,
            // ENXIO: nobody reads it yet.
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ENXIO as i32) => {
                if Instant::now() + LOOK > deadline {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody reads it"));
                }
                tokio::time::sleep(LOOK).await;
            }
            Err(error) => return Err(error),
        }
    };
    let mut pipe = Sender::from_file(file)?;
    let written = timeout_at(deadline, pipe.write_all(text)).await;
    written.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "its reader does not read")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_fifo_lies_in_its_directory() {
        let directory = Path::new("/tmp");
        assert_eq!(place(directory, "ser_receiver_7"), Ok(PathBuf::from("/tmp/ser_receiver_7")));
        for name in ["../etc/passwd", "a/b", "..", "", "a..b"] {
            assert!(place(directory, name).is_err(), "{name}");
        }
    }
}
