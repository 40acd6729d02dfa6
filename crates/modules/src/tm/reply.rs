//! Replies through the transaction.

use module_api::{Function, Matched, NewTransaction, Outcome, Routes};

use super::relay::RelayFailure;
use crate::sl::{CODE_AND_REASON, Way, reply, send};

const WHERE: Routes = Routes::REQUEST.or(Routes::FAILURE);

pub(super) const REPLY: Function = Function {
    name: "t_reply",
    params: CODE_AND_REASON,
    routes: WHERE,
    doc: "Replies through the request's transaction, which t_newtran() or t_relay() made before; false without one. In a \
          failure route it takes the place of the reply that would go upstream. A 3xx carries the destination set.",
    example: "t_reply(\"486\", \"Busy Here\");",
    run: |call| send(call, Way::Stateful),
};

pub(super) const SEND_REPLY: Function = Function {
    name: "t_send_reply",
    params: CODE_AND_REASON,
    routes: WHERE,
    doc: "As t_reply(), and makes the transaction first where there is none.",
    example: "t_send_reply(\"404\", \"Not Found\");",
    run: |call| {
        if call.context.transaction.is_none() {
            match call.host.new_transaction(call.context) {
                NewTransaction::Created(_) => {}
                NewTransaction::Retransmission => return Outcome::Value(0),
                NewTransaction::Ack => return Outcome::FALSE,
                NewTransaction::Full => return Outcome::fail("too many transactions"),
            }
        }
        send(call, Way::Stateful)
    },
};

pub(super) const REPLY_ERROR: Function = Function {
    name: "t_reply_error",
    params: &[],
    routes: WHERE,
    doc: "Replies through the transaction with what went wrong last, else 500. Sends nothing when the request has been \
          answered.",
    example: "if (!t_relay()) t_reply_error();",
    run: |call| {
        if call.context.is_answered {
            return Outcome::TRUE;
        }
        let failure = call.context.note::<RelayFailure>();
        let (code, reason) = failure.map_or((500, "Server Internal Error"), |failure| failure.0.status());
        reply(call, code, reason.as_bytes(), Way::Stateful)
    },
};

pub(super) const RETRANSMIT_REPLY: Function = Function {
    name: "t_retransmit_reply",
    params: &[],
    routes: Routes::REQUEST,
    doc: "Sends the last reply again when the request is a repetition; else false.",
    example: "if (t_lookup_request()) t_retransmit_reply();",
    run: |call| match call.host.matched(call.context) {
        Matched::Retransmission(_) => {
            call.host.new_transaction(call.context);
            Outcome::TRUE
        }
        _ => Outcome::FALSE,
    },
};

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::{Bench, KEY};

    #[test]
    fn a_reply_needs_a_transaction() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "t_reply", &["404", "Not Found"]), -1);
        bench.context.transaction = Some(KEY);
        assert_eq!(bench.run(&MODULE, "t_reply", &["404", "Not Found"]), 1);
        assert_eq!(bench.host.done, ["stateful 404 Not Found"]);
    }

    #[test]
    fn the_transaction_can_be_made_on_the_way() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "t_send_reply", &["404", "Not Found"]), 1);
        assert_eq!(bench.host.done, ["new transaction", "stateful 404 Not Found"]);
    }
}
