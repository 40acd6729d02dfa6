//! One message of a trace.

use std::time::Duration;

use bytes::Bytes;
use module_api::Sighting;
use serde_json::{Value, json};
use sip_message::{Limits, Message};

use super::filter::{Filter, method_of};

/// A message that was seen, and what must be known of it to show it.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    /// The message and its way.
    pub(crate) sighting: Sighting,
    /// The Call-ID, fit for a terminal.
    pub(crate) call_id: String,
    /// `INVITE` or `180 Ringing`.
    pub(crate) label: String,
    /// The method, of a reply that of its request.
    pub(crate) method: String,
    /// The status of a reply; 0 in a request.
    pub(crate) status: u16,
    /// URI in From.
    pub(crate) from: String,
    /// URI in To.
    pub(crate) to: String,
    /// What the script did because of it; empty for messages of a file.
    pub(crate) runs: Vec<Run>,
}

/// A run of the script.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// The route.
    pub(crate) route: String,
    /// A line for each statement, and what came of it.
    pub(crate) lines: Vec<String>,
}

impl Packet {
    /// Reads what was seen; none when it is no SIP message.
    pub(crate) fn new(mut sighting: Sighting, runs: Vec<Run>) -> Option<Packet> {
        let message = Message::parse(sighting.bytes.clone(), &Limits::default()).ok()?;
        if !message.is_request() && message.status().is_none() {
            return None;
        }
        sighting.bytes = Bytes::copy_from_slice(message.bytes());
        let uri =
            |party: Option<sip_message::NameAddr<'_>>| party.map(|party| printable(party.uri)).unwrap_or_default();
        let method = printable(method_of(&message));
        let label = match message.status() {
            Some(status) => format!("{status} {}", printable(message.reason())),
            None => method.clone(),
        };
        Some(Packet {
            call_id: printable(message.call_id()),
            label,
            method,
            status: message.status().unwrap_or_default(),
            from: uri(message.from().ok()),
            to: uri(message.to().ok()),
            runs,
            sighting,
        })
    }

    /// Whether a filter takes it.
    pub(crate) fn passes(&self, filter: &Filter) -> bool {
        let message = Message::parse(self.sighting.bytes.clone(), &Limits::default());
        message.is_ok_and(|message| filter.takes(&self.sighting, &message))
    }

    /// Everything on one line.
    pub(crate) fn line(&self) -> String {
        let seen = &self.sighting;
        let about = if self.status == 0 { format!("{} -> {}", self.from, self.to) } else { self.method.clone() };
        let (at, transport) = (clock(seen.at), seen.transport.uri_param());
        let way = format!("{} > {}", seen.source, seen.destination);
        format!("{at} {transport} {way}  {}  {about}  {}", self.label, self.call_id)
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        let seen = &self.sighting;
        let runs: Vec<Value> = self.runs.iter().map(|run| json!({"route": run.route, "lines": run.lines})).collect();
        json!({
            "time": format!("{}.{:06}", seen.at.as_secs(), seen.at.subsec_micros()),
            "transport": seen.transport.uri_param(),
            "source": seen.source.to_string(),
            "destination": seen.destination.to_string(),
            "call_id": self.call_id,
            "method": self.method,
            "status": (self.status != 0).then_some(self.status),
            "from": self.from,
            "to": self.to,
            "message": String::from_utf8_lossy(&seen.bytes),
            "steps": runs,
        })
    }
}

/// Time of day, in UTC.
pub(crate) fn clock(at: Duration) -> String {
    let seconds = at.as_secs() % 86_400;
    format!("{:02}:{:02}:{:02}.{:06}", seconds / 3600, seconds / 60 % 60, seconds % 60, at.subsec_micros())
}

/// What a peer sent must not command the terminal.
pub(crate) fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\t', "    ").replace(char::is_control, "?")
}
