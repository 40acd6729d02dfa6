//! Making, finding and leaving transactions.

use module_api::{Call, Function, Matched, NewTransaction, Outcome, Param, ParamKind, RelayOptions, Routes};
use sip_message::Method;

pub(super) const NEWTRAN: Function = Function {
    name: "t_newtran",
    params: &[],
    routes: Routes::REQUEST,
    doc: "Makes the request's transaction now, before anything is sent. A repetition gets the last reply again and ends \
          the script. On an ACK it is true and makes nothing.",
    example: "if (!t_newtran()) sl_reply_error();",
    run: newtran,
};

pub(super) const CHECK_TRANS: Function = Function {
    name: "t_check_trans",
    params: &[],
    routes: Routes::REQUEST.or(Routes::REPLIES),
    doc: "True when the message belongs to a transaction: a CANCEL to its INVITE, an ACK to its 2xx, a reply to its \
          request. A repetition gets the last reply again and ends the script; so does an ACK to a failure.",
    example: "if (is_method(\"CANCEL\")) { if (t_check_trans()) t_relay(); exit; }",
    run: |call| match call.host.matched(call.context) {
        Matched::Retransmission(_) => {
            call.host.new_transaction(call.context);
            Outcome::Value(0)
        }
        Matched::FailureAck(_) => Outcome::Value(0),
        Matched::Cancel(_) | Matched::SuccessAck(_) | Matched::Reply(_) => Outcome::TRUE,
        Matched::None => Outcome::FALSE,
    },
};

pub(super) const LOOKUP_REQUEST: Function = Function {
    name: "t_lookup_request",
    params: &[],
    routes: Routes::REQUEST,
    doc: "True when the request, or the INVITE that an ACK is for, has a transaction already.",
    example: "if (t_lookup_request()) exit;",
    run: |call| match call.host.matched(call.context) {
        Matched::Retransmission(_) | Matched::FailureAck(_) | Matched::SuccessAck(_) => Outcome::TRUE,
        _ => call.context.transaction.is_some().into(),
    },
};

pub(super) const LOOKUP_CANCEL: Function = Function {
    name: "t_lookup_cancel",
    params: &[],
    routes: Routes::REQUEST,
    doc: "True when the request is a CANCEL whose INVITE has a transaction.",
    example: "if (t_lookup_cancel()) t_relay();",
    run: |call| matches!(call.host.matched(call.context), Matched::Cancel(_)).into(),
};

pub(super) const EXISTS: Function = Function {
    name: "t_exists",
    params: &[],
    routes: Routes::ANY,
    doc: "True when the message has a transaction.",
    example: "if (t_exists()) xlog(\"known\\n\");",
    run: |call| {
        let is_known = call.context.transaction.is_some();
        (is_known || !matches!(call.host.matched(call.context), Matched::None)).into()
    },
};

pub(super) const RELAY_CANCEL: Function = Function {
    name: "t_relay_cancel",
    params: &[],
    routes: Routes::REQUEST,
    doc: "Relays a CANCEL whose INVITE is known, and ends the script. True, without doing anything, for everything else.",
    example: "if (is_method(\"CANCEL\")) { if (!t_relay_cancel()) exit; }",
    run: |call| match call.host.matched(call.context) {
        Matched::Cancel(_) => match call.host.relay(call.context, &RelayOptions::default()) {
            Ok(()) => Outcome::Value(0),
            Err(_) => Outcome::FALSE,
        },
        _ => Outcome::TRUE,
    },
};

pub(super) const RELEASE: Function = Function {
    name: "t_release",
    params: &[],
    routes: Routes::REQUEST.or(Routes::FAILURE),
    doc: "Leaves the transaction to the server: the script has done with it.",
    example: "t_reply(\"404\", \"Not Found\"); t_release();",
    run: |call| {
        if call.context.transaction.is_none() {
            return Outcome::FALSE;
        }
        call.host.release(call.context);
        Outcome::TRUE
    },
};

pub(super) const UNREF: Function = Function {
    name: "t_unref",
    params: &[],
    routes: Routes::ANY,
    doc: "True, and nothing more: a transaction that nobody needs goes away by itself. Stays for old scripts.",
    example: "t_unref();",
    run: |_| Outcome::TRUE,
};

pub(crate) const CANCEL_BRANCHES: Function = Function {
    name: "t_cancel_branches",
    params: &[Param::required("which", ParamKind::Options)],
    routes: Routes::FAILURE.or(Routes::REPLIES),
    doc: "Cancels branches that have no final reply: \"all\", \"others\" than the one of this reply, or \"this\" one.",
    example: "t_cancel_branches(\"all\");",
    run: cancel_branches,
};

fn newtran(call: &mut Call<'_>) -> Outcome {
    if call.context.message.method() == Method::Ack {
        return match call.host.matched(call.context) {
            Matched::FailureAck(_) => Outcome::Value(0),
            _ => Outcome::TRUE,
        };
    }
    match call.host.new_transaction(call.context) {
        NewTransaction::Created(_) | NewTransaction::Ack => Outcome::TRUE,
        NewTransaction::Retransmission => Outcome::Value(0),
        NewTransaction::Full => Outcome::fail("too many transactions"),
    }
}

fn cancel_branches(call: &mut Call<'_>) -> Outcome {
    let Some(key) = call.context.transaction else { return Outcome::FALSE };
    let which = call.text(0);
    let branch = call.context.branch_index;
    match &which[..] {
        b"all" => call.host.cancel_branches(key),
        b"others" => call.host.cancel_branch(key, branch, true),
        b"this" => call.host.cancel_branch(key, branch, false),
        _ => return Outcome::fail("t_cancel_branches knows \"all\", \"others\" and \"this\""),
    }
    Outcome::TRUE
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, INVITE, KEY};

    #[test]
    fn a_repetition_ends_the_script() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "t_newtran", &[]), 1);
        bench.host.new_transaction = NewTransaction::Retransmission;
        assert_eq!(bench.run(&MODULE, "t_newtran", &[]), 0);
        bench.host.new_transaction = NewTransaction::Full;
        assert_eq!(bench.run(&MODULE, "t_newtran", &[]), -1);
    }

    #[test]
    fn an_ack_makes_no_transaction() {
        let mut bench = Bench::new(&INVITE.replace("INVITE", "ACK"));
        assert_eq!(bench.run(&MODULE, "t_newtran", &[]), 1);
        assert!(bench.host.done.is_empty());
        bench.host.matched = Matched::FailureAck(KEY);
        assert_eq!(bench.run(&MODULE, "t_newtran", &[]), 0);
    }

    #[test]
    fn a_check_tells_what_the_message_is_to_transactions() {
        let answers = [
            (Matched::None, -1),
            (Matched::Retransmission(KEY), 0),
            (Matched::FailureAck(KEY), 0),
            (Matched::SuccessAck(KEY), 1),
            (Matched::Cancel(KEY), 1),
            (Matched::Reply(KEY), 1),
        ];
        for (matched, code) in answers {
            let mut bench = Bench::invite();
            bench.host.matched = matched;
            assert_eq!(bench.run(&MODULE, "t_check_trans", &[]), code, "{matched:?}");
        }
    }

    #[test]
    fn a_cancel_is_relayed_only_to_its_invite() {
        let mut bench = Bench::new(&INVITE.replace("INVITE", "CANCEL"));
        assert_eq!(bench.run(&MODULE, "t_relay_cancel", &[]), 1);
        assert!(bench.host.done.is_empty());
        bench.host.matched = Matched::Cancel(KEY);
        assert_eq!(bench.run(&MODULE, "t_lookup_cancel", &[]), 1);
        assert_eq!(bench.run(&MODULE, "t_relay_cancel", &[]), 0);
        assert_eq!(bench.host.done.len(), 1);
    }

    #[test]
    fn branches_can_be_cancelled_all_or_but_one() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "t_cancel_branches", &["all"]), -1);
        bench.context.transaction = Some(KEY);
        assert_eq!(bench.run(&MODULE, "t_cancel_branches", &["all"]), 1);
        assert_eq!(bench.run(&MODULE, "t_cancel_branches", &["others"]), 1);
        assert_eq!(bench.run(&MODULE, "t_cancel_branches", &["some"]), -1);
        assert_eq!(bench.host.done, ["cancel branches", "cancel branches but 0"]);
    }
}
