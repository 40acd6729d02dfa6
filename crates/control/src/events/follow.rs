//! `events.follow`: events for callers that ask again and again, over any of the ways in.
//!
//! A caller that stops asking costs a place among the listeners for a minute; then it is given up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use module_api::{CommandError, Data};
use tokio::time::{Instant, sleep_until, timeout};

use super::{Bus, Delivery, Filter, Subscription};

/// Callers that follow events, by number.
#[derive(Default)]
pub(super) struct Followers(Mutex<Table>);

#[derive(Default)]
struct Table {
    last: u64,
    all: HashMap<u64, Arc<Follower>>,
}

struct Follower {
    subscription: Subscription,
    asked: Mutex<Instant>,
}

/// How long a caller may leave its events unasked for.
const IDLE: Duration = Duration::from_secs(60);
/// Most events in one answer.
const MOST: usize = 500;

impl Followers {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The caller of that number, if it has not been given up.
    fn find(&self, number: u64) -> Option<Arc<Follower>> {
        let found = self.table().all.get(&number).cloned()?;
        *found.asked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Some(found)
    }
}

impl Follower {
    fn until(&self) -> Instant {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) + IDLE
    }
}

/// Gives what has come for the caller of that number, and waits for it when there is nothing; without a number it makes a
/// new one.
///
/// # Errors
/// 404 when the caller has been given up, 503 when as many listen as may.
pub(super) async fn follow(
    bus: Bus,
    number: Option<u64>,
    wait: Duration,
    filter: Filter,
) -> Result<Data, CommandError> {
    let number = match number {
        Some(number) => number,
        None => begin(&bus, filter)?,
    };
    let Some(follower) = bus.0.followers.find(number) else {
        let text = "nobody has asked for these events for a minute, and they are given up; begin again with `new`";
        return Err(CommandError::new(404, text));
    };
    let mut events = Vec::new();
    // No event in time is an answer too.
    if let Ok(first) = timeout(wait, follower.subscription.next()).await {
        events.push(shown(&first));
        let rest = std::iter::from_fn(|| follower.subscription.try_next());
        events.extend(rest.take(MOST - 1).map(|delivery| shown(&delivery)));
    }
    Ok(Data::of([("listener", number.into()), ("events", Data::List(events))]))
}

fn begin(bus: &Bus, filter: Filter) -> Result<u64, CommandError> {
    let number = {
        let mut table = bus.0.followers.table();
        table.last += 1;
        table.last
    };
    let subscription = bus.subscribe(format!("events.follow {number}"), filter);
    let subscription =
        subscription.ok_or_else(|| CommandError::new(503, "too many listen; `events.consumers` shows who"))?;
    let follower = Arc::new(Follower { subscription, asked: Mutex::new(Instant::now()) });
    bus.0.followers.table().all.insert(number, Arc::clone(&follower));
    let bus = bus.clone();
    tokio::spawn(async move {
        while follower.until() > Instant::now() {
            sleep_until(follower.until()).await;
        }
        // Dropped when nobody holds the lock any more: it gives back its place among the consumers.
        let given_up = bus.0.followers.table().all.remove(&number);
        drop((given_up, follower));
    });
    Ok(number)
}

fn shown(delivery: &Delivery) -> Data {
    match delivery {
        Delivery::Event(told) => {
            let first = [("id", told.id.into()), ("event", told.event.kind.name().into())];
            let time = [("time", Data::Float(told.event.time.as_secs_f64()))];
            let fields = told.event.fields.iter().map(|(name, data)| (*name, data.clone()));
            let all = first.into_iter().chain(time).chain(fields);
            Data::Struct(all.map(|(name, data)| (name.into(), data)).collect())
        }
        Delivery::Lost(count) => Data::of([("event", "lost".into()), ("count", (*count).into())]),
    }
}

#[cfg(test)]
mod tests {
    use module_api::{EventKind, PublicEvents, Statistics};
    use tokio::runtime::Handle;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_caller_gets_what_came_meanwhile_and_is_given_up_when_it_asks_no_more() {
        let events = PublicEvents::default();
        let bus = Bus::start(&events, &Statistics::default(), &Handle::current());
        let filter = || Filter::parse("events=ban").expect("a filter");
        let ask = |number, wait| follow(bus.clone(), number, Duration::from_secs(wait), filter());
        let first = ask(None, 0).await.expect("there is a place");
        assert_eq!(first, Data::of([("listener", 1.into()), ("events", Data::List(vec![]))]));
        for n in 0..2 {
            events.tell(EventKind::Ban, Duration::from_millis(1500), || vec![("n", i64::into(n))]);
        }
        tokio::time::sleep(IDLE / 2).await;
        let second = ask(Some(1), 5).await.expect("it is known").to_text();
        assert!(second.contains("ban"), "{second}");
        // Asked again in time it is still known, though a minute has passed since it began.
        tokio::time::sleep(IDLE * 3 / 4).await;
        assert!(ask(Some(1), 0).await.is_ok());
        tokio::time::sleep(IDLE * 2).await;
        assert_eq!(ask(Some(1), 0).await.expect_err("it is given up").code, 404);
        assert!(!events.is_wanted(EventKind::Ban), "its place is given back");
    }
}
