//! Which messages a caller wants to see.

use std::net::{IpAddr, SocketAddr};

use module_api::Sighting;
use sip_message::{Message, NameAddr, Uri};

/// Conditions, of which all must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    user: Option<(String, Option<String>)>,
    address: Option<(IpAddr, Option<u16>)>,
    call_id: Option<String>,
    method: Option<String>,
}

impl Filter {
    /// Reads `name=value` words.
    ///
    /// # Errors
    /// In words, naming the word that is wrong.
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Filter, String> {
        let mut filter = Filter::default();
        for word in words.filter(|word| !word.is_empty()) {
            match word.split_once('=') {
                Some(("user", user)) if !user.is_empty() => filter.user = Some(parse_user(user)),
                Some(("address", address)) => filter.address = Some(parse_address(address)?),
                Some(("call-id" | "callid", call_id)) if !call_id.is_empty() => {
                    filter.call_id = Some(call_id.to_owned())
                }
                Some(("method", method)) if !method.is_empty() => filter.method = Some(method.to_ascii_uppercase()),
                _ => {
                    return Err(format!(
                        "`{word}` is no filter; write user=, address=, call-id= or method= and a value"
                    ));
                }
            }
        }
        Ok(filter)
    }

    /// Whether a message is wanted.
    pub(crate) fn takes(&self, sighting: &Sighting, message: &Message) -> bool {
        let is_at = |(ip, port): &(IpAddr, Option<u16>)| {
            [sighting.source, sighting.destination]
                .iter()
                .any(|at| at.ip().to_canonical() == *ip && port.is_none_or(|port| at.port() == port))
        };
        self.address.as_ref().is_none_or(is_at)
            && self.call_id.as_ref().is_none_or(|call_id| message.call_id() == call_id.as_bytes())
            && self.method.as_ref().is_none_or(|method| method_of(message).eq_ignore_ascii_case(method.as_bytes()))
            && self.user.as_ref().is_none_or(|(user, domain)| is_about(message, user, domain.as_deref()))
    }
}

/// The method of a request, and of the request that a reply answers.
pub(crate) fn method_of(message: &Message) -> &[u8] {
    if message.is_request() {
        return message.method_text();
    }
    let cseq = message.header(sip_message::HeaderName::CSeq).map_or(&b""[..], |header| header.value);
    cseq.rsplit(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default()
}

fn parse_user(text: &str) -> (String, Option<String>) {
    let text = text.strip_prefix("sip:").unwrap_or(text);
    match text.split_once('@') {
        Some((user, domain)) => (user.to_owned(), Some(domain.to_ascii_lowercase())),
        None => (text.to_owned(), None),
    }
}

fn parse_address(text: &str) -> Result<(IpAddr, Option<u16>), String> {
    let with_port = text.parse::<SocketAddr>().map(|at| (at.ip(), Some(at.port())));
    let bare = || text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().map(|ip| (ip, None));
    with_port.or_else(|_| bare()).map_err(|_| format!("`{text}` is no IP address"))
}

/// Whether a user stands in From, To or the Request-URI.
fn is_about(message: &Message, user: &str, domain: Option<&str>) -> bool {
    let is_meant = |uri: &[u8]| {
        Uri::parse(uri).is_ok_and(|uri| {
            uri.user.is_some_and(|theirs| theirs == user.as_bytes())
                && domain.is_none_or(|domain| uri.host_text.eq_ignore_ascii_case(domain.as_bytes()))
        })
    };
    let party = |party: Option<NameAddr<'_>>| party.is_some_and(|party| is_meant(party.uri));
    party(message.from().ok()) || party(message.to().ok()) || (message.is_request() && is_meant(message.request_uri()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const INVITE: &str = "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\
        From: <sip:alice@example.com>;tag=1\r\nTo: <sip:Bob@example.org>\r\nCall-ID: a@b\r\nCSeq: 1 INVITE\r\n\r\n";

    fn check(filter: &str, takes: bool) {
        let filter_read = Filter::parse(filter.split(' ').map(str::to_owned)).expect(filter);
        let sighting = Sighting {
            at: Duration::ZERO,
            is_sent: false,
            transport: sip_message::Transport::Udp,
            source: "198.51.100.1:5070".parse().expect("a literal"),
            destination: "[2001:db8::1]:5060".parse().expect("a literal"),
            bytes: INVITE.into(),
        };
        let message = Message::parse(INVITE.into(), &Default::default()).expect("it is SIP");
        assert_eq!(filter_read.takes(&sighting, &message), takes, "{filter}");
    }

    #[test]
    fn messages_are_chosen_by_user_address_call_id_and_method() {
        for filter in
            ["user=alice", "user=bob@example.com", "user=sip:alice@EXAMPLE.com", "user=Bob", "", "method=invite"]
        {
            check(filter, true);
        }
        for filter in ["address=198.51.100.1", "address=198.51.100.1:5070", "address=[2001:db8::1]", "call-id=a@b"] {
            check(filter, true);
        }
        for filter in
            ["user=carol", "user=alice@example.org", "address=198.51.100.1:5060", "call-id=a", "user=alice method=BYE"]
        {
            check(filter, false);
        }
    }

    #[test]
    fn what_is_no_filter_is_named() {
        for word in ["alice", "user=", "colour=red", "address=nowhere"] {
            let why = Filter::parse([word.to_owned()].into_iter()).expect_err(word);
            assert!(why.contains(word.trim_start_matches("address=")), "{why}");
        }
    }
}
