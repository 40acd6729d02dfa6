//! The simulated network and the server in it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ::script::BoundProgram;
use bytes::Bytes;
use engine::{
    Alias, Core, Identity, Key, Log, Names, Outgoing, Overload, Record, Settings, Shared, Statistics, Tracing,
};
use module_api::{Arrival, Job, Level, Server, Socket, SocketId};
use sip_message::{Message, Transport};
use tokio::runtime::Handle;

use crate::names::StaticNames;
use crate::script::compile_for;
use crate::work::{Letterbox, Workshop};

/// What the network does to datagrams. Everything follows from the seed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// How many of a thousand datagrams are lost.
    pub loss_per_mille: u32,
    /// How many of a thousand arrive twice.
    pub twice_per_mille: u32,
    /// The longest delay; each datagram draws its own, so that they overtake each other.
    pub delay: Duration,
    /// Where the dice start.
    pub seed: u64,
}

/// A message that arrived at a peer.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// When, since the beginning.
    pub at: Duration,
    /// Its number among all messages that were on the way.
    pub number: u64,
    /// The socket of the server that it came from.
    pub from: SocketAddr,
    /// What it came over.
    pub transport: Transport,
    /// The bytes.
    pub bytes: Bytes,
}

impl Arrived {
    /// The message as text, for looking at.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Its first line.
    pub fn start_line(&self) -> String {
        self.text().lines().next().unwrap_or_default().to_owned()
    }
}

/// A server and its peers.
pub struct Network {
    core: Core,
    shared: Arc<Shared>,
    work: Arc<Workshop>,
    letters: Arc<Letterbox>,
    printed: Arc<Print>,
    begin: Instant,
    now: Duration,
    weather: Weather,
    dice: u64,
    sequence: u64,
    begin_unix: Duration,
    flights: BinaryHeap<Reverse<Flight>>,
    inboxes: BTreeMap<SocketAddr, Vec<Arrived>>,
}

/// What a server is made of, where a test brings more than a script.
pub struct Parts {
    /// The script, with its modules.
    pub program: Arc<BoundProgram>,
    /// Settings of the engine.
    pub settings: Settings,
    /// Sockets and names.
    pub identity: Identity,
    /// What is known of names.
    pub names: Arc<dyn Names>,
    /// Takes log lines.
    pub log: Arc<dyn Log>,
    /// What happens to datagrams.
    pub weather: Weather,
    /// The wall clock at the beginning.
    pub begin_unix: Duration,
    /// Where what takes time runs: databases. None: everything is there at once, or never.
    pub runtime: Option<Handle>,
    /// Where modules post jobs for the worker.
    pub letters: Arc<Letterbox>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    lands: Duration,
    sequence: u64,
    from: SocketAddr,
    to: SocketAddr,
    /// Streams are not simulated: what goes over one arrives whole, as a datagram does.
    transport: &'static str,
    bytes: Bytes,
}

/// The address at which the server listens over UDP.
pub const SERVER: &str = "192.0.2.1:5060";
/// The wall clock at the beginning: 2026-01-01 00:00 UTC.
const BEGIN_UNIX: Duration = Duration::from_secs(1_767_225_600);

impl Network {
    /// A server that runs `script`, on [`SERVER`] and its IPv6 twin, for the domain `example.com`.
    ///
    /// # Panics
    /// When the script does not compile; the message shows why.
    pub fn new(script: &str) -> Network {
        Network::with(script, Settings::default(), StaticNames::default(), Weather::default())
    }

    /// A server with settings, names and weather of the test's choice.
    ///
    /// # Panics
    /// As [`Network::new`].
    pub fn with(script: &str, settings: Settings, names: impl Names + 'static, weather: Weather) -> Network {
        let letters = Arc::new(Letterbox::default());
        let server: Arc<dyn Server> = Arc::clone(&letters) as _;
        let (program, _) =
            compile_for(script, &server).unwrap_or_else(|failure| panic!("the test's script:\n{}", failure.0));
        let printed = Arc::new(Print::default());
        let mut network = Network::assemble(Parts {
            program,
            settings,
            identity: identity(),
            names: Arc::new(names),
            log: Arc::clone(&printed) as _,
            weather,
            begin_unix: BEGIN_UNIX,
            runtime: None,
            letters,
        });
        network.printed = printed;
        network
    }

    /// A server of these parts.
    pub fn assemble(parts: Parts) -> Network {
        let work = Arc::new(Workshop::new(parts.runtime));
        let shared = Arc::new(Shared {
            resolve: parts.identity.resolve_settings(),
            settings: parts.settings,
            identity: parts.identity,
            statistics: Statistics::default(),
            program: arc_swap::ArcSwap::new(parts.program),
            names: parts.names,
            spawn: Arc::clone(&work) as _,
            log: parts.log,
            events: module_api::PublicEvents::default(),
            tracing: Tracing::default(),
            key: Key(parts.weather.seed, 1),
            overload: Overload::new(Instant::now()),
            turns: Box::default(),
            workers: AtomicUsize::new(1),
            busy_workers: AtomicUsize::new(1),
            is_draining: AtomicBool::new(false),
            commands: std::sync::OnceLock::new(),
        });
        let begin = Instant::now();
        // As the server does when its workers run.
        let _ = parts.letters.post(b"", Box::new(engine::tell_of_start));
        Network {
            core: Core::new(0, Arc::clone(&shared), begin),
            letters: parts.letters,
            printed: Arc::default(),
            shared,
            work,
            begin,
            now: Duration::ZERO,
            weather: parts.weather,
            dice: parts.weather.seed ^ 0x9e37_79b9_7f4a_7c15,
            sequence: 0,
            begin_unix: parts.begin_unix,
            flights: BinaryHeap::new(),
            inboxes: BTreeMap::new(),
        }
    }

    /// What the server keeps of the messages it has seen ([`Settings::capture_bytes`]).
    pub fn captured(&self) -> Vec<Record> {
        let mut records = Vec::new();
        self.core.show_capture(|ring| records.extend(ring.records().cloned()));
        records
    }

    /// What the server's workers share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// How much time has passed.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// The server's counters.
    pub fn statistics(&self) -> &Statistics {
        &self.shared.statistics
    }

    /// How many transactions the server holds.
    pub fn transaction_count(&self) -> usize {
        self.core.transaction_count()
    }

    /// How many jobs of modules wait until they are due.
    pub fn deferred_count(&self) -> usize {
        self.core.deferred_count()
    }

    /// Sends `text` from a peer to the server; line ends become CRLF. It arrives when time passes.
    pub fn send(&mut self, from: &str, text: &str) {
        let from: SocketAddr = from.parse().expect("a test gives literal addresses");
        let server = if from.is_ipv4() { SERVER } else { "[2001:db8::1]:5060" };
        let to = server.parse().expect("a literal address");
        let text = text.replace("\r\n", "\n").replace('\n', "\r\n");
        self.fly(from, to, Transport::Udp, Bytes::from(text));
    }

    /// Sends `bytes` from a peer to socket `to` of the server, as they are.
    pub fn send_to(&mut self, from: SocketAddr, to: SocketId, bytes: Bytes) {
        let Some(socket) = self.shared.identity.sockets.get(usize::from(to.0)) else { return };
        let (address, transport) = (socket.address, socket.transport);
        self.fly(from, address, transport, bytes);
    }

    /// Takes what has arrived at all peers so far, in the order in which it left the server.
    pub fn take_arrived(&mut self) -> Vec<(SocketAddr, Arrived)> {
        let inboxes = std::mem::take(&mut self.inboxes).into_iter();
        let mut all: Vec<_> = inboxes.flat_map(|(at, inbox)| inbox.into_iter().map(move |one| (at, one))).collect();
        all.sort_by_key(|(_, arrived)| arrived.number);
        all
    }

    /// Takes the lines that were logged so far.
    pub fn logged(&mut self) -> Vec<String> {
        std::mem::take(&mut *self.printed.0.lock().expect("nobody panics while logging"))
    }

    /// The server as timers and futures of modules see it.
    pub fn server(&self) -> Arc<dyn Server> {
        Arc::clone(&self.letters) as _
    }

    /// Has the worker do something, as a timer or a future of a module would.
    pub fn post(&mut self, job: Job) {
        self.core.begin_turn(self.begin + self.now, self.begin_unix + self.now);
        self.core.do_job(job);
        self.collect();
    }

    /// Tells the server that nobody listens at `peer`.
    pub fn unreachable(&mut self, peer: &str) {
        self.core.on_unreachable(peer.parse().expect("a test gives literal addresses"));
        self.collect();
    }

    /// Lets time pass until nothing more happens at this moment.
    pub fn settle(&mut self) {
        self.advance(Duration::ZERO);
    }

    /// Lets time pass.
    pub fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.do_work();
            let timer = self.core.deadline().map(|deadline| deadline.saturating_duration_since(self.begin));
            let landing = self.flights.peek().map(|Reverse(flight)| flight.lands);
            let next = [timer.map(|timer| timer.max(self.now)), landing].into_iter().flatten().min();
            match next {
                Some(next) if next <= end => self.step(next),
                _ => break,
            }
        }
        self.now = end;
    }

    /// Takes what has arrived at a peer so far.
    pub fn received(&mut self, at: &str) -> Vec<Arrived> {
        let at = at.parse().expect("a test gives literal addresses");
        self.inboxes.remove(&at).unwrap_or_default()
    }

    /// Takes the first lines of what has arrived at a peer so far.
    pub fn start_lines(&mut self, at: &str) -> Vec<String> {
        self.received(at).iter().map(Arrived::start_line).collect()
    }

    /// Takes the one message that has arrived at a peer.
    ///
    /// # Panics
    /// When it is not exactly one.
    pub fn received_one(&mut self, at: &str) -> String {
        let mut arrived = self.received(at);
        assert_eq!(arrived.len(), 1, "at {at}: {:?}", arrived.iter().map(Arrived::start_line).collect::<Vec<_>>());
        arrived.remove(0).text()
    }

    /// Has the server take no new work.
    pub fn drain(&mut self) {
        self.shared.is_draining.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// Whether something waits for a reply of the server.
    pub fn is_busy(&self) -> bool {
        self.core.is_busy()
    }

    fn step(&mut self, moment: Duration) {
        self.now = moment;
        self.core.begin_turn(self.begin + moment, self.begin_unix + moment);
        while self.flights.peek().is_some_and(|Reverse(flight)| flight.lands <= moment) {
            let Some(Reverse(flight)) = self.flights.pop() else { break };
            self.land(flight);
        }
        self.core.on_timers();
        self.collect();
    }

    fn do_work(&mut self) {
        self.core.begin_turn(self.begin + self.now, self.begin_unix + self.now);
        loop {
            let jobs = self.letters.take();
            let finished = self.work.poll();
            if finished.is_empty() && jobs.is_empty() {
                break;
            }
            for job in jobs {
                self.core.do_job(job);
            }
            for (id, result) in finished {
                self.core.on_finished(id, result);
            }
        }
        self.collect();
    }

    // A function of its own also when optimised: instruction counts are taken in here.
    #[inline(never)]
    fn land(&mut self, flight: Flight) {
        let transport = Transport::from_token(flight.transport.as_bytes()).unwrap_or(Transport::Udp);
        let sockets = &self.shared.identity.sockets;
        let is_there = |socket: &Socket| socket.address == flight.to && socket.transport == transport;
        let Some(socket) = sockets.iter().position(is_there) else {
            let (at, number) = (self.now, flight.sequence);
            let arrived = Arrived { at, number, from: flight.from, transport, bytes: flight.bytes };
            return self.inboxes.entry(flight.to).or_default().push(arrived);
        };
        let arrival = Arrival {
            source: flight.from,
            local: flight.to,
            transport,
            socket: SocketId(socket as u16),
            connection: None,
        };
        match Message::parse(flight.bytes, &self.shared.settings.limits) {
            Ok(message) => self.core.on_message(Arc::new(message), arrival),
            Err(_) => self.shared.statistics.malformed.increment(),
        }
    }

    fn collect(&mut self) {
        let outgoing: Vec<Outgoing> = self.core.take_outbox().collect();
        for outgoing in outgoing {
            let from = self.shared.identity.sockets[usize::from(outgoing.way.socket.0)].address;
            self.fly(from, outgoing.way.peer, outgoing.way.transport, outgoing.bytes);
        }
    }

    fn fly(&mut self, from: SocketAddr, to: SocketAddr, transport: Transport, bytes: Bytes) {
        let copies = match self.roll(1000) {
            // A stream loses nothing.
            _ if transport.is_reliable() => 1,
            roll if roll < self.weather.loss_per_mille => 0,
            roll if roll < self.weather.loss_per_mille + self.weather.twice_per_mille => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let delay = self.weather.delay.as_micros() as u32;
            let delay = if delay == 0 { 0 } else { self.roll(delay) };
            self.sequence += 1;
            let lands = self.now + Duration::from_micros(delay.into());
            let (sequence, bytes) = (self.sequence, bytes.clone());
            let transport = transport.uri_param();
            self.flights.push(Reverse(Flight { lands, sequence, from, to, transport, bytes }));
        }
    }

    /// A number below `bound`: splitmix64, which is all that dice need.
    fn roll(&mut self, bound: u32) -> u32 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.dice;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % u64::from(bound.max(1))) as u32
    }
}

fn identity() -> Identity {
    let socket = |transport, address: &str| Socket {
        transport,
        address: address.parse().expect("a literal address"),
        advertised: None,
        name: None,
    };
    Identity {
        sockets: vec![socket(Transport::Udp, SERVER), socket(Transport::Udp, "[2001:db8::1]:5060")],
        aliases: vec![Alias { host: "example.com".into(), port: None, transport: None }],
    }
}

/// Shows what is logged, and keeps it.
#[derive(Default)]
struct Print(Mutex<Vec<String>>);

impl Log for Print {
    fn write(&self, level: Level, text: &[u8]) {
        let text = String::from_utf8_lossy(text).trim_end().to_owned();
        println!("{level:?} {text}");
        self.0.lock().expect("nobody panics while logging").push(text);
    }
}
