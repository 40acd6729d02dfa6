//! What becomes of requests, measured and told to whoever listens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use module_api::{Data, EventKind, TransactionKey};
use sip_message::{Message, Method};

use crate::figures::{Board, Leaving, is_challenge};
use crate::transaction::{Server, Transaction};
use crate::worker_core::Core;

type Fields = Vec<(&'static str, Data)>;

/// The requests of one call share a trace, on every server that a collector hears of: the key is no secret.
const TRACE_KEY: crate::Key = crate::Key(0x5e5, 0x7ace);

impl Core {
    /// A reply of a transaction leaves: `before` is the highest status that had left until then.
    pub(crate) fn measure_reply(&mut self, key: TransactionKey, before: u16, code: u16) {
        let Some(transaction) = self.table.transaction(key) else { return };
        if code < 200 && !transaction.is_invite() {
            return;
        }
        let (request, born) = (Arc::clone(&transaction.request), transaction.born);
        let is_followed = transaction.left.record_route.is_some();
        let method = request.method();
        let is_initial = request.to_tag().is_none();
        let delay = self.now.saturating_duration_since(born);
        if method == Method::Invite && is_initial && before <= 100 && code > 100 {
            match code {
                101..=299 => self.figures.session_delay.observe_time(delay),
                400.. if !is_challenge(code) => self.figures.failed_session_delay.observe_time(delay),
                _ => {}
            }
        }
        if code < 200 {
            return;
        }
        self.figures.leaves(Leaving::Answer, method, born);
        match (method, is_initial) {
            (Method::Invite, true) => {
                if (200..300).contains(&code) && is_followed {
                    let call = self.call_hash(&request);
                    self.figures.calls.begin(call, self.now);
                }
                self.tell_of_call(&request, code, delay);
            }
            (Method::Register, _) if code < 300 => self.figures.registration_delay.observe_time(delay),
            (Method::Bye, _) if !is_challenge(code) => {
                if code < 300 {
                    self.figures.disconnect_delay.observe_time(delay);
                }
                self.end_call(&request, born);
            }
            _ => {}
        }
        self.count_outcome(&request, code);
        self.tell_of_span(key, code);
    }

    /// A final reply without a transaction leaves.
    pub(crate) fn measure_stateless(&mut self, request: &Message, code: u16) {
        if code < 200 {
            return;
        }
        let method = request.method();
        self.figures.leaves(Leaving::Answer, method, self.now);
        if method == Method::Register && code < 300 {
            self.figures.leaves(Leaving::Registered, method, self.now);
        }
        if method == Method::Invite && request.to_tag().is_none() {
            if code >= 400 && !is_challenge(code) {
                self.figures.leaves(Leaving::Refused, method, self.now);
            }
            self.tell_of_call(request, code, Duration::ZERO);
        }
        self.count_outcome(request, code);
    }

    fn count_outcome(&self, request: &Message, code: u16) {
        match request.method() {
            Method::Register => self.figures.outcomes.registered(code),
            Method::Invite if request.to_tag().is_none() => self.figures.outcomes.answered(code),
            Method::Message => self.events.tell(EventKind::Message, self.unix_time, || {
                let mut fields = parties(request);
                fields.push(("code", i64::from(code).into()));
                fields
            }),
            _ => {}
        }
    }

    /// This server itself has refused a request.
    pub(crate) fn tell_of_refusal(&self, request: &Message, source: std::net::SocketAddr, code: u16, reason: &[u8]) {
        if code < 400 || is_challenge(code) || code == 487 {
            return;
        }
        self.events.tell(EventKind::Reject, self.unix_time, || {
            let mut fields = parties(request);
            fields.insert(0, ("method", text(request.method_text())));
            fields.extend([
                ("source", source.to_string().into()),
                ("code", i64::from(code).into()),
                ("reason", text(reason)),
            ]);
            fields
        });
    }

    /// The first copy of a request leaves.
    pub(crate) fn measure_forward(&mut self, key: TransactionKey) {
        let Some(transaction) = self.table.transaction(key) else { return };
        if matches!(transaction.server, Server::Own(_)) {
            return;
        }
        let (request, source) = (&transaction.request, transaction.arrival.source);
        self.figures.leaves(Leaving::Forward, request.method(), transaction.born);
        if request.method() == Method::Invite && request.to_tag().is_none() {
            self.events.tell(EventKind::CallStart, self.unix_time, || {
                let mut fields = parties(request);
                fields.push(("to_uri", text(request.request_uri())));
                fields.push(("source", source.to_string().into()));
                fields
            });
        }
    }

    fn tell_of_call(&self, request: &Message, code: u16, delay: Duration) {
        let kind = match code {
            200..=299 => EventKind::CallAnswer,
            _ if is_challenge(code) => return,
            _ => EventKind::CallFail,
        };
        self.events.tell(kind, self.unix_time, || {
            let mut fields = parties(request);
            fields.push(("code", i64::from(code).into()));
            fields.push(("delay", delay.as_secs_f64().into()));
            fields
        });
    }

    /// A call has ended by a BYE that came, or was sent, at `ended`.
    pub(crate) fn end_call(&mut self, request: &Message, ended: Instant) {
        let call = self.call_hash(request);
        let Some(answered) = self.figures.calls.end(call) else { return };
        let duration = ended.saturating_duration_since(answered);
        // Rounded: a call of half a second has not lasted none.
        self.figures.call_duration.observe(duration.as_millis().div_ceil(1000) as u64);
        self.figures.outcomes.completed.increment();
        self.events.tell(EventKind::CallEnd, self.unix_time, || {
            let mut fields = parties(request);
            fields.push(("duration", duration.as_secs_f64().into()));
            fields
        });
    }

    fn call_hash(&self, request: &Message) -> u64 {
        self.shared.key.hash(&[b"call", request.call_id()])
    }

    /// A request has been dealt with: what a trace collector is told.
    fn tell_of_span(&self, key: TransactionKey, code: u16) {
        if !self.events.is_wanted(EventKind::Span) {
            return;
        }
        let Some(transaction) = self.table.transaction(key) else { return };
        let request = &transaction.request;
        let lasted = self.now.saturating_duration_since(transaction.born);
        let trace = [b"trace" as &[u8], b"rest"].map(|part| TRACE_KEY.hash(&[part, request.call_id()]));
        self.events.tell(EventKind::Span, self.unix_time, || {
            let mut fields = parties(request);
            fields.extend([
                ("method", text(request.method_text())),
                ("code", i64::from(code).into()),
                ("source", transaction.arrival.source.to_string().into()),
                ("transport", transaction.arrival.transport.uri_param().into()),
                ("trace_id", format!("{:016x}{:016x}", trace[0], trace[1]).into()),
                ("span_id", format!("{:016x}", transaction.tag).into()),
                ("nanoseconds", (lasted.as_nanos() as i64).into()),
                ("script_nanoseconds", (transaction.in_script.as_nanos() as i64).into()),
                ("branches", transaction.branches.len().into()),
            ]);
            fields
        });
    }

    /// Takes down that what the turn has produced has left.
    pub(crate) fn end_turn(&mut self) {
        let now = if self.figures.has_leaving() { self.moment() } else { self.now };
        self.figures.have_left(now);
        let board = &self.figures.board;
        Board::set(&board.parked, self.waiting.len());
        Board::set(&board.calls, self.figures.calls.len());
        Board::set(&board.deferred, self.later.len());
    }
}

impl Transaction {
    /// What it holds, for the figure of memory: itself, its messages and copies.
    pub(crate) fn size(&self) -> usize {
        let branches = self.branches.iter().map(|branch| {
            let reply = branch.reply.as_ref().map_or(0, |reply| reply.bytes().len());
            size_of_val(branch) + branch.sent.len() + reply
        });
        size_of_val(self) + self.request.bytes().len() + branches.sum::<usize>()
    }
}

/// Who calls whom.
fn parties(request: &Message) -> Fields {
    let uri = |party: Option<sip_message::NameAddr<'_>>| party.map_or(Data::Null, |party| text(party.uri));
    vec![("call_id", text(request.call_id())), ("from", uri(request.from().ok())), ("to", uri(request.to().ok()))]
}

fn text(bytes: &[u8]) -> Data {
    String::from_utf8_lossy(bytes).into_owned().into()
}
