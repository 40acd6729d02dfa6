//! HTTP requests at the listeners for SIP over TCP and TLS.

use std::any::Any;
use std::sync::Arc;

use module_api::{
    Event, Function, HttpAnswer, HttpRequest, KeyRule, Module, Outcome, Param, ParamKind, Parameter, Routes,
    SettingKind, Setup, SetupError, State, Value, Variable,
};
use regex::bytes::Regex;

/// HTTP requests at the listeners for SIP over TCP and TLS.
pub static MODULE: Module = Module {
    name: "xhttp",
    doc: "Lets a script answer HTTP requests that come in on the listeners for SIP over TCP and TLS.",
    parameters: &[
        text(
            "url_match",
            "Only requests whose path and query match this regular expression run the route; others get 404.",
        ),
        text("url_skip", "Requests whose path and query match this regular expression get 404."),
        Parameter {
            name: "event_callback",
            kind: SettingKind::Ignored,
            default: "",
            doc: "Has no effect: only the native language is there, and its event_route[xhttp:request] is run.",
        },
    ],
    functions: &[REPLY],
    variables: &[URL],
    events: &[Event {
        name: "xhttp:request",
        doc: "An HTTP request has come. It looks like a SIP request: $rm is its method, $hu and $ru its path and query, \
              $hdr(...) its headers, $rb its body, $si and $sp its sender. A route that ends without an answer gives 500.",
    }],
    takes_http: Some(takes),
    make,
    ..Module::EMPTY
};

const fn text(name: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Str, default: "", doc }
}

const REPLY: Function = Function {
    name: "xhttp_reply",
    params: &[
        Param::required("code", ParamKind::Int),
        Param::required("reason", ParamKind::Format),
        Param::required("content_type", ParamKind::Format),
        Param::required("body", ParamKind::Format),
    ],
    routes: Routes::ANY,
    doc: "Answers the HTTP request that event_route[xhttp:request] runs for, once. What append_to_reply() has added stands \
          among the headers. False when the message is no HTTP request or has been answered.",
    example: "xhttp_reply(\"200\", \"OK\", \"text/html\", \"<html><body>$hu</body></html>\");",
    run: |call| {
        let (reason, content_type, body) = (call.text(1), call.text(2), call.text(3));
        // 1xx is no answer, and none of them is of use here.
        let code = call.int(0).and_then(|code| u16::try_from(code).ok()).filter(|code| (200..1000).contains(code));
        let Some(code) = code else { return Outcome::fail("the code of an HTTP answer is from 200 to 999") };
        let answer = HttpAnswer { code, reason: &reason, content_type: &content_type, body: &body };
        call.host.answer_http(call.context, &answer).into()
    },
};

const URL: Variable = Variable {
    name: "hu",
    key: KeyRule::None,
    routes: Routes::ANY,
    doc: "Path and query of an HTTP request.",
    example: "if ($hu =~ \"^/status\") xhttp_reply(\"200\", \"OK\", \"text/plain\", \"well\\n\");",
    read: |call, _| match call.context.note::<HttpRequest>() {
        Some(_) => Value::Str(call.context.target.uri.clone()),
        None => Value::Null,
    },
    write: None,
};

/// The state of module xhttp: which targets the script wants.
#[derive(Default)]
struct Wanted {
    only: Option<Regex>,
    not: Option<Regex>,
}

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let pattern = |name: &'static str| {
        let text = setup.text(name);
        let made = (!text.is_empty()).then(|| Regex::new(&text)).transpose();
        made.map_err(|why| SetupError::Setting { name, cause: why.to_string() })
    };
    Ok(Arc::new(Wanted { only: pattern("url_match")?, not: pattern("url_skip")? }))
}

fn takes(state: &Arc<dyn State>, target: &[u8]) -> bool {
    let state: &dyn Any = state.as_ref();
    let wanted = state.downcast_ref::<Wanted>();
    wanted.is_some_and(|wanted| {
        wanted.only.as_ref().is_none_or(|only| only.is_match(target))
            && !wanted.not.as_ref().is_some_and(|not| not.is_match(target))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, make, text as value};
    use module_api::{Dialect, Setting};

    #[test]
    fn the_script_says_which_paths_it_wants() {
        let setting = |name: &str, text: &str| Setting { name: name.into(), value: value(text) };
        let settings = [setting("url_match", "^/RPC"), setting("url_skip", "secret")];
        let state = make(&MODULE, &settings, Dialect::Kamailio, &|_| None).expect("the expressions are right");
        for (target, is_wanted) in [("/RPC", true), ("/", false), ("/RPC?secret", false)] {
            assert_eq!(takes(&state, target.as_bytes()), is_wanted, "{target}");
        }
        let all = make(&MODULE, &[], Dialect::Kamailio, &|_| None).expect("it needs no settings");
        assert!(takes(&all, b"/anything"));
        let wrong = make(&MODULE, &[setting("url_match", "(")], Dialect::Kamailio, &|_| None);
        assert!(wrong.is_err());
    }

    #[test]
    fn a_sip_request_has_no_path_and_takes_no_http_answer() {
        let mut bench = Bench::invite();
        assert_eq!(bench.read(&MODULE, "hu", None), Value::Null);
        assert_eq!(bench.run(&MODULE, "xhttp_reply", &["200", "OK", "text/plain", ""]), -1);
        assert_eq!(bench.run(&MODULE, "xhttp_reply", &["100", "OK", "text/plain", ""]), -1);
    }
}
