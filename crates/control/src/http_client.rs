//! The smallest HTTP client that webhooks and trace collectors need: one POST on a connection of its own.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
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
    let exchange = async {
        let stream = connect(url.clone()).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let mut request = Request::post(&url.path).header("Host", url.authority()).header("Connection", "close");
        request = request.header("Content-Type", "application/json").header("User-Agent", "ser");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        let talk = async {
            let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let status = answer.status();
            // A body that is too long or breaks off changes nothing of the verdict.
            let _ = Limited::new(answer.into_body(), ANSWER).collect().await;
            Ok(status)
        };
        tokio::pin!(talk);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            biased;
            status = &mut talk => status,
            ended = &mut connection => match ended {
                Ok(()) => talk.await,
                Err(error) => Err(error.to_string()),
            },
        }
    };
    tokio::time::timeout(patience, exchange).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
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
