//! Durable data: subscribers, locations, aliases and domains in SER's and Kamailio's tables.
//!
//! [`Store`] is the one entry. It dispatches to a backend (a folder each; SQLite today), puts a deadline on
//! each query and speaks [`Error`]. Registrations are written through a [`LocationWriter`], which gathers
//! what many requests submit into one transaction: what it acknowledged survives `kill -9`.
//!
//! This crate knows no SIP messages: it stores texts and numbers under the column names that existing
//! databases and tools use.
#![forbid(unsafe_code)]

mod account;
#[cfg(any(test, feature = "battery"))]
pub mod battery;
mod binding;
mod database;
mod domain;
mod error;
mod place;
mod spool;
mod sqlite;
mod store;
mod table_name;
mod tables;
mod writer;

pub use account::{Account, Credentials, Ha1};
pub use binding::{Change, StoredBinding};
#[cfg(any(test, feature = "battery"))]
pub use database::battery as database_battery;
pub use database::{Cell, ColumnName, Comparison, Condition, Database, Kind, Report, Rows, Select, Write};
pub use database::{How, Made, SCHEMA, SchemaTable};
pub use domain::{AliasTarget, StoredDomain};
pub use error::{Cause, Error};
pub use spool::{Courier, Drain, Full, Orphans, Spool, Undelivered, orphans};
pub use store::{Settings, Store};
pub use table_name::TableName;
pub use writer::{LocationWriter, WriterSettings, Written};
