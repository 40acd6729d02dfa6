//! Receiving: one system call fills a batch whose memory is used again and again.

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::ptr;

use super::address::{RAW_ADDRESS_LEN, RawAddress};
use super::control::{CONTROL_LEN, ControlBuffer, local_ip};
use super::{UdpSocket, is_left_by_icmp};

/// Datagrams of one system call, and the memory for the next.
///
/// 4 MiB of address space; only pages that datagrams reached take memory.
pub struct ReceiveBatch {
    bytes: Box<[u8]>,
    addresses: Box<[RawAddress]>,
    controls: Box<[ControlBuffer]>,
    headers: Box<[libc::mmsghdr]>,
    parts: Box<[libc::iovec]>,
    local: SocketAddr,
    is_wildcard: bool,
    filled: usize,
    has_met_error: bool,
    /// Slots from the first on whose headers the kernel may have written to since they were aimed.
    touched: usize,
}

// SAFETY: the pointers in `headers` and `parts` lead only into the other boxes of the same value,
// whose memory does not move with it, and are followed only by the kernel during `fill`, which
// has the value exclusively.
unsafe impl Send for ReceiveBatch {}

/// One received datagram.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// What was sent, as far as it fitted.
    pub bytes: &'a [u8],
    /// Who sent it.
    pub peer: SocketAddr,
    /// The host's address that it was sent to.
    pub local: SocketAddr,
    /// It was longer than a slot (which is longer than UDP allows over IPv4).
    pub truncated: bool,
}

impl ReceiveBatch {
    /// An empty batch.
    ///
    /// Costs 4 MiB of zeroes; there is no `Default`, as `mem::take` would pay them at each turn.
    #[must_use]
    #[expect(clippy::new_without_default)]
    pub fn new() -> ReceiveBatch {
        // SAFETY: both are integers and pointers, for which zero is a value.
        let (header, part): (libc::mmsghdr, libc::iovec) = unsafe { mem::zeroed() };
        ReceiveBatch {
            bytes: vec![0; SLOTS * STRIDE].into_boxed_slice(),
            addresses: vec![RawAddress::empty(); SLOTS].into_boxed_slice(),
            controls: vec![ControlBuffer([0; CONTROL_LEN]); SLOTS].into_boxed_slice(),
            headers: vec![header; SLOTS].into_boxed_slice(),
            parts: vec![part; SLOTS].into_boxed_slice(),
            local: SocketAddr::from(([0, 0, 0, 0], 0)),
            is_wildcard: false,
            filled: 0,
            has_met_error: false,
            touched: SLOTS,
        }
    }

    /// The datagrams in the order in which they arrived.
    pub fn iter(&self) -> impl Iterator<Item = Datagram<'_>> {
        (0..self.filled).filter_map(|slot| self.datagram(slot))
    }

    /// How many datagrams a batch holds at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        SLOTS
    }

    /// Whether the last reading met an error that ICMP had left: [`UdpSocket::take_errors`] has what it was.
    #[must_use]
    pub fn has_met_error(&self) -> bool {
        self.has_met_error
    }

    pub(super) fn fill(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.receive_many(socket, libc::MSG_DONTWAIT)
    }

    fn receive_many(&mut self, socket: &UdpSocket, flags: libc::c_int) -> io::Result<usize> {
        self.filled = 0;
        self.has_met_error = false;
        self.local = socket.local;
        if self.is_wildcard != socket.is_wildcard {
            self.is_wildcard = socket.is_wildcard;
            self.touched = SLOTS;
        }
        self.point();
        // Each failed call takes one error that ICMP left; so many in a row that this gives up
        // means a flood, and the caller comes back.
        for _ in 0..SLOTS {
            // SAFETY: `point` has aimed every header, now or in an earlier call, at memory that this
            // value owns and that does not move, with its true lengths; `headers` has SLOTS entries. Only
            // the kernel follows the pointers. A failed call leaves them as they were.
            let received = unsafe {
                libc::recvmmsg(
                    socket.as_raw_fd(),
                    self.headers.as_mut_ptr(),
                    SLOTS as libc::c_uint,
                    flags as _,
                    ptr::null_mut(),
                )
            };
            if let Ok(received) = usize::try_from(received) {
                self.filled = received;
                self.touched = received;
                return Ok(received);
            }
            self.touched = 1;
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::WouldBlock {
                return Ok(0);
            }
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            if !is_left_by_icmp(&error) {
                return Err(error);
            }
            self.has_met_error = true;
            if flags & libc::MSG_DONTWAIT == 0 {
                return Ok(0);
            }
        }
        Ok(0)
    }

    /// Waits for one datagram, with the plainest call there is: `recvmmsg` reads a header and a list of parts for each
    /// datagram and then looks whether there is another, which is a third more for the one that comes at moderate load.
    pub(super) fn fill_one(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        if socket.is_wildcard {
            // Only a header has room for the address that a datagram was sent to.
            return self.receive_many(socket, libc::MSG_WAITFORONE);
        }
        self.filled = 0;
        self.has_met_error = false;
        self.local = socket.local;
        self.touched = if self.is_wildcard { SLOTS } else { self.touched.max(1) };
        self.is_wildcard = false;
        let mut address_len = RAW_ADDRESS_LEN;
        // SAFETY: buffer and address are memory of this value, held exclusively, with their true lengths.
        let received = unsafe {
            libc::recvfrom(
                socket.as_raw_fd(),
                self.bytes.as_mut_ptr().cast(),
                SLOT_LEN,
                0,
                ptr::from_mut(&mut self.addresses[0]).cast(),
                &raw mut address_len,
            )
        };
        if let Ok(received) = u32::try_from(received) {
            self.headers[0].msg_len = received;
            self.headers[0].msg_hdr.msg_flags = 0;
            self.filled = 1;
            return Ok(1);
        }
        let error = io::Error::last_os_error();
        self.has_met_error = is_left_by_icmp(&error);
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
            _ if self.has_met_error => Ok(0),
            _ => Err(error),
        }
    }

    /// Aims the headers at the buffers where the kernel has overwritten the lengths in them. At low
    /// load that is one of 64; aiming all of them costs as much as parsing the message.
    fn point(&mut self) {
        let bytes = self.bytes.as_mut_ptr();
        let addresses = self.addresses.as_mut_ptr();
        let controls = self.controls.as_mut_ptr();
        let parts = self.parts.as_mut_ptr();
        let control_len = if self.is_wildcard { CONTROL_LEN } else { 0 };
        for (slot, header) in self.headers.iter_mut().enumerate().take(self.touched) {
            // SAFETY: `slot` is below SLOTS, which is the length of each box (`bytes` has a
            // STRIDE for each), so every pointer stays inside its allocation.
            unsafe {
                *parts.add(slot) = libc::iovec { iov_base: bytes.add(slot * STRIDE).cast(), iov_len: SLOT_LEN };
                header.msg_hdr.msg_iov = parts.add(slot);
                header.msg_hdr.msg_name = addresses.add(slot).cast();
                header.msg_hdr.msg_control = controls.add(slot).cast();
            }
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_namelen = RAW_ADDRESS_LEN;
            header.msg_hdr.msg_controllen = control_len as _;
            header.msg_hdr.msg_flags = 0;
        }
    }

    /// `None` when the kernel gave no address of either family, which UDP does not do.
    fn datagram(&self, slot: usize) -> Option<Datagram<'_>> {
        let header = &self.headers[slot];
        let start = slot * STRIDE;
        let len = (header.msg_len as usize).min(SLOT_LEN);
        Some(Datagram {
            bytes: &self.bytes[start..start + len],
            peer: self.addresses[slot].read()?,
            local: self.local_of(slot),
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        })
    }

    fn local_of(&self, slot: usize) -> SocketAddr {
        if !self.is_wildcard {
            return self.local;
        }
        #[allow(clippy::unnecessary_cast)] // Its type differs between C libraries.
        let len = self.headers[slot].msg_hdr.msg_controllen as usize;
        match local_ip(&self.controls[slot].0[..len.min(CONTROL_LEN)]) {
            Some((ip, _)) if ip.is_multicast() => self.local,
            Some((IpAddr::V6(ip), index)) if ip.is_unicast_link_local() => {
                SocketAddr::V6(SocketAddrV6::new(ip, self.local.port(), 0, index))
            }
            Some((ip, _)) => SocketAddr::new(ip, self.local.port()),
            None => self.local,
        }
    }
}

const SLOTS: usize = 64;

/// Longest payload of a UDP datagram, IPv6 without its 40 bytes of header included.
const SLOT_LEN: usize = 65_536;

/// Slots lie nine cache lines further apart than 64 KiB: at the round distance the first lines of
/// all slots would fall into one set of the cache and evict each other.
const STRIDE: usize = SLOT_LEN + 576;
