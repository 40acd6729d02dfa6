//! What the server tells the outside world as it happens: calls, registrations, messages, bans.
//!
//! Whoever has news asks first whether anybody wants it, which costs one load; only then is it written down. Giving
//! it away never waits: what takes it has a bound and drops beyond it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::Data;

/// What kind of news it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant is documented by `doc`, which the reference shows too")]
pub enum EventKind {
    CallStart,
    CallAnswer,
    CallEnd,
    CallFail,
    Message,
    Reject,
    RegistrationSave,
    RegistrationRemove,
    RegistrationExpire,
    Ban,
    Reload,
    Drain,
    Span,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [EventKind; 13] = [
        EventKind::CallStart,
        EventKind::CallAnswer,
        EventKind::CallEnd,
        EventKind::CallFail,
        EventKind::Message,
        EventKind::Reject,
        EventKind::RegistrationSave,
        EventKind::RegistrationRemove,
        EventKind::RegistrationExpire,
        EventKind::Ban,
        EventKind::Reload,
        EventKind::Drain,
        EventKind::Span,
    ];

    /// Its name, a group and what happened: `call.start`.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::CallStart => "call.start",
            EventKind::CallAnswer => "call.answer",
            EventKind::CallEnd => "call.end",
            EventKind::CallFail => "call.fail",
            EventKind::Message => "message",
            EventKind::Reject => "reject",
            EventKind::RegistrationSave => "registration.save",
            EventKind::RegistrationRemove => "registration.remove",
            EventKind::RegistrationExpire => "registration.expire",
            EventKind::Ban => "ban",
            EventKind::Reload => "reload",
            EventKind::Drain => "drain",
            EventKind::Span => "span",
        }
    }

    /// What it tells.
    pub fn doc(self) -> &'static str {
        match self {
            EventKind::CallStart => "An INVITE that begins a call has been sent on.",
            EventKind::CallAnswer => "A call has been answered; `delay` is in seconds.",
            EventKind::CallEnd => "A call has ended with a BYE; `duration` is in seconds.",
            EventKind::CallFail => "A call has come to nothing: its final status is not a success.",
            EventKind::Message => "A MESSAGE has its final reply.",
            EventKind::Reject => "A request was refused by this server itself, challenges aside.",
            EventKind::RegistrationSave => "A contact was registered, or its registration refreshed.",
            EventKind::RegistrationRemove => "A contact was removed by its phone or an operator.",
            EventKind::RegistrationExpire => "Registrations of a table have run out.",
            EventKind::Ban => "A source has been blocked for sending too much.",
            EventKind::Reload => "Script and certificates were loaded again, or could not be.",
            EventKind::Drain => "The server takes no new work and ends.",
            EventKind::Span => "A request has been dealt with: what a trace collector is told. Only on demand.",
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Something that has happened.
#[derive(Debug, Clone)]
pub struct PublicEvent {
    /// What.
    pub kind: EventKind,
    /// When, since 1970.
    pub time: Duration,
    /// Who and where, by name.
    pub fields: Vec<(&'static str, Data)>,
}

/// The way of news to whoever takes them. Clones are the same way; one that nobody has opened leads nowhere.
#[derive(Clone, Default)]
pub struct PublicEvents(Arc<Inner>);

#[derive(Default)]
struct Inner {
    wanted: AtomicU32,
    take: OnceLock<Box<TakeEvent>>,
}

/// Takes an event, without ever waiting.
pub type TakeEvent = dyn Fn(PublicEvent) + Send + Sync;

impl PublicEvents {
    /// Opens the way; `take` must not wait. Opened twice it stays as it is.
    pub fn open(&self, take: Box<TakeEvent>) {
        let _ = self.0.take.set(take);
    }

    /// Says which kinds somebody wants from now on.
    pub fn want(&self, kinds: impl IntoIterator<Item = EventKind>) {
        let bits = kinds.into_iter().fold(0, |bits, kind| bits | kind.bit());
        self.0.wanted.store(bits, Ordering::Relaxed);
    }

    /// Whether anybody wants to hear of `kind`.
    pub fn is_wanted(&self, kind: EventKind) -> bool {
        self.0.wanted.load(Ordering::Relaxed) & kind.bit() != 0
    }

    /// Tells of something at `time`, where anybody wants to hear of it; only then are `fields` made.
    pub fn tell(&self, kind: EventKind, time: Duration, fields: impl FnOnce() -> Vec<(&'static str, Data)>) {
        if self.is_wanted(kind)
            && let Some(take) = self.0.take.get()
        {
            take(PublicEvent { kind, time, fields: fields() });
        }
    }
}

impl std::fmt::Debug for PublicEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublicEvents").field("wanted", &self.0.wanted).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn news_that_nobody_wants_are_not_even_written_down() {
        let events = PublicEvents::default();
        let (sender, receiver) = channel();
        events.open(Box::new(move |event| sender.send(event.kind).expect("it is read")));
        let fields = || panic!("nobody wants it");
        events.tell(EventKind::Ban, Duration::ZERO, fields);
        events.want([EventKind::Ban, EventKind::CallEnd]);
        events.tell(EventKind::CallStart, Duration::ZERO, fields);
        events.tell(EventKind::Ban, Duration::ZERO, Vec::new);
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [EventKind::Ban]);
    }

    #[test]
    fn kinds_have_names_of_their_own() {
        let mut names: Vec<_> = EventKind::ALL.iter().map(|kind| kind.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), EventKind::ALL.len());
        assert_eq!(EventKind::ALL.iter().fold(0, |bits, kind| bits | kind.bit()).count_ones() as usize, names.len());
    }
}
