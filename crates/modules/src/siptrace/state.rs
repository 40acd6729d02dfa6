//! What module siptrace is set to, and sending what it is shown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use module_api::{Counter, Level, Setup, SetupError, Sighting, State, Watcher};

use super::collector::{Parcel, Post, Surroundings};
use super::hep::{self, Agent, Payload};
use super::place::Place;
use super::plain;
use super::stored::Archive;

/// The state of module siptrace.
pub(super) struct SipTrace {
    is_on: AtomicBool,
    /// Where messages go unless the script says something else.
    pub(super) to: Option<Arc<Place>>,
    /// The flag that makes sip_trace() trace the whole transaction.
    pub(super) flag: Option<u32>,
    /// What becomes of every message, without a word of the script.
    all: Aims,
    /// The database, where there is one.
    archive: Option<Archive>,
    /// Whether what the script traces is stored in it.
    stores: bool,
    uses_hep: bool,
    has_extra_headers: bool,
    agent: Agent,
    /// What stands for our own address.
    own: Option<SocketAddr>,
    post: Post,
    requests: Counter,
    replies: Counter,
}

/// Where a message goes.
#[derive(Clone, Default)]
pub(super) struct Aims {
    pub(super) collector: Option<Arc<Place>>,
    pub(super) database: bool,
}

impl Aims {
    /// Whether it goes nowhere.
    pub(super) fn is_empty(&self) -> bool {
        self.collector.is_none() && !self.database
    }
}

/// `trace_mode`: to the collector as HEP, into the database, to the collector as plain SIP.
const MIRROR_HEP: i64 = 1;
const STORE: i64 = 2;
const MIRROR_PLAIN: i64 = 4;

pub(super) fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let mode = setup.int("trace_mode");
    if setup.is_set("hep_version") && setup.int("hep_version") != 3 {
        (setup.log)(Level::Warning, "siptrace: HEP is sent in version 3, whatever hep_version says");
    }
    let place = |name: &'static str, text: &str| match text {
        "" => Ok(None),
        text => Place::parse(text.as_bytes()).map(Some).map_err(|cause| SetupError::Setting { name, cause }),
    };
    let to = place("duplicate_uri", &setup.text("duplicate_uri"))?.map(Arc::new);
    let own = address("trace_local_ip", &setup.text("trace_local_ip"))?;
    let sock = setup.text("force_send_sock") + &setup.text("send_sock_addr");
    let from = match place("force_send_sock", &sock)? {
        Some(place) => address("force_send_sock", &SocketText(&place).to_string())?,
        None => None,
    };
    let around = Surroundings {
        sent: setup.counter("sent_messages"),
        dropped: setup.counter("dropped_messages"),
        log: Arc::clone(setup.log),
        from,
    };
    let dropped = around.dropped.clone();
    let (post, work) = Post::open(around);
    (setup.spawn)(Box::pin(work));
    let stores = setup.int("trace_to_database") != 0;
    let archive = match stores || mode & STORE != 0 {
        true => {
            let (archive, work) = Archive::open(setup, setup.counter("stored_messages"), dropped)?;
            (setup.spawn)(Box::pin(work));
            Some(archive)
        }
        false => None,
    };
    let all =
        Aims { collector: to.clone().filter(|_| mode & (MIRROR_HEP | MIRROR_PLAIN) != 0), database: mode & STORE != 0 };
    let uses_hep = setup.int("hep_mode_on") != 0 || (mode & MIRROR_HEP != 0 && mode & MIRROR_PLAIN == 0);
    Ok(Arc::new(SipTrace {
        is_on: AtomicBool::new(setup.int("trace_on") != 0),
        to,
        flag: u32::try_from(setup.int("trace_flag")).ok().filter(|_| setup.is_set("trace_flag")),
        all,
        archive,
        stores,
        uses_hep,
        has_extra_headers: setup.int("xheaders_write") != 0,
        agent: Agent {
            capture_id: u32::try_from(setup.int("hep_capture_id")).unwrap_or(1),
            auth_key: setup.text("auth_key"),
        },
        own,
        post,
        requests: setup.counter("traced_requests"),
        replies: setup.counter("traced_replies"),
    }))
}

struct SocketText<'a>(&'a Place);

impl std::fmt::Display for SocketText<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.host.contains(':') {
            true => write!(f, "[{}]:{}", self.0.host, self.0.port),
            false => write!(f, "{}:{}", self.0.host, self.0.port),
        }
    }
}

fn address(name: &'static str, text: &str) -> Result<Option<SocketAddr>, SetupError> {
    let text = text.trim_start_matches("udp:").trim_start_matches("tcp:");
    if text.is_empty() {
        return Ok(None);
    }
    let bare = || text.parse().map(|ip| SocketAddr::new(ip, 5060));
    let cause = |_| format!("`{text}` is no address; write ADDRESS:PORT");
    text.parse().or_else(|_| bare()).map(Some).map_err(|why| SetupError::Setting { name, cause: cause(why) })
}

impl SipTrace {
    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    pub(super) fn switch(&self, on: bool) {
        self.is_on.store(on, Ordering::Relaxed);
    }

    /// How many messages have been sent to collectors, and how many were dropped.
    pub(super) fn figures(&self) -> (u64, u64) {
        self.post.figures()
    }

    /// Where a message goes that the script traces, with a collector of its choice.
    pub(super) fn aims(&self, collector: Option<Arc<Place>>) -> Aims {
        Aims { collector, database: self.stores }
    }

    /// Sends a copy of a message, and stores it.
    pub(super) fn mirror(&self, seen: &Sighting, to: &Aims, correlation: Option<&[u8]>) {
        let is_reply = seen.bytes.starts_with(b"SIP/2.0 ");
        if is_reply {
            self.replies.increment()
        } else {
            self.requests.increment()
        }
        let own = self.own.filter(|_| seen.is_sent).unwrap_or(seen.source);
        let seen = Sighting { source: own, ..seen.clone() };
        if let Some(archive) = self.archive.as_ref().filter(|_| to.database) {
            archive.store(seen.clone());
        }
        let Some(to) = &to.collector else { return };
        let packet = match self.uses_hep {
            true => hep::packet(&seen, Payload::Sip, correlation, &self.agent),
            false => Some(plain::packet(&seen, self.has_extra_headers)),
        };
        self.send(packet, to);
    }

    /// Sends a line of text about a message; it is HEP whatever else is set.
    pub(super) fn log(&self, about: &Sighting, to: &Arc<Place>, correlation: &[u8]) {
        self.send(hep::packet(about, Payload::Log, Some(correlation), &self.agent), to);
    }

    fn send(&self, packet: Option<Vec<u8>>, to: &Arc<Place>) {
        match packet {
            Some(bytes) => self.post.send(Parcel { to: Arc::clone(to), bytes }),
            None => self.post.drop_one(),
        }
    }
}

/// Who sees every message, where the settings want that.
pub(super) fn watcher(state: &Arc<dyn State>) -> Option<Arc<dyn Watcher>> {
    let state: Arc<dyn std::any::Any + Send + Sync> = Arc::clone(state) as _;
    let trace: Arc<SipTrace> = state.downcast().ok()?;
    let to = Some(trace.all.clone()).filter(|to| !to.is_empty())?;
    Some(Arc::new(Eye { trace, to, correlation: None }))
}

/// Sends and stores what it sees.
pub(super) struct Eye {
    pub(super) trace: Arc<SipTrace>,
    pub(super) to: Aims,
    pub(super) correlation: Option<Bytes>,
}

impl Watcher for Eye {
    fn on(&self, sighting: &Sighting) {
        if self.trace.is_on() {
            self.trace.mirror(sighting, &self.to, self.correlation.as_deref());
        }
    }
}
