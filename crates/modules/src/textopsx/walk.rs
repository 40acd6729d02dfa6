//! Walks through the headers and through the lines of the body.

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Call, Function, KeyRule, Outcome, Param, ParamKind, Routes, Selector, Value, Variable};
use sip_message::{Message, Span};

use crate::walk;

const NAME: &[Param] = &[Param::required("iterator", ParamKind::Format)];
const NAME_AND_TEXT: &[Param] =
    &[Param::required("iterator", ParamKind::Format), Param::required("text", ParamKind::Format)];

const fn step(
    name: &'static str,
    params: &'static [Param],
    doc: &'static str,
    example: &'static str,
    run: fn(&mut Call<'_>) -> Outcome,
) -> Function {
    Function { name, params, routes: Routes::ANY, doc, example, run }
}

pub(super) const HEADER_START: Function = step(
    "hf_iterator_start",
    NAME,
    "Starts a walk through the headers, before the first.",
    "hf_iterator_start(\"i\");",
    |call| start(call, Kind::Headers),
);

pub(super) const HEADER_NEXT: Function = step(
    "hf_iterator_next",
    NAME,
    "Goes to the next header. False when there is none.",
    "while (hf_iterator_next(\"i\")) xlog(\"$hfitname(i)\\n\");",
    |call| go(call, Kind::Headers, true),
);

pub(super) const HEADER_PREVIOUS: Function = step(
    "hf_iterator_prev",
    NAME,
    "Goes back to the header before. False when there is none.",
    "hf_iterator_prev(\"i\");",
    |call| go(call, Kind::Headers, false),
);

pub(super) const HEADER_END: Function =
    step("hf_iterator_end", NAME, "Ends a walk through the headers.", "hf_iterator_end(\"i\");", |call| {
        end(call, Kind::Headers)
    });

pub(super) const HEADER_REMOVE: Function = step(
    "hf_iterator_rm",
    NAME,
    "Removes the header at which a walk stands.",
    "if ($hfitname(i) =~ \"^X-\") hf_iterator_rm(\"i\");",
    |call| edit(call, Kind::Headers, Edit::Remove),
);

pub(super) const HEADER_APPEND: Function = step(
    "hf_iterator_append",
    NAME_AND_TEXT,
    "Adds header lines behind the header at which a walk stands.",
    "hf_iterator_append(\"i\", \"X-Seen: yes\\r\\n\");",
    |call| edit(call, Kind::Headers, Edit::Behind),
);

pub(super) const HEADER_INSERT: Function = step(
    "hf_iterator_insert",
    NAME_AND_TEXT,
    "Adds header lines in front of the header at which a walk stands.",
    "hf_iterator_insert(\"i\", \"X-Seen: yes\\r\\n\");",
    |call| edit(call, Kind::Headers, Edit::InFront),
);

pub(super) const LINE_START: Function = step(
    "bl_iterator_start",
    NAME,
    "Starts a walk through the lines of the body, before the first.",
    "bl_iterator_start(\"b\");",
    |call| start(call, Kind::Lines),
);

pub(super) const LINE_NEXT: Function = step(
    "bl_iterator_next",
    NAME,
    "Goes to the next line of the body. False when there is none.",
    "while (bl_iterator_next(\"b\")) xlog(\"$blitval(b)\");",
    |call| go(call, Kind::Lines, true),
);

pub(super) const LINE_END: Function =
    step("bl_iterator_end", NAME, "Ends a walk through the body.", "bl_iterator_end(\"b\");", |call| {
        end(call, Kind::Lines)
    });

pub(super) const LINE_REMOVE: Function = step(
    "bl_iterator_rm",
    NAME,
    "Removes the line at which a walk stands.",
    "if ($blitval(b) =~ \"^a=rtcp\") bl_iterator_rm(\"b\");",
    |call| edit(call, Kind::Lines, Edit::Remove),
);

pub(super) const LINE_APPEND: Function = step(
    "bl_iterator_append",
    NAME_AND_TEXT,
    "Adds text behind the line at which a walk stands.",
    "bl_iterator_append(\"b\", \"a=sendonly\\r\\n\");",
    |call| edit(call, Kind::Lines, Edit::Behind),
);

pub(super) const LINE_INSERT: Function = step(
    "bl_iterator_insert",
    NAME_AND_TEXT,
    "Adds text in front of the line at which a walk stands.",
    "bl_iterator_insert(\"b\", \"b=AS:64\\r\\n\");",
    |call| edit(call, Kind::Lines, Edit::InFront),
);

const fn shown(
    name: &'static str,
    doc: &'static str,
    example: &'static str,
    read: fn(&mut Call<'_>, &Selector<'_>) -> Value,
) -> Variable {
    Variable { name, key: KeyRule::Required, routes: Routes::ANY, doc, example, read, write: None }
}

pub(super) const HEADER_NAME: Variable = shown(
    "hfitname",
    "$hfitname(ITERATOR): the name of the header at which a walk stands.",
    "xlog(\"$hfitname(i)\\n\");",
    |call, selector| show(call, selector, Kind::Headers, |place| place.name),
);

pub(super) const HEADER_BODY: Variable = shown(
    "hfitbody",
    "$hfitbody(ITERATOR): the value of the header at which a walk stands.",
    "xlog(\"$hfitbody(i)\\n\");",
    |call, selector| show(call, selector, Kind::Headers, |place| place.value),
);

pub(super) const LINE_VALUE: Variable = shown(
    "blitval",
    "$blitval(ITERATOR): the line of the body at which a walk stands, with its line end.",
    "xlog(\"$blitval(b)\");",
    |call, selector| show(call, selector, Kind::Lines, |place| place.value),
);

/// Walks through headers and those through lines may have the same name.
type Key = (Kind, Bytes);

struct Walk {
    /// What is walked through; a message that was replaced meanwhile has other places.
    message: Arc<Message>,
    places: Vec<Place>,
    /// From 1; 0 is before the first.
    at: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Headers,
    Lines,
}

/// A header or line.
#[derive(Clone, Copy)]
struct Place {
    whole: Span,
    name: Span,
    value: Span,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Edit {
    Remove,
    Behind,
    InFront,
}

fn start(call: &mut Call<'_>, kind: Kind) -> Outcome {
    let (name, message) = (call.text(0), Arc::clone(&call.context.message));
    let places = match kind {
        Kind::Headers => headers(&message),
        Kind::Lines => lines(&message),
    };
    walk::start(call, (kind, name), Walk { message, places, at: 0 })
}

fn headers(message: &Message) -> Vec<Place> {
    let place = |header: sip_message::Header<'_>| {
        let start = header.field.start as usize;
        let name = Span::new(start, start + header.raw_name.len());
        Place { whole: header.field, name, value: header.value_span }
    };
    message.headers().map(place).collect()
}

fn lines(message: &Message) -> Vec<Place> {
    let mut start = message.body_span().start as usize;
    let mut places = Vec::new();
    for line in message.body().split_inclusive(|byte| *byte == b'\n') {
        let span = Span::new(start, start + line.len());
        places.push(Place { whole: span, name: span, value: span });
        start += line.len();
    }
    places
}

fn with_walk(call: &mut Call<'_>, kind: Kind, act: impl FnOnce(&mut Walk) -> bool) -> Outcome {
    let name = call.text(0);
    walk::with(call, &(kind, name), act).map_or_else(not_started, Outcome::from)
}

fn not_started() -> Outcome {
    Outcome::fail("the iterator was not started")
}

fn go(call: &mut Call<'_>, kind: Kind, forward: bool) -> Outcome {
    with_walk(call, kind, |walk| {
        let end = walk.places.len() + 1;
        walk.at = if forward { (walk.at + 1).min(end) } else { walk.at.saturating_sub(1) };
        (1..end).contains(&walk.at)
    })
}

fn end(call: &mut Call<'_>, kind: Kind) -> Outcome {
    let name = call.text(0);
    walk::end::<Key, Walk>(call, &(kind, name))
}

fn current(call: &Call<'_>, kind: Kind, name: &[u8]) -> Option<Place> {
    let walk: &Walk = walk::find(call, |(known, of): &Key| *known == kind && of == name)?;
    let is_same = Arc::ptr_eq(&walk.message, &call.context.message);
    walk.places.get(walk.at.checked_sub(1)?).copied().filter(|_| is_same)
}

fn show(call: &Call<'_>, selector: &Selector<'_>, kind: Kind, part: fn(Place) -> Span) -> Value {
    let place = current(call, kind, selector.key());
    place.map(|place| Bytes::copy_from_slice(call.context.message.text(part(place)))).into()
}

fn edit(call: &mut Call<'_>, kind: Kind, edit: Edit) -> Outcome {
    let Some(place) = current(call, kind, &call.text(0)) else { return Outcome::fail("the iterator stands nowhere") };
    if edit == Edit::Remove {
        call.context.edits.remove(place.whole);
        return Outcome::TRUE;
    }
    let text = match kind {
        Kind::Headers => crate::textops::header_lines(&call.text(1)).map(Bytes::from),
        Kind::Lines => Some(call.text(1)),
    };
    let Some(text) = text else { return Outcome::fail("not a header") };
    let at = if edit == Edit::Behind { place.whole.end } else { place.whole.start };
    call.context.edits.insert(at, text);
    Outcome::TRUE
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::{Bench, INVITE, text};
    use module_api::Value;

    #[test]
    fn a_walk_through_the_headers_can_change_them() {
        let mut bench = Bench::new(&INVITE.replace("Subject", "X-A: 1\r\nSubject"));
        assert_eq!(bench.run(&MODULE, "hf_iterator_start", &["i"]), 1);
        let mut names = Vec::new();
        while bench.run(&MODULE, "hf_iterator_next", &["i"]) == 1 {
            let name = bench.read(&MODULE, "hfitname", Some("i"));
            if name == text("X-A") {
                assert_eq!(bench.read(&MODULE, "hfitbody", Some("i")), text("1"));
                bench.run(&MODULE, "hf_iterator_append", &["i", "X-Z: 9\r\n"]);
                bench.run(&MODULE, "hf_iterator_insert", &["i", "X-Y: 8"]);
                bench.run(&MODULE, "hf_iterator_rm", &["i"]);
            }
            names.push(name);
        }
        assert_eq!((names.len(), &names[0], names.last()), (10, &text("Via"), Some(&text("Content-Length"))));
        assert!(bench.written().contains("X-Y: 8\r\nX-Z: 9\r\nSubject"), "{}", bench.written());
        assert_eq!(bench.run(&MODULE, "hf_iterator_prev", &["i"]), 1);
        assert_eq!(bench.run(&MODULE, "hf_iterator_end", &["i"]), 1);
        assert_eq!(bench.run(&MODULE, "hf_iterator_next", &["i"]), -1);
    }

    #[test]
    fn a_walk_through_the_body_goes_line_by_line() {
        let body = "v=0\r\nm=audio 5004 RTP/AVP 0\r\na=rtcp:5005\r\n";
        let mut bench =
            Bench::new(&INVITE.replace("Length: 0\r\n\r\n", &format!("Length: {}\r\n\r\n{body}", body.len())));
        bench.run(&MODULE, "bl_iterator_start", &["b"]);
        while bench.run(&MODULE, "bl_iterator_next", &["b"]) == 1 {
            let line = bench.read(&MODULE, "blitval", Some("b")).to_bytes();
            if line.starts_with(b"m=") {
                assert_eq!(line.len(), 24);
                bench.run(&MODULE, "bl_iterator_append", &["b", "a=z\r\n"]);
                bench.run(&MODULE, "bl_iterator_insert", &["b", "b=24\r\n"]);
            } else if line.starts_with(b"a=rtcp") {
                bench.run(&MODULE, "bl_iterator_rm", &["b"]);
            }
        }
        let written = bench.written();
        assert!(written.ends_with("Length: 40\r\n\r\nv=0\r\nb=24\r\nm=audio 5004 RTP/AVP 0\r\na=z\r\n"), "{written}");
        assert_eq!(bench.read(&MODULE, "blitval", Some("other")), Value::Null);
    }
}
