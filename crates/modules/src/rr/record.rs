//! Asking to stay in the path.

use bytes::Bytes;
use module_api::{Call, Context, Function, Outcome, Param, ParamKind, RecordRoute, RouteKind, Routes};
use sip_message::{HeaderName, Uri};

use super::Style;
use crate::rewrite::is_clean;

const WHERE: Routes = Routes::REQUEST.or(Routes::FAILURE).or(Routes::of(RouteKind::Branch));

pub(super) const RECORD_ROUTE: Function = Function {
    name: "record_route",
    params: &[],
    routes: WHERE,
    doc: "Has the request leave with a Record-Route of this server, so that later requests of the dialog pass here: one \
          header, or two where transport or address family change. Where module outbound is loaded the header names the \
          flow of the phone (RFC 5626 section 5.3). A second call changes nothing.",
    example: "record_route();",
    run: |call| record(call, b""),
};

pub(super) const RECORD_ROUTE_PARAMS: Function = Function {
    name: "record_route",
    params: &[Param::required("parameters", ParamKind::Format)],
    routes: WHERE,
    doc: "As record_route(), with parameters for the URI, each beginning with a semicolon.",
    example: "record_route(\";nat=yes\");",
    run: |call| {
        let params = call.text(0);
        record(call, &params)
    },
};

pub(super) const RECORD_ROUTE_PRESET: Function = Function {
    name: "record_route_preset",
    params: &[Param::required("host", ParamKind::Format), Param::optional("second", ParamKind::Format)],
    routes: WHERE,
    doc: "Adds a Record-Route with the given host[:port] in place of the server's own address; with a second one two \
          headers, the first being the side that the request leaves from.",
    example: "record_route_preset(\"proxy.example.com:5060\");",
    run: preset,
};

pub(super) const ADD_PARAM: Function = Function {
    name: "add_rr_param",
    params: &[Param::required("parameters", ParamKind::Format)],
    routes: WHERE,
    doc: "Adds parameters, each beginning with a semicolon, to the Record-Route URI that record_route() asked for or \
          will ask for.",
    example: "add_rr_param(\";nat=yes\");",
    run: |call| {
        let params = call.text(0);
        if !are_params(&params) {
            return Outcome::FALSE;
        }
        add_parameters(call.context, &params);
        Outcome::TRUE
    },
};

pub(super) const REMOVE: Function = Function {
    name: "remove_record_route",
    params: &[],
    routes: WHERE,
    doc: "Takes record_route() back.",
    example: "remove_record_route();",
    run: |call| Outcome::from(call.context.record_route.take().is_some()),
};

/// Adds parameters, each beginning with a semicolon, to the Record-Route that the script asked for or will ask for.
pub(crate) fn add_parameters(context: &mut Context, params: &[u8]) {
    match &mut context.record_route {
        Some(recorded) => recorded.params = [&recorded.params[..], params].concat().into(),
        None => {
            let earlier = context.note::<Waiting>().map(|Waiting(text)| text.clone()).unwrap_or_default();
            context.set_note(Waiting([&earlier[..], params].concat().into()));
        }
    }
}

/// Parameters given before `record_route()`.
struct Waiting(Bytes);

fn record(call: &mut Call<'_>, params: &[u8]) -> Outcome {
    if call.context.record_route.is_some() {
        return Outcome::TRUE;
    }
    if !are_params(params) {
        return Outcome::fail("record_route: parameters must begin with a semicolon and hold no blanks");
    }
    let mut text = tail(call);
    text.extend_from_slice(params);
    if let Some(Waiting(waiting)) = call.context.note() {
        text.extend_from_slice(waiting);
    }
    let outbound = call.state::<Style>().outbound.clone();
    let user = outbound.filter(|outbound| outbound.is_used(call)).and_then(|outbound| outbound.user(call));
    if user.is_some() {
        text.extend_from_slice(b";ob");
    }
    call.context.record_route = Some(RecordRoute { params: text.into(), user: user.unwrap_or_default() });
    Outcome::TRUE
}

/// What follows `;lr` by the module's own settings.
fn tail(call: &Call<'_>) -> Vec<u8> {
    let style = call.state::<Style>();
    let mut text = Vec::new();
    if style.has_full_lr {
        text.extend_from_slice(b"=on");
    }
    // A tag is a token by its grammar; one that is not would break the header, so it is left out.
    if style.has_tag
        && let Some(tag) = call.context.message.from_tag().filter(|tag| is_param_value(tag))
    {
        text.extend_from_slice(b";ftag=");
        text.extend_from_slice(tag);
    }
    text
}

fn preset(call: &mut Call<'_>) -> Outcome {
    let hosts = [call.text(0), call.text(1)];
    let is_double = !hosts[1].is_empty();
    let tail = tail(call);
    let mut lines = Vec::new();
    for host in hosts.iter().filter(|host| !host.is_empty()) {
        let uri = [&b"sip:"[..], host, if is_double { b";r2=on" } else { b"" }, b";lr", &tail].concat();
        if !is_clean(&uri) || Uri::parse(&uri).is_err() {
            return Outcome::fail("record_route_preset: not a host");
        }
        lines.extend_from_slice(&[b"Record-Route: <", &uri[..], b">\r\n"].concat());
    }
    call.context.edits.insert_before(HeaderName::RecordRoute, lines);
    Outcome::TRUE
}

fn are_params(text: &[u8]) -> bool {
    text.is_empty() || (text[0] == b';' && is_clean(text))
}

fn is_param_value(text: &[u8]) -> bool {
    is_clean(text) && !text.iter().any(|byte| b";?&=,@".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, INVITE};
    use std::sync::Arc;

    fn bench(has_full_lr: bool, has_tag: bool) -> Bench {
        Bench::with_state(INVITE, Arc::new(Style { has_full_lr, has_tag, outbound: None }))
    }

    fn recorded(bench: &Bench) -> Option<&str> {
        bench.context.record_route.as_ref().map(|asked| std::str::from_utf8(&asked.params).unwrap())
    }

    #[test]
    fn what_follows_lr_depends_on_the_settings() {
        let mut one = bench(false, true);
        assert_eq!(one.run(&MODULE, "record_route", &[]), 1);
        assert_eq!(recorded(&one), Some(";ftag=9fxced76sl"));
        let mut one = bench(true, false);
        one.run(&MODULE, "record_route", &[";nat=yes"]);
        assert_eq!(recorded(&one), Some("=on;nat=yes"));
    }

    #[test]
    fn parameters_may_come_before_or_after() {
        let mut one = bench(false, false);
        one.run(&MODULE, "add_rr_param", &[";a=1"]);
        one.run(&MODULE, "record_route", &[]);
        one.run(&MODULE, "record_route", &[";ignored"]);
        one.run(&MODULE, "add_rr_param", &[";b=2"]);
        assert_eq!(recorded(&one), Some(";a=1;b=2"));
        assert_eq!(one.run(&MODULE, "add_rr_param", &["x\r\n"]), -1);
        assert_eq!(one.run(&MODULE, "remove_record_route", &[]), 1);
        assert_eq!(recorded(&one), None);
    }

    #[test]
    fn a_preset_names_the_hosts_given() {
        let mut one = bench(false, false);
        assert_eq!(one.run(&MODULE, "record_route_preset", &["p.example:5070", "192.0.2.1"]), 1);
        let written = one.written();
        let out = written.find("Record-Route: <sip:p.example:5070;r2=on;lr>\r\n").unwrap();
        let inner = written.find("Record-Route: <sip:192.0.2.1;r2=on;lr>\r\n").unwrap();
        assert!(out < inner);
        assert_eq!(one.run(&MODULE, "record_route_preset", &["a b"]), -1);
    }
}
