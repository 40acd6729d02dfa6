//! Traced messages in a database: table `sip_trace`, with the columns of Kamailio.
//!
//! Rows wait in a bounded queue and are written many at a time by a task beside the workers. A database that is slow or
//! away costs rows, which are counted, and delays nobody.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use module_api::{Counter, Level, LogLine, Setup, SetupError, Sighting};
use sip_message::{Limits, Message, Transport};
use store::{Cell, ColumnName, Database, TableName, Write};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::database;

/// The way to the table.
pub(super) struct Archive {
    rows: Sender<Sighting>,
    waiting: Arc<AtomicUsize>,
    dropped: Counter,
}

/// The version of the table in Kamailio 5.6.
const VERSION: i64 = 4;
/// Its columns behind `id`, in the order of [`row`].
const COLUMNS: [&str; 12] = [
    "time_stamp",
    "time_us",
    "callid",
    "traced_user",
    "msg",
    "method",
    "status",
    "fromip",
    "toip",
    "fromtag",
    "totag",
    "direction",
];
/// Most messages that wait.
const MOST: usize = 4096;
/// Most bytes of them.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// Rows in one transaction.
const BATCH: usize = 64;

impl Archive {
    /// Opens the database, and gives the work that writes to it, to be run beside the workers.
    ///
    /// # Errors
    /// When the address is none, or the table is another one.
    pub(super) fn open(
        setup: &Setup<'_>,
        stored: Counter,
        dropped: Counter,
    ) -> Result<(Archive, impl Future<Output = ()> + Send + 'static), SetupError> {
        let database = database::open(setup, "db_url")?;
        let table = database::named("table", &setup.text("table"))?;
        let columns = COLUMNS.map(|name| database::named("table", name)).into_iter().collect::<Result<Vec<_>, _>>()?;
        database::check_at_start(setup, &database, &table, &columns, &[VERSION])?;
        let (rows, come) = channel(MOST);
        let waiting = Arc::new(AtomicUsize::new(0));
        let archive = Archive { rows, waiting: Arc::clone(&waiting), dropped: dropped.clone() };
        let log = Arc::clone(setup.log);
        let writer = Writer { database, table, columns, log, stored, dropped, is_failing: false };
        Ok((archive, writer.run(come, waiting)))
    }

    /// Stores a message, or drops and counts it: it never waits.
    pub(super) fn store(&self, seen: Sighting) {
        let bytes = seen.bytes.len();
        // A copy: what waits here must not keep a whole batch of received datagrams alive.
        let seen = Sighting { bytes: Bytes::copy_from_slice(&seen.bytes), ..seen };
        if self.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes > MOST_BYTES || self.rows.try_send(seen).is_err() {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.dropped.increment();
        }
    }
}

struct Writer {
    database: Database,
    table: TableName,
    columns: Vec<ColumnName>,
    log: LogLine,
    stored: Counter,
    dropped: Counter,
    is_failing: bool,
}

impl Writer {
    async fn run(mut self, mut come: Receiver<Sighting>, waiting: Arc<AtomicUsize>) {
        let mut batch = Vec::new();
        while come.recv_many(&mut batch, BATCH).await > 0 {
            let bytes: usize = batch.iter().map(|seen: &Sighting| seen.bytes.len()).sum();
            let insert = |seen: &Sighting| Write::Insert {
                table: self.table.clone(),
                row: self.columns.iter().cloned().zip(row(seen)).collect(),
            };
            let writes: Vec<Write> = batch.iter().map(insert).collect();
            match self.database.write(&writes).await {
                Ok(_) => {
                    self.stored.add(batch.len() as u64);
                    if std::mem::take(&mut self.is_failing) {
                        (self.log)(Level::Notice, "siptrace: the database takes messages again");
                    }
                }
                Err(error) => {
                    self.dropped.add(batch.len() as u64);
                    // One line for each time that it fails, however long that lasts.
                    if !std::mem::replace(&mut self.is_failing, true) {
                        let text = format!("siptrace: database: {error}; what it does not take is dropped");
                        (self.log)(Level::Warning, &text);
                    }
                }
            }
            waiting.fetch_sub(bytes, Ordering::Relaxed);
            batch.clear();
        }
    }
}

/// A message in the order of [`COLUMNS`].
fn row(seen: &Sighting) -> [Cell; 12] {
    // What was let in was understood; what could not be is stored all the same, without what would have been found in it.
    let message = Message::parse(seen.bytes.clone(), &Limits::default()).ok();
    let of = |read: fn(&Message) -> &[u8]| Cell::text(message.as_ref().map_or(b"", read));
    let tag = |read: fn(&Message) -> Option<&[u8]>| Cell::text(message.as_ref().and_then(read).unwrap_or_default());
    let status = message.as_ref().and_then(Message::status).map(|status| status.to_string());
    let method = message.as_ref().and_then(|message| match message.status() {
        Some(_) => message.cseq().ok().map(|cseq| cseq.method_text.to_vec()),
        None => Some(message.method_text().to_vec()),
    });
    [
        Cell::Time(seen.at.as_secs() as i64),
        Cell::Int(seen.at.subsec_micros().into()),
        of(Message::call_id),
        Cell::Text(String::new()),
        Cell::text(&seen.bytes),
        Cell::text(&method.unwrap_or_default()),
        Cell::Text(status.unwrap_or_default()),
        Cell::Text(place(seen.transport, seen.source)),
        Cell::Text(place(seen.transport, seen.destination)),
        tag(Message::from_tag),
        tag(Message::to_tag),
        Cell::Text(if seen.is_sent { "out" } else { "in" }.into()),
    ]
}

/// `udp:192.0.2.1:5060`.
fn place(transport: Transport, address: SocketAddr) -> String {
    format!("{}:{}", transport.uri_param(), SocketAddr::new(address.ip().to_canonical(), address.port()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_message_is_a_row_with_kamailios_columns() {
        let seen = |text: &str| Sighting {
            at: Duration::from_micros(1_700_000_000_000_007),
            is_sent: text.starts_with("SIP"),
            transport: Transport::Udp,
            source: ([192, 0, 2, 1], 5060).into(),
            destination: ([192, 0, 2, 2], 5062).into(),
            bytes: Bytes::copy_from_slice(text.as_bytes()),
        };
        let fields = "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa\r\nFrom: <sip:a@b>;tag=f\r\nTo: <sip:b@b>;tag=t\r\n\
                      Call-ID: call\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";
        let shown = |text: &str| row(&seen(text)).map(|cell| cell.to_text().unwrap_or_default()).to_vec();
        let reply = shown(&format!("SIP/2.0 180 Ringing\r\n{fields}"));
        assert_eq!(&reply[..4], ["1700000000", "7", "call", ""]);
        let rest = ["INVITE", "180", "udp:192.0.2.1:5060", "udp:192.0.2.2:5062", "f", "t", "out"];
        assert_eq!(reply[5..], rest);
        let request = shown(&format!("INVITE sip:b@b SIP/2.0\r\n{fields}"));
        assert_eq!((&*request[5], &*request[6], &*request[11]), ("INVITE", "", "in"));
        assert_eq!(shown("nonsense")[4], "nonsense");
    }
}
