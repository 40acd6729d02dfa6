//! The server outside of any call: what timers and futures of a module work with.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use sip_message::{Limits, Message, Transport};

use crate::{Arrival, Context, Dns, Host, PublicEvents, RouteKind, SocketId, Web};

/// Work for a worker, done in one of its turns. It must not block.
pub type Job = Box<dyn FnOnce(&mut dyn Host) + Send>;

/// Work that a worker repeats until it answers false.
pub type Tick = Arc<dyn Fn(&mut dyn Host) -> bool + Send + Sync>;

/// What is done with the answer to a request of our own. Runs on the worker that sent the request.
pub type OnAnswer = Box<dyn FnOnce(&mut dyn Host, OwnAnswer) + Send>;

/// The workers, as everybody beside them reaches them: from a timer, from a future, at the start of a module.
pub trait Server: Send + Sync {
    /// Has a worker do `job` in its next turn: the one that owns the call with this Call-ID, so that whatever
    /// concerns one call is done by one worker, in order. Where there is no call any text does.
    ///
    /// What is posted before the workers run is done as soon as they do.
    ///
    /// # Errors
    /// Gives the job back when the worker's mailbox is full.
    fn post(&self, call_id: &[u8], job: Job) -> Result<(), Job>;

    /// The way of news to the outside world. One that leads nowhere, where nobody can listen.
    fn events(&self) -> PublicEvents {
        PublicEvents::default()
    }

    /// The DNS; nothing where names are not looked up, and before the server serves.
    fn dns(&self) -> Option<Arc<dyn Dns>> {
        None
    }

    /// The web; nothing where nobody is asked, and before the server serves.
    fn web(&self) -> Option<Arc<dyn Web>> {
        None
    }
}

/// A server without workers, for whoever only looks at a script: nothing that is posted is ever done.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoServer;

impl Server for NoServer {
    fn post(&self, _call_id: &[u8], job: Job) -> Result<(), Job> {
        Err(job)
    }
}

/// Has one worker do `tick` each time `interval` has passed, until it answers false.
///
/// A tick of a module holds the module's state weakly and answers false when it is gone: a reload then
/// ends it. `name` spreads the ticks of different users over the workers.
pub fn every(server: &dyn Server, name: &str, interval: Duration, tick: Tick) {
    // A server that takes no work at its start never will; the tick is of no use then.
    let is_over = Arc::new(AtomicBool::new(false));
    let _ = server.post(name.as_bytes(), Box::new(move |host| again(host, interval, tick, is_over)));
}

fn again(host: &mut dyn Host, interval: Duration, tick: Tick, is_over: Arc<AtomicBool>) {
    let job = move |host: &mut dyn Host| {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        // Before it ticks, so that a tick that ends in a mistake is not the last.
        again(host, interval, Arc::clone(&tick), Arc::clone(&is_over));
        if !tick(host) {
            is_over.store(true, Ordering::Relaxed);
        }
    };
    host.after_always(interval, Box::new(job));
}

/// A request of our own (RFC 3261 section 8.1.1).
///
/// Via, Max-Forwards, Content-Length and a From tag are added. Everything is given as it goes on the wire.
#[derive(Debug, Clone, Default)]
pub struct OwnRequest {
    /// The method.
    pub method: Bytes,
    /// The Request-URI.
    pub uri: Bytes,
    /// The next hop as a URI, where it is not the host of `uri`.
    pub destination: Option<Bytes>,
    /// Value of From; a tag is added where it has none.
    pub from: Bytes,
    /// Value of To, with its tag within a dialog.
    pub to: Bytes,
    /// The Call-ID; none makes a new one.
    pub call_id: Option<Bytes>,
    /// Number of the CSeq; none counts as 10, as both families begin.
    pub cseq: Option<u32>,
    /// Further header lines, each with its CRLF: Route, Contact and the like.
    pub headers: Bytes,
    /// Type and content of the body.
    pub body: Option<(Bytes, Bytes)>,
    /// The socket to send from, where it matters.
    pub socket: Option<SocketId>,
    /// How long to wait for any reply; none: as configured.
    pub timeout: Option<Duration>,
}

impl OwnRequest {
    /// A request to `uri`, which is To as well.
    pub fn new(method: impl Into<Bytes>, uri: impl Into<Bytes>, from: &[u8]) -> OwnRequest {
        let uri = uri.into();
        OwnRequest { method: method.into(), from: bracketed(from), to: bracketed(&uri), uri, ..OwnRequest::default() }
    }
}

/// A URI as From and To hold it.
pub fn bracketed(uri: &[u8]) -> Bytes {
    [b"<", uri, b">"].concat().into()
}

/// What came of a request of our own.
#[derive(Clone)]
pub struct OwnAnswer {
    /// The final status; 408 when nothing came, 503 when it could not be sent (RFC 3261 section 8.1.3.1).
    pub status: u16,
    /// The reply; none when the status was made here.
    pub reply: Option<Arc<Message>>,
    /// The request as it was sent, but for its Via; none when it was never made.
    pub request: Option<Arc<Message>>,
    /// Where the reply came from.
    pub arrival: Option<Arrival>,
}

impl OwnAnswer {
    /// The answer to a request that never left.
    pub fn unsent(status: u16) -> OwnAnswer {
        OwnAnswer { status, reply: None, request: None, arrival: None }
    }
}

impl fmt::Debug for OwnAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnAnswer").field("status", &self.status).field("is_reply", &self.reply.is_some()).finish()
    }
}

/// A request that nobody sent, for routes that run because of something else: a timer, an event without
/// a message. Both families show scripts an OPTIONS of this kind.
///
/// # Panics
/// Never: the text is a constant.
pub fn made_up_context(host: &dyn Host) -> Context {
    static TEXT: &[u8] = b"OPTIONS sip:you@server.invalid SIP/2.0\r\n\
        Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKmadeup\r\n\
        From: <sip:you@server.invalid>;tag=madeup\r\n\
        To: <sip:you@server.invalid>\r\n\
        Call-ID: madeup@server.invalid\r\n\
        CSeq: 1 OPTIONS\r\n\
        Max-Forwards: 70\r\n\
        Content-Length: 0\r\n\r\n";
    let message = Message::parse(Bytes::from_static(TEXT), &Limits::default());
    let message = message.expect("the made-up request can be read: a test reads it");
    let local = host.sockets().first().map_or(([127, 0, 0, 1], 5060).into(), |socket| socket.address);
    let arrival = Arrival {
        source: ([127, 0, 0, 1], 5060).into(),
        local,
        transport: host.sockets().first().map_or(Transport::Udp, |socket| socket.transport),
        socket: SocketId(0),
        connection: None,
    };
    Context::new(Arc::new(message), arrival, RouteKind::Event)
}

/// Where a message goes that an `onsend_route` looks at; a note of its context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Departure {
    /// The socket that it leaves from.
    pub socket: SocketId,
    /// The transport.
    pub transport: Transport,
    /// The next hop.
    pub peer: std::net::SocketAddr,
}
