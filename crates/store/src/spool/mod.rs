//! Rows on their way to a database that may be away: written to a file at once, brought to the database later, once.
//!
//! [`Spool::append`] returns when the operating system has the row: the process may be killed the next moment. The
//! [`Drain`] of a spool copies rows to the database and notes, in the same transaction, how far it has got, in table
//! `ser_spool` there. Whatever is killed or cut off in between, a row arrives, and arrives once.
//!
//! Each process has a spool of its own, a directory under a common root, held by a lock. What a process left behind is
//! adopted and drained by the next that starts.

mod drain;
mod forward;
mod line;
mod segment;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::{Cell, ColumnName, TableName};
pub use drain::Drain;
pub use forward::{Courier, Undelivered};
use segment::Segments;

/// The end of a spool into which rows go. When the last clone is gone, its drain ends once all rows are delivered.
#[derive(Clone)]
pub struct Spool(Arc<Shared>);

struct Shared {
    writer: Mutex<Writer>,
    /// Wakes the drain.
    news: Arc<Notify>,
    counts: Counts,
    limit: u64,
}

/// What a spool has done.
#[derive(Debug, Default)]
struct Counts {
    appended: AtomicU64,
    lost: AtomicU64,
}

struct Writer {
    segments: Segments,
    file: File,
    /// Where the file begins in the sequence of all octets, and where it ends.
    base: u64,
    end: u64,
    /// What the disk did not take yet.
    pending: Vec<u8>,
}

/// A row found no room: the spool is at its bound, or the disk is full and memory too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// A new file is begun beyond this, so that what is delivered can be given back.
const SEGMENT: u64 = 8 << 20;
/// How much may wait in memory while the disk is full.
const PENDING: usize = 16 << 20;

impl Spool {
    /// Makes a spool below `root` for the database at `target`, which is written into it for whoever adopts it.
    /// `limit` bounds its size in octets.
    ///
    /// # Errors
    /// When the directory or its files cannot be made.
    pub fn create(root: &Path, target: &str, limit: u64) -> io::Result<(Spool, Drain)> {
        let (directory, lock) = make_directory(root)?;
        fs::write(directory.join(TARGET), target)?;
        let segments = Segments::new(directory.clone());
        let file = segments.begin(0)?;
        let news = Arc::new(Notify::new());
        let writer = Writer { segments: segments.clone(), file, base: 0, end: 0, pending: Vec::new() };
        let shared =
            Arc::new(Shared { writer: Mutex::new(writer), news: Arc::clone(&news), counts: Counts::default(), limit });
        let drain = Drain::new(segments, lock, Some(Arc::downgrade(&shared)), news);
        Ok((Spool(shared), drain))
    }

    /// Writes a row down. A few microseconds: the operating system takes it, the disk gets it later.
    ///
    /// # Errors
    /// [`Full`]; the row is lost then unless the caller keeps it.
    pub fn append(&self, table: &TableName, row: &[(ColumnName, Cell)]) -> Result<(), Full> {
        let line = line::write(table, row);
        let outcome = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).append(&line, self.0.limit);
        let counter = if outcome.is_ok() { &self.0.counts.appended } else { &self.0.counts.lost };
        counter.fetch_add(1, Ordering::Relaxed);
        self.0.news.notify_one();
        outcome
    }

    /// How many rows were taken, and how many found no room.
    pub fn counts(&self) -> (u64, u64) {
        (self.0.counts.appended.load(Ordering::Relaxed), self.0.counts.lost.load(Ordering::Relaxed))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.news.notify_one();
    }
}

impl Writer {
    fn append(&mut self, line: &[u8], limit: u64) -> Result<(), Full> {
        let waiting = self.segments.size().saturating_add(self.pending.len() as u64);
        if waiting + line.len() as u64 > limit || self.pending.len() + line.len() > PENDING {
            return Err(Full);
        }
        if self.end - self.base >= SEGMENT && self.pending.is_empty() {
            // Where no new file can be made the old one will do.
            if let Ok(file) = self.segments.begin(self.end) {
                self.file = file;
                self.base = self.end;
            }
        }
        self.pending.extend_from_slice(line);
        self.flush();
        Ok(())
    }

    /// Gives what is pending to the operating system, as much as it takes. A line that it took half of is
    /// completed by the next call.
    fn flush(&mut self) {
        while !self.pending.is_empty() {
            match self.file.write(&self.pending) {
                Ok(0) => return,
                Ok(count) => {
                    self.pending.drain(..count);
                    self.end += count as u64;
                    self.segments.grow(count as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}

/// What processes that are gone have left.
pub struct Orphans {
    /// Spools for the database in question.
    pub drains: Vec<Drain>,
    /// Directories of spools for other databases, which nobody writes to now, with the addresses of those.
    pub strangers: Vec<(PathBuf, String)>,
}

/// Finds what processes that are gone have left below `root` for the database at `target` and for others.
///
/// # Errors
/// When the root cannot be read.
pub fn orphans(root: &Path, target: &str) -> io::Result<Orphans> {
    let mut found = Orphans { drains: Vec::new(), strangers: Vec::new() };
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    for entry in entries {
        let directory = entry?.path();
        let Ok(lock) = OpenOptions::new().write(true).open(directory.join(LOCK)) else { continue };
        // Held by a process that lives, or by an earlier state of this one.
        if lock.try_lock().is_err() {
            continue;
        }
        let segments = Segments::new(directory.clone());
        let whose = fs::read_to_string(directory.join(TARGET)).unwrap_or_default();
        if segments.size() == 0 {
            segments.remove();
        } else if whose == target {
            found.drains.push(Drain::new(segments, lock, None, Arc::new(Notify::new())));
        } else {
            found.strangers.push((directory, whose));
        }
    }
    Ok(found)
}

/// A directory of a name that nobody had, locked.
fn make_directory(root: &Path) -> io::Result<(PathBuf, File)> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(root)?;
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    for n in 0..1000u32 {
        let directory = root.join(format!("{:x}-{:x}-{n}", since.as_micros(), std::process::id()));
        match fs::DirBuilder::new().mode(0o700).create(&directory) {
            Ok(()) => {
                let lock = File::create(directory.join(LOCK))?;
                lock.try_lock().map_err(io::Error::from)?;
                return Ok((directory, lock));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

const LOCK: &str = "lock";
const TARGET: &str = "target";
