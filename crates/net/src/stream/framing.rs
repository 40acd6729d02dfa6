//! The framing loop: bytes as they come in, messages out.

use bytes::{Buf, Bytes, BytesMut};

use super::{Frame, Framer};

/// Received bytes that are no whole message yet.
pub(super) struct Assembler {
    framer: Box<dyn Framer>,
    buffer: BytesMut,
    max_message_bytes: usize,
}

/// What the next bytes are.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// More must be read. `partial` says whether a message has begun.
    NeedMore {
        partial: bool,
    },
    Ping,
    Message(Bytes),
    Request(Bytes),
    Say(&'static [u8]),
    Broken,
    TooLong,
}

impl Assembler {
    pub(super) fn new(framer: Box<dyn Framer>, max_message_bytes: usize) -> Assembler {
        Assembler { framer, buffer: BytesMut::new(), max_message_bytes }
    }

    /// Where to read into: always with room.
    pub(super) fn room(&mut self) -> &mut BytesMut {
        self.buffer.reserve(READ_BYTES);
        &mut self.buffer
    }

    /// Takes the next thing off the buffer; call until it needs more.
    pub(super) fn next(&mut self) -> Step {
        loop {
            if self.buffer.is_empty() {
                self.rest();
                return Step::NeedMore { partial: false };
            }
            match self.framer.poll(&self.buffer) {
                Frame::NeedMore if self.buffer.len() > self.max_message_bytes => {
                    return Step::TooLong;
                }
                Frame::NeedMore => return Step::NeedMore { partial: true },
                Frame::Message(len) | Frame::Request(len) if len > self.max_message_bytes => return Step::TooLong,
                Frame::Skip(len) | Frame::Ping(len) | Frame::Message(len) | Frame::Request(len)
                    if len == 0 || len > self.buffer.len() =>
                {
                    // A framer that says so is wrong; without this it would loop for ever.
                    return Step::Broken;
                }
                Frame::Skip(len) => self.buffer.advance(len),
                Frame::Ping(len) => {
                    self.buffer.advance(len);
                    return Step::Ping;
                }
                Frame::Message(len) => return Step::Message(self.take(len)),
                Frame::Request(len) => return Step::Request(self.take(len)),
                Frame::Say(words) => return Step::Say(words),
                Frame::Broken => return Step::Broken,
            }
        }
    }

    /// Copied out rather than lent: a message that waits in a transaction would keep the whole read buffer alive.
    fn take(&mut self, len: usize) -> Bytes {
        let message = Bytes::copy_from_slice(&self.buffer[..len]);
        self.buffer.advance(len);
        message
    }

    /// An idle connection keeps no large buffer: there may be ten thousands of them.
    fn rest(&mut self) {
        if self.buffer.capacity() > 2 * READ_BYTES {
            self.buffer = BytesMut::new();
        } else {
            self.buffer.clear();
        }
    }
}

pub(super) const READ_BYTES: usize = 4096;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Messages are lines that end in LF; CRLF CRLF is a ping, CRLF a pong, `!` is broken, `?` begins a request.
    pub(crate) struct LineFramer;

    impl Framer for LineFramer {
        fn poll(&mut self, buffer: &[u8]) -> Frame {
            match buffer {
                [b'\r', b'\n', b'\r', b'\n', ..] => Frame::Ping(4),
                b"\r" | b"\r\n" | b"\r\n\r" => Frame::NeedMore,
                [b'\r', b'\n', ..] => Frame::Skip(2),
                [b'!', ..] => Frame::Broken,
                _ => match buffer.iter().position(|&byte| byte == b'\n') {
                    Some(end) if buffer[0] == b'?' => Frame::Request(end + 1),
                    Some(end) => Frame::Message(end + 1),
                    None => Frame::NeedMore,
                },
            }
        }
    }

    fn steps(assembler: &mut Assembler, chunk: &[u8], found: &mut Vec<Step>) {
        assembler.room().extend_from_slice(chunk);
        loop {
            match assembler.next() {
                Step::NeedMore { .. } => return,
                end @ (Step::Broken | Step::TooLong) => return found.push(end),
                step => found.push(step),
            }
        }
    }

    fn cut(input: &[u8], cuts: &[usize]) -> Vec<Step> {
        let mut assembler = Assembler::new(Box::new(LineFramer), 64);
        let (mut found, mut rest) = (Vec::new(), input);
        for &len in cuts.iter().cycle() {
            let (chunk, tail) = rest.split_at(len.clamp(1, rest.len()));
            steps(&mut assembler, chunk, &mut found);
            rest = tail;
            if rest.is_empty() || matches!(found.last(), Some(Step::Broken | Step::TooLong)) {
                break;
            }
        }
        found
    }

    #[test]
    fn reads_cut_at_each_byte_give_the_same_messages() {
        let input = b"one\n\r\n\r\ntwo\nthree\n\r\n\r\n";
        let message = |text: &'static str| Step::Message(Bytes::from_static(text.as_bytes()));
        let expected = [message("one\n"), Step::Ping, message("two\n"), message("three\n"), Step::Ping];
        for first in 1..input.len() {
            assert_eq!(cut(input, &[first, input.len()]), expected, "cut at {first}");
        }
        assert_eq!(cut(input, &[1]), expected);
    }

    #[test]
    fn a_message_without_end_is_cut_at_the_limit() {
        assert_eq!(cut(&[b'x'; 65], &[1]), [Step::TooLong]);
        assert_eq!(cut(&[b'x'; 64], &[1]), []);
    }

    #[test]
    fn nothing_is_read_behind_broken_bytes() {
        assert_eq!(cut(b"!\nok\n", &[1]), [Step::Broken]);
    }

    #[test]
    fn a_framer_that_consumes_nothing_does_not_hang() {
        struct Stuck;
        impl Framer for Stuck {
            fn poll(&mut self, _: &[u8]) -> Frame {
                Frame::Skip(0)
            }
        }
        let mut assembler = Assembler::new(Box::new(Stuck), 64);
        assembler.room().extend_from_slice(b"x");
        assert_eq!(assembler.next(), Step::Broken);
    }

    proptest! {
        #[test]
        fn messages_do_not_depend_on_how_reads_are_cut(
            lines in prop::collection::vec("[a-z]{0,20}", 1..8),
            cuts in prop::collection::vec(1_usize..12, 1..6),
        ) {
            let input: Vec<u8> = lines.iter().flat_map(|l| format!("{l}x\n").into_bytes()).collect();
            let expected: Vec<Step> = lines
                .iter()
                .map(|l| Step::Message(Bytes::from(format!("{l}x\n"))))
                .collect();
            prop_assert_eq!(cut(&input, &cuts), expected);
        }
    }
}
