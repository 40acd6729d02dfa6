//! REGISTER and its 200, from the port where the user will be called; or another request that is answered at once.

use std::io::Write;
use std::time::Instant;

use super::{Outbox, Report, Side, Workload, message};

/// Registrations of users `u0`, `u1`, ... in turn; those seen before are refreshed.
pub struct Registers {
    users: usize,
    method: &'static str,
    /// Grows from run to run: a refresh needs a higher CSeq (RFC 3261 section 10.3).
    run: u32,
    begun: Vec<(Instant, bool)>,
    text: Vec<u8>,
    report: Report,
}

impl Registers {
    /// Registers so many users; more requests than users go round again.
    pub fn new(users: usize, run: u32) -> Registers {
        Registers {
            users,
            method: "REGISTER",
            run,
            begun: Vec::new(),
            text: Vec::with_capacity(1024),
            report: Report::default(),
        }
    }

    /// The same users, asking for something else.
    #[must_use]
    pub fn asking(self, method: &'static str) -> Registers {
        Registers { method, ..self }
    }

    /// What happened.
    pub fn into_report(self) -> Report {
        Report { begun: self.begun.len(), ..self.report }
    }
}

impl Workload for Registers {
    fn begin(&mut self, number: usize, now: Instant, out: &mut Outbox<'_>) {
        let (user, turn) = (number % self.users, number / self.users);
        let pair = user % out.ends.pairs();
        let (port, server, run) = (out.ends.port(Side::Callee, pair), out.ends.server(), self.run);
        let (cseq, method) = (run as usize * 1000 + turn + 1, self.method);
        let uri = match method {
            "REGISTER" => format!("sip:{server}"),
            _ => format!("sip:u{user}@{server}"),
        };
        self.text.clear();
        // Writing to a vector cannot fail.
        let _ = write!(
            self.text,
            "{method} {uri} SIP/2.0\r\n\
             Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{run:x}.{number:x}.R;rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:u{user}@{server}>;tag={number:x}\r\nTo: <sip:u{user}@{server}>\r\n\
             Call-ID: {user:x}-register@bench\r\nCSeq: {cseq} {method}\r\nContact: <sip:u{user}@127.0.0.1:{port}>\r\n\
             Expires: 3600\r\nUser-Agent: bench\r\nContent-Length: 0\r\n\r\n",
        );
        out.push(Side::Callee, pair, &self.text);
        self.begun.push((now, false));
    }

    fn on_datagram(&mut self, _: Side, _: usize, bytes: &[u8], now: Instant, _: &mut Outbox<'_>) {
        let Some(status) = message::status(bytes).filter(|status| *status >= 200) else { return };
        // The From tag is the one place besides the branch that tells which of a user's requests this answers.
        let Some((begun, is_answered)) = message::from_tag(bytes).and_then(|number| self.begun.get_mut(number)) else {
            return;
        };
        if !std::mem::replace(is_answered, true) {
            match status {
                200 => self.report.completed += 1,
                _ => self.report.refused += 1,
            }
            self.report.latencies.push(now.duration_since(*begun).as_micros() as u32);
        }
    }

    fn ended(&self) -> usize {
        self.report.completed + self.report.refused
    }
}
