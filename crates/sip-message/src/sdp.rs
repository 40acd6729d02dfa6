//! Session descriptions (RFC 8866): read what a proxy rewrites, and know where it lies.
//!
//! Nothing is changed here: each value comes with its span, and [`crate::Edits::replace`] writes
//! another in its place.

use std::net::IpAddr;

use crate::{Reject, Span, lex};

/// A session description, checked line by line and still as text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Session<'a> {
    text: &'a [u8],
    offset: u32,
}

/// One line `type=value`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line<'a> {
    /// The letter before `=`.
    pub kind: u8,
    /// What follows `=`.
    pub value: &'a [u8],
    /// The whole line, its end included.
    pub span: Span,
    /// Where `value` lies.
    pub value_span: Span,
}

/// `o=`: who made the description, and which version of it (RFC 8866 section 5.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin<'a> {
    /// User name, or `-`.
    pub username: &'a [u8],
    /// Session id, a number as text.
    pub session_id: &'a [u8],
    /// Version, a number as text that grows with each change.
    pub version: &'a [u8],
    /// `IP4` or `IP6`.
    pub address_type: &'a [u8],
    /// Address or host name.
    pub address: &'a [u8],
    /// Where `version` lies.
    pub version_span: Span,
    /// Where `address_type` lies.
    pub address_type_span: Span,
    /// Where `address` lies.
    pub address_span: Span,
    /// The line.
    pub line: Line<'a>,
}

/// `c=`: where media is received (RFC 8866 section 5.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connection<'a> {
    /// `IP4` or `IP6`.
    pub address_type: &'a [u8],
    /// Address or host name, without the `/ttl` or `/count` of a multicast one.
    pub address: &'a [u8],
    /// Where `address_type` lies.
    pub address_type_span: Span,
    /// Where `address` lies.
    pub address_span: Span,
    /// The line.
    pub line: Line<'a>,
}

impl Connection<'_> {
    /// The address, unless it is a host name.
    pub fn ip(&self) -> Option<IpAddr> {
        std::str::from_utf8(self.address).ok()?.parse().ok()
    }

    /// Whether it is the null address of RFC 3264 section 8.4, which puts a stream on hold.
    pub fn is_null(&self) -> bool {
        self.ip().is_some_and(|address| address.is_unspecified())
    }
}

/// `a=`: an attribute (RFC 8866 section 5.13).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attribute<'a> {
    /// `rtpmap`, `sendrecv`, ...
    pub name: &'a [u8],
    /// What follows the colon; `None` without one.
    pub value: Option<&'a [u8]>,
    /// The line.
    pub line: Line<'a>,
}

/// One `m=` line and those that belong to it (RFC 8866 section 5.14).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Media<'a> {
    /// `audio`, `video`, ...
    pub kind: &'a [u8],
    /// First port; 0 refuses the stream (RFC 3264 section 6).
    pub port: u16,
    /// Number of ports after `/`, 1 when not written.
    pub port_count: u32,
    /// `RTP/AVP`, `UDP/TLS/RTP/SAVPF`, ...
    pub protocol: &'a [u8],
    /// The formats, separated by spaces.
    pub formats: &'a [u8],
    /// Where the port lies, without its count.
    pub port_span: Span,
    /// Where the protocol lies.
    pub protocol_span: Span,
    /// The `m=` line.
    pub line: Line<'a>,
    section: Session<'a>,
}

impl<'a> Session<'a> {
    /// Checks `text`, which lies at `offset` of its message ([`Span::start`] of the body).
    ///
    /// # Errors
    /// [`Reject::Body`] where a line is not `type=value`, the first is not `v=0`, or an `m=`, `c=`
    /// or `o=` line is malformed. Offsets count from the start of the message.
    pub fn parse(text: &'a [u8], offset: u32) -> Result<Session<'a>, Reject> {
        let session = Session { text, offset };
        let fail = |at: u32| Reject::Body { offset: at as usize };
        let first = session.lines().next().ok_or(fail(offset))?;
        if first.kind != b'v' || first.value != b"0" {
            return Err(fail(offset));
        }
        let mut end = 0;
        for line in session.lines() {
            let is_sound = match line.kind {
                b'o' => origin(line).is_some(),
                b'c' => connection(line).is_some(),
                b'm' => media(line, session).is_some(),
                _ => true,
            };
            if !is_sound {
                return Err(fail(line.span.start));
            }
            end = line.span.end - offset;
        }
        // The lines end before the first that is none. Empty lines at the end are common.
        match lex::trimmed(&text[end as usize..]) {
            [] => Ok(session),
            _ => Err(fail(offset + end)),
        }
    }

    /// Every line, up to the first that is not `type=value`.
    pub fn lines(&self) -> impl Iterator<Item = Line<'a>> + use<'a> {
        let Session { text, offset } = *self;
        let mut at = 0;
        std::iter::from_fn(move || {
            let line = read_line(text, at, offset)?;
            at = (line.span.end - offset) as usize;
            Some(line)
        })
    }

    /// The `o=` line.
    pub fn origin(&self) -> Option<Origin<'a>> {
        self.lines().find(|line| line.kind == b'o').and_then(origin)
    }

    /// The `c=` line of the session, which counts for each media that has none.
    pub fn connection(&self) -> Option<Connection<'a>> {
        self.head().find(|line| line.kind == b'c').and_then(connection)
    }

    /// The attributes of the session.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute<'a>> + use<'a> {
        self.head().filter_map(attribute)
    }

    /// Every `c=` line, of the session and of each media.
    pub fn connections(&self) -> impl Iterator<Item = Connection<'a>> + use<'a> {
        self.lines().filter(|line| line.kind == b'c').filter_map(connection)
    }

    /// Each media section.
    pub fn media(&self) -> impl Iterator<Item = Media<'a>> + use<'a> {
        let session = *self;
        self.lines().filter(|line| line.kind == b'm').filter_map(move |line| media(line, session))
    }

    fn head(&self) -> impl Iterator<Item = Line<'a>> + use<'a> {
        self.lines().take_while(|line| line.kind != b'm')
    }
}

impl<'a> Media<'a> {
    /// The `c=` line of this media; without one that of the session counts.
    pub fn connection(&self) -> Option<Connection<'a>> {
        self.lines().find(|line| line.kind == b'c').and_then(connection)
    }

    /// The attributes of this media.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute<'a>> + use<'a> {
        self.lines().filter_map(attribute)
    }

    /// The first attribute of that name; names compare with case.
    pub fn attribute(&self, name: &str) -> Option<Attribute<'a>> {
        self.attributes().find(|attribute| attribute.name == name.as_bytes())
    }

    /// The lines after `m=` up to the next media.
    pub fn lines(&self) -> impl Iterator<Item = Line<'a>> + use<'a> {
        self.section.lines().take_while(|line| line.kind != b'm')
    }
}

/// Lines end with CRLF; a bare LF is accepted as RFC 8866 section 5 asks.
fn read_line(text: &[u8], at: usize, offset: u32) -> Option<Line<'_>> {
    let rest = text.get(at..)?;
    let [kind, b'=', ..] = rest else { return None };
    let next = memchr::memchr(b'\n', rest).map_or(rest.len(), |found| found + 1);
    let line = rest[..next].strip_suffix(b"\n").unwrap_or(&rest[..next]);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let start = Span::new(at, at + next).shifted(offset);
    let value_span = Span::new(at + 2, at + line.len().max(2)).shifted(offset);
    kind.is_ascii_lowercase().then(|| Line {
        kind: *kind,
        value: line.get(2..).unwrap_or_default(),
        span: start,
        value_span,
    })
}

/// The words of a line with their places.
fn words<'a>(line: &Line<'a>) -> impl Iterator<Item = (&'a [u8], Span)> + use<'a> {
    let (value, start) = (line.value, line.value_span.start);
    let mut at = 0;
    std::iter::from_fn(move || {
        while value.get(at) == Some(&b' ') {
            at += 1;
        }
        let end = memchr::memchr(b' ', value.get(at..)?).map_or(value.len(), |found| at + found);
        let word = (end > at).then(|| (&value[at..end], Span::new(at, end).shifted(start)));
        at = end;
        word
    })
}

fn origin(line: Line<'_>) -> Option<Origin<'_>> {
    let mut words = words(&line);
    let (username, _) = words.next()?;
    let (session_id, _) = words.next()?;
    let (version, version_span) = words.next()?;
    let (b"IN", _) = words.next()? else { return None };
    let (address_type, address_type_span) = words.next()?;
    let (address, address_span) = words.next()?;
    Some(Origin {
        username,
        session_id,
        version,
        address_type,
        address,
        version_span,
        address_type_span,
        address_span,
        line,
    })
}

fn connection(line: Line<'_>) -> Option<Connection<'_>> {
    let mut words = words(&line);
    let (b"IN", _) = words.next()? else { return None };
    let (address_type, address_type_span) = words.next()?;
    let (address, span) = words.next()?;
    let length = memchr::memchr(b'/', address).unwrap_or(address.len());
    let address_span = Span { start: span.start, end: span.start + length as u32 };
    (length > 0).then_some(Connection {
        address_type,
        address: &address[..length],
        address_type_span,
        address_span,
        line,
    })
}

fn attribute(line: Line<'_>) -> Option<Attribute<'_>> {
    if line.kind != b'a' {
        return None;
    }
    let colon = memchr::memchr(b':', line.value);
    let name = &line.value[..colon.unwrap_or(line.value.len())];
    Some(Attribute { name, value: colon.map(|at| &line.value[at + 1..]), line })
}

fn media<'a>(line: Line<'a>, session: Session<'a>) -> Option<Media<'a>> {
    let mut words = words(&line);
    let (kind, _) = words.next()?;
    let (port, span) = words.next()?;
    let (protocol, protocol_span) = words.next()?;
    let (_, first_format) = words.next()?;
    let length = memchr::memchr(b'/', port).unwrap_or(port.len());
    let port_count = port.get(length + 1..).map_or(Some(1), lex::number)?;
    let formats = &line.value[(first_format.start - line.value_span.start) as usize..];
    let after = (line.span.end - session.offset) as usize;
    Some(Media {
        kind,
        port: u16::try_from(lex::number(&port[..length])?).ok()?,
        port_count,
        protocol,
        formats,
        port_span: Span { start: span.start, end: span.start + length as u32 },
        protocol_span,
        line,
        section: Session { text: session.text.get(after..).unwrap_or_default(), offset: line.span.end },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &[u8] = b"v=0\r\n\
        o=jdoe 3724394400 3724394405 IN IP4 198.51.100.1\r\n\
        s=Call to John Smith\r\n\
        c=IN IP4 198.51.100.1\r\n\
        t=0 0\r\n\
        a=sendrecv\r\n\
        m=audio 49170 RTP/AVP 0 8\r\n\
        m=audio 49180/2 RTP/AVP 97\r\n\
        c=IN IP6 ff15::101/3\r\n\
        a=rtpmap:97 iLBC/8000\r\n";

    fn session() -> Session<'static> {
        Session::parse(OFFER, 100).expect("a description")
    }

    fn text(span: Span) -> &'static [u8] {
        Span { start: span.start - 100, end: span.end - 100 }.of(OFFER)
    }

    #[test]
    fn origin_and_connection_know_where_they_lie() {
        let origin = session().origin().expect("an origin");
        assert_eq!((origin.username, origin.version), (&b"jdoe"[..], &b"3724394405"[..]));
        assert_eq!(text(origin.address_span), b"198.51.100.1");
        assert_eq!(text(origin.version_span), b"3724394405");
        let connection = session().connection().expect("a connection");
        assert_eq!(connection.ip(), Some("198.51.100.1".parse().expect("an address")));
        assert_eq!(text(connection.address_type_span), b"IP4");
        assert_eq!(text(connection.line.span), b"c=IN IP4 198.51.100.1\r\n");
    }

    #[test]
    fn each_media_has_its_own_lines() {
        let media: Vec<_> = session().media().collect();
        assert_eq!(media.len(), 2);
        assert_eq!((media[0].port, media[0].port_count, media[0].formats), (49170, 1, &b"0 8"[..]));
        assert!(media[0].connection().is_none());
        assert_eq!((media[1].port, media[1].port_count), (49180, 2));
        assert_eq!(text(media[1].port_span), b"49180");
        assert_eq!(text(media[1].protocol_span), b"RTP/AVP");
        let connection = media[1].connection().expect("its own connection");
        assert_eq!((connection.address, connection.address_type), (&b"ff15::101"[..], &b"IP6"[..]));
        assert_eq!(media[1].attribute("rtpmap").and_then(|a| a.value), Some(&b"97 iLBC/8000"[..]));
        assert_eq!(session().attributes().map(|a| a.name).collect::<Vec<_>>(), [b"sendrecv"]);
        assert_eq!(session().connections().count(), 2);
    }

    #[test]
    fn bare_line_feeds_and_a_missing_last_line_end_are_accepted() {
        let session = Session::parse(b"v=0\nc=IN IP4 0.0.0.0\nm=audio 0 RTP/AVP 0", 0).expect("a description");
        assert!(session.connection().expect("a connection").is_null());
        assert_eq!(session.media().next().expect("a media").port, 0);
    }

    #[test]
    fn what_is_no_description_is_refused_with_the_place() {
        for (text, offset) in [
            (&b""[..], 0),
            (b"v=1\r\n", 0),
            (b"o=- 1 1 IN IP4 a\r\n", 0),
            (b"v=0\r\nm =video 3227 RTP/AVP 31\r\n", 5),
            (b"v=0\r\nm=audio 70000 RTP/AVP 0\r\n", 5),
            (b"v=0\r\nc=IN IP4\r\n", 5),
            (b"v=0\r\no=- 1 1 IN IP4\r\n", 5),
        ] {
            assert_eq!(Session::parse(text, 0), Err(Reject::Body { offset }), "{}", String::from_utf8_lossy(text));
        }
    }
}
