//! The handle: listening, sending, closing, counting.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::connect::{self, Dial};
use super::kernel::KernelOptions;
use super::queue::{NotQueued, Queued, WriteQueue};
use super::table::{Entry, Table};
use super::{ConnectionId, Destination, Refused, Sink, StreamSettings, accept, framing, serve};
use crate::Protocol;
use crate::tls::TlsServer;

/// All stream connections of a server. Clones are the same set.
#[derive(Clone)]
pub struct Streams {
    pub(super) inner: Arc<Inner>,
}

/// What every task of a [`Streams`] shares.
pub(super) struct Inner {
    runtime: Handle,
    pub(super) settings: StreamSettings,
    pub(super) sink: Arc<dyn Sink>,
    table: Mutex<Table>,
    next_id: AtomicU64,
    pub(super) tally: Tally,
    /// False once shutting down: ends the listeners.
    running: watch::Sender<bool>,
    /// Told of each connection that is released.
    pub(super) released: watch::Sender<usize>,
}

/// Counters that only grow.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) accepted: AtomicU64,
    pub(super) connected: AtomicU64,
    pub(super) over_limit: AtomicU64,
    pub(super) failed_handshakes: AtomicU64,
    pub(super) cut_off: AtomicU64,
    pub(super) queue_full: AtomicU64,
}

/// Figures for statistics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Connections now, those in handshake included.
    pub open: usize,
    /// Connections that peers opened and that finished their handshakes.
    pub accepted: u64,
    /// Connections that this side opened.
    pub connected: u64,
    /// Refused for a limit, in either direction.
    pub over_limit: u64,
    /// TLS and WebSocket handshakes that failed or took too long.
    pub failed_handshakes: u64,
    /// Closed because the peer was silent, slow, not reading or not framing.
    pub cut_off: u64,
    /// Messages refused because a peer's queue was full.
    pub queue_full: u64,
}

impl Streams {
    /// No connections yet. All tasks run on `runtime`.
    #[must_use]
    pub fn new(runtime: Handle, settings: StreamSettings, sink: Arc<dyn Sink>) -> Streams {
        Streams {
            inner: Arc::new(Inner {
                runtime,
                settings,
                sink,
                table: Mutex::default(),
                next_id: AtomicU64::new(1),
                tally: Tally::default(),
                running: watch::Sender::new(true),
                released: watch::Sender::new(0),
            }),
        }
    }

    /// Accepts connections on `address`; port 0 asks the kernel for a free one. Returns the
    /// bound address. TLS and secure WebSocket need `tls`, the others ignore it.
    ///
    /// # Errors
    /// The address cannot be bound, or the protocol is no stream, or lacks its `tls`.
    pub fn listen(
        &self,
        protocol: Protocol,
        address: SocketAddr,
        tls: Option<Arc<TlsServer>>,
    ) -> io::Result<SocketAddr> {
        self.listen_on(protocol, bind_listener(address, &self.inner.settings.kernel)?, tls)
    }

    /// Accepts connections on a socket that listens already, and must not block. As [`Streams::listen`].
    ///
    /// # Errors
    /// The protocol is no stream, or lacks its `tls`.
    pub fn listen_on(
        &self,
        protocol: Protocol,
        listener: std::net::TcpListener,
        tls: Option<Arc<TlsServer>>,
    ) -> io::Result<SocketAddr> {
        let tls = match protocol {
            Protocol::Udp => return Err(io::ErrorKind::Unsupported.into()),
            Protocol::Tcp | Protocol::Ws => None,
            Protocol::Tls | Protocol::Wss => Some(tls.ok_or(io::ErrorKind::InvalidInput)?),
        };
        let local = listener.local_addr()?;
        let _inside = self.inner.runtime.enter();
        let listener = TcpListener::from_std(listener)?;
        let inner = Arc::clone(&self.inner);
        let running = self.inner.running.subscribe();
        self.inner.runtime.spawn(accept::run(inner, listener, protocol, tls, running));
        Ok(local)
    }

    /// Queues `message` on an open connection, or on a new one. Never waits.
    ///
    /// # Errors
    /// [`Refused`]; what fails later is told to [`Sink::on_send_failed`].
    pub fn send(&self, to: Destination<'_>, message: Bytes) -> Result<(), Refused> {
        let message = Queued { bytes: message, token: Some(to.token) };
        let mut table = self.inner.table();
        let queue = if to.is_bound {
            to.connection.and_then(|id| table.queue_to(id, to.peer))
        } else {
            let by_id = to.connection.and_then(|id| table.queue(id));
            by_id.or_else(|| table.find(to.peer, to.protocol, to.server_name))
        };
        if let Some(queue) = queue {
            match queue.push(Queued { bytes: message.bytes.clone(), token: message.token }) {
                Ok(()) => return Ok(()),
                Err(NotQueued::Full) => {
                    self.inner.tally.queue_full.fetch_add(1, Ordering::Relaxed);
                    return Err(Refused::QueueFull);
                }
                // It is just closing: as if it were gone.
                Err(NotQueued::Closed) => {}
            }
        }
        let dial = self.prepare_dial(&mut table, &to)?;
        // A new queue takes its first message whatever its length.
        let _ = dial.queue.push(message);
        drop(table);
        self.inner.runtime.spawn(connect::run(Arc::clone(&self.inner), dial));
        Ok(())
    }

    /// Answers the request that was read last on a connection ([`Frame::Request`](super::Frame::Request)). Where the
    /// answer `closes`, nothing more is read there. Never waits.
    pub fn answer(&self, connection: ConnectionId, answer: Bytes, closes: bool) {
        // A connection that is gone wants no answer.
        if let Some(queue) = self.inner.table().queue(connection) {
            queue.answer(answer, closes);
        }
    }

    /// Lets messages for `address` use the connection, once the caller has made sure that the
    /// peer may claim it (RFC 5923 section 5). False when the connection is gone, or has as many
    /// aliases as it may.
    pub fn alias(&self, connection: ConnectionId, address: SocketAddr) -> bool {
        self.inner.table().alias(connection, address)
    }

    /// Closes a connection once what is queued has been written.
    pub fn close(&self, connection: ConnectionId) {
        if let Some(queue) = self.inner.table().queue(connection) {
            queue.finish();
        }
    }

    /// Whether the connection is open.
    #[must_use]
    pub fn is_open(&self, connection: ConnectionId) -> bool {
        self.inner.table().queue(connection).is_some()
    }

    /// Accepts and opens no more connections, writes what is queued and closes all of them.
    /// Ready when the last is closed or `within` has passed: true when all were.
    pub async fn shutdown(&self, within: Duration) -> bool {
        self.inner.running.send_replace(false);
        let mut released = self.inner.released.subscribe();
        let queues: Vec<_> = self.inner.table().queues().cloned().collect();
        for queue in queues {
            queue.finish();
        }
        let all_gone = async { while self.inner.table().total() > 0 && released.changed().await.is_ok() {} };
        tokio::time::timeout(within, all_gone).await.is_ok()
    }

    /// Figures for statistics.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let tally = &self.inner.tally;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            open: self.inner.table().total(),
            accepted: read(&tally.accepted),
            connected: read(&tally.connected),
            over_limit: read(&tally.over_limit),
            failed_handshakes: read(&tally.failed_handshakes),
            cut_off: read(&tally.cut_off),
            queue_full: read(&tally.queue_full),
        }
    }

    /// Connections that are open or being opened, `most` at most, in no order.
    #[must_use]
    pub fn list(&self, most: usize) -> Vec<(ConnectionId, Protocol, SocketAddr)> {
        let table = self.inner.table();
        table.entries().take(most).map(|(id, entry)| (id, entry.protocol, entry.peer)).collect()
    }

    /// Bytes that wait to be written, and memory of all connections with that: what each holds when it is idle is
    /// the same for all, but for TLS, whose library does not say.
    #[must_use]
    pub fn memory(&self) -> (usize, usize) {
        let table = self.inner.table();
        let queued = table.queues().map(|queue| queue.bytes()).sum::<usize>();
        let each = size_of::<Entry>() + size_of::<WriteQueue>() + size_of::<serve::Link>() + framing::READ_BYTES;
        (queued, queued + each * table.total())
    }

    /// How many connections there may be.
    #[must_use]
    pub fn most(&self) -> usize {
        self.inner.settings.max_connections
    }

    /// Enters a connection that is to be opened into the table, so that the next message for the
    /// same peer finds it.
    fn prepare_dial(&self, table: &mut Table, to: &Destination<'_>) -> Result<Dial, Refused> {
        let tls = match to.protocol {
            _ if !to.may_connect || self.inner.settings.never_connects => return Err(Refused::NoConnection),
            // Only clients open WebSockets, and a server's peer is no client (RFC 7118 section 5).
            Protocol::Udp | Protocol::Ws | Protocol::Wss => return Err(Refused::NoConnection),
            Protocol::Tcp => None,
            Protocol::Tls => {
                let client = self.inner.settings.tls_client.clone();
                Some(client.ok_or(Refused::NoTlsClient)?)
            }
        };
        if !*self.inner.running.borrow() {
            return Err(Refused::ShuttingDown);
        }
        let slot = Slot::take(&self.inner, table, to.peer.ip());
        let slot = slot.ok_or(Refused::TooManyConnections)?;
        let queue = self.inner.new_queue();
        let names: Vec<Box<str>> = to.server_name.into_iter().map(Box::from).collect();
        table.insert(
            slot.id,
            Entry { peer: to.peer, protocol: to.protocol, queue: Arc::clone(&queue), names, aliases: Vec::new() },
        );
        Ok(Dial { slot, queue, peer: to.peer, local: to.local, server_name: to.server_name.map(Box::from), tls })
    }
}

impl Inner {
    /// Nothing panics while it holds the lock.
    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    pub(super) fn new_queue(&self) -> Arc<WriteQueue> {
        Arc::new(WriteQueue::new(self.settings.write_queue_bytes))
    }

    pub(super) fn is_running(&self) -> bool {
        *self.running.borrow()
    }
}

/// One connection's place within the limits, given back when dropped: whatever ends the task,
/// the table is right.
pub(super) struct Slot {
    inner: Arc<Inner>,
    ip: IpAddr,
    pub(super) id: ConnectionId,
}

impl Slot {
    pub(super) fn take(inner: &Arc<Inner>, table: &mut Table, ip: IpAddr) -> Option<Slot> {
        let settings = &inner.settings;
        if !table.reserve(ip, settings.max_connections, settings.max_per_peer) {
            inner.tally.over_limit.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(Slot { inner: Arc::clone(inner), ip, id: ConnectionId(inner.next_id.fetch_add(1, Ordering::Relaxed)) })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut table = self.inner.table();
        table.remove(self.id);
        table.release(self.ip);
        let total = table.total();
        drop(table);
        self.inner.released.send_replace(total);
    }
}

/// Listens at `address` as [`Streams::listen`] does.
///
/// # Errors
/// The address cannot be bound.
pub fn bind_listener(address: SocketAddr, options: &KernelOptions) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // Connections of the last run, in TIME-WAIT, must not keep the port.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    options.apply_to_listener(&socket, address)?;
    socket.bind(&address.into())?;
    socket.listen(options.backlog)?;
    Ok(socket.into())
}
