//! Writes a message with its edits applied.

use bytes::Bytes;
use smallvec::SmallVec;

use crate::edits::{Change, Edits, NewBody, Place};
use crate::{HeaderName, Message, Span};

/// Appends `message` with every list of edits applied; bytes that no edit touches leave as they came.
///
/// How edits combine, whatever list they stand in (a later list counts as later calls):
/// - Bytes of a removal are not written. A replacement that lies wholly inside a removal is
///   dropped with them; one that sticks out is written, and the bytes of both are left out.
/// - Of two replacements that overlap, the later counts and the earlier was never made.
/// - Insertions at the same byte are written in call order, before a replacement that begins there.
/// - An insertion strictly inside removed or replaced bytes is dropped with them; at their edge it
///   is written.
/// - Spans that lie outside the message are ignored.
///
/// When the body changes, `Content-Length` is corrected, or added; it is also added when an edit
/// list requires it.
pub fn write(message: &Message, edits: &[&Edits], out: &mut Vec<u8>) {
    if edits.iter().all(|list| list.is_empty()) {
        out.extend_from_slice(message.bytes());
        return;
    }
    // Declared first so that it outlives the plan, which borrows from it.
    let own: Own;
    let mut plan = Plan::new(message, edits);
    plan.settle();
    own = plan.body_headers(edits);
    for (span, bytes) in &own {
        plan.replace_or_insert(*span, bytes);
    }
    plan.events.sort_by_key(|event| (event.span.start, !event.span.is_empty()));
    let body = message.body_span();
    out.reserve(message.bytes().len() + 256);
    plan.splice(Span { start: 0, end: body.start }, &mut |bytes| out.extend_from_slice(bytes));
    match plan.body {
        Some(new) => out.extend_from_slice(&new.bytes),
        None => plan.splice(body, &mut |bytes| out.extend_from_slice(bytes)),
    }
}

/// One edit resolved to a place: an insertion when its span is empty, else a cut with what
/// stands in its place.
#[derive(Clone, Copy)]
struct Event<'a> {
    span: Span,
    text: Option<&'a Bytes>,
}

struct Plan<'a> {
    message: &'a Message,
    events: SmallVec<[Event<'a>; 16]>,
    body: Option<&'a NewBody>,
}

type Own = SmallVec<[(Span, Bytes); 2]>;

impl<'a> Plan<'a> {
    fn new(message: &'a Message, edits: &[&'a Edits]) -> Plan<'a> {
        let changes = edits.iter().flat_map(|list| &list.changes);
        let end = message.bytes().len() as u32;
        let events = changes
            .filter_map(|change| resolve(message, change))
            .filter(|event| event.span.start <= event.span.end && event.span.end <= end)
            .collect();
        let body = edits.iter().rev().find_map(|list| list.body.as_ref());
        Plan { message, events, body }
    }

    /// Drops the edits that others take away, by the rules of [`write()`].
    fn settle(&mut self) {
        let all = self.events.clone();
        let is_cut = |event: &Event<'_>| !event.span.is_empty();
        if !all.iter().any(is_cut) {
            return;
        }
        let mut position = 0;
        self.events.retain(|event| {
            position += 1;
            match (is_cut(event), event.text) {
                (true, None) => true,
                (true, Some(_)) => !is_overruled(event, &all, position),
                (false, _) => true,
            }
        });
        let cuts: SmallVec<[Span; 16]> =
            self.events.iter().filter(|event| is_cut(event)).map(|event| event.span).collect();
        self.events.retain(|event| {
            let at = event.span.start;
            is_cut(event) || !cuts.iter().any(|cut| cut.start < at && at < cut.end)
        });
    }

    /// The changes of `Content-Length` and `Content-Type` that the new body asks for.
    fn body_headers(&self, edits: &[&Edits]) -> Own {
        let mut own = Own::new();
        let old = self.message.body_span();
        let length = match self.body {
            Some(new) => new.bytes.len(),
            None => {
                let mut length = 0;
                let mut sorted = self.events.clone();
                sorted.sort_by_key(|event| (event.span.start, !event.span.is_empty()));
                splice(self.message, &sorted, old, &mut |bytes| length += bytes.len());
                length
            }
        };
        if let Some(content_type) = self.body.and_then(|new| new.content_type.as_ref()) {
            self.set_header(HeaderName::ContentType, content_type, &mut own);
        }
        let is_needed = edits.iter().any(|list| list.needs_length) || self.body.is_some() || length != old.len();
        let is_wrong = self.message.content_length() != Some(length);
        let is_gone = !self.is_kept(HeaderName::ContentLength);
        if is_needed && (is_wrong || is_gone) {
            self.set_header(HeaderName::ContentLength, length.to_string().as_bytes(), &mut own);
        }
        own
    }

    fn set_header(&self, name: HeaderName, value: &[u8], own: &mut Own) {
        match self.message.header(name) {
            Some(header) if self.is_kept(name) => {
                // An empty value has no bytes to replace, and its place may touch the colon.
                own.push((header.value_span, Bytes::copy_from_slice(value)));
            }
            _ => {
                let end = self.message.headers_end();
                let line = [name.as_str().as_bytes(), b": ", value, b"\r\n"].concat();
                own.push((Span { start: end, end }, line.into()));
            }
        }
    }

    /// Whether the first header of that name stands and no edit takes its value away.
    fn is_kept(&self, name: HeaderName) -> bool {
        self.message.header(name).is_some_and(|header| {
            !self.events.iter().any(|event| !event.span.is_empty() && overlaps(event.span, header.value_span))
        })
    }

    fn replace_or_insert(&mut self, span: Span, bytes: &'a Bytes) {
        self.events.push(Event { span, text: Some(bytes) });
    }

    fn splice(&self, range: Span, sink: &mut dyn FnMut(&[u8])) {
        splice(self.message, &self.events, range, sink);
    }
}

fn resolve<'a>(message: &Message, change: &'a Change) -> Option<Event<'a>> {
    let at = |offset: u32| Span { start: offset, end: offset };
    Some(match change {
        Change::Cut(span) if span.is_empty() => return None,
        Change::Cut(span) => Event { span: *span, text: None },
        Change::Replace(span, bytes) => Event { span: *span, text: Some(bytes) },
        Change::RequestUri(_) if !message.is_request() => return None,
        Change::RequestUri(bytes) => Event { span: message.request_uri_span(), text: Some(bytes) },
        Change::Insert(place, bytes) => {
            let offset = match place {
                Place::Offset(offset) => *offset,
                Place::FirstHeader => message.headers_start(),
                Place::LastHeader => message.headers_end(),
                Place::Before(name) => message.header(*name).map_or(message.headers_start(), |h| h.field.start),
                Place::After(name) => {
                    message.headers_named(*name).last().map_or(message.headers_end(), |h| h.field.end)
                }
            };
            Event { span: at(offset), text: Some(bytes) }
        }
    })
}

/// Whether a removal covers the replacement, or a later replacement overlaps it.
fn is_overruled(event: &Event<'_>, all: &[Event<'_>], position: usize) -> bool {
    let is_removed = all.iter().any(|other| other.text.is_none() && other.span.contains(event.span));
    is_removed || all[position..].iter().any(|later| later.text.is_some() && overlaps(later.span, event.span))
}

fn overlaps(left: Span, right: Span) -> bool {
    left.start < right.end && right.start < left.end
}

/// Hands over the bytes of `range` with the sorted `events` that begin in it. An insertion at the
/// border of head and body belongs to the body.
fn splice(message: &Message, events: &[Event<'_>], range: Span, sink: &mut dyn FnMut(&[u8])) {
    let is_body = range == message.body_span();
    let mut at = range.start;
    for event in events {
        let start = event.span.start;
        if start > range.end || (start == range.end && !is_body) {
            break;
        }
        if start >= range.start {
            if start > at {
                sink(message.text(Span { start: at, end: start }));
            }
            if let Some(text) = event.text {
                sink(text);
            }
        }
        // A cut that began before the range may still reach into it.
        at = at.max(event.span.end.min(range.end));
    }
    sink(message.text(Span { start: at, end: range.end.max(at) }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    const HEAD: &str = "INVITE sip:b@c SIP/2.0\r\nVia: 1\r\nRoute: 2\r\nTo: 3\r\nl: 4\r\n\r\n";

    fn message() -> Message {
        Message::parse(Bytes::from(format!("{HEAD}body")), &Limits::default()).expect("a message")
    }

    fn check(edits: &[&Edits], expected: &str) {
        let mut out = Vec::new();
        write(&message(), edits, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    fn one(edit: impl FnOnce(&mut Edits, &Message), expected: &str) {
        let mut edits = Edits::new();
        edit(&mut edits, &message());
        check(&[&edits], expected);
    }

    #[test]
    fn without_edits_the_bytes_are_the_same() {
        check(&[], &format!("{HEAD}body"));
        check(&[&Edits::new()], &format!("{HEAD}body"));
    }

    #[test]
    fn headers_are_placed_where_asked_in_call_order() {
        one(
            |edits, _| {
                edits.append_header("Z: 1\r\n");
                edits.append_header("Z: 2\r\n");
                edits.prepend_header("A: 1\r\n");
                edits.insert_before(HeaderName::To, "B: 1\r\n");
                edits.insert_after(HeaderName::Via, "C: 1\r\n");
            },
            "INVITE sip:b@c SIP/2.0\r\nA: 1\r\nVia: 1\r\nC: 1\r\nRoute: 2\r\nB: 1\r\nTo: 3\r\nl: 4\r\nZ: 1\r\nZ: 2\r\n\r\nbody",
        );
    }

    #[test]
    fn the_last_request_uri_counts_across_lists() {
        let (mut first, mut second) = (Edits::new(), Edits::new());
        first.set_request_uri("sip:x");
        second.set_request_uri("sip:long@example.com");
        check(&[&first, &second], &format!("{HEAD}body").replace("sip:b@c", "sip:long@example.com"));
    }

    #[test]
    fn a_removal_takes_the_replacement_and_insertion_inside_it() {
        one(
            |edits, message| {
                let route = message.header(HeaderName::Route).expect("a Route");
                edits.replace(route.value_span, "9");
                edits.insert(route.value_span.start, "x");
                edits.insert(route.field.start, "New: 1\r\n");
                edits.remove_headers(message, HeaderName::Route);
            },
            "INVITE sip:b@c SIP/2.0\r\nVia: 1\r\nNew: 1\r\nTo: 3\r\nl: 4\r\n\r\nbody",
        );
    }

    #[test]
    fn of_overlapping_replacements_the_later_counts() {
        one(
            |edits, message| {
                let to = message.header(HeaderName::To).expect("a To");
                edits.replace(to.field, "To: first\r\n");
                edits.replace(to.value_span, "second");
            },
            &format!("{HEAD}body").replace("To: 3", "To: second"),
        );
    }

    #[test]
    fn removals_that_overlap_take_their_union() {
        one(
            |edits, message| {
                let (via, route) = (message.header(HeaderName::Via), message.header(HeaderName::Route));
                let (via, route) = (via.expect("a Via").field, route.expect("a Route").field);
                edits.remove(Span { start: via.start, end: route.start + 3 });
                edits.remove(Span { start: via.start, end: route.end });
                edits.remove(Span { start: 9_000, end: 9_001 });
            },
            "INVITE sip:b@c SIP/2.0\r\nTo: 3\r\nl: 4\r\n\r\nbody",
        );
    }

    #[test]
    fn a_new_body_sets_length_and_type() {
        one(
            |edits, _| edits.set_body(Some(Bytes::from("text/plain")), "hello, world"),
            "INVITE sip:b@c SIP/2.0\r\nVia: 1\r\nRoute: 2\r\nTo: 3\r\nl: 12\r\nContent-Type: text/plain\r\n\r\nhello, world",
        );
    }

    #[test]
    fn an_edit_inside_the_body_corrects_the_length() {
        one(
            |edits, message| {
                let body = message.body_span();
                edits.replace(Span { start: body.start, end: body.start + 2 }, "BOBO");
                edits.insert(body.end, "!");
            },
            &format!("{HEAD}BOBOdy!").replace("l: 4", "l: 7"),
        );
    }

    #[test]
    fn text_may_be_put_into_an_empty_body() {
        let text = "BYE sip:b@c SIP/2.0\r\nl: 0\r\n\r\n";
        let message = Message::parse(Bytes::from(text), &Limits::default()).expect("a message");
        let mut edits = Edits::new();
        edits.insert(message.body_span().start, "new");
        let mut out = Vec::new();
        write(&message, &[&edits], &mut out);
        assert_eq!(String::from_utf8_lossy(&out), "BYE sip:b@c SIP/2.0\r\nl: 3\r\n\r\nnew");
    }

    #[test]
    fn text_before_the_body_is_body() {
        one(
            |edits, message| edits.insert(message.body_span().start, "any"),
            &format!("{HEAD}anybody").replace("l: 4", "l: 7"),
        );
    }

    #[test]
    fn a_length_is_added_where_it_was_removed_or_is_required() {
        one(
            |edits, message| {
                edits.remove_headers(message, HeaderName::ContentLength);
                edits.require_content_length();
            },
            "INVITE sip:b@c SIP/2.0\r\nVia: 1\r\nRoute: 2\r\nTo: 3\r\nContent-Length: 4\r\n\r\nbody",
        );
        one(|edits, _| edits.require_content_length(), &format!("{HEAD}body"));
    }
}
