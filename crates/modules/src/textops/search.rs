//! Searching and replacing in the message as it came.

use bytes::Bytes;
use module_api::{Call, Function, Outcome, Param, ParamKind, Routes};
use sip_message::Span;

const PATTERN: &[Param] = &[Param::required("pattern", ParamKind::Regex)];
const PATTERN_AND_TEXT: &[Param] =
    &[Param::required("pattern", ParamKind::Regex), Param::required("text", ParamKind::Format)];

pub(super) const SEARCH: Function = Function {
    name: "search",
    params: PATTERN,
    routes: Routes::ANY,
    doc: "True when the pattern matches anywhere in the message as it came, start line and body included.",
    example: "if (search(\"User-Agent: Cisco\")) setflag(3);",
    run: |call| matches_in(call, Part::Message),
};

pub(super) const SEARCH_BODY: Function = Function {
    name: "search_body",
    params: PATTERN,
    routes: Routes::ANY,
    doc: "True when the pattern matches in the body.",
    example: "if (search_body(\"a=inactive\")) xlog(\"held\\n\");",
    run: |call| matches_in(call, Part::Body),
};

pub(super) const SEARCH_HF: Function = Function {
    name: "search_hf",
    params: &[
        Param::required("name", ParamKind::Header),
        Param::required("pattern", ParamKind::Regex),
        Param::optional("which", ParamKind::Options),
    ],
    routes: Routes::ANY,
    doc: "True when the pattern matches the value of a header: of any, of the first (f) or the last (l) of that name.",
    example: "if (search_hf(\"User-Agent\", \"^scan\", \"a\")) drop;",
    run: |call| {
        let Some(regex) = call.regex(1) else { return Outcome::FALSE };
        let name = call.text(0);
        let mut values = call.context.message.headers_with_name(&name).map(|header| header.value);
        match &call.text(2)[..] {
            b"f" => values.next().is_some_and(|value| regex.is_match(value)).into(),
            b"l" => values.last().is_some_and(|value| regex.is_match(value)).into(),
            _ => values.any(|value| regex.is_match(value)).into(),
        }
    },
};

pub(super) const SEARCH_APPEND: Function = Function {
    name: "search_append",
    params: PATTERN_AND_TEXT,
    routes: Routes::ANY,
    doc: "Adds text behind the first match in the headers and body. False without a match.",
    example: "search_append(\"Subject: \", \"[outside] \");",
    run: |call| {
        let Some(span) = spans(call, Part::BehindStartLine, Some(1)).first().copied() else { return Outcome::FALSE };
        let text = call.text(1);
        call.context.edits.insert(span.end, text);
        Outcome::TRUE
    },
};

pub(super) const REPLACE: Function = Function {
    name: "replace",
    params: PATTERN_AND_TEXT,
    routes: Routes::ANY,
    doc: "Replaces the first match in the headers and body. False without a match.",
    example: "replace(\"lunch\", \"dinner\");",
    run: |call| replace(call, Part::BehindStartLine, Some(1)),
};

pub(super) const REPLACE_ALL: Function = Function {
    name: "replace_all",
    params: PATTERN_AND_TEXT,
    routes: Routes::ANY,
    doc: "Replaces every match in the headers and body. False without a match.",
    example: "replace_all(\"lunch\", \"dinner\");",
    run: |call| replace(call, Part::BehindStartLine, None),
};

pub(super) const REPLACE_BODY: Function = Function {
    name: "replace_body",
    params: PATTERN_AND_TEXT,
    routes: Routes::ANY,
    doc: "Replaces the first match in the body. False without a match.",
    example: "replace_body(\"a=sendonly\", \"a=sendrecv\");",
    run: |call| replace(call, Part::Body, Some(1)),
};

pub(super) const REPLACE_BODY_ALL: Function = Function {
    name: "replace_body_all",
    params: PATTERN_AND_TEXT,
    routes: Routes::ANY,
    doc: "Replaces every match in the body. False without a match.",
    example: "replace_body_all(\"a=sendonly\", \"a=sendrecv\");",
    run: |call| replace(call, Part::Body, None),
};

pub(super) const REPLACE_HDRS: Function = Function {
    name: "replace_hdrs",
    params: PATTERN_AND_TEXT,
    routes: Routes::ANY,
    doc: "Replaces every match in the headers. False without a match.",
    example: "replace_hdrs(\"lunch\", \"dinner\");",
    run: |call| replace(call, Part::Headers, None),
};

/// A part of the message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Message,
    BehindStartLine,
    Headers,
    Body,
}

impl Part {
    /// Where it lies: start and end.
    pub(super) fn range(self, message: &sip_message::Message) -> (usize, usize) {
        let line = message.start_line().end as usize;
        let body = message.body_span();
        let end = message.bytes().len();
        match self {
            Part::Message => (0, end),
            Part::BehindStartLine => (line, end),
            Part::Headers => (line, body.start as usize),
            Part::Body => (body.start as usize, body.end as usize),
        }
    }
}

/// Most places that one call changes: a pattern that matches everywhere must not cost a list entry per byte.
const MOST: usize = 1000;

fn matches_in(call: &Call<'_>, part: Part) -> Outcome {
    let Some(regex) = call.regex(0) else { return Outcome::FALSE };
    let (start, end) = part.range(&call.context.message);
    regex.is_match(&call.context.message.bytes()[start..end]).into()
}

fn spans(call: &Call<'_>, part: Part, limit: Option<usize>) -> Vec<Span> {
    let Some(regex) = call.regex(0) else { return Vec::new() };
    let (start, end) = part.range(&call.context.message);
    let text = &call.context.message.bytes()[start..end];
    let matches = regex.find_iter(text).take(limit.unwrap_or(MOST));
    matches.map(|found| Span::new(start + found.start(), start + found.end())).collect()
}

fn replace(call: &mut Call<'_>, part: Part, limit: Option<usize>) -> Outcome {
    let text: Bytes = call.text(1);
    let spans = spans(call, part, limit);
    super::substitute::apply(call, spans.iter().map(|span| (*span, text.clone())).collect());
    (!spans.is_empty()).into()
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::{Bench, text};
    use module_api::Arg;
    use regex::bytes::Regex;
    use std::sync::Arc;

    fn pattern(pattern: &str) -> Arg {
        Arg::Regex(Arc::new(Regex::new(pattern).unwrap()))
    }

    #[test]
    fn the_whole_message_is_searched() {
        let ask = |regex: &str| Bench::invite().run_args(&MODULE, "search", &[pattern(regex)]);
        assert_eq!(ask("^INVITE"), 1);
        assert_eq!(ask("(?m)^Subject: lunch"), 1);
        assert_eq!(ask("dinner"), -1);
    }

    #[test]
    fn a_match_is_replaced_or_followed_by_text() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run_args(&MODULE, "replace", &[pattern("lunch"), Arg::Value(text("dinner"))]), 1);
        assert!(bench.written().contains("Subject: dinner\r\n"));
        let mut bench = Bench::invite();
        bench.run_args(&MODULE, "search_append", &[pattern("Subject: "), Arg::Value(text("[x] "))]);
        assert!(bench.written().contains("Subject: [x] lunch\r\n"));
        assert_eq!(bench.run_args(&MODULE, "replace_body", &[pattern("lunch"), Arg::Value(text(""))]), -1);
    }
}
