//! URIs: `sip`, `sips` and `tel` taken apart, foreign ones kept as they are (RFC 3261 section 19.1, RFC 3966).

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{Params, Reject, Transport, lex};

/// Scheme of a URI.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme<'a> {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:`
    Tel,
    /// Another, as written.
    Other(&'a [u8]),
}

impl<'a> Scheme<'a> {
    fn from_token(token: &'a [u8]) -> Scheme<'a> {
        match token {
            _ if token.eq_ignore_ascii_case(b"sip") => Scheme::Sip,
            _ if token.eq_ignore_ascii_case(b"sips") => Scheme::Sips,
            _ if token.eq_ignore_ascii_case(b"tel") => Scheme::Tel,
            _ => Scheme::Other(token),
        }
    }

    /// The scheme without its colon.
    pub fn as_bytes(self) -> &'a [u8] {
        match self {
            Scheme::Sip => b"sip",
            Scheme::Sips => b"sips",
            Scheme::Tel => b"tel",
            Scheme::Other(text) => text,
        }
    }
}

/// The host of a URI or a `Via`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Host<'a> {
    /// A domain name as written.
    Name(&'a [u8]),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address; in text it stands in brackets.
    V6(Ipv6Addr),
}

impl<'a> Host<'a> {
    /// Reads a domain name, an IPv4 address or a bracketed IPv6 address.
    pub fn parse(text: &'a [u8]) -> Option<Host<'a>> {
        if let [b'[', inner @ .., b']'] = text {
            return parse_v6(inner).map(Host::V6);
        }
        // The last label of a name begins with a letter, so anything else is an address or wrong.
        match last_label(text)? {
            b'0'..=b'9' => parse_v4(text).map(Host::V4),
            _ => Some(Host::Name(text)),
        }
    }

    /// The address, when it is one.
    pub fn address(self) -> Option<std::net::IpAddr> {
        match self {
            Host::Name(_) => None,
            Host::V4(address) => Some(address.into()),
            Host::V6(address) => Some(address.into()),
        }
    }

    /// Same host: names without case, addresses by value and never equal to names (19.1.4).
    pub fn is_same(self, other: Host<'_>) -> bool {
        match (self, other) {
            (Host::Name(left), Host::Name(right)) => left.eq_ignore_ascii_case(right),
            (Host::V4(left), Host::V4(right)) => left == right,
            (Host::V6(left), Host::V6(right)) => left == right,
            _ => false,
        }
    }
}

/// How the last label begins; none when a byte may not stand in a host, or no label is there. One full stop may stand at the end.
fn last_label(text: &[u8]) -> Option<u8> {
    let (mut first, mut before) = (None, b'.');
    for &byte in text.strip_suffix(b".").unwrap_or(text) {
        if !lex::is_host_byte(byte) {
            return None;
        }
        if before == b'.' {
            first = Some(byte);
        }
        before = byte;
    }
    first.filter(|_| before != b'.')
}

/// Four numbers of one to three digits without leading zeros, as the standard library reads them; its
/// reader works letter by letter through three layers and cost a tenth of taking a Via apart.
fn parse_v4(text: &[u8]) -> Option<Ipv4Addr> {
    let (mut address, mut octet, mut digits, mut stops) = (0u32, 0u32, 0, 0);
    for &byte in text {
        match byte {
            b'0'..=b'9' if digits == 0 || octet != 0 => {
                octet = octet * 10 + u32::from(byte - b'0');
                digits += 1;
                if octet > 255 {
                    return None;
                }
            }
            b'.' if digits > 0 && stops < 3 => {
                address = address << 8 | octet;
                (octet, digits, stops) = (0, 0, stops + 1);
            }
            _ => return None,
        }
    }
    (stops == 3 && digits > 0).then(|| Ipv4Addr::from(address << 8 | octet))
}

/// An IPv6 address; also with the third colon before an IPv4 part that the grammar of RFC 3261
/// led to, which RFC 5118 section 4.10 asks to bear.
fn parse_v6(text: &[u8]) -> Option<Ipv6Addr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (front, back) = text.split_once(":::")?;
    back.parse::<Ipv4Addr>().ok()?;
    // The longest address that is left has 45 letters; a longer text is none.
    if text.len() > 46 {
        return None;
    }
    format!("{front}::{back}").parse().ok()
}

/// A URI taken apart; everything borrows from the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Uri<'a> {
    /// Its scheme.
    pub scheme: Scheme<'a>,
    /// User part, escapes kept; the number of a `tel` URI.
    pub user: Option<&'a [u8]>,
    /// Password, escapes kept.
    pub password: Option<&'a [u8]>,
    /// Host of a `sip` or `sips` URI; an empty name for others.
    pub host: Host<'a>,
    /// The host as written, brackets kept.
    pub host_text: &'a [u8],
    /// Port, when written.
    pub port: Option<u16>,
    /// Parameters after the host (after the number of a `tel` URI).
    pub params: Params<'a>,
    /// What follows `?`, without it.
    pub headers: Option<&'a [u8]>,
    /// What follows the scheme's colon.
    pub opaque: &'a [u8],
}

impl<'a> Uri<'a> {
    /// Reads a URI. A scheme other than `sip`, `sips` and `tel` is kept whole in `opaque`.
    ///
    /// # Errors
    /// [`Reject::Uri`] with the offset in `text` where the grammar breaks.
    pub fn parse(text: &'a [u8]) -> Result<Uri<'a>, Reject> {
        let colon = memchr::memchr(b':', text).ok_or(Reject::Uri { offset: 0 })?;
        let is_scheme = text[0].is_ascii_alphabetic()
            && text[1..colon].iter().all(|&byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        if !is_scheme {
            return Err(Reject::Uri { offset: 0 });
        }
        let scheme = Scheme::from_token(&text[..colon]);
        let parsed = match scheme {
            Scheme::Sip | Scheme::Sips => parse_sip(scheme, text, colon + 1),
            Scheme::Tel => parse_tel(text, colon + 1),
            Scheme::Other(_) => parse_foreign(scheme, text, colon + 1),
        };
        parsed.map_err(|offset| Reject::Uri { offset })
    }

    /// Whether it is `sip` or `sips`.
    pub fn is_sip(&self) -> bool {
        matches!(self.scheme, Scheme::Sip | Scheme::Sips)
    }

    /// A parameter: `None` when absent, `Some(None)` without value.
    pub fn param(&self, name: &str) -> Option<Option<&'a [u8]>> {
        self.params.find(name)
    }

    /// Whether the `lr` parameter marks a loose router (RFC 3261 section 19.1.1).
    pub fn is_loose_router(&self) -> bool {
        self.params.has("lr")
    }

    /// The transport that the `transport` parameter names; `None` when absent or unknown.
    pub fn transport(&self) -> Option<Transport> {
        self.params.value("transport").and_then(Transport::from_token)
    }

    /// The `maddr` parameter as a host.
    pub fn maddr(&self) -> Option<Host<'a>> {
        self.params.value("maddr").and_then(Host::parse)
    }

    /// Names and values of the `?` part, escapes kept.
    pub fn header_fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let fields = self.headers.unwrap_or_default();
        fields.split(|&byte| byte == b'&').filter_map(|field| {
            let equals = memchr::memchr(b'=', field)?;
            Some((&field[..equals], &field[equals + 1..]))
        })
    }

    /// Appends the URI as text. Set fields anew before to write a changed one.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.scheme.as_bytes());
        out.push(b':');
        if let Scheme::Other(_) = self.scheme {
            out.extend_from_slice(self.opaque);
            return;
        }
        self.write_user(out);
        out.extend_from_slice(self.host_text);
        if let Some(port) = self.port {
            out.extend_from_slice(format!(":{port}").as_bytes());
        }
        out.extend_from_slice(self.params.text());
        if let Some(headers) = self.headers {
            out.push(b'?');
            out.extend_from_slice(headers);
        }
    }

    fn write_user(&self, out: &mut Vec<u8>) {
        let Some(user) = self.user else { return };
        out.extend_from_slice(user);
        if self.scheme == Scheme::Tel {
            return;
        }
        if let Some(password) = self.password {
            out.push(b':');
            out.extend_from_slice(password);
        }
        out.push(b'@');
    }
}

fn parse_foreign<'a>(scheme: Scheme<'a>, text: &'a [u8], start: usize) -> Result<Uri<'a>, usize> {
    // White space or controls would end the URI where it stands, so they are never part of it.
    match text[start..].iter().position(|byte| matches!(byte, 0..=b' ' | b'<' | b'>' | b'"' | 0x7f)) {
        Some(at) => Err(start + at),
        None if start == text.len() => Err(start),
        None => Ok(empty(scheme, &text[start..])),
    }
}

/// The number of a `tel` URI: digits and visual separators, `+` first when global (RFC 3966 section 3).
fn parse_tel(text: &[u8], start: usize) -> Result<Uri<'_>, usize> {
    let end = memchr::memchr(b';', &text[start..]).map_or(text.len(), |at| start + at);
    let number = &text[start..end];
    let digits = number.strip_prefix(b"+").unwrap_or(number);
    let is_number = digits.iter().all(|&byte| byte.is_ascii_hexdigit() || b"*#-.()".contains(&byte))
        && digits.iter().any(|&byte| byte.is_ascii_hexdigit() || b"*#".contains(&byte));
    if !is_number {
        return Err(start);
    }
    let params = check_params(text, end, text.len())?;
    Ok(Uri { user: Some(number), params, ..empty(Scheme::Tel, &text[start..]) })
}

fn parse_sip<'a>(scheme: Scheme<'a>, text: &'a [u8], start: usize) -> Result<Uri<'a>, usize> {
    let mut uri = empty(scheme, &text[start..]);
    // A user may hold `;` and `?`, and nothing after it an unescaped `@`: so the first `@` ends it.
    let mut at = start;
    if let Some(found) = memchr::memchr(b'@', &text[start..]) {
        read_user(&mut uri, text, start, start + found)?;
        at = start + found + 1;
    }
    let question = memchr::memchr(b'?', &text[at..]).map_or(text.len(), |found| at + found);
    let semicolon = memchr::memchr(b';', &text[at..question]).map_or(question, |found| at + found);
    read_host(&mut uri, text, at, semicolon)?;
    uri.params = check_params(text, semicolon, question)?;
    if question < text.len() {
        uri.headers = Some(check_headers(text, question + 1)?);
    }
    Ok(uri)
}

fn empty<'a>(scheme: Scheme<'a>, opaque: &'a [u8]) -> Uri<'a> {
    Uri {
        scheme,
        user: None,
        password: None,
        host: Host::Name(b""),
        host_text: b"",
        port: None,
        params: Params::default(),
        headers: None,
        opaque,
    }
}

fn read_user<'a>(uri: &mut Uri<'a>, text: &'a [u8], start: usize, end: usize) -> Result<(), usize> {
    let colon = memchr::memchr(b':', &text[start..end]).map(|at| start + at);
    let user = &text[start..colon.unwrap_or(end)];
    if user.is_empty() {
        return Err(start);
    }
    lex::check_escaped(user, lex::is_user_byte).map_err(|at| start + at)?;
    uri.user = Some(user);
    if let Some(colon) = colon {
        let password = &text[colon + 1..end];
        lex::check_escaped(password, lex::is_user_byte).map_err(|at| colon + 1 + at)?;
        uri.password = Some(password);
    }
    Ok(())
}

fn read_host<'a>(uri: &mut Uri<'a>, text: &'a [u8], start: usize, end: usize) -> Result<(), usize> {
    let hostport = &text[start..end];
    let (host, port) = split_port(hostport);
    uri.host = Host::parse(host).ok_or(start)?;
    uri.host_text = host;
    if let Some(port) = port {
        uri.port = Some(parse_port(port).ok_or(start + host.len() + 1)?);
    }
    Ok(())
}

/// Splits `host[:port]`; the colons of a bracketed IPv6 address are the host's.
pub(crate) fn split_port(hostport: &[u8]) -> (&[u8], Option<&[u8]>) {
    let from = match hostport.first() {
        Some(b'[') => memchr::memchr(b']', hostport).unwrap_or(0),
        _ => 0,
    };
    match memchr::memchr(b':', &hostport[from..]) {
        Some(at) => (&hostport[..from + at], Some(&hostport[from + at + 1..])),
        None => (hostport, None),
    }
}

pub(crate) fn parse_port(text: &[u8]) -> Option<u16> {
    lex::number(text).and_then(|port| u16::try_from(port).ok())
}

fn check_params(text: &[u8], start: usize, end: usize) -> Result<Params<'_>, usize> {
    let mut at = start;
    while at < end {
        let stop = memchr::memchr(b';', &text[at + 1..end]).map_or(end, |found| at + 1 + found);
        let param = &text[at + 1..stop];
        let equals = memchr::memchr(b'=', param);
        let (name, value) = (&param[..equals.unwrap_or(param.len())], equals.map(|found| &param[found + 1..]));
        if name.is_empty() || value.is_some_and(<[u8]>::is_empty) {
            return Err(at);
        }
        lex::check_escaped(name, lex::is_parameter_byte).map_err(|found| at + 1 + found)?;
        let value_start = at + 2 + name.len();
        lex::check_escaped(value.unwrap_or_default(), is_value_byte).map_err(|found| value_start + found)?;
        at = stop;
    }
    Ok(Params::new(&text[start..end], u32::try_from(start).unwrap_or(u32::MAX)))
}

/// A second `=` is not in the grammar, but phones write base64 into parameters; nobody reads it
/// another way.
fn is_value_byte(byte: u8) -> bool {
    byte == b'=' || lex::is_parameter_byte(byte)
}

fn check_headers(text: &[u8], start: usize) -> Result<&[u8], usize> {
    let headers = &text[start..];
    let mut at = 0;
    for field in headers.split(|&byte| byte == b'&') {
        let equals = memchr::memchr(b'=', field).filter(|&found| found > 0).ok_or(start + at)?;
        for part in [&field[..equals], &field[equals + 1..]] {
            lex::check_escaped(part, lex::is_header_byte).map_err(|_| start + at)?;
        }
        at += field.len() + 1;
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_in_the_standard_library() {
        for text in [
            "0.0.0.0",
            "192.0.2.1",
            "255.255.255.255",
            "256.0.0.1",
            "01.2.3.4",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.4.",
            "1..3.4",
            "1.2.3.x",
            "1.2.3.+4",
            "1.2.3.0004",
            "1.2.3.00",
            "",
            ".",
        ] {
            assert_eq!(parse_v4(text.as_bytes()), text.parse().ok(), "{text}");
        }
    }

    fn uri(text: &str) -> Uri<'_> {
        Uri::parse(text.as_bytes()).unwrap_or_else(|reject| panic!("{text}: {reject}"))
    }

    #[test]
    fn a_sip_uri_is_taken_apart() {
        let uri = uri("sip:alice:secret@atlanta.com:5070;transport=tcp;lr?subject=project%20x&priority=urgent");
        assert_eq!(uri.scheme, Scheme::Sip);
        assert_eq!(uri.user, Some(&b"alice"[..]));
        assert_eq!(uri.password, Some(&b"secret"[..]));
        assert_eq!(uri.host, Host::Name(b"atlanta.com"));
        assert_eq!(uri.port, Some(5070));
        assert_eq!(uri.transport(), Some(Transport::Tcp));
        assert!(uri.is_loose_router());
        let fields: Vec<_> = uri.header_fields().collect();
        assert_eq!(fields, [(&b"subject"[..], &b"project%20x"[..]), (b"priority", b"urgent")]);
    }

    #[test]
    fn a_user_may_hold_semicolon_and_question_mark() {
        let uri = uri("sip:user;par=u%40example.net@example.com");
        assert_eq!(uri.user, Some(&b"user;par=u%40example.net"[..]));
        assert!(uri.params.is_empty());
    }

    #[test]
    fn brackets_of_an_ipv6_host_are_kept() {
        let uri = uri("sips:[2001:db8::10]:5070;maddr=[::1]");
        assert_eq!(uri.host, Host::V6("2001:db8::10".parse().expect("an address")));
        assert_eq!(uri.host_text, b"[2001:db8::10]");
        assert_eq!(uri.port, Some(5070));
        assert_eq!(uri.maddr(), Some(Host::V6(Ipv6Addr::LOCALHOST)));
    }

    #[test]
    fn the_third_colon_of_rfc_3261_grammar_is_borne() {
        let host = Host::parse(b"[2001:db8:::192.0.2.1]");
        assert_eq!(host, Some(Host::V6("2001:db8::192.0.2.1".parse().expect("an address"))));
        assert_eq!(Host::parse(b"[2001:db8:::1]"), None);
    }

    #[test]
    fn a_tel_uri_keeps_its_number_as_user() {
        let uri = uri("tel:+1-972-555-2222;ext=7");
        assert_eq!((uri.scheme, uri.user), (Scheme::Tel, Some(&b"+1-972-555-2222"[..])));
        assert_eq!(uri.param("ext"), Some(Some(&b"7"[..])));
    }

    #[test]
    fn a_foreign_uri_is_kept_whole() {
        let uri = uri("soap.beep://192.0.2.103:3002");
        assert_eq!(uri.scheme, Scheme::Other(b"soap.beep"));
        assert_eq!(uri.opaque, b"//192.0.2.103:3002");
    }

    #[test]
    fn malformed_uris_are_refused_with_the_place() {
        for (text, offset) in [
            ("", 0),
            ("sip", 0),
            ("<sip:a@b>", 0),
            ("sip:", 4),
            ("sip:@b", 4),
            ("sip:a@", 6),
            ("sip:a b@c", 5),
            ("sip:a%4@c", 5),
            ("sip:a@b:port", 8),
            ("sip:a@b:65536", 8),
            ("sip:a@b:", 8),
            ("sip:a@2001:db8::10", 6),
            ("sip:a@[2001:db8:::1]", 6),
            ("sip:a@192.0.2.256", 6),
            ("sip:a@b;", 7),
            ("sip:a@b; lr", 8),
            ("sip:a@b?", 8),
            ("sip:a@b?x", 8),
            ("tel:hello", 4),
            ("isbn:", 5),
        ] {
            assert_eq!(Uri::parse(text.as_bytes()), Err(Reject::Uri { offset }), "{text}");
        }
    }

    #[test]
    fn a_uri_is_written_as_it_was() {
        for text in [
            "sip:a:b@c:5;d=e?f=g",
            "sips:[::1]",
            "tel:+1;phone-context=x",
            "isbn:2983792873",
            "sip:0.0.0.0",
            "sip:a@b.c.;transport=udp",
            "sip:*43#@b",
        ] {
            let mut out = Vec::new();
            uri(text).write_to(&mut out);
            assert_eq!(String::from_utf8_lossy(&out), text);
        }
    }
}
