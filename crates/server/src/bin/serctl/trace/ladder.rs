//! A call as a ladder: a column for each address, an arrow for each message.

use std::net::SocketAddr;

use super::packet::{Packet, clock};

/// From one column to the next.
const WIDTH: usize = 26;
/// What stands in front of the first column: the time since the call began.
const MARGIN: usize = 14;

/// Who called whom, and what came of it.
pub(crate) fn heading(call: &[&Packet]) -> Vec<String> {
    let Some(first) = call.first() else { return Vec::new() };
    vec![
        format!("{} {} -> {}  {}", first.method, first.from, first.to, outcome(call)),
        format!("Call-ID {}, {} UTC", first.call_id, clock(first.sighting.at)),
    ]
}

/// What the first request of a call came to: its last status.
pub(crate) fn outcome(call: &[&Packet]) -> String {
    let Some(first) = call.first() else { return String::new() };
    let replies = || call.iter().filter(|packet| packet.status > 100 && packet.method == first.method);
    let is_challenge = |status: u16| matches!(status, 401 | 407);
    let last = replies().rfind(|packet| packet.status >= 200 && !is_challenge(packet.status));
    last.or_else(|| replies().next_back()).map(|packet| packet.label.clone()).unwrap_or_default()
}

/// The addresses, in the order in which they appear.
fn columns(call: &[&Packet]) -> Vec<SocketAddr> {
    let mut columns = Vec::new();
    for at in call.iter().flat_map(|packet| [packet.sighting.source, packet.sighting.destination]) {
        if !columns.contains(&at) {
            columns.push(at);
        }
    }
    columns
}

/// The addresses on the first line, then a line for each message.
pub(crate) fn lines(call: &[&Packet]) -> Vec<String> {
    let columns = columns(call);
    let begin = call.first().map(|packet| packet.sighting.at).unwrap_or_default();
    let mut title = " ".repeat(MARGIN);
    for (n, at) in columns.iter().enumerate() {
        let mut name = at.to_string();
        // An IPv6 address may be longer than a column is wide; its end tells more than its beginning.
        if name.len() > WIDTH - 2 {
            name = format!("..{}", &name[name.len() - (WIDTH - 4)..]);
        }
        let center = MARGIN + n * WIDTH;
        let start = center.saturating_sub(name.len() / 2).max(title.len() + usize::from(n > 0));
        title += &" ".repeat(start - title.len());
        title += &name;
    }
    let place = |at: SocketAddr| columns.iter().position(|column| *column == at).unwrap_or_default();
    let arrow = |packet: &&Packet| {
        let since = packet.sighting.at.saturating_sub(begin);
        let (from, to) = (place(packet.sighting.source), place(packet.sighting.destination));
        format!("{:>5}.{:06} {}", since.as_secs(), since.subsec_micros(), row(columns.len(), from, to, &packet.label))
    };
    std::iter::once(title).chain(call.iter().map(arrow)).collect()
}

fn row(count: usize, from: usize, to: usize, label: &str) -> String {
    let mut cells: Vec<char> = vec![' '; (count.saturating_sub(1)) * WIDTH + 2];
    for n in 0..count {
        cells[n * WIDTH + 1] = '|';
    }
    let (left, right) = (from.min(to), from.max(to));
    if left == right {
        // The server sends to itself.
        cells.extend(format!("<- {label}").chars());
        return cells.into_iter().collect::<String>().trim_end().to_owned();
    }
    let (start, end) = (left * WIDTH + 2, right * WIDTH + 1);
    cells[start..end].fill('-');
    match from < to {
        true => cells[end - 1] = '>',
        false => cells[start] = '<',
    }
    let room = end - start - 4;
    let label: String = label.chars().take(room).collect();
    let text: Vec<char> = format!(" {label} ").chars().collect();
    let at = start + (end - start - text.len()) / 2;
    cells[at..at + text.len()].copy_from_slice(&text);
    cells.into_iter().collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use bytes::Bytes;
    use module_api::Sighting;
    use sip_message::Transport;
    use std::time::Duration;

    const A: &str = "198.51.100.1:5070";
    const S: &str = "192.0.2.1:5060";
    const B: &str = "203.0.113.1:5080";

    pub(crate) fn packet(millis: u64, source: &str, destination: &str, start: &str) -> Packet {
        let text = format!(
            "{start}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:alice@example.com>;tag=1\r\n\
             To: <sip:bob@example.com>\r\nCall-ID: a@b\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
        );
        let sighting = Sighting {
            at: Duration::from_millis(millis),
            is_sent: source == S,
            transport: Transport::Udp,
            source: source.parse().expect("a literal"),
            destination: destination.parse().expect("a literal"),
            bytes: Bytes::from(text),
        };
        Packet::new(sighting, Vec::new()).expect("it is SIP")
    }

    pub(crate) fn call() -> Vec<Packet> {
        const INVITE: &str = "INVITE sip:bob@example.com SIP/2.0";
        vec![
            packet(0, A, S, INVITE),
            packet(1, S, B, INVITE),
            packet(30, B, S, "SIP/2.0 180 Ringing"),
            packet(31, S, A, "SIP/2.0 180 Ringing"),
            packet(2000, B, S, "SIP/2.0 486 Busy Here"),
            packet(2001, S, A, "SIP/2.0 486 Busy Here"),
        ]
    }

    #[test]
    fn a_call_is_a_ladder_between_its_addresses() {
        let call = call();
        let call: Vec<&Packet> = call.iter().collect();
        assert_eq!(heading(&call)[0], "INVITE sip:alice@example.com -> sip:bob@example.com  486 Busy Here");
        let lines = lines(&call);
        assert_eq!(lines.len(), 7);
        assert!(lines[0].contains(A) && lines[0].contains(S) && lines[0].contains(B), "{}", lines[0]);
        assert_eq!(lines[1], "    0.000000  |-------- INVITE -------->|                         |");
        assert_eq!(lines[2], "    0.001000  |                         |-------- INVITE -------->|");
        assert_eq!(lines[4], "    0.031000  |<----- 180 Ringing ------|                         |");
    }

    #[test]
    fn long_labels_and_messages_to_oneself_stay_in_their_line() {
        let long = packet(0, A, S, &format!("SIP/2.0 500 {}", "x".repeat(100)));
        assert_eq!(lines(&[&long])[1].chars().count(), 13 + WIDTH + 2);
        let own = packet(0, S, S, "INVITE sip:bob@example.com SIP/2.0");
        assert!(lines(&[&own])[1].ends_with("|<- INVITE"), "{:?}", lines(&[&own]));
    }
}
