//! What happened to a message, for people and for programs.

use std::fmt::Write;

use script::trace::{Entry, render};
use serde_json::{Value, json};
use sip_message::Transport;

use super::difference;
use crate::simulate::message::Text;
use crate::simulate::record::Note;
use crate::simulate::{Sent, Stage};

/// The whole story as text.
pub(super) fn text(stage: &Stage, color: bool) -> String {
    let (bold, end) = if color { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    let mut out = String::new();
    let mut steps: Vec<Entry> = Vec::new();
    let mut received: Vec<Text> = Vec::new();
    let mut last: Option<Sent> = None;
    for note in stage.record.notes() {
        if let Note::Step(entry) = note {
            steps.push(entry);
            continue;
        }
        flush(&mut out, &mut steps);
        match note {
            Note::Step(_) => {}
            Note::Log(level, line) => write_line(&mut out, format_args!("      log {level:?}: {line}")),
            Note::Received { at, from, transport, text } => {
                let message = Text::parse(&text);
                let transport = transport.uri_param();
                write_line(&mut out, format_args!("{bold}<- {transport}:{from}  {}{end}{}", message.start, after(at)));
                received.push(message);
            }
            Note::Sent(sent) => {
                let is_again = last.as_ref().is_some_and(|last| last.text == sent.text && last.to == sent.to);
                if !is_again {
                    sending(&mut out, stage, &sent, &received, (bold, end));
                }
                last = Some(sent);
            }
        }
    }
    flush(&mut out, &mut steps);
    if !stage.record.notes().iter().any(|note| matches!(note, Note::Sent(_))) {
        write_line(&mut out, format_args!("{bold}nothing was sent{end}"));
    }
    out
}

/// The whole story as JSON: an array of what happened, in order.
pub(super) fn json(stage: &Stage) -> Value {
    let mut received: Vec<Text> = Vec::new();
    let mut all = Vec::new();
    for note in stage.record.notes() {
        all.push(match note {
            Note::Step(entry) => step(&entry),
            Note::Log(level, line) => {
                json!({"event": "log", "level": format!("{level:?}").to_ascii_lowercase(), "text": line})
            }
            Note::Received { at, from, transport, text } => {
                received.push(Text::parse(&text));
                json!({
                    "event": "received", "at": at.as_secs_f64(), "from": from.to_string(),
                    "transport": transport.uri_param(), "message": text,
                })
            }
            Note::Sent(sent) => json!({
                "event": "sent", "at": sent.at.as_secs_f64(), "to": sent.to.to_string(),
                "transport": sent.transport.uri_param(), "host": stage.hosts.name_of(sent.to.ip()),
                "message": sent.text, "edits": edits(&sent, &received),
            }),
        });
    }
    Value::Array(all)
}

/// A step of the script as JSON.
pub(crate) fn step(entry: &Entry) -> Value {
    let mut object = json!({"event": entry.kind.as_str(), "depth": entry.depth});
    let fields = [("file", &entry.file), ("source", &entry.source), ("name", &entry.name), ("value", &entry.value)];
    for (name, text) in fields.into_iter().filter(|(_, text)| !text.is_empty()) {
        object[name] = json!(text);
    }
    if entry.line > 0 {
        object["line"] = json!(entry.line);
    }
    object
}

fn sending(out: &mut String, stage: &Stage, sent: &Sent, received: &[Text], (bold, end): (&str, &str)) {
    let message = Text::parse(&sent.text);
    let host = stage.hosts.name_of(sent.to.ip()).map(|name| format!(" ({name})")).unwrap_or_default();
    let transport = shown(sent.transport);
    write_line(out, format_args!("{bold}-> {transport}:{}{host}  {}{end}{}", sent.to, message.start, after(sent.at)));
    for line in edits(sent, received) {
        write_line(out, format_args!("     {line}"));
    }
}

/// What a message was changed in on its way; nothing for those that were made here.
fn edits(sent: &Sent, received: &[Text]) -> Vec<String> {
    let message = Text::parse(&sent.text);
    let is_copy_of = |other: &&Text| {
        other.is_request() == message.is_request()
            && other.method() == message.method()
            && other.status() == message.status()
            && other.header("CSeq") == message.header("CSeq")
            && (message.is_request() || other.header("To") == message.header("To"))
            // A hop-by-hop ACK is made here, though it may look like one that came.
            && (message.method() != "ACK" || other.header("Via") != message.header("Via"))
    };
    received.iter().rev().find(is_copy_of).map(|other| difference::between(other, &message)).unwrap_or_default()
}

fn flush(out: &mut String, steps: &mut Vec<Entry>) {
    for line in render(&std::mem::take(steps)) {
        write_line(out, format_args!("   {line}"));
    }
}

fn shown(transport: Transport) -> &'static str {
    transport.uri_param()
}

fn after(at: std::time::Duration) -> String {
    if at.is_zero() { String::new() } else { format!("  (after {} s)", at.as_secs_f64()) }
}

fn write_line(out: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(out, "{line}").expect("writing to a string cannot fail");
}
