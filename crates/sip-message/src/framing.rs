//! Cuts a byte stream into messages (RFC 3261 section 18.3).

use crate::index::{Line, Scanner, content_length};
use crate::{HeaderName, Limits, Reject};

/// What lies at the front of a stream's buffer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// No whole message yet.
    NeedMore,
    /// Line ends between messages: drop `len` bytes.
    KeepAlive {
        /// Bytes to drop.
        len: usize,
        /// A double CRLF, which is answered by a single one (RFC 5626 section 3.5.1).
        ping: bool,
    },
    /// One whole message of `len` bytes.
    Message {
        /// Bytes of the message.
        len: usize,
    },
    /// Where the next message begins cannot be known: close the connection.
    Broken(Reject),
}

/// Finds message after message in one stream, however the bytes arrive.
///
/// Feed it the same buffer with more bytes behind; after [`Frame::KeepAlive`] or
/// [`Frame::Message`] drop `len` bytes at the front first. What it has seen it does not scan again.
#[derive(Clone, Debug)]
pub struct Framer {
    limits: Limits,
    /// Bytes of the head that are known to hold no end of it.
    scanned: usize,
    /// The start line has gone by and names SIP.
    is_sip: bool,
    /// Length of the whole message, once its head is known.
    total: Option<usize>,
    /// A line end just went by: another one makes the pair of a ping, though it came later.
    is_half_ping: bool,
}

impl Framer {
    /// A framer at the start of a stream.
    pub fn new(limits: Limits) -> Framer {
        Framer { limits, scanned: 0, is_sip: false, total: None, is_half_ping: false }
    }

    /// Looks at the bytes that the stream holds now.
    pub fn poll(&mut self, buffer: &[u8]) -> Frame {
        if self.scanned == 0
            && let Some(frame) = self.line_ends(buffer)
        {
            return frame;
        }
        let total = match self.total {
            Some(total) => total,
            None => match self.head(buffer) {
                Ok(Some(total)) => total,
                Ok(None) => return Frame::NeedMore,
                Err(reject) => return Frame::Broken(reject),
            },
        };
        if buffer.len() < total {
            self.total = Some(total);
            return Frame::NeedMore;
        }
        self.total = None;
        self.scanned = 0;
        self.is_sip = false;
        Frame::Message { len: total }
    }

    fn line_ends(&mut self, buffer: &[u8]) -> Option<Frame> {
        let was_half = std::mem::take(&mut self.is_half_ping);
        match buffer {
            [] | [b'\r'] => {
                self.is_half_ping = was_half;
                Some(Frame::NeedMore)
            }
            [b'\r', b'\n', ..] if was_half => Some(Frame::KeepAlive { len: 2, ping: true }),
            [b'\r', b'\n', b'\r', b'\n', ..] => Some(Frame::KeepAlive { len: 4, ping: true }),
            [b'\r', b'\n', ..] => {
                self.is_half_ping = true;
                Some(Frame::KeepAlive { len: 2, ping: false })
            }
            [first, ..] if !first.is_ascii_graphic() => Some(Frame::Broken(Reject::NotSip { offset: 0 })),
            _ => None,
        }
    }

    /// Length of the whole message, when its head is complete.
    fn head(&mut self, buffer: &[u8]) -> Result<Option<usize>, Reject> {
        let limit = self.limits.head_bytes.min(self.limits.message_bytes);
        while let Some(found) = memchr::memchr(b'\n', &buffer[self.scanned..]) {
            let at = self.scanned + found;
            // A reader that takes a bare LF for a line end and one that does not disagree about
            // where a message ends, so the stream cannot be trusted any further.
            if at == 0 || buffer[at - 1] != b'\r' {
                return Err(Reject::Control { byte: b'\n', offset: at });
            }
            // Another protocol on this port is cut off at its first line.
            if !self.is_sip && !buffer[..at].windows(4).any(|word| word.eq_ignore_ascii_case(b"SIP/")) {
                return Err(Reject::NotSip { offset: 0 });
            }
            self.is_sip = true;
            self.scanned = at + 1;
            if at > limit {
                return Err(Reject::TooLarge { limit });
            }
            if at >= 3 && buffer[at - 2] == b'\n' {
                return self.total(&buffer[..=at]).map(Some);
            }
        }
        self.scanned = buffer.len();
        if buffer.len() > limit { Err(Reject::TooLarge { limit }) } else { Ok(None) }
    }

    /// Head and body together. Each stream message needs one `Content-Length` (section 20.14).
    fn total(&self, head: &[u8]) -> Result<usize, Reject> {
        let mut scanner = Scanner::new(head);
        scanner.start_line();
        let mut length = None;
        while let Line::Field(field) = scanner.next_line() {
            if field.name != HeaderName::ContentLength {
                continue;
            }
            let offset = field.value.start as usize;
            let malformed = Reject::Header { name: HeaderName::ContentLength, offset };
            let value = content_length(field.value.of(head)).ok_or(malformed)?;
            // Twice the same is refused by the message's verdict; it can still be framed.
            if length.replace(value).is_some_and(|other| other != value) {
                return Err(Reject::Duplicate { name: HeaderName::ContentLength, offset: field.start as usize });
            }
        }
        let length = length.ok_or(Reject::Missing(HeaderName::ContentLength))?;
        let limit = self.limits.message_bytes;
        head.len().checked_add(length).filter(|&total| total <= limit).ok_or(Reject::TooLarge { limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = b"MESSAGE sip:a@b SIP/2.0\r\nl :\r\n 4\r\nX: y\r\n\r\nbody";

    fn first(stream: &[u8]) -> Frame {
        Framer::new(Limits::default()).poll(stream)
    }

    #[test]
    fn a_message_is_found_whatever_the_pieces() {
        let mut framer = Framer::new(Limits::default());
        for end in 0..MESSAGE.len() {
            assert_eq!(framer.poll(&MESSAGE[..end]), Frame::NeedMore, "{end}");
        }
        assert_eq!(framer.poll(MESSAGE), Frame::Message { len: MESSAGE.len() });
        assert_eq!(framer.poll(b""), Frame::NeedMore);
        assert_eq!(framer.poll(&[MESSAGE, b"MESS"].concat()), Frame::Message { len: MESSAGE.len() });
    }

    #[test]
    fn a_double_line_end_is_a_ping_also_when_it_comes_in_pieces() {
        assert_eq!(first(b"\r\n\r\n"), Frame::KeepAlive { len: 4, ping: true });
        let mut framer = Framer::new(Limits::default());
        assert_eq!(framer.poll(b"\r\n"), Frame::KeepAlive { len: 2, ping: false });
        assert_eq!(framer.poll(b"\r"), Frame::NeedMore);
        assert_eq!(framer.poll(b"\r\n"), Frame::KeepAlive { len: 2, ping: true });
        assert_eq!(framer.poll(b"\r\nM"), Frame::KeepAlive { len: 2, ping: false });
        assert_eq!(framer.poll(MESSAGE), Frame::Message { len: MESSAGE.len() });
        assert_eq!(framer.poll(b"\r\n"), Frame::KeepAlive { len: 2, ping: false });
    }

    #[test]
    fn a_stream_whose_borders_are_in_doubt_is_broken() {
        for head in [
            "X: y\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: 4294967296\r\n",
            "Content-Length: 4, 4\r\n",
            "Content-Length: 4\r\nl: 5\r\n",
            "Content-Length: 65536\r\n",
            "X: y\nContent-Length: 4\r\n",
            "Content-Length: 0\r\nX: y\n\nINVITE sip:a@b SIP/2.0\r\n",
        ] {
            let stream = format!("MESSAGE sip:a@b SIP/2.0\r\n{head}\r\n");
            assert!(matches!(first(stream.as_bytes()), Frame::Broken(_)), "{head}");
        }
    }

    #[test]
    fn another_protocol_is_cut_off_at_its_first_line() {
        assert_eq!(first(b"GET / HTTP/1.1\r\n"), Frame::Broken(Reject::NotSip { offset: 0 }));
        assert_eq!(first(b"\x16\x03\x01"), Frame::Broken(Reject::NotSip { offset: 0 }));
    }

    #[test]
    fn a_head_without_end_has_a_bound() {
        let mut framer = Framer::new(Limits { head_bytes: 100, ..Limits::default() });
        let stream = [b"MESSAGE sip:a@b SIP/2.0\r\nX: ".as_slice(), &[b'x'; 200]].concat();
        assert_eq!(framer.poll(&stream), Frame::Broken(Reject::TooLarge { limit: 100 }));
    }
}
