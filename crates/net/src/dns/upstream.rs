//! Asking the DNS, through hickory-resolver.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use super::{DnsSettings, Kind, Naptr, Records, Srv};

/// What answers questions that the cache cannot.
pub(super) trait Ask: Send + Sync {
    fn ask<'a>(&'a self, name: &'a str, kind: Kind) -> Pin<Box<dyn Asked + 'a>>;
}

pub(super) trait Asked: Future<Output = Result<Answer, Failure>> + Send {}

impl<T: Future<Output = Result<Answer, Failure>> + Send> Asked for T {}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    pub(super) records: Records,
    pub(super) ttl: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Failure {
    /// A server answered that it cannot say.
    OfName,
    /// No server answered.
    NoServer,
}

/// The system's settings for the DNS cannot be used.
#[derive(Debug)]
pub struct SetupError(NetError);

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "settings of the DNS: {}", self.0)
    }
}

impl std::error::Error for SetupError {}

pub(super) struct Hickory {
    resolver: TokioResolver,
}

impl Hickory {
    pub(super) fn new(settings: &DnsSettings) -> Result<Hickory, SetupError> {
        let mut builder = if settings.servers.is_empty() {
            TokioResolver::builder_tokio().map_err(SetupError)?
        } else {
            let provider = TokioRuntimeProvider::default();
            TokioResolver::builder_with_config(named_servers(settings), provider)
        };
        adjust(builder.options_mut(), settings);
        let resolver = builder.build().map_err(SetupError)?;
        Ok(Hickory { resolver })
    }

    async fn resolve(&self, name: &str, kind: Kind) -> Result<Answer, Failure> {
        let Ok(mut name) = Name::from_ascii(name) else {
            // What cannot be written as a name cannot be in the DNS.
            return Ok(absent(None));
        };
        // Search lists are for people at a terminal, not for names in messages.
        name.set_fqdn(true);
        match self.resolver.lookup(name, record_type(kind)).await {
            Ok(found) => Ok(answer(&found, kind)),
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => match none.response_code {
                ResponseCode::NoError | ResponseCode::NXDomain => Ok(absent(none.negative_ttl)),
                _ => Err(Failure::OfName),
            },
            Err(NetError::Dns(_) | NetError::Proto(_)) => Err(Failure::OfName),
            Err(_) => Err(Failure::NoServer),
        }
    }
}

impl Ask for Hickory {
    fn ask<'a>(&'a self, name: &'a str, kind: Kind) -> Pin<Box<dyn Asked + 'a>> {
        Box::pin(self.resolve(name, kind))
    }
}

fn named_servers(settings: &DnsSettings) -> ResolverConfig {
    let servers = settings.servers.iter().map(|address| {
        let mut udp = ConnectionConfig::udp();
        let mut tcp = ConnectionConfig::tcp();
        (udp.port, tcp.port) = (address.port(), address.port());
        NameServerConfig::new(address.ip(), true, vec![udp, tcp])
    });
    ResolverConfig::from_name_servers(servers.collect())
}

fn adjust(options: &mut ResolverOpts, settings: &DnsSettings) {
    options.timeout = settings.timeout;
    options.attempts = settings.attempts;
    // The cache in front keeps more, and longer.
    options.cache_size = 0;
    options.use_hosts_file = if settings.hosts_file { ResolveHosts::Always } else { ResolveHosts::Never };
}

fn record_type(kind: Kind) -> RecordType {
    match kind {
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
        Kind::Srv => RecordType::SRV,
        Kind::Naptr => RecordType::NAPTR,
        Kind::Ptr => RecordType::PTR,
    }
}

/// An answer also lists the CNAMEs on the way: they count for the TTL only.
fn answer(found: &Lookup, kind: Kind) -> Answer {
    let data = || found.answers().iter().map(|record| &record.data);
    let records = match kind {
        Kind::A | Kind::Aaaa => Records::Addresses(data().filter_map(address).collect()),
        Kind::Srv => Records::Srv(data().filter_map(srv).collect()),
        Kind::Naptr => Records::Naptr(data().filter_map(naptr).collect()),
        Kind::Ptr => Records::Names(data().filter_map(pointed).collect()),
    };
    let is_empty = match &records {
        Records::Addresses(list) => list.is_empty(),
        Records::Srv(list) => list.is_empty(),
        Records::Naptr(list) => list.is_empty(),
        Records::Names(list) => list.is_empty(),
        Records::NoSuch => true,
    };
    if is_empty {
        return absent(None);
    }
    let ttl = found.answers().iter().map(|record| record.ttl).min();
    Answer { records, ttl: Duration::from_secs(ttl.unwrap_or_default().into()) }
}

fn absent(ttl: Option<u32>) -> Answer {
    Answer { records: Records::NoSuch, ttl: ttl.map_or(NEGATIVE_TTL, |secs| Duration::from_secs(secs.into())) }
}

fn address(data: &RData) -> Option<std::net::IpAddr> {
    match data {
        RData::A(v4) => Some(v4.0.into()),
        RData::AAAA(v6) => Some(v6.0.into()),
        _ => None,
    }
}

fn srv(data: &RData) -> Option<Srv> {
    let RData::SRV(srv) = data else {
        return None;
    };
    Some(Srv { priority: srv.priority, weight: srv.weight, port: srv.port, target: plain(&srv.target) })
}

fn pointed(data: &RData) -> Option<Box<str>> {
    match data {
        RData::PTR(name) => Some(plain(&name.0)),
        _ => None,
    }
}

fn naptr(data: &RData) -> Option<Naptr> {
    let RData::NAPTR(naptr) = data else {
        return None;
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned().into_boxed_str();
    Some(Naptr {
        order: naptr.order,
        preference: naptr.preference,
        flags: text(&naptr.flags),
        service: text(&naptr.services),
        regexp: text(&naptr.regexp),
        replacement: plain(&naptr.replacement),
    })
}

/// Lower case without the final dot; the root is empty.
fn plain(name: &Name) -> Box<str> {
    let text = name.to_ascii().to_ascii_lowercase();
    text.trim_end_matches('.').into()
}

/// Kept when the server says nothing of how long (RFC 2308 section 5 wants a SOA).
const NEGATIVE_TTL: Duration = Duration::from_secs(60);
