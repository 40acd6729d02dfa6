//! What the server counts and measures, under names that operators know.
//!
//! A module names its statistics in its table and asks [`crate::Setup::counter`] for each at start. Counting is one
//! atomic addition; looking a name up and listing all take a snapshot and no lock. Names come from tables and
//! settings, never from messages, so their number is bounded by what an operator wrote.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;

use crate::State;
use crate::histogram::{Histogram, HistogramReading, Scale};

/// The table entry of a statistic that a module keeps.
#[derive(Debug, Clone, Copy)]
pub struct Statistic {
    /// The group under which it is shown, mostly the module's name.
    pub group: &'static str,
    /// Its name within the group, as both families' tools know it.
    pub name: &'static str,
    /// Whether it only grows.
    pub kind: StatisticKind,
    /// What it counts, for the reference and for `# HELP` of the metrics.
    pub doc: &'static str,
}

/// How a statistic moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatisticKind {
    /// It only grows, until it is reset.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// A number that only grows, read by statistics. Cheap to clone and to count up from any thread.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Counts one more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Counts `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Begins again at zero, as an operator may ask for.
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// A number that goes up and down. Cheap to clone and to change from any thread.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    /// Adds `n`, which may be negative.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Sets it.
    pub fn set(&self, n: i64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Its value now.
    pub fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All statistics of a server. Clones are the same registry.
#[derive(Clone, Default)]
pub struct Statistics(Arc<Inner>);

#[derive(Default)]
struct Inner {
    readings: ArcSwap<Vec<Reading>>,
    histograms: ArcSwap<Vec<HistogramReading>>,
    ratios: ArcSwap<Vec<RatioReading>>,
}

/// What came from one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerFigures {
    /// Its address.
    pub address: IpAddr,
    /// Requests.
    pub requests: u64,
    /// Replies.
    pub replies: u64,
    /// Replies of 400 and above, challenges aside.
    pub failures: u64,
}

/// A share of something, made of other figures when somebody asks.
#[derive(Clone)]
pub struct RatioReading {
    /// Its group.
    pub group: &'static str,
    /// Its name within the group.
    pub name: &'static str,
    /// What it is the share of.
    pub doc: &'static str,
    read: Arc<dyn Fn() -> Option<f64> + Send + Sync>,
}

impl RatioReading {
    /// Its value from 0 to 1; none as long as there is nothing that it could be a share of.
    pub fn value(&self) -> Option<f64> {
        (self.read)()
    }
}

/// One statistic of a running server.
#[derive(Clone)]
pub struct Reading {
    /// Its group.
    pub group: Cow<'static, str>,
    /// Its name within the group.
    pub name: Cow<'static, str>,
    /// Whether it only grows.
    pub kind: StatisticKind,
    /// What it counts.
    pub doc: Cow<'static, str>,
    source: Source,
}

#[derive(Clone)]
enum Source {
    Counter(Counter),
    Gauge(Gauge),
    State(Arc<dyn Fn() -> Option<i64> + Send + Sync>),
}

impl Statistics {
    /// The counter `group:name`, made where there is none yet: at a reload a module finds what it has counted.
    pub fn counter(
        &self,
        group: impl Into<Cow<'static, str>>,
        name: impl Into<Cow<'static, str>>,
        doc: impl Into<Cow<'static, str>>,
    ) -> Counter {
        let (group, name) = (group.into(), name.into());
        if let Some(Reading { source: Source::Counter(counter), .. }) = self.exact(&group, &name) {
            return counter;
        }
        let counter = Counter::default();
        let source = Source::Counter(counter.clone());
        self.enter(Reading { group, name, kind: StatisticKind::Counter, doc: doc.into(), source });
        counter
    }

    /// The gauge `group:name`, made where there is none yet.
    pub fn gauge(
        &self,
        group: impl Into<Cow<'static, str>>,
        name: impl Into<Cow<'static, str>>,
        doc: impl Into<Cow<'static, str>>,
    ) -> Gauge {
        let (group, name) = (group.into(), name.into());
        if let Some(Reading { source: Source::Gauge(gauge), .. }) = self.exact(&group, &name) {
            return gauge;
        }
        let gauge = Gauge::default();
        let source = Source::Gauge(gauge.clone());
        self.enter(Reading { group, name, kind: StatisticKind::Gauge, doc: doc.into(), source });
        gauge
    }

    /// Shows a number that is read from `state` when somebody asks, for as long as the state lives. Replaces an
    /// earlier statistic of that name.
    pub fn read_from<T: State>(
        &self,
        statistic: (impl Into<Cow<'static, str>>, impl Into<Cow<'static, str>>),
        kind: StatisticKind,
        doc: impl Into<Cow<'static, str>>,
        state: &Arc<T>,
        read: impl Fn(&T) -> i64 + Send + Sync + 'static,
    ) {
        // Weak: a module that a reload replaced must not live on for the sake of its figures.
        let state: Weak<T> = Arc::downgrade(state);
        let source = Source::State(Arc::new(move || state.upgrade().map(|state| read(&state))));
        let (group, name) = (statistic.0.into(), statistic.1.into());
        self.enter(Reading { group, name, kind, doc: doc.into(), source });
    }

    /// A new share of the histogram `name` (its group and its own name), which becomes its only writer's.
    ///
    /// Shares live as long as the registry: they belong to workers, of which there are few.
    pub fn histogram(
        &self,
        name: (&'static str, &'static str),
        doc: &'static str,
        scale: Scale,
        label: Option<(&'static str, &'static str)>,
    ) -> Histogram {
        let share = Histogram::new(scale);
        let label = label.map(|(name, value)| (name, Cow::Borrowed(value)));
        self.0.histograms.rcu(|all| {
            let mut all = Vec::clone(all);
            let is_it = |one: &HistogramReading| (&*one.group, &*one.name) == name && one.label == label;
            match all.iter_mut().find(|one| is_it(one)) {
                Some(one) => one.shares.push(share.clone()),
                None => all.push(HistogramReading {
                    group: name.0.into(),
                    name: name.1.into(),
                    doc: doc.into(),
                    label: label.clone(),
                    scale,
                    shares: vec![share.clone()],
                }),
            }
            all
        });
        share
    }

    /// Every histogram, those of one name together.
    pub fn histograms(&self) -> Vec<HistogramReading> {
        let mut all = Vec::clone(&self.0.histograms.load());
        all.sort_by(|one, other| (&one.group, &one.name).cmp(&(&other.group, &other.name)));
        all
    }

    /// Shows a share of something, replacing an earlier one of that name.
    pub fn ratio(
        &self,
        name: (&'static str, &'static str),
        doc: &'static str,
        read: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) {
        let new = RatioReading { group: name.0, name: name.1, doc, read: Arc::new(read) };
        self.0.ratios.rcu(|all| {
            let mut all = Vec::clone(all);
            all.retain(|one| (one.group, one.name) != name);
            all.push(new.clone());
            all
        });
    }

    /// Every share.
    pub fn ratios(&self) -> Vec<RatioReading> {
        Vec::clone(&self.0.ratios.load())
    }

    /// The statistic called `name`: `group:name`, `group.name`, or the name alone where a group has it.
    pub fn find(&self, name: &str) -> Option<Reading> {
        let all = self.0.readings.load();
        let start = all.partition_point(|reading| &*reading.name < name);
        if let Some(reading) = all.get(start).filter(|reading| reading.name == name) {
            return Some(reading.clone());
        }
        let (group, name) = name.split_once([':', '.'])?;
        self.exact(group, name)
    }

    /// Every statistic, by group and name.
    pub fn all(&self) -> Vec<Reading> {
        let mut all = Vec::clone(&self.0.readings.load());
        all.retain(|reading| reading.value().is_some());
        all.sort_by(|one, other| (&one.group, &one.name).cmp(&(&other.group, &other.name)));
        all
    }

    fn exact(&self, group: &str, name: &str) -> Option<Reading> {
        let all = self.0.readings.load();
        let at = all.binary_search_by(|reading| (&*reading.name, &*reading.group).cmp(&(name, group))).ok()?;
        Some(all[at].clone())
    }

    fn enter(&self, new: Reading) {
        self.0.readings.rcu(|all| {
            let mut all = Vec::clone(all);
            let key = |reading: &Reading| (reading.name.clone(), reading.group.clone());
            match all.binary_search_by_key(&key(&new), key) {
                Ok(at) => all[at] = new.clone(),
                Err(at) => all.insert(at, new.clone()),
            }
            all
        });
    }
}

impl Reading {
    /// Its value now; none once the module behind it is gone.
    pub fn value(&self) -> Option<i64> {
        match &self.source {
            Source::Counter(counter) => Some(i64::try_from(counter.value()).unwrap_or(i64::MAX)),
            Source::Gauge(gauge) => Some(gauge.value()),
            Source::State(read) => read(),
        }
    }

    /// Sets a counter to zero. False for what cannot be reset: it shows what is, not what was counted.
    pub fn reset(&self) -> bool {
        match &self.source {
            Source::Counter(counter) => {
                counter.reset();
                true
            }
            Source::Gauge(_) | Source::State(_) => false,
        }
    }

    /// The counter behind it, where it is one that can be counted up.
    pub fn counter(&self) -> Option<&Counter> {
        match &self.source {
            Source::Counter(counter) => Some(counter),
            Source::Gauge(_) | Source::State(_) => None,
        }
    }

    /// The gauge behind it, where it is one that can be set.
    pub fn gauge(&self) -> Option<&Gauge> {
        match &self.source {
            Source::Gauge(gauge) => Some(gauge),
            Source::Counter(_) | Source::State(_) => None,
        }
    }
}

impl fmt::Debug for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all()).finish()
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} = {:?}", self.group, self.name, self.value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statistic_is_found_by_its_name_with_and_without_group() {
        let statistics = Statistics::default();
        statistics.counter("core", "rcv_requests", "Requests.").add(3);
        statistics.gauge("tmx", "inuse_transactions", "Transactions.").set(2);
        for name in ["rcv_requests", "core:rcv_requests", "core.rcv_requests"] {
            assert_eq!(statistics.find(name).and_then(|reading| reading.value()), Some(3), "{name}");
        }
        assert!(statistics.find("tmx:rcv_requests").is_none());
        assert!(statistics.find("nothing").is_none());
        assert_eq!(format!("{statistics:?}"), "[core:rcv_requests = Some(3), tmx:inuse_transactions = Some(2)]");
    }

    #[test]
    fn asked_for_again_a_counter_goes_on() {
        let statistics = Statistics::default();
        statistics.counter("core", "rcv_requests", "Requests.").increment();
        statistics.counter("core", "rcv_requests", "Requests.").increment();
        assert_eq!(statistics.all().len(), 1);
        let reading = statistics.find("rcv_requests").expect("it is there");
        assert_eq!(reading.value(), Some(2));
        assert!(reading.reset());
        assert_eq!(reading.value(), Some(0));
    }

    #[test]
    fn what_is_read_from_a_module_goes_with_the_module() {
        let statistics = Statistics::default();
        let state = Arc::new(41_i64);
        statistics.read_from(("usrloc", "registered_users"), StatisticKind::Gauge, "Users.", &state, |n| n + 1);
        let reading = statistics.find("registered_users").expect("it is there");
        assert_eq!(reading.value(), Some(42));
        assert!(!reading.reset(), "users do not go away because somebody resets a figure");
        drop(state);
        assert_eq!(reading.value(), None);
        assert!(statistics.all().is_empty());
    }
}
