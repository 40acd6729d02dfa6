//! `events.*`: who listens.

use module_api::{Answer, ArgumentKind, Command, CommandParam, Data, EventKind};

use super::{Bus, Filter, follow};

/// Commands about events. Their state is the [`Bus`].
pub static COMMANDS: &[Command] = &[
    Command {
        name: "events.consumers",
        doc: "Lists who listens to events: streams, WebSockets, webhooks, trace collectors.",
        result: "`what` it is, the `events` it wants, how many wait for it (`queued`) and how many it `lost`, for each.",
        example: "events.consumers",
        run: |call| {
            let bus = call.state::<Bus>();
            let consumers = Vec::clone(&bus.0.consumers());
            let rows = consumers.iter().map(|consumer| {
                let (queued, lost) = {
                    let queue = consumer.queue();
                    (queue.waiting.len(), queue.lost_ever)
                };
                let kinds: Vec<&str> = consumer.filter.kinds().iter().map(|kind| kind.name()).collect();
                Data::of([
                    ("what", consumer.what.clone().into()),
                    ("events", kinds.join(",").into()),
                    ("queued", queued.into()),
                    ("lost", lost.into()),
                ])
            });
            rows.collect::<Data>().into()
        },
        ..Command::EMPTY
    },
    Command {
        name: "events.follow",
        params: &[
            CommandParam::optional(
                "listener",
                ArgumentKind::Str,
                "The number in the last answer; `new` (the default) begins to listen.",
            ),
            CommandParam::optional(
                "wait",
                ArgumentKind::Float,
                "How many seconds to wait for an event, 0 to 30; by default 10.",
            ),
            CommandParam::optional(
                "filter",
                ArgumentKind::Str,
                "As in the address of a stream: `events=call.*&user=alice`.",
            ),
        ],
        doc: "Waits for events and gives those that have come. Call it again with the number in its answer to follow what \
              happens; who does not for a minute is forgotten.",
        result: "`listener` for the next call, and `events`, at most 500.",
        example: "events.follow new 5 events=call.*",
        run: |call| {
            let number = match call.text(0).unwrap_or("new") {
                "new" => None,
                text => match text.parse() {
                    Ok(number) => Some(number),
                    Err(_) => return Answer::error(400, "argument `listener`: `new`, or the number of an answer"),
                },
            };
            let wait = call.float(1).unwrap_or(10.0);
            if !(0.0..=30.0).contains(&wait) {
                return Answer::error(400, "argument `wait`: from 0 to 30 seconds");
            }
            match Filter::parse(call.text(2).unwrap_or_default()) {
                Ok(filter) => {
                    let bus = Bus::clone(call.state::<Bus>());
                    Answer::later(follow::follow(bus, number, std::time::Duration::from_secs_f64(wait), filter))
                }
                Err(why) => Answer::error(400, why.to_string()),
            }
        },
        ..Command::EMPTY
    },
    Command {
        name: "events.kinds",
        doc: "Lists the kinds of events that there are.",
        result: "`event` and what it tells, for each.",
        example: "events.kinds",
        run: |_| -> Answer {
            let rows = EventKind::ALL
                .iter()
                .map(|kind| Data::of([("event", kind.name().into()), ("tells", kind.doc().into())]));
            rows.collect::<Data>().into()
        },
        ..Command::EMPTY
    },
];
