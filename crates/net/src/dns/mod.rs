//! DNS: an own bounded cache, asked without waiting, in front of hickory-resolver.
//!
//! While the DNS is down, what was known goes on being known (RFC 8767): calls to peers that
//! were reached before do not stop.

mod cache;
mod upstream;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use cache::Cache;
use upstream::{Ask, Hickory};

pub use upstream::SetupError;

/// What is asked about a name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Servers of a service (RFC 2782).
    Srv,
    /// Transports of a domain (RFC 3403 as RFC 3263 section 4.1 uses it).
    Naptr,
    /// Names of an address, which is asked by its name in the reverse tree (RFC 1035 section 3.5).
    Ptr,
}

impl Kind {
    const COUNT: usize = 5;
}

/// What the DNS says, in the order of its answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Records {
    /// Answer to [`Kind::A`] and [`Kind::Aaaa`].
    Addresses(Vec<IpAddr>),
    /// Answer to [`Kind::Srv`].
    Srv(Vec<Srv>),
    /// Answer to [`Kind::Naptr`].
    Naptr(Vec<Naptr>),
    /// Answer to [`Kind::Ptr`], each in lower case and without final dot.
    Names(Vec<Box<str>>),
    /// The DNS knows that there are none.
    NoSuch,
}

/// One server of a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Srv {
    /// Lower goes first.
    pub priority: u16,
    /// Share among those of one priority.
    pub weight: u16,
    /// Port.
    pub port: u16,
    /// Host, in lower case and without final dot; empty where the service is declared absent.
    pub target: Box<str>,
}

/// One transport of a domain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Naptr {
    /// Lower goes first.
    pub order: u16,
    /// Lower goes first among those of one order.
    pub preference: u16,
    /// `s`: the replacement is asked for SRV.
    pub flags: Box<str>,
    /// As `SIP+D2U`.
    pub service: Box<str>,
    /// Rewriting rule; empty for SIP.
    pub regexp: Box<str>,
    /// Next name, in lower case and without final dot.
    pub replacement: Box<str>,
}

/// What the cache says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cached {
    /// An answer, perhaps an old one while the DNS is down.
    Known(Arc<Records>),
    /// Asked a moment ago without an answer, and nothing was known before.
    Failed,
    /// To be asked: [`Resolver::lookup`].
    Unknown,
}

/// The DNS gave no answer, and nothing is known from before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unresolved;

/// How names are resolved.
#[derive(Clone, Debug)]
pub struct DnsSettings {
    /// Servers; when empty, those of the system (`/etc/resolv.conf`).
    pub servers: Vec<SocketAddr>,
    /// Time for one attempt.
    pub timeout: Duration,
    /// Attempts for one question.
    pub attempts: usize,
    /// Names from `/etc/hosts` are known too.
    pub hosts_file: bool,
    /// Answers that are kept.
    pub capacity: usize,
    /// Shortest time that an answer is kept: a TTL of zero is for the question in hand, which
    /// still must find it.
    pub min_ttl: Duration,
    /// Longest time that an answer is kept.
    pub max_ttl: Duration,
    /// Longest time that the absence of records is kept (RFC 2308 section 5).
    pub max_negative_ttl: Duration,
    /// How long after its end an answer may serve while the DNS is down (RFC 8767 section 5).
    pub stale: Duration,
    /// A question that failed is not asked again before.
    pub retry: Duration,
}

impl Default for DnsSettings {
    fn default() -> Self {
        DnsSettings {
            servers: Vec::new(),
            timeout: Duration::from_secs(2),
            attempts: 2,
            hosts_file: true,
            capacity: 16_384,
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(86_400),
            max_negative_ttl: Duration::from_secs(900),
            stale: Duration::from_secs(86_400),
            retry: Duration::from_secs(5),
        }
    }
}

/// Figures for statistics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DnsCounts {
    /// Answers kept.
    pub entries: usize,
    /// Questions sent.
    pub asked: u64,
    /// Questions without an answer.
    pub failed: u64,
    /// Whether the last question found no server that answers.
    pub is_down: bool,
}

/// The cache and what fills it. Clones share both.
#[derive(Clone)]
pub struct Resolver {
    inner: Arc<Inner>,
}

struct Inner {
    runtime: Handle,
    upstream: Box<dyn Ask>,
    cache: Cache,
    /// Questions on their way: who asks the same meanwhile waits for the same answer.
    asking: Mutex<HashMap<(Box<str>, Kind), Asking>>,
    is_down: AtomicBool,
    asked: AtomicU64,
    failed: AtomicU64,
}

type Asking = Arc<OnceCell<Result<Arc<Records>, Unresolved>>>;

impl Resolver {
    /// Nothing is known yet. Questions are asked on `runtime`.
    ///
    /// # Errors
    /// The system's settings cannot be read.
    pub fn new(runtime: Handle, settings: DnsSettings) -> Result<Resolver, SetupError> {
        let upstream = {
            let _inside = runtime.enter();
            Hickory::new(&settings)?
        };
        Ok(Resolver::with_upstream(runtime, settings, Box::new(upstream)))
    }

    fn with_upstream(runtime: Handle, settings: DnsSettings, upstream: Box<dyn Ask>) -> Resolver {
        Resolver {
            inner: Arc::new(Inner {
                runtime,
                upstream,
                cache: Cache::new(settings),
                asking: Mutex::default(),
                is_down: AtomicBool::new(false),
                asked: AtomicU64::new(0),
                failed: AtomicU64::new(0),
            }),
        }
    }

    /// What is known now of `name`, given in lower case without final dot. Never waits.
    ///
    /// An answer that is about to end, or that serves on while the DNS is down, is asked again
    /// in the background.
    #[must_use]
    pub fn get(&self, name: &str, kind: Kind) -> Cached {
        let is_down = self.inner.is_down.load(Ordering::Relaxed);
        let (cached, wants_refresh) = self.inner.cache.get(name, kind, Instant::now(), is_down);
        if wants_refresh {
            let (resolver, name) = (self.clone(), Box::<str>::from(name));
            self.inner.runtime.spawn(async move {
                let _ = resolver.ask(&name, kind, None).await;
            });
        }
        cached
    }

    /// What the cache knows, else what the DNS says.
    ///
    /// # Errors
    /// [`Unresolved`] when the DNS does not answer and the cache holds nothing, however old.
    pub async fn lookup(&self, name: &str, kind: Kind) -> Result<Arc<Records>, Unresolved> {
        self.lookup_kept(name, kind, None).await
    }

    /// As [`Resolver::lookup`]; an answer that comes is kept for `ttl`, where given, in place of its own time.
    ///
    /// # Errors
    /// As [`Resolver::lookup`].
    pub async fn lookup_kept(&self, name: &str, kind: Kind, ttl: Option<Duration>) -> Result<Arc<Records>, Unresolved> {
        match self.get(name, kind) {
            Cached::Known(records) => Ok(records),
            Cached::Failed => Err(Unresolved),
            Cached::Unknown => self.ask(name, kind, ttl).await,
        }
    }

    /// Figures for statistics.
    #[must_use]
    pub fn counts(&self) -> DnsCounts {
        DnsCounts {
            entries: self.inner.cache.len(),
            asked: self.inner.asked.load(Ordering::Relaxed),
            failed: self.inner.failed.load(Ordering::Relaxed),
            is_down: self.inner.is_down.load(Ordering::Relaxed),
        }
    }

    /// Forgets everything.
    pub fn flush(&self) {
        self.inner.cache.clear();
    }

    /// Asks the DNS, once for all who ask the same at the same time.
    async fn ask(&self, name: &str, kind: Kind, ttl: Option<Duration>) -> Result<Arc<Records>, Unresolved> {
        let key = (Box::<str>::from(name), kind);
        let shared = {
            let mut asking = self.asking();
            if asking.len() >= MAX_ASKING && !asking.contains_key(&key) {
                return Err(Unresolved);
            }
            Arc::clone(asking.entry(key.clone()).or_default())
        };
        // Whoever gives up waiting leaves the question to the next in line.
        let place = Place { resolver: self, key, shared };
        place.shared.get_or_init(|| self.ask_upstream(name, kind, ttl)).await.clone()
    }

    async fn ask_upstream(&self, name: &str, kind: Kind, ttl: Option<Duration>) -> Result<Arc<Records>, Unresolved> {
        let inner = &*self.inner;
        inner.asked.fetch_add(1, Ordering::Relaxed);
        let answer = inner.upstream.ask(name, kind).await;
        let now = Instant::now();
        match answer {
            Ok(mut answer) => {
                answer.ttl = ttl.unwrap_or(answer.ttl);
                inner.is_down.store(false, Ordering::Relaxed);
                Ok(inner.cache.store(name, kind, answer, now))
            }
            Err(failure) => {
                inner.failed.fetch_add(1, Ordering::Relaxed);
                if failure == upstream::Failure::NoServer {
                    inner.is_down.store(true, Ordering::Relaxed);
                }
                inner.cache.fail(name, kind, now).ok_or(Unresolved)
            }
        }
    }

    /// Nothing panics while it holds the lock.
    fn asking(&self) -> std::sync::MutexGuard<'_, HashMap<(Box<str>, Kind), Asking>> {
        self.inner.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among those who wait for one answer; the last to go takes the question off the list.
struct Place<'a> {
    resolver: &'a Resolver,
    key: (Box<str>, Kind),
    shared: Asking,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut asking = self.resolver.asking();
        let listed = asking.get(&self.key);
        if listed.is_some_and(|listed| Arc::ptr_eq(listed, &self.shared)) {
            // Answered, or nobody is left but the list and this one.
            if self.shared.initialized() || Arc::strong_count(&self.shared) <= 2 {
                asking.remove(&self.key);
            }
        }
    }
}

/// Questions on their way at most: a flood of names that nobody knows ends here.
const MAX_ASKING: usize = 4096;

#[cfg(test)]
mod tests;
