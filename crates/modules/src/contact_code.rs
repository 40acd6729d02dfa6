//! A Contact written into the user part of another: what hides where a phone is without keeping state.

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Call, Outcome};
use sip_message::{Span, Uri};

/// The character between the parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Separator(u8);

impl Separator {
    /// One character that may stand in a user part (RFC 3261 section 25.1) and means nothing there.
    ///
    /// # Errors
    /// A phrase for the operator.
    pub(crate) fn parse(text: &str) -> Result<Separator, String> {
        match text.as_bytes() {
            [byte] if b"*-_.!~'()&=+$,".contains(byte) => Ok(Separator(*byte)),
            _ => Err(format!("`{text}` is not one of the characters * - _ ! ~ = + $ and their like")),
        }
    }
}

/// Encodes each Contact with a prefix and a host, the arguments of the call. `with_source` adds where the
/// message came from, as Kamailio does, to send later requests there.
pub(crate) fn encode(call: &mut Call<'_>, separator: Separator, with_source: bool) -> Outcome {
    let (prefix, host) = (call.text(0), call.text(1));
    let source = call.context.arrival.source;
    let source = with_source.then_some((source, call.context.arrival.transport));
    let is_plain = |text: &[u8]| text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(byte));
    if !is_plain(&prefix) || !is_plain(&host) || host.is_empty() {
        return Outcome::fail("encode_contact: not a prefix and a host");
    }
    change_contacts(call, |uri| {
        let uri = Uri::parse(uri).ok().filter(Uri::is_sip)?;
        let port = uri.port.map(|port| port.to_string()).unwrap_or_default();
        let transport = uri.transport().map_or("", |transport| transport.uri_param());
        let mut parts: Vec<Vec<u8>> = vec![
            prefix.to_vec(),
            uri.user.unwrap_or_default().to_vec(),
            uri.password.unwrap_or_default().to_vec(),
            uri.host_text.to_vec(),
            port.into_bytes(),
            transport.as_bytes().to_vec(),
        ];
        if let Some((address, transport)) = source {
            let word = if transport == sip_message::Transport::Udp { "" } else { transport.uri_param() };
            parts.extend(
                [address.ip().to_string(), address.port().to_string(), word.to_owned()].map(String::into_bytes),
            );
        }
        let user = parts.join(&separator.0);
        // An address of IPv6 has brackets and colons, which no user part may have.
        let is_user = user.iter().all(|byte| byte.is_ascii_graphic() && !b"[]:<>@".contains(byte));
        is_user.then(|| [b"sip:", &user[..], b"@", &host].concat().into())
    })
}

/// Makes the Request-URI what it was before it was encoded, and the next hop the source where one is in it.
pub(crate) fn decode(call: &mut Call<'_>, separator: Separator) -> Outcome {
    match decoded(&call.context.target.uri, separator) {
        Some((uri, source)) => {
            call.context.set_uri(uri);
            if source.is_some() {
                call.context.set_destination(source);
            }
            Outcome::TRUE
        }
        None => Outcome::FALSE,
    }
}

/// Makes each Contact what it was before it was encoded.
pub(crate) fn decode_header(call: &mut Call<'_>, separator: Separator) -> Outcome {
    change_contacts(call, |uri| decoded(uri, separator).map(|(uri, _)| uri))
}

/// Changes the URI of each Contact as `new` says; false when it changes none.
pub(crate) fn change_contacts(call: &mut Call<'_>, new: impl Fn(&[u8]) -> Option<Bytes>) -> Outcome {
    let message = Arc::clone(&call.context.message);
    let contacts = message.contacts().filter_map(|contact| contact.ok()?.address());
    let changes: Vec<(Span, Bytes)> =
        contacts.filter_map(|contact| Some((contact.uri_span, new(message.text(contact.uri_span))?))).collect();
    for (span, uri) in &changes {
        call.context.edits.replace(*span, uri.clone());
    }
    (!changes.is_empty()).into()
}

/// The URI that an encoded one stands for, and the source that it holds.
fn decoded(uri: &[u8], separator: Separator) -> Option<(Bytes, Option<Bytes>)> {
    let user = Uri::parse(uri).ok()?.user?;
    let parts: Vec<&[u8]> = user.split(|byte| *byte == separator.0).collect();
    if !matches!(parts.len(), 6 | 9) {
        return None;
    }
    let uri = assembled(parts[1], parts[2], (parts[3], parts[4]), parts[5])?;
    let source = match parts.get(6..9) {
        Some([address, port, transport]) if !address.is_empty() => assembled(b"", b"", (address, port), transport),
        _ => None,
    };
    Some((uri, source))
}

fn assembled(user: &[u8], password: &[u8], place: (&[u8], &[u8]), transport: &[u8]) -> Option<Bytes> {
    let mut uri = b"sip:".to_vec();
    for (lead, text) in [(&b""[..], user), (b":", password)] {
        if !text.is_empty() {
            uri.extend_from_slice(lead);
            uri.extend_from_slice(text);
        }
    }
    if !user.is_empty() {
        uri.push(b'@');
    }
    uri.extend_from_slice(place.0);
    for (lead, text) in [(&b":"[..], place.1), (b";transport=", transport)] {
        if !text.is_empty() {
            uri.extend_from_slice(lead);
            uri.extend_from_slice(text);
        }
    }
    Uri::parse(&uri).is_ok().then(|| uri.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_forms_are_decoded() {
        let decode = |uri: &str| {
            let (uri, source) = decoded(uri.as_bytes(), Separator(b'*'))?;
            let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
            Some((text(uri), source.map(text)))
        };
        let some = |uri: &str, source: Option<&str>| Some((uri.to_owned(), source.map(str::to_owned)));
        let ser = "sip:enc*alice*pw*192.0.2.7*5070*tcp@192.0.2.1";
        assert_eq!(decode(ser), some("sip:alice:pw@192.0.2.7:5070;transport=tcp", None));
        // As Kamailio 5.6.3 writes it.
        let kamailio = "sip:enc*alice**127.0.0.1*15997**203.0.113.5*15998*@1.1.1.1";
        assert_eq!(decode(kamailio), some("sip:alice@127.0.0.1:15997", Some("sip:203.0.113.5:15998")));
        assert_eq!(decode("sip:alice@192.0.2.1"), None);
    }

    #[test]
    fn a_separator_is_one_character_of_a_user_part() {
        assert_eq!(Separator::parse("-"), Ok(Separator(b'-')));
        assert!(Separator::parse("@").is_err() && Separator::parse("").is_err());
    }
}
