//! Walking through a session description line by line.

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Call, Function, KeyRule, Outcome, Param, ParamKind, Routes, Value, Variable};
use sip_message::Span;

use crate::walk;

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
        let name = call.text(0);
        walk::start(call, name, Walk { lines: session.lines().map(|line| line.span).collect(), next: 0 })
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
        let has_line = walk::with(call, &name, |walk: &mut Walk| {
            walk.next = (walk.next + 1).min(walk.lines.len() + 1);
            walk.next <= walk.lines.len()
        });
        has_line.unwrap_or(false).into()
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
        walk::end::<Bytes, Walk>(call, &name)
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

struct Walk {
    lines: Vec<Span>,
    /// The line that comes next; the one at which it stands is before it.
    next: usize,
}

fn current(call: &Call<'_>, name: &[u8]) -> Option<Span> {
    let walk: &Walk = walk::find(call, |known: &Bytes| known == name)?;
    walk.lines.get(walk.next.checked_sub(1)?).copied()
}
