//! Module ratelimit: numbered pipes, and queues that lead methods into them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use module_api::{Call, Function, Module, Outcome, Param, ParamKind, Routes, Setup, SetupError, State};

use super::load::Load;
use super::pipe::{Algorithm, Moment, Pipe, Rule};
use crate::setting::{list, number};

/// Numbered pipes, and queues that lead methods into them.
pub static MODULE: Module = Module {
    name: "ratelimit",
    doc: "Limits how many requests pass, by method.",
    parameters: &[
        number("timer_interval", "10", "How long requests are counted together, in seconds."),
        list("queue", "Which pipe a method takes: NUMBER:METHOD, where * stands for all others."),
        list(
            "pipe",
            "A pipe: NUMBER:ALGORITHM:LIMIT. TAILDROP and RED pass LIMIT requests a second, FEEDBACK as many as \
                      leave the processor at LIMIT percent, NOP all.",
        ),
    ],
    functions: &[CHECK, CHECK_PIPE],
    commands: super::commands::OF_RATELIMIT,
    make,
    ..Module::EMPTY
};

const CHECK: Function = Function {
    name: "rl_check",
    params: &[Param::optional("variable", ParamKind::Str)],
    routes: Routes::ANY,
    doc: "Counts the request in the pipe of its method. False when it is over the limit.",
    example: "if (!rl_check()) sl_send_reply(\"503\", \"Server Busy\");",
    run: |call| {
        let limits = call.state::<Limits>();
        let method = call.context.message.method_text();
        let queue = limits.queues.iter().find(|(own, _)| own.as_bytes() == method);
        let queue = queue.or_else(|| limits.queues.iter().find(|(own, _)| own == "*"));
        match queue.map(|(_, pipe)| *pipe) {
            Some(pipe) => check(call, i64::from(pipe)),
            None => Outcome::TRUE,
        }
    },
};

const CHECK_PIPE: Function = Function {
    name: "rl_check_pipe",
    params: &[Param::required("pipe", ParamKind::Int)],
    routes: Routes::ANY,
    doc: "Counts the request in a pipe. False when it is over the limit.",
    example: "if (!rl_check_pipe(\"1\")) sl_send_reply(\"503\", \"Server Busy\");",
    run: |call| {
        let pipe = call.int(0).unwrap_or(-1);
        check(call, pipe)
    },
};

/// The state of module ratelimit.
pub(super) struct Limits {
    window: Duration,
    pub(super) queues: Vec<(String, u32)>,
    pub(super) pipes: Vec<(u32, Pipe)>,
    load: Arc<Load>,
}

fn check(call: &mut Call<'_>, number: i64) -> Outcome {
    let limits = call.state::<Limits>();
    let Some((_, pipe)) = limits.pipes.iter().find(|(own, _)| i64::from(*own) == number) else {
        return Outcome::fail(format!("there is no pipe {number}"));
    };
    let (now, random) = (call.host.now(), call.host.random());
    pipe.check(Moment { now, window: limits.window, random, load: limits.load.percent() }).into()
}

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let window = u64::try_from(setup.int("timer_interval")).ok().filter(|seconds| (1..=3600).contains(seconds));
    let window = window.map(Duration::from_secs).ok_or_else(|| SetupError::Setting {
        name: "timer_interval",
        cause: "must be a number of seconds from 1 to 3600".into(),
    })?;
    let mut pipes = Vec::new();
    for line in setup.list("pipe") {
        let line = String::from_utf8_lossy(&line).into_owned();
        let wrong = |cause: String| SetupError::Setting { name: "pipe", cause: format!("`{line}`: {cause}") };
        let parts: Vec<&str> = line.split(':').map(str::trim).collect();
        let &[number, algorithm, limit] = &parts[..] else { return Err(wrong("write NUMBER:ALGORITHM:LIMIT".into())) };
        let algorithm = Algorithm::parse(algorithm).map_err(wrong)?;
        let (Ok(number), Ok(limit)) = (number.parse(), limit.parse()) else {
            return Err(wrong("number and limit must be numbers from 0".into()));
        };
        pipes.push((number, Pipe::new(Rule { algorithm, limit }, Instant::now())));
    }
    let mut queues = Vec::new();
    for line in setup.list("queue") {
        let line = String::from_utf8_lossy(&line).into_owned();
        let pair =
            line.split_once(':').and_then(|(pipe, method)| Some((pipe.trim().parse::<u32>().ok()?, method.trim())));
        match pair.filter(|(pipe, _)| pipes.iter().any(|(own, _)| own == pipe)) {
            Some((pipe, method)) => queues.push((method.to_owned(), pipe)),
            None => {
                let cause = format!("`{line}` is not NUMBER:METHOD with the number of a pipe");
                return Err(SetupError::Setting { name: "queue", cause });
            }
        }
    }
    Ok(Arc::new(Limits { window, queues, pipes, load: Load::measured(setup, window) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, INVITE, started, try_start};

    #[test]
    fn methods_take_their_pipes() {
        let settings = [("pipe", "0:TAILDROP:1"), ("pipe", "1:NOP:0"), ("queue", "0:REGISTER"), ("queue", "1:*")];
        let state = started(&MODULE, &settings);
        let mut register = Bench::with_state(&INVITE.replace("INVITE", "REGISTER"), Arc::clone(&state));
        let codes: Vec<i64> = (0..11).map(|_| register.run(&MODULE, "rl_check", &[])).collect();
        assert_eq!((codes[9], codes[10]), (1, -1));
        let mut invite = Bench::with_state(INVITE, state);
        assert!((0..50).all(|_| invite.run(&MODULE, "rl_check", &[]) == 1));
        assert_eq!(invite.run(&MODULE, "rl_check_pipe", &["0"]), -1);
        assert_eq!(invite.run(&MODULE, "rl_check_pipe", &["7"]), -1);
    }

    #[test]
    fn a_queue_leads_into_a_pipe_that_is_there() {
        assert!(try_start(&MODULE, &[("queue", "0:INVITE")]).is_err());
        assert!(try_start(&MODULE, &[("pipe", "0:SOMETIMES:1")]).is_err());
        assert!(try_start(&MODULE, &[("pipe", "0:RED")]).is_err());
        assert!(try_start(&MODULE, &[("timer_interval", "0")]).is_err());
    }
}
