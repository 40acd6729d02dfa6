//! HTTP requests that come in where SIP is spoken, and the server's commands as JSON-RPC.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use crate::State;

/// Whether a module lets `event_route[xhttp:request]` run for a request with this target (path and query).
pub type TakesHttp = fn(&Arc<dyn State>, &[u8]) -> bool;

/// Noted on the context of `event_route[xhttp:request]`, whose message is the HTTP request in the shape of a SIP
/// one: a Via of the client's address in front of its headers, the target as Request-URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// Whether the connection stays open behind the answer (RFC 9112 section 9.3).
    pub keeps_open: bool,
    /// Whether an answer has gone out; there is one for each request.
    pub is_answered: bool,
}

/// The answer to an [`HttpRequest`].
#[derive(Debug, Clone, Copy)]
pub struct HttpAnswer<'a> {
    /// Status, 200 to 999.
    pub code: u16,
    /// Reason phrase, of one line.
    pub reason: &'a [u8],
    /// Value of Content-Type, of one line; empty for none.
    pub content_type: &'a [u8],
    /// What is answered.
    pub body: &'a [u8],
}

/// The commands of the running server for scripts.
pub trait JsonRpc: Send + Sync {
    /// Answers a JSON-RPC 2.0 document; none when it holds nothing but notifications.
    fn answer(&self, document: Bytes, is_pretty: bool) -> Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send>>;
}
