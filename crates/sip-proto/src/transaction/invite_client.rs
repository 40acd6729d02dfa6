//! Client side of an INVITE transaction.

use std::time::Instant;

use super::timers::{Intervals, after, earlier, is_due};
use super::{ClientTimer, ClientVerdict, Timers};

/// Client side of an INVITE transaction (RFC 3261 section 17.1.1 as RFC 6026 section 7.2 corrects it).
///
/// Pure: it opens no socket and reads no clock. Feed it what happened; it says what to do.
/// Time must not run backwards between calls. Timer C belongs to the proxy, not to this machine:
/// see [`crate::response_context::TimerC`].
#[derive(Debug, Clone)]
pub struct InviteClient {
    /// Timer A.
    resend: Option<Instant>,
    /// Timer B, D or M.
    end: Option<Instant>,
    intervals: Intervals,
    /// Of Timer A, in milliseconds.
    interval: u32,
    state: InviteClientState,
    is_reliable: bool,
}

/// Where an INVITE client transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InviteClientState {
    /// Nothing has come back.
    Calling,
    /// A provisional response has come.
    Proceeding,
    /// A failure has come; its repetitions are acknowledged again.
    Completed,
    /// A 2xx has come; further ones pass (RFC 6026).
    Accepted,
    /// Over.
    Terminated,
}

impl InviteClient {
    /// Begins with the INVITE that leaves now over a transport that `is_reliable`, or not.
    pub fn new(is_reliable: bool, timers: &Timers, now: Instant) -> InviteClient {
        let intervals = Intervals::new(timers);
        let interval = intervals.t1();
        InviteClient {
            // Timer A does not run over a reliable transport (17.1.1.2).
            resend: if is_reliable { None } else { after(now, interval) },
            end: now.checked_add(timers.invite_timeout),
            intervals,
            interval,
            state: InviteClientState::Calling,
            is_reliable,
        }
    }

    /// Where it stands.
    pub fn state(&self) -> InviteClientState {
        self.state
    }

    /// Whether it is over.
    pub fn is_terminated(&self) -> bool {
        self.state == InviteClientState::Terminated
    }

    /// When [`InviteClient::on_timer`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        earlier(self.resend, self.end)
    }

    /// A response with this status came.
    pub fn on_response(&mut self, status: u16, now: Instant) -> ClientVerdict {
        match self.state {
            InviteClientState::Calling | InviteClientState::Proceeding => self.advance(status, now),
            InviteClientState::Completed if status >= 300 => ClientVerdict::AckAgain,
            InviteClientState::Accepted if (200..300).contains(&status) => ClientVerdict::Pass,
            InviteClientState::Completed | InviteClientState::Accepted | InviteClientState::Terminated => {
                ClientVerdict::Absorb
            }
        }
    }

    /// Does what is due at `now`.
    pub fn on_timer(&mut self, now: Instant) -> ClientTimer {
        if is_due(self.end, now) {
            let is_calling = self.state == InviteClientState::Calling;
            self.terminate();
            return if is_calling { ClientTimer::TimedOut } else { ClientTimer::Terminated };
        }
        if !is_due(self.resend, now) {
            return ClientTimer::None;
        }
        // Timer A doubles without bound: T2 does not apply to INVITE (17.1.1.2).
        self.interval = self.interval.saturating_mul(2);
        self.resend = after(now, self.interval);
        ClientTimer::Resend
    }

    /// The INVITE, or the ACK to its failure, could not be sent. Returns whether the proxy is to be
    /// told: to it this is a 503 (RFC 3261 section 16.9).
    pub fn on_transport_error(&mut self) -> bool {
        match self.state {
            InviteClientState::Calling | InviteClientState::Completed => {
                let is_calling = self.state == InviteClientState::Calling;
                self.terminate();
                is_calling
            }
            // Nothing is being sent in these states; the response may come over another connection.
            InviteClientState::Proceeding | InviteClientState::Accepted | InviteClientState::Terminated => false,
        }
    }

    fn advance(&mut self, status: u16, now: Instant) -> ClientVerdict {
        self.resend = None;
        self.end = None;
        match status {
            ..200 => {
                self.state = InviteClientState::Proceeding;
                ClientVerdict::Pass
            }
            200..300 => {
                // Timer M (RFC 6026 section 7.2).
                self.state = InviteClientState::Accepted;
                self.end = now.checked_add(self.intervals.t1_times_64());
                ClientVerdict::Pass
            }
            300.. => {
                // Timer D: at least 32 s over UDP, zero over a reliable transport (17.1.1.2).
                self.state = InviteClientState::Completed;
                if self.is_reliable {
                    self.terminate();
                } else {
                    self.end = now.checked_add(self.intervals.linger_d());
                }
                ClientVerdict::AckAndPass
            }
        }
    }

    fn terminate(&mut self) {
        self.state = InviteClientState::Terminated;
        self.resend = None;
        self.end = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn calling(is_reliable: bool) -> (impl Fn(u64) -> Instant, InviteClient) {
        let start = Instant::now();
        let at = move |milliseconds| start + Duration::from_millis(milliseconds);
        (at, InviteClient::new(is_reliable, &Timers::default(), start))
    }

    #[test]
    fn timer_a_doubles_without_bound_until_timer_b() {
        let (at, mut machine) = calling(false);
        let mut fired = Vec::new();
        for time in (0..=32_000).step_by(100) {
            match machine.on_timer(at(time)) {
                ClientTimer::None => {}
                event => fired.push((time, event)),
            }
        }
        let resends = [500, 1500, 3500, 7500, 15500, 31500].map(|time| (time, ClientTimer::Resend));
        assert_eq!(fired[..6], resends);
        assert_eq!(fired[6..], [(32_000, ClientTimer::TimedOut)]);
        assert!(machine.is_terminated());
    }

    #[test]
    fn timer_a_does_not_run_over_a_reliable_transport() {
        let (at, machine) = calling(true);
        assert_eq!(machine.deadline(), Some(at(32_000)));
    }

    #[test]
    fn timer_b_ends_an_invite_that_nobody_answers() {
        let (at, mut machine) = calling(true);
        assert_eq!(machine.on_timer(at(31_999)), ClientTimer::None);
        assert_eq!(machine.on_timer(at(32_000)), ClientTimer::TimedOut);
        assert!(machine.is_terminated());
    }

    #[test]
    fn timer_b_can_be_set_by_itself() {
        let start = Instant::now();
        let timers = Timers { invite_timeout: Duration::from_secs(2), ..Timers::default() };
        let mut machine = InviteClient::new(true, &timers, start);
        assert_eq!(machine.on_timer(start + Duration::from_secs(2)), ClientTimer::TimedOut);
    }

    #[test]
    fn a_provisional_response_stops_timers_a_and_b() {
        let (at, mut machine) = calling(false);
        assert_eq!(machine.on_response(100, at(100)), ClientVerdict::Pass);
        assert_eq!(machine.state(), InviteClientState::Proceeding);
        assert_eq!(machine.deadline(), None);
    }

    #[test]
    fn further_provisional_responses_pass() {
        let (at, mut machine) = calling(false);
        machine.on_response(100, at(100));
        assert_eq!(machine.on_response(180, at(200)), ClientVerdict::Pass);
        assert_eq!(machine.state(), InviteClientState::Proceeding);
    }

    #[test]
    fn a_2xx_from_calling_is_accepted() {
        let (at, mut machine) = calling(false);
        assert_eq!(machine.on_response(200, at(100)), ClientVerdict::Pass);
        assert_eq!(machine.state(), InviteClientState::Accepted);
    }

    #[test]
    fn a_2xx_from_proceeding_is_accepted() {
        let (at, mut machine) = calling(false);
        machine.on_response(180, at(100));
        assert_eq!(machine.on_response(202, at(200)), ClientVerdict::Pass);
        assert_eq!(machine.state(), InviteClientState::Accepted);
    }

    #[test]
    fn further_2xx_pass_in_accepted_and_nothing_else_does() {
        let (at, mut machine) = calling(false);
        machine.on_response(200, at(100));
        assert_eq!(machine.on_response(200, at(200)), ClientVerdict::Pass);
        assert_eq!(machine.on_response(180, at(300)), ClientVerdict::Absorb);
        assert_eq!(machine.on_response(486, at(400)), ClientVerdict::Absorb);
        assert_eq!(machine.state(), InviteClientState::Accepted);
    }

    #[test]
    fn timer_m_ends_an_accepted_invite_after_64_t1_over_any_transport() {
        for is_reliable in [false, true] {
            let (at, mut machine) = calling(is_reliable);
            machine.on_response(200, at(0));
            assert_eq!(machine.on_timer(at(31_999)), ClientTimer::None);
            assert_eq!(machine.on_timer(at(32_000)), ClientTimer::Terminated);
            assert!(machine.is_terminated());
        }
    }

    #[test]
    fn a_failure_from_calling_is_acknowledged_and_passes() {
        let (at, mut machine) = calling(false);
        assert_eq!(machine.on_response(486, at(100)), ClientVerdict::AckAndPass);
        assert_eq!(machine.state(), InviteClientState::Completed);
    }

    #[test]
    fn a_failure_from_proceeding_is_acknowledged_and_passes() {
        let (at, mut machine) = calling(false);
        machine.on_response(180, at(50));
        assert_eq!(machine.on_response(300, at(100)), ClientVerdict::AckAndPass);
        assert_eq!(machine.state(), InviteClientState::Completed);
    }

    #[test]
    fn a_repeated_failure_is_acknowledged_again() {
        let (at, mut machine) = calling(false);
        machine.on_response(486, at(100));
        assert_eq!(machine.on_response(486, at(600)), ClientVerdict::AckAgain);
        assert_eq!(machine.on_response(180, at(700)), ClientVerdict::Absorb);
        assert_eq!(machine.on_response(200, at(800)), ClientVerdict::Absorb);
    }

    #[test]
    fn timer_d_ends_a_failed_invite_after_32_s_over_udp() {
        let (at, mut machine) = calling(false);
        machine.on_response(486, at(0));
        assert_eq!(machine.deadline(), Some(at(32_000)));
        assert_eq!(machine.on_timer(at(32_000)), ClientTimer::Terminated);
        assert!(machine.is_terminated());
    }

    #[test]
    fn timer_d_is_zero_over_a_reliable_transport() {
        let (at, mut machine) = calling(true);
        assert_eq!(machine.on_response(486, at(0)), ClientVerdict::AckAndPass);
        assert!(machine.is_terminated());
        assert_eq!(machine.on_response(486, at(1)), ClientVerdict::Absorb);
    }

    #[test]
    fn a_transport_error_while_calling_is_told_to_the_proxy() {
        let (_, mut machine) = calling(false);
        assert!(machine.on_transport_error());
        assert!(machine.is_terminated());
    }

    #[test]
    fn a_transport_error_of_the_ack_ends_it_quietly() {
        let (at, mut machine) = calling(false);
        machine.on_response(486, at(0));
        // Deviates from figure 5, which informs the TU: the proxy has its final response already.
        assert!(!machine.on_transport_error());
        assert!(machine.is_terminated());
    }

    #[test]
    fn a_transport_error_after_a_provisional_response_changes_nothing() {
        let (at, mut machine) = calling(true);
        machine.on_response(180, at(0));
        assert!(!machine.on_transport_error());
        assert_eq!(machine.state(), InviteClientState::Proceeding);
    }
}
