//! What a module sees: signature, value, call, outcome, wait, setup, command, statistic.
//!
//! A module is a table ([`Module`]): the settings that `modparam` can change, the functions and
//! variables that a script can use, and one function that makes its state at start. The script crate
//! reads the tables to check a script; the engine runs the functions. A module sees the request as a
//! [`Context`] and the server as a [`Host`], and never a socket, a thread or a clock.
#![forbid(unsafe_code)]

mod attributes;
pub mod calendar;
mod call;
mod command;
mod context;
mod core_hash;
mod data;
mod dns;
mod function;
mod histogram;
mod host;
mod http;
mod module;
mod observe;
mod outcome;
mod public_event;
mod records;
mod route;
mod server;
mod statistic;
mod value;
mod variable;
mod watch;
mod web;

pub use attributes::Attributes;
pub use calendar::{Calendar, Zone};
pub use call::{Arg, Call, OutputVariable};
pub use command::{Answer, ArgumentKind, Command, CommandCall, CommandError, CommandParam};
pub use context::{
    Arrival, Context, FLAG_COUNT, Flow, Hooks, Notes, OwnVia, RecordRoute, Restore, SelectedInstances, SocketId,
    Target, TransactionKey, Tuning,
};
pub use core_hash::core_hash;
pub use data::Data;
pub use dns::{Dns, DnsAnswer, DnsKind, DnsPointer, DnsRecords, DnsService};
pub use function::{Function, Param, ParamKind};
pub use histogram::{Distribution, Histogram, HistogramReading, MOST_BUCKETS, Scale};
pub use host::{
    Host, Level, Matched, NewTransaction, Pending, RelayError, RelayOptions, Reply, ReplyError, Socket, Standing,
};
pub use http::{HttpAnswer, HttpRequest, JsonRpc, TakesHttp};
pub use module::{
    Binding, BlockOn, Event, LogLine, Module, Parameter, Save, Setting, SettingKind, Setup, SetupError, SpawnWork,
    State,
};
pub use observe::{Happening, Observe, Replied};
pub use outcome::{Fault, Outcome, Resume, Wait};
pub use public_event::{EventKind, PublicEvent, PublicEvents, TakeEvent};
pub use records::{Content, Record, RecordKind, Records};
pub use route::{Dialect, RouteId, RouteKind, Routes};
pub use server::{
    Departure, Job, NoServer, OnAnswer, OwnAnswer, OwnRequest, Server, Tick, bracketed, every, made_up_context,
};
pub use statistic::{Counter, Gauge, PeerFigures, RatioReading, Reading, Statistic, StatisticKind, Statistics};
pub use value::Value;
pub use variable::{Index, KeyRule, Other, Selector, Variable, WriteVariable};
pub use watch::{Extent, FindWatcher, Sighting, Watch, Watcher};
pub use web::{Web, WebAnswer, WebExchange, WebRequest};
