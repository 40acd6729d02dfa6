//! Bodies.

use bytes::Bytes;
use module_api::{Function, Outcome, Param, ParamKind, Routes};
use sip_message::HeaderName;

const BODY: &[Param] = &[Param::required("text", ParamKind::Format), Param::required("type", ParamKind::Format)];

pub(super) const HAS_BODY: Function = Function {
    name: "has_body",
    params: &[Param::optional("type", ParamKind::Str)],
    routes: Routes::ANY,
    doc: "True when the message has a body, of the given type where one is given.",
    example: "if (has_body(\"application/sdp\")) xlog(\"an offer or answer\\n\");",
    run: |call| {
        let message = &call.context.message;
        let wanted = call.text(0);
        let is_type = || message.content_type().is_some_and(|(kind, _)| kind.eq_ignore_ascii_case(&wanted));
        (!message.body().is_empty() && (wanted.is_empty() || is_type())).into()
    },
};

pub(super) const SET_BODY: Function = Function {
    name: "set_body",
    params: BODY,
    routes: Routes::ANY,
    doc: "Replaces the body and its type.",
    example: "set_body(\"hello\", \"text/plain\");",
    run: |call| {
        let (text, kind) = (call.text(0), call.text(1));
        if !is_type(&kind) {
            return Outcome::fail("set_body: not a content type");
        }
        call.context.edits.set_body(Some(kind), text);
        Outcome::TRUE
    },
};

pub(super) const SET_REPLY_BODY: Function = Function {
    name: "set_reply_body",
    params: BODY,
    routes: Routes::REQUESTS,
    doc: "Gives the replies that are made here for this request a body.",
    example: "set_reply_body(\"try later\", \"text/plain\");",
    run: |call| {
        let (text, kind) = (call.text(0), call.text(1));
        if !is_type(&kind) {
            return Outcome::fail("set_reply_body: not a content type");
        }
        call.context.reply_body = Some((kind, text));
        Outcome::TRUE
    },
};

pub(crate) const REMOVE_BODY: Function = Function {
    name: "remove_body",
    params: &[],
    routes: Routes::ANY,
    doc: "Removes the body and its type.",
    example: "remove_body();",
    run: |call| {
        let message = std::sync::Arc::clone(&call.context.message);
        call.context.edits.set_body(None, Bytes::new());
        call.context.edits.remove_headers(&message, HeaderName::ContentType);
        Outcome::TRUE
    },
};

fn is_type(text: &[u8]) -> bool {
    text.contains(&b'/') && !text.iter().any(|byte| matches!(byte, 0..=0x1f | 0x7f))
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::{Bench, INVITE};

    #[test]
    fn a_body_is_asked_for_by_its_type() {
        let text =
            INVITE.replace("Content-Length: 0\r\n\r\n", "Content-Type: text/plain;a=b\r\nContent-Length: 2\r\n\r\nhi");
        let mut bench = Bench::new(&text);
        assert_eq!(bench.run(&MODULE, "has_body", &[]), 1);
        assert_eq!(bench.run(&MODULE, "has_body", &["Text/Plain"]), 1);
        assert_eq!(bench.run(&MODULE, "has_body", &["application/sdp"]), -1);
        assert_eq!(Bench::invite().run(&MODULE, "has_body", &[]), -1);
        bench.run(&MODULE, "remove_body", &[]);
        let written = bench.written();
        assert!(written.ends_with("Content-Length: 0\r\n\r\n") && !written.contains("text/plain"), "{written}");
    }

    #[test]
    fn a_new_body_brings_its_type_and_length() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "set_body", &["hello", "text/plain"]), 1);
        let written = bench.written();
        assert!(written.contains("Content-Type: text/plain\r\n"), "{written}");
        assert!(written.contains("Content-Length: 5\r\n") && written.ends_with("\r\n\r\nhello"), "{written}");
        assert_eq!(bench.run(&MODULE, "set_body", &["x", "a/b\r\nX: y"]), -1);
        bench.run(&MODULE, "set_reply_body", &["later", "text/plain"]);
        assert!(bench.context.reply_body.is_some());
    }
}
