//! More questions about transactions, as Kamailio's module tmx has them.

use bytes::Bytes;
use module_api::{
    Call, Function, KeyRule, Module, Other, Outcome, Param, ParamKind, Parameter, RouteKind, Routes, SettingKind,
    Value, Variable,
};

use crate::flag_set::{self, FlagSet};

/// Functions of Kamailio's module tmx. Others of them are in module tm.
pub static MODULE: Module = Module {
    name: "tmx",
    doc: "More questions about transactions. The variables $T_... and the other functions of this name are in module tm.",
    parameters: &[Parameter {
        name: "precheck_trans",
        kind: SettingKind::Ignored,
        default: "1",
        doc: "Has no effect: see t_precheck_trans().",
    }],
    functions: &[
        PRECHECK,
        crate::tm::suspend::SUSPEND,
        crate::tm::suspend::CONTINUE,
        crate::tm::CANCEL_BRANCHES,
        crate::tm::FLUSH_FLAGS,
        in_route("t_is_request_route", "True in a request route.", "if (t_is_request_route()) exit;", |call| {
            is_kind(call, &[RouteKind::Request])
        }),
        in_route("t_is_failure_route", "True in a failure route.", "if (t_is_failure_route()) exit;", |call| {
            is_kind(call, &[RouteKind::Failure])
        }),
        in_route("t_is_branch_route", "True in a branch route.", "if (t_is_branch_route()) exit;", |call| {
            is_kind(call, &[RouteKind::Branch])
        }),
        in_route("t_is_reply_route", "True in a reply route.", "if (t_is_reply_route()) exit;", |call| {
            is_kind(call, &[RouteKind::Reply, RouteKind::TransactionReply])
        }),
        CANCEL_CALL,
        CANCEL_CALL_WITH_CODE,
        REPLY_CALL,
        DROP,
        CANCEL_BRANCH,
        FLUSH_XFLAGS,
        VIA_FLAG_SET,
        VIA_FLAG_RESET,
        VIA_FLAG_IS_SET,
    ],
    variables: &[
        of(
            "T_req",
            Other::Request,
            "A variable as the request of the transaction has it, for reply routes: $T_req($fu).",
            "xlog(\"asked by $T_req($ua)\\n\");",
        ),
        of(
            "T_rpl",
            Other::Reply,
            "A variable as the reply has it that a failure route is about; undefined when nothing came.",
            "xlog(\"refused by $T_rpl($ua)\\n\");",
        ),
        of(
            "T_inv",
            Other::Invite,
            "A variable as the INVITE has it that the CANCEL at hand is for; undefined when there is none.",
            "xlog(\"cancelled: $T_inv($ru)\\n\");",
        ),
    ],
    ..Module::EMPTY
};

const fn of(name: &'static str, other: Other, doc: &'static str, example: &'static str) -> Variable {
    Variable { name, key: KeyRule::Of(other), routes: Routes::ANY, doc, example, read: |_, _| Value::Null, write: None }
}

const PRECHECK: Function = Function {
    name: "t_precheck_trans",
    params: &[],
    routes: Routes::REQUEST,
    doc: "False: one worker alone deals with all messages of a transaction, so a repetition never overlaps with the first.",
    example: "if (t_precheck_trans()) { t_check_trans(); exit; }",
    run: |_| Outcome::FALSE,
};

const CALL: Routes = Routes::ANY;

const CANCEL_CALL: Function = Function {
    name: "t_cancel_callid",
    params: &[
        Param::required("call-id", ParamKind::Format),
        Param::required("cseq", ParamKind::Int),
        Param::required("flag", ParamKind::Int),
    ],
    routes: CALL,
    doc: "Cancels the branches of the INVITE with that Call-ID and CSeq number. The flag is without effect here: ask \
          t_is_canceled(). False when there is no such INVITE; one that another worker may have counts as there.",
    example: "t_cancel_callid(\"$hdr(X-Call)\", 1, 5);",
    run: |call| intervene(call, |_| None),
};

const CANCEL_CALL_WITH_CODE: Function = Function {
    name: "t_cancel_callid",
    params: &[
        Param::required("call-id", ParamKind::Format),
        Param::required("cseq", ParamKind::Int),
        Param::required("flag", ParamKind::Int),
        Param::required("code", ParamKind::StatusCode),
    ],
    routes: CALL,
    doc: "Replies to the INVITE with that Call-ID and CSeq number, and cancels its branches.",
    example: "t_cancel_callid(\"$hdr(X-Call)\", 1, 5, 480);",
    run: |call| intervene(call, |call| status(call, 3).map(|code| (code, Bytes::from_static(b"Request Terminated")))),
};

const REPLY_CALL: Function = Function {
    name: "t_reply_callid",
    params: &[
        Param::required("call-id", ParamKind::Format),
        Param::required("cseq", ParamKind::Int),
        Param::required("code", ParamKind::StatusCode),
        Param::required("reason", ParamKind::Format),
    ],
    routes: CALL,
    doc: "Replies to the request with that Call-ID and CSeq number. False when there is none; one that another worker \
          may have counts as there.",
    example: "t_reply_callid(\"$hdr(X-Call)\", 1, 480, \"Away\");",
    run: |call| intervene(call, |call| status(call, 2).map(|code| (code, call.text(3)))),
};

const DROP: Function = Function {
    name: "t_drop",
    params: &[Param::optional("code", ParamKind::StatusCode)],
    routes: Routes::REQUEST.or(Routes::FAILURE).or(Routes::REPLIES),
    doc: "Cancels what is pending and ends the script.",
    example: "t_drop();",
    run: |call| {
        if let Some(key) = call.context.transaction {
            call.host.cancel_branches(key);
        }
        Outcome::Finish
    },
};

const CANCEL_BRANCH: Function = Function {
    name: "t_cancel_branch_idx",
    params: &[Param::required("branch", ParamKind::Int)],
    routes: Routes::ANY,
    doc: "Cancels one pending branch of the transaction, by its index as $T_branch_idx tells it. False without a transaction.",
    example: "onreply_route[LATE] { if (t_check_status(\"183\")) t_cancel_branch_idx($T_branch_idx); }",
    run: |call| {
        let branch = call.int(0).and_then(|branch| u16::try_from(branch).ok());
        let (Some(key), Some(branch)) = (call.context.transaction, branch) else { return Outcome::FALSE };
        call.host.cancel_branch(key, branch, false);
        Outcome::TRUE
    },
};

const FLUSH_XFLAGS: Function = Function {
    name: "t_flush_xflags",
    params: &[],
    routes: Routes::ANY,
    doc: "True, and nothing more: flags of a request and of its transaction are the same. Stays for old scripts.",
    example: "t_flush_xflags();",
    run: |_| Outcome::TRUE,
};

const FLAG: &[Param] = &[Param::required("flag", ParamKind::Int)];

const VIA_FLAG_SET: Function = Function {
    name: "t_vbflag_set",
    params: FLAG,
    routes: Routes::ANY,
    doc: "Sets one of 32 flags, from 0, of the Via of the transaction's request. They last as long as the transaction.",
    example: "t_vbflag_set(4);",
    run: flag_set::set::<ViaFlags>,
};

const VIA_FLAG_RESET: Function = Function {
    name: "t_vbflag_reset",
    params: FLAG,
    routes: Routes::ANY,
    doc: "Clears a flag of the Via of the transaction's request.",
    example: "t_vbflag_reset(4);",
    run: flag_set::reset::<ViaFlags>,
};

const VIA_FLAG_IS_SET: Function = Function {
    name: "t_vbflag_is_set",
    params: FLAG,
    routes: Routes::ANY,
    doc: "True when a flag of the Via of the transaction's request is set.",
    example: "if (t_vbflag_is_set(4)) xlog(\"set\\n\");",
    run: flag_set::is_set::<ViaFlags>,
};

struct ViaFlags;

impl FlagSet for ViaFlags {
    const COUNT: u32 = 32;
    const WRONG: &'static str = "not a flag from 0 to 31";

    fn load(call: &Call<'_>) -> u64 {
        flag_set::among_attributes(call, VIA_FLAGS)
    }

    fn store(call: &mut Call<'_>, flags: u64) {
        flag_set::into_attributes(call, VIA_FLAGS, flags);
    }
}

const VIA_FLAGS: &[u8] = b"\0viaflags";

/// Does something to the request that the first two arguments name.
fn intervene(call: &mut Call<'_>, reply: impl FnOnce(&Call<'_>) -> Option<(u16, Bytes)>) -> Outcome {
    let Some(cseq) = call.int(1).and_then(|number| u32::try_from(number).ok()) else { return Outcome::FALSE };
    let (call_id, reply) = (call.text(0), reply(call));
    call.host.intervene(&call_id, cseq, reply).into()
}

fn status(call: &Call<'_>, n: usize) -> Option<u16> {
    call.int(n).and_then(|code| u16::try_from(code).ok())
}

const fn in_route(
    name: &'static str,
    doc: &'static str,
    example: &'static str,
    run: fn(&mut Call<'_>) -> Outcome,
) -> Function {
    Function { name, params: &[], routes: Routes::ANY, doc, example, run }
}

fn is_kind(call: &Call<'_>, kinds: &[RouteKind]) -> Outcome {
    kinds.contains(&call.context.kind).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn the_kind_of_route_can_be_asked() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "t_is_request_route", &[]), 1);
        bench.context.kind = RouteKind::Failure;
        assert_eq!(bench.run(&MODULE, "t_is_request_route", &[]), -1);
        assert_eq!(bench.run(&MODULE, "t_is_failure_route", &[]), 1);
    }

    #[test]
    fn a_branch_is_cancelled_only_in_a_transaction() {
        let mut bench = Bench::invite();
        let branch = |number| [module_api::Arg::Value(Value::Int(number))];
        assert_eq!(bench.run_args(&MODULE, "t_cancel_branch_idx", &branch(1)), -1);
        bench.context.transaction = Some(crate::testing::KEY);
        assert_eq!(bench.run_args(&MODULE, "t_cancel_branch_idx", &branch(1)), 1);
        assert_eq!(bench.run_args(&MODULE, "t_cancel_branch_idx", &branch(-1)), -1);
        assert_eq!(bench.host.done, ["cancel branch 1"]);
    }

    #[test]
    fn flags_of_the_via_follow_the_transaction() {
        let mut bench = Bench::invite();
        let mut run =
            |function: &str, flag: i64| bench.run_args(&MODULE, function, &[module_api::Arg::Value(Value::Int(flag))]);
        assert_eq!(run("t_vbflag_is_set", 31), -1);
        assert_eq!(run("t_vbflag_set", 31), 1);
        assert_eq!(run("t_vbflag_is_set", 31), 1);
        assert_eq!(run("t_vbflag_reset", 31), 1);
        assert_eq!(run("t_vbflag_is_set", 31), -1);
        assert_eq!(run("t_vbflag_set", 32), -1);
        assert_eq!(run("t_vbflag_set", -1), -1);
    }
}
