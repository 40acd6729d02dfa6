//! What `modparam` can set about gateways.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::setting::Place;
use bytes::Bytes;
use module_api::{Parameter, SettingKind, Setup, SetupError};

use super::list::List;
use crate::setting::file;

/// Settings, as the script gave them.
pub(super) struct Settings {
    pub(super) list: List,
    /// Whether a hash looks at the user of a URI alone.
    pub(super) hashes_user_only: bool,
    /// Whether the gateways after the chosen one are kept.
    pub(super) keeps_others: bool,
    pub(super) overwrites_destination: bool,
    /// Whether the last gateway of a set stands in when none takes calls.
    pub(super) use_default: bool,
    pub(super) destinations: Bytes,
    pub(super) context: Bytes,
    pub(super) ping_interval: Duration,
    pub(super) ping_method: Bytes,
    pub(super) ping_from: Bytes,
    pub(super) ping_codes: Vec<RangeInclusive<u16>>,
    pub(super) ping_timeout: Option<Duration>,
    pub(super) probing: Probing,
    pub(super) failures: u32,
    pub(super) successes: u32,
    pub(super) measures_latency: bool,
    pub(super) alpha: u32,
    pub(super) dns_interval: Duration,
    pub(super) call_lifetime: Duration,
    /// Where `ds_is_from_list()` leaves what it found.
    pub(super) found: Found,
}

/// Variables for what is known of the gateway that a message comes from.
pub(super) struct Found {
    pub(super) set: Option<Place>,
    pub(super) attrs: Option<Place>,
    pub(super) uri: Option<Place>,
}

/// Which gateways are asked whether they are alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probing {
    /// Those that are marked for it.
    Marked,
    /// All.
    All,
    /// Those that have failed.
    Failed,
}

pub(super) static PARAMETERS: &[Parameter] = &[
    file("list_file", "/etc/kamailio/dispatcher.list", "The list: lines of SET URI [FLAGS [PRIORITY [ATTRS]]]."),
    number("flags", "0", "1 hashes the user of a URI alone; 2 keeps the other gateways for ds_next_dst()."),
    number("force_dst", "1", "Whether a destination that is set already is overwritten."),
    number("use_default", "0", "Whether the last gateway of a set takes the call when no other does."),
    text("xavp_dst", "_dsdst_", "The $xavp in which the gateways are kept: uri, grp, attrs, duid, sock."),
    text("xavp_ctx", "_dsctx_", "The $xavp that says how many there were (cnt) and of which set (setid)."),
    number("ds_ping_interval", "0", "How often gateways are asked whether they are alive, in seconds; 0 never."),
    text("ds_ping_method", "OPTIONS", "The method that asks."),
    text("ds_ping_from", "sip:dispatcher@localhost", "The From of what asks."),
    text("ds_ping_reply_codes", "", "Answers that count as alive besides 2xx: class=4;code=503."),
    number("ds_ping_fr_timeout", "0", "How long to wait for an answer, in milliseconds; 0 as long as tm does."),
    number("ds_ping_latency_stats", "0", "Whether the time that an answer takes is measured, for algorithm 13."),
    number("ds_latency_estimator_alpha", "900", "The weight of the newest measurement, in thousandths."),
    number("ds_probing_mode", "0", "Who is asked: 0 those marked for it, 1 all, 2 those that have failed."),
    number("ds_probing_threshold", "1", "How many failures in a row take a gateway out."),
    number("ds_inactive_threshold", "1", "How many answers in a row bring it back."),
    number("ds_dns_interval", "600", "How often names are looked up again for ds_is_from_list(), in seconds; 0 never."),
    number("ds_hash_expire", "7200", "How long a call counts for algorithm 10 at most, in seconds."),
    ignored("ds_hash_size"),
    ignored("ds_hash_initexpire"),
    ignored("ds_hash_check_interval"),
    ignored("xavp_dst_mode"),
    ignored("xavp_ctx_mode"),
    ignored("hash_pvar"),
    text(
        "setid_pvname",
        "",
        "The $var or $avp in which ds_is_from_list() leaves the set of the gateway that it found.",
    ),
    text("attrs_pvname", "", "The $var or $avp in which it leaves the attributes of that gateway."),
    text("uri_pvname", "", "The $var or $avp in which it leaves the URI of that gateway."),
    ignored("ds_ping_fr_timer"),
    ignored("ds_retain_latency_stats"),
    ignored("outbound_proxy"),
    ignored("ds_default_socket"),
    ignored("ds_default_sockname"),
    ignored("ds_ping_socket"),
    ignored("event_callback"),
    ignored("event_callback_mode"),
    ignored("ds_attrs_none"),
    ignored("ds_load_mode"),
    ignored("reload_delta"),
    ignored("ds_timer_mode"),
    ignored("ds_dns_mode"),
    ignored("ds_dns_ttl"),
    ignored("ds_dns_match_all"),
    text(
        "db_url",
        "",
        "The database of gateways, or a directory of text files: text:///path. Without it the list is list_file.",
    ),
    text("table_name", "dispatcher", "The table of gateways."),
    text("setid_col", "setid", "The column of the set."),
    text("destination_col", "destination", "The column of the URI."),
    text("flags_col", "flags", "The column of the flags."),
    text("priority_col", "priority", "The column of the priority; the highest is tried first."),
    text("attrs_col", "attrs", "The column of the attributes."),
];

const fn number(name: &'static str, default: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Int, default, doc }
}

const fn text(name: &'static str, default: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Str, default, doc }
}

const fn ignored(name: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Ignored, default: "", doc: "Has no effect yet." }
}

impl Settings {
    /// Reads the settings.
    ///
    /// # Errors
    /// The first one that does not do.
    pub(super) fn read(setup: &Setup<'_>) -> Result<Settings, SetupError> {
        let flags = setup.int("flags");
        Ok(Settings {
            list: List::named(setup)?,
            hashes_user_only: flags & 1 != 0,
            keeps_others: flags & 2 != 0,
            overwrites_destination: setup.int("force_dst") != 0,
            use_default: setup.int("use_default") != 0,
            destinations: setup.text("xavp_dst").into(),
            context: setup.text("xavp_ctx").into(),
            ping_interval: seconds(setup, "ds_ping_interval")?,
            ping_method: setup.text("ds_ping_method").into(),
            ping_from: setup.text("ds_ping_from").into(),
            ping_codes: codes(&setup.text("ds_ping_reply_codes"))
                .map_err(|cause| SetupError::Setting { name: "ds_ping_reply_codes", cause })?,
            ping_timeout: u64::try_from(setup.int("ds_ping_fr_timeout"))
                .ok()
                .filter(|ms| *ms > 0)
                .map(Duration::from_millis),
            probing: match setup.int("ds_probing_mode") {
                0 => Probing::Marked,
                2 => Probing::Failed,
                _ => Probing::All,
            },
            failures: count(setup, "ds_probing_threshold")?,
            successes: count(setup, "ds_inactive_threshold")?,
            measures_latency: setup.int("ds_ping_latency_stats") != 0,
            alpha: count(setup, "ds_latency_estimator_alpha")?,
            dns_interval: seconds(setup, "ds_dns_interval")?,
            call_lifetime: seconds(setup, "ds_hash_expire")?,
            found: Found {
                set: place(setup, "setid_pvname")?,
                attrs: place(setup, "attrs_pvname")?,
                uri: place(setup, "uri_pvname")?,
            },
        })
    }
}

fn place(setup: &Setup<'_>, name: &'static str) -> Result<Option<Place>, SetupError> {
    crate::setting::place(&setup.text(name)).map_err(|cause| SetupError::Setting { name, cause })
}

fn seconds(setup: &Setup<'_>, name: &'static str) -> Result<Duration, SetupError> {
    let number = u64::try_from(setup.int(name)).ok().filter(|number| *number <= 10_000_000);
    number
        .map(Duration::from_secs)
        .ok_or_else(|| SetupError::Setting { name, cause: "must be seconds from 0 up".into() })
}

fn count(setup: &Setup<'_>, name: &'static str) -> Result<u32, SetupError> {
    let number = u32::try_from(setup.int(name)).ok().filter(|number| *number > 0);
    number.ok_or_else(|| SetupError::Setting { name, cause: "must be 1 or more".into() })
}

/// `class=2;code=480` as ranges of status codes.
fn codes(text: &str) -> Result<Vec<RangeInclusive<u16>>, String> {
    let mut ranges = Vec::new();
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').ok_or_else(|| format!("`{part}` is neither class=N nor code=N"))?;
        let number: u16 = value.trim().parse().map_err(|_| format!("`{value}` is not a number"))?;
        ranges.push(match (name.trim(), number) {
            ("class", 1..=6) => number * 100..=number * 100 + 99,
            ("code", 100..=699) => number..=number,
            _ => return Err(format!("`{part}` is neither class=1 to class=6 nor code=100 to code=699")),
        });
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_count_are_classes_and_codes() {
        assert_eq!(codes("class=4;code=503").expect("it can be read"), [400..=499, 503..=503]);
        assert_eq!(codes(""), Ok(vec![]));
        assert_eq!(
            codes("class=7"),
            Err("`class=7` is neither class=1 to class=6 nor code=100 to code=699".to_owned())
        );
    }
}
