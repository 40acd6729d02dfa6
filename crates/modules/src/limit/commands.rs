//! `pl.*` and `rl.*`: looking at pipes and changing their rules from outside.

use module_api::{Answer, ArgumentKind, Command, CommandCall, CommandError, CommandParam, Data};

use super::pipe::{Algorithm, Level, Pipe, Rule};
use super::pipelimit::Pipes;
use super::ratelimit::Limits;

const PIPE: CommandParam = CommandParam::required("pipe", ArgumentKind::Str, "The name of the pipe.");
const NUMBER: CommandParam = CommandParam::required("pipe", ArgumentKind::Int, "The number of the pipe.");
const ALGORITHM: CommandParam =
    CommandParam::required("algorithm", ArgumentKind::Str, "TAILDROP, RED, FEEDBACK or NOP.");
const LIMIT: CommandParam =
    CommandParam::required("limit", ArgumentKind::Int, "Requests a second; for FEEDBACK percent of the processor.");

/// Those of module pipelimit.
pub(super) static OF_PIPELIMIT: &[Command] = &[
    Command {
        name: "pl.list",
        params: &[CommandParam::optional("pipe", ArgumentKind::Str, "Only this pipe.")],
        doc: "Shows the pipes, 10,000 at most.",
        result: "`name`, `algorithm`, `limit`, requests of this window (`counter`) and of the one before (`last_counter`), for each.",
        example: "pl.list gateway",
        run: |call| {
            let rows: Vec<Data> =
                named(call).iter().map(|(name, level)| shown(("name", Data::text(name)), *level)).collect();
            match call.text(0) {
                Some(_) if rows.is_empty() => absent(),
                _ => Data::List(rows).into(),
            }
        },
        ..Command::EMPTY
    },
    Command {
        name: "pl.get_pipes",
        doc: "Shows the pipes as lines, 10,000 at most.",
        result: "a line for each.",
        example: "pl.get_pipes",
        run: |call| {
            let line = |(name, level): &(bytes::Bytes, Level)| {
                let Level { rule, count, .. } = level;
                let name = String::from_utf8_lossy(name);
                format!("PIPE: id={name} algorithm={} limit={} counter={count}", rule.algorithm, rule.limit)
            };
            named(call).iter().map(line).collect::<Data>().into()
        },
        ..Command::EMPTY
    },
    Command {
        name: "pl.stats",
        aliases: &["pl_stats"],
        params: &[],
        doc: "Shows how many requests have come to each pipe, 10,000 pipes at most.",
        result: "a line for each.",
        example: "pl.stats",
        run: |call| {
            let load = call.state::<Pipes>().load.percent();
            let line = |(name, level): &(bytes::Bytes, Level)| {
                format!("PIPE: id={} load={load} counter={}", String::from_utf8_lossy(name), level.count)
            };
            named(call).iter().map(line).collect::<Data>().into()
        },
    },
    Command {
        name: "pl.set_pipe",
        aliases: &["pl_set_pipe"],
        params: &[PIPE, ALGORITHM, LIMIT],
        doc: "Gives a pipe another rule, until a script or a reload says otherwise.",
        result: "nothing; error 404 when there is no such pipe.",
        example: "pl.set_pipe gateway TAILDROP 20",
        run: |call| {
            let name = call.text(0).unwrap_or_default().as_bytes();
            set(call, call.state::<Pipes>().shard(name).get(name).map(|pipe| &**pipe))
        },
    },
];

/// Those of module ratelimit.
pub(super) static OF_RATELIMIT: &[Command] = &[
    Command {
        name: "rl.get_pipes",
        aliases: &["rl_get_pipes"],
        params: &[],
        doc: "Shows the pipes.",
        result: "`pipe`, `algorithm`, `limit`, requests of this window (`counter`) and of the one before (`last_counter`), for each.",
        example: "rl.get_pipes",
        run: |call| {
            let pipes = call.state::<Limits>().pipes.iter();
            pipes.map(|(number, pipe)| shown(("pipe", (*number).into()), pipe.level())).collect::<Data>().into()
        },
    },
    Command {
        name: "rl.stats",
        aliases: &["rl_stats"],
        params: &[],
        doc: "Shows how many requests came to each pipe in the last window.",
        result: "a line for each.",
        example: "rl.stats",
        run: |call| {
            let line = |(number, pipe): &(u32, Pipe)| {
                let level = pipe.level();
                format!("PIPE[{number}]: {}/{}", level.before, level.rule.limit)
            };
            call.state::<Limits>().pipes.iter().map(line).collect::<Data>().into()
        },
    },
    Command {
        name: "rl.get_queues",
        aliases: &["rl_get_queues"],
        params: &[],
        doc: "Shows which method goes into which pipe.",
        result: "a line for each.",
        example: "rl.get_queues",
        run: |call| {
            let line = |(n, (method, pipe)): (usize, &(String, u32))| format!("QUEUE[{n}]: {pipe}:{method}");
            call.state::<Limits>().queues.iter().enumerate().map(line).collect::<Data>().into()
        },
    },
    Command {
        name: "rl.set_pipe",
        aliases: &["rl_set_pipe"],
        params: &[NUMBER, ALGORITHM, LIMIT],
        doc: "Gives a pipe another rule.",
        result: "nothing; error 404 when there is no such pipe.",
        example: "rl.set_pipe 0 RED 50",
        run: |call| {
            let mut pipes = call.state::<Limits>().pipes.iter();
            set(call, pipes.find(|(number, _)| Some(i64::from(*number)) == call.int(0)).map(|(_, pipe)| pipe))
        },
    },
];

/// How many pipes are shown at once.
const SHOWN: usize = 10_000;

fn named(call: &CommandCall<'_>) -> Vec<(bytes::Bytes, Level)> {
    let mut found = call.state::<Pipes>().levels(call.text(0).map(str::as_bytes), SHOWN);
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

fn shown(first: (&'static str, Data), level: Level) -> Data {
    let Level { rule, count, before } = level;
    Data::of([
        first,
        ("algorithm", rule.algorithm.to_string().into()),
        ("limit", rule.limit.into()),
        ("counter", (count as i64).into()),
        ("last_counter", (before as i64).into()),
    ])
}

fn set(call: &CommandCall<'_>, pipe: Option<&Pipe>) -> Answer {
    let algorithm = Algorithm::parse(call.text(1).unwrap_or_default());
    let limit = call.int(2).and_then(|limit| u32::try_from(limit).ok());
    match (pipe, algorithm, limit) {
        (Some(pipe), Ok(algorithm), Some(limit)) => {
            pipe.set_rule(Rule { algorithm, limit });
            Data::Null.into()
        }
        (None, ..) => absent(),
        (_, Err(cause), _) => Answer::error(400, cause),
        (.., None) => Answer::error(400, "argument `limit` must be 0 or more"),
    }
}

fn absent() -> Answer {
    Answer::Now(Err(CommandError::new(404, "there is no such pipe")))
}
