//! The HTTP side: JSON-RPC, a path for each command, metrics, events and health.

mod metrics;
mod patient;
mod places;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HOST, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use module_api::{CommandError, Data, Level};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::commands::Server;
use crate::events::stream::EventStream;
use crate::events::{Bus, Filter, Subscription, websocket};
use crate::ground::{FrontEnd, Ground};
use crate::json::{Json, to_text};
use crate::json_rpc;
use crate::openapi;
use crate::path::OpenError;

use metrics::Format;
use patient::Patient;
use places::{Full as NoPlace, Places};

/// How the HTTP side listens and whom it lets in.
#[derive(Clone)]
pub struct HttpSettings {
    /// Where it listens.
    pub address: SocketAddr,
    /// What callers from other machines must show; none: nobody but this machine may listen to it.
    pub token: Option<String>,
    /// Where events come from.
    pub bus: Bus,
}

/// Serves HTTP. Returns the address with the port that the kernel chose where 0 was asked for.
///
/// # Errors
/// When the address cannot be listened at, or others could reach it and no token keeps them out.
pub fn open(
    ground: &Ground,
    server: Arc<dyn Server>,
    settings: &HttpSettings,
) -> Result<(FrontEnd, SocketAddr), OpenError> {
    let refuse = |cause: &dyn std::fmt::Display| OpenError::new(settings.address, cause);
    if !settings.address.ip().is_loopback() && settings.token.is_none() {
        return Err(refuse(&"others could control the server; give a token or listen on 127.0.0.1 or [::1]"));
    }
    let _inside = ground.runtime.enter();
    let bind = || {
        let listener = std::net::TcpListener::bind(settings.address)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    let listener = bind().map_err(|error| refuse(&error))?;
    let address = listener.local_addr().map_err(|error| refuse(&error))?;
    let site =
        Arc::new(Site { ground: ground.clone(), server, token: settings.token.clone(), bus: settings.bus.clone() });
    Ok((FrontEnd::start(ground, None, accept(site, listener)), address))
}

/// What is served.
struct Site {
    ground: Ground,
    server: Arc<dyn Server>,
    token: Option<String>,
    bus: Bus,
}

type Answer = Response<Either<Full<Bytes>, EventStream>>;

async fn accept(site: Arc<Site>, listener: TcpListener) {
    let limits = site.ground.limits;
    let places = Places::new(limits.clients, limits.clients_each);
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            // No file left to open. The clients that have one give it back.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            continue;
        };
        let place = match places.take(peer.ip()) {
            Ok(place) => place,
            Err(full) => {
                // What a fresh socket's buffer does not take, the client does not get.
                let _ = stream.try_write(no_place(full).as_bytes());
                continue;
            }
        };
        let site = Arc::clone(&site);
        tokio::spawn(async move {
            serve(site, stream, peer).await;
            drop(place);
        });
    }
}

fn no_place(full: NoPlace) -> String {
    let (status, text) = match full {
        NoPlace::All => ("503 Service Unavailable", "too many clients\n"),
        NoPlace::Yours => ("429 Too Many Requests", "too many clients of your address\n"),
    };
    let length = text.len();
    format!("HTTP/1.1 {status}\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{text}")
}

async fn serve(site: Arc<Site>, stream: TcpStream, peer: SocketAddr) {
    let patience = site.ground.limits.patience;
    let service = service_fn(move |request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, std::convert::Infallible>(site.answer(request, peer).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Counts between two requests too, so that an idle client gives its place back.
        .header_read_timeout(patience)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(Patient::new(stream, patience)), service)
        .with_upgrades();
    // A client that breaks the protocol or is gone has got what it can get.
    let _ = connection.await;
}

impl Site {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Answer {
        let path = request.uri().path().to_owned();
        // Health says nothing that a stranger may not know.
        match (request.method(), &*path) {
            (&Method::GET, "/healthz") => return plain(StatusCode::OK, "ok\n"),
            (&Method::GET, "/readyz") if self.server.is_ready() => return plain(StatusCode::OK, "ready\n"),
            (&Method::GET, "/readyz") => return plain(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            _ => {}
        }
        if let Some(refusal) = self.refuse(&request, peer) {
            return refusal;
        }
        let command = path.strip_prefix("/commands/").map(str::to_owned);
        match (request.method().clone(), &*path) {
            (Method::GET, "/metrics") => {
                let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
                let format = Format::accepted(accept.unwrap_or_default());
                respond(StatusCode::OK, format.media_type(), metrics::text(self.server.statistics(), format).into())
            }
            (Method::GET, "/events") => self.events(request, peer),
            (Method::GET, "/openapi.json") => {
                let all = self.ground.commands.all();
                json_response(StatusCode::OK, to_text(&openapi::document(&all, &self.server.version()), true))
            }
            (Method::POST, "/RPC" | "/rpc") => match self.body(request).await {
                Ok(document) => match json_rpc::answer(&self.ground.commands, &document, false).await {
                    Some(answer) => json_response(StatusCode::OK, answer),
                    None => plain(StatusCode::NO_CONTENT, ""),
                },
                Err(refusal) => *refusal,
            },
            (Method::POST, _) if command.is_some() => match self.body(request).await {
                Ok(arguments) => self.call(&command.unwrap_or_default(), &arguments).await,
                Err(refusal) => *refusal,
            },
            (_, "/metrics" | "/events" | "/openapi.json" | "/healthz" | "/readyz") => {
                problem(StatusCode::METHOD_NOT_ALLOWED, "this page is read with GET")
            }
            (_, "/RPC" | "/rpc") => problem(StatusCode::METHOD_NOT_ALLOWED, "commands are sent with POST"),
            _ => problem(
                StatusCode::NOT_FOUND,
                "there are /RPC, /commands/NAME, /events, /metrics, /healthz, /readyz, /openapi.json",
            ),
        }
    }

    /// A stream of events: over WebSocket where the client asks for that, else as server-sent events.
    fn events(&self, mut request: Request<Incoming>, peer: SocketAddr) -> Answer {
        let filter = match Filter::parse(request.uri().query().unwrap_or_default()) {
            Ok(filter) => filter,
            Err(error) => return problem(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        let is_socket = websocket::is_asked_for(request.headers());
        let what = if is_socket { "WebSocket" } else { "stream" };
        let Some(subscription) = self.bus.subscribe(format!("{what} {peer}"), filter) else {
            return problem(StatusCode::SERVICE_UNAVAILABLE, "as many listen to events as may; try again later");
        };
        if is_socket {
            return self.websocket(&mut request, subscription);
        }
        let mut response = Response::new(Either::Right(EventStream::new(subscription)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    fn websocket(&self, request: &mut Request<Incoming>, subscription: Subscription) -> Answer {
        let Some(accept) = websocket::accept_key(request.headers()) else {
            let mut refusal = problem(StatusCode::UPGRADE_REQUIRED, "WebSocket is spoken in version 13 (RFC 6455)");
            refusal.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            return refusal;
        };
        let upgrade = hyper::upgrade::on(request);
        let patience = self.ground.limits.patience;
        self.ground.runtime.spawn(async move {
            // A client that goes away before it is answered listens to nothing.
            if let Ok(upgraded) = upgrade.await {
                websocket::serve(upgraded, subscription, patience).await;
            }
        });
        let mut response = plain(StatusCode::SWITCHING_PROTOCOLS, "");
        response.headers_mut().remove(CONTENT_TYPE);
        response.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept);
        response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        response
    }

    /// This machine needs no token where none is set; a page in a browser on this machine is a stranger.
    fn refuse(&self, request: &Request<Incoming>, peer: SocketAddr) -> Option<Answer> {
        let headers = request.headers();
        if let Some(token) = &self.token {
            let shown = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
            let shown = shown.and_then(|value| value.strip_prefix(b"Bearer ")).unwrap_or_default();
            if bool::from(shown.ct_eq(token.as_bytes())) {
                return None;
            }
            (self.ground.log)(Level::Info, &format!("HTTP: {peer} showed no valid token"));
            let mut refusal = problem(StatusCode::UNAUTHORIZED, "send the header `Authorization: Bearer TOKEN`");
            refusal.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return Some(refusal);
        }
        if headers.contains_key(ORIGIN) {
            return Some(problem(StatusCode::FORBIDDEN, "pages of other sites may not control the server"));
        }
        // A target with an authority goes before the header (RFC 9112 section 3.2.2).
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = request.uri().authority().map(|authority| authority.as_str()).or(host);
        if !host.is_some_and(is_this_machine) {
            let text = "call it by the name localhost, 127.0.0.1 or [::1]; other names need --http-token-file";
            return Some(problem(StatusCode::FORBIDDEN, text));
        }
        None
    }

    async fn body(&self, request: Request<Incoming>) -> Result<Bytes, Box<Answer>> {
        // A form or a script of another site can send text without asking, but not JSON.
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
            let text = "send the header `Content-Type: application/json`";
            return Err(Box::new(problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, text)));
        }
        let limits = self.ground.limits;
        let whole = Limited::new(request.into_body(), limits.request).collect();
        match timeout(limits.patience, whole).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                let text = format!("a request holds {} bytes at most", limits.request);
                Err(Box::new(problem(StatusCode::PAYLOAD_TOO_LARGE, &text)))
            }
            Ok(Err(_)) => Err(Box::new(problem(StatusCode::BAD_REQUEST, "the request broke off"))),
            Err(_) => Err(Box::new(problem(StatusCode::REQUEST_TIMEOUT, "the request did not end in time"))),
        }
    }

    /// One command, its arguments an object or a list.
    async fn call(&self, name: &str, arguments: &[u8]) -> Answer {
        let result = match json_rpc::body_arguments(&self.ground.commands, name, arguments) {
            Ok(args) => self.ground.commands.call(name, args).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(data) => json_response(StatusCode::OK, data_text(&data)),
            Err(error) => {
                json_response(status(&error), to_text(&json!({"code": error.code, "message": error.reason}), false))
            }
        }
    }
}

/// What a peer answered over SIP is not what this server answers over HTTP: 401 would ask the caller for a password.
fn status(error: &CommandError) -> StatusCode {
    if error.is_of_peer {
        return StatusCode::BAD_GATEWAY;
    }
    let status = StatusCode::from_u16(error.code).ok();
    status
        .filter(|status| status.is_client_error() || status.is_server_error())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Whether a `Host` header names this machine. A page of another site whose name its owner has pointed at 127.0.0.1
/// would send that name.
fn is_this_machine(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, port)) => (name, port.strip_prefix(':').unwrap_or(port)),
            None => return false,
        },
        None => host.split_once(':').unwrap_or((host, "")),
    };
    let is_loopback = || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    port.bytes().all(|byte| byte.is_ascii_digit()) && (name.eq_ignore_ascii_case("localhost") || is_loopback())
}

fn data_text(data: &Data) -> Vec<u8> {
    to_text(&Json(data), false)
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    respond(status, "text/plain; charset=utf-8", text.into())
}

fn json_response(status: StatusCode, text: Vec<u8>) -> Answer {
    respond(status, "application/json", text.into())
}

fn problem(status: StatusCode, message: &str) -> Answer {
    let value: Value = json!({"code": status.as_u16(), "message": message});
    json_response(status, to_text(&value, false))
}

fn respond(status: StatusCode, kind: &'static str, body: Bytes) -> Answer {
    let mut response = Response::new(Either::Left(Full::new(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_go_without_a_token() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:8080"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in ["", "evil.example", "localhost.evil.example:80", "192.0.2.7", "[2001:db8::1]:80", "[::1", "[::1]x"]
        {
            assert!(!is_this_machine(host), "{host}");
        }
    }

    #[test]
    fn a_status_of_sip_is_no_status_of_http() {
        assert_eq!(status(&CommandError::of_peer(401, "Unauthorized")), 502);
        assert_eq!(status(&CommandError::new(404, "not there")), 404);
        assert_eq!(status(&CommandError::new(606, "no status of HTTP")), 500);
    }
}
