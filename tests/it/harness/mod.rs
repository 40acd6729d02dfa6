//! What the tests stand on: the server under test, peers as child processes, ports, files.

mod certificate;
mod database;
mod endpoint;
mod phone;
mod port;
mod process;
mod program;
mod radius;
mod scratch;
mod sipp;
mod subject;
mod tone;
mod wire;

pub(crate) use certificate::CertificateFiles;
pub(crate) use database::{DatabaseServer, Kind as DatabaseKind};
pub(crate) use endpoint::{Endpoint, field, lines};
pub(crate) use phone::{Phone, Stack};
pub(crate) use port::free_port;
pub(crate) use process::Process;
pub(crate) use program::{Program, check_command, program_file};
pub(crate) use radius::RadiusServer;
pub(crate) use scratch::Scratch;
pub(crate) use sipp::{Callee, Caller, Script};
pub(crate) use subject::{Plan, Subject};
pub(crate) use wire::Wire;

use std::path::PathBuf;

/// A file of the repository, named from its root.
pub(crate) fn repository_file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}
