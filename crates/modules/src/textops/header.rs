//! Adding, removing and finding headers.

use module_api::calendar::sip_date;
use module_api::{Call, Function, Outcome, Param, ParamKind, Routes};
use sip_message::Span;

use super::{header_lines, strings};

const TEXT_AND_PLACE: &[Param] =
    &[Param::required("text", ParamKind::Format), Param::optional("header", ParamKind::Header)];

pub(super) const APPEND_HF: Function = Function {
    name: "append_hf",
    params: TEXT_AND_PLACE,
    routes: Routes::ANY,
    doc: "Adds header lines after the last header, or after the named one. A missing line end is added.",
    example: "append_hf(\"P-Hint: outbound\\r\\n\");",
    run: |call| add(call, true),
};

pub(super) const INSERT_HF: Function = Function {
    name: "insert_hf",
    params: TEXT_AND_PLACE,
    routes: Routes::ANY,
    doc: "Adds header lines before the first header, or before the named one. A missing line end is added.",
    example: "insert_hf(\"P-Hint: outbound\\r\\n\", \"Call-ID\");",
    run: |call| add(call, false),
};

pub(super) const REMOVE_HF: Function = Function {
    name: "remove_hf",
    params: &[Param::required("name", ParamKind::Header)],
    routes: Routes::ANY,
    doc: "Removes every header of that name, whatever its spelling. False when there is none.",
    example: "remove_hf(\"Route\");",
    run: |call| {
        let name = call.text(0);
        let message = std::sync::Arc::clone(&call.context.message);
        let spans: Vec<Span> = message.headers_with_name(&name).map(|header| header.field).collect();
        remove(call, &spans)
    },
};

pub(super) const REMOVE_HF_RE: Function = Function {
    name: "remove_hf_re",
    params: &[Param::required("pattern", ParamKind::Regex)],
    routes: Routes::ANY,
    doc: "Removes every header whose name matches. False when there is none.",
    example: "remove_hf_re(\"^X-\");",
    run: |call| {
        let Some(regex) = call.regex(0) else { return Outcome::FALSE };
        let message = std::sync::Arc::clone(&call.context.message);
        let matching = message.headers().filter(|header| regex.is_match(header.raw_name));
        let spans: Vec<Span> = matching.map(|header| header.field).collect();
        remove(call, &spans)
    },
};

pub(super) const REMOVE_HF_IDX: Function = Function {
    name: "remove_hf_idx",
    params: &[Param::required("name", ParamKind::Header), Param::required("index", ParamKind::Int)],
    routes: Routes::ANY,
    doc: "Removes one header of that name, counted from 0. False when there is none.",
    example: "remove_hf_idx(\"Record-Route\", 0);",
    run: |call| {
        let name = call.text(0);
        let message = std::sync::Arc::clone(&call.context.message);
        let index = call.int(1).and_then(|index| usize::try_from(index).ok());
        let found = index.and_then(|index| message.headers_with_name(&name).nth(index));
        let spans: Vec<Span> = found.into_iter().map(|header| header.field).collect();
        remove(call, &spans)
    },
};

pub(super) const REMOVE_HF_MATCH: Function = Function {
    name: "remove_hf_match",
    params: &[
        Param::required("name", ParamKind::Header),
        Param::required("operator", ParamKind::Options),
        Param::required("text", ParamKind::Format),
    ],
    routes: Routes::ANY,
    doc: "Removes every header of that name whose value equals the text (eq), does not (ne), has it within (in) or matches \
          it as a regular expression (re). False when there is none.",
    example: "remove_hf_match(\"X-Info\", \"in\", \"internal\");",
    run: |call| {
        let (name, wanted) = (call.text(0), call.text(2));
        let is_within = |value: &[u8]| wanted.is_empty() || value.windows(wanted.len()).any(|part| part == wanted);
        let regex = match &call.text(1)[..] {
            b"re" => match strings::regex(&wanted) {
                Some(regex) => Some(regex),
                None => return Outcome::fail("remove_hf_match: not a regular expression"),
            },
            b"eq" | b"ne" | b"in" => None,
            _ => return Outcome::fail("remove_hf_match knows eq, ne, in and re"),
        };
        let operator = call.text(1);
        let is_match = |value: &[u8]| match (&regex, &operator[..]) {
            (Some(regex), _) => regex.is_match(value),
            (None, b"eq") => value == wanted,
            (None, b"ne") => value != wanted,
            (None, _) => is_within(value),
        };
        let message = std::sync::Arc::clone(&call.context.message);
        let matching = message.headers_with_name(&name).filter(|header| is_match(header.value));
        let spans: Vec<Span> = matching.map(|header| header.field).collect();
        remove(call, &spans)
    },
};

pub(super) const IS_PRESENT_HF: Function = Function {
    name: "is_present_hf",
    params: &[Param::required("name", ParamKind::Header)],
    routes: Routes::ANY,
    doc: "True when the message came with a header of that name.",
    example: "if (is_present_hf(\"Proxy-Authorization\")) consume_credentials();",
    run: |call| call.context.message.headers_with_name(&call.text(0)).next().is_some().into(),
};

pub(super) const IS_PRESENT_HF_RE: Function = Function {
    name: "is_present_hf_re",
    params: &[Param::required("pattern", ParamKind::Regex)],
    routes: Routes::ANY,
    doc: "True when the message came with a header whose name matches.",
    example: "if (is_present_hf_re(\"^X-\")) remove_hf_re(\"^X-\");",
    run: |call| {
        let Some(regex) = call.regex(0) else { return Outcome::FALSE };
        call.context.message.headers().any(|header| regex.is_match(header.raw_name)).into()
    },
};

pub(super) const APPEND_TO_REPLY: Function = Function {
    name: "append_to_reply",
    params: &[Param::required("text", ParamKind::Format)],
    routes: Routes::REQUESTS,
    doc: "Adds header lines to the replies that are made here for this request. A missing line end is added.",
    example: "append_to_reply(\"Retry-After: 30\\r\\n\");",
    run: |call| match header_lines(&call.text(0)) {
        Some(lines) => {
            call.context.reply_headers.extend_from_slice(&lines);
            Outcome::TRUE
        }
        None => Outcome::fail("append_to_reply: not a header"),
    },
};

pub(super) const APPEND_URIHF: Function = Function {
    name: "append_urihf",
    params: &[Param::required("prefix", ParamKind::Str), Param::required("suffix", ParamKind::Str)],
    routes: Routes::REQUESTS,
    doc: "Adds a header made of a prefix, the Request-URI as it came, and a suffix.",
    example: "append_urihf(\"CC-Diversion: \", \"\\r\\n\");",
    run: |call| {
        let text = [&call.text(0)[..], call.context.message.request_uri(), &call.text(1)].concat();
        match header_lines(&text) {
            Some(lines) => {
                call.context.edits.append_header(lines);
                Outcome::TRUE
            }
            None => Outcome::fail("append_urihf: not a header"),
        }
    },
};

pub(super) const APPEND_TIME: Function = Function {
    name: "append_time",
    params: &[],
    routes: Routes::REQUESTS,
    doc: "Adds a Date header to the replies that are made here for this request.",
    example: "append_time();",
    run: |call| {
        let line = format!("Date: {}\r\n", sip_date(call.host.unix_time()));
        call.context.reply_headers.extend_from_slice(line.as_bytes());
        Outcome::TRUE
    },
};

pub(super) const APPEND_TIME_TO_REQUEST: Function = Function {
    name: "append_time_to_request",
    params: &[],
    routes: Routes::ANY,
    doc: "Adds a Date header to the request.",
    example: "append_time_to_request();",
    run: |call| {
        let line = format!("Date: {}\r\n", sip_date(call.host.unix_time()));
        call.context.edits.append_header(line);
        Outcome::TRUE
    },
};

pub(super) const IS_PRIVACY: Function = Function {
    name: "is_privacy",
    params: &[Param::required("type", ParamKind::Str)],
    routes: Routes::ANY,
    doc: "True when the Privacy header asks for that kind of privacy (RFC 3323).",
    example: "if (is_privacy(\"id\")) remove_hf(\"P-Asserted-Identity\");",
    run: |call| {
        let wanted = call.text(0);
        let mut headers = call.context.message.headers_with_name(b"Privacy");
        headers
            .any(|header| {
                header.value.split(|byte| *byte == b';').any(|one| one.trim_ascii().eq_ignore_ascii_case(&wanted))
            })
            .into()
    },
};

fn remove(call: &mut Call<'_>, spans: &[Span]) -> Outcome {
    for span in spans {
        call.context.edits.remove(*span);
    }
    (!spans.is_empty()).into()
}

fn add(call: &mut Call<'_>, is_after: bool) -> Outcome {
    let Some(lines) = header_lines(&call.text(0)) else { return Outcome::fail("the text is not a header") };
    let name = call.text(1);
    let message = std::sync::Arc::clone(&call.context.message);
    let edits = &mut call.context.edits;
    if name.is_empty() {
        match is_after {
            true => edits.append_header(lines),
            false => edits.prepend_header(lines),
        }
        return Outcome::TRUE;
    }
    let place = match is_after {
        true => message.headers_with_name(&name).last().map(|header| header.field.end),
        false => message.headers_with_name(&name).next().map(|header| header.field.start),
    };
    match place {
        Some(place) => edits.insert(place, lines),
        // The named header is not there: after the last one, or before the first.
        None if is_after => edits.append_header(lines),
        None => edits.prepend_header(lines),
    }
    Outcome::TRUE
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::{Bench, INVITE};

    #[test]
    fn headers_are_removed_by_what_they_say() {
        let removed = |operator: &str, wanted: &str| {
            let headers = "X-Info: internal a\r\nX-Info: b\r\nContent-Length: 0";
            let mut bench = Bench::new(&INVITE.replace("Content-Length: 0", headers));
            let code = bench.run(&MODULE, "remove_hf_match", &["x-info", operator, wanted]);
            let left = bench.written().lines().filter(|line| line.starts_with("X-Info")).collect::<Vec<_>>().join("|");
            (code, left)
        };
        assert_eq!(removed("eq", "b"), (1, "X-Info: internal a".into()));
        assert_eq!(removed("ne", "b"), (1, "X-Info: b".into()));
        assert_eq!(removed("in", "tern"), (1, "X-Info: b".into()));
        assert_eq!(removed("re", "^.$"), (1, "X-Info: internal a".into()));
        assert_eq!(removed("eq", "c"), (-1, "X-Info: internal a|X-Info: b".into()));
        assert_eq!(removed("re", "("), (-1, "X-Info: internal a|X-Info: b".into()));
        assert_eq!(removed("like", "b"), (-1, "X-Info: internal a|X-Info: b".into()));
    }

    #[test]
    fn headers_are_added_at_either_end_or_beside_another() {
        let mut bench = Bench::invite();
        bench.run(&MODULE, "append_hf", &["X-Last: 1\r\n"]);
        bench.run(&MODULE, "insert_hf", &["X-First: 1"]);
        bench.run(&MODULE, "append_hf", &["X-After: 1\r\n", "Call-ID"]);
        bench.run(&MODULE, "insert_hf", &["X-Before: 1\r\n", "subject"]);
        let text = bench.written();
        assert!(text.starts_with("INVITE sip:bob@example.com SIP/2.0\r\nX-First: 1\r\nVia"), "{text}");
        assert!(text.contains("198.51.100.7\r\nX-After: 1\r\nCSeq"), "{text}");
        assert!(text.contains("X-Before: 1\r\nSubject"), "{text}");
        assert!(text.ends_with("X-Last: 1\r\n\r\n"), "{text}");
        assert_eq!(bench.run(&MODULE, "append_hf", &["nonsense"]), -1);
    }

    #[test]
    fn headers_are_removed_by_any_spelling() {
        let mut bench = Bench::new(&INVITE.replace("Subject: lunch\r\n", "s: lunch\r\nX-A: 1\r\nX-A: 2\r\n"));
        assert_eq!(bench.run(&MODULE, "remove_hf", &["subject"]), 1);
        assert_eq!(bench.run(&MODULE, "remove_hf", &["Route"]), -1);
        assert_eq!(bench.run(&MODULE, "remove_hf_idx", &["X-A", "1"]), 1);
        let text = bench.written();
        assert!(!text.contains("lunch") && text.contains("X-A: 1") && !text.contains("X-A: 2"), "{text}");
    }

    #[test]
    fn a_reply_gets_its_own_headers() {
        let mut bench = Bench::invite();
        bench.run(&MODULE, "append_to_reply", &["Retry-After: 30\r\n"]);
        bench.run(&MODULE, "append_time", &[]);
        assert_eq!(bench.context.reply_headers, b"Retry-After: 30\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n");
    }

    #[test]
    fn presence_is_that_of_the_received_message() {
        let mut bench = Bench::invite();
        bench.run(&MODULE, "append_hf", &["X-New: 1\r\n"]);
        assert_eq!(bench.run(&MODULE, "is_present_hf", &["X-New"]), -1);
        assert_eq!(bench.run(&MODULE, "is_present_hf", &["Subject"]), 1);
    }
}
