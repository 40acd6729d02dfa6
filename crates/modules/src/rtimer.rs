//! Routes that run again and again.

use std::sync::{Arc, Weak};
use std::time::Duration;

use module_api::{
    Host, KeyRule, Level, Module, RouteKind, Routes, Setup, SetupError, State, Value, Variable, every, made_up_context,
};

use crate::setting::{list, number, pairs};

/// Routes that run again and again.
pub static MODULE: Module = Module {
    name: "rtimer",
    doc: "Runs routes of the script at intervals, on a request that is made up for it.",
    parameters: &[
        list(
            "timer",
            "A timer: name=TIMER;interval=60;mode=1. The interval is in seconds, in microseconds with a u behind it; \
                       without one default_interval counts. mode is accepted.",
        ),
        list("exec", "What a timer runs: timer=TIMER;route=ROUTE."),
        number("default_interval", "120", "The interval of timers that name none, in seconds."),
    ],
    variables: &[Variable {
        name: "rtimer_worker",
        key: KeyRule::None,
        routes: Routes::ANY,
        doc: "0: a timer runs its routes one at a time.",
        example: "if ($rtimer_worker == 0) xlog(\"once\\n\");",
        read: |_, _| Value::Int(0),
        write: None,
    }],
    make,
    ..Module::EMPTY
};

/// The state of module rtimer: what runs, and when.
#[derive(Debug, PartialEq, Eq)]
struct Timers(Vec<Timer>);

#[derive(Debug, PartialEq, Eq)]
struct Timer {
    name: String,
    interval: Duration,
    routes: Vec<String>,
}

/// Shorter intervals would leave no time for calls.
const SHORTEST: Duration = Duration::from_millis(10);

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let timers = Arc::new(Timers(timers(setup)?));
    for (number, timer) in timers.0.iter().enumerate() {
        let weak = Arc::downgrade(&timers);
        every(
            &**setup.server,
            &timer.name,
            timer.interval,
            Arc::new(move |host: &mut dyn Host| tick(host, &weak, number)),
        );
    }
    Ok(timers)
}

/// Runs the routes of a timer; false when a reload has replaced it.
fn tick(host: &mut dyn Host, timers: &Weak<Timers>, number: usize) -> bool {
    let Some(timers) = timers.upgrade() else { return false };
    let timer = &timers.0[number];
    for name in &timer.routes {
        match host.find_route(None, RouteKind::Request, name) {
            Some(route) => {
                let context = made_up_context(host);
                host.start_route(route, context);
            }
            None => host.log(Level::Error, format!("timer {}: the script has no route[{name}]", timer.name).as_bytes()),
        }
    }
    true
}

fn timers(setup: &Setup<'_>) -> Result<Vec<Timer>, SetupError> {
    let usual = u64::try_from(setup.int("default_interval")).map(Duration::from_secs).unwrap_or_default();
    let mut timers = Vec::new();
    for line in setup.list("timer") {
        let line = String::from_utf8_lossy(&line).into_owned();
        let wrong = |cause: String| SetupError::Setting { name: "timer", cause: format!("`{line}`: {cause}") };
        let (mut name, mut length) = (String::new(), usual);
        for (key, value) in pairs(&line).map_err(wrong)? {
            match key {
                "name" => name = value.to_owned(),
                "interval" => length = interval(value).ok_or_else(|| wrong(format!("`{value}` is no interval")))?,
                "mode" => {}
                _ => return Err(wrong(format!("unknown {key}; there are name, interval and mode"))),
            }
        }
        if name.is_empty() || timers.iter().any(|timer: &Timer| timer.name == name) {
            return Err(wrong("a timer has a name of its own".into()));
        }
        // Kamailio takes any interval and fires as fast as it can.
        timers.push(Timer { name, interval: length.max(SHORTEST), routes: Vec::new() });
    }
    for line in setup.list("exec") {
        let line = String::from_utf8_lossy(&line).into_owned();
        let wrong = |cause: String| SetupError::Setting { name: "exec", cause: format!("`{line}`: {cause}") };
        let pairs = pairs(&line).map_err(wrong)?;
        let value = |key: &str| pairs.iter().find(|(own, _)| *own == key).map(|(_, value)| *value);
        let (Some(timer), Some(route)) = (value("timer"), value("route")) else {
            return Err(wrong("write timer=TIMER;route=ROUTE".into()));
        };
        let timer = timers.iter_mut().find(|own| own.name == timer);
        timer.ok_or_else(|| wrong("there is no such timer; it must come before".into()))?.routes.push(route.to_owned());
    }
    Ok(timers)
}

/// `60` in seconds, `500000u` in microseconds.
fn interval(text: &str) -> Option<Duration> {
    match text.strip_suffix('u') {
        Some(text) => text.parse().ok().map(Duration::from_micros),
        None => text.parse().ok().map(Duration::from_secs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, started, try_start};

    fn state(settings: &[(&str, &str)]) -> Arc<Timers> {
        let state: Arc<dyn std::any::Any + Send + Sync> = started(&MODULE, settings) as _;
        state.downcast().unwrap()
    }

    #[test]
    fn a_timer_runs_its_routes_while_it_is_there() {
        let timers = state(&[
            ("timer", "name=a;interval=500000u;mode=1"),
            ("timer", "name=b"),
            ("exec", "timer=a;route=ONE"),
            ("exec", "timer=a;route=GONE"),
        ]);
        assert_eq!(timers.0[0].interval, Duration::from_millis(500));
        assert_eq!(timers.0[1].interval, Duration::from_secs(120));
        let mut bench = Bench::invite();
        bench.host.routes = vec!["ONE"];
        let host = &mut bench.host;
        let weak = Arc::downgrade(&timers);
        assert!(tick(host, &weak, 0));
        assert_eq!(host.done, ["route ONE"]);
        assert_eq!(host.logged[0].1, "timer a: the script has no route[GONE]");
        drop(timers);
        assert!(!tick(host, &weak, 0));
    }

    #[test]
    fn a_timer_that_is_too_fast_runs_as_fast_as_there_is() {
        let timers = started(&MODULE, &[("timer", "name=a;interval=1u")]);
        let timers: Arc<dyn std::any::Any + Send + Sync> = timers as _;
        let timers = timers.downcast::<Timers>().unwrap_or_else(|_| panic!("these are timers"));
        assert_eq!(timers.0[0].interval, SHORTEST);
    }

    #[test]
    fn a_timer_that_cannot_run_is_refused() {
        for setting in [
            ("timer", "interval=5"),
            ("timer", "name=a;interval=soon"),
            ("timer", "name=a;every=5"),
            ("exec", "timer=a;route=X"),
        ] {
            assert!(try_start(&MODULE, &[setting]).is_err(), "{setting:?}");
        }
    }
}
