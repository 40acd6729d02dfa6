//! Addresses and networks in groups.

use std::collections::HashMap;
use std::net::IpAddr;

use bytes::Bytes;
use module_api::Data;

use crate::network::Network;
use crate::rows::Row;

/// Addresses, networks and domains, each in a group.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    single: HashMap<IpAddr, Vec<Member>>,
    networks: Vec<(Network, String, Member)>,
    domains: Vec<(String, Member)>,
}

/// What belongs to an address of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) group: u32,
    /// 0 stands for any.
    pub(super) port: u16,
    pub(super) tag: Option<Bytes>,
}

/// Who is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Peer<'a> {
    Address(IpAddr),
    Domain(&'a str),
}

impl Addresses {
    /// Reads lines of `GROUP ADDRESS MASK PORT TAG`.
    ///
    /// # Errors
    /// Number of the line, and what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Addresses, String> {
        let mut addresses = Addresses::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let mut cells = line.split([' ', '\t', ',', '\r']).filter(|cell| !cell.is_empty());
            let Some(group) = cells.next() else { continue };
            let row: Row =
                [Some(group)].into_iter().chain((0..4).map(|_| cells.next())).map(|c| c.map(str::to_owned)).collect();
            addresses.add(&row).map_err(|cause| format!("{}: {cause}", number + 1))?;
        }
        Ok(addresses)
    }

    /// Takes rows of group, address, mask, port and tag.
    pub(super) fn from_rows(rows: &[Row]) -> Result<Addresses, String> {
        let mut addresses = Addresses::default();
        for (number, row) in rows.iter().enumerate() {
            addresses.add(row).map_err(|cause| format!("row {} of the addresses: {cause}", number + 1))?;
        }
        Ok(addresses)
    }

    fn add(&mut self, row: &Row) -> Result<(), String> {
        let cell = |n: usize| row[n].as_deref().map(str::trim).filter(|cell| !cell.is_empty());
        let number = |n: usize, usual: u32, what: &str| {
            cell(n).map_or(Ok(usual), |text| text.parse().map_err(|_| format!("`{text}` is not a {what}")))
        };
        let group = number(0, 1, "group, which is a number")?;
        let port = u16::try_from(number(3, 0, "port")?).map_err(|_| "no such port".to_owned())?;
        let member = Member { group, port, tag: cell(4).map(|tag| Bytes::copy_from_slice(tag.as_bytes())) };
        let text = cell(1).ok_or("the address is missing")?;
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        // A mask of 32 is what both families' tables hold for a single address, also of IPv6.
        let bits: Option<u32> = match bits {
            Some(bits) => Some(bits.parse().map_err(|_| format!("`{bits}` is not a number of bits"))?),
            None => Some(number(2, 32, "number of bits")?).filter(|bits| *bits != 32),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            self.domains.push((text.to_ascii_lowercase(), member));
            return Ok(());
        };
        let width = if address.is_ipv4() { 32 } else { 128 };
        match bits.filter(|bits| *bits != width) {
            None => self.single.entry(address).or_default().push(member),
            Some(bits) => {
                let network = u8::try_from(bits).ok().and_then(|bits| Network::new(address, bits));
                let network = network.ok_or_else(|| format!("{address} has no {bits} bits"))?;
                self.networks.push((network, format!("{address}/{bits}"), member));
            }
        }
        Ok(())
    }

    /// The first entry for a peer; `group` none: of any group.
    pub(super) fn find(&self, group: Option<u32>, peer: Peer<'_>, port: u16) -> Option<&Member> {
        let fits = |member: &&Member| {
            group.is_none_or(|group| group == member.group) && (member.port == 0 || port == 0 || member.port == port)
        };
        match peer {
            Peer::Domain(domain) => {
                let own = self.domains.iter().filter(|(name, _)| name.eq_ignore_ascii_case(domain));
                own.map(|(_, member)| member).find(fits)
            }
            Peer::Address(address) => {
                let address = address.to_canonical();
                let single = self.single.get(&address).into_iter().flatten().find(fits);
                let networks = self.networks.iter().filter(|(network, ..)| network.contains(address));
                single.or_else(|| networks.map(|(.., member)| member).find(fits))
            }
        }
    }

    /// Every entry, for an operator.
    pub(super) fn show(&self) -> Vec<Data> {
        let entry = |address: String, member: &Member| {
            Data::of([
                ("group", member.group.into()),
                ("address", address.into()),
                ("port", u32::from(member.port).into()),
                ("tag", Data::text(member.tag.as_deref().unwrap_or_default())),
            ])
        };
        let single =
            self.single.iter().flat_map(|(address, members)| members.iter().map(move |m| (address.to_string(), m)));
        let networks = self.networks.iter().map(|(_, text, member)| (text.clone(), member));
        let domains = self.domains.iter().map(|(domain, member)| (domain.clone(), member));
        single.chain(networks).chain(domains).map(|(address, member)| entry(address, member)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# peers\n1 192.0.2.7\n1 10.0.0.0 8 0 inside\n2,198.51.100.7,32,5070,gw\n\n3 2001:db8::/32\n4 trunk.example.com\n";

    fn group(addresses: &Addresses, group: Option<u32>, address: &str, port: u16) -> Option<u32> {
        addresses.find(group, Peer::Address(address.parse().unwrap()), port).map(|member| member.group)
    }

    #[test]
    fn addresses_and_networks_are_found_in_their_groups() {
        let addresses = Addresses::parse(FILE).unwrap();
        assert_eq!(group(&addresses, Some(1), "192.0.2.7", 5060), Some(1));
        assert_eq!(group(&addresses, Some(1), "::ffff:192.0.2.7", 5060), Some(1));
        assert_eq!(group(&addresses, Some(2), "192.0.2.7", 5060), None);
        assert_eq!(group(&addresses, Some(1), "10.200.0.1", 5060), Some(1));
        assert_eq!(group(&addresses, None, "198.51.100.7", 5070), Some(2));
        assert_eq!(group(&addresses, None, "198.51.100.7", 5071), None);
        assert_eq!(group(&addresses, None, "2001:db8::9", 1), Some(3));
        assert_eq!(addresses.find(None, Peer::Domain("Trunk.Example.com"), 0).map(|member| member.group), Some(4));
        assert_eq!(addresses.show().len(), 5);
    }

    #[test]
    fn a_wrong_line_is_named() {
        assert_eq!(Addresses::parse("1 10.0.0.1\nx 10.0.0.2").unwrap_err(), "2: `x` is not a group, which is a number");
        assert_eq!(Addresses::parse("1 10.0.0.1 33").unwrap_err(), "1: 10.0.0.1 has no 33 bits");
        assert_eq!(Addresses::parse("1").unwrap_err(), "1: the address is missing");
    }
}
