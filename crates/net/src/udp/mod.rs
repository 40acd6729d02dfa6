//! UDP sockets that a worker reads and writes in batches, without waiting and without allocating.
#![allow(unsafe_code)]

mod address;
mod control;
mod error_queue;
mod receive;
mod send;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::stream::kernel;

pub use receive::{Datagram, ReceiveBatch};
pub use send::{BatchFull, SendBatch};

/// The address of this host from which it would send to `peer`, by the routing table. None where there is no way.
///
/// Nothing is sent: the connect of a datagram socket asks the kernel alone, and does not wait.
pub fn source_toward(peer: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if peer.is_ipv4() { [0, 0, 0, 0].into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
    let socket = std::net::UdpSocket::bind((any, 0)).ok()?;
    socket.connect(peer).ok()?;
    socket.local_addr().ok().map(|own| own.ip())
}

/// How a socket is opened.
#[derive(Clone, Debug)]
pub struct UdpOptions {
    /// Several sockets may bind the address; the kernel spreads peers over them.
    pub reuse_port: bool,
    /// Kernel's receive buffer in bytes; the kernel may give less (`net.core.rmem_max`).
    pub receive_buffer: Option<usize>,
    /// Kernel's send buffer in bytes.
    pub send_buffer: Option<usize>,
    /// A socket on `[::]` takes no IPv4, so that `0.0.0.0` can be bound beside it.
    pub v6only: bool,
    /// Type of service of what is sent, as in the IP header; none: as the system has it.
    pub type_of_service: Option<u8>,
    /// Datagrams are never fragmented: what does not fit the path is refused by the kernel (RFC 1191).
    pub discovers_mtu: bool,
    /// The address may be one that the host does not have yet.
    pub binds_foreign: bool,
    /// How far multicast reaches, in hops; none: as the system has it.
    pub multicast_hops: Option<u32>,
    /// Whether own multicast comes back.
    pub hears_own_multicast: bool,
}

impl Default for UdpOptions {
    fn default() -> Self {
        UdpOptions {
            reuse_port: false,
            receive_buffer: Some(4 << 20),
            send_buffer: Some(4 << 20),
            v6only: true,
            type_of_service: None,
            discovers_mtu: false,
            binds_foreign: false,
            multicast_hops: None,
            hears_own_multicast: true,
        }
    }
}

impl UdpOptions {
    /// Sets what can be set of a socket that may be bound already.
    fn apply(&self, socket: &Socket, address: SocketAddr) -> io::Result<()> {
        // The kernel clamps buffers to its limits without an error.
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.send_buffer {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(service) = self.type_of_service {
            kernel::set_type_of_service(socket, address.is_ipv6(), service)?;
        }
        match (self.multicast_hops, address.is_ipv6()) {
            (Some(hops), true) => socket.set_multicast_hops_v6(hops)?,
            (Some(hops), false) => socket.set_multicast_ttl_v4(hops)?,
            (None, _) => {}
        }
        match address.is_ipv6() {
            _ if self.hears_own_multicast => {}
            true => socket.set_multicast_loop_v6(false)?,
            false => socket.set_multicast_loop_v4(false)?,
        }
        control::prepare(socket, address, self.discovers_mtu)
    }
}

/// How long [`UdpSocket::wait`] waits at most: how late its caller notices that it is to stop.
pub const PATIENCE: Duration = Duration::from_millis(200);

/// A bound UDP socket, never connected. Only [`UdpSocket::wait`] waits.
///
/// May be shared between threads: the batches hold all state of reading and writing.
#[derive(Debug)]
pub struct UdpSocket {
    socket: Socket,
    local: SocketAddr,
    is_wildcard: bool,
    is_read: bool,
}

impl UdpSocket {
    /// Binds `address`; port 0 asks the kernel for a free one.
    ///
    /// # Errors
    /// What the kernel says: the address is in use, is not of this host, or is forbidden.
    pub fn bind(address: SocketAddr, options: &UdpOptions) -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        if options.reuse_port {
            socket.set_reuse_port(true)?;
        }
        if address.is_ipv6() {
            socket.set_only_v6(options.v6only)?;
        }
        if options.binds_foreign {
            kernel::set_foreign(&socket, address)?;
        }
        options.apply(&socket, address)?;
        socket.bind(&address.into())?;
        let local = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(UdpSocket { socket, local, is_wildcard: address.ip().is_unspecified(), is_read: true })
    }

    /// Takes a bound socket that was opened elsewhere. What `options` say of binding has been decided by then.
    ///
    /// # Errors
    /// It is no bound socket of IP, or the kernel refuses to prepare it.
    pub fn adopt(socket: OwnedFd, options: &UdpOptions) -> io::Result<UdpSocket> {
        let socket = Socket::from(socket);
        let local = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        options.apply(&socket, local)?;
        Ok(UdpSocket { socket, local, is_wildcard: local.ip().is_unspecified(), is_read: true })
    }

    /// A copy that only sends. Two readers of one socket would change the order of what it brings.
    ///
    /// # Errors
    /// When the process may open no more files.
    pub fn for_sending(&self) -> io::Result<UdpSocket> {
        Ok(UdpSocket { socket: self.socket.try_clone()?, is_read: false, ..*self })
    }

    /// Whether it is to be read, and not a copy that only sends.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.is_read
    }

    /// The bound address, with the port that the kernel chose.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// Reads what has arrived, at most a batch; 0 when nothing is there.
    ///
    /// Replaces what `batch` held.
    ///
    /// # Errors
    /// Only what concerns the socket itself: ICMP errors of single peers are left to
    /// [`UdpSocket::take_errors`].
    pub fn receive(&self, batch: &mut ReceiveBatch) -> io::Result<usize> {
        batch.fill(self)
    }

    /// Waits for one datagram and reads it; 0 after [`PATIENCE`], and when an ICMP error has come instead.
    ///
    /// Of all ways to sleep until a datagram arrives this one costs least: a single system call.
    ///
    /// # Errors
    /// As [`UdpSocket::receive`].
    pub fn wait(&self, batch: &mut ReceiveBatch) -> io::Result<usize> {
        batch.fill_one(self)
    }

    /// Hands over what ICMP reported of earlier datagrams: peer and kind of error.
    ///
    /// To be called after a batch [has met an error](ReceiveBatch::has_met_error): the kernel says so once.
    pub fn take_errors(&self, on_error: impl FnMut(SocketAddr, io::ErrorKind)) {
        error_queue::drain(self, on_error);
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Path MTU to `peer` in bytes as the kernel knows it now, IP header included.
///
/// Opens a socket for the question: for a cache to ask, not for each datagram.
///
/// # Errors
/// There is no route to `peer`, or no descriptor is left.
pub fn path_mtu(peer: SocketAddr) -> io::Result<u32> {
    let socket = Socket::new(Domain::for_address(peer), Type::DGRAM, None)?;
    socket.connect(&peer.into())?;
    control::connected_mtu(&socket, peer.is_ipv6())
}

/// Whether an error that a send or receive returned was left behind by ICMP for some earlier
/// datagram: the kernel reports it once, to whichever call comes next.
fn is_left_by_icmp(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNREFUSED
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::ENOPROTOOPT
                | libc::EPROTO
                | libc::EACCES
                // "Packet too big" of ICMPv6, and what no handler takes.
                | libc::EMSGSIZE
                | libc::EOPNOTSUPP
        )
    )
}

/// Address that a reply leaves from; nothing when the kernel should choose by route.
fn usable_source(ip: IpAddr) -> Option<IpAddr> {
    (!ip.is_unspecified() && !ip.is_multicast()).then_some(ip)
}

#[cfg(test)]
mod tests;
