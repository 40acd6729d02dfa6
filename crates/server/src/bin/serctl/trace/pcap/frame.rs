//! From a packet on a link to the payload of UDP or TCP.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use module_api::Sighting;
use sip_message::Transport;

use super::stream::Streams;
use crate::trace::packet::Packet;

/// What a packet begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// Ethernet, with or without VLAN tags.
    Ethernet,
    /// Four bytes that name the family, in the byte order of some machine.
    Loopback,
    /// Linux cooked capture, first version.
    Cooked,
    /// Linux cooked capture, second version.
    Cooked2,
    /// The IP header.
    Raw,
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

impl Link {
    /// By its number in the files.
    pub(super) fn of(number: u16) -> Option<Link> {
        match number {
            0 | 108 => Some(Link::Loopback),
            1 => Some(Link::Ethernet),
            12 | 14 | 101 | 228 | 229 => Some(Link::Raw),
            113 => Some(Link::Cooked),
            276 => Some(Link::Cooked2),
            _ => None,
        }
    }

    /// The IP packet.
    fn payload(self, data: &[u8]) -> Option<&[u8]> {
        let kind = |at: usize| Some(u16::from_be_bytes(data.get(at..at + 2)?.try_into().ok()?));
        let (kind, start) = match self {
            Link::Raw => return Some(data),
            Link::Loopback => return data.get(4..),
            Link::Cooked => (kind(14)?, 16),
            Link::Cooked2 => (kind(0)?, 20),
            Link::Ethernet => {
                let mut start = 12;
                while matches!(kind(start)?, 0x8100 | 0x88a8 | 0x9100) {
                    start += 4;
                }
                (kind(start)?, start + 2)
            }
        };
        matches!(kind, IPV4 | IPV6).then(|| data.get(start..)).flatten()
    }
}

/// An IP packet, or a part of one.
struct Ip<'a> {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    payload: &'a [u8],
    /// Its identification, offset, and whether more follow, where it is a fragment.
    fragment: Option<(u32, usize, bool)>,
}

/// Puts fragments and segments together.
#[derive(Default)]
pub(super) struct Segments {
    fragments: VecDeque<Fragmented>,
    streams: Streams,
}

struct Fragmented {
    key: (IpAddr, IpAddr, u8, u32),
    parts: Vec<(usize, Vec<u8>)>,
    /// Known once the last part is there.
    length: Option<usize>,
}

/// Packets in fragments that wait for their rest; the oldest is given up beyond that.
const MOST_FRAGMENTED: usize = 64;
/// Parts of one packet; more are an attack.
const MOST_PARTS: usize = 64;
const UDP: u8 = 17;
const TCP: u8 = 6;

impl Segments {
    /// Takes a packet and adds the messages that are whole with it.
    pub(super) fn take(&mut self, link: Link, at: Duration, data: &[u8], out: &mut Vec<Packet>) {
        let Some(ip) = link.payload(data).and_then(parse_ip) else { return };
        let payload = match ip.fragment {
            None => ip.payload.to_vec(),
            Some((id, offset, more)) => match self.join(&ip, id, offset, more) {
                Some(whole) => whole,
                None => return,
            },
        };
        match ip.protocol {
            UDP => take_udp(&ip, &payload, at, out),
            TCP => self.take_tcp(&ip, &payload, at, out),
            _ => {}
        }
    }

    fn join(&mut self, ip: &Ip<'_>, id: u32, offset: usize, more: bool) -> Option<Vec<u8>> {
        let key = (ip.source, ip.destination, ip.protocol, id);
        let place = self.fragments.iter().position(|waiting| waiting.key == key).unwrap_or_else(|| {
            if self.fragments.len() >= MOST_FRAGMENTED {
                self.fragments.pop_front();
            }
            self.fragments.push_back(Fragmented { key, parts: Vec::new(), length: None });
            self.fragments.len() - 1
        });
        let waiting = &mut self.fragments[place];
        if waiting.parts.len() < MOST_PARTS {
            waiting.parts.push((offset, ip.payload.to_vec()));
        }
        if !more {
            waiting.length = Some(offset + ip.payload.len());
        }
        let whole = waiting.whole()?;
        self.fragments.remove(place);
        Some(whole)
    }

    fn take_tcp(&mut self, ip: &Ip<'_>, segment: &[u8], at: Duration, out: &mut Vec<Packet>) {
        let Some((source, destination)) = ports(ip, segment) else { return };
        let Some(sequence) = segment.get(4..8).and_then(|four| four.try_into().ok()).map(u32::from_be_bytes) else {
            return;
        };
        let (Some(words), Some(flags)) = (segment.get(12), segment.get(13)) else { return };
        let Some(payload) = segment.get(usize::from(words >> 4) * 4..) else { return };
        let is_start = flags & 0x02 != 0;
        for message in self.streams.take((source, destination), sequence, is_start, payload) {
            out.extend(sip(Transport::Tcp, at, (source, destination), message));
        }
    }
}

impl Fragmented {
    fn whole(&mut self) -> Option<Vec<u8>> {
        let length = self.length?;
        self.parts.sort_by_key(|(offset, _)| *offset);
        let mut whole = Vec::new();
        for (offset, part) in &self.parts {
            if *offset > whole.len() {
                return None;
            }
            whole.truncate(*offset);
            whole.extend(part);
        }
        (whole.len() == length).then_some(whole)
    }
}

fn parse_ip(data: &[u8]) -> Option<Ip<'_>> {
    match data.first()? >> 4 {
        4 => parse_ipv4(data),
        6 => parse_ipv6(data),
        _ => None,
    }
}

fn parse_ipv4(data: &[u8]) -> Option<Ip<'_>> {
    let head = usize::from(data[0] & 0xf) * 4;
    let word = |at: usize| Some(u16::from_be_bytes(data.get(at..at + 2)?.try_into().ok()?));
    let address = |at: usize| -> Option<[u8; 4]> { data.get(at..at + 4)?.try_into().ok() };
    // Zero where the network card cuts large packets: then all that is there belongs to it.
    let total = Some(usize::from(word(2)?)).filter(|total| *total > 0).unwrap_or(data.len());
    let flags = word(6)?;
    let (more, offset) = (flags & 0x2000 != 0, usize::from(flags & 0x1fff) * 8);
    Some(Ip {
        source: Ipv4Addr::from(address(12)?).into(),
        destination: Ipv4Addr::from(address(16)?).into(),
        protocol: *data.get(9)?,
        payload: data.get(head.max(20)..total.min(data.len()))?,
        fragment: (more || offset > 0).then_some((word(4)?.into(), offset, more)),
    })
}

fn parse_ipv6(data: &[u8]) -> Option<Ip<'_>> {
    let address = |at: usize| -> Option<[u8; 16]> { data.get(at..at + 16)?.try_into().ok() };
    let length = usize::from(u16::from_be_bytes(data.get(4..6)?.try_into().ok()?));
    let (mut next, mut payload) = (*data.get(6)?, data.get(40..)?);
    if length > 0 {
        payload = &payload[..length.min(payload.len())];
    }
    let mut fragment = None;
    // Hop-by-hop, routing, destination options and fragment headers, of which a real packet has few.
    for _ in 0..8 {
        match next {
            0 | 43 | 60 => {
                let head = (usize::from(*payload.get(1)?) + 1) * 8;
                next = *payload.first()?;
                payload = payload.get(head..)?;
            }
            44 => {
                let word = u16::from_be_bytes(payload.get(2..4)?.try_into().ok()?);
                let id = u32::from_be_bytes(payload.get(4..8)?.try_into().ok()?);
                fragment = Some((id, usize::from(word & 0xfff8), word & 1 != 0));
                next = *payload.first()?;
                payload = payload.get(8..)?;
            }
            _ => break,
        }
    }
    Some(Ip {
        source: Ipv6Addr::from(address(8)?).into(),
        destination: Ipv6Addr::from(address(24)?).into(),
        protocol: next,
        payload,
        fragment,
    })
}

fn ports(ip: &Ip<'_>, segment: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let port = |at: usize| Some(u16::from_be_bytes(segment.get(at..at + 2)?.try_into().ok()?));
    Some((SocketAddr::new(ip.source, port(0)?), SocketAddr::new(ip.destination, port(2)?)))
}

fn take_udp(ip: &Ip<'_>, datagram: &[u8], at: Duration, out: &mut Vec<Packet>) {
    let Some(way) = ports(ip, datagram) else { return };
    let payload = datagram.get(8..).unwrap_or_default();
    out.extend(sip(Transport::Udp, at, way, Bytes::copy_from_slice(payload)));
}

/// A message, when it is one. Whose capture it is, and so which way it went, no file says.
fn sip(transport: Transport, at: Duration, way: (SocketAddr, SocketAddr), bytes: Bytes) -> Option<Packet> {
    let sighting = Sighting { at, is_sent: false, transport, source: way.0, destination: way.1, bytes };
    Packet::new(sighting, Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(offset: usize, more: bool, part: &[u8]) -> Vec<u8> {
        let flags = (offset / 8) as u16 | if more { 0x2000 } else { 0 };
        let mut packet = vec![0x45, 0];
        packet.extend((part.len() as u16 + 20).to_be_bytes());
        packet.extend([0, 9]);
        packet.extend(flags.to_be_bytes());
        packet.extend([64, UDP, 0, 0, 198, 51, 100, 1, 192, 0, 2, 1]);
        packet.extend(part);
        packet
    }

    #[test]
    fn fragments_of_a_large_invite_come_together_in_any_order() {
        let message = format!(
            "INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\n\
             Call-ID: a@b\r\nCSeq: 1 INVITE\r\nX: {}\r\n\r\n",
            "x".repeat(3000)
        );
        let mut datagram = vec![0x13, 0xc4, 0x13, 0xc4, 0, 0, 0, 0];
        datagram.extend(message.as_bytes());
        let parts = [
            fragment(0, true, &datagram[..1480]),
            fragment(1480, true, &datagram[1480..2960]),
            fragment(2960, false, &datagram[2960..]),
        ];
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let (mut segments, mut out) = (Segments::default(), Vec::new());
            for n in order {
                assert!(out.is_empty());
                segments.take(Link::Raw, Duration::ZERO, &parts[n], &mut out);
            }
            assert_eq!(out.len(), 1);
            assert_eq!(out[0].sighting.bytes, message.as_bytes());
        }
    }

    #[test]
    fn fragments_without_their_rest_stay_few() {
        let (mut segments, mut out) = (Segments::default(), Vec::new());
        for id in 0..1000_u16 {
            let mut packet = fragment(8, true, &[0; 100]);
            packet[4..6].copy_from_slice(&id.to_be_bytes());
            segments.take(Link::Raw, Duration::ZERO, &packet, &mut out);
        }
        assert_eq!(segments.fragments.len(), MOST_FRAGMENTED);
    }
}
