//! The smallest HTTP client that webhooks, trace collectors and functions of scripts need: each request on a connection of its own.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::http::request::Builder;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use module_api::{Web, WebAnswer, WebExchange, WebRequest};
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection to a web server.
pub trait Link: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Link for T {}

/// A connection that is being opened.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Link>>> + Send>>;

/// Opens a connection to a URL's host: whoever has certificates and names knows how.
pub type Connect = Arc<dyn Fn(Url) -> Connecting + Send + Sync>;

/// An `http` or `https` URL.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether it is `https`.
    pub is_secure: bool,
    /// The host, an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Path and query, beginning with a slash.
    pub path: String,
}

impl Url {
    /// Reads a URL.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub fn parse(text: &str) -> Result<Url, String> {
        let refuse = |why: &str| Err(format!("`{text}` is no http or https URL: {why}"));
        let (is_secure, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return refuse("it must begin with http:// or https://"),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (place, path) = rest.split_at(end);
        if place.contains('@') {
            return refuse("user and password do not belong into it");
        }
        let (host, port) = match place.strip_prefix('[').and_then(|place| place.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        };
        let port = match port.map(str::parse::<u16>) {
            None => {
                if is_secure {
                    443
                } else {
                    80
                }
            }
            Some(Ok(port)) if port > 0 => port,
            Some(_) => return refuse("the port is none"),
        };
        if host.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return refuse("the host is missing, or it holds what a URL may not");
        }
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Url { is_secure, host: host.to_owned(), port, path })
    }

    /// Host and port as a Host header has them.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.is_secure, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Url {
    /// Without the query, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path.split('?').next().unwrap_or_default())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// How much of an answer's body is read, so that the connection ends in order.
const ANSWER: usize = 64 * 1024;

/// Sends `body` to `url` and gives the status of the answer.
///
/// # Errors
/// In words, when no answer comes within `patience`.
pub async fn post(
    connect: &Connect,
    url: &Url,
    headers: &[(&'static str, String)],
    body: Bytes,
    patience: Duration,
) -> Result<StatusCode, String> {
    let mut request = Request::post(&url.path).header("Content-Type", "application/json").header("User-Agent", "ser");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let talk = |answer: Response<Incoming>| async move {
        let status = answer.status();
        // A body that is too long or breaks off changes nothing of the verdict.
        let _ = Limited::new(answer.into_body(), ANSWER).collect().await;
        Ok(status)
    };
    let exchange = exchange(connect, url, request, body, talk);
    tokio::time::timeout(patience, exchange).await.unwrap_or_else(|_| Err(LATE.to_owned()))
}

const LATE: &str = "no answer in time";

/// The web, for functions of scripts.
#[derive(Clone)]
pub struct WebClient(pub Connect);

impl Web for WebClient {
    fn fetch(&self, request: WebRequest) -> WebExchange {
        let connect = Arc::clone(&self.0);
        Box::pin(async move {
            let patience = request.patience;
            tokio::time::timeout(patience, fetch(&connect, request)).await.unwrap_or_else(|_| Err(LATE.to_owned()))
        })
    }
}

async fn fetch(connect: &Connect, wanted: WebRequest) -> Result<WebAnswer, String> {
    let url = Url::parse(&wanted.url)?;
    let mut request = Request::builder().method(wanted.method.as_str()).uri(&url.path);
    for (name, value) in &wanted.headers {
        request = request.header(name, value);
    }
    let longest = wanted.longest;
    let talk = move |answer: Response<Incoming>| async move {
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, longest).collect().await;
        let body = body.map_err(|_| format!("the answer breaks off, or is longer than {longest} bytes"))?.to_bytes();
        let headers = head
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), Bytes::copy_from_slice(value.as_bytes())));
        Ok(WebAnswer {
            status: head.status.as_u16(),
            reason: head.status.canonical_reason().unwrap_or_default().to_owned(),
            headers: headers.collect(),
            body,
        })
    };
    exchange(connect, &url, request, wanted.body, talk).await
}

/// One request and its answer on a connection of their own.
async fn exchange<T, F: Future<Output = Result<T, String>> + Send>(
    connect: &Connect,
    url: &Url,
    request: Builder,
    body: Bytes,
    take: impl FnOnce(Response<Incoming>) -> F + Send,
) -> Result<T, String> {
    let stream = connect(url.clone()).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let request = request.header("Host", url.authority()).header("Connection", "close");
    let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
    let talk = async {
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        take(answer).await
    };
    tokio::pin!(talk);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        told = &mut talk => told,
        ended = &mut connection => match ended {
            Ok(()) => talk.await,
            Err(error) => Err(error.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_shown_without_their_query() {
        let url = Url::parse("https://hooks.example.com/ser?key=secret").expect("a URL");
        assert_eq!((url.is_secure, url.port, &*url.path), (true, 443, "/ser?key=secret"));
        assert_eq!(format!("{url} {url:?}"), "https://hooks.example.com/ser https://hooks.example.com/ser");
        let url = Url::parse("http://[2001:db8::1]:8080").expect("a URL");
        assert_eq!((&*url.host, url.port, &*url.path), ("2001:db8::1", 8080, "/"));
        assert_eq!(url.authority(), "[2001:db8::1]:8080");
        for text in ["", "ftp://x", "http://", "http://a:b@c", "http://h:0", "http://h:x", "http://a b/"] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }
}
