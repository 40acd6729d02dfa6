//! A server in a simulated network, with a virtual clock: for our tests, and for `ser test` and `ser explain`.
//!
//! [`Network`] holds the deciding part of one worker ([`engine::Core`]) and peers that are nothing but
//! addresses. A test sends text from a peer, lets time pass, and looks at what arrived where. There are no
//! sockets, no threads and no sleeps; loss, delay and reordering follow from a seed, so that a failure
//! repeats exactly.
#![forbid(unsafe_code)]

mod messages;
mod names;
mod network;
mod script;
mod work;

pub use messages::{answer, answer_tagged, line, request, with_line};
pub use names::StaticNames;
pub use network::{Arrived, Network, Parts, SERVER, Weather};
pub use script::{ScriptFailure, compile, compile_for};
pub use work::Letterbox;
