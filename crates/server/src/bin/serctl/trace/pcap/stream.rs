//! SIP over TCP: segments in order, cut into messages.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;
use sip_message::{Frame, Framer, Limits};

/// Source and destination.
pub(super) type Way = (SocketAddr, SocketAddr);

/// The directions of TCP connections.
#[derive(Default)]
pub(super) struct Streams {
    streams: HashMap<Way, Stream>,
    /// The oldest first.
    order: VecDeque<Way>,
}

struct Stream {
    next: u32,
    buffer: Vec<u8>,
    framer: Framer,
    /// Segments whose predecessors are missing, by their distance from where the stream was first seen.
    ahead: BTreeMap<u32, Vec<u8>>,
}

/// Directions that are followed; the oldest is forgotten beyond that.
const MOST_STREAMS: usize = 1024;
/// Segments that wait for a missing one; beyond that it is given up, as when the capture has lost it.
const MOST_AHEAD: usize = 64;
/// And their bytes.
const MOST_AHEAD_BYTES: usize = 128 * 1024;
/// Bytes of a message that is not whole; what is more is no SIP.
const MOST_BUFFER: usize = 128 * 1024;
/// Half of the space of sequence numbers: what is further on lies behind.
const HALF: u32 = 1 << 31;

impl Streams {
    /// Takes a segment and returns the messages that are whole with it.
    pub(super) fn take(&mut self, way: Way, sequence: u32, is_start: bool, payload: &[u8]) -> Vec<Bytes> {
        let first = sequence.wrapping_add(u32::from(is_start));
        if is_start {
            // A port is used again: what was left of the old connection is no part of the new one.
            self.streams.remove(&way);
            self.order.retain(|known| *known != way);
        }
        if payload.is_empty() && !is_start {
            return Vec::new();
        }
        if !self.streams.contains_key(&way) {
            if self.order.len() >= MOST_STREAMS
                && let Some(oldest) = self.order.pop_front()
            {
                self.streams.remove(&oldest);
            }
            self.order.push_back(way);
        }
        let stream = self.streams.entry(way).or_insert_with(|| Stream {
            next: first,
            buffer: Vec::new(),
            framer: Framer::new(Limits::default()),
            ahead: BTreeMap::new(),
        });
        stream.take(first, payload)
    }
}

impl Stream {
    fn take(&mut self, sequence: u32, payload: &[u8]) -> Vec<Bytes> {
        let behind = self.next.wrapping_sub(sequence);
        if behind < HALF {
            // Sent again, wholly or in part.
            if let Some(news) = payload.get(behind as usize..) {
                self.append(news);
            }
        } else {
            self.ahead.insert(sequence, payload.to_vec());
        }
        let mut messages = self.cut();
        while let Some((sequence, payload)) = self.following() {
            let behind = self.next.wrapping_sub(sequence) as usize;
            self.append(payload.get(behind..).unwrap_or_default());
            messages.extend(self.cut());
        }
        messages
    }

    /// The segment that comes next, or, where too many wait for a missing one, the nearest.
    fn following(&mut self) -> Option<(u32, Vec<u8>)> {
        let next = self.next;
        if let Some(sequence) = self.ahead.keys().copied().find(|sequence| next.wrapping_sub(*sequence) < HALF) {
            return self.ahead.remove(&sequence).map(|payload| (sequence, payload));
        }
        let bytes: usize = self.ahead.values().map(Vec::len).sum();
        if self.ahead.len() <= MOST_AHEAD && bytes <= MOST_AHEAD_BYTES {
            return None;
        }
        let sequence = self.ahead.keys().copied().min_by_key(|sequence| sequence.wrapping_sub(next))?;
        let payload = self.ahead.remove(&sequence)?;
        self.start_again(sequence);
        Some((sequence, payload))
    }

    fn append(&mut self, payload: &[u8]) {
        self.next = self.next.wrapping_add(payload.len() as u32);
        if self.buffer.len() + payload.len() > MOST_BUFFER {
            self.start_again(self.next);
            return;
        }
        self.buffer.extend(payload);
    }

    fn start_again(&mut self, next: u32) {
        self.next = next;
        self.buffer.clear();
        self.framer = Framer::new(Limits::default());
    }

    fn cut(&mut self) -> Vec<Bytes> {
        let mut messages = Vec::new();
        loop {
            if self.buffer.is_empty() {
                return messages;
            }
            match self.framer.poll(&self.buffer) {
                Frame::Message { len } if (1..=self.buffer.len()).contains(&len) => {
                    messages.push(Bytes::copy_from_slice(&self.buffer[..len]));
                    self.buffer.drain(..len);
                }
                Frame::KeepAlive { len, .. } if (1..=self.buffer.len()).contains(&len) => {
                    drop(self.buffer.drain(..len))
                }
                Frame::NeedMore => return messages,
                // No SIP, or the middle of a message: what comes next may be a beginning.
                Frame::Message { .. } | Frame::KeepAlive { .. } | Frame::Broken(_) => {
                    self.start_again(self.next);
                    return messages;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way() -> Way {
        ("198.51.100.1:5070".parse().expect("a literal"), "192.0.2.1:5060".parse().expect("a literal"))
    }

    fn message(n: usize) -> String {
        format!(
            "OPTIONS sip:{n}@h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK{n}\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\n\
             Call-ID: {n}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        )
    }

    fn check(segments: &[(u32, &[u8])], expected: &[String]) {
        let mut streams = Streams::default();
        streams.take(way(), 0xffff_ff00, true, b"");
        let taken = segments
            .iter()
            .flat_map(|(sequence, part)| streams.take(way(), 0xffff_ff01_u32.wrapping_add(*sequence), false, part));
        let taken: Vec<String> = taken.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect();
        assert_eq!(taken, expected);
    }

    #[test]
    fn messages_come_out_whole_however_their_segments_come() {
        let messages = [message(1), message(2), message(3)];
        let all = messages.concat();
        let all = all.as_bytes();
        check(&[(0, all)], &messages);
        check(&[(0, &all[..100]), (100, &all[100..350]), (350, &all[350..])], &messages);
        // Out of order, twice, and overlapping; the sequence numbers wrap on the way.
        check(&[(100, &all[100..350]), (350, &all[350..]), (0, &all[..100])], &messages);
        check(&[(0, &all[..200]), (0, &all[..200]), (150, &all[150..])], &messages);
    }

    #[test]
    fn a_lost_segment_costs_its_message_and_no_memory_without_end() {
        let mut streams = Streams::default();
        streams.take(way(), 0, true, b"");
        let mut at = 1_000;
        let mut taken = 0;
        for n in 0..1000 {
            let message = message(n);
            taken += streams.take(way(), at, false, message.as_bytes()).len();
            at += message.len() as u32;
        }
        assert!(taken > 900, "{taken}");
        assert!(streams.streams[&way()].ahead.len() <= MOST_AHEAD + 1);
        let junk = vec![b'x'; 60_000];
        for n in 0..100 {
            streams.take(way(), at + n * 60_000, false, &junk);
        }
        assert!(streams.streams[&way()].buffer.len() <= MOST_BUFFER);
    }

    #[test]
    fn connections_beyond_the_bound_are_forgotten() {
        let mut streams = Streams::default();
        for port in 1..3000 {
            let source = SocketAddr::from(([198, 51, 100, 1], port));
            streams.take((source, way().1), 0, false, b"OPTIONS ");
        }
        assert_eq!((streams.streams.len(), streams.order.len()), (MOST_STREAMS, MOST_STREAMS));
    }
}
