//! What was seen, as commands give it.

use std::collections::HashMap;

use engine::{Record, What};
use module_api::{Data, Sighting};
use sip_message::{HeaderName, Limits, Message};

use super::filter::{Filter, method_of};
use super::seen::Seen;

/// A message that was seen, indexed again.
struct Sight<'a> {
    worker: usize,
    record: &'a Record,
    cause: u64,
    sighting: &'a Sighting,
    message: Message,
}

fn sights(seen: &Seen) -> impl Iterator<Item = Sight<'_>> {
    let limits = Limits::default();
    seen.messages.iter().filter_map(move |(worker, record)| match &record.what {
        What::Message { cause, sighting } => {
            let message = Message::parse(sighting.bytes.clone(), &limits).ok()?;
            Some(Sight { worker: *worker, record, cause: *cause, sighting, message })
        }
        What::Run { .. } => None,
    })
}

/// One entry for each Call-ID of which a message passes the filter.
pub(super) fn calls(seen: &Seen, filter: &Filter) -> Data {
    let mut order: Vec<CallSummary> = Vec::new();
    let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
    for sight in sights(seen) {
        let place = *places.entry(sight.message.call_id().to_vec()).or_insert_with(|| {
            order.push(CallSummary::begin(&sight));
            order.len() - 1
        });
        order[place].add(&sight, filter);
    }
    order.into_iter().filter(|call| call.is_wanted).map(CallSummary::into_data).collect()
}

struct CallSummary {
    fields: [(&'static str, Data); 5],
    method: Vec<u8>,
    messages: usize,
    status: i64,
    is_wanted: bool,
}

impl CallSummary {
    fn begin(sight: &Sight<'_>) -> CallSummary {
        let party = |party: Option<sip_message::NameAddr<'_>>| party.map_or(Data::Null, |party| Data::text(party.uri));
        let method = method_of(&sight.message).to_vec();
        let fields = [
            ("call_id", Data::text(sight.message.call_id())),
            ("time", time(sight.record)),
            ("method", Data::text(&method)),
            ("from", party(sight.message.from().ok())),
            ("to", party(sight.message.to().ok())),
        ];
        CallSummary { fields, method, messages: 0, status: 0, is_wanted: false }
    }

    fn add(&mut self, sight: &Sight<'_>, filter: &Filter) {
        self.messages += 1;
        self.is_wanted |= filter.takes(sight.sighting, &sight.message);
        // What a call came to is what its first request came to; a BYE says nothing about that.
        let status = sight.message.status().unwrap_or_default();
        if status > 100 && self.status < 200 && method_of(&sight.message) == self.method {
            self.status = status.into();
        }
        // A challenge is no outcome: the request comes again with credentials.
        if matches!(self.status, 401 | 407) && sight.message.is_request() && method_of(&sight.message) == self.method {
            self.status = 0;
        }
    }

    fn into_data(self) -> Data {
        let status = if self.status == 0 { Data::Null } else { self.status.into() };
        let rest = [("messages", self.messages.into()), ("status", status)];
        Data::Struct(self.fields.into_iter().chain(rest).map(|(name, data)| (name.into(), data)).collect())
    }
}

/// The messages of one call.
pub(super) fn call(seen: &Seen, call_id: &str) -> Vec<Data> {
    let is_meant = |sight: &Sight<'_>| sight.message.call_id() == call_id.as_bytes();
    sights(seen).filter(is_meant).map(|sight| one(&sight, seen)).collect()
}

/// The messages that pass the filter.
pub(super) fn messages(seen: &Seen, filter: &Filter) -> Vec<Data> {
    let wanted = sights(seen).filter(|sight| filter.takes(sight.sighting, &sight.message));
    wanted.map(|sight| one(&sight, seen)).collect()
}

fn one(sight: &Sight<'_>, seen: &Seen) -> Data {
    let message = &sight.message;
    let header = |name| message.header(name).map_or(Data::Null, |header| Data::text(header.value));
    let branch = message.top_via().ok().and_then(|via| via.branch().map(Data::text)).unwrap_or_default();
    let cause = if sight.cause == 0 { Data::Null } else { id(sight.worker, sight.cause) };
    let is_text = std::str::from_utf8(&sight.sighting.bytes).is_ok();
    let octets = if is_text { Data::Null } else { hex(&sight.sighting.bytes).into() };
    Data::of([
        ("id", id(sight.worker, sight.record.number)),
        ("time", time(sight.record)),
        ("direction", if sight.sighting.is_sent { "out" } else { "in" }.into()),
        ("transport", sight.sighting.transport.uri_param().into()),
        ("source", sight.sighting.source.to_string().into()),
        ("destination", sight.sighting.destination.to_string().into()),
        ("call_id", Data::text(message.call_id())),
        ("cseq", header(HeaderName::CSeq)),
        ("branch", branch),
        ("cause", cause),
        ("message", Data::text(&sight.sighting.bytes)),
        ("octets", octets),
        ("steps", steps(seen, sight)),
    ])
}

/// The runs that a message has caused, each with its route and lines.
fn steps(seen: &Seen, sight: &Sight<'_>) -> Data {
    let of_it = |(worker, record): &(usize, Record)| match &record.what {
        What::Run { cause, steps } if *worker == sight.worker && *cause == sight.record.number => {
            let lines = steps.lines().into_iter().map(Data::from).collect();
            Some(Data::of([("route", steps.route().into()), ("lines", lines)]))
        }
        _ => None,
    };
    seen.messages.iter().filter_map(of_it).collect()
}

fn id(worker: usize, number: u64) -> Data {
    format!("{worker}.{number}").into()
}

/// Seconds since 1970, as text: a float would lose microseconds in some front ends.
fn time(record: &Record) -> Data {
    format!("{}.{:06}", record.at.as_secs(), record.at.subsec_micros()).into()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
