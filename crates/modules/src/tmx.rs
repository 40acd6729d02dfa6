//! More questions about transactions, as Kamailio's module tmx has them.

use module_api::{
    Call, Function, KeyRule, Module, Other, Outcome, Parameter, RouteKind, Routes, SettingKind, Value, Variable,
};

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
}
