//! The files of a spool. Each is named by the place of its first octet in the sequence of all octets.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The files in one directory; clones share what is known of their size.
#[derive(Clone)]
pub(super) struct Segments {
    directory: PathBuf,
    size: Arc<AtomicU64>,
}

impl Segments {
    pub(super) fn new(directory: PathBuf) -> Segments {
        let segments = Segments { directory, size: Arc::default() };
        let sizes = segments.bases().into_iter().filter_map(|base| fs::metadata(segments.path(base)).ok());
        segments.size.store(sizes.map(|data| data.len()).sum(), Ordering::Relaxed);
        segments
    }

    /// The name of the spool: that of its directory.
    pub(super) fn name(&self) -> String {
        self.directory.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    pub(super) fn directory(&self) -> &PathBuf {
        &self.directory
    }

    /// Octets that lie on the disk.
    pub(super) fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    pub(super) fn grow(&self, count: u64) {
        self.size.fetch_add(count, Ordering::Relaxed);
    }

    /// Begins a file at `base`.
    pub(super) fn begin(&self, base: u64) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).mode(0o600).open(self.path(base))
    }

    /// Whole lines from `place` on, each with the place behind it, at most `limit` octets of them. Empty when there
    /// are none (yet).
    pub(super) fn lines(&self, place: u64, limit: usize) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let bases = self.bases();
        let Some(base) = bases.iter().rev().find(|base| **base <= place) else { return Ok(Vec::new()) };
        let mut file = File::open(self.path(*base))?;
        file.seek(SeekFrom::Start(place - base))?;
        let mut octets = Vec::new();
        file.take(limit as u64).read_to_end(&mut octets)?;
        let mut lines = Vec::new();
        let mut end = place;
        for line in octets.split_inclusive(|octet| *octet == b'\n') {
            // The rest of it is still to be written, or was cut off with its process; a longer one than `limit` there
            // is not.
            if line.last() != Some(&b'\n') {
                break;
            }
            end += line.len() as u64;
            lines.push((end, line.to_vec()));
        }
        Ok(lines)
    }

    /// Gives back the files that lie wholly before `place`.
    pub(super) fn trim(&self, place: u64) {
        let bases = self.bases();
        for pair in bases.windows(2).filter(|pair| pair[1] <= place) {
            // One that stays is only room that is not given back, and is tried again.
            if fs::remove_file(self.path(pair[0])).is_ok() {
                self.size.fetch_sub(pair[1] - pair[0], Ordering::Relaxed);
            }
        }
    }

    /// Asks the disk to have what the operating system has.
    pub(super) fn sync(&self) -> io::Result<()> {
        match self.bases().last() {
            Some(base) => File::open(self.path(*base))?.sync_data(),
            None => Ok(()),
        }
    }

    /// Removes the spool. The files go in order, so that what a crash leaves of them is the newest.
    pub(super) fn remove(&self) {
        for base in self.bases() {
            if fs::remove_file(self.path(base)).is_err() {
                return;
            }
        }
        // What cannot be removed is found empty by the next process, which tries again.
        let _ = fs::remove_dir_all(&self.directory);
    }

    /// Where the files begin, ascending.
    fn bases(&self) -> Vec<u64> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let mut bases: Vec<u64> =
            entries.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(SUFFIX)?.parse().ok()).collect();
        bases.sort_unstable();
        bases
    }

    fn path(&self, base: u64) -> PathBuf {
        self.directory.join(format!("{base:020}{SUFFIX}"))
    }
}

const SUFFIX: &str = ".spool";
