//! Packets of binrpc, as they are seen between `kamcmd` and Kamailio 5.6.
//!
//! A packet is a header and records. The header: `0xA1`; kind, length of the length less one and length of the cookie
//! less one, in 4, 2 and 2 bits; the length; the cookie. A record: one byte with a size of up to 7 in bits 4 to 6 and
//! a type in the lower four; with the top bit set the size counts the bytes that give the size. Structs and arrays
//! end with a record of their type with the top bit set and size 0.

use module_api::{CommandError, Data};

/// A request.
#[derive(Debug, PartialEq)]
pub(super) struct Request {
    /// What the answer repeats.
    pub(super) cookie: Vec<u8>,
    /// The command.
    pub(super) name: String,
    /// Its arguments.
    pub(super) args: Vec<Data>,
}

/// What [`take`] found.
#[derive(Debug, PartialEq)]
pub(super) enum Taken {
    /// More bytes are needed.
    More,
    /// A request.
    Request(Request),
    /// A packet that is no request, with its cookie.
    Wrong(Vec<u8>, String),
    /// No packet at all, or one that is too long.
    Broken,
}

const MAGIC: u8 = 0xA1;
const REQUEST: u8 = 0;
const REPLY: u8 = 1;
const FAULT: u8 = 3;

const INT: u8 = 0;
const STR: u8 = 1;
const DOUBLE: u8 = 2;
const STRUCT: u8 = 3;
const ARRAY: u8 = 4;
const NAME: u8 = 5;
const BYTES: u8 = 6;
const LONG: u8 = 0x80;

/// How deep values may lie in each other.
const DEPTH: usize = 16;

/// Takes one packet of at most `limit` bytes off the front of `buffer`.
pub(super) fn take(buffer: &mut Vec<u8>, limit: usize) -> Taken {
    let Some((&[magic, kinds], rest)) = buffer.split_first_chunk() else { return Taken::More };
    if magic != MAGIC {
        return Taken::Broken;
    }
    let (kind, length_size, cookie_size) = (kinds >> 4, usize::from(kinds >> 2 & 3) + 1, usize::from(kinds & 3) + 1);
    if rest.len() < length_size + cookie_size {
        return Taken::More;
    }
    let length = number(&rest[..length_size]);
    if length > limit {
        return Taken::Broken;
    }
    let cookie = rest[length_size..length_size + cookie_size].to_vec();
    let Some(body) = rest[length_size + cookie_size..].get(..length) else { return Taken::More };
    let taken = if kind == REQUEST { request(cookie, body) } else { Taken::Wrong(cookie, "not a request".into()) };
    buffer.drain(..2 + length_size + cookie_size + length);
    taken
}

fn request(cookie: Vec<u8>, mut body: &[u8]) -> Taken {
    let mut values = Vec::new();
    while !body.is_empty() {
        match value(&mut body, 0) {
            Some(found) => values.push(found),
            None => return Taken::Wrong(cookie, "a value that cannot be read".into()),
        }
    }
    let mut values = values.into_iter();
    match values.next() {
        Some(Data::Str(name)) => Taken::Request(Request { cookie, name, args: values.collect() }),
        _ => Taken::Wrong(cookie, "the first value must be the name of a command".into()),
    }
}

fn value(from: &mut &[u8], depth: usize) -> Option<Data> {
    let (kind, payload) = record(from)?;
    Some(match kind {
        INT => Data::Int(signed(payload)),
        DOUBLE => Data::Float(signed(payload) as f64 / 1000.0),
        STR => Data::text(payload.strip_suffix(b"\0").unwrap_or(payload)),
        BYTES => Data::text(payload),
        STRUCT if depth < DEPTH => {
            let mut fields = Vec::new();
            while !at_end(from, STRUCT)? {
                let (NAME, name) = record(from)? else { return None };
                let name = String::from_utf8_lossy(name.strip_suffix(b"\0").unwrap_or(name)).into_owned();
                fields.push((name.into(), value(from, depth + 1)?));
            }
            Data::Struct(fields)
        }
        ARRAY if depth < DEPTH => {
            let mut items = Vec::new();
            while !at_end(from, ARRAY)? {
                items.push(value(from, depth + 1)?);
            }
            Data::List(items)
        }
        _ => return None,
    })
}

/// Takes the record that ends a struct or an array, if it comes next. None when there is nothing more.
fn at_end(from: &mut &[u8], kind: u8) -> Option<bool> {
    let is_end = *from.first()? == LONG | kind;
    if is_end {
        *from = &from[1..];
    }
    Some(is_end)
}

fn record<'a>(from: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&first, rest) = from.split_first()?;
    let (kind, size) = (first & 0x0F, usize::from(first >> 4 & 7));
    let (size, rest) = if first & LONG == 0 {
        (size, rest)
    } else {
        let digits = rest.get(..size).filter(|_| (1..=4).contains(&size))?;
        (number(digits), &rest[size..])
    };
    let payload = rest.get(..size)?;
    *from = &rest[size..];
    Some((kind, payload))
}

fn number(digits: &[u8]) -> usize {
    digits.iter().fold(0, |number, digit| number << 8 | usize::from(*digit))
}

/// Integers of fewer than four bytes are never negative; of four they are two's complement.
fn signed(digits: &[u8]) -> i64 {
    let wide = digits.iter().fold(0_i64, |number, digit| number << 8 | i64::from(*digit));
    if digits.len() == 4 { i64::from(wide as u32 as i32) } else { wide }
}

/// The packet that answers: values, or a fault with code and reason.
pub(super) fn answer(cookie: &[u8], result: &Result<Data, CommandError>) -> Vec<u8> {
    let mut body = Vec::new();
    let kind = match result {
        Ok(data) => {
            match data {
                // Kamailio's commands return several values where others return one list.
                Data::List(items) => items.iter().for_each(|item| write(item, &mut body)),
                Data::Null => {}
                data => write(data, &mut body),
            }
            REPLY
        }
        Err(error) => {
            write_int(INT, error.code.into(), &mut body);
            write_text(STR, &error.reason, &mut body);
            FAULT
        }
    };
    let length = digits(body.len());
    let kinds = kind << 4 | (length.len() as u8 - 1) << 2 | (cookie.len() as u8 - 1);
    [&[MAGIC, kinds], &length[..], cookie, &body[..]].concat()
}

fn write(data: &Data, out: &mut Vec<u8>) {
    match data {
        Data::Null => write_text(STR, "", out),
        Data::Int(number) => match i32::try_from(*number) {
            Ok(number) => write_int(INT, number, out),
            // The protocol's integers have 32 bits; a larger one is no less readable as text.
            Err(_) => write_text(STR, &number.to_string(), out),
        },
        Data::Float(number) => {
            let thousandths = (number * 1000.0).round();
            write_int(DOUBLE, thousandths.clamp(i32::MIN.into(), i32::MAX.into()) as i32, out);
        }
        Data::Str(text) => write_text(STR, text, out),
        Data::List(items) => match repeated(items) {
            // Kamailio's lists of contacts and the like are structs in which one name comes again and again.
            Some(fields) => write_struct(fields, out),
            None => {
                out.push(ARRAY);
                items.iter().for_each(|item| write(item, out));
                out.push(LONG | ARRAY);
            }
        },
        Data::Struct(fields) => write_struct(fields.iter(), out),
    }
}

type Field = (std::borrow::Cow<'static, str>, Data);

fn repeated(items: &[Data]) -> Option<impl Iterator<Item = &Field>> {
    let is_one = |item: &Data| matches!(item, Data::Struct(fields) if fields.len() == 1);
    items.iter().all(is_one).then(|| items.iter().flat_map(fields))
}

fn fields(item: &Data) -> std::slice::Iter<'_, Field> {
    match item {
        Data::Struct(fields) => fields.iter(),
        _ => [].iter(),
    }
}

fn write_struct<'a>(fields: impl Iterator<Item = &'a Field>, out: &mut Vec<u8>) {
    out.push(STRUCT);
    for (name, value) in fields {
        write_text(NAME, name, out);
        write(value, out);
    }
    out.push(LONG | STRUCT);
}

fn write_int(kind: u8, number: i32, out: &mut Vec<u8>) {
    let digits: Vec<u8> = number.to_be_bytes().into_iter().skip_while(|digit| *digit == 0).collect();
    out.push((digits.len() as u8) << 4 | kind);
    out.extend(digits);
}

fn write_text(kind: u8, text: &str, out: &mut Vec<u8>) {
    // The NUL at the end counts; one inside would end the text for the reader.
    let text: Vec<u8> = text.bytes().filter(|byte| *byte != 0).chain([0]).collect();
    if text.len() < 8 {
        out.push((text.len() as u8) << 4 | kind);
    } else {
        let digits = digits(text.len());
        out.push(LONG | (digits.len() as u8) << 4 | kind);
        out.extend(digits);
    }
    out.extend(text);
}

/// The bytes of a length, at least one.
fn digits(number: usize) -> Vec<u8> {
    let all = (number as u32).to_be_bytes();
    let zeros = all.iter().take(3).take_while(|digit| **digit == 0).count();
    all[zeros..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal")).collect()
    }

    /// Recorded from `kamcmd core.echo 258 ab`, but for the cookie.
    #[test]
    fn a_request_of_kamcmd_is_read() {
        let whole = bytes("a1001307910a636f72652e6563686f0020010231616200");
        let expected = Request { cookie: vec![7], name: "core.echo".into(), args: vec![258.into(), "ab".into()] };
        for cut in 0..whole.len() {
            assert_eq!(take(&mut whole[..cut].to_vec(), 1000), Taken::More, "{cut}");
        }
        let mut twice = [&whole[..], &whole[..]].concat();
        assert_eq!(take(&mut twice, 1000), Taken::Request(expected));
        assert_eq!(twice, whole);
    }

    /// Recorded from Kamailio 5.6.3.
    #[test]
    fn answers_are_those_of_kamailio() {
        let fault = Err(CommandError::new(500, "command nosuch not found"));
        assert_eq!(answer(&[7], &fault), bytes("a1301e072001f49119636f6d6d616e64206e6f73756368206e6f7420666f756e6400"));
        let uptime = Data::of([
            ("now", "Mon Nov 30 21:08:34 2026".into()),
            ("up_since", "Mon Nov 30 21:08:31 2026".into()),
            ("uptime", 3.into()),
        ]);
        let recorded = "a110520703456e6f770091194d6f6e204e6f762033302032313a30383a3334203230323600950975705f73696e6365\
                        0091194d6f6e204e6f762033302032313a30383a333120323032360075757074696d6500100383";
        assert_eq!(answer(&[7], &Ok(uptime)), bytes(recorded));
    }

    fn check_read_back(data: Data) {
        let packet = answer(&[1, 2, 3, 4], &Ok(Data::List(vec![data.clone()])));
        // A reply read as a request: the header's kind is all that differs.
        let mut request = packet.clone();
        request[1] &= 0x0F;
        let mut body = &packet[2 + usize::from(packet[1] >> 2 & 3) + 1 + 4..];
        assert_eq!(value(&mut body, 0), Some(data));
        assert!(body.is_empty());
    }

    #[test]
    fn every_value_can_be_read_back() {
        for number in [0, 1, 255, 256, 65_536, i64::from(i32::MAX), -1, i64::from(i32::MIN)] {
            check_read_back(Data::Int(number));
        }
        check_read_back(Data::Float(0.5));
        check_read_back(Data::List(vec![1.into(), "x".into()]));
        check_read_back(Data::of([("a", "long ".repeat(100).into()), ("b", Data::of([("c", "".into())]))]));
    }

    #[test]
    fn a_list_of_named_values_is_a_struct_that_repeats_the_name() {
        let contacts = Data::List(vec![Data::of([("Contact", 1.into())]), Data::of([("Contact", 2.into())])]);
        let mut out = Vec::new();
        write(&contacts, &mut out);
        let mut body = &out[..];
        let read = value(&mut body, 0);
        assert_eq!(read, Some(Data::of([("Contact", 1.into()), ("Contact", 2.into())])));
    }

    /// Whatever one byte of a packet is changed to, the reader ends with an answer of some kind.
    #[test]
    fn no_packet_makes_the_reader_fail() {
        let nested = Data::of([("a", Data::List(vec![1.into(), Data::of([("b", "text".repeat(9).into())])]))]);
        let mut packet = answer(&[7, 8], &Ok(Data::List(vec!["core.echo".into(), nested])));
        packet[1] &= 0x0F;
        for at in 0..packet.len() {
            for byte in 0..=255 {
                let mut changed = packet.clone();
                changed[at] = byte;
                let before = changed.len();
                match take(&mut changed, 4096) {
                    Taken::Request(_) | Taken::Wrong(..) => assert!(changed.len() < before),
                    Taken::More | Taken::Broken => {}
                }
            }
        }
    }

    #[test]
    fn what_is_no_packet_ends_the_connection_and_a_bad_value_is_answered() {
        assert_eq!(take(&mut b"GET / HTTP/1.1".to_vec(), 1000), Taken::Broken);
        assert_eq!(take(&mut bytes("a100ff07"), 100), Taken::Broken);
        let wrong = |what: &str| Taken::Wrong(vec![7], what.to_owned());
        assert_eq!(take(&mut bytes("a10001077f"), 1000), wrong("a value that cannot be read"));
        assert_eq!(take(&mut bytes("a100020710ff"), 1000), wrong("the first value must be the name of a command"));
        let mut deep = bytes("a1002807");
        deep.extend([ARRAY; 40]);
        assert_eq!(take(&mut deep, 1000), wrong("a value that cannot be read"));
    }
}
