//! Reading pcap and pcapng. Every length is checked against a bound before memory is given for it.

use std::io::{self, Read};
use std::time::Duration;

use anyhow::{Result, bail};

use super::frame::{Link, Segments};
use crate::trace::packet::Packet;

/// What a file held.
pub(crate) struct ReadFile {
    /// SIP messages, in the order of the file.
    pub(crate) packets: Vec<Packet>,
    /// How many packets of any kind were read.
    pub(crate) frames: usize,
    /// What is wrong with the rest of the file, if anything.
    pub(crate) fault: Option<String>,
}

/// No network has larger packets, and no tool writes larger blocks.
const MOST_BLOCK: u32 = 16 * 1024 * 1024;
/// SIP messages that are kept; what follows is left out and the file said to be too long.
const MOST_PACKETS: usize = 200_000;
/// And their bytes in all.
const MOST_BYTES: usize = 256 * 1024 * 1024;
const MOST_INTERFACES: usize = 1024;

/// Reads SIP messages.
///
/// # Errors
/// When it is no capture file. What is damaged later on is told in [`ReadFile::fault`].
pub(crate) fn read(from: impl Read) -> Result<ReadFile> {
    read_within(from, MOST_BYTES)
}

fn read_within(mut from: impl Read, most_bytes: usize) -> Result<ReadFile> {
    let mut magic = [0; 4];
    if from.read_exact(&mut magic).is_err() {
        bail!("is too short for a capture file");
    }
    let mut file = ReadFile { packets: Vec::new(), frames: 0, fault: None };
    let mut segments = Segments::default();
    let mut bytes = 0;
    let mut take = |link, at, data: &[u8]| {
        file.frames += 1;
        let before = file.packets.len();
        segments.take(link, at, data, &mut file.packets);
        bytes += file.packets[before..].iter().map(|packet| packet.sighting.bytes.len()).sum::<usize>();
        if bytes > most_bytes {
            return Err(format!("the file holds more than {most_bytes} bytes of messages"));
        }
        match file.packets.len() < MOST_PACKETS {
            true => Ok(()),
            false => Err(format!("the file holds more than {MOST_PACKETS} messages")),
        }
    };
    let end = match magic {
        [0x0a, 0x0d, 0x0d, 0x0a] => read_pcapng(&mut from, &mut take),
        [0xd4, 0xc3, 0xb2, 0xa1] => read_pcap(&mut from, Order::Little, 1_000, &mut take),
        [0x4d, 0x3c, 0xb2, 0xa1] => read_pcap(&mut from, Order::Little, 1, &mut take),
        [0xa1, 0xb2, 0xc3, 0xd4] => read_pcap(&mut from, Order::Big, 1_000, &mut take),
        [0xa1, 0xb2, 0x3c, 0x4d] => read_pcap(&mut from, Order::Big, 1, &mut take),
        _ => bail!("is neither pcap nor pcapng"),
    };
    file.fault = end.err();
    Ok(file)
}

#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let two = bytes.get(at..at + 2)?.try_into().ok()?;
        Some(match self {
            Order::Little => u16::from_le_bytes(two),
            Order::Big => u16::from_be_bytes(two),
        })
    }

    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let four = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(match self {
            Order::Little => u32::from_le_bytes(four),
            Order::Big => u32::from_be_bytes(four),
        })
    }
}

type Take<'a> = dyn FnMut(Link, Duration, &[u8]) -> Result<(), String> + 'a;

fn read_pcap(from: &mut impl Read, order: Order, unit_nanos: u64, take: &mut Take<'_>) -> Result<(), String> {
    let mut header = [0; 20];
    fill(from, &mut header)?.ok_or("the file ends in its header")?;
    let kind = order.u32(&header, 16).unwrap_or_default() & 0xffff;
    let link = Link::of(kind as u16).ok_or_else(|| format!("packets of link type {kind} are not known here"))?;
    let mut data = Vec::new();
    let mut head = [0; 16];
    while fill(from, &mut head)?.is_some() {
        let [seconds, fraction, length] = [0, 4, 8].map(|at| order.u32(&head, at).unwrap_or_default());
        take_bytes(from, &mut data, length)?;
        let at = Duration::from_secs(seconds.into()) + Duration::from_nanos(u64::from(fraction) * unit_nanos);
        take(link, at, &data)?;
    }
    Ok(())
}

struct Interface {
    link: Option<Link>,
    /// Units of time in a second.
    units: u64,
}

fn read_pcapng(from: &mut impl Read, take: &mut Take<'_>) -> Result<(), String> {
    let mut order = Order::Little;
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut body = Vec::new();
    // The file's first block has lost its type to the look at the magic.
    let mut kind_bytes = [0x0a, 0x0d, 0x0d, 0x0a];
    loop {
        let mut length = [0; 4];
        fill(from, &mut length)?.ok_or("the file ends in the head of a block")?;
        let mut consumed = 8;
        if kind_bytes == [0x0a, 0x0d, 0x0d, 0x0a] {
            let mut magic = [0; 4];
            fill(from, &mut magic)?.ok_or("the file ends in the head of a section")?;
            order = match magic {
                [0x4d, 0x3c, 0x2b, 0x1a] => Order::Little,
                [0x1a, 0x2b, 0x3c, 0x4d] => Order::Big,
                _ => return Err("a section has no byte order".into()),
            };
            consumed += 4;
            interfaces.clear();
        }
        let length = order.u32(&length, 0).unwrap_or_default();
        if length < consumed + 4 || !length.is_multiple_of(4) {
            return Err(format!("a block says that it has {length} bytes"));
        }
        take_bytes(from, &mut body, length - consumed)?;
        body.truncate(body.len() - 4);
        match order.u32(&kind_bytes, 0).unwrap_or_default() {
            1 => interfaces.push(interface(order, &body)),
            6 => take_enhanced(order, &body, &interfaces, take)?,
            3 => {
                let captured = body.get(4..).unwrap_or_default();
                let whole = order.u32(&body, 0).unwrap_or_default() as usize;
                if let Some(link) = interfaces.first().and_then(|interface| interface.link) {
                    take(link, Duration::ZERO, &captured[..captured.len().min(whole)])?;
                }
            }
            _ => {}
        }
        if interfaces.len() > MOST_INTERFACES {
            return Err(format!("the file names more than {MOST_INTERFACES} interfaces"));
        }
        if fill(from, &mut kind_bytes)?.is_none() {
            return Ok(());
        }
    }
}

fn interface(order: Order, body: &[u8]) -> Interface {
    let mut units = 1_000_000;
    let mut rest = body.get(8..).unwrap_or_default();
    while let (Some(code @ 1..), Some(length)) = (order.u16(rest, 0), order.u16(rest, 2)) {
        let Some(value) = rest.get(4..4 + usize::from(length)) else { break };
        if let (9, Some(resolution)) = (code, value.first()) {
            let exponent = u32::from(resolution & 0x7f);
            let base: u64 = if resolution & 0x80 == 0 { 10 } else { 2 };
            units = base.checked_pow(exponent).unwrap_or(1_000_000);
        }
        rest = rest.get((4 + usize::from(length)).next_multiple_of(4)..).unwrap_or_default();
    }
    Interface { link: order.u16(body, 0).and_then(Link::of), units }
}

fn take_enhanced(order: Order, body: &[u8], interfaces: &[Interface], take: &mut Take<'_>) -> Result<(), String> {
    let [Some(number), Some(high), Some(low), Some(length)] = [0, 4, 8, 12].map(|at| order.u32(body, at)) else {
        return Err("a packet's block is too short".into());
    };
    let interface = interfaces.get(number as usize).ok_or("a packet names an interface that is not there")?;
    let Some(data) = body.get(20..).and_then(|rest| rest.get(..length as usize)) else {
        return Err(format!("a packet says that it has {length} bytes, which its block has not"));
    };
    let Some(link) = interface.link else { return Ok(()) };
    let count = u64::from(high) << 32 | u64::from(low);
    let nanos = u128::from(count % interface.units) * 1_000_000_000 / u128::from(interface.units);
    take(link, Duration::new(count / interface.units, nanos as u32), data)
}

fn take_bytes(from: &mut impl Read, into: &mut Vec<u8>, length: u32) -> Result<(), String> {
    if length > MOST_BLOCK {
        return Err(format!("a packet says that it has {length} bytes"));
    }
    into.clear();
    // Read bit by bit: a promise of many bytes costs no memory before they are there.
    let got = from.take(length.into()).read_to_end(into).map_err(|error| error.to_string())?;
    if got < length as usize { Err("the file ends in the middle of a packet".into()) } else { Ok(()) }
}

/// Fills `buffer`; none where the file ends before its first byte.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> Result<Option<()>, String> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err("the file ends in the middle of a packet's head".into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(Some(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::ladder::tests::call;
    use crate::trace::packet::Run;
    use crate::trace::pcap::Writer;
    use sip_message::Transport;

    fn written(packets: &[Packet]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut writer = Writer::begin(&mut file).expect("memory takes all");
        for packet in packets {
            writer.write(packet).expect("memory takes all");
        }
        file
    }

    fn told(packets: &[Packet]) -> Vec<String> {
        packets.iter().map(Packet::line).collect()
    }

    #[test]
    fn what_was_written_is_read_again_over_every_transport_and_family() {
        let mut packets = call();
        let lines = vec!["ü".repeat(40_000)];
        packets[0].runs.push(Run { route: "request_route".into(), lines });
        packets[2].sighting.transport = Transport::Tcp;
        packets[3].sighting.transport = Transport::Tcp;
        packets[4].sighting.source = "[2001:db8::2]:5080".parse().expect("a literal");
        packets[4].sighting.destination = "[2001:db8::1]:5060".parse().expect("a literal");
        let read = read(&written(&packets)[..]).expect("it is pcapng");
        assert_eq!((told(&read.packets), read.fault, read.frames), (told(&packets), None, 6));
    }

    /// A pcap file of one packet on this kind of link.
    fn pcap(kind: u32, head: &[u8], packet: &[u8]) -> Vec<u8> {
        let mut file = vec![0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
        file.extend(kind.to_be_bytes());
        file.extend(7_u32.to_be_bytes());
        file.extend(5_u32.to_be_bytes());
        let length = (head.len() + packet.len()) as u32;
        file.extend(length.to_be_bytes());
        file.extend(length.to_be_bytes());
        file.extend(head);
        file.extend(packet);
        file
    }

    /// The IP packet of the first message.
    fn ip_packet() -> Vec<u8> {
        let file = written(&call()[..1]);
        // Behind a section block of 28 bytes, an interface block of 20 and 28 bytes of this block.
        let length = u32::from_le_bytes(file[68..72].try_into().expect("four bytes")) as usize;
        file[76..76 + length].to_vec()
    }

    #[test]
    fn every_kind_of_link_is_taken_off() {
        let packet = ip_packet();
        let ethernet = [[2; 6], [3; 6]].concat();
        let vlan = [&ethernet[..], &[0x81, 0, 0, 5, 8, 0]].concat();
        let ethernet = [&ethernet[..], &[8, 0]].concat();
        let cooked = [&[0, 0, 0, 1, 0, 6][..], &[9; 8], &[8, 0]].concat();
        let cooked_2 = [&[8, 0, 0, 0, 0, 0, 0, 3, 0, 1, 0, 6][..], &[9; 8]].concat();
        for (kind, head) in [
            (1, &ethernet),
            (1, &vlan),
            (113, &cooked),
            (276, &cooked_2),
            (101, &vec![]),
            (228, &vec![]),
            (0, &vec![2, 0, 0, 0]),
        ] {
            let read = read(&pcap(kind, head, &packet)[..]).expect("it is pcap");
            assert_eq!(read.packets.len(), 1, "link {kind}");
            assert_eq!(read.packets[0].sighting.at, Duration::new(7, 5_000));
            assert_eq!(read.packets[0].sighting.source.to_string(), "198.51.100.1:5070");
        }
    }

    #[test]
    fn a_file_that_ends_early_gives_what_it_holds_and_says_so() {
        let packets = call();
        let file = written(&packets);
        for end in 4..file.len() {
            let read = read(&file[..end]).expect("it begins as pcapng does");
            assert!(read.packets.len() <= packets.len());
        }
        let cut = read(&file[..file.len() - 5]).expect("it begins as pcapng does");
        assert_eq!(cut.packets.len(), 5);
        assert!(cut.fault.is_some());
        let pcap = pcap(101, &[], &ip_packet());
        for end in 4..pcap.len() {
            assert!(read(&pcap[..end]).expect("it begins as pcap does").packets.is_empty());
        }
    }

    #[test]
    fn absurd_lengths_cost_no_memory() {
        let mut file = written(&call()[..1]);
        for at in [4, 32, 52, 68] {
            let kept: [u8; 4] = file[at..at + 4].try_into().expect("four bytes");
            for absurd in [0_u32, 3, 11, 0x7fff_fffc, 0xffff_ffff] {
                file[at..at + 4].copy_from_slice(&absurd.to_le_bytes());
                let read = read(&file[..]).expect("the magic is there");
                // The last is how much of a packet was captured, which may be little.
                let is_little = at == 68 && absurd < 28;
                assert!(read.fault.is_some() != is_little && read.packets.is_empty(), "{absurd} at {at}");
            }
            file[at..at + 4].copy_from_slice(&kept);
        }
        let mut pcap = pcap(101, &[], &ip_packet());
        pcap[32..36].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(read(&pcap[..]).expect("the magic is there").fault.is_some());
    }

    #[test]
    fn flipped_bytes_never_stop_the_reader() {
        let file = written(&call());
        for at in 0..file.len() {
            for value in [0, 0xff, file[at].wrapping_add(1)] {
                let mut damaged = file.clone();
                damaged[at] = value;
                // An error or fewer messages: anything but a panic.
                let _ = read(&damaged[..]);
            }
        }
        assert!(read(&b"GIF8"[..]).is_err() && read(&b""[..]).is_err());
    }

    #[test]
    fn of_a_file_with_more_than_is_held_the_beginning_is_shown() {
        let packets = call();
        let all: usize = packets.iter().map(|packet| packet.sighting.bytes.len()).sum();
        let file = written(&packets);
        assert_eq!(read_within(&file[..], all).expect("a capture").fault, None);
        let cut = read_within(&file[..], all - 1).expect("a capture");
        assert_eq!(cut.fault, Some(format!("the file holds more than {} bytes of messages", all - 1)));
        assert_eq!(cut.packets.len(), packets.len());
    }
}
