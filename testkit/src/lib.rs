//! Simulated network for tests.
#![forbid(unsafe_code)]
