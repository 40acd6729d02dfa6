//! Transformations of plain strings: `{s...}`, `{line...}`, `{val...}`, `{num...}`.

use bytes::Bytes;
use module_api::{Value, Zone};

use super::{Operation, argument, number, op, piece};

pub(super) const OPERATIONS: &[Operation] = &[
    op("s.len", 0, 0, |text, _| Value::Int(text.len() as i64)),
    op("s.int", 0, 0, |text, _| Value::Int(Value::Str(text.clone()).to_int())),
    op("s.tolower", 0, 0, |text, _| Value::Str(text.to_ascii_lowercase().into())),
    op("s.toupper", 0, 0, |text, _| Value::Str(text.to_ascii_uppercase().into())),
    op("s.substr", 1, 2, substring),
    op("s.select", 2, 2, select),
    op("s.strip", 1, 1, |text, args| piece(text, &text[clamp(number(args, 0), text.len())..])),
    op("s.striptail", 1, 1, |text, args| piece(text, &text[..text.len() - clamp(number(args, 0), text.len())])),
    op("s.stripto", 1, 1, |text, args| piece(text, &text[find(text, argument(args, 0)).unwrap_or(text.len())..])),
    op("s.prefixes", 0, 1, |text, args| prefixes(text, args, "")),
    op("s.prefixes.quoted", 0, 1, |text, args| prefixes(text, args, "'")),
    op("s.replace", 2, 2, |text, args| replace(text, argument(args, 0), argument(args, 1))),
    op("s.rm", 1, 1, |text, args| replace(text, argument(args, 0), b"")),
    op("s.trim", 0, 0, |text, _| piece(text, text.trim_ascii())),
    op("s.ltrim", 0, 0, |text, _| piece(text, text.trim_ascii_start())),
    op("s.rtrim", 0, 0, |text, _| piece(text, text.trim_ascii_end())),
    op("s.rmws", 0, 0, |text, _| keep(text, |byte| !byte.is_ascii_whitespace())),
    op("s.rmhdws", 0, 0, |text, _| piece(text, text.trim_ascii_start())),
    op("s.rmhlws", 0, 0, |text, _| remove_folds(text)),
    op("s.selectsw", 2, 2, |text, args| {
        let separator = argument(args, 1).first().copied().unwrap_or(b',');
        let mut parts = text.split(|byte| *byte == separator);
        parts.find(|part| part.starts_with(argument(args, 0))).map_or(Value::Null, |part| piece(text, part))
    }),
    op("s.fmtlines", 2, 2, |text, args| Value::Str(wrapped(text, args, b' ').into())),
    op("s.fmtlinet", 2, 2, |text, args| Value::Str(wrapped(text, args, b'\t').into())),
    op("s.ftime", 1, 1, |text, args| super::date(text, args, Zone::utc())),
    op("s.numeric", 0, 0, |text, _| keep(text, |byte| byte.is_ascii_digit())),
    op("s.count", 1, 1, |text, args| {
        let wanted = argument(args, 0).first();
        Value::Int(text.iter().filter(|byte| Some(*byte) == wanted).count() as i64)
    }),
    op("s.before", 1, 1, |text, args| piece(text, &text[..find(text, argument(args, 0)).unwrap_or(text.len())])),
    op("s.after", 1, 1, |text, args| match find(text, argument(args, 0)) {
        Some(at) => piece(text, &text[(at + 1).min(text.len())..]),
        None => Value::from_static(""),
    }),
    op("s.rbefore", 1, 1, |text, args| piece(text, &text[..find_last(text, args).unwrap_or(text.len())])),
    op("s.rafter", 1, 1, |text, args| match find_last(text, args) {
        Some(at) => piece(text, &text[at + 1..]),
        None => Value::from_static(""),
    }),
    op("s.unquote", 0, 0, |text, _| piece(text, without(text, b'"', b'"').unwrap_or(text))),
    op("s.unbracket", 0, 0, |text, _| {
        let pairs = [(b'(', b')'), (b'[', b']'), (b'{', b'}'), (b'<', b'>')];
        piece(text, pairs.iter().find_map(|(open, close)| without(text, *open, *close)).unwrap_or(text))
    }),
    op("s.charat", 1, 1, |text, args| match text.get(clamp(number(args, 0), usize::MAX)) {
        Some(byte) => Value::Str(vec![*byte].into()),
        None => Value::from_static(""),
    }),
    op("s.byteat", 1, 1, |text, args| {
        Value::Int(text.get(clamp(number(args, 0), usize::MAX)).map_or(0, |byte| i64::from(*byte)))
    }),
    op("line.count", 0, 0, |text, _| Value::Int(lines(text).count() as i64)),
    op("line.at", 1, 1, |text, args| match at(lines(text), number(args, 0)) {
        Some(line) => piece(text, line),
        None => Value::from_static(""),
    }),
    op("line.sw", 1, 1, |text, args| match lines(text).find(|line| line.starts_with(argument(args, 0))) {
        Some(line) => piece(text, line),
        None => Value::from_static(""),
    }),
    // Of an undefined value only: others pass unchanged, see `Transform::apply`.
    op("val.n0", 0, 0, |_, _| Value::Int(0)),
    op("val.ne", 0, 0, |_, _| Value::from_static("")),
    op("num.fdigit", 0, 1, |text, _| digit(text.iter())),
    op("num.ldigit", 0, 1, |text, _| digit(text.iter().rev())),
];

fn clamp(number: i64, most: usize) -> usize {
    usize::try_from(number).unwrap_or(0).min(most)
}

/// `s.substr,offset,length`: a negative offset counts from the end, length 0 takes the rest.
fn substring(text: &Bytes, args: &[Bytes]) -> Value {
    let offset = number(args, 0);
    let start = if offset < 0 {
        text.len().saturating_sub(usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX))
    } else {
        clamp(offset, text.len())
    };
    let rest = &text[start..];
    let length = number(args, 1);
    let end = match length {
        0 => rest.len(),
        length if length < 0 => rest.len() - clamp(length.saturating_neg(), rest.len()),
        length => clamp(length, rest.len()),
    };
    piece(text, &rest[..end])
}

/// `s.select,index,separator`: a negative index counts from the end.
fn select(text: &Bytes, args: &[Bytes]) -> Value {
    let separator = argument(args, 1).first().copied().unwrap_or(b',');
    let parts: Vec<&[u8]> = text.split(|byte| *byte == separator).collect();
    at(parts.into_iter(), number(args, 0)).map_or(Value::from_static(""), |part| piece(text, part))
}

/// The item at `index`, from the end when it is negative.
fn at<'a>(items: impl Iterator<Item = &'a [u8]>, index: i64) -> Option<&'a [u8]> {
    let items: Vec<&[u8]> = items.collect();
    let index = if index < 0 { items.len() as i64 + index.max(-(1 << 40)) } else { index };
    items.get(usize::try_from(index).ok()?).copied()
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    body.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// `123` as `1,12,123`, at most the first `n`.
fn prefixes(text: &Bytes, args: &[Bytes], quote: &str) -> Value {
    let most = if args.is_empty() { text.len() } else { clamp(number(args, 0), text.len()) };
    // Quadratic in the length: bounded, since phone numbers are short and header values are not.
    let most = most.min(64);
    let mut out = Vec::new();
    for end in 1..=most {
        if end > 1 {
            out.push(b',');
        }
        out.extend_from_slice(quote.as_bytes());
        out.extend_from_slice(&text[..end]);
        out.extend_from_slice(quote.as_bytes());
    }
    Value::Str(out.into())
}

/// Lines of at most `n` bytes, each led by so many blanks as the second argument says.
fn wrapped(text: &[u8], args: &[Bytes], blank: u8) -> Vec<u8> {
    let width = clamp(number(args, 0), text.len()).max(1);
    let blanks = clamp(number(args, 1), 64);
    let mut out = Vec::with_capacity(text.len());
    for (n, line) in text.chunks(width).enumerate() {
        if n > 0 {
            out.extend_from_slice(b"\r\n");
        }
        out.extend(std::iter::repeat_n(blank, blanks));
        out.extend_from_slice(line);
    }
    out
}

/// Without line ends that a header value is folded at (RFC 3261 section 7.3.1).
fn remove_folds(text: &Bytes) -> Value {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        if byte == b'\r' && rest.peek() == Some(&b'\n') {
            continue;
        }
        if byte == b'\n' && matches!(rest.peek(), Some(b' ' | b'\t')) {
            continue;
        }
        out.push(byte);
    }
    Value::Str(out.into())
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let wanted = wanted.first()?;
    text.iter().position(|byte| byte == wanted)
}

fn find_last(text: &[u8], args: &[Bytes]) -> Option<usize> {
    let wanted = argument(args, 0).first()?;
    text.iter().rposition(|byte| byte == wanted)
}

fn replace(text: &Bytes, from: &[u8], to: &[u8]) -> Value {
    if from.is_empty() {
        return Value::Str(text.clone());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = &text[..];
    while !rest.is_empty() {
        if rest.starts_with(from) {
            out.extend_from_slice(to);
            rest = &rest[from.len()..];
        } else {
            out.push(rest[0]);
            rest = &rest[1..];
        }
    }
    Value::Str(out.into())
}

fn keep(text: &Bytes, accept: impl Fn(&u8) -> bool) -> Value {
    Value::Str(text.iter().copied().filter(|byte| accept(byte)).collect::<Vec<u8>>().into())
}

fn without(text: &[u8], open: u8, close: u8) -> Option<&[u8]> {
    text.strip_prefix(&[open])?.strip_suffix(&[close])
}

fn digit<'a>(mut bytes: impl Iterator<Item = &'a u8>) -> Value {
    bytes.find(|byte| byte.is_ascii_digit()).map_or(Value::Null, |byte| Value::Int(i64::from(byte - b'0')))
}
