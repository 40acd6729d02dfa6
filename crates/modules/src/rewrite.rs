//! New URIs out of old ones: one part replaced, the rest kept byte for byte.

use bytes::Bytes;
use sip_message::Uri;

/// The URI with another user, or with none. None when `uri` cannot be read or has no place for a user.
///
/// A password goes with the user that it belonged to.
pub(crate) fn with_user(uri: &[u8], user: Option<&[u8]>) -> Option<Bytes> {
    let parsed = sip(uri)?;
    let host = host_at(uri, &parsed);
    let mut out = Vec::with_capacity(uri.len() + user.map_or(0, <[u8]>::len) + 1);
    out.extend_from_slice(&uri[..scheme_end(uri)]);
    if let Some(user) = user {
        if !is_clean(user) {
            return None;
        }
        out.extend_from_slice(user);
        out.push(b'@');
    }
    out.extend_from_slice(&uri[host..]);
    Some(out.into())
}

/// The URI with another host; user, port and parameters stay.
pub(crate) fn with_host(uri: &[u8], host: &[u8]) -> Option<Bytes> {
    let parsed = sip(uri)?;
    let start = host_at(uri, &parsed);
    let end = start + parsed.host_text.len();
    is_clean(host).then(|| splice(uri, start, end, host))
}

/// The URI with another host and port: `host` or `host:port`, which replaces both.
pub(crate) fn with_host_port(uri: &[u8], host_port: &[u8]) -> Option<Bytes> {
    let parsed = sip(uri)?;
    let start = host_at(uri, &parsed);
    let end = port_end(uri, start + parsed.host_text.len());
    is_clean(host_port).then(|| splice(uri, start, end, host_port))
}

/// The URI with another port, or with none where `port` is empty.
pub(crate) fn with_port(uri: &[u8], port: &[u8]) -> Option<Bytes> {
    let parsed = sip(uri)?;
    let start = host_at(uri, &parsed) + parsed.host_text.len();
    let end = port_end(uri, start);
    if port.is_empty() {
        return Some(splice(uri, start, end, b""));
    }
    let number: u16 = std::str::from_utf8(port).ok()?.parse().ok()?;
    Some(splice(uri, start, end, format!(":{number}").as_bytes()))
}

/// The URI without parameter `name`.
pub(crate) fn without_param(uri: &[u8], name: &str) -> Option<Bytes> {
    let parsed = Uri::parse(uri).ok()?;
    let params = parsed.params.text();
    let start = offset_in(uri, params)?;
    let mut kept = Vec::with_capacity(params.len());
    for (key, value) in parsed.params.iter().filter(|(key, _)| !key.eq_ignore_ascii_case(name.as_bytes())) {
        kept.push(b';');
        kept.extend_from_slice(key);
        if let Some(value) = value {
            kept.push(b'=');
            kept.extend_from_slice(value);
        }
    }
    Some(splice(uri, start, start + params.len(), &kept))
}

/// The URI with `;param` or `;param=value` behind its parameters, before its headers.
pub(crate) fn with_param(uri: &[u8], param: &[u8]) -> Option<Bytes> {
    let parsed = Uri::parse(uri).ok()?;
    let end = uri.len() - parsed.headers.map_or(0, |headers| headers.len() + 1);
    if !is_clean(param) {
        return None;
    }
    let mut text = vec![b';'];
    text.extend_from_slice(param);
    Some(splice(uri, end, end, &text))
}

/// `sip:HOST`, with the brackets that an IPv6 address needs.
pub(crate) fn uri_of_host(host: &[u8], port: Option<i64>, transport: Option<&str>) -> Option<Bytes> {
    let is_bare_v6 = host.iter().filter(|byte| **byte == b':').count() > 1 && host.first() != Some(&b'[');
    let host = std::str::from_utf8(host).ok().filter(|_| is_clean(host) && !host.is_empty())?;
    let mut uri = if is_bare_v6 { format!("sip:[{host}]") } else { format!("sip:{host}") };
    if let Some(port) = port.filter(|port| *port != 0) {
        uri.push_str(&format!(":{}", u16::try_from(port).ok()?));
    }
    if let Some(transport) = transport {
        uri.push_str(";transport=");
        uri.push_str(transport);
    }
    Uri::parse(uri.as_bytes()).ok()?;
    Some(uri.into())
}

/// `proto:host:port`, `host:port` or a URI, as a URI.
pub(crate) fn uri_of_proxy(text: &[u8]) -> Option<Bytes> {
    let word = |prefix: &str| {
        let (head, rest) = text.split_at_checked(prefix.len() + 1)?;
        (head[..prefix.len()].eq_ignore_ascii_case(prefix.as_bytes()) && head.ends_with(b":")).then_some(rest)
    };
    if word("sip").is_some() || word("sips").is_some() {
        Uri::parse(text).ok()?;
        return Some(Bytes::copy_from_slice(text));
    }
    for transport in ["udp", "tcp", "tls", "sctp", "wss", "ws"] {
        if let Some(rest) = word(transport) {
            return uri_of_host(rest, None, Some(transport));
        }
    }
    uri_of_host(text, None, None)
}

/// Whether text of a script or peer may stand in a start line or header without ending it.
pub(crate) fn is_clean(text: &[u8]) -> bool {
    !text.iter().any(|byte| matches!(byte, 0..=b' ' | b'<' | b'>' | b'"' | 0x7f))
}

fn sip(uri: &[u8]) -> Option<Uri<'_>> {
    Uri::parse(uri).ok().filter(Uri::is_sip)
}

fn scheme_end(uri: &[u8]) -> usize {
    uri.iter().position(|byte| *byte == b':').map_or(0, |colon| colon + 1)
}

/// Where the host begins.
fn host_at(uri: &[u8], parsed: &Uri<'_>) -> usize {
    offset_in(uri, parsed.host_text).unwrap_or_else(|| scheme_end(uri))
}

/// Where `part`, a slice of `whole`, begins in it. By address, since the same text may occur twice.
fn offset_in(whole: &[u8], part: &[u8]) -> Option<usize> {
    let offset = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    (offset <= whole.len()).then_some(offset)
}

fn port_end(uri: &[u8], host_end: usize) -> usize {
    match uri.get(host_end) {
        Some(b':') => {
            let digits = uri[host_end + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            host_end + 1 + digits
        }
        _ => host_end,
    }
}

fn splice(text: &[u8], start: usize, end: usize, with: &[u8]) -> Bytes {
    [&text[..start], with, &text[end..]].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &[u8] = b"sip:alice:pw@example.com:5070;transport=tcp;lr?Subject=x";

    fn check(result: Option<Bytes>, expected: &str) {
        assert_eq!(result.as_deref().map(String::from_utf8_lossy).as_deref(), Some(expected));
    }

    #[test]
    fn a_new_user_takes_the_old_password_away() {
        check(with_user(FULL, Some(b"bob")), "sip:bob@example.com:5070;transport=tcp;lr?Subject=x");
        check(with_user(FULL, None), "sip:example.com:5070;transport=tcp;lr?Subject=x");
        check(with_user(b"sip:[2001:db8::1]", Some(b"bob")), "sip:bob@[2001:db8::1]");
    }

    #[test]
    fn host_and_port_change_apart_and_together() {
        check(with_host(FULL, b"[::1]"), "sip:alice:pw@[::1]:5070;transport=tcp;lr?Subject=x");
        check(with_host_port(FULL, b"h:9"), "sip:alice:pw@h:9;transport=tcp;lr?Subject=x");
        check(with_host_port(FULL, b"h"), "sip:alice:pw@h;transport=tcp;lr?Subject=x");
        check(with_port(b"sip:a@h;lr", b"77"), "sip:a@h:77;lr");
        check(with_port(b"sip:a@h:5;lr", b""), "sip:a@h;lr");
        assert_eq!(with_port(b"sip:a@h", b"70000"), None);
    }

    #[test]
    fn parameters_come_and_go() {
        check(without_param(FULL, "TRANSPORT"), "sip:alice:pw@example.com:5070;lr?Subject=x");
        check(with_param(FULL, b"user=phone"), "sip:alice:pw@example.com:5070;transport=tcp;lr;user=phone?Subject=x");
    }

    #[test]
    fn text_that_could_end_a_line_is_refused() {
        assert_eq!(with_user(b"sip:a@h", Some(b"b\r\nX: y")), None);
        assert_eq!(with_host(b"sip:a@h", b"h\r\n"), None);
        assert_eq!(with_user(b"not a uri", Some(b"b")), None);
    }

    #[test]
    fn a_proxy_is_read_in_each_of_its_spellings() {
        check(uri_of_proxy(b"tcp:192.0.2.1:5080"), "sip:192.0.2.1:5080;transport=tcp");
        check(uri_of_proxy(b"example.com"), "sip:example.com");
        check(uri_of_proxy(b"sip:example.com;lr"), "sip:example.com;lr");
        check(uri_of_host(b"2001:db8::1", Some(5060), Some("udp")), "sip:[2001:db8::1]:5060;transport=udp");
        assert_eq!(uri_of_host(b"h", Some(70_000), None), None);
    }
}
