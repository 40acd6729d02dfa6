//! Transformations into numbers and other spellings: sums, septets, aliases, fields of JSON.

use bytes::Bytes;
use module_api::{Value, core_hash};
use sip_message::{Scheme, Transport, Uri};

use super::{Operation, argument, number, op};

pub(super) const OPERATIONS: &[Operation] = &[
    // The check sum of Ethernet and of ZIP files.
    op("s.crc32", 0, 0, |text, _| Value::Str(format!("{:08x}", crc32(text)).into())),
    op("s.corehash", 0, 1, |text, args| {
        let hash = core_hash(&[text]);
        let size = u32::try_from(number(args, 0)).unwrap_or(0);
        Value::Str((if size > 0 { hash & (size - 1) } else { hash }).to_string().into())
    }),
    // In hexadecimal digits, as short messages are handed on in text.
    op("s.encode.7bit", 0, 0, |text, _| {
        Value::Str(packed(text).iter().map(|byte| format!("{byte:02X}")).collect::<String>().into())
    }),
    op("s.decode.7bit", 0, 0, |text, _| Value::Str(unpacked(&super::code::octets(text)).into())),
    op("s.selectws", 1, 1, |text, args| {
        let fields: Vec<&[u8]> = text.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty()).collect();
        let n = number(args, 0);
        let at = if n < 0 { n + fields.len() as i64 } else { n };
        let field = usize::try_from(at).ok().and_then(|at| fields.get(at));
        field.map_or(Value::from_static(""), |field| super::piece(text, field))
    }),
    op("urialias.encode", 0, 0, |text, _| alias(text).map_or(Value::from_static(""), |alias| Value::Str(alias.into()))),
    op("urialias.decode", 0, 0, |text, _| of_alias(text).map_or(Value::from_static(""), |uri| Value::Str(uri.into()))),
    op("json.parse", 1, 1, |text, args| field(text, argument(args, 0))),
];

fn crc32(text: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
    };
    !text.iter().fold(u32::MAX, step)
}

/// Seven bits of each character, the first in the low bits (3GPP TS 23.038 section 6.1.2.1).
fn packed(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text {
        bits |= u32::from(byte & 0x7f) << count;
        count += 7;
        if count >= 8 {
            out.push(bits as u8);
            bits >>= 8;
            count -= 8;
        }
    }
    if count > 0 {
        out.push(bits as u8);
    }
    out
}

fn unpacked(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() * 8 / 7);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text {
        bits |= u32::from(*byte) << count;
        count += 8;
        while count >= 7 {
            out.push((bits & 0x7f) as u8);
            bits >>= 7;
            count -= 7;
        }
    }
    // Seven characters leave a septet of padding.
    if text.len().is_multiple_of(7) && out.last() == Some(&0) {
        out.pop();
    }
    out
}

/// `host~port~number` of a URI, as in the parameter alias of a Contact.
fn alias(text: &Bytes) -> Option<String> {
    let uri = Uri::parse(text).ok()?;
    let transport = uri.transport().unwrap_or(if uri.scheme == Scheme::Sips { Transport::Tls } else { Transport::Udp });
    let at = TRANSPORTS.iter().position(|known| *known == transport)?;
    let port = uri.port.unwrap_or(transport.default_port());
    Some(format!("{}~{port}~{}", String::from_utf8_lossy(uri.host_text), at + 1))
}

fn of_alias(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let (rest, proto) = text.rsplit_once('~')?;
    let (host, port) = rest.rsplit_once('~')?;
    let transport = TRANSPORTS.get(proto.parse::<usize>().ok()?.checked_sub(1)?)?;
    let port: u16 = port.parse().ok()?;
    Some(format!("sip:{host}:{port};transport={}", transport.uri_param()))
}

/// By their numbers less one.
const TRANSPORTS: [Transport; 6] =
    [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Sctp, Transport::Ws, Transport::Wss];

/// A field of a JSON text, by names and numbers of elements: `a.b[0].c`. Strings without their quotes; undefined where
/// there is none.
fn field(text: &[u8], path: &[u8]) -> Value {
    let path = String::from_utf8_lossy(path);
    let Ok(root) = serde_json::from_slice::<serde_json::Value>(text) else { return Value::Null };
    let pointer: String =
        path.split(['.', '[', ']']).filter(|step| !step.is_empty()).map(|step| format!("/{step}")).collect();
    // A name may hold a dot itself.
    match root.get(&*path).or_else(|| root.pointer(&pointer)) {
        None | Some(serde_json::Value::Null) => Value::Null,
        Some(serde_json::Value::String(found)) => Value::Str(found.clone().into()),
        Some(found) => Value::Str(found.to_string().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The vectors are those that the literature of short messages gives.
    #[test]
    fn characters_are_packed_in_seven_bits() {
        assert_eq!(packed(b"hello"), [0xe8, 0x32, 0x9b, 0xfd, 0x06]);
        assert_eq!(packed(b"hellohello"), [0xe8, 0x32, 0x9b, 0xfd, 0x46, 0x97, 0xd9, 0xec, 0x37]);
        for text in ["", "a", "hello", "seven77", "eight888", "hellohello"] {
            assert_eq!(unpacked(&packed(text.as_bytes())), text.as_bytes(), "{text}");
        }
    }
}
