//! One message of a trace.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use sip_message::{Limits, Message, Transport};

use super::filter::{Filter, method_of};

/// A message as it was on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sighting {
    /// When, since 1970-01-01 00:00 UTC.
    pub(crate) at: Duration,
    /// The transport.
    pub(crate) transport: Transport,
    /// Where it comes from.
    pub(crate) source: SocketAddr,
    /// Where it goes.
    pub(crate) destination: SocketAddr,
    /// The message.
    pub(crate) bytes: Bytes,
}

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
}

impl Packet {
    /// Reads what was seen; none when it is no SIP message.
    pub(crate) fn new(mut sighting: Sighting) -> Option<Packet> {
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
            sighting,
        })
    }

    /// Whether a filter takes it.
    pub(crate) fn passes(&self, filter: &Filter) -> bool {
        let message = Message::parse(self.sighting.bytes.clone(), &Limits::default());
        message.is_ok_and(|message| filter.takes(&self.sighting, &message))
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        let seen = &self.sighting;
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
