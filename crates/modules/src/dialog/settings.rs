//! What `modparam` can set about dialogs.

use std::time::Duration;

use bytes::Bytes;
use module_api::{Parameter, SettingKind, Setup, SetupError};

/// Settings, as the script gave them.
pub(super) struct Settings {
    pub(super) lifetime: Duration,
    pub(super) early: Duration,
    pub(super) no_ack: Duration,
    /// The parameter of Record-Route that names the dialog; empty adds none.
    pub(super) cookie: String,
    /// The message flag that has an INVITE tracked when it is relayed.
    pub(super) flag: Option<u32>,
    pub(super) ends_with_bye: bool,
    pub(super) extra_headers: Bytes,
    /// The attribute that holds the lifetime of a call.
    pub(super) timeout_attribute: Bytes,
    pub(super) early_code: u16,
    pub(super) early_reason: Bytes,
    /// Who calls, in calls that the server makes.
    pub(super) controller: Bytes,
    /// Their Contact; empty: the first socket.
    pub(super) bridge_contact: Bytes,
}

pub(super) static PARAMETERS: [Parameter; 74] = [
    number("default_timeout", "43200", "How long a call may last, in seconds."),
    number(
        "early_timeout",
        "300",
        "How long an INVITE may stay without a final reply before it is forgotten, in seconds.",
    ),
    number("noack_timeout", "60", "How long to wait for the ACK before a call is forgotten, in seconds."),
    text("rr_param", "did", "The parameter of Record-Route that names the dialog; empty adds none."),
    number("dlg_flag", "-1", "The message flag that has an INVITE tracked; -1: only dlg_manage() does."),
    text("profiles_with_value", "", "Names of profiles that take a value, separated by semicolons."),
    text("profiles_no_value", "", "Names of profiles without value, separated by semicolons."),
    number("send_bye", "0", "Whether both sides get a BYE when the time of a call is up."),
    text("dlg_extra_hdrs", "", "Header lines for the BYEs that the server sends."),
    text("timeout_avp", "", "The $avp that holds the lifetime of a call, in seconds, when it is answered."),
    number("bye_early_code", "480", "The status for the caller when a call is ended that still rings."),
    text("bye_early_reason", "Temporarily Unavailable", "The reason that goes with it."),
    Parameter {
        name: "db_mode",
        kind: SettingKind::Int,
        default: "0",
        doc: "Whether calls that are up are kept in a database too, and known again after a restart: 0 no, 1 each change at \
              once, 2 after db_update_period, 3 when the server ends.",
    },
    ignored("hash_size"),
    ignored("dlg_match_mode"),
    ignored("enable_stats"),
    ignored("detect_spirals"),
    text("db_url", "", "The database; by default ser.db in the data directory."),
    text("table_name", "dialog", "The table of dialogs."),
    text("vars_table_name", "dialog_vars", "The table of their variables."),
    number("db_update_period", "60", "With db_mode 2: how long a change waits before it is written, in seconds."),
    ignored("db_fetch_rows"),
    ignored("db_skip_load"),
    text("bridge_controller", "sip:controller@localhost", "Who calls, in calls that dlg_bridge() makes: a SIP URI."),
    text("bridge_contact", "", "The Contact of such calls, a SIP URI; empty: the first socket."),
    ignored("ruri_pvar"),
    ignored("initial_cbs_inscript"),
    ignored("wait_ack"),
    ignored("xavp_cfg"),
    ignored("ka_timer"),
    ignored("ka_interval"),
    ignored("ka_failed_limit"),
    ignored("timeout_noreset"),
    ignored("timer_procs"),
    ignored("track_cseq_updates"),
    ignored("lreq_callee_headers"),
    ignored("enable_dmq"),
    ignored("event_callback"),
    ignored("end_timeout"),
    ignored("h_id_start"),
    ignored("h_id_step"),
    ignored("keep_proxy_rr"),
    ignored("dlg_filter_mode"),
    ignored("dlg_ctxiuid_mode"),
    ignored("debug_variables"),
    ignored("dlg_mode"),
    ignored("dlg_extra_hdrs_mode"),
    column("call_id_column"),
    column("from_uri_column"),
    column("from_tag_column"),
    column("to_uri_column"),
    column("to_tag_column"),
    column("h_id_column"),
    column("h_entry_column"),
    column("state_column"),
    column("start_time_column"),
    column("timeout_column"),
    column("to_cseq_column"),
    column("from_cseq_column"),
    column("to_route_column"),
    column("from_route_column"),
    column("to_contact_column"),
    column("from_contact_column"),
    column("to_sock_column"),
    column("from_sock_column"),
    column("sflags_column"),
    column("toroute_name_column"),
    column("vars_h_id_column"),
    column("vars_h_entry_column"),
    column("vars_key_column"),
    column("vars_value_column"),
    column("iflags_column"),
    column("xdata_column"),
    column("req_uri_column"),
];

const fn number(name: &'static str, default: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Int, default, doc }
}

const fn text(name: &'static str, default: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Str, default, doc }
}

const fn ignored(name: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Ignored, default: "", doc: "Has no effect." }
}

const fn column(name: &'static str) -> Parameter {
    Parameter {
        name,
        kind: SettingKind::Ignored,
        default: "",
        doc: "Has no effect: columns have the names of Kamailio's schema.",
    }
}

impl Settings {
    /// Reads the settings.
    ///
    /// # Errors
    /// The first one that does not do.
    pub(super) fn read(setup: &Setup<'_>) -> Result<Settings, SetupError> {
        let early_code = u16::try_from(setup.int("bye_early_code")).ok().filter(|code| (400..700).contains(code));
        let mut headers = setup.text("dlg_extra_hdrs").replace("\\r\\n", "\r\n");
        if !headers.is_empty() && !headers.ends_with("\r\n") {
            headers.push_str("\r\n");
        }
        let attribute = setup.text("timeout_avp");
        let attribute = attribute.trim_start_matches("$avp(").trim_end_matches(')').trim_start_matches("s:");
        Ok(Settings {
            lifetime: seconds(setup, "default_timeout")?,
            early: seconds(setup, "early_timeout")?,
            no_ack: seconds(setup, "noack_timeout")?,
            cookie: setup.text("rr_param"),
            flag: u32::try_from(setup.int("dlg_flag")).ok(),
            ends_with_bye: setup.int("send_bye") != 0,
            extra_headers: headers.into(),
            timeout_attribute: Bytes::copy_from_slice(attribute.as_bytes()),
            early_code: early_code.ok_or_else(|| SetupError::Setting {
                name: "bye_early_code",
                cause: "must be a status from 400 to 699".into(),
            })?,
            early_reason: setup.text("bye_early_reason").into(),
            controller: uri(setup, "bridge_controller")?,
            bridge_contact: uri(setup, "bridge_contact")?,
        })
    }
}

/// A SIP URI, or nothing.
fn uri(setup: &Setup<'_>, name: &'static str) -> Result<Bytes, SetupError> {
    let text = setup.text(name);
    let is_uri = crate::rewrite::is_clean(text.as_bytes())
        && sip_message::Uri::parse(text.as_bytes()).is_ok_and(|uri| uri.is_sip());
    match is_uri || (text.is_empty() && name == "bridge_contact") {
        true => Ok(text.into()),
        false => Err(SetupError::Setting { name, cause: format!("`{text}` is not a SIP URI") }),
    }
}

fn seconds(setup: &Setup<'_>, name: &'static str) -> Result<Duration, SetupError> {
    let number = u64::try_from(setup.int(name)).ok().filter(|number| (1..=31_536_000).contains(number));
    let cause = || SetupError::Setting { name, cause: "must be from 1 second to a year".into() };
    number.map(Duration::from_secs).ok_or_else(cause)
}
