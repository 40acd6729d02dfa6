//! Opening a connection because a message wants to go there.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::kernel::KernelOptions;
use super::queue::{Queued, WriteQueue};
use super::serve::{self, Link};
use super::streams::{Inner, Slot};
use super::{Connection, Sink};
use crate::Protocol;
use crate::tls::{TlsClient, identities};

/// A connection to open. It is in the table already, and its queue holds the first message.
pub(super) struct Dial {
    pub(super) slot: Slot,
    pub(super) queue: Arc<WriteQueue>,
    pub(super) peer: SocketAddr,
    pub(super) local: Option<IpAddr>,
    pub(super) server_name: Option<Box<str>>,
    pub(super) tls: Option<Arc<TlsClient>>,
}

/// Opens, and serves to the end.
pub(super) async fn run(inner: Arc<Inner>, dial: Dial) {
    let protocol = if dial.tls.is_some() { Protocol::Tls } else { Protocol::Tcp };
    let (queue, peer) = (Arc::clone(&dial.queue), dial.peer);
    if let Err(error) = open(&inner, dial, protocol).await {
        // Nothing refers to the connection any more, and what was queued did not leave.
        for message in queue.close() {
            report(&*inner.sink, &message, peer, protocol, error.kind());
        }
    }
}

/// Tells the sink of a message that did not leave.
pub(super) fn report(sink: &dyn Sink, message: &Queued, peer: SocketAddr, protocol: Protocol, kind: io::ErrorKind) {
    if let Some(token) = message.token {
        sink.on_send_failed(peer, protocol, token, kind);
    }
}

async fn open(inner: &Arc<Inner>, dial: Dial, protocol: Protocol) -> io::Result<()> {
    let connecting = connect_tcp(dial.peer, dial.local, &inner.settings.kernel);
    let stream = timeout(inner.settings.connect_timeout, connecting).await??;
    let local = stream.local_addr()?;
    let link = |identities| {
        inner.tally.connected.fetch_add(1, Ordering::Relaxed);
        let connection =
            Connection { id: dial.slot.id, protocol, peer: dial.peer, local, is_outgoing: true, identities };
        Link::new(Arc::clone(inner), dial.slot, dial.queue, connection)
    };
    let Some(tls) = dial.tls else {
        let link = link(Vec::new());
        link.served(serve::serve(stream, &link)).await;
        return Ok(());
    };
    let handshake = tls.connect(stream, dial.server_name.as_deref(), dial.peer.ip());
    let handshake = timeout(inner.settings.handshake_timeout, handshake).await;
    let stream = handshake.map_err(io::Error::from).flatten().inspect_err(|_| {
        inner.tally.failed_handshakes.fetch_add(1, Ordering::Relaxed);
    })?;
    let proven = tls.verifies().then(|| stream.get_ref().1.peer_certificates());
    let link = link(identities(proven.flatten()));
    link.served(serve::serve(stream, &link)).await;
    Ok(())
}

async fn connect_tcp(peer: SocketAddr, local: Option<IpAddr>, options: &KernelOptions) -> io::Result<TcpStream> {
    let socket = if peer.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    let local =
        options.source(peer.is_ipv6()).or(local).filter(|ip| ip.is_ipv4() == peer.is_ipv4() && !ip.is_unspecified());
    if let Some(local) = local {
        socket.bind(SocketAddr::new(local, 0))?;
    }
    socket.set_nodelay(true)?;
    options.apply(&socket, peer.is_ipv6())?;
    socket.connect(peer).await
}
