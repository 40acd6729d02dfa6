//! Server side of a transaction other than INVITE.

use std::time::Instant;

use bytes::Bytes;

use super::timers::{Intervals, is_due};
use super::{ServerTimer, Timers};

/// Server side of a non-INVITE transaction (RFC 3261 section 17.2.2, RFC 4320).
///
/// Pure: it opens no socket and reads no clock. Feed it what happened; it says what to do.
/// Time must not run backwards between calls.
#[derive(Debug, Clone)]
pub struct NonInviteServer {
    /// The latest response, for retransmission.
    response: Option<Bytes>,
    /// Timer J; before any response the moment at which a 100 is due or allowed.
    timer: Option<Instant>,
    intervals: Intervals,
    state: NonInviteServerState,
    is_reliable: bool,
}

/// Where a non-INVITE server transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonInviteServerState {
    /// Nothing has been sent.
    Trying,
    /// A provisional response has been sent.
    Proceeding,
    /// A final response has been sent and is repeated on demand.
    Completed,
    /// Over.
    Terminated,
}

impl NonInviteServer {
    /// Begins with the request that has just come over a transport that `is_reliable`, or not.
    pub fn new(is_reliable: bool, timers: &Timers, now: Instant) -> NonInviteServer {
        let intervals = Intervals::new(timers);
        NonInviteServer {
            response: None,
            timer: now.checked_add(intervals.until_timer_e_is_t2()),
            intervals,
            state: NonInviteServerState::Trying,
            is_reliable,
        }
    }

    /// Where it stands.
    pub fn state(&self) -> NonInviteServerState {
        self.state
    }

    /// Whether it is over.
    pub fn is_terminated(&self) -> bool {
        self.state == NonInviteServerState::Terminated
    }

    /// When [`NonInviteServer::on_timer`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.timer
    }

    /// The request came again: the response to send again, where there is one.
    pub fn on_request(&self) -> Option<Bytes> {
        match self.state {
            NonInviteServerState::Proceeding | NonInviteServerState::Completed => self.response.clone(),
            NonInviteServerState::Trying | NonInviteServerState::Terminated => None,
        }
    }

    /// A response is about to be sent upstream. Returns whether it may go.
    ///
    /// It may not when a final response went before (17.2.2), when it is a 408, which would only add
    /// to the load of a client that has given up (RFC 4320 section 4.2), when it is provisional and
    /// not 100, or when it is a 100 over UDP so early that it would slow the client's retransmissions
    /// (RFC 4320 section 4.1). A refused 408 ends the transaction.
    pub fn on_response_sent(&mut self, status: u16, response: Bytes, now: Instant) -> bool {
        match self.state {
            NonInviteServerState::Completed | NonInviteServerState::Terminated => false,
            NonInviteServerState::Trying | NonInviteServerState::Proceeding => match status {
                100 if self.may_send_trying(now) => {
                    self.state = NonInviteServerState::Proceeding;
                    self.response = Some(response);
                    self.timer = None;
                    true
                }
                ..200 => false,
                408 => {
                    self.terminate();
                    false
                }
                _ => {
                    self.complete(response, now);
                    true
                }
            },
        }
    }

    /// Does what is due at `now`.
    pub fn on_timer(&mut self, now: Instant) -> ServerTimer {
        if !is_due(self.timer, now) {
            return ServerTimer::None;
        }
        match self.state {
            // A timer that has run out also means that a 100 is allowed from now on.
            NonInviteServerState::Trying => {
                self.timer = None;
                ServerTimer::Trying
            }
            NonInviteServerState::Completed => {
                self.terminate();
                ServerTimer::Terminated
            }
            NonInviteServerState::Proceeding | NonInviteServerState::Terminated => ServerTimer::None,
        }
    }

    /// A response could not be delivered: over (17.2.4). The owner tells the proxy.
    pub fn on_transport_error(&mut self) {
        self.terminate();
    }

    /// Nobody will answer any more: ends without a response, as RFC 4320 section 4.2 asks.
    pub fn abandon(&mut self) {
        self.terminate();
    }

    fn may_send_trying(&self, now: Instant) -> bool {
        self.is_reliable || self.timer.is_none_or(|at| at <= now)
    }

    fn complete(&mut self, response: Bytes, now: Instant) {
        // Timer J: 64*T1 over UDP, zero over a reliable transport (17.2.2).
        if self.is_reliable {
            return self.terminate();
        }
        self.state = NonInviteServerState::Completed;
        self.response = Some(response);
        self.timer = now.checked_add(self.intervals.t1_times_64());
    }

    fn terminate(&mut self) {
        self.state = NonInviteServerState::Terminated;
        self.response = None;
        self.timer = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TRYING: Bytes = Bytes::from_static(b"100");
    const OK: Bytes = Bytes::from_static(b"200");
    const MISSING: Bytes = Bytes::from_static(b"404");

    fn trying(is_reliable: bool) -> (impl Fn(u64) -> Instant, NonInviteServer) {
        let start = Instant::now();
        let at = move |milliseconds| start + Duration::from_millis(milliseconds);
        (at, NonInviteServer::new(is_reliable, &Timers::default(), start))
    }

    #[test]
    fn a_repeated_request_before_any_response_is_discarded() {
        let (_, machine) = trying(false);
        assert_eq!(machine.state(), NonInviteServerState::Trying);
        assert_eq!(machine.on_request(), None);
    }

    #[test]
    fn a_100_is_due_when_the_clients_timer_e_has_grown_to_t2() {
        let (at, mut machine) = trying(false);
        assert_eq!(machine.deadline(), Some(at(3_500)));
        assert_eq!(machine.on_timer(at(3_499)), ServerTimer::None);
        assert_eq!(machine.on_timer(at(3_500)), ServerTimer::Trying);
        assert!(machine.on_response_sent(100, TRYING, at(3_500)));
        assert_eq!(machine.state(), NonInviteServerState::Proceeding);
        assert_eq!(machine.deadline(), None);
    }

    #[test]
    fn a_100_over_udp_before_that_is_refused() {
        let (at, mut machine) = trying(false);
        assert!(!machine.on_response_sent(100, TRYING, at(100)));
        assert_eq!(machine.state(), NonInviteServerState::Trying);
    }

    #[test]
    fn a_100_over_a_reliable_transport_may_go_at_once() {
        let (at, mut machine) = trying(true);
        assert!(machine.on_response_sent(100, TRYING, at(0)));
        assert_eq!(machine.state(), NonInviteServerState::Proceeding);
    }

    #[test]
    fn provisional_responses_other_than_100_are_refused() {
        let (at, mut machine) = trying(true);
        assert!(!machine.on_response_sent(183, TRYING, at(0)));
        assert_eq!(machine.state(), NonInviteServerState::Trying);
    }

    #[test]
    fn a_repeated_request_in_proceeding_gets_the_provisional_response() {
        let (at, mut machine) = trying(true);
        machine.on_response_sent(100, TRYING, at(0));
        assert_eq!(machine.on_request(), Some(TRYING));
    }

    #[test]
    fn a_final_response_from_trying_completes() {
        let (at, mut machine) = trying(false);
        assert!(machine.on_response_sent(404, MISSING, at(10)));
        assert_eq!(machine.state(), NonInviteServerState::Completed);
        assert_eq!(machine.on_request(), Some(MISSING));
    }

    #[test]
    fn a_final_response_from_proceeding_completes() {
        let (at, mut machine) = trying(false);
        machine.on_response_sent(100, TRYING, at(4_000));
        assert!(machine.on_response_sent(200, OK, at(5_000)));
        assert_eq!(machine.state(), NonInviteServerState::Completed);
        assert_eq!(machine.on_request(), Some(OK));
    }

    #[test]
    fn a_second_final_response_is_discarded() {
        let (at, mut machine) = trying(false);
        machine.on_response_sent(200, OK, at(0));
        assert!(!machine.on_response_sent(404, MISSING, at(1)));
        assert_eq!(machine.on_request(), Some(OK));
    }

    #[test]
    fn timer_j_absorbs_retransmissions_for_64_t1_over_udp() {
        let (at, mut machine) = trying(false);
        machine.on_response_sent(200, OK, at(0));
        assert_eq!(machine.deadline(), Some(at(32_000)));
        assert_eq!(machine.on_timer(at(31_999)), ServerTimer::None);
        assert_eq!(machine.on_timer(at(32_000)), ServerTimer::Terminated);
        assert!(machine.is_terminated());
    }

    #[test]
    fn timer_j_is_zero_over_a_reliable_transport() {
        let (at, mut machine) = trying(true);
        machine.on_response_sent(200, OK, at(0));
        assert!(machine.is_terminated());
    }

    #[test]
    fn a_408_is_never_sent_and_ends_the_transaction() {
        let (at, mut machine) = trying(false);
        assert!(!machine.on_response_sent(408, MISSING, at(32_000)));
        assert!(machine.is_terminated());
    }

    #[test]
    fn a_transport_error_terminates() {
        let (at, mut machine) = trying(false);
        machine.on_response_sent(200, OK, at(0));
        machine.on_transport_error();
        assert!(machine.is_terminated());
        assert_eq!(machine.deadline(), None);
    }

    #[test]
    fn an_abandoned_request_ends_without_a_response() {
        let (_, mut machine) = trying(false);
        machine.abandon();
        assert!(machine.is_terminated());
        assert_eq!(machine.on_request(), None);
    }
}
