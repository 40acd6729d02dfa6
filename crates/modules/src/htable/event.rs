//! What happens to tables by itself: they are there, and entries run out.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use module_api::{Host, KeyRule, RouteKind, Routes, Server, Value, Variable, every, made_up_context};

use super::Tables;
use super::table::SHARDS;

pub(super) const RECORD: Variable = Variable {
    name: "shtrecord",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "$shtrecord(key) and $shtrecord(value): the entry that has run out, in event_route[htable:expired:TABLE].",
    example: "xlog(\"$shtrecord(key) had $shtrecord(value)\\n\");",
    read: |call, selector| {
        let Some(record) = call.context.note::<Record>() else { return Value::Null };
        match selector.key() {
            b"key" => Value::Str(record.key.clone()),
            b"value" => record.value.clone(),
            _ => Value::Null,
        }
    },
    write: None,
};

/// The entry that has run out, noted on the request of its route.
struct Record {
    key: Bytes,
    value: Value,
}

/// Routes that one step may start: the rest comes a round later, and no worker is kept from its calls.
const MOST_TOLD: usize = 256;

/// Tells the script that the tables are there, and removes what runs out: all of it within `pause`, in
/// small steps, since a worker does it.
pub(super) fn watch(server: &dyn Server, tables: &Arc<Tables>, pause: Duration) {
    // A server that takes no work at its start has no script to tell.
    let _ = server.post(
        b"htable",
        Box::new(|host: &mut dyn Host| {
            if let Some(route) = host.find_route(None, RouteKind::Event, "htable:mod-init") {
                let context = made_up_context(host);
                host.start_route(route, context);
            }
        }),
    );
    let (weak, step) = (Arc::downgrade(tables), AtomicUsize::new(0));
    let interval = pause / SHARDS as u32;
    let tick = move |host: &mut dyn Host| sweep(host, &weak, step.fetch_add(1, Ordering::Relaxed));
    every(server, "htable", interval, Arc::new(tick));
}

/// Sweeps one shard of each table; false when a reload has replaced the tables.
fn sweep(host: &mut dyn Host, tables: &Weak<Tables>, step: usize) -> bool {
    let Some(tables) = tables.upgrade() else { return false };
    let now = host.now();
    for table in &tables.tables {
        let route = host.find_route(None, RouteKind::Event, &format!("htable:expired:{}", table.name));
        let gone = table.sweep(step, now, if route.is_some() { MOST_TOLD } else { usize::MAX });
        for (key, value) in gone {
            if let Some(route) = route {
                let mut context = made_up_context(host);
                context.set_note(Record { key, value });
                host.start_route(route, context);
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::{MODULE, tests::bench};
    use super::*;
    use crate::testing::{started, text};
    use module_api::State;

    #[test]
    fn entries_that_run_out_are_told_once() {
        let state: Arc<dyn State> = started(&MODULE, &[("htable", "a=>size=4")]);
        let tables: Arc<Tables> = {
            let state: Arc<dyn std::any::Any + Send + Sync> = state as _;
            state.downcast().unwrap()
        };
        let mut bench = bench();
        bench.host.routes = vec!["htable:expired:a"];
        let past = module_api::Host::now(&bench.host) - Duration::from_secs(10);
        tables.tables[0].set_for(b"k", text("v"), Duration::from_secs(5), past).unwrap();
        tables.tables[0].set_for(b"kept", text("v"), Duration::ZERO, past).unwrap();
        let weak = Arc::downgrade(&tables);
        assert!((0..2 * SHARDS).all(|step| sweep(&mut bench.host, &weak, step)));
        assert_eq!(bench.host.done, ["route htable:expired:a"]);
        assert_eq!(tables.tables[0].count(), 1);
        drop(tables);
        assert!(!sweep(&mut bench.host, &weak, 0));
    }

    #[test]
    fn the_entry_that_ran_out_is_a_variable() {
        let mut bench = bench();
        assert_eq!(bench.read(&MODULE, "shtrecord", Some("key")), Value::Null);
        bench.context.set_note(Record { key: Bytes::from_static(b"k"), value: Value::Int(7) });
        assert_eq!(bench.read(&MODULE, "shtrecord", Some("key")), text("k"));
        assert_eq!(bench.read(&MODULE, "shtrecord", Some("value")), Value::Int(7));
    }
}
