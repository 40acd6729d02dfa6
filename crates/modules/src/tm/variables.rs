//! `$T_...`: the transaction in variables.

use bytes::Bytes;
use module_api::{Call, KeyRule, RouteKind, Routes, Selector, Value, Variable};

use super::status::status;

pub(super) static ALL: [Variable; 4] = [
    super::suspend::T,
    Variable {
        name: "T_branch_idx",
        key: KeyRule::None,
        routes: Routes::ANY,
        doc: "The index of the branch that a branch or reply route is about; undefined elsewhere.",
        example: "xlog(\"branch $T_branch_idx\\n\");",
        read: |call, _| match call.context.kind {
            RouteKind::Branch | RouteKind::TransactionReply | RouteKind::Reply => {
                Value::Int(call.context.branch_index.into())
            }
            _ => Value::Null,
        },
        write: None,
    },
    Variable {
        name: "T_reply_code",
        key: KeyRule::None,
        routes: Routes::ANY,
        doc: "The status code of the reply at hand, in failure routes of the chosen one, else of the last one sent.",
        example: "if ($T_reply_code == 486) exit;",
        read: |call, _| Value::Int(status(call).map_or(0, i64::from)),
        write: None,
    },
    Variable {
        name: "T_reply_reason",
        key: KeyRule::None,
        routes: Routes::ANY,
        doc: "The reason phrase of the reply at hand, in failure routes of the chosen one.",
        example: "xlog(\"$T_reply_code $T_reply_reason\\n\");",
        read: reason,
        write: None,
    },
];

fn reason(call: &mut Call<'_>, _: &Selector<'_>) -> Value {
    let message = &call.context.message;
    let reply = match message.is_request() {
        true => call.context.reply.as_ref(),
        false => Some(message),
    };
    reply.map(|reply| Bytes::copy_from_slice(reply.reason())).into()
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, text};

    #[test]
    fn a_reply_shows_in_variables() {
        let mut bench = Bench::reply("486 Busy Here");
        bench.context.kind = RouteKind::TransactionReply;
        bench.context.branch_index = 2;
        assert_eq!(bench.read(&MODULE, "T_reply_code", None), Value::Int(486));
        assert_eq!(bench.read(&MODULE, "T_reply_reason", None), text("Busy Here"));
        assert_eq!(bench.read(&MODULE, "T_branch_idx", None), Value::Int(2));
    }

    #[test]
    fn in_a_request_route_there_is_no_branch() {
        assert_eq!(Bench::invite().read(&MODULE, "T_branch_idx", None), Value::Null);
    }
}
