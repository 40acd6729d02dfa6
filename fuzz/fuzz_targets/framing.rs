//! Any bytes as a stream, in pieces of any size: the pieces never change what is found, and a
//! frame parses to a message of exactly that length.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sip_message::{Frame, Framer, Limits, Message};

fuzz_target!(|data: &[u8]| {
    let Some((&step, stream)) = data.split_first() else { return };
    let whole = frames(stream, stream.len().max(1));
    let pieces = frames(stream, usize::from(step).max(1));
    // A ping may be told from two line ends only when both arrive together; messages may not differ.
    assert_eq!(messages(&whole), messages(&pieces));
});

fn messages(frames: &[(usize, Frame)]) -> Vec<&(usize, Frame)> {
    frames.iter().filter(|(_, frame)| !matches!(frame, Frame::KeepAlive { .. })).collect()
}

fn frames(stream: &[u8], step: usize) -> Vec<(usize, Frame)> {
    let limits = Limits { message_bytes: 4096, ..Limits::default() };
    let mut framer = Framer::new(limits.clone());
    let (mut start, mut end, mut found) = (0, 0, Vec::new());
    loop {
        let frame = framer.poll(&stream[start..end]);
        match frame {
            Frame::NeedMore if end == stream.len() => return found,
            Frame::NeedMore => end = (end + step).min(stream.len()),
            Frame::KeepAlive { len, .. } => {
                assert!(len > 0 && start + len <= end);
                found.push((start, frame));
                start += len;
            }
            Frame::Message { len } => {
                assert!(len > 0 && start + len <= end);
                if let Ok(message) = Message::parse(Bytes::copy_from_slice(&stream[start..start + len]), &limits) {
                    assert_eq!(message.bytes().len(), len, "parser and framer agree about the end");
                }
                found.push((start, frame));
                start += len;
            }
            Frame::Broken(_) => {
                found.push((start, frame));
                return found;
            }
        }
    }
}
