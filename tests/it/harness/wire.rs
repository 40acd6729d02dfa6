//! A way to reach a SIP element: transport and address family.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Transport and address family of a listener or a peer, on loopback.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wire {
    Udp4,
    Udp6,
    Tcp4,
    Tcp6,
    Tls4,
    Ws4,
    Wss4,
}

impl Wire {
    /// Loopback address of the family.
    pub(crate) fn ip(self) -> IpAddr {
        match self {
            Wire::Udp6 | Wire::Tcp6 => Ipv6Addr::LOCALHOST.into(),
            Wire::Udp4 | Wire::Tcp4 | Wire::Tls4 | Wire::Ws4 | Wire::Wss4 => Ipv4Addr::LOCALHOST.into(),
        }
    }

    /// Name of the transport, as in the `transport` parameter of a SIP URI (RFC 3261 section
    /// 19.1.1) and in the addresses that a server listens on.
    pub(crate) fn transport(self) -> &'static str {
        match self {
            Wire::Udp4 | Wire::Udp6 => "udp",
            Wire::Tcp4 | Wire::Tcp6 => "tcp",
            Wire::Tls4 => "tls",
            Wire::Ws4 => "ws",
            Wire::Wss4 => "wss",
        }
    }

    /// Whether a server needs a certificate for it.
    pub(crate) fn is_secure(self) -> bool {
        matches!(self, Wire::Tls4 | Wire::Wss4)
    }
}
