//! Choosing gateways for a request, and going on to the next.

use std::sync::Arc;

use bytes::Bytes;
use module_api::{
    Call, Content, Function, Outcome, Param, ParamKind, Record, RecordKind, Routes, Target as Destination, Value,
};
use sip_message::{AuthParams, HeaderName, Message, NameAddr, Uri};

use super::Dispatcher;
use super::choose::{By, choose, hash};
use super::target::Target;
use crate::rewrite;

const WHERE: Routes = Routes::REQUEST.or(Routes::FAILURE).or(Routes::of(module_api::RouteKind::Branch));
const SET_AND_ALGORITHM: &[Param] = &[
    Param::required("set", ParamKind::Int),
    Param::required("algorithm", ParamKind::Int),
    Param::optional("limit", ParamKind::Int),
];

pub(super) const SELECT_DST: Function = Function {
    name: "ds_select_dst",
    params: SET_AND_ALGORITHM,
    routes: WHERE,
    doc: "Chooses a gateway of a set and makes it the next hop ($du). Algorithms: 0 by Call-ID, 1 by From, 2 by To, 3 by \
          Request-URI, 4 in turn, 5 by digest user, 6 by chance, 8 the first, 9 by weight, 10 fewest calls, 11 by relative \
          weight, 12 all at once, 13 by latency. With flag 2 the others are kept for ds_next_dst(), at most so many as the \
          limit says.",
    example: "if (!ds_select_dst(1, 4)) { send_reply(\"503\", \"No Gateway\"); exit; }",
    run: |call| select(call, Use::Destination),
};

pub(super) const SELECT_DOMAIN: Function = Function {
    name: "ds_select_domain",
    params: SET_AND_ALGORITHM,
    routes: WHERE,
    doc: "As ds_select_dst(), and puts the gateway into the host and port of the Request-URI.",
    example: "ds_select_domain(1, 4);",
    run: |call| select(call, Use::Domain),
};

pub(super) const SELECT: Function = Function {
    name: "ds_select",
    params: SET_AND_ALGORITHM,
    routes: Routes::ANY,
    doc: "Chooses gateways as ds_select_dst() and only keeps them, for ds_set_dst(), ds_next_dst() and $xavp(_dsdst_).",
    example: "ds_select(1, 9); ds_set_dst();",
    run: |call| select(call, Use::Nothing),
};

pub(super) const SELECT_ROUTES: Function = Function {
    name: "ds_select_routes",
    params: &[
        Param::required("rules", ParamKind::Format),
        Param::required("mode", ParamKind::Format),
        Param::optional("limit", ParamKind::Int),
    ],
    routes: WHERE,
    doc: "Chooses from several sets, one after the other: rules are set=algorithm, separated by `;`. Mode d makes the first \
          the next hop, mode r puts it into the Request-URI, any other only keeps them.",
    example: "ds_select_routes(\"1=4;2=8\", \"d\");",
    run: select_routes,
};

pub(super) const SET_DST: Function = plain(
    "ds_set_dst",
    "Makes the gateway that has been chosen the next hop.",
    "ds_select(1, 9); ds_set_dst();",
    |call| apply_current(call, Use::Destination),
);

pub(super) const SET_DOMAIN: Function = plain(
    "ds_set_domain",
    "Puts the gateway that has been chosen into the Request-URI.",
    "ds_select(1, 9); ds_set_domain();",
    |call| apply_current(call, Use::Domain),
);

pub(super) const NEXT_DST: Function = plain(
    "ds_next_dst",
    "Makes the next of the gateways that were kept the next hop. False when none is left.",
    "failure_route[GW] { if (t_check_status(\"5..|408\") && ds_next_dst()) { t_on_failure(\"GW\"); t_relay(); } }",
    |call| next(call, Use::Destination),
);

pub(super) const NEXT_DOMAIN: Function = plain(
    "ds_next_domain",
    "Puts the next of the gateways that were kept into the Request-URI. False when none is left.",
    "failure_route[GW] { if (ds_next_domain()) t_relay(); }",
    |call| next(call, Use::Domain),
);

const fn plain(
    name: &'static str,
    doc: &'static str,
    example: &'static str,
    run: fn(&mut Call<'_>) -> Outcome,
) -> Function {
    Function { name, params: &[], routes: WHERE, doc, example, run }
}

/// What is done with a gateway.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Destination,
    Domain,
    Nothing,
}

fn select(call: &mut Call<'_>, usage: Use) -> Outcome {
    let (set, algorithm) = (call.int(0).unwrap_or(0), call.int(1).unwrap_or(0));
    let limit = call.int(2);
    let state: &Dispatcher = call.state();
    if usage == Use::Destination && !state.settings.overwrites_destination && call.context.target.destination.is_some()
    {
        return Outcome::FALSE;
    }
    match chosen(call, set, algorithm) {
        Err(outcome) => outcome,
        Ok(targets) => {
            if algorithm == PARALLEL {
                fork(call, &targets);
            }
            keep_and_apply(call, targets, limit, usage, algorithm)
        }
    }
}

fn select_routes(call: &mut Call<'_>) -> Outcome {
    let rules = call.text(0);
    let mut all = Vec::new();
    for rule in rules.split(|byte| *byte == b';').filter(|rule| !rule.trim_ascii().is_empty()) {
        let text = String::from_utf8_lossy(rule);
        let halves = text.split_once('=').map(|(set, by)| (set.trim().parse::<i64>(), by.trim().parse::<i64>()));
        let Some((Ok(set), Ok(algorithm))) = halves else {
            return Outcome::fail(format!("ds_select_routes: `{text}` is not set=algorithm"));
        };
        match chosen(call, set, algorithm) {
            Ok(targets) => all.extend(targets),
            Err(Outcome::Value(_)) => {}
            Err(outcome) => return outcome,
        }
    }
    let usage = match call.text(1).first() {
        Some(b'd' | b'D' | b'0') => Use::Destination,
        Some(b'r' | b'R' | b'1') => Use::Domain,
        _ => Use::Nothing,
    };
    let limit = call.int(2);
    keep_and_apply(call, all, limit, usage, 0)
}

const PARALLEL: i64 = 12;
const BY_LOAD: i64 = 10;

/// The gateways for the request, the first one first.
fn chosen(call: &mut Call<'_>, set: i64, algorithm: i64) -> Result<Vec<Arc<Target>>, Outcome> {
    let state: &Dispatcher = call.state();
    let by = by(call, algorithm)?;
    let sets = state.sets();
    let Some(set) = sets.0.get(&set) else { return Err(Outcome::FALSE) };
    let mut targets = choose(set, by);
    if targets.is_empty()
        && state.settings.use_default
        && let Some(last) = set.targets.last()
    {
        targets.push(Arc::clone(last));
    }
    if targets.is_empty() { Err(Outcome::FALSE) } else { Ok(targets) }
}

fn by(call: &mut Call<'_>, algorithm: i64) -> Result<By, Outcome> {
    let is_user_only = call.state::<Dispatcher>().settings.hashes_user_only;
    let message = &call.context.message;
    let of_uri = |uri: Option<&[u8]>| uri.map_or(By::Turn, |uri| By::Hash(hash(&hashed_part(uri, is_user_only))));
    let of_header = |name: HeaderName| {
        let value = message.value(name)?;
        NameAddr::parse(value).ok().map(|name| name.uri)
    };
    Ok(match algorithm {
        0 => By::Hash(hash(message.call_id())),
        1 => of_uri(of_header(HeaderName::From)),
        2 => of_uri(of_header(HeaderName::To)),
        3 => of_uri(Some(&call.context.target.uri)),
        4 => By::Turn,
        // Without credentials there is nothing to tell callers apart by.
        5 => digest_user(message).map_or(By::Turn, |user| By::Hash(hash(user))),
        6 => By::Chance(call.host.random()),
        8 => By::First,
        9 => By::Weight,
        BY_LOAD => By::Load,
        11 => By::RelativeWeight,
        PARALLEL => By::All,
        13 => By::Latency,
        _ => return Err(Outcome::fail(format!("dispatcher knows no algorithm {algorithm}; 0 to 6 and 8 to 13 exist"))),
    })
}

/// What of a URI tells users apart: user and host with its port, or the user alone.
fn hashed_part(uri: &[u8], is_user_only: bool) -> Vec<u8> {
    let Ok(parsed) = Uri::parse(uri) else { return uri.to_vec() };
    let user = parsed.user.unwrap_or_default();
    if is_user_only && !user.is_empty() {
        return user.to_vec();
    }
    let port = parsed.port.filter(|port| *port != 5060).map(|port| format!(":{port}")).unwrap_or_default();
    [user, b"@", &parsed.host_text.to_ascii_lowercase(), port.as_bytes()].concat()
}

fn digest_user(message: &Message) -> Option<&[u8]> {
    let value = message.value(HeaderName::Authorization).or_else(|| message.value(HeaderName::ProxyAuthorization))?;
    AuthParams::parse(value)?.find("username").map(|user| user.strip_prefix(b"\"").unwrap_or(user))
}

/// Further branches to all gateways but the first.
fn fork(call: &mut Call<'_>, targets: &[Arc<Target>]) {
    let uri = call.context.target.uri.clone();
    for target in &targets[1..] {
        let branch = Destination { destination: Some(target.uri.clone()), ..Destination::new(uri.clone()) };
        call.context.branches.push(branch);
    }
}

fn keep_and_apply(
    call: &mut Call<'_>,
    mut targets: Vec<Arc<Target>>,
    limit: Option<i64>,
    usage: Use,
    algorithm: i64,
) -> Outcome {
    if targets.is_empty() {
        return Outcome::FALSE;
    }
    let state: &Dispatcher = call.state();
    let is_one = algorithm == PARALLEL || !(state.settings.keeps_others || usage == Use::Nothing);
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
    targets.truncate(if is_one { 1 } else { limit.unwrap_or(MOST_KEPT).min(MOST_KEPT) });
    let records = &mut call.context.records;
    records.remove(RecordKind::Stacked, &state.settings.destinations);
    records.remove(RecordKind::Stacked, &state.settings.context);
    // The last pushed is read first.
    for target in targets.iter().rev() {
        records.push(RecordKind::Stacked, record_of(&state.settings.destinations, target));
    }
    let mut about = Record::empty(state.settings.context.clone());
    about.fields_mut().push(Bytes::from_static(b"cnt"), Value::Int(targets.len() as i64));
    about.fields_mut().push(Bytes::from_static(b"setid"), Value::Int(targets[0].set));
    about.fields_mut().push(Bytes::from_static(b"alg"), Value::Int(algorithm));
    records.push(RecordKind::Stacked, about);
    if algorithm == BY_LOAD {
        let expires = call.host.unix_time() + state.settings.call_lifetime;
        state.calls.begin(Bytes::copy_from_slice(call.context.message.call_id()), &targets[0], expires);
    }
    apply(call, &targets[0], usage)
}

/// Nobody waits for more failures than this.
const MOST_KEPT: usize = 64;

fn record_of(name: &Bytes, target: &Target) -> Record {
    let mut record = Record { name: name.clone(), content: Content::Fields(Default::default()) };
    let fields = record.fields_mut();
    fields.push(Bytes::from_static(b"uri"), Value::Str(target.uri.clone()));
    fields.push(Bytes::from_static(b"grp"), Value::Int(target.set));
    fields.push(Bytes::from_static(b"dsttype"), Value::Int(0));
    for (key, value) in [("attrs", &target.attrs.text), ("sock", &target.attrs.socket), ("duid", &target.attrs.id)] {
        if !value.is_empty() {
            fields.push(Bytes::from_static(key.as_bytes()), Value::Str(value.clone()));
        }
    }
    record
}

/// The gateway that the request has been given last.
pub(super) fn current(call: &Call<'_>) -> Option<Arc<Target>> {
    let state: &Dispatcher = call.state();
    let record = call.context.records.all(RecordKind::Stacked, &state.settings.destinations).next()?;
    let (uri, set) = (record.field(b"uri")?.to_bytes(), record.field(b"grp")?.to_int());
    let sets = state.sets();
    sets.0.get(&set)?.targets.iter().find(|target| target.uri == uri).cloned()
}

fn apply_current(call: &mut Call<'_>, usage: Use) -> Outcome {
    match current(call) {
        Some(target) => apply(call, &target, usage),
        None => Outcome::FALSE,
    }
}

fn next(call: &mut Call<'_>, usage: Use) -> Outcome {
    let state: &Dispatcher = call.state();
    let name = state.settings.destinations.clone();
    loop {
        if call.context.records.remove_at(RecordKind::Stacked, &name, 0).is_none() {
            return Outcome::FALSE;
        }
        if call.context.records.all(RecordKind::Stacked, &name).next().is_none() {
            return Outcome::FALSE;
        }
        // One that has failed meanwhile, or is no longer on the list, is passed over.
        if let Some(target) = current(call).filter(|target| target.is_active()) {
            state.calls.change(call.context.message.call_id(), &target);
            return apply(call, &target, usage);
        }
    }
}

fn apply(call: &mut Call<'_>, target: &Target, usage: Use) -> Outcome {
    match usage {
        Use::Nothing => return Outcome::TRUE,
        Use::Destination => {
            let proxy = Some(&target.attrs.outbound_proxy).filter(|proxy| !proxy.is_empty());
            call.context.set_destination(Some(proxy.unwrap_or(&target.uri).clone()));
        }
        Use::Domain => {
            let host_port = [&target.host[..], b":", target.port.to_string().as_bytes()].concat();
            let Some(uri) = rewrite::with_host_port(&call.context.target.uri, &host_port) else {
                return Outcome::fail("the Request-URI cannot be rewritten");
            };
            call.context.set_uri(uri);
        }
    }
    if !target.attrs.socket.is_empty() {
        call.context.target.socket = crate::core::socket_named(call, &target.attrs.socket);
    }
    Outcome::TRUE
}
