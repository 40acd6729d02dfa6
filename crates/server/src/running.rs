//! The running server as its commands see it.

use std::fs;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::control::events::Bus;
use ::control::{Connection, Connections, Owner, Server, ServerError, SettingValue, StoppedBy, core_commands};
use arc_swap::ArcSwap;
use engine::{Mailboxes, Shared, Tracing};
use module_api::{Data, Dialect, PeerFigures, Statistics};
use net::stream::Streams;
use script::{CORE_PARAMETERS, CoreKind, Settings};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;

use crate::log_levels::{self, Levels};
use crate::logging::{self, Logger};
use crate::start_modules::Started;
use crate::{background, capture, trace_commands};

/// What commands ask of the task that also obeys signals.
pub(crate) enum Order {
    /// End.
    Stop(StoppedBy),
    /// Load script and certificates again, and say what came of it.
    Reload(oneshot::Sender<Result<(), ServerError>>),
}

/// The server as its commands see it.
pub(crate) struct Running {
    started: Duration,
    orders: Sender<Order>,
    shared: Arc<Shared>,
    streams: Arc<Streams>,
    statistics: Statistics,
    log: Arc<Logger>,
    bus: Arc<Bus>,
    dialect: Dialect,
    mailboxes: Mailboxes,
    debug: AtomicI64,
    settings: ArcSwap<Vec<SettingValue>>,
    modules: ArcSwap<Vec<&'static str>>,
}

/// What [`Running::new`] needs.
pub(crate) struct Parts<'a> {
    /// The core parameters of the script.
    pub(crate) settings: &'a Settings,
    /// The family of the script.
    pub(crate) dialect: Dialect,
    /// What the workers share.
    pub(crate) shared: Arc<Shared>,
    /// Stream connections.
    pub(crate) streams: Arc<Streams>,
    /// What is counted.
    pub(crate) statistics: Statistics,
    /// Where log lines go.
    pub(crate) log: Arc<Logger>,
    /// Where events come from.
    pub(crate) bus: Bus,
    /// The workers' mailboxes.
    pub(crate) mailboxes: Mailboxes,
}

/// Orders that may wait; a reload takes moments.
const ORDERS: usize = 16;
/// The program's name and version.
const VERSION: &str = concat!("ser ", env!("CARGO_PKG_VERSION"));

impl Running {
    /// The server, and where its orders come out.
    pub(crate) fn new(parts: Parts<'_>) -> (Arc<Running>, Receiver<Order>) {
        let (orders, receiver) = channel(ORDERS);
        let running = Running {
            started: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            orders,
            shared: parts.shared,
            streams: parts.streams,
            statistics: parts.statistics,
            log: parts.log,
            bus: Arc::new(parts.bus),
            mailboxes: parts.mailboxes,
            dialect: parts.dialect,
            debug: AtomicI64::new(parts.settings.int("debug")),
            settings: ArcSwap::default(),
            modules: ArcSwap::default(),
        };
        running.take_settings(parts.settings);
        (Arc::new(running), receiver)
    }

    /// Shows the settings of a script that has been loaded.
    pub(crate) fn take_settings(&self, settings: &Settings) {
        let known = CORE_PARAMETERS.iter().filter(|parameter| parameter.kind != CoreKind::Ignored);
        let values = known.map(|parameter| SettingValue {
            group: "core".into(),
            name: parameter.name.into(),
            value: match parameter.kind {
                CoreKind::Int | CoreKind::Bool => settings.int(parameter.name).into(),
                CoreKind::Text | CoreKind::Ignored => without_password(&settings.text(parameter.name)).into(),
            },
            doc: parameter.doc.into(),
            is_live: parameter.name == "debug",
        });
        self.settings.store(Arc::new(values.collect()));
    }

    /// Whose way through the script is watched.
    pub(crate) fn tracing(&self) -> &Tracing {
        &self.shared.tracing
    }

    /// How loud each part of the server may be.
    pub(crate) fn log_levels(&self) -> &Levels {
        self.log.levels()
    }

    /// Whether something of that name logs.
    pub(crate) fn is_source(&self, name: &str) -> bool {
        matches!(name, "core" | "script" | "control") || modules::catalog().iter().any(|module| module.name == name)
    }

    /// The workers' mailboxes, for whoever wants to see the messages that the workers keep; none where they keep none.
    pub(crate) fn keepers(&self) -> Option<Mailboxes> {
        (self.shared.settings.capture_bytes > 0).then(|| Mailboxes::clone(&self.mailboxes))
    }

    /// Where log lines go.
    pub(crate) fn log(&self) -> Arc<Logger> {
        Arc::clone(&self.log)
    }

    /// Everybody's commands.
    pub(crate) fn owners(self: &Arc<Self>, started: &Started) -> Vec<Owner> {
        self.modules.store(Arc::new(started.names()));
        let mut owners = core_commands(Arc::clone(self) as Arc<dyn Server>);
        owners.push((trace_commands::COMMANDS, Arc::clone(self) as _));
        owners.push((log_levels::COMMANDS, Arc::clone(self) as _));
        owners.push((::control::events::COMMANDS, Arc::clone(&self.bus) as _));
        owners.push((capture::COMMANDS, Arc::clone(self) as _));
        owners.extend(started.commands());
        owners
    }
}

impl Server for Running {
    fn started(&self) -> Duration {
        self.started
    }

    fn version(&self) -> String {
        format!("{VERSION} ({}/{})", std::env::consts::ARCH, std::env::consts::OS)
    }

    fn threads(&self) -> Vec<(i64, String)> {
        let entries = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let thread = |entry: fs::DirEntry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            let name = fs::read_to_string(entry.path().join("comm")).ok()?;
            Some((number, name.trim_end().to_owned()))
        };
        let mut threads: Vec<(i64, String)> = entries.filter_map(thread).collect();
        threads.sort_unstable();
        threads
    }

    fn stop(&self, how: StoppedBy) {
        // A full queue holds orders to stop, or reloads that end in moments and can be followed by another order.
        let _ = self.orders.try_send(Order::Stop(how));
    }

    fn rehearse(&self) -> Pin<Box<dyn Future<Output = Result<(), ServerError>> + Send>> {
        Box::pin(async {
            let command = background::own_command().map_err(|error| ServerError(format!("{error:#}")))?;
            let output = tokio::process::Command::from(command).arg("-c").output().await;
            match output {
                Ok(output) if output.status.success() => Ok(()),
                Ok(output) => {
                    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                    Err(ServerError(format!("the new program would not start: {said}")))
                }
                Err(error) => Err(ServerError(format!("the new program cannot be run: {error}"))),
            }
        })
    }

    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<(), ServerError>> + Send>> {
        let orders = self.orders.clone();
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let gone = || ServerError("the server ends".into());
            orders.send(Order::Reload(answer)).await.map_err(|_| gone())?;
            answered.await.map_err(|_| gone())?
        })
    }

    fn modules(&self) -> Vec<&'static str> {
        Vec::clone(&self.modules.load())
    }

    fn aliases(&self) -> Vec<Data> {
        let any = |text: Option<String>| text.map_or(Data::Null, Data::Str);
        let alias = |alias: &engine::Alias| {
            Data::of([
                ("address", alias.host.as_str().into()),
                ("port", any(alias.port.map(|port| port.to_string()))),
                ("proto", any(alias.transport.map(|transport| transport.uri_param().to_owned()))),
            ])
        };
        self.shared.identity.aliases.iter().map(alias).collect()
    }

    fn is_ready(&self) -> bool {
        !self.shared.is_draining.load(Ordering::Relaxed)
    }

    fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    fn peers(&self, most: usize) -> Vec<PeerFigures> {
        self.shared.statistics.peers(most)
    }

    fn connections(&self) -> Connections {
        const SHOWN: usize = 1000;
        let list = self.streams.list(SHOWN).into_iter();
        let list = list.map(|(id, protocol, peer)| Connection {
            id: id.0,
            protocol: format!("{protocol:?}").to_lowercase(),
            peer,
        });
        Connections { open: self.streams.counts().open, most: self.streams.most(), list: list.collect() }
    }

    fn settings(&self) -> Vec<SettingValue> {
        let mut settings = Vec::clone(&self.settings.load());
        if let Some(debug) = settings.iter_mut().find(|setting| setting.is_live) {
            debug.value = self.debug.load(Ordering::Relaxed).into();
        }
        settings
    }

    fn set(&self, group: &str, name: &str, value: &Data) -> Result<(), ServerError> {
        let settings = self.settings.load();
        let Some(setting) = settings.iter().find(|setting| setting.group == group && setting.name == name) else {
            return Err(ServerError(format!("there is no setting `{group}.{name}`; `cfg.list` lists them")));
        };
        if !setting.is_live {
            let text = "is read at start; change the script and send `core.reload`, or start the server again";
            return Err(ServerError(format!("`{group}.{name}` {text}")));
        }
        let level = match value {
            Data::Int(level) => Some(*level),
            value => value.to_text().trim().parse().ok(),
        };
        let level = level.ok_or_else(|| ServerError(format!("`{group}.{name}` is a number")))?;
        self.debug.store(level, Ordering::Relaxed);
        self.log.levels().set_all(logging::threshold(level, self.dialect));
        Ok(())
    }
}

/// A text as others may see it: of an address with user and password, such as that of a database, not the password.
fn without_password(text: &str) -> String {
    let hidden = || {
        let (scheme, rest) = text.split_once("://")?;
        // The last one: a password may hold more of them.
        let (account, place) = rest.rsplit_once('@')?;
        let (user, _) = account.split_once(':')?;
        Some(format!("{scheme}://{user}:***@{place}"))
    };
    hidden().unwrap_or_else(|| text.to_owned())
}

/// The description of the HTTP interface with every command that there is, whatever a script loads.
pub(crate) fn openapi() -> String {
    let of_modules = modules::catalog().iter().flat_map(|module| module.commands);
    let mut all: Vec<_> = ::control::server_commands()
        .chain(trace_commands::COMMANDS)
        .chain(log_levels::COMMANDS)
        .chain(::control::events::COMMANDS)
        .chain(capture::COMMANDS)
        .chain(of_modules)
        .collect();
    all.sort_by_key(|command| command.name);
    format!("{:#}", ::control::openapi::document(&all, VERSION))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_addresses_of_databases_are_not_shown() {
        assert_eq!(without_password("mysql://ser:he@r:t/x@db.example/ser"), "mysql://ser:***@db.example/ser");
        for text in ["mysql://ser@db.example/ser", "http://192.0.2.7:80/a", "alice:x@192.0.2.7", "", "text"] {
            assert_eq!(without_password(text), text);
        }
    }
}
