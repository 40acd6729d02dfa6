//! Checks of a request's form beyond what every message must pass.

use std::sync::Arc;

use module_api::{
    Call, Function, Module, Outcome, Param, ParamKind, Parameter, Reply, Routes, SettingKind, Setup, SetupError, State,
    Value,
};
use sip_message::{ContactValue, HeaderName, Message, Method, Uri};

/// Checks of a request's form.
pub static MODULE: Module = Module {
    name: "sanity",
    doc: "Checks a request's form and refuses what is malformed.",
    parameters: &[
        Parameter {
            name: "autodrop",
            kind: SettingKind::Int,
            default: "1",
            doc: "1 ends the script after a refusal, 0 makes sanity_check() false.",
        },
        Parameter {
            name: "default_checks",
            kind: SettingKind::Int,
            default: "3047",
            doc: "The checks of a sanity_check() without arguments, added up.",
        },
        Parameter {
            name: "uri_checks",
            kind: SettingKind::Int,
            default: "7",
            doc: "The URIs that are checked: 1 Request-URI, 2 From, 4 To, 8 Contact.",
        },
        Parameter {
            name: "noreply",
            kind: SettingKind::Int,
            default: "0",
            doc: "1 leaves the reply to sanity_reply().",
        },
        Parameter {
            name: "proxy_require",
            kind: SettingKind::Ignored,
            default: "",
            doc: "Has no effect: the proxy knows no extensions.",
        },
    ],
    functions: &[CHECK, REPLY],
    variables: &[],
    make: |setup: &mut Setup<'_>| -> Result<Arc<dyn State>, SetupError> {
        Ok(Arc::new(Defaults {
            checks: setup.int("default_checks"),
            uris: setup.int("uri_checks"),
            ends_script: setup.int("autodrop") != 0,
            is_silent: setup.int("noreply") != 0,
        }))
    },
    ..Module::EMPTY
};

struct Defaults {
    checks: i64,
    uris: i64,
    ends_script: bool,
    is_silent: bool,
}

const CHECK: Function = Function {
    name: "sanity_check",
    params: &[Param::optional("checks", ParamKind::Str), Param::optional("uris", ParamKind::Str)],
    routes: Routes::ANY,
    doc: "Replies to a malformed request with the error and ends the script (with autodrop 0: is false). What RFC 3261 \
          demands of every message (version, mandatory headers, CSeq, Content-Length, top Via, tags) is checked before \
          the script, whatever the argument. It adds: 2 scheme of the Request-URI, 256 Expires, 512 Proxy-Require, 1024 the URIs named by the \
          second argument (1 Request-URI, 2 From, 4 To, 8 Contact), 2048 credentials. Of a reply only what every message \
          must have is checked, and nothing is sent.",
    example: "if (!sanity_check(\"1511\", \"7\")) exit;",
    run: check,
};

const REPLY: Function = Function {
    name: "sanity_reply",
    params: &[],
    routes: Routes::REQUEST,
    doc: "Sends the error that sanity_check() found last and, with noreply 1, kept back. False when there is none.",
    example: "if (!sanity_check()) { sanity_reply(); exit; }",
    run: |call| match call.context.take_note::<Kept>() {
        Some(Kept(refusal)) => {
            send(call, &refusal);
            Outcome::TRUE
        }
        None => Outcome::FALSE,
    },
};

/// A refusal that has not been sent; a note of the request.
struct Kept(Refusal);

const SCHEME: i64 = 2;
const EXPIRES: i64 = 256;
const PROXY_REQUIRE: i64 = 512;
const URIS: i64 = 1024;
const CREDENTIALS: i64 = 2048;

/// A refusal: code, reason, and headers that go with it.
type Refusal = (u16, &'static str, Vec<u8>);

fn check(call: &mut Call<'_>) -> Outcome {
    let defaults = call.state::<Defaults>();
    let number = |n: usize, default: i64| match call.arg_count() > n {
        true => Value::Str(call.text(n)).to_int(),
        false => default,
    };
    let (checks, uris) = (number(0, defaults.checks), number(1, defaults.uris));
    let Some(refusal) = fault(&call.context.message, checks, uris) else { return Outcome::TRUE };
    let takes_reply = call.context.message.is_request() && call.context.message.method() != Method::Ack;
    match takes_reply {
        true if defaults.is_silent => call.context.set_note(Kept(refusal)),
        true => send(call, &refusal),
        false => {}
    }
    if defaults.ends_script { Outcome::Value(0) } else { Outcome::FALSE }
}

fn send(call: &mut Call<'_>, (code, reason, headers): &Refusal) {
    let reply = Reply { code: *code, reason: reason.as_bytes(), headers };
    // What fails here is that there is nowhere to reply to; the request is refused all the same.
    let _ = match call.context.transaction {
        Some(_) => call.host.reply(call.context, &reply),
        None => call.host.reply_stateless(call.context, &reply),
    };
}

fn fault(message: &Message, checks: i64, uris: i64) -> Option<Refusal> {
    let asks = |check: i64| checks & check != 0;
    if let Err(reject) = message.validate() {
        return Some((reject.status().unwrap_or(400), "Bad Request", Vec::new()));
    }
    if !message.is_request() {
        return None;
    }
    if asks(SCHEME) && Uri::parse(message.request_uri()).is_ok_and(|uri| !uri.is_sip() && !is_tel(&uri)) {
        return Some((416, "Unsupported URI Scheme", Vec::new()));
    }
    if asks(EXPIRES) && message.has(HeaderName::Expires) && message.expires().is_none() {
        return Some((400, "Bad Expires", Vec::new()));
    }
    if asks(PROXY_REQUIRE)
        && let Some(header) = message.header(HeaderName::ProxyRequire)
    {
        let unsupported = [b"Unsupported: ", &header.unfolded()[..], b"\r\n"].concat();
        return Some((420, "Bad Extension", unsupported));
    }
    if asks(URIS) && !uris_are_good(message, uris) {
        return Some((400, "Bad URI", Vec::new()));
    }
    if asks(CREDENTIALS) && !credentials_are_good(message) {
        return Some((400, "Bad Credentials", Vec::new()));
    }
    None
}

fn is_tel(uri: &Uri<'_>) -> bool {
    matches!(uri.scheme, sip_message::Scheme::Tel)
}

fn uris_are_good(message: &Message, uris: i64) -> bool {
    let is_good = |uri: &[u8]| Uri::parse(uri).is_ok();
    let contact_is_good = |contact: Result<ContactValue<'_>, _>| match contact {
        Ok(ContactValue::Address(address)) => is_good(address.uri),
        Ok(ContactValue::Star) => true,
        Err(_) => false,
    };
    (uris & 1 == 0 || is_good(message.request_uri()))
        && (uris & 2 == 0 || message.from().is_ok_and(|from| is_good(from.uri)))
        && (uris & 4 == 0 || message.to().is_ok_and(|to| is_good(to.uri)))
        && (uris & 8 == 0 || message.contacts().all(contact_is_good))
}

fn credentials_are_good(message: &Message) -> bool {
    [HeaderName::Authorization, HeaderName::ProxyAuthorization].into_iter().all(|name| {
        message.headers_named(name).all(|header| {
            let value = header.unfolded();
            let is_digest = value.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"Digest"));
            !is_digest || sip_proto::digest::Credentials::parse(&value).is_some()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, INVITE};

    fn check(text: &str, reply: Option<&str>) {
        let defaults = Defaults { checks: 4071, uris: 15, ends_script: true, is_silent: false };
        let mut bench = Bench::with_state(text, Arc::new(defaults));
        let code = bench.run(&MODULE, "sanity_check", &[]);
        assert_eq!(code, if reply.is_some() { 0 } else { 1 }, "{text}");
        assert_eq!(bench.host.done.first().map(String::as_str), reply, "{text}");
    }

    #[test]
    fn a_good_request_passes_and_a_malformed_one_is_answered() {
        check(INVITE, None);
        let with = |line: &str| INVITE.replace("Subject", &format!("{line}\r\nSubject"));
        check(&with("Proxy-Require: foo"), Some("stateless 420 Bad Extension Unsupported: foo|"));
        check(&with("Expires: soon"), Some("stateless 400 Bad Expires"));
        check(&with("Authorization: Digest username="), Some("stateless 400 Bad Credentials"));
        check(&INVITE.replace("sip:alice@198.51.100.7:5070", "sip:alice@:5070"), Some("stateless 400 Bad URI"));
    }

    #[test]
    fn a_refusal_can_wait_for_the_script() {
        let text = INVITE.replace("Subject", "Proxy-Require: foo\r\nSubject");
        let defaults = Defaults { checks: 3047, uris: 7, ends_script: false, is_silent: true };
        let mut bench = Bench::with_state(&text, Arc::new(defaults));
        assert_eq!(bench.run(&MODULE, "sanity_reply", &[]), -1);
        assert_eq!(bench.run(&MODULE, "sanity_check", &[]), -1);
        assert!(bench.host.done.is_empty());
        assert_eq!(bench.run(&MODULE, "sanity_reply", &[]), 1);
        assert_eq!(bench.host.done, ["stateless 420 Bad Extension Unsupported: foo|"]);
        assert_eq!(bench.run(&MODULE, "sanity_reply", &[]), -1);
    }

    #[test]
    fn checks_that_are_not_asked_for_are_not_made() {
        let text = INVITE.replace("Subject", "Expires: soon\r\nSubject");
        let defaults = Defaults { checks: 3047, uris: 7, ends_script: false, is_silent: false };
        let mut bench = Bench::with_state(&text, Arc::new(defaults));
        assert_eq!(bench.run(&MODULE, "sanity_check", &["1024", "7"]), 1);
        assert_eq!(bench.run(&MODULE, "sanity_check", &["0x100"]), -1);
    }
}
