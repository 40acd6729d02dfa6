//! Questions about URIs, and their parameters.

use bytes::Bytes;
use module_api::{Call, Function, Outcome, Param, ParamKind, Routes, Value};
use sip_message::Uri;

use super::number::is_e164;
use crate::rewrite;

pub(super) const IS_URI: Function = Function {
    name: "is_uri",
    params: &[Param::required("text", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "True when the text is a URI.",
    example: "if (is_uri(\"$var(target)\")) $du = $var(target);",
    run: |call| Uri::parse(&call.text(0)).is_ok().into(),
};

pub(super) const IS_USER_E164: Function = Function {
    name: "is_uri_user_e164",
    params: &[Param::required("uri", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "True when the user of the URI is an E.164 number.",
    example: "if (is_uri_user_e164(\"$ru\")) xlog(\"a number\\n\");",
    run: |call| Uri::parse(&call.text(0)).ok().and_then(|uri| uri.user).is_some_and(is_e164).into(),
};

pub(super) const HAS_PARAM: Function = Function {
    name: "uri_param",
    params: &[Param::required("name", ParamKind::Str)],
    routes: Routes::REQUESTS,
    doc: "True when the Request-URI has the parameter, without a value.",
    example: "if (uri_param(\"lr\")) xlog(\"loose\\n\");",
    run: |call| param(call, |value| value.is_none_or(<[u8]>::is_empty)),
};

pub(super) const HAS_PARAM_VALUE: Function = Function {
    name: "uri_param",
    params: &[Param::required("name", ParamKind::Str), Param::required("value", ParamKind::Str)],
    routes: Routes::REQUESTS,
    doc: "True when the Request-URI has the parameter with the value, whatever its case.",
    example: "if (uri_param(\"user\", \"phone\")) xlog(\"a number\\n\");",
    run: |call| {
        let wanted = call.text(1);
        param(call, |value| value.unwrap_or_default().eq_ignore_ascii_case(&wanted))
    },
};

pub(super) const HAS_PARAM_ANY: Function = Function {
    name: "uri_param_any",
    params: &[Param::required("name", ParamKind::Str)],
    routes: Routes::REQUESTS,
    doc: "True when the Request-URI has the parameter, with or without a value.",
    example: "if (uri_param_any(\"transport\")) xlog(\"$ru\\n\");",
    run: |call| param(call, |_| true),
};

pub(super) const ADD_PARAM: Function = Function {
    name: "add_uri_param",
    params: &[Param::required("parameter", ParamKind::Format)],
    routes: Routes::REQUESTS,
    doc: "Adds a parameter, NAME or NAME=VALUE, to the Request-URI.",
    example: "add_uri_param(\"nat=yes\");",
    run: |call| {
        let param = call.text(0);
        set(call, |uri| rewrite::with_param(uri, &param))
    },
};

pub(super) const GET_PARAM: Function = Function {
    name: "get_uri_param",
    params: &[Param::required("name", ParamKind::Str), Param::required("variable", ParamKind::Output)],
    routes: Routes::REQUESTS,
    doc: "Puts the value of a parameter of the Request-URI into a variable. False when there is no such parameter.",
    example: "get_uri_param(\"transport\", \"$var(t)\");",
    run: |call| {
        let uri = call.context.target.uri.clone();
        let name = call.text(0);
        let Ok(name) = std::str::from_utf8(&name) else { return Outcome::FALSE };
        let found = Uri::parse(&uri).ok().and_then(|uri| uri.param(name));
        let Some(value) = found else { return Outcome::FALSE };
        match call.write_output(1, Value::Str(Bytes::copy_from_slice(value.unwrap_or_default()))) {
            Ok(()) => Outcome::TRUE,
            Err(fault) => Outcome::Fail(fault),
        }
    },
};

pub(super) const REMOVE_PARAM: Function = Function {
    name: "uri_param_rm",
    params: &[Param::required("name", ParamKind::Str)],
    routes: Routes::REQUESTS,
    doc: "Removes a parameter from the Request-URI. False when it is not there.",
    example: "uri_param_rm(\"transport\");",
    run: |call| {
        let name = call.text(0);
        let Ok(name) = std::str::from_utf8(&name) else { return Outcome::FALSE };
        set(call, |uri| {
            Uri::parse(uri).ok().filter(|uri| uri.params.has(name))?;
            rewrite::without_param(uri, name)
        })
    },
};

pub(super) const CMP_URI: Function = Function {
    name: "cmp_uri",
    params: &[Param::required("one", ParamKind::Format), Param::required("other", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "True when two URIs are equal by the rules of RFC 3261 section 19.1.4.",
    example: "if (cmp_uri(\"$ru\", \"$fu\")) xlog(\"calls itself\\n\");",
    run: |call| {
        let (one, other) = (call.text(0), call.text(1));
        match (Uri::parse(&one), Uri::parse(&other)) {
            (Ok(one), Ok(other)) => one.equivalent(&other).into(),
            _ => Outcome::FALSE,
        }
    },
};

pub(super) const CMP_AOR: Function = Function {
    name: "cmp_aor",
    params: &[Param::required("one", ParamKind::Format), Param::required("other", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "True when two URIs have the same user and the same host.",
    example: "if (cmp_aor(\"$ru\", \"$fu\")) xlog(\"calls itself\\n\");",
    run: |call| {
        let (one, other) = (call.text(0), call.text(1));
        match (Uri::parse(&one), Uri::parse(&other)) {
            (Ok(one), Ok(other)) => (one.user == other.user && one.host.is_same(other.host)).into(),
            _ => Outcome::FALSE,
        }
    },
};

fn param(call: &Call<'_>, test: impl FnOnce(Option<&[u8]>) -> bool) -> Outcome {
    let name = call.text(0);
    let Ok(name) = std::str::from_utf8(&name) else { return Outcome::FALSE };
    let uri = Uri::parse(&call.context.target.uri);
    uri.ok().and_then(|uri| uri.param(name)).is_some_and(test).into()
}

fn set(call: &mut Call<'_>, change: impl FnOnce(&[u8]) -> Option<Bytes>) -> Outcome {
    match change(&call.context.target.uri) {
        Some(uri) => {
            call.context.set_uri(uri);
            Outcome::TRUE
        }
        None => Outcome::FALSE,
    }
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn parameters_of_the_request_uri_are_read_and_changed() {
        let mut bench = Bench::invite();
        bench.context.set_uri(Bytes::from_static(b"sip:b@h;lr;user=phone"));
        assert_eq!(bench.run(&MODULE, "uri_param", &["lr"]), 1);
        assert_eq!(bench.run(&MODULE, "uri_param", &["user"]), -1);
        assert_eq!(bench.run(&MODULE, "uri_param", &["user", "PHONE"]), 1);
        assert_eq!(bench.run(&MODULE, "uri_param_any", &["user"]), 1);
        assert_eq!(bench.run(&MODULE, "uri_param_rm", &["lr"]), 1);
        assert_eq!(bench.run(&MODULE, "uri_param_rm", &["lr"]), -1);
        assert_eq!(bench.run(&MODULE, "add_uri_param", &["nat=yes"]), 1);
        assert_eq!(bench.uri(), "sip:b@h;user=phone;nat=yes");
    }

    #[test]
    fn uris_are_compared_by_the_rules() {
        let ask = |function: &str, one: &str, other: &str| Bench::invite().run(&MODULE, function, &[one, other]);
        assert_eq!(ask("cmp_uri", "sip:a@H", "sip:a@h"), 1);
        assert_eq!(ask("cmp_uri", "sip:a@h:5060", "sip:a@h"), -1);
        assert_eq!(ask("cmp_aor", "sip:a@h:5060", "sip:a@H;lr"), 1);
        assert_eq!(ask("cmp_aor", "sip:a@h", "x"), -1);
        assert_eq!(Bench::invite().run(&MODULE, "is_uri", &["tel:+1"]), 1);
        assert_eq!(Bench::invite().run(&MODULE, "is_uri_user_e164", &["sip:+4930@h"]), 1);
    }
}
