//! From a spool to somebody who acknowledges each row, such as an accounting server.
//!
//! Such a receiver has no transaction in which it could note how far it has got, so that is noted here, after the
//! acknowledgement: a row arrives at least once. One that was acknowledged just before the process was killed arrives
//! again as it was, by which the receiver knows it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::drain::{Drain, LONGEST_PAUSE, SHORTEST_PAUSE};
use super::line;
use crate::{Cell, ColumnName, Write};

/// Why a row was not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undelivered {
    /// Nobody acknowledged it; it is tried again.
    Later(String),
    /// It cannot be delivered, whenever it is tried.
    Never(String),
}

/// Delivers a row and waits for the acknowledgement.
pub type Courier =
    Arc<dyn Fn(Vec<(ColumnName, Cell)>) -> Pin<Box<dyn Future<Output = Result<(), Undelivered>> + Send>> + Send + Sync>;

/// How many rows are on their way at once.
const AT_ONCE: usize = 32;
/// How much of the spool is looked at for them.
const WINDOW: usize = 1 << 20;
/// So often a row is tried while the receiver takes others; then it is the row.
const MOST_TRIES: u32 = 10;

impl Drain {
    /// Brings rows to `courier` until the spool is empty and nobody writes to it any more.
    ///
    /// A row that is not acknowledged is tried again, and holds up nobody behind it for long. One that the receiver
    /// leaves without answer while it takes others goes to the file `refused.jsonl` beside the spools.
    pub async fn forward(self, courier: Courier, report: Arc<dyn Fn(&str) + Send + Sync>) {
        let mark = self.segments().directory().join("reached");
        let place = fs::read_to_string(&mark).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let mut forward =
            Forward { drain: self, courier, report, mark, place, done: BTreeSet::new(), unlucky: Vec::new() };
        let mut pause = SHORTEST_PAUSE;
        loop {
            // Asked before the spool is looked at: the last row may come between the two.
            let is_over = forward.drain.is_over();
            match forward.step().await {
                Step::Advanced => pause = SHORTEST_PAUSE,
                Step::Nothing if is_over => return forward.drain.segments().remove(),
                Step::Nothing => forward.drain.news().await,
                Step::Partly => {
                    pause = SHORTEST_PAUSE;
                    tokio::time::sleep(pause).await;
                }
                Step::Stuck => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }
}

struct Forward {
    drain: Drain,
    courier: Courier,
    report: Arc<dyn Fn(&str) + Send + Sync>,
    /// The file that holds the place.
    mark: PathBuf,
    /// Everything before it is delivered.
    place: u64,
    /// Ends of rows behind the place that are delivered.
    done: BTreeSet<u64>,
    /// Ends of rows that got no answer while others did, and how often.
    unlucky: Vec<(u64, u32)>,
}

enum Step {
    Advanced,
    Nothing,
    /// Rows behind the first were delivered, that one not.
    Partly,
    Stuck,
}

impl Forward {
    /// Tries the first rows that are not delivered yet, all at once.
    async fn step(&mut self) -> Step {
        let Some(lines) = self.lines().await else { return Step::Stuck };
        let waiting: Vec<_> = lines.iter().filter(|(end, _)| !self.done.contains(end)).take(AT_ONCE).collect();
        if waiting.is_empty() {
            return if self.advance(&lines) { Step::Advanced } else { Step::Nothing };
        }
        let mut tries = JoinSet::new();
        for (end, octets) in waiting {
            let (end, courier) = (*end, Arc::clone(&self.courier));
            match line::read(octets) {
                Some(Write::Insert { row, .. }) => drop(tries.spawn(async move { (end, courier(row).await) })),
                // Whoever wrote it was not this program.
                _ => drop(self.done.insert(end)),
            }
        }
        let (mut has_delivered, mut failed) = (false, Vec::new());
        while let Some(tried) = tries.join_next().await {
            match tried {
                Ok((end, Ok(()))) => {
                    has_delivered = true;
                    self.done.insert(end);
                }
                Ok((end, Err(why))) => failed.push((end, why)),
                // A courier that panicked delivered nothing; the row is tried again.
                Err(_) => {}
            }
        }
        for (end, why) in failed {
            self.on_failure(end, why, has_delivered, &lines);
        }
        match (self.advance(&lines), has_delivered) {
            (true, _) => Step::Advanced,
            (false, true) => Step::Partly,
            (false, false) => Step::Stuck,
        }
    }

    fn on_failure(&mut self, end: u64, why: Undelivered, takes_others: bool, lines: &[(u64, Vec<u8>)]) {
        let cause = match why {
            Undelivered::Never(cause) => cause,
            Undelivered::Later(_) if !takes_others => return,
            Undelivered::Later(cause) => {
                let place = self.unlucky.iter().position(|(one, _)| *one == end);
                let place = place.unwrap_or_else(|| {
                    self.unlucky.push((end, 0));
                    self.unlucky.len() - 1
                });
                self.unlucky[place].1 += 1;
                if self.unlucky[place].1 < MOST_TRIES {
                    return;
                }
                cause
            }
        };
        let octets = lines.iter().find(|(one, _)| *one == end).map_or(&[][..], |(_, octets)| octets);
        match self.drain.put_aside(octets) {
            Ok(path) => {
                (self.report)(&format!("a record was not taken and is kept in {}: {cause}", path.display()));
                self.done.insert(end);
            }
            Err(error) => (self.report)(&format!("a record was not taken ({cause}) and cannot be kept: {error}")),
        }
    }

    /// Moves the place behind all that is delivered, and notes it. False when it stays.
    fn advance(&mut self, lines: &[(u64, Vec<u8>)]) -> bool {
        let before = self.place;
        for (end, _) in lines {
            if !self.done.remove(end) {
                break;
            }
            self.place = *end;
        }
        if self.place == before {
            return false;
        }
        self.unlucky.retain(|(end, _)| *end > self.place);
        // Written beside and renamed: a mark is there whole or is the one before. Where the disk is full the mark of
        // before stays, and rows may arrive twice.
        let beside = self.mark.with_extension("new");
        let _ = fs::write(&beside, self.place.to_string()).and_then(|()| fs::rename(&beside, &self.mark));
        self.drain.segments().trim(self.place);
        true
    }

    /// None when the disk cannot be read.
    async fn lines(&self) -> Option<Vec<(u64, Vec<u8>)>> {
        let (segments, place) = (self.drain.segments().clone(), self.place);
        let read = tokio::task::spawn_blocking(move || segments.lines(place, WINDOW)).await;
        read.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::TableName;
    use crate::spool::{Orphans, Spool, orphans};

    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Scratch {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let name = format!("ser-forward-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
            Scratch(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// A receiver that takes rows, or does not.
    #[derive(Clone, Default)]
    struct Receiver {
        taken: Arc<Mutex<Vec<String>>>,
        is_away: Arc<AtomicBool>,
        tried: Arc<AtomicU32>,
    }

    impl Receiver {
        fn courier(&self) -> Courier {
            let receiver = self.clone();
            Arc::new(move |row| {
                let receiver = receiver.clone();
                Box::pin(async move {
                    receiver.tried.fetch_add(1, Ordering::Relaxed);
                    let name = row[0].1.to_text().unwrap_or_default();
                    if receiver.is_away.load(Ordering::Relaxed) || name == "poison" {
                        return Err(Undelivered::Later("no answer".into()));
                    }
                    if name == "monster" {
                        return Err(Undelivered::Never("too long".into()));
                    }
                    receiver.taken.lock().expect("nobody panics").push(name);
                    Ok(())
                })
            })
        }

        fn taken(&self) -> Vec<String> {
            let mut taken = self.taken.lock().expect("nobody panics").clone();
            taken.sort();
            taken
        }
    }

    fn spool(root: &Path) -> (Spool, Drain) {
        Spool::create(root, "receiver", 1 << 20).expect("it can be made")
    }

    fn append(spool: &Spool, names: &[&str]) {
        let name = |text| TableName::new(text).expect("a literal name");
        for one in names {
            spool.append(&name("records"), &[(name("name"), Cell::from(*one))]).expect("there is room");
        }
    }

    fn quiet() -> Arc<dyn Fn(&str) + Send + Sync> {
        Arc::new(|_| {})
    }

    #[tokio::test]
    async fn rows_wait_for_a_receiver_that_is_away_and_arrive_once_each() {
        let (scratch, receiver) = (Scratch::new(), Receiver::default());
        let (spool, drain) = spool(&scratch.0);
        receiver.is_away.store(true, Ordering::Relaxed);
        append(&spool, &["a", "b", "c"]);
        let task = tokio::spawn(drain.forward(receiver.courier(), quiet()));
        while receiver.tried.load(Ordering::Relaxed) < 9 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        receiver.is_away.store(false, Ordering::Relaxed);
        append(&spool, &["d"]);
        drop(spool);
        task.await.expect("it ends");
        assert_eq!(receiver.taken(), ["a", "b", "c", "d"]);
        assert_eq!(fs::read_dir(&scratch.0).expect("it is there").count(), 0, "the spool is removed");
    }

    #[tokio::test]
    async fn a_row_that_is_never_taken_goes_aside_and_holds_up_nobody() {
        let (scratch, receiver) = (Scratch::new(), Receiver::default());
        let (spool, drain) = spool(&scratch.0);
        let told = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&told);
        let report = Arc::new(move |line: &str| log.lock().expect("nobody panics").push(line.to_owned()));
        append(&spool, &["poison", "monster"]);
        let task = tokio::spawn(drain.forward(receiver.courier(), report));
        let mut expected = Vec::new();
        // Each is taken while the poison is tried once more.
        for n in 0..MOST_TRIES + 2 {
            let name = format!("{n:02}");
            append(&spool, &[&name]);
            expected.push(name);
            while receiver.taken().len() < expected.len() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        drop(spool);
        task.await.expect("it ends");
        assert_eq!(receiver.taken(), expected);
        let kept = fs::read_to_string(scratch.0.join("refused.jsonl")).expect("it is there");
        assert_eq!((kept.lines().count(), kept.contains("poison"), kept.contains("monster")), (2, true, true));
        assert_eq!(told.lock().expect("nobody panics").len(), 2);
    }

    #[tokio::test]
    async fn what_a_killed_process_left_is_delivered_by_the_next_from_where_it_stood() {
        let (scratch, receiver) = (Scratch::new(), Receiver::default());
        let (spool, drain) = spool(&scratch.0);
        append(&spool, &["a", "b"]);
        let task = tokio::spawn(drain.forward(receiver.courier(), quiet()));
        while receiver.taken().len() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Until the place is noted, as it is at once.
        let noted = || {
            let entry = fs::read_dir(&scratch.0).expect("it is there").flatten().find(|one| one.path().is_dir());
            entry.is_some_and(|one| one.path().join("reached").exists())
        };
        while !noted() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        receiver.is_away.store(true, Ordering::Relaxed);
        append(&spool, &["c"]);
        task.abort();
        assert!(task.await.is_err_and(|error| error.is_cancelled()));
        drop(spool);
        receiver.is_away.store(false, Ordering::Relaxed);
        let Orphans { mut drains, .. } = orphans(&scratch.0, "receiver").expect("it can be read");
        drains.pop().expect("it left one").forward(receiver.courier(), quiet()).await;
        assert_eq!(receiver.taken(), ["a", "b", "c"]);
    }
}
