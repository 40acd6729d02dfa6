//! Gateways by the prefix of what is dialled, the least costly first.

mod choose;
mod table;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use module_api::{Command, Function, Module, Param, ParamKind, Parameter, Routes, Setup, SetupError, State};

use crate::rows::{DB_URL, reloaded};
use crate::setting::{attribute, ignored, number, text};
use table::{Sources, Table};

/// Gateways by prefix.
pub static MODULE: Module = Module {
    name: "lcr",
    doc: "Chooses gateways by the prefix of the number that is dialled and by their priority, and tries them one after the other.",
    parameters: PARAMETERS,
    functions: &[LOAD, NEXT, DEFUNCT, FROM, FROM_ANY, TO, TO_ANY],
    commands: &[Command {
        name: "lcr.reload",
        aliases: &[],
        doc: "Reads gateways and rules again. When they cannot be read, those that are there stay.",
        result: "Nothing.",
        example: "lcr.reload",
        run: |call| {
            let lcr = call.shared_state::<Lcr>();
            reloaded(async move { lcr.reload().await })
        },
        ..Command::EMPTY
    }],
    make,
    ..Module::EMPTY
};

const PARAMETERS: &[Parameter] = &[
    DB_URL,
    text("lcr_rule_table", "lcr_rule", "The table of rules."),
    text("lcr_rule_target_table", "lcr_rule_target", "The table that says which gateways a rule leads to."),
    text("lcr_gw_table", "lcr_gw", "The table of gateways."),
    number("lcr_count", "1", "How many sets of rules there are; they are numbered from 1."),
    number("priority_ordering", "0", "1 orders gateways by priority alone; 0 has longer prefixes come before."),
    number("defunct_capability", "0", "1 lets defunct_gw() leave a gateway out."),
    number(
        "dont_strip_or_prefix_flag",
        "-1",
        "A message flag; where it is set, gateways neither take digits off nor put any on.",
    ),
    text("tag_avp", "", "The attribute, such as $avp(tag), that gets the tag of the gateway in question."),
    text("flags_avp", "", "The attribute that gets the flags of the gateway in question."),
    text("rule_id_avp", "", "The attribute that gets the number of the rule by which next_gw() chose."),
    text("lcr_id_avp", "", "The attribute that gets the set of the gateway that next_gw() chose."),
    ignored("gw_uri_avp", "Has no effect: what load_gws() has found is kept with the request."),
    ignored("ruri_user_avp", "Has no effect: the user that was dialled is kept with the request."),
    ignored("defunct_gw_avp", "Has no effect: the gateway chosen last is kept with the request."),
    ignored("mt_pv_values", "Has no effect: rules by mtree are not followed."),
    ignored("mtree", "Has no effect: rules by mtree are not followed."),
    ignored("lcr_rule_hash_size", "Has no effect."),
    ignored("lcr_gw_count", "Has no effect: there is no such bound."),
    ignored("fetch_rows", "Has no effect."),
];

const SET: Param = Param::required("set", ParamKind::Int);
const ADDRESS: Param = Param::optional("address", ParamKind::Format);
const TRANSPORT: Param = Param::optional("transport", ParamKind::Int);

const LOAD: Function = Function {
    name: "load_gws",
    params: &[
        SET,
        Param::optional("user", ParamKind::Format),
        Param::optional("caller", ParamKind::Format),
        Param::optional("uri", ParamKind::Format),
    ],
    routes: Routes::REQUESTS,
    doc: "Finds the gateways for a user, that of the Request-URI where none is given: those of the rules of a set whose prefix it \
          begins with and whose patterns fit the caller and the Request-URI. Longer prefixes come first, then lower numbers of \
          priority, then chance by weight; each gateway comes once. 1 when there is one, 2 when there is none.",
    example: "if (load_gws(1, \"$rU\", \"$fu\") != 1) { send_reply(\"503\", \"No Gateway\"); exit; }",
    run: choose::load,
};

const NEXT: Function = Function {
    name: "next_gw",
    params: &[],
    routes: Routes::REQUESTS,
    doc: "Makes the next of the gateways that load_gws() has found the target: digits are taken off and put on as the gateway \
          wants, host, port, transport and parameters are its own. False when none is left.",
    example: "failure_route[GW] { if (t_check_status(\"408|5..\") && next_gw()) { t_on_failure(\"GW\"); t_relay(); } }",
    run: choose::next,
};

const DEFUNCT: Function = Function {
    name: "defunct_gw",
    params: &[Param::required("seconds", ParamKind::Int)],
    routes: Routes::REQUESTS.or(Routes::REPLIES),
    doc: "Leaves the gateway that next_gw() chose last out for so many seconds. False without defunct_capability, or when none was \
          chosen.",
    example: "failure_route[GW] { if (t_check_status(\"408\")) defunct_gw(60); }",
    run: choose::defunct,
};

const FROM: Function = Function {
    name: "from_gw",
    params: &[SET, ADDRESS, TRANSPORT, Param::optional("port", ParamKind::Int)],
    routes: Routes::ANY,
    doc: "True when the message comes from a gateway of a set, or when an address, transport (1 UDP, 2 TCP, 3 TLS) and port are \
          those of one. A gateway without a transport of its own has any.",
    example: "if (from_gw(1)) setflag(5);",
    run: |call| choose::is_source(call, Some(0), 1),
};

const FROM_ANY: Function = Function {
    name: "from_any_gw",
    params: &[ADDRESS, TRANSPORT, Param::optional("port", ParamKind::Int)],
    routes: Routes::ANY,
    doc: "As from_gw(), for all sets: returns the number of the set.",
    example: "if (from_any_gw()) setflag(5);",
    run: |call| choose::is_source(call, None, 0),
};

const TO: Function = Function {
    name: "to_gw",
    params: &[SET, ADDRESS, TRANSPORT],
    routes: Routes::REQUESTS,
    doc: "True when the host of the Request-URI, or an address, is that of a gateway of a set, with its transport.",
    example: "if (to_gw(1)) t_relay();",
    run: |call| choose::is_target(call, Some(0), 1),
};

const TO_ANY: Function = Function {
    name: "to_any_gw",
    params: &[ADDRESS, TRANSPORT],
    routes: Routes::REQUESTS,
    doc: "As to_gw(), for all sets: returns the number of the set.",
    example: "if (to_any_gw()) t_relay();",
    run: |call| choose::is_target(call, None, 0),
};

/// The state of the module.
struct Lcr {
    sources: Sources,
    table: RwLock<Arc<Table>>,
    orders_by_priority: bool,
    can_leave_out: bool,
    untouched_flag: Option<u32>,
    attributes: AttributeNames,
    /// Gateways left out for a while, by their number.
    left_out: Mutex<HashMap<i64, Instant>>,
}

/// Where facts about a gateway go.
#[derive(Default)]
struct AttributeNames {
    tag: Option<Bytes>,
    flags: Option<Bytes>,
    rule: Option<Bytes>,
    set: Option<Bytes>,
}

impl Lcr {
    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn reload(&self) -> Result<(), String> {
        let table = self.sources.read().await?;
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
        Ok(())
    }

    fn leave_out(&self, gateway: i64, now: Instant, time: Duration) {
        let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        left_out.retain(|_, until| *until > now);
        left_out.insert(gateway, now + time);
    }

    fn is_left_out(&self, gateway: i64, now: Instant) -> bool {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner).get(&gateway).is_some_and(|until| *until > now)
    }
}

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let named = |name: &'static str| attribute(&setup.text(name)).map_err(|cause| SetupError::Setting { name, cause });
    let sources = Sources::at(setup)?;
    let table = sources.read_at_start(setup)?;
    Ok(Arc::new(Lcr {
        table: RwLock::new(Arc::new(table)),
        sources,
        orders_by_priority: setup.int("priority_ordering") != 0,
        can_leave_out: setup.int("defunct_capability") != 0,
        untouched_flag: u32::try_from(setup.int("dont_strip_or_prefix_flag")).ok(),
        attributes: AttributeNames {
            tag: named("tag_avp")?,
            flags: named("flags_avp")?,
            rule: named("rule_id_avp")?,
            set: named("lcr_id_avp")?,
        },
        left_out: Mutex::default(),
    }))
}

/// An address as tables and URIs write it, with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    text.trim().trim_start_matches('[').trim_end_matches(']').parse().ok()
}
