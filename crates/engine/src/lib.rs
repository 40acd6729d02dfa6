//! Workers: receive, match, run the script, send; suspension and resumption; timers.
//!
//! [`Core`] is the deciding part of one worker and pure: messages, times and results of waits go in, messages
//! and waits come out. [`Worker`] puts sockets and a clock around it. `docs/life-of-a-request.md` walks through both.
#![forbid(unsafe_code)]

mod branch;
mod calls;
mod capture;
mod copy;
mod desk;
mod event;
mod figures;
mod gone;
mod guard;
mod hands;
mod host;
mod http;
mod later;
mod news;
mod observe;
mod outgoing;
mod overload;
mod own;
mod peers;
mod posts;
mod random;
mod receiver;
mod relay;
mod reply;
mod request;
mod resolve;
mod response;
mod run;
mod settings;
mod statistics;
mod streams;
mod suspend;
mod table;
mod timer;
mod tracing;
mod transaction;
mod wait;
mod wheel;
mod worker;
mod worker_core;

pub use crate::worker_core::{Core, Log, Names, Shared};
pub use capture::{Record, Ring, Steps, What};
pub use event::tell_of_start;
pub use outgoing::{Outgoing, Sender, Way};
pub use overload::Overload;
pub use posts::Posts;
pub use random::Key;
pub use receiver::Receiver;
pub use settings::{Alias, Forgets, Identity, Settings, ViaRecords};
pub use statistics::Statistics;
pub use streams::ToWorkers;
pub use tracing::{TakeLine, TraceLines, TraceSink, Tracing, Who};
pub use wait::{Finished, Spawn, Work};
pub use worker::{Links, Mail, Mailboxes, Station, Worker, stations};
