//! Addresses and networks as scripts and files spell them.

use std::net::IpAddr;

/// All addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads `10.0.0.0/8`, or an address, which is a network of one.
    pub(crate) fn parse(text: &str) -> Option<Network> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.trim().parse::<u8>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().ok()?;
        Network::new(address, bits.unwrap_or(width(address)))
    }

    /// The network of the first `bits` bits of `address`; none when it has not so many.
    pub(crate) fn new(address: IpAddr, bits: u8) -> Option<Network> {
        (bits <= width(address)).then_some(Network { address, bits })
    }

    /// Whether `address` is one of its own.
    pub(crate) fn contains(self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                u32::from(own) & mask == u32::from(other) & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                u128::from(own) & mask == u128::from(other) & mask
            }
            _ => false,
        }
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// An address without brackets.
pub(crate) fn pure_address(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// An address; one of IPv6 with or without brackets.
pub(crate) fn address(text: &[u8]) -> Option<IpAddr> {
    reference(text).or_else(|| pure_address(text))
}

/// An IPv6 address in brackets, as URIs spell it.
pub(crate) fn reference(text: &[u8]) -> Option<IpAddr> {
    let inner = text.strip_prefix(b"[")?.strip_suffix(b"]")?;
    pure_address(inner).filter(IpAddr::is_ipv6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_what_begins_with_its_bits() {
        let contains = |network: &str, address: &str| {
            Network::parse(network).is_some_and(|network| network.contains(address.parse().unwrap()))
        };
        assert!(contains("10.0.0.0/8", "10.1.2.3"));
        assert!(!contains("10.0.0.0/8", "11.1.2.3"));
        assert!(contains("0.0.0.0/0", "11.1.2.3"));
        assert!(!contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("2001:db8::/32", "2001:db8:7::1"));
        assert!(contains("192.0.2.1", "192.0.2.1"));
        assert!(contains("192.0.2.0/24", "::ffff:192.0.2.9"));
        assert_eq!(Network::parse("10.0.0.0/33"), None);
    }

    #[test]
    fn brackets_are_for_ipv6_alone() {
        assert!(address(b"[::1]").is_some() && address(b"::1").is_some() && address(b"192.0.2.1").is_some());
        assert!(address(b"[192.0.2.1]").is_none() && pure_address(b"[::1]").is_none());
    }
}
