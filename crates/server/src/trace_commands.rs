//! Commands that watch the script for chosen callers, and stop.

use std::sync::Arc;

use engine::{TraceLines, TraceSink, Tracing, Who};
use module_api::{Answer, ArgumentKind, Command, CommandCall, CommandError, CommandParam, Data, Level};

use crate::logging::Logger;
use crate::running::Running;

/// The commands; their state is the running server.
pub(crate) static COMMANDS: &[Command] = &[
    Command {
        name: "trace.on",
        params: &[CommandParam::optional(
            "who",
            ArgumentKind::Rest,
            "Users (`alice`, `alice@example.com`), IP addresses that messages come from, or `*` for everybody.",
        )],
        doc: "Writes the way of these callers' messages through the script to the log, in place of whom it watched before.",
        result: "Who is watched.",
        example: "trace.on alice@example.com 192.0.2.7",
        run: |call| Answer::Now(on(call)),
        ..Command::EMPTY
    },
    Command {
        name: "trace.off",
        doc: "Watches nobody any more.",
        result: "nothing.",
        example: "trace.off",
        run: |call| {
            call.state::<Running>().tracing().stop();
            Answer::Now(Ok(Data::Null))
        },
        ..Command::EMPTY
    },
    Command {
        name: "trace.list",
        doc: "Shows whose messages are watched on their way through the script.",
        result: "Who is watched.",
        example: "trace.list",
        run: |call| Answer::Now(Ok(list(call.state::<Running>().tracing()))),
        ..Command::EMPTY
    },
];

fn on(call: &CommandCall<'_>) -> Result<Data, CommandError> {
    let who = call.args.iter().map(|arg| Who::parse(&arg.to_text())).collect::<Result<Vec<_>, _>>();
    let who = who.map_err(|why| CommandError::new(400, why))?;
    if who.is_empty() {
        return Err(CommandError::new(400, "whom to watch is missing: write user, user@domain, an IP address or *"));
    }
    let running = call.state::<Running>();
    running.tracing().watch(who, to_log(&running.log()));
    Ok(list(running.tracing()))
}

/// Traces in the log, however quiet it is: somebody has asked for them.
pub(crate) fn to_log(log: &Arc<Logger>) -> Arc<dyn TraceSink> {
    let log = Arc::clone(log);
    Arc::new(TraceLines(Arc::new(move |line: &[u8]| log.answer(Level::Notice, line))))
}

fn list(tracing: &Tracing) -> Data {
    tracing.watched().iter().map(Who::to_string).collect()
}
