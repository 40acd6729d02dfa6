//! pcapng (draft-ietf-opsawg-pcapng): section, interface and enhanced packet blocks.
//!
//! What is written are messages, not packets: addresses and ports are true, IP, UDP and TCP headers are made up. Messages
//! of TLS and WebSocket are written as over TCP, in clear; a comment names the transport.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

use sip_message::Transport;

use crate::trace::packet::Packet;

/// Writes messages to a file.
pub(crate) struct Writer<W: Write> {
    out: W,
    /// The next sequence number of each direction over a stream transport.
    sequences: HashMap<(SocketAddr, SocketAddr), u32>,
}

/// Packets begin with their IP header.
const LINKTYPE_RAW: u16 = 101;
/// The most that one packet carries; larger messages over TCP take several.
const MOST_PAYLOAD: usize = 65_000;
const OPTION_COMMENT: u16 = 1;
/// The most of a comment that is written: its length has 16 bits.
const MOST_COMMENT: usize = 60_000;
const UDP: u8 = 17;
const TCP: u8 = 6;

impl<W: Write> Writer<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn begin(mut out: W) -> io::Result<Writer<W>> {
        let mut section = Vec::new();
        section.extend(0x1a2b_3c4d_u32.to_le_bytes());
        section.extend([1, 0, 0, 0]);
        // The length of the section is not known beforehand.
        section.extend(u64::MAX.to_le_bytes());
        write_block(&mut out, 0x0a0d_0d0a, &section)?;
        let mut interface = Vec::new();
        interface.extend(LINKTYPE_RAW.to_le_bytes());
        interface.extend([0, 0, 0, 0, 0, 0]);
        write_block(&mut out, 1, &interface)?;
        Ok(Writer { out, sequences: HashMap::new() })
    }

    /// Adds a message.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&mut self, packet: &Packet) -> io::Result<()> {
        let seen = &packet.sighting;
        let mut comment = match seen.transport {
            Transport::Udp | Transport::Tcp => String::new(),
            other => format!("over {}\n", other.uri_param()),
        };
        for run in &packet.runs {
            comment += &format!("{}\n{}\n", run.route, run.lines.join("\n"));
        }
        if seen.transport == Transport::Udp {
            return self.write_packet(packet, &udp(packet), &comment);
        }
        for part in seen.bytes.chunks(MOST_PAYLOAD) {
            let segment = self.tcp(packet, part);
            self.write_packet(packet, &segment, &std::mem::take(&mut comment))?;
        }
        Ok(())
    }

    /// Hands on what is written.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn write_packet(&mut self, packet: &Packet, data: &[u8], comment: &str) -> io::Result<()> {
        let micros = packet.sighting.at.as_micros() as u64;
        let mut body = Vec::with_capacity(data.len() + 64);
        body.extend(0_u32.to_le_bytes());
        body.extend(((micros >> 32) as u32).to_le_bytes());
        body.extend((micros as u32).to_le_bytes());
        body.extend((data.len() as u32).to_le_bytes());
        body.extend((data.len() as u32).to_le_bytes());
        body.extend(data);
        pad(&mut body);
        let comment = comment.trim_end();
        if !comment.is_empty() {
            let end = comment.floor_char_boundary(MOST_COMMENT);
            option(&mut body, OPTION_COMMENT, &comment.as_bytes()[..end]);
        }
        option(&mut body, 0, &[]);
        write_block(&mut self.out, 6, &body)
    }

    fn tcp(&mut self, packet: &Packet, part: &[u8]) -> Vec<u8> {
        let (source, destination) = (packet.sighting.source, packet.sighting.destination);
        let acknowledged = self.sequences.get(&(destination, source)).copied().unwrap_or(1);
        let sequence = self.sequences.entry((source, destination)).or_insert(1);
        let mut segment = Vec::with_capacity(part.len() + 20);
        segment.extend(source.port().to_be_bytes());
        segment.extend(destination.port().to_be_bytes());
        segment.extend(sequence.to_be_bytes());
        segment.extend(acknowledged.to_be_bytes());
        // Five words of header; ACK and PSH.
        segment.extend([0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
        segment.extend(part);
        *sequence = sequence.wrapping_add(part.len() as u32);
        set_checksum(&mut segment, 16, source.ip(), destination.ip(), TCP);
        ip(&segment, source.ip(), destination.ip(), TCP)
    }
}

fn udp(packet: &Packet) -> Vec<u8> {
    let (source, destination) = (packet.sighting.source, packet.sighting.destination);
    // A datagram holds less than this; what the server saw over UDP fits.
    let payload = &packet.sighting.bytes[..packet.sighting.bytes.len().min(MOST_PAYLOAD)];
    let mut datagram = Vec::with_capacity(payload.len() + 8);
    datagram.extend(source.port().to_be_bytes());
    datagram.extend(destination.port().to_be_bytes());
    datagram.extend((payload.len() as u16 + 8).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    set_checksum(&mut datagram, 6, source.ip(), destination.ip(), UDP);
    ip(&datagram, source.ip(), destination.ip(), UDP)
}

/// Puts an IP header in front. Addresses of two families, which no network has, are both written as IPv6.
fn ip(payload: &[u8], source: IpAddr, destination: IpAddr, protocol: u8) -> Vec<u8> {
    let mut packet = Vec::with_capacity(payload.len() + 40);
    if let (IpAddr::V4(source), IpAddr::V4(destination)) = (source.to_canonical(), destination.to_canonical()) {
        packet.extend([0x45, 0]);
        packet.extend((payload.len() as u16 + 20).to_be_bytes());
        packet.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
        packet.extend(source.octets());
        packet.extend(destination.octets());
        let checksum = fold(sum(&packet));
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    } else {
        packet.extend([0x60, 0, 0, 0]);
        packet.extend((payload.len() as u16).to_be_bytes());
        packet.extend([protocol, 64]);
        packet.extend(octets(source));
        packet.extend(octets(destination));
    }
    packet.extend(payload);
    packet
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The checksum with the pseudo-header. The zeros in front of an IPv4 address mapped into IPv6 add nothing, but
/// `ffff` would; so IPv4 counts as itself.
fn set_checksum(segment: &mut [u8], at: usize, source: IpAddr, destination: IpAddr, protocol: u8) {
    let of = |address: IpAddr| match address.to_canonical() {
        IpAddr::V4(address) => sum(&address.octets()),
        IpAddr::V6(address) => sum(&address.octets()),
    };
    let total = of(source) + of(destination) + u32::from(protocol) + segment.len() as u32 + sum(segment);
    let checksum = match fold(total) {
        0 => 0xffff,
        checksum => checksum,
    };
    segment[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

fn sum(bytes: &[u8]) -> u32 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    bytes.chunks(2).map(word).sum()
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    pad(body);
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

fn write_block(out: &mut impl Write, kind: u32, body: &[u8]) -> io::Result<()> {
    let length = (body.len() as u32 + 12).to_le_bytes();
    out.write_all(&kind.to_le_bytes())?;
    out.write_all(&length)?;
    out.write_all(body)?;
    out.write_all(&length)
}
