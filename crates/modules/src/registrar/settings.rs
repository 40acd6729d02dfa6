//! What `modparam` can set about registration.

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Counter, Parameter, PublicEvents, SettingKind, Setup, SetupError, State};
use sip_proto::registrar::Policy;

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

pub(super) static PARAMETERS: [Parameter; 30] = [
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
        "The attribute, as $avp(NAME), in which the script leaves the source address of phones behind NAT.",
    ),
    number(
        "nat_flag",
        "-1",
        "The message flag that marks a phone behind NAT: save() keeps it, lookup() sets it (SER).",
    ),
    ignored("default_q", "Has no effect: a contact without q counts as 1 (RFC 3261 section 20.10)."),
    ignored("desc_time_order", "Has no effect here: usrloc has the same parameter."),
    ignored("use_domain", "Has no effect here: usrloc has the same parameter."),
    ignored("gruu_enabled", "Has no effect: no GRUU is given out."),
    ignored("outbound_mode", "Has no effect: instance and reg-id are always kept apart (RFC 5626)."),
    ignored("realm_prefix", "Has no effect."),
    ignored("xavp_rcd", "Has no effect."),
    ignored("xavp_rcd_mask", "Has no effect."),
    ignored("xavp_cfg", "Has no effect."),
    ignored("sock_mode", "Has no effect."),
    ignored("sock_flag", "Has no effect."),
    ignored("sock_hdr_name", "Has no effect."),
    ignored("received_param", "Has no effect: the source address is not shown to phones."),
    ignored("retry_after", "Has no effect: 503 asks for 10 seconds."),
    ignored("default_expires_range", "Has no effect."),
    ignored("expires_range", "Has no effect."),
    ignored("path_use_received", "Has no effect."),
    ignored("contact_max_size", "Has no effect: a binding holds up to 64 KiB of text."),
];

const fn number(name: &'static str, default: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Int, default, doc }
}

const fn text(name: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Str, default: "", doc }
}

const fn ignored(name: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Ignored, default: "", doc }
}

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
    let policy = Policy {
        default_expires: seconds(setup, "default_expires")?,
        min_expires: seconds(setup, "min_expires")?,
        max_expires: or(seconds(setup, "max_expires")?, YEAR),
        max_contacts: or(seconds(setup, "max_contacts")?, MANY_CONTACTS) as usize,
        raises_short_expires: setup.int("min_expires_mode") == 0,
        keeps_path: path == PathUse::Demanded,
    };
    if policy.min_expires > policy.max_expires {
        return Err(SetupError::Setting { name: "min_expires", cause: "must not be more than max_expires".into() });
    }
    let received = setup.text("received_avp");
    let received = received.trim_start_matches("$avp(").trim_end_matches(')').trim_start_matches("s:");
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
        received: (!received.is_empty()).then(|| Bytes::copy_from_slice(received.as_bytes())),
        nat_flag: u32::try_from(setup.int("nat_flag")).ok().filter(|flag| *flag < module_api::FLAG_COUNT),
    }))
}

fn seconds(setup: &Setup<'_>, name: &'static str) -> Result<u32, SetupError> {
    u32::try_from(setup.int(name)).map_err(|_| SetupError::Setting { name, cause: "must be a number from 0".into() })
}
