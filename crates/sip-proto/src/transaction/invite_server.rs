//! Server side of an INVITE transaction.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::timers::{Intervals, after, earlier, is_due};
use super::{ServerTimer, Timers};

/// Server side of an INVITE transaction (RFC 3261 section 17.2.1 as RFC 6026 section 7.1 corrects it).
///
/// Pure: it opens no socket and reads no clock. Feed it what happened; it says what to do.
/// Time must not run backwards between calls. A transport error changes none of its states
/// (RFC 6026 figure 5), so there is no event for it.
#[derive(Debug, Clone)]
pub struct InviteServer {
    /// The latest response, for retransmission.
    response: Option<Bytes>,
    /// Timer G.
    resend: Option<Instant>,
    /// Timer H, I or L; before any response the moment at which a 100 is due.
    end: Option<Instant>,
    intervals: Intervals,
    /// Of Timer G, in milliseconds.
    interval: u32,
    state: InviteServerState,
    is_reliable: bool,
}

/// Where an INVITE server transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InviteServerState {
    /// No final response yet.
    Proceeding,
    /// A failure has gone out and is repeated until its ACK comes.
    Completed,
    /// The ACK has come; its repetitions are absorbed.
    Confirmed,
    /// A 2xx has gone out; repeated INVITEs are absorbed, further 2xx pass (RFC 6026).
    Accepted,
    /// Over.
    Terminated,
}

/// What to do with an ACK that matched the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ack {
    /// It was for this hop.
    Absorbed,
    /// It acknowledges a 2xx: the proxy routes it on as a request of its own.
    Pass,
}

impl InviteServer {
    /// Begins with the INVITE that has just come over a transport that `is_reliable`, or not.
    pub fn new(is_reliable: bool, timers: &Timers, now: Instant) -> InviteServer {
        InviteServer {
            response: None,
            resend: None,
            end: now.checked_add(TRYING_WITHIN),
            intervals: Intervals::new(timers),
            interval: 0,
            state: InviteServerState::Proceeding,
            is_reliable,
        }
    }

    /// Where it stands.
    pub fn state(&self) -> InviteServerState {
        self.state
    }

    /// Whether it is over.
    pub fn is_terminated(&self) -> bool {
        self.state == InviteServerState::Terminated
    }

    /// When [`InviteServer::on_timer`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        earlier(self.resend, self.end)
    }

    /// The INVITE came again: the response to send again, where there is one.
    pub fn on_request(&self) -> Option<Bytes> {
        match self.state {
            InviteServerState::Proceeding | InviteServerState::Completed => self.response.clone(),
            // In Accepted the 2xx is repeated end to end, by the UAS (RFC 6026 section 7.1).
            InviteServerState::Confirmed | InviteServerState::Accepted | InviteServerState::Terminated => None,
        }
    }

    /// A response is about to be sent upstream. Returns whether it may go.
    pub fn on_response_sent(&mut self, status: u16, response: Bytes, now: Instant) -> bool {
        match self.state {
            InviteServerState::Proceeding => self.respond(status, response, now),
            // Forking proxies downstream may bring several 2xx, each of which goes on (RFC 6026 section 7.1).
            InviteServerState::Accepted => return (200..300).contains(&status),
            InviteServerState::Completed | InviteServerState::Confirmed | InviteServerState::Terminated => {
                return false;
            }
        }
        true
    }

    /// An ACK came that matches this transaction.
    pub fn on_ack(&mut self, now: Instant) -> Ack {
        match self.state {
            InviteServerState::Accepted => return Ack::Pass,
            InviteServerState::Completed if self.is_reliable => self.terminate(),
            InviteServerState::Completed => {
                // Timer I: T4 over UDP, zero over a reliable transport (17.2.1).
                self.state = InviteServerState::Confirmed;
                self.response = None;
                self.resend = None;
                self.end = now.checked_add(self.intervals.t4());
            }
            InviteServerState::Proceeding | InviteServerState::Confirmed | InviteServerState::Terminated => {}
        }
        Ack::Absorbed
    }

    /// Does what is due at `now`.
    pub fn on_timer(&mut self, now: Instant) -> ServerTimer {
        if is_due(self.end, now) {
            return self.on_end();
        }
        if !is_due(self.resend, now) {
            return ServerTimer::None;
        }
        self.interval = self.intervals.doubled(self.interval);
        self.resend = after(now, self.interval);
        self.response.clone().map_or(ServerTimer::None, ServerTimer::Resend)
    }

    fn respond(&mut self, status: u16, response: Bytes, now: Instant) {
        self.end = None;
        match status {
            ..200 => self.response = Some(response),
            200..300 => {
                // Timer L (RFC 6026 section 7.1).
                self.state = InviteServerState::Accepted;
                self.response = None;
                self.end = now.checked_add(self.intervals.t1_times_64());
            }
            300.. => {
                self.state = InviteServerState::Completed;
                self.response = Some(response);
                // Timer H over every transport, Timer G only where packets get lost (17.2.1).
                self.end = now.checked_add(self.intervals.t1_times_64());
                self.interval = self.intervals.t1();
                self.resend = if self.is_reliable { None } else { after(now, self.interval) };
            }
        }
    }

    fn on_end(&mut self) -> ServerTimer {
        match self.state {
            InviteServerState::Proceeding => {
                self.end = None;
                ServerTimer::Trying
            }
            InviteServerState::Completed => {
                self.terminate();
                ServerTimer::Failed
            }
            InviteServerState::Confirmed | InviteServerState::Accepted => {
                self.terminate();
                ServerTimer::Terminated
            }
            InviteServerState::Terminated => ServerTimer::None,
        }
    }

    fn terminate(&mut self) {
        self.state = InviteServerState::Terminated;
        self.response = None;
        self.resend = None;
        self.end = None;
    }
}

/// A 100 is due unless something else goes out within this time (RFC 3261 section 17.2.1).
const TRYING_WITHIN: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    struct Clock(Instant);

    impl Clock {
        fn new() -> Clock {
            Clock(Instant::now())
        }

        fn at(&self, milliseconds: u64) -> Instant {
            self.0 + Duration::from_millis(milliseconds)
        }
    }

    const RINGING: Bytes = Bytes::from_static(b"180");
    const BUSY: Bytes = Bytes::from_static(b"486");
    const OK: Bytes = Bytes::from_static(b"200");

    fn proceeding(is_reliable: bool) -> (Clock, InviteServer) {
        let clock = Clock::new();
        let machine = InviteServer::new(is_reliable, &Timers::default(), clock.at(0));
        (clock, machine)
    }

    fn after_response(is_reliable: bool, status: u16, response: Bytes) -> (Clock, InviteServer) {
        let (clock, mut machine) = proceeding(is_reliable);
        assert!(machine.on_response_sent(status, response, clock.at(0)));
        (clock, machine)
    }

    #[test]
    fn an_invite_is_tried_within_200_ms_when_nothing_else_goes_out() {
        let (clock, mut machine) = proceeding(false);
        assert_eq!(machine.deadline(), Some(clock.at(200)));
        assert_eq!(machine.on_timer(clock.at(199)), ServerTimer::None);
        assert_eq!(machine.on_timer(clock.at(200)), ServerTimer::Trying);
        assert_eq!(machine.deadline(), None);
        assert_eq!(machine.state(), InviteServerState::Proceeding);
    }

    #[test]
    fn a_repeated_invite_before_any_response_gets_nothing() {
        let (_, machine) = proceeding(false);
        assert_eq!(machine.on_request(), None);
    }

    #[test]
    fn a_provisional_response_ends_the_wait_for_a_100() {
        let (clock, machine) = after_response(false, 180, RINGING);
        assert_eq!(machine.deadline(), None);
        assert_eq!(machine.state(), InviteServerState::Proceeding);
        let _ = clock;
    }

    #[test]
    fn a_repeated_invite_gets_the_latest_provisional_response() {
        let (_, machine) = after_response(false, 180, RINGING);
        assert_eq!(machine.on_request(), Some(RINGING));
    }

    #[test]
    fn an_ack_before_any_final_response_is_dropped() {
        let (clock, mut machine) = proceeding(false);
        assert_eq!(machine.on_ack(clock.at(1)), Ack::Absorbed);
        assert_eq!(machine.state(), InviteServerState::Proceeding);
    }

    #[test]
    fn a_failure_completes_and_a_repeated_invite_gets_it_again() {
        let (_, machine) = after_response(false, 486, BUSY);
        assert_eq!(machine.state(), InviteServerState::Completed);
        assert_eq!(machine.on_request(), Some(BUSY));
    }

    #[test]
    fn timer_g_repeats_a_failure_over_udp_with_intervals_up_to_t2() {
        let (clock, mut machine) = after_response(false, 486, BUSY);
        let mut fired = Vec::new();
        for at in (0..32_000).step_by(100) {
            if machine.on_timer(clock.at(at)) == ServerTimer::Resend(BUSY) {
                fired.push(at);
            }
        }
        assert_eq!(fired, [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]);
    }

    #[test]
    fn timer_g_does_not_run_over_a_reliable_transport() {
        let (clock, machine) = after_response(true, 486, BUSY);
        assert_eq!(machine.deadline(), Some(clock.at(32_000)));
    }

    #[test]
    fn timer_h_gives_up_a_failure_that_is_never_acknowledged() {
        for is_reliable in [false, true] {
            let (clock, mut machine) = after_response(is_reliable, 486, BUSY);
            assert_eq!(machine.on_timer(clock.at(32_000)), ServerTimer::Failed);
            assert!(machine.is_terminated());
            assert_eq!(machine.deadline(), None);
        }
    }

    #[test]
    fn an_ack_confirms_a_failure_and_stops_timer_g() {
        let (clock, mut machine) = after_response(false, 486, BUSY);
        assert_eq!(machine.on_ack(clock.at(100)), Ack::Absorbed);
        assert_eq!(machine.state(), InviteServerState::Confirmed);
        assert_eq!(machine.on_timer(clock.at(500)), ServerTimer::None);
        assert_eq!(machine.on_request(), None);
    }

    #[test]
    fn timer_i_absorbs_repeated_acks_for_t4_over_udp() {
        let (clock, mut machine) = after_response(false, 486, BUSY);
        machine.on_ack(clock.at(100));
        assert_eq!(machine.on_ack(clock.at(200)), Ack::Absorbed);
        assert_eq!(machine.deadline(), Some(clock.at(5_100)));
        assert_eq!(machine.on_timer(clock.at(5_100)), ServerTimer::Terminated);
        assert!(machine.is_terminated());
    }

    #[test]
    fn timer_i_is_zero_over_a_reliable_transport() {
        let (clock, mut machine) = after_response(true, 486, BUSY);
        assert_eq!(machine.on_ack(clock.at(100)), Ack::Absorbed);
        assert!(machine.is_terminated());
    }

    #[test]
    fn a_2xx_is_accepted_and_a_repeated_invite_absorbed() {
        let (clock, machine) = after_response(false, 200, OK);
        assert_eq!(machine.state(), InviteServerState::Accepted);
        assert_eq!(machine.on_request(), None);
        assert_eq!(machine.deadline(), Some(clock.at(32_000)));
    }

    #[test]
    fn an_ack_to_a_2xx_passes() {
        let (clock, mut machine) = after_response(false, 200, OK);
        assert_eq!(machine.on_ack(clock.at(10)), Ack::Pass);
        assert_eq!(machine.state(), InviteServerState::Accepted);
    }

    #[test]
    fn further_2xx_pass_in_accepted_and_nothing_else_does() {
        let (clock, mut machine) = after_response(false, 200, OK);
        assert!(machine.on_response_sent(200, OK, clock.at(10)));
        assert!(!machine.on_response_sent(180, RINGING, clock.at(20)));
        assert!(!machine.on_response_sent(486, BUSY, clock.at(30)));
        assert_eq!(machine.state(), InviteServerState::Accepted);
    }

    #[test]
    fn timer_l_ends_an_accepted_invite_after_64_t1_over_any_transport() {
        for is_reliable in [false, true] {
            let (clock, mut machine) = after_response(is_reliable, 200, OK);
            assert_eq!(machine.on_timer(clock.at(31_999)), ServerTimer::None);
            assert_eq!(machine.on_timer(clock.at(32_000)), ServerTimer::Terminated);
            assert!(machine.is_terminated());
        }
    }

    #[test]
    fn a_second_final_response_is_refused() {
        let (clock, mut machine) = after_response(false, 486, BUSY);
        assert!(!machine.on_response_sent(200, OK, clock.at(10)));
        machine.on_ack(clock.at(20));
        assert!(!machine.on_response_sent(200, OK, clock.at(30)));
        machine.on_timer(clock.at(60_000));
        assert!(!machine.on_response_sent(200, OK, clock.at(60_001)));
    }
}
