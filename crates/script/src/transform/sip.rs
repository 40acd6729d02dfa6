//! Transformations that take SIP texts apart: `{uri...}`, `{nameaddr...}`, `{tobody...}`, `{param...}`, `{url...}`.

use bytes::Bytes;
use module_api::Value;
use sip_message::{NameAddr, Uri};

use super::{Operation, argument, number, op, piece};

pub(super) const OPERATIONS: &[Operation] = &[
    op("uri.user", 0, 0, |text, _| uri(text, |uri| uri.user)),
    op("uri.passwd", 0, 0, |text, _| uri(text, |uri| uri.password)),
    op("uri.host", 0, 0, |text, _| uri(text, |uri| Some(uri.host_text))),
    op("uri.domain", 0, 0, |text, _| uri(text, |uri| Some(uri.host_text))),
    op("uri.port", 0, 0, |text, _| match Uri::parse(text) {
        Ok(Uri { port: Some(port), .. }) => Value::Int(port.into()),
        _ => Value::from_static(""),
    }),
    op("uri.scheme", 0, 0, |text, _| {
        let end = text.iter().position(|byte| *byte == b':').unwrap_or(0);
        piece(text, &text[..end])
    }),
    op("uri.params", 0, 0, |text, _| piece(text, uri_params(text))),
    op("uri.headers", 0, 0, |text, _| {
        let start = text.iter().position(|byte| *byte == b'?').map_or(text.len(), |at| at + 1);
        piece(text, &text[start..])
    }),
    op("uri.param", 1, 1, |text, args| uri_param(text, argument(args, 0))),
    op("uri.transport", 0, 0, |text, _| uri_param(text, b"transport")),
    op("uri.ttl", 0, 0, |text, _| uri_param(text, b"ttl")),
    op("uri.maddr", 0, 0, |text, _| uri_param(text, b"maddr")),
    op("uri.method", 0, 0, |text, _| uri_param(text, b"method")),
    op("uri.uparam", 0, 0, |text, _| uri_param(text, b"user")),
    op("uri.lr", 0, 0, |text, _| uri_param(text, b"lr")),
    op("uri.r2", 0, 0, |text, _| uri_param(text, b"r2")),
    op("uri.saor", 0, 0, |text, _| short(text, true, false)),
    op("uri.suri", 0, 0, |text, _| short(text, true, true)),
    op("uri.duri", 0, 0, |text, _| short(text, false, true)),
    op("nameaddr.uri", 0, 0, |text, _| piece(text, name_addr(text))),
    op("nameaddr.name", 0, 0, |text, _| piece(text, display_name(text))),
    op("nameaddr.len", 0, 0, |text, _| Value::Int((text.len() - header_params(text).len()) as i64)),
    op("tobody.uri", 0, 0, |text, _| piece(text, name_addr(text))),
    op("tobody.display", 0, 0, |text, _| piece(text, display_name(text))),
    op("tobody.user", 0, 0, |text, _| uri(&text.slice_ref(name_addr(text)), |uri| uri.user)),
    op("tobody.host", 0, 0, |text, _| uri(&text.slice_ref(name_addr(text)), |uri| Some(uri.host_text))),
    op("tobody.params", 0, 0, |text, _| piece(text, header_params(text))),
    op("tobody.tag", 0, 0, |text, _| param_value(text, header_params(text), b"tag", b';')),
    op("param.value", 1, 2, |text, args| param_value(text, text, argument(args, 0), separator(args, 1))),
    op("param.in", 1, 2, |text, args| {
        let mut all = params(text, separator(args, 1));
        Value::Int(i64::from(all.any(|(name, _)| name == argument(args, 0))))
    }),
    op("param.valueat", 1, 2, |text, args| match param_at(text, args) {
        Some((_, value)) => piece(text, value.unwrap_or(&[])),
        None => Value::from_static(""),
    }),
    op("param.name", 1, 2, |text, args| match param_at(text, args) {
        Some((name, _)) => piece(text, name),
        None => Value::from_static(""),
    }),
    op("param.count", 0, 1, |text, args| Value::Int(params(text, separator(args, 0)).count() as i64)),
    op("url.path", 0, 0, |text, _| piece(text, text.split(|byte| *byte == b'?').next().unwrap_or(&[]))),
    op("url.querystring", 0, 0, |text, _| {
        let start = text.iter().position(|byte| *byte == b'?').map_or(text.len(), |at| at + 1);
        piece(text, &text[start..])
    }),
];

/// A part of a URI; empty when it is absent or the URI cannot be read.
fn uri(text: &Bytes, part: impl for<'a> Fn(&Uri<'a>) -> Option<&'a [u8]>) -> Value {
    let parsed = Uri::parse(text);
    match parsed.ok().and_then(|uri| part(&uri)) {
        Some(found) => piece(text, found),
        None => Value::from_static(""),
    }
}

/// What stands between the host and the headers, without the first semicolon.
fn uri_params(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| *byte == b'?').unwrap_or(text.len());
    // A semicolon before the `@` belongs to the user.
    let host = text[..end].iter().position(|byte| *byte == b'@').unwrap_or(0);
    let start = text[host..end].iter().position(|byte| *byte == b';').map_or(end, |at| host + at + 1);
    &text[start..end]
}

fn uri_param(text: &Bytes, name: &[u8]) -> Value {
    param_value(text, uri_params(text), name, b';')
}

/// A URI cut down to scheme and host, with the user, and with port and transport, where they are asked for.
fn short(text: &Bytes, has_user: bool, has_place: bool) -> Value {
    let Ok(uri) = Uri::parse(text) else { return Value::from_static("") };
    let scheme = text.iter().position(|byte| *byte == b':').unwrap_or(0);
    let mut out = text[..scheme].to_vec();
    out.push(b':');
    if let Some(user) = uri.user.filter(|_| has_user) {
        out.extend_from_slice(user);
        out.push(b'@');
    }
    out.extend_from_slice(uri.host_text);
    if let Some(port) = uri.port.filter(|_| has_place) {
        out.extend_from_slice(format!(":{port}").as_bytes());
    }
    if let Some(transport) = uri.transport().filter(|_| has_place) {
        out.extend_from_slice(format!(";transport={}", transport.uri_param()).as_bytes());
    }
    Value::Str(out.into())
}

fn name_addr(text: &[u8]) -> &[u8] {
    NameAddr::parse(text).map_or(&[], |address| address.uri)
}

/// The text before `<`, as it stands.
fn display_name(text: &[u8]) -> &[u8] {
    let bracket = unquoted(text, b'<').unwrap_or(0);
    text[..bracket].trim_ascii()
}

/// The parameters behind the address, without the first semicolon.
fn header_params(text: &[u8]) -> &[u8] {
    let start = match unquoted(text, b'<') {
        Some(open) => text[open..].iter().position(|byte| *byte == b'>').map_or(text.len(), |at| open + at),
        None => 0,
    };
    let params = text[start..].iter().position(|byte| *byte == b';').map_or(text.len(), |at| start + at + 1);
    &text[params..]
}

/// Where `wanted` first stands outside of quotes.
fn unquoted(text: &[u8], wanted: u8) -> Option<usize> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            byte if *byte == wanted && !is_quoted => return Some(at),
            _ => {}
        }
    }
    None
}

fn separator(args: &[Bytes], n: usize) -> u8 {
    argument(args, n).first().copied().unwrap_or(b';')
}

/// Name and value of each item of a list; quotes protect separators and are not part of the value.
fn params(text: &[u8], separator: u8) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let end = unquoted(rest, separator).unwrap_or(rest.len());
            let item = rest[..end].trim_ascii();
            rest = rest.get(end + 1..).unwrap_or(&[]);
            if item.is_empty() {
                continue;
            }
            return Some(match item.iter().position(|byte| *byte == b'=') {
                Some(at) => (item[..at].trim_ascii(), Some(unquote(item[at + 1..].trim_ascii()))),
                None => (item, None),
            });
        }
        None
    })
}

fn unquote(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text)
}

fn param_value(whole: &Bytes, list: &[u8], name: &[u8], separator: u8) -> Value {
    match params(list, separator).find(|(found, _)| found.eq_ignore_ascii_case(name)) {
        Some((_, value)) => piece(whole, value.unwrap_or(&[])),
        None => Value::from_static(""),
    }
}

fn param_at<'a>(text: &'a [u8], args: &[Bytes]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let all: Vec<_> = params(text, separator(args, 1)).collect();
    let index = number(args, 0);
    let index = if index < 0 { (all.len() as i64).checked_add(index)? } else { index };
    all.get(usize::try_from(index).ok()?).copied()
}
