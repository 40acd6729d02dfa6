//! What RADIUS servers know of users: attributes, groups, and whether they exist.

use std::sync::Arc;

use module_api::{
    Call, Fault, Function, Module, Outcome, Param, ParamKind, Parameter, Routes, Setup, SetupError, State, Statistic,
};
use radius::attribute::USER_NAME;
use radius::{AttributeId, Attributes, Code, Error, Service};
use sip_message::Uri;

use crate::named_variable::NamedVariable;
use crate::radius_servers::{self, Servers, take_attributes};
use crate::setting::{ignored, number, text};
use crate::subject::Subject;

/// Users, groups and attributes that RADIUS servers know.
pub static MODULE: Module = Module {
    name: "misc_radius",
    doc: "Asks RADIUS servers for attributes of callers and callees, for groups, and for users.",
    parameters: &PARAMETERS,
    functions: &[
        CALLER,
        CALLEE,
        IS_USER_IN,
        DOES_URI_EXIST,
        DOES_THIS_URI_EXIST,
        DOES_URI_USER_EXIST,
        DOES_THIS_USER_EXIST,
    ],
    statistics: &STATISTICS,
    make,
    ..Module::EMPTY
};

static STATISTICS: [Statistic; 8] = radius_servers::statistics("misc_radius");

static PARAMETERS: [Parameter; 21] = {
    let common = radius_servers::PARAMETERS;
    [
        common[0],
        common[1],
        common[2],
        common[3],
        common[4],
        common[5],
        common[6],
        common[7],
        common[8],
        number(
            "caller_service_type",
            "-1",
            "The Service-Type of questions for callers; by default SIP-Caller-AVPs: 30.",
        ),
        number(
            "callee_service_type",
            "-1",
            "The Service-Type of questions for callees; by default SIP-Callee-AVPs: 31.",
        ),
        number("group_service_type", "-1", "The Service-Type of questions for groups; by default Group-Check: 12."),
        number("uri_service_type", "-1", "The Service-Type of questions for users; by default Call-Check: 10."),
        text("caller_extra", "", EXTRA),
        text("callee_extra", "", EXTRA),
        text("group_extra", "", EXTRA),
        text("uri_extra", "", EXTRA),
        ignored("use_sip_uri_host", "Has no effect: User-Name is user@host."),
        ignored("common_response", "Has no effect: every answer may bring attributes."),
        ignored("use_domain", "Has no effect: the server is always told the domain."),
        ignored("service_type", "Has no effect: see group_service_type and uri_service_type."),
    ]
};

const EXTRA: &str = "More attributes of such questions: Attribute-Name=$variable;Attribute-Name=$variable.";
const URI: Param = Param::required("uri", ParamKind::Format);

const CALLER: Function = Function {
    name: "radius_load_caller_avps",
    params: &[Param::required("user", ParamKind::Format)],
    routes: Routes::REQUESTS,
    doc: "Asks for the attributes of a caller: each SIP-AVP of the answer becomes one, `name:text` and `name#number`. True \
          when the server accepts, -1 when it rejects, -2 when no server answers.",
    example: "if (radius_load_caller_avps(\"$fU@$fd\")) xlog(\"L_INFO\", \"limit $avp(limit)\\n\");",
    run: |call| {
        let user = call.text(0);
        ask(call, Topic::Caller, &user, |_| {})
    },
};

const CALLEE: Function = Function {
    name: "radius_load_callee_avps",
    params: &[Param::required("user", ParamKind::Format)],
    routes: Routes::REQUESTS,
    doc: "As radius_load_caller_avps(), for a callee.",
    example: "radius_load_callee_avps(\"$rU@$rd\");",
    run: |call| {
        let user = call.text(0);
        ask(call, Topic::Callee, &user, |_| {})
    },
};

const IS_USER_IN: Function = Function {
    name: "radius_is_user_in",
    params: &[Param::required("whose", ParamKind::Format), Param::required("group", ParamKind::Format)],
    routes: Routes::REQUESTS,
    doc: "True when the server says that a user is in a group. The first argument says who: \"Request-URI\", \"From\", \"To\", \
          \"Credentials\" (those that were verified), or a URI. -1 when the user is not, -2 when no server answers.",
    example: "if (!radius_is_user_in(\"From\", \"int\")) sl_send_reply(\"403\", \"No international calls\");",
    run: |call| {
        let (whose, group) = (call.text(0), call.text(1));
        match Subject::named(call, &whose) {
            Ok(subject) => {
                let user = format!("{}@{}", subject.user, subject.domain);
                ask(call, Topic::Group, user.as_bytes(), |attributes| attributes.push_clipped(SIP_GROUP, &group))
            }
            Err(cause) => Outcome::fail(format!("radius_is_user_in: {cause}")),
        }
    },
};

const DOES_URI_EXIST: Function = Function {
    name: "radius_does_uri_exist",
    params: &[],
    routes: Routes::REQUESTS,
    doc: "True when the server knows the user of the Request-URI, who is asked for as user@host. -1 when it does not, -2 when \
          no server answers.",
    example: "if (!radius_does_uri_exist()) sl_send_reply(\"404\", \"Not Found\");",
    run: |call| {
        let uri = call.context.target.uri.clone();
        does_exist(call, &uri, true)
    },
};

const DOES_THIS_URI_EXIST: Function = Function {
    name: "radius_does_uri_exist",
    params: &[URI],
    routes: Routes::REQUESTS,
    doc: "As without an argument, for a URI.",
    example: "if (!radius_does_uri_exist(\"$fu\")) sl_send_reply(\"403\", \"Who are you?\");",
    run: |call| {
        let uri = call.text(0);
        does_exist(call, &uri, true)
    },
};

const DOES_URI_USER_EXIST: Function = Function {
    name: "radius_does_uri_user_exist",
    params: &[],
    routes: Routes::REQUESTS,
    doc: "As radius_does_uri_exist(), asking for the user without the host.",
    example: "if (!radius_does_uri_user_exist()) sl_send_reply(\"404\", \"Not Found\");",
    run: |call| {
        let uri = call.context.target.uri.clone();
        does_exist(call, &uri, false)
    },
};

const DOES_THIS_USER_EXIST: Function = Function {
    name: "radius_does_uri_user_exist",
    params: &[Param::required("user", ParamKind::Format)],
    routes: Routes::REQUESTS,
    doc: "As without an argument, for a user, or the user of a URI.",
    example: "if (!radius_does_uri_user_exist(\"$fU\")) sl_send_reply(\"403\", \"Who are you?\");",
    run: |call| {
        let user = call.text(0);
        if Uri::parse(&user).is_ok() {
            return does_exist(call, &user, false);
        }
        ask(call, Topic::Uri, &user, |attributes| attributes.push_clipped(SIP_URI_USER, &user))
    },
};

/// What is asked for.
#[derive(Debug, Clone, Copy)]
enum Topic {
    Caller,
    Callee,
    Group,
    Uri,
}

/// The state of module misc_radius.
struct Inquiries {
    servers: Servers,
    /// By topic.
    service_types: [u32; 4],
    extras: [Vec<(String, NamedVariable)>; 4],
}

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let servers = Servers::open(setup, Service::Access)?;
    let number = |setting, name| servers.service_type(setup, setting, name);
    let service_types = [
        number("caller_service_type", "SIP-Caller-AVPs")?,
        number("callee_service_type", "SIP-Callee-AVPs")?,
        number("group_service_type", "Group-Check")?,
        number("uri_service_type", "Call-Check")?,
    ];
    let extra = |setting| servers.extra(setup, setting);
    let extras = [extra("caller_extra")?, extra("callee_extra")?, extra("group_extra")?, extra("uri_extra")?];
    let state = Arc::new(Inquiries { servers, service_types, extras });
    radius_servers::show(setup, &state, radius_servers::figures!());
    Ok(state)
}

fn does_exist(call: &mut Call<'_>, uri: &[u8], has_host: bool) -> Outcome {
    let Ok(Subject { user, domain }) = Subject::of_uri(uri) else { return Outcome::FALSE };
    let name = if has_host { format!("{user}@{domain}") } else { user.clone() };
    ask(call, Topic::Uri, name.as_bytes(), |attributes| attributes.push_clipped(SIP_URI_USER, user.as_bytes()))
}

fn ask(call: &mut Call<'_>, topic: Topic, user: &[u8], add: impl FnOnce(&mut Attributes)) -> Outcome {
    let state = call.state::<Inquiries>();
    let mut attributes = state.servers.question(call, state.service_types[topic as usize]);
    // No server knows a user whose name no packet can hold.
    if user.is_empty() || attributes.push(USER_NAME, user).is_err() {
        return Outcome::FALSE;
    }
    add(&mut attributes);
    state.servers.add_extra(call, &state.extras[topic as usize], &mut attributes);
    Outcome::wait(state.servers.ask(attributes), |call, answered| match answered {
        Ok(packet) if packet.code == Code::AccessAccept => {
            let state = call.state::<Inquiries>();
            take_attributes(call, &packet, &state.servers.dictionary);
            Outcome::TRUE
        }
        Ok(_) | Err(Error::TooLong(_)) => Outcome::FALSE,
        Err(error) => Outcome::Fail(Fault { code: -2, cause: error.to_string().into() }),
    })
}

const SIP_URI_USER: AttributeId = AttributeId::standard(208);
const SIP_GROUP: AttributeId = AttributeId::standard(211);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::radius_testing::{World, server_setting};
    use crate::testing::{Bench, INVITE, started, text};
    use module_api::Value;
    use radius::attribute::SERVICE_TYPE;

    fn world() -> World {
        World::new(|request| {
            let user = request.attributes.first(USER_NAME).unwrap_or_default();
            let is_known = user.starts_with(b"alice") || user.starts_with(b"bob");
            match (user, request.attributes.first(SIP_GROUP)) {
                (b"silent@example.com", _) => None,
                (_, Some(group)) if group != b"int" => Some((Code::AccessReject, vec![])),
                _ if is_known => Some((Code::AccessAccept, vec![(225, b"limit#3".to_vec()), (225, b"a:b".to_vec())])),
                _ => Some((Code::AccessReject, vec![])),
            }
        })
    }

    fn check(world: &World, name: &str, arguments: &[&str], expected: i64) -> Bench {
        // Short for the one that is never answered.
        let timeout = if arguments.iter().any(|one| one.contains("silent")) { "20" } else { "4000" };
        let state = started(&MODULE, &[("server", &server_setting(world.port)), ("timeout", timeout)]);
        let mut bench = Bench::with_state(INVITE, state);
        assert_eq!(bench.run_waiting(&MODULE, name, arguments, &world.runtime), expected, "{name}{arguments:?}");
        bench
    }

    #[test]
    fn attributes_of_a_caller_and_a_callee_are_loaded() {
        let world = world();
        let bench = check(&world, "radius_load_caller_avps", &["alice@example.com"], 1);
        assert_eq!(bench.context.avps.first(b"limit"), Some(&Value::Int(3)));
        assert_eq!(bench.context.avps.first(b"a"), Some(&text("b")));
        check(&world, "radius_load_callee_avps", &["bob@example.com"], 1);
        let bench = check(&world, "radius_load_callee_avps", &["eve@example.com"], -1);
        assert_eq!(bench.context.avps.first(b"limit"), None);
        let types: Vec<_> =
            world.asked().iter().map(|one| one.attributes.first(SERVICE_TYPE).map(|one| one[3])).collect();
        assert_eq!(types, [Some(30), Some(31), Some(31)]);
    }

    #[test]
    fn a_user_is_in_the_groups_that_the_server_says() {
        let world = world();
        check(&world, "radius_is_user_in", &["From", "int"], 1);
        check(&world, "radius_is_user_in", &["Request-URI", "ld"], -1);
        check(&world, "radius_is_user_in", &["sip:eve@example.com", "int"], -1);
        check(&world, "radius_is_user_in", &["Credentials", "int"], -1);
        let asked = world.asked();
        assert_eq!(asked[0].attributes.first(USER_NAME), Some(&b"alice@example.com"[..]));
        assert_eq!(asked[0].attributes.first(SERVICE_TYPE), Some(&[0, 0, 0, 12][..]));
        assert_eq!(asked.len(), 3);
    }

    #[test]
    fn a_user_exists_that_the_server_knows() {
        let world = world();
        check(&world, "radius_does_uri_exist", &[], 1);
        check(&world, "radius_does_uri_exist", &["sip:eve@example.com"], -1);
        check(&world, "radius_does_uri_user_exist", &[], 1);
        check(&world, "radius_does_uri_user_exist", &["alice"], 1);
        check(&world, "radius_does_uri_user_exist", &["sip:alice@example.com"], 1);
        check(&world, "radius_does_uri_exist", &["sip:example.com"], -1);
        let users: Vec<_> = world
            .asked()
            .iter()
            .filter_map(|one| one.attributes.first(USER_NAME).map(|name| String::from_utf8_lossy(name).into_owned()))
            .collect();
        assert_eq!(users, ["bob@example.com", "eve@example.com", "bob", "alice", "alice"]);
    }

    #[test]
    fn the_script_can_tell_silence_from_no() {
        let world = world();
        check(&world, "radius_load_caller_avps", &["silent@example.com"], -2);
        check(&world, "radius_load_caller_avps", &[&"x".repeat(300)], -1);
        check(&world, "radius_load_caller_avps", &[""], -1);
    }
}
