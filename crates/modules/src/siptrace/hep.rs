//! Writing HEP version 3, the Homer encapsulation protocol: chunks of vendor, type, length and value, as
//! the collectors heplify-server, Homer and Kamailio's sipcapture read them.

use std::net::IpAddr;

use module_api::Sighting;
use sip_message::Transport;

/// What is said about each packet of this server.
#[derive(Debug, Clone, Default)]
pub(super) struct Agent {
    /// Tells the collector's sources apart.
    pub(super) capture_id: u32,
    /// What the collector may ask for as a password; it goes in the clear.
    pub(super) auth_key: String,
}

/// What the payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payload {
    Sip = 1,
    Log = 100,
}

/// A packet; none where it does not fit into one.
pub(super) fn packet(seen: &Sighting, payload: Payload, correlation: Option<&[u8]>, agent: &Agent) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(seen.bytes.len() + 160);
    out.extend_from_slice(b"HEP3\0\0");
    let (source, destination) = (seen.source.ip().to_canonical(), seen.destination.ip().to_canonical());
    let is_v4 = source.is_ipv4() && destination.is_ipv4();
    // Numbers as in sys/socket.h of Linux, which the collectors expect everywhere.
    chunk(&mut out, 1, &[if is_v4 { 2 } else { 10 }])?;
    chunk(&mut out, 2, &[protocol(seen.transport)])?;
    addresses(&mut out, is_v4, [source, destination])?;
    chunk(&mut out, 7, &seen.source.port().to_be_bytes())?;
    chunk(&mut out, 8, &seen.destination.port().to_be_bytes())?;
    // The field has 32 bits: it lasts until 2106.
    chunk(&mut out, 9, &(seen.at.as_secs() as u32).to_be_bytes())?;
    chunk(&mut out, 10, &seen.at.subsec_micros().to_be_bytes())?;
    chunk(&mut out, 11, &[payload as u8])?;
    chunk(&mut out, 12, &agent.capture_id.to_be_bytes())?;
    if !agent.auth_key.is_empty() {
        chunk(&mut out, 14, agent.auth_key.as_bytes())?;
    }
    if let Some(correlation) = correlation.filter(|correlation| !correlation.is_empty()) {
        chunk(&mut out, 17, correlation)?;
    }
    chunk(&mut out, 15, &seen.bytes)?;
    let length = u16::try_from(out.len()).ok()?;
    out[4..6].copy_from_slice(&length.to_be_bytes());
    Some(out)
}

fn addresses(out: &mut Vec<u8>, is_v4: bool, of: [IpAddr; 2]) -> Option<()> {
    for (n, address) in of.into_iter().enumerate() {
        let number = n as u16;
        match address {
            IpAddr::V4(address) if is_v4 => chunk(out, 3 + number, &address.octets())?,
            IpAddr::V4(address) => chunk(out, 5 + number, &address.to_ipv6_mapped().octets())?,
            IpAddr::V6(address) => chunk(out, 5 + number, &address.octets())?,
        }
    }
    Some(())
}

fn chunk(out: &mut Vec<u8>, kind: u16, value: &[u8]) -> Option<()> {
    const HEAD: usize = 6;
    let length = u16::try_from(HEAD + value.len()).ok()?;
    // Vendor 0: the generic chunks.
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
    Some(())
}

/// The number of the IP protocol; TLS and WebSocket run over TCP.
fn protocol(transport: Transport) -> u8 {
    match transport {
        Transport::Udp => 17,
        Transport::Sctp => 132,
        Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::time::Duration;

    fn sighting(source: &str, destination: &str) -> Sighting {
        Sighting {
            at: Duration::new(0x0102_0304, 5_000),
            is_sent: true,
            transport: Transport::Udp,
            source: source.parse().expect("a literal"),
            destination: destination.parse().expect("a literal"),
            bytes: Bytes::from_static(b"SIP"),
        }
    }

    #[test]
    fn a_packet_is_a_length_and_chunks() {
        let agent = Agent { capture_id: 234, auth_key: "key".into() };
        let packet = packet(&sighting("192.0.2.1:5060", "192.0.2.2:5070"), Payload::Sip, Some(b"id"), &agent);
        let expected: &[&[u8]] = &[
            b"HEP3\0\x77",
            b"\0\0\0\x01\0\x07\x02",
            b"\0\0\0\x02\0\x07\x11",
            b"\0\0\0\x03\0\x0a\xc0\0\x02\x01",
            b"\0\0\0\x04\0\x0a\xc0\0\x02\x02",
            b"\0\0\0\x07\0\x08\x13\xc4",
            b"\0\0\0\x08\0\x08\x13\xce",
            b"\0\0\0\x09\0\x0a\x01\x02\x03\x04",
            b"\0\0\0\x0a\0\x0a\0\0\0\x05",
            b"\0\0\0\x0b\0\x07\x01",
            b"\0\0\0\x0c\0\x0a\0\0\0\xea",
            b"\0\0\0\x0e\0\x09key",
            b"\0\0\0\x11\0\x08id",
            b"\0\0\0\x0f\0\x09SIP",
        ];
        assert_eq!(packet, Some(expected.concat()));
    }

    #[test]
    fn where_one_address_is_ipv6_both_are_written_so() {
        let mixed = sighting("192.0.2.1:5060", "[2001:db8::1]:5070");
        let packet = packet(&mixed, Payload::Sip, None, &Agent::default()).expect("it fits");
        assert_eq!(packet[12], 10);
        assert!(
            packet.windows(6).any(|head| head == b"\0\0\0\x05\0\x16")
                && packet.windows(6).any(|head| head == b"\0\0\0\x06\0\x16")
        );
    }

    #[test]
    fn what_does_not_fit_is_no_packet() {
        let large = Sighting { bytes: vec![b'x'; 65_600].into(), ..sighting("192.0.2.1:1", "192.0.2.2:2") };
        assert_eq!(packet(&large, Payload::Sip, None, &Agent::default()), None);
    }
}
