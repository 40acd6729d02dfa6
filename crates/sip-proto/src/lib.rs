//! What the SIP RFCs say to do, without input, output or a clock.
//!
//! Everything here is a value or a function of its arguments: time comes in as `now`, deadlines go
//! out, random numbers and DNS answers are handed in by the caller. A test can therefore walk every
//! arrow of every state machine without waiting.
#![forbid(unsafe_code)]
// A test needs some instant to begin from; it adds to that and never reads the clock again.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod branch;
pub mod dialog;
pub mod digest;
pub mod forward;
pub mod gruu;
pub mod loop_detection;
pub mod redirect;
pub mod registrar;
pub mod resolve;
pub mod response_context;
pub mod routes;
pub mod seal;
pub mod stun;
pub mod transaction;
mod values;
