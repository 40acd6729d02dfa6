//! A script on the real engine, in a simulated network with a virtual clock: what `ser explain` and `ser test` run on.

mod arrange;
mod hosts;
pub(crate) mod message;
pub(crate) mod record;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use engine::{Identity, Who};
use module_api::{Server, SocketId, Statistics};
use script::{BoundProgram, Configuration, Listen};
use sip_message::Transport;
use testkit::{Letterbox, Network, Parts, Weather};
use tokio::runtime::Runtime;

use crate::arguments::Arguments;
use crate::check::on_scratch;
use crate::scratch::Scratch;
use crate::start_modules::{self, Ground, Started};
use crate::{boot, core_parameters, load};

pub(crate) use arrange::Registration;
pub(crate) use hosts::Hosts;
use record::{Note, Record};

/// Where the server listens when neither script nor command line say so. In the network that RFC 2544 sets
/// aside for measurements, so that it is nobody whom a test or an operator would write down.
pub(crate) const SERVER: &str = "198.18.0.1";
/// 2026-01-01 00:00 UTC.
pub(crate) const BEGIN: Duration = Duration::from_secs(1_767_225_600);

/// What is there before the first message.
pub(crate) struct Props {
    /// Users with passwords: `user@domain`.
    pub(crate) users: Vec<(String, String)>,
    /// Who has registered.
    pub(crate) registrations: Vec<Registration>,
    /// What is known of names.
    pub(crate) hosts: Hosts,
    /// The wall clock at the beginning.
    pub(crate) begin: Duration,
}

/// The server, and what it did so far.
pub(crate) struct Stage {
    pub(crate) network: Network,
    pub(crate) record: Record,
    pub(crate) program: Arc<BoundProgram>,
    pub(crate) hosts: Arc<Hosts>,
    // In this order: what modules began ends before its data goes.
    runtime: Option<Runtime>,
    _scratch: Scratch,
}

impl Stage {
    /// Loads the script that `arguments` name, prints what is wrong with it, and sets everything up.
    ///
    /// # Errors
    /// What would keep the server from starting.
    pub(crate) fn set_up(arguments: &Arguments, props: Props) -> Result<Stage> {
        let Configuration { dialect, settings, modules, program } = load::load(arguments)?;
        let scratch = Scratch::new()?;
        let runtime = boot::runtime()?;
        arrange::users(&props.users, scratch.path(), &runtime)?;
        let letters = Arc::new(Letterbox::default());
        let (statistics, server) = (Statistics::default(), Arc::clone(&letters) as Arc<dyn Server>);
        let data_dir = scratch.path();
        let record = Record::default();
        let lines = record.for_modules();
        let log = |_: &'static str| Arc::clone(&lines);
        let ground = Ground {
            dialect,
            data_dir,
            runtime: runtime.handle(),
            statistics: &statistics,
            server: &server,
            log: &log,
        };
        let started = start_modules::start(&on_scratch(modules, data_dir)?, &Started::default(), &ground)?;
        arrange::registrations(&props.registrations, props.begin, &started, &runtime)?;
        let identity = identity(arguments, &settings)?;
        let program = Arc::new(program.bind(started.states()));
        let hosts = Arc::new(props.hosts);
        let network = Network::assemble(Parts {
            program: Arc::clone(&program),
            settings: core_parameters::engine(&settings, &started),
            identity,
            names: Arc::clone(&hosts) as _,
            log: Arc::new(record.clone()),
            weather: Weather::default(),
            begin_unix: props.begin,
            runtime: Some(runtime.handle().clone()),
            letters,
        });
        network.shared().tracing.watch(vec![Who::Everybody], Arc::new(record.clone()));
        Ok(Stage { network, record, program, hosts, runtime: Some(runtime), _scratch: scratch })
    }

    /// The socket at which a message from `from` arrives.
    ///
    /// # Errors
    /// When the server does not listen over the transport.
    pub(crate) fn socket(&self, from: SocketAddr, transport: Transport) -> Result<(SocketId, SocketAddr)> {
        let sockets = &self.network.shared().identity.sockets;
        let is_of_transport = |at: &usize| sockets[*at].transport == transport;
        let of_transport: Vec<usize> = (0..sockets.len()).filter(is_of_transport).collect();
        let same_family = of_transport.iter().find(|at| sockets[**at].address.is_ipv4() == from.is_ipv4());
        match same_family.or(of_transport.first()) {
            Some(at) => Ok((SocketId(*at as u16), sockets[*at].address)),
            None => bail!("the server does not listen over {}; add `-l {0}:ADDRESS`", transport.uri_param()),
        }
    }

    /// Sends `text` to the server and lets everything happen that happens at once.
    ///
    /// # Errors
    /// As [`Stage::socket`].
    pub(crate) fn send(&mut self, from: SocketAddr, transport: Transport, text: &str) -> Result<()> {
        let (socket, _) = self.socket(from, transport)?;
        self.record.add(Note::Received { at: self.network.now(), from, transport, text: text.to_owned() });
        self.network.send_to(from, socket, bytes::Bytes::from(text.to_owned()));
        self.network.settle();
        Ok(())
    }

    /// Takes what has left the server, and notes it.
    pub(crate) fn take_sent(&mut self) -> Vec<Sent> {
        let sent = self.network.take_arrived().into_iter().map(|(to, arrived)| Sent {
            at: arrived.at,
            to,
            transport: arrived.transport,
            text: arrived.text(),
        });
        let sent: Vec<Sent> = sent.collect();
        sent.iter().for_each(|one| self.record.add(Note::Sent(one.clone())));
        sent
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A message that has left the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) at: Duration,
    pub(crate) to: SocketAddr,
    pub(crate) transport: Transport,
    pub(crate) text: String,
}

/// The sockets of the script, or an address that stands for them where it names none: what this machine's
/// addresses are must not change what a test sees.
fn identity(arguments: &Arguments, settings: &script::Settings) -> Result<Identity> {
    if arguments.listen.is_empty() && settings.listen.is_empty() {
        let listen = vec![format!("udp:{SERVER}"), format!("tcp:{SERVER}")];
        return boot::identity(&Arguments { listen, ..arguments.clone() }, settings, true);
    }
    let is_secure = |line: &Listen| line.transport.is_some_and(Transport::is_secure);
    let has_tls = settings.listen.iter().any(is_secure) || arguments.listen.iter().any(|line| line.contains("tls"));
    boot::identity(arguments, settings, has_tls).context("listening")
}
