//! Trusted peers: an address, a transport, and what From and Request-URI must match.

use std::net::IpAddr;

use bytes::Bytes;
use module_api::Data;
use regex::bytes::Regex;
use sip_message::Transport;

use super::rules::compile;
use crate::rows::Row;

/// Trusted peers, in the order of their table.
#[derive(Debug, Default)]
pub(super) struct Trusted(Vec<Peer>);

#[derive(Debug)]
struct Peer {
    address: IpAddr,
    protocol: Protocol,
    from: Option<Regex>,
    uri: Option<Regex>,
    tag: Option<Bytes>,
}

#[derive(Debug, PartialEq, Eq)]
enum Protocol {
    Any,
    None,
    Only(Transport),
}

/// A request, as far as trust depends on it.
pub(super) struct Asked<'a> {
    pub(super) address: IpAddr,
    /// None: whatever the entry says.
    pub(super) transport: Option<Transport>,
    pub(super) from: &'a [u8],
    pub(super) uri: &'a [u8],
}

impl Trusted {
    /// Takes rows of address, transport, two patterns and tag.
    pub(super) fn from_rows(rows: &[Row]) -> Result<Trusted, String> {
        let peer = |(number, row): (usize, &Row)| {
            read(row).map_err(|cause| format!("row {} of the trusted peers: {cause}", number + 1))
        };
        rows.iter().enumerate().map(peer).collect::<Result<_, _>>().map(Trusted)
    }

    /// Each peer as an operator may see it.
    pub(super) fn show(&self) -> Vec<Data> {
        let pattern = |pattern: &Option<Regex>| pattern.as_ref().map(|pattern| pattern.as_str().to_owned());
        let text = |text: Option<String>| text.map_or(Data::Null, Data::Str);
        let peer = |peer: &Peer| {
            let transport = match &peer.protocol {
                Protocol::Any => "any",
                Protocol::None => "none",
                Protocol::Only(transport) => transport.uri_param(),
            };
            Data::of([
                ("ip", peer.address.to_string().into()),
                ("proto", transport.into()),
                ("from_pattern", text(pattern(&peer.from))),
                ("ruri_pattern", text(pattern(&peer.uri))),
                ("tag", peer.tag.as_ref().map_or(Data::Null, |tag| Data::text(tag))),
            ])
        };
        self.0.iter().map(peer).collect()
    }

    /// The tag of the first peer that fits; none when there is no such peer.
    pub(super) fn find(&self, asked: &Asked<'_>) -> Option<&Option<Bytes>> {
        let address = asked.address.to_canonical();
        let fits = |peer: &&Peer| {
            let is_transport = match &peer.protocol {
                Protocol::Any => true,
                Protocol::None => false,
                Protocol::Only(own) => asked.transport.is_none_or(|transport| transport == *own),
            };
            is_transport
                && peer.address == address
                && peer.from.as_ref().is_none_or(|pattern| pattern.is_match(asked.from))
                && peer.uri.as_ref().is_none_or(|pattern| pattern.is_match(asked.uri))
        };
        self.0.iter().find(fits).map(|peer| &peer.tag)
    }
}

fn read(row: &Row) -> Result<Peer, String> {
    let cell = |n: usize| row[n].as_deref().map(str::trim).filter(|cell| !cell.is_empty());
    let address = cell(0).ok_or("the address is missing")?;
    let protocol = cell(1).unwrap_or("any");
    Ok(Peer {
        address: address.parse().map_err(|_| format!("`{address}` is not an address"))?,
        protocol: match protocol.to_ascii_lowercase().as_str() {
            "any" => Protocol::Any,
            "none" => Protocol::None,
            word => match Transport::from_token(word.as_bytes()) {
                Some(transport) => Protocol::Only(transport),
                None => return Err(format!("`{protocol}` is no transport")),
            },
        },
        from: cell(2).map(compile).transpose()?,
        uri: cell(3).map(compile).transpose()?,
        tag: cell(4).map(|tag| Bytes::copy_from_slice(tag.as_bytes())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: [&str; 5]) -> Row {
        cells.iter().map(|cell| Some((*cell).to_owned()).filter(|cell| !cell.is_empty())).collect()
    }

    #[test]
    fn a_peer_is_trusted_by_address_transport_and_uris() {
        let rows =
            [row(["192.0.2.7", "udp", "^sip:.*@a\\.example$", "", "one"]), row(["192.0.2.8", "any", "", "", ""])];
        let trusted = Trusted::from_rows(&rows).unwrap();
        let find = |address: &str, transport, from: &str| {
            let address = address.parse().unwrap();
            let asked = Asked { address, transport: Some(transport), from: from.as_bytes(), uri: b"sip:b@h" };
            trusted.find(&asked).cloned()
        };
        let tag = Some(Some(Bytes::from_static(b"one")));
        assert_eq!(find("192.0.2.7", Transport::Udp, "sip:x@a.example"), tag);
        assert_eq!(find("192.0.2.7", Transport::Tcp, "sip:x@a.example"), None);
        assert_eq!(find("192.0.2.7", Transport::Udp, "sip:x@b.example"), None);
        assert_eq!(find("192.0.2.8", Transport::Tls, ""), Some(None));
        assert!(Trusted::from_rows(&[row(["192.0.2.8", "any", "(", "", ""])]).is_err());
    }
}
