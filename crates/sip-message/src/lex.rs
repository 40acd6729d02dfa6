//! The character classes and small scans of the grammar (RFC 3261 section 25.1).

use std::borrow::Cow;

const TOKEN: u8 = 1;
const UNRESERVED: u8 = 2;
const USER: u8 = 4;
const PARAMETER: u8 = 8;
const HEADER: u8 = 16;
const DIGIT: u8 = 32;
const VALUE: u8 = 64;
const HOST: u8 = 128;

/// Which classes a byte belongs to.
const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_alphanumeric() {
            table[byte] = TOKEN | UNRESERVED;
        }
        if (byte as u8).is_ascii_digit() {
            table[byte] |= DIGIT;
        }
        byte += 1;
    }
    // What a parameter's value may hold outside quotes: more than the grammar lists, but nothing that separates.
    let mut byte = b' ' as usize + 1;
    while byte < 256 {
        if !matches!(byte as u8, b'"' | b'<' | b'>' | b',' | b'\\' | 0x7f) {
            table[byte] |= VALUE;
        }
        if byte < 128 && (byte as u8).is_ascii_alphanumeric() {
            table[byte] |= HOST;
        }
        byte += 1;
    }
    // `_` is in no host name of RFC 3261, and in many of real networks.
    add(&mut table, b"-._", HOST);
    add(&mut table, b"-.!%*_+`'~", TOKEN);
    add(&mut table, b"-_.!~*'()", UNRESERVED);
    // Deviates from section 25.1: `#` should be escaped in a user part, but phones dial `*43#` as
    // it is, and nothing else could be meant.
    add(&mut table, b"&=+$,;?/#", USER);
    add(&mut table, b"[]/:&+$", PARAMETER);
    add(&mut table, b"[]/?:+$", HEADER);
    table
}

const fn add(table: &mut [u8; 256], bytes: &[u8], class: u8) {
    let mut at = 0;
    while at < bytes.len() {
        table[bytes[at] as usize] |= class;
        at += 1;
    }
}

pub(crate) fn is_token_byte(byte: u8) -> bool {
    CLASSES[byte as usize] & TOKEN != 0
}

/// Whether `text` is a token (RFC 3261 section 25.1): a method, the name of a header or of a parameter.
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_token_byte(byte))
}

pub(crate) fn is_digit(byte: u8) -> bool {
    CLASSES[byte as usize] & DIGIT != 0
}

/// A byte of a parameter's value outside quotes.
pub(crate) fn is_value_byte(byte: u8) -> bool {
    CLASSES[byte as usize] & VALUE != 0
}

/// A byte of a domain name or an IPv4 address.
pub(crate) fn is_host_byte(byte: u8) -> bool {
    CLASSES[byte as usize] & HOST != 0
}

/// A byte of a URI's user part as it may stand unescaped.
pub(crate) fn is_user_byte(byte: u8) -> bool {
    CLASSES[byte as usize] & (UNRESERVED | USER) != 0
}

/// A byte of a URI parameter as it may stand unescaped.
pub(crate) fn is_parameter_byte(byte: u8) -> bool {
    CLASSES[byte as usize] & (UNRESERVED | PARAMETER) != 0
}

/// A byte of a URI header as it may stand unescaped.
pub(crate) fn is_header_byte(byte: u8) -> bool {
    CLASSES[byte as usize] & (UNRESERVED | HEADER) != 0
}

/// Whether `text` holds only bytes of `class` and whole `%XX` escapes; else where it breaks.
pub(crate) fn check_escaped(text: &[u8], class: fn(u8) -> bool) -> Result<(), usize> {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if byte == b'%' {
            let is_whole = text.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
            if !is_whole {
                return Err(at);
            }
            at += 3;
        } else if class(byte) {
            at += 1;
        } else {
            return Err(at);
        }
    }
    Ok(())
}

/// Linear white space: a space, a tab or, inside a folded value, the fold's line end.
#[inline]
pub(crate) fn is_lws(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// `start..end` of `text` without linear white space at either side.
#[inline]
pub(crate) fn trim(text: &[u8], mut start: usize, mut end: usize) -> (usize, usize) {
    while start < end && is_lws(text[start]) {
        start += 1;
    }
    while end > start && is_lws(text[end - 1]) {
        end -= 1;
    }
    (start, end)
}

pub(crate) fn trimmed(text: &[u8]) -> &[u8] {
    let (start, end) = trim(text, 0, text.len());
    &text[start..end]
}

/// First byte at or after `at` that is not linear white space.
pub(crate) fn skip_lws(text: &[u8], mut at: usize) -> usize {
    while at < text.len() && is_lws(text[at]) {
        at += 1;
    }
    at
}

/// One past the closing quote of the string that opens at `at`; `None` when it never closes.
pub(crate) fn quoted_end(text: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// A decimal number; `None` when it is empty, holds another byte, or passes `u32`.
pub(crate) fn number(text: &[u8]) -> Option<u32> {
    saturating_number(text).and_then(|value| u32::try_from(value).ok())
}

/// A decimal number that stops growing at `u64::MAX`; `None` when it is empty or holds another byte.
pub(crate) fn saturating_number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, &byte| {
        is_digit(byte).then(|| value.saturating_mul(10).saturating_add(u64::from(byte - b'0')))
    })
}

/// `text` with its `%XX` escapes read (RFC 3261 section 19.1.2). A `%` without two hex digits
/// after it stays as it is.
pub fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(b'%', text) else {
        return Cow::Borrowed(text);
    };
    let mut out = Vec::with_capacity(text.len());
    out.extend_from_slice(&text[..first]);
    let mut at = first;
    while let Some(&byte) = text.get(at) {
        let escaped = (byte == b'%').then(|| Some((hex(*text.get(at + 1)?)?, hex(*text.get(at + 2)?)?))).flatten();
        match escaped {
            Some((high, low)) => {
                out.push(high << 4 | low);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(out)
}

/// `text` without its surrounding quotes and with its quoted pairs read; a text that is not a
/// quoted string comes back as it is.
pub fn unquote(text: &[u8]) -> Cow<'_, [u8]> {
    let [b'"', inner @ .., b'"'] = text else {
        return Cow::Borrowed(text);
    };
    if memchr::memchr(b'\\', inner).is_none() {
        return Cow::Borrowed(inner);
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => out.extend(bytes.next()),
            _ => out.push(byte),
        }
    }
    Cow::Owned(out)
}

/// `text` with each fold (line end and the white space around it) read as one space
/// (RFC 3261 section 7.3.1).
pub fn unfold(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'\r', b'\n', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        if matches!(text[at], b'\r' | b'\n') {
            while out.last().is_some_and(|&byte| is_lws(byte)) {
                out.pop();
            }
            out.push(b' ');
            at = skip_lws(text, at);
        } else {
            out.push(text[at]);
            at += 1;
        }
    }
    Cow::Owned(out)
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read_and_broken_ones_kept() {
        assert_eq!(&*unescape(b"sips%3Auser%40example.com"), b"sips:user@example.com");
        assert_eq!(&*unescape(b"100%25%0"), b"100%%0");
        assert_eq!(&*unescape(b"null-%00-null"), b"null-\0-null");
    }

    #[test]
    fn quoted_pairs_are_read() {
        assert_eq!(&*unquote(br#""J Rosenberg \\\"""#), br#"J Rosenberg \""#);
        assert_eq!(&*unquote(b"token"), b"token");
        assert_eq!(&*unquote(b"\""), b"\"");
    }

    #[test]
    fn a_fold_reads_as_one_space() {
        assert_eq!(&*unfold(b"I know you're there, \r\n   pick up"), b"I know you're there, pick up");
    }

    #[test]
    fn a_quoted_string_ends_at_its_unescaped_quote() {
        assert_eq!(quoted_end(br#""a\"b" c"#, 0), Some(6));
        assert_eq!(quoted_end(br#""never"#, 0), None);
        assert_eq!(quoted_end(br#""never\"#, 0), None);
    }

    #[test]
    fn numbers_have_a_bound() {
        assert_eq!(number(b"4294967295"), Some(u32::MAX));
        assert_eq!(number(b"4294967296"), None);
        assert_eq!(number(b"+1"), None);
        assert_eq!(saturating_number(b"99999999999999999999999"), Some(u64::MAX));
    }
}
