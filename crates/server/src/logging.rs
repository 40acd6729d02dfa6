//! The log: to the terminal, to syslog or to systemd's journal, without ever delaying the worker that writes.

use std::io::{self, IsTerminal, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use module_api::{Counter, Level, LogLine};

use crate::log_levels::Levels;
use crate::log_limit::Limiter;

/// How many lines may wait to be written; what comes beyond is counted and dropped.
const QUEUE: usize = 4096;

/// Hands lines to a thread of its own, since a terminal or a disk may stall.
pub(crate) struct Logger {
    queue: SyncSender<Entry>,
    levels: Levels,
    dropped: Counter,
}

/// What the thread that writes is given.
enum Entry {
    Line(Line),
    /// Everything before this is to be written now, and this told when it is.
    Flush(SyncSender<()>),
}

/// A line on its way to where it is written.
pub(crate) struct Line {
    /// How loud it is.
    pub(crate) level: Level,
    /// Who logs it: `core`, `script`, `control`, or a module.
    pub(crate) source: &'static str,
    /// What.
    pub(crate) text: Vec<u8>,
    /// Whether it is counted instead of written when there are too many of its kind.
    pub(crate) is_limited: bool,
}

/// Where the log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Destination {
    /// Standard error.
    Stderr,
    /// Standard error, for programs.
    Json,
    /// The system's log.
    Syslog,
    /// systemd's journal, with fields.
    Journal,
}

impl Logger {
    /// Writes what is at least as loud as `threshold` to `destination`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn start(destination: Destination, threshold: Level, name: &str, facility: u8) -> io::Result<Logger> {
        let (queue, lines) = sync_channel(QUEUE);
        let dropped = Counter::default();
        let mut output = Output::open(destination, name, facility);
        let counter = dropped.clone();
        std::thread::Builder::new().name("log".into()).spawn(move || write_all(&lines, &mut output, &counter))?;
        Ok(Logger { queue, levels: Levels::new(threshold), dropped })
    }
}

impl engine::Log for Logger {
    fn write(&self, level: Level, text: &[u8]) {
        self.write_from("core", level, text);
    }

    fn write_of_script(&self, level: Level, text: &[u8]) {
        self.write_from("script", level, text);
    }
}

impl Logger {
    /// How loud each source may be.
    pub(crate) fn levels(&self) -> &Levels {
        &self.levels
    }

    /// The log as a module sees it.
    pub(crate) fn for_module(self: &Arc<Logger>, name: &'static str) -> LogLine {
        let log = Arc::clone(self);
        Arc::new(move |level, text| log.write_from(name, level, text.as_bytes()))
    }

    fn write_from(&self, source: &'static str, level: Level, text: &[u8]) {
        if self.levels.lets_through(source, level) {
            // Whoever writes a script has asked for each of its lines.
            self.push(Line { level, source, text: text.to_vec(), is_limited: source != "script" });
        }
    }

    fn push(&self, line: Line) {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Entry::Line(line)) {
            self.dropped.increment();
        }
    }

    /// Waits until what was logged so far is written, for `within` at most: for the end of the process, which takes the
    /// thread that writes with it. False when there was not enough time.
    pub(crate) fn flush(&self, within: Duration) -> bool {
        let (done, is_done) = sync_channel(1);
        let until = Instant::now() + within;
        let mut entry = Entry::Flush(done);
        // A full queue has room as soon as one line is written.
        while let Err(TrySendError::Full(back)) = self.queue.try_send(entry) {
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
            entry = back;
        }
        is_done.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok()
    }

    /// The log as ways in and webhooks see it.
    pub(crate) fn as_say(self: &Arc<Logger>) -> Arc<::control::Say> {
        let log = Arc::clone(self);
        Arc::new(move |level: Level, text: &str| log.write_from("control", level, text.as_bytes()))
    }

    /// Writes what an operator has just asked for by a signal, however quiet the log is set.
    pub(crate) fn answer(&self, level: Level, text: &[u8]) {
        self.push(Line { level, source: "core", text: text.to_vec(), is_limited: false });
    }
}

/// The level that a script's `debug` parameter asks for, which both families count differently.
pub(crate) fn threshold(debug: i64, dialect: module_api::Dialect) -> Level {
    let notice = match dialect {
        module_api::Dialect::Ser => 2,
        module_api::Dialect::Kamailio => 1,
    };
    match debug - notice {
        2.. => Level::Debug,
        1 => Level::Info,
        0 => Level::Notice,
        -1 => Level::Warning,
        -2 => Level::Error,
        -3 => Level::Critical,
        _ => Level::Alert,
    }
}

/// The number of a facility by the name that scripts use (RFC 5424 section 6.2.1); daemon where it is none.
pub(crate) fn facility(name: &str) -> u8 {
    const NAMES: [&str; 12] =
        ["KERN", "USER", "MAIL", "DAEMON", "AUTH", "SYSLOG", "LPR", "NEWS", "UUCP", "CRON", "AUTHPRIV", "FTP"];
    let name = name.trim_start_matches("LOG_");
    let local = name.strip_prefix("LOCAL").and_then(|number| number.parse::<u8>().ok()).filter(|number| *number < 8);
    let known = NAMES.iter().position(|known| *known == name).and_then(|number| u8::try_from(number).ok());
    local.map(|number| 16 + number).or(known).unwrap_or(3)
}

/// How often it looks whether a summary is due while nobody logs.
const LOOK: Duration = Duration::from_secs(1);

fn write_all(entries: &Receiver<Entry>, output: &mut Output, dropped: &Counter) {
    let mut reported = 0;
    let mut limiter = Limiter::default();
    loop {
        let line = match entries.recv_timeout(LOOK) {
            Ok(Entry::Line(line)) => Some(line),
            Ok(Entry::Flush(done)) => {
                // Who asked may have gone: its time is over.
                let _ = done.try_send(());
                None
            }
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let now = Instant::now();
        limiter.summaries(now).iter().for_each(|summary| output.write(summary));
        if let Some(line) = line.filter(|line| limiter.passes(line, now)) {
            output.write(&line);
        }
        let lost = dropped.value();
        if lost > reported {
            let text = format!("{} log lines dropped: too many at once", lost - reported).into_bytes();
            output.write(&Line { level: Level::Warning, source: "core", text, is_limited: false });
            reported = lost;
        }
    }
}

enum Output {
    Json,
    Stderr { color: bool },
    Syslog { socket: UnixDatagram, ident: String, facility: u8 },
    Journal { socket: UnixDatagram, ident: String },
}

impl Output {
    fn open(destination: Destination, name: &str, facility: u8) -> Output {
        if destination == Destination::Json {
            return Output::Json;
        }
        let stderr = Output::Stderr { color: io::stderr().is_terminal() };
        if destination == Destination::Stderr {
            return stderr;
        }
        let connect = |path: &str| {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path).map(|()| socket)
        };
        if destination == Destination::Journal {
            let journal = connect(JOURNAL);
            return journal.map_or(stderr, |socket| Output::Journal { socket, ident: name.to_owned() });
        }
        match connect("/dev/log") {
            Ok(socket) => Output::Syslog { socket, ident: format!("{name}[{}]", std::process::id()), facility },
            // A machine without syslog still deserves a log.
            Err(_) => stderr,
        }
    }

    fn write(&mut self, line: &Line) {
        let (level, text) = (line.level, line.text.trim_ascii_end());
        match self {
            Output::Stderr { color } => {
                let (name, code) = shown(level);
                let mut line = Vec::with_capacity(text.len() + 24);
                if *color {
                    line.extend_from_slice(format!("\x1b[{code}m{name}\x1b[0m ").as_bytes());
                } else {
                    line.extend_from_slice(format!("{name} ").as_bytes());
                }
                line.extend(
                    text.iter().map(|byte| if byte.is_ascii_control() && *byte != b'\t' { b' ' } else { *byte }),
                );
                line.push(b'\n');
                // A terminal that is gone takes no log, and there is nobody left to tell.
                let _ = io::stderr().write_all(&line);
            }
            Output::Json => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                // As above: a standard error that is gone takes no log.
                let _ = io::stderr().write_all(&json_line(since, line));
            }
            Output::Syslog { socket, ident, facility } => {
                let mut line = format!("<{}>{ident}: ", *facility << 3 | severity(level)).into_bytes();
                line.extend_from_slice(text);
                // As above: a syslog that takes nothing cannot be told about it.
                let _ = socket.send(&line);
            }
            Output::Journal { socket, ident } => {
                // As above.
                let _ = socket.send(&journal_entry(line, ident));
            }
        }
    }
}

/// Where systemd's journal listens.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// Whether standard error leads to the journal: then its fields can be had as well (systemd.exec, JOURNAL_STREAM).
pub(crate) fn is_in_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(own) = nix::sys::stat::fstat(io::stderr()) else { return false };
    stream == format!("{}:{}", own.st_dev, own.st_ino)
}

/// An entry in the journal's own protocol: fields on lines.
fn journal_entry(line: &Line, ident: &str) -> Vec<u8> {
    let mut entry =
        format!("PRIORITY={}\nSYSLOG_IDENTIFIER={ident}\nSER_SOURCE={}\nMESSAGE=", severity(line.level), line.source)
            .into_bytes();
    // A line end would begin another field, which whoever sent the text could choose.
    entry.extend(line.text.trim_ascii_end().iter().map(|byte| if byte.is_ascii_control() { b' ' } else { *byte }));
    entry.push(b'\n');
    entry
}

/// A JSON object on a line: seconds since 1970, the level, who logs and the text.
fn json_line(since_1970: Duration, line: &Line) -> Vec<u8> {
    let (level, _) = shown(line.level);
    let line = serde_json::json!({
        "time": since_1970.as_secs_f64(),
        "level": level.to_lowercase(),
        "source": line.source,
        "text": String::from_utf8_lossy(line.text.trim_ascii_end()),
    });
    format!("{line}\n").into_bytes()
}

fn shown(level: Level) -> (&'static str, u8) {
    match level {
        Level::Alert => ("ALERT", 31),
        Level::Critical => ("CRITICAL", 31),
        Level::Error => ("ERROR", 31),
        Level::Warning => ("WARNING", 33),
        Level::Notice => ("NOTICE", 32),
        Level::Info => ("INFO", 36),
        Level::Debug => ("DEBUG", 90),
    }
}

/// Severity of RFC 5424 section 6.2.1.
fn severity(level: Level) -> u8 {
    match level {
        Level::Alert => 1,
        Level::Critical => 2,
        Level::Error => 3,
        Level::Warning => 4,
        Level::Notice => 5,
        Level::Info => 6,
        Level::Debug => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use module_api::Dialect;

    #[test]
    fn facilities_have_the_numbers_of_rfc_5424() {
        let cases = [("LOG_DAEMON", 3), ("LOG_LOCAL0", 16), ("LOG_LOCAL7", 23), ("LOG_USER", 1), ("LOG_AUTHPRIV", 10)];
        for (name, number) in cases {
            assert_eq!(facility(name), number, "{name}");
        }
        assert_eq!((facility("LOG_LOCAL9"), facility("nonsense")), (3, 3));
    }

    #[test]
    fn a_line_for_programs_is_one_json_object_whatever_the_text_holds() {
        let line = Line { level: Level::Error, source: "core", text: b"a \"b\"\nc\xff".to_vec(), is_limited: true };
        let line = json_line(Duration::from_millis(1_500), &line);
        assert_eq!(
            String::from_utf8_lossy(&line),
            "{\"time\":1.5,\"level\":\"error\",\"source\":\"core\",\"text\":\"a \\\"b\\\"\\nc\u{fffd}\"}\n"
        );
    }

    #[test]
    fn an_entry_of_the_journal_has_fields_that_no_text_can_add_to() {
        let text = b"from sip:a\nPRIORITY=0\x1b[2J\n".to_vec();
        let line = Line { level: Level::Warning, source: "pike", text, is_limited: true };
        assert_eq!(
            String::from_utf8_lossy(&journal_entry(&line, "ser")),
            "PRIORITY=4\nSYSLOG_IDENTIFIER=ser\nSER_SOURCE=pike\nMESSAGE=from sip:a PRIORITY=0 [2J\n"
        );
    }

    #[test]
    fn a_flush_waits_for_what_was_logged_and_not_for_a_writer_that_stalls() {
        let (queue, entries) = sync_channel(2);
        let log = Logger { queue, levels: Levels::new(Level::Debug), dropped: Counter::default() };
        let line = || Line { level: Level::Error, source: "core", text: b"text".to_vec(), is_limited: false };
        log.push(line());
        assert!(!log.flush(Duration::from_millis(20)), "nobody writes");
        // The queue is full now: of a line and of what nobody waits for any more.
        assert!(!log.flush(Duration::from_millis(20)), "nobody makes room");
        let writer = std::thread::spawn(move || {
            let mut lines = 0;
            while let Ok(entry) = entries.recv() {
                match entry {
                    Entry::Line(_) => lines += 1,
                    Entry::Flush(done) => drop(done.try_send(())),
                }
            }
            lines
        });
        assert!(log.flush(Duration::from_secs(60)));
        log.push(line());
        assert!(log.flush(Duration::from_secs(60)));
        drop(log);
        assert_eq!(writer.join().expect("it does not panic"), 2);
    }

    #[test]
    fn both_families_count_their_debug_levels_their_own_way() {
        assert_eq!(threshold(3, Dialect::Kamailio), Level::Debug);
        assert_eq!(threshold(0, Dialect::Kamailio), Level::Warning);
        assert_eq!(threshold(2, Dialect::Ser), Level::Notice);
        assert_eq!(threshold(4, Dialect::Ser), Level::Debug);
        assert_eq!(threshold(-5, Dialect::Kamailio), Level::Alert);
    }
}
