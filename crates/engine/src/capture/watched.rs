//! Calls whose messages a module wants to see as they come and go.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use module_api::{Extent, Sighting, Watch};
use smallvec::SmallVec;

use super::glance::Glance;

/// The watched calls of one desk, by the hash of their Call-IDs.
#[derive(Default)]
pub(super) struct Watched {
    calls: HashMap<u64, SmallVec<[Entry; 1]>>,
    swept: Option<Instant>,
}

struct Entry {
    watch: Watch,
    /// The CSeq number, where it is about one transaction.
    cseq: Option<u32>,
    until: Instant,
}

/// Most watched calls of one desk; a call beyond is not watched.
const MOST: usize = 10_000;
/// Most wishes about one call.
const MOST_OF_CALL: usize = 16;
/// How long after its last message a transaction is over. A ringing one repeats its provisional replies every minute
/// (RFC 3261 section 13.3.1.1).
const TRANSACTION: Duration = Duration::from_secs(300);
/// How long a dialog may be silent.
const DIALOG: Duration = Duration::from_secs(12 * 3600);
/// What may still come after the end of a dialog: repetitions for 64*T1 (RFC 3261 section 17).
const AFTER_THE_END: Duration = Duration::from_secs(32);
/// How often calls that are over are looked for, at most.
const SWEEP: Duration = Duration::from_secs(10);

impl Watched {
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Watches a call; false where there is no room.
    pub(super) fn add(&mut self, call: u64, cseq: Option<u32>, watch: Watch, now: Instant) -> bool {
        self.sweep(now);
        if self.calls.len() >= MOST && !self.calls.contains_key(&call) {
            return false;
        }
        let cseq = cseq.filter(|_| watch.extent == Extent::Transaction);
        let until = now + silence(watch.extent);
        let entries = self.calls.entry(call).or_default();
        entries.retain(|entry| (&entry.watch.name, entry.cseq) != (&watch.name, cseq));
        if entries.len() >= MOST_OF_CALL {
            return false;
        }
        entries.push(Entry { watch, cseq, until });
        true
    }

    /// Tells whoever watches the call of a message.
    pub(super) fn tell(&mut self, call: u64, seen: &Glance<'_>, sighting: &Sighting, now: Instant) {
        let Some(entries) = self.calls.get_mut(&call) else { return };
        let cseq = seen.cseq_number();
        for entry in entries.iter_mut().filter(|entry| entry.cseq.is_none() || entry.cseq == cseq) {
            entry.watch.watcher.on(sighting);
            let is_end = entry.watch.extent == Extent::Dialog && seen.ends_dialog();
            entry.until = now + if is_end { AFTER_THE_END } else { silence(entry.watch.extent) };
        }
    }

    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| now.saturating_duration_since(swept) < SWEEP) {
            return;
        }
        self.swept = Some(now);
        self.calls.retain(|_, entries| {
            entries.retain(|entry| entry.until > now);
            !entries.is_empty()
        });
    }
}

fn silence(extent: Extent) -> Duration {
    match extent {
        Extent::Transaction => TRANSACTION,
        Extent::Dialog => DIALOG,
    }
}

#[cfg(test)]
mod tests {
    use super::super::glance::glance;
    use super::*;
    use bytes::Bytes;
    use module_api::Watcher;
    use std::sync::{Arc, Mutex};

    #[derive(Default)]
    struct Lines(Mutex<Vec<String>>);

    impl Watcher for Lines {
        fn on(&self, sighting: &Sighting) {
            let line = String::from_utf8_lossy(&sighting.bytes).lines().next().unwrap_or_default().to_owned();
            self.0.lock().expect("no test panics while it holds this lock").push(line);
        }
    }

    struct Scene {
        watched: Watched,
        lines: Arc<Lines>,
        now: Instant,
    }

    impl Scene {
        fn new() -> Scene {
            Scene { watched: Watched::default(), lines: Arc::default(), now: Instant::now() }
        }

        fn add(&mut self, call: u64, extent: Extent) -> bool {
            let watch = Watch { extent, name: Bytes::new(), watcher: Arc::clone(&self.lines) as _ };
            self.watched.add(call, Some(1), watch, self.now)
        }

        fn see(&mut self, call: u64, line: &str, cseq: &str) {
            let address = "192.0.2.1:5060".parse().expect("a literal");
            let text = format!("{line}\r\nCall-ID: a\r\nCSeq: {cseq}\r\n\r\n");
            let sighting = Sighting {
                at: Duration::ZERO,
                is_sent: false,
                transport: sip_message::Transport::Udp,
                source: address,
                destination: address,
                bytes: Bytes::from(text),
            };
            let bytes = sighting.bytes.clone();
            self.watched.tell(call, &glance(&bytes, true), &sighting, self.now);
        }

        fn seen(&self) -> Vec<String> {
            std::mem::take(&mut *self.lines.0.lock().expect("no test panics while it holds this lock"))
        }
    }

    #[test]
    fn a_watched_transaction_is_what_has_its_cseq_number() {
        let mut scene = Scene::new();
        assert!(scene.add(7, Extent::Transaction));
        for (line, cseq) in
            [("ACK", "1 ACK"), ("SIP/2.0 200 OK", "1 INVITE"), ("BYE", "2 BYE"), ("CANCEL", " 1  CANCEL")]
        {
            scene.see(7, line, cseq);
        }
        scene.see(8, "INVITE", "1 INVITE");
        assert_eq!(scene.seen(), ["ACK", "SIP/2.0 200 OK", "CANCEL"]);
    }

    #[test]
    fn a_second_wish_of_the_same_name_replaces_the_first() {
        let mut scene = Scene::new();
        assert!(scene.add(7, Extent::Transaction) && scene.add(7, Extent::Transaction));
        scene.see(7, "ACK", "1 ACK");
        assert_eq!(scene.seen(), ["ACK"]);
    }

    #[test]
    fn a_watched_dialog_ends_soon_after_the_reply_to_its_bye() {
        let mut scene = Scene::new();
        assert!(scene.add(7, Extent::Dialog));
        scene.now += DIALOG / 2;
        scene.see(7, "BYE", "2 BYE");
        scene.see(7, "SIP/2.0 200 OK", "2 BYE");
        scene.now += AFTER_THE_END + Duration::from_secs(1);
        assert!(scene.add(8, Extent::Dialog));
        scene.see(7, "BYE again", "2 BYE");
        assert_eq!(scene.seen(), ["BYE", "SIP/2.0 200 OK"]);
    }

    #[test]
    fn calls_beyond_the_bound_are_not_watched_until_others_are_over() {
        let mut scene = Scene::new();
        for call in 0..MOST as u64 {
            assert!(scene.add(call, Extent::Transaction));
        }
        assert!(!scene.add(MOST as u64, Extent::Transaction));
        scene.now += TRANSACTION;
        assert!(scene.add(MOST as u64, Extent::Transaction));
        assert_eq!(scene.watched.calls.len(), 1);
    }
}
