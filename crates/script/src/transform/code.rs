//! Transformations that encode and escape.

use bytes::Bytes;
use module_api::Value;

use super::{Operation, op};

pub(super) const OPERATIONS: &[Operation] = &[
    op("s.encode.hexa", 0, 0, |text, _| {
        Value::Str(text.iter().flat_map(|byte| [hex(byte >> 4), hex(byte & 15)]).collect::<Vec<u8>>().into())
    }),
    op("s.decode.hexa", 0, 0, |text, _| Value::Str(octets(text).into())),
    op("s.encode.base64", 0, 0, |text, _| base64(text, STANDARD, true)),
    op("s.decode.base64", 0, 0, |text, _| unbase64(text, STANDARD)),
    op("s.encode.base64t", 0, 0, |text, _| base64(text, STANDARD, false)),
    op("s.decode.base64t", 0, 0, |text, _| unbase64(text, STANDARD)),
    op("s.encode.base64url", 0, 0, |text, _| base64(text, URL_SAFE, true)),
    op("s.decode.base64url", 0, 0, |text, _| unbase64(text, URL_SAFE)),
    op("s.encode.base64urlt", 0, 0, |text, _| base64(text, URL_SAFE, false)),
    op("s.decode.base64urlt", 0, 0, |text, _| unbase64(text, URL_SAFE)),
    op("s.escape.common", 0, 0, |text, _| {
        let escaped = text.iter().flat_map(|byte| match byte {
            b'\'' | b'"' | b'\\' => vec![b'\\', *byte],
            0 => b"\\0".to_vec(),
            byte => vec![*byte],
        });
        Value::Str(escaped.collect::<Vec<u8>>().into())
    }),
    op("s.unescape.common", 0, 0, |text, _| {
        let mut out = Vec::with_capacity(text.len());
        let mut bytes = text.iter();
        while let Some(byte) = bytes.next() {
            match (byte, bytes.as_slice().first()) {
                (b'\\', Some(next @ (b'\'' | b'"' | b'\\'))) => {
                    out.push(*next);
                    bytes.next();
                }
                _ => out.push(*byte),
            }
        }
        Value::Str(out.into())
    }),
    // RFC 3261 section 25.1: unreserved and user-unreserved.
    op("s.escape.user", 0, 0, |text, _| percent(text, b"-_.!~*'()&=+$,;?/")),
    op("s.unescape.user", 0, 0, |text, _| unpercent(text)),
    // Unreserved and param-unreserved.
    op("s.escape.param", 0, 0, |text, _| percent(text, b"-_.!~*'()[]/:&+$")),
    op("s.unescape.param", 0, 0, |text, _| unpercent(text)),
    op("s.urlencode.param", 0, 0, |text, _| percent(text, b"-_.")),
    op("s.urldecode.param", 0, 0, |text, _| unpercent(text)),
];

/// What pairs of hexadecimal digits spell, up to the first that is none.
pub(super) fn octets(text: &[u8]) -> Vec<u8> {
    text.chunks_exact(2).map_while(|pair| Some(unhex(pair[0])? << 4 | unhex(pair[1])?)).collect()
}

fn hex(digit: u8) -> u8 {
    b"0123456789abcdef"[usize::from(digit & 15)]
}

fn unhex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

fn percent(text: &[u8], plain: &[u8]) -> Value {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        if byte.is_ascii_alphanumeric() || plain.contains(byte) {
            out.push(*byte);
        } else {
            out.extend([b'%', hex(byte >> 4).to_ascii_uppercase(), hex(*byte).to_ascii_uppercase()]);
        }
    }
    Value::Str(out.into())
}

fn unpercent(text: &[u8]) -> Value {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        let decoded = match (first, behind) {
            (b'%', [a, b, ..]) => unhex(*a).zip(unhex(*b)).map(|(a, b)| a << 4 | b),
            _ => None,
        };
        out.push(decoded.unwrap_or(*first));
        rest = &rest[if decoded.is_some() { 3 } else { 1 }..];
    }
    Value::Str(out.into())
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// RFC 4648 section 4 and 5.
fn base64(text: &[u8], alphabet: &[u8; 64], is_padded: bool) -> Value {
    let mut out = Vec::with_capacity(text.len().div_ceil(3) * 4);
    for chunk in text.chunks(3) {
        let byte = |n: usize| u32::from(chunk.get(n).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for n in 0..=chunk.len() {
            out.push(alphabet[(word >> (18 - 6 * n) & 63) as usize]);
        }
        if is_padded {
            out.extend(std::iter::repeat_n(b'=', 3 - chunk.len()));
        }
    }
    Value::Str(out.into())
}

fn unbase64(text: &Bytes, alphabet: &[u8; 64]) -> Value {
    let digits = text.iter().map_while(|byte| alphabet.iter().position(|letter| letter == byte));
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut word, mut bits) = (0_u32, 0);
    for digit in digits {
        word = word << 6 | digit as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((word >> bits) as u8);
            word &= (1 << bits) - 1;
        }
    }
    Value::Str(out.into())
}
