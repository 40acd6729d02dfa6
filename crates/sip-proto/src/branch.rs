//! Branch parameters of our own Via headers.
//!
//! A branch that we made tells where its transaction is, so that a response is matched without a
//! search: place and generation of the transaction, number of the branch. It further carries the
//! loop hash of RFC 5393 section 4.2.2 and bits that nobody can guess. Whoever receives it back
//! compares the whole text with what was sent: then nobody who has not seen the request can hit a
//! transaction, whatever place is claimed.

/// What begins every branch of an RFC 3261 element (section 8.1.1.7).
pub const MAGIC_COOKIE: &[u8] = b"z9hG4bK";

/// Bytes of a branch text.
pub const LEN: usize = 7 + PLACE_DIGITS + 2 * WORD_DIGITS;

/// Which branch of which transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Branch {
    /// Place of the transaction.
    pub slot: u32,
    /// Which of the transactions that had this place.
    pub generation: u32,
    /// Number of the branch in its transaction.
    pub index: u16,
}

/// Whether an RFC 3261 element made this branch; else the peer is of RFC 2543.
pub fn has_magic_cookie(branch: &[u8]) -> bool {
    // Parameter values are compared without regard to case (RFC 3261 section 7.3.1).
    branch.len() > MAGIC_COOKIE.len() && branch[..MAGIC_COOKIE.len()].eq_ignore_ascii_case(MAGIC_COOKIE)
}

/// Writes the branch text of a stateful copy.
///
/// `loop_hash` comes from loop detection; `random` makes the text unguessable and, since
/// a CANCEL and its INVITE share a branch, must differ between transactions but not within one branch.
pub fn stateful(branch: Branch, loop_hash: u64, random: u64) -> [u8; LEN] {
    let mut text = [0; LEN];
    text[..7].copy_from_slice(MAGIC_COOKIE);
    let place = u128::from(branch.slot) << 48 | u128::from(branch.generation) << 16 | u128::from(branch.index);
    write_digits(place, &mut text[7..7 + PLACE_DIGITS]);
    write_digits(random.into(), &mut text[RANDOM_AT..LOOP_AT]);
    write_digits(loop_hash.into(), &mut text[LOOP_AT..]);
    text
}

/// Writes the branch text of a copy that leaves no state behind (RFC 3261 section 16.11).
///
/// `identity` is the same for retransmissions, for the CANCEL and for the ACK to a failure, and
/// differs between transactions: [`crate::forward::stateless_identity`].
pub fn stateless(identity: u64, loop_hash: u64) -> [u8; LEN] {
    let mut text = [0; LEN];
    text[..7].copy_from_slice(MAGIC_COOKIE);
    text[7..RANDOM_AT].fill(STATELESS);
    write_digits(identity.into(), &mut text[RANDOM_AT..LOOP_AT]);
    write_digits(loop_hash.into(), &mut text[LOOP_AT..]);
    text
}

/// Reads the identity out of a branch text that [`stateless`] made; none of any other.
pub fn stateless_identity(text: &[u8]) -> Option<u64> {
    let is_stateless = text.len() == LEN && has_magic_cookie(text);
    if !is_stateless || !text[7..RANDOM_AT].iter().all(|digit| digit.eq_ignore_ascii_case(&STATELESS)) {
        return None;
    }
    read_digits(&text[RANDOM_AT..LOOP_AT]).map(|identity| identity as u64)
}

/// Reads a branch text; none when we did not make it or made it without a transaction.
pub fn parse(text: &[u8]) -> Option<Branch> {
    if text.len() != LEN || !has_magic_cookie(text) {
        return None;
    }
    let place = read_digits(&text[7..RANDOM_AT])?;
    Some(Branch { slot: (place >> 48) as u32, generation: (place >> 16) as u32, index: place as u16 })
}

/// Reads the loop hash out of a branch text of ours, stateful or stateless.
pub fn loop_hash(text: &[u8]) -> Option<u64> {
    if text.len() != LEN || !has_magic_cookie(text) {
        return None;
    }
    read_digits(&text[LOOP_AT..]).map(|hash| hash as u64)
}

/// Digits of five bits, lowest last. Lower case and digits only: proxies may change the case.
fn write_digits(mut value: u128, out: &mut [u8]) {
    for digit in out.iter_mut().rev() {
        *digit = DIGITS[(value & 31) as usize];
        value >>= 5;
    }
}

fn read_digits(text: &[u8]) -> Option<u128> {
    text.iter().try_fold(0_u128, |value, digit| {
        let digit = match digit.to_ascii_lowercase() {
            digit @ b'0'..=b'9' => digit - b'0',
            digit @ b'a'..=b'v' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 5 | u128::from(digit))
    })
}

const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
/// 80 bits: 32 of slot, 32 of generation, 16 of index.
const PLACE_DIGITS: usize = 16;
/// 64 bits.
const WORD_DIGITS: usize = 13;
const RANDOM_AT: usize = 7 + PLACE_DIGITS;
const LOOP_AT: usize = RANDOM_AT + WORD_DIGITS;
/// Not a digit, so that a stateless branch never reads as a place.
const STATELESS: u8 = b'z';

#[cfg(test)]
mod tests {
    use super::*;

    const BRANCH: Branch = Branch { slot: 0xdead_beef, generation: 7, index: 0xffff };

    #[test]
    fn a_branch_reads_back_as_it_was_written() {
        let text = stateful(BRANCH, u64::MAX, 1);
        assert_eq!(parse(&text), Some(BRANCH));
        assert_eq!(loop_hash(&text), Some(u64::MAX));
        assert!(has_magic_cookie(&text));
    }

    #[test]
    fn a_branch_is_a_token_of_known_text() {
        let text = stateful(Branch { slot: 1, generation: 1, index: 1 }, 32, 31);
        assert_eq!(&text[..], b"z9hG4bK0000008000002001000000000000v0000000000010");
    }

    #[test]
    fn a_branch_survives_a_change_of_case() {
        let text = stateful(BRANCH, 0x1234_5678_9abc_def0, 99).to_ascii_uppercase();
        assert_eq!(parse(&text), Some(BRANCH));
        assert_eq!(loop_hash(&text), Some(0x1234_5678_9abc_def0));
    }

    #[test]
    fn a_stateless_branch_names_no_transaction() {
        let text = stateless(5, 6);
        assert_eq!(parse(&text), None);
        assert_eq!(loop_hash(&text), Some(6));
        assert_eq!(stateless_identity(&text), Some(5));
        assert_eq!(stateless_identity(&stateful(BRANCH, 6, 5)), None);
    }

    #[test]
    fn a_foreign_branch_names_no_transaction() {
        assert_eq!(parse(b"z9hG4bK776asdhds"), None);
        assert_eq!(parse(b""), None);
        assert_eq!(parse(&[b'v'; LEN]), None);
        let mut text = stateful(BRANCH, 0, 0);
        text[9] = b'w';
        assert_eq!(parse(&text), None);
    }

    #[test]
    fn the_cookie_alone_is_no_branch_of_rfc_3261() {
        assert!(!has_magic_cookie(b"z9hG4bK"));
        assert!(!has_magic_cookie(b"1"));
        assert!(has_magic_cookie(b"Z9HG4BK1"));
    }
}
