//! INVITE, 180 and 200 back to back, ACK, a short talk, BYE, 200.

use std::collections::VecDeque;
use std::io::Write;
use std::time::{Duration, Instant};

use super::{Outbox, Report, Side, Workload, message};

/// Callers that call registered users and hang up after [`TALK`].
pub struct Calls {
    users: usize,
    /// Makes Call-IDs and branches of this run differ from those of others.
    run: u32,
    calls: Vec<Call>,
    hanging_up: VecDeque<(Instant, usize)>,
    text: Vec<u8>,
    report: Report,
    refused: usize,
}

impl Calls {
    /// Calls to the users `u0` to `u{users - 1}`.
    pub fn new(users: usize, run: u32) -> Calls {
        Calls {
            users,
            run,
            calls: Vec::new(),
            hanging_up: VecDeque::new(),
            text: Vec::with_capacity(1024),
            report: Report::default(),
            refused: 0,
        }
    }

    /// What happened.
    pub fn into_report(self) -> Report {
        Report { begun: self.calls.len(), refused: self.refused, ..self.report }
    }

    fn on_answer(&mut self, status: u16, bytes: &[u8], now: Instant, out: &mut Outbox<'_>) {
        let Some(number) = message::call_number(bytes) else { return };
        let is_bye = message::header(bytes, "CSeq").is_some_and(|cseq| cseq.ends_with(b"BYE"));
        let Some(call) = self.calls.get_mut(number) else { return };
        match (call.state, status, is_bye) {
            (State::Calling, 180, false) => {
                call.state = State::Ringing;
                self.report.latencies.push(now.duration_since(call.begun).as_micros() as u32);
            }
            (State::Calling | State::Ringing, 200, false) => {
                self.report.swapped += usize::from(call.state == State::Calling);
                call.state = State::Talking;
                call.target = route_of(bytes);
                self.send_in_dialog("ACK", number, out);
                self.hanging_up.push_back((now + TALK, number));
            }
            (State::HangingUp, 200, true) => {
                call.state = State::Ended;
                self.report.completed += 1;
            }
            (State::Calling | State::Ringing | State::HangingUp, 300.., _) => {
                call.state = State::Ended;
                self.refused += 1;
            }
            _ => {}
        }
    }

    /// ACK and BYE go where the 200 said: its Contact, through its Record-Route (12.1.2).
    fn send_in_dialog(&mut self, method: &str, number: usize, out: &mut Outbox<'_>) {
        let pair = number % out.ends.pairs();
        let port = out.ends.port(Side::Caller, pair);
        let Calls { calls, text, run, users, .. } = self;
        let Target { contact, routes } = &calls[number].target;
        let (cseq, user) = (if method == "ACK" { 1 } else { 2 }, number % *users);
        text.clear();
        // Writing to a vector cannot fail.
        let _ = write!(
            text,
            "{method} {contact} SIP/2.0\r\n\
             Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{run:x}.{number:x}.{method};rport\r\n\
             {routes}Max-Forwards: 70\r\nFrom: <sip:caller@127.0.0.1>;tag={number:x}\r\n\
             To: <sip:u{user}@{}>;tag=callee\r\nCall-ID: {number:x}-{run:x}@bench\r\nCSeq: {cseq} {method}\r\n\
             Content-Length: 0\r\n\r\n",
            out.ends.server(),
        );
        out.push(Side::Caller, pair, text);
    }
}

impl Workload for Calls {
    fn begin(&mut self, number: usize, now: Instant, out: &mut Outbox<'_>) {
        let pair = number % out.ends.pairs();
        self.text.clear();
        write_invite(&mut self.text, number, self.run, self.users, out);
        out.push(Side::Caller, pair, &self.text);
        self.calls.push(Call { begun: now, state: State::Calling, target: Target::default() });
    }

    fn on_datagram(&mut self, side: Side, pair: usize, bytes: &[u8], now: Instant, out: &mut Outbox<'_>) {
        match (side, message::status(bytes)) {
            (Side::Caller, Some(status)) => self.on_answer(status, bytes, now, out),
            (Side::Callee, None) if !bytes.starts_with(b"ACK ") => {
                let contact = format!("Contact: <sip:callee@127.0.0.1:{}>\r\n", out.ends.port(Side::Callee, pair));
                let is_invite = bytes.starts_with(b"INVITE ");
                let statuses: &[&str] = if is_invite { &["180 Ringing", "200 OK"] } else { &["200 OK"] };
                for status in statuses {
                    self.text.clear();
                    message::answer(bytes, status, &contact, &mut self.text);
                    out.push(Side::Callee, pair, &self.text);
                }
            }
            _ => {}
        }
    }

    fn poll_due(&mut self, now: Instant, out: &mut Outbox<'_>) {
        while let Some((_, number)) = self.hanging_up.pop_front_if(|(due, _)| *due <= now) {
            self.calls[number].state = State::HangingUp;
            self.send_in_dialog("BYE", number, out);
        }
    }

    fn ended(&self) -> usize {
        self.report.completed + self.refused
    }
}

/// An INVITE to the user whose turn it is, with an offer.
pub(super) fn write_invite(text: &mut Vec<u8>, number: usize, run: u32, users: usize, out: &Outbox<'_>) {
    let port = out.ends.port(Side::Caller, number % out.ends.pairs());
    let (server, user) = (out.ends.server(), number % users);
    // Writing to a vector cannot fail.
    let _ = write!(
        text,
        "INVITE sip:u{user}@{server} SIP/2.0\r\n\
         Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{run:x}.{number:x}.I;rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:caller@127.0.0.1>;tag={number:x}\r\nTo: <sip:u{user}@{server}>\r\n\
         Call-ID: {number:x}-{run:x}@bench\r\nCSeq: 1 INVITE\r\nContact: <sip:caller@127.0.0.1:{port}>\r\n\
         User-Agent: bench\r\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{}",
        message::OFFER.len(),
        message::OFFER,
    );
}

/// How long a call lasts between ACK and BYE.
const TALK: Duration = Duration::from_millis(50);

struct Call {
    begun: Instant,
    state: State,
    target: Target,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Calling,
    Ringing,
    Talking,
    HangingUp,
    Ended,
}

/// Where requests inside the dialog go.
#[derive(Default)]
struct Target {
    contact: String,
    routes: String,
}

fn route_of(ok: &[u8]) -> Target {
    let contact = message::header(ok, "Contact").unwrap_or_default();
    let contact = contact.strip_prefix(b"<").and_then(|rest| rest.split(|byte| *byte == b'>').next());
    let mut routes = String::new();
    for line in message::lines(ok) {
        if let Some(route) = message::header_value(line, "Record-Route") {
            // The route set of a caller is the Record-Route in reverse (12.1.2).
            routes.insert_str(0, &format!("Route: {}\r\n", String::from_utf8_lossy(route)));
        }
    }
    Target { contact: String::from_utf8_lossy(contact.unwrap_or_default()).into_owned(), routes }
}
