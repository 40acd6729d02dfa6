//! What `modparam` can set about registration.

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Counter, Dialect, Parameter, PublicEvents, Setup, SetupError, State};
use sip_message::{NameAddr, Uri};
use sip_proto::gruu::Temporary;
use sip_proto::registrar::{Outbound, Policy};

use crate::setting::{attribute, ignored, number, text};
use crate::usrloc::Locations;

/// The state of module registrar.
pub(super) struct Registrar {
    pub(super) events: PublicEvents,
    pub(super) accepted: Counter,
    pub(super) rejected: Counter,
    pub(super) locations: Arc<Locations>,
    pub(super) policy: Policy,
    pub(super) path: PathUse,
    pub(super) appends_branches: bool,
    pub(super) is_case_sensitive: bool,
    pub(super) filters_methods: bool,
    /// The attribute in which the script leaves the source address of a phone behind NAT.
    pub(super) received: Option<Bytes>,
    /// The message flag that marks a phone behind NAT (SER).
    pub(super) nat_flag: Option<u32>,
    /// Makes temporary GRUUs; none where no GRUU is given out.
    pub(super) gruus: Option<Temporary>,
    /// The Service-Route line of a 200, or nothing (RFC 3608).
    pub(super) service_route: Vec<u8>,
    /// Seconds for Flow-Timer; 0 for none (RFC 5626 section 4.4).
    pub(super) flow_timer: u32,
    /// The parameter that shows phones their source address; empty for none.
    pub(super) received_param: String,
    /// Seconds for Retry-After of 5xx; 0 for none.
    pub(super) retry_after: u32,
    /// What domains begin with that does not count.
    pub(super) realm_prefix: String,
    pub(super) uses_path_received: bool,
    pub(super) skips_own_path: bool,
    /// The records that show contacts to the script, and which fields they lack.
    pub(super) shown: Option<(Bytes, i64)>,
    /// The record in which the script sets limits for one request.
    pub(super) limits: Option<Bytes>,
    /// The message flag that has the socket read from a header, and which.
    pub(super) socket_header: Option<(u32, String)>,
    /// By how many of a hundred parts lifetimes are shortened at random, default ones and others.
    pub(super) spread: (u8, u8),
}

/// What becomes of the Path of a REGISTER (RFC 3327).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PathUse {
    Ignored,
    /// Kept, and not mentioned in the reply.
    Kept,
    /// Kept, and confirmed to phones that know it.
    Confirmed,
    /// As confirmed, and refused to phones that do not know it.
    Demanded,
}

pub(super) static PARAMETERS: [Parameter; 35] = [
    number("default_expires", "3600", "Seconds that a contact lives which asks for no time."),
    number("min_expires", "60", "The shortest life in seconds; what becomes of shorter wishes says min_expires_mode."),
    number(
        "min_expires_mode",
        "1",
        "1 refuses a life that is too short with 423 (RFC 3261 section 10.3), 0 makes it longer.",
    ),
    number("max_expires", "0", "The longest life in seconds; longer wishes are shortened. 0: a year."),
    number("max_contacts", "0", "The most contacts of one address; beyond it a REGISTER is refused with 403. 0: 100."),
    number("use_path", "0", "1 keeps the Path of a REGISTER (RFC 3327)."),
    number(
        "path_mode",
        "2",
        "With use_path: 0 keeps Path silently, 1 confirms it to phones that know it, 2 refuses phones that do not.",
    ),
    number("append_branches", "1", "1 has lookup() use every contact, 0 the best alone."),
    number("case_sensitive", "0", "1 tells Alice from alice."),
    number("method_filtering", "0", "1 has lookup() pass over contacts whose Allow lacks the request's method."),
    text(
        "received_avp",
        "",
        "The attribute, as $avp(NAME), in which the script leaves the source address of phones behind NAT.",
    ),
    number(
        "nat_flag",
        "-1",
        "The message flag that marks a phone behind NAT: save() keeps it, lookup() sets it (SER).",
    ),
    number(
        "default_q",
        "-1",
        "The preference of contacts that name none, in thousandths; -1: they count as 1 (RFC 3261 section 20.10).",
    ),
    ignored("desc_time_order", "Has no effect here: usrloc has the same parameter."),
    ignored("use_domain", "Has no effect here: usrloc has the same parameter."),
    number(
        "gruu_enabled",
        "1",
        "1 gives a public and a temporary GRUU to contacts with +sip.instance whose phone supports gruu, and has lookup() \
         find them (RFC 5627). In scripts of SER's family it is 0 unless it is set.",
    ),
    text(
        "gruu_secret",
        "",
        "What temporary GRUUs are sealed with; servers that share it know each other's. By default the secret in the data \
         directory, which is made at the first start.",
    ),
    number(
        "outbound_mode",
        "0",
        "0 does nothing about outbound and refuses who requires it with 420; 1 does what RFC 5626 says for phones that \
         support it; 2 refuses all others with 421.",
    ),
    number(
        "regid_mode",
        "1",
        "1 has +sip.instance and reg-id name a contact also where outbound is not used, so that a phone that comes back \
         from another address replaces its contact; with 0 only the URI of the contact counts then, as in Kamailio.",
    ),
    number(
        "flow_timer",
        "0",
        "Seconds for the Flow-Timer of a 200 that uses outbound (RFC 5626 section 4.4). 0: none.",
    ),
    text(
        "service_route",
        "",
        "The Service-Route of every 200: one or several URIs in angle brackets, between commas (RFC 3608).",
    ),
    text(
        "realm_prefix",
        "",
        "What domains of addresses begin with that does not count: with \"sip.\" sip.example.com is example.com.",
    ),
    text(
        "xavp_rcd",
        "",
        "The record that save(), lookup() and registered() fill with the contacts they have to do with: \
         $xavp(NAME[0]=>ruid), contact, expires, received and path.",
    ),
    number(
        "xavp_rcd_mask",
        "0",
        "Which fields xavp_rcd leaves out: 1 ruid, 2 contact, 4 expires, 8 received, 16 path.",
    ),
    text(
        "xavp_cfg",
        "",
        "The record in which the script sets what counts for this request alone: $xavp(NAME=>max_contacts), q and socket for \
         save(), match_callid, match_received and match_contact for registered().",
    ),
    ignored("sock_mode", "Has no effect: sockets are named by their addresses."),
    number(
        "sock_flag",
        "-1",
        "The message flag that has save() take the socket from the header that sock_hdr_name names.",
    ),
    text(
        "sock_hdr_name",
        "",
        "The header that says, as proto:address:port, at which socket a REGISTER arrived; see sock_flag.",
    ),
    text(
        "received_param",
        "",
        "The parameter of a contact in a 200 that shows where a phone behind NAT was seen. Empty: it is not shown.",
    ),
    number("retry_after", "0", "Seconds for the Retry-After of a 5xx. 0: 10 where the database is away, else none."),
    number("default_expires_range", "0", "By up to so many percent default_expires is shortened at random."),
    number("expires_range", "0", "By up to so many percent a lifetime that was asked for is shortened at random."),
    number(
        "path_use_received",
        "0",
        "1 takes the received parameter of the topmost Path as the address to reach the phone at, and sets nat_bflag.",
    ),
    number("path_check_local", "0", "1 has lookup() leave out the topmost Path where it names this server."),
    number("contact_max_size", "512", "Most bytes of a contact's URI; a longer one is refused with 400."),
];

const YEAR: u32 = 31_536_000;
const MANY_CONTACTS: u32 = 100;

pub(super) fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let locations = setup.module::<Locations>("usrloc")?;
    let path = match (setup.int("use_path"), setup.int("path_mode")) {
        (0, _) => PathUse::Ignored,
        (_, 0) => PathUse::Kept,
        (_, 1) => PathUse::Confirmed,
        _ => PathUse::Demanded,
    };
    let or = |number: u32, instead: u32| if number == 0 { instead } else { number };
    let outbound = match setup.int("outbound_mode") {
        0 => Outbound::Off,
        1 => Outbound::Offered,
        2 => Outbound::Demanded,
        _ => return Err(SetupError::Setting { name: "outbound_mode", cause: "must be 0, 1 or 2".into() }),
    };
    let policy = Policy {
        default_expires: seconds(setup, "default_expires")?,
        min_expires: seconds(setup, "min_expires")?,
        max_expires: or(seconds(setup, "max_expires")?, YEAR),
        max_contacts: or(seconds(setup, "max_contacts")?, MANY_CONTACTS) as usize,
        raises_short_expires: setup.int("min_expires_mode") == 0,
        keeps_path: path == PathUse::Demanded,
        outbound,
        trusts_reg_id: setup.int("regid_mode") != 0,
        max_contact_length: seconds(setup, "contact_max_size")? as usize,
        default_q: u16::try_from(setup.int("default_q")).ok().map(|q| q.min(1000)),
        ..Policy::default()
    };
    if policy.min_expires > policy.max_expires {
        return Err(SetupError::Setting { name: "min_expires", cause: "must not be more than max_expires".into() });
    }
    let received = attribute(&setup.text("received_avp"));
    let received = received.map_err(|cause| SetupError::Setting { name: "received_avp", cause })?;
    Ok(Arc::new(Registrar {
        events: setup.server.events(),
        accepted: setup.counter("accepted_regs"),
        rejected: setup.counter("rejected_regs"),
        locations,
        policy,
        path,
        appends_branches: setup.int("append_branches") != 0,
        is_case_sensitive: setup.int("case_sensitive") != 0,
        filters_methods: setup.int("method_filtering") != 0,
        received,
        nat_flag: flag(setup, "nat_flag"),
        gruus: match setup.int("gruu_enabled") {
            0 => None,
            // A phone gives its GRUU as contact, and scripts of those years do not look one up within a dialog.
            _ if setup.dialect == Dialect::Ser && !setup.is_set("gruu_enabled") => None,
            _ => Some(Temporary::new(&crate::secret::of_setting(setup, "gruu_secret")?)),
        },
        service_route: service_route(setup)?,
        flow_timer: seconds(setup, "flow_timer")?,
        received_param: param_name(setup, "received_param")?,
        retry_after: seconds(setup, "retry_after")?,
        realm_prefix: setup.text("realm_prefix"),
        uses_path_received: setup.int("path_use_received") != 0,
        skips_own_path: setup.int("path_check_local") != 0,
        shown: named(setup, "xavp_rcd").map(|name| (name, setup.int("xavp_rcd_mask"))),
        limits: named(setup, "xavp_cfg"),
        socket_header: flag(setup, "sock_flag").map(|flag| (flag, setup.text("sock_hdr_name"))),
        spread: (percent(setup, "default_expires_range")?, percent(setup, "expires_range")?),
    }))
}

fn flag(setup: &Setup<'_>, name: &str) -> Option<u32> {
    u32::try_from(setup.int(name)).ok().filter(|flag| *flag < module_api::FLAG_COUNT)
}

fn named(setup: &Setup<'_>, name: &str) -> Option<Bytes> {
    Some(Bytes::from(setup.text(name))).filter(|name| !name.is_empty())
}

fn percent(setup: &Setup<'_>, name: &'static str) -> Result<u8, SetupError> {
    let percent = u8::try_from(setup.int(name)).ok().filter(|percent| *percent <= 100);
    percent.ok_or_else(|| SetupError::Setting { name, cause: "must be from 0 to 100".into() })
}

fn param_name(setup: &Setup<'_>, name: &'static str) -> Result<String, SetupError> {
    let text = setup.text(name);
    match text.is_empty() || sip_message::is_token(text.as_bytes()) {
        true => Ok(text),
        false => Err(SetupError::Setting { name, cause: "must be the name of a parameter".into() }),
    }
}

/// Each value must be a URI that is a loose route (RFC 3608 section 6.2).
fn service_route(setup: &Setup<'_>) -> Result<Vec<u8>, SetupError> {
    let text = setup.text("service_route");
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let is_route = |value: &str| {
        let address = NameAddr::parse(value.trim().as_bytes()).ok().filter(|_| value.trim().starts_with('<'));
        address.and_then(|address| Uri::parse(address.uri).ok()).is_some_and(|uri| uri.is_loose_router())
    };
    if text.split(',').all(is_route) && !text.contains(['\r', '\n']) {
        return Ok(format!("Service-Route: {}\r\n", text.trim()).into_bytes());
    }
    let cause = "must be URIs in angle brackets with `;lr`, between commas".into();
    Err(SetupError::Setting { name: "service_route", cause })
}

fn seconds(setup: &Setup<'_>, name: &'static str) -> Result<u32, SetupError> {
    u32::try_from(setup.int(name)).map_err(|_| SetupError::Setting { name, cause: "must be a number from 0".into() })
}
