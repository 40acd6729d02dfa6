//! INVITEs that ring and are never answered: live transactions to weigh.

use std::time::Instant;

use super::{Outbox, Report, Side, Workload, calls, message};

/// Calls that stay at 180.
pub struct Pending {
    users: usize,
    run: u32,
    ringing: Vec<bool>,
    text: Vec<u8>,
    report: Report,
}

impl Pending {
    /// Calls to the users `u0` to `u{users - 1}`.
    pub fn new(users: usize, run: u32) -> Pending {
        Pending { users, run, ringing: Vec::new(), text: Vec::with_capacity(1024), report: Report::default() }
    }

    /// What happened; a call that rings counts as completed.
    pub fn into_report(self) -> Report {
        Report { begun: self.ringing.len(), ..self.report }
    }
}

impl Workload for Pending {
    fn begin(&mut self, number: usize, _: Instant, out: &mut Outbox<'_>) {
        self.text.clear();
        calls::write_invite(&mut self.text, number, self.run, self.users, out);
        out.push(Side::Caller, number % out.ends.pairs(), &self.text);
        self.ringing.push(false);
    }

    fn on_datagram(&mut self, side: Side, pair: usize, bytes: &[u8], _: Instant, out: &mut Outbox<'_>) {
        match (side, message::status(bytes)) {
            (Side::Callee, None) if bytes.starts_with(b"INVITE ") => {
                let contact = format!("Contact: <sip:callee@127.0.0.1:{}>\r\n", out.ends.port(Side::Callee, pair));
                self.text.clear();
                message::answer(bytes, "180 Ringing", &contact, &mut self.text);
                out.push(Side::Callee, pair, &self.text);
            }
            (Side::Caller, Some(status @ (180 | 300..))) => {
                let number = message::call_number(bytes);
                let Some(is_ringing) = number.and_then(|number| self.ringing.get_mut(number)) else { return };
                if !std::mem::replace(is_ringing, true) {
                    match status {
                        180 => self.report.completed += 1,
                        _ => self.report.refused += 1,
                    }
                }
            }
            _ => {}
        }
    }

    fn ended(&self) -> usize {
        self.report.completed + self.report.refused
    }
}
