//! Opens the ways in: the control socket, HTTP, and what the script asks for.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::control::events::Bus;
use ::control::fifo::FifoSettings;
use ::control::http::HttpSettings;
use ::control::{Access, Commands, FrontEnd, Ground, Limits, OpenError, Server, binrpc, fifo, http, json_fifo, socket};
use anyhow::{Context, Result, bail};
use module_api::Level;
use modules::doors::{Door, DoorKind};
use script::Settings;
use tokio::runtime::Handle;

use crate::arguments::Arguments;
use crate::running::Running;
use crate::start_modules::Started;
use crate::{background, core_parameters, data};

/// Who asks for ways in.
pub(crate) struct Doors<'a> {
    /// The command line.
    pub(crate) arguments: &'a Arguments,
    /// The core parameters of the script.
    pub(crate) settings: &'a Settings,
    /// The modules of the script.
    pub(crate) started: &'a Started,
    /// Where data is kept.
    pub(crate) data_dir: &'a Path,
    /// Where events come from.
    pub(crate) bus: &'a Bus,
}

/// What is open; closed when this is dropped.
pub(crate) struct Opened {
    /// Where HTTP listens.
    pub(crate) http: Option<SocketAddr>,
    _front_ends: Vec<FrontEnd>,
}

/// Modules that bring a way in.
const MODULES: [&str; 4] = ["jsonrpcs", "ctl", "mi_fifo", "fifo"];

/// Opens everything that is asked for. Each serves until it is dropped.
///
/// # Errors
/// The first that was asked for by its place and cannot be opened. One at a default place is left out with a warning, and
/// after an upgrade every one: the program before may have opened it with privileges that are gone, and calls go on
/// without it.
pub(crate) fn open(doors: &Doors<'_>, running: &Arc<Running>, commands: &Commands, runtime: &Handle) -> Result<Opened> {
    let log = running.log();
    let ground =
        Ground { commands: commands.clone(), limits: Limits::default(), runtime: runtime.clone(), log: log.as_say() };
    let mut open = Vec::new();
    open.extend(needed(control_socket(doors, &ground), &ground)?.flatten());
    let (front_end, http) = needed(http_side(doors, running, &ground), &ground)?.flatten().unzip();
    open.extend(front_end);
    for door in wanted(doors) {
        match open_door(doors, &ground, &door) {
            Ok(front_end) => open.push(front_end),
            Err(error) if door.path.is_some() => drop(needed::<()>(Err(error.into()), &ground)?),
            Err(error) => (ground.log)(Level::Warning, &format!("{error}; set its path to have it")),
        }
    }
    for (module, refusal) in refused(doors) {
        (ground.log)(Level::Warning, &format!("module {module}: {refusal}"));
    }
    Ok(Opened { http, _front_ends: open })
}

/// A front end that a start does not go on without, unless it is that of a successor.
fn needed<T>(opened: Result<T>, ground: &Ground) -> Result<Option<T>> {
    match opened {
        Ok(front_end) => Ok(Some(front_end)),
        Err(error) if background::is_successor() => {
            (ground.log)(Level::Error, &format!("{error:#}; the server goes on without it"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn control_socket(doors: &Doors<'_>, ground: &Ground) -> Result<Option<FrontEnd>> {
    let access = access(doors, 0o600, None, None);
    match doors.arguments.control.as_deref() {
        Some("off") => Ok(None),
        Some(path) => Ok(Some(socket::open_stream(ground, Path::new(path), &access)?)),
        None => match socket::open_stream(ground, &data::control_socket(doors.data_dir), &access) {
            Ok(front_end) => Ok(Some(front_end)),
            Err(error) => {
                // Also where the path is longer than sockets' may be. SIP needs no operator to work.
                (ground.log)(Level::Warning, &format!("{error}; serctl cannot reach the server; see --control"));
                Ok(None)
            }
        },
    }
}

fn http_side(doors: &Doors<'_>, running: &Arc<Running>, ground: &Ground) -> Result<Option<(FrontEnd, SocketAddr)>> {
    let arguments = doors.arguments;
    let Some(address) = arguments.http else { return Ok(None) };
    let read = |path: &PathBuf| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read the token file {}", path.display()))
    };
    let token = arguments.http_token_file.as_ref().map(read).transpose()?.map(|text| text.trim().to_owned());
    if token.as_ref().is_some_and(|token| token.len() < 16) {
        bail!("the token for HTTP is shorter than 16 characters and could be guessed");
    }
    let settings = HttpSettings { address, token, bus: doors.bus.clone() };
    Ok(Some(http::open(ground, Arc::clone(running) as Arc<dyn Server>, &settings)?))
}

fn wanted(doors: &Doors<'_>) -> Vec<Door> {
    let mut wanted = Vec::new();
    let settings = doors.settings;
    let text = |name: &str| Some(settings.text(name)).filter(|text| !text.is_empty());
    if let Some(path) = text("fifo") {
        wanted.push(Door {
            kind: DoorKind::Fifo,
            path: Some(path),
            mode: settings.int("fifo_mode") as u32,
            user: text("fifo_user"),
            group: text("fifo_group"),
            reply_dir: settings.text("fifo_dir"),
            ..Door::default()
        });
    }
    let of_module = |name: &&str| doors.started.of::<modules::doors::Doors>(name);
    wanted.extend(MODULES.iter().filter_map(of_module).flat_map(|doors| doors.open.clone()));
    wanted
}

fn refused(doors: &Doors<'_>) -> Vec<(&'static str, String)> {
    let of_module = |name: &'static str| Some((name, doors.started.of::<modules::doors::Doors>(name)?));
    let found = MODULES.into_iter().filter_map(of_module);
    found.flat_map(|(name, doors)| doors.refused.clone().into_iter().map(move |refusal| (name, refusal))).collect()
}

fn open_door(doors: &Doors<'_>, ground: &Ground, door: &Door) -> Result<FrontEnd, OpenError> {
    let path = run_dir(doors).join(door.path.as_deref().unwrap_or(door.kind.default_name()));
    let access = access(doors, door.mode, door.user.clone(), door.group.clone());
    let fifo_settings =
        || FifoSettings { path: path.clone(), access: access.clone(), reply_dir: PathBuf::from(&door.reply_dir) };
    match door.kind {
        DoorKind::Fifo => fifo::open(ground, &fifo_settings()),
        DoorKind::JsonFifo => json_fifo::open(ground, &fifo_settings(), door.is_pretty),
        DoorKind::JsonDatagram => socket::open_datagram(ground, &path, &access, door.is_pretty),
        DoorKind::Binrpc => binrpc::open(ground, &path, &access),
    }
}

/// Who may use a way in: who is named for it, else the user and group that the server becomes, for they must be able
/// to remove it.
fn access(doors: &Doors<'_>, mode: u32, user: Option<String>, group: Option<String>) -> Access {
    let (own_user, own_group) = account(doors.arguments, doors.settings);
    let own_group = own_group.or_else(|| background::primary_group(own_user.as_deref()?));
    Access { mode, user: user.or(own_user), group: group.or(own_group) }
}

/// The user and the group that the server becomes once it listens: the command line goes before the script.
pub(crate) fn account(arguments: &Arguments, settings: &Settings) -> (Option<String>, Option<String>) {
    let user = arguments.user.clone().or_else(|| core_parameters::given(settings, "user"));
    let group = arguments.group.clone().or_else(|| core_parameters::given(settings, "group"));
    (user, group)
}

/// Where sockets and FIFOs without a path of their own lie.
fn run_dir(doors: &Doors<'_>) -> PathBuf {
    match &doors.arguments.run_dir {
        Some(dir) => dir.clone(),
        None if doors.settings.is_set("rundir") => PathBuf::from(doors.settings.text("rundir")),
        None => doors.data_dir.to_owned(),
    }
}
