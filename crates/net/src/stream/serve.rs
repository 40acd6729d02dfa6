//! Serving a byte stream: reading, framing and writing beside each other in one task.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{Instant, timeout, timeout_at};

use super::connect::report;
use super::framing::{Assembler, Step};
use super::queue::{Queued, WriteQueue};
use super::streams::{Inner, Slot};
use super::{Closed, Connection, PING, PONG};

/// An established connection with all that its task needs.
pub(super) struct Link {
    pub(super) inner: Arc<Inner>,
    pub(super) connection: Arc<Connection>,
    pub(super) queue: Arc<WriteQueue>,
    /// Messages that are being written: they are reported when that fails.
    pub(super) writing: tokio::sync::Mutex<Vec<Queued>>,
    last_write: Mutex<Instant>,
    slot: Slot,
}

impl Link {
    pub(super) fn new(inner: Arc<Inner>, slot: Slot, queue: Arc<WriteQueue>, connection: Connection) -> Link {
        Link {
            inner,
            connection: Arc::new(connection),
            queue,
            writing: tokio::sync::Mutex::default(),
            last_write: Mutex::new(Instant::now()),
            slot,
        }
    }

    /// Runs the connection to its end, and tells the sink of it and of what did not leave.
    pub(super) async fn served(&self, serving: impl Future<Output = Closed>) {
        let why = serving.await;
        let is_cut_off = !matches!(why, Closed::ByPeer | Closed::ByUs | Closed::Idle | Closed::Failed(_));
        if is_cut_off {
            self.inner.tally.cut_off.fetch_add(1, Ordering::Relaxed);
        }
        let kind = match why {
            Closed::Failed(kind) => kind,
            Closed::NotReading => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::ConnectionAborted,
        };
        // Out of the table before anybody hears of it: what they send next takes a new one.
        self.inner.table().remove(self.slot.id);
        let (sink, connection) = (&*self.inner.sink, &self.connection);
        let (mut writing, waiting) = (self.writing.lock().await, self.queue.close());
        for message in writing.drain(..).chain(waiting) {
            report(sink, &message, connection.peer, connection.protocol, kind);
        }
        sink.on_closed(connection, why);
    }

    pub(super) fn wrote(&self) {
        *self.last_write.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    pub(super) fn last_write(&self) -> Instant {
        *self.last_write.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn hand_over(&self, message: Bytes) {
        self.inner.sink.on_message(&self.connection, message);
    }

    /// Queues a keep-alive or its answer. A peer whose queue is full gets none: it does not read.
    pub(super) fn keep_alive(&self, bytes: &'static [u8]) {
        let _ = self.queue.push(Queued { bytes: Bytes::from_static(bytes), token: None });
    }
}

/// Reads and writes until one of them ends.
pub(super) async fn serve<S>(stream: S, link: &Link) -> Closed
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (reading, writing) = tokio::io::split(stream);
    // In one task but each at its own pace: a peer that stops reading is still heard.
    tokio::select! {
        why = read(reading, link) => why,
        why = write(writing, link) => why,
    }
}

async fn read<S: AsyncRead>(mut stream: ReadHalf<S>, link: &Link) -> Closed {
    let framer = link.inner.sink.new_framer();
    let mut input = Assembler::new(framer, link.inner.settings.max_message_bytes);
    let mut clock = Clock::start(link);
    loop {
        let (deadline, due) = clock.next(link);
        match timeout_at(deadline, stream.read_buf(input.room())).await {
            Ok(Ok(0)) => return Closed::ByPeer,
            Ok(Ok(_)) => clock.heard(),
            Ok(Err(error)) => return Closed::Failed(error.kind()),
            Err(_) => match clock.is_due(due, link) {
                Some(why) => return why,
                None => continue,
            },
        }
        loop {
            match input.next() {
                Step::Message(message) => {
                    clock.message();
                    link.hand_over(message);
                }
                Step::Request(request) => {
                    clock.message();
                    if let Err(why) = exchange(request, &mut clock, link).await {
                        return why;
                    }
                }
                Step::Ping => link.keep_alive(PONG),
                Step::Say(words) => link.keep_alive(words),
                Step::NeedMore { partial } => break clock.partial(partial),
                Step::Broken => return Closed::Malformed,
                Step::TooLong => return Closed::TooLong,
            }
        }
    }
}

/// Has a request answered. What the client sends meanwhile stays with the kernel, which makes it wait.
async fn exchange(request: Bytes, clock: &mut Clock, link: &Link) -> Result<(), Closed> {
    if let Err(refusal) = link.inner.sink.on_request(&link.connection, request) {
        link.queue.answer(refusal, true);
    }
    // For ever where the answer is the last: the writing side ends the connection then.
    loop {
        let (deadline, due) = clock.next(link);
        match timeout_at(deadline, link.queue.answered()).await {
            Ok(()) => return Ok(()),
            Err(_) => clock.is_due(due, link).map_or(Ok(()), Err)?,
        }
    }
}

async fn write<S: AsyncWrite>(mut stream: WriteHalf<S>, link: &Link) -> Closed {
    // Nobody else locks while the connection lives; it outlasts this future when that is dropped.
    let mut taken = link.writing.lock().await;
    let mut output = BytesMut::new();
    while link.queue.take(&mut taken).await {
        output.clear();
        for message in taken.iter() {
            output.extend_from_slice(&message.bytes);
        }
        if let Err(why) = write_out(&mut stream, &output, link).await {
            return why;
        }
        link.queue.written(&mut taken);
    }
    let _ = timeout(link.inner.settings.write_timeout, stream.shutdown()).await;
    Closed::ByUs
}

/// Writes all of it, as long as the peer takes something within each time-out.
async fn write_out<S: AsyncWrite>(stream: &mut WriteHalf<S>, mut rest: &[u8], link: &Link) -> Result<(), Closed> {
    let patience = link.inner.settings.write_timeout;
    while !rest.is_empty() {
        match timeout(patience, stream.write(rest)).await {
            Ok(Ok(0)) => return Err(Closed::Failed(io::ErrorKind::WriteZero)),
            Ok(Ok(len)) => rest = &rest[len..],
            Ok(Err(error)) => return Err(Closed::Failed(error.kind())),
            Err(_) => return Err(Closed::NotReading),
        }
        link.wrote();
    }
    match timeout(patience, stream.flush()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Closed::Failed(error.kind())),
        Err(_) => Err(Closed::NotReading),
    }
}

/// When a connection has been quiet for too long, and in which way.
pub(super) struct Clock {
    opened: Instant,
    last_read: Instant,
    partial_since: Option<Instant>,
    pinged_at: Option<Instant>,
    awaits_first_message: bool,
    ping_interval: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    Ping,
    Close(Closed),
}

impl Clock {
    pub(super) fn start(link: &Link) -> Clock {
        let now = Instant::now();
        let is_websocket = matches!(link.connection.protocol, crate::Protocol::Ws | crate::Protocol::Wss);
        let sends_pings = link.connection.is_outgoing || is_websocket;
        Clock {
            opened: now,
            last_read: now,
            partial_since: None,
            pinged_at: None,
            awaits_first_message: !link.connection.is_outgoing,
            ping_interval: link.inner.settings.ping_interval.filter(|_| sends_pings),
        }
    }

    /// The next thing to do if nothing arrives, and when.
    pub(super) fn next(&self, link: &Link) -> (Instant, Due) {
        let settings = &link.inner.settings;
        let active = self.last_read.max(link.last_write());
        let mut next = (active + settings.idle_timeout, Due::Close(Closed::Idle));
        let mut sooner = |at: Instant, due| {
            if at < next.0 {
                next = (at, due);
            }
        };
        if self.awaits_first_message {
            let at = self.opened + settings.first_message_timeout;
            sooner(at, Due::Close(Closed::Silent));
        }
        if let Some(since) = self.partial_since {
            sooner(since + settings.message_timeout, Due::Close(Closed::Slow));
        }
        match (self.pinged_at, self.ping_interval) {
            (Some(at), _) => sooner(at + settings.pong_timeout, Due::Close(Closed::NoPong)),
            (None, Some(interval)) => sooner(self.last_read + interval, Due::Ping),
            (None, None) => {}
        }
        next
    }

    /// Nothing has happened until something fell due: does it, or says why the connection ends.
    fn is_due(&mut self, due: Due, link: &Link) -> Option<Closed> {
        match due {
            Due::Ping => {
                self.pinged();
                link.keep_alive(PING);
                None
            }
            // Something written meanwhile puts the deadline off.
            Due::Close(why) => (self.next(link).0 <= Instant::now()).then_some(why),
        }
    }

    /// Anything that the peer sends shows that it lives, a pong or more.
    pub(super) fn heard(&mut self) {
        self.last_read = Instant::now();
        self.pinged_at = None;
    }

    pub(super) fn pinged(&mut self) {
        self.pinged_at = Some(Instant::now());
    }

    pub(super) fn message(&mut self) {
        self.awaits_first_message = false;
        self.partial_since = None;
    }

    fn partial(&mut self, partial: bool) {
        if !partial {
            self.partial_since = None;
        } else if self.partial_since.is_none() {
            self.partial_since = Some(self.last_read);
        }
    }
}
