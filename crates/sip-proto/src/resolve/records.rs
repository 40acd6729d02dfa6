//! DNS records as the plan needs them, and the order that they ask for.

use std::net::IpAddr;
use std::sync::Arc;

/// What to ask the DNS.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    /// Lower case, no trailing dot.
    pub name: Box<str>,
    /// Which records.
    pub kind: RecordKind,
}

/// A type of DNS record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// RFC 3403.
    Naptr,
    /// RFC 2782.
    Srv,
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records {
    /// In any order.
    Naptr(Vec<Naptr>),
    /// In any order.
    Srv(Vec<Srv>),
    /// In the order of the answer.
    Addresses(Vec<IpAddr>),
    /// The DNS says that there are none.
    NoSuch,
}

/// A NAPTR record. Those of SIP have no regular expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naptr {
    /// Lowest first.
    pub order: u16,
    /// Lowest first within one order.
    pub preference: u16,
    /// `s` where an SRV record comes next.
    pub flags: Box<str>,
    /// Such as `SIP+D2U`.
    pub services: Box<str>,
    /// The name to ask next.
    pub replacement: Box<str>,
}

/// An SRV record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    /// Lowest first.
    pub priority: u16,
    /// Share of the load within one priority.
    pub weight: u16,
    /// The port of the service.
    pub port: u16,
    /// The host; empty (or a dot) says that there is no such service.
    pub target: Box<str>,
}

/// What is known of a question without waiting.
#[derive(Debug, Clone)]
pub enum Lookup {
    /// An answer, maybe a stale one while the DNS is down.
    Records(Arc<Records>),
    /// The DNS cannot be reached and nothing is cached.
    Failed,
    /// It has to be asked.
    Unknown,
}

/// A cache of DNS answers.
pub trait Known {
    /// What is known of `question`.
    fn lookup(&self, question: &Question) -> Lookup;
}

/// Sorts by priority, and within a priority draws by weight (RFC 2782).
///
/// `random(n)` gives a number below `n`.
pub(super) fn in_order<'a>(records: &'a [Srv], random: &mut dyn FnMut(u32) -> u32) -> Vec<&'a Srv> {
    let mut rest: Vec<&Srv> = records.iter().take(MAX_RECORDS).collect();
    // Those of weight zero come first, so that they keep a small chance of being drawn (RFC 2782).
    rest.sort_by_key(|srv| (srv.priority, srv.weight));
    let mut ordered = Vec::with_capacity(rest.len());
    while let Some(first) = rest.first() {
        let same = rest.iter().take_while(|srv| srv.priority == first.priority).count();
        let total: u32 = rest[..same].iter().map(|srv| u32::from(srv.weight)).sum();
        let drawn = if same == 1 { 0 } else { random(total + 1) };
        let mut sum = 0;
        let place = rest[..same].iter().position(|srv| {
            sum += u32::from(srv.weight);
            sum >= drawn
        });
        ordered.push(rest.remove(place.unwrap_or(0)));
    }
    ordered
}

/// More than any sane domain has; a hostile one must not cost us sorting.
const MAX_RECORDS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn srv(priority: u16, weight: u16, target: &str) -> Srv {
        Srv { priority, weight, port: 5060, target: target.into() }
    }

    fn check(records: &[Srv], draws: &[u32], expected: &[&str]) {
        let mut draws = draws.iter().copied();
        let ordered = in_order(records, &mut |_| draws.next().unwrap_or(0));
        let names: Vec<&str> = ordered.iter().map(|srv| &*srv.target).collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn a_lower_priority_comes_first() {
        check(&[srv(20, 9, "b"), srv(10, 1, "a"), srv(30, 0, "c")], &[], &["a", "b", "c"]);
    }

    #[test]
    fn a_draw_falls_on_the_running_sum_of_weights() {
        let records = [srv(0, 10, "a"), srv(0, 30, "b"), srv(0, 60, "c")];
        check(&records, &[10, 0], &["a", "b", "c"]);
        check(&records, &[11, 0], &["b", "a", "c"]);
        check(&records, &[41, 40], &["c", "b", "a"]);
        check(&records, &[100, 10], &["c", "a", "b"]);
    }

    #[test]
    fn a_weight_of_zero_is_drawn_by_zero_only() {
        check(&[srv(0, 1, "a"), srv(0, 0, "z")], &[0], &["z", "a"]);
        check(&[srv(0, 1, "a"), srv(0, 0, "z")], &[1], &["a", "z"]);
    }

    #[test]
    fn shares_follow_the_weights() {
        let records = [srv(0, 1, "a"), srv(0, 3, "b")];
        let mut state = 12345_u32;
        let mut random = |n: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % n
        };
        let first = (0..10_000).filter(|_| &*in_order(&records, &mut random)[0].target == "a").count();
        // RFC 2782 draws from 0 to 4 and gives "a" the first two of five.
        assert!((3_800..4_200).contains(&first), "{first}");
    }
}
