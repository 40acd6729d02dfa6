//! Bodies of several parts (RFC 2046 section 5.1, RFC 5621).

use bytes::Bytes;
use module_api::{Call, Function, Outcome, Param, ParamKind, Routes, Value};
use sip_message::multipart::{self, Part};
use sip_message::{HeaderName, Limits, Message};

use super::{body, header_lines};

const BOUNDARY: &str = "unique-boundary-1";
const TEXT: Param = Param::required("text", ParamKind::Format);
const TYPE: Param = Param::required("type", ParamKind::Format);
const OPTIONAL_BOUNDARY: Param = Param::optional("boundary", ParamKind::Format);
const PART: &[Param] = &[TEXT, TYPE, Param::optional("disposition", ParamKind::Format)];
const FOUND: &[Param] = &[TYPE, Param::required("variable", ParamKind::Output)];

pub(super) const CONVERT: Function = Function {
    name: "set_body_multipart",
    params: &[OPTIONAL_BOUNDARY],
    routes: Routes::ANY,
    doc: "Makes the body, as changed so far, the first part of a body of several parts. The boundary is \
          unique-boundary-1 where none is given. False when there is no body, or when the boundary is none or stands in it.",
    example: "set_body_multipart();",
    run: |call| {
        let Some(now) = Now::of(call) else { return Outcome::fail("set_body_multipart: the changed message is none") };
        let kind = now.0.value(HeaderName::ContentType).unwrap_or(b"text/plain");
        match now.0.body() {
            [] => Outcome::fail("set_body_multipart: there is no body"),
            text => make_multipart(call, &now, text, kind, 0),
        }
    },
};

pub(super) const SET: Function = Function {
    name: "set_body_multipart",
    params: &[TEXT, TYPE, OPTIONAL_BOUNDARY],
    routes: Routes::ANY,
    doc: "Replaces the body by one of several parts, of which the text is the first.",
    example: "set_body_multipart(\"hello\", \"text/plain\", \"delimiter\");",
    run: |call| {
        let Some(now) = Now::of(call) else { return Outcome::fail("set_body_multipart: the changed message is none") };
        let (text, kind) = (call.text(0), call.text(1));
        make_multipart(call, &now, &text, &kind, 2)
    },
};

pub(super) const APPEND: Function = Function {
    name: "append_body_part",
    params: PART,
    routes: Routes::ANY,
    doc: "Adds a part at the end of a body of several parts, as changed so far. More headers of the part may follow its \
          type, each after \\r\\n. False when the body is not of several parts.",
    example: "append_body_part(\"$var(b)\", \"application/vnd.cirpack.isdn-ext\", \"signal;handling=required\");",
    run: |call| {
        let text = call.text(0);
        append(call, &text)
    },
};

pub(super) const APPEND_HEX: Function = Function {
    name: "append_body_part_hex",
    params: PART,
    routes: Routes::ANY,
    doc: "As append_body_part(), with the part in hexadecimal digits; blanks between them do not count.",
    example: "append_body_part_hex(\"6b 61 6d\", \"application/octet-stream\");",
    run: |call| match body::from_hex(&call.text(0)) {
        Some(octets) => append(call, &octets),
        None => Outcome::fail("append_body_part_hex: not hexadecimal digits"),
    },
};

pub(super) const REMOVE: Function = Function {
    name: "remove_body_part",
    params: &[TYPE],
    routes: Routes::ANY,
    doc: "Removes the first part of that type from a body of several parts, as changed so far; with the last part the body \
          goes. False when there is none.",
    example: "remove_body_part(\"application/vnd.cirpack.isdn-ext\");",
    run: remove,
};

pub(super) const GET: Function = Function {
    name: "get_body_part",
    params: FOUND,
    routes: Routes::ANY,
    doc: "Puts the first part of that type into a variable, without the headers of the part. Read from the message as it \
          came, or as msg_apply_changes() left it. False when there is none.",
    example: "if (get_body_part(\"application/sdp\", \"$var(sdp)\")) xlog(\"$var(sdp)\\n\");",
    run: |call| get(call, false),
};

pub(super) const GET_RAW: Function = Function {
    name: "get_body_part_raw",
    params: FOUND,
    routes: Routes::ANY,
    doc: "As get_body_part(), with the line of the boundary before the part and the headers of the part.",
    example: "get_body_part_raw(\"application/sdp\", \"$var(part)\");",
    run: |call| get(call, true),
};

pub(super) const FILTER: Function = Function {
    name: "filter_body",
    params: &[TYPE],
    routes: Routes::ANY,
    doc: "Leaves of a body of several parts, as changed so far, the first part of that type alone; the message takes its \
          type. False when there is none.",
    example: "if (has_body(\"multipart/mixed\")) filter_body(\"application/sdp\");",
    run: |call| {
        let wanted = call.text(0);
        let Some(now) = Now::of(call) else { return Outcome::FALSE };
        let Some((parts, _)) = now.parts() else { return Outcome::FALSE };
        let Some(part) = parts.iter().find(|part| is_of(part, &wanted)) else { return Outcome::FALSE };
        let kind = Bytes::copy_from_slice(part.value(HeaderName::ContentType).unwrap_or(b"text/plain"));
        let came = call.context.message.headers_named(HeaderName::ContentType).next();
        let kind =
            match came.filter(|came| Some(came.value) == now.0.value(HeaderName::ContentType)).map(|came| came.field) {
                // In place: scripts for Kamailio go on with remove_hf() and append_hf(), which then count.
                Some(field) => {
                    call.context.edits.replace(field, [b"Content-Type: ", &kind[..], b"\r\n"].concat());
                    None
                }
                None => Some(kind),
            };
        call.context.edits.set_body(kind, Bytes::copy_from_slice(part.body()));
        Outcome::TRUE
    },
};

/// The message with the changes made so far, so that one call works on what another has built. Whoever calls these
/// functions changes a body as a whole: the cost of writing and reading the message once more is no matter.
struct Now(Message);

impl Now {
    fn of(call: &Call<'_>) -> Option<Now> {
        let mut bytes = Vec::new();
        sip_message::write(&call.context.message, &[&call.context.edits], &mut bytes);
        Message::parse(bytes.into(), &Limits::default()).ok().map(Now)
    }

    fn parts(&self) -> Option<(Vec<Part<'_>>, Vec<u8>)> {
        parts_of(&self.0)
    }

    /// Replaces the body; the type stays.
    fn put(&self, call: &mut Call<'_>, body: Vec<u8>) -> Outcome {
        let kind = self.0.value(HeaderName::ContentType).map(Bytes::copy_from_slice);
        call.context.edits.set_body(kind, body);
        Outcome::TRUE
    }
}

/// The parts of a body and their boundary; spans count from the start of the body.
fn parts_of(message: &Message) -> Option<(Vec<Part<'_>>, Vec<u8>)> {
    let (kind, params) = message.content_type()?;
    if !kind.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/")) {
        return None;
    }
    let boundary = multipart::boundary(&params)?.into_owned();
    let parts = multipart::parts(message.body(), &boundary, 0, &Limits::default()).ok()?;
    Some((parts, boundary))
}

fn is_of(part: &Part<'_>, wanted: &[u8]) -> bool {
    let wanted = wanted.split(|byte| *byte == b';').next().unwrap_or_default();
    part.content_type().0.eq_ignore_ascii_case(wanted.trim_ascii())
}

/// Whether a delimiter of that boundary stands in a text: it would end the part there.
fn is_within(boundary: &[u8], text: &[u8]) -> bool {
    let needle = [b"--", boundary].concat();
    text.windows(needle.len()).any(|window| window == needle)
}

/// 1 to 70 of some characters, the last no space (RFC 2046 section 5.1.1).
fn is_boundary(text: &[u8]) -> bool {
    let is_fit = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte);
    (1..=70).contains(&text.len()) && text.iter().all(is_fit) && !text.ends_with(b" ")
}

fn make_multipart(call: &mut Call<'_>, now: &Now, text: &[u8], kind: &[u8], boundary_at: usize) -> Outcome {
    let mut boundary = call.text(boundary_at);
    if boundary.is_empty() {
        boundary = Bytes::from_static(BOUNDARY.as_bytes());
    }
    if !is_boundary(&boundary) || is_within(&boundary, text) {
        return Outcome::fail("set_body_multipart: the boundary is none, or stands in the text");
    }
    let Some(head) = head(kind, b"") else { return Outcome::fail("set_body_multipart: not a content type") };
    let body = [b"--", &boundary[..], b"\r\n", &head, b"\r\n", text, b"\r\n--", &boundary, b"--\r\n"].concat();
    if now.0.headers_named(HeaderName::MimeVersion).next().is_none() {
        call.context.edits.append_header("MIME-Version: 1.0\r\n");
    }
    let kind = [b"multipart/mixed;boundary=\"", &boundary[..], b"\""].concat();
    call.context.edits.set_body(Some(kind.into()), body);
    Outcome::TRUE
}

/// The headers of a part.
fn head(kind: &[u8], disposition: &[u8]) -> Option<Vec<u8>> {
    let first = kind.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut lines = [b"Content-Type: ", kind, b"\r\n"].concat();
    if !disposition.is_empty() {
        lines.extend_from_slice(&[b"Content-Disposition: ", disposition, b"\r\n"].concat());
    }
    body::is_type(first).then(|| header_lines(&lines)).flatten()
}

fn append(call: &mut Call<'_>, text: &[u8]) -> Outcome {
    let Some(now) = Now::of(call) else { return Outcome::fail("append_body_part: the changed message is none") };
    let Some((parts, boundary)) = now.parts() else {
        return Outcome::fail("append_body_part: the body is not of several parts; set_body_multipart() makes it so");
    };
    let Some(head) = head(&call.text(1), &call.text(2)) else {
        return Outcome::fail("append_body_part: not a content type and a disposition");
    };
    if is_within(&boundary, text) {
        return Outcome::fail("append_body_part: the boundary stands in the text");
    }
    let end = parts.last().map_or(0, |part| part.span.end as usize);
    let (before, tail) = now.0.body().split_at(end);
    let line_end: &[u8] = if tail.starts_with(b"\r\n") { b"" } else { b"\r\n" };
    let body = [before, b"\r\n--", &boundary, b"\r\n", &head, b"\r\n", text, line_end, tail].concat();
    now.put(call, body)
}

fn remove(call: &mut Call<'_>) -> Outcome {
    let wanted = call.text(0);
    let Some(now) = Now::of(call) else { return Outcome::FALSE };
    let Some((parts, _)) = now.parts() else { return Outcome::FALSE };
    let Some(at) = parts.iter().position(|part| is_of(part, &wanted)) else { return Outcome::FALSE };
    // The part goes with the delimiter after it, or the last one with the delimiter before it.
    let (from, to) = match (at.checked_sub(1).map(|before| parts[before].span.end), parts.get(at + 1)) {
        (_, Some(next)) => (parts[at].span.start, next.span.start),
        (Some(before), None) => (before, parts[at].span.end),
        // A body of no parts is none (RFC 2046 section 5.1.1).
        (None, None) => return (body::REMOVE_BODY.run)(call),
    };
    let body = now.0.body();
    let body = [&body[..from as usize], &body[to as usize..]].concat();
    now.put(call, body)
}

fn get(call: &mut Call<'_>, is_raw: bool) -> Outcome {
    let wanted = call.text(0);
    let message = std::sync::Arc::clone(&call.context.message);
    let Some((parts, boundary)) = parts_of(&message) else { return Outcome::FALSE };
    let Some(part) = parts.iter().find(|part| is_of(part, &wanted)) else { return Outcome::FALSE };
    let text = match is_raw {
        false => part.body().to_vec(),
        true => {
            let whole = &message.body()[part.span.start as usize..part.span.end as usize];
            [b"--", &boundary[..], b"\r\n", whole].concat()
        }
    };
    match call.write_output(1, Value::Str(text.into())) {
        Ok(()) => Outcome::TRUE,
        Err(fault) => Outcome::Fail(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::{Bench, INVITE, text, variable};
    use module_api::Arg;

    const SDP: &str = "v=0\r\n";

    fn with_body(kind: &str, body: &str) -> Bench {
        let headers = format!("Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        Bench::new(&INVITE.replace("Content-Length: 0\r\n\r\n", &headers))
    }

    fn body(bench: &Bench) -> String {
        bench.written().split_once("\r\n\r\n").expect("a message has a body").1.to_owned()
    }

    const TWO: &str =
        "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b--\r\n";

    #[test]
    fn a_body_becomes_the_first_of_several_parts_and_more_follow() {
        let mut bench = with_body("application/sdp", SDP);
        assert_eq!(bench.run(&MODULE, "set_body_multipart", &[]), 1);
        assert_eq!(bench.run(&MODULE, "append_body_part", &["hi", "text/plain\r\nX-A: 1", "signal"]), 1);
        assert_eq!(bench.run(&MODULE, "append_body_part_hex", &["68 69", "a/b"]), 1);
        let expected = "--unique-boundary-1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n\
             --unique-boundary-1\r\nContent-Type: text/plain\r\nX-A: 1\r\nContent-Disposition: signal\r\n\r\nhi\r\n\
             --unique-boundary-1\r\nContent-Type: a/b\r\n\r\nhi\r\n--unique-boundary-1--\r\n";
        assert_eq!(body(&bench), expected);
        let written = bench.written();
        assert!(written.contains("Content-Type: multipart/mixed;boundary=\"unique-boundary-1\"\r\n"), "{written}");
        assert!(written.contains(&format!("Content-Length: {}\r\n", expected.len())), "{written}");
        assert_eq!(written.matches("MIME-Version: 1.0\r\n").count(), 1, "{written}");
    }

    #[test]
    fn a_boundary_must_be_one_and_must_not_stand_in_a_part() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "set_body_multipart", &[]), -1);
        assert_eq!(bench.run(&MODULE, "set_body_multipart", &["x", "text/plain", "a\r\nb"]), -1);
        assert_eq!(bench.run(&MODULE, "set_body_multipart", &["x\r\n--d", "text/plain", "d"]), -1);
        assert_eq!(bench.run(&MODULE, "set_body_multipart", &["x", "no type"]), -1);
        assert_eq!(bench.run(&MODULE, "append_body_part", &["x", "text/plain"]), -1);
        assert_eq!(bench.run(&MODULE, "set_body_multipart", &["x", "text/plain", "d"]), 1);
        assert_eq!(bench.run(&MODULE, "append_body_part", &["\r\n--d--", "text/plain"]), -1);
        assert_eq!(bench.run(&MODULE, "append_body_part", &["x", "text/plain", "a\r\n\r\n--d--"]), -1);
        assert_eq!(body(&bench), "--d\r\nContent-Type: text/plain\r\n\r\nx\r\n--d--\r\n");
    }

    #[test]
    fn a_part_is_removed_with_one_delimiter_and_the_last_with_the_body() {
        let mut bench = with_body("multipart/mixed;boundary=b", TWO);
        assert_eq!(bench.run(&MODULE, "remove_body_part", &["image/png"]), -1);
        assert_eq!(bench.run(&MODULE, "remove_body_part", &["Application/SDP"]), 1);
        assert_eq!(body(&bench), "--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b--\r\n");
        assert_eq!(bench.run(&MODULE, "remove_body_part", &["text/plain"]), 1);
        assert_eq!(body(&bench), "");
        assert!(!bench.written().contains("multipart"), "{}", bench.written());
        let mut bench = with_body("multipart/mixed;boundary=b", TWO);
        assert_eq!(bench.run(&MODULE, "remove_body_part", &["text/plain"]), 1);
        assert_eq!(body(&bench), "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n--b--\r\n");
        assert_eq!(with_body("application/sdp", SDP).run(&MODULE, "remove_body_part", &["application/sdp"]), -1);
    }

    #[test]
    fn one_part_may_become_the_body() {
        let mut bench = with_body("multipart/mixed;boundary=b", TWO);
        assert_eq!(bench.run(&MODULE, "filter_body", &["image/png"]), -1);
        assert_eq!(bench.run(&MODULE, "filter_body", &["application/sdp"]), 1);
        assert_eq!(body(&bench), SDP);
        assert!(bench.written().contains("Content-Type: application/sdp\r\n"), "{}", bench.written());
        // As scripts were shown to go on.
        bench.run(&MODULE, "remove_hf", &["Content-Type"]);
        bench.run(&MODULE, "append_hf", &["Content-Type: application/sdp\r\n"]);
        assert_eq!(bench.written().matches("Content-Type").count(), 1, "{}", bench.written());
    }

    #[test]
    fn a_part_can_be_read_with_and_without_its_head() {
        let mut bench = with_body("multipart/mixed;boundary=b", TWO);
        let args = |kind: &str| [Arg::Value(text(kind)), variable("x")];
        assert_eq!(bench.run_args(&MODULE, "get_body_part", &args("text/plain")), 1);
        assert_eq!(bench.context.vars.first(b"x"), Some(&text("hi")));
        assert_eq!(bench.run_args(&MODULE, "get_body_part_raw", &args("text/plain")), 1);
        assert_eq!(bench.context.vars.first(b"x"), Some(&text("--b\r\nContent-Type: text/plain\r\n\r\nhi")));
        assert_eq!(bench.run_args(&MODULE, "get_body_part", &args("image/png")), -1);
    }
}
