//! Rewriting the Request-URI.

use bytes::Bytes;
use module_api::{Call, Function, Outcome, Param, ParamKind, Routes};
use sip_message::Uri;

use crate::rewrite;

const WHERE: Routes = Routes::REQUESTS;

pub(super) const SETURI: Function = Function {
    name: "seturi",
    params: &[Param::required("uri", ParamKind::Str)],
    routes: WHERE,
    doc: "Replaces the Request-URI. False when the text is not a URI.",
    example: "seturi(\"sip:reception@example.com\");",
    run: |call| {
        let uri = call.text(0);
        let is_uri = Uri::parse(&uri).is_ok();
        rewrite_with(call, is_uri.then_some(uri))
    },
};

pub(super) const SETHOST: Function = Function {
    name: "sethost",
    params: &[Param::required("host", ParamKind::HostPort)],
    routes: WHERE,
    doc: "Replaces the host of the Request-URI and keeps user, port and parameters. The next hop set by $du stays.",
    example: "sethost(\"gateway.example.com\");",
    run: |call| {
        let new = rewrite::with_host(&call.context.target.uri, &call.text(0));
        rewrite_with(call, new)
    },
};

pub(super) const SETHOSTPORT: Function = Function {
    name: "sethostport",
    params: &[Param::required("host", ParamKind::HostPort)],
    routes: WHERE,
    doc: "Replaces host and port of the Request-URI. Without a port in the argument the URI has none afterwards.",
    example: "sethostport(\"192.0.2.7:5080\");",
    run: |call| {
        let new = rewrite::with_host_port(&call.context.target.uri, &call.text(0));
        rewrite_with(call, new)
    },
};

pub(super) const SETHOSTPORTTRANS: Function = Function {
    name: "sethostporttrans",
    params: &[Param::required("host", ParamKind::HostPort)],
    routes: WHERE,
    doc: "Replaces host and port of the Request-URI and removes its transport parameter.",
    example: "sethostporttrans(\"192.0.2.7:5080\");",
    run: |call| {
        let new = rewrite::with_host_port(&call.context.target.uri, &call.text(0));
        let new = new.and_then(|uri| rewrite::without_param(&uri, "transport"));
        rewrite_with(call, new)
    },
};

pub(super) const SETUSER: Function = Function {
    name: "setuser",
    params: &[Param::required("user", ParamKind::Str)],
    routes: WHERE,
    doc: "Replaces the user of the Request-URI, and removes the password that belonged to the old one.",
    example: "setuser(\"operator\");",
    run: |call| {
        let new = rewrite::with_user(&call.context.target.uri, Some(&call.text(0)));
        rewrite_with(call, new)
    },
};

pub(super) const SETUSERPASS: Function = Function {
    name: "setuserpass",
    params: &[Param::required("user", ParamKind::Str)],
    routes: WHERE,
    doc: "Replaces user and password of the Request-URI.",
    example: "setuserpass(\"operator:secret\");",
    run: |call| {
        let new = rewrite::with_user(&call.context.target.uri, Some(&call.text(0)));
        rewrite_with(call, new)
    },
};

pub(super) const SETPORT: Function = Function {
    name: "setport",
    params: &[Param::required("port", ParamKind::Str)],
    routes: WHERE,
    doc: "Replaces the port of the Request-URI; an empty argument removes it.",
    example: "setport(\"5080\");",
    run: |call| {
        let new = rewrite::with_port(&call.context.target.uri, &call.text(0));
        rewrite_with(call, new)
    },
};

pub(super) const PREFIX: Function = Function {
    name: "prefix",
    params: &[Param::required("text", ParamKind::Str)],
    routes: WHERE,
    doc: "Puts text in front of the user of the Request-URI.",
    example: "prefix(\"00\");",
    run: |call| {
        let prefix = call.text(0);
        change_user(call, |user| Some([&prefix, user].concat()))
    },
};

pub(super) const STRIP: Function = Function {
    name: "strip",
    params: &[Param::required("count", ParamKind::Int)],
    routes: WHERE,
    doc: "Removes characters from the front of the Request-URI's user. False when the user is shorter.",
    example: "strip(1);",
    run: |call| {
        let count = length(call);
        change_user(call, |user| user.get(count?..).map(<[u8]>::to_vec))
    },
};

pub(super) const STRIP_TAIL: Function = Function {
    name: "strip_tail",
    params: &[Param::required("count", ParamKind::Int)],
    routes: WHERE,
    doc: "Removes characters from the end of the Request-URI's user. False when the user is shorter.",
    example: "strip_tail(2);",
    run: |call| {
        let count = length(call);
        change_user(call, |user| Some(user[..user.len().checked_sub(count?)?].to_vec()))
    },
};

pub(super) const REVERT_URI: Function = Function {
    name: "revert_uri",
    params: &[],
    routes: WHERE,
    doc: "Puts the Request-URI back to what was received.",
    example: "revert_uri();",
    run: |call| {
        let message = &call.context.message;
        let received = message.slice(message.request_uri_span());
        rewrite_with(call, Some(received))
    },
};

pub(super) const USERPHONE: Function = Function {
    name: "userphone",
    params: &[],
    routes: WHERE,
    doc: "Adds user=phone to a SIP Request-URI that does not have it.",
    example: "userphone();",
    run: |call| {
        let uri = &call.context.target.uri;
        let needs_it = Uri::parse(uri).is_ok_and(|uri| uri.is_sip() && uri.param("user").is_none());
        if !needs_it {
            return Outcome::TRUE;
        }
        let new = rewrite::with_param(uri, b"user=phone");
        rewrite_with(call, new)
    },
};

/// Takes the new URI, where there is one.
fn rewrite_with(call: &mut Call<'_>, uri: Option<Bytes>) -> Outcome {
    match uri {
        Some(uri) => {
            call.context.set_uri(uri);
            Outcome::TRUE
        }
        None => Outcome::FALSE,
    }
}

fn length(call: &Call<'_>) -> Option<usize> {
    usize::try_from(call.int(0)?).ok()
}

fn change_user(call: &mut Call<'_>, change: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> Outcome {
    let uri = call.context.target.uri.clone();
    let user = Uri::parse(&uri).ok().and_then(|uri| uri.user).unwrap_or_default();
    let new = change(user).and_then(|user| rewrite::with_user(&uri, Some(&user)));
    rewrite_with(call, new)
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::Bench;

    fn check(start: &str, function: &str, args: &[&str], code: i64, end: &str) {
        let mut bench = Bench::invite();
        bench.context.set_uri(bytes::Bytes::copy_from_slice(start.as_bytes()));
        assert_eq!(bench.run(&MODULE, function, args), code, "{function}");
        assert_eq!(bench.uri(), end, "{function}");
    }

    #[test]
    fn each_part_of_the_request_uri_can_be_replaced() {
        check("sip:bob@example.com", "rewriteuri", &["sip:x@y"], 1, "sip:x@y");
        check("sip:bob@example.com:5070", "rewritehost", &["h"], 1, "sip:bob@h:5070");
        check("sip:bob@example.com:5070", "rewritehostport", &["h:9"], 1, "sip:bob@h:9");
        check("sip:bob@h;transport=tcp", "sethostporttrans", &["g:9"], 1, "sip:bob@g:9");
        check("sip:bob:pw@h", "setuser", &["eve"], 1, "sip:eve@h");
        check("sip:bob@h", "setport", &["99"], 1, "sip:bob@h:99");
        check("sip:bob@h", "userphone", &[], 1, "sip:bob@h;user=phone");
    }

    #[test]
    fn prefix_and_strip_work_on_the_user_alone() {
        check("sip:123@h", "prefix", &["00"], 1, "sip:00123@h");
        check("sip:00123@h", "strip", &["2"], 1, "sip:123@h");
        check("sip:00123@h", "strip_tail", &["2"], 1, "sip:001@h");
        check("sip:1@h", "strip", &["2"], -1, "sip:1@h");
        check("sip:1@h", "strip_tail", &["2"], -1, "sip:1@h");
        check("sip:1@h", "strip", &["-1"], -1, "sip:1@h");
    }

    #[test]
    fn a_uri_that_is_none_changes_nothing() {
        check("sip:bob@h", "rewriteuri", &["bob"], -1, "sip:bob@h");
        check("sip:bob@h", "setuser", &["b\r\nX: y"], -1, "sip:bob@h");
    }

    #[test]
    fn the_received_uri_can_be_restored() {
        check("sip:other@h", "revert_uri", &[], 1, "sip:bob@example.com");
    }
}
