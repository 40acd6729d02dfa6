//! The web as functions of the script ask it.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

/// A request to a web server.
#[derive(Debug, Clone)]
pub struct WebRequest {
    /// `GET`, `POST`, ...
    pub method: String,
    /// An `http` or `https` URL.
    pub url: String,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// The body; empty for none.
    pub body: Bytes,
    /// How long the whole exchange may take.
    pub patience: Duration,
    /// Longest body of an answer, in bytes; a longer one is a failure.
    pub longest: usize,
}

/// What a web server says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebAnswer {
    /// The status code.
    pub status: u16,
    /// What the code means.
    pub reason: String,
    /// Headers, their names in small letters.
    pub headers: Vec<(String, Bytes)>,
    /// The body.
    pub body: Bytes,
}

/// An answer on its way; a failure is a phrase for the operator.
pub type WebExchange = Pin<Box<dyn Future<Output = Result<WebAnswer, String>> + Send>>;

/// Asks web servers.
pub trait Web: Send + Sync {
    /// Sends a request on a connection of its own. Whatever the status, an answer is an answer.
    fn fetch(&self, request: WebRequest) -> WebExchange;
}
