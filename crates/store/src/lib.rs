//! Durable data behind a few traits.
#![forbid(unsafe_code)]
