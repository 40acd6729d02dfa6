//! Sets of numbered flags: one shape for those of a message, of its Via, of a run and of a transaction.
//!
//! What differs is where a set is kept and how a script names a flag of it; setting, clearing and asking are the same.

use bytes::Bytes;
use module_api::{Call, Outcome, Value};

/// A set of flags, numbered from 0.
pub(crate) trait FlagSet {
    /// How many flags there are; at most 64.
    const COUNT: u32;

    /// What a script is told that names a flag which is not there.
    const WRONG: &'static str;

    /// The number of the flag that the first argument names.
    fn number(call: &Call<'_>) -> Option<u32> {
        u32::try_from(call.int(0)?).ok()
    }

    /// The flags as bits.
    fn load(call: &Call<'_>) -> u64;

    /// Keeps the flags.
    fn store(call: &mut Call<'_>, flags: u64);
}

/// Sets the flag that the first argument names.
pub(crate) fn set<S: FlagSet>(call: &mut Call<'_>) -> Outcome {
    change::<S>(call, |flags, bit| flags | bit)
}

/// Clears the flag that the first argument names.
pub(crate) fn reset<S: FlagSet>(call: &mut Call<'_>) -> Outcome {
    change::<S>(call, |flags, bit| flags & !bit)
}

/// True when the flag that the first argument names is set.
pub(crate) fn is_set<S: FlagSet>(call: &mut Call<'_>) -> Outcome {
    bit::<S>(call).is_some_and(|bit| S::load(call) & bit != 0).into()
}

fn change<S: FlagSet>(call: &mut Call<'_>, act: fn(u64, u64) -> u64) -> Outcome {
    let Some(bit) = bit::<S>(call) else { return Outcome::fail(S::WRONG) };
    let flags = act(S::load(call), bit);
    S::store(call, flags);
    Outcome::TRUE
}

fn bit<S: FlagSet>(call: &Call<'_>) -> Option<u64> {
    S::number(call).filter(|number| *number < S::COUNT).map(|number| 1 << number)
}

/// Flags kept among the attributes, which follow the transaction, under a name that no script can write.
pub(crate) fn among_attributes(call: &Call<'_>, name: &'static [u8]) -> u64 {
    call.context.avps.first(&Bytes::from_static(name)).map_or(0, Value::to_int) as u64
}

/// See [`among_attributes`].
pub(crate) fn into_attributes(call: &mut Call<'_>, name: &'static [u8], flags: u64) {
    call.context.avps.replace(Bytes::from_static(name), Value::Int(flags as i64));
}
