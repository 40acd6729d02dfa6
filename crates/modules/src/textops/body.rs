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

pub(super) const SET_BODY_HEX: Function = Function {
    name: "set_body_hex",
    params: BODY,
    routes: Routes::ANY,
    doc: "As set_body(), with the body in hexadecimal digits; blanks between them do not count.",
    example: "set_body_hex(\"68 69\", \"text/plain\");",
    run: |call| {
        let (body, kind) = (from_hex(&call.text(0)), call.text(1));
        match body.filter(|_| is_type(&kind)) {
            Some(body) => {
                call.context.edits.set_body(Some(kind), body);
                Outcome::TRUE
            }
            None => Outcome::fail("set_body_hex: not hexadecimal digits and a content type"),
        }
    },
};

pub(super) const SET_REPLY_BODY_HEX: Function = Function {
    name: "set_reply_body_hex",
    params: BODY,
    routes: Routes::REQUESTS,
    doc: "As set_reply_body(), with the body in hexadecimal digits; blanks between them do not count.",
    example: "set_reply_body_hex(\"68 69\", \"text/plain\");",
    run: |call| {
        let (body, kind) = (from_hex(&call.text(0)), call.text(1));
        match body.filter(|_| is_type(&kind)) {
            Some(body) => {
                call.context.reply_body = Some((kind, body));
                Outcome::TRUE
            }
            None => Outcome::fail("set_reply_body_hex: not hexadecimal digits and a content type"),
        }
    },
};

/// The octets that pairs of hexadecimal digits spell.
pub(super) fn from_hex(text: &[u8]) -> Option<Bytes> {
    let digits: Option<Vec<u8>> = text
        .iter()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Whether a text can stand as a content type.
pub(super) fn is_type(text: &[u8]) -> bool {
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
    fn a_body_may_be_spelt_in_hexadecimal_digits() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "set_body_hex", &["68 69 ff", "application/octet-stream"]), 1);
        assert!(bench.written().contains("Content-Length: 3\r\n"), "{}", bench.written());
        assert_eq!(bench.run(&MODULE, "set_reply_body_hex", &["6869", "text/plain"]), 1);
        assert_eq!(bench.context.reply_body.as_ref().map(|(_, body)| &body[..]), Some(&b"hi"[..]));
        assert_eq!(bench.run(&MODULE, "set_body_hex", &["6", "text/plain"]), -1);
        assert_eq!(bench.run(&MODULE, "set_body_hex", &["zz", "text/plain"]), -1);
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
