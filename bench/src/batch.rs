//! Datagrams received and sent many at a time, and a wake-up between threads.
//!
//! Own system calls rather than the server's `net`: the floor and the load must not
//! move when the server's crate does.

use std::io;
use std::mem;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// Binds a non-blocking UDP socket with the largest buffers that the kernel grants.
pub fn bind(address: SocketAddr, share_port: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_port(share_port)?;
    socket.set_recv_buffer_size(BUFFER_BYTES)?;
    socket.set_send_buffer_size(BUFFER_BYTES)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Slots into which one `recvmmsg` puts datagrams; the memory is used again by the next.
pub struct ReceiveBatch {
    arena: Vec<u8>,
    peers: Vec<libc::sockaddr_in>,
    lengths: Vec<usize>,
    slots: usize,
}

impl ReceiveBatch {
    /// Room for `slots` datagrams of up to [`SLOT_BYTES`].
    pub fn new(slots: usize) -> ReceiveBatch {
        let slots = slots.clamp(1, MOST_SLOTS);
        ReceiveBatch {
            arena: vec![0; slots * SLOT_BYTES],
            peers: vec![UNSPECIFIED; slots],
            lengths: Vec::with_capacity(slots),
            slots,
        }
    }

    /// Takes what `socket` holds, up to the number of slots; zero when it holds nothing.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.receive_with(socket, libc::MSG_DONTWAIT as _)
    }

    /// As [`receive`](Self::receive), but sleeps until there is one; `socket` must be a blocking one.
    ///
    /// Saves the system call that only asks whether something has come.
    pub fn receive_waiting(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.receive_with(socket, libc::MSG_WAITFORONE as _)
    }

    fn receive_with(&mut self, socket: &UdpSocket, flags: libc::c_int) -> io::Result<usize> {
        self.lengths.clear();
        let mut vectors = [EMPTY_VECTOR; MOST_SLOTS];
        let mut headers = [EMPTY_HEADER; MOST_SLOTS];
        for (slot, bytes) in self.arena.chunks_exact_mut(SLOT_BYTES).enumerate() {
            vectors[slot] = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: SLOT_BYTES };
            headers[slot].msg_hdr.msg_iov = &mut vectors[slot];
            headers[slot].msg_hdr.msg_iovlen = 1;
            headers[slot].msg_hdr.msg_name = ptr::from_mut(&mut self.peers[slot]).cast();
            headers[slot].msg_hdr.msg_namelen = ADDRESS_BYTES;
        }
        // SAFETY: `headers[..slots]` point at `vectors`, `arena` and `peers`, which all outlive
        // the call, and each length given is that of the memory pointed at.
        let count = unsafe {
            libc::recvmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), self.slots as u32, flags, ptr::null_mut())
        };
        if count < 0 {
            return none_if_would_block(io::Error::last_os_error());
        }
        self.lengths.extend(headers[..count as usize].iter().map(|header| header.msg_len as usize));
        Ok(count as usize)
    }

    /// The datagrams of the last [`receive`](Self::receive) with their senders.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], SocketAddrV4)> {
        let slots = self.arena.chunks_exact(SLOT_BYTES).zip(&self.peers);
        slots.zip(&self.lengths).map(|((bytes, peer), length)| (&bytes[..*length], from_kernel(peer)))
    }
}

/// Datagrams waiting for one `sendmmsg`.
#[derive(Default)]
pub struct SendBatch {
    arena: Vec<u8>,
    waiting: Vec<(usize, libc::sockaddr_in)>,
}

impl SendBatch {
    /// Adds a datagram; it leaves with [`flush`](Self::flush).
    pub fn push(&mut self, bytes: &[u8], to: SocketAddrV4) {
        self.arena.extend_from_slice(bytes);
        self.waiting.push((bytes.len(), to_kernel(to)));
    }

    /// Datagrams waiting.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sends everything, in order, waiting for room where the socket has none.
    pub fn flush(&mut self, socket: &UdpSocket) -> io::Result<()> {
        let (mut sent, mut offset) = (0, 0);
        while sent < self.waiting.len() {
            let chunk = &mut self.waiting[sent..];
            let chunk_size = chunk.len().min(MOST_SLOTS);
            match send_some(socket, &mut self.arena[offset..], &mut chunk[..chunk_size]) {
                Ok(count) => {
                    offset += self.waiting[sent..sent + count].iter().map(|(length, _)| length).sum::<usize>();
                    sent += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                // A peer that closed its socket (ICMP) costs this datagram, not the batch.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error),
            }
        }
        self.arena.clear();
        self.waiting.clear();
        Ok(())
    }
}

/// Wakes a thread that sleeps in [`wait_readable`].
#[derive(Debug)]
pub struct Waker {
    event: OwnedFd,
}

impl Waker {
    /// A waker that nobody has rung.
    pub fn new() -> io::Result<Waker> {
        // SAFETY: takes no pointer.
        let event = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if event < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `event` was opened just now and nobody else holds it.
        Ok(Waker { event: unsafe { OwnedFd::from_raw_fd(event) } })
    }

    /// Rings; many rings before the sleeper looks are one.
    pub fn ring(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: reads the eight bytes of `one`.
        // The result is of no use: the only failure is a full counter, which wakes as well.
        unsafe { libc::write(self.event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Forgets the rings so far.
    pub fn silence(&self) {
        let mut count = [0u8; 8];
        // SAFETY: writes at most the eight bytes of `count`.
        unsafe { libc::read(self.event.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}

impl AsRawFd for Waker {
    fn as_raw_fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }
}

/// Sleeps until one of the descriptors in `interests` can be read, at most `patience`.
pub fn wait_readable(interests: &mut Interests, patience: Duration) -> io::Result<()> {
    let patience =
        libc::timespec { tv_sec: patience.as_secs() as libc::time_t, tv_nsec: patience.subsec_nanos().into() };
    let polls = &mut interests.polls;
    // SAFETY: `polls` holds as many entries as said and, like `patience`, outlives the call;
    // a null signal mask leaves the thread's own.
    let count = unsafe { libc::ppoll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, &patience, ptr::null()) };
    if count < 0 {
        let error = io::Error::last_os_error();
        polls.iter_mut().for_each(|poll| poll.revents = 0);
        return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
    }
    Ok(())
}

/// Descriptors that a thread listens to.
pub struct Interests {
    polls: Vec<libc::pollfd>,
}

impl Interests {
    /// Listens to `descriptors`, which the caller keeps open.
    pub fn new(descriptors: impl IntoIterator<Item = RawFd>) -> Interests {
        let poll = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        Interests { polls: descriptors.into_iter().map(poll).collect() }
    }

    /// Positions of the descriptors that the last [`wait_readable`] found ready.
    pub fn ready(&self) -> impl Iterator<Item = usize> {
        self.polls.iter().enumerate().filter(|(_, poll)| poll.revents != 0).map(|(position, _)| position)
    }
}

/// Longest datagram that a [`ReceiveBatch`] takes whole; the bench sends none longer.
pub const SLOT_BYTES: usize = 2048;

const MOST_SLOTS: usize = 64;
const BUFFER_BYTES: usize = 4 << 20;
const ADDRESS_BYTES: u32 = mem::size_of::<libc::sockaddr_in>() as u32;
const UNSPECIFIED: libc::sockaddr_in = libc::sockaddr_in {
    sin_family: libc::AF_INET as u16,
    sin_port: 0,
    sin_addr: libc::in_addr { s_addr: 0 },
    sin_zero: [0; 8],
};
const EMPTY_VECTOR: libc::iovec = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
// SAFETY: `mmsghdr` holds integers and raw pointers; all zero is a valid value of each.
const EMPTY_HEADER: libc::mmsghdr = unsafe { mem::zeroed() };

fn send_some(socket: &UdpSocket, arena: &mut [u8], waiting: &mut [(usize, libc::sockaddr_in)]) -> io::Result<usize> {
    let mut vectors = [EMPTY_VECTOR; MOST_SLOTS];
    let mut headers = [EMPTY_HEADER; MOST_SLOTS];
    let count = waiting.len();
    let mut rest = arena;
    for (slot, (length, to)) in waiting.iter_mut().enumerate() {
        let (bytes, after) = rest.split_at_mut(*length);
        rest = after;
        vectors[slot] = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: *length };
        headers[slot].msg_hdr.msg_iov = &mut vectors[slot];
        headers[slot].msg_hdr.msg_iovlen = 1;
        headers[slot].msg_hdr.msg_name = ptr::from_mut(to).cast();
        headers[slot].msg_hdr.msg_namelen = ADDRESS_BYTES;
    }
    // SAFETY: `headers[..count]` point at `vectors`, `arena` and `waiting`, which all outlive
    // the call, and each length given is that of the memory pointed at.
    let sent =
        unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count as u32, libc::MSG_DONTWAIT as _) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
}

fn none_if_would_block(error: io::Error) -> io::Result<usize> {
    match error.kind() {
        // ICMP from an earlier send is reported on the next receive; the bench ignores it.
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused => Ok(0),
        _ => Err(error),
    }
}

fn to_kernel(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        ..UNSPECIFIED
    }
}

fn from_kernel(address: &libc::sockaddr_in) -> SocketAddrV4 {
    SocketAddrV4::new(address.sin_addr.s_addr.to_ne_bytes().into(), u16::from_be(address.sin_port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_arrives_in_the_order_of_its_pushes() {
        let sender = bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let receiver = bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let SocketAddr::V4(to) = receiver.local_addr().unwrap() else { panic!("bound to IPv4") };
        let mut out = SendBatch::default();
        (0..100u8).for_each(|number| out.push(&[number; 3], to));
        out.flush(&sender).unwrap();

        let mut interests = Interests::new([receiver.as_raw_fd()]);
        let mut batch = ReceiveBatch::new(64);
        let mut seen = Vec::new();
        while seen.len() < 100 {
            wait_readable(&mut interests, Duration::from_secs(1)).unwrap();
            batch.receive(&receiver).unwrap();
            seen.extend(batch.iter().map(|(bytes, _)| bytes.to_vec()));
        }
        assert_eq!(seen, (0..100u8).map(|number| vec![number; 3]).collect::<Vec<_>>());
    }

    #[test]
    fn a_ring_wakes_once() {
        let waker = Waker::new().unwrap();
        let mut interests = Interests::new([waker.as_raw_fd()]);
        waker.ring();
        waker.ring();
        wait_readable(&mut interests, Duration::from_secs(1)).unwrap();
        assert_eq!(interests.ready().collect::<Vec<_>>(), [0]);
        waker.silence();
        wait_readable(&mut interests, Duration::ZERO).unwrap();
        assert_eq!(interests.ready().count(), 0);
    }
}
