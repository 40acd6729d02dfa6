//! HTTP where SIP is spoken: requests on TCP and TLS listeners, answered by `event_route[xhttp:request]`.

use std::sync::Arc;

use bytes::Bytes;
use memchr::memchr;
use module_api::{Arrival, Context, Host, HttpAnswer, HttpRequest, RouteKind};
use net::stream::Frame;
use sip_message::{Limits, Message};

use crate::outgoing::{Outgoing, Way};
use crate::worker_core::Core;

/// Whether a line of HTTP stands in front: `METHOD SP target SP HTTP/1.x` (RFC 9112 section 3).
pub(crate) fn is_request(buffer: &[u8]) -> bool {
    let end = memchr(b'\n', buffer).unwrap_or_default();
    let line = buffer[..end].strip_suffix(b"\r").unwrap_or_default();
    let Some((line, version)) = line.split_at_checked(line.len().saturating_sub(VERSION_LENGTH)) else { return false };
    // A target holds no space, so there is one in front of it and none within.
    let is_whole = line.iter().filter(|byte| **byte == b' ').count() == 1 && !line.starts_with(b" ");
    matches!(version, b" HTTP/1.1" | b" HTTP/1.0") && is_whole && !line.ends_with(b" ")
}

const VERSION_LENGTH: usize = " HTTP/1.1".len();

/// Cuts a stream into HTTP requests (RFC 9112 section 6.3). What cannot be framed is handed over without its
/// body, to be refused with words.
pub(crate) struct HttpFramer {
    limits: Limits,
    /// Bytes that are known to hold no end of the head.
    scanned: usize,
}

impl HttpFramer {
    pub(crate) fn new(limits: Limits) -> HttpFramer {
        HttpFramer { limits, scanned: 0 }
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
        let head = from + at + END.len();
        if !is_request(buffer) {
            return Frame::Broken;
        }
        let body = match body_length(&buffer[..head]) {
            Body::Length(length) if head + length <= self.limits.message_bytes => length,
            Body::Length(_) | Body::Unknown | Body::Coded => 0,
        };
        if buffer.len() < head + body {
            // Not further: the end of the head must be found again.
            self.scanned = head - END.len();
            return Frame::NeedMore;
        }
        self.scanned = 0;
        Frame::Message(head + body)
    }
}

const END: &[u8] = b"\r\n\r\n";

/// How the body of a request is framed.
#[derive(Debug, PartialEq, Eq)]
enum Body {
    Length(usize),
    /// Content-Length is no number, or is there twice with different ones.
    Unknown,
    /// Transfer-Encoding, which is not taken here.
    Coded,
}

fn body_length(head: &[u8]) -> Body {
    if headers(head, b"transfer-encoding").next().is_some() {
        return Body::Coded;
    }
    let mut length = None;
    for value in headers(head, b"content-length") {
        let value = std::str::from_utf8(value).ok().filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()));
        let Some(value) = value.and_then(|value| value.parse::<u32>().ok()) else { return Body::Unknown };
        if length.replace(value).is_some_and(|other| other != value) {
            return Body::Unknown;
        }
    }
    Body::Length(length.unwrap_or_default() as usize)
}

/// Values of the header `name`, which is in lower case.
fn headers<'a>(request: &'a [u8], name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let lines = request.split(|byte| *byte == b'\n').skip(1).take_while(|line| !line.trim_ascii().is_empty());
    lines.filter_map(move |line| {
        let (own, value) = line.split_at_checked(memchr(b':', line)?)?;
        own.eq_ignore_ascii_case(name).then(|| value[1..].trim_ascii())
    })
}

/// Whether the client wants to go on with the connection (RFC 9112 section 9.3).
pub(crate) fn keeps_open(request: &[u8]) -> bool {
    let is_old = memchr(b'\n', request).is_some_and(|end| request[..end].trim_ascii_end().ends_with(b"HTTP/1.0"));
    let mut tokens = headers(request, b"connection").flat_map(|value| value.split(|byte| *byte == b','));
    let is_framed = matches!(body_length(request), Body::Length(_));
    match is_old {
        true => is_framed && tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"keep-alive")),
        false => is_framed && !tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close")),
    }
}

/// The request in the shape of a SIP one, as scripts of Kamailio expect it: a Via with the client's address in front.
pub(crate) fn as_sip(request: &[u8], arrival: &Arrival) -> Bytes {
    let end = memchr(b'\n', request).unwrap_or_default();
    let (line, rest) = (&request[..end], &request[(end + 1).min(request.len())..]);
    let line = line.trim_ascii_end();
    let line = &line[..line.len().saturating_sub(VERSION_LENGTH)];
    let via = format!(" SIP/2.0\r\nVia: SIP/2.0/{} {}\r\n", arrival.transport.as_str(), arrival.source);
    [line, via.as_bytes(), rest].concat().into()
}

/// What is known of a request before a worker has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    /// Whether the connection stays open behind the answer.
    pub(crate) keeps_open: bool,
    /// Whether the script wants requests with this target.
    pub(crate) is_taken: bool,
}

/// Runs the script's route on a request, or says why not. Runs on the worker that has the connection's requests.
pub(crate) fn answer(host: &mut dyn Host, message: Arc<Message>, arrival: Arrival, how: How) {
    let refusal = match body_length(message.bytes()) {
        Body::Coded => Some((411, "Length Required")),
        Body::Unknown => Some((400, "Bad Request")),
        Body::Length(length) if length > message.body().len() => Some((413, "Content Too Large")),
        Body::Length(_) => None,
    };
    let mut context = Context::new(message, arrival, RouteKind::Event);
    context.set_note(HttpRequest { keeps_open: how.keeps_open && refusal.is_none(), is_answered: false });
    let route = host.find_route(None, RouteKind::Event, "xhttp:request").filter(|_| how.is_taken);
    match (refusal, route) {
        (None, Some(route)) => host.start_route(route, context),
        (Some((code, reason)), _) => refuse(host, &mut context, code, reason),
        (None, None) => refuse(host, &mut context, 404, "Not Found"),
    }
}

fn refuse(host: &mut dyn Host, context: &mut Context, code: u16, reason: &str) {
    let body = format!("{reason}\n");
    let answer = HttpAnswer { code, reason: reason.as_bytes(), content_type: b"text/plain", body: body.as_bytes() };
    host.answer_http(context, &answer);
}

impl Core {
    /// Answers an HTTP request, once.
    pub(crate) fn send_http(&mut self, context: &mut Context, answer: &HttpAnswer<'_>) -> bool {
        let Some(request) = context.note::<HttpRequest>().filter(|request| !request.is_answered) else { return false };
        let keeps_open = request.keeps_open;
        let bytes = self.build_http(context, answer, keeps_open);
        context.set_note(HttpRequest { keeps_open, is_answered: true });
        let arrival = context.arrival;
        let way = Way {
            socket: arrival.socket,
            transport: arrival.transport,
            peer: arrival.source,
            connection: arrival.connection,
            server_name: None,
        };
        self.outbox.push(Outgoing { way, bytes, sender: None });
        if let (false, Some(connection)) = (keeps_open, arrival.connection) {
            self.to_close.push(connection);
        }
        true
    }

    fn build_http(&self, context: &Context, answer: &HttpAnswer<'_>, keeps_open: bool) -> Bytes {
        let mut text = format!("HTTP/1.1 {} ", answer.code).into_bytes();
        text.extend(one_line(answer.reason));
        text.extend_from_slice(b"\r\n");
        if let Some(server) = &self.shared.settings.server_header {
            text.extend_from_slice(server.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(&context.reply_headers);
        if !answer.content_type.is_empty() {
            text.extend_from_slice(b"Content-Type: ");
            text.extend(one_line(answer.content_type));
            text.extend_from_slice(b"\r\n");
        }
        let connection = if keeps_open { "" } else { "Connection: close\r\n" };
        text.extend_from_slice(format!("{connection}Content-Length: {}\r\n\r\n", answer.body.len()).as_bytes());
        // The answer to HEAD has the length and no body (RFC 9110 section 9.3.2).
        if context.message.method_text() != b"HEAD" {
            text.extend_from_slice(answer.body);
        }
        text.into()
    }

    /// The route is over: whoever got no answer learns that, rather than to wait for ever.
    pub(crate) fn finish_http(&mut self, context: &mut Context) {
        if context.note::<HttpRequest>().is_some_and(|request| !request.is_answered) {
            refuse(self, context, 500, "Internal Server Error");
        }
    }

    /// There is no room to wait in.
    pub(crate) fn refuse_http(&mut self, context: &mut Context) {
        if context.note::<HttpRequest>().is_some() {
            refuse(self, context, 503, "Service Unavailable");
        }
    }
}

/// What a script gives must not begin a header of its own.
fn one_line(text: &[u8]) -> impl Iterator<Item = u8> {
    text.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POST: &[u8] = b"POST /RPC HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";

    fn framer() -> HttpFramer {
        HttpFramer::new(Limits::default())
    }

    #[test]
    fn a_request_is_found_whatever_the_pieces() {
        let mut framer = framer();
        for end in 1..POST.len() {
            assert_eq!(framer.poll(&POST[..end]), Frame::NeedMore, "{end}");
        }
        assert_eq!(framer.poll(POST), Frame::Message(POST.len()));
        assert_eq!(framer.poll(&[POST, b"GET"].concat()), Frame::Message(POST.len()));
        assert_eq!(framer.poll(b"\r\nGET / HTTP/1.1\r\n\r\n"), Frame::Skip(2));
        assert_eq!(framer.poll(b"GET / HTTP/1.1\r\n\r\n"), Frame::Message(18));
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
        let body = |headers: &str| body_length(format!("POST / HTTP/1.1\r\n{headers}\r\n").as_bytes());
        assert_eq!(body(""), Body::Length(0));
        assert_eq!(body("content-length: 7\r\nContent-Length: 7\r\n"), Body::Length(7));
        assert_eq!(body("Content-Length: 7\r\nContent-Length: 8\r\n"), Body::Unknown);
        assert_eq!(body("Content-Length: +7\r\n"), Body::Unknown);
        assert_eq!(body("Content-Length: 99999999999\r\n"), Body::Unknown);
        assert_eq!(body("Transfer-Encoding: chunked\r\nContent-Length: 7\r\n"), Body::Coded);
    }

    // RFC 9112 section 9.3.
    #[test]
    fn a_connection_stays_open_unless_the_client_says_otherwise() {
        let keeps = |head: &str| keeps_open(format!("GET / {head}\r\n").as_bytes());
        assert!(keeps("HTTP/1.1\r\nHost: a\r\n"));
        assert!(!keeps("HTTP/1.1\r\nConnection: x, Close\r\n"));
        assert!(!keeps("HTTP/1.0\r\n"));
        assert!(keeps("HTTP/1.0\r\nConnection: keep-alive\r\n"));
        assert!(!keeps("HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"));
    }

    #[test]
    fn a_head_without_end_has_a_bound() {
        let long = [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; 70_000]].concat();
        assert_eq!(framer().poll(&long), Frame::Broken);
    }
}
