//! How operators and programs talk to the running server: FIFO, JSON-RPC, binrpc, HTTP.
//!
//! [`Commands`] holds the table of commands and calls them; each front end reads requests in its own form, calls,
//! and renders the result. Everything here runs on tokio beside the workers. Each front end bounds the size of a
//! request, the number of clients and the time that one may take, so that no client can hold up SIP or fill memory.
#![forbid(unsafe_code)]

pub mod binrpc;
mod commands;
mod dispatch;
pub mod events;
pub mod fifo;
mod for_scripts;
mod ground;
pub mod http;
pub mod http_client;
pub mod json;
pub mod json_fifo;
pub mod json_rpc;
pub mod openapi;
mod path;
mod reply_pipe;
pub mod socket;
pub mod spans;

pub use commands::{
    Connection, Connections, Server, ServerError, SettingValue, StoppedBy, core_commands, server_commands,
};
pub use dispatch::{Commands, Owner};
pub use for_scripts::ForScripts;
pub use ground::{FrontEnd, Ground, Say};
pub use path::{Access, OpenError};

/// Bounds that all front ends keep.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest request, in bytes.
    pub request: usize,
    /// Clients that one front end serves at once.
    pub clients: usize,
    /// Clients that HTTP serves at once for one address.
    pub clients_each: usize,
    /// How long a client may take for one request, and for taking its answer.
    pub patience: std::time::Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { request: 64 * 1024, clients: 64, clients_each: 32, patience: std::time::Duration::from_secs(5) }
    }
}
