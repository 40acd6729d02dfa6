//! Messages of the running server.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use module_api::Sighting;
use serde_json::Value;
use sip_message::Transport;

use super::packet::{Packet, Run};
use crate::client::Client;

/// The way to the running server, and how far it has been read.
pub(crate) struct Live {
    client: Client,
    filters: Vec<String>,
    cursor: String,
}

/// What has come.
pub(crate) struct News {
    /// The messages.
    pub(crate) packets: Vec<Packet>,
    /// How much the server could not keep until it was asked.
    pub(crate) lost: u64,
}

impl Live {
    /// Messages that pass the filters.
    pub(crate) fn new(client: Client, filters: Vec<String>) -> Live {
        Live { client, filters, cursor: "start".into() }
    }

    /// What the server has kept.
    ///
    /// # Errors
    /// When the server does not answer.
    pub(crate) fn kept(&mut self) -> Result<Vec<Packet>> {
        let mut all = Vec::new();
        loop {
            let before = self.cursor.clone();
            all.extend(self.news(0.0)?.packets);
            if self.cursor == before {
                // Each answer is in the order of time, but a busy worker needs more answers than the others.
                all.sort_by_key(|packet: &Packet| packet.sighting.at);
                return Ok(all);
            }
        }
    }

    /// Waits for messages, at most so many seconds.
    ///
    /// # Errors
    /// When the server does not answer.
    pub(crate) fn news(&mut self, seconds: f64) -> Result<News> {
        let mut arguments = vec![self.cursor.clone(), seconds.to_string()];
        arguments.extend(self.filters.iter().cloned());
        let answer = self.client.call("trace.follow", &arguments)?;
        self.cursor = answer.get("cursor").and_then(Value::as_str).context("the answer has no cursor")?.to_owned();
        let list = answer.get("messages").and_then(Value::as_array);
        Ok(News {
            packets: list.into_iter().flatten().filter_map(packet).collect(),
            lost: answer.get("lost").and_then(Value::as_u64).unwrap_or_default(),
        })
    }
}

fn packet(value: &Value) -> Option<Packet> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let bytes = match text("octets").filter(|octets| !octets.is_empty()) {
        Some(octets) => unhex(octets)?,
        None => text("message")?.as_bytes().to_vec(),
    };
    let (seconds, micros) = text("time")?.split_once('.')?;
    let sighting = Sighting {
        at: Duration::from_secs(seconds.parse().ok()?) + Duration::from_micros(micros.parse().ok()?),
        is_sent: text("direction")? == "out",
        transport: Transport::from_token(text("transport")?.as_bytes())?,
        source: text("source")?.parse().ok()?,
        destination: text("destination")?.parse().ok()?,
        bytes: Bytes::from(bytes),
    };
    let runs = value.get("steps").and_then(Value::as_array).into_iter().flatten().filter_map(run).collect();
    Packet::new(sighting, runs)
}

fn run(value: &Value) -> Option<Run> {
    let lines = value.get("lines").and_then(Value::as_array).into_iter().flatten();
    Some(Run {
        route: value.get("route")?.as_str()?.to_owned(),
        lines: lines.filter_map(Value::as_str).map(str::to_owned).collect(),
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..text.len()).step_by(2).map(digit).collect()
}
