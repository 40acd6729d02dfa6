//! What is sent, and what an answer means. No socket and no clock: time is told, counted from the beginning of a run.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use sip_message::{HeaderName, Limits, Message, Method, NameAddr};

use crate::arguments::{Arguments, Kind};
use crate::drive::Pace;
use crate::histogram::Histogram;
use crate::letters::{self, Letter};

/// Where the traffic goes out: sockets by number.
pub(crate) trait Out {
    /// Address and port of each socket, as Via and Contact name them.
    fn names(&self) -> &[String];
    /// Sends to the server.
    fn push(&mut self, socket: usize, bytes: &[u8]);
}

/// Who does what.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    kind: Kind,
    users: u64,
    prefix: String,
    domain: String,
    password: Option<String>,
    /// Makes Call-IDs and branches of this run differ from those of others.
    run: u32,
}

impl Profile {
    pub(crate) fn new(arguments: &Arguments, target: SocketAddr) -> Profile {
        Profile {
            kind: arguments.kind,
            users: arguments.users.into(),
            prefix: arguments.prefix.clone(),
            domain: arguments.domain.clone().unwrap_or_else(|| target.to_string()),
            password: arguments.auth.clone(),
            run: 0,
        }
    }

    pub(crate) fn needs_users(&self) -> bool {
        matches!(self.kind, Kind::Call | Kind::Message)
    }

    /// The same users, to be registered.
    pub(crate) fn registering(&self) -> Profile {
        Profile { kind: Kind::Register, ..self.clone() }
    }

    fn method(&self) -> &'static str {
        match self.kind {
            Kind::Call => "INVITE",
            Kind::Register => "REGISTER",
            Kind::Message => "MESSAGE",
            Kind::Options => "OPTIONS",
        }
    }

    fn user(&self, number: u64) -> String {
        format!("{}{}", self.prefix, number % self.users)
    }
}

/// The attempts of a run and what became of them.
pub(crate) struct Traffic {
    profile: Profile,
    open: HashMap<u64, Attempt>,
    /// Registrations of a phone that wait for its earlier one, by user; an entry for each phone that has one under way.
    behind: HashMap<u64, VecDeque<u64>>,
    /// Whose turn has come.
    ready: Vec<u64>,
    /// Calls that are to be ended, and attempts that have failed by then, in order.
    ending: VecDeque<(Duration, u64)>,
    limits: VecDeque<(Duration, u64)>,
    latencies: Histogram,
    attempts: u64,
    succeeded: u64,
    failed: BTreeMap<String, u64>,
    limit: Duration,
    hold: Duration,
}

struct Attempt {
    intended: Duration,
    step: Step,
    cseq: u32,
    is_measured: bool,
    /// Lines that answer a challenge.
    credentials: Option<String>,
    dialog: Dialog,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Asked,
    Talking,
    HangingUp,
}

/// Where requests within a call go (RFC 3261 section 12.1.2).
#[derive(Default)]
struct Dialog {
    target: String,
    to: String,
    routes: String,
}

impl Traffic {
    pub(crate) fn new(profile: Profile) -> Traffic {
        // Two runs within 2^32 ms of each other differ, which outlives any transaction.
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Traffic {
            profile: Profile { run: since.as_millis() as u32, ..profile },
            open: HashMap::new(),
            behind: HashMap::new(),
            ready: Vec::new(),
            ending: VecDeque::new(),
            limits: VecDeque::new(),
            latencies: Histogram::new(),
            attempts: 0,
            succeeded: 0,
            failed: BTreeMap::new(),
            limit: Duration::MAX,
            hold: Duration::ZERO,
        }
    }

    /// How long attempts may take, and calls last.
    pub(crate) fn set_pace(&mut self, pace: &Pace) {
        self.hold = pace.hold;
        self.limit = pace.threshold + if self.profile.kind == Kind::Call { pace.hold } else { Duration::ZERO };
    }

    pub(crate) fn attempts(&self) -> u64 {
        self.attempts
    }

    pub(crate) fn succeeded(&self) -> u64 {
        self.succeeded
    }

    pub(crate) fn latencies(&self) -> &Histogram {
        &self.latencies
    }

    /// Why attempts failed, and how many each.
    pub(crate) fn failed(&self) -> &BTreeMap<String, u64> {
        &self.failed
    }

    /// The same in words.
    pub(crate) fn reasons(&self) -> String {
        let each: Vec<_> = self.failed.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        each.join(", ")
    }

    /// Whether nothing is open any more.
    pub(crate) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// Begins attempt `number`, which was to begin at `intended`: times are counted from then.
    pub(crate) fn begin(&mut self, number: u64, intended: Duration, out: &mut dyn Out) {
        self.attempts += 1;
        // The Call-ID of a phone's registrations stays, and CSeq grows (RFC 3261 section 10.2.4).
        let cseq = if self.profile.kind == Kind::Register { number / self.profile.users * 2 + 1 } else { 1 };
        let attempt = Attempt {
            intended,
            step: Step::Asked,
            cseq: cseq as u32,
            is_measured: false,
            credentials: None,
            dialog: Dialog::default(),
        };
        self.open.insert(number, attempt);
        self.limits.push_back((intended.saturating_add(self.limit), number));
        if self.profile.kind == Kind::Register {
            // No new registration before the earlier one has its answer (RFC 3261 section 10.2): they could overtake each other.
            if let Some(behind) = self.behind.get_mut(&(number % self.profile.users)) {
                behind.push_back(number);
                return;
            }
            self.behind.insert(number % self.profile.users, VecDeque::new());
        }
        self.ask(number, out);
    }

    /// Ends an attempt; false when it had ended before.
    fn end(&mut self, number: u64) -> bool {
        let was_open = self.open.remove(&number).is_some();
        let user = number % self.profile.users;
        if let Some(behind) = self.behind.get_mut(&user) {
            // One that has failed while it waited has not been sent, and holds nobody up.
            if let Some(place) = behind.iter().position(|waiting| *waiting == number) {
                behind.remove(place);
            } else if was_open {
                match behind.pop_front() {
                    Some(next) => self.ready.push(next),
                    None => drop(self.behind.remove(&user)),
                }
            }
        }
        was_open
    }

    fn ask_those_ready(&mut self, out: &mut dyn Out) {
        for number in std::mem::take(&mut self.ready) {
            self.ask(number, out);
        }
    }

    /// Sends the first request of an attempt, or repeats it with credentials.
    fn ask(&self, number: u64, out: &mut dyn Out) {
        let Some(attempt) = self.open.get(&number) else { return };
        let Profile { kind, domain, run, users, .. } = &self.profile;
        let user = format!("sip:{}@{domain}", self.profile.user(number));
        let is_own = *kind == Kind::Register;
        let from = if is_own { user.clone() } else { format!("sip:{}@{domain}", self.profile.user(number + 1)) };
        let uri = if matches!(kind, Kind::Register | Kind::Options) { format!("sip:{domain}") } else { user.clone() };
        let socket = self.socket(number, out);
        let via = &out.names()[socket];
        let (contact, call) = match is_own {
            true => (self.profile.user(number), format!("{:x}-{run:x}@ser-bench", number % users)),
            false => (self.profile.user(number + 1), format!("{number:x}.{run:x}@ser-bench")),
        };
        let mut lines = attempt.credentials.clone().unwrap_or_default();
        if matches!(kind, Kind::Register | Kind::Call) {
            lines.push_str(&format!("Contact: <sip:{contact}@{via}>\r\n"));
        }
        if is_own {
            lines.push_str("Expires: 3600\r\n");
        }
        let to = if *kind == Kind::Options { uri.clone() } else { user };
        let letter = Letter {
            method: self.profile.method(),
            uri: &uri,
            via,
            branch: &format!("{run:x}.{number:x}.{}", attempt.cseq),
            from: &format!("<{from}>;tag={number:x}"),
            to: &format!("<{to}>"),
            call: &call,
            cseq: attempt.cseq,
            lines: &lines,
            body: match kind {
                Kind::Call => ("application/sdp", letters::OFFER),
                Kind::Message => ("text/plain", "Watson, come here."),
                _ => ("", ""),
            },
        };
        let text = letter.text();
        out.push(socket, text.as_bytes());
    }

    /// A phone registers from its own socket, where calls for it then arrive.
    fn socket(&self, number: u64, out: &dyn Out) -> usize {
        let which = if self.profile.kind == Kind::Register { number % self.profile.users } else { number };
        (which % out.names().len() as u64) as usize
    }

    /// Takes what came to one socket.
    pub(crate) fn on_datagram(&mut self, socket: usize, bytes: &[u8], now: Duration, out: &mut dyn Out) {
        let Ok(message) = Message::parse(Bytes::copy_from_slice(bytes), &Limits::default()) else { return };
        if message.is_request() {
            let contact = format!("sip:callee@{}", out.names()[socket]);
            letters::answers(&message, &contact).iter().for_each(|reply| out.push(socket, reply));
            return;
        }
        let number = message.top_via().ok().and_then(|via| self.number(via.branch()?));
        if let (Some(number), Some(status)) = (number, message.status()) {
            self.on_reply(number, status, &message, now, out);
            self.ask_those_ready(out);
        }
    }

    fn number(&self, branch: &[u8]) -> Option<u64> {
        let text = std::str::from_utf8(branch.strip_prefix(b"z9hG4bK")?).ok()?;
        let mut parts = text.split('.');
        let is_ours = u32::from_str_radix(parts.next()?, 16) == Ok(self.profile.run);
        is_ours.then_some(())?;
        u64::from_str_radix(parts.next()?, 16).ok()
    }

    fn on_reply(&mut self, number: u64, status: u16, reply: &Message, now: Duration, out: &mut dyn Out) {
        let Some(attempt) = self.open.get_mut(&number) else { return };
        let is_invite = reply.method() == Method::Invite;
        // RFC 6076 section 4.3: the delay of a session ends with the first sign that the callee knows.
        if status >= if is_invite { 180 } else { 200 } && status < 300 && !attempt.is_measured {
            attempt.is_measured = true;
            self.latencies.add(now.saturating_sub(attempt.intended));
        }
        match (attempt.step, status) {
            (_, ..200) => {}
            (Step::Asked, 401 | 407) if attempt.credentials.is_none() && self.profile.password.is_some() => {
                self.on_challenge(number, reply, out);
            }
            (Step::Asked, 200..300) if is_invite => {
                attempt.step = Step::Talking;
                attempt.dialog = dialog(reply);
                self.ending.push_back((now + self.hold, number));
                self.send_in_dialog("ACK", number, out);
            }
            // Its ACK was lost.
            (Step::Talking | Step::HangingUp, 200..300) if is_invite => self.send_in_dialog("ACK", number, out),
            (Step::Asked, 200..300) | (Step::HangingUp, 200..300) => {
                self.end(number);
                self.succeeded += 1;
            }
            (Step::Asked, 300..) => {
                if is_invite {
                    self.acknowledge_failure(number, reply, out);
                }
                self.fail(number, format!("{status} {}", String::from_utf8_lossy(reply.reason())));
            }
            (Step::HangingUp, 300..) => self.fail(number, format!("{status} to BYE")),
            (Step::Talking, _) => {}
        }
    }

    fn on_challenge(&mut self, number: u64, reply: &Message, out: &mut dyn Out) {
        let Profile { kind, domain, password, .. } = &self.profile;
        let asker = if *kind == Kind::Register { number } else { number + 1 };
        let user = self.profile.user(asker);
        let uri = match kind {
            Kind::Register | Kind::Options => format!("sip:{domain}"),
            _ => format!("sip:{}@{domain}", self.profile.user(number)),
        };
        let password = password.clone().unwrap_or_default();
        let line = letters::credentials(reply, &user, &password, self.profile.method(), &uri);
        if *kind == Kind::Call {
            self.acknowledge_failure(number, reply, out);
        }
        match (line, self.open.get_mut(&number)) {
            (Some(line), Some(attempt)) => {
                attempt.credentials = Some(line);
                attempt.cseq += 1;
                self.ask(number, out);
            }
            _ => self.fail(number, "a challenge that is not understood".to_owned()),
        }
    }

    /// ACK of a failure: a copy of the INVITE's branch, hop by hop (RFC 3261 section 17.1.1.3).
    fn acknowledge_failure(&self, number: u64, reply: &Message, out: &mut dyn Out) {
        let to =
            reply.header(HeaderName::To).map(|to| String::from_utf8_lossy(to.value).into_owned()).unwrap_or_default();
        let dialog = Dialog {
            target: format!("sip:{}@{}", self.profile.user(number), self.profile.domain),
            to,
            ..Dialog::default()
        };
        let cseq = self.open.get(&number).map_or(1, |attempt| attempt.cseq);
        self.send("ACK", number, (cseq, &cseq.to_string()), &dialog, out);
    }

    fn send_in_dialog(&self, method: &str, number: u64, out: &mut dyn Out) {
        let Some(attempt) = self.open.get(&number) else { return };
        let cseq = if method == "BYE" { attempt.cseq + 1 } else { attempt.cseq };
        self.send(method, number, (cseq, method), &attempt.dialog, out);
    }

    fn send(&self, method: &str, number: u64, (cseq, branch): (u32, &str), dialog: &Dialog, out: &mut dyn Out) {
        let Profile { domain, run, .. } = &self.profile;
        let socket = self.socket(number, out);
        let letter = Letter {
            method,
            uri: &dialog.target,
            via: &out.names()[socket],
            branch: &format!("{run:x}.{number:x}.{branch}"),
            from: &format!("<sip:{}@{domain}>;tag={number:x}", self.profile.user(number + 1)),
            to: &dialog.to,
            call: &format!("{number:x}.{run:x}@ser-bench"),
            cseq,
            lines: &dialog.routes,
            body: ("", ""),
        };
        let text = letter.text();
        out.push(socket, text.as_bytes());
    }

    fn fail(&mut self, number: u64, reason: String) {
        if self.end(number) {
            *self.failed.entry(reason).or_default() += 1;
        }
    }

    /// Does what is due.
    pub(crate) fn poll(&mut self, now: Duration, out: &mut dyn Out) {
        while let Some((_, number)) = self.ending.pop_front_if(|(due, _)| *due <= now) {
            if let Some(attempt) = self.open.get_mut(&number) {
                attempt.step = Step::HangingUp;
                self.send_in_dialog("BYE", number, out);
            }
        }
        while let Some((_, number)) = self.limits.pop_front_if(|(due, _)| *due <= now) {
            self.fail(number, "not answered in time".to_owned());
        }
        self.ask_those_ready(out);
    }
}

fn dialog(ok: &Message) -> Dialog {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let contact =
        ok.header(HeaderName::Contact).and_then(|contact| Some(text(NameAddr::parse(contact.value).ok()?.uri)));
    let mut routes = String::new();
    for route in ok.values_of(HeaderName::RecordRoute) {
        // The route set of a caller is the Record-Route in reverse.
        routes.insert_str(0, &format!("Route: {}\r\n", text(route.text)));
    }
    let to = ok.header(HeaderName::To).map(|to| text(to.value)).unwrap_or_default();
    Dialog { target: contact.unwrap_or_default(), to, routes }
}

#[cfg(test)]
mod tests;
