//! Signals and orders: drain, reload, counters.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ::control::{Commands, ServerError, StoppedBy};
use anyhow::{Context, Result};
use engine::{Mail, Mailboxes, Shared};
use module_api::{Data, EventKind, Level, Server, Statistics};
use net::tls::TlsServer;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::Receiver;

use crate::arguments::Arguments;
use crate::load;
use crate::logging::Logger;
use crate::notify::Notifier;
use crate::running::{Order, Running};
use crate::start_modules::{self, Ground, SAVE, Started};

/// What signals act on.
pub(crate) struct Control<'a> {
    /// The command line, read again at a reload.
    pub(crate) arguments: &'a Arguments,
    /// What the workers share.
    pub(crate) shared: Arc<Shared>,
    /// Where signals are answered.
    pub(crate) log: Arc<Logger>,
    /// The workers' mailboxes.
    pub(crate) mailboxes: Mailboxes,
    /// Where data is kept.
    pub(crate) data_dir: PathBuf,
    /// The certificates in use.
    pub(crate) tls_server: Option<Arc<TlsServer>>,
    /// Where modules run their futures.
    pub(crate) runtime: Handle,
    /// The workers, as modules reach them.
    pub(crate) server: Arc<dyn Server>,
    /// The modules of the script in use.
    pub(crate) started: Started,
    /// What is counted, also by the modules of a script that is loaded later.
    pub(crate) statistics: Statistics,
    /// What can be called, which a reload changes.
    pub(crate) commands: Commands,
    /// The server as its own commands see it.
    pub(crate) running: Arc<Running>,
    /// The service manager.
    pub(crate) notifier: Arc<Notifier>,
}

/// The signals that the server obeys, from the moment that this is made.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    user: Signal,
}

impl Signals {
    /// To be called within the runtime, and before anybody can know that the server is there: a signal that comes earlier
    /// ends the process, whatever it has read by then.
    ///
    /// # Errors
    /// When the system delivers no signals.
    pub(crate) fn listen() -> Result<Signals> {
        Ok(Signals {
            terminate: listen_to(SignalKind::terminate())?,
            interrupt: listen_to(SignalKind::interrupt())?,
            hang_up: listen_to(SignalKind::hangup())?,
            user: listen_to(SignalKind::user_defined1())?,
        })
    }
}

/// How long a drain may take: as long as a transaction without answer (Timer B).
const DRAIN: Duration = Duration::from_secs(32);

impl Control<'_> {
    /// Obeys signals until one has ended the server. True when another program shall take its place.
    pub(crate) async fn run(&mut self, mut orders: Receiver<Order>, signals: Signals) -> bool {
        let Signals { mut terminate, mut interrupt, mut hang_up, mut user } = signals;
        let (mut stops, mut has_successor) = (0, false);
        loop {
            let before = stops;
            tokio::select! {
                _ = terminate.recv() => stops += 1,
                _ = interrupt.recv() => stops += 1,
                _ = hang_up.recv() => drop(self.reload()),
                _ = user.recv() => self.log_counters(),
                Some(order) = orders.recv() => match order {
                    Order::Stop(StoppedBy::Drain) => stops += 1,
                    Order::Stop(StoppedBy::Kill) => stops += 2,
                    Order::Stop(StoppedBy::Successor) if stops == 0 => (stops, has_successor) = (1, true),
                    // The successor is on its way, or the end is.
                    Order::Stop(StoppedBy::Successor) => {}
                    // Whoever asked may have gone without waiting for the answer.
                    Order::Reload(answer) => drop(answer.send(self.reload())),
                },
                // Whoever wants it to end after all has sent another signal.
                () = self.drained(), if stops > 0 => break,
            }
            if stops > before {
                // A second signal is from somebody who does not want to wait.
                self.drain(if stops == 1 { DRAIN } else { Duration::ZERO }, has_successor && stops == 1).await;
            }
        }
        has_successor && stops == 1
    }

    /// Has modules write down what shall outlive the server. To be called when nothing changes it any more.
    pub(crate) async fn save(&self) {
        self.notifier.lives();
        self.started.save(SAVE, &|name| self.log.for_module(name)).await;
    }

    /// Lets the workers finish what they have and take nothing new.
    async fn drain(&self, within: Duration, has_successor: bool) {
        self.shared.is_draining.store(true, Ordering::Relaxed);
        if has_successor {
            self.notifier.succeeding();
        } else {
            self.notifier.stopping();
        }
        self.tell(EventKind::Drain, Vec::new());
        let stop_at = Instant::now() + within;
        for mailbox in self.mailboxes.iter() {
            let mut mail = Mail::Drain(stop_at);
            while let Err(full) = mailbox.send(mail) {
                mail = full.0;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        self.say(Level::Notice, "draining: new requests get 503");
    }

    /// Waits until every worker has stopped.
    async fn drained(&self) {
        const LOOK: Duration = Duration::from_millis(20);
        while self.shared.workers.load(Ordering::Acquire) > 0 {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Loads script and certificates again. What does not load changes nothing.
    fn reload(&mut self) -> Result<(), ServerError> {
        match self.try_reload() {
            Ok(()) => {
                self.say(Level::Notice, "script and certificates are reloaded");
                self.tell(EventKind::Reload, vec![("ok", 1_i64.into())]);
                Ok(())
            }
            Err(error) => {
                self.say(Level::Error, &format!("reload: {error:#}; the server goes on as before"));
                let why = format!("{error:#}");
                self.tell(EventKind::Reload, vec![("ok", 0_i64.into()), ("error", why.clone().into())]);
                Err(ServerError(why))
            }
        }
    }

    fn try_reload(&mut self) -> Result<()> {
        let configuration = load::load(self.arguments)?;
        let dialect = configuration.dialect;
        let log = |name: &'static str| self.log.for_module(name);
        let ground = Ground {
            dialect,
            data_dir: &self.data_dir,
            runtime: &self.runtime,
            statistics: &self.statistics,
            server: &self.server,
            log: &log,
        };
        let start = || start_modules::start(&configuration.modules, &self.started, &ground);
        // Modules may wait for a database while they start, which this task may not.
        let started = tokio::task::block_in_place(start)?;
        let program = configuration.program.bind(started.states());
        // The last that can fail: it takes effect at once, and a script with errors must change nothing.
        if let Some(tls) = &self.tls_server {
            tls.reload().context("certificates")?;
        }
        self.shared.program.store(Arc::new(program));
        self.started = started;
        self.running.take_settings(&configuration.settings);
        self.commands.replace(self.running.owners(&self.started));
        Ok(())
    }

    fn log_counters(&self) {
        for reading in self.statistics.all() {
            let value = reading.value().unwrap_or(0);
            self.say(Level::Notice, &format!("{}:{} = {value}", reading.group, reading.name));
        }
    }

    fn tell(&self, kind: EventKind, fields: Vec<(&'static str, Data)>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.shared.events.tell(kind, now, || fields);
    }

    fn say(&self, level: Level, text: &str) {
        self.log.answer(level, text.as_bytes());
    }
}

fn listen_to(kind: SignalKind) -> Result<Signal> {
    signal(kind).context("cannot listen to signals")
}
