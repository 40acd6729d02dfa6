//! A RADIUS client (RFC 2865, 2866, 2869), over UDP and over TLS (RadSec, RFC 6614).
//!
//! [`Client`] asks one of several servers and goes on to the next when one is silent. Every request carries a
//! Message-Authenticator, and an answer counts only when it proves that whoever made it knows the secret: what is
//! forged, late or broken is counted and otherwise passed over. Knows no SIP.
#![forbid(unsafe_code)]

pub mod attribute;
pub mod config;
pub mod dictionary;
pub mod packet;

mod breaker;
mod client;
mod error;
mod figures;
mod inline;
mod link;
mod peer;
#[cfg(test)]
mod tests;
mod tls;

pub use attribute::{Attribute, AttributeId, Attributes};
pub use client::{Client, Report, Service, Settings};
pub use config::Configuration;
pub use dictionary::{Dictionary, Kind};
pub use error::{ConfigError, Error};
pub use figures::Figures;
pub use inline::server;
pub use packet::{Code, Packet};
pub use peer::{Secret, Server, TlsFiles, Transport};
