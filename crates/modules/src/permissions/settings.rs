//! Where the tables and files are, and reading them.

use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use module_api::{Answer, CommandError, Data, Parameter, Setup, SetupError, State};

use super::Permissions;
use super::address::Addresses;
use super::rules::Files;
use super::trusted::Trusted;
use crate::rows::{Row, Source, Wanted};
use crate::setting::{self, file, ignored, number, text};

pub(super) const PARAMETERS: &[Parameter] = &[
    file(
        "address_file",
        "",
        "A file of addresses, one a line: GROUP ADDRESS MASK PORT TAG, of which the last three may be left out. ADDRESS may \
         be a network such as 10.0.0.0/8 or a domain; port 0 stands for any.",
    ),
    text(
        "db_url",
        "",
        "The database of the tables address and trusted, or a directory of text files: text:///path. Without it there are no tables.",
    ),
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
    number("load_backends", "65535", "Which tables are read, as a sum: 1 the addresses, 2 the trusted peers."),
    ignored("peer_tag_mode", "Has no effect: the tag of the first match is kept."),
    text("priority_col", "priority", "The column of the priority of a trusted peer; the lowest is looked at first."),
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
    /// The addresses out of the file, where there is one.
    fn of_file(&self) -> Option<Result<Addresses, String>> {
        let file = self.address_file.as_ref()?;
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()));
        Some(text.and_then(|text| Addresses::parse(&text).map_err(|cause| format!("{}:{cause}", file.display()))))
    }

    pub(super) async fn read_addresses(&self) -> Result<Addresses, String> {
        match (self.of_file(), &self.address_table) {
            (Some(addresses), _) => addresses,
            (None, Some(table)) => Addresses::from_rows(&table.read().await?),
            (None, None) => Ok(Addresses::default()),
        }
    }

    pub(super) async fn read_trusted(&self) -> Result<Trusted, String> {
        match &self.trusted_table {
            Some(table) => trusted(table.read().await?),
            None => Ok(Trusted::default()),
        }
    }

    fn first_addresses(&self, setup: &Setup<'_>) -> Result<Addresses, SetupError> {
        let addresses = match (self.of_file(), &self.address_table) {
            (Some(addresses), _) => addresses,
            (None, Some(table)) => Addresses::from_rows(&table.read_at_start(setup)?),
            (None, None) => Ok(Addresses::default()),
        };
        addresses.map_err(SetupError::Unavailable)
    }

    fn first_trusted(&self, setup: &Setup<'_>) -> Result<Trusted, SetupError> {
        let Some(table) = &self.trusted_table else { return Ok(Trusted::default()) };
        trusted(table.read_at_start(setup)?).map_err(SetupError::Unavailable)
    }
}

/// Trusted peers by their priority. A stable sort: of equal priorities the row that comes first counts.
fn trusted(mut rows: Vec<Row>) -> Result<Trusted, String> {
    rows.sort_by_key(|row| row[5].as_deref().and_then(|priority| priority.trim().parse::<i64>().ok()).unwrap_or(0));
    Trusted::from_rows(&rows)
}

pub(super) fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let peer_tag = setting::attribute(&setup.text("peer_tag_avp"));
    let peer_tag = peer_tag.map_err(|cause| SetupError::Setting { name: "peer_tag_avp", cause })?;
    let sources = sources(setup)?;
    let (addresses, trusted) = (sources.first_addresses(setup)?, sources.first_trusted(setup)?);
    Ok(Arc::new(Permissions {
        addresses: RwLock::new(Arc::new(addresses)),
        trusted: RwLock::new(Arc::new(trusted)),
        sources,
        files: files(setup)?,
        peer_tag,
        checks_all_branches: setup.int("check_all_branches") != 0,
    }))
}

fn sources(setup: &Setup<'_>) -> Result<Sources, SetupError> {
    let (file, url) = (setup.text("address_file"), setup.text("db_url"));
    let backends = setup.int("load_backends");
    let table = |backend: i64, name: &str, columns: &[&str], versions: &'static [i64]| {
        if url.is_empty() || backends & backend == 0 {
            return Ok(None);
        }
        let columns: Vec<String> = columns.iter().map(|column| setup.text(column)).collect();
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let table = setup.text(name);
        let wanted = Wanted { setting: "db_url", url: &url, table: &table, columns: &columns, order: None, versions };
        Source::at(setup, &wanted).map(|source| Some(source).filter(Source::exists))
    };
    let address = ["grp_col", "ip_addr_col", "mask_col", "port_col", "tag_col"];
    let trusted = ["source_col", "proto_col", "from_col", "ruri_col", "tag_col", "priority_col"];
    Ok(Sources {
        address_table: if file.is_empty() { table(1, "address_table", &address, &[6])? } else { None },
        address_file: (!file.is_empty()).then(|| file.into()),
        trusted_table: table(2, "trusted_table", &trusted, &[6])?,
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
pub(super) fn reload(work: impl Future<Output = Result<(), String>> + Send + 'static) -> Answer {
    Answer::later(async move { work.await.map(|()| Data::Null).map_err(|cause| CommandError::new(500, cause)) })
}
