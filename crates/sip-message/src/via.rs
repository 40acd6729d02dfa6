//! `Via`: the path that a request took (RFC 3261 section 20.42, RFC 3581).

use crate::uri::{parse_port, split_port};
use crate::{Host, Params, Span, Transport, lex};

/// One `Via` value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Via<'a> {
    /// The transport; `None` when it is not one known here.
    pub transport: Option<Transport>,
    /// The transport as written.
    pub transport_text: &'a [u8],
    /// Host of sent-by as written, brackets kept.
    pub host: &'a [u8],
    /// Port of sent-by, when written.
    pub port: Option<u16>,
    /// Parameters.
    pub params: Params<'a>,
    /// The whole value.
    pub span: Span,
    /// Host and port.
    pub sent_by: Span,
    pub(crate) marks: Marks<&'a [u8]>,
}

/// The parameters that decide where a response goes and what it belongs to, picked out while all are
/// checked. `Some(None)` stands without value; of two with one name the first counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Marks<T> {
    pub(crate) branch: Option<Option<T>>,
    pub(crate) received: Option<Option<T>>,
    pub(crate) maddr: Option<Option<T>>,
    pub(crate) rport: Option<Option<T>>,
    pub(crate) oc: Option<Option<T>>,
}

impl<T> Marks<T> {
    fn take(&mut self, name: &[u8], value: Option<T>) {
        let mark = match name.len() {
            6 if name.eq_ignore_ascii_case(b"branch") => &mut self.branch,
            8 if name.eq_ignore_ascii_case(b"received") => &mut self.received,
            5 if name.eq_ignore_ascii_case(b"maddr") => &mut self.maddr,
            5 if name.eq_ignore_ascii_case(b"rport") => &mut self.rport,
            2 if name.eq_ignore_ascii_case(b"oc") => &mut self.oc,
            _ => return,
        };
        mark.get_or_insert(value);
    }

    pub(crate) fn map<U>(self, each: impl Fn(T) -> U) -> Marks<U> {
        let inner = |mark: Option<Option<T>>| mark.map(|value| value.map(&each));
        Marks {
            branch: inner(self.branch),
            received: inner(self.received),
            maddr: inner(self.maddr),
            rport: inner(self.rport),
            oc: inner(self.oc),
        }
    }
}

impl<'a> Via<'a> {
    /// Reads one value; spans count from the start of `text`.
    ///
    /// # Errors
    /// [`crate::Reject::Header`] with the offset where the grammar breaks.
    pub fn parse(text: &'a [u8]) -> Result<Via<'a>, crate::Reject> {
        Via::parse_at(text, 0).map_err(|offset| crate::Reject::Header { name: crate::HeaderName::Via, offset })
    }

    /// As [`Via::parse`], with `text` lying at `offset` of its message.
    pub(crate) fn parse_at(text: &'a [u8], offset: u32) -> Result<Via<'a>, usize> {
        let place = |at: usize| offset as usize + at;
        let (start, end) = lex::trim(text, 0, text.len());
        let text = &text[..end];
        // sent-protocol = protocol-name SLASH protocol-version SLASH transport, SLASH with LWS around.
        let (name, at) = token(text, start).ok_or(place(start))?;
        let (version, at) = slash(text, at).and_then(|at| token(text, at)).ok_or(place(at))?;
        if !name.eq_ignore_ascii_case(b"SIP") || version != b"2.0" {
            return Err(place(start));
        }
        let (transport_text, at) = slash(text, at).and_then(|at| token(text, at)).ok_or(place(at))?;
        let sent_by_start = lex::skip_lws(text, at);
        if sent_by_start == at {
            return Err(place(at));
        }
        let semicolon =
            text[sent_by_start..].iter().position(|&byte| byte == b';').map_or(end, |at| sent_by_start + at);
        let (host, port) = sent_by(&text[sent_by_start..semicolon]).ok_or(place(sent_by_start))?;
        let params = Params::new(&text[semicolon..], offset + semicolon as u32);
        let mut marks = Marks::default();
        params.check(|name, value| marks.take(name, value))?;
        let (_, sent_by_end) = lex::trim(text, sent_by_start, semicolon);
        Ok(Via {
            transport: Transport::from_token(transport_text),
            transport_text,
            host,
            port,
            params,
            span: Span::new(start, end).shifted(offset),
            sent_by: Span::new(sent_by_start, sent_by_end).shifted(offset),
            marks,
        })
    }

    /// The `branch` parameter.
    pub fn branch(&self) -> Option<&'a [u8]> {
        self.marks.branch.flatten()
    }

    /// The `received` parameter.
    pub fn received(&self) -> Option<&'a [u8]> {
        self.marks.received.flatten()
    }

    /// The `rport` parameter (RFC 3581): `None` when absent, `Some(None)` when asked for and not
    /// yet filled in, or not a port.
    pub fn rport(&self) -> Option<Option<u16>> {
        self.marks.rport.map(|value| value.and_then(parse_port))
    }

    /// Whether the sender asks to be told of overload: `oc` without a value (RFC 7339 section 4.1).
    pub fn asks_for_overload(&self) -> bool {
        self.marks.oc == Some(None)
    }

    /// The `maddr` parameter.
    pub fn maddr(&self) -> Option<&'a [u8]> {
        self.marks.maddr.flatten()
    }

    /// The `ttl` parameter.
    pub fn ttl(&self) -> Option<u8> {
        lex::number(self.params.value("ttl")?).and_then(|ttl| u8::try_from(ttl).ok())
    }

    /// Host of sent-by taken apart.
    pub fn parsed_host(&self) -> Option<Host<'a>> {
        Host::parse(self.host)
    }
}

fn token(text: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let length = text[at..].iter().take_while(|&&byte| lex::is_token_byte(byte)).count();
    (length > 0).then(|| (&text[at..at + length], at + length))
}

fn slash(text: &[u8], at: usize) -> Option<usize> {
    let at = lex::skip_lws(text, at);
    (text.get(at) == Some(&b'/')).then(|| lex::skip_lws(text, at + 1))
}

/// `host [COLON port]`, where COLON may have white space around it.
fn sent_by(text: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let (host, port) = split_port(text);
    let host = lex::trimmed(host);
    Host::parse(host)?;
    match port {
        Some(port) => parse_port(lex::trimmed(port)).map(|port| (host, Some(port))),
        None => Some((host, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_via_is_taken_apart() {
        let text = b"SIP/2.0/UDP pc33.atlanta.com:5070;branch=z9hG4bK776;rport;received=192.0.2.1;ttl=16";
        let via = Via::parse(text).expect("a Via");
        assert_eq!(via.transport, Some(Transport::Udp));
        assert_eq!((via.host, via.port), (&b"pc33.atlanta.com"[..], Some(5070)));
        assert_eq!(via.branch(), Some(&b"z9hG4bK776"[..]));
        assert_eq!(via.rport(), Some(None));
        assert_eq!(via.received(), Some(&b"192.0.2.1"[..]));
        assert_eq!(via.ttl(), Some(16));
        assert_eq!(via.sent_by.of(text), b"pc33.atlanta.com:5070");
    }

    #[test]
    fn white_space_may_stand_around_slashes_and_colon() {
        // The example of section 20.42.
        let via = Via::parse(
            b"SIP / 2.0 / UDP first.example.com: 4000;ttl=16\r\n ;maddr=224.2.0.1 ;branch=z9hG4bKa7c6a8dlze.1",
        );
        let via = via.expect("a Via of the RFC");
        assert_eq!((via.host, via.port), (&b"first.example.com"[..], Some(4000)));
        assert_eq!(via.maddr(), Some(&b"224.2.0.1"[..]));
        assert_eq!(via.branch(), Some(&b"z9hG4bKa7c6a8dlze.1"[..]));
    }

    #[test]
    fn brackets_and_unknown_transports_are_kept() {
        let via = Via::parse(b"SIP/2.0/TLS-SCTP [2001:db8::9:1]:5061;rport=5099").expect("a Via");
        assert_eq!((via.transport, via.transport_text), (None, &b"TLS-SCTP"[..]));
        assert_eq!((via.host, via.port), (&b"[2001:db8::9:1]"[..], Some(5061)));
        assert_eq!(via.rport(), Some(Some(5099)));
    }

    #[test]
    fn what_breaks_the_grammar_is_refused() {
        for text in [
            "",
            "SIP/2.0",
            "SIP/2.0/UDP",
            "SIP/2.0/UDPhost",
            "SIP/3.0/UDP a",
            "HTTP/2.0/UDP a",
            "SIP/2.0/UDP a:b",
            "SIP/2.0/UDP a b",
            "SIP/2.0/UDP 192.0.2.15;;,;,,",
            "SIP/2.0/UDP 2001:db8::9:1",
            "SIP/2.0/UDP ;branch=z9hG4bK1",
        ] {
            assert!(Via::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
