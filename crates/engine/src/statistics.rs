//! What the engine counts, under the names that both families' tools know.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use module_api::{Counter, Gauge, Histogram, PeerFigures, Scale, StatisticKind};
use sip_message::Method;

use crate::figures::{Board, Outcomes};

/// What the engine counts.
///
/// What arrives is counted by method or class alone; the sums are made when somebody asks for them, so that a
/// message costs one addition.
#[derive(Clone)]
pub struct Statistics {
    requests: Arc<Vec<Counter>>,
    replies: Arc<Vec<Counter>>,
    finals: Arc<Vec<Counter>>,
    stateless: Arc<Vec<Counter>>,
    /// Messages refused or dropped because they are malformed.
    pub malformed: Counter,
    /// Requests answered without the script because they repeat an earlier one.
    pub retransmissions: Counter,
    /// Transactions made.
    pub transactions: Counter,
    /// New requests that were refused because more came than could be done.
    pub shed: Counter,
    /// How much of what is new is refused, in thousandths.
    pub overload: Gauge,
    /// Transactions that are held.
    pub held: Gauge,
    /// Messages that could not be sent.
    pub send_errors: Counter,
    /// Replies that belong to nothing and were dropped.
    pub stray_replies: Counter,
    /// Requests refused because a bound was reached.
    pub refused: Counter,
    /// Script runs that ended in an error.
    pub script_errors: Counter,
    /// Messages whose work ended in a mistake of the server's own.
    pub panics: Counter,
    pub(crate) outcomes: Outcomes,
    /// Where all of this is shown, for what each worker adds.
    pub(crate) registry: module_api::Statistics,
    boards: Arc<Boards>,
}

/// What each worker shows. Locked when a worker begins and when somebody reads, never while one works.
#[derive(Default)]
struct Boards(Mutex<Vec<Arc<Board>>>);

/// Methods, in the order of [`Method`].
pub(crate) const METHODS: [&str; 15] = [
    "invite",
    "ack",
    "bye",
    "cancel",
    "register",
    "options",
    "info",
    "update",
    "prack",
    "subscribe",
    "notify",
    "publish",
    "message",
    "refer",
    "other",
];
/// Codes and classes of replies without a transaction that Kamailio's module sl counts.
const STATELESS: [&str; 20] = [
    "1xx", "200", "202", "2xx", "300", "301", "302", "3xx", "400", "401", "403", "404", "407", "408", "483", "4xx",
    "500", "5xx", "6xx", "xxx",
];
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "6xx"];

impl Default for Statistics {
    fn default() -> Statistics {
        Statistics::shown_in(&module_api::Statistics::default())
    }
}

impl Statistics {
    /// Counters that `registry` shows under the names that Kamailio has for them, where it has any.
    pub fn shown_in(registry: &module_api::Statistics) -> Statistics {
        let by = |group: &'static str, names: &[&str], name: fn(&str) -> String, what: fn(&str) -> String| {
            let counter = |of: &&str| registry.counter(group, name(of), what(of));
            Arc::new(names.iter().map(counter).collect::<Vec<Counter>>())
        };
        let sum = |group, name, doc, of: &Arc<Vec<Counter>>| {
            let add = |counters: &Vec<Counter>| {
                counters.iter().map(Counter::value).fold(0, u64::saturating_add).try_into().unwrap_or(i64::MAX)
            };
            registry.read_from((group, name), StatisticKind::Counter, doc, of, add);
        };
        let requests = by(
            "core",
            &METHODS,
            |of| format!("rcv_requests_{of}"),
            |of| format!("{} requests that arrived.", of.to_uppercase()),
        );
        sum("core", "rcv_requests", "Requests that arrived whole.", &requests);
        let replies =
            by("core", &CLASSES, |of| format!("rcv_replies_{of}"), |of| format!("{of} replies that arrived."));
        sum("core", "rcv_replies", "Replies that arrived whole.", &replies);
        let finals = by(
            "tmx",
            &CLASSES[1..],
            |of| format!("{of}_transactions"),
            |of| format!("Transactions that ended with {of}."),
        );
        let stateless = by(
            "sl",
            &STATELESS,
            |of| format!("{of}_replies"),
            |of| format!("{of} replies sent without a transaction."),
        );
        sum("sl", "sent_replies", "Replies sent without a transaction.", &stateless);
        let boards: Arc<Boards> = Arc::default();
        show_boards(registry, &boards);
        Statistics {
            outcomes: Outcomes::shown_in(registry),
            registry: registry.clone(),
            boards,
            requests,
            replies,
            finals,
            stateless,
            malformed: registry.counter(
                "core",
                "bad_msg_hdr",
                "Messages refused or dropped because they are malformed.",
            ),
            retransmissions: registry.counter("core", "retransmissions", "Requests that repeat an earlier one."),
            transactions: registry.counter("tmx", "UAS_transactions", "Transactions made."),
            shed: registry.counter(
                "core",
                "shed_requests",
                "New requests refused with 503 because more came than could be done.",
            ),
            overload: registry.gauge("core", "overload", "Share of what is new that is refused, in thousandths."),
            held: registry.gauge("tmx", "inuse_transactions", "Transactions that are held now."),
            send_errors: registry.counter("core", "send_errors", "Messages that could not be sent."),
            stray_replies: registry.counter("core", "drop_replies", "Replies that belong to nothing and were dropped."),
            refused: registry.counter("core", "refused_requests", "Requests refused because a bound was reached."),
            script_errors: registry.counter("core", "script_errors", "Script runs that ended in an error."),
            panics: registry.counter("core", "panics", "Messages whose work ended in a mistake of the server's own."),
        }
    }

    /// Takes the figures of one more worker.
    pub(crate) fn enter(&self, board: Arc<Board>) {
        self.boards.lock().push(board);
    }

    /// The size of transactions when they end, for one more worker.
    pub(crate) fn sizes(&self) -> Histogram {
        let doc = "Memory of a transaction at its end, with its messages.";
        self.registry.histogram(("tmx", "transaction_bytes"), doc, Scale::BYTES, None)
    }

    /// The peers that send most, `most` of them at most.
    pub fn peers(&self, most: usize) -> Vec<PeerFigures> {
        let mut by_address: HashMap<IpAddr, PeerFigures> = HashMap::new();
        for board in &*self.boards.lock() {
            for peer in board.peers.all() {
                let sum = by_address.entry(peer.address).or_insert(PeerFigures {
                    requests: 0,
                    replies: 0,
                    failures: 0,
                    ..peer
                });
                sum.requests += peer.requests;
                sum.replies += peer.replies;
                sum.failures += peer.failures;
            }
        }
        let mut all: Vec<PeerFigures> = by_address.into_values().collect();
        all.sort_by_key(|peer| std::cmp::Reverse((peer.requests + peer.replies, peer.address)));
        all.truncate(most);
        all
    }

    /// Counts a request that has arrived.
    pub(crate) fn count_request(&self, method: Method) {
        self.requests[method as usize].increment();
    }

    /// Counts a reply that has arrived.
    pub(crate) fn count_reply(&self, status: u16) {
        if let Some(counter) = class(status).and_then(|class| self.replies.get(class)) {
            counter.increment();
        }
    }

    /// Counts the first final reply of a transaction.
    pub(crate) fn count_final(&self, status: u16) {
        if let Some(counter) = class(status).and_then(|class| self.finals.get(class.checked_sub(1)?)) {
            counter.increment();
        }
    }

    /// Counts a reply sent without a transaction.
    pub(crate) fn count_stateless(&self, status: u16) {
        let at = match status {
            200 => 1,
            202 => 2,
            300..=302 => usize::from(status - 300) + 4,
            400 => 8,
            401 => 9,
            403 => 10,
            404 => 11,
            407 => 12,
            408 => 13,
            483 => 14,
            500 => 16,
            100..=199 => 0,
            201..=299 => 3,
            303..=399 => 7,
            402..=499 => 15,
            501..=599 => 17,
            600..=699 => 18,
            _ => 19,
        };
        self.stateless[at].increment();
    }
}

impl Boards {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Board>>> {
        // Nothing panics while it holds the lock, so a poisoned list is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn show_boards(registry: &module_api::Statistics, boards: &Arc<Boards>) {
    let show = |group: &'static str, name: &'static str, doc: &'static str, of: fn(&Board) -> &AtomicU64| {
        let sum = move |boards: &Boards| {
            let values = boards.lock().iter().map(|board| of(board).load(Ordering::Relaxed)).sum::<u64>();
            i64::try_from(values).unwrap_or(i64::MAX)
        };
        registry.read_from((group, name), StatisticKind::Gauge, doc, boards, sum);
    };
    show("core", "parked_requests", "Requests that wait for a database, a program, another server or DNS.", |b| {
        &b.parked
    });
    show("core", "deferred_jobs", "Jobs of modules that are not due yet.", |b| &b.deferred);
    show("core", "active_calls", "Calls that were answered and not ended, of those whose BYE comes by here.", |b| {
        &b.calls
    });
}

/// 0 for 1xx and so on.
fn class(status: u16) -> Option<usize> {
    usize::from(status / 100).checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_is_shown_under_the_names_that_kamailio_has() {
        let registry = module_api::Statistics::default();
        let statistics = Statistics::shown_in(&registry);
        statistics.count_request(Method::Invite);
        statistics.count_request(Method::Other);
        [100, 180, 200, 404, 699].into_iter().for_each(|status| statistics.count_reply(status));
        [200, 486].into_iter().for_each(|status| statistics.count_final(status));
        let codes = [100, 200, 202, 204, 300, 302, 305, 400, 404, 483, 499, 500, 503, 600];
        codes.into_iter().for_each(|status| statistics.count_stateless(status));
        for (name, value) in [
            ("core:rcv_requests", 2),
            ("core:rcv_requests_invite", 1),
            ("core:rcv_requests_ack", 0),
            ("core:rcv_replies", 5),
            ("core:rcv_replies_1xx", 2),
            ("core:rcv_replies_6xx", 1),
            ("tmx:2xx_transactions", 1),
            ("tmx:4xx_transactions", 1),
            ("sl:sent_replies", 14),
            ("sl:1xx_replies", 1),
            ("sl:2xx_replies", 1),
            ("sl:302_replies", 1),
            ("sl:3xx_replies", 1),
            ("sl:483_replies", 1),
            ("sl:4xx_replies", 1),
            ("sl:5xx_replies", 1),
            ("sl:6xx_replies", 1),
        ] {
            assert_eq!(registry.find(name).and_then(|reading| reading.value()), Some(value), "{name}");
        }
    }

    #[test]
    fn methods_are_counted_in_the_order_of_their_names() {
        for (at, name) in METHODS[..14].iter().enumerate() {
            assert_eq!(Method::from_token(name.to_uppercase().as_bytes()) as usize, at, "{name}");
        }
        assert_eq!(Method::Other as usize, 14);
    }
}
