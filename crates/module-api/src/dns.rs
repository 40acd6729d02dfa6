//! The DNS as functions of the script ask it.

use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

/// What is asked about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsKind {
    /// Addresses of both families.
    Addresses,
    /// Servers of a service (RFC 2782).
    Services,
    /// Rules of rewriting (RFC 3403).
    Pointers,
    /// Names of an address, asked by its name in the reverse tree (RFC 1035 section 3.5, RFC 3596 section 2.5).
    Names,
}

/// What the DNS says, in the order of its answer; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsRecords {
    /// Answer to [`DnsKind::Addresses`].
    Addresses(Vec<IpAddr>),
    /// Answer to [`DnsKind::Services`].
    Services(Vec<DnsService>),
    /// Answer to [`DnsKind::Pointers`].
    Pointers(Vec<DnsPointer>),
    /// Answer to [`DnsKind::Names`].
    Names(Vec<String>),
}

/// One server of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsService {
    /// Lower goes first.
    pub priority: u16,
    /// Share among those of one priority.
    pub weight: u16,
    /// Port.
    pub port: u16,
    /// Host.
    pub target: String,
}

/// One rule of rewriting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsPointer {
    /// Lower goes first.
    pub order: u16,
    /// Lower goes first among those of one order.
    pub preference: u16,
    /// Flags.
    pub flags: String,
    /// Services.
    pub services: String,
    /// Rewriting rule.
    pub regexp: String,
    /// Next name.
    pub replacement: String,
}

/// An answer on its way.
pub type DnsAnswer = Pin<Box<dyn Future<Output = Option<DnsRecords>> + Send>>;

/// The server's resolver with its cache.
pub trait Dns: Send + Sync {
    /// What the DNS says of a name; nothing when there are no such records, or no answer.
    ///
    /// `kept` is how long the answer shall be kept, in place of what it says of itself.
    fn ask(&self, name: String, kind: DnsKind, kept: Option<Duration>) -> DnsAnswer;
}
