//! Names of SIP services in NAPTR and SRV records.

use sip_message::Transport;

use super::records::Naptr;

/// A service to ask SRV records of.
pub(super) struct Service {
    pub(super) name: Box<str>,
    pub(super) transport: Transport,
}

/// The service of `transport` at `domain` (RFC 3263 section 4.1, RFC 7118 section 9).
pub(super) fn service(transport: Transport, domain: &str) -> Service {
    let prefix = match transport {
        Transport::Udp => "_sip._udp.",
        Transport::Tcp => "_sip._tcp.",
        Transport::Tls => "_sips._tcp.",
        Transport::Ws => "_sip._ws.",
        Transport::Wss => "_sips._ws.",
        Transport::Sctp => "_sip._sctp.",
    };
    Service { name: [prefix, domain].concat().into(), transport }
}

/// The services that NAPTR records name and `is_usable` allows, in their order.
pub(super) fn in_order(records: &[Naptr], is_usable: impl Fn(Transport) -> bool) -> Vec<Service> {
    let mut usable: Vec<(&Naptr, Transport)> = records
        .iter()
        .take(MAX_RECORDS)
        .filter(|naptr| naptr.flags.eq_ignore_ascii_case("s"))
        .filter_map(|naptr| Some((naptr, transport(&naptr.services)?)))
        .filter(|(_, transport)| is_usable(*transport))
        .collect();
    usable.sort_by_key(|(naptr, _)| (naptr.order, naptr.preference));
    usable.into_iter().map(|(naptr, transport)| Service { name: canonical(&naptr.replacement), transport }).collect()
}

/// A domain name as questions have it: lower case, no trailing dot.
pub(super) fn canonical(name: &str) -> Box<str> {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase().into()
}

fn transport(services: &str) -> Option<Transport> {
    NAPTR_SERVICES.iter().find(|(name, _)| name.eq_ignore_ascii_case(services)).map(|(_, transport)| *transport)
}

const NAPTR_SERVICES: [(&str, Transport); 6] = [
    ("SIP+D2U", Transport::Udp),
    ("SIP+D2T", Transport::Tcp),
    ("SIPS+D2T", Transport::Tls),
    ("SIP+D2W", Transport::Ws),
    ("SIPS+D2W", Transport::Wss),
    ("SIP+D2S", Transport::Sctp),
];

/// More than any sane domain has.
const MAX_RECORDS: usize = 32;
