//! A child process: its output as lines, its end as a condition to wait for.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// How often a condition outside the child (a bound port, a file) is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Time between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

/// A running child; stopped when dropped.
pub(crate) struct Process {
    name: String,
    pid: u32,
    stdin: Mutex<Option<ChildStdin>>,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    open_streams: u32,
    exit: Option<ExitStatus>,
}

impl Process {
    /// Starts `command`; `name` is what failures call it.
    pub(crate) fn start(name: &str, command: &mut Command) -> Process {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|why| {
            panic!("cannot start {name} ({command:?}): {why}; `make test` installs what tests need")
        });
        let state = State { open_streams: 2, ..State::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        collect(&shared, child.stdout.take().expect("stdout is piped"));
        collect(&shared, child.stderr.take().expect("stderr is piped"));
        let process = Process {
            name: name.to_owned(),
            pid: child.id(),
            stdin: Mutex::new(child.stdin.take()),
            shared: Arc::clone(&shared),
        };
        thread::spawn(move || {
            let exit = child.wait().expect("a child can be waited for");
            shared.change(|state| state.exit = Some(exit));
        });
        process
    }

    /// The kernel's number of the child.
    pub(crate) fn id(&self) -> u32 {
        self.pid
    }

    /// Writes a line to the child's standard input.
    pub(crate) fn tell(&self, line: &str) {
        let mut stdin = self.stdin.lock().expect("no writer panicked");
        let pipe = stdin.as_mut().expect("standard input is piped");
        writeln!(pipe, "{line}")
            .and_then(|()| pipe.flush())
            .unwrap_or_else(|why| self.fail(&format!("takes no input: {why}")));
    }

    /// Waits for a line that starts with `text`.
    pub(crate) fn wait_for_line(&self, text: &str, within: Duration) {
        let is_said = |state: &State| state.lines.iter().any(|line| line.starts_with(text)).then_some(());
        if self.wait(within, is_said).is_none() {
            self.fail(&format!("did not say {text:?} within {within:?}"));
        }
    }

    /// Waits until the child has ended by itself.
    pub(crate) fn wait_for_exit(&self, within: Duration) -> ExitStatus {
        let exit = self.wait(within, |state| state.exit.filter(|_| state.open_streams == 0));
        exit.unwrap_or_else(|| self.fail(&format!("did not end within {within:?}")))
    }

    /// Waits for something that the child causes elsewhere. False when it ended or `within` passed first.
    pub(crate) fn wait_until(&self, within: Duration, mut condition: impl FnMut() -> bool) -> bool {
        let deadline = Instant::now() + within;
        loop {
            // Without the lock, which the condition may need itself.
            if condition() {
                return true;
            }
            let state = self.shared.lock();
            if state.exit.is_some() || Instant::now() >= deadline {
                return false;
            }
            drop(self.shared.changed.wait_timeout(state, LOOK_AGAIN).expect("no writer panicked"));
        }
    }

    /// Waits until the child has written `text`: what it has done may be seen before what it has said.
    pub(crate) fn shall_say(&self, text: &str, within: Duration) {
        if !self.wait_until(within, || self.log().contains(text)) {
            self.fail(&format!("did not say \"{text}\""));
        }
    }

    /// Whether the child has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.shared.lock().exit.is_some()
    }

    /// How many lines hold `text` so far.
    pub(crate) fn count_lines(&self, text: &str) -> usize {
        self.shared.lock().lines.iter().filter(|line| line.contains(text)).count()
    }

    /// How much memory of the child is in use, as the kernel counts it.
    pub(crate) fn resident_kilobytes(&self) -> i64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().nth(1)).and_then(|number| number.parse().ok());
        number.unwrap_or_else(|| self.fail("has no memory: it has ended"))
    }

    /// Everything the child wrote so far.
    pub(crate) fn log(&self) -> String {
        self.shared.lock().lines.join("\n")
    }

    /// Ends the child at once, as a power cut would.
    pub(crate) fn kill(&self) {
        self.signal("KILL");
        let _ = self.wait(GRACE, |state| state.exit);
    }

    /// Asks the child to end, and makes it end if it does not.
    pub(crate) fn stop(&self) {
        self.signal("TERM");
        if self.wait(GRACE, |state| state.exit).is_none() {
            self.kill();
        }
    }

    /// Fails the test, with the child's output.
    pub(crate) fn fail(&self, what: &str) -> ! {
        panic!("{} {what}\n--- its output ---\n{}\n--- end ---", self.name, self.log())
    }

    fn wait<T>(&self, within: Duration, look: impl Fn(&State) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + within;
        let mut state = self.shared.lock();
        loop {
            let seen = look(&state);
            let left = deadline.saturating_duration_since(Instant::now());
            let is_over = state.exit.is_some() && state.open_streams == 0;
            if seen.is_some() || left.is_zero() || is_over {
                return seen;
            }
            state = self.shared.changed.wait_timeout(state, left).expect("no writer panicked").0;
        }
    }

    /// Sends a signal by its name, unless the child has ended.
    pub(crate) fn signal(&self, name: &str) {
        // The child is reaped by its waiting thread only, which says so under this lock: as
        // long as it has not, the process id is still the child's.
        let state = self.shared.lock();
        if state.exit.is_none() {
            let _ = Command::new("kill").arg(format!("-{name}")).arg(self.pid.to_string()).status();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
        if thread::panicking() {
            eprintln!("--- {} ---\n{}\n--- end of {} ---", self.name, self.log(), self.name);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no writer panicked")
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

/// Moves the lines of one output stream into the shared state until it ends.
fn collect(shared: &Arc<Shared>, stream: impl Read + Send + 'static) {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while matches!(stream.read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            shared.change(|state| state.lines.push(text));
            line.clear();
        }
        shared.change(|state| state.open_streams -= 1);
    });
}
