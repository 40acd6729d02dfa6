//! Commands that show the messages which the workers have seen last, and what the script made of them.
//!
//! Nothing is pushed: a caller asks for what came after the place where it has got to. A consumer that stalls therefore
//! costs nothing, and learns from `lost` what it has missed.

mod filter;
mod seen;
mod show;

use std::time::Duration;

use engine::Mailboxes;
use module_api::{Answer, ArgumentKind, Command, CommandCall, CommandError, CommandParam, Data};

use crate::running::Running;
use filter::Filter;
use seen::{Cursor, Seen};

const FILTERS: CommandParam = CommandParam::optional(
    "filters",
    ArgumentKind::Rest,
    "`user=alice`, `address=192.0.2.1` (with or without port), `call-id=...`, `method=INVITE`; all must hold.",
);

/// The commands; their state is the running server.
pub(crate) static COMMANDS: &[Command] = &[
    Command {
        name: "trace.calls",
        params: &[FILTERS],
        doc: "Lists the calls and other transactions whose messages are kept, one for each Call-ID, the oldest first.",
        result: "For each: Call-ID, method, From, To, when it began, how many messages are kept, the last final status.",
        example: "trace.calls user=alice",
        run: |call| {
            with_filter(call, 0, |workers, filter| async move {
                let seen = seen::all(&workers).await?;
                aside(move || show::calls(&seen, &filter)).await
            })
        },
        ..Command::EMPTY
    },
    Command {
        name: "trace.show",
        params: &[CommandParam::required("call_id", ArgumentKind::Str, "The Call-ID.")],
        doc: "Shows the messages of one call that are kept, as they were on the wire, each with the steps of the script that it caused.",
        result: "The messages in the order in which they were seen.",
        example: "trace.show 3848276298220188511@client.example.com",
        run: |call| {
            let call_id = call.text(0).unwrap_or_default().to_owned();
            let Some(workers) = call.state::<Running>().keepers() else { return nothing_kept() };
            Answer::later(async move {
                let seen = seen::all(&workers).await?;
                match aside(move || show::call(&seen, &call_id)).await? {
                    shown if !shown.is_empty() => Ok(Data::List(shown)),
                    _ => Err(CommandError::new(
                        404,
                        "no message of this call is kept; `trace.calls` lists what is there",
                    )),
                }
            })
        },
        ..Command::EMPTY
    },
    Command {
        name: "trace.follow",
        params: &[
            CommandParam::optional(
                "cursor",
                ArgumentKind::Str,
                "Where the last answer ended; `now` (the default) begins with what comes next, `start` with what is kept.",
            ),
            CommandParam::optional(
                "wait",
                ArgumentKind::Float,
                "How many seconds to wait for a message, 0 to 30; by default 10.",
            ),
            FILTERS,
        ],
        doc: "Waits for messages and gives those that came after the cursor. Call it again with the cursor of its answer to follow what happens.",
        result: "`cursor` for the next call, `lost` (records that were pushed out before they could be given), and `messages`, at most 500 of each worker.",
        example: "trace.follow now 5 method=INVITE",
        run: |call| {
            let start = call.text(0).unwrap_or("now").to_owned();
            let wait = call.float(1).unwrap_or(10.0);
            if !(0.0..=LONGEST_WAIT).contains(&wait) {
                return Answer::error(400, "argument `wait`: from 0 to 30 seconds");
            }
            with_filter(call, 2, move |workers, filter| async move {
                follow(&workers, Cursor::parse(&start)?, Duration::from_secs_f64(wait), &filter).await
            })
        },
        ..Command::EMPTY
    },
];

/// Below the time that a command has.
const LONGEST_WAIT: f64 = 30.0;
/// Most messages in one answer to `trace.follow`.
const MOST_FOLLOWED: usize = 500;
/// How often the workers are asked while a caller waits: soon enough for eyes, seldom enough not to be felt.
const LOOK: Duration = Duration::from_millis(100);

/// Reads messages where it holds up nobody: there may be many.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, CommandError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| CommandError::new(500, "a mistake in the server ended this command; its log says more"))
}

fn nothing_kept() -> Answer {
    Answer::error(409, "this server keeps no messages; start it with --trace-memory 4 (MiB per worker)")
}

fn with_filter<F>(call: &CommandCall<'_>, first: usize, work: impl FnOnce(Mailboxes, Filter) -> F) -> Answer
where
    F: Future<Output = Result<Data, CommandError>> + Send + 'static,
{
    let words = call.args.iter().skip(first).map(Data::to_text);
    let Some(workers) = call.state::<Running>().keepers() else { return nothing_kept() };
    match Filter::parse(words) {
        Ok(filter) => Answer::later(work(workers, filter)),
        Err(why) => Answer::error(400, why),
    }
}

async fn follow(
    workers: &Mailboxes,
    start: Option<Cursor>,
    wait: Duration,
    filter: &Filter,
) -> Result<Data, CommandError> {
    let until = tokio::time::Instant::now() + wait;
    let mut cursor = match start {
        Some(cursor) => cursor,
        None => seen::end(workers).await?,
    };
    let mut lost = 0;
    loop {
        let news: Seen = seen::since(workers, &cursor, MOST_FOLLOWED).await?;
        lost += news.lost;
        cursor = news.cursor.clone();
        let messages = show::messages(&news, filter);
        if !messages.is_empty() || tokio::time::Instant::now() >= until {
            return Ok(Data::of([
                ("cursor", cursor.to_string().into()),
                ("lost", lost.into()),
                ("messages", Data::List(messages)),
            ]));
        }
        if news.messages.is_empty() {
            tokio::time::sleep_until(until.min(tokio::time::Instant::now() + LOOK)).await;
        }
    }
}
