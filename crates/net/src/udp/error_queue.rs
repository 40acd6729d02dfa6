//! ICMP errors: the kernel queues them with the address that the datagram was sent to.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use super::UdpSocket;
use super::address::{RAW_ADDRESS_LEN, RawAddress};
use super::control::records;

/// Reads the queue until it is empty, at most a few hundred: the rest waits for the next turn.
pub(super) fn drain(socket: &UdpSocket, mut on_error: impl FnMut(SocketAddr, io::ErrorKind)) {
    for _ in 0..MAX_PER_TURN {
        match next(socket) {
            Some(Some((peer, kind))) => on_error(peer, kind),
            Some(None) => {}
            None => return,
        }
    }
}

/// One entry: outer `None` when the queue is empty, inner when the entry says nothing of use.
fn next(socket: &UdpSocket) -> Option<Option<(SocketAddr, io::ErrorKind)>> {
    let mut address = RawAddress::empty();
    let mut control = ErrorControl([0; ERROR_CONTROL_LEN]);
    // SAFETY: integers and pointers, for which zero is a value. Without a part the payload of the
    // datagram, which the kernel would hand back, is cut off.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_name = std::ptr::from_mut(&mut address).cast();
    header.msg_namelen = RAW_ADDRESS_LEN;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = ERROR_CONTROL_LEN as _;
    // SAFETY: name and control point at locals with the lengths that the header states, and
    // there are no parts to write to.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut header, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) };
    if received < 0 {
        return None;
    }
    #[allow(clippy::unnecessary_cast)] // Its type differs between C libraries.
    let len = (header.msg_controllen as usize).min(ERROR_CONTROL_LEN);
    Some(address.read().zip(kind_of(&control.0[..len])))
}

fn kind_of(control: &[u8]) -> Option<io::ErrorKind> {
    let mut found = None;
    records(control, |level, kind, payload| {
        let is_error =
            matches!((level, kind), (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR));
        // struct sock_extended_err: ee_errno (u32), ee_origin (u8: 2 ICMP, 3 ICMPv6), ...
        if let (true, Some(errno), Some(&origin)) = (is_error, payload.first_chunk::<4>(), payload.get(4)) {
            let errno = u32::from_ne_bytes(*errno) as i32;
            let is_icmp = matches!(origin, libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6);
            // "Too big" only teaches the kernel the path MTU; the next datagram is fragmented.
            if is_icmp && errno != libc::EMSGSIZE {
                found = Some(io::Error::from_raw_os_error(errno).kind());
            }
        }
    });
    found
}

#[repr(C, align(8))]
struct ErrorControl([u8; ERROR_CONTROL_LEN]);

/// Room for the extended error with the offender's address, and packet information beside it.
const ERROR_CONTROL_LEN: usize = 256;

const MAX_PER_TURN: usize = 256;
