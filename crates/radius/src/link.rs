//! One socket to a server, and the questions that are on their way through it: at most 256, since an identifier has 8 bits.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::figures::{Counts, count};
use crate::packet::{Authenticator, Code, Doubt, MOST, Packet, length_of, verify_answer};
use crate::peer::Secret;

/// When an answer counts.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) secret: Secret,
    pub(crate) must_be_signed: bool,
}

/// A socket.
pub(crate) struct Link {
    shared: Arc<Shared>,
    sink: Sink,
    tasks: Vec<AbortHandle>,
}

enum Sink {
    Datagrams(Arc<UdpSocket>),
    /// Whole packets for the task that writes.
    Stream(mpsc::Sender<Vec<u8>>),
}

struct Shared {
    table: Mutex<Table>,
    is_closed: AtomicBool,
    rules: Rules,
    counts: Arc<Counts>,
}

struct Table {
    waiting: Box<[Entry; 256]>,
    /// Round and round, so that an identifier comes back as late as possible: a late answer then finds nobody.
    next: u8,
}

enum Entry {
    Free,
    /// Taken, and nothing is sent yet.
    Taken,
    Waiting {
        code: Code,
        authenticator: Authenticator,
        answer: oneshot::Sender<Packet>,
    },
}

/// An identifier of a link, given back when dropped.
pub(crate) struct Slot {
    link: Arc<Link>,
    pub(crate) identifier: u8,
}

impl Link {
    pub(crate) fn datagrams(socket: UdpSocket, rules: Rules, counts: Arc<Counts>) -> Arc<Link> {
        let (socket, shared) = (Arc::new(socket), Shared::new(rules, counts));
        let reader = tokio::spawn(read_datagrams(Arc::clone(&socket), Arc::clone(&shared)));
        Arc::new(Link { shared, sink: Sink::Datagrams(socket), tasks: vec![reader.abort_handle()] })
    }

    pub(crate) fn stream<S>(stream: S, rules: Rules, counts: Arc<Counts>) -> Arc<Link>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let shared = Shared::new(rules, counts);
        let (input, mut output) = tokio::io::split(stream);
        // One place for each identifier: a full one means that the other side does not read.
        let (sink, mut packets) = mpsc::channel::<Vec<u8>>(256);
        let reader = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                // How it ended does not matter: whoever waits is told that the link is gone.
                let _ = read_stream(input, &shared).await;
                shared.close();
            }
        });
        let writer = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                while let Some(packet) = packets.recv().await {
                    if output.write_all(&packet).await.is_err() || output.flush().await.is_err() {
                        break;
                    }
                }
                shared.close();
            }
        });
        Arc::new(Link { shared, sink: Sink::Stream(sink), tasks: vec![reader.abort_handle(), writer.abort_handle()] })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.shared.is_closed.load(Ordering::Acquire)
    }

    /// A free identifier.
    pub(crate) fn slot(link: &Arc<Link>) -> Option<Slot> {
        let mut table = link.shared.table();
        let first = table.next;
        let free = (0..=255u8).map(|n| first.wrapping_add(n));
        let identifier = { free }.find(|n| matches!(table.waiting[usize::from(*n)], Entry::Free))?;
        table.next = identifier.wrapping_add(1);
        table.waiting[usize::from(identifier)] = Entry::Taken;
        drop(table);
        Some(Slot { link: Arc::clone(link), identifier })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Slot {
    /// Where the answer to a request of this authenticator will come out; closed when the link is.
    pub(crate) fn expect(&self, code: Code, authenticator: Authenticator) -> oneshot::Receiver<Packet> {
        let (answer, receiver) = oneshot::channel();
        let mut table = self.link.shared.table();
        if !self.link.is_closed() {
            table.waiting[usize::from(self.identifier)] = Entry::Waiting { code, authenticator, answer };
        }
        receiver
    }

    /// Sends a packet, once or once more.
    pub(crate) async fn send(&self, octets: &[u8]) -> io::Result<()> {
        match &self.link.sink {
            Sink::Datagrams(socket) => socket.send(octets).await.map(drop),
            Sink::Stream(sink) => {
                let broken = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the connection does not take packets");
                sink.try_send(octets.to_vec()).map_err(broken)
            }
        }
    }

    /// Takes the link out of use: a connection on which nothing comes back is as good as none.
    pub(crate) fn close_link(&self) {
        self.link.shared.close();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.link.shared.table().waiting[usize::from(self.identifier)] = Entry::Free;
    }
}

impl Shared {
    fn new(rules: Rules, counts: Arc<Counts>) -> Arc<Shared> {
        // The first identifier is nothing that anybody should be able to foretell.
        let mut first = [0];
        // Without random numbers no request is made at all, and 0 is as good as any.
        let _ = getrandom::fill(&mut first);
        let waiting = Box::new([const { Entry::Free }; 256]);
        let table = Mutex::new(Table { waiting, next: first[0] });
        Arc::new(Shared { table, is_closed: AtomicBool::new(false), rules, counts })
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever waits is told so by the end of their channel.
    fn close(&self) {
        let mut table = self.table();
        self.is_closed.store(true, Ordering::Release);
        for entry in table.waiting.iter_mut().filter(|entry| matches!(entry, Entry::Waiting { .. })) {
            *entry = Entry::Taken;
        }
    }

    /// Hands an answer to whoever waits for it. One that is not proven changes nothing: the true one may still come.
    fn on_packet(&self, octets: &[u8]) {
        let mut table = self.table();
        let Some(entry) = octets.get(1).map(|identifier| &mut table.waiting[usize::from(*identifier)]) else {
            return count(&self.counts.malformed);
        };
        let Entry::Waiting { code, authenticator, .. } = entry else { return count(&self.counts.late) };
        let rules = &self.rules;
        match verify_answer(octets, authenticator, rules.secret.octets(), rules.must_be_signed) {
            Ok(packet) if packet.code.answers(*code) => {
                if let Entry::Waiting { answer, .. } = std::mem::replace(entry, Entry::Taken) {
                    // Whoever waited may have given up this moment.
                    let _ = answer.send(packet);
                }
            }
            Ok(_) | Err(Doubt::Malformed) => count(&self.counts.malformed),
            Err(Doubt::Forged | Doubt::Unsigned) => count(&self.counts.forged),
        }
    }
}

async fn read_datagrams(socket: Arc<UdpSocket>, shared: Arc<Shared>) {
    let mut octets = vec![0; MOST + 1];
    loop {
        match socket.recv(&mut octets).await {
            Ok(length) => shared.on_packet(&octets[..length]),
            // Mostly that nobody listens there: an answer too, and faster than silence.
            Err(_) => return shared.close(),
        }
    }
}

/// Packets one behind the other (RFC 6613 section 2.6.4). What is no packet ends the connection: nobody knows where the
/// next one would begin.
async fn read_stream(mut input: impl AsyncRead + Unpin, shared: &Shared) -> io::Result<()> {
    let mut octets = vec![0; MOST];
    loop {
        input.read_exact(&mut octets[..20]).await?;
        let Some(length) = octets.first_chunk().and_then(length_of) else {
            count(&shared.counts.malformed);
            return Ok(());
        };
        input.read_exact(&mut octets[20..length]).await?;
        shared.on_packet(&octets[..length]);
    }
}
