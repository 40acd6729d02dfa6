//! One run of a program.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

/// What to run.
pub(super) struct Process {
    pub(super) command: Bytes,
    pub(super) variables: Vec<(String, Vec<u8>)>,
    pub(super) input: Option<Bytes>,
    pub(super) limit: Option<Duration>,
}

/// What came of it.
pub(super) struct Finished {
    pub(super) succeeded: bool,
    /// The lines that it printed, without their ends.
    pub(super) lines: Vec<Bytes>,
}

/// Programs that run at a time; further ones wait for their turn.
#[derive(Clone)]
pub(super) struct Slots(Arc<Semaphore>);

impl Default for Slots {
    fn default() -> Slots {
        Slots(Arc::new(Semaphore::new(MOST_RUNNING)))
    }
}

const MOST_RUNNING: usize = 64;
/// Longest output that is taken.
const LONGEST: u64 = 64 * 1024;

impl Process {
    /// Runs it to its end. When the future is dropped, the program is killed; either way it is reaped.
    pub(super) async fn run(self, slots: Slots) -> Result<Finished, String> {
        let _slot = slots.0.acquire().await.map_err(|_| "no more programs are run".to_owned())?;
        let mut child = self.start().map_err(|error| format!("/bin/sh cannot be run: {error}"))?;
        let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw));
        let work = talk(&mut child, self.input);
        let output = match self.limit {
            Some(limit) => {
                tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err("killed: it took too long".into()))
            }
            None => work.await,
        };
        if output.is_err() {
            group.kill();
            // It may have ended by itself meanwhile; then there is nothing to wait for.
            let _ = child.wait().await;
        }
        // What a program that has ended leaves in the background is its own business.
        group.0 = None;
        let (output, succeeded) = output?;
        let lines = output.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let lines = lines.filter(|line| !line.is_empty()).map(Bytes::copy_from_slice).collect();
        Ok(Finished { succeeded, lines })
    }

    fn start(&self) -> std::io::Result<Child> {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(OsString::from_vec(self.command.to_vec()));
        for (name, value) in &self.variables {
            command.env(name, OsString::from_vec(value.clone()));
        }
        let stdin = if self.input.is_some() { Stdio::piped() } else { Stdio::null() };
        // A group of its own, so that what the shell has started can be killed with it.
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::inherit()).process_group(0).kill_on_drop(true).spawn()
    }
}

/// The processes of a run, killed together when it is given up: the shell alone would leave its children behind.
struct Group(Option<Pid>);

impl Group {
    fn kill(&mut self) {
        if let Some(leader) = self.0.take() {
            // All of them may have ended by now.
            let _ = killpg(leader, Signal::SIGKILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Gives the program its input, takes its output, and waits for its end.
async fn talk(child: &mut Child, input: Option<Bytes>) -> Result<(Vec<u8>, bool), String> {
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let give = async move {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // A program need not read its input; then the pipe breaks, and that is all right.
            let _ = stdin.write_all(&input).await;
        }
    };
    let take = async move {
        let mut output = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(LONGEST + 1).read_to_end(&mut output).await.map_err(|error| error.to_string())?;
        }
        if output.len() as u64 > LONGEST {
            Err(format!("killed: it printed more than {LONGEST} bytes"))
        } else {
            Ok(output)
        }
    };
    let ((), output) = tokio::join!(give, take);
    let output = output?;
    let status = child.wait().await.map_err(|error| error.to_string())?;
    Ok((output, status.success()))
}
