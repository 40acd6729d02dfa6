//! What each datagram costs beyond its system calls, the same in every strategy.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Work per datagram that stands for routing: script, edits, look-ups of other tables.
pub(crate) const COMPUTE: Duration = Duration::from_micros(5);

/// Rounds of [`compute`] that take [`COMPUTE`] on this machine when nothing disturbs it.
pub(crate) fn calibrate(sample: &[u8]) -> u32 {
    const ROUNDS: u32 = 1000;
    let best = (0..200).map(|_| {
        let start = Instant::now();
        black_box(compute(sample, ROUNDS));
        start.elapsed()
    });
    let best = best.min().unwrap_or(COMPUTE);
    (COMPUTE.as_nanos() * u128::from(ROUNDS) / best.as_nanos().max(1)) as u32
}

/// Burns a fixed number of dependent multiplications over the datagram's bytes.
pub(crate) fn compute(bytes: &[u8], rounds: u32) -> u64 {
    let mut state = 0xcbf2_9ce4_8422_2325u64;
    for byte in bytes.iter().cycle().take(rounds as usize) {
        state = (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    state
}

/// Finds the Call-ID line by line, as an index of headers would.
pub(crate) fn call_id(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let line = &rest[..end];
        if let Some(value) = line.strip_prefix(b"Call-ID: ") {
            return Some(value.trim_ascii_end());
        }
        rest = &rest[end + 1..];
    }
    None
}
