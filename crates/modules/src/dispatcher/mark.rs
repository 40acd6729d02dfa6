//! What scripts say and ask about the state of gateways.

use std::sync::Arc;

use module_api::{Call, Function, KeyRule, Outcome, Param, ParamKind, Routes, Selector, Value, Variable};

use super::target::{INACTIVE, PROBING, TRYING, Target, read_state};
use super::{Dispatcher, select, tell};
use crate::dispatcher::settings::Probing;

pub(super) const MARK_DST: Function = Function {
    name: "ds_mark_dst",
    params: &[Param::optional("state", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Sets the state of the gateway that the request was given last: i inactive (the default), a active, t one more \
          failure, d disabled; with p it is asked whether it is alive.",
    example: "failure_route[GW] { if (t_branch_timeout()) ds_mark_dst(\"tp\"); }",
    run: |call| {
        let Some(target) = select::current(call) else { return Outcome::FALSE };
        mark(call, &[target], 0)
    },
};

pub(super) const MARK_ADDR: Function = Function {
    name: "ds_mark_addr",
    params: &[
        Param::required("state", ParamKind::Format),
        Param::required("set", ParamKind::Int),
        Param::required("uri", ParamKind::Format),
    ],
    routes: Routes::ANY,
    doc: "Sets the state of a gateway, as ds_mark_dst() does. False when the set has no such URI.",
    example: "ds_mark_addr(\"ip\", 1, \"sip:192.0.2.7:5060\");",
    run: |call| {
        let uri = call.text(2);
        let sets = call.state::<Dispatcher>().sets();
        let set = call.int(1).and_then(|set| sets.0.get(&set));
        let targets: Vec<_> =
            set.into_iter().flat_map(|set| &set.targets).filter(|target| target.uri == uri).cloned().collect();
        if targets.is_empty() { Outcome::FALSE } else { mark(call, &targets, 0) }
    },
};

/// Gives gateways the state that argument `n` names.
fn mark(call: &mut Call<'_>, targets: &[Arc<Target>], n: usize) -> Outcome {
    let text = call.text(n);
    let Some(state) = read_state(&text) else {
        return Outcome::fail("a state is made of a, i, t, d and p: \"ip\" is inactive and probed");
    };
    for target in targets {
        set_state(call, target, state);
    }
    Outcome::TRUE
}

fn set_state(call: &mut Call<'_>, target: &Target, mut state: u8) {
    let settings = &call.state::<Dispatcher>().settings;
    let was_active = target.is_active();
    if state & INACTIVE != 0 && settings.probing == Probing::All {
        state |= PROBING;
    }
    if state & TRYING != 0 {
        target.on_failure(settings.failures, state & PROBING);
    } else {
        target.set_state(state);
    }
    if was_active != target.is_active() {
        tell(call.host, target, !was_active);
    }
}

pub(super) const LIST_EXISTS: Function = Function {
    name: "ds_list_exist",
    params: &[Param::required("set", ParamKind::Int)],
    routes: Routes::ANY,
    doc: "True when there is a set of that number.",
    example: "if (ds_list_exist(7)) ds_select_dst(7, 4);",
    run: |call| {
        let sets = call.state::<Dispatcher>().sets();
        call.int(0).is_some_and(|set| sets.0.contains_key(&set)).into()
    },
};

pub(super) const IS_ACTIVE: Function = Function {
    name: "ds_is_active",
    params: &[Param::required("set", ParamKind::Int), Param::optional("uri", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "True when some gateway of the set takes calls, or the one with that URI.",
    example: "if (!ds_is_active(1)) xlog(\"no gateway left\\n\");",
    run: |call| {
        let uri = call.text(1);
        let sets = call.state::<Dispatcher>().sets();
        let set = call.int(0).and_then(|set| sets.0.get(&set));
        set.into_iter()
            .flat_map(|set| &set.targets)
            .any(|target| target.is_active() && (uri.is_empty() || target.uri == uri))
            .into()
    },
};

pub(super) const RELOAD: Function = Function {
    name: "ds_reload",
    params: &[],
    routes: Routes::ANY,
    doc: "Reads the list again. What is known of gateways that stay is kept; a list with a mistake changes nothing.",
    example: "ds_reload();",
    run: |call| {
        let state = call.shared_state::<Dispatcher>();
        let work = async move {
            state.reload().await?;
            Dispatcher::resolve(state.targets()).await;
            Ok(())
        };
        Outcome::wait(work, |_, done: Result<(), String>| match done {
            Ok(()) => Outcome::TRUE,
            Err(cause) => Outcome::fail(cause),
        })
    },
};

pub(super) const DSV: Variable = Variable {
    name: "dsv",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "The gateway that the request was given last: $dsv(uri), $dsv(setid), $dsv(attrs), and $dsv(flags) its state.",
    example: "xlog(\"by $dsv(uri)\\n\");",
    read: |call, selector: &Selector<'_>| {
        let Some(target) = select::current(call) else { return Value::Null };
        match selector.key() {
            b"uri" => Value::Str(target.uri.clone()),
            b"setid" | b"grp" => Value::Int(target.set),
            b"attrs" => Value::Str(target.attrs.text.clone()),
            b"flags" | b"code" => Value::Int(target.state().into()),
            _ => Value::Null,
        }
    },
    write: None,
};
