//! Lines of one cause are written so many times and then counted: a flood tells no more than its begin.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use module_api::Level;

use crate::logging::Line;

/// Counts lines by cause.
#[derive(Default)]
pub(crate) struct Limiter {
    causes: HashMap<u64, Cause>,
}

struct Cause {
    since: Instant,
    count: u32,
    left_out: u64,
    /// Its first line that was left out, for the summary.
    sample: Vec<u8>,
    level: Level,
    source: &'static str,
}

/// Lines of one cause within a window.
const BURST: u32 = 50;
/// After it a cause begins anew.
const WINDOW: Duration = Duration::from_secs(10);
/// Causes that are told apart; beyond that all that are new go through.
const CAUSES: usize = 1024;
/// How much of a line makes its cause.
const LOOKED_AT: usize = 96;
/// How much of a line a summary shows.
const SHOWN: usize = 200;

impl Limiter {
    /// Whether a line is written. What a script logs always is: its author has asked for each line.
    pub(crate) fn passes(&mut self, line: &Line, now: Instant) -> bool {
        if !line.is_limited {
            return true;
        }
        let key = cause(line);
        if self.causes.len() >= CAUSES && !self.causes.contains_key(&key) {
            return true;
        }
        let cause = self.causes.entry(key).or_insert_with(|| Cause {
            since: now,
            count: 0,
            left_out: 0,
            sample: Vec::new(),
            level: line.level,
            source: line.source,
        });
        cause.count += 1;
        if cause.count <= BURST {
            return true;
        }
        if cause.left_out == 0 {
            cause.sample = line.text[..line.text.len().min(SHOWN)].to_vec();
        }
        cause.left_out += 1;
        false
    }

    /// Sums up what was left out of the windows that are over.
    pub(crate) fn summaries(&mut self, now: Instant) -> Vec<Line> {
        let mut summaries = Vec::new();
        self.causes.retain(|_, cause| {
            if now.saturating_duration_since(cause.since) < WINDOW {
                return true;
            }
            if cause.left_out > 0 {
                let text = format!("{} more lines like this one are left out: ", cause.left_out);
                let text = [text.as_bytes(), &cause.sample].concat();
                summaries.push(Line { level: cause.level, source: cause.source, text, is_limited: false });
            }
            false
        });
        summaries
    }
}

/// A hash of a line without its numbers: addresses, ports and counts differ from line to line, the cause does not.
fn cause(line: &Line) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    add(line.level as u8);
    line.source.bytes().for_each(&mut add);
    let mut was_digit = false;
    for byte in line.text.iter().take(LOOKED_AT) {
        let is_digit = byte.is_ascii_digit();
        if !(is_digit && was_digit) {
            add(if is_digit { b'0' } else { *byte });
        }
        was_digit = is_digit;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line { level: Level::Warning, source: "core", text: text.as_bytes().to_vec(), is_limited: true }
    }

    #[test]
    fn a_flood_of_one_cause_is_cut_off_and_summed_up() {
        let (mut limiter, begin) = (Limiter::default(), Instant::now());
        let written =
            (0..1000).filter(|n| limiter.passes(&line(&format!("peer 192.0.2.{n}:{n} is away")), begin)).count();
        assert_eq!(written, BURST as usize);
        assert!(limiter.passes(&line("something else"), begin), "other causes go through");
        assert!(limiter.summaries(begin + WINDOW / 2).is_empty());
        let summaries = limiter.summaries(begin + WINDOW);
        let texts: Vec<_> = summaries.iter().map(|line| String::from_utf8_lossy(&line.text)).collect();
        assert_eq!(texts, ["950 more lines like this one are left out: peer 192.0.2.50:50 is away"]);
        assert!(limiter.passes(&line("peer 192.0.2.1:1 is away"), begin + WINDOW), "a new window begins");
    }

    #[test]
    fn what_was_asked_for_is_always_written() {
        let (mut limiter, begin) = (Limiter::default(), Instant::now());
        let asked = |_: &i32| Line { is_limited: false, ..line("a script logs") };
        assert_eq!((0..1000).filter(|n| limiter.passes(&asked(n), begin)).count(), 1000);
    }

    #[test]
    fn causes_without_number_take_no_memory_without_end() {
        let (mut limiter, begin) = (Limiter::default(), Instant::now());
        for n in 0..5000_u32 {
            let name: String = n.to_string().bytes().map(|digit| char::from(digit + 50)).collect();
            assert!(limiter.passes(&line(&name), begin));
        }
        assert!(limiter.causes.len() <= CAUSES);
    }
}
