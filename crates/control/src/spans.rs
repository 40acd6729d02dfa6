//! A span for each request to a trace collector: OTLP over HTTP in its JSON form (OpenTelemetry protocol 1.x).
//!
//! The JSON form and the client that webhooks use, rather than an OpenTelemetry library: those bring a runtime, a
//! gRPC stack and protobuf for what is one document here.

use std::sync::Arc;
use std::time::Duration;

use module_api::{Counter, Data, Level, PublicEvent, Statistics};
use serde_json::{Value, json};

use crate::events::{Bus, Delivery, Filter};
use crate::ground::{Say, Task};
use crate::http_client::{Connect, Url, post};

/// An exporter that runs until this is dropped.
pub struct SpanExporter(#[expect(dead_code, reason = "it is only dropped")] Task);

/// Spans that go in one document.
const BATCH: usize = 256;
/// How long a span waits for others.
const GATHER: Duration = Duration::from_millis(500);
/// How long a collector may take.
const PATIENCE: Duration = Duration::from_secs(10);

impl SpanExporter {
    /// Exports from now on. None when as many listen to events as may.
    pub fn start(
        bus: &Bus,
        url: Url,
        connect: Connect,
        statistics: &Statistics,
        log: Arc<Say>,
    ) -> Option<SpanExporter> {
        let subscription = bus.subscribe(format!("trace collector {url}"), Filter::spans())?;
        let counter = |name, doc| statistics.counter("traces", name, doc);
        let exported = counter("spans_exported", "Spans that the trace collector has taken.");
        let lost = counter("spans_lost", "Spans that the trace collector did not take, or came too fast for it.");
        let task = tokio::spawn(async move {
            let mut was_taken = true;
            loop {
                let first = subscription.next().await;
                tokio::time::sleep(GATHER).await;
                let mut batch = Vec::new();
                let rest = std::iter::from_fn(|| subscription.try_next());
                for delivery in std::iter::once(first).chain(rest).take(BATCH) {
                    match delivery {
                        Delivery::Event(told) => batch.push(told),
                        Delivery::Lost(count) => lost.add(count),
                    }
                }
                let spans: Vec<Value> = batch.iter().map(|told| span(&told.event)).collect();
                let count = spans.len() as u64;
                let body = document(spans).to_string();
                let taken = post(&connect, &url, &[], body.into(), PATIENCE).await;
                let why = match taken {
                    Ok(status) if status.is_success() => None,
                    Ok(status) => Some(format!("it answered {status}")),
                    Err(why) => Some(why),
                };
                count_batch(&exported, &lost, count, why.is_none());
                // Once for each time that it goes away: it may be away for days.
                if let (Some(why), true) = (&why, was_taken) {
                    log(Level::Warning, &format!("trace collector {url}: {why}; spans are lost until it takes them"));
                }
                was_taken = why.is_none();
            }
        });
        Some(SpanExporter(Task(task.abort_handle())))
    }
}

fn count_batch(exported: &Counter, lost: &Counter, count: u64, is_taken: bool) {
    if is_taken { exported.add(count) } else { lost.add(count) }
}

fn document(spans: Vec<Value>) -> Value {
    json!({"resourceSpans": [{
        "resource": {"attributes": [
            attribute("service.name", "ser".into()),
            attribute("service.version", env!("CARGO_PKG_VERSION").into()),
        ]},
        "scopeSpans": [{"scope": {"name": "ser"}, "spans": spans}],
    }]})
}

fn attribute(key: &str, value: Value) -> Value {
    let value = match value {
        // 64-bit integers are strings in JSON (protobuf's JSON mapping).
        Value::Number(number) if number.is_i64() => json!({"intValue": number.to_string()}),
        Value::Number(number) => json!({"doubleValue": number}),
        value => json!({"stringValue": value}),
    };
    json!({"key": key, "value": value})
}

fn span(event: &PublicEvent) -> Value {
    let field = |name: &str| event.fields.iter().find(|(known, _)| *known == name).map(|(_, data)| data);
    let text = |name: &str| field(name).map(Data::to_text).unwrap_or_default();
    let number = |name: &str| match field(name) {
        Some(Data::Int(number)) => *number,
        _ => 0,
    };
    let end = event.time.as_nanos();
    let start = end.saturating_sub(u128::from(number("nanoseconds").unsigned_abs()));
    let code = number("code");
    json!({
        "traceId": text("trace_id"),
        "spanId": text("span_id"),
        "name": text("method"),
        // A server's span (SPAN_KIND_SERVER).
        "kind": 2,
        "startTimeUnixNano": start.to_string(),
        "endTimeUnixNano": end.to_string(),
        "attributes": [
            attribute("sip.method", text("method").into()),
            attribute("sip.status_code", code.into()),
            attribute("sip.call_id", text("call_id").into()),
            attribute("sip.from", text("from").into()),
            attribute("sip.to", text("to").into()),
            attribute("sip.branches", number("branches").into()),
            attribute("sip.script_seconds", (number("script_nanoseconds") as f64 / 1e9).into()),
            attribute("network.transport", text("transport").into()),
            attribute("network.peer.address", text("source").into()),
        ],
        // Only a fault of the server's side is one of the span (STATUS_CODE_ERROR).
        "status": if (500..600).contains(&code) { json!({"code": 2}) } else { json!({}) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use module_api::EventKind;

    #[test]
    fn a_request_becomes_a_span_with_the_times_of_its_begin_and_end() {
        let event = PublicEvent {
            kind: EventKind::Span,
            time: Duration::from_secs(10),
            fields: vec![
                ("method", "INVITE".into()),
                ("code", 503_i64.into()),
                ("trace_id", "0123456789abcdef0123456789abcdef".into()),
                ("span_id", "0123456789abcdef".into()),
                ("nanoseconds", 1_500_i64.into()),
            ],
        };
        let span = span(&event);
        assert_eq!(span["startTimeUnixNano"], "9999998500");
        assert_eq!(span["endTimeUnixNano"], "10000000000");
        assert_eq!((&span["name"], &span["status"]["code"]), (&"INVITE".into(), &2.into()));
        assert_eq!(span["attributes"][1], json!({"key": "sip.status_code", "value": {"intValue": "503"}}));
    }
}
