//! Socket options and ancillary data that socket2 does not cover.

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::ptr;

use socket2::Socket;

use crate::socket_option::set as set_option;

/// Room for one packet-information record of either family, aligned as the kernel wants.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct ControlBuffer(pub(super) [u8; CONTROL_LEN]);

pub(super) const CONTROL_LEN: usize = 64;

/// Sets what must stand before the socket is bound.
pub(super) fn prepare(socket: &Socket, address: SocketAddr, discovers_mtu: bool) -> io::Result<()> {
    let (level, receive_errors, discover, dont, packet_info) = if address.is_ipv6() {
        (
            libc::IPPROTO_IPV6,
            libc::IPV6_RECVERR,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_DONT,
            libc::IPV6_RECVPKTINFO,
        )
    } else {
        (libc::IPPROTO_IP, libc::IP_RECVERR, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT, libc::IP_PKTINFO)
    };
    set_option(socket, level, receive_errors, 1)?;
    // A message that must go over UDP though it is large is fragmented, never refused
    // (RFC 3261 section 18.1.1 leaves that to IP), unless the operator wants to know the path.
    if !discovers_mtu {
        set_option(socket, level, discover, dont)?;
    }
    if address.ip().is_unspecified() {
        set_option(socket, level, packet_info, 1)?;
    }
    Ok(())
}

/// Path MTU of a connected socket.
pub(super) fn connected_mtu(socket: &Socket, is_v6: bool) -> io::Result<u32> {
    let (level, name) = if is_v6 { (libc::IPPROTO_IPV6, libc::IPV6_MTU) } else { (libc::IPPROTO_IP, libc::IP_MTU) };
    let mut value: libc::c_int = 0;
    let mut len = mem::size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `value` is as large as `len` says, and both outlive the call.
    let result =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, ptr::from_mut(&mut value).cast(), &mut len) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    u32::try_from(value).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Calls `visit` with level, type and payload of each record in `control`.
pub(super) fn records<'a>(control: &'a [u8], mut visit: impl FnMut(i32, i32, &'a [u8])) {
    let header_len = align(mem::size_of::<libc::cmsghdr>());
    let mut rest = control;
    while rest.len() >= header_len {
        // SAFETY: `rest` holds at least a header, all integers; the read tolerates any alignment.
        let header: libc::cmsghdr = unsafe { ptr::read_unaligned(rest.as_ptr().cast()) };
        #[allow(clippy::unnecessary_cast)] // Its type differs between C libraries.
        let len = header.cmsg_len as usize;
        if len < header_len || len > rest.len() {
            return;
        }
        visit(header.cmsg_level, header.cmsg_type, &rest[header_len..len]);
        rest = rest.get(align(len)..).unwrap_or_default();
    }
}

/// Address that a datagram was sent to, from its packet information.
pub(super) fn local_ip(control: &[u8]) -> Option<(IpAddr, u32)> {
    let mut found = None;
    records(control, |level, kind, payload| match (level, kind) {
        // ipi_ifindex, ipi_spec_dst, ipi_addr. The second: for a multicast or broadcast
        // datagram it is the host's own address, else the two are the same.
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            if let Some(&[a, b, c, d]) = payload.get(4..8) {
                found = Some((IpAddr::V4(Ipv4Addr::new(a, b, c, d)), 0));
            }
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            if let (Some(address), Some(index)) = (payload.first_chunk::<16>(), payload.get(16..20)) {
                let index = u32::from_ne_bytes([index[0], index[1], index[2], index[3]]);
                found = Some((IpAddr::V6(Ipv6Addr::from(*address)), index));
            }
        }
        _ => {}
    });
    found
}

/// Writes packet information that makes a datagram leave from `source`; returns its length.
pub(super) fn write_source(buffer: &mut ControlBuffer, source: IpAddr, scope: u32) -> usize {
    let (level, kind, payload, payload_len) = source_record(source, scope);
    let header_len = align(mem::size_of::<libc::cmsghdr>());
    // SAFETY: all fields are integers, for which zero is a value (some C libraries have padding).
    let mut header: libc::cmsghdr = unsafe { mem::zeroed() };
    header.cmsg_len = (header_len + payload_len) as _;
    header.cmsg_level = level;
    header.cmsg_type = kind;
    // SAFETY: the buffer is longer than a header, and the write tolerates any alignment.
    unsafe { ptr::write_unaligned(buffer.0.as_mut_ptr().cast(), header) };
    buffer.0[header_len..header_len + payload_len].copy_from_slice(&payload[..payload_len]);
    align(header_len + payload_len)
}

fn source_record(source: IpAddr, scope: u32) -> (i32, i32, [u8; 20], usize) {
    let mut payload = [0; 20];
    match source {
        IpAddr::V4(v4) => {
            payload[4..8].copy_from_slice(&v4.octets());
            (libc::IPPROTO_IP, libc::IP_PKTINFO, payload, 12)
        }
        IpAddr::V6(v6) => {
            payload[..16].copy_from_slice(&v6.octets());
            // Only a link-local address needs its interface; elsewhere routing chooses it.
            if v6.is_unicast_link_local() {
                payload[16..].copy_from_slice(&scope.to_ne_bytes());
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, payload, 20)
        }
    }
}

const fn align(len: usize) -> usize {
    let word = mem::size_of::<usize>();
    (len + word - 1) & !(word - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_source_reads_back() {
        for text in ["192.0.2.7", "2001:db8::7"] {
            let source: IpAddr = text.parse().unwrap();
            let mut buffer = ControlBuffer([0; CONTROL_LEN]);
            let len = write_source(&mut buffer, source, 0);
            assert_eq!(local_ip(&buffer.0[..len]), Some((source, 0)), "{text}");
        }
    }

    #[test]
    fn a_record_longer_than_its_buffer_is_not_read() {
        let mut buffer = ControlBuffer([0; CONTROL_LEN]);
        let len = write_source(&mut buffer, "192.0.2.7".parse().unwrap(), 0);
        assert_eq!(local_ip(&buffer.0[..len - 8]), None);
        assert_eq!(local_ip(&[0xff; 40]), None);
    }
}
