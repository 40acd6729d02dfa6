//! The response context of a proxied request (RFC 3261 section 16.7).

use std::time::{Duration, Instant};

use smallvec::SmallVec;

/// Collects the responses of all branches of one request and chooses what goes upstream.
///
/// Pure. It holds four bytes per branch; the responses themselves stay with their branches.
#[derive(Debug, Clone)]
pub struct ResponseContext {
    branches: SmallVec<[Outcome; 4]>,
    is_invite: bool,
    /// A 6xx came, or the request was cancelled: no further branch may be tried (16.7 step 5).
    is_closed: bool,
    /// A final response has gone upstream.
    is_answered: bool,
    /// A 6xx is a failure like any other.
    is_6xx_ordinary: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Outcome {
    /// The latest status; 0 before the first.
    status: u16,
    /// [`LOCAL`], [`OUT`] and [`REPLICA`], in one byte: every branch of every transaction has one of these.
    marks: u8,
}

/// Nothing was received: the status stands for what happened here.
const LOCAL: u8 = 1;
/// Its response is not to be chosen: of an earlier try, or of a copy that nobody waits for.
const OUT: u8 = 2;
/// A copy that nobody waits for.
const REPLICA: u8 = 4;

impl Outcome {
    fn is(self, mark: u8) -> bool {
        self.marks & mark != 0
    }
}

/// What the proxy is to do with a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: it is a 100, or came after the final response went upstream.
    Absorb,
    /// Send it upstream now. When `cancel_others`, cancel every pending branch (16.7 step 10).
    Forward {
        /// Whether [`ResponseContext::pending`] branches are to be cancelled.
        cancel_others: bool,
    },
    /// Keep it: other branches may still bring something better. When `cancel_others`, it is a 6xx
    /// and the pending branches are to be cancelled (16.7 step 5).
    Keep {
        /// Whether [`ResponseContext::pending`] branches are to be cancelled.
        cancel_others: bool,
    },
    /// All branches are final: try further targets, or send [`ResponseContext::best`].
    Complete,
}

/// Which final response represents all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Best {
    /// The branch that has it.
    pub branch: u16,
    /// Its status as received, or as stands for what happened here (408, 503).
    pub status: u16,
    /// Whether nothing was received and the response is to be made here.
    pub is_local: bool,
}

/// By which rule the best response is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preference {
    /// RFC 3261 section 16.7 step 6, as Kamailio does.
    #[default]
    Rfc,
    /// The numerically lowest status, as SER does; a 6xx still comes first.
    LowestStatus,
}

/// What to send upstream for the best response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upstream {
    /// The response of the branch, with its own status.
    AsReceived,
    /// A response made here with this status.
    Made(u16),
    /// Nothing: a 408 to a non-INVITE comes too late for the client to use it (RFC 4320 section 4.2).
    Nothing,
}

impl ResponseContext {
    /// For a request, without branches yet.
    pub fn new(is_invite: bool) -> ResponseContext {
        ResponseContext {
            branches: SmallVec::new(),
            is_invite,
            is_closed: false,
            is_answered: false,
            is_6xx_ordinary: false,
        }
    }

    /// Adds a branch and returns its number; none when no further branch may be tried.
    pub fn add_branch(&mut self) -> Option<u16> {
        if self.is_closed || self.is_answered {
            return None;
        }
        let number = u16::try_from(self.branches.len()).ok()?;
        self.branches.push(Outcome::default());
        Some(number)
    }

    /// Adds a branch whose responses go nowhere: a copy for another server. Returns its number.
    pub fn add_replica(&mut self) -> Option<u16> {
        let number = u16::try_from(self.branches.len()).ok()?;
        self.branches.push(Outcome { status: 0, marks: OUT | REPLICA });
        Some(number)
    }

    /// Leaves the responses of `branches` out of the choice, as long as there are others.
    pub fn leave_out(&mut self, branches: std::ops::Range<u16>) {
        let end = usize::from(branches.end).min(self.branches.len());
        for outcome in self.branches.get_mut(usize::from(branches.start)..end).into_iter().flatten() {
            outcome.marks |= OUT;
        }
    }

    /// Has a 6xx count as any other failure: it ends no search, and no other branch.
    pub fn set_6xx_ordinary(&mut self, is_ordinary: bool) {
        self.is_6xx_ordinary = is_ordinary;
    }

    /// Whether a branch is a copy that nobody waits for.
    pub fn is_replica(&self, branch: u16) -> bool {
        self.branches.get(usize::from(branch)).is_some_and(|outcome| outcome.is(REPLICA))
    }

    /// Whether every branch is a copy that nobody waits for.
    pub fn has_only_replicas(&self) -> bool {
        self.branches.iter().all(|outcome| outcome.is(REPLICA))
    }

    /// Takes the latest branch back, on which nothing has been sent.
    pub fn take_back(&mut self, branch: u16) {
        self.branches.truncate(usize::from(branch));
    }

    /// Number of branches so far.
    pub fn len(&self) -> usize {
        self.branches.len()
    }

    /// Whether there is no branch yet.
    pub fn is_empty(&self) -> bool {
        self.branches.is_empty()
    }

    /// A response that the client transaction of `branch` passed.
    pub fn on_response(&mut self, branch: u16, status: u16) -> Decision {
        self.record(branch, status, false)
    }

    /// Nobody answered on `branch` (408), or it could not be sent (503): RFC 3261 sections 16.8, 16.9.
    pub fn on_local(&mut self, branch: u16, status: u16) -> Decision {
        self.record(branch, status, true)
    }

    /// The request was cancelled: no further branch will be tried.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    /// A final response has gone upstream that this context did not decide: a reply from the script.
    pub fn answered(&mut self) {
        self.is_answered = true;
    }

    /// Whether a final response has gone upstream.
    pub fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// Whether a 6xx came or [`ResponseContext::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The branches without a final response.
    pub fn pending(&self) -> impl Iterator<Item = u16> + '_ {
        self.numbered().filter(|(_, outcome)| outcome.status < 200 && !outcome.is(REPLICA)).map(|(branch, _)| branch)
    }

    /// Whether every branch has a final response; true when there is none.
    pub fn all_final(&self) -> bool {
        self.branches.iter().all(|outcome| outcome.status >= 200 || outcome.is(REPLICA))
    }

    /// The latest status of a branch; none before the first.
    pub fn status(&self, branch: u16) -> Option<u16> {
        self.branches.get(usize::from(branch)).map(|outcome| outcome.status).filter(|status| *status != 0)
    }

    /// The best final response so far (16.7 step 6); of equal ones the earliest branch.
    pub fn best(&self, preference: Preference) -> Option<Best> {
        let finals = self.numbered().filter(|(_, outcome)| outcome.status >= 200 && !outcome.is(REPLICA));
        // What is left out still beats nothing.
        let (branch, outcome) = finals.min_by_key(|(_, outcome)| (outcome.is(OUT), self.rank(*outcome, preference)))?;
        Some(Best { branch, status: outcome.status, is_local: outcome.is(LOCAL) })
    }

    /// What to send upstream for `best`.
    pub fn upstream(&self, best: Best) -> Upstream {
        match best.status {
            408 if !self.is_invite => Upstream::Nothing,
            // A 503 would make the client leave this proxy for another (16.7 step 6).
            503 => Upstream::Made(500),
            status if best.is_local => Upstream::Made(status),
            _ => Upstream::AsReceived,
        }
    }

    /// The other branches whose challenges are to be added to a 401 or 407 (16.7 step 7).
    pub fn challenges_besides(&self, best: Best) -> impl Iterator<Item = u16> + '_ {
        let merges = matches!(best.status, 401 | 407);
        let challenged =
            |outcome: Outcome| matches!(outcome.status, 401 | 407) && !outcome.is(LOCAL) && !outcome.is(OUT);
        self.numbered()
            .filter(move |(branch, outcome)| merges && *branch != best.branch && challenged(*outcome))
            .map(|(branch, _)| branch)
    }

    fn record(&mut self, branch: u16, status: u16, is_local: bool) -> Decision {
        let Some(outcome) = self.branches.get_mut(usize::from(branch)) else {
            return Decision::Absorb;
        };
        let is_late = outcome.status >= 200;
        if !is_late || (200..300).contains(&status) {
            let local = if is_local { LOCAL } else { 0 };
            *outcome = Outcome { status, marks: outcome.marks & !LOCAL | local };
        }
        if outcome.is(REPLICA) {
            return Decision::Absorb;
        }
        match status {
            101..200 if !is_late && !self.is_answered => Decision::Forward { cancel_others: false },
            ..200 => Decision::Absorb,
            200..300 => self.on_success(),
            300.. if is_late || self.is_answered => Decision::Absorb,
            300.. => self.on_failure(status),
        }
    }

    /// Every 2xx to an INVITE goes upstream, also after the first; to another request only one (16.7 step 5).
    fn on_success(&mut self) -> Decision {
        if self.is_answered && !self.is_invite {
            return Decision::Absorb;
        }
        let is_first = !self.is_answered;
        self.is_answered = true;
        Decision::Forward { cancel_others: is_first && self.is_invite }
    }

    fn on_failure(&mut self, status: u16) -> Decision {
        let ends_search = status >= 600 && !self.is_6xx_ordinary;
        self.is_closed |= ends_search;
        if self.all_final() {
            return Decision::Complete;
        }
        // Only an INVITE can be cancelled to any effect (RFC 3261 section 9.1).
        Decision::Keep { cancel_others: ends_search && self.is_invite }
    }

    /// Lower is better.
    fn rank(&self, outcome: Outcome, preference: Preference) -> (u16, u16, u16) {
        let status = outcome.status;
        let class = match status / 100 {
            2 => 0,
            6 if self.is_6xx_ordinary => 6,
            6 => 1,
            class => class,
        };
        if preference == Preference::LowestStatus {
            return (class.min(2), 0, status);
        }
        let within = match status {
            // These tell the client how to send the request again (16.7 step 6).
            401 | 407 | 415 | 420 | 484 => 0,
            // Which could not be sent on to the client of a non-INVITE (RFC 4320 section 4.2).
            408 if !self.is_invite => 2,
            _ => 1,
        };
        (class, within, status)
    }

    fn numbered(&self) -> impl Iterator<Item = (u16, Outcome)> + '_ {
        (0..).zip(self.branches.iter().copied())
    }
}

/// Timer C of one branch of an INVITE (RFC 3261 sections 16.6 step 11, 16.7 step 2, 16.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerC {
    deadline: Option<Instant>,
    has_provisional: bool,
}

/// What to do when Timer C fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RingingTimeout {
    /// Not yet, or no longer.
    None,
    /// Cancel the branch: it has answered provisionally.
    Cancel,
    /// Behave as if the branch had answered 408.
    Timeout,
}

impl TimerC {
    /// Starts as the INVITE leaves.
    pub fn new(ringing_timeout: Duration, now: Instant) -> TimerC {
        TimerC { deadline: now.checked_add(ringing_timeout), has_provisional: false }
    }

    /// When it fires.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// A response came on the branch: 101 to 199 start it again, a final one ends it.
    pub fn on_response(&mut self, status: u16, ringing_timeout: Duration, now: Instant) {
        match status {
            // A 100 comes from the next hop alone and shows nothing of the callee (16.7 step 2).
            ..=100 => self.has_provisional = true,
            101..200 => *self = TimerC { deadline: now.checked_add(ringing_timeout), has_provisional: true },
            200.. => self.deadline = None,
        }
    }

    /// Says what is due at `now`. Fires once.
    pub fn on_timer(&mut self, now: Instant) -> RingingTimeout {
        if self.deadline.is_none_or(|at| now < at) {
            return RingingTimeout::None;
        }
        self.deadline = None;
        if self.has_provisional { RingingTimeout::Cancel } else { RingingTimeout::Timeout }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_branches(is_invite: bool, count: u16) -> ResponseContext {
        let mut context = ResponseContext::new(is_invite);
        for number in 0..count {
            assert_eq!(context.add_branch(), Some(number));
        }
        context
    }

    fn check_best(statuses: &[u16], expected: u16) {
        check_best_of(true, Preference::Rfc, statuses, expected);
    }

    fn check_best_of(is_invite: bool, preference: Preference, statuses: &[u16], expected: u16) {
        let mut context = with_branches(is_invite, statuses.len() as u16);
        for (branch, status) in (0..).zip(statuses) {
            context.on_response(branch, *status);
        }
        assert_eq!(context.best(preference).map(|best| best.status), Some(expected), "{statuses:?}");
    }

    // 16.7 step 6.
    #[test]
    fn a_6xx_beats_a_4xx() {
        check_best(&[404, 603, 486], 603);
    }

    #[test]
    fn the_lowest_class_wins() {
        check_best(&[500, 404, 302], 302);
        check_best(&[500, 486], 486);
    }

    #[test]
    fn a_response_that_tells_how_to_try_again_beats_other_4xx() {
        for status in [401, 407, 415, 420, 484] {
            check_best(&[400, status, 486], status);
        }
    }

    #[test]
    fn the_ser_rule_takes_the_lowest_status() {
        check_best_of(true, Preference::LowestStatus, &[500, 486, 407, 404], 404);
        check_best_of(true, Preference::LowestStatus, &[500, 404, 302], 302);
        check_best_of(true, Preference::LowestStatus, &[404, 603], 603);
    }

    #[test]
    fn a_copy_for_another_server_answers_nothing_and_is_waited_for_by_nobody() {
        let mut context = ResponseContext::new(false);
        let replica = context.add_replica().expect("there is room");
        assert!(context.has_only_replicas());
        let branch = context.add_branch().expect("there is room");
        assert_eq!(context.on_response(replica, 200), Decision::Absorb);
        assert_eq!(context.on_response(replica, 404), Decision::Absorb);
        assert_eq!(context.on_response(branch, 486), Decision::Complete);
        assert_eq!(context.best(Preference::Rfc).map(|best| best.status), Some(486));
    }

    #[test]
    fn what_is_left_out_is_chosen_only_when_there_is_nothing_else() {
        let mut context = with_branches(true, 1);
        context.on_response(0, 404);
        context.leave_out(0..1);
        assert_eq!(context.best(Preference::Rfc).map(|best| best.status), Some(404));
        context.add_branch();
        context.on_response(1, 486);
        assert_eq!(context.best(Preference::Rfc).map(|best| best.status), Some(486));
    }

    #[test]
    fn a_6xx_can_be_made_a_failure_like_any_other() {
        let mut context = with_branches(true, 2);
        context.set_6xx_ordinary(true);
        assert_eq!(context.on_response(0, 603), Decision::Keep { cancel_others: false });
        assert!(!context.is_closed());
        assert_eq!(context.on_response(1, 486), Decision::Complete);
        assert_eq!(context.best(Preference::Rfc).map(|best| best.status), Some(486));
    }

    #[test]
    fn of_equal_responses_the_earliest_branch_wins() {
        let mut context = with_branches(true, 2);
        context.on_response(1, 486);
        context.on_response(0, 486);
        assert_eq!(context.best(Preference::Rfc), Some(Best { branch: 0, status: 486, is_local: false }));
    }

    #[test]
    fn a_503_goes_upstream_as_500() {
        let mut context = with_branches(true, 1);
        assert_eq!(context.on_response(0, 503), Decision::Complete);
        let best = context.best(Preference::Rfc).unwrap();
        assert_eq!(context.upstream(best), Upstream::Made(500));
    }

    #[test]
    fn silence_counts_as_408() {
        let mut context = with_branches(true, 1);
        assert_eq!(context.on_local(0, 408), Decision::Complete);
        let best = context.best(Preference::Rfc).unwrap();
        assert_eq!(best, Best { branch: 0, status: 408, is_local: true });
        assert_eq!(context.upstream(best), Upstream::Made(408));
    }

    // RFC 4320 section 4.2.
    #[test]
    fn a_408_to_a_non_invite_is_not_sent() {
        let mut context = with_branches(false, 1);
        context.on_local(0, 408);
        let best = context.best(Preference::Rfc).unwrap();
        assert_eq!(context.upstream(best), Upstream::Nothing);
        check_best_of(false, Preference::Rfc, &[408, 480], 480);
    }

    // 16.7 step 7.
    #[test]
    fn challenges_of_all_branches_are_merged() {
        let mut context = with_branches(true, 4);
        for (branch, status) in [(0, 407), (1, 486), (2, 401), (3, 407)] {
            context.on_response(branch, status);
        }
        let best = context.best(Preference::Rfc).unwrap();
        assert_eq!((best.branch, best.status), (2, 401));
        assert_eq!(context.challenges_besides(best).collect::<Vec<_>>(), [0, 3]);
    }

    #[test]
    fn no_challenge_is_added_to_another_response() {
        let mut context = with_branches(true, 2);
        context.on_response(0, 407);
        context.on_response(1, 603);
        let best = context.best(Preference::Rfc).unwrap();
        assert_eq!(context.challenges_besides(best).count(), 0);
    }

    // 16.7 step 5.
    #[test]
    fn a_100_is_not_forwarded() {
        let mut context = with_branches(true, 1);
        assert_eq!(context.on_response(0, 100), Decision::Absorb);
    }

    #[test]
    fn other_provisional_responses_are_forwarded_at_once() {
        let mut context = with_branches(true, 2);
        assert_eq!(context.on_response(1, 180), Decision::Forward { cancel_others: false });
        assert_eq!(context.status(1), Some(180));
        assert_eq!(context.status(0), None);
    }

    #[test]
    fn a_2xx_is_forwarded_at_once_and_cancels_the_others() {
        let mut context = with_branches(true, 3);
        context.on_response(0, 486);
        assert_eq!(context.on_response(1, 200), Decision::Forward { cancel_others: true });
        assert_eq!(context.pending().collect::<Vec<_>>(), [2]);
        assert_eq!(context.on_response(2, 487), Decision::Absorb);
    }

    #[test]
    fn every_2xx_to_an_invite_is_forwarded() {
        let mut context = with_branches(true, 2);
        assert_eq!(context.on_response(0, 200), Decision::Forward { cancel_others: true });
        assert_eq!(context.on_response(1, 200), Decision::Forward { cancel_others: false });
        assert_eq!(context.on_response(0, 200), Decision::Forward { cancel_others: false });
    }

    #[test]
    fn only_one_2xx_to_another_request_is_forwarded() {
        let mut context = with_branches(false, 2);
        assert_eq!(context.on_response(0, 200), Decision::Forward { cancel_others: false });
        assert_eq!(context.on_response(1, 200), Decision::Absorb);
    }

    #[test]
    fn a_failure_waits_for_the_other_branches() {
        let mut context = with_branches(true, 2);
        assert_eq!(context.on_response(0, 404), Decision::Keep { cancel_others: false });
        assert_eq!(context.on_response(1, 404), Decision::Complete);
    }

    #[test]
    fn a_6xx_cancels_the_others_and_is_sent_when_they_are_final() {
        let mut context = with_branches(true, 2);
        assert_eq!(context.on_response(0, 603), Decision::Keep { cancel_others: true });
        assert_eq!(context.on_response(1, 487), Decision::Complete);
        assert_eq!(context.best(Preference::Rfc).map(|best| best.status), Some(603));
    }

    #[test]
    fn a_2xx_after_a_6xx_is_still_forwarded() {
        let mut context = with_branches(true, 2);
        context.on_response(0, 603);
        assert_eq!(context.on_response(1, 200), Decision::Forward { cancel_others: true });
    }

    #[test]
    fn a_6xx_to_a_non_invite_cancels_nothing() {
        let mut context = with_branches(false, 2);
        assert_eq!(context.on_response(0, 603), Decision::Keep { cancel_others: false });
    }

    #[test]
    fn no_branch_is_added_after_a_6xx_a_2xx_or_a_cancel() {
        let mut context = with_branches(true, 1);
        context.on_response(0, 603);
        assert_eq!(context.add_branch(), None);
        let mut context = with_branches(true, 1);
        context.on_response(0, 200);
        assert_eq!(context.add_branch(), None);
        let mut context = with_branches(true, 1);
        context.close();
        assert_eq!(context.add_branch(), None);
    }

    #[test]
    fn a_branch_may_follow_when_all_have_failed() {
        let mut context = with_branches(true, 1);
        assert_eq!(context.on_response(0, 486), Decision::Complete);
        assert_eq!(context.add_branch(), Some(1));
        assert!(!context.all_final());
        assert_eq!(context.on_response(1, 180), Decision::Forward { cancel_others: false });
        assert_eq!(context.on_response(1, 404), Decision::Complete);
        assert_eq!(context.best(Preference::Rfc).map(|best| best.branch), Some(1));
    }

    #[test]
    fn nothing_but_2xx_is_forwarded_after_the_final_response() {
        let mut context = with_branches(true, 2);
        context.answered();
        assert_eq!(context.on_response(0, 180), Decision::Absorb);
        assert_eq!(context.on_response(0, 486), Decision::Absorb);
        assert_eq!(context.on_response(1, 200), Decision::Forward { cancel_others: false });
    }

    #[test]
    fn a_response_to_an_unknown_branch_is_absorbed() {
        assert_eq!(with_branches(true, 1).on_response(7, 200), Decision::Absorb);
    }

    #[test]
    fn it_stays_small() {
        assert_eq!(size_of::<ResponseContext>(), 32);
    }

    fn ringing() -> (Instant, Duration, TimerC) {
        let (start, limit) = (Instant::now(), Duration::from_secs(181));
        (start, limit, TimerC::new(limit, start))
    }

    #[test]
    fn timer_c_cancels_a_branch_that_rings_too_long() {
        let (start, limit, mut timer) = ringing();
        timer.on_response(180, limit, start + Duration::from_secs(100));
        assert_eq!(timer.on_timer(start + limit), RingingTimeout::None);
        let later = start + Duration::from_secs(281);
        assert_eq!(timer.deadline(), Some(later));
        assert_eq!(timer.on_timer(later), RingingTimeout::Cancel);
        assert_eq!(timer.on_timer(later), RingingTimeout::None);
    }

    #[test]
    fn timer_c_is_not_started_again_by_a_100() {
        let (start, limit, mut timer) = ringing();
        timer.on_response(100, limit, start + Duration::from_secs(100));
        assert_eq!(timer.deadline(), Some(start + limit));
        assert_eq!(timer.on_timer(start + limit), RingingTimeout::Cancel);
    }

    #[test]
    fn timer_c_without_any_response_is_a_408() {
        let (start, limit, mut timer) = ringing();
        assert_eq!(timer.on_timer(start + limit), RingingTimeout::Timeout);
    }

    #[test]
    fn timer_c_ends_with_the_final_response() {
        let (start, limit, mut timer) = ringing();
        timer.on_response(486, limit, start);
        assert_eq!(timer.deadline(), None);
    }
}
