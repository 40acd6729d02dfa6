//! Events over WebSocket (RFC 6455): a text message for each.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::header::{CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::time::{interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::Subscription;

/// Whether a request asks for a WebSocket.
pub(crate) fn is_asked_for(headers: &HeaderMap) -> bool {
    let has = |name, token: &str| {
        let text = headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
        text.split(',').any(|part| part.trim().eq_ignore_ascii_case(token))
    };
    has(UPGRADE, "websocket") && has(CONNECTION, "upgrade")
}

/// The answer to the client's key, where it speaks the version that we do (RFC 6455 section 4.2.2).
pub(crate) fn accept_key(headers: &HeaderMap) -> Option<HeaderValue> {
    let is_version = headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|_| is_version)?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()
}

/// A client is not expected to say much.
const LONGEST: usize = 4096;
/// How often a ping asks whether the client is there.
const BEAT: Duration = Duration::from_secs(15);

/// Sends events until the client is gone, or does not take one for as long as `patience` lasts.
pub(crate) async fn serve(upgraded: Upgraded, subscription: Subscription, patience: Duration) {
    let config = WebSocketConfig::default().max_message_size(Some(LONGEST)).max_frame_size(Some(LONGEST));
    let stream = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let (mut sink, mut source) = stream.split();
    let mut beat = interval(BEAT);
    loop {
        let message = tokio::select! {
            delivery = subscription.next() => Message::text(delivery.json()),
            _ = beat.tick() => Message::Ping("ser".into()),
            // Pongs and closes are dealt with inside; what else a client says has no meaning.
            heard = source.next() => match heard {
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => continue,
            },
        };
        if !matches!(timeout(patience, sink.send(message)).await, Ok(Ok(()))) {
            break;
        }
    }
    // A client that is gone needs no farewell.
    let _ = timeout(patience, sink.close()).await;
}
