//! The part of a worker that decides, without sockets or a clock of its own.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use module_api::{Arrival, Context, Job, JsonRpc, Level, PublicEvents, RouteKind, Socket, TransactionKey};
use script::BoundProgram;
use sip_message::Message;
use sip_proto::resolve::{Known, Question, ResolveSettings};

use crate::capture::Capture;
use crate::figures::Figures;
use crate::gone::GonePeers;
use crate::http::HttpOut;
use crate::later::Later;
use crate::outgoing::{Outgoing, Sender};
use crate::overload::Overload;
use crate::random::{Key, Random};
use crate::settings::{Identity, Settings};
use crate::statistics::Statistics;
use crate::table::Table;
use crate::tracing::Tracing;
use crate::wait::{Finished, Guest, Spawn, Waiting, WaitingRoom};
use crate::wheel::Wheel;

/// What all workers of a server share.
pub struct Shared {
    /// Settings.
    pub settings: Settings,
    /// Addresses and names.
    pub identity: Identity,
    /// Counters.
    pub statistics: Statistics,
    /// The script; a reload replaces it, requests in flight keep the one they began with.
    pub program: ArcSwap<BoundProgram>,
    /// What can be reached from here.
    pub resolve: ResolveSettings,
    /// What is known of names, and how to ask for more.
    pub names: Arc<dyn Names>,
    /// Runs what takes time.
    pub spawn: Arc<dyn Spawn>,
    /// Takes log lines.
    pub log: Arc<dyn Log>,
    /// The way of news to the outside world.
    pub events: PublicEvents,
    /// Whose requests have their way through the script written down.
    pub tracing: Tracing,
    /// Secret of this process.
    pub key: Key,
    /// How much of what is new is refused.
    pub overload: Overload,
    /// How many turns each worker has taken, to see that all of them live.
    pub turns: Box<[AtomicU64]>,
    /// How many workers have not stopped yet.
    pub workers: AtomicUsize,
    /// How many workers may have open requests; counts down while the server drains.
    pub busy_workers: AtomicUsize,
    /// Set once the server shall take no new work (503) and finish what it has.
    pub is_draining: AtomicBool,
    /// The server's commands for scripts, once there are any.
    pub commands: OnceLock<Arc<dyn JsonRpc>>,
}

impl Shared {
    /// Which of `workers` workers owns the call with this Call-ID (decision 0001).
    pub fn owner(&self, call_id: &[u8], workers: usize) -> usize {
        self.key.owner(call_id, workers)
    }
}

/// Names and addresses: what is known at once, and how to learn more.
pub trait Names: Known + Send + Sync {
    /// Looks `questions` up. When the future is done, [`Known::lookup`] answers each of them.
    fn ask(&self, questions: Vec<Question>) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Takes log lines, never blocking the caller.
pub trait Log: Send + Sync {
    /// Writes one line.
    fn write(&self, level: Level, text: &[u8]);

    /// Writes one line that a function of the script logs.
    fn write_of_script(&self, level: Level, text: &[u8]) {
        self.write(level, text);
    }
}

/// The deciding part of one worker: what came in goes in here, what shall go out comes out.
///
/// Pure: it opens no socket and reads no clock. [`Core::begin_turn`] tells it the time; what it wants
/// to send lies in [`Core::take_outbox`]; when it wants to be called again stands in [`Core::deadline`].
pub struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) number: u16,
    pub(crate) now: Instant,
    pub(crate) unix_time: Duration,
    pub(crate) table: Table,
    pub(crate) wheel: Wheel,
    pub(crate) waiting: WaitingRoom,
    pub(crate) outbox: Vec<Outgoing>,
    /// Answers of HTTP requests.
    pub(crate) http_answers: Vec<HttpOut>,
    /// The transaction that the work in hand concerns, where it is known.
    pub(crate) at_work: Option<TransactionKey>,
    /// Peers of which ICMP has brought bad news.
    pub(crate) gone: GonePeers,
    pub(crate) random: Random,
    /// How many routes that run at once are inside each other at the moment.
    pub(crate) nesting: u8,
    /// What each socket is called in Via and Record-Route.
    pub(crate) sent_by: Box<[(Bytes, u16)]>,
    pub(crate) later: Later,
    pub(crate) capture: Capture,
    /// How many workers there are.
    pub(crate) worker_count: usize,
    /// Work for other workers, each by its number.
    pub(crate) for_others: Vec<(usize, Job)>,
    /// The script of this turn: the same from a message's first route to its last.
    pub(crate) program: Arc<BoundProgram>,
    due: Vec<TransactionKey>,
    /// What stands in front of log lines while a script runs that wants it so.
    pub(crate) log_prefix: Bytes,
    pub(crate) figures: Figures,
    pub(crate) events: PublicEvents,
    /// The clock, for what is shorter than a turn; none where time is only told.
    clock: Option<fn() -> Instant>,
}

/// How soon to try again to hand over what another worker had no room for.
const HAND_OVER: Duration = Duration::from_millis(1);
/// Most jobs that wait for room at other workers.
const MOST_TAKEN_BACK: usize = 4096;

impl Core {
    /// The core of worker `number`, beginning at `now`.
    pub fn new(number: u16, shared: Arc<Shared>, now: Instant) -> Core {
        let program = shared.program.load_full();
        Core {
            number,
            now,
            unix_time: Duration::ZERO,
            table: Table::new(
                shared.settings.max_transactions,
                shared.statistics.held.clone(),
                shared.statistics.sizes(),
            ),
            wheel: Wheel::new(now),
            waiting: WaitingRoom::new(shared.settings.max_parked),
            outbox: Vec::new(),
            http_answers: Vec::new(),
            at_work: None,
            gone: GonePeers::default(),
            random: Random::new(shared.key, number),
            nesting: 0,
            sent_by: shared.identity.sockets.iter().map(Socket::sent_by).collect(),
            later: Later::default(),
            capture: Capture::new(shared.settings.capture_bytes, &program),
            worker_count: 1,
            for_others: Vec::new(),
            program,
            due: Vec::new(),
            log_prefix: Bytes::new(),
            figures: Figures::new(&shared.statistics),
            events: shared.events.clone(),
            clock: None,
            shared,
        }
    }

    /// Sets the clocks. Time must not run backwards between calls.
    pub fn begin_turn(&mut self, now: Instant, unix_time: Duration) {
        self.now = now;
        self.unix_time = unix_time;
        if !Arc::ptr_eq(&self.program, &self.shared.program.load()) {
            self.program = self.shared.program.load_full();
            self.capture.begin_program(&self.program);
        }
    }

    /// Gives it a clock for figures about what is shorter than a turn. Nothing is decided by it.
    pub fn set_clock(&mut self, clock: fn() -> Instant) {
        self.clock = Some(clock);
    }

    /// What time it is within the turn.
    pub(crate) fn moment(&self) -> Instant {
        self.clock.map_or(self.now, |read| read())
    }

    /// Tells it how many workers share the calls; one, unless told.
    pub fn set_worker_count(&mut self, count: usize) {
        self.worker_count = count;
    }

    /// Does work that somebody beside the workers has posted.
    pub fn do_job(&mut self, job: Job) {
        self.guarded(|core| job(core));
    }

    /// Takes what other workers shall do, each by its number.
    pub fn take_jobs_for_others(&mut self) -> Vec<(usize, Job)> {
        std::mem::take(&mut self.for_others)
    }

    /// Takes a job back for which the other worker had no room, to be handed over later. False when too many wait.
    pub(crate) fn take_back(&mut self, worker: usize, job: Job) -> bool {
        let has_room = self.for_others.len() < MOST_TAKEN_BACK;
        if has_room {
            self.for_others.push((worker, job));
        }
        has_room
    }

    /// How many jobs of modules are not due yet.
    pub fn deferred_count(&self) -> usize {
        self.later.len()
    }

    /// Acts on a message that has arrived whole.
    pub(crate) fn act_on(&mut self, message: Arc<Message>, arrival: Arrival) {
        if let Some(route) = self.program.engine_routes().message_received {
            let mut context = Context::new(Arc::clone(&message), arrival, RouteKind::Event);
            context.reply_code = message.status().unwrap_or_default();
            let goes_on = self.run_event_route(route, &mut context);
            self.finish_event(&mut context);
            if !goes_on {
                return;
            }
        }
        if message.is_request() {
            self.shared.statistics.count_request(message.method());
            self.figures.board.peers.count(arrival.source.ip(), None);
            self.on_request(message, arrival);
        } else {
            let status = message.status().unwrap_or_default();
            self.shared.statistics.count_reply(status);
            self.figures.board.peers.count(arrival.source.ip(), Some(status));
            self.on_reply(message, arrival);
        }
    }

    /// Takes the result of a wait.
    pub fn on_finished(&mut self, id: u64, finished: Finished) {
        self.guarded(|core| core.go_on(id, finished));
    }

    fn go_on(&mut self, id: u64, finished: Finished) {
        let Some(Guest { waiting, since, cause }) = self.waiting.leave(id) else { return };
        let waited = self.now.saturating_duration_since(since);
        let is_script = matches!(waiting, Waiting::Script(_));
        let wait = if is_script { &self.figures.script_wait } else { &self.figures.name_wait };
        wait.observe_time(waited);
        self.because_of(cause, |core| match waiting {
            Waiting::Script(parked) => core.unpark(parked, finished),
            Waiting::Branch(sender) => core.on_branch_resolved(sender, finished),
            Waiting::Stateless { mut context, round } => core.forward_resolved(&mut context, round, finished),
        });
    }

    /// Has something wait, and says under which number its result shall come.
    pub(crate) fn wait(&mut self, waiting: Waiting) -> u64 {
        self.waiting.enter(Guest { waiting, since: self.now, cause: self.capture.cause() })
    }

    /// Takes the news that a message of `sender` could not be sent (RFC 3261 section 17.1.4).
    pub fn on_send_failed(&mut self, sender: Sender) {
        self.shared.statistics.send_errors.increment();
        self.guarded(|core| core.on_transport_error(sender));
    }

    /// Does what is due.
    pub fn on_timers(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.expire(self.now, &mut due);
        for key in due.drain(..) {
            self.guarded(|core| core.on_timer(key));
        }
        self.due = due;
        self.run_due_jobs();
        self.give_up_on_gone_peers();
    }

    /// When [`Core::on_timers`] wants to be called, if nothing else happens before.
    pub fn deadline(&self) -> Option<Instant> {
        // What another worker had no room for is tried again soon.
        let hand_over = (!self.for_others.is_empty()).then(|| self.now + HAND_OVER);
        [self.wheel.next_deadline(), self.later.deadline(), self.gone.next_walk(), hand_over]
            .into_iter()
            .flatten()
            .min()
    }

    /// Takes what shall be sent, in order.
    pub fn take_outbox(&mut self) -> std::vec::Drain<'_, Outgoing> {
        self.note_all_sent();
        self.outbox.drain(..)
    }

    /// Takes the answers of HTTP requests.
    pub(crate) fn take_http_answers(&mut self) -> std::vec::Drain<'_, HttpOut> {
        self.http_answers.drain(..)
    }

    /// Whether something is still waiting for a reply of ours: what a drain waits for.
    pub fn is_busy(&self) -> bool {
        self.waiting.len() > 0 || self.table.has_unanswered()
    }

    /// How many transactions it holds.
    pub fn transaction_count(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.shared.is_draining.load(Ordering::Relaxed)
    }

    /// The script for what begins in this turn.
    pub(crate) fn program(&self) -> Arc<BoundProgram> {
        Arc::clone(&self.program)
    }
}
