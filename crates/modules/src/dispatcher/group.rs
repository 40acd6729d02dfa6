//! How a set of gateways stands as a whole.

use module_api::{Call, Function, KeyRule, Outcome, Param, ParamKind, Routes, Selector, Value, Variable};

use super::Dispatcher;
use super::target::{PROBING, Target};

pub(super) const FETCH: Function = Function {
    name: "ds_dsg_fetch",
    params: &[Param::required("set", ParamKind::Int)],
    routes: Routes::ANY,
    doc: "Counts the gateways of a set for $dsg. False when there is no such set.",
    example: "if (ds_dsg_fetch(1) && $dsg(active) == 0) sl_send_reply(\"503\", \"No gateway\");",
    run: |call| fetch(call, |_| true),
};

pub(super) const FETCH_URI: Function = Function {
    name: "ds_dsg_fetch_uri",
    params: &[Param::required("set", ParamKind::Int), Param::required("uri", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "As ds_dsg_fetch(), for the gateways of the set with that URI. False when there is none.",
    example: "if (ds_dsg_fetch_uri(1, \"$du\") && $dsg(active) == 0) xlog(\"$du is down\\n\");",
    run: |call| {
        let uri = call.text(1);
        fetch(call, |target| target.uri == uri)
    },
};

pub(super) const DSG: Variable = Variable {
    name: "dsg",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "What ds_dsg_fetch() has counted: $dsg(count) gateways, $dsg(active) that take calls, $dsg(pending) that take none \
          and are asked whether they are alive.",
    example: "xlog(\"$dsg(active) of $dsg(count)\\n\");",
    read: |call, selector: &Selector<'_>| {
        let Some(counted) = call.context.note::<Counted>() else { return Value::Null };
        match selector.key() {
            b"count" => Value::Int(counted.all),
            b"active" => Value::Int(counted.active),
            b"pending" => Value::Int(counted.pending),
            _ => Value::Null,
        }
    },
    write: None,
};

/// The gateways of a set; a note of the request.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    all: i64,
    active: i64,
    pending: i64,
}

fn fetch(call: &mut Call<'_>, is_meant: impl Fn(&Target) -> bool) -> Outcome {
    let sets = call.state::<Dispatcher>().sets();
    // What an earlier call has counted must not be taken for this set.
    call.context.take_note::<Counted>();
    let set = call.int(0).and_then(|id| sets.0.get(&id));
    let mut counted = Counted::default();
    for target in set.into_iter().flat_map(|set| &set.targets).filter(|target| is_meant(target)) {
        counted.all += 1;
        counted.active += i64::from(target.is_active());
        counted.pending += i64::from(!target.is_active() && target.state() & PROBING != 0);
    }
    if counted.all == 0 {
        return Outcome::FALSE;
    }
    call.context.set_note(counted);
    Outcome::TRUE
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::{Bench, INVITE, Scratch, started};
    use module_api::{Arg, Value};

    #[test]
    fn the_gateways_of_a_set_are_counted_by_state() {
        let files =
            Scratch::new(&[("list", "1 sip:192.0.2.1\n1 sip:192.0.2.2 1\n1 sip:192.0.2.3 9\n2 sip:192.0.2.4\n")]);
        let state = started(&MODULE, &[("list_file", &files.path("list"))]);
        let mut bench = Bench::with_state(INVITE, state);
        let int = |n: i64| Arg::Value(Value::Int(n));
        assert_eq!(bench.run_args(&MODULE, "ds_dsg_fetch", &[int(1)]), 1);
        let counts =
            |bench: &mut Bench| ["count", "active", "pending"].map(|key| bench.read(&MODULE, "dsg", Some(key)));
        assert_eq!(counts(&mut bench), [3, 1, 1].map(Value::Int));
        let one = [int(1), Arg::Value(crate::testing::text("sip:192.0.2.2"))];
        assert_eq!(bench.run_args(&MODULE, "ds_dsg_fetch_uri", &one), 1);
        assert_eq!(counts(&mut bench), [1, 0, 0].map(Value::Int));
        assert_eq!(bench.run_args(&MODULE, "ds_dsg_fetch", &[int(3)]), -1);
        assert_eq!(counts(&mut bench), [Value::Null, Value::Null, Value::Null]);
    }
}
