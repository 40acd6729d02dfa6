//! Asking the workers for what they have seen.

use std::fmt;
use std::time::Duration;

use engine::{Mail, Mailboxes, Record, Ring, What};
use module_api::CommandError;
use tokio::sync::oneshot;

/// Where a caller has got to: for each worker the number of the last record that it has had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor(Vec<u64>);

/// What the workers have seen, in the order of time.
pub(crate) struct Seen {
    /// The records, each with the number of its worker.
    pub(crate) messages: Vec<(usize, Record)>,
    /// Where this ends.
    pub(crate) cursor: Cursor,
    /// Records that were pushed out before somebody asked.
    pub(crate) lost: u64,
}

/// How long a worker may take to answer: much longer than a turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most records that a worker hands out at once: it does so between two messages, which must not wait.
const PAGE: usize = 1000;

impl Cursor {
    /// Reads a cursor; none stands for `now`.
    ///
    /// # Errors
    /// 400 when it is none.
    pub(crate) fn parse(text: &str) -> Result<Option<Cursor>, CommandError> {
        match text {
            "now" | "" => Ok(None),
            "start" => Ok(Some(Cursor(Vec::new()))),
            text => {
                let numbers: Result<Vec<u64>, _> = text.split('.').map(str::parse).collect();
                let numbers = numbers.map_err(|_| {
                    CommandError::new(
                        400,
                        format!("`{text}` is no cursor; give that of the last answer, `now` or `start`"),
                    )
                })?;
                Ok(Some(Cursor(numbers)))
            }
        }
    }

    fn has_reached(&self, end: &Cursor) -> bool {
        (0..end.0.len()).all(|worker| self.of(worker) >= end.of(worker))
    }

    fn of(&self, worker: usize) -> u64 {
        self.0.get(worker).copied().unwrap_or_default()
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(u64::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

/// Everything that is kept.
///
/// # Errors
/// 503 when a worker does not answer.
pub(crate) async fn all(workers: &Mailboxes) -> Result<Seen, CommandError> {
    let end = end(workers).await?;
    let mut seen = since(workers, &Cursor(Vec::new()), PAGE).await?;
    while !seen.cursor.has_reached(&end) {
        let page = since(workers, &seen.cursor, PAGE).await?;
        if page.messages.is_empty() {
            break;
        }
        seen.cursor = page.cursor;
        seen.messages.extend(page.messages);
    }
    seen.messages.sort_by_key(|(_, record)| record.at);
    Ok(seen)
}

/// The place behind everything that has been seen so far.
///
/// # Errors
/// 503 when a worker does not answer.
pub(crate) async fn end(workers: &Mailboxes) -> Result<Cursor, CommandError> {
    let mut numbers = Vec::with_capacity(workers.len());
    for worker in 0..workers.len() {
        numbers.push(ask(workers, worker, Ring::last).await?);
    }
    Ok(Cursor(numbers))
}

/// What came after `cursor`, at most `most` records of each worker.
///
/// # Errors
/// 503 when a worker does not answer.
pub(crate) async fn since(workers: &Mailboxes, cursor: &Cursor, most: usize) -> Result<Seen, CommandError> {
    let mut seen = Seen { messages: Vec::new(), cursor: Cursor(Vec::new()), lost: 0 };
    for worker in 0..workers.len() {
        let from = cursor.of(worker);
        let look = move |ring: &Ring| {
            let mut records: Vec<Record> = Vec::new();
            for record in ring.since(from) {
                // The steps that a message has caused stand behind it and go with it.
                if records.len() >= most && matches!(record.what, What::Message { .. }) {
                    break;
                }
                records.push(record.clone());
            }
            // Of what is left for the next call nothing is lost yet.
            let to = records.last().map_or(ring.last().min(from), |record| record.number);
            let lost = (to - from.min(to)).saturating_sub(records.len() as u64);
            (records, to, lost)
        };
        let (records, to, lost) = ask(workers, worker, look).await?;
        seen.cursor.0.push(to);
        seen.lost += lost;
        seen.messages.extend(records.into_iter().map(|record| (worker, record)));
    }
    // What one worker has seen keeps its order also where its clock stood still.
    seen.messages.sort_by_key(|(_, record)| record.at);
    Ok(seen)
}

async fn ask<T: Send + 'static>(
    workers: &Mailboxes,
    worker: usize,
    look: impl FnOnce(&Ring) -> T + Send + 'static,
) -> Result<T, CommandError> {
    let silent = |why| CommandError::new(503, format!("worker {worker} {why}"));
    let (answer, answered) = oneshot::channel();
    // Whoever asked may have gone meanwhile.
    let look = Mail::Look(Box::new(move |ring: &Ring| drop(answer.send(look(ring)))));
    workers[worker].send(look).map_err(|_| silent("has no time; ask again"))?;
    match tokio::time::timeout(PATIENCE, answered).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(_)) => Err(silent("has stopped")),
        Err(_) => Err(silent("does not answer")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was_given() {
        let cursor = Cursor(vec![3, 0, 17]);
        assert_eq!(cursor.to_string(), "3.0.17");
        assert_eq!(Cursor::parse("3.0.17"), Ok(Some(cursor)));
        assert_eq!(Cursor::parse("now"), Ok(None));
        assert_eq!(Cursor::parse("3.x").expect_err("no number").code, 400);
    }
}
