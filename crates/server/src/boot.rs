//! The order in which the server starts, runs and stops.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ::control::Commands;
use ::control::events::Bus;
use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use engine::{Alias, Identity, Key, Links, Mailboxes, Overload, Posts, Shared, Station, ToWorkers, Tracing, Worker};
use module_api::{Dialect, Level, PublicEvents, Server, SocketId, Statistics};
use net::stream::Streams;
use net::tls::TlsServer;
use net::udp::UdpSocket;
use script::{BoundProgram, Configuration, Listen, Settings as ScriptSettings};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::mpsc::Receiver;

use crate::arguments::Arguments;
use crate::control::{Control, Signals};
use crate::logging::{self, Destination, Logger};
use crate::notify::Notifier;
use crate::running::{Order, Parts, Running};
use crate::sockets::Sockets;
use crate::start_modules::{self, Ground, Started};
use crate::{
    background, core_parameters, data, front_ends, gauges, greeting, listen, names, outward, process_limits, spawn,
    tls, trace_commands,
};

/// How many messages and results may wait for one worker.
const MAILBOX: usize = 65_536;

/// How long listeners to events, and then the log, may take for what was told last. As long as phones wait before they
/// send again, for what comes meanwhile waits for the next process.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Runs the server until a signal ends it. Each step needs the ones before it.
///
/// # Errors
/// Whatever keeps it from starting, each naming its cause.
pub(crate) fn serve(arguments: &Arguments, configuration: Configuration) -> Result<()> {
    let mut base = Base::lay(arguments, configuration)?;
    let mut core = Core::make(&mut base)?;
    let ways = Ways::open(&base, &core)?;
    // Not before: the directory of the ways' sockets may belong to root.
    let (user, group) = front_ends::account(arguments, &base.settings);
    background::drop_privileges(user.as_deref(), group.as_deref(), &base.data_dir)?;
    let workers = core.start_workers()?;
    base.posts.open(core.shared.key, Mailboxes::clone(&core.mailboxes));
    // A full mailbox this early would mean that modules have posted more than it holds.
    let _ = base.server.post(b"", Box::new(engine::tell_of_start));
    announce(arguments, &core.shared, &base.data_dir, ways.opened.http)?;
    if let Some(why) = background::failed_upgrade() {
        let text = format!("the newer program cannot be run ({why}); the one before goes on");
        base.log.answer(Level::Error, text.as_bytes());
    }
    let (notifier, kept) = tell_manager(base.sockets, &core.shared, base.runtime.handle());
    let log = Arc::clone(&base.log);
    let mut control = Control {
        arguments,
        shared: core.shared,
        log: base.log,
        mailboxes: core.mailboxes,
        data_dir: base.data_dir,
        tls_server: core.tls_server,
        runtime: base.runtime.handle().clone(),
        server: base.server,
        started: base.started,
        statistics: base.statistics,
        commands: ways.commands,
        running: ways.running,
        notifier,
    };
    let has_successor = base.runtime.block_on(control.run(ways.orders, ways.signals));
    let unheard = base.runtime.block_on(ways.bus.settle(LAST_WORDS));
    if unheard > 0 {
        log.answer(Level::Warning, format!("{unheard} events are lost: who listens to them was too slow").as_bytes());
    }
    drop((ways.opened, ways.outward));
    base.runtime.block_on(control.save());
    join(workers)?;
    // A log that takes nothing keeps nobody from ending.
    let _ = log.flush(LAST_WORDS);
    if has_successor {
        return succeed(base.runtime, &control.notifier, kept);
    }
    remove_pid_file(arguments);
    Ok(())
}

/// The first step: what needs no new socket. Places, the log, modules.
struct Base<'a> {
    arguments: &'a Arguments,
    sockets: Sockets,
    runtime: Runtime,
    data_dir: PathBuf,
    dialect: Dialect,
    settings: ScriptSettings,
    statistics: Statistics,
    posts: Arc<Posts>,
    server: Arc<dyn Server>,
    log: Arc<Logger>,
    started: Started,
    program: Arc<BoundProgram>,
}

impl<'a> Base<'a> {
    fn lay(arguments: &'a Arguments, configuration: Configuration) -> Result<Base<'a>> {
        let sockets = Sockets::from_service_manager();
        enter_directories(arguments)?;
        let runtime = runtime()?;
        let data_dir = data::directory(arguments.data_dir.as_deref());
        prepare_data(&data_dir)?;
        let Configuration { dialect, settings, modules, program } = configuration;
        let statistics = Statistics::default();
        let posts = Arc::new(Posts::default());
        let server: Arc<dyn Server> = Arc::clone(&posts) as _;
        process_limits::set(&settings)?;
        let log = Arc::new(start_log(arguments, &settings, dialect)?);
        let log_of_modules = |name: &'static str| log.for_module(name);
        let ground = Ground {
            dialect,
            data_dir: &data_dir,
            runtime: runtime.handle(),
            statistics: &statistics,
            server: &server,
            log: &log_of_modules,
        };
        let started = start_modules::start(&modules, &Started::default(), &ground)?;
        let program = Arc::new(program.bind(started.states()));
        #[rustfmt::skip]
        let base = Base {
            arguments, sockets, runtime, data_dir, dialect, settings, statistics, posts, server, log, started, program,
        };
        Ok(base)
    }
}

/// The second step: every address is listened at, and what workers share is there. Nobody reads yet.
struct Core {
    shared: Arc<Shared>,
    streams: Arc<Streams>,
    mailboxes: Mailboxes,
    /// What the workers will own.
    own: Vec<(Station, Vec<(SocketId, UdpSocket)>)>,
    tls_server: Option<Arc<TlsServer>>,
    _gauges: Arc<gauges::Parts>,
}

impl Core {
    fn make(base: &mut Base<'_>) -> Result<Core> {
        let (arguments, settings, runtime) = (base.arguments, &base.settings, base.runtime.handle());
        let tls_settings = tls::Wanted::of(arguments, settings, &base.started);
        let tls_server = tls::server(&tls_settings)?;
        let mut identity = identity(arguments, settings, tls_server.is_some())?;
        let worker_count = arguments.workers.unwrap_or_else(cores).clamp(1, 64);
        let udp = base.sockets.bind_udp(&mut identity, worker_count, &core_parameters::udp(settings, worker_count)?)?;
        let (mailboxes, stations) = engine::stations(worker_count, MAILBOX).context("cannot make mailboxes")?;
        let surroundings = Surroundings {
            runtime: runtime.clone(),
            mailboxes: Mailboxes::clone(&mailboxes),
            capture_bytes: arguments.trace_memory as usize * 1024 * 1024,
            workers: worker_count,
            log: Arc::clone(&base.log),
            statistics: base.statistics.clone(),
            events: base.posts.events.clone(),
            names: resolver(settings, arguments, runtime, &base.posts)?,
        };
        let shared = share(settings, &base.started, identity, Arc::clone(&base.program), surroundings)?;
        watch(arguments, &shared, &base.log);
        let sink = Arc::new(ToWorkers::new(Arc::clone(&shared), Mailboxes::clone(&mailboxes)));
        let stream_settings = core_parameters::streams(settings, tls::client(&tls_settings)?)?;
        let kernel = stream_settings.kernel.clone();
        let streams = Arc::new(Streams::new(runtime.clone(), stream_settings, sink));
        base.sockets.listen_streams(&streams, &kernel, &shared.identity, tls_server.as_ref())?;
        let _gauges = gauges::show(&base.statistics, Mailboxes::clone(&mailboxes), Arc::clone(&streams));
        let own = stations.into_iter().zip(udp).collect();
        Ok(Core { shared, streams, mailboxes, own, tls_server, _gauges })
    }

    /// From here on messages are read.
    fn start_workers(&mut self) -> Result<Vec<JoinHandle<std::io::Result<()>>>> {
        let mut threads = Vec::new();
        let links = Links { mailboxes: Mailboxes::clone(&self.mailboxes), streams: Arc::clone(&self.streams) };
        let own = std::mem::take(&mut self.own).into_iter();
        let named = |name: &str, number: usize| std::thread::Builder::new().name(format!("{name} {number}"));
        for (number, (worker, receivers)) in Worker::all(&self.shared, own, &links).into_iter().enumerate() {
            threads.push(named("worker", number).spawn(move || worker.run()).context("cannot start a worker")?);
            for receiver in receivers {
                let run = move || {
                    receiver.run();
                    Ok(())
                };
                threads.push(named("receiver", number).spawn(run).context("cannot start a receiver")?);
            }
        }
        Ok(threads)
    }
}

/// The third step: the ways in for operators, and out for what they want to hear of.
struct Ways {
    bus: Bus,
    outward: outward::Outward,
    running: Arc<Running>,
    orders: Receiver<Order>,
    commands: Commands,
    opened: front_ends::Opened,
    signals: Signals,
}

impl Ways {
    fn open(base: &Base<'_>, core: &Core) -> Result<Ways> {
        let _inside = base.runtime.enter();
        let (arguments, settings, started) = (base.arguments, &base.settings, &base.started);
        let bus = Bus::start(&base.posts.events, &base.statistics, base.runtime.handle());
        let outward = outward::start(arguments, &bus, &base.statistics, &base.log.as_say())?;
        let (running, orders) = Running::new(Parts {
            settings,
            dialect: base.dialect,
            shared: Arc::clone(&core.shared),
            streams: Arc::clone(&core.streams),
            statistics: base.statistics.clone(),
            log: Arc::clone(&base.log),
            bus: bus.clone(),
            mailboxes: Mailboxes::clone(&core.mailboxes),
        });
        let sockets = core.shared.identity.sockets.clone();
        let commands = Commands::new(running.owners(started), sockets, Arc::clone(&base.server));
        give_to_scripts(&commands, &core.shared);
        let doors = front_ends::Doors { arguments, settings, started, data_dir: &base.data_dir, bus: &bus };
        let opened = front_ends::open(&doors, &running, &commands, base.runtime.handle())?;
        Ok(Ways { bus, outward, running, orders, commands, opened, signals: Signals::listen()? })
    }
}

/// Becomes the program that lies where this one was started from, with the same options and sockets; should that not be
/// possible any more, this program again.
fn succeed(runtime: Runtime, notifier: &Notifier, sockets: Vec<(String, OwnedFd)>) -> Result<()> {
    notifier.lives();
    // Its threads wait on descriptors that are about to become sockets of the next program.
    runtime.shutdown_timeout(Duration::from_secs(2));
    let programs = background::successors()?;
    let why = net::inherited::pass_on(sockets, programs, background::tell_of_failure);
    Err(why).context("neither the new program nor this one can be started again")
}

fn join(workers: Vec<JoinHandle<std::io::Result<()>>>) -> Result<()> {
    for worker in workers {
        worker.join().map_err(|_| anyhow::anyhow!("a worker has failed"))?.context("a worker stopped")?;
    }
    Ok(())
}

/// Lets scripts call the server's commands.
fn give_to_scripts(commands: &Commands, shared: &Shared) {
    // The first and only time: a reload changes what the table holds, not which it is.
    let _ = shared.commands.set(Arc::new(::control::ForScripts::new(commands)));
}

fn watch(arguments: &Arguments, shared: &Shared, log: &Arc<Logger>) {
    if !arguments.trace.is_empty() {
        shared.tracing.watch(arguments.trace.clone(), trace_commands::to_log(log));
    }
}

fn remove_pid_file(arguments: &Arguments) {
    if let Some(file) = &arguments.pid_file {
        // The process ends; a file that cannot be removed is somebody else's by now.
        let _ = std::fs::remove_file(file);
    }
}

/// What the workers share with the rest of the server.
struct Surroundings {
    runtime: Handle,
    mailboxes: Mailboxes,
    capture_bytes: usize,
    workers: usize,
    log: Arc<Logger>,
    statistics: Statistics,
    events: PublicEvents,
    names: Arc<names::Dns>,
}

/// Tells everybody who waits for it that the server serves.
fn announce(arguments: &Arguments, shared: &Shared, data_dir: &Path, http: Option<SocketAddr>) -> Result<()> {
    if let Some(file) = &arguments.pid_file {
        background::write_number(file, std::process::id() as i32)?;
    }
    if let Some(file) = &arguments.pgid_file {
        background::write_number(file, nix::unistd::getpgrp().as_raw())?;
    }
    if background::is_in_background() {
        return background::announce_ready();
    }
    let database = arguments.file.is_none().then(|| data::database(data_dir));
    eprint!("{}", greeting::ready(&shared.identity.sockets, &arguments.domain, database.as_deref(), http));
    Ok(())
}

/// Makes `directory`, readable by its owner alone: it holds password hashes.
///
/// # Errors
/// When it cannot be made.
fn prepare_data(directory: &Path) -> Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(directory).with_context(|| format!("cannot make the data directory {}", directory.display()))
}

/// Tells the service manager that the server serves, and goes on telling it that the workers turn. Returns the sockets
/// that outlive this program.
fn tell_manager(sockets: Sockets, shared: &Arc<Shared>, runtime: &Handle) -> (Arc<Notifier>, Vec<(String, OwnedFd)>) {
    let notifier = Arc::new(Notifier::from_environment());
    let kept = sockets.hand_over(&notifier);
    notifier.ready();
    runtime.spawn(Arc::clone(&notifier).keep_alive(Arc::clone(shared)));
    (notifier, kept)
}

fn enter_directories(arguments: &Arguments) -> Result<()> {
    // A relative one would be looked for below itself, and nobody but root may change the root.
    if background::is_successor() {
        return Ok(());
    }
    if let Some(root) = &arguments.chroot {
        nix::unistd::chroot(root).with_context(|| format!("cannot make {} the root", root.display()))?;
        std::env::set_current_dir("/").context("cannot enter the new root")?;
    }
    if let Some(dir) = &arguments.working_dir {
        std::env::set_current_dir(dir).with_context(|| format!("cannot enter {}", dir.display()))?;
    }
    Ok(())
}

/// The runtime on which waits and modules run.
pub(crate) fn runtime() -> Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder
        .worker_threads(cores().clamp(1, 8))
        .thread_name("runtime")
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

/// Addresses and names: of the command line where it gives any, else of the script.
pub(crate) fn identity(arguments: &Arguments, settings: &ScriptSettings, has_tls: bool) -> Result<Identity> {
    let given: Vec<Listen> = arguments.listen.iter().map(|text| listen::parse(text)).collect::<Result<_>>()?;
    let lines = if given.is_empty() { &settings.listen } else { &given };
    let defaults = listen::Defaults {
        port: settings.int("port") as u16,
        tcp: !arguments.no_tcp && !settings.flag("disable_tcp"),
        tls: has_tls,
    };
    let mut sockets = listen::sockets(lines, defaults)?;
    core_parameters::advertise(settings, &mut sockets);
    let of_script = settings.aliases.iter().map(|alias| Alias {
        host: alias.host.to_ascii_lowercase(),
        port: alias.port,
        transport: alias.transport,
    });
    let names = arguments.domain.iter().chain(&arguments.alias);
    let of_command_line = names.map(|name| Alias { host: name.to_ascii_lowercase(), port: None, transport: None });
    Ok(Identity { sockets, aliases: of_script.chain(of_command_line).collect() })
}

fn start_log(arguments: &Arguments, settings: &ScriptSettings, dialect: module_api::Dialect) -> Result<Logger> {
    let is_on_terminal = !background::is_in_background();
    let to_stderr = arguments.log_stderr || settings.flag("log_stderror") || is_on_terminal;
    let destination = if logging::is_in_journal() && !arguments.log_json && arguments.log.is_none() {
        Destination::Journal
    } else if let Some(destination) = arguments.log {
        destination
    } else if arguments.log_json {
        Destination::Json
    } else if to_stderr {
        Destination::Stderr
    } else {
        Destination::Syslog
    };
    let debug = settings.int("debug") + i64::from(arguments.debug);
    let threshold = logging::threshold(debug, dialect);
    let name = core_parameters::given(settings, "log_name").unwrap_or_else(|| "ser".to_owned());
    let facility = logging::facility(&settings.text("log_facility"));
    Logger::start(destination, threshold, &name, facility).context("cannot start the log")
}

/// The DNS, for the proxy and for the functions of scripts; these find the web beside it.
fn resolver(
    settings: &ScriptSettings,
    arguments: &Arguments,
    runtime: &Handle,
    posts: &Posts,
) -> Result<Arc<names::Dns>> {
    let settings = core_parameters::dns(settings, arguments.dns_server.clone());
    let names = Arc::new(names::Dns::start(runtime, settings).context("cannot set up DNS")?);
    // Nobody else has set it.
    let _ = posts.dns.set(Arc::clone(&names) as _);
    let _ = posts.web.set(Arc::new(outward::web(arguments)?));
    Ok(names)
}

fn share(
    settings: &ScriptSettings,
    started: &Started,
    identity: Identity,
    program: Arc<BoundProgram>,
    around: Surroundings,
) -> Result<Arc<Shared>> {
    let mut engine_settings = core_parameters::engine(settings, started);
    engine_settings.capture_bytes = around.capture_bytes;
    let spawn = spawn::OnTokio::new(around.runtime, around.mailboxes, engine_settings.wait_deadline);
    let mut secret = [0; 16];
    getrandom::fill(&mut secret).map_err(|error| anyhow::anyhow!("the system gives no random numbers: {error}"))?;
    let (first, second) = secret.split_at(8);
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    Ok(Arc::new(Shared {
        resolve: identity.resolve_settings(),
        settings: engine_settings,
        identity,
        statistics: engine::Statistics::shown_in(&around.statistics),
        program: ArcSwap::new(program),
        names: around.names,
        spawn: Arc::new(spawn),
        log: around.log,
        events: around.events,
        tracing: Tracing::default(),
        key: Key(number(first), number(second)),
        overload: Overload::new(Instant::now()),
        turns: (0..around.workers).map(|_| AtomicU64::new(0)).collect(),
        workers: AtomicUsize::new(around.workers),
        busy_workers: AtomicUsize::new(around.workers),
        is_draining: AtomicBool::new(false),
        commands: OnceLock::new(),
    }))
}
