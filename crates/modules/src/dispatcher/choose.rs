//! Which gateway takes the request: the algorithms, by Kamailio's numbers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::target::{Set, Target};

/// How a gateway is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The same for the same text: algorithms 0 to 3, 5 and 7.
    Hash(u64),
    /// In turn: 4.
    Turn,
    /// By chance: 6.
    Chance(u64),
    /// The first: 8.
    First,
    /// In turn, as often as its weight says: 9.
    Weight,
    /// The one with the fewest calls: 10.
    Load,
    /// As 9, with the weights of those alone that take calls: 11.
    RelativeWeight,
    /// All at once: 12.
    All,
    /// In turn among those of the highest priority, less what each takes to answer: 13.
    Latency,
}

/// The gateways of `set` that take calls, in the order in which they are to be tried.
pub(super) fn choose(set: &Set, by: By) -> Vec<Arc<Target>> {
    let count = set.targets.len();
    if count == 0 {
        return Vec::new();
    }
    let turn = || set.next.fetch_add(1, Ordering::Relaxed);
    match by {
        By::Hash(hash) | By::Chance(hash) => from(set, (hash % count as u64) as usize),
        By::Turn => from(set, turn() % count),
        By::First | By::All => from(set, 0),
        By::Weight => from(set, by_weight(set, turn(), |target| target.attrs.weight)),
        By::RelativeWeight => {
            let weight = |target: &Target| if target.is_active() { target.attrs.relative_weight } else { 0 };
            from(set, by_weight(set, turn(), weight))
        }
        By::Load => by_load(set),
        By::Latency => by_latency(set, turn()),
    }
}

/// Those that take calls, from place `first` round the list.
fn from(set: &Set, first: usize) -> Vec<Arc<Target>> {
    let (before, after) = set.targets.split_at(first.min(set.targets.len()));
    after.iter().chain(before).filter(|target| target.is_active()).cloned().collect()
}

/// The place that `turn` falls on when each has as many turns as its weight. Without any weight all are equal.
fn by_weight(set: &Set, turn: usize, weight: impl Fn(&Target) -> u32) -> usize {
    let total: u64 = set.targets.iter().map(|target| u64::from(weight(target))).sum();
    if total == 0 {
        return turn % set.targets.len();
    }
    // A step that shares no factor with the total visits each of its places once a round, and spreads
    // the turns of a heavy gateway instead of giving them all in a row.
    let step = (0..).map(|n| total * 618 / 1000 + 1 + n).find(|step| gcd(*step, total) == 1).unwrap_or(1);
    let mut place = (turn as u64 % total) * step % total;
    for (n, target) in set.targets.iter().enumerate() {
        let weight = u64::from(weight(target));
        if place < weight {
            return n;
        }
        place -= weight;
    }
    0
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Fewest calls first; those that are full are left out.
fn by_load(set: &Set) -> Vec<Arc<Target>> {
    let load = |target: &Target| target.load.load(Ordering::Relaxed);
    let has_room = |target: &Target| target.attrs.max_load == 0 || load(target) < target.attrs.max_load;
    let mut targets: Vec<_> =
        set.targets.iter().filter(|target| target.is_active() && has_room(target)).cloned().collect();
    targets.sort_by_key(|target| load(target));
    targets
}

fn by_latency(set: &Set, turn: usize) -> Vec<Arc<Target>> {
    let rank = |target: &Target| target.priority - target.latency().estimate as i64;
    let mut targets: Vec<_> = set.targets.iter().filter(|target| target.is_active()).cloned().collect();
    targets.sort_by_key(|target| std::cmp::Reverse(rank(target)));
    let best = targets.first().map(|target| rank(target));
    let equals = targets.iter().take_while(|target| Some(rank(target)) == best).count();
    if equals > 1 {
        targets[..equals].rotate_left(turn % equals);
    }
    targets
}

/// The same number for the same text, in each run of the server and on each machine.
pub(crate) fn hash(text: &[u8]) -> u64 {
    // FNV-1a: a call must find the same gateway after a restart, which a keyed hash would not give.
    let folded = text
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    // Its low bits alone are weak.
    folded ^ folded >> 32
}

#[cfg(test)]
mod tests {
    use super::super::list::parse;
    use super::super::target::INACTIVE;
    use super::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    const FOUR: &str = "1 sip:a 0 0 weight=50;rweight=1\n1 sip:b 0 0 weight=30;rweight=2\n1 sip:c 0 0 weight=20;rweight=1\n\
        1 sip:d 1 0 rweight=90\n";

    fn counts(list: &str, by: By, rounds: usize) -> BTreeMap<String, usize> {
        let sets = parse(list).expect("a list");
        let mut counts = BTreeMap::new();
        for _ in 0..rounds {
            let first = choose(&sets.0[&1], by).first().map(|target| String::from_utf8_lossy(&target.uri).into_owned());
            *counts.entry(first.expect("one takes calls")).or_default() += 1;
        }
        counts
    }

    fn check(by: By, rounds: usize, expected: &[(&str, usize)]) {
        let expected: BTreeMap<String, usize> = expected.iter().map(|(uri, n)| ((*uri).to_owned(), *n)).collect();
        assert_eq!(counts(FOUR, by, rounds), expected, "{by:?}");
    }

    #[test]
    fn each_algorithm_shares_calls_as_its_name_says() {
        // The fourth takes no calls; its turns go to the next.
        check(By::Turn, 8, &[("sip:a", 4), ("sip:b", 2), ("sip:c", 2)]);
        check(By::First, 5, &[("sip:a", 5)]);
        check(By::Weight, 100, &[("sip:a", 50), ("sip:b", 30), ("sip:c", 20)]);
        check(By::RelativeWeight, 8, &[("sip:a", 2), ("sip:b", 4), ("sip:c", 2)]);
        check(By::Hash(5), 3, &[("sip:b", 3)]);
    }

    #[test]
    fn those_after_the_chosen_one_stand_in_for_it() {
        let sets = parse(FOUR).expect("a list");
        let order: Vec<_> = choose(&sets.0[&1], By::Hash(1)).iter().map(|target| target.uri.clone()).collect();
        assert_eq!(order, ["sip:b", "sip:c", "sip:a"]);
        sets.0[&1].targets[1].set_state(INACTIVE);
        assert_eq!(choose(&sets.0[&1], By::Hash(1))[0].uri, "sip:c");
    }

    #[test]
    fn the_gateway_with_the_fewest_calls_comes_first_and_a_full_one_not_at_all() {
        let sets = parse("1 sip:a 0 0 maxload=2\n1 sip:b").expect("a list");
        let targets = &sets.0[&1].targets;
        targets[1].load.store(1, Ordering::Relaxed);
        assert_eq!(choose(&sets.0[&1], By::Load)[0].uri, "sip:a");
        targets[0].load.store(2, Ordering::Relaxed);
        let order: Vec<_> = choose(&sets.0[&1], By::Load).iter().map(|target| target.uri.clone()).collect();
        assert_eq!(order, ["sip:b"]);
    }

    #[test]
    fn a_slow_gateway_loses_priority() {
        let sets = parse("1 sip:a 0 50\n1 sip:b 0 40").expect("a list");
        assert_eq!(choose(&sets.0[&1], By::Latency)[0].uri, "sip:a");
        sets.0[&1].targets[0].note_latency(Some(Duration::from_millis(20)), 900);
        assert_eq!(choose(&sets.0[&1], By::Latency)[0].uri, "sip:b");
    }

    #[test]
    fn a_hash_is_the_same_in_every_run() {
        // FNV-1a of "a" is 0xaf63dc4c8601ec8c.
        assert_eq!(hash(b"a"), 0xaf63_dc4c_8601_ec8c ^ 0xaf63_dc4c);
    }
}
