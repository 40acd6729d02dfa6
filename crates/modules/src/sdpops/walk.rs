//! Walking through a session description line by line.

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Call, Function, KeyRule, Outcome, Param, ParamKind, Routes, Value, Variable};
use sip_message::Span;

const NAME: &[Param] = &[Param::required("iterator", ParamKind::Format)];
const NAME_AND_TEXT: &[Param] =
    &[Param::required("iterator", ParamKind::Format), Param::required("text", ParamKind::Format)];

pub(super) const START: Function = Function {
    name: "sdp_iterator_start",
    params: NAME,
    routes: Routes::ANY,
    doc: "Starts a walk through the lines of the session description, before the first. False when there is none.",
    example: "if (sdp_iterator_start(\"i\")) xlog(\"there are lines\\n\");",
    run: |call| {
        let message = Arc::clone(&call.context.message);
        let Some(session) = super::session(&message) else { return Outcome::FALSE };
        let walk = Walk { name: call.text(0), lines: session.lines().map(|line| line.span).collect(), next: 0 };
        let mut walks = call.context.take_note::<Walks>().unwrap_or_default();
        walks.0.retain(|other| other.name != walk.name);
        let has_room = walks.0.len() < MOST_WALKS;
        if has_room {
            walks.0.push(walk);
        }
        call.context.set_note(walks);
        has_room.into()
    },
};

pub(super) const NEXT: Function = Function {
    name: "sdp_iterator_next",
    params: NAME,
    routes: Routes::ANY,
    doc: "Goes to the next line. False when there is none.",
    example: "while (sdp_iterator_next(\"i\")) xlog(\"$sdpitval(i)\");",
    run: |call| {
        let name = call.text(0);
        let Some(mut walks) = call.context.take_note::<Walks>() else { return Outcome::FALSE };
        let mut has_line = false;
        if let Some(walk) = walks.0.iter_mut().find(|walk| walk.name == name) {
            walk.next = (walk.next + 1).min(walk.lines.len() + 1);
            has_line = walk.next <= walk.lines.len();
        }
        call.context.set_note(walks);
        has_line.into()
    },
};

pub(super) const END: Function = Function {
    name: "sdp_iterator_end",
    params: NAME,
    routes: Routes::ANY,
    doc: "Ends a walk.",
    example: "sdp_iterator_end(\"i\");",
    run: |call| {
        let name = call.text(0);
        let Some(mut walks) = call.context.take_note::<Walks>() else { return Outcome::FALSE };
        let before = walks.0.len();
        walks.0.retain(|walk| walk.name != name);
        let is_ended = walks.0.len() < before;
        call.context.set_note(walks);
        is_ended.into()
    },
};

pub(super) const REMOVE: Function = Function {
    name: "sdp_iterator_rm",
    params: NAME,
    routes: Routes::ANY,
    doc: "Takes out the line at which a walk stands.",
    example: "if ($sdpitval(i) =~ \"^a=ssrc\") sdp_iterator_rm(\"i\");",
    run: |call| {
        let Some(line) = current(call, &call.text(0)) else { return Outcome::FALSE };
        call.context.edits.remove(line);
        Outcome::TRUE
    },
};

pub(super) const APPEND: Function = Function {
    name: "sdp_iterator_append",
    params: NAME_AND_TEXT,
    routes: Routes::ANY,
    doc: "Adds text behind the line at which a walk stands: whole lines, each with its end.",
    example: "sdp_iterator_append(\"i\", \"a=ptime:20\\r\\n\");",
    run: |call| {
        let Some(line) = current(call, &call.text(0)) else { return Outcome::FALSE };
        let text = call.text(1);
        call.context.edits.insert(line.end, text);
        Outcome::TRUE
    },
};

pub(super) const INSERT: Function = Function {
    name: "sdp_iterator_insert",
    params: NAME_AND_TEXT,
    routes: Routes::ANY,
    doc: "Adds text before the line at which a walk stands: whole lines, each with its end.",
    example: "sdp_iterator_insert(\"i\", \"a=ptime:20\\r\\n\");",
    run: |call| {
        let Some(line) = current(call, &call.text(0)) else { return Outcome::FALSE };
        let text = call.text(1);
        call.context.edits.insert(line.start, text);
        Outcome::TRUE
    },
};

pub(super) const VALUE: Variable = Variable {
    name: "sdpitval",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "The line at which a walk through the session description stands, its end included; undefined where it stands at none.",
    example: "xlog(\"$sdpitval(i)\");",
    read: |call, selector| match current(call, selector.key()) {
        Some(line) => Value::Str(call.context.message.slice(line)),
        None => Value::Null,
    },
    write: None,
};

/// The walks of a request; a note.
#[derive(Default)]
struct Walks(Vec<Walk>);

struct Walk {
    name: Bytes,
    lines: Vec<Span>,
    /// The line that comes next; the one at which it stands is before it.
    next: usize,
}

/// Most walks of one request.
const MOST_WALKS: usize = 16;

fn current(call: &Call<'_>, name: &[u8]) -> Option<Span> {
    let walk = call.context.note::<Walks>()?.0.iter().find(|walk| walk.name == name)?;
    walk.lines.get(walk.next.checked_sub(1)?).copied()
}
