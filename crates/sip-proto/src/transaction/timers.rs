//! Timer values (RFC 3261 table 4).

use std::time::{Duration, Instant};

/// How long things take, for one transaction.
///
/// Timers G, H, I, J, L and M follow from T1, T2 and T4; what operators do change is here by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timers {
    /// Estimate of the round-trip time.
    pub t1: Duration,
    /// Longest interval between two retransmissions, except of an INVITE.
    pub t2: Duration,
    /// How long a message may stay in the network.
    pub t4: Duration,
    /// Timer B: how long an INVITE may stay without any response.
    pub invite_timeout: Duration,
    /// Timer F: how long another request may stay without a final response.
    pub request_timeout: Duration,
    /// Timer C: how long an INVITE may ring; more than three minutes (RFC 3261 section 16.6 step 11).
    pub ringing_timeout: Duration,
    /// Timer D: how long a failed INVITE absorbs repeated failures over UDP; at least 32 s.
    pub linger_d: Duration,
}

impl Default for Timers {
    fn default() -> Timers {
        let t1 = Duration::from_millis(500);
        Timers {
            t1,
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            invite_timeout: 64 * t1,
            request_timeout: 64 * t1,
            ringing_timeout: Duration::from_secs(181),
            linger_d: Duration::from_secs(32),
        }
    }
}

/// The part of [`Timers`] that a machine needs later, in milliseconds: a quarter of the size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Intervals {
    t1: u32,
    t2: u32,
    t4: u32,
    linger_d: u32,
}

impl Intervals {
    pub(super) fn new(timers: &Timers) -> Intervals {
        Intervals {
            t1: milliseconds(timers.t1),
            t2: milliseconds(timers.t2),
            t4: milliseconds(timers.t4),
            linger_d: milliseconds(timers.linger_d),
        }
    }

    pub(super) fn t1(self) -> u32 {
        self.t1
    }

    pub(super) fn t2(self) -> u32 {
        self.t2
    }

    pub(super) fn t4(self) -> Duration {
        Duration::from_millis(self.t4.into())
    }

    pub(super) fn linger_d(self) -> Duration {
        Duration::from_millis(self.linger_d.into())
    }

    /// 64*T1: timers H, J, L and M.
    pub(super) fn t1_times_64(self) -> Duration {
        64 * Duration::from_millis(self.t1.into())
    }

    /// The next, doubled interval of a retransmission that T2 bounds (timers E and G).
    pub(super) fn doubled(self, interval: u32) -> u32 {
        interval.saturating_mul(2).min(self.t2)
    }

    /// How long a client that got nothing takes until its Timer E has grown to T2 (RFC 4320 section 4.1).
    pub(super) fn until_timer_e_is_t2(self) -> Duration {
        let (mut elapsed, mut interval) = (0_u64, self.t1.max(1));
        while interval < self.t2 {
            elapsed += u64::from(interval);
            interval = self.doubled(interval);
        }
        Duration::from_millis(elapsed)
    }
}

/// `now` and an interval in milliseconds later.
pub(super) fn after(now: Instant, milliseconds: u32) -> Option<Instant> {
    now.checked_add(Duration::from_millis(milliseconds.into()))
}

/// Whether a timer has come to its end.
pub(super) fn is_due(timer: Option<Instant>, now: Instant) -> bool {
    timer.is_some_and(|at| at <= now)
}

/// The earlier of two timers that may not be running.
pub(super) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_table_4() {
        let timers = Timers::default();
        assert_eq!(timers.t1, Duration::from_millis(500));
        assert_eq!(timers.t2, Duration::from_secs(4));
        assert_eq!(timers.t4, Duration::from_secs(5));
        assert_eq!(timers.invite_timeout, Duration::from_secs(32));
        assert_eq!(timers.request_timeout, Duration::from_secs(32));
        assert!(timers.ringing_timeout > Duration::from_secs(180));
        assert_eq!(timers.linger_d, Duration::from_secs(32));
    }

    #[test]
    fn timer_e_is_t2_after_three_and_a_half_seconds() {
        // 0.5 s + 1 s + 2 s; the next interval is 4 s.
        assert_eq!(Intervals::new(&Timers::default()).until_timer_e_is_t2(), Duration::from_millis(3500));
    }

    #[test]
    fn a_zero_t1_does_not_loop() {
        let timers = Timers { t1: Duration::ZERO, ..Timers::default() };
        assert_eq!(Intervals::new(&timers).until_timer_e_is_t2(), Duration::from_millis(4095));
    }
}
