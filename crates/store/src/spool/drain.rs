//! From a spool to the database, each row once.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::segment::Segments;
use super::{Shared, line};
use crate::{Cell, ColumnName, Condition, Database, Error, Select, TableName, Write};

/// The end of a spool from which rows are taken.
pub struct Drain {
    segments: Segments,
    /// Nobody else may drain it while this is open.
    _lock: File,
    /// The other end, where it is of this process.
    writer: Option<Weak<Shared>>,
    news: Arc<Notify>,
}

/// How much is brought over in one transaction.
const BATCH: usize = 1 << 20;
const MOST_ROWS: usize = 512;
/// How long to wait after a failure, at most; the database's own breaker waits longer.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(5);
pub(super) const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

impl Drain {
    pub(super) fn new(segments: Segments, lock: File, writer: Option<Weak<Shared>>, news: Arc<Notify>) -> Drain {
        Drain { segments, _lock: lock, writer, news }
    }

    pub(super) fn segments(&self) -> &Segments {
        &self.segments
    }

    /// Waits until something is written, or nobody will write again.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// Whether nobody will write to the spool again.
    pub(super) fn is_over(&self) -> bool {
        self.writer.as_ref().is_none_or(|writer| writer.strong_count() == 0)
    }

    /// Keeps a row that will never be taken; returns the file.
    pub(super) fn put_aside(&self, octets: &[u8]) -> std::io::Result<PathBuf> {
        let root = self.segments.directory().parent().map(ToOwned::to_owned).unwrap_or_default();
        let path = root.join("refused.jsonl");
        OpenOptions::new().append(true).create(true).open(&path).and_then(|mut file| file.write_all(octets))?;
        Ok(path)
    }

    /// Brings rows over until the spool is empty and nobody writes to it any more.
    ///
    /// Rows that the database refuses for what they hold go to the file `refused.jsonl` beside the spools. `waits`
    /// says of which tables none is taken for such a row: where one of those is missing or has other columns,
    /// everything waits until it is put right.
    pub async fn run(self, database: Database, waits: Vec<TableName>, report: Arc<dyn Fn(&str) + Send + Sync>) {
        let mut delivery =
            Delivery { drain: self, database, waits, report, place: None, is_told: false, most_rows: MOST_ROWS };
        let mut pause = SHORTEST_PAUSE;
        loop {
            // Asked before the spool is looked at: the last row may come between the two.
            let is_over = delivery.drain.is_over();
            match delivery.step().await {
                Ok(Step::Delivered) => pause = SHORTEST_PAUSE,
                Ok(Step::Nothing) if is_over => return delivery.finish().await,
                Ok(Step::Nothing) => {
                    pause = SHORTEST_PAUSE;
                    delivery.drain.news.notified().await;
                }
                Err(error) => {
                    delivery.on_trouble(&error);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }
}

struct Delivery {
    drain: Drain,
    database: Database,
    waits: Vec<TableName>,
    report: Arc<dyn Fn(&str) + Send + Sync>,
    /// How far the database says that it has got; none: to be asked.
    place: Option<u64>,
    /// Whether the operator has been told of the trouble at hand.
    is_told: bool,
    /// How many rows the next transaction may hold.
    most_rows: usize,
}

enum Step {
    Delivered,
    Nothing,
}

impl Delivery {
    /// Delivers what lies there, up to one batch.
    async fn step(&mut self) -> Result<Step, Error> {
        if self.place.is_none() && self.drain.segments.size() == 0 {
            // Nothing was ever written: the database need not know of this spool yet.
            return Ok(Step::Nothing);
        }
        let place = match self.place {
            Some(place) => place,
            None => self.ask_place().await?,
        };
        self.place = Some(place);
        let mut lines = self.lines(place).await?;
        lines.truncate(self.most_rows);
        let Some((end, _)) = lines.last() else { return Ok(Step::Nothing) };
        let (end, rows) = (*end, lines.iter().filter_map(|(_, line)| line::read(line)).collect::<Vec<_>>());
        match self.commit(place, end, rows.clone()).await {
            Err(Error::Refused { .. } | Error::Misfit { .. } | Error::Corrupt { .. }) => {
                self.one_by_one(place, &lines).await?
            }
            outcome => outcome?,
        }
        self.is_told = false;
        self.most_rows = (self.most_rows * 2).min(MOST_ROWS);
        self.drain.segments.trim(self.place.unwrap_or(end));
        Ok(Step::Delivered)
    }

    /// One row that the database refuses must not take its neighbours with it.
    async fn one_by_one(&mut self, mut place: u64, lines: &[(u64, Vec<u8>)]) -> Result<(), Error> {
        for (end, octets) in lines {
            let row = line::read(octets);
            match self.commit(place, *end, row.clone().into_iter().collect()).await {
                Err(Error::Misfit { detail }) if row.as_ref().is_some_and(|row| self.waits_for(row)) => {
                    return Err(Error::Misfit { detail });
                }
                Err(error @ (Error::Refused { .. } | Error::Misfit { .. } | Error::Corrupt { .. })) => {
                    self.put_aside(octets, &error)?;
                    self.commit(place, *end, Vec::new()).await?;
                }
                outcome => outcome?,
            }
            place = *end;
        }
        Ok(())
    }

    /// Rows and the new place, in one transaction. Where it cannot be known whether it happened, the place is asked
    /// for again before anything else is done.
    async fn commit(&mut self, from: u64, to: u64, rows: Vec<Write>) -> Result<(), Error> {
        self.place = None;
        let set = vec![(name("reached"), Cell::Int(to as i64))];
        let filter = vec![self.own_row(), Condition::equal(&name("reached"), from as i64)];
        let mut writes = vec![Write::Update { table: name(TABLE), set, filter, must_match: true }];
        writes.extend(rows);
        let outcome = self.database.write(&writes).await;
        if outcome.is_ok() {
            self.place = Some(to);
        }
        match outcome {
            // An earlier attempt whose answer got lost had come through.
            Err(Error::Stale) => {
                let place = self.ask_place().await?;
                self.place = Some(place);
                Ok(())
            }
            outcome => outcome.map(drop),
        }
    }

    /// How far the database has got with this spool; a spool that it does not know begins.
    async fn ask_place(&mut self) -> Result<u64, Error> {
        let select = Select {
            table: name(TABLE),
            columns: vec![name("reached")],
            filter: vec![self.own_row()],
            order: Vec::new(),
            limit: 1,
        };
        let found = match self.database.select(&select).await {
            Err(Error::Misfit { .. }) => {
                self.database.make_table(&name(TABLE), TABLE_IN_SQL, TABLE_IN_TEXT).await?;
                self.database.select(&select).await?
            }
            found => found?,
        };
        if let Some(row) = found.rows.first() {
            return Ok(row[0].to_int().and_then(|place| u64::try_from(place).ok()).unwrap_or(0));
        }
        let row = vec![(name("spool"), Cell::from(self.drain.segments.name())), (name("reached"), Cell::Int(0))];
        self.database.write(&[Write::Insert { table: name(TABLE), row }]).await?;
        Ok(0)
    }

    async fn lines(&self, place: u64) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        let segments = self.drain.segments.clone();
        let read = tokio::task::spawn_blocking(move || segments.lines(place, BATCH)).await;
        let stopped = Error::Unavailable(crate::Cause::Stopped);
        read.map_err(|_| stopped)?.map_err(|error| Error::Unavailable(crate::Cause::Io(error.to_string())))
    }

    fn own_row(&self) -> Condition {
        Condition::equal(&name("spool"), self.drain.segments.name())
    }

    fn waits_for(&self, row: &Write) -> bool {
        matches!(row, Write::Insert { table, .. } if self.waits.contains(table))
    }

    /// Keeps a row that the database will never take, with the reason.
    fn put_aside(&self, octets: &[u8], error: &Error) -> Result<(), Error> {
        let kept = self.drain.put_aside(octets);
        let path = kept.map_err(|error| Error::Unavailable(crate::Cause::Io(error.to_string())))?;
        (self.report)(&format!("a row was refused and is kept in {}: {error}", path.display()));
        Ok(())
    }

    fn on_trouble(&mut self, error: &Error) {
        // An answer may have been lost; the place must be asked for again.
        self.place = None;
        // Over a slow line a smaller transaction ends in time.
        self.most_rows = (self.most_rows / 2).max(1);
        // What matters beyond a crash of this process must be on the disk. Where that fails, nothing better can be done.
        let _ = self.drain.segments.sync();
        // An outage of the database is told by the database.
        if !self.is_told && !error.is_unavailable() {
            self.is_told = true;
            (self.report)(&format!("rows wait in {}: {error}", self.drain.segments.directory().display()));
        }
    }

    /// Removes the spool, and then what the database knows of it: the other way round a crash in between would make
    /// the spool look as if nothing of it had been delivered.
    async fn finish(&self) {
        self.drain.segments.remove();
        if self.place.is_some() {
            // A row too many in that table harms nobody.
            let _ = self.database.write(&[Write::Delete { table: name(TABLE), filter: vec![self.own_row()] }]).await;
        }
    }
}

const TABLE: &str = "ser_spool";
const TABLE_IN_SQL: &str =
    "CREATE TABLE IF NOT EXISTS ser_spool (spool VARCHAR(64) NOT NULL PRIMARY KEY, reached BIGINT NOT NULL)";
const TABLE_IN_TEXT: &str = "spool(string,key) reached(int)\n";

fn name(text: &str) -> ColumnName {
    TableName::new(text).expect("a literal name")
}
