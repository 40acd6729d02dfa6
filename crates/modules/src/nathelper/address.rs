//! Addresses as aliases and URIs spell them, and which of them are private.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sip_message::{Host, Transport, Uri};

/// Whether `address` means something only in its own network.
///
/// `is_wide` adds what RFC 1918 does not list: addresses between a provider and its customers
/// (RFC 6598), and link-local ones (RFC 3927). IPv6 has unique local (RFC 4193) and link-local ones.
pub(super) fn is_private(address: IpAddr, is_wide: bool) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address, is_wide),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => is_private_v4(address, is_wide),
            None => address.is_unique_local() || address.is_unicast_link_local(),
        },
    }
}

fn is_private_v4(address: Ipv4Addr, is_wide: bool) -> bool {
    let [first, second, ..] = address.octets();
    let is_shared = first == 100 && second & 0xc0 == 64;
    address.is_private() || is_wide && (is_shared || address.is_link_local())
}

/// An address with or without the brackets of IPv6.
pub(super) fn read_address(text: &[u8]) -> Option<IpAddr> {
    Host::parse(text).and_then(Host::address).or_else(|| std::str::from_utf8(text).ok()?.parse().ok())
}

/// The port that a URI means: its own, else that of its transport.
pub(super) fn port_of(uri: &Uri<'_>) -> u16 {
    uri.port.unwrap_or_else(|| transport_of(uri).default_port())
}

/// The transport that a URI means without asking the DNS.
pub(super) fn transport_of(uri: &Uri<'_>) -> Transport {
    match (uri.transport(), uri.scheme) {
        (None, sip_message::Scheme::Sips) => Transport::Tls,
        (transport, _) => transport.unwrap_or(Transport::Udp),
    }
}

/// A place in the network: where a message came from, or what an alias names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) address: SocketAddr,
    pub(super) transport: Transport,
}

impl Place {
    /// `ip~port~number`, with the numbers that proxies of this family share.
    pub(super) fn parse(text: &[u8]) -> Option<Place> {
        let mut parts = text.split(|byte| *byte == b'~');
        let (ip, port, number) = (parts.next()?, parts.next()?, parts.next()?);
        let transport = TRANSPORTS.iter().find(|(own, _)| own.as_bytes() == number)?.1;
        let port: u16 = std::str::from_utf8(port).ok()?.parse().ok()?;
        let is_whole = parts.next().is_none() && port != 0;
        is_whole.then_some(Place { address: SocketAddr::new(read_address(ip)?, port), transport })
    }

    /// The alias that [`Place::parse`] reads.
    pub(super) fn to_alias(self) -> String {
        let number = TRANSPORTS.iter().find(|(_, own)| *own == self.transport).map_or("1", |(number, _)| number);
        let port = self.address.port();
        match self.address.ip() {
            IpAddr::V4(ip) => format!("{ip}~{port}~{number}"),
            IpAddr::V6(ip) => format!("[{ip}]~{port}~{number}"),
        }
    }

    /// As a URI to send to.
    pub(super) fn to_uri(self) -> String {
        match self.transport {
            Transport::Udp => format!("sip:{}", self.address),
            transport => format!("sip:{};transport={}", self.address, transport.uri_param()),
        }
    }

    /// Whether `uri` leads there by itself.
    pub(super) fn is_named_by(self, uri: &Uri<'_>) -> bool {
        uri.host.address() == Some(self.address.ip())
            && port_of(uri) == self.address.port()
            && transport_of(uri) == self.transport
    }
}

/// Where a message came from, as an alias says it.
pub(crate) fn alias_of(arrival: &module_api::Arrival) -> String {
    Place { address: arrival.source, transport: arrival.transport }.to_alias()
}

const TRANSPORTS: [(&str, Transport); 6] = [
    ("1", Transport::Udp),
    ("2", Transport::Tcp),
    ("3", Transport::Tls),
    ("4", Transport::Sctp),
    ("5", Transport::Ws),
    ("6", Transport::Wss),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check_private(address: &str, narrow: bool, wide: bool) {
        let address = address.parse().unwrap();
        assert_eq!((is_private(address, false), is_private(address, true)), (narrow, wide), "{address}");
    }

    #[test]
    fn private_ranges_end_where_the_rfcs_end_them() {
        check_private("10.255.255.255", true, true);
        check_private("172.16.0.0", true, true);
        check_private("172.31.255.255", true, true);
        check_private("172.32.0.0", false, false);
        check_private("192.168.0.1", true, true);
        check_private("100.64.0.0", false, true);
        check_private("100.127.255.255", false, true);
        check_private("100.128.0.0", false, false);
        check_private("169.254.1.1", false, true);
        check_private("198.51.100.7", false, false);
        check_private("fd00::1", true, true);
        check_private("::ffff:10.0.0.1", true, true);
        check_private("2001:db8::1", false, false);
    }

    #[test]
    fn an_alias_is_read_as_it_is_written() {
        for (alias, uri) in [
            ("198.51.100.7~5070~1", "sip:198.51.100.7:5070"),
            ("198.51.100.7~5070~2", "sip:198.51.100.7:5070;transport=tcp"),
            ("203.0.113.5~41234~5", "sip:203.0.113.5:41234;transport=ws"),
            ("[2001:db8::9]~443~6", "sip:[2001:db8::9]:443;transport=wss"),
        ] {
            let place = Place::parse(alias.as_bytes()).unwrap();
            assert_eq!((place.to_alias().as_str(), place.to_uri().as_str()), (alias, uri));
        }
        assert_eq!(Place::parse(b"2001:db8::9~443~6"), Place::parse(b"[2001:db8::9]~443~6"));
    }

    #[test]
    fn what_is_no_alias_is_not_read() {
        for text in ["", "h~5060~1", "192.0.2.1~0~1", "192.0.2.1~70000~1", "192.0.2.1~5060~7", "192.0.2.1~5060"] {
            assert_eq!(Place::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Place::parse(b"192.0.2.1~5060~1~"), None);
    }
}
