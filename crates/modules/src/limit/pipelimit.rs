//! Module pipelimit: pipes by name, which scripts make as they go.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use foldhash::quality::RandomState;
use module_api::{
    Call, Function, Module, Outcome, Param, ParamKind, Parameter, Reply, Routes, Setup, SetupError, State,
};

use super::load::Load;
use super::pipe::{Algorithm, Moment, Pipe, Rule};
use crate::rows::{Source, Wanted};
use crate::setting::{ignored, number, text};

/// Pipes by name, which scripts make as they go.
pub static MODULE: Module = Module {
    name: "pipelimit",
    doc: "Limits how many requests pass, by names such as a caller or a gateway.",
    parameters: PARAMETERS,
    functions: &[CHECK, CHECK_MADE, DROP, DROP_AFTER, DROP_BETWEEN, ACTIVE],
    commands: super::commands::OF_PIPELIMIT,
    make,
    ..Module::EMPTY
};

const PARAMETERS: &[Parameter] = &[
    number("timer_interval", "10", "How long requests are counted together, in seconds."),
    number("reply_code", "503", "The status with which pl_drop() replies."),
    text("reply_reason", "Server Unavailable", "The reason with which pl_drop() replies."),
    text(
        "db_url",
        "",
        "The database with pipes that are there from the start, or a directory of text files: text:///path. Without it there are none.",
    ),
    text("plp_table_name", "pl_pipes", "The table of those pipes: pipeid, algorithm, plimit."),
    ignored("timer_mode", "Has no effect."),
    ignored("hash_size", "Has no effect."),
    ignored("plp_pipeid_column", "Has no effect: columns have the names of Kamailio's schema."),
    ignored("plp_limit_column", "Has no effect: columns have the names of Kamailio's schema."),
    ignored("plp_algorithm_column", "Has no effect: columns have the names of Kamailio's schema."),
    ignored("load_fetch", "Has no effect."),
    ignored("clean_unused", "Has no effect: pipes that nothing passes go when there are too many."),
];

const CHECK: Function = Function {
    name: "pl_check",
    params: &[Param::required("name", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Counts the request in a pipe. -1 when it is over the limit, -2 when there is no such pipe.",
    example: "if (!pl_check(\"gateway\")) pl_drop();",
    run: |call| {
        let name = call.text(0);
        let pipe = call.state::<Pipes>().shard(&name).get(&name).cloned();
        match pipe {
            Some(pipe) => check(call, &pipe),
            None => Outcome::Fail(module_api::Fault { code: -2, cause: "pl_check: there is no such pipe".into() }),
        }
    },
};

const CHECK_MADE: Function = Function {
    name: "pl_check",
    params: &[
        Param::required("name", ParamKind::Format),
        Param::required("algorithm", ParamKind::Format),
        Param::required("limit", ParamKind::Int),
    ],
    routes: Routes::ANY,
    doc: "Counts the request in a pipe, which is made where it is not there yet: TAILDROP and RED pass so many requests a \
          second, FEEDBACK as many as leave the processor at so many percent. -1 when it is over the limit, -2 when there are \
          too many pipes.",
    example: "if (!pl_check(\"$fU\", \"TAILDROP\", 5)) pl_drop(\"10\", \"30\");",
    run: |call| {
        let name = call.text(0);
        let algorithm = Algorithm::parse(&String::from_utf8_lossy(&call.text(1)));
        let limit = call.int(2).and_then(|limit| u32::try_from(limit).ok());
        let rule = match (algorithm, limit) {
            (Ok(algorithm), Some(limit)) => Rule { algorithm, limit },
            (Err(cause), _) => return Outcome::fail(format!("pl_check: {cause}")),
            (_, None) => return Outcome::fail("pl_check: not a limit from 0"),
        };
        let now = call.host.now();
        match call.state::<Pipes>().made(&name, rule, now) {
            Some(pipe) => check(call, &pipe),
            None => Outcome::Fail(module_api::Fault { code: -2, cause: "pl_check: there are too many pipes".into() }),
        }
    },
};

const DROP: Function = Function {
    name: "pl_drop",
    params: &[],
    routes: Routes::REQUESTS,
    doc: "Turns the request away with the reply of the settings.",
    example: "if (!pl_check(\"gateway\")) pl_drop();",
    run: |call| turn_away(call, None),
};

const DROP_AFTER: Function = Function {
    name: "pl_drop",
    params: &[Param::required("seconds", ParamKind::Int)],
    routes: Routes::REQUESTS,
    doc: "Turns the request away and asks to come back after so many seconds (Retry-After).",
    example: "if (!pl_check(\"gateway\")) pl_drop(\"10\");",
    run: |call| {
        let seconds = call.int(0).unwrap_or(0);
        turn_away(call, Some((seconds, seconds)))
    },
};

const DROP_BETWEEN: Function = Function {
    name: "pl_drop",
    params: &[Param::required("least", ParamKind::Int), Param::required("most", ParamKind::Int)],
    routes: Routes::REQUESTS,
    doc: "Turns the request away and asks to come back after a time between the two, in seconds, so that not all come back \
          at once.",
    example: "if (!pl_check(\"gateway\")) pl_drop(\"10\", \"30\");",
    run: |call| {
        let bounds = (call.int(0).unwrap_or(0), call.int(1).unwrap_or(0));
        turn_away(call, Some(bounds))
    },
};

const ACTIVE: Function = Function {
    name: "pl_active",
    params: &[Param::required("name", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "True when there is a pipe of that name.",
    example: "if (pl_active(\"gateway\")) xlog(\"limited\\n\");",
    run: |call| {
        let name = call.text(0);
        call.state::<Pipes>().shard(&name).contains_key(&name).into()
    },
};

/// The state of module pipelimit.
pub(super) struct Pipes {
    window: Duration,
    reply: (u16, String),
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    pub(super) load: Arc<Load>,
}

pub(super) type Shard = HashMap<Bytes, Arc<Pipe>, RandomState>;

const SHARDS: usize = 16;
/// Pipes of a shard: names come from messages. A pipe costs about 300 bytes beside its name.
const MOST_IN_SHARD: usize = 8192;

impl Pipes {
    /// How pipes stand: one by name, or as many as `most`.
    pub(super) fn levels(&self, name: Option<&[u8]>, most: usize) -> Vec<(Bytes, super::pipe::Level)> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let wanted = shard.iter().filter(|(own, _)| name.is_none_or(|name| name == &own[..]));
            found.extend(wanted.take(most - found.len()).map(|(own, pipe)| (own.clone(), pipe.level())));
        }
        found
    }

    pub(super) fn shard(&self, name: &[u8]) -> MutexGuard<'_, Shard> {
        let at = (self.hasher.hash_one(name) >> 32) as usize % SHARDS;
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pipe of that name with that rule; none when there are too many.
    fn made(&self, name: &Bytes, rule: Rule, now: Instant) -> Option<Arc<Pipe>> {
        let mut shard = self.shard(name);
        if let Some(pipe) = shard.get(name) {
            pipe.set_rule(rule);
            return Some(Arc::clone(pipe));
        }
        if shard.len() >= MOST_IN_SHARD {
            shard.retain(|_, pipe| !pipe.is_idle(now, self.window));
        }
        if shard.len() >= MOST_IN_SHARD {
            return None;
        }
        let pipe = Arc::new(Pipe::new(rule, now));
        shard.insert(Bytes::copy_from_slice(name), Arc::clone(&pipe));
        Some(pipe)
    }
}

fn check(call: &mut Call<'_>, pipe: &Pipe) -> Outcome {
    let (now, random) = (call.host.now(), call.host.random());
    let pipes = call.state::<Pipes>();
    pipe.check(Moment { now, window: pipes.window, random, load: pipes.load.percent() }).into()
}

fn turn_away(call: &mut Call<'_>, bounds: Option<(i64, i64)>) -> Outcome {
    let headers = match bounds {
        None => String::new(),
        Some((least, most)) if 0 <= least && least <= most => {
            let span = most.abs_diff(least).saturating_add(1);
            format!("Retry-After: {}\r\n", least as u64 + call.host.random() % span)
        }
        Some(_) => return Outcome::fail("pl_drop: not a time from 0, or the least is more than the most"),
    };
    let (code, reason) = &call.state::<Pipes>().reply;
    let reply = Reply { code: *code, reason: reason.as_bytes(), headers: headers.as_bytes() };
    let sent = match call.context.transaction {
        Some(_) => call.host.reply(call.context, &reply),
        None => call.host.reply_stateless(call.context, &reply),
    };
    sent.is_ok().into()
}

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let within = |name: &'static str, range: std::ops::RangeInclusive<i64>| {
        let value = setup.int(name);
        let cause = || format!("must be from {} to {}", range.start(), range.end());
        if range.contains(&value) { Ok(value) } else { Err(SetupError::Setting { name, cause: cause() }) }
    };
    let window = Duration::from_secs(within("timer_interval", 1..=3600)? as u64);
    let hasher = RandomState::default();
    let pipes = Pipes {
        window,
        reply: (within("reply_code", 300..=699)? as u16, setup.text("reply_reason")),
        shards: (0..SHARDS).map(|_| Mutex::new(HashMap::with_hasher(hasher.clone()))).collect(),
        hasher,
        load: Load::measured(setup, window),
    };
    let url = setup.text("db_url");
    if !url.is_empty() {
        load(setup, &url, &pipes)?;
    }
    Ok(Arc::new(pipes))
}

fn load(setup: &Setup<'_>, url: &str, pipes: &Pipes) -> Result<(), SetupError> {
    let (table, columns) = (setup.text("plp_table_name"), ["pipeid", "algorithm", "plimit"]);
    let wanted = Wanted { setting: "db_url", url, table: &table, columns: &columns, order: None, versions: &[1] };
    for row in Source::at(setup, &wanted)?.read_at_start(setup)? {
        let [name, algorithm, limit] = [0, 1, 2].map(|n| row[n].as_deref().unwrap_or_default());
        let wrong = |cause: String| SetupError::Unavailable(format!("pipe `{name}`: {cause}"));
        let algorithm = Algorithm::parse(algorithm).map_err(wrong)?;
        let limit = limit.parse().map_err(|_| wrong(format!("`{limit}` is not a limit")))?;
        let made = pipes.made(&Bytes::copy_from_slice(name.as_bytes()), Rule { algorithm, limit }, Instant::now());
        made.ok_or_else(|| wrong("there are too many".into()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, INVITE, Scratch, started, try_start};

    // The codes are those of Kamailio 5.6.3.
    #[test]
    fn a_pipe_is_made_when_it_is_first_asked() {
        let mut bench = Bench::with_state(INVITE, started(&MODULE, &[]));
        assert_eq!(bench.run(&MODULE, "pl_check", &["p1"]), -2);
        assert_eq!(bench.run(&MODULE, "pl_active", &["p1"]), -1);
        let codes: Vec<i64> = (0..11).map(|_| bench.run(&MODULE, "pl_check", &["p1", "TAILDROP", "1"])).collect();
        assert_eq!((codes[0], codes[9], codes[10]), (1, 1, -1));
        assert_eq!(bench.run(&MODULE, "pl_active", &["p1"]), 1);
        assert_eq!(bench.run(&MODULE, "pl_check", &["p1"]), -1);
        assert_eq!(bench.run(&MODULE, "pl_check", &["p1", "NEVER", "1"]), -1);
    }

    #[test]
    fn pipes_can_be_there_from_the_start() {
        let files = Scratch::new(&[(
            "pl_pipes",
            "id(int,auto) pipeid(string) algorithm(string) plimit(int)\n1:p0:TAILDROP:1\n",
        )]);
        let mut bench = Bench::with_state(INVITE, started(&MODULE, &[("db_url", &files.url())]));
        assert_eq!(bench.run(&MODULE, "pl_check", &["p0"]), 1);
    }

    #[test]
    fn what_is_turned_away_is_told_when_to_come_back() {
        let mut bench = Bench::with_state(INVITE, started(&MODULE, &[("reply_code", "500"), ("reply_reason", "Busy")]));
        assert_eq!(bench.run(&MODULE, "pl_drop", &[]), 1);
        assert_eq!(bench.run(&MODULE, "pl_drop", &["7"]), 1);
        assert_eq!(bench.run(&MODULE, "pl_drop", &["10", "9"]), -1);
        assert_eq!(bench.host.done, ["stateless 500 Busy", "stateless 500 Busy Retry-After: 7|"]);
        assert!(try_start(&MODULE, &[("reply_code", "200")]).is_err());
    }
}
