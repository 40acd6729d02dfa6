//! Record-Route and loose routing (RFC 3261 sections 16.4, 16.6 and 16.12).

mod record;
mod route;

use std::sync::Arc;

pub(crate) use record::add_parameters;
pub(crate) use route::is_upstream;

use bytes::Bytes;
use module_api::{Call, KeyRule, Module, Parameter, Routes, SettingKind, Setup, SetupError, State, Value, Variable};

/// Keeps the server in the path of a dialog, and routes along that path.
pub static MODULE: Module = Module {
    name: "rr",
    doc: "Keeps the server in the path of a dialog, and routes along that path.",
    parameters: &[
        Parameter {
            name: "enable_full_lr",
            kind: SettingKind::Int,
            default: "0",
            doc: "1 writes ;lr=on in place of ;lr, for peers that drop parameters without a value.",
        },
        Parameter {
            name: "append_fromtag",
            kind: SettingKind::Int,
            default: "1",
            doc: "1 adds the From tag as ;ftag=, which is_direction() needs.",
        },
        ignored(
            "enable_double_rr",
            "1",
            "Has no effect: two headers are written where transport or address family change, and never else (RFC 5658).",
        ),
        ignored("add_username", "0", "Has no effect: Record-Route names the server alone."),
        ignored("force_send_socket", "0", "Has no effect: a double Record-Route always chooses the socket."),
        ignored("ignore_user", "", "Has no effect."),
        ignored("loose_route_mode", "0", "Has no effect."),
    ],
    functions: &[
        record::RECORD_ROUTE,
        record::RECORD_ROUTE_PARAMS,
        crate::also("addRecordRoute", record::RECORD_ROUTE),
        crate::also("record_route_strict", record::RECORD_ROUTE),
        record::RECORD_ROUTE_PRESET,
        crate::also("record_route_advertised_address", record::RECORD_ROUTE_PRESET),
        record::ADD_PARAM,
        record::REMOVE,
        route::LOOSE_ROUTE,
        route::LOOSE_ROUTE_MODE,
        route::LOOSE_ROUTE_PRELOADED,
        route::HAS_NEXT_ROUTE,
        crate::also("rewriteFromRoute", route::LOOSE_ROUTE),
        route::CHECK_PARAM,
        route::IS_DIRECTION,
    ],
    variables: &[
        DIRECTION,
        CALLER_TAG,
        CALLEE_TAG,
        Variable {
            name: "route_uri",
            key: KeyRule::None,
            routes: Routes::ANY,
            doc: "The URI of the first Route header as it came.",
            example: "xlog(\"$route_uri\\n\");",
            read: |call, _| {
                let message = &call.context.message;
                let first = message.routes().next().and_then(Result::ok);
                first.map_or(Value::Null, |route| Value::Str(message.slice(route.uri_span)))
            },
            write: None,
        },
    ],
    make: |setup: &mut Setup<'_>| -> Result<Arc<dyn State>, SetupError> {
        Ok(Arc::new(Style {
            has_full_lr: setup.int("enable_full_lr") != 0,
            has_tag: setup.int("append_fromtag") != 0,
            outbound: setup.module::<crate::outbound::Outbound>("outbound").ok(),
        }))
    },
    ..Module::EMPTY
};

const DIRECTION: Variable = Variable {
    name: "rdir",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "The direction of a request within a dialog, after loose_route(): $rdir(id) is 1 downstream, from the side that \
          began the dialog, and 2 upstream; $rdir(name) is the word. Needs the parameter append_fromtag.",
    example: "if ($rdir(id) == 2) xlog(\"from the callee\\n\");",
    read: |call, selector| match (selector.key(), route::is_upstream(call)) {
        (b"id", is_upstream) => Value::Int(if is_upstream { 2 } else { 1 }),
        (b"name", true) => Value::from_static("upstream"),
        (b"name", false) => Value::from_static("downstream"),
        _ => Value::Null,
    },
    write: None,
};

const CALLER_TAG: Variable = Variable {
    name: "fti",
    key: KeyRule::None,
    routes: Routes::ANY,
    doc: "The tag of the side that began the dialog: the From tag, or the To tag of a request upstream.",
    example: "xlog(\"$fti\\n\");",
    read: |call, _| tag(call, route::is_upstream(call)),
    write: None,
};

const CALLEE_TAG: Variable = Variable {
    name: "tti",
    doc: "The tag of the side that was called: the To tag, or the From tag of a request upstream.",
    example: "xlog(\"$tti\\n\");",
    read: |call, _| tag(call, !route::is_upstream(call)),
    ..CALLER_TAG
};

fn tag(call: &Call<'_>, of_to: bool) -> Value {
    let message = &call.context.message;
    let tag = if of_to { message.to_tag() } else { message.from_tag() };
    tag.map_or(Value::Null, |tag| Value::Str(Bytes::copy_from_slice(tag)))
}

const fn ignored(name: &'static str, default: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Ignored, default, doc }
}

/// How Record-Route is written.
struct Style {
    has_full_lr: bool,
    has_tag: bool,
    /// Names flows, where the script makes the server an edge proxy.
    outbound: Option<Arc<crate::outbound::Outbound>>,
}
