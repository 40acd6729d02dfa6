//! Asking: one server after the other, each several times.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::attribute::Attributes;
use crate::error::{ConfigError, Error};
use crate::figures::{Counts, Figures, count};
use crate::packet::{Authenticator, Code, Packet};
use crate::peer::{Peer, Server, Trouble};

/// Told what an operator should hear, a line at a time.
pub type Report = Arc<dyn Fn(&str) + Send + Sync>;

/// What servers are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Whether somebody may.
    Access,
    /// To take down what has happened.
    Accounting,
}

/// Servers, and how long each is waited for.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What they are asked for.
    pub service: Service,
    /// The servers, the preferred one first.
    pub servers: Vec<Server>,
    /// How long an answer is waited for before the question is sent once more, or another server asked.
    pub timeout: Duration,
    /// How often a question is sent to one server.
    pub tries: u32,
    /// How long a server that did not answer is left alone; zero: it is asked again at once.
    pub dead_time: Duration,
    /// The own address; none: what the system chooses.
    pub bind: Option<IpAddr>,
    /// Whether answers to questions of access must have a Message-Authenticator (CVE-2024-3596).
    pub must_be_signed: bool,
}

impl Settings {
    /// Usual bounds: a second for each of two tries, ten of rest.
    #[must_use]
    pub fn new(service: Service, servers: Vec<Server>) -> Settings {
        Settings {
            service,
            servers,
            timeout: Duration::from_secs(1),
            tries: 2,
            dead_time: Duration::from_secs(10),
            bind: None,
            must_be_signed: true,
        }
    }

    /// Whether the bounds are any.
    ///
    /// # Errors
    /// Says which is not.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.timeout.is_zero() || self.timeout > Duration::from_secs(60) {
            return Err(ConfigError::Setting("an answer is waited for from 1 ms to 60 s".into()));
        }
        if !(1..=10).contains(&self.tries) {
            return Err(ConfigError::Setting("a question is sent from 1 to 10 times".into()));
        }
        Ok(())
    }
}

/// A client of several servers. Clones are the same client.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    settings: Settings,
    peers: Vec<Peer>,
    counts: Arc<Counts>,
    report: Report,
}

impl Client {
    /// A client. Sockets are opened when something is asked.
    ///
    /// # Errors
    /// When there is no server, a bound is none, or a file for TLS does not do.
    pub fn new(settings: Settings, report: Report) -> Result<Client, ConfigError> {
        settings.check()?;
        if settings.servers.is_empty() {
            return Err(ConfigError::Setting("there is no RADIUS server".into()));
        }
        let counts = Arc::new(Counts::default());
        let peer = |server: &Server| Peer::new(server.clone(), settings.bind, settings.must_be_signed, &counts);
        let peers = settings.servers.iter().map(peer).collect::<Result<_, _>>()?;
        Ok(Client(Arc::new(Inner { settings, peers, counts, report })))
    }

    /// What was counted.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.0.counts.read()
    }

    /// Asks, and waits for the answer of the first server that gives one.
    ///
    /// # Errors
    /// When none does, or none may be asked now.
    pub async fn ask(&self, attributes: Attributes) -> Result<Packet, Error> {
        let inner = &*self.0;
        count(&inner.counts.requests);
        let outcome = inner.ask(attributes).await;
        if outcome.is_err() {
            count(&inner.counts.unanswered);
        }
        outcome
    }
}

impl Inner {
    async fn ask(&self, attributes: Attributes) -> Result<Packet, Error> {
        let (mut silent, mut is_full) = (Vec::new(), false);
        for peer in &self.peers {
            let since = Instant::now();
            if !peer.breaker.admits(since, self.settings.dead_time) {
                continue;
            }
            let mut asked = self.ask_peer(peer, &attributes).await?;
            // A connection that ended under a question says nothing about the server: it may just have been idle for too
            // long (RFC 6613 section 2.6.1).
            if peer.is_reliable() && matches!(asked, Asked::Closed) {
                asked = self.ask_peer(peer, &attributes).await?;
            }
            match asked {
                Asked::Answered(packet) => {
                    count(&self.counts.answers);
                    if peer.breaker.on_answer(Instant::now()) {
                        (self.report)(&format!("RADIUS server {} answers again", peer.server));
                    }
                    return Ok(packet);
                }
                Asked::Full => is_full = true,
                Asked::Closed => silent.push(self.on_silence(peer, since, "the connection was refused or closed")),
                Asked::Silent(cause) => silent.push(self.on_silence(peer, since, &cause)),
            }
        }
        Err(match (is_full, silent.is_empty()) {
            (_, false) => Error::Silent(silent.join(", ")),
            (true, true) => Error::Busy,
            (false, true) => Error::Resting,
        })
    }

    /// Takes down that a server did not answer what was asked at `since`; returns that for whoever asked.
    fn on_silence(&self, peer: &Peer, since: Instant, cause: &str) -> String {
        count(&self.counts.silences);
        let cause = format!("{}: {cause}", peer.server);
        if peer.breaker.on_silence(since, Instant::now(), self.settings.dead_time) {
            let rest = self.settings.dead_time.as_secs();
            (self.report)(&format!("RADIUS server {cause}; it is left alone for {rest} s"));
        }
        cause
    }

    async fn ask_peer(&self, peer: &Peer, attributes: &Attributes) -> Result<Asked, Error> {
        let patience = self.settings.timeout * self.settings.tries;
        let slot = match peer.slot(patience).await {
            Ok(slot) => slot,
            Err(Trouble::Full) => return Ok(Asked::Full),
            Err(Trouble::Unreachable(cause)) => return Ok(Asked::Silent(cause)),
        };
        let code = match self.settings.service {
            Service::Access => Code::AccessRequest,
            Service::Accounting => Code::AccountingRequest,
        };
        // Unpredictable for each server and question (RFC 2865 section 3); accounting's is made of the packet.
        let mut authenticator = Authenticator::default();
        getrandom::fill(&mut authenticator).map_err(|error| Error::TooLong(format!("no random numbers: {error}")))?;
        let packet = Packet { code, identifier: slot.identifier, authenticator, attributes: attributes.clone() };
        let written = packet.to_request(peer.server.secret.octets());
        let (octets, authenticator) = written.ok_or_else(|| Error::TooLong("more than 4096 octets".into()))?;
        let mut answer = slot.expect(code, authenticator);
        // A stream loses nothing, and what it carries is not sent twice (RFC 6613 section 2.6.1).
        let (tries, wait) = match peer.is_reliable() {
            true => (1, patience),
            false => (self.settings.tries, self.settings.timeout),
        };
        for n in 0..tries {
            if n > 0 {
                count(&self.counts.retransmissions);
            }
            if slot.send(&octets).await.is_err() {
                slot.close_link();
                return Ok(Asked::Closed);
            }
            match tokio::time::timeout(wait, &mut answer).await {
                Ok(Ok(packet)) => return Ok(Asked::Answered(packet)),
                Ok(Err(_)) => return Ok(Asked::Closed),
                Err(_) => {}
            }
        }
        if peer.is_reliable() {
            slot.close_link();
        }
        Ok(Asked::Silent("no answer in time".into()))
    }
}

enum Asked {
    Answered(Packet),
    /// As many questions are on the way to it as there may be.
    Full,
    /// The link went away under the question.
    Closed,
    Silent(String),
}
