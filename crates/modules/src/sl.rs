//! Replies without state, and replies that take whatever way there is.

use bytes::Bytes;
use module_api::{
    Call, Context, Event, Function, Matched, Module, Outcome, Param, ParamKind, Parameter, Reply, RouteKind, Routes,
    SettingKind,
};

use crate::tm::RelayFailure;

/// Replies made by the script.
pub static MODULE: Module = Module {
    name: "sl",
    doc: "Sends replies made by the script, with or without a transaction.",
    parameters: &[
        setting(
            "bind_tm",
            SettingKind::Ignored,
            "1",
            "Has no effect: send_reply() always uses a transaction that is there.",
        ),
        setting(
            "default_code",
            SettingKind::Ignored,
            "500",
            "Has no effect: sl_reply_error() says 500 where nothing better is known.",
        ),
        setting("default_reason", SettingKind::Ignored, "", "Has no effect: the reason goes with the code."),
    ],
    functions: &[
        SEND_STATELESS,
        crate::also("sl_reply", SEND_STATELESS),
        SEND,
        SEND_MODE,
        REPLY_ERROR,
        crate::also("send_reply_error", REPLY_ERROR),
        FILTER_ACK,
        FORWARD_REPLY,
    ],
    events: &EVENTS,
    ..Module::EMPTY
};

static EVENTS: [Event; 2] = [
    Event {
        name: "sl:local-response",
        doc: "When a reply has gone out without a transaction. The message is the request.",
    },
    Event { name: "sl:filtered-ack", doc: "When an ACK to such a reply has come. It goes no further." },
];

const fn setting(name: &'static str, kind: SettingKind, default: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind, default, doc }
}

pub(crate) const CODE_AND_REASON: &[Param] =
    &[Param::required("code", ParamKind::StatusCode), Param::required("reason", ParamKind::Format)];

const SEND_STATELESS: Function = Function {
    name: "sl_send_reply",
    params: CODE_AND_REASON,
    routes: Routes::REQUEST.or(Routes::FAILURE),
    doc: "Replies without a transaction. A 3xx carries the destination set as Contact headers. \
          On an ACK it sends nothing and is false.",
    example: "sl_send_reply(\"404\", \"Not Found\");",
    run: |call| send(call, Way::Stateless),
};

const SEND: Function = Function {
    name: "send_reply",
    params: CODE_AND_REASON,
    routes: Routes::REQUEST.or(Routes::FAILURE),
    doc: "Replies through the request's transaction where it has one, else without. \
          A 3xx carries the destination set as Contact headers.",
    example: "send_reply(\"486\", \"Busy Here\");",
    run: |call| send(call, Way::AsItStands),
};

const SEND_MODE: Function = Function {
    name: "send_reply_mode",
    params: &[
        Param::required("code", ParamKind::StatusCode),
        Param::required("reason", ParamKind::Format),
        Param::required("mode", ParamKind::Int),
    ],
    routes: Routes::REQUEST.or(Routes::FAILURE),
    doc: "As send_reply(); the mode, about connections, has no effect: a reply uses the one that the request came by.",
    example: "send_reply_mode(\"403\", \"Forbidden\", \"1\");",
    run: |call| send(call, Way::AsItStands),
};

const REPLY_ERROR: Function = Function {
    name: "sl_reply_error",
    params: &[],
    routes: Routes::REQUEST.or(Routes::FAILURE),
    doc: "Replies with what went wrong last, such as an unresolvable destination, else 500. \
          Sends nothing when the request has been answered.",
    example: "if (!t_relay()) sl_reply_error();",
    run: |call| {
        if call.context.is_answered {
            return Outcome::TRUE;
        }
        let (code, reason) = match call.context.note::<RelayFailure>() {
            Some(RelayFailure(error)) => error.status(),
            None => (500, "Server Internal Error"),
        };
        reply(call, code, reason.as_bytes(), Way::AsItStands)
    },
};

const FORWARD_REPLY: Function = Function {
    name: "sl_forward_reply",
    params: &[Param::optional("code", ParamKind::StatusCode), Param::optional("reason", ParamKind::Format)],
    routes: Routes::of(RouteKind::Reply),
    doc: "Sends the reply on now, by its second Via, where asked with another code of the same class and another reason. It \
          goes on once more when the script is over, unless that drops it. False when the Via leads nowhere or the class \
          differs.",
    example: "if ($rs == 404) { sl_forward_reply(\"480\", \"Temporarily Unavailable\"); drop; }",
    run: forward_reply,
};

const FILTER_ACK: Function = Function {
    name: "sl_filter_ACK",
    params: &[],
    routes: Routes::REQUEST,
    doc: "Ends the script for an ACK to a reply that was made here. Such an ACK is absorbed before the script by \
          itself; the function stays for old scripts.",
    example: "sl_filter_ACK();",
    run: |call| match call.host.matched(call.context) {
        Matched::FailureAck(_) => Outcome::Finish,
        _ => Outcome::TRUE,
    },
};

/// How a reply goes out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Stateless,
    Stateful,
    /// Through the transaction where there is one.
    AsItStands,
}

/// Replies with the call's first two arguments: code and reason.
pub(crate) fn send(call: &mut Call<'_>, way: Way) -> Outcome {
    let Some(code) = call.int(0).and_then(|code| u16::try_from(code).ok()) else { return Outcome::FALSE };
    let reason = call.text(1);
    reply(call, code, &reason, way)
}

pub(crate) fn reply(call: &mut Call<'_>, code: u16, reason: &[u8], way: Way) -> Outcome {
    if !(100..700).contains(&code) {
        return Outcome::FALSE;
    }
    let headers = if (300..400).contains(&code) { redirect_contacts(call.context) } else { Bytes::new() };
    let reply = Reply { code, reason, headers: &headers };
    let is_stateful = match way {
        Way::Stateless => false,
        Way::Stateful => true,
        Way::AsItStands => call.context.transaction.is_some(),
    };
    let result = match is_stateful {
        true => call.host.reply(call.context, &reply),
        false => call.host.reply_stateless(call.context, &reply),
    };
    result.is_ok().into()
}

/// The Contact line of a redirection (RFC 3261 section 8.3): the Request-URI if it was changed, and
/// the targets that were added.
fn redirect_contacts(context: &Context) -> Bytes {
    // The URI that the caller tried must not be offered again: it would come back for ever (8.3).
    let is_changed = context.target.uri != context.message.request_uri();
    let first = is_changed.then_some(&context.target);
    let targets: Vec<_> =
        first.into_iter().chain(&context.branches).map(|target| (target.uri.clone(), target.q)).collect();
    sip_proto::redirect::contact_header(&targets)
}

/// Changes the start line of the copy alone: what the transaction does by the reply must fit what came.
fn forward_reply(call: &mut Call<'_>) -> Outcome {
    let message = std::sync::Arc::clone(&call.context.message);
    let Some(came) = message.status() else { return Outcome::FALSE };
    let edits = call.context.edits.clone();
    if let Some(code) = call.int(0) {
        let reason = match call.arg_count() {
            1 => Bytes::copy_from_slice(message.reason()),
            _ => call.text(1),
        };
        if code / 100 != i64::from(came / 100) || reason.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Outcome::FALSE;
        }
        let line = [format!("SIP/2.0 {code} ").as_bytes(), &reason].concat();
        call.context.edits.replace(message.start_line(), line);
    }
    let is_sent = call.host.forward_reply(call.context);
    call.context.edits = edits;
    is_sent.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, INVITE, KEY};
    use module_api::{RelayError, Target};

    fn check(bench: &mut Bench, function: &str, args: &[&str], code: i64, sent: &[&str]) {
        assert_eq!(bench.run(&MODULE, function, args), code, "{function}");
        assert_eq!(bench.host.done, sent, "{function}");
    }

    #[test]
    fn a_reply_takes_the_transaction_where_there_is_one() {
        check(&mut Bench::invite(), "sl_send_reply", &["404", "Not Found"], 1, &["stateless 404 Not Found"]);
        check(&mut Bench::invite(), "send_reply", &["404", "Not Found"], 1, &["stateless 404 Not Found"]);
        let mut bench = Bench::invite();
        bench.context.transaction = Some(KEY);
        check(&mut bench, "send_reply", &["404", "Not Found"], 1, &["stateful 404 Not Found"]);
    }

    #[test]
    fn an_ack_gets_no_reply() {
        let ack = INVITE.replace("INVITE", "ACK");
        check(&mut Bench::new(&ack), "sl_send_reply", &["404", "Not Found"], -1, &[]);
    }

    #[test]
    fn a_redirection_offers_the_destination_set() {
        let mut bench = Bench::invite();
        bench.context.branches.push(Target { q: Some(500), ..Target::new(Bytes::from_static(b"sip:b@two")) });
        let sent = ["stateless 302 Moved Contact: <sip:b@two>;q=0.5|"];
        check(&mut bench, "sl_send_reply", &["302", "Moved"], 1, &sent);

        let mut bench = Bench::invite();
        bench.context.set_uri(Bytes::from_static(b"sip:b@one"));
        check(&mut bench, "sl_send_reply", &["302", "Moved"], 1, &["stateless 302 Moved Contact: <sip:b@one>|"]);
    }

    #[test]
    fn an_error_reply_says_what_went_wrong_and_is_never_a_second_one() {
        check(&mut Bench::invite(), "sl_reply_error", &[], 1, &["stateless 500 Server Internal Error"]);
        let mut bench = Bench::invite();
        bench.context.set_note(RelayFailure(RelayError::Unresolvable));
        check(&mut bench, "sl_reply_error", &[], 1, &["stateless 478 Unresolvable Destination"]);
        check(&mut bench, "sl_reply_error", &[], 1, &["stateless 478 Unresolvable Destination"]);
    }

    #[test]
    fn an_ack_to_a_reply_of_ours_ends_the_script() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "sl_filter_ACK", &[]), 1);
        bench.host.matched = Matched::FailureAck(KEY);
        assert_eq!(bench.run(&MODULE, "sl_filter_ACK", &[]), 1000);
    }

    #[test]
    fn what_is_no_status_code_is_not_sent() {
        check(&mut Bench::invite(), "sl_send_reply", &["99", "x"], -1, &[]);
        check(&mut Bench::invite(), "sl_send_reply", &["abc", "x"], -1, &[]);
    }

    #[test]
    fn a_reply_goes_on_with_another_code_of_its_class() {
        let mut bench = Bench::reply("404 Not Found");
        assert_eq!(bench.run(&MODULE, "sl_forward_reply", &["480", "Away"]), 1);
        assert_eq!(bench.run(&MODULE, "sl_forward_reply", &["480"]), 1);
        assert_eq!(bench.run(&MODULE, "sl_forward_reply", &[]), 1);
        let sent = ["forward reply 480 Away", "forward reply 480 Not Found", "forward reply 404 Not Found"];
        assert_eq!(bench.host.done, sent);
        assert!(bench.context.edits.is_empty());
    }

    #[test]
    fn a_reply_keeps_its_class_and_its_line() {
        let mut bench = Bench::reply("404 Not Found");
        assert_eq!(bench.run(&MODULE, "sl_forward_reply", &["200", "OK"]), -1);
        assert_eq!(bench.run(&MODULE, "sl_forward_reply", &["480", "A\r\nX-Evil: 1"]), -1);
        assert_eq!(Bench::invite().run(&MODULE, "sl_forward_reply", &[]), -1);
        assert!(bench.host.done.is_empty());
    }
}
