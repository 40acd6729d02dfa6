//! WebSocket (RFC 6455) with the subprotocol `sip` (RFC 7118): each message is one frame's content.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

use super::serve::{Clock, Due, Link};
use super::streams::Inner;
use super::{Closed, PONG, Sink, WebSocketOpening};

/// The server's side of the opening handshake.
pub(super) async fn accept<S>(stream: S, peer: SocketAddr, inner: &Inner) -> io::Result<WebSocketStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let sink = &*inner.sink;
    // The error is the response, and its type is not ours to box.
    #[allow(clippy::result_large_err)]
    let decide = |request: &Request, response| answer(request, response, peer, sink);
    let opening = accept_hdr_async_with_config(stream, decide, Some(limits(inner)));
    opening.await.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

#[allow(clippy::result_large_err)]
fn answer(
    request: &Request,
    mut response: Response,
    peer: SocketAddr,
    sink: &dyn Sink,
) -> Result<Response, ErrorResponse> {
    let text = |name| request.headers().get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    // The client MUST offer `sip` and the server MUST choose it (RFC 7118 section 4.1).
    let offers = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let offers_sip = offers
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case("sip"));
    if !offers_sip {
        return Err(refusal(StatusCode::BAD_REQUEST, "subprotocol sip required"));
    }
    let opening = WebSocketOpening {
        peer,
        resource: request.uri().path_and_query().map_or("/", |path| path.as_str()),
        origin: text(header::ORIGIN),
        host: text(header::HOST),
    };
    if !sink.accepts_websocket(&opening) {
        return Err(refusal(StatusCode::FORBIDDEN, "not from here"));
    }
    let chosen = HeaderValue::from_static("sip");
    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, chosen);
    Ok(response)
}

fn refusal(status: StatusCode, text: &str) -> ErrorResponse {
    let mut response = ErrorResponse::new(Some(text.to_owned()));
    *response.status_mut() = status;
    response
}

fn limits(inner: &Inner) -> WebSocketConfig {
    let max = inner.settings.max_message_bytes;
    WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(inner.settings.write_queue_bytes + max)
        .max_message_size(Some(max))
        .max_frame_size(Some(max))
}

/// Reads and writes until one of them ends.
pub(super) async fn serve<S>(socket: WebSocketStream<S>, link: &Link) -> Closed
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (writing, reading) = socket.split();
    let (pings, ping_due) = tokio::sync::mpsc::channel(1);
    tokio::select! {
        why = read(reading, link, pings) => why,
        why = write(writing, link, ping_due) => why,
    }
}

async fn read<S>(
    mut stream: SplitStream<WebSocketStream<S>>,
    link: &Link,
    pings: tokio::sync::mpsc::Sender<()>,
) -> Closed
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut clock = Clock::start(link);
    loop {
        let (deadline, due) = clock.next(link);
        match timeout_at(deadline, stream.next()).await {
            Ok(None) => return Closed::ByPeer,
            Ok(Some(Ok(frame))) => {
                clock.heard();
                match frame {
                    // Peers may use either, and so must be ready for both (RFC 7118 section 4.2).
                    Message::Text(text) => content(text.into(), link, &mut clock),
                    Message::Binary(bytes) => content(bytes, link, &mut clock),
                    Message::Close(_) => return Closed::ByPeer,
                    // A ping is answered by the library.
                    Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                }
            }
            Ok(Some(Err(error))) => return ended(&error),
            Err(_) => match due {
                Due::Ping => {
                    clock.pinged();
                    let _ = pings.try_send(());
                }
                Due::Close(why) if clock.next(link).0 <= Instant::now() => return why,
                // Something was written meanwhile, which put the deadline off.
                Due::Close(_) => {}
            },
        }
    }
}

/// One message each; some clients also send the keep-alives that streams use.
fn content(bytes: Bytes, link: &Link, clock: &mut Clock) {
    match &bytes[..] {
        b"\r\n\r\n" => link.keep_alive(PONG),
        b"" | b"\r\n" => {}
        _ => {
            clock.message();
            link.hand_over(bytes);
        }
    }
}

async fn write<S>(
    mut stream: SplitSink<WebSocketStream<S>, Message>,
    link: &Link,
    mut ping_due: tokio::sync::mpsc::Receiver<()>,
) -> Closed
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let patience = link.inner.settings.write_timeout;
    // Nobody else locks while the connection lives; it outlasts this future when that is dropped.
    let mut taken = link.writing.lock().await;
    loop {
        let goes_on = tokio::select! {
            goes_on = link.queue.take(&mut taken) => goes_on,
            Some(()) = ping_due.recv() => {
                match timeout(patience, stream.send(Message::Ping(Bytes::new()))).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(error)) => return ended(&error),
                    Err(_) => return Closed::NotReading,
                }
            }
        };
        if !goes_on {
            let _ = timeout(patience, stream.close()).await;
            return Closed::ByUs;
        }
        for message in taken.iter() {
            match timeout(patience, stream.send(framed(&message.bytes))).await {
                Ok(Ok(())) => link.wrote(),
                Ok(Err(error)) => return ended(&error),
                Err(_) => return Closed::NotReading,
            }
        }
        link.queue.written(&mut taken);
    }
}

/// Text where the message is UTF-8, which browsers show; else binary (RFC 7118 section 4.2).
fn framed(bytes: &Bytes) -> Message {
    match Utf8Bytes::try_from(bytes.clone()) {
        Ok(text) => Message::Text(text),
        Err(_) => Message::Binary(bytes.clone()),
    }
}

fn ended(error: &Error) -> Closed {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => Closed::ByPeer,
        Error::Io(error) => Closed::Failed(error.kind()),
        Error::Capacity(_) => Closed::TooLong,
        Error::WriteBufferFull(_) => Closed::NotReading,
        _ => Closed::Malformed,
    }
}

const READ_BYTES: usize = 4096;
