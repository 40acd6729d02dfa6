//! Asking gateways whether they are alive.

use std::sync::{Arc, Weak};
use std::time::Duration;

use module_api::{Host, OwnAnswer, OwnRequest, Server, every};

use super::settings::Probing;
use super::target::{DISABLED, INACTIVE, PROBING, Target};
use super::{Dispatcher, tell};

/// Asks at each interval, as long as the module's state is in use; and looks after the calls that count.
pub(super) fn start(dispatcher: &Arc<Dispatcher>, server: &dyn Server) {
    let interval = dispatcher.settings.ping_interval;
    let state = Arc::downgrade(dispatcher);
    if interval > Duration::ZERO {
        let state = Weak::clone(&state);
        let tick = move |host: &mut dyn Host| match state.upgrade() {
            Some(dispatcher) => {
                ask_all(&dispatcher, host);
                true
            }
            None => false,
        };
        every(server, "dispatcher", interval, Arc::new(tick));
    }
    let tick = move |host: &mut dyn Host| match state.upgrade() {
        Some(dispatcher) => {
            dispatcher.calls.expire(host.unix_time());
            true
        }
        None => false,
    };
    every(server, "dispatcher calls", EXPIRE, Arc::new(tick));
}

/// How often calls are looked through whose end nobody has told.
const EXPIRE: Duration = Duration::from_secs(30);

fn ask_all(dispatcher: &Arc<Dispatcher>, host: &mut dyn Host) {
    for target in dispatcher.targets() {
        if is_asked(dispatcher.settings.probing, target.state()) {
            ask(dispatcher, target, host);
        }
    }
}

fn is_asked(probing: Probing, state: u8) -> bool {
    if state & DISABLED != 0 {
        return false;
    }
    match probing {
        Probing::All => true,
        Probing::Marked => state & PROBING != 0,
        Probing::Failed => state & PROBING != 0 && state & INACTIVE != 0,
    }
}

fn ask(dispatcher: &Arc<Dispatcher>, target: Arc<Target>, host: &mut dyn Host) {
    let settings = &dispatcher.settings;
    let from = if target.attrs.ping_from.is_empty() { &settings.ping_from } else { &target.attrs.ping_from };
    let mut request = OwnRequest::new(settings.ping_method.clone(), target.uri.clone(), from);
    request.timeout = settings.ping_timeout;
    request.destination = Some(target.attrs.outbound_proxy.clone()).filter(|proxy| !proxy.is_empty());
    request.socket = crate::core::socket_of(host, &target.attrs.socket);
    let (begin, dispatcher) = (host.now(), Arc::clone(dispatcher));
    let on_answer = move |host: &mut dyn Host, answer: OwnAnswer| {
        let took = host.now().saturating_duration_since(begin);
        take_answer(&dispatcher, &target, host, (answer, took));
    };
    host.request(request, Box::new(on_answer));
}

fn take_answer(dispatcher: &Dispatcher, target: &Target, host: &mut dyn Host, (answer, took): (OwnAnswer, Duration)) {
    let settings = &dispatcher.settings;
    let is_reply = answer.reply.is_some();
    if settings.measures_latency {
        target.note_latency(is_reply.then_some(took), settings.alpha);
    }
    let counts =
        |status: u16| (200..300).contains(&status) || settings.ping_codes.iter().any(|codes| codes.contains(&status));
    // A gateway stays marked for questions where all are asked, or where the list marks it.
    let probing = match settings.probing {
        Probing::All => PROBING,
        Probing::Marked => target.state() & PROBING,
        Probing::Failed => 0,
    };
    if is_reply && counts(answer.status) {
        if target.on_success(settings.successes, probing) {
            tell(host, target, true);
        }
    } else if target.on_failure(settings.failures, probing) {
        tell(host, target, false);
    }
}
