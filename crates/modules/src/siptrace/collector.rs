//! The way to collectors: queues that are never waited for, each emptied by a task beside the workers.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use module_api::{Counter, Level, LogLine};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, timeout};

use super::place::Place;

/// Something for a collector.
pub(super) struct Parcel {
    pub(super) to: Arc<Place>,
    pub(super) bytes: Vec<u8>,
}

/// The way to all collectors.
pub(super) struct Post {
    parcels: Sender<Parcel>,
    waiting: Arc<AtomicUsize>,
    sent: Counter,
    dropped: Counter,
}

/// What tasks beside the workers need.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) sent: Counter,
    pub(super) dropped: Counter,
    pub(super) log: LogLine,
    /// Where packets are sent from, where it matters.
    pub(super) from: Option<SocketAddr>,
}

/// Most parcels that wait for all collectors, and for one.
const MOST: usize = 4096;
const MOST_OF_ONE: usize = 1024;
/// Most bytes that wait.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// Most collectors; the script may compute their addresses.
const MOST_COLLECTORS: usize = 32;
/// How long a name, a connection or a write may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How soon to try again what has failed.
const PAUSE: Duration = Duration::from_secs(5);
/// How long a name's address is believed.
const BELIEF: Duration = Duration::from_secs(60);

impl Post {
    /// The way, and the work that carries what is put on it, to be run beside the workers.
    pub(super) fn open(around: Surroundings) -> (Post, impl Future<Output = ()> + Send) {
        let (parcels, come) = channel(MOST);
        let waiting = Arc::new(AtomicUsize::new(0));
        let post =
            Post { parcels, waiting: Arc::clone(&waiting), sent: around.sent.clone(), dropped: around.dropped.clone() };
        (post, distribute(come, waiting, around))
    }

    /// Sends, or drops and counts: it never waits.
    pub(super) fn send(&self, parcel: Parcel) {
        let bytes = parcel.bytes.len();
        if self.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes > MOST_BYTES
            || self.parcels.try_send(parcel).is_err()
        {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.dropped.increment();
        }
    }

    /// Counts something that was not sent.
    pub(super) fn drop_one(&self) {
        self.dropped.increment();
    }

    /// How much has been sent and dropped.
    pub(super) fn figures(&self) -> (u64, u64) {
        (self.sent.value(), self.dropped.value())
    }
}

/// Gives each collector what is for it; one that stalls holds up no other.
async fn distribute(mut parcels: Receiver<Parcel>, waiting: Arc<AtomicUsize>, around: Surroundings) {
    let mut queues: HashMap<Arc<Place>, Sender<Vec<u8>>> = HashMap::new();
    while let Some(Parcel { to, bytes }) = parcels.recv().await {
        let length = bytes.len();
        if !queues.contains_key(&to) && queues.len() < MOST_COLLECTORS {
            let (queue, come) = channel(MOST_OF_ONE);
            let collector = Collector::new(Arc::clone(&to), around.clone());
            tokio::spawn(collector.run(come, Arc::clone(&waiting)));
            queues.insert(Arc::clone(&to), queue);
        }
        if queues.get(&to).is_none_or(|queue| queue.try_send(bytes).is_err()) {
            waiting.fetch_sub(length, Ordering::Relaxed);
            around.dropped.increment();
        }
    }
}

enum Link {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

/// One collector.
struct Collector {
    place: Arc<Place>,
    around: Surroundings,
    link: Option<Link>,
    /// When to look where it is again, or to try again.
    until: Instant,
    /// Set while it fails: from when on a success counts as its end.
    failing_until: Option<Instant>,
}

impl Collector {
    fn new(place: Arc<Place>, around: Surroundings) -> Collector {
        Collector { place, around, link: None, until: Instant::now(), failing_until: None }
    }

    async fn run(mut self, mut queue: Receiver<Vec<u8>>, waiting: Arc<AtomicUsize>) {
        while let Some(bytes) = queue.recv().await {
            let length = bytes.len();
            match self.send(&bytes).await {
                Ok(()) => self.has_sent(),
                Err(why) => self.has_failed(&why),
            }
            waiting.fetch_sub(length, Ordering::Relaxed);
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.see_to_link().await?;
        let done = match &mut self.link {
            Some(Link::Udp(socket)) => socket.send(bytes).await.map(drop),
            Some(Link::Tcp(stream)) => match timeout(PATIENCE, stream.write_all(bytes)).await {
                Ok(done) => done,
                Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
            },
            None => return Err("is not tried again yet".into()),
        };
        // What a connection has taken in part cannot be mended: the next one begins with a whole packet.
        if done.is_err() && self.place.is_tcp {
            self.link = None;
            self.until = Instant::now() + PAUSE;
        }
        done.map_err(|why| format!("does not take messages: {why}"))
    }

    /// Connects where it is time to: a connection is kept, an address is asked for again now and then.
    async fn see_to_link(&mut self) -> Result<(), String> {
        if Instant::now() < self.until || matches!(self.link, Some(Link::Tcp(_))) {
            return Ok(());
        }
        let found = timeout(PATIENCE, self.connect()).await.unwrap_or_else(|_| Err("does not answer in time".into()));
        self.until = Instant::now() + if found.is_ok() { BELIEF } else { PAUSE };
        match found {
            Ok(link) => self.link = Some(link),
            // Where it was may still be right.
            Err(why) if self.link.is_none() => return Err(why),
            Err(_) => {}
        }
        Ok(())
    }

    async fn connect(&self) -> Result<Link, String> {
        let to = self.place.address().await?;
        let any = match to {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let from = self.around.from.filter(|from| from.is_ipv4() == to.is_ipv4()).unwrap_or(any);
        let linked = async {
            if self.place.is_tcp {
                let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
                socket.bind(SocketAddr::new(from.ip(), 0))?;
                return Ok(Link::Tcp(socket.connect(to).await?));
            }
            let socket = UdpSocket::bind(from).await?;
            socket.connect(to).await?;
            Ok(Link::Udp(socket))
        };
        linked.await.map_err(|why: std::io::Error| format!("cannot be reached: {why}"))
    }

    fn has_sent(&mut self) {
        self.around.sent.increment();
        if self.failing_until.is_some_and(|until| Instant::now() >= until) {
            self.failing_until = None;
            (self.around.log)(Level::Notice, &format!("siptrace: collector {} takes messages again", self.place));
        }
    }

    /// One line for each time that it fails, however long that lasts.
    fn has_failed(&mut self, why: &str) {
        self.around.dropped.increment();
        // Over UDP an error tells of the packet before, and every second one seems to be taken.
        let calm = if self.place.is_tcp { Duration::ZERO } else { BELIEF };
        if self.failing_until.replace(Instant::now() + calm).is_none() {
            let text = format!("siptrace: collector {} {why}; what it does not take is dropped", self.place);
            (self.around.log)(Level::Warning, &text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn a_collector_that_stalls_costs_its_copies_and_nobody_elses_time() {
        const COPIES: u64 = 40_000;
        // Connections to it are made by the kernel; nobody ever reads from them.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let reader = std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
        let place = |port: u16, is_tcp| Arc::new(Place { host: "127.0.0.1".into(), port, is_tcp });
        let stalled = place(listener.local_addr().expect("it is bound").port(), true);
        let other = place(reader.local_addr().expect("it is bound").port(), false);
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let written = Arc::clone(&lines);
        let log: LogLine = Arc::new(move |_, line| written.lock().expect("no test panics here").push(line.to_owned()));
        let around = Surroundings { sent: Counter::default(), dropped: Counter::default(), log, from: None };
        let (post, work) = Post::open(around);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("the system has a thread");
        runtime.spawn(work);
        for _ in 0..COPIES {
            post.send(Parcel { to: Arc::clone(&stalled), bytes: vec![0; 1400] });
        }
        let (sent, dropped) = post.figures();
        assert!(sent < COPIES / 2 && dropped > COPIES / 4, "{sent} {dropped}");
        // Another one gets what is for it, as soon as there is room on the way to all of them.
        let mut buffer = [0; 16];
        let has_come = (0..1000).any(|_| {
            post.send(Parcel { to: Arc::clone(&other), bytes: b"copy".to_vec() });
            reader.set_read_timeout(Some(Duration::from_millis(20))).expect("the time is not zero");
            reader.recv(&mut buffer).is_ok()
        });
        assert!(has_come && &buffer[..4] == b"copy");
        assert!(post.waiting.load(Ordering::Relaxed) <= MOST_BYTES);
    }
}
