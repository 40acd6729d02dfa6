//! What the kernel shall do with connections.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use crate::socket_option;

/// Options of the sockets of connections. What is not set is as the system has it.
#[derive(Clone, Debug)]
pub struct KernelOptions {
    /// Type of service of what is sent, as in the IP header (RFC 2474 reads six bits of it).
    pub type_of_service: Option<u8>,
    /// Whether idle connections are probed (RFC 9293 section 3.8.4).
    pub probes_idle: bool,
    /// How long a connection is idle before it is probed.
    pub probe_after: Option<Duration>,
    /// The time between two probes.
    pub probe_interval: Option<Duration>,
    /// How many probes stay without answer before the connection is given up.
    pub probe_count: Option<u32>,
    /// How often connecting is tried.
    pub connect_tries: Option<u8>,
    /// How long a closed connection waits for the peer to close it too.
    pub lingers: Option<Duration>,
    /// How long the kernel keeps a new connection to itself while nothing has been received on it.
    pub accepts_with_data: Option<Duration>,
    /// Connections that the kernel holds until they are accepted.
    pub backlog: i32,
    /// Where IPv4 connections come from, whichever socket a message leaves by.
    pub source_v4: Option<IpAddr>,
    /// Where IPv6 connections come from, whichever socket a message leaves by.
    pub source_v6: Option<IpAddr>,
    /// Whether addresses may be bound that the host does not have yet.
    pub binds_foreign: bool,
}

impl Default for KernelOptions {
    fn default() -> Self {
        KernelOptions {
            type_of_service: None,
            probes_idle: false,
            probe_after: None,
            probe_interval: None,
            probe_count: None,
            connect_tries: None,
            lingers: None,
            accepts_with_data: None,
            backlog: 1024,
            source_v4: None,
            source_v6: None,
            binds_foreign: false,
        }
    }
}

impl KernelOptions {
    /// Sets what concerns one connection, before or after it is established.
    pub(super) fn apply(&self, socket: &impl AsFd, is_ipv6: bool) -> io::Result<()> {
        let socket = SockRef::from(socket);
        if let Some(service) = self.type_of_service {
            set_type_of_service(&socket, is_ipv6, service)?;
        }
        if self.probes_idle {
            let mut probes = TcpKeepalive::new();
            probes = self.probe_after.map_or(probes.clone(), |after| probes.clone().with_time(after));
            probes = self.probe_interval.map_or(probes.clone(), |interval| probes.clone().with_interval(interval));
            probes = self.probe_count.map_or(probes.clone(), |count| probes.clone().with_retries(count));
            socket.set_tcp_keepalive(&probes)?;
        }
        if let Some(tries) = self.connect_tries {
            socket_option::set(&*socket, libc::IPPROTO_TCP, libc::TCP_SYNCNT, tries.into())?;
        }
        if let Some(time) = self.lingers {
            socket_option::set(&*socket, libc::IPPROTO_TCP, libc::TCP_LINGER2, seconds(time))?;
        }
        Ok(())
    }

    /// Sets what concerns a listening socket, before it is bound.
    pub(super) fn apply_to_listener(&self, socket: &socket2::Socket, address: SocketAddr) -> io::Result<()> {
        if self.binds_foreign {
            set_foreign(socket, address)?;
        }
        if let Some(time) = self.accepts_with_data {
            socket_option::set(socket, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds(time))?;
        }
        Ok(())
    }

    /// The address to connect from to a peer of this family, where it is fixed.
    pub(super) fn source(&self, is_ipv6: bool) -> Option<IpAddr> {
        if is_ipv6 { self.source_v6 } else { self.source_v4 }
    }
}

/// Lets `socket` bind an address that the host does not have.
pub(crate) fn set_foreign(socket: &socket2::Socket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv6() { socket.set_freebind_v6(true) } else { socket.set_freebind_v4(true) }
}

/// Sets the type of service, which IPv6 calls traffic class.
pub(crate) fn set_type_of_service(socket: &socket2::Socket, is_ipv6: bool, service: u8) -> io::Result<()> {
    if is_ipv6 { socket.set_tclass_v6(service.into()) } else { socket.set_tos_v4(service.into()) }
}

fn seconds(time: Duration) -> libc::c_int {
    time.as_secs().clamp(1, 86_400) as libc::c_int
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};

    #[test]
    fn the_kernel_is_told_what_is_wanted() {
        let options = KernelOptions {
            type_of_service: Some(0xb8),
            probes_idle: true,
            probe_after: Some(Duration::from_secs(77)),
            probe_interval: Some(Duration::from_secs(11)),
            probe_count: Some(5),
            connect_tries: Some(3),
            lingers: Some(Duration::from_secs(9)),
            ..KernelOptions::default()
        };
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        options.apply(&socket, false).unwrap();
        assert_eq!(socket.tos_v4().unwrap(), 0xb8);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(77));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(11));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 5);
        let untouched = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        KernelOptions::default().apply(&untouched, false).unwrap();
        assert!(!untouched.keepalive().unwrap());
    }

    #[test]
    fn an_address_of_another_host_can_be_bound_where_that_is_wanted() {
        // RFC 5737: no host has it.
        let address: SocketAddr = "192.0.2.77:0".parse().unwrap();
        let bind = |options: &KernelOptions| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            options.apply_to_listener(&socket, address).unwrap();
            socket.bind(&address.into())
        };
        assert!(bind(&KernelOptions::default()).is_err());
        bind(&KernelOptions { binds_foreign: true, ..KernelOptions::default() }).unwrap();
    }
}
