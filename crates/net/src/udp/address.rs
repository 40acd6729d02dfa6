//! Socket addresses between Rust and the kernel.

use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Room for either family, a quarter of `sockaddr_storage`: a batch of them stays in cache.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) union RawAddress {
    family: libc::sa_family_t,
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

/// Size of [`RawAddress`] as the kernel wants it.
pub(super) const RAW_ADDRESS_LEN: libc::socklen_t = mem::size_of::<RawAddress>() as libc::socklen_t;

impl RawAddress {
    /// An address of no family.
    pub(super) fn empty() -> RawAddress {
        // SAFETY: every field is plain integers, for which zero is a value.
        unsafe { mem::zeroed() }
    }

    /// Writes `address`, and says how many bytes of it count.
    pub(super) fn set(&mut self, address: SocketAddr) -> libc::socklen_t {
        match address {
            SocketAddr::V4(v4) => {
                self.v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                    sin_zero: [0; 8],
                };
                mem::size_of::<libc::sockaddr_in>() as libc::socklen_t
            }
            SocketAddr::V6(v6) => {
                self.v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                    sin6_scope_id: v6.scope_id(),
                };
                mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t
            }
        }
    }

    /// The address; `None` for a family other than the two.
    pub(super) fn read(&self) -> Option<SocketAddr> {
        // SAFETY: all bytes were initialised by `empty`, and every bit pattern is a value of
        // these integer fields; the family only decides which reading makes sense.
        unsafe {
            match i32::from(self.family) {
                libc::AF_INET => Some(SocketAddr::V4(SocketAddrV4::new(
                    Ipv4Addr::from(self.v4.sin_addr.s_addr.to_ne_bytes()),
                    u16::from_be(self.v4.sin_port),
                ))),
                libc::AF_INET6 => Some(SocketAddr::V6(SocketAddrV6::new(
                    Ipv6Addr::from(self.v6.sin6_addr.s6_addr),
                    u16::from_be(self.v6.sin6_port),
                    // The flow label of a received packet is no part of who sent it.
                    0,
                    self.v6.sin6_scope_id,
                ))),
                _ => None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_round_trip() {
        for text in ["192.0.2.1:5060", "[2001:db8::1]:5061", "[fe80::1%3]:5060"] {
            let address: SocketAddr = text.parse().unwrap();
            let mut raw = RawAddress::empty();
            raw.set(address);
            assert_eq!(raw.read(), Some(address), "{text}");
        }
    }

    #[test]
    fn no_family_is_no_address() {
        assert_eq!(RawAddress::empty().read(), None);
    }
}
