//! Connections over real loopback sockets. Time-outs run on tokio's paused clock, which jumps to
//! the next deadline once no task has anything left to do.

mod tcp;
mod tls;
mod websocket;

use std::io;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::framing::tests::LineFramer;
use super::*;

/// What a sink was told.
#[derive(Debug)]
enum Told {
    Message(Arc<Connection>, Bytes),
    Request(Arc<Connection>, Bytes),
    Closed(Closed),
    SendFailed(u64, io::ErrorKind),
}

struct Recorder {
    told: mpsc::UnboundedSender<Told>,
    allowed_origin: Option<&'static str>,
}

impl Sink for Recorder {
    fn new_framer(&self) -> Box<dyn Framer> {
        Box::new(LineFramer)
    }
    fn on_message(&self, connection: &Arc<Connection>, message: Bytes) {
        let _ = self.told.send(Told::Message(Arc::clone(connection), message));
    }
    fn on_request(&self, connection: &Arc<Connection>, request: Bytes) -> Result<(), Bytes> {
        if request.starts_with(b"?refuse") {
            return Err(Bytes::from_static(b"refused\n"));
        }
        let _ = self.told.send(Told::Request(Arc::clone(connection), request));
        Ok(())
    }
    fn on_closed(&self, _: &Arc<Connection>, why: Closed) {
        let _ = self.told.send(Told::Closed(why));
    }
    fn on_send_failed(&self, _: SocketAddr, _: Protocol, token: u64, kind: io::ErrorKind) {
        let _ = self.told.send(Told::SendFailed(token, kind));
    }
    fn accepts_websocket(&self, opening: &WebSocketOpening<'_>) -> bool {
        self.allowed_origin.is_none() || opening.origin == self.allowed_origin
    }
}

/// Streams with what their sink was told.
struct Node {
    streams: Streams,
    told: mpsc::UnboundedReceiver<Told>,
}

impl Node {
    fn new(settings: StreamSettings) -> Node {
        Node::with_origin(settings, None)
    }

    fn with_origin(settings: StreamSettings, allowed_origin: Option<&'static str>) -> Node {
        let (sender, told) = mpsc::unbounded_channel();
        let sink = Arc::new(Recorder { told: sender, allowed_origin });
        Node { streams: Streams::new(Handle::current(), settings, sink), told }
    }

    fn listen(&self, protocol: Protocol) -> SocketAddr {
        let any = "127.0.0.1:0".parse().unwrap();
        self.streams.listen(protocol, any, None).unwrap()
    }

    async fn told(&mut self) -> Told {
        // Longer than any time-out under test, as a paused clock would jump to it.
        let told = tokio::time::timeout(Duration::from_secs(1000), self.told.recv()).await;
        told.expect("the sink was told nothing").expect("the streams live")
    }

    async fn message(&mut self) -> (Arc<Connection>, Bytes) {
        match self.told().await {
            Told::Message(connection, message) => (connection, message),
            other => panic!("no message: {other:?}"),
        }
    }

    async fn request(&mut self) -> (ConnectionId, Bytes) {
        match self.told().await {
            Told::Request(connection, request) => (connection.id, request),
            other => panic!("no request: {other:?}"),
        }
    }

    async fn closed(&mut self) -> Closed {
        match self.told().await {
            Told::Closed(why) => why,
            other => panic!("not closed: {other:?}"),
        }
    }

    /// Waits until a connection, or an attempt at one, is gone.
    async fn released(&self) {
        let mut released = self.streams.inner.released.subscribe();
        released.changed().await.unwrap();
    }

    fn send(&self, to: Destination<'_>, message: &'static str) -> Result<(), Refused> {
        self.streams.send(to, Bytes::from_static(message.as_bytes()))
    }
}

fn to_peer(peer: SocketAddr, protocol: Protocol, token: u64) -> Destination<'static> {
    Destination {
        connection: None,
        peer,
        protocol,
        local: None,
        server_name: None,
        may_connect: true,
        is_bound: false,
        token,
    }
}

fn back(connection: &Connection) -> Destination<'static> {
    Destination {
        connection: Some(connection.id),
        may_connect: false,
        ..to_peer(connection.peer, connection.protocol, 0)
    }
}

fn client(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Reads on a thread of its own, so that the runtime goes on meanwhile.
async fn read(stream: &TcpStream, len: usize) -> Vec<u8> {
    let mut stream = stream.try_clone().unwrap();
    let reading = tokio::task::spawn_blocking(move || {
        let mut bytes = vec![0; len];
        stream.read_exact(&mut bytes).map(|()| bytes)
    });
    reading.await.unwrap().unwrap()
}

fn write(mut stream: &TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
}
