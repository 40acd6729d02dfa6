//! Measures what a call costs: load generator, bare relay, accounting by the kernel.

pub mod accounting;
pub mod batch;
pub mod load;
