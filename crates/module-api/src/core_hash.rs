//! The hash by which Kamailio spreads calls.

/// A hash of texts, one after the other: scripts share it with databases and with servers that are still Kamailio.
///
/// Each text is taken in groups of four bytes; what is left over of one is not joined to the next.
pub fn core_hash(texts: &[&[u8]]) -> u32 {
    let add = |hash: u32, group: &[u8]| {
        let value = group.iter().fold(0_u32, |value, byte| value << 8 | u32::from(*byte));
        hash.wrapping_add(value ^ value >> 3)
    };
    let hash = texts.iter().fold(0, |hash, text| {
        let (groups, rest) = text.as_chunks::<4>();
        add(groups.iter().fold(hash, |hash, group| add(hash, group)), rest)
    });
    hash.wrapping_add(hash >> 11).wrapping_add(hash >> 13).wrapping_add(hash >> 23)
}
