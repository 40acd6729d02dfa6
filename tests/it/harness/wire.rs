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
}

impl Wire {
    /// Loopback address of the family.
    pub(crate) fn ip(self) -> IpAddr {
        match self {
            Wire::Udp6 | Wire::Tcp6 => Ipv6Addr::LOCALHOST.into(),
            Wire::Udp4 | Wire::Tcp4 | Wire::Tls4 | Wire::Ws4 => Ipv4Addr::LOCALHOST.into(),
        }
    }

    /// Value of the `transport` parameter of a SIP URI (RFC 3261 section 19.1.1).
    pub(crate) fn transport(self) -> &'static str {
        match self {
            Wire::Udp4 | Wire::Udp6 => "udp",
            Wire::Tcp4 | Wire::Tcp6 => "tcp",
            Wire::Tls4 => "tls",
            Wire::Ws4 => "ws",
        }
    }
}
