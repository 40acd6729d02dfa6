//! Session descriptions: streams and codecs asked for and taken out (RFC 8866, RFC 3264).

mod variable;
mod walk;

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Call, Function, Level, Module, Outcome, Param, ParamKind, Routes, Value};
use sip_message::sdp::{Media, Session};
use sip_message::{Limits, Message, Span, multipart};

/// Session descriptions.
pub static MODULE: Module = Module {
    name: "sdpops",
    doc: "Asks about the streams and codecs of a session description, and takes some of them out.",
    functions: &[
        CONTENT,
        GET,
        PRINT,
        WITH_MEDIA,
        WITH_ACTIVE_MEDIA,
        REMOVE_MEDIA,
        WITH_TRANSPORT,
        WITH_TRANSPORT_LIKE,
        REMOVE_TRANSPORT,
        TRANSPORT,
        REMOVE_BY_ID,
        REMOVE_BY_NAME,
        KEEP_BY_ID,
        KEEP_BY_NAME,
        REMOVE_LINES,
        GET_LINE,
        WITH_ICE,
        ADDRESS_FAMILY,
        WITH_BY_ID,
        WITH_BY_NAME,
        walk::START,
        walk::NEXT,
        walk::END,
        walk::REMOVE,
        walk::APPEND,
        walk::INSERT,
    ],
    variables: &[variable::SDP, walk::VALUE],
    ..Module::EMPTY
};

const KIND: &[Param] = &[Param::required("kind", ParamKind::Format)];
const PROTOCOL: &[Param] = &[Param::required("transport", ParamKind::Format)];
const CODECS: &[Param] = &[Param::required("codecs", ParamKind::Format), Param::optional("kind", ParamKind::Format)];

const CONTENT: Function = Function {
    run: |call| description(&call.context.message).is_some().into(),
    ..function("sdp_content", &[], "True when the message has a session description.", "if (!sdp_content()) exit;")
};

const GET: Function = Function {
    run: |call| {
        let message = Arc::clone(&call.context.message);
        let Some(Description { text, .. }) = description(&message) else { return Outcome::FALSE };
        write(call, Value::Str(Bytes::copy_from_slice(text)))
    },
    ..function(
        "sdp_get",
        &[Param::required("variable", ParamKind::Output)],
        "Puts the session description as it came into a variable. False when there is none.",
        "if (sdp_get(\"$avp(sdp)\")) xlog(\"$avp(sdp)\\n\");",
    )
};

const PRINT: Function = Function {
    run: |call| {
        let message = Arc::clone(&call.context.message);
        let Some(Description { text, .. }) = description(&message) else { return Outcome::FALSE };
        let level = match call.int(0).unwrap_or(0) {
            ..=-1 => Level::Error,
            0 => Level::Warning,
            1 => Level::Notice,
            2 => Level::Info,
            _ => Level::Debug,
        };
        call.host.log(level, text);
        Outcome::TRUE
    },
    ..function(
        "sdp_print",
        &[Param::required("level", ParamKind::Int)],
        "Writes the session description to the log: -1 as an error, 0 as a warning, 1 a notice, 2 for information, 3 for \
         debugging. False when there is none.",
        "sdp_print(\"1\");",
    )
};

const WITH_MEDIA: Function = Function {
    run: |call| with_media(call, is_kind),
    ..function(
        "sdp_with_media",
        KIND,
        "True when there is a stream of that kind.",
        "if (sdp_with_media(\"video\")) exit;",
    )
};

const WITH_ACTIVE_MEDIA: Function = Function {
    run: |call| {
        with_media(call, |media, wanted| {
            is_kind(media, wanted) && media.port != 0 && media.attribute("inactive").is_none()
        })
    },
    ..function(
        "sdp_with_active_media",
        KIND,
        "True when there is a stream of that kind that is neither refused nor inactive.",
        "if (sdp_with_active_media(\"audio\")) xlog(\"they talk\\n\");",
    )
};

const REMOVE_MEDIA: Function = Function {
    run: |call| remove_media(call, is_kind),
    ..function(
        "sdp_remove_media",
        KIND,
        "Takes out every stream of that kind. False when there is none.",
        "sdp_remove_media(\"video\");",
    )
};

const WITH_TRANSPORT: Function = Function {
    run: |call| with_media(call, |media, wanted| media.protocol.eq_ignore_ascii_case(wanted)),
    ..function(
        "sdp_with_transport",
        PROTOCOL,
        "True when a stream has that transport.",
        "if (sdp_with_transport(\"RTP/SAVP\")) xlog(\"encrypted\\n\");",
    )
};

const WITH_TRANSPORT_LIKE: Function = Function {
    run: |call| {
        with_media(call, |media, wanted| {
            let protocol = media.protocol.to_ascii_uppercase();
            let wanted = wanted.to_ascii_uppercase();
            wanted.is_empty() || protocol.windows(wanted.len()).any(|part| part == wanted)
        })
    },
    ..function(
        "sdp_with_transport_like",
        PROTOCOL,
        "True when the text is part of the transport of a stream.",
        "if (sdp_with_transport_like(\"SAVP\")) xlog(\"encrypted\\n\");",
    )
};

const REMOVE_TRANSPORT: Function = Function {
    run: |call| remove_media(call, |media, wanted| media.protocol.eq_ignore_ascii_case(wanted)),
    ..function(
        "sdp_remove_transport",
        PROTOCOL,
        "Takes out every stream of that transport. False when there is none.",
        "sdp_remove_transport(\"RTP/AVP\");",
    )
};

const TRANSPORT: Function = Function {
    run: |call| {
        let message = Arc::clone(&call.context.message);
        let found = session(&message).and_then(|session| session.media().next());
        let Some(media) = found else { return Outcome::FALSE };
        write(call, Value::Str(Bytes::copy_from_slice(media.protocol)))
    },
    ..function(
        "sdp_transport",
        &[Param::required("variable", ParamKind::Output)],
        "Puts the transport of the first stream into a variable. False when there is none.",
        "sdp_transport(\"$var(transport)\");",
    )
};

const WITH_BY_ID: Function = Function {
    run: |call| with_codec(call, |codec, list| list.contains(&codec.id)),
    ..function(
        "sdp_with_codecs_by_id",
        &[Param::required("codecs", ParamKind::Format)],
        "True when one of the codecs is there, by their payload types.",
        "if (!sdp_with_codecs_by_id(\"0,8\")) send_reply(\"488\", \"No Common Codec\");",
    )
};

const WITH_BY_NAME: Function = Function {
    run: |call| with_codec(call, |codec, list| codec.is_named(list)),
    ..function(
        "sdp_with_codecs_by_name",
        &[Param::required("codecs", ParamKind::Format)],
        "True when one of the codecs is there, by their names.",
        "if (!sdp_with_codecs_by_name(\"PCMU,PCMA\")) send_reply(\"488\", \"No Common Codec\");",
    )
};

const REMOVE_BY_ID: Function = Function {
    run: |call| codecs(call, |codec, list| list.contains(&codec.id)),
    ..function(
        "sdp_remove_codecs_by_id",
        CODECS,
        "Takes codecs out of each stream, or out of those of one kind, by their payload types. A stream that has no other is \
         refused with port 0. False when none was there.",
        "sdp_remove_codecs_by_id(\"18,3\", \"audio\");",
    )
};

const REMOVE_BY_NAME: Function = Function {
    run: |call| codecs(call, |codec, list| codec.is_named(list)),
    ..function(
        "sdp_remove_codecs_by_name",
        CODECS,
        "As sdp_remove_codecs_by_id(), by their names.",
        "sdp_remove_codecs_by_name(\"G729,GSM\");",
    )
};

const KEEP_BY_ID: Function = Function {
    run: |call| codecs(call, |codec, list| !list.contains(&codec.id)),
    ..function(
        "sdp_keep_codecs_by_id",
        CODECS,
        "Takes all codecs but these out, by their payload types, as sdp_remove_codecs_by_id() does.",
        "sdp_keep_codecs_by_id(\"0,8,101\", \"audio\");",
    )
};

const KEEP_BY_NAME: Function = Function {
    run: |call| codecs(call, |codec, list| !codec.is_named(list)),
    ..function(
        "sdp_keep_codecs_by_name",
        CODECS,
        "Takes all codecs but these out, by their names, as sdp_remove_codecs_by_id() does.",
        "sdp_keep_codecs_by_name(\"PCMU,PCMA,telephone-event\", \"audio\");",
    )
};

const REMOVE_LINES: Function = Function {
    run: |call| {
        let (prefix, kind) = (call.text(0), call.text(1));
        let message = Arc::clone(&call.context.message);
        let Some(session) = session(&message) else { return Outcome::FALSE };
        let has_prefix = |span: Span| message.bytes()[span.start as usize..span.end as usize].starts_with(&prefix);
        let spans: Vec<Span> = if kind.is_empty() {
            session.lines().map(|line| line.span).filter(|span| has_prefix(*span)).collect()
        } else {
            let of_kind = session.media().filter(|media| is_kind(media, &kind));
            let lines = of_kind.flat_map(|media| media.lines().map(|line| line.span).collect::<Vec<_>>());
            lines.filter(|span| has_prefix(*span)).collect()
        };
        remove(call, &spans)
    },
    ..function(
        "sdp_remove_line_by_prefix",
        &[Param::required("prefix", ParamKind::Format), Param::optional("kind", ParamKind::Format)],
        "Takes out every line that begins with the text, or those of streams of one kind. False when there is none.",
        "sdp_remove_line_by_prefix(\"a=candidate\");",
    )
};

const GET_LINE: Function = Function {
    run: |call| {
        let prefix = call.text(1);
        let message = Arc::clone(&call.context.message);
        let Some(Description { text, .. }) = description(&message) else { return Outcome::FALSE };
        let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
        match lines.find(|line| line.starts_with(&prefix)) {
            Some(line) => write(call, Value::Str(Bytes::copy_from_slice(line))),
            None => Outcome::FALSE,
        }
    },
    ..function(
        "sdp_get_line_startswith",
        &[Param::required("variable", ParamKind::Output), Param::required("prefix", ParamKind::Format)],
        "Puts the first line that begins with the text into a variable. False when there is none.",
        "if (sdp_get_line_startswith(\"$avp(m)\", \"m=\")) xlog(\"$avp(m)\\n\");",
    )
};

const WITH_ICE: Function = Function {
    run: |call| {
        let message = Arc::clone(&call.context.message);
        let Some(session) = session(&message) else { return Outcome::FALSE };
        session.lines().any(|line| line.kind == b'a' && line.value.starts_with(b"candidate:")).into()
    },
    ..function(
        "sdp_with_ice",
        &[],
        "True when the description has candidates for ICE (RFC 8839).",
        "if (sdp_with_ice()) xlog(\"ICE\\n\");",
    )
};

const ADDRESS_FAMILY: Function = Function {
    run: |call| {
        let message = Arc::clone(&call.context.message);
        let first = session(&message).and_then(|session| session.connections().next());
        match first.map(|connection| connection.address_type) {
            Some(b"IP4") => Outcome::Value(4),
            Some(b"IP6") => Outcome::Value(6),
            _ => Outcome::FALSE,
        }
    },
    ..function(
        "sdp_get_address_family",
        &[],
        "4 or 6, as the first connection address is of IPv4 or IPv6; false when there is none.",
        "sdp_get_address_family();",
    )
};

const fn function(name: &'static str, params: &'static [Param], doc: &'static str, example: &'static str) -> Function {
    Function { name, params, routes: Routes::ANY, doc, example, run: |_| Outcome::FALSE }
}

/// The session description of a message, alone or a part of its body.
struct Description<'a> {
    text: &'a [u8],
    start: u32,
}

fn description(message: &Message) -> Option<Description<'_>> {
    let part = multipart::find(message, "application/sdp", &Limits::default()).ok()??;
    (!part.body_span.is_empty()).then(|| Description { text: part.body(), start: part.body_span.start })
}

fn session(message: &Message) -> Option<Session<'_>> {
    let Description { text, start } = description(message)?;
    Session::parse(text, start).ok()
}

fn is_kind(media: &Media<'_>, wanted: &[u8]) -> bool {
    media.kind.eq_ignore_ascii_case(wanted)
}

fn with_media(call: &Call<'_>, is_it: fn(&Media<'_>, &[u8]) -> bool) -> Outcome {
    let wanted = call.text(0);
    session(&call.context.message).is_some_and(|session| session.media().any(|media| is_it(&media, &wanted))).into()
}

fn remove_media(call: &mut Call<'_>, is_it: fn(&Media<'_>, &[u8]) -> bool) -> Outcome {
    let wanted = call.text(0);
    let message = Arc::clone(&call.context.message);
    let Some(session) = session(&message) else { return Outcome::FALSE };
    let whole = |media: Media<'_>| {
        let end = media.lines().last().map_or(media.line.span.end, |line| line.span.end);
        Span { start: media.line.span.start, end }
    };
    let spans: Vec<Span> = session.media().filter(|media| is_it(media, &wanted)).map(whole).collect();
    remove(call, &spans)
}

fn remove(call: &mut Call<'_>, spans: &[Span]) -> Outcome {
    for span in spans {
        call.context.edits.remove(*span);
    }
    (!spans.is_empty()).into()
}

/// One format of a stream.
struct Codec<'a> {
    id: &'a [u8],
    name: &'a [u8],
}

impl Codec<'_> {
    fn is_named(&self, list: &[&[u8]]) -> bool {
        list.iter().any(|item| item.eq_ignore_ascii_case(self.name))
    }
}

/// Payload types whose codec needs no `a=rtpmap` (RFC 3551 section 6).
const STATIC: &[(&[u8], &[u8])] = &[
    (b"0", b"PCMU"),
    (b"3", b"GSM"),
    (b"4", b"G723"),
    (b"5", b"DVI4"),
    (b"7", b"LPC"),
    (b"8", b"PCMA"),
    (b"9", b"G722"),
    (b"13", b"CN"),
    (b"15", b"G728"),
    (b"18", b"G729"),
    (b"26", b"JPEG"),
    (b"31", b"H261"),
    (b"32", b"MPV"),
    (b"34", b"H263"),
];

fn name_of<'a>(media: &Media<'a>, id: &[u8]) -> &'a [u8] {
    let maps = media.attributes().filter(|attribute| attribute.name == b"rtpmap").filter_map(|map| map.value);
    let named = maps.filter_map(|value| {
        let at = value.iter().position(|byte| *byte == b' ')?;
        let name = value[at + 1..].split(|byte| *byte == b'/').next()?;
        (&value[..at] == id).then_some(name.trim_ascii())
    });
    let mut named = named;
    let known = || STATIC.iter().find(|(own, _)| *own == id).map(|(_, name)| *name);
    named.next().or_else(known).unwrap_or_default()
}

fn with_codec(call: &Call<'_>, is_it: fn(&Codec<'_>, &[&[u8]]) -> bool) -> Outcome {
    let list = call.text(0);
    let list: Vec<&[u8]> = list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).collect();
    let Some(session) = session(&call.context.message) else { return Outcome::FALSE };
    let has = |media: Media<'_>| {
        let mut ids = media.formats.split(|byte| *byte == b' ').filter(|id| !id.is_empty());
        ids.any(|id| is_it(&Codec { id, name: name_of(&media, id) }, &list))
    };
    session.media().any(has).into()
}

/// Takes out the codecs for which `goes` holds. Each by its own span, so that what several calls take out adds up.
fn codecs(call: &mut Call<'_>, goes: fn(&Codec<'_>, &[&[u8]]) -> bool) -> Outcome {
    let (list, kind) = (call.text(0), call.text(1));
    let list: Vec<&[u8]> = list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).collect();
    let message = Arc::clone(&call.context.message);
    let Some(session) = session(&message) else { return Outcome::FALSE };
    let mut is_changed = false;
    for media in session.media().filter(|media| kind.is_empty() || is_kind(media, &kind)) {
        let going: Vec<&[u8]> = media
            .formats
            .split(|byte| *byte == b' ')
            .filter(|id| !id.is_empty() && goes(&Codec { id, name: name_of(&media, id) }, &list))
            .collect();
        if going.is_empty() {
            continue;
        }
        is_changed = true;
        if media.formats.split(|byte| *byte == b' ').all(|id| id.is_empty() || going.contains(&id)) {
            // A stream needs a format; one without any is refused (RFC 3264 section 6).
            call.context.edits.replace(media.port_span, "0");
            continue;
        }
        for span in format_spans(&media, &going) {
            call.context.edits.remove(span);
        }
    }
    is_changed.into()
}

/// Where formats stand: each in the `m=` line with the space before it, and the attributes that are about it.
fn format_spans(media: &Media<'_>, going: &[&[u8]]) -> Vec<Span> {
    let mut spans = Vec::new();
    let value = media.line.value;
    let mut at = value.len() - media.formats.len().min(value.len());
    for id in media.formats.split(|byte| *byte == b' ') {
        if going.contains(&id) {
            spans.push(Span::new(at - 1, at + id.len()).shifted(media.line.value_span.start));
        }
        at += id.len() + 1;
    }
    for attribute in media.attributes() {
        let is_about = matches!(attribute.name, b"rtpmap" | b"fmtp" | b"rtcp-fb");
        let id = attribute.value.and_then(|value| value.split(|byte| *byte == b' ').next()).unwrap_or_default();
        if is_about && going.contains(&id) {
            spans.push(attribute.line.span);
        }
    }
    spans
}

fn write(call: &mut Call<'_>, value: Value) -> Outcome {
    match call.write_output(0, value) {
        Ok(()) => Outcome::TRUE,
        Err(fault) => Outcome::Fail(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::MODULE;
    use crate::testing::{Bench, INVITE, text, variable};
    use module_api::Arg;

    const BODY: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
                        m=audio 5004 RTP/AVP 0 18 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=fmtp:18 annexb=no\r\n\
                        m=video 5006 RTP/SAVP 96\r\na=rtpmap:96 H264/90000\r\na=inactive\r\n";

    fn bench() -> Bench {
        let head = format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n", BODY.len());
        Bench::new(&(INVITE.replace("Content-Length: 0\r\n\r\n", &head) + BODY))
    }

    fn changed(calls: &[(&str, &[&str])]) -> (i64, String) {
        let mut bench = bench();
        let code = calls.iter().map(|(function, args)| bench.run(&MODULE, function, args)).last().unwrap_or(0);
        let written = bench.written();
        let (head, body) = written.split_once("\r\n\r\n").expect("a message has a body");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        (code, body.to_owned())
    }

    #[test]
    fn streams_are_asked_for() {
        for (function, argument, code) in [
            ("sdp_with_media", "video", 1),
            ("sdp_with_media", "image", -1),
            ("sdp_with_active_media", "audio", 1),
            ("sdp_with_active_media", "video", -1),
            ("sdp_with_transport", "rtp/savp", 1),
            ("sdp_with_transport", "SAVP", -1),
            ("sdp_with_transport_like", "SAVP", 1),
        ] {
            assert_eq!(bench().run(&MODULE, function, &[argument]), code, "{function} {argument}");
            assert_eq!(Bench::invite().run(&MODULE, function, &[argument]), -1, "{function}");
        }
        assert_eq!(bench().run(&MODULE, "sdp_content", &[]), 1);
        assert_eq!(Bench::invite().run(&MODULE, "sdp_content", &[]), -1);
        assert_eq!(bench().run(&MODULE, "sdp_with_ice", &[]), -1);
        assert_eq!(bench().run(&MODULE, "sdp_get_address_family", &[]), 4);
    }

    #[test]
    fn codecs_are_taken_out_with_what_is_about_them() {
        let (code, body) = changed(&[("sdp_remove_codecs_by_name", &["g729"])]);
        assert_eq!(code, 1);
        assert!(body.contains("m=audio 5004 RTP/AVP 0 101\r\n") && !body.contains("fmtp:18"), "{body}");
        let twice: &[(&str, &[&str])] =
            &[("sdp_remove_codecs_by_id", &["18"]), ("sdp_remove_codecs_by_name", &["telephone-event", "audio"])];
        let (_, body) = changed(twice);
        assert!(body.contains("m=audio 5004 RTP/AVP 0\r\nm=video 5006"), "{body}");
        let (_, body) = changed(&[("sdp_keep_codecs_by_name", &["PCMU, telephone-event", "audio"])]);
        assert!(body.contains("m=audio 5004 RTP/AVP 0 101\r\n") && body.contains("m=video 5006 RTP/SAVP 96"), "{body}");
        assert_eq!(changed(&[("sdp_remove_codecs_by_id", &["3"])]), (-1, BODY.to_owned()));
    }

    #[test]
    fn a_stream_without_codecs_is_refused() {
        let (code, body) = changed(&[("sdp_keep_codecs_by_id", &["0"])]);
        assert_eq!(code, 1);
        assert!(body.contains("m=audio 5004 RTP/AVP 0\r\n") && body.contains("m=video 0 RTP/SAVP 96\r\n"), "{body}");
    }

    #[test]
    fn streams_and_lines_are_taken_out() {
        let (_, body) = changed(&[("sdp_remove_media", &["audio"])]);
        assert!(!body.contains("m=audio") && !body.contains("fmtp") && body.contains("t=0 0\r\nm=video"), "{body}");
        let (_, body) = changed(&[("sdp_remove_transport", &["RTP/SAVP"])]);
        assert!(body.ends_with("a=fmtp:18 annexb=no\r\n"), "{body}");
        let (_, body) = changed(&[("sdp_remove_line_by_prefix", &["a=fmtp"])]);
        assert!(!body.contains("fmtp") && body.contains("a=rtpmap:101"), "{body}");
        assert_eq!(changed(&[("sdp_remove_line_by_prefix", &["a=fmtp", "video"])]).0, -1);
    }

    #[test]
    fn lines_and_the_whole_are_read_into_variables() {
        let mut bench = bench();
        assert_eq!(bench.run_args(&MODULE, "sdp_get_line_startswith", &[variable("x"), Arg::Value(text("m=v"))]), 1);
        assert_eq!(bench.context.vars.first(b"x"), Some(&text("m=video 5006 RTP/SAVP 96")));
        assert_eq!(bench.run_args(&MODULE, "sdp_transport", &[variable("x")]), 1);
        assert_eq!(bench.context.vars.first(b"x"), Some(&text("RTP/AVP")));
        assert_eq!(bench.run_args(&MODULE, "sdp_get", &[variable("x")]), 1);
        assert_eq!(bench.context.vars.first(b"x"), Some(&text(BODY)));
        assert_eq!(bench.run(&MODULE, "sdp_print", &["1"]), 1);
        assert_eq!(bench.host.logged.len(), 1);
    }

    #[test]
    fn one_of_the_codecs_is_enough() {
        // As Kamailio 5.6.3 answers.
        for (function, codecs, code) in [
            ("sdp_with_codecs_by_name", "PCMU,foo", 1),
            ("sdp_with_codecs_by_name", "pcmu", 1),
            ("sdp_with_codecs_by_name", "foo", -1),
            ("sdp_with_codecs_by_id", "0,3", 1),
            ("sdp_with_codecs_by_id", "3", -1),
        ] {
            assert_eq!(bench().run(&MODULE, function, &[codecs]), code, "{codecs}");
        }
    }

    #[test]
    fn parts_of_the_description_are_variables() {
        let mut bench = bench();
        for (key, expected) in [
            ("body", BODY),
            ("sess_version", "1"),
            ("o:ip", "192.0.2.9"),
            ("c:ip", "192.0.2.9"),
            ("c:af", "IP4"),
            ("m1:raw", "m=video 5006 RTP/SAVP 96"),
            ("m0:rtp:port", "5004"),
            ("m0:rtcp:port", "5005"),
            ("m0:b:AS", ""),
            ("m2:raw", ""),
            ("mx:raw", ""),
        ] {
            assert_eq!(bench.read(&MODULE, "sdp", Some(key)).to_bytes(), expected, "{key}");
        }
        bench.write(&MODULE, "sdp", Some("sess_version"), module_api::Value::Int(-1));
        assert!(bench.written().contains("o=- 1 2 IN IP4 192.0.2.9\r\n"), "{}", bench.written());
    }

    #[test]
    fn a_walk_changes_lines() {
        let mut bench = bench();
        assert_eq!(bench.run(&MODULE, "sdp_iterator_next", &["i"]), -1);
        assert_eq!(bench.run(&MODULE, "sdp_iterator_start", &["i"]), 1);
        assert_eq!(bench.run(&MODULE, "sdp_iterator_rm", &["i"]), -1);
        let mut lines = 0;
        while bench.run(&MODULE, "sdp_iterator_next", &["i"]) == 1 {
            lines += 1;
            let line = bench.read(&MODULE, "sdpitval", Some("i")).to_bytes();
            if line.starts_with(b"a=fmtp") {
                assert_eq!(bench.run(&MODULE, "sdp_iterator_rm", &["i"]), 1);
            } else if line.starts_with(b"a=inactive") {
                bench.run(&MODULE, "sdp_iterator_append", &["i", "a=mid:1\r\n"]);
                bench.run(&MODULE, "sdp_iterator_insert", &["i", "a=ptime:20\r\n"]);
            }
        }
        assert_eq!((lines, bench.run(&MODULE, "sdp_iterator_next", &["i"])), (BODY.lines().count(), -1));
        assert_eq!(
            (1, -1),
            (bench.run(&MODULE, "sdp_iterator_end", &["i"]), bench.run(&MODULE, "sdp_iterator_end", &["i"]))
        );
        let written = bench.written();
        assert!(!written.contains("fmtp") && written.ends_with("a=ptime:20\r\na=inactive\r\na=mid:1\r\n"), "{written}");
    }
}
