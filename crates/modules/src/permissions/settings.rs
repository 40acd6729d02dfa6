//! Where the tables and files are, and reading them.

use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use module_api::{Answer, CommandError, Data, Parameter, Setup, SetupError, State};

use super::Permissions;
use super::address::Addresses;
use super::rules::Files;
use super::trusted::Trusted;
use crate::rows::Source;
use crate::setting::{self, ignored, number, text};

pub(super) const PARAMETERS: &[Parameter] = &[
    text(
        "address_file",
        "",
        "A file of addresses, one a line: GROUP ADDRESS MASK PORT TAG, of which the last three may be left out. ADDRESS may \
         be a network such as 10.0.0.0/8 or a domain; port 0 stands for any.",
    ),
    text("db_url", "", "The directory of the tables address and trusted as text files: text:///path."),
    text("address_table", "address", "The table of addresses."),
    text("trusted_table", "trusted", "The table of trusted peers."),
    text("grp_col", "grp", "The column of the group."),
    text("ip_addr_col", "ip_addr", "The column of the address."),
    text("mask_col", "mask", "The column of the number of bits of a network."),
    text("port_col", "port", "The column of the port."),
    text("tag_col", "tag", "The column of the tag."),
    text("source_col", "src_ip", "The column of the address of a trusted peer."),
    text("proto_col", "proto", "The column of its transport: any, udp, tcp, tls, sctp, ws, wss or none."),
    text("from_col", "from_pattern", "The column of the pattern that From must match."),
    text("ruri_col", "ruri_pattern", "The column of the pattern that the Request-URI must match."),
    text("peer_tag_avp", "", "The attribute, as $avp(NAME), that receives the tag of what matched."),
    text("default_allow_file", "permissions.allow", "The file of what is allowed, for functions that name none."),
    text("default_deny_file", "permissions.deny", "The file of what is denied, for functions that name none."),
    text("allow_suffix", ".allow", "What follows the base name of a pair of files, for what is allowed."),
    text("deny_suffix", ".deny", "What follows the base name of a pair of files, for what is denied."),
    number("check_all_branches", "1", "1: allow_routing() looks at every target; 0: at the Request-URI alone."),
    ignored("db_mode", "Has no effect: tables are kept in memory."),
    ignored("load_backends", "Has no effect: what is configured is loaded."),
    ignored("peer_tag_mode", "Has no effect: the tag of the first match is kept."),
    ignored("priority_col", "Has no effect: trusted peers are looked at in the order of the table."),
    ignored("max_subnets", "Has no effect: there may be any number of networks."),
    ignored("subnet_match_mode", "Has no effect: the first network of the table counts."),
    ignored("reload_delta", "Has no effect."),
    ignored("trusted_cleanup_interval", "Has no effect."),
];

/// Where the tables come from.
pub(super) struct Sources {
    address_file: Option<PathBuf>,
    address_table: Option<Source>,
    trusted_table: Option<Source>,
}

impl Sources {
    pub(super) fn read_addresses(&self) -> Result<Addresses, String> {
        match (&self.address_file, &self.address_table) {
            (Some(file), _) => {
                let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
                Addresses::parse(&text).map_err(|cause| format!("{}:{cause}", file.display()))
            }
            (None, Some(table)) => Addresses::from_rows(&table.read()?),
            (None, None) => Ok(Addresses::default()),
        }
    }

    pub(super) fn read_trusted(&self) -> Result<Trusted, String> {
        self.trusted_table.as_ref().map_or_else(|| Ok(Trusted::default()), |table| Trusted::from_rows(&table.read()?))
    }
}

pub(super) fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let peer_tag = setting::attribute(&setup.text("peer_tag_avp"));
    let peer_tag = peer_tag.map_err(|cause| SetupError::Setting { name: "peer_tag_avp", cause })?;
    let sources = sources(setup)?;
    let (addresses, trusted) = (sources.read_addresses(), sources.read_trusted());
    Ok(Arc::new(Permissions {
        addresses: RwLock::new(Arc::new(addresses.map_err(SetupError::Unavailable)?)),
        trusted: RwLock::new(Arc::new(trusted.map_err(SetupError::Unavailable)?)),
        sources,
        files: files(setup)?,
        peer_tag,
        checks_all_branches: setup.int("check_all_branches") != 0,
    }))
}

fn sources(setup: &Setup<'_>) -> Result<Sources, SetupError> {
    let (file, url) = (setup.text("address_file"), setup.text("db_url"));
    let table = |name: &str, columns: &[&str]| {
        if url.is_empty() {
            return Ok(None);
        }
        let columns: Vec<String> = columns.iter().map(|column| setup.text(column)).collect();
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let source = Source::at(&url, &setup.text(name), &columns);
        source
            .map_err(|cause| SetupError::Setting { name: "db_url", cause })
            .map(|source| Some(source).filter(Source::exists))
    };
    Ok(Sources {
        address_file: (!file.is_empty()).then(|| file.into()),
        address_table: table("address_table", &["grp_col", "ip_addr_col", "mask_col", "port_col", "tag_col"])?,
        trusted_table: table("trusted_table", &["source_col", "proto_col", "from_col", "ruri_col", "tag_col"])?,
    })
}

/// The files of rules are read when they are first asked for, since scripts name most of them; those of the
/// settings are read at start, so that a mistake in them is seen then.
fn files(setup: &Setup<'_>) -> Result<Files, SetupError> {
    let names = ["default_allow_file", "default_deny_file", "allow_suffix", "deny_suffix"].map(|name| setup.text(name));
    let files = Files::new(names, setup.data_dir.to_owned());
    files.check_defaults().map_err(SetupError::Unavailable)?;
    Ok(files)
}

/// Reads a table again beside the workers.
pub(super) fn reload(state: Arc<Permissions>, read: fn(&Permissions) -> Result<(), String>) -> Answer {
    Answer::later(async move {
        let done = tokio::task::spawn_blocking(move || read(&state)).await;
        let done = done.unwrap_or_else(|_| Err("interrupted".into()));
        done.map(|()| Data::Null).map_err(|cause| CommandError::new(500, cause))
    })
}
