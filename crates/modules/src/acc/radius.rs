//! Accounting to RADIUS servers: module acc_radius.
//!
//! A record is on the disk before the reply that it is about leaves, and goes from there to the first server that
//! acknowledges it. One that is sent again is the same but for Acct-Delay-Time, so that the server knows it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use module_api::{
    Call, Counter, Function, Happening, Level, Module, Outcome, Param, ParamKind, Parameter, Replied, Routes, Setup,
    SetupError, State, Statistic, StatisticKind,
};
use radius::attribute::{
    ACCT_DELAY_TIME, ACCT_SESSION_ID, ACCT_STATUS_TYPE, CALLED_STATION_ID, CALLING_STATION_ID, EVENT_TIMESTAMP,
    USER_NAME,
};
use radius::{AttributeId, Attributes, Client, Error, Service};
use sip_message::{Method, Uri};
use store::{Cell, ColumnName, Courier, Spool, TableName, Undelivered};

use super::facts::{Addresses, Event, Facts, Occasion};
use super::request::split;
use super::rules::{self, Elsewhere, Rules};
use super::settings::{Accounting, flag_of};
use crate::named_variable::NamedVariable;
use crate::radius_servers::{self, Servers};
use crate::setting::{ignored, number, text};
use crate::subject::Subject;

/// Accounting of transactions to RADIUS servers.
pub static RADIUS: Module = Module {
    name: "acc_radius",
    doc: "Tells RADIUS servers what became of transactions. A record is on the disk before the reply that it is about \
          leaves, and waits there until a server acknowledges it, however long they are away and whenever this server is \
          killed.",
    parameters: &PARAMETERS,
    functions: &[REQUEST],
    statistics: &STATISTICS,
    observe: Some(observe),
    make,
    ..Module::EMPTY
};

static PARAMETERS: [Parameter; 21] = {
    let (common, rules) = (radius_servers::PARAMETERS, rules::PARAMETERS);
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
        number("radius_flag", "-1", "The flag of requests that are accounted. In SER scripts 0 means none."),
        number("radius_missed_flag", "-1", "The flag of INVITEs that are accounted when they reach nobody."),
        number(
            "service_type",
            "-1",
            "The Service-Type of records; by default what the dictionary calls Sip-Session: 15.",
        ),
        text(
            "radius_extra",
            "",
            "More attributes, or other values of those that are there: Attribute-Name=$variable;Attribute-Name=$variable.",
        ),
        number(
            "spool_size",
            "4096",
            "How much may wait on the disk for servers that are away, in MB. Beyond it records go to the log.",
        ),
        rules[0],
        rules[1],
        rules[2],
        rules[3],
        rules[4],
        rules[5],
        ignored("rad_time_mode", "Has no effect: Event-Timestamp is in seconds."),
    ]
};

static STATISTICS: [Statistic; 10] = {
    let common = radius_servers::statistics("acc_radius");
    [
        common[0],
        common[1],
        common[2],
        common[3],
        common[4],
        common[5],
        common[6],
        common[7],
        Statistic {
            group: "acc_radius",
            name: "records",
            kind: StatisticKind::Counter,
            doc: "Records that were written down for RADIUS servers.",
        },
        Statistic {
            group: "acc_radius",
            name: "delivered",
            kind: StatisticKind::Counter,
            doc: "Records that a RADIUS server has acknowledged.",
        },
    ]
};

const REQUEST: Function = Function {
    name: "acc_rad_request",
    params: &[Param::required("comment", ParamKind::Format)],
    routes: Routes::REQUESTS,
    doc: "Writes a record of this request for the RADIUS servers. The comment is a status code and a reason, or words alone.",
    example: "acc_rad_request(\"404 Not found\");",
    run: |call| {
        let comment = call.text(0);
        let (code, reason) = split(&comment);
        write(call, &Event { occasion: Occasion::Requested, code, reason, to_tag: None });
        Outcome::TRUE
    },
};

/// The state of module acc_radius.
struct RadiusAccounting {
    servers: Servers,
    flag: Option<u32>,
    missed_flag: Option<u32>,
    rules: Rules,
    elsewhere: Elsewhere,
    service_type: u32,
    extra: Vec<(String, NamedVariable)>,
    spool: Spool,
    records: Counter,
}

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let servers = Servers::open(setup, Service::Accounting)?;
    // Kamailio's module takes the rules of module acc, SER's has its own.
    let base = setup.module::<Accounting>("acc").ok().map(|acc| acc.rules);
    let state = Arc::new(RadiusAccounting {
        flag: flag_of(setup, "radius_flag")?,
        missed_flag: flag_of(setup, "radius_missed_flag")?,
        rules: Rules::read(setup, base)?,
        elsewhere: Elsewhere::default(),
        service_type: servers.service_type(setup, "service_type", "Sip-Session")?,
        extra: servers.extra(setup, "radius_extra")?,
        spool: open_spool(setup, &servers.client)?,
        records: setup.counter("records"),
        servers,
    });
    radius_servers::show(setup, &state, radius_servers::figures!());
    Ok(state)
}

/// Makes the spool, and sets those of the past and this one to drain.
fn open_spool(setup: &Setup<'_>, client: &Client) -> Result<Spool, SetupError> {
    let root = setup.data_dir.join("acc_radius");
    let cannot = |error: std::io::Error| SetupError::Unavailable(format!("the spool {}: {error}", root.display()));
    // Whichever servers the script names now: to them goes what waits.
    let store::Orphans { drains, .. } = store::orphans(&root, TARGET).map_err(cannot)?;
    let limit = u64::try_from(setup.int("spool_size")).unwrap_or(0).max(1) << 20;
    let (spool, drain) = Spool::create(&root, TARGET, limit).map_err(cannot)?;
    let delivered = setup.counter("delivered");
    for drain in drains.into_iter().chain([drain]) {
        let log = Arc::clone(setup.log);
        let report = Arc::new(move |line: &str| log(Level::Error, &format!("RADIUS accounting: {line}")));
        (setup.spawn)(Box::pin(drain.forward(courier(client.clone(), delivered.clone()), report)));
    }
    Ok(spool)
}

/// Brings one record to a server.
fn courier(client: Client, delivered: Counter) -> Courier {
    Arc::new(move |row| {
        let (client, delivered) = (client.clone(), delivered.clone());
        Box::pin(async move {
            let mut attributes = read(&row).ok_or_else(|| Undelivered::Never("it cannot be read".into()))?;
            let time = row.iter().find_map(|(name, cell)| if name.as_str() == "time" { cell.to_int() } else { None });
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let delay =
                now.as_secs().saturating_sub(time.and_then(|time| u64::try_from(time).ok()).unwrap_or(now.as_secs()));
            // How long ago it happened (RFC 2866 section 5.2); a clock that was set back made it happen just now.
            attributes.push_int(ACCT_DELAY_TIME, u32::try_from(delay).unwrap_or(u32::MAX));
            match client.ask(attributes).await {
                Ok(_) => {
                    delivered.increment();
                    Ok(())
                }
                Err(error @ Error::TooLong(_)) => Err(Undelivered::Never(error.to_string())),
                Err(error) => Err(Undelivered::Later(error.to_string())),
            }
        })
    })
}

fn observe(call: &mut Call<'_>, happening: &Happening<'_>) {
    match happening {
        Happening::Replied(replied) => on_reply(call, replied),
        Happening::Failed { code, reply } => {
            let (reason, to_tag) = reply.map_or((&b""[..], None), |reply| (reply.reason(), reply.to_tag()));
            on_missed(call, &Event { occasion: Occasion::Missed, code: *code, reason, to_tag });
        }
        Happening::Acknowledged => {
            let state = call.state::<RadiusAccounting>();
            if state.rules.reports_acks && has_flag(call, state.flag) {
                write(call, &Event { occasion: Occasion::Acknowledged, code: 200, reason: b"", to_tag: None });
            }
        }
    }
}

fn on_reply(call: &mut Call<'_>, replied: &Replied<'_>) {
    let state = call.state::<RadiusAccounting>();
    state.elsewhere.note(call);
    if has_flag(call, state.flag) && state.rules.accounts(call, replied) {
        let (code, reason, to_tag) = (replied.code, replied.reason, Some(&replied.to_tag[..]));
        write(call, &Event { occasion: Occasion::Answered, code, reason, to_tag });
    }
}

/// The flag is taken off: each attempt is missed once.
fn on_missed(call: &mut Call<'_>, event: &Event<'_>) {
    let state = call.state::<RadiusAccounting>();
    let is_wanted = call.context.message.method() == Method::Invite && has_flag(call, state.missed_flag);
    if !is_wanted || state.elsewhere.take(call) {
        return;
    }
    write(call, event);
    if let Some(flag) = state.missed_flag {
        call.context.set_flag(flag, false);
    }
}

fn has_flag(call: &Call<'_>, flag: Option<u32>) -> bool {
    flag.is_some_and(|flag| call.context.has_flag(flag))
}

/// What a record is about (RFC 2866 section 5.1), as SER and Kamailio say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Start = 1,
    Stop = 2,
    Interim = 3,
    Failed = 15,
}

fn status(call: &Call<'_>, event: &Event<'_>) -> Status {
    let message = &call.context.message;
    let is_in_dialog = message.to_tag().is_some_and(|tag| !tag.is_empty());
    let is_success = event.occasion != Occasion::Missed && (200..300).contains(&event.code);
    match (message.method(), is_in_dialog) {
        (Method::Invite, false) if is_success => Status::Start,
        // However the other side took it: the call is over.
        (Method::Bye, _) => Status::Stop,
        (_, true) if is_success => Status::Interim,
        _ => Status::Failed,
    }
}

fn write(call: &mut Call<'_>, event: &Event<'_>) {
    let state = call.state::<RadiusAccounting>();
    let facts = Facts::of(call, event, state.rules);
    let status = status(call, event);
    let attributes = record(call, state, &facts, status);
    let row = [(name("attributes"), Cell::Text(hex(&attributes.to_bytes()))), (name("time"), Cell::Int(facts.time.0))];
    state.records.increment();
    if state.spool.append(&name(TARGET), &row).is_err() {
        // The log is the last place that may still take it.
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).replace(char::is_control, " ");
        let line = format!(
            "the spool of RADIUS accounting is full; {status:?}: time={};method={};from_tag={};to_tag={};call_id={};code={}",
            facts.time.0,
            text(&facts.method),
            text(&facts.from_tag),
            text(&facts.to_tag),
            text(&facts.call_id),
            facts.code
        );
        call.host.log(Level::Critical, line.as_bytes());
    }
}

fn record(call: &mut Call<'_>, state: &RadiusAccounting, facts: &Facts, status: Status) -> Attributes {
    let addresses = Addresses::of(call);
    let is_turned = state.rules.detects_direction && crate::rr::is_upstream(call);
    let (from, to) = (&addresses.from_uri, &addresses.to_uri);
    let (caller, callee) = if is_turned { (to, from) } else { (from, to) };
    let mut own = state.servers.question(call, state.service_type);
    own.push_int(ACCT_STATUS_TYPE, status as u32);
    own.push_clipped(ACCT_SESSION_ID, &facts.call_id);
    // Modulo 2^32, as the attribute's own end of time has it (RFC 2869 section 5.3).
    own.push_int(EVENT_TIMESTAMP, facts.time.0 as u32);
    own.push_clipped(USER_NAME, user(call, &addresses).as_bytes());
    own.push_clipped(CALLING_STATION_ID, caller);
    own.push_clipped(CALLED_STATION_ID, callee);
    own.push_int(SIP_METHOD, method_number(call.context.message.method()));
    own.push_int(SIP_RESPONSE_CODE, facts.code.parse().unwrap_or(0));
    own.push_clipped(
        SIP_CSEQ,
        call.context.message.cseq().map_or(String::new(), |cseq| cseq.number.to_string()).as_bytes(),
    );
    own.push_clipped(SIP_FROM_TAG, &facts.from_tag);
    own.push_clipped(SIP_TO_TAG, &facts.to_tag);
    own.push_clipped(SIP_TRANSLATED_REQUEST_URI, &addresses.outbound_uri);
    let mut extra = Attributes::new();
    state.servers.add_extra(call, &state.extra, &mut extra);
    // What the script says of an attribute replaces what is said here; an empty value says nothing (RFC 2865 section 5).
    let mut all = Attributes::new();
    let is_said = |id: AttributeId| extra.first(id).is_some();
    own.iter()
        .filter(|one| !one.value.is_empty() && !is_said(one.id))
        .for_each(|one| all.push_clipped(one.id, &one.value));
    extra.iter().filter(|one| !one.value.is_empty()).for_each(|one| all.push_clipped(one.id, &one.value));
    all
}

/// Who was verified, else who From says.
fn user(call: &Call<'_>, addresses: &Addresses) -> String {
    match Subject::verified(call.context) {
        Some(Subject { user, domain }) => format!("{user}@{domain}"),
        None => {
            let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
            let host = Uri::parse(&addresses.from_uri).map(|uri| text(uri.host_text)).unwrap_or_default();
            format!("{}@{host}", text(&addresses.user_part))
        }
    }
}

/// The numbers of SER and Kamailio, of which dictionaries have names for the first four.
fn method_number(method: Method) -> u32 {
    match method {
        Method::Invite => 1,
        Method::Cancel => 2,
        Method::Ack => 4,
        Method::Bye => 8,
        Method::Info => 16,
        Method::Register => 32,
        Method::Subscribe => 64,
        Method::Notify => 128,
        Method::Message => 256,
        Method::Options => 512,
        Method::Prack => 1024,
        Method::Update => 2048,
        Method::Refer => 4096,
        Method::Publish => 8192,
        _ => 16384,
    }
}

fn read(row: &[(ColumnName, Cell)]) -> Option<Attributes> {
    let text = row.iter().find(|(name, _)| name.as_str() == "attributes")?.1.to_text()?;
    let digits = text.as_bytes().chunks_exact(2);
    let octets =
        digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()).collect::<Option<Vec<_>>>();
    Attributes::parse(&octets?)
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn name(text: &str) -> TableName {
    TableName::new(text).expect("a literal name")
}

/// What the spool is for, whichever servers those are.
const TARGET: &str = "radius";
const SIP_METHOD: AttributeId = AttributeId::standard(101);
const SIP_RESPONSE_CODE: AttributeId = AttributeId::standard(102);
const SIP_CSEQ: AttributeId = AttributeId::standard(103);
const SIP_TO_TAG: AttributeId = AttributeId::standard(104);
const SIP_FROM_TAG: AttributeId = AttributeId::standard(105);
const SIP_TRANSLATED_REQUEST_URI: AttributeId = AttributeId::standard(107);
