//! A server: where it is, and the links to it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpStream, UdpSocket};

use crate::breaker::Breaker;
use crate::client::Service;
use crate::error::ConfigError;
use crate::figures::Counts;
use crate::link::{Link, Rules, Slot};
use crate::tls::Tls;

/// What client and server both know, and nobody is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// A secret.
    #[must_use]
    pub fn new(octets: &[u8]) -> Secret {
        Secret(octets.into())
    }

    /// Whether it is none at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Files in PEM for TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities that the server's certificate must be from.
    pub roots: Option<PathBuf>,
    /// The own certificate and its chain, for servers that ask for one (RFC 6614 section 2.3).
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// How packets travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// TLS over TCP (RFC 6614).
    Tls(TlsFiles),
}

impl Transport {
    pub(crate) fn default_port(&self, service: Service) -> u16 {
        match (self, service) {
            (Transport::Udp, Service::Access) => 1812,
            (Transport::Udp, Service::Accounting) => 1813,
            (Transport::Tls(_), _) => 2083,
        }
    }
}

/// Where a server is and how it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What both know.
    pub secret: Secret,
    /// How packets travel.
    pub transport: Transport,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.transport == Transport::Udp { "" } else { "tls:" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}{}:{}", self.host, self.port),
        }
    }
}

/// A server and the links to it.
pub(crate) struct Peer {
    pub(crate) server: Server,
    pub(crate) breaker: Breaker,
    tls: Option<Tls>,
    bind: Option<IpAddr>,
    rules: Rules,
    counts: Arc<Counts>,
    links: Mutex<Vec<Arc<Link>>>,
    /// One opens a link, the others wait for it.
    opening: tokio::sync::Mutex<()>,
}

/// How many links there may be to one server: each carries 256 questions.
pub(crate) const MOST_LINKS: usize = 16;

/// Why a question did not get on its way.
pub(crate) enum Trouble {
    /// All links are full, and there may be no more.
    Full,
    /// The server cannot be reached.
    Unreachable(String),
}

impl Peer {
    pub(crate) fn new(
        server: Server,
        bind: Option<IpAddr>,
        must_be_signed: bool,
        counts: &Arc<Counts>,
    ) -> Result<Peer, ConfigError> {
        let tls = match &server.transport {
            Transport::Udp => None,
            Transport::Tls(files) => Some(Tls::new(files, &server.host)?),
        };
        let rules = Rules { secret: server.secret.clone(), must_be_signed };
        Ok(Peer {
            server,
            breaker: Breaker::default(),
            tls,
            bind,
            rules,
            counts: Arc::clone(counts),
            links: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
        })
    }

    /// Whether a stream carries packets, which then are not sent twice (RFC 6613 section 2.6.1).
    pub(crate) fn is_reliable(&self) -> bool {
        self.tls.is_some()
    }

    /// A free identifier on some link, which is opened where there is none; at most for `patience`.
    pub(crate) async fn slot(&self, patience: Duration) -> Result<Slot, Trouble> {
        if let Some(slot) = self.free_slot() {
            return Ok(slot);
        }
        let open = async {
            let _turn = self.opening.lock().await;
            // Whoever was before may have opened it.
            if let Some(slot) = self.free_slot() {
                return Ok(slot);
            }
            if self.links.lock().unwrap_or_else(PoisonError::into_inner).len() >= MOST_LINKS {
                return Err(Trouble::Full);
            }
            let link = self.open().await.map_err(|error| Trouble::Unreachable(error.to_string()))?;
            let slot = Link::slot(&link).ok_or(Trouble::Full);
            self.links.lock().unwrap_or_else(PoisonError::into_inner).push(link);
            slot
        };
        match tokio::time::timeout(patience, open).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Trouble::Unreachable("no connection in time".into())),
        }
    }

    fn free_slot(&self) -> Option<Slot> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|link| !link.is_closed());
        links.iter().find_map(Link::slot)
    }

    async fn open(&self) -> std::io::Result<Arc<Link>> {
        let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
        for address in tokio::net::lookup_host((self.server.host.as_str(), self.server.port)).await? {
            match self.open_at(address).await {
                Ok(link) => return Ok(link),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn open_at(&self, address: SocketAddr) -> std::io::Result<Arc<Link>> {
        let any: IpAddr = if address.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() };
        let local = SocketAddr::new(self.bind.filter(|bind| bind.is_ipv4() == address.is_ipv4()).unwrap_or(any), 0);
        let (rules, counts) = (self.rules.clone(), Arc::clone(&self.counts));
        match &self.tls {
            None => {
                let socket = UdpSocket::bind(local).await?;
                // Connected: the kernel passes on what comes from the server's address alone.
                socket.connect(address).await?;
                Ok(Link::datagrams(socket, rules, counts))
            }
            Some(tls) => {
                let socket =
                    if address.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() }?;
                socket.bind(local)?;
                let stream: TcpStream = socket.connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(Link::stream(tls.connect(stream).await?, rules, counts))
            }
        }
    }
}
