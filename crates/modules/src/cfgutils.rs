//! Chance, pauses, locks and global flags.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use module_api::{
    Answer, ArgumentKind, Call, Command, CommandCall, CommandParam, Data, Function, Level, Module, Outcome, Param,
    ParamKind, RouteKind, Routes, Setup, SetupError, State,
};

use crate::named_lock::{self, Locks};
use crate::setting::{ignored, number};

/// Chance, pauses, locks and global flags.
pub static MODULE: Module = Module {
    name: "cfgutils",
    doc: "Chance, pauses, locks, hashes and flags that all requests share.",
    parameters: &[
        number("initial_probability", "10", "How often rand_event() is true at first, in percent."),
        number("initial_gflags", "0", "The global flags at first, as a number whose bits they are."),
        ignored("hash_file", "Has no effect: no file is hashed."),
        ignored("lock_set_size", "Has no effect: each name has a lock of its own."),
    ],
    functions: &[
        SLEEP,
        USLEEP,
        LOCK,
        UNLOCK,
        TRYLOCK,
        RAND_EVENT,
        RAND_SET,
        RAND_RESET,
        RAND_GET,
        SET_GFLAG,
        RESET_GFLAG,
        IS_GFLAG,
        CORE_HASH,
        ABORT,
        CHECK_ROUTE,
        ROUTE_IF_EXISTS,
        memory("pkg_status"),
        memory("shm_status"),
        memory("pkg_summary"),
        memory("shm_summary"),
    ],
    commands: COMMANDS,
    make,
    ..Module::EMPTY
};

const NUMBER: &[Param] = &[Param::required("number", ParamKind::Int)];
const KEY: &[Param] = &[Param::required("key", ParamKind::Format), Param::optional("more", ParamKind::Format)];

const SLEEP: Function = Function {
    name: "sleep",
    params: &[Param::required("seconds", ParamKind::Int)],
    routes: Routes::ANY,
    doc: "Pauses this request for so many seconds, and no other.",
    example: "sleep(1);",
    run: |call| pause(call, Duration::from_secs),
};

const USLEEP: Function = Function {
    name: "usleep",
    params: &[Param::required("microseconds", ParamKind::Int)],
    routes: Routes::ANY,
    doc: "Pauses this request for so many microseconds, and no other.",
    example: "usleep(50000);",
    run: |call| pause(call, Duration::from_micros),
};

const LOCK: Function = Function {
    name: "lock",
    params: KEY,
    routes: Routes::ANY,
    doc: "Takes the lock of that name; where another request holds it, this one waits. It is released by unlock(), and at \
          the latest when the request is over.",
    example: "lock(\"$fU\");",
    run: |call| {
        let locks = Arc::clone(&call.state::<Shared>().locks);
        named_lock::lock(call, locks, &key(call))
    },
};

const UNLOCK: Function = Function {
    name: "unlock",
    params: KEY,
    routes: Routes::ANY,
    doc: "Releases the lock of that name. False when this request does not hold it.",
    example: "unlock(\"$fU\");",
    run: |call| {
        let locks = Arc::clone(&call.state::<Shared>().locks);
        named_lock::unlock(call, &locks, &key(call))
    },
};

const TRYLOCK: Function = Function {
    name: "trylock",
    params: KEY,
    routes: Routes::ANY,
    doc: "Takes the lock of that name, or is false at once when another request holds it.",
    example: "if (!trylock(\"$fU\")) exit;",
    run: |call| {
        let locks = Arc::clone(&call.state::<Shared>().locks);
        named_lock::try_lock(call, locks, &key(call))
    },
};

const RAND_EVENT: Function = Function {
    name: "rand_event",
    params: &[],
    routes: Routes::ANY,
    doc: "True by chance, as often as rand_set_prob() or initial_probability says.",
    example: "if (rand_event()) xlog(\"one in ten\\n\");",
    run: |call| {
        let percent = call.state::<Shared>().percent.load(Ordering::Relaxed);
        let draw = (call.host.random() % 100) as i64;
        (draw < percent).into()
    },
};

const RAND_SET: Function = Function {
    name: "rand_set_prob",
    params: &[Param::required("percent", ParamKind::Int)],
    routes: Routes::ANY,
    doc: "Says how often rand_event() is true, from 0 to 100 percent, for all requests.",
    example: "rand_set_prob(5);",
    run: |call| match call.int(0).filter(|percent| (0..=100).contains(percent)) {
        Some(percent) => {
            call.state::<Shared>().percent.store(percent, Ordering::Relaxed);
            Outcome::TRUE
        }
        None => Outcome::fail("rand_set_prob: not from 0 to 100"),
    },
};

const RAND_RESET: Function = Function {
    name: "rand_reset_prob",
    params: &[],
    routes: Routes::ANY,
    doc: "Takes rand_set_prob() back.",
    example: "rand_reset_prob();",
    run: |call| {
        let shared = call.state::<Shared>();
        shared.percent.store(shared.first_percent, Ordering::Relaxed);
        Outcome::TRUE
    },
};

const RAND_GET: Function = Function {
    name: "rand_get_prob",
    params: &[],
    routes: Routes::ANY,
    doc: "Returns how often rand_event() is true, in percent.",
    example: "rand_get_prob();",
    run: |call| Outcome::Value(call.state::<Shared>().percent.load(Ordering::Relaxed)),
};

const SET_GFLAG: Function = Function {
    name: "set_gflag",
    params: NUMBER,
    routes: Routes::ANY,
    doc: "Sets a flag, from 0 to 31, that all requests share.",
    example: "set_gflag(1);",
    run: |call| with_flag(call, |flags, bit| flags.fetch_or(bit, Ordering::Relaxed)),
};

const RESET_GFLAG: Function = Function {
    name: "reset_gflag",
    params: NUMBER,
    routes: Routes::ANY,
    doc: "Clears a flag that all requests share.",
    example: "reset_gflag(1);",
    run: |call| with_flag(call, |flags, bit| flags.fetch_and(!bit, Ordering::Relaxed)),
};

const IS_GFLAG: Function = Function {
    name: "is_gflag",
    params: NUMBER,
    routes: Routes::ANY,
    doc: "True when the flag that all requests share is set.",
    example: "if (is_gflag(1)) send_reply(\"503\", \"Maintenance\");",
    run: |call| bit(call).is_some_and(|bit| call.state::<Shared>().flags.load(Ordering::Relaxed) & bit != 0).into(),
};

const FLAG: &[CommandParam] = &[CommandParam::required("flag", ArgumentKind::Int, "The flag, from 0 to 31.")];

static COMMANDS: &[Command] = &[
    Command {
        name: "cfgutils.set_gflag",
        params: FLAG,
        doc: "Sets a flag that all requests share.",
        result: "nothing.",
        example: "cfgutils.set_gflag 1",
        run: |call| on_flag(call, |flags, bit| flags.fetch_or(bit, Ordering::Relaxed)),
        ..Command::EMPTY
    },
    Command {
        name: "cfgutils.reset_gflag",
        params: FLAG,
        doc: "Clears a flag that all requests share.",
        result: "nothing.",
        example: "cfgutils.reset_gflag 1",
        run: |call| on_flag(call, |flags, bit| flags.fetch_and(!bit, Ordering::Relaxed)),
        ..Command::EMPTY
    },
    Command {
        name: "cfgutils.is_gflag",
        params: FLAG,
        doc: "Tells whether a flag that all requests share is set.",
        result: "1 or 0.",
        example: "cfgutils.is_gflag 1",
        run: |call| {
            let mut is_set = false;
            match on_flag(call, |flags, bit| {
                is_set = flags.load(Ordering::Relaxed) & bit != 0;
                bit
            }) {
                Answer::Now(Ok(_)) => i64::from(is_set).into(),
                wrong => wrong,
            }
        },
        ..Command::EMPTY
    },
    Command {
        name: "cfgutils.get_gflags",
        doc: "Shows the flags that all requests share.",
        result: "a number whose bits they are.",
        example: "cfgutils.get_gflags",
        run: |call| i64::from(call.state::<Shared>().flags.load(Ordering::Relaxed)).into(),
        ..Command::EMPTY
    },
    Command {
        name: "cfgutils.rand_set_prob",
        params: &[CommandParam::required("percent", ArgumentKind::Int, "From 0 to 100.")],
        doc: "Says how often rand_event() is true.",
        result: "nothing.",
        example: "cfgutils.rand_set_prob 5",
        run: |call| match call.int(0).filter(|percent| (0..=100).contains(percent)) {
            Some(percent) => {
                call.state::<Shared>().percent.store(percent, Ordering::Relaxed);
                Data::Null.into()
            }
            None => Answer::error(400, "argument `percent` is from 0 to 100"),
        },
        ..Command::EMPTY
    },
    Command {
        name: "cfgutils.rand_reset_prob",
        doc: "Takes cfgutils.rand_set_prob back.",
        result: "nothing.",
        example: "cfgutils.rand_reset_prob",
        run: |call| {
            let shared = call.state::<Shared>();
            shared.percent.store(shared.first_percent, Ordering::Relaxed);
            Data::Null.into()
        },
        ..Command::EMPTY
    },
    Command {
        name: "cfgutils.rand_get_prob",
        doc: "Shows how often rand_event() is true, in percent.",
        result: "a number.",
        example: "cfgutils.rand_get_prob",
        run: |call| call.state::<Shared>().percent.load(Ordering::Relaxed).into(),
        ..Command::EMPTY
    },
];

fn on_flag(call: &CommandCall<'_>, act: impl FnOnce(&AtomicU32, u32) -> u32) -> Answer {
    match call.int(0).and_then(|flag| u32::try_from(flag).ok()).and_then(|flag| 1_u32.checked_shl(flag)) {
        Some(bit) => {
            act(&call.state::<Shared>().flags, bit);
            Data::Null.into()
        }
        None => Answer::error(400, "argument `flag` is from 0 to 31"),
    }
}

const CORE_HASH: Function = Function {
    name: "core_hash",
    params: &[
        Param::required("text", ParamKind::Format),
        Param::required("more", ParamKind::Format),
        Param::required("size", ParamKind::Int),
    ],
    routes: Routes::ANY,
    doc: "Returns a number from 1 to 2 to the power of size (0 to 30) that is always the same for the same texts: the one that \
          Kamailio gives.",
    example: "core_hash(\"$ci\", \"\", 3);",
    run: |call| {
        let size = call.int(2).unwrap_or(0).clamp(0, 30);
        let (text, more) = (call.text(0), call.text(1));
        let texts: &[&[u8]] = if more.is_empty() { &[&text] } else { &[&text, &more] };
        // A return code of 0 would end the script.
        Outcome::Value(i64::from(module_api::core_hash(texts)) % (1 << size) + 1)
    },
};

const ABORT: Function = Function {
    name: "abort",
    params: &[],
    routes: Routes::ANY,
    doc: "Ends the script and says so in the log as an alert. In Kamailio it ends the whole server, for debugging; here other \
          calls go on.",
    example: "abort();",
    run: |call| {
        call.host.log(Level::Alert, b"abort() was called: this run of the script ends, the server goes on");
        Outcome::Finish
    },
};

const CHECK_ROUTE: Function = Function {
    name: "check_route_exists",
    params: &[Param::required("route", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "True when the script has a route of that name.",
    example: "if (check_route_exists(\"$rm\")) route($rm);",
    run: |call| {
        let name = String::from_utf8_lossy(&call.text(0)).into_owned();
        call.host.find_route(Some(call.context), RouteKind::Request, &name).is_some().into()
    },
};

const ROUTE_IF_EXISTS: Function = Function {
    name: "route_if_exists",
    params: &[Param::required("route", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Runs the route of that name; false when there is none. Nothing in it may wait, unlike in a route that route() \
          runs.",
    example: "route_if_exists(\"$rm\");",
    run: |call| {
        let name = String::from_utf8_lossy(&call.text(0)).into_owned();
        match call.host.find_route(Some(call.context), RouteKind::Request, &name) {
            Some(route) => {
                call.host.run_route(route, call.context);
                Outcome::TRUE
            }
            None => Outcome::FALSE,
        }
    },
};

const fn memory(name: &'static str) -> Function {
    Function {
        name,
        params: &[],
        routes: Routes::ANY,
        doc: "Writes to the log how much memory the server uses; it has one kind of memory.",
        example: "shm_status();",
        run: |call| {
            let line = match resident() {
                Some(bytes) => format!("memory in use: {} KiB", bytes / 1024),
                None => "the system does not say how much memory is in use".to_owned(),
            };
            call.host.log(Level::Notice, line.as_bytes());
            Outcome::TRUE
        },
    }
}

/// What all requests share.
struct Shared {
    locks: Arc<Locks>,
    percent: AtomicI64,
    first_percent: i64,
    flags: AtomicU32,
}

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let percent = setup.int("initial_probability");
    if !(0..=100).contains(&percent) {
        return Err(SetupError::Setting { name: "initial_probability", cause: "must be from 0 to 100".into() });
    }
    Ok(Arc::new(Shared {
        locks: Arc::new(Locks::default()),
        percent: AtomicI64::new(percent),
        first_percent: percent,
        flags: AtomicU32::new(setup.int("initial_gflags") as u32),
    }))
}

fn pause(call: &Call<'_>, unit: fn(u64) -> Duration) -> Outcome {
    match call.int(0).and_then(|time| u64::try_from(time).ok()) {
        Some(0) => Outcome::TRUE,
        Some(time) => Outcome::wait(async move { tokio::time::sleep(unit(time)).await }, |_, ()| Outcome::TRUE),
        None => Outcome::fail("not a time from 0"),
    }
}

fn key(call: &Call<'_>) -> Bytes {
    match call.arg_count() {
        1 => call.text(0),
        _ => [&call.text(0)[..], b"\0", &call.text(1)].concat().into(),
    }
}

fn bit(call: &Call<'_>) -> Option<u32> {
    let flag = call.int(0).and_then(|flag| u32::try_from(flag).ok())?;
    1_u32.checked_shl(flag)
}

fn with_flag(call: &Call<'_>, act: impl FnOnce(&AtomicU32, u32) -> u32) -> Outcome {
    match bit(call) {
        Some(bit) => {
            act(&call.state::<Shared>().flags, bit);
            Outcome::TRUE
        }
        None => Outcome::fail("not a flag from 0 to 31"),
    }
}

/// Bytes that the process keeps in memory. Reading it takes no disk: the kernel writes it on the spot.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().split(' ').next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, INVITE, started, try_start};

    fn bench(settings: &[(&str, &str)]) -> Bench {
        Bench::with_state(INVITE, started(&MODULE, settings))
    }

    #[test]
    fn chance_is_between_never_and_always() {
        let mut bench = bench(&[]);
        assert_eq!(bench.run(&MODULE, "rand_get_prob", &[]), 10);
        bench.run(&MODULE, "rand_set_prob", &["100"]);
        assert_eq!(bench.run(&MODULE, "rand_event", &[]), 1);
        bench.run(&MODULE, "rand_set_prob", &["0"]);
        assert_eq!(bench.run(&MODULE, "rand_event", &[]), -1);
        assert_eq!(bench.run(&MODULE, "rand_set_prob", &["101"]), -1);
        bench.run(&MODULE, "rand_reset_prob", &[]);
        assert_eq!(bench.run(&MODULE, "rand_get_prob", &[]), 10);
        assert!(try_start(&MODULE, &[("initial_probability", "101")]).is_err());
    }

    #[test]
    fn global_flags_are_shared() {
        let mut bench = bench(&[("initial_gflags", "2")]);
        assert_eq!(bench.run(&MODULE, "is_gflag", &["1"]), 1);
        bench.run(&MODULE, "set_gflag", &["31"]);
        bench.run(&MODULE, "reset_gflag", &["1"]);
        assert_eq!((bench.run(&MODULE, "is_gflag", &["31"]), bench.run(&MODULE, "is_gflag", &["1"])), (1, -1));
        assert_eq!(bench.run(&MODULE, "set_gflag", &["32"]), -1);
    }

    #[test]
    fn locks_are_held_by_name() {
        let mut bench = bench(&[]);
        assert_eq!(bench.run(&MODULE, "lock", &["a"]), 1);
        assert_eq!(bench.run(&MODULE, "trylock", &["a", "b"]), 1);
        assert_eq!(bench.run(&MODULE, "unlock", &["a"]), 1);
        assert_eq!(bench.run(&MODULE, "unlock", &["a"]), -1);
    }

    #[test]
    fn a_hash_is_the_one_of_kamailio() {
        // As Kamailio 5.6.3 returns them.
        for (text, more, size, code) in [
            ("alice@example.com", "", "8", 214),
            ("alice@example.com", "x", "8", 77),
            ("ab", "", "0", 1),
            ("ab", "", "1", 1),
            ("ab", "", "30", 27_999),
            ("", "", "3", 1),
            ("call-7", "abcde", "3", 3),
            ("abcdefghijk", "abcdefghi", "16", 17_776),
        ] {
            assert_eq!(bench(&[]).run(&MODULE, "core_hash", &[text, more, size]), code, "{text} {more} {size}");
        }
    }

    #[test]
    fn an_abort_ends_the_script_and_nothing_else() {
        let mut bench = bench(&[]);
        assert_eq!(bench.run(&MODULE, "abort", &[]), 1000);
        assert_eq!(bench.host.logged[0].0, Level::Alert);
    }

    #[test]
    fn a_pause_is_a_wait_of_this_request() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut bench = bench(&[]);
        assert_eq!(bench.run_waiting(&MODULE, "usleep", &["1"], &runtime), 1);
        assert_eq!(bench.run(&MODULE, "sleep", &["0"]), 1);
        assert_eq!(bench.run(&MODULE, "sleep", &["-1"]), -1);
    }

    #[test]
    fn a_route_is_run_if_the_script_has_it() {
        let mut bench = bench(&[]);
        bench.host.routes = vec!["ONE"];
        assert_eq!(bench.run(&MODULE, "check_route_exists", &["ONE"]), 1);
        assert_eq!(bench.run(&MODULE, "check_route_exists", &["TWO"]), -1);
        assert_eq!(bench.run(&MODULE, "route_if_exists", &["ONE"]), 1);
        assert_eq!(bench.run(&MODULE, "route_if_exists", &["TWO"]), -1);
        assert_eq!(bench.host.done, ["route ONE"]);
    }

    #[test]
    fn memory_in_use_is_logged() {
        let mut bench = bench(&[]);
        bench.run(&MODULE, "shm_status", &[]);
        assert!(bench.host.logged[0].1.starts_with("memory in use: "), "{:?}", bench.host.logged);
    }
}
