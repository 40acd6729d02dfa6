//! The message itself: start line, single-valued headers, body.

use module_api::{Call, Fault, Selector, Value, Variable};
use sip_message::{HeaderName, Message, NameAddr};

use super::{copied, plain, text};

pub(super) const CALL_ID: Variable =
    plain("ci", "The Call-ID.", "xlog(\"$ci\\n\");", |call, _| copied(Some(call.context.message.call_id())));
pub(super) const CSEQ: Variable = plain("cs", "The number of CSeq.", "xlog(\"$cs\\n\");", |call, _| {
    call.context.message.cseq().map_or(Value::Null, |cseq| Value::Int(cseq.number.into()))
});
pub(super) const CSEQ_BODY: Variable = plain("csb", "The value of CSeq.", "xlog(\"$csb\\n\");", |call, _| {
    copied(call.context.message.value(HeaderName::CSeq))
});
pub(super) const METHOD: Variable =
    plain("rm", "The method; of a reply the one of its CSeq.", "if ($rm == \"INVITE\") exit;", |call, _| {
        copied(Some(call.context.message.method_text()))
    });
pub(super) const STATUS: Variable =
    plain("rs", "The status code of a reply; undefined for a request.", "if ($rs == 183) exit;", |call, _| {
        call.context.message.status().map_or(Value::Null, |code| Value::Int(code.into()))
    });
pub(super) const STATUS_NUMBER: Variable = Variable { name: "rsi", ..STATUS };
pub(super) const REFER_TO: Variable =
    plain("rt", "The URI of Refer-To (RFC 3515).", "xlog(\"transferred to $rt\\n\");", |call, _| {
        let value = call.context.message.headers_with_name(b"Refer-To").next();
        let address = value.and_then(|header| NameAddr::parse(header.value).ok());
        address.map_or(Value::Null, |address| copied(Some(address.uri)))
    });
pub(super) const REASON: Variable = plain("rr", "The reason phrase of a reply.", "xlog(\"$rs $rr\\n\");", |call, _| {
    let message = &call.context.message;
    copied((!message.is_request()).then(|| message.reason()))
});
pub(super) const VERSION: Variable =
    plain("rv", "The protocol version of the start line.", "xlog(\"$rv\\n\");", |_, _| Value::from_static("SIP/2.0"));
pub(super) const USER_AGENT: Variable =
    plain("ua", "The value of User-Agent.", "if ($ua =~ \"scanner\") drop;", |call, _| {
        copied(call.context.message.value(HeaderName::UserAgent))
    });
pub(super) const CONTENT_TYPE: Variable = plain("cT", "The value of Content-Type.", "xlog(\"$cT\\n\");", |call, _| {
    copied(call.context.message.value(HeaderName::ContentType))
});
pub(super) const CONTENT_LENGTH: Variable =
    plain("cl", "The value of Content-Length.", "if ($cl > 0) exit;", |call, _| {
        let length = call.context.message.content_length();
        length.and_then(|length| i64::try_from(length).ok()).map_or(Value::Null, Value::Int)
    });
pub(super) const BODY: Variable =
    plain("rb", "The body; undefined when there is none.", "xlog(\"$rb\\n\");", |call, _| {
        let message = &call.context.message;
        let span = message.body_span();
        if span.is_empty() { Value::Null } else { Value::Str(message.slice(span)) }
    });
pub(super) const BODY_SIZE: Variable =
    plain("bs", "The length of the body in bytes.", "if ($bs > 0) exit;", |call, _| {
        Value::Int(call.context.message.body().len() as i64)
    });
pub(super) const BUFFER: Variable = plain("mb", "The whole message as it came.", "xlog(\"$mb\\n\");", |call, _| {
    copied(Some(call.context.message.bytes()))
});
pub(super) const LENGTH: Variable =
    plain("ml", "The length of the message in bytes.", "if ($ml > 4096) exit;", |call, _| {
        Value::Int(call.context.message.bytes().len() as i64)
    });
pub(super) const TYPE: Variable = plain("mt", "1 for a request, 2 for a reply.", "if ($mt == 1) exit;", |call, _| {
    Value::Int(if call.context.message.is_request() { 1 } else { 2 })
});
pub(super) const FLAGS: Variable = Variable {
    write: Some(set_flags),
    ..plain("mf", "The message flags as a number.", "xlog(\"$mf\\n\");", |call, _| {
        Value::Int(call.context.flags.into())
    })
};
pub(super) const FLAGS_HEX: Variable = Variable {
    write: Some(set_flags),
    ..plain("mF", "The message flags in hexadecimal.", "xlog(\"$mF\\n\");", |call, _| {
        text(format!("{:08X}", call.context.flags))
    })
};
pub(super) const TYPE_TEXT: Variable =
    plain("mts", "rq for a request, rp for a reply.", "xlog(\"$mts\\n\");", |call, _| {
        Value::from_static(if call.context.message.is_request() { "rq" } else { "rp" })
    });
pub(super) const METHOD_ID: Variable = plain(
    "rmid",
    "The number of the method: INVITE 1, CANCEL 2, ACK 4, BYE 8, INFO 16, REGISTER 32, SUBSCRIBE 64, NOTIFY 128, \
     MESSAGE 256, OPTIONS 512, PRACK 1024, UPDATE 2048, REFER 4096, PUBLISH 8192; others 16384.",
    "xlog(\"$rmid\\n\");",
    |call, _| Value::Int(method_id(call.context.message.method_text())),
);
pub(super) const PARTS: Variable = Variable {
    name: "msg",
    key: module_api::KeyRule::Required,
    doc: "A part of the message: len its length, buf the whole of it, fline the start line, hdrs the headers, body, \
          body_size, hpl the length of the headers with the start line.",
    example: "xlog(\"$msg(len)\\n\");",
    read: |call, selector| parts(&call.context.message, selector.key()),
    ..EXPIRES
};
pub(super) const EXPIRES: Variable = Variable {
    key: module_api::KeyRule::Required,
    ..plain(
        "expires",
        "The shortest (min) or longest (max) time of all contacts, in seconds; undefined when none is given.",
        "if ($expires(max) == 0) exit;",
        |call, selector| {
            let message = &call.context.message;
            let contacts = message.contacts().filter_map(|contact| contact.ok()?.address()?.expires());
            let all = contacts.chain(message.expires());
            let chosen = if selector.key() == b"min" { all.min() } else { all.max() };
            chosen.map_or(Value::Null, |seconds| Value::Int(seconds.into()))
        },
    )
};

fn set_flags(call: &mut Call<'_>, _: &Selector<'_>, value: Value) -> Result<(), Fault> {
    call.context.flags = value.to_int() as u32;
    Ok(())
}

fn method_id(method: &[u8]) -> i64 {
    const KNOWN: [&[u8]; 14] = [
        b"INVITE",
        b"CANCEL",
        b"ACK",
        b"BYE",
        b"INFO",
        b"REGISTER",
        b"SUBSCRIBE",
        b"NOTIFY",
        b"MESSAGE",
        b"OPTIONS",
        b"PRACK",
        b"UPDATE",
        b"REFER",
        b"PUBLISH",
    ];
    1 << KNOWN.iter().position(|known| *known == method).unwrap_or(KNOWN.len())
}

fn parts(message: &Message, name: &[u8]) -> Value {
    let body = message.body_span();
    let line = message.start_line();
    match name {
        b"len" => Value::Int(message.bytes().len() as i64),
        b"buf" => copied(Some(message.bytes())),
        b"fline" => copied(Some(message.text(line).trim_ascii_end())),
        b"hdrs" => copied(Some(&message.bytes()[line.end as usize..body.start as usize])),
        b"body" => Value::Str(message.slice(body)),
        b"body_size" => Value::Int(message.body().len() as i64),
        b"hpl" => Value::Int(body.start.into()),
        b"lpl" => Value::Int(line.end.into()),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, text};

    #[test]
    fn a_request_shows_its_parts() {
        let mut bench = Bench::invite();
        let expected = [
            ("ci", text("3848276298220188511@198.51.100.7")),
            ("cs", Value::Int(1)),
            ("rm", text("INVITE")),
            ("rs", Value::Null),
            ("rr", Value::Null),
            ("ua", Value::Null),
            ("cl", Value::Int(0)),
            ("rb", Value::Null),
            ("mt", Value::Int(1)),
            ("mF", text("00000000")),
            ("mts", text("rq")),
            ("rmid", Value::Int(1)),
        ];
        for (name, value) in expected {
            assert_eq!(bench.read(&MODULE, name, None), value, "{name}");
        }
        assert_eq!(bench.read(&MODULE, "msg", Some("fline")), text("INVITE sip:bob@example.com SIP/2.0"));
        bench.write(&MODULE, "mf", None, Value::Int(3));
        assert_eq!(bench.read(&MODULE, "mF", None), text("00000003"));
    }

    #[test]
    fn a_reply_shows_its_status() {
        let mut bench = Bench::reply("183 Session Progress");
        assert_eq!(bench.read(&MODULE, "rs", None), Value::Int(183));
        assert_eq!(bench.read(&MODULE, "rr", None), text("Session Progress"));
        assert_eq!(bench.read(&MODULE, "mt", None), Value::Int(2));
    }
}
