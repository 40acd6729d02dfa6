//! `core.top`, `core.peers`, `core.latencies`: how the server is doing, at a glance.

use module_api::{ArgumentKind, Command, CommandCall, CommandParam, Data, HistogramReading, PeerFigures};

use super::server;

pub(super) static COMMANDS: &[Command] = &[
    Command {
        name: "core.top",
        params: &[CommandParam::optional("peers", ArgumentKind::Int, "How many peers to show; 20 unless given.")],
        doc: "Shows the figures that tell how the server is doing: what `serctl top` draws.",
        result: "`version`, `started`, `uptime`, `time`, `figures` by name, `ratios` of RFC 6076, `latencies` and `peers`.",
        example: "core.top",
        run: |call| {
            let server = server(call);
            let statistics = server.statistics();
            let figures = statistics
                .all()
                .into_iter()
                .map(|one| (format!("{}:{}", one.group, one.name).into(), one.value().unwrap_or(0).into()));
            let ratios = statistics.ratios();
            let ratios = ratios.iter().filter_map(|one| Some((one.name.into(), one.value()?.into())));
            let uptime = call.unix_time.saturating_sub(server.started());
            Data::of([
                ("version", server.version().into()),
                ("started", server.started().as_secs_f64().into()),
                ("uptime", uptime.as_secs().into()),
                ("time", call.unix_time.as_secs_f64().into()),
                ("figures", Data::Struct(figures.collect())),
                ("ratios", Data::Struct(ratios.collect())),
                ("latencies", latencies(call)),
                ("peers", peers(call)),
            ])
            .into()
        },
        ..Command::EMPTY
    },
    Command {
        name: "core.peers",
        params: &[CommandParam::optional("most", ArgumentKind::Int, "How many; 20 unless given.")],
        doc: "Lists the peers that send most. Each worker keeps 512 of them, so counts of those that send little are \
              coarse.",
        result: "`address`, `requests`, `replies` and `failures` (replies of 400 and above, challenges aside) for each.",
        example: "core.peers 10",
        run: |call| peers(call).into(),
        ..Command::EMPTY
    },
    Command {
        name: "core.latencies",
        doc: "Shows how long things take: scripts, waits, answers, what RFC 6076 measures.",
        result: "`name`, `label`, `count`, `mean` and the quantiles `p50`, `p95`, `p99` for each that has happened. \
                 Times are in seconds; quantiles are exact to the bucket, whose bounds are powers of two.",
        example: "core.latencies",
        run: |call| latencies(call).into(),
        ..Command::EMPTY
    },
];

fn peers(call: &CommandCall<'_>) -> Data {
    let most = call.int(0).and_then(|most| usize::try_from(most).ok()).unwrap_or(20).min(1000);
    let row = |peer: PeerFigures| {
        Data::of([
            ("address", peer.address.to_string().into()),
            ("requests", peer.requests.into()),
            ("replies", peer.replies.into()),
            ("failures", peer.failures.into()),
        ])
    };
    server(call).peers(most).into_iter().map(row).collect()
}

fn latencies(call: &CommandCall<'_>) -> Data {
    server(call).statistics().histograms().iter().filter_map(latency).collect()
}

fn latency(histogram: &HistogramReading) -> Option<Data> {
    let read = histogram.read();
    let quantile = |quantile| read.quantile(quantile).map_or(Data::Null, Data::from);
    let label = histogram.label.as_ref().map_or(String::new(), |(_, value)| value.clone().into_owned());
    Some(Data::of([
        ("name", format!("{}:{}", histogram.group, histogram.name).into()),
        ("label", label.into()),
        ("count", read.count().into()),
        ("mean", read.mean()?.into()),
        ("p50", quantile(0.5)),
        ("p95", quantile(0.95)),
        ("p99", quantile(0.99)),
    ]))
}
