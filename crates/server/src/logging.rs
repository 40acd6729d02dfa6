//! The log: to the terminal or to syslog, without ever delaying the worker that writes.

use std::io::{self, IsTerminal, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use module_api::{Counter, Level, LogLine};

/// How many lines may wait to be written; what comes beyond is counted and dropped.
const QUEUE: usize = 4096;

/// Hands lines to a thread of its own, since a terminal or a disk may stall.
pub(crate) struct Logger {
    queue: SyncSender<(Level, Vec<u8>)>,
    threshold: AtomicU8,
    dropped: Counter,
}

/// Where the log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    /// Standard error.
    Stderr,
    /// Standard error, for programs.
    Json,
    /// The system's log.
    Syslog,
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
        Ok(Logger { queue, threshold: AtomicU8::new(threshold as u8), dropped })
    }
}

impl engine::Log for Logger {
    fn write(&self, level: Level, text: &[u8]) {
        if level as u8 <= self.threshold.load(Ordering::Relaxed) {
            self.answer(level, text);
        }
    }
}

impl Logger {
    /// Writes what is at least as loud as `threshold` from now on.
    pub(crate) fn set_threshold(&self, threshold: Level) {
        self.threshold.store(threshold as u8, Ordering::Relaxed);
    }

    /// The log as modules see it.
    pub(crate) fn for_modules(self: &Arc<Logger>) -> LogLine {
        let log = Arc::clone(self);
        Arc::new(move |level, text| engine::Log::write(&*log, level, text.as_bytes()))
    }

    /// The log as ways in and webhooks see it.
    pub(crate) fn as_say(self: &Arc<Logger>) -> Arc<::control::Say> {
        let log = Arc::clone(self);
        Arc::new(move |level: Level, text: &str| engine::Log::write(&*log, level, text.as_bytes()))
    }

    /// Writes what an operator has just asked for by a signal, however quiet the log is set.
    pub(crate) fn answer(&self, level: Level, text: &[u8]) {
        if let Err(TrySendError::Full(_)) = self.queue.try_send((level, text.to_vec())) {
            self.dropped.increment();
        }
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

fn write_all(lines: &Receiver<(Level, Vec<u8>)>, output: &mut Output, dropped: &Counter) {
    let mut reported = 0;
    for (level, text) in lines {
        output.write(level, &text);
        let lost = dropped.value();
        if lost > reported {
            output.write(Level::Warning, format!("{} log lines dropped: too many at once", lost - reported).as_bytes());
            reported = lost;
        }
    }
}

enum Output {
    Json,
    Stderr { color: bool },
    Syslog { socket: UnixDatagram, ident: String, facility: u8 },
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
        let connected = UnixDatagram::unbound().and_then(|socket| socket.connect("/dev/log").map(|()| socket));
        match connected {
            Ok(socket) => Output::Syslog { socket, ident: format!("{name}[{}]", std::process::id()), facility },
            // A machine without syslog still deserves a log.
            Err(_) => stderr,
        }
    }

    fn write(&mut self, level: Level, text: &[u8]) {
        let text = text.trim_ascii_end();
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
                let _ = io::stderr().write_all(&json_line(since, level, text));
            }
            Output::Syslog { socket, ident, facility } => {
                let mut line = format!("<{}>{ident}: ", *facility << 3 | severity(level)).into_bytes();
                line.extend_from_slice(text);
                // As above: a syslog that takes nothing cannot be told about it.
                let _ = socket.send(&line);
            }
        }
    }
}

/// A JSON object on a line: seconds since 1970, the level and the text.
fn json_line(since_1970: Duration, level: Level, text: &[u8]) -> Vec<u8> {
    let (level, _) = shown(level);
    let line = serde_json::json!({
        "time": since_1970.as_secs_f64(),
        "level": level.to_lowercase(),
        "text": String::from_utf8_lossy(text),
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
        let line = json_line(Duration::from_millis(1_500), Level::Error, b"a \"b\"\nc\xff");
        assert_eq!(
            String::from_utf8_lossy(&line),
            "{\"time\":1.5,\"level\":\"error\",\"text\":\"a \\\"b\\\"\\nc\u{fffd}\"}\n"
        );
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
