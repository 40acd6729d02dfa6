//! `events.*`: who listens.

use module_api::{Answer, Command, Data, EventKind};

use super::Bus;

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
