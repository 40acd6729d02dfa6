//! The messages that a worker has seen of late, and what the script made of them.
//!
//! The ring lies on the worker's desk with all else that the worker owns, so that whoever acts at the desk writes into it
//! without another lock. Whoever wants to look asks by mail ([`crate::Mail::Look`]) and gets shared copies between two
//! messages. Off, which is the default, it costs one look at an option for each message and each run of the script.

mod glance;
mod ring;
mod steps;
mod watched;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use module_api::{Arrival, Context, RouteId, Sighting, Socket, Watch, Watcher};
use script::{BoundProgram, Run};
use sip_message::{Message, Span};

use crate::outgoing::Outgoing;
use crate::worker_core::Core;
use glance::glance;
pub use ring::{Record, Ring, What};
pub use steps::Steps;
use watched::Watched;

/// What a worker keeps of messages, and how far it has got in the turn.
pub(crate) struct Capture {
    /// Whether there is anybody to tell: looked at for each message, so kept ready.
    is_on: bool,
    ring: Option<Ring>,
    /// Who sees every message, as the script of this turn has it.
    watchers: Arc<[Arc<dyn Watcher>]>,
    watched: Watched,
    /// The message that is acted on.
    cause: Cause,
    /// How much of the outbox has been looked at.
    seen: usize,
    /// The scripts that ran last, whose texts the kept steps show.
    programs: VecDeque<Arc<BoundProgram>>,
}

/// A message that the ring has numbered; 0 stands for none, as between messages and where nothing is kept.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cause {
    number: u64,
    /// The hash of its Call-ID.
    call: u64,
}

/// Scripts that are kept for their texts; the steps of those before are forgotten, so that however often
/// the script is reloaded it takes no more memory.
const MOST_PROGRAMS: usize = 4;

impl Capture {
    /// Keeps at most `bytes`; zero keeps nothing.
    pub(crate) fn new(bytes: usize, program: &BoundProgram) -> Capture {
        let mut capture = Capture {
            is_on: false,
            ring: (bytes > 0).then(|| Ring::new(bytes)),
            watchers: Arc::default(),
            watched: Watched::default(),
            cause: Cause::default(),
            seen: 0,
            programs: VecDeque::new(),
        };
        capture.begin_program(program);
        capture
    }

    /// Another script runs from now on.
    pub(crate) fn begin_program(&mut self, program: &BoundProgram) {
        self.watchers = program.watchers();
        self.update();
    }

    fn update(&mut self) {
        self.is_on = self.ring.is_some() || !self.watchers.is_empty() || !self.watched.is_empty();
    }

    /// The message that is acted on.
    pub(crate) fn cause(&self) -> Cause {
        self.cause
    }

    fn keep_text(&mut self, program: &Arc<BoundProgram>) {
        if self.programs.iter().any(|kept| Arc::ptr_eq(kept, program)) {
            return;
        }
        self.programs.push_back(Arc::clone(program));
        if self.programs.len() > MOST_PROGRAMS {
            self.programs.pop_front();
        }
    }

    /// Tells of a message and keeps it; gives its number. `call` is the hash of its Call-ID, where that is known.
    fn take(&mut self, sighting: Sighting, call: Option<u64>, when: When) -> u64 {
        for watcher in &*self.watchers {
            watcher.on(&sighting);
        }
        if !self.watched.is_empty() {
            let seen = glance(&sighting.bytes, true);
            self.watched.tell(when.key.hash(&[seen.call_id]), &seen, &sighting, when.now);
        }
        let Some(ring) = &mut self.ring else { return 0 };
        // What a message causes is filed with it: to look for the Call-ID in each would cost more than all else.
        let call = call.unwrap_or_else(|| when.key.hash(&[glance(&sighting.bytes, false).call_id]));
        if glance::is_failure(&sighting.bytes) && glance(&sighting.bytes, true).is_failed_call {
            ring.keep_longer(call);
        }
        let cause = if sighting.is_sent { self.cause.number } else { 0 };
        ring.push(call, sighting.at, What::Message { cause, sighting })
    }

    /// Notes the outbox's messages that have not been looked at.
    fn take_sent(&mut self, outbox: &[Outgoing], at: Duration, sockets: &[Socket], when: When) {
        let call = (self.cause.number > 0).then_some(self.cause.call);
        for outgoing in &outbox[self.seen.min(outbox.len())..] {
            let socket = sockets.get(usize::from(outgoing.way.socket.0));
            let sighting = Sighting {
                at,
                is_sent: true,
                transport: outgoing.way.transport,
                source: socket.map_or(outgoing.way.peer, |socket| socket.address),
                destination: outgoing.way.peer,
                bytes: outgoing.bytes.clone(),
            };
            self.take(sighting, call, when);
        }
        self.seen = outbox.len();
    }
}

/// The clock, and what calls are hashed with.
#[derive(Clone, Copy)]
struct When {
    now: Instant,
    key: crate::Key,
}

impl Core {
    /// Takes a message that has arrived whole.
    pub fn on_message(&mut self, message: Arc<Message>, arrival: Arrival) {
        self.guarded(|core| core.take_message(message, arrival));
    }

    fn take_message(&mut self, message: Arc<Message>, arrival: Arrival) {
        if !self.capture.is_on {
            return self.act_on(message, arrival);
        }
        let sighting = Sighting {
            at: self.unix_time,
            is_sent: false,
            transport: arrival.transport,
            source: arrival.source,
            destination: arrival.local,
            bytes: whole(&message),
        };
        // What lies in the outbox was there first.
        self.note_sent();
        let call = self.shared.key.hash(&[message.call_id()]);
        let number = self.capture.take(sighting, Some(call), self.when());
        self.because_of(Cause { number, call }, |core| core.act_on(message, arrival));
    }

    /// Does `work`, and files what it sends under the message that caused it.
    pub(crate) fn because_of(&mut self, cause: Cause, work: impl FnOnce(&mut Core)) {
        self.note_sent();
        self.capture.cause = cause;
        work(self);
        self.note_sent();
        self.capture.cause = Cause::default();
    }

    /// A panic has ended the work on a message: what leaves from now on is not its doing.
    pub(crate) fn forget_cause(&mut self) {
        self.note_sent();
        self.capture.cause = Cause::default();
    }

    /// Shows the ring to whoever has asked; an empty one where nothing is kept.
    pub fn show_capture(&self, look: impl FnOnce(&Ring)) {
        match &self.capture.ring {
            Some(ring) => look(ring),
            None => look(&Ring::new(0)),
        }
    }

    /// Notes what lies in the outbox, before it leaves. Without this, what a timer sends would look as if the message
    /// acted on next had caused it.
    pub(crate) fn note_sent(&mut self) {
        if self.capture.is_on && self.capture.seen < self.outbox.len() {
            let when = self.when();
            self.capture.take_sent(&self.outbox, self.unix_time, &self.shared.identity.sockets, when);
        }
    }

    /// The outbox is about to be emptied.
    pub(crate) fn note_all_sent(&mut self) {
        self.note_sent();
        self.capture.seen = 0;
    }

    fn when(&self) -> When {
        When { now: self.now, key: self.shared.key }
    }

    /// Tells a module of a call from now on. False where too many calls are watched.
    pub(crate) fn watch_call(&mut self, context: &Context, watch: Watch) -> bool {
        let request = context.request.as_ref().unwrap_or(&context.message);
        let call = self.shared.key.hash(&[request.call_id()]);
        let cseq = request.cseq().ok().map(|cseq| cseq.number);
        let is_watched = self.capture.watched.add(call, cseq, watch, self.now);
        self.capture.update();
        is_watched
    }

    /// Has the way of a run kept that is about to begin, where anything is kept.
    pub(crate) fn keep_steps(&mut self, run: &mut Run, route: RouteId, context: &Context) {
        let Some(ring) = &mut self.capture.ring else { return };
        let program = Arc::clone(run.program());
        let steps = Arc::new(Steps::new(&program, route));
        let cause = self.capture.cause;
        let call = match cause.number {
            0 => self.shared.key.hash(&[context.message.call_id()]),
            _ => cause.call,
        };
        ring.push(call, self.unix_time, What::Run { cause: cause.number, steps: Arc::clone(&steps) });
        run.keep_path(steps);
        self.capture.keep_text(&program);
    }
}

fn whole(message: &Message) -> Bytes {
    message.slice(Span::new(0, message.bytes().len()))
}
