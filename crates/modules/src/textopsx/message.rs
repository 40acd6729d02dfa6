//! The message as a whole: applying edits, replacing it, the status of a reply.

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Call, Context, Function, Outcome, Param, ParamKind, RouteKind, Routes};
use sip_message::{HeaderName, Limits, Message, Span};

const REQUEST_AND_REPLIES: Routes = Routes::REQUEST.or(Routes::REPLIES);

pub(super) const APPLY_CHANGES: Function = Function {
    name: "msg_apply_changes",
    params: &[],
    routes: REQUEST_AND_REPLIES,
    doc: "Applies the changes made so far, so that what the script reads from here on shows them. In a request route it \
          must come before the request is relayed. False when the result is no SIP message; nothing is changed then.",
    example: "msg_apply_changes();",
    run: |call| {
        if is_relayed(call) {
            return Outcome::fail("msg_apply_changes: the request has been relayed, so its copies cannot change");
        }
        let context = &*call.context;
        if context.edits.is_empty() && context.target.uri == context.message.request_uri() {
            return Outcome::TRUE;
        }
        let bytes = changed(context);
        replace(call, bytes)
    },
};

pub(super) const CHANGED_ROUTE: Function = Function {
    name: "msg_changed_route",
    params: &[Param::required("route", ParamKind::Route(RouteKind::Request))],
    routes: REQUEST_AND_REPLIES,
    doc: "Runs a route on the message as the changes made so far leave it; the message at hand stays as it is. Changes to the \
          text that the route makes end with it, attributes and the like stay. False when the result is no SIP message.",
    example: "msg_changed_route(\"LOOK\");",
    run: |call| {
        let Some(route) = call.route(0) else { return Outcome::fail("msg_changed_route: there is no such route") };
        let context = &mut *call.context;
        let bytes = changed(context);
        let parsed = Message::parse(bytes, &Limits::default());
        let Some(message) = parsed.ok().filter(|new| new.is_request() == context.message.is_request()) else {
            return Outcome::fail("msg_changed_route: the changed text would be no SIP message");
        };
        let message = std::mem::replace(&mut context.message, Arc::new(message));
        let edits = std::mem::take(&mut context.edits);
        call.host.run_route(route, call.context);
        call.context.message = message;
        call.context.edits = edits;
        Outcome::TRUE
    },
};

/// The text of the message with all changes made.
fn changed(context: &Context) -> Bytes {
    let mut edits = context.edits.clone();
    if context.message.is_request() && context.target.uri != context.message.request_uri() {
        edits.set_request_uri(context.target.uri.clone());
    }
    let mut bytes = Vec::with_capacity(context.message.bytes().len() + 256);
    sip_message::write(&context.message, &[&edits], &mut bytes);
    bytes.into()
}

pub(super) const SET_BUFFER: Function = Function {
    name: "msg_set_buffer",
    params: &[Param::required("text", ParamKind::Format)],
    routes: REQUEST_AND_REPLIES,
    doc: "Replaces the whole message by a text. False when that is no SIP message of the same kind.",
    example: "msg_set_buffer(\"$var(message)\");",
    run: |call| {
        if is_relayed(call) {
            return Outcome::fail("msg_set_buffer: the request has been relayed, so its copies cannot change");
        }
        let text = call.text(0);
        let was_request = call.context.message.is_request();
        let outcome = replace(call, text);
        if matches!(outcome, Outcome::Value(1)) && was_request {
            let uri = call.context.message.slice(call.context.message.request_uri_span());
            call.context.set_uri(uri);
        }
        outcome
    },
};

pub(super) const REPLY_STATUS: Function = Function {
    name: "change_reply_status",
    params: &[Param::required("code", ParamKind::StatusCode), Param::required("reason", ParamKind::Format)],
    routes: Routes::REPLIES,
    doc: "Gives the reply another code and reason. A provisional reply stays provisional, a success a success and a \
          failure a failure; else it is false.",
    example: "change_reply_status(\"404\", \"Not Here\");",
    run: |call| {
        let reason = call.text(1);
        set_status(call, Some(&reason))
    },
};

pub(super) const REPLY_STATUS_CODE: Function = Function {
    name: "change_reply_status_code",
    params: &[Param::required("code", ParamKind::StatusCode)],
    routes: Routes::REPLIES,
    doc: "As change_reply_status(); the reason stays.",
    example: "change_reply_status_code(404);",
    run: |call| set_status(call, None),
};

pub(super) const KEEP_HF: Function = Function {
    name: "keep_hf",
    params: &[Param::optional("pattern", ParamKind::Regex)],
    routes: Routes::ANY,
    doc: "Removes the headers whose name does not match, except those without which a message goes wrong: Via, Route, \
          Record-Route, From, To, Call-ID, CSeq, Max-Forwards, Contact, Content-Type and Content-Length. Without a pattern \
          all others go.",
    example: "keep_hf(\"^(User-Agent|Subject)$\");",
    run: |call| {
        let regex = call.regex(0);
        let message = Arc::clone(&call.context.message);
        for header in message.headers() {
            let is_wanted = regex.is_some_and(|regex| regex.is_match(header.raw_name));
            if !is_wanted && !is_needed(header.name) {
                call.context.edits.remove(header.field);
            }
        }
        Outcome::TRUE
    },
};

pub(super) const FNMATCH: Function = Function {
    name: "fnmatch",
    params: &[
        Param::required("text", ParamKind::Format),
        Param::required("pattern", ParamKind::Format),
        Param::optional("flags", ParamKind::Format),
    ],
    routes: Routes::ANY,
    doc: "True when the text matches a pattern of the shell: * any text, ? any character, [a-z] one of several, [!a-z] none \
          of them. With flag i the case does not matter.",
    example: "if (fnmatch(\"$rd\", \"*.example.com\")) xlog(\"ours\\n\");",
    run: |call| {
        let (mut text, mut pattern) = (call.text(0).to_vec(), call.text(1).to_vec());
        if call.text(2).contains(&b'i') {
            text.make_ascii_lowercase();
            pattern.make_ascii_lowercase();
        }
        crate::glob::matches(&text, &pattern).into()
    },
};

/// Whether copies of the request are on their way, made of the message as it was.
fn is_relayed(call: &Call<'_>) -> bool {
    call.context.kind == RouteKind::Request
        && call.host.standing(call.context).is_some_and(|standing| standing.branch_count > 0)
}

fn replace(call: &mut Call<'_>, bytes: Bytes) -> Outcome {
    let context = &mut *call.context;
    let parsed = Message::parse(bytes, &Limits::default());
    match parsed.ok().filter(|new| new.is_request() == context.message.is_request() && new.validate().is_ok()) {
        Some(message) => {
            context.message = Arc::new(message);
            context.edits.clear();
            Outcome::TRUE
        }
        None => Outcome::fail("the changed text would be no SIP message"),
    }
}

fn set_status(call: &mut Call<'_>, reason: Option<&[u8]>) -> Outcome {
    let code = call.int(0).and_then(|code| u16::try_from(code).ok()).filter(|code| (100..700).contains(code));
    let message = Arc::clone(&call.context.message);
    let (Some(code), Some(old)) = (code, message.status()) else { return Outcome::FALSE };
    // The transaction has moved on with the reply that came, so its meaning must not change.
    if class(code) != class(old) {
        return Outcome::fail("change_reply_status: the new code would turn failure, success or progress into another");
    }
    let reason = reason.unwrap_or(message.reason());
    if !super::is_one_line(reason) {
        return Outcome::fail("change_reply_status: the reason has a line end in it");
    }
    let line = message.start_line();
    let start = line.start as usize + b"SIP/2.0 ".len();
    let text = [code.to_string().as_bytes(), b" ", reason].concat();
    call.context.edits.replace(Span::new(start, line.end as usize), text);
    call.context.reply_code = code;
    Outcome::TRUE
}

fn class(code: u16) -> u16 {
    (code / 100).min(3)
}

fn is_needed(name: HeaderName) -> bool {
    matches!(
        name,
        HeaderName::Via
            | HeaderName::Route
            | HeaderName::RecordRoute
            | HeaderName::From
            | HeaderName::To
            | HeaderName::CallId
            | HeaderName::CSeq
            | HeaderName::MaxForwards
            | HeaderName::Contact
            | HeaderName::ContentType
            | HeaderName::ContentLength
    )
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::{Bench, INVITE};
    use module_api::{Arg, Standing};
    use std::sync::Arc;

    #[test]
    fn applied_changes_are_read_and_change_no_more() {
        let mut bench = Bench::invite();
        bench.context.set_uri("sip:carol@example.org".into());
        bench.run(&crate::textops::MODULE, "append_hf", &["X-New: 1\r\n"]);
        assert_eq!(bench.run(&MODULE, "msg_apply_changes", &[]), 1);
        assert!(bench.context.edits.is_empty());
        assert_eq!(bench.context.message.request_uri(), b"sip:carol@example.org");
        assert_eq!(bench.run(&crate::textops::MODULE, "is_present_hf", &["X-New"]), 1);
        assert_eq!(bench.written().matches("X-New: 1").count(), 1);
    }

    #[test]
    fn a_relayed_request_is_not_changed() {
        let mut bench = Bench::invite();
        bench.host.standing = Some(Standing { branch_count: 1, ..Standing::default() });
        bench.run(&crate::textops::MODULE, "append_hf", &["X-New: 1\r\n"]);
        assert_eq!(bench.run(&MODULE, "msg_apply_changes", &[]), -1);
        assert!(!bench.context.edits.is_empty());
    }

    #[test]
    fn a_message_is_replaced_only_by_a_message() {
        let mut bench = Bench::invite();
        let other = INVITE.replace("sip:bob@example.com SIP", "sip:dave@example.com SIP");
        assert_eq!(bench.run(&MODULE, "msg_set_buffer", &[&other]), 1);
        assert_eq!(bench.uri(), "sip:dave@example.com");
        for wrong in ["hello", "SIP/2.0 200 OK\r\n\r\n", "INVITE sip:a@b SIP/2.0\r\n\r\n"] {
            assert_eq!(bench.run(&MODULE, "msg_set_buffer", &[wrong]), -1, "{wrong}");
        }
        assert_eq!(bench.uri(), "sip:dave@example.com");
    }

    #[test]
    fn a_failure_stays_a_failure_whatever_its_code() {
        let mut bench = Bench::reply("486 Busy Here");
        assert_eq!(bench.run(&MODULE, "change_reply_status", &["603", "Decline"]), 1);
        assert!(bench.written().starts_with("SIP/2.0 603 Decline\r\nVia"), "{}", bench.written());
        assert_eq!(bench.context.reply_code, 603);
        let mut bench = Bench::reply("486 Busy Here");
        assert_eq!(bench.run(&MODULE, "change_reply_status_code", &["404"]), 1);
        assert!(bench.written().starts_with("SIP/2.0 404 Busy Here\r\n"));
        for code in ["200", "183"] {
            assert_eq!(Bench::reply("486 Busy").run(&MODULE, "change_reply_status", &[code, "x"]), -1, "{code}");
        }
        assert_eq!(Bench::reply("180 Ringing").run(&MODULE, "change_reply_status", &["183", "a\r\nB: c"]), -1);
    }

    #[test]
    fn shell_patterns_mind_the_case_unless_told_otherwise() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "fnmatch", &["abc.example.com", "*.example.com"]), 1);
        assert_eq!(bench.run(&MODULE, "fnmatch", &["ABC", "a?c"]), -1);
        assert_eq!(bench.run(&MODULE, "fnmatch", &["ABC", "a?c", "i"]), 1);
    }

    // Which headers stay is what Kamailio 5.6.3 keeps.
    #[test]
    fn headers_are_removed_except_those_that_are_wanted_or_needed() {
        let mut bench = Bench::new(&INVITE.replace("Subject", "X-A: 1\r\nUser-Agent: t\r\nExpires: 30\r\nSubject"));
        let regex = regex::bytes::Regex::new("X-A|Subject").unwrap();
        bench.run_args(&MODULE, "keep_hf", &[Arg::Regex(Arc::new(regex))]);
        let written = bench.written();
        assert!(written.contains("X-A: 1") && written.contains("Subject: lunch"), "{written}");
        assert!(!written.contains("User-Agent") && !written.contains("Expires"), "{written}");
        assert_eq!(written.matches("\r\n").count(), INVITE.matches("\r\n").count() + 1);
    }
}
