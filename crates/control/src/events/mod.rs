//! The stream of events to whoever listens: over server-sent events, WebSocket and webhooks.
//!
//! Workers put news into one bounded queue without waiting; a task takes it from there to a bounded queue for each
//! consumer. A consumer that is slow loses its oldest events, is told how many, and holds up nobody.

mod commands;
mod filter;
mod follow;
pub(crate) mod stream;
mod webhook;
pub(crate) mod websocket;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use module_api::{Counter, PublicEvent, PublicEvents, StatisticKind, Statistics};
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::sync::mpsc::{Receiver, channel};

use crate::json::Json;

pub use commands::COMMANDS;
pub use filter::{Filter, FilterError};
pub use webhook::{Webhook, WebhookSettings};

/// Distributes events. Clones are the same one.
#[derive(Clone)]
pub struct Bus(Arc<Inner>);

struct Inner {
    events: PublicEvents,
    consumers: Mutex<Vec<Arc<Consumer>>>,
    told: Counter,
    lost: Counter,
    /// How many have come that the distributor has not given to consumers yet.
    undistributed: AtomicU64,
    followers: follow::Followers,
}

/// One listener.
struct Consumer {
    what: String,
    filter: Filter,
    queue: Mutex<Queue>,
    news: Notify,
    /// It has an event that it has not done with: it has not asked for the next one.
    is_busy: AtomicBool,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Arc<Told>>,
    /// How many have been lost since the consumer was last told.
    lost: u64,
    lost_ever: u64,
}

/// An event as consumers get it.
#[derive(Debug)]
pub struct Told {
    /// Its number since the server started.
    pub id: u64,
    /// The event.
    pub event: PublicEvent,
    /// As JSON, on one line.
    pub json: String,
}

/// What a consumer gets next.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// An event.
    Event(Arc<Told>),
    /// So many events before the next one are lost: the consumer was too slow.
    Lost(u64),
}

/// A place among the consumers, given back when dropped.
pub struct Subscription {
    bus: Bus,
    consumer: Arc<Consumer>,
}

/// Events on their way from the workers.
const QUEUE: usize = 8192;
/// Events that wait for one consumer.
const CONSUMER_QUEUE: usize = 1024;
/// Consumers at once.
const CONSUMERS: usize = 32;

impl Bus {
    /// Takes what `events` brings, on `runtime`.
    pub fn start(events: &PublicEvents, statistics: &Statistics, runtime: &Handle) -> Bus {
        let bus = Bus(Arc::new(Inner {
            events: events.clone(),
            consumers: Mutex::default(),
            told: statistics.counter("events", "told", "Events that somebody wanted."),
            lost: statistics.counter("events", "lost", "Events that a consumer lost because it, or all, were slow."),
            undistributed: AtomicU64::new(0),
            followers: follow::Followers::default(),
        }));
        let (sender, receiver) = channel(QUEUE);
        let inner = Arc::clone(&bus.0);
        events.open(Box::new(move |event| {
            inner.undistributed.fetch_add(1, Ordering::AcqRel);
            if sender.try_send(event).is_err() {
                inner.undistributed.fetch_sub(1, Ordering::AcqRel);
                inner.lost.increment();
            }
        }));
        let doc = "Listeners to events: streams, WebSockets, webhooks, trace collectors.";
        statistics.read_from(("events", "consumers"), StatisticKind::Gauge, doc, &bus.0, |inner| {
            inner.consumers().len() as i64
        });
        let doc = "Events that wait for their consumers.";
        statistics.read_from(("events", "queued"), StatisticKind::Gauge, doc, &bus.0, |inner| {
            inner.consumers().iter().map(|consumer| consumer.queue().waiting.len()).sum::<usize>() as i64
        });
        runtime.spawn(distribute(Arc::clone(&bus.0), receiver));
        bus
    }

    /// Listens to what `filter` lets through; `what` says who listens. None when as many listen as may.
    pub fn subscribe(&self, what: impl Into<String>, filter: Filter) -> Option<Subscription> {
        let mut consumers = self.0.consumers();
        if consumers.len() >= CONSUMERS {
            return None;
        }
        let consumer = Arc::new(Consumer {
            what: what.into(),
            filter,
            queue: Mutex::default(),
            news: Notify::new(),
            is_busy: AtomicBool::new(false),
        });
        consumers.push(Arc::clone(&consumer));
        self.0.want(&consumers);
        drop(consumers);
        Some(Subscription { bus: self.clone(), consumer })
    }

    /// Waits until every consumer has done with every event that has been told, or `within` is over. Returns how many
    /// events are left. For the end of the server: what told of it last should still arrive.
    pub async fn settle(&self, within: Duration) -> usize {
        const LOOK: Duration = Duration::from_millis(5);
        let wait = async {
            while self.0.unfinished() > 0 {
                tokio::time::sleep(LOOK).await;
            }
        };
        // Whether it was all or not, the next line tells.
        let _ = tokio::time::timeout(within, wait).await;
        self.0.unfinished()
    }
}

impl Inner {
    fn consumers(&self) -> MutexGuard<'_, Vec<Arc<Consumer>>> {
        self.consumers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give(&self, id: u64, event: PublicEvent) {
        let consumers = Vec::clone(&self.consumers());
        let takers: Vec<_> = consumers.iter().filter(|consumer| consumer.filter.passes(&event)).collect();
        if takers.is_empty() {
            return;
        }
        let json = json(id, &event);
        let told = Arc::new(Told { id, event, json });
        for consumer in takers {
            if consumer.push(Arc::clone(&told)) {
                self.lost.increment();
            }
        }
    }

    fn unfinished(&self) -> usize {
        // In the order in which events move, so that none is between two counts.
        let before = self.undistributed.load(Ordering::Acquire) as usize;
        let of_consumer = |consumer: &Arc<Consumer>| {
            let queue = consumer.queue();
            queue.waiting.len() + usize::from(consumer.is_busy.load(Ordering::Acquire))
        };
        before + self.consumers().iter().map(of_consumer).sum::<usize>()
    }

    fn want(&self, consumers: &[Arc<Consumer>]) {
        self.events.want(consumers.iter().flat_map(|consumer| consumer.filter.kinds()));
    }
}

async fn distribute(inner: Arc<Inner>, mut events: Receiver<PublicEvent>) {
    let mut id = 0;
    while let Some(event) = events.recv().await {
        id += 1;
        inner.told.increment();
        inner.give(id, event);
        inner.undistributed.fetch_sub(1, Ordering::AcqRel);
    }
}

fn json(id: u64, event: &PublicEvent) -> String {
    let mut object = Map::new();
    object.insert("id".into(), id.into());
    object.insert("event".into(), event.kind.name().into());
    object.insert("time".into(), event.time.as_secs_f64().into());
    for (name, data) in &event.fields {
        object.insert((*name).into(), serde_json::to_value(Json(data)).unwrap_or(Value::Null));
    }
    Value::Object(object).to_string()
}

impl Consumer {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when an older event had to go for it.
    fn push(&self, told: Arc<Told>) -> bool {
        let mut queue = self.queue();
        let is_full = queue.waiting.len() >= CONSUMER_QUEUE;
        if is_full {
            queue.waiting.pop_front();
            queue.lost += 1;
            queue.lost_ever += 1;
        }
        queue.waiting.push_back(told);
        drop(queue);
        self.news.notify_one();
        is_full
    }

    fn pop(&self) -> Option<Delivery> {
        let mut queue = self.queue();
        let delivery = match std::mem::take(&mut queue.lost) {
            0 => queue.waiting.pop_front().map(Delivery::Event),
            lost => Some(Delivery::Lost(lost)),
        };
        // Under the lock: whoever counts sees it here or there.
        self.is_busy.store(delivery.is_some(), Ordering::Release);
        delivery
    }
}

impl Subscription {
    /// Waits for what comes next. Cancelled it loses nothing.
    pub async fn next(&self) -> Delivery {
        loop {
            let news = self.consumer.news.notified();
            if let Some(delivery) = self.consumer.pop() {
                return delivery;
            }
            news.await;
        }
    }

    /// What is there already, if anything is.
    pub fn try_next(&self) -> Option<Delivery> {
        self.consumer.pop()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut consumers = self.bus.0.consumers();
        consumers.retain(|consumer| !Arc::ptr_eq(consumer, &self.consumer));
        self.bus.0.want(&consumers);
    }
}

impl Delivery {
    /// As JSON, on one line.
    pub fn json(&self) -> String {
        match self {
            Delivery::Event(told) => told.json.clone(),
            Delivery::Lost(count) => serde_json::json!({"event": "lost", "count": count}).to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use module_api::EventKind;

    use super::*;

    fn start() -> (PublicEvents, Bus) {
        let events = PublicEvents::default();
        let bus = Bus::start(&events, &Statistics::default(), &Handle::current());
        (events, bus)
    }

    fn tell(events: &PublicEvents, kind: EventKind, n: i64) {
        events.tell(kind, Duration::from_millis(1500), || vec![("n", n.into())]);
    }

    #[tokio::test]
    async fn a_consumer_hears_what_it_asked_for_and_nothing_is_made_for_nobody() {
        let (events, bus) = start();
        assert!(!events.is_wanted(EventKind::Ban));
        let bans = bus.subscribe("test", Filter::parse("events=ban").expect("a filter")).expect("a place");
        assert!(events.is_wanted(EventKind::Ban) && !events.is_wanted(EventKind::CallStart));
        tell(&events, EventKind::CallStart, 1);
        tell(&events, EventKind::Ban, 2);
        assert_eq!(bans.next().await.json(), r#"{"id":1,"event":"ban","time":1.5,"n":2}"#);
        drop(bans);
        assert!(!events.is_wanted(EventKind::Ban));
    }

    #[tokio::test]
    async fn a_slow_consumer_loses_the_oldest_and_is_told_how_many() {
        let (events, bus) = start();
        let filter = || Filter::parse("events=ban").expect("a filter");
        let (slow, quick) = (bus.subscribe("slow", filter()), bus.subscribe("quick", filter()));
        let (slow, quick) = (slow.expect("a place"), quick.expect("a place"));
        for n in 0..CONSUMER_QUEUE as i64 + 3 {
            tell(&events, EventKind::Ban, n);
            // The quick one keeps up, so the distributor has had its turn as well.
            assert!(matches!(quick.next().await, Delivery::Event(told) if told.id == n as u64 + 1));
        }
        assert_eq!(slow.next().await.json(), r#"{"event":"lost","count":3}"#);
        assert!(matches!(slow.next().await, Delivery::Event(told) if told.id == 4));
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_end_consumers_get_the_time_to_do_with_what_was_told() {
        let (events, bus) = start();
        let heard = bus.subscribe("test", Filter::parse("events=ban").expect("a filter")).expect("a place");
        assert_eq!(bus.settle(Duration::from_secs(1)).await, 0);
        (0..3).for_each(|n| tell(&events, EventKind::Ban, n));
        // Nobody takes them.
        assert_eq!(bus.settle(Duration::from_secs(1)).await, 3);
        let taking = tokio::spawn(async move {
            for _ in 0..3 {
                heard.next().await;
                // It posts them somewhere.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            heard.next().await
        });
        let begin = tokio::time::Instant::now();
        assert_eq!(bus.settle(Duration::from_secs(1)).await, 0);
        assert!(begin.elapsed() >= Duration::from_millis(300), "the last one was not waited for");
        taking.abort();
    }

    #[tokio::test]
    async fn there_are_only_so_many_places() {
        let (_, bus) = start();
        let all: Vec<_> = (0..CONSUMERS).map_while(|_| bus.subscribe("one", Filter::default())).collect();
        assert_eq!(all.len(), CONSUMERS);
        assert!(bus.subscribe("too many", Filter::default()).is_none());
        drop(all);
        assert!(bus.subscribe("later", Filter::default()).is_some());
    }

    #[tokio::test]
    async fn whoever_has_news_never_waits_for_the_distributor() {
        let (events, bus) = start();
        let heard = bus.subscribe("test", Filter::parse("events=ban").expect("a filter")).expect("a place");
        // The distributor runs on this same thread and so has no turn until this ends.
        (0..QUEUE as i64 + 10).for_each(|n| tell(&events, EventKind::Ban, n));
        assert_eq!(bus.0.lost.value(), 10);
        assert!(matches!(heard.next().await, Delivery::Event(_) | Delivery::Lost(_)));
    }
}
