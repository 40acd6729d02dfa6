//! Sharing calls among gateways, and leaving out those that fail.

mod choose;
mod command;
mod group;
mod list;
mod load;
mod mark;
mod probe;
mod select;
mod settings;
mod source;
mod target;

pub(crate) use choose::hash as stable_hash;

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use module_api::{Event, Host, Module, RouteKind, Setup, SetupError, State, made_up_context};

use load::Calls;
use settings::Settings;
use target::{Set, Sets, Target};

/// Gateways in sets, and what becomes of calls to them.
pub static MODULE: Module = Module {
    name: "dispatcher",
    doc: "Shares calls among gateways by one of many algorithms, tries the next when one fails, and asks them whether they are alive.",
    parameters: settings::PARAMETERS,
    functions: &[
        select::SELECT_DST,
        select::SELECT_DOMAIN,
        select::SELECT,
        select::SELECT_ROUTES,
        select::SET_DST,
        select::SET_DOMAIN,
        select::NEXT_DST,
        select::NEXT_DOMAIN,
        mark::MARK_DST,
        mark::MARK_ADDR,
        mark::LIST_EXISTS,
        crate::also("ds_list_exists", mark::LIST_EXISTS),
        mark::IS_ACTIVE,
        group::FETCH,
        group::FETCH_URI,
        mark::RELOAD,
        source::IS_FROM_LIST,
        load::LOAD_UPDATE,
        load::LOAD_UNSET,
    ],
    variables: &[mark::DSV, group::DSG],
    events: &EVENTS,
    commands: &command::ALL,
    make,
    ..Module::EMPTY
};

static EVENTS: [Event; 2] = [
    Event {
        name: "dispatcher:dst-down",
        doc: "When a gateway has just been left out. $ru is its URI; the message is made up.",
    },
    Event {
        name: "dispatcher:dst-up",
        doc: "When a gateway takes calls again. $ru is its URI; the message is made up.",
    },
];

/// The state of the module.
pub(crate) struct Dispatcher {
    settings: Settings,
    sets: RwLock<Arc<Sets>>,
    calls: Calls,
}

impl Dispatcher {
    /// Changes the sets as a whole; a change that fails changes nothing. The gateways themselves are shared with requests
    /// on their way.
    fn change<T>(&self, change: impl FnOnce(&mut HashMap<i64, Set>) -> Result<T, String>) -> Result<T, String> {
        let mut sets = self.sets.write().unwrap_or_else(PoisonError::into_inner);
        let copy = |(id, set): (&i64, &Set)| (*id, Set { targets: set.targets.clone(), next: AtomicUsize::default() });
        let mut new: HashMap<i64, Set> = sets.0.iter().map(copy).collect();
        let done = change(&mut new)?;
        *sets = Arc::new(Sets(new));
        Ok(done)
    }

    fn sets(&self) -> Arc<Sets> {
        Arc::clone(&self.sets.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Every gateway of every set.
    fn targets(&self) -> Vec<Arc<Target>> {
        self.sets().0.values().flat_map(|set| set.targets.iter().cloned()).collect()
    }

    /// Reads the list again; what is known of gateways that stay is kept.
    async fn reload(&self) -> Result<(), String> {
        let now = self.settings.list.read().await?;
        list::inherit(&now, &self.sets());
        *self.sets.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(now);
        Ok(())
    }

    /// Looks up the gateways that are names.
    async fn resolve(targets: Vec<Arc<Target>>) {
        for target in targets.iter().filter(|target| target.is_name()) {
            let host = String::from_utf8_lossy(&target.host).into_owned();
            // What cannot be looked up keeps the addresses that it had.
            if let Ok(found) = tokio::net::lookup_host((host, target.port)).await {
                target.set_addresses(found.map(|address| address.ip()).collect());
            }
        }
    }
}

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let settings = Settings::read(setup)?;
    let sets = settings.list.read_at_start(setup)?;
    let dispatcher = Arc::new(Dispatcher { calls: Calls::default(), sets: RwLock::new(Arc::new(sets)), settings });
    probe::start(&dispatcher, setup.server.as_ref());
    if dispatcher.settings.dns_interval > Duration::ZERO {
        let keep = keep_names(Arc::downgrade(&dispatcher), dispatcher.settings.dns_interval);
        (setup.spawn)(Box::pin(keep));
    }
    Ok(dispatcher)
}

/// Keeps the addresses of names current, as long as the module's state is in use.
async fn keep_names(dispatcher: Weak<Dispatcher>, interval: Duration) {
    while let Some(targets) = dispatcher.upgrade().map(|dispatcher| dispatcher.targets()) {
        Dispatcher::resolve(targets).await;
        tokio::time::sleep(interval).await;
    }
}

/// Tells the script that a gateway is gone, or back.
fn tell(host: &mut dyn Host, target: &Target, is_up: bool) {
    let event = if is_up { "dispatcher:dst-up" } else { "dispatcher:dst-down" };
    if let Some(route) = host.find_route(None, RouteKind::Event, event) {
        let mut context = made_up_context(host);
        context.set_uri(target.uri.clone());
        context.set_destination(Some(target.uri.clone()));
        host.start_route(route, context);
    }
}
