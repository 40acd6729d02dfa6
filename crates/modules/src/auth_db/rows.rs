//! Rows of the table of subscribers that were read before.
//!
//! They spare a wait while they are young, and when the database is away they let those in who were known before.
//! Names come from whoever sends requests, so everything has a bound, and names that do not exist have a place of
//! their own: inventing names pushes out no subscriber.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use store::Credentials;

/// Which row is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) user: String,
    pub(super) domain: String,
    /// Whether the domain must be that of the row; else it is only preferred.
    pub(super) is_strict: bool,
}

impl Key {
    /// Longer names than any subscriber has are not looked for, and so not remembered.
    const LONGEST: usize = 255;

    pub(super) fn can_exist(&self) -> bool {
        self.user.len() <= Self::LONGEST && self.domain.len() <= Self::LONGEST
    }
}

/// What is remembered.
pub(super) struct Rows {
    lifetime: Duration,
    generations: Mutex<Generations>,
}

/// A full generation becomes the old one, and the old one is forgotten.
#[derive(Default)]
struct Generations {
    young: HashMap<Key, Known>,
    old: HashMap<Key, Known>,
    absent: HashMap<Key, Instant>,
    /// While the database is away: when to ask it again.
    pause: Option<Instant>,
}

struct Known {
    row: Arc<Credentials>,
    since: Instant,
}

impl Rows {
    /// Subscribers in one generation; both together hold some 50 MB when full.
    const MOST: usize = 50_000;
    /// Names that are no subscriber's.
    const MOST_ABSENT: usize = 10_000;
    /// Between two attempts to reach a database that is away. Not every call should wait for its deadline.
    const PAUSE: Duration = Duration::from_secs(2);

    /// Remembers; rows count for `lifetime` without asking again.
    pub(super) fn new(lifetime: Duration) -> Rows {
        Rows { lifetime, generations: Mutex::default() }
    }

    /// What is known without asking the database. Inside: the row, or none when there is no such subscriber.
    pub(super) fn at_hand(&self, key: &Key, now: Instant) -> Option<Option<Arc<Credentials>>> {
        let generations = self.lock();
        let is_young = |since: Instant| now.saturating_duration_since(since) < self.lifetime;
        if generations.absent.get(key).is_some_and(|since| is_young(*since)) {
            return Some(None);
        }
        let is_away = generations.pause.is_some_and(|until| now < until);
        let known = generations.known(key).filter(|known| is_away || is_young(known.since))?;
        Some(Some(Arc::clone(&known.row)))
    }

    /// Takes what the database answered.
    pub(super) fn remember(&self, key: Key, row: Option<&Arc<Credentials>>, now: Instant) {
        let mut generations = self.lock();
        generations.pause = None;
        match row {
            Some(row) => {
                generations.absent.remove(&key);
                generations.old.remove(&key);
                make_room(&mut generations);
                generations.young.insert(key, Known { row: Arc::clone(row), since: now });
            }
            None => {
                generations.young.remove(&key);
                generations.old.remove(&key);
                if generations.absent.len() >= Self::MOST_ABSENT {
                    generations.absent.clear();
                }
                generations.absent.insert(key, now);
            }
        }
    }

    /// Takes that the database did not answer; returns the row as it was last read, however long ago.
    pub(super) fn database_is_away(&self, key: &Key, now: Instant) -> Option<Arc<Credentials>> {
        let mut generations = self.lock();
        generations.pause = Some(now + Self::PAUSE);
        generations.known(key).map(|known| Arc::clone(&known.row))
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn known(&self, key: &Key) -> Option<&Known> {
        self.young.get(key).or_else(|| self.old.get(key))
    }
}

fn make_room(generations: &mut Generations) {
    if generations.young.len() >= Rows::MOST {
        generations.old = mem::take(&mut generations.young);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(user: &str) -> Key {
        Key { user: user.into(), domain: "example.com".into(), is_strict: true }
    }

    fn row(user: &str) -> Arc<Credentials> {
        Arc::new(Credentials {
            username: user.into(),
            domain: "example.com".into(),
            ha1: String::new(),
            ha1b: String::new(),
            ha1_sha256: None,
            password: None,
        })
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_row_and_the_lack_of_one_count_for_their_lifetime() {
        let (rows, start) = (Rows::new(secs(10)), Instant::now());
        rows.remember(key("alice"), Some(&row("alice")), start);
        rows.remember(key("mallory"), None, start);
        assert_eq!(rows.at_hand(&key("alice"), start + secs(9)), Some(Some(row("alice"))));
        assert_eq!(rows.at_hand(&key("mallory"), start + secs(9)), Some(None));
        assert_eq!(rows.at_hand(&key("alice"), start + secs(10)), None);
        assert_eq!(rows.at_hand(&key("mallory"), start + secs(10)), None);
        assert_eq!(rows.at_hand(&key("bob"), start), None);
    }

    #[test]
    fn while_the_database_is_away_old_rows_count_and_it_is_asked_now_and_then() {
        let (rows, start) = (Rows::new(secs(10)), Instant::now());
        rows.remember(key("alice"), Some(&row("alice")), start);
        let late = start + secs(3600);
        assert_eq!(rows.at_hand(&key("alice"), late), None);
        assert_eq!(rows.database_is_away(&key("alice"), late), Some(row("alice")));
        assert_eq!(rows.database_is_away(&key("bob"), late), None);
        assert_eq!(rows.at_hand(&key("alice"), late + secs(1)), Some(Some(row("alice"))));
        assert_eq!(rows.at_hand(&key("alice"), late + secs(2)), None);
        rows.remember(key("carol"), None, late);
        assert_eq!(rows.at_hand(&key("alice"), late), None);
    }

    #[test]
    fn who_was_removed_is_forgotten() {
        let (rows, start) = (Rows::new(secs(10)), Instant::now());
        rows.remember(key("alice"), Some(&row("alice")), start);
        rows.remember(key("alice"), None, start);
        assert_eq!(rows.at_hand(&key("alice"), start), Some(None));
        assert_eq!(rows.database_is_away(&key("alice"), start), None);
    }

    #[test]
    fn invented_names_push_out_no_subscriber_and_are_bounded() {
        let (rows, start) = (Rows::new(secs(10)), Instant::now());
        rows.remember(key("alice"), Some(&row("alice")), start);
        (0..25_000).for_each(|n| rows.remember(key(&n.to_string()), None, start));
        assert_eq!(rows.at_hand(&key("alice"), start), Some(Some(row("alice"))));
        assert_eq!(rows.lock().absent.len(), 5_000);
    }

    #[test]
    fn more_subscribers_than_fit_forget_the_ones_not_seen_for_longest() {
        let (rows, start, shared) = (Rows::new(secs(10)), Instant::now(), row("x"));
        rows.remember(key("early"), Some(&shared), start);
        (0..60_000).for_each(|n| rows.remember(key(&n.to_string()), Some(&shared), start));
        assert!(rows.at_hand(&key("early"), start).is_some());
        (60_000..100_000).for_each(|n| rows.remember(key(&n.to_string()), Some(&shared), start));
        assert!(rows.at_hand(&key("early"), start).is_none());
        let generations = rows.lock();
        assert!(generations.young.len() + generations.old.len() <= 100_000);
    }

    #[test]
    fn names_that_are_too_long_cannot_exist() {
        assert!(key(&"a".repeat(255)).can_exist());
        assert!(!key(&"a".repeat(256)).can_exist());
    }
}
