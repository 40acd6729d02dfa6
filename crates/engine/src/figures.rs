//! What is measured: how long requests take, how sessions and registrations fare (RFC 6076), how full the queues are.
//!
//! Everything here belongs to one worker, which alone writes it; see [`module_api::Histogram`]. Times within a turn
//! are taken once, when the turn's messages have left, so that a busy turn pays for one look at the clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use module_api::{Counter, Histogram, Scale};
use sip_message::Method;

use crate::calls::Calls;
use crate::peers::Peers;
use crate::statistics::{METHODS, Statistics};

/// What one worker measures.
pub(crate) struct Figures {
    answer: Vec<Histogram>,
    forward: Vec<Histogram>,
    script: Vec<Histogram>,
    pub(crate) script_wait: Histogram,
    pub(crate) name_wait: Histogram,
    pub(crate) registration_delay: Histogram,
    pub(crate) session_delay: Histogram,
    pub(crate) failed_session_delay: Histogram,
    pub(crate) disconnect_delay: Histogram,
    pub(crate) call_duration: Histogram,
    pub(crate) outcomes: Outcomes,
    pub(crate) calls: Calls,
    pub(crate) board: Arc<Board>,
    /// What leaves at the end of this turn.
    leaving: Vec<(Leaving, Method, Instant)>,
}

/// What a message that leaves is to the request that caused it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// Its first final reply.
    Answer,
    /// Its first copy to a next hop.
    Forward,
    /// The 2xx to a REGISTER that needed no transaction.
    Registered,
    /// The refusal of an INVITE that needed no transaction.
    Refused,
}

/// What others may read of a worker at any time.
#[derive(Default)]
pub(crate) struct Board {
    /// Runs and lookups that wait.
    pub(crate) parked: AtomicU64,
    /// Calls that have been answered and not ended.
    pub(crate) calls: AtomicU64,
    /// Jobs of modules that are not due yet.
    pub(crate) deferred: AtomicU64,
    pub(crate) peers: Peers,
}

/// How attempts ended. Each final reply to a REGISTER, or to an INVITE outside of a dialog, counts once.
///
/// A challenge (401, 407) and 402 are no outcome: RFC 6076 section 4.2 says so of registrations, and the request
/// with credentials that follows is the attempt, for sessions alike.
#[derive(Clone)]
pub(crate) struct Outcomes {
    pub(crate) registrations: Counter,
    pub(crate) failed_registrations: Counter,
    pub(crate) sessions: Counter,
    pub(crate) established: Counter,
    pub(crate) redirected: Counter,
    pub(crate) effective: Counter,
    pub(crate) ineffective: Counter,
    pub(crate) completed: Counter,
}

impl Figures {
    /// Figures of one more worker.
    pub(crate) fn new(statistics: &Statistics) -> Figures {
        let registry = &statistics.registry;
        let by_method = |name, doc| {
            let share = |method: &&'static str| {
                registry.histogram(("core", name), doc, Scale::LATENCY, Some(("method", method)))
            };
            METHODS.iter().map(share).collect()
        };
        let alone = |group, name, doc, scale| registry.histogram((group, name), doc, scale, None);
        let wait = |kind| {
            let doc = "How long a request waited for a database, a program or another server (script), or for DNS.";
            registry.histogram(("core", "wait_seconds"), doc, Scale::LATENCY, Some(("for", kind)))
        };
        let rfc6076 = |name, doc| alone("rfc6076", name, doc, Scale::LATENCY);
        let board = Arc::new(Board::default());
        statistics.enter(Arc::clone(&board));
        Figures {
            answer: by_method("answer_seconds", "From a request in to its first final reply out."),
            forward: by_method("forward_seconds", "From a request in to its first copy out."),
            script: by_method("script_seconds", "Time that a request spent in the script, waits aside."),
            script_wait: wait("script"),
            name_wait: wait("dns"),
            registration_delay: rfc6076(
                "registration_request_delay_seconds",
                "RRD: from a REGISTER to its 2xx, as seen here (RFC 6076 section 4.1).",
            ),
            session_delay: rfc6076(
                "session_request_delay_seconds",
                "SRD: from an INVITE to the first sign of success (RFC 6076 section 4.3.1).",
            ),
            failed_session_delay: rfc6076(
                "failed_session_request_delay_seconds",
                "SRD of failures: from an INVITE to its refusal (RFC 6076 section 4.3.2).",
            ),
            disconnect_delay: rfc6076(
                "session_disconnect_delay_seconds",
                "SDD: from a BYE to its 2xx (RFC 6076 section 4.4).",
            ),
            call_duration: alone(
                "rfc6076",
                "session_duration_seconds",
                "SDT: from the 2xx of an INVITE to the BYE, of calls whose BYE comes by here (RFC 6076 section 4.5).",
                Scale::CALL,
            ),
            outcomes: statistics.outcomes.clone(),
            calls: Calls::default(),
            board,
            leaving: Vec::new(),
        }
    }

    /// A message that a request of `method` caused leaves at the end of this turn; the request came at `born`.
    pub(crate) fn leaves(&mut self, what: Leaving, method: Method, born: Instant) {
        self.leaving.push((what, method, born));
    }

    /// Everything of the turn has left.
    pub(crate) fn have_left(&mut self, now: Instant) {
        for (what, method, born) in self.leaving.drain(..) {
            let of = match what {
                Leaving::Answer => &self.answer[method as usize],
                Leaving::Forward => &self.forward[method as usize],
                Leaving::Registered => &self.registration_delay,
                Leaving::Refused => &self.failed_session_delay,
            };
            of.observe_time(now.saturating_duration_since(born));
        }
    }

    /// Whether something waits for [`Figures::have_left`].
    pub(crate) fn has_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }

    pub(crate) fn script_ran(&self, method: Method, spent: Duration) {
        self.script[method as usize].observe_time(spent);
    }
}

impl Board {
    pub(crate) fn set(cell: &AtomicU64, value: usize) {
        cell.store(value as u64, Ordering::Relaxed);
    }
}

impl Outcomes {
    pub(crate) fn shown_in(registry: &module_api::Statistics) -> Outcomes {
        let counter = |name: &'static str, doc: &'static str| registry.counter("rfc6076", name, doc);
        let outcomes = Outcomes {
            registrations: counter("registrations", "REGISTER requests that were answered, challenges aside."),
            failed_registrations: counter("failed_registrations", "Those refused with 4xx, 5xx or 6xx."),
            sessions: counter("sessions", "INVITE requests outside of dialogs that were answered, challenges aside."),
            established: counter("established_sessions", "Those answered with 2xx."),
            redirected: counter("redirected_sessions", "Those answered with 3xx."),
            effective: counter("effective_sessions", "Those answered with 2xx, 480, 486, 600 or 603."),
            ineffective: counter("ineffective_sessions", "Those answered with 408, 500, 503 or 504."),
            completed: counter("completed_sessions", "Calls that were answered and ended by a BYE that came by here."),
        };
        let ratio = |name: &'static str, doc: &'static str, read: fn(&Outcomes) -> (u64, u64)| {
            let outcomes = outcomes.clone();
            registry.ratio(("rfc6076", name), doc, move || {
                let (part, whole) = read(&outcomes);
                (whole > 0).then(|| part as f64 / whole as f64)
            });
        };
        ratio(
            "ineffective_registration_attempts_ratio",
            "IRA: share of registrations that failed (RFC 6076 section 4.2).",
            |one| (one.failed_registrations.value(), one.registrations.value()),
        );
        ratio(
            "session_establishment_ratio",
            "SER: share of sessions that were established, redirections aside (RFC 6076 section 4.6).",
            |one| (one.established.value(), one.not_redirected()),
        );
        ratio(
            "session_establishment_effectiveness_ratio",
            "SEER: share of sessions that reached somebody, redirections aside (RFC 6076 section 4.7).",
            |one| (one.effective.value(), one.not_redirected()),
        );
        ratio(
            "ineffective_session_attempts_ratio",
            "ISA: share of sessions that failed for a fault of the network (RFC 6076 section 4.8).",
            |one| (one.ineffective.value(), one.sessions.value()),
        );
        ratio(
            "session_completion_ratio",
            "SCR: share of sessions that were established and ended in order (RFC 6076 section 4.9).",
            |one| (one.completed.value(), one.sessions.value()),
        );
        outcomes
    }

    fn not_redirected(&self) -> u64 {
        self.sessions.value().saturating_sub(self.redirected.value())
    }

    /// The final reply to a REGISTER.
    pub(crate) fn registered(&self, status: u16) {
        if is_challenge(status) {
            return;
        }
        self.registrations.increment();
        if status >= 400 {
            self.failed_registrations.increment();
        }
    }

    /// The final reply to an INVITE outside of a dialog.
    pub(crate) fn answered(&self, status: u16) {
        if is_challenge(status) {
            return;
        }
        self.sessions.increment();
        match status {
            200..=299 => self.established.increment(),
            300..=399 => self.redirected.increment(),
            408 | 500 | 503 | 504 => self.ineffective.increment(),
            _ => {}
        }
        if matches!(status, 200..=299 | 480 | 486 | 600 | 603) {
            self.effective.increment();
        }
    }
}

/// Whether a status asks the caller to come again and is no verdict (RFC 6076 section 4.2).
pub(crate) fn is_challenge(status: u16) -> bool {
    matches!(status, 401 | 402 | 407)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_counted_as_rfc_6076_says() {
        let registry = module_api::Statistics::default();
        let outcomes = Outcomes::shown_in(&registry);
        let ratio = |name: &str| registry.ratios().iter().find(|one| one.name == name).expect("it is there").value();
        assert_eq!(ratio("session_establishment_ratio"), None, "of nothing there is no share");
        [200, 200, 302, 407, 480, 486, 408, 503, 404, 603].into_iter().for_each(|status| outcomes.answered(status));
        outcomes.completed.increment();
        assert_eq!(outcomes.sessions.value(), 9);
        assert_eq!(ratio("session_establishment_ratio"), Some(2.0 / 8.0));
        assert_eq!(ratio("session_establishment_effectiveness_ratio"), Some(5.0 / 8.0));
        assert_eq!(ratio("ineffective_session_attempts_ratio"), Some(2.0 / 9.0));
        assert_eq!(ratio("session_completion_ratio"), Some(1.0 / 9.0));
        [401, 200, 200, 403, 503].into_iter().for_each(|status| outcomes.registered(status));
        assert_eq!(ratio("ineffective_registration_attempts_ratio"), Some(0.5));
    }
}
