//! Gateways by group of callers, prefix of the number and time of day.

mod choose;
mod table;

use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use module_api::{Command, Function, Module, Param, ParamKind, Parameter, Routes, Setup, SetupError, State};

use crate::rows::{DB_URL, reloaded};
use crate::setting::{attribute, ignored, number, text};
use table::{Sources, Table};

/// Gateways by group, prefix and time.
pub static MODULE: Module = Module {
    name: "drouting",
    doc: "Chooses gateways by the group of the caller, the prefix of the number and the time of day, and tries them one after the \
          other.",
    parameters: PARAMETERS,
    functions: &[ROUTING, NEXT, crate::also("next_routing", NEXT), FROM, FROM_TYPE],
    commands: &[Command {
        name: "drouting.reload",
        aliases: &["dr_reload"],
        doc: "Reads gateways, rules and groups again. When they cannot be read, those that are there stay.",
        result: "Nothing.",
        example: "drouting.reload",
        run: |call| {
            let routing = call.shared_state::<Routing>();
            reloaded(async move { routing.reload().await })
        },
        ..Command::EMPTY
    }],
    make,
    ..Module::EMPTY
};

const PARAMETERS: &[Parameter] = &[
    DB_URL,
    text("drd_table", "dr_gateways", "The table of gateways."),
    text("drr_table", "dr_rules", "The table of rules."),
    text("drl_table", "dr_gw_lists", "The table of lists of gateways, which rules name as #NUMBER."),
    text("drg_table", "dr_groups", "The table that says which group a caller belongs to."),
    text("drg_user_col", "username", "The column of callers in that table."),
    text("drg_domain_col", "domain", "The column of the callers' domains."),
    text("drg_grpid_col", "groupid", "The column of groups."),
    number("use_domain", "1", "0 tells callers of different domains not apart."),
    number(
        "sort_order",
        "0",
        "0 tries gateways as a rule lists them; 1 mixes those between two semicolons; 2 tries one of them by chance.",
    ),
    text("attrs_avp", "", "The attribute, such as $avp(attrs), that gets the attributes of the gateway in question."),
    ignored("ruri_avp", "Has no effect: what do_routing() has found is kept with the request."),
    ignored("force_dns", "Has no effect: names are looked up when a request goes there."),
    ignored("fetch_rows", "Has no effect."),
    ignored("enable_keepalive", "Has no effect: module dispatcher asks whether gateways are alive."),
];

const ROUTING: Function = Function {
    name: "do_routing",
    params: &[Param::optional("group", ParamKind::Int)],
    routes: Routes::REQUESTS,
    doc: "Makes the first gateway for the user of the Request-URI the target, and keeps the others for use_next_gw(). The rule is \
          that of the group with the longest prefix whose time it is, the highest priority deciding among several. Without a \
          group that of the caller in From counts. A rule may run a route first. False when there is no rule.",
    example: "if (!do_routing(1)) { send_reply(\"503\", \"No Gateway\"); exit; }",
    run: choose::route,
};

const NEXT: Function = Function {
    name: "use_next_gw",
    params: &[],
    routes: Routes::REQUESTS,
    doc: "Makes the next of the gateways that do_routing() has found the target. False when none is left.",
    example: "failure_route[GW] { if (t_check_status(\"408|5..\") && use_next_gw()) { t_on_failure(\"GW\"); t_relay(); } }",
    run: choose::next,
};

const FROM: Function = Function {
    name: "is_from_gw",
    params: &[],
    routes: Routes::ANY,
    doc: "True when the message comes from the address of a gateway.",
    example: "if (is_from_gw()) setflag(5);",
    run: |call| choose::is_source(call, None),
};

const FROM_TYPE: Function = Function {
    name: "is_from_gw",
    params: &[Param::required("type", ParamKind::Int), Param::optional("flags", ParamKind::Int)],
    routes: Routes::ANY,
    doc: "True when the message comes from the address of a gateway of that type; the flags count for nothing.",
    example: "if (is_from_gw(7)) setflag(5);",
    run: |call| {
        let kind = call.int(0);
        choose::is_source(call, kind)
    },
};

/// The state of the module.
struct Routing {
    sources: Sources,
    table: RwLock<Arc<Table>>,
    order: Order,
    uses_domain: bool,
    attributes: Option<Bytes>,
}

/// In which order the gateways of a rule are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    AsListed,
    Mixed,
    OneOfEach,
}

impl Routing {
    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn reload(&self) -> Result<(), String> {
        let table = self.sources.read().await?;
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
        Ok(())
    }
}

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let sources = Sources::at(setup)?;
    let table = sources.read_at_start(setup)?;
    let wrong = |name: &'static str, cause: String| SetupError::Setting { name, cause };
    Ok(Arc::new(Routing {
        sources,
        table: RwLock::new(Arc::new(table)),
        order: match setup.int("sort_order") {
            0 => Order::AsListed,
            1 => Order::Mixed,
            2 => Order::OneOfEach,
            _ => return Err(wrong("sort_order", "must be 0, 1 or 2".to_owned())),
        },
        uses_domain: setup.int("use_domain") != 0,
        attributes: attribute(&setup.text("attrs_avp")).map_err(|cause| wrong("attrs_avp", cause))?,
    }))
}
