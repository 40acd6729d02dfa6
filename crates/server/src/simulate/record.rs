//! Everything that happened in a simulation, in order: statements, log lines, messages.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::{Log, TraceSink};
use module_api::{Context, Level, LogLine};
use script::trace::{Entry, Event, Tracer};
use sip_message::Transport;

use super::Sent;

/// One thing that happened.
#[derive(Debug, Clone)]
pub(crate) enum Note {
    /// A step of the script.
    Step(Entry),
    /// A line in the log.
    Log(Level, String),
    /// A message reached the server.
    Received { at: Duration, from: SocketAddr, transport: Transport, text: String },
    /// A message left it.
    Sent(Sent),
}

/// The notes so far, shared by all who write them.
#[derive(Clone, Default)]
pub(crate) struct Record(Arc<Mutex<Vec<Note>>>);

/// A script that loops must not fill the memory with notes.
const LONGEST: usize = 200_000;

impl Record {
    /// Adds a note.
    pub(crate) fn add(&self, note: Note) {
        let mut notes = self.lock();
        if notes.len() < LONGEST {
            notes.push(note);
        }
    }

    /// Takes the log lines of modules.
    pub(crate) fn for_modules(&self) -> LogLine {
        let record = self.clone();
        Arc::new(move |level, text: &str| record.write(level, text.as_bytes()))
    }

    /// What was noted so far.
    pub(crate) fn notes(&self) -> Vec<Note> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Note>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log for Record {
    fn write(&self, level: Level, text: &[u8]) {
        self.add(Note::Log(level, String::from_utf8_lossy(text).trim_end().to_owned()));
    }
}

impl TraceSink for Record {
    fn tracer(&self, _: &Context) -> Arc<dyn Tracer> {
        Arc::new(self.clone())
    }
}

impl Tracer for Record {
    fn on(&self, event: &Event<'_>) {
        self.add(Note::Step(Entry::new(event)));
    }
}
