//! Accepting: limits first, then handshakes in a task each, then the connection is served.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::serve::{self, Link};
use super::streams::{Inner, Slot};
use super::table::Entry;
use super::{Connection, websocket};
use crate::Protocol;
use crate::tls::{TlsServer, identities};

/// Accepts until the streams shut down.
pub(super) async fn run(
    inner: Arc<Inner>,
    listener: TcpListener,
    protocol: Protocol,
    tls: Option<Arc<TlsServer>>,
    mut running: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = running.wait_for(|running| !running) => return,
        };
        match accepted {
            Ok((stream, peer)) => admit(&inner, stream, peer, protocol, tls.clone()),
            // Out of descriptors or memory: the connection stays in the backlog, and asking
            // again at once would spin. Errors of the connection itself do no harm to wait for.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Starts the task of a connection, unless a limit is reached: then it is closed at once.
fn admit(inner: &Arc<Inner>, stream: TcpStream, peer: SocketAddr, protocol: Protocol, tls: Option<Arc<TlsServer>>) {
    let slot = Slot::take(inner, &mut inner.table(), peer.ip());
    let Some(slot) = slot else {
        return;
    };
    let arrival = Arrival { inner: Arc::clone(inner), slot, peer, protocol };
    inner.spawn(async move {
        let inner = Arc::clone(&arrival.inner);
        if arrival.shake_hands(stream, tls).await.is_err() {
            inner.tally.failed_handshakes.fetch_add(1, Ordering::Relaxed);
        }
    });
}

/// A connection that is accepted and not ready yet.
struct Arrival {
    inner: Arc<Inner>,
    slot: Slot,
    peer: SocketAddr,
    protocol: Protocol,
}

impl Arrival {
    /// Does what comes before the first message, and then serves the connection to its end.
    async fn shake_hands(self, stream: TcpStream, tls: Option<Arc<TlsServer>>) -> io::Result<()> {
        let deadline = Instant::now() + self.inner.settings.handshake_timeout;
        stream.set_nodelay(true)?;
        self.inner.settings.kernel.apply(&stream, self.peer.is_ipv6())?;
        let local = stream.local_addr()?;
        let Some(tls) = tls else {
            return self.open(stream, local, Vec::new(), deadline).await;
        };
        let stream = timeout_at(deadline, tls.accept(stream)).await??;
        let names = identities(stream.get_ref().1.peer_certificates());
        self.open(stream, local, names, deadline).await
    }

    async fn open<S>(self, stream: S, local: SocketAddr, names: Vec<Box<str>>, deadline: Instant) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if matches!(self.protocol, Protocol::Ws | Protocol::Wss) {
            let opening = websocket::accept(stream, self.peer, &self.inner);
            let socket = timeout_at(deadline, opening).await??;
            let link = self.enter(local, names);
            link.served(websocket::serve(socket, &link)).await;
        } else {
            let link = self.enter(local, names);
            link.served(serve::serve(stream, &link)).await;
        }
        Ok(())
    }

    /// Enters the connection into the table: from here on messages find it.
    fn enter(self, local: SocketAddr, names: Vec<Box<str>>) -> Link {
        self.inner.tally.accepted.fetch_add(1, Ordering::Relaxed);
        let queue = self.inner.new_queue();
        let entry = Entry {
            peer: self.peer,
            protocol: self.protocol,
            queue: Arc::clone(&queue),
            names: names.clone(),
            aliases: Vec::new(),
        };
        self.inner.table().insert(self.slot.id, entry);
        if !self.inner.is_running() {
            queue.finish();
        }
        let connection = Connection {
            id: self.slot.id,
            protocol: self.protocol,
            peer: self.peer,
            local,
            is_outgoing: false,
            identities: names,
        };
        Link::new(self.inner, self.slot, queue, connection)
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
