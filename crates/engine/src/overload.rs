//! More arrives than can be done: what is new waits, so that what is there can be finished.
//!
//! A server that takes everything when it is overloaded finishes nothing: each call needs several messages, and those that
//! are dropped come again. So a share of what is new is refused early, for a fraction of what a call costs (RFC 3261
//! section 21.5.4), and peers that offer it are told which share to keep to themselves (RFC 7339).

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sip_message::{Message, Method};

/// A worker that has not emptied its sockets for so long has more to do than it can: queues grow.
const PRESSED_FOR: Duration = Duration::from_millis(50);
/// How often the share is set.
const TICK: Duration = Duration::from_millis(50);
/// How much more is refused after a tick in which some worker was behind, in thousandths.
const RISE: u32 = 40;
/// How much less after one in which none was. Slower than the rise: the load is still there.
const FALL: u32 = 10;
/// Some of what is new always gets its chance, and shows whether there is room again.
const MOST: u32 = 950;

/// How much of what is new the workers refuse.
pub struct Overload {
    begin: Instant,
    /// In thousandths.
    share: AtomicU32,
    /// Whether some worker was behind in this tick.
    is_pressed: AtomicBool,
    /// Number of the tick in which the share was set last.
    tick: AtomicU64,
}

/// What the share has become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Less, more, or what it was.
    None,
    /// Something is refused from now on.
    Began,
    /// Nothing is refused any more.
    Over,
}

impl Overload {
    /// Nothing is refused.
    #[must_use]
    pub fn new(begin: Instant) -> Overload {
        Overload { begin, share: AtomicU32::new(0), is_pressed: AtomicBool::new(false), tick: AtomicU64::new(0) }
    }

    /// The share of what is new that is refused, in thousandths.
    #[must_use]
    pub fn share(&self) -> u32 {
        self.share.load(Ordering::Relaxed)
    }

    /// A worker has been behind since then.
    pub fn press(&self, since: Instant, now: Instant) {
        if now.saturating_duration_since(since) >= PRESSED_FOR {
            self.is_pressed.store(true, Ordering::Relaxed);
        }
    }

    /// Sets the share, once a tick, whoever comes first.
    pub fn adjust(&self, now: Instant) -> Change {
        let share = self.share();
        if share == 0 && !self.is_pressed.load(Ordering::Relaxed) {
            return Change::None;
        }
        let tick = (now.saturating_duration_since(self.begin).as_millis() / TICK.as_millis()) as u64;
        let before = self.tick.load(Ordering::Relaxed);
        if tick == before || self.tick.compare_exchange(before, tick, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return Change::None;
        }
        // Ticks in which nobody looked count as well.
        let ticks = u32::try_from(tick - before).unwrap_or(u32::MAX);
        let next = match self.is_pressed.swap(false, Ordering::Relaxed) {
            true => (share + RISE).min(MOST),
            false => share.saturating_sub(ticks.saturating_mul(FALL)),
        };
        self.share.store(next, Ordering::Relaxed);
        match (share, next) {
            (0, 1..) => Change::Began,
            (1.., 0) => Change::Over,
            _ => Change::None,
        }
    }
}

/// Whether a request asks for something new, rather than belongs to what is there.
pub(crate) fn is_new(request: &Message) -> bool {
    request.to_tag().is_none() && !matches!(request.method(), Method::Ack | Method::Cancel)
}

/// Whether a request is a call for help, which goes before all others: to `urn:service:sos` (RFC 5031), of the namespace
/// `esnet` (RFC 7135), or marked as an emergency (RFC 3261 section 20.26).
pub(crate) fn is_emergency(request: &Message) -> bool {
    const SOS: &[u8] = b"urn:service:sos";
    let uri = request.request_uri();
    let is_sos = uri.len() >= SOS.len() && uri[..SOS.len()].eq_ignore_ascii_case(SOS);
    let has = |name: &str, word: &[u8]| {
        request
            .headers_with_name(name.as_bytes())
            .any(|header| header.value.len() >= word.len() && header.value[..word.len()].eq_ignore_ascii_case(word))
    };
    is_sos || has("Priority", b"emergency") || has("Resource-Priority", b"esnet.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(begin: Instant, milliseconds: u64) -> Instant {
        begin + Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_worker_that_is_behind_makes_the_share_rise_and_time_without_one_makes_it_fall() {
        let begin = Instant::now();
        let overload = Overload::new(begin);
        overload.press(begin, at(begin, 49));
        assert_eq!((overload.adjust(at(begin, 60)), overload.share()), (Change::None, 0));
        overload.press(begin, at(begin, 60));
        assert_eq!((overload.adjust(at(begin, 60)), overload.share()), (Change::Began, 40));
        // Once a tick, however often it is asked.
        overload.press(begin, at(begin, 70));
        assert_eq!((overload.adjust(at(begin, 70)), overload.share()), (Change::None, 40));
        assert_eq!((overload.adjust(at(begin, 110)), overload.share()), (Change::None, 80));
        assert_eq!((overload.adjust(at(begin, 160)), overload.share()), (Change::None, 70));
        assert_eq!((overload.adjust(at(begin, 10_000)), overload.share()), (Change::Over, 0));
    }

    #[test]
    fn something_always_gets_its_chance() {
        let begin = Instant::now();
        let overload = Overload::new(begin);
        for tick in 1..1000 {
            overload.press(begin, at(begin, tick * 50));
            overload.adjust(at(begin, tick * 50));
        }
        assert_eq!(overload.share(), MOST);
    }
}
