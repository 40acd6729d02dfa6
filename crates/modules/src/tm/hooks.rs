//! What the next relay brings along: routes, timers, flags.

use std::time::Duration;

use module_api::{Call, Dialect, Function, Outcome, Param, ParamKind, RouteKind, Routes};

const ARMING: Routes = Routes::REQUESTS.or(Routes::REPLIES);

pub(super) const ON_FAILURE: Function = Function {
    name: "t_on_failure",
    params: &[Param::required("route", ParamKind::Route(RouteKind::Failure))],
    routes: ARMING,
    doc: "Has failure_route[NAME] run when every branch has failed. It runs once; arm it again inside for the next try. \
          \"0\" disarms.",
    example: "t_on_failure(\"VOICEMAIL\");",
    run: |call| {
        call.context.hooks.failure = call.route(0);
        Outcome::TRUE
    },
};

pub(super) const ON_REPLY: Function = Function {
    name: "t_on_reply",
    params: &[Param::required("route", ParamKind::Route(RouteKind::TransactionReply))],
    routes: ARMING,
    doc: "Has onreply_route[NAME] run for each reply. \"0\" disarms.",
    example: "t_on_reply(\"NAT\");",
    run: |call| {
        call.context.hooks.reply = call.route(0);
        Outcome::TRUE
    },
};

pub(super) const ON_BRANCH: Function = Function {
    name: "t_on_branch",
    params: &[Param::required("route", ParamKind::Route(RouteKind::Branch))],
    routes: ARMING,
    doc: "Has branch_route[NAME] run for each branch of the next relay, just before it is sent. \"0\" disarms.",
    example: "t_on_branch(\"OUT\");",
    run: |call| {
        call.context.hooks.branch = call.route(0);
        Outcome::TRUE
    },
};

pub(super) const IS_SET: Function = Function {
    name: "t_is_set",
    params: &[Param::required("kind", ParamKind::Options)],
    routes: Routes::ANY,
    doc: "True when a route of the kind is armed: \"failure_route\", \"onreply_route\" or \"branch_route\".",
    example: "if (!t_is_set(\"failure_route\")) t_on_failure(\"NEXT\");",
    run: |call| {
        let hooks = call.context.hooks;
        match &call.text(0)[..] {
            b"failure_route" => hooks.failure.is_some().into(),
            b"onreply_route" => hooks.reply.is_some().into(),
            b"branch_route" => hooks.branch.is_some().into(),
            _ => Outcome::fail("t_is_set knows failure_route, onreply_route and branch_route"),
        }
    },
};

pub(super) const SET_FR: Function = Function {
    name: "t_set_fr",
    params: &[Param::required("ringing", ParamKind::Int), Param::optional("silent", ParamKind::Int)],
    routes: ARMING,
    doc: "Bounds for this transaction how long an INVITE may ring and how long a branch may stay without any reply, in \
          milliseconds (SER: seconds). 0 leaves a bound as it is.",
    example: "t_set_fr(30000, 5000);",
    run: |call| {
        if let Some(ringing) = time(call, 0) {
            call.context.timeouts.1 = Some(ringing);
        }
        if let Some(silent) = time(call, 1) {
            call.context.timeouts.0 = Some(silent);
        }
        Outcome::TRUE
    },
};

pub(super) const RESET_FR: Function = Function {
    name: "t_reset_fr",
    params: &[],
    routes: ARMING,
    doc: "Takes the bounds of t_set_fr() back: the configured ones hold.",
    example: "t_reset_fr();",
    run: |call| {
        call.context.timeouts = (None, None);
        Outcome::TRUE
    },
};

pub(crate) const FLUSH_FLAGS: Function = Function {
    name: "t_flush_flags",
    params: &[Param::optional("flag", ParamKind::Str)],
    routes: ARMING,
    doc: "True, and nothing more: flags of a request and of its transaction are the same. Stays for old scripts.",
    example: "t_flush_flags();",
    run: |_| Outcome::TRUE,
};

fn time(call: &Call<'_>, n: usize) -> Option<Duration> {
    let number = u64::try_from(call.int(n)?).ok().filter(|number| *number > 0)?;
    Some(match call.dialect() {
        Dialect::Ser => Duration::from_secs(number),
        Dialect::Kamailio => Duration::from_millis(number),
    })
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, text};
    use module_api::{Arg, RouteId};

    #[test]
    fn a_route_is_armed_and_disarmed() {
        let mut bench = Bench::invite();
        bench.run_args(&MODULE, "t_on_failure", &[Arg::Route(RouteId(3))]);
        assert_eq!(bench.context.hooks.failure, Some(RouteId(3)));
        assert_eq!(bench.run(&MODULE, "t_is_set", &["failure_route"]), 1);
        bench.run_args(&MODULE, "t_on_failure", &[Arg::Value(text("0"))]);
        assert_eq!(bench.context.hooks.failure, None);
        assert_eq!(bench.run(&MODULE, "t_is_set", &["failure_route"]), -1);
    }

    #[test]
    fn timers_of_one_transaction_can_be_set() {
        let mut bench = Bench::invite();
        bench.run(&MODULE, "t_set_fr", &["0", "5000"]);
        assert_eq!(bench.context.timeouts, (Some(Duration::from_secs(5)), None));
        bench.run(&MODULE, "t_set_fr", &["30000"]);
        assert_eq!(bench.context.timeouts.1, Some(Duration::from_secs(30)));
        bench.run(&MODULE, "t_reset_fr", &[]);
        assert_eq!(bench.context.timeouts, (None, None));
    }
}
