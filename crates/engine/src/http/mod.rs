//! HTTP where SIP is spoken: requests on TCP and TLS listeners, answered by `event_route[xhttp:request]`.

mod head;

use std::sync::Arc;

use bytes::Bytes;
use memchr::memchr;
use module_api::{Arrival, Context, Host, HttpAnswer, HttpRequest, RouteKind};
use sip_message::Message;

use crate::worker_core::{Core, Shared};

pub(crate) use head::{Head, HttpFramer, is_request};
use head::{Refusal, VERSION_LENGTH};

/// The answer of an HTTP request on its way out.
#[derive(Debug)]
pub(crate) struct HttpOut {
    /// Where the request came in.
    pub(crate) connection: u64,
    pub(crate) bytes: Bytes,
    /// Whether the connection ends behind it.
    pub(crate) closes: bool,
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

/// Runs the script's route on a request, or says that there is none. Runs on the worker that has the connection's
/// requests.
pub(crate) fn answer(host: &mut dyn Host, message: Arc<Message>, arrival: Arrival, how: How) {
    let mut context = Context::new(message, arrival, RouteKind::Event);
    context.set_note(HttpRequest { keeps_open: how.keeps_open, is_answered: false });
    match host.find_route(None, RouteKind::Event, "xhttp:request").filter(|_| how.is_taken) {
        Some(route) => host.start_route(route, context),
        None => refuse(host, &mut context, (404, "Not Found")),
    }
}

fn refuse(host: &mut dyn Host, context: &mut Context, (code, reason): Refusal) {
    let body = format!("{reason}\n");
    host.answer_http(context, &words(code, reason, &body));
}

fn words<'a>(code: u16, reason: &'a str, body: &'a str) -> HttpAnswer<'a> {
    HttpAnswer { code, reason: reason.as_bytes(), content_type: b"text/plain", body: body.as_bytes() }
}

/// The answer to a request that no worker sees. The connection is closed behind it.
pub(crate) fn refusal(shared: &Shared, (code, reason): Refusal) -> Bytes {
    let body = format!("{reason}\n");
    let form =
        Form { server: shared.settings.server_header.as_deref(), headers: b"", has_body: true, keeps_open: false };
    form.write(&words(code, reason, &body))
}

pub(crate) const BAD_REQUEST: Refusal = (400, "Bad Request");
pub(crate) const NO_ROOM: Refusal = (503, "Service Unavailable");

impl Core {
    /// Answers an HTTP request, once.
    pub(crate) fn send_http(&mut self, context: &mut Context, answer: &HttpAnswer<'_>) -> bool {
        let Some(request) = context.note::<HttpRequest>().filter(|request| !request.is_answered) else { return false };
        let keeps_open = request.keeps_open;
        let Some(connection) = context.arrival.connection else { return false };
        let form = Form {
            server: self.shared.settings.server_header.as_deref(),
            headers: &context.reply_headers,
            // The answer to HEAD has the length and no body (RFC 9110 section 9.3.2).
            has_body: context.message.method_text() != b"HEAD",
            keeps_open,
        };
        self.http_answers.push(HttpOut { connection, bytes: form.write(answer), closes: !keeps_open });
        context.set_note(HttpRequest { keeps_open, is_answered: true });
        true
    }

    /// The route is over: whoever got no answer learns that, rather than to wait for ever.
    pub(crate) fn finish_http(&mut self, context: &mut Context) {
        if context.note::<HttpRequest>().is_some_and(|request| !request.is_answered) {
            refuse(self, context, (500, "Internal Server Error"));
        }
    }

    /// There is no room to wait in.
    pub(crate) fn refuse_http(&mut self, context: &mut Context) {
        if context.note::<HttpRequest>().is_some() {
            refuse(self, context, NO_ROOM);
        }
    }
}

/// How an answer is written, beside what it says.
struct Form<'a> {
    server: Option<&'a str>,
    headers: &'a [u8],
    has_body: bool,
    keeps_open: bool,
}

impl Form<'_> {
    fn write(&self, answer: &HttpAnswer<'_>) -> Bytes {
        let mut text = format!("HTTP/1.1 {} ", answer.code).into_bytes();
        text.extend(one_line(answer.reason));
        text.extend_from_slice(b"\r\n");
        if let Some(server) = self.server {
            text.extend_from_slice(server.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(self.headers);
        if !self.keeps_open {
            text.extend_from_slice(b"Connection: close\r\n");
        }
        // These have no body, and no length of one (RFC 9110 section 8.6).
        if answer.code < 200 || answer.code == 204 {
            text.extend_from_slice(b"\r\n");
            return text.into();
        }
        if !answer.content_type.is_empty() {
            text.extend_from_slice(b"Content-Type: ");
            text.extend(one_line(answer.content_type));
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(format!("Content-Length: {}\r\n\r\n", answer.body.len()).as_bytes());
        if self.has_body {
            text.extend_from_slice(answer.body);
        }
        text.into()
    }
}

/// What a script gives must not begin a header of its own.
fn one_line(text: &[u8]) -> impl Iterator<Item = u8> {
    text.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0))
}
