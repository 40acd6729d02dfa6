//! How one transaction differs from what is configured.

use std::time::Duration;

use module_api::{Call, Context, Dialect, Function, Outcome, Param, ParamKind, RouteKind, Routes, Tuning};
use sip_message::Method;

const WHERE: Routes = Routes::REQUESTS.or(Routes::REPLIES);
const SWITCH: &[Param] = &[Param::required("on", ParamKind::Int)];

pub(super) const SET_MAX_LIFETIME: Function = Function {
    name: "t_set_max_lifetime",
    params: &[Param::required("invite", ParamKind::Int), Param::required("other", ParamKind::Int)],
    routes: WHERE,
    doc: "Bounds how long this transaction may last, in milliseconds: an INVITE, and any other request. What is pending \
          then counts as 408. 0 leaves it as it is. To be called before the relay.",
    example: "t_set_max_lifetime(60000, 10000);",
    run: |call| {
        let n = if call.context.message.method() == Method::Invite { 0 } else { 1 };
        if let Some(lifetime) = time(call, n) {
            call.context.tuning.lifetime = Some(lifetime);
        }
        Outcome::TRUE
    },
};

pub(super) const RESET_MAX_LIFETIME: Function =
    reset("t_reset_max_lifetime", "Takes the bound of t_set_max_lifetime() back.", "t_reset_max_lifetime();", |call| {
        change(call, |tuning| tuning.lifetime = None)
    });

pub(super) const SET_RETR: Function = Function {
    name: "t_set_retr",
    params: &[Param::required("t1", ParamKind::Int), Param::required("t2", ParamKind::Int)],
    routes: WHERE,
    doc: "Sets T1 and T2 of this transaction, in milliseconds: the first and the longest interval of repetitions. 0 \
          leaves one as it is. To be called before the relay.",
    example: "t_set_retr(250, 2000);",
    run: |call| {
        if let Some(t1) = time(call, 0) {
            call.context.tuning.t1 = Some(t1);
        }
        if let Some(t2) = time(call, 1) {
            call.context.tuning.t2 = Some(t2);
        }
        Outcome::TRUE
    },
};

pub(super) const RESET_RETR: Function =
    reset("t_reset_retr", "Takes the intervals of t_set_retr() back.", "t_reset_retr();", |call| {
        change(call, |tuning| (tuning.t1, tuning.t2) = (None, None))
    });

pub(super) const SET_DISABLE_6XX: Function = switch(
    "t_set_disable_6xx",
    "Chooses what a 6xx does: 1 it is a failure like any other, 0 it ends the search on all branches.",
    "t_set_disable_6xx(\"1\");",
    |call| {
        let is_on = call.int(0) != Some(0);
        change(call, |tuning| tuning.is_6xx_ordinary = is_on)
    },
);

pub(super) const SET_DISABLE_FAILOVER: Function = switch(
    "t_set_disable_failover",
    "Chooses whether the further addresses of a target are tried when one fails: 1 not, 0 they are.",
    "t_set_disable_failover(\"1\");",
    |call| {
        let is_on = call.int(0) != Some(0);
        change(call, |tuning| tuning.no_failover = is_on)
    },
);

pub(super) const NO_E2E_CANCEL_REASON: Function = switch(
    "t_set_no_e2e_cancel_reason",
    "True, and nothing more: the Reason of a CANCEL that came is never copied. Stays for old scripts.",
    "t_set_no_e2e_cancel_reason(\"1\");",
    |_| Outcome::TRUE,
);

pub(super) const NO_AUTO_ACK: Function = switch(
    "t_set_no_auto_ack",
    "True, and nothing more: a 2xx to an INVITE of our own is always acknowledged. Stays for old scripts.",
    "t_set_no_auto_ack(\"0\");",
    |_| Outcome::TRUE,
);

pub(super) const SAVE_LUMPS: Function = reset(
    "t_save_lumps",
    "True, and nothing more: what was edited before a relay is kept for its later branches by itself.",
    "t_save_lumps();",
    |_| Outcome::TRUE,
);

pub(super) const USE_UAC_HEADERS: Function = reset(
    "t_use_uac_headers",
    "True, and nothing more: ACK and CANCEL are always made of the request as it left.",
    "t_use_uac_headers();",
    |_| Outcome::TRUE,
);

pub(super) const CLEAN: Function = reset(
    "t_clean",
    "True, and nothing more: what nobody needs goes away by itself. Stays for old scripts.",
    "t_clean();",
    |_| Outcome::TRUE,
);

pub(super) const IS_RETR_ASYNC_REPLY: Function = reset(
    "t_is_retr_async_reply",
    "False: a repeated reply is absorbed before any route sees it.",
    "if (t_is_retr_async_reply()) drop;",
    |_| Outcome::FALSE,
);

pub(super) const IS_EXPIRED: Function = reset(
    "t_is_expired",
    "True when the bound of t_set_max_lifetime() has ended the transaction.",
    "if (t_is_expired()) exit;",
    |call| call.host.standing(call.context).is_some_and(|standing| standing.is_expired).into(),
);

pub(super) const DROP_REPLIES: Function = Function {
    name: "t_drop_replies",
    params: &[Param::optional("mode", ParamKind::Options)],
    routes: Routes::FAILURE,
    doc: "Leaves replies out of the choice of the best one, as long as there are others: \"a\" all so far (the \
          default), \"l\" those of the latest try, \"n\" none.",
    example: "t_drop_replies(); append_branch(\"sip:vm@example.com\"); t_relay();",
    run: |call| {
        let mode = call.text(0);
        match mode.first() {
            Some(b'n' | b'0') => {}
            Some(b'l') => call.host.drop_replies(call.context, true),
            _ => call.host.drop_replies(call.context, false),
        }
        Outcome::TRUE
    },
};

pub(super) const ON_BRANCH_FAILURE: Function = Function {
    name: "t_on_branch_failure",
    params: &[Param::required("name", ParamKind::Format)],
    routes: WHERE,
    doc: "Has event_route[tm:branch-failure:NAME] run for each failure of a branch, before it counts: the route may relay \
          to another target while other branches still ring. \"0\" disarms.",
    example: "t_on_branch_failure(\"NEXT\");",
    run: |call| {
        let name = call.text(0);
        if &name[..] == b"0" || name.is_empty() {
            call.context.hooks.branch_failure = None;
            return Outcome::TRUE;
        }
        let event = format!("tm:branch-failure:{}", String::from_utf8_lossy(&name));
        match call.host.find_route(Some(call.context), RouteKind::Event, &event) {
            Some(route) => {
                call.context.hooks.branch_failure = Some(route);
                Outcome::TRUE
            }
            None => Outcome::fail(format!("there is no event_route[{event}]")),
        }
    },
};

fn change(call: &mut Call<'_>, change: impl FnOnce(&mut Tuning)) -> Outcome {
    let context: &mut Context = call.context;
    change(&mut context.tuning);
    Outcome::TRUE
}

const fn reset(
    name: &'static str,
    doc: &'static str,
    example: &'static str,
    run: fn(&mut Call<'_>) -> Outcome,
) -> Function {
    Function { name, params: &[], routes: WHERE, doc, example, run }
}

const fn switch(
    name: &'static str,
    doc: &'static str,
    example: &'static str,
    run: fn(&mut Call<'_>) -> Outcome,
) -> Function {
    Function { name, params: SWITCH, routes: WHERE, doc, example, run }
}

fn time(call: &Call<'_>, n: usize) -> Option<Duration> {
    let number = u64::try_from(call.int(n)?).ok().filter(|number| *number > 0)?;
    Some(match call.dialect() {
        Dialect::Ser => Duration::from_secs(number),
        Dialect::Kamailio => Duration::from_millis(number),
    })
}
