//! "Did you mean": the known name that is nearest to a misspelt one.

/// The known name closest to `name`, when it is close enough to be a slip of the finger.
pub(crate) fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // One slip in three characters, at most three: beyond that a suggestion is a guess.
    let bound = (name.chars().count() / 3).clamp(1, 3);
    let candidates = known.into_iter().filter(|candidate| candidate.len().abs_diff(name.len()) <= bound);
    let ranked = candidates.map(|candidate| (distance(name, candidate), candidate)).filter(|(d, _)| *d <= bound);
    ranked.min_by_key(|(d, candidate)| (*d, *candidate)).map(|(_, candidate)| candidate)
}

/// Whether one name is another with two neighbours swapped, or with one letter more or less. A letter in the place of
/// another is none: names such as IPV4 and IPV6 differ on purpose.
pub(crate) fn is_slip(name: &str, known: &str) -> bool {
    let is_swap = || {
        let (mut a, mut b): (Vec<u8>, Vec<u8>) = (name.bytes().collect(), known.bytes().collect());
        a.sort_unstable();
        b.sort_unstable();
        a == b
    };
    name != known && name.len() >= 5 && distance(name, known) == 1 && (name.len() != known.len() || is_swap())
}

/// Edit distance with neighbours swapped counting as one edit (optimal string alignment), ignoring case.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_ascii_lowercase().chars().collect();
    let b: Vec<char> = b.to_ascii_lowercase().chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut cost = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_in_the_place_of_another_may_be_on_purpose() {
        assert!(is_slip("WITH_MYSLQ", "WITH_MYSQL"));
        assert!(is_slip("Contct", "Contact"));
        assert!(!is_slip("WITH_IPV4", "WITH_IPV6"));
        assert!(!is_slip("Date", "Data"));
    }

    #[test]
    fn a_slip_of_the_finger_finds_the_name_and_a_different_word_does_not() {
        let known = ["t_relay", "t_reply", "record_route", "xlog"];
        assert_eq!(closest("t_rleay", known), Some("t_relay"));
        assert_eq!(closest("record_rout", known), Some("record_route"));
        assert_eq!(closest("xlgo", known), Some("xlog"));
        assert_eq!(closest("dispatch", known), None);
    }
}
