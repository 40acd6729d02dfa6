//! The edge proxy of RFC 5626: flow tokens, and when they are wanted.

mod token;

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Call, Function, Module, Outcome, Parameter, Routes, Setup, SetupError, State};
use sip_message::{ContactValue, HeaderName, Method, Uri};
use sip_proto::seal::Sealer;

use crate::setting::{number, text};

pub(crate) use token::FlowToken;

/// Keeps the flows of phones as an edge proxy does.
pub static MODULE: Module = Module {
    name: "outbound",
    doc: "Makes the server an edge proxy (RFC 5626 section 5): record_route() and add_path() name the flow by which a phone \
          is reached, and loose_route() finds it again. To be loaded before rr and path.",
    parameters: PARAMETERS,
    functions: &[USE_OUTBOUND, CHECK_FLOW_TOKEN],
    make,
    ..Module::EMPTY
};

const PARAMETERS: &[Parameter] = &[
    number("force_outbound_flag", "-1", "The message flag with which the flow is named whatever the request says."),
    number("force_no_outbound_flag", "-1", "The message flag with which it never is."),
    text(
        "flow_token_secret",
        "",
        "What flow tokens are sealed with. By default the secret in the data directory, which is made at the first start: \
         tokens outlive a restart.",
    ),
    text("flow_token_key", "", "Another name of flow_token_secret."),
];

const USE_OUTBOUND: Function = Function {
    name: "use_outbound",
    params: &[],
    routes: Routes::REQUEST,
    doc: "True when record_route() and add_path() will name the flow: a REGISTER straight from a phone whose Contact has \
          reg-id; else a request along a Route of ours with ob, or straight from a phone that supports outbound and whose \
          Contact has ob.",
    example: "if (use_outbound()) xlog(\"keeps the flow\\n\");",
    run: |call| {
        let outbound = call.shared_state::<Outbound>();
        outbound.is_used(call).into()
    },
};

const CHECK_FLOW_TOKEN: Function = Function {
    name: "check_flow_token",
    params: &[],
    routes: Routes::REQUEST,
    doc: "What the topmost Route says of a flow: 1 a token of ours; -1 there is no Route, -2 it names another server, -3 it \
          has no token, -4 it is none of ours, -7 it cannot be read. Whether the connection is still there t_relay() finds \
          out: the sender then gets 430.",
    example: "if (check_flow_token() < -3) { sl_send_reply(\"403\", \"Forbidden\"); exit; }",
    run: |call| {
        let outbound = call.shared_state::<Outbound>();
        let message = Arc::clone(&call.context.message);
        let Some(route) = message.routes().next() else { return Outcome::Value(-1) };
        let Some(uri) = route.ok().and_then(|route| route.parsed_uri().ok()) else { return Outcome::Value(-7) };
        if !is_own(call, &uri) {
            return Outcome::Value(-2);
        }
        match outbound.flow_of(&uri) {
            Ok(Some(_)) => Outcome::TRUE,
            Ok(None) => Outcome::Value(-3),
            Err(Forged) => Outcome::Value(-4),
        }
    },
};

/// The state of module outbound.
pub(crate) struct Outbound {
    sealer: Sealer,
    forcing: Option<u32>,
    forbidding: Option<u32>,
}

/// A token that this server has not made: to be answered with 403 (RFC 5626 section 5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Forged;

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let flag = |name: &str| u32::try_from(setup.int(name)).ok().filter(|flag| *flag < module_api::FLAG_COUNT);
    let name = if setup.text("flow_token_secret").is_empty() { "flow_token_key" } else { "flow_token_secret" };
    let secret = crate::secret::of_setting(setup, name)?;
    Ok(Arc::new(Outbound {
        sealer: Sealer::new(&secret, "flow token"),
        forcing: flag("force_outbound_flag"),
        forbidding: flag("force_no_outbound_flag"),
    }))
}

impl Outbound {
    /// Whether the request is one whose flow is to be named (RFC 5626 sections 5.1 and 5.3).
    pub(crate) fn is_used(&self, call: &Call<'_>) -> bool {
        let context = &*call.context;
        let has = |flag: Option<u32>| flag.is_some_and(|flag| context.has_flag(flag));
        if has(self.forbidding) || has(self.forcing) {
            return !has(self.forbidding);
        }
        let message = &context.message;
        let is_first_hop = message.values_of(HeaderName::Via).nth(1).is_none();
        let mut contacts = message.contacts().filter_map(|contact| match contact.ok()? {
            ContactValue::Address(address) => Some(address),
            ContactValue::Star => None,
        });
        if message.method() == Method::Register {
            return is_first_hop && contacts.any(|contact| contact.params.has("reg-id"));
        }
        let marked = |uri: Option<Uri<'_>>| uri.is_some_and(|uri| uri.params.has("ob"));
        self.own_route(call).is_some()
            || (is_first_hop
                && message.has_token(HeaderName::Supported, "outbound")
                && contacts.any(|contact| marked(contact.parsed_uri().ok())))
    }

    /// The user part that names the flow: that of the Route which the request came along, for the flow is that of the
    /// phone at its end, else the flow by which it came.
    pub(crate) fn user(&self, call: &Call<'_>) -> Option<Bytes> {
        if call.context.message.method() != Method::Register
            && let Some(user) = self.own_route(call)
        {
            return Some(user);
        }
        self.sealer.seal(&FlowToken::of(&call.context.arrival).to_bytes()).map(Bytes::from)
    }

    /// The flow that a URI of ours names: in its user part, where it has `ob`.
    pub(crate) fn flow_of(&self, uri: &Uri<'_>) -> Result<Option<FlowToken>, Forged> {
        let Some(user) = uri.user.filter(|_| uri.params.has("ob")) else { return Ok(None) };
        let token = self.sealer.open(user).and_then(|bytes| FlowToken::from_bytes(&bytes));
        token.map(Some).ok_or(Forged)
    }

    /// The user part of the topmost Route, where it is ours and names a flow.
    fn own_route(&self, call: &Call<'_>) -> Option<Bytes> {
        let route = call.context.message.routes().next()?.ok()?;
        let uri = route.parsed_uri().ok().filter(|uri| is_own(call, uri))?;
        self.flow_of(&uri).ok()??;
        uri.user.map(Bytes::copy_from_slice)
    }
}

fn is_own(call: &Call<'_>, uri: &Uri<'_>) -> bool {
    call.host.is_myself(uri.host_text, uri.port, uri.transport())
}

#[cfg(test)]
mod tests;
