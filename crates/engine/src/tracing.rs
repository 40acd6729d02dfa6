//! Whose requests have their way through the script written down, and where that goes.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use module_api::Context;
use script::trace::{Entry, EntryKind, Event, Tracer, render};
use sip_message::{Message, NameAddr, Uri};

/// Watches the script for chosen callers, switched on and off while the server runs.
#[derive(Default)]
pub struct Tracing {
    /// Read for every run of a route, so that a server that watches nobody pays one load for it.
    is_on: AtomicBool,
    watch: ArcSwapOption<Watch>,
}

struct Watch {
    who: Vec<Who>,
    sink: Arc<dyn TraceSink>,
}

/// Whom to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Everybody: much output.
    Everybody,
    /// A user in From or To, with the domain where it matters.
    User(String, Option<String>),
    /// Messages that come from this address.
    Address(IpAddr),
}

/// Where traces go.
pub trait TraceSink: Send + Sync {
    /// Who is told of the run that is about to begin on `context`.
    fn tracer(&self, context: &Context) -> Arc<dyn Tracer>;
}

impl Tracing {
    /// Watches `who` from the next message on, in place of whom it watched before.
    pub fn watch(&self, who: Vec<Who>, sink: Arc<dyn TraceSink>) {
        let is_on = !who.is_empty();
        self.watch.store(Some(Arc::new(Watch { who, sink })));
        self.is_on.store(is_on, Ordering::Release);
    }

    /// Watches nobody any more.
    pub fn stop(&self) {
        self.is_on.store(false, Ordering::Release);
        self.watch.store(None);
    }

    /// Whom it watches.
    pub fn watched(&self) -> Vec<Who> {
        self.watch.load().as_ref().map(|watch| watch.who.clone()).unwrap_or_default()
    }

    /// Who is told of a run on `context`, if anybody.
    pub(crate) fn tracer(&self, context: &Context) -> Option<Arc<dyn Tracer>> {
        if !self.is_on.load(Ordering::Relaxed) {
            return None;
        }
        let watch = self.watch.load_full()?;
        watch.who.iter().any(|who| who.is_met_by(context)).then(|| watch.sink.tracer(context))
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Everybody => f.write_str("*"),
            Who::User(user, None) => f.write_str(user),
            Who::User(user, Some(domain)) => write!(f, "{user}@{domain}"),
            Who::Address(address) => write!(f, "{address}"),
        }
    }
}

impl Who {
    /// Reads `*`, an address, `user` or `user@domain`, each also behind `sip:`.
    ///
    /// # Errors
    /// In words, when it is none of these.
    pub fn parse(text: &str) -> Result<Who, String> {
        let text = text.trim().strip_prefix("sip:").unwrap_or(text.trim());
        if text == "*" {
            return Ok(Who::Everybody);
        }
        if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse() {
            return Ok(Who::Address(address));
        }
        let (user, domain) = match text.split_once('@') {
            Some((user, domain)) => (user, Some(domain.to_ascii_lowercase())),
            None => (text, None),
        };
        let is_name = !user.is_empty() && domain.as_deref() != Some("") && !text.contains(char::is_whitespace);
        match is_name {
            true => Ok(Who::User(user.to_owned(), domain)),
            false => Err(format!("`{text}` names nobody; write user, user@domain, an IP address or *")),
        }
    }

    fn is_met_by(&self, context: &Context) -> bool {
        match self {
            Who::Everybody => true,
            Who::Address(address) => context.arrival.source.ip().to_canonical() == *address,
            Who::User(user, domain) => {
                let message: &Message = context.request.as_ref().unwrap_or(&context.message);
                [message.from(), message.to()]
                    .into_iter()
                    .flatten()
                    .any(|party| is_party(&party, user, domain.as_deref()))
            }
        }
    }
}

fn is_party(party: &NameAddr<'_>, user: &str, domain: Option<&str>) -> bool {
    let Ok(uri) = Uri::parse(party.uri) else { return false };
    uri.user.is_some_and(|theirs| theirs == user.as_bytes())
        && domain.is_none_or(|domain| uri.host_text.eq_ignore_ascii_case(domain.as_bytes()))
}

/// Takes a line of a trace.
pub type TakeLine = dyn Fn(&[u8]) + Send + Sync;

/// Gives each line of a trace, with the Call-ID, to a function that writes it somewhere. Not to the log of the
/// workers: that one may be too quiet for what somebody has asked for.
pub struct TraceLines(pub Arc<TakeLine>);

impl TraceSink for TraceLines {
    fn tracer(&self, context: &Context) -> Arc<dyn Tracer> {
        let call_id = String::from_utf8_lossy(context.message.call_id()).into_owned();
        Arc::new(LineTracer { take: Arc::clone(&self.0), call_id, entries: Mutex::new(Vec::new()) })
    }
}

/// Keeps what it is told until a statement's lines are whole, then writes them.
struct LineTracer {
    take: Arc<TakeLine>,
    call_id: String,
    entries: Mutex<Vec<Entry>>,
}

/// A loop without calls must not gather lines without end.
const LONGEST: usize = 200;

impl Tracer for LineTracer {
    fn on(&self, event: &Event<'_>) {
        let entry = Entry::new(event);
        // What runs inside of a call, a branch route above all, must stand behind the line of the call.
        let is_whole = matches!(entry.kind, EntryKind::Call | EntryKind::Wait | EntryKind::Finish | EntryKind::End);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push(entry);
        if is_whole || entries.len() >= LONGEST {
            for line in render(&std::mem::take(&mut *entries)) {
                (self.take)(format!("trace {}: {line}", self.call_id).as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_to_watch_is_a_user_an_address_or_everybody() {
        assert_eq!(Who::parse("*"), Ok(Who::Everybody));
        assert_eq!(Who::parse("192.0.2.7"), Ok(Who::Address("192.0.2.7".parse().expect("a literal"))));
        assert_eq!(Who::parse("[2001:db8::1]"), Ok(Who::Address("2001:db8::1".parse().expect("a literal"))));
        assert_eq!(Who::parse("alice"), Ok(Who::User("alice".into(), None)));
        assert_eq!(Who::parse("sip:alice@Example.COM"), Ok(Who::User("alice".into(), Some("example.com".into()))));
        assert!(Who::parse("").is_err());
        assert!(Who::parse("alice@").is_err());
    }
}
