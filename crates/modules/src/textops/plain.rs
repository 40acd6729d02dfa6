//! Replacing plain text, and what else is done with expressions and headers now and then.

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Call, Function, Outcome, Param, ParamKind, Routes, Value};
use sip_message::{HeaderName, Limits, Span, multipart};

use super::search::Part;

const TEXTS_AND_MODE: &[Param] = &[
    Param::required("text", ParamKind::Format),
    Param::required("new", ParamKind::Format),
    Param::required("mode", ParamKind::Str),
];

const fn replacing(name: &'static str, doc: &'static str, run: fn(&mut Call<'_>) -> Outcome) -> Function {
    let example = "replace_str(\"lunch\", \"dinner\", \"f\");";
    Function { name, params: TEXTS_AND_MODE, routes: Routes::ANY, doc, example, run }
}

pub(super) const REPLACE_STR: Function = replacing(
    "replace_str",
    "Replaces a text in the headers and body, once with mode f, everywhere with a, everywhere whatever its case with i.",
    |call| replace(call, Part::BehindStartLine),
);

pub(super) const REPLACE_HDRS_STR: Function =
    replacing("replace_hdrs_str", "As replace_str(), in the headers.", |call| replace(call, Part::Headers));

pub(super) const REPLACE_BODY_STR: Function =
    replacing("replace_body_str", "As replace_str(), in the body.", |call| replace(call, Part::Body));

pub(super) const REGEX_SUBSTRING: Function = Function {
    name: "regex_substring",
    params: &[
        Param::required("text", ParamKind::Format),
        Param::required("pattern", ParamKind::Regex),
        Param::required("group", ParamKind::Int),
        Param::required("groups", ParamKind::Int),
        Param::required("variable", ParamKind::Output),
    ],
    routes: Routes::ANY,
    doc: "Puts what a group of the pattern matched into a variable; group 0 is the whole match. False without a match.",
    example: "regex_substring(\"$rU\", \"^0(.*)$\", 1, 2, \"$var(rest)\");",
    run: |call| {
        let text = call.text(0);
        let group = call.int(2).and_then(|group| usize::try_from(group).ok());
        let (Some(regex), Some(group)) = (call.regex(1), group) else { return Outcome::FALSE };
        let found = regex.captures(&text).and_then(|groups| groups.get(group).map(|group| group.range()));
        let Some(range) = found else { return Outcome::FALSE };
        match call.write_output(4, Value::Str(text.slice(range))) {
            Ok(()) => Outcome::TRUE,
            Err(fault) => Outcome::Fail(fault),
        }
    },
};

pub(super) const SEARCH_APPEND_BODY: Function = Function {
    name: "search_append_body",
    params: &[Param::required("pattern", ParamKind::Regex), Param::required("text", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Adds text behind the first match in the body. False without a match.",
    example: "search_append_body(\"s=-\", \"\\r\\ni=call\");",
    run: |call| {
        let Some(regex) = call.regex(0) else { return Outcome::FALSE };
        let message = Arc::clone(&call.context.message);
        let (start, end) = Part::Body.range(&message);
        let Some(found) = regex.find(&message.bytes()[start..end]) else { return Outcome::FALSE };
        let text = call.text(1);
        call.context.edits.insert((start + found.end()) as u32, text);
        Outcome::TRUE
    },
};

pub(super) const REMOVE_HF_EXP: Function = Function {
    name: "remove_hf_exp",
    params: &[Param::required("match", ParamKind::Regex), Param::required("skip", ParamKind::Regex)],
    routes: Routes::ANY,
    doc: "Removes the headers whose name matches the first pattern and not the second. False when there is none.",
    example: "remove_hf_exp(\"^X-\", \"^X-Keep\");",
    run: |call| {
        let (Some(wanted), Some(skipped)) = (call.regex(0), call.regex(1)) else { return Outcome::FALSE };
        let message = Arc::clone(&call.context.message);
        let headers = message.headers().filter(|h| wanted.is_match(h.raw_name) && !skipped.is_match(h.raw_name));
        let spans: Vec<Span> = headers.map(|header| header.field).collect();
        for span in &spans {
            call.context.edits.remove(*span);
        }
        (!spans.is_empty()).into()
    },
};

pub(super) const VIA_PARAM_RM: Function = Function {
    name: "via_param_rm",
    params: &[Param::required("name", ParamKind::Format), Param::required("via", ParamKind::Int)],
    routes: Routes::ANY,
    doc: "Removes a parameter from a Via, counted from 1. False when it is not there. The branch of the topmost stays: \
          replies find their way by it.",
    example: "via_param_rm(\"received\", 2);",
    run: |call| {
        let name = call.text(0);
        let number = call.int(1).and_then(|number| usize::try_from(number).ok()).filter(|number| *number > 0);
        let message = Arc::clone(&call.context.message);
        let Some(via) = number.and_then(|number| message.values_of(HeaderName::Via).nth(number - 1)) else {
            return Outcome::FALSE;
        };
        if number == Some(1) && name.eq_ignore_ascii_case(b"branch") {
            return Outcome::fail("via_param_rm: the branch of the topmost Via must stay");
        }
        let mut at = 0;
        for piece in via.text.split_inclusive(|byte| *byte == b';') {
            let own = piece.strip_suffix(b";").unwrap_or(piece);
            let key = own.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
            if at > 0 && key.eq_ignore_ascii_case(&name) {
                let start = via.span.start as usize + at;
                call.context.edits.remove(Span::new(start - 1, start + own.len()));
                return Outcome::TRUE;
            }
            at += piece.len();
        }
        Outcome::FALSE
    },
};

pub(super) const IS_AUDIO_ON_HOLD: Function = Function {
    name: "is_audio_on_hold",
    params: &[],
    routes: Routes::ANY,
    doc: "1 when the audio is on hold by the null address, 2 by sendonly or inactive (RFC 3264 section 8.4), else false.",
    example: "if (is_audio_on_hold()) xlog(\"held\\n\");",
    run: |call| {
        let Ok(Some(session)) = multipart::session(&call.context.message, &Limits::default()) else {
            return Outcome::FALSE;
        };
        for media in session.media().filter(|media| media.kind == b"audio") {
            if media.connection().or(session.connection()).is_some_and(|connection| connection.is_null()) {
                return Outcome::Value(1);
            }
            let holds = |name: &str| {
                media.attribute(name).is_some() || session.attributes().any(|own| own.name == name.as_bytes())
            };
            if holds("sendonly") || holds("inactive") {
                return Outcome::Value(2);
            }
        }
        Outcome::FALSE
    },
};

fn replace(call: &mut Call<'_>, part: Part) -> Outcome {
    let (old, new, mode) = (call.text(0), call.text(1), call.text(2));
    if old.is_empty() {
        return Outcome::FALSE;
    }
    let message = Arc::clone(&call.context.message);
    let (start, end) = part.range(&message);
    let changes: Vec<(Span, Bytes)> = places(&message.bytes()[start..end], &old, mode.contains(&b'i'))
        .take(if mode.contains(&b'f') { 1 } else { MOST })
        .map(|at| (Span::new(start + at, start + at + old.len()), new.clone()))
        .collect();
    let is_found = !changes.is_empty();
    super::substitute::apply(call, changes);
    is_found.into()
}

/// Most places that one call changes.
const MOST: usize = 1000;

/// Where `part` stands in `text`, from left to right without overlap.
fn places<'a>(text: &'a [u8], part: &'a [u8], ignores_case: bool) -> impl Iterator<Item = usize> + 'a {
    let mut at = 0;
    std::iter::from_fn(move || {
        let is_here = |window: &[u8]| if ignores_case { window.eq_ignore_ascii_case(part) } else { window == part };
        let found = at + text.get(at..)?.windows(part.len()).position(is_here)?;
        at = found + part.len();
        Some(found)
    })
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, INVITE, text};
    use module_api::Arg;
    use regex::bytes::Regex;

    fn pattern(text: &str) -> Arg {
        Arg::Regex(Arc::new(Regex::new(text).unwrap()))
    }

    #[test]
    fn plain_text_is_replaced_once_or_everywhere() {
        let replaced = |function: &str, mode: &str, old: &str| {
            let mut bench = Bench::invite();
            (bench.run(&MODULE, function, &[old, "X", mode]), bench.written().matches('X').count())
        };
        assert_eq!(replaced("replace_str", "f", "sip:"), (1, 1));
        assert_eq!(replaced("replace_str", "a", "sip:"), (1, 3));
        assert_eq!(replaced("replace_hdrs_str", "i", "LUNCH"), (1, 1));
        assert_eq!(replaced("replace_hdrs_str", "a", "LUNCH"), (-1, 0));
        assert_eq!(replaced("replace_body_str", "a", "lunch"), (-1, 0));
    }

    #[test]
    fn headers_are_removed_but_for_exceptions() {
        let mut bench = Bench::new(&INVITE.replace("Subject", "X-A: 1\r\nX-P: 2\r\nSubject"));
        assert_eq!(bench.run_args(&MODULE, "remove_hf_exp", &[pattern("^X-"), pattern("^X-P")]), 1);
        let written = bench.written();
        assert!(!written.contains("X-A") && written.contains("X-P: 2"), "{written}");
    }

    #[test]
    fn a_parameter_of_a_via_is_removed() {
        let mut bench = Bench::new(&INVITE.replace("branch=z9hG4bK77", "branch=z9hG4bK77;x=1;rport"));
        assert_eq!(bench.run(&MODULE, "via_param_rm", &["x", "1"]), 1);
        assert!(bench.written().contains(";branch=z9hG4bK77;rport\r\n"), "{}", bench.written());
        assert_eq!(bench.run(&MODULE, "via_param_rm", &["branch", "1"]), -1);
        assert_eq!(bench.run(&MODULE, "via_param_rm", &["x", "2"]), -1);
    }

    #[test]
    fn audio_is_held_by_address_or_direction() {
        let held = |lines: &str| {
            let body = format!("v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\n{lines}");
            let head = format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n", body.len());
            Bench::new(&(INVITE.replace("Content-Length: 0\r\n\r\n", &head) + &body)).run(
                &MODULE,
                "is_audio_on_hold",
                &[],
            )
        };
        assert_eq!(held("c=IN IP4 0.0.0.0\r\nt=0 0\r\nm=audio 4 RTP/AVP 0\r\n"), 1);
        assert_eq!(held("c=IN IP4 192.0.2.7\r\nt=0 0\r\nm=audio 4 RTP/AVP 0\r\na=sendonly\r\n"), 2);
        assert_eq!(held("c=IN IP4 192.0.2.7\r\nt=0 0\r\nm=audio 4 RTP/AVP 0\r\n"), -1);
        assert_eq!(Bench::invite().run(&MODULE, "is_audio_on_hold", &[]), -1);
    }

    #[test]
    fn text_is_added_behind_a_match_in_the_body() {
        let body = "s=-\r\n";
        let mut bench = Bench::new(&INVITE.replace("Length: 0\r\n\r\n", &format!("Length: 5\r\n\r\n{body}")));
        assert_eq!(bench.run_args(&MODULE, "search_append_body", &[pattern("s=-"), Arg::Value(text("\r\ni=x"))]), 1);
        assert!(bench.written().ends_with("Length: 10\r\n\r\ns=-\r\ni=x\r\n"), "{}", bench.written());
    }
}
