//! Running routes, and parking the requests that wait.

use std::sync::Arc;

use module_api::{Context, Level, NewTransaction, Reply, RouteId, RouteKind, TransactionKey, Wait};
use script::{BoundProgram, End, Progress, Run, Stop};
use sip_message::Message;

use crate::outgoing::Sender;
use crate::overload;
use crate::relay::Refusal;
use crate::wait::{After, Finished, Parked, Waiting};
use crate::worker_core::Core;

/// How deep routes that run at once may be nested: a reply in an event's route causes the next event.
const MOST_NESTED: u8 = 8;

impl Core {
    /// Runs `route` on `context` until it ends or waits; `after` says what its end means.
    pub(crate) fn run_route(&mut self, program: &Arc<BoundProgram>, route: RouteId, context: Context, after: After) {
        let mut run = Run::start(program, route);
        run.trace(self.shared.tracing.tracer(&context));
        self.keep_steps(&mut run, route, &context);
        let mut parked = Parked { context, run, after, spent: std::time::Duration::ZERO };
        let progress = self.timed(&mut parked, |parked, core| parked.run.step_until_done(&mut parked.context, core));
        self.drive(parked, progress);
    }

    /// Lets a run go on, and measures how long that takes where it is a request's.
    fn timed(&mut self, parked: &mut Parked, step: impl FnOnce(&mut Parked, &mut Core) -> Progress) -> Progress {
        if parked.after != After::Request {
            return step(parked, self);
        }
        let begin = self.moment();
        let progress = step(parked, self);
        parked.spent += self.moment().saturating_duration_since(begin);
        progress
    }

    /// Runs `route` where nothing may wait, and says how it ended.
    pub(crate) fn run_at_once(&mut self, program: &Arc<BoundProgram>, route: RouteId, context: &mut Context) -> End {
        // A route about replies that makes a reply runs again for that one: each run has bounds of its own,
        // so that only this one ends it.
        if self.nesting >= MOST_NESTED {
            self.shared
                .log
                .write(Level::Error, b"routes of events cause each other without end; the innermost is left out");
            return End { code: -1, is_dropped: false, stop: Some(Stop::Depth) };
        }
        self.nesting += 1;
        let end = self.run_to_its_end(program, route, context);
        self.nesting -= 1;
        end
    }

    fn run_to_its_end(&mut self, program: &Arc<BoundProgram>, route: RouteId, context: &mut Context) -> End {
        let mut run = Run::start(program, route);
        run.trace(self.shared.tracing.tracer(context));
        self.keep_steps(&mut run, route, context);
        let mut progress = run.step_until_done(context, self);
        loop {
            match progress {
                Progress::Done(end) => return end,
                Progress::Wait(_) => {
                    let text = format!("{} cannot wait; the call fails", context.kind.as_str());
                    self.shared.log.write(Level::Error, text.as_bytes());
                    progress = run.expire(context, self);
                }
            }
        }
    }

    /// Goes on with a parked run whose wait is over.
    pub(crate) fn unpark(&mut self, mut parked: Box<Parked>, finished: Finished) {
        self.at_work = parked.context.transaction;
        if let Some(key) = parked.context.transaction {
            self.unhold(key);
        }
        let progress = self.timed(&mut parked, |parked, core| match finished {
            Finished::Resume(resume) => parked.run.resume(resume, &mut parked.context, core),
            Finished::Resolved | Finished::Expired => parked.run.expire(&mut parked.context, core),
        });
        self.drive(*parked, progress);
    }

    fn drive(&mut self, mut parked: Parked, mut progress: Progress) {
        loop {
            match progress {
                Progress::Done(end) => return self.finish_run(parked, end),
                // What has a transaction already cannot be turned away any more: the call fails at once.
                Progress::Wait(_) if self.waiting.is_full() && parked.after != After::Request => {
                    self.shared.statistics.refused.increment();
                    progress = parked.run.expire(&mut parked.context, self);
                }
                Progress::Wait(wait) => return self.park(parked, wait),
            }
        }
    }

    /// Parks a run. Its request gets a transaction, so that repetitions are absorbed meanwhile, and
    /// an INVITE gets its 100 (RFC 3261 section 17.2.1).
    fn park(&mut self, mut parked: Parked, wait: Wait) {
        if self.waiting.is_full() {
            self.shared.statistics.refused.increment();
            if parked.after == After::Event {
                self.refuse_http(&mut parked.context);
            } else {
                self.refuse_overload(&mut parked.context);
            }
            let end = End { code: -1, is_dropped: true, stop: None };
            return self.finish_run(parked, end);
        }
        if parked.after == After::Request && parked.context.transaction.is_none() {
            match self.make_transaction(&mut parked.context) {
                NewTransaction::Created(_) | NewTransaction::Ack => {}
                NewTransaction::Retransmission => return,
                NewTransaction::Full => return self.refuse_overload(&mut parked.context),
            }
            self.send_trying(&mut parked.context);
        }
        if let Some(key) = parked.context.transaction {
            self.hold(key);
            self.set_lent(key, true);
            self.settle(key);
        }
        let key = parked.context.transaction;
        let id = self.wait(Waiting::Script(Box::new(parked)));
        if let Some(transaction) = key.and_then(|key| self.table.transaction_mut(key)) {
            transaction.waits_as = Some(id);
        }
        let work = Box::pin(async move { Finished::Resume(wait.0.await) });
        self.shared.spawn.spawn(self.number, id, work);
    }

    fn finish_run(&mut self, mut parked: Parked, end: End) {
        if parked.after == After::Request {
            self.script_is_over(&parked);
        }
        if end.code < 0 && parked.after == After::Request {
            self.shared.statistics.script_errors.increment();
        }
        if end.stop.is_some() && parked.after == After::Request {
            self.refuse_stopped(&mut parked.context);
        }
        if parked.after == After::Event {
            self.finish_http(&mut parked.context);
        }
        let Some(key) = parked.context.transaction else {
            if parked.after == After::Request {
                self.finish_stateless(&mut parked.context);
            }
            return;
        };
        self.set_lent(key, false);
        if self.is_suspended(key, parked.after) {
            return self.put_aside(key, parked);
        }
        self.keep(key, &mut parked.context);
        match parked.after {
            After::Request => self.finish_request(key),
            After::Event => {}
            After::Failure(branches) => self.finish_failure(key, branches),
            After::Reply(branch) => {
                let sender = Sender { transaction: key, branch };
                self.finish_reply_route(sender, parked.context, end.is_dropped);
            }
        }
        self.run_queued(key);
        self.settle(key);
    }

    fn script_is_over(&mut self, parked: &Parked) {
        self.figures.script_ran(parked.context.message.method(), parked.spent);
        if let Some(transaction) = parked.context.transaction.and_then(|key| self.table.transaction_mut(key)) {
            transaction.in_script = parked.spent;
        }
    }

    /// A bound has ended the script: whoever waits for an answer learns that it is not their fault. What has
    /// been relayed or forwarded by then goes on: its answer comes from there.
    fn refuse_stopped(&mut self, context: &mut Context) {
        let transaction = context.transaction.and_then(|key| self.table.transaction(key));
        let is_relayed = transaction.is_some_and(|transaction| !transaction.branches.is_empty());
        let is_forwarded = context.note::<Refusal>().is_some_and(|refusal| refusal.0.is_none());
        if !(context.is_answered || is_relayed || is_forwarded) {
            // An ACK takes no reply, and one that is answered takes no second.
            let _ = self.send_stateless_reply(context, &Reply::new(500, b"Server Internal Error"));
        }
    }

    /// The request route is over. What could not be relayed is refused, unless the script has done so. What it
    /// neither relayed nor answered ends without a word, as a request does that a script drops; but not
    /// an INVITE that has had its 100, whose caller would wait for ever (RFC 3261 section 17.2.1).
    pub(crate) fn finish_request(&mut self, key: TransactionKey) {
        let Some(transaction) = self.table.transaction(key) else { return };
        if transaction.status >= 200 || transaction.holds > 0 {
            return;
        }
        if !transaction.branches.is_empty() {
            if transaction.responses.has_only_replicas() && transaction.left.refusal.is_none() {
                self.end_without_branches(key);
            }
            return;
        }
        match (transaction.left.refusal, transaction.status) {
            (Some(error), _) => {
                let (code, reason) = error.status();
                self.reply_for(key, code, reason.as_bytes());
            }
            (None, 0) => self.table.remove(key),
            (None, _) => self.reply_for(key, 500, b"Server Internal Error"),
        }
    }

    /// As [`Core::finish_request`], for a request that has got no transaction.
    fn finish_stateless(&mut self, context: &mut Context) {
        let Some(error) = context.note::<Refusal>().and_then(|refusal| refusal.0) else { return };
        if !context.is_answered {
            let (code, reason) = error.status();
            // An ACK takes no reply; whatever else went wrong with it is nobody's business.
            let _ = self.send_stateless_reply(context, &Reply::new(code, reason.as_bytes()));
        }
    }

    /// Starts the request route for a request.
    pub(crate) fn route_request(&mut self, mut context: Context) {
        debug_assert_eq!(context.kind, RouteKind::Request);
        context.is_rport_forced = self.shared.settings.forces_rport;
        // What belongs to a call that is there goes on: requests within dialogs, ACK and CANCEL.
        let is_refused = self.is_draining() || self.is_one_too_many(&context.message);
        if is_refused && overload::is_new(&context.message) {
            self.refuse_overload(&mut context);
            return;
        }
        let program = self.program();
        let before = program.engine_routes().pre_routing;
        if before.is_some_and(|route| !self.run_event_route(route, &mut context)) {
            return self.finish_event(&mut context);
        }
        match program.main() {
            Some(route) => self.run_route(&program, route, context, After::Request),
            None => self.shared.log.write(Level::Error, b"the script has no request route"),
        }
    }

    /// Whether an overloaded server refuses a request, if it is a new one. Calls for help are taken for as long as any are.
    fn is_one_too_many(&mut self, request: &Message) -> bool {
        let share = self.shared.overload.share();
        if share == 0 || self.random.below(1000) >= share || overload::is_emergency(request) {
            return false;
        }
        self.shared.statistics.shed.increment();
        true
    }

    /// 503, without a transaction: cheaper than anything else that could be said.
    fn refuse_overload(&mut self, context: &mut Context) {
        // Not the same for all, or all come back together.
        let headers = format!("Retry-After: {}\r\n", 3 + self.random.below(6));
        let reply = Reply { code: 503, reason: b"Service Unavailable", headers: headers.as_bytes() };
        // An ACK cannot be refused; nothing is lost by that.
        let _ = module_api::Host::reply_stateless(self, context, &reply);
    }
}
