//! Transformations for what a value is handed on to: hashes, databases, JSON, sockets.

use md5::{Digest, Md5};
use module_api::Value;
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use sip_message::{Transport, Uri};

use super::{Operation, argument, op, piece};

pub(super) const OPERATIONS: &[Operation] = &[
    op("s.md5", 0, 0, |text, _| hex(&Md5::digest(text))),
    op("s.sha1", 0, 0, |text, _| hex(&Sha1::digest(text))),
    op("s.sha256", 0, 0, |text, _| hex(&Sha256::digest(text))),
    op("s.sha384", 0, 0, |text, _| hex(&Sha384::digest(text))),
    op("s.sha512", 0, 0, |text, _| hex(&Sha512::digest(text))),
    op("s.encode.base58", 0, 0, |text, _| Value::Str(base58(text).into())),
    op("s.decode.base58", 0, 0, |text, _| Value::Str(unbase58(text).into())),
    op("s.escape.crlf", 0, 0, |text, _| {
        let escaped = text.iter().flat_map(|byte| match byte {
            b'\r' => b"\\r".to_vec(),
            b'\n' => b"\\n".to_vec(),
            byte => vec![*byte],
        });
        Value::Str(escaped.collect::<Vec<u8>>().into())
    }),
    op("s.unescape.crlf", 0, 0, |text, _| {
        let mut out = Vec::with_capacity(text.len());
        let mut rest = &text[..];
        while let Some((first, behind)) = rest.split_first() {
            let (byte, taken) = match (first, behind.first()) {
                (b'\\', Some(b'r')) => (b'\r', 2),
                (b'\\', Some(b'n')) => (b'\n', 2),
                _ => (*first, 1),
            };
            out.push(byte);
            rest = &rest[taken..];
        }
        Value::Str(out.into())
    }),
    // RFC 4180 section 2: in quotes, each quote twice.
    op("s.escape.csv", 0, 0, |text, _| {
        let mut out = vec![b'"'];
        for byte in text.iter() {
            out.extend(std::iter::repeat_n(*byte, if *byte == b'"' { 2 } else { 1 }));
        }
        out.push(b'"');
        Value::Str(out.into())
    }),
    op("val.json", 0, 0, |text, _| Value::Str(json(text).into())),
    op("val.jsonqe", 0, 0, |text, _| Value::Str([b"\"", &json(text)[..], b"\""].concat().into())),
    op("json.encode", 0, 0, |text, _| Value::Str(json(text).into())),
    op("sock.host", 0, 0, |text, _| socket(text).map_or(Value::Null, |(_, host, _)| piece(text, host))),
    op("sock.port", 0, 0, |text, _| {
        socket(text).and_then(|(.., port)| port).map_or(Value::from_static(""), |port| piece(text, port))
    }),
    op("sock.proto", 0, 0, |text, _| socket(text).map_or(Value::Null, |(proto, ..)| piece(text, proto))),
    op("sock.touri", 0, 0, |text, _| {
        let Some((proto, host, port)) = socket(text) else { return Value::Null };
        let mut out = [b"sip:", host].concat();
        if let Some(port) = port {
            out.extend_from_slice(&[b":", port].concat());
        }
        out.extend_from_slice(&[b";transport=", proto].concat());
        Value::Str(out.into())
    }),
    op("uri.tosocket", 0, 0, |text, _| {
        let Ok(uri) = Uri::parse(text) else { return Value::from_static("") };
        let transport = uri.transport().unwrap_or(Transport::Udp);
        let port = uri.port.unwrap_or(transport.default_port());
        let host = String::from_utf8_lossy(uri.host_text);
        Value::Str(format!("{}:{host}:{port}", transport.uri_param()).into())
    }),
    op("uri.rmparam", 1, 1, |text, args| Value::Str(without_param(text, argument(args, 0)).into())),
    op("msrpuri.user", 0, 0, |text, _| msrp(text).map_or(Value::from_static(""), |uri| piece(text, uri.user))),
    op("msrpuri.userinfo", 0, 0, |text, _| msrp(text).map_or(Value::from_static(""), |uri| piece(text, uri.user))),
    op("msrpuri.host", 0, 0, |text, _| msrp(text).map_or(Value::from_static(""), |uri| piece(text, uri.host))),
    op("msrpuri.port", 0, 0, |text, _| msrp(text).map_or(Value::from_static(""), |uri| piece(text, uri.port))),
    op("msrpuri.session", 0, 0, |text, _| msrp(text).map_or(Value::from_static(""), |uri| piece(text, uri.session))),
    op("msrpuri.proto", 0, 0, |text, _| msrp(text).map_or(Value::from_static(""), |uri| piece(text, uri.proto))),
    op("msrpuri.params", 0, 0, |text, _| msrp(text).map_or(Value::from_static(""), |uri| piece(text, uri.params))),
];

/// `{sql.val}` and its kin of any value, undefined ones included: as a literal of SQL.
pub(super) fn sql(name: &str, value: &Value) -> Value {
    let is_number = matches!(value, Value::Int(_));
    match name {
        "sql.val.int" => Value::Str(value.to_int().to_string().into()),
        "sql.val" if value.is_null() => Value::from_static("NULL"),
        "sql.val" if is_number => value.clone(),
        _ => {
            let mut out = vec![b'\''];
            // A quote is doubled, which every kind of database reads alike. A backslash means something to MySQL alone,
            // and what hands statements to the others takes the second away again.
            for byte in value.to_bytes().iter() {
                if matches!(byte, b'\'' | b'\\') {
                    out.push(*byte);
                }
                out.push(*byte);
            }
            out.push(b'\'');
            Value::Str(out.into())
        }
    }
}

fn hex(bytes: &[u8]) -> Value {
    let digits =
        bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| b"0123456789abcdef"[usize::from(digit)]);
    Value::Str(digits.collect::<Vec<u8>>().into())
}

/// The inside of a JSON string (RFC 8259 section 7).
fn json(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', *byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0..=0x1f => out.extend(format!("\\u{byte:04x}").bytes()),
            byte => out.push(*byte),
        }
    }
    out
}

const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// Texts longer than this are cut: the conversion takes time that grows with the square.
const LONGEST_BASE58: usize = 256;

fn base58(text: &[u8]) -> Vec<u8> {
    let text = &text[..text.len().min(LONGEST_BASE58)];
    let mut digits: Vec<u8> = Vec::new();
    for byte in text {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = (carry % 58) as u8;
            carry /= 58;
        }
        while carry > 0 {
            digits.push((carry % 58) as u8);
            carry /= 58;
        }
    }
    let zeros = text.iter().take_while(|byte| **byte == 0).count();
    let ones = std::iter::repeat_n(b'1', zeros);
    ones.chain(digits.iter().rev().map(|digit| BASE58[usize::from(*digit)])).collect()
}

fn unbase58(text: &[u8]) -> Vec<u8> {
    let text = &text[..text.len().min(LONGEST_BASE58)];
    let mut bytes: Vec<u8> = Vec::new();
    for letter in text {
        let Some(digit) = BASE58.iter().position(|known| known == letter) else { return Vec::new() };
        let mut carry = digit as u32;
        for byte in &mut bytes {
            carry += u32::from(*byte) * 58;
            *byte = carry as u8;
            carry >>= 8;
        }
        while carry > 0 {
            bytes.push(carry as u8);
            carry >>= 8;
        }
    }
    let zeros = text.iter().take_while(|letter| **letter == b'1').count();
    std::iter::repeat_n(0, zeros).chain(bytes.into_iter().rev()).collect()
}

/// Transport, host and port of a socket.
type Place<'a> = (&'a [u8], &'a [u8], Option<&'a [u8]>);

/// `proto:host:port`.
fn socket(text: &[u8]) -> Option<Place<'_>> {
    let colon = text.iter().position(|byte| *byte == b':')?;
    let (proto, rest) = (&text[..colon], &text[colon + 1..]);
    Transport::from_token(proto)?;
    let host_end = match rest.first()? {
        b'[' => rest.iter().position(|byte| *byte == b']')? + 1,
        _ => rest.iter().position(|byte| *byte == b':').unwrap_or(rest.len()),
    };
    let port = rest[host_end..].strip_prefix(b":");
    Some((proto, &rest[..host_end], port))
}

/// The URI without every parameter of that name.
fn without_param(text: &[u8], name: &[u8]) -> Vec<u8> {
    let end = text.iter().position(|byte| *byte == b'?').unwrap_or(text.len());
    let host = text[..end].iter().rposition(|byte| *byte == b'@').map_or(0, |at| at + 1);
    let mut pieces = text[host..end].split(|byte| *byte == b';');
    let mut out = [&text[..host], pieces.next().unwrap_or_default()].concat();
    for piece in pieces {
        let own = piece.split(|byte| *byte == b'=').next().unwrap_or_default();
        if !own.eq_ignore_ascii_case(name) {
            out.push(b';');
            out.extend_from_slice(piece);
        }
    }
    out.extend_from_slice(&text[end..]);
    out
}

/// A URI of MSRP (RFC 4975 section 6): `msrp://user@host:port/session;proto;params`.
struct MsrpUri<'a> {
    user: &'a [u8],
    host: &'a [u8],
    port: &'a [u8],
    session: &'a [u8],
    proto: &'a [u8],
    params: &'a [u8],
}

fn msrp(text: &[u8]) -> Option<MsrpUri<'_>> {
    let rest = text.strip_prefix(b"msrp://").or_else(|| text.strip_prefix(b"msrps://"))?;
    let cut = |text: &'_ [u8], at: u8| text.iter().position(|byte| *byte == at);
    let (head, tail) = rest.split_at(cut(rest, b';').unwrap_or(rest.len()));
    let (place, session) = head.split_at(cut(head, b'/').unwrap_or(head.len()));
    let user_end = cut(place, b'@');
    let host_port = &place[user_end.map_or(0, |at| at + 1)..];
    let host_end = match host_port.first() {
        Some(b'[') => cut(host_port, b']').map_or(host_port.len(), |at| at + 1),
        _ => cut(host_port, b':').unwrap_or(host_port.len()),
    };
    let tail = tail.strip_prefix(b";").unwrap_or(tail);
    let proto_end = cut(tail, b';').unwrap_or(tail.len());
    Some(MsrpUri {
        user: &place[..user_end.unwrap_or(0)],
        host: &host_port[..host_end],
        port: host_port[host_end..].strip_prefix(b":").unwrap_or_default(),
        session: session.strip_prefix(b"/").unwrap_or_default(),
        proto: &tail[..proto_end],
        params: tail[proto_end..].strip_prefix(b";").unwrap_or_default(),
    })
}
