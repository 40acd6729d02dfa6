//! Client side of a transaction other than INVITE.

use std::time::Instant;

use super::timers::{Intervals, after, earlier, is_due};
use super::{ClientTimer, ClientVerdict, Timers};

/// Client side of a non-INVITE transaction (RFC 3261 section 17.1.2). Also of our CANCEL.
///
/// Pure: it opens no socket and reads no clock. Feed it what happened; it says what to do.
/// Time must not run backwards between calls.
#[derive(Debug, Clone)]
pub struct NonInviteClient {
    /// Timer E.
    resend: Option<Instant>,
    /// Timer F or K.
    end: Option<Instant>,
    intervals: Intervals,
    /// Of Timer E, in milliseconds.
    interval: u32,
    state: NonInviteClientState,
    is_reliable: bool,
}

/// Where a non-INVITE client transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonInviteClientState {
    /// Nothing has come back.
    Trying,
    /// A provisional response has come.
    Proceeding,
    /// A final response has come; its repetitions are absorbed.
    Completed,
    /// Over.
    Terminated,
}

impl NonInviteClient {
    /// Begins with the request that leaves now over a transport that `is_reliable`, or not.
    pub fn new(is_reliable: bool, timers: &Timers, now: Instant) -> NonInviteClient {
        let intervals = Intervals::new(timers);
        let interval = intervals.t1();
        NonInviteClient {
            // Timer E does not run over a reliable transport (17.1.2.2).
            resend: if is_reliable { None } else { after(now, interval) },
            end: now.checked_add(timers.request_timeout),
            intervals,
            interval,
            state: NonInviteClientState::Trying,
            is_reliable,
        }
    }

    /// Where it stands.
    pub fn state(&self) -> NonInviteClientState {
        self.state
    }

    /// Whether it is over.
    pub fn is_terminated(&self) -> bool {
        self.state == NonInviteClientState::Terminated
    }

    /// When [`NonInviteClient::on_timer`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        earlier(self.resend, self.end)
    }

    /// A response with this status came.
    pub fn on_response(&mut self, status: u16, now: Instant) -> ClientVerdict {
        match self.state {
            NonInviteClientState::Trying | NonInviteClientState::Proceeding => {
                if status < 200 {
                    // Timer E goes on, at T2 from its next firing (17.1.2.2).
                    self.state = NonInviteClientState::Proceeding;
                } else {
                    self.complete(now);
                }
                ClientVerdict::Pass
            }
            NonInviteClientState::Completed | NonInviteClientState::Terminated => ClientVerdict::Absorb,
        }
    }

    /// Does what is due at `now`.
    pub fn on_timer(&mut self, now: Instant) -> ClientTimer {
        if is_due(self.end, now) {
            let is_completed = self.state == NonInviteClientState::Completed;
            self.terminate();
            return if is_completed { ClientTimer::Terminated } else { ClientTimer::TimedOut };
        }
        if !is_due(self.resend, now) {
            return ClientTimer::None;
        }
        self.interval = match self.state {
            NonInviteClientState::Proceeding => self.intervals.t2(),
            NonInviteClientState::Trying | NonInviteClientState::Completed | NonInviteClientState::Terminated => {
                self.intervals.doubled(self.interval)
            }
        };
        self.resend = after(now, self.interval);
        ClientTimer::Resend
    }

    /// The request could not be sent. Returns whether the proxy is to be told: to it this is a 503
    /// (RFC 3261 section 16.9).
    pub fn on_transport_error(&mut self) -> bool {
        match self.state {
            NonInviteClientState::Trying | NonInviteClientState::Proceeding => {
                self.terminate();
                true
            }
            NonInviteClientState::Completed | NonInviteClientState::Terminated => false,
        }
    }

    fn complete(&mut self, now: Instant) {
        // Timer K: T4 over UDP, zero over a reliable transport (17.1.2.2).
        if self.is_reliable {
            return self.terminate();
        }
        self.state = NonInviteClientState::Completed;
        self.resend = None;
        self.end = now.checked_add(self.intervals.t4());
    }

    fn terminate(&mut self) {
        self.state = NonInviteClientState::Terminated;
        self.resend = None;
        self.end = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn trying(is_reliable: bool) -> (impl Fn(u64) -> Instant, NonInviteClient) {
        let start = Instant::now();
        let at = move |milliseconds| start + Duration::from_millis(milliseconds);
        (at, NonInviteClient::new(is_reliable, &Timers::default(), start))
    }

    #[test]
    fn timer_e_doubles_up_to_t2_until_timer_f() {
        let (at, mut machine) = trying(false);
        let mut fired = Vec::new();
        for time in (0..=32_000).step_by(100) {
            match machine.on_timer(at(time)) {
                ClientTimer::None => {}
                event => fired.push((time, event)),
            }
        }
        let resends = [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500];
        assert_eq!(fired[..10], resends.map(|time| (time, ClientTimer::Resend)));
        assert_eq!(fired[10..], [(32_000, ClientTimer::TimedOut)]);
    }

    #[test]
    fn timer_e_does_not_run_over_a_reliable_transport() {
        let (at, machine) = trying(true);
        assert_eq!(machine.deadline(), Some(at(32_000)));
    }

    #[test]
    fn timer_f_ends_a_request_that_nobody_answers() {
        let (at, mut machine) = trying(true);
        assert_eq!(machine.on_timer(at(31_999)), ClientTimer::None);
        assert_eq!(machine.on_timer(at(32_000)), ClientTimer::TimedOut);
        assert!(machine.is_terminated());
    }

    #[test]
    fn timer_f_also_ends_a_request_in_proceeding() {
        let (at, mut machine) = trying(true);
        machine.on_response(100, at(10));
        assert_eq!(machine.on_timer(at(32_000)), ClientTimer::TimedOut);
        assert!(machine.is_terminated());
    }

    #[test]
    fn timer_e_runs_at_t2_after_a_provisional_response() {
        let (at, mut machine) = trying(false);
        assert_eq!(machine.on_response(100, at(100)), ClientVerdict::Pass);
        assert_eq!(machine.state(), NonInviteClientState::Proceeding);
        assert_eq!(machine.on_timer(at(500)), ClientTimer::Resend);
        assert_eq!(machine.deadline(), Some(at(4_500)));
        assert_eq!(machine.on_timer(at(4_500)), ClientTimer::Resend);
        assert_eq!(machine.deadline(), Some(at(8_500)));
    }

    #[test]
    fn further_provisional_responses_pass() {
        let (at, mut machine) = trying(false);
        machine.on_response(100, at(100));
        assert_eq!(machine.on_response(100, at(200)), ClientVerdict::Pass);
    }

    #[test]
    fn a_final_response_from_trying_completes() {
        let (at, mut machine) = trying(false);
        assert_eq!(machine.on_response(404, at(100)), ClientVerdict::Pass);
        assert_eq!(machine.state(), NonInviteClientState::Completed);
    }

    #[test]
    fn a_final_response_from_proceeding_completes() {
        let (at, mut machine) = trying(false);
        machine.on_response(100, at(100));
        assert_eq!(machine.on_response(200, at(200)), ClientVerdict::Pass);
        assert_eq!(machine.state(), NonInviteClientState::Completed);
    }

    #[test]
    fn timer_k_absorbs_repeated_responses_for_t4_over_udp() {
        let (at, mut machine) = trying(false);
        machine.on_response(200, at(100));
        assert_eq!(machine.on_response(200, at(200)), ClientVerdict::Absorb);
        assert_eq!(machine.deadline(), Some(at(5_100)));
        assert_eq!(machine.on_timer(at(5_100)), ClientTimer::Terminated);
        assert!(machine.is_terminated());
    }

    #[test]
    fn timer_k_is_zero_over_a_reliable_transport() {
        let (at, mut machine) = trying(true);
        machine.on_response(200, at(100));
        assert!(machine.is_terminated());
    }

    #[test]
    fn a_transport_error_is_told_to_the_proxy() {
        let (at, mut machine) = trying(false);
        assert!(machine.on_transport_error());
        assert!(machine.is_terminated());
        let (_, mut machine) = trying(false);
        machine.on_response(100, at(0));
        assert!(machine.on_transport_error());
    }

    #[test]
    fn a_transport_error_after_the_final_response_changes_nothing() {
        let (at, mut machine) = trying(false);
        machine.on_response(200, at(0));
        assert!(!machine.on_transport_error());
        assert_eq!(machine.state(), NonInviteClientState::Completed);
    }
}
