//! Sending: datagrams are gathered during a worker's turn and leave in few `sendmmsg` calls.

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::AsRawFd;

use super::address::RawAddress;
use super::control::{CONTROL_LEN, ControlBuffer, write_source};
use super::{UdpSocket, is_left_by_icmp, usable_source};

/// Datagrams on their way out of one socket, in order.
///
/// Bounded: a full batch refuses more until a flush has sent some. Bytes are copied in, so the
/// caller's buffer is free at once; memory is kept for the next turn.
pub struct SendBatch {
    bytes: Vec<u8>,
    waiting: Vec<Outgoing>,
    /// How many of `waiting` have left; they go when all have, or when room is needed.
    sent: usize,
    slots: Box<Slots>,
}

/// The batch is full; the datagram was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchFull;

struct Outgoing {
    span: Range<usize>,
    to: SocketAddr,
    from: Option<IpAddr>,
}

impl Default for SendBatch {
    fn default() -> Self {
        SendBatch::new()
    }
}

impl SendBatch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> SendBatch {
        SendBatch {
            bytes: Vec::with_capacity(64 << 10),
            waiting: Vec::with_capacity(CHUNK * 2),
            sent: 0,
            slots: Slots::new(),
        }
    }

    /// Takes a copy of `bytes` for `to`; `from` is the host's address that it must leave from,
    /// which matters for a socket that is bound to the wildcard.
    ///
    /// # Errors
    /// [`BatchFull`] when the kernel has taken nothing for so long that the bound is reached.
    pub fn push(&mut self, bytes: &[u8], to: SocketAddr, from: Option<IpAddr>) -> Result<(), BatchFull> {
        if self.waiting.len() >= MAX_WAITING || self.bytes.len() + bytes.len() > MAX_BYTES {
            self.compact();
            if self.waiting.len() >= MAX_WAITING || self.bytes.len() + bytes.len() > MAX_BYTES {
                return Err(BatchFull);
            }
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.waiting.push(Outgoing { span: start..self.bytes.len(), to, from: from.and_then(usable_source) });
        Ok(())
    }

    /// Datagrams not sent yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len() - self.sent
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sends what waits. What the kernel has no room for is kept, in order: when the batch is not
    /// empty afterwards, flush again once the socket is writable.
    ///
    /// `on_error` hears of each datagram that the kernel refused (no route, too long); the others
    /// go on. Gives whether an error was met that ICMP had left: [`UdpSocket::take_errors`] has what it was.
    pub fn flush(&mut self, socket: &UdpSocket, mut on_error: impl FnMut(SocketAddr, io::Error)) -> bool {
        let mut retried = false;
        let mut has_met_error = false;
        while self.sent < self.waiting.len() {
            let end = self.waiting.len().min(self.sent + CHUNK);
            let chunk = &self.waiting[self.sent..end];
            match self.slots.send(socket, chunk, &self.bytes) {
                Ok(sent) => {
                    self.sent += sent;
                    retried = false;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return has_met_error,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The error may belong to an earlier datagram (see `is_left_by_icmp`); the
                // second failure in a row is this one's own.
                Err(error) if is_left_by_icmp(&error) && !retried => {
                    retried = true;
                    has_met_error = true;
                }
                Err(error) => {
                    on_error(self.waiting[self.sent].to, error);
                    self.sent += 1;
                    retried = false;
                }
            }
        }
        self.waiting.clear();
        self.bytes.clear();
        self.sent = 0;
        has_met_error
    }

    /// Gives the room of sent datagrams back while others still wait.
    fn compact(&mut self) {
        let Some(first) = self.waiting.get(self.sent) else {
            return;
        };
        let offset = first.span.start;
        self.bytes.drain(..offset);
        self.waiting.drain(..self.sent);
        self.sent = 0;
        for outgoing in &mut self.waiting {
            outgoing.span = outgoing.span.start - offset..outgoing.span.end - offset;
        }
    }
}

/// What the kernel reads of a chunk.
struct Slots {
    headers: [libc::mmsghdr; CHUNK],
    parts: [libc::iovec; CHUNK],
    addresses: [RawAddress; CHUNK],
    controls: [ControlBuffer; CHUNK],
}

// SAFETY: the pointers are written and followed only inside `send`, which has the value
// exclusively and leaves none behind that is ever used again.
unsafe impl Send for Slots {}

impl Slots {
    fn new() -> Box<Slots> {
        // SAFETY: integers and pointers throughout, for which zero is a value.
        let (header, part) = unsafe { mem::zeroed() };
        Box::new(Slots {
            headers: [header; CHUNK],
            parts: [part; CHUNK],
            addresses: [RawAddress::empty(); CHUNK],
            controls: [ControlBuffer([0; CONTROL_LEN]); CHUNK],
        })
    }

    /// Sends the start of `chunk`: how many went, or why the first did not.
    fn send(&mut self, socket: &UdpSocket, chunk: &[Outgoing], bytes: &[u8]) -> io::Result<usize> {
        // Most turns at moderate load send a datagram or two; a call that has no list to read costs less.
        if let [Outgoing { span, to, from: None }, rest @ ..] = chunk
            && rest.len() < FEW
        {
            return send_one(socket, &bytes[span.clone()], *to).map(|()| 1);
        }
        let parts = self.parts.as_mut_ptr();
        let addresses = self.addresses.as_mut_ptr();
        let controls = self.controls.as_mut_ptr();
        for (slot, (outgoing, header)) in chunk.iter().zip(&mut self.headers).enumerate() {
            let payload = &bytes[outgoing.span.clone()];
            // SAFETY: the zip ends at CHUNK, the length of each array, so that each pointer is
            // inside its array; no reference to these elements lives meanwhile.
            let (part, address, control) =
                unsafe { (&mut *parts.add(slot), &mut *addresses.add(slot), &mut *controls.add(slot)) };
            *part = libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() };
            let header = &mut header.msg_hdr;
            header.msg_namelen = address.set(outgoing.to);
            header.msg_name = std::ptr::from_mut(address).cast();
            header.msg_iov = part;
            header.msg_iovlen = 1;
            let control_len = outgoing.from.map_or(0, |from| write_source(control, from, scope_of(outgoing.to)));
            header.msg_controllen = control_len as _;
            header.msg_control = std::ptr::from_mut(control).cast();
        }
        // SAFETY: the first `chunk.len()` headers, at most CHUNK, point at memory of this value
        // and at `bytes`, all alive during the call, which only reads the payload.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                chunk.len().min(CHUNK) as libc::c_uint,
                libc::MSG_DONTWAIT as _,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

fn send_one(socket: &UdpSocket, payload: &[u8], to: SocketAddr) -> io::Result<()> {
    let mut address = RawAddress::empty();
    let address_len = address.set(to);
    // SAFETY: both pointers lead to memory that is alive during the call, with its true lengths; the
    // call only reads them.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            payload.as_ptr().cast(),
            payload.len(),
            libc::MSG_DONTWAIT,
            std::ptr::from_ref(&address).cast(),
            address_len,
        )
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn scope_of(address: SocketAddr) -> u32 {
    match address {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(v6) => v6.scope_id(),
    }
}

/// Datagrams per system call.
const CHUNK: usize = 64;
/// As many or fewer leave one by one.
const FEW: usize = 4;

/// Bounds of what waits for a socket that takes nothing.
const MAX_WAITING: usize = 4096;
const MAX_BYTES: usize = 8 << 20;
