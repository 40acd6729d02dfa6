//! Where to send a request: RFC 3263 as a plan, with RFC 7984 where both address families are there.
//!
//! Nothing is asked here. [`plan`] looks at what is known and says either where to send, in the
//! order to try, or what must be asked first; the caller asks and calls it again.

mod records;
mod service;

pub use records::{Known, Lookup, Naptr, Question, RecordKind, Records, Srv};

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use sip_message::{Host, Scheme, Transport, Uri};

use service::{Service, canonical, service};

/// A place to send to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// Address and port.
    pub address: SocketAddr,
    /// Over which transport.
    pub transport: Transport,
    /// Over TLS the domain that the certificate must be for (RFC 5922 section 4): the one of the
    /// URI, not the one that the DNS led to. None for an address.
    pub host: Option<Box<str>>,
}

/// What comes of looking at a URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Try these in order; never empty.
    Hops(Vec<Hop>),
    /// Ask these, all at once, and plan again; never empty.
    Ask(Vec<Question>),
    /// There is nowhere to send to.
    None(Why),
}

/// Why there is nowhere to send to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Neither `sip:` nor `sips:`: it names no host (RFC 3261 section 16.5 wants it translated first).
    NotSip,
    /// The URI asks for a transport that is not there, or for `sips:` over one that is not secure.
    NoTransport,
    /// The address is of a family that is not there.
    NoFamily,
    /// The DNS knows no such host.
    NoSuchHost,
    /// The DNS cannot be reached and nothing is cached.
    ResolverDown,
}

/// What this element can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolveSettings {
    /// Transports that are there, most preferred first.
    pub transports: Vec<Transport>,
    /// Whether IPv4 is there.
    pub ipv4: bool,
    /// Whether IPv6 is there.
    pub ipv6: bool,
    /// Of a host that has both, which to try first.
    pub prefers_ipv6: bool,
    /// Taken for `sip:` where neither URI nor DNS names a transport.
    pub default_transport: Transport,
    /// Whether to ask for NAPTR records.
    pub uses_naptr: bool,
    /// Whether to ask for SRV records.
    pub uses_srv: bool,
    /// Most hops to return.
    pub max_hops: usize,
}

impl Default for ResolveSettings {
    fn default() -> ResolveSettings {
        ResolveSettings {
            transports: vec![Transport::Udp, Transport::Tcp, Transport::Tls],
            ipv4: true,
            ipv6: true,
            // RFC 6724 prefers IPv6 where both work.
            prefers_ipv6: true,
            default_transport: Transport::Udp,
            uses_naptr: true,
            uses_srv: true,
            max_hops: 16,
        }
    }
}

/// Plans where to send a request whose next hop is `uri` (RFC 3263 section 4).
///
/// `random(n)` gives a number below `n`; it draws among SRV records by weight.
pub fn plan(uri: &Uri<'_>, settings: &ResolveSettings, known: &dyn Known, random: &mut dyn FnMut(u32) -> u32) -> Plan {
    if !uri.is_sip() {
        return Plan::None(Why::NotSip);
    }
    let is_secure = uri.scheme == Scheme::Sips;
    let transport = match uri.params.value("transport").map(Transport::from_token) {
        None => None,
        Some(None) => return Plan::None(Why::NoTransport),
        Some(Some(transport)) => match secured(transport, is_secure) {
            Some(transport) => Some(transport),
            None => return Plan::None(Why::NoTransport),
        },
    };
    // RFC 3263 section 4: TARGET is the maddr parameter where there is one.
    let host = uri.maddr().unwrap_or(uri.host);
    Search { settings, known, random, is_secure, missing: Vec::new(), has_failed: false }.run(host, uri.port, transport)
}

/// Plans where to send a response whose top Via names `host`, which no open connection and no
/// `received` parameter leads to (RFC 3263 section 5).
pub fn plan_response(
    host: Host<'_>,
    port: Option<u16>,
    transport: Transport,
    settings: &ResolveSettings,
    known: &dyn Known,
    random: &mut dyn FnMut(u32) -> u32,
) -> Plan {
    let is_secure = transport.is_secure();
    Search { settings, known, random, is_secure, missing: Vec::new(), has_failed: false }.run(
        host,
        port,
        Some(transport),
    )
}

struct Search<'a> {
    settings: &'a ResolveSettings,
    known: &'a dyn Known,
    random: &'a mut dyn FnMut(u32) -> u32,
    is_secure: bool,
    missing: Vec<Question>,
    has_failed: bool,
}

/// A host that offers a service.
struct Server {
    name: Box<str>,
    port: u16,
    transport: Transport,
}

impl Search<'_> {
    fn run(mut self, host: Host<'_>, port: Option<u16>, transport: Option<Transport>) -> Plan {
        // Section 4.1: an address or a port leaves no room for NAPTR; the scheme then decides.
        let fixed = transport.unwrap_or_else(|| self.default_transport());
        let name = match host {
            Host::V4(address) => return self.literal(address.into(), port, fixed),
            Host::V6(address) => return self.literal(address.into(), port, fixed),
            Host::Name(name) => canonical(&String::from_utf8_lossy(name)),
        };
        if transport.is_some_and(|transport| !self.is_usable(transport)) {
            return Plan::None(Why::NoTransport);
        }
        let servers = match port {
            Some(port) => vec![Server { name: name.clone(), port, transport: fixed }],
            None => self.servers(&name, transport, fixed),
        };
        if !self.missing.is_empty() {
            return Plan::Ask(self.missing);
        }
        if servers.iter().all(|server| !self.is_usable(server.transport)) && !servers.is_empty() {
            return Plan::None(Why::NoTransport);
        }
        let hops = self.hops(&servers, &name);
        if !self.missing.is_empty() {
            return Plan::Ask(self.missing);
        }
        match hops.is_empty() {
            false => Plan::Hops(hops),
            true if self.has_failed => Plan::None(Why::ResolverDown),
            true => Plan::None(Why::NoSuchHost),
        }
    }

    fn literal(&self, address: IpAddr, port: Option<u16>, transport: Transport) -> Plan {
        // An IPv4 address written as IPv6 is reached over IPv4.
        let address = address.to_canonical();
        if !self.is_usable(transport) {
            return Plan::None(Why::NoTransport);
        }
        if !self.has_family(address) {
            return Plan::None(Why::NoFamily);
        }
        let address = SocketAddr::new(address, port.unwrap_or(transport.default_port()));
        Plan::Hops(vec![Hop { address, transport, host: None }])
    }

    /// Hosts and ports in the order to try (sections 4.1 and 4.2), unless something is missing.
    fn servers(&mut self, name: &str, transport: Option<Transport>, fixed: Transport) -> Vec<Server> {
        let services = match transport {
            Some(transport) => vec![service(transport, name)],
            None => self.services(name),
        };
        if !self.missing.is_empty() {
            return Vec::new();
        }
        let mut servers = Vec::new();
        let mut has_records = false;
        for service in services {
            if !self.settings.uses_srv {
                break;
            }
            let Some(records) = self.lookup(&service.name, RecordKind::Srv) else { continue };
            let Records::Srv(records) = &*records else { continue };
            has_records |= !records.is_empty();
            for srv in records::in_order(records, self.random) {
                let target = canonical(&srv.target);
                // A dot says that the service is decidedly not there (RFC 2782).
                if !target.is_empty() {
                    servers.push(Server { name: target, port: srv.port, transport: service.transport });
                }
            }
        }
        if !has_records {
            // Section 4.2: no SRV records, so the name itself and the default port.
            servers.push(Server { name: name.into(), port: fixed.default_port(), transport: fixed });
        }
        servers
    }

    /// The services to ask SRV records of when the URI names neither transport nor port (section 4.1).
    fn services(&mut self, name: &str) -> Vec<Service> {
        if self.settings.uses_naptr
            && self.settings.uses_srv
            && let Some(records) = self.lookup(name, RecordKind::Naptr)
            && let Records::Naptr(records) = &*records
        {
            let services = service::in_order(records, |transport| self.is_usable(transport));
            if !services.is_empty() {
                return services;
            }
        }
        // Servers are not reached over WebSocket unless a URI or NAPTR record says so.
        let is_plain = |transport: &Transport| !matches!(transport, Transport::Ws | Transport::Wss);
        let transports = self.settings.transports.iter().copied().filter(is_plain);
        transports.filter(|transport| self.is_usable(*transport)).map(|transport| service(transport, name)).collect()
    }

    fn hops(&mut self, servers: &[Server], domain: &str) -> Vec<Hop> {
        let mut hops: Vec<Hop> = Vec::new();
        for server in servers.iter().take(self.settings.max_hops) {
            for address in self.addresses(&server.name) {
                let address = SocketAddr::new(address, server.port);
                let is_known = hops.iter().any(|hop| hop.address == address && hop.transport == server.transport);
                if !is_known && hops.len() < self.settings.max_hops {
                    let host = server.transport.is_secure().then(|| domain.into());
                    hops.push(Hop { address, transport: server.transport, host });
                }
            }
        }
        hops
    }

    /// Addresses of a host, the families taking turns: where one family is broken, the second try
    /// is already of the other (RFC 7984 section 4.2 with RFC 8305 section 4).
    fn addresses(&mut self, name: &str) -> Vec<IpAddr> {
        let (v4, v6) = (self.settings.ipv4, self.settings.ipv6);
        let v4 = if v4 { self.family(name, RecordKind::A) } else { Vec::new() };
        let v6 = if v6 { self.family(name, RecordKind::Aaaa) } else { Vec::new() };
        let (first, second) = if self.settings.prefers_ipv6 { (v6, v4) } else { (v4, v6) };
        let longest = first.len().max(second.len());
        (0..longest).flat_map(|place| [first.get(place), second.get(place)]).flatten().copied().collect()
    }

    fn family(&mut self, name: &str, kind: RecordKind) -> Vec<IpAddr> {
        match self.lookup(name, kind).as_deref() {
            Some(Records::Addresses(addresses)) => {
                let is_kind = |address: &&IpAddr| address.is_ipv4() == (kind == RecordKind::A);
                addresses.iter().filter(is_kind).take(self.settings.max_hops).copied().collect()
            }
            _ => Vec::new(),
        }
    }

    /// None when nothing is known, also for now.
    fn lookup(&mut self, name: &str, kind: RecordKind) -> Option<Arc<Records>> {
        let question = Question { name: name.into(), kind };
        match self.known.lookup(&question) {
            Lookup::Records(records) => return Some(records),
            // A DNS that is down must not hide what is known of the next step.
            Lookup::Failed => self.has_failed = true,
            Lookup::Unknown if self.missing.contains(&question) => {}
            Lookup::Unknown => self.missing.push(question),
        }
        None
    }

    fn default_transport(&self) -> Transport {
        if self.is_secure { Transport::Tls } else { self.settings.default_transport }
    }

    fn is_usable(&self, transport: Transport) -> bool {
        self.settings.transports.contains(&transport) && (!self.is_secure || transport.is_secure())
    }

    fn has_family(&self, address: IpAddr) -> bool {
        if address.is_ipv4() { self.settings.ipv4 } else { self.settings.ipv6 }
    }
}

/// `transport` as a `sips:` URI means it: over TLS (RFC 3261 section 26.2.2). UDP cannot.
fn secured(transport: Transport, is_secure: bool) -> Option<Transport> {
    match transport {
        _ if !is_secure => Some(transport),
        Transport::Tcp | Transport::Tls => Some(Transport::Tls),
        Transport::Ws | Transport::Wss => Some(Transport::Wss),
        Transport::Udp | Transport::Sctp => None,
    }
}

#[cfg(test)]
mod tests;
