//! Heads of HTTP requests, read strictly: what two readers could understand in two ways is refused (RFC 9112).

use memchr::memchr;
use net::stream::Frame;
use sip_message::Limits;

/// Whether a line of HTTP stands in front: `METHOD SP target SP HTTP/1.x` (RFC 9112 section 3).
pub(crate) fn is_request(buffer: &[u8]) -> bool {
    let end = memchr(b'\n', buffer).unwrap_or_default();
    let line = buffer[..end].strip_suffix(b"\r").unwrap_or_default();
    let Some((line, version)) = line.split_at_checked(line.len().saturating_sub(VERSION_LENGTH)) else { return false };
    // A target holds no space, so there is one in front of it and none within.
    let is_whole = line.iter().filter(|byte| **byte == b' ').count() == 1 && !line.starts_with(b" ");
    matches!(version, b" HTTP/1.1" | b" HTTP/1.0") && is_whole && !line.ends_with(b" ")
}

pub(super) const VERSION_LENGTH: usize = " HTTP/1.1".len();

/// Cuts a stream into HTTP requests (RFC 9112 section 6.3). What is to be refused is handed over without its body.
pub(crate) struct HttpFramer {
    limits: Limits,
    /// Bytes that are known to hold no end of the head.
    scanned: usize,
    /// The client has been told to send the body.
    has_prompted: bool,
}

impl HttpFramer {
    pub(crate) fn new(limits: Limits) -> HttpFramer {
        HttpFramer { limits, scanned: 0, has_prompted: false }
    }

    pub(crate) fn poll(&mut self, buffer: &[u8]) -> Frame {
        // Line ends in front of a request are skipped (section 2.2).
        if self.scanned == 0 && buffer.starts_with(b"\r\n") {
            return Frame::Skip(2);
        }
        let from = self.scanned.saturating_sub(END.len() - 1);
        let Some(at) = buffer[from..].windows(END.len()).position(|window| window == END) else {
            self.scanned = buffer.len();
            return if buffer.len() > self.limits.head_bytes { Frame::Broken } else { Frame::NeedMore };
        };
        let len = from + at + END.len();
        if !is_request(buffer) {
            return Frame::Broken;
        }
        let (body, expects) = match Head::read(&buffer[..len], &self.limits) {
            Ok(head) => (head.body, head.expects),
            Err(_) => (0, false),
        };
        if buffer.len() >= len + body {
            (self.scanned, self.has_prompted) = (0, false);
            return Frame::Request(len + body);
        }
        // Not further: the end of the head must be found again.
        self.scanned = len - END.len();
        // Some clients wait for it before they send the body (RFC 9110 section 10.1.1).
        match expects && !std::mem::replace(&mut self.has_prompted, true) {
            true => Frame::Say(b"HTTP/1.1 100 Continue\r\n\r\n"),
            false => Frame::NeedMore,
        }
    }
}

const END: &[u8] = b"\r\n\r\n";

/// What the head of a request says of the connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Bytes of the body.
    body: usize,
    /// Whether the client wants to go on with the connection (RFC 9112 section 9.3).
    pub(crate) keeps_open: bool,
    /// Whether the client waits for a 100 before it sends the body.
    expects: bool,
}

/// Status and reason phrase of a request that cannot be taken.
pub(super) type Refusal = (u16, &'static str);

const BAD: Refusal = (400, "Bad Request");

impl Head {
    /// Reads the head that `request` begins with.
    pub(crate) fn read(request: &[u8], limits: &Limits) -> Result<Head, Refusal> {
        let mut lines = request.split(|byte| *byte == b'\n').map(line);
        let is_old = lines.next().ok_or(BAD)??.ends_with(b"HTTP/1.0");
        let mut head = Head { body: 0, keeps_open: !is_old, expects: false };
        let (mut length, mut hosts, mut is_coded, mut closes) = (None, 0, false, false);
        for line in lines {
            let line = line?;
            if line.is_empty() {
                break;
            }
            let (name, value) = field(line)?;
            if is(name, b"content-length") {
                // There may be several that agree (section 6.3).
                let value = number(value)?;
                if length.replace(value).is_some_and(|other| other != value) {
                    return Err(BAD);
                }
            }
            is_coded |= is(name, b"transfer-encoding");
            hosts += usize::from(is(name, b"host"));
            head.expects |= !is_old && is(name, b"expect") && is(value, b"100-continue");
            if is(name, b"connection") {
                closes |= has(value, b"close");
                head.keeps_open |= has(value, b"keep-alive");
            }
        }
        // Section 3.2; the older protocol had no Host.
        if hosts > 1 || (hosts == 0 && !is_old) {
            return Err(BAD);
        }
        if is_coded {
            return Err((411, "Length Required"));
        }
        head.keeps_open &= !closes;
        head.body = length.unwrap_or_default();
        match head.body <= limits.message_bytes {
            true => Ok(head),
            false => Err((413, "Content Too Large")),
        }
    }
}

/// A line of the head without its end, which is CR LF and nothing else.
fn line(text: &[u8]) -> Result<&[u8], Refusal> {
    let line = text.strip_suffix(b"\r").ok_or(BAD)?;
    let is_clean = !line.iter().any(|byte| matches!(byte, b'\r' | 0));
    is_clean.then_some(line).ok_or(BAD)
}

/// Name and value of a header. A name is a token, with nothing between it and the colon; a line that goes on from
/// the one before begins with white space, and so has none (RFC 9112 sections 5.1 and 5.2).
fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let (name, value) = memchr(b':', line).and_then(|at| line.split_at_checked(at)).ok_or(BAD)?;
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    (!name.is_empty() && name.iter().all(is_token)).then_some((name, value[1..].trim_ascii())).ok_or(BAD)
}

fn is(text: &[u8], lower: &[u8]) -> bool {
    text.eq_ignore_ascii_case(lower)
}

fn number(text: &[u8]) -> Result<usize, Refusal> {
    let digits = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse::<u32>().ok()).map(|number| number as usize).ok_or(BAD)
}

/// Whether a list separated by commas names an option.
fn has(list: &[u8], option: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|entry| is(entry.trim_ascii(), option))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POST: &[u8] = b"POST /RPC HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    fn framer() -> HttpFramer {
        HttpFramer::new(Limits::default())
    }

    fn read(headers: &str) -> Result<Head, Refusal> {
        Head::read(format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n").as_bytes(), &Limits::default())
    }

    #[test]
    fn a_request_is_found_whatever_the_pieces() {
        let mut framer = framer();
        for end in 1..POST.len() {
            assert_eq!(framer.poll(&POST[..end]), Frame::NeedMore, "{end}");
        }
        assert_eq!(framer.poll(POST), Frame::Request(POST.len()));
        assert_eq!(framer.poll(&[POST, b"GET"].concat()), Frame::Request(POST.len()));
        assert_eq!(framer.poll(&[b"\r\n", GET].concat()), Frame::Skip(2));
        assert_eq!(framer.poll(GET), Frame::Request(GET.len()));
    }

    #[test]
    fn only_a_line_of_http_is_one() {
        for line in ["GET / HTTP/1.1", "POST /a?b=c HTTP/1.0"] {
            assert!(is_request(format!("{line}\r\n").as_bytes()), "{line}");
        }
        for line in
            ["INVITE sip:a@b SIP/2.0", "GET  HTTP/1.1", " / HTTP/1.1", "GET /a b HTTP/1.1", "GET / HTTP/2.0", ""]
        {
            assert!(!is_request(format!("{line}\r\n").as_bytes()), "{line}");
        }
        assert!(!is_request(b"GET / HTTP/1.1"));
        assert!(!is_request(b""));
    }

    // RFC 9112 section 6.3: what has two lengths, or one that is none, would be read differently by others.
    #[test]
    fn a_body_whose_end_is_in_doubt_is_not_read() {
        let body = |headers: &str| read(headers).map(|head| head.body);
        assert_eq!(body(""), Ok(0));
        assert_eq!(body("content-length: 7\r\nContent-Length: 7\r\n"), Ok(7));
        for length in
            ["Content-Length: 7\r\nContent-Length: 8\r\n", "Content-Length: +7\r\n", "Content-Length: 99999999999\r\n"]
        {
            assert_eq!(body(length), Err(BAD), "{length}");
        }
        assert_eq!(body("Content-Length: 65537\r\n"), Err((413, "Content Too Large")));
        assert_eq!(body("Transfer-Encoding: chunked\r\nContent-Length: 7\r\n"), Err((411, "Length Required")));
    }

    // RFC 9112 sections 2.2, 5.1 and 5.2: each of these hides a header from one reader that another one sees.
    #[test]
    fn a_header_that_could_hide_another_is_refused() {
        for headers in [
            "Content-Length : 7\r\n",
            "Content-Length\t: 7\r\n",
            " Content-Length: 7\r\n",
            "X: a\r\n Content-Length: 7\r\n",
            "X: a\nContent-Length: 7\r\n",
            "X: a\n\nTransfer-Encoding: chunked\r\n",
            "X: a\rContent-Length: 7\r\n",
            "X: a\0\r\n",
            ": 7\r\n",
            "X\r\n",
        ] {
            assert_eq!(read(headers), Err(BAD), "{headers:?}");
        }
    }

    // RFC 9112 section 3.2.
    #[test]
    fn a_request_names_one_host() {
        let read = |head: &str| Head::read(format!("GET / {head}\r\n").as_bytes(), &Limits::default()).is_ok();
        assert!(read("HTTP/1.1\r\nhost:\r\n"));
        assert!(!read("HTTP/1.1\r\n"));
        assert!(!read("HTTP/1.1\r\nHost: a\r\nHost: a\r\n"));
        assert!(read("HTTP/1.0\r\n"));
    }

    // RFC 9112 section 9.3.
    #[test]
    fn a_connection_stays_open_unless_the_client_says_otherwise() {
        let keeps = |head: &str| {
            let request = format!("GET / {head}\r\nHost: a\r\n\r\n");
            Head::read(request.as_bytes(), &Limits::default()).map(|head| head.keeps_open)
        };
        assert_eq!(keeps("HTTP/1.1"), Ok(true));
        assert_eq!(keeps("HTTP/1.1\r\nConnection: x, Close"), Ok(false));
        assert_eq!(keeps("HTTP/1.0"), Ok(false));
        assert_eq!(keeps("HTTP/1.0\r\nConnection: keep-alive"), Ok(true));
        assert_eq!(keeps("HTTP/1.1\r\nConnection: close\r\nConnection: keep-alive"), Ok(false));
    }

    // RFC 9110 section 10.1.1: once, and not where the body is there already or will not be read.
    #[test]
    fn a_client_that_waits_for_a_100_gets_one() {
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 4\r\n\r\n";
        let mut framer = framer();
        assert!(matches!(framer.poll(head), Frame::Say(words) if words.starts_with(b"HTTP/1.1 100 ")));
        assert_eq!(framer.poll(head), Frame::NeedMore);
        let whole = [&head[..], b"body"].concat();
        assert_eq!(framer.poll(&whole), Frame::Request(whole.len()));
        assert_eq!(framer.poll(&whole), Frame::Request(whole.len()));
        let refused = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 70000\r\n\r\n";
        assert_eq!(framer.poll(refused), Frame::Request(refused.len()));
    }

    #[test]
    fn a_head_without_end_has_a_bound() {
        let long = [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; 70_000]].concat();
        assert_eq!(framer().poll(&long), Frame::Broken);
    }
}
