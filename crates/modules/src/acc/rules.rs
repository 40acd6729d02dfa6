//! Which transactions are accounted, for whatever records.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use module_api::{Call, Dialect, Parameter, Replied, Setup, SetupError};
use sip_message::Method;

use super::settings::flag_of;
use crate::setting::number;

/// Which of the requests that have the flag.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    failed_flag: Option<u32>,
    reports_failures: bool,
    pub(super) reports_acks: bool,
    reports_cancels: bool,
    reports_early_media: bool,
    pub(super) detects_direction: bool,
}

/// The settings behind it.
pub(super) const PARAMETERS: [Parameter; 6] = [
    number("failed_transaction_flag", "-1", "The flag of requests whose failures are accounted too."),
    number("failed_transactions", "0", "1 accounts failures of all requests that have a flag of accounting."),
    number("report_ack", "0", "1 accounts ACKs that have the flag, too. The default in SER scripts is 1."),
    number("early_media", "0", "1 accounts provisional replies that bring a body."),
    number("report_cancels", "0", "1 accounts CANCELs that have the flag."),
    number(
        "detect_direction",
        "0",
        "1 swaps the tags of requests that loose_route() found to go upstream, so that they read as the caller's.",
    ),
];

impl Rules {
    /// Reads the settings; what is not set is as in `base`.
    pub(super) fn read(setup: &Setup<'_>, base: Option<Rules>) -> Result<Rules, SetupError> {
        let is_on = |name: &str, base: Option<bool>| match base.filter(|_| !setup.is_set(name)) {
            Some(base) => base,
            None => setup.int(name) != 0,
        };
        let acks_of_dialect = (setup.dialect == Dialect::Ser).then_some(true);
        Ok(Rules {
            failed_flag: match base.filter(|_| !setup.is_set("failed_transaction_flag")) {
                Some(base) => base.failed_flag,
                None => flag_of(setup, "failed_transaction_flag")?,
            },
            reports_failures: is_on("failed_transactions", base.map(|base| base.reports_failures)),
            reports_acks: is_on("report_ack", base.map(|base| base.reports_acks).or(acks_of_dialect)),
            reports_cancels: is_on("report_cancels", base.map(|base| base.reports_cancels)),
            reports_early_media: is_on("early_media", base.map(|base| base.reports_early_media)),
            detects_direction: is_on("detect_direction", base.map(|base| base.detects_direction)),
        })
    }

    /// Whether a reply to a request that has the flag is accounted.
    pub(super) fn accounts(&self, call: &Call<'_>, replied: &Replied<'_>) -> bool {
        if call.context.message.method() == Method::Cancel && !self.reports_cancels {
            return false;
        }
        match replied.code {
            // Ringing with music is worth money to some; only a body brings any.
            ..=199 => self.reports_early_media && replied.reply.is_some_and(|reply| !reply.body().is_empty()),
            200..=299 => true,
            _ => self.reports_failures || self.failed_flag.is_some_and(|flag| call.context.has_flag(flag)),
        }
    }
}

/// Call-IDs of INVITEs that were cancelled because somebody else has answered.
#[derive(Debug, Default)]
pub(super) struct Elsewhere(Mutex<VecDeque<Bytes>>);

/// Cancelled calls that are remembered until their INVITE has failed, which is a moment later.
const MOST_ELSEWHERE: usize = 4096;

impl Elsewhere {
    /// Takes down that a call which is being cancelled was answered elsewhere (RFC 3326 section 2: cause 200).
    pub(super) fn note(&self, call: &Call<'_>) {
        let message = &call.context.message;
        let is_elsewhere = message.method() == Method::Cancel
            && message.headers_with_name(b"Reason").any(|header| {
                let text = String::from_utf8_lossy(&header.unfolded()).to_ascii_lowercase();
                text.split(',').any(|reason| {
                    let mut parts = reason.split(';').map(str::trim);
                    parts.next() == Some("sip") && parts.any(|part| part.replace(' ', "") == "cause=200")
                })
            });
        if is_elsewhere {
            let mut elsewhere = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if elsewhere.len() >= MOST_ELSEWHERE {
                elsewhere.pop_front();
            }
            elsewhere.push_back(Bytes::copy_from_slice(message.call_id()));
        }
    }

    /// Whether a failed call was answered elsewhere: nobody has missed it.
    pub(super) fn take(&self, call: &Call<'_>) -> bool {
        let mut elsewhere = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = elsewhere.len();
        elsewhere.retain(|call_id| call_id != call.context.message.call_id());
        elsewhere.len() < before
    }
}
