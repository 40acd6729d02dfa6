//! `$sel(...)` and `@...`: the selects of SER, a path of words into the message and the server.

use bytes::Bytes;
use module_api::calendar;
use module_api::{Call, KeyRule, Routes, Selector, Value, Variable};
use sip_message::{HeaderName, Message, NameAddr, Uri};

use super::header::nth;
use super::target::part;
use super::{copied, text};

pub(super) const SELECT: Variable = Variable {
    name: "sel",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "A value by its path, which SER writes @path: method, ruri, from, to, contact, via, cseq, call_id, src, dst, \
          record_route, route, event, msg with its headers, sys, and cfg_get for settings of the script.",
    example: "if ($sel(contact.uri.params.maddr) != $null) exit;",
    read,
    write: None,
};

/// A word of a path with what stands in brackets behind it.
struct Step<'a> {
    word: &'a str,
    index: Option<i64>,
    name: Option<&'a str>,
}

fn read(call: &mut Call<'_>, selector: &Selector<'_>) -> Value {
    let Ok(path) = std::str::from_utf8(selector.key()) else { return Value::Null };
    let steps = steps(path.trim().trim_start_matches('@'));
    let Some((first, rest)) = steps.split_first() else { return Value::Null };
    let message = &call.context.message;
    let arrival = &call.context.arrival;
    match first.word {
        "method" => copied(Some(message.method_text())),
        "ruri" | "request_uri" => uri(&call.context.target.uri, rest),
        "dst_uri" => call.context.target.destination.clone().into(),
        "next_hop" => uri(call.context.target.destination.as_ref().unwrap_or(&call.context.target.uri), rest),
        "src" => place(arrival.source, arrival.transport.as_str(), rest),
        "dst" => place(arrival.local, arrival.transport.as_str(), rest),
        "msg" => of_message(call, first, rest),
        "sys" => system(call, rest),
        "hf_value" => match rest.split_first() {
            Some((name, rest)) => list_value(message, &header_name(name), name.index, rest),
            None => Value::Null,
        },
        _ => header(message, first, rest),
    }
}

/// Splits a path at its dots; what stands in brackets belongs to the word before.
fn steps(path: &str) -> Vec<Step<'_>> {
    let mut found = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let mut step = Step { word: &rest[..end], index: None, name: None };
        rest = &rest[end..];
        while let Some(inner) = rest.strip_prefix('[') {
            let Some(close) = inner.find(']') else { return found };
            let content = inner[..close].trim();
            match content.parse() {
                Ok(index) => step.index = Some(index),
                Err(_) => step.name = Some(content.trim_matches(['"', '\''])),
            }
            rest = &inner[close + 1..];
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
        found.push(step);
    }
    found
}

fn of_message(call: &Call<'_>, first: &Step<'_>, rest: &[Step<'_>]) -> Value {
    let message = &call.context.message;
    if let Some(name) = first.name {
        return value(message, name, first.index, rest);
    }
    let Some((step, rest)) = rest.split_first() else { return copied(Some(message.bytes())) };
    match step.word {
        "header" | "h" => match (step.name, rest.split_first()) {
            (Some(name), _) => value(message, name, step.index, rest),
            (None, Some((name, rest))) => value(message, &header_name(name), name.index, rest),
            (None, None) => {
                copied(Some(&message.bytes()[message.start_line().end as usize..message.body_span().start as usize]))
            }
        },
        "body" => Value::Str(message.slice(message.body_span())),
        "len" => Value::Int(message.bytes().len() as i64),
        "type" => Value::from_static(if message.is_request() { "request" } else { "reply" }),
        "first_line" => copied(Some(message.text(message.start_line()).trim_ascii_end())),
        "flags" => Value::Int(call.context.flags.into()),
        "request" => match rest.first().map(|step| step.word) {
            _ if !message.is_request() => Value::Null,
            Some("method") => copied(Some(message.method_text())),
            Some("uri") => uri(&message.slice(message.request_uri_span()), &rest[1..]),
            Some("version") => Value::from_static("SIP/2.0"),
            _ => copied(Some(message.text(message.start_line()).trim_ascii_end())),
        },
        "response" => match rest.first().map(|step| step.word) {
            _ if message.is_request() => Value::Null,
            Some("code") => message.status().map_or(Value::Null, |code| Value::Int(code.into())),
            Some("reason") => copied(Some(message.reason())),
            Some("version") => Value::from_static("SIP/2.0"),
            _ => copied(Some(message.text(message.start_line()).trim_ascii_end())),
        },
        _ => header(message, step, rest),
    }
}

/// A header by the word that stands for it, and what follows it in the path.
fn header(message: &Message, step: &Step<'_>, rest: &[Step<'_>]) -> Value {
    match step.word {
        "from" => address(message.address(HeaderName::From).ok(), message.value(HeaderName::From), rest),
        "to" => address(message.address(HeaderName::To).ok(), message.value(HeaderName::To), rest),
        "via" | "v" => via(message, step.index, rest),
        "cseq" => match rest.first().map(|step| step.word) {
            Some("num") => message.cseq().map_or(Value::Null, |cseq| Value::Int(cseq.number.into())),
            Some("method") => copied(Some(message.method_text())),
            _ => copied(message.value(HeaderName::CSeq)),
        },
        _ => value(message, &header_name(step), step.index, rest),
    }
}

/// `record_route` stands for `Record-Route`.
fn header_name(step: &Step<'_>) -> String {
    match step.word {
        "rpid" => "Remote-Party-ID".into(),
        "rr" => "Record-Route".into(),
        "call_id" | "callid" => "Call-ID".into(),
        word => word.replace('_', "-"),
    }
}

/// The value of a header; words behind it go into the address that it holds, or name a parameter.
fn value(message: &Message, name: &str, index: Option<i64>, rest: &[Step<'_>]) -> Value {
    if !rest.is_empty() || index.is_some() {
        return list_value(message, name, index, rest);
    }
    copied(message.headers_with_name(name.as_bytes()).next().map(|header| header.value))
}

fn list_value(message: &Message, name: &str, index: Option<i64>, rest: &[Step<'_>]) -> Value {
    let headers = message.headers_with_name(name.as_bytes());
    let values: Vec<&[u8]> =
        headers.flat_map(|header| header.values().map(|value| value.text).collect::<Vec<_>>()).collect();
    let Some(found) = nth(values.len(), index.unwrap_or(0)).map(|at| values[at]) else { return Value::Null };
    address(NameAddr::parse(found).ok(), Some(found), rest)
}

fn address(address: Option<NameAddr<'_>>, whole: Option<&[u8]>, rest: &[Step<'_>]) -> Value {
    let Some((step, rest)) = rest.split_first() else { return copied(whole) };
    let Some(address) = address else { return Value::Null };
    match step.word {
        "uri" | "nameaddr" if step.word == "uri" || rest.first().is_some_and(|step| step.word == "uri") => {
            let rest = if step.word == "uri" { rest } else { &rest[1..] };
            uri(&Bytes::copy_from_slice(address.uri), rest)
        }
        "name" => copied(Some(&address.display_text())),
        "params" => match rest.first() {
            Some(name) => copied(address.params.value(name.word)),
            None => copied(Some(address.params.text())),
        },
        parameter => copied(address.params.value(parameter)),
    }
}

fn uri(text: &Bytes, rest: &[Step<'_>]) -> Value {
    let Some((step, rest)) = rest.split_first() else { return Value::Str(text.clone()) };
    let parameter = |name: &str| {
        let uri = Uri::parse(text).ok();
        match uri.and_then(|uri| uri.param(name)) {
            Some(value) => copied(Some(value.unwrap_or_default())),
            None => Value::Null,
        }
    };
    match step.word {
        "user" => part(text, |uri| uri.user),
        "pwd" => part(text, |uri| uri.password),
        "host" => part(text, |uri| Some(uri.host_text)),
        "port" => match Uri::parse(text) {
            Ok(Uri { port: Some(port), .. }) => Value::Int(port.into()),
            _ => Value::Null,
        },
        "hostport" => part(text, |uri| {
            let start = text.windows(uri.host_text.len()).position(|found| found.as_ptr() == uri.host_text.as_ptr())?;
            let rest = &text[start..];
            Some(&rest[..rest.iter().position(|byte| matches!(byte, b';' | b'?')).unwrap_or(rest.len())])
        }),
        "type" => copied(text.iter().position(|byte| *byte == b':').map(|colon| &text[..colon])),
        "params" => match rest.first() {
            Some(name) => parameter(name.word),
            None => part(text, |uri| Some(uri.params.text())),
        },
        "transport" => parameter("transport"),
        _ => Value::Null,
    }
}

fn via(message: &Message, index: Option<i64>, rest: &[Step<'_>]) -> Value {
    let all: Vec<_> = message.vias().filter_map(Result::ok).collect();
    let Some(via) = nth(all.len(), index.unwrap_or(0)).map(|at| all[at]) else { return Value::Null };
    match rest {
        [] => copied(Some(message.text(via.span))),
        [step, name, ..] if step.word == "params" => super::via::part(&via, name.word.as_bytes()),
        [step, ..] => match step.word {
            "transport" => copied(Some(via.transport_text)),
            "name" => Value::from_static("SIP"),
            "version" => Value::from_static("2.0"),
            word => super::via::part(&via, word.as_bytes()),
        },
    }
}

fn place(address: std::net::SocketAddr, transport: &'static str, rest: &[Step<'_>]) -> Value {
    match rest.first().map(|step| step.word) {
        Some("ip") => text(address.ip().to_string()),
        Some("port") => Value::Int(address.port().into()),
        Some("proto") => Value::from_static(transport),
        Some("ip_port") => text(address.to_string()),
        None | Some("proto_ip_port") => text(format!("{}:{address}", transport.to_ascii_lowercase())),
        _ => Value::Null,
    }
}

fn system(call: &mut Call<'_>, rest: &[Step<'_>]) -> Value {
    match rest.first().map(|step| step.word) {
        Some("pid") => Value::Int(std::process::id().into()),
        Some("unique") => {
            let (now, number) = (call.host.unix_time(), call.host.random());
            text(format!("{:x}-{number:x}", now.as_secs()))
        }
        Some("now") => {
            let now = call.host.unix_time();
            match rest.get(1).map(|step| step.word) {
                Some("local") => text(calendar::date(&call.local_time())),
                Some("gmt" | "utc") => text(calendar::sip_date(now)),
                _ => Value::Int(now.as_secs() as i64),
            }
        }
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, INVITE, text};

    fn check(path: &str, expected: Value) {
        let lines =
            "Subject: lunch\r\nSupported: path, 100rel\r\nEvent: presence;id=4\r\nX-Own: <sip:x@y;maddr=z>;q=0.5\r\n";
        let mut bench = Bench::new(&INVITE.replace("Subject: lunch\r\n", lines));
        assert_eq!(bench.read(&MODULE, "sel", Some(path)), expected, "{path}");
    }

    #[test]
    fn a_path_leads_into_the_headers() {
        check("method", text("INVITE"));
        check("ruri.user", text("bob"));
        check("from.uri.host", text("example.com"));
        check("@from.tag", text("9fxced76sl"));
        check("to.tag", Value::Null);
        check("cseq.method", text("INVITE"));
        check("cseq.num", Value::Int(1));
        check("contact.uri.port", Value::Int(5070));
        check("contact.uri.params.maddr", Value::Null);
        check("via.branch", text("z9hG4bK77"));
        check("via[0].host", text("198.51.100.7"));
        check("call_id", text("3848276298220188511@198.51.100.7"));
    }

    #[test]
    fn any_header_is_found_by_its_name() {
        check("msg.header.subject", text("lunch"));
        check("msg.supported", text("path, 100rel"));
        check("msg.event", text("presence;id=4"));
        check("msg.header[\"X-Own\"]", text("<sip:x@y;maddr=z>;q=0.5"));
        check("msg[\"X-Own\"].uri.params.maddr", text("z"));
        check("hf_value.x_own.params.q", text("0.5"));
        check("hf_value.supported[1]", text("100rel"));
        check("msg.nothing", Value::Null);
    }

    #[test]
    fn the_way_of_the_message_is_told() {
        check("src.ip", text("198.51.100.7"));
        check("dst.port", Value::Int(5060));
        check("msg.first_line", text("INVITE sip:bob@example.com SIP/2.0"));
        check("msg.request.method", text("INVITE"));
        check("msg.response.code", Value::Null);
    }
}
