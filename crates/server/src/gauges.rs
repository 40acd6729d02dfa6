//! Figures of the parts that know no statistics: mailboxes, connections, memory.

use std::fs;
use std::sync::Arc;

use engine::Mailboxes;
use module_api::{StatisticKind, Statistics};
use net::stream::{Counts, Streams};

/// What figures are read from.
pub(crate) struct Parts {
    mailboxes: Mailboxes,
    streams: Arc<Streams>,
}

/// Shows the figures for as long as the result lives.
pub(crate) fn show(statistics: &Statistics, mailboxes: Mailboxes, streams: Arc<Streams>) -> Arc<Parts> {
    let parts = Arc::new(Parts { mailboxes, streams });
    let whole = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let gauge = |group: &'static str, name: &'static str, doc: &'static str, read: fn(&Parts) -> usize| {
        statistics.read_from((group, name), StatisticKind::Gauge, doc, &parts, move |parts| whole(read(parts)));
    };
    gauge("core", "mailbox_letters", "Messages and results that wait for the workers.", |parts| {
        parts.mailboxes.iter().map(net::mailbox::Mailbox::len).sum()
    });
    gauge("core", "mailbox_letters_max", "The most that wait for one worker.", |parts| {
        parts.mailboxes.iter().map(net::mailbox::Mailbox::len).max().unwrap_or(0)
    });
    gauge("core", "workers", "Workers.", |parts| parts.mailboxes.len());
    gauge("tcp", "current_opened_connections", "Stream connections.", |parts| parts.streams.counts().open);
    gauge("tcp", "current_write_queue_size", "Bytes that wait to be written to stream connections.", |parts| {
        parts.streams.memory().0
    });
    gauge("tcp", "connections_bytes", "Memory of stream connections: what each needs, and what waits.", |parts| {
        parts.streams.memory().1
    });
    gauge("tcp", "connection_bytes", "The mean of that for one connection.", |parts| {
        parts.streams.memory().1.checked_div(parts.streams.counts().open).unwrap_or(0)
    });
    let counter = |name: &'static str, doc: &'static str, read: fn(Counts) -> u64| {
        let read = move |parts: &Parts| i64::try_from(read(parts.streams.counts())).unwrap_or(i64::MAX);
        statistics.read_from(("tcp", name), StatisticKind::Counter, doc, &parts, read);
    };
    counter("passive_open", "Connections that peers opened.", |counts| counts.accepted);
    counter("connect_success", "Connections that this server opened.", |counts| counts.connected);
    counter("established", "Connections that were established.", |counts| counts.accepted + counts.connected);
    counter("local_reject", "Connections refused for a limit.", |counts| counts.over_limit);
    counter("failed_handshakes", "TLS and WebSocket handshakes that failed or took too long.", |counts| {
        counts.failed_handshakes
    });
    counter("con_timeout", "Connections closed because the peer was silent, slow, or did not read.", |counts| {
        counts.cut_off
    });
    counter("sendq_full", "Messages refused because a connection's queue was full.", |counts| counts.queue_full);
    gauge("shmem", "real_used_size", "Memory that the process holds, in bytes.", |_| resident("VmRSS:"));
    gauge("shmem", "max_used_size", "The most that it has held.", |_| resident("VmHWM:"));
    parts
}

fn resident(name: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let kilobytes = line.split_whitespace().next().and_then(|figure| figure.parse::<usize>().ok());
    kilobytes.unwrap_or(0).saturating_mul(1024)
}
