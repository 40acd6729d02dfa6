//! What `modparam` can set about transactions. The engine reads the result.

use std::sync::Arc;
use std::time::Duration;

use module_api::{Dialect, Parameter, SettingKind, Setup, SetupError, State};

/// Settings of transactions, as the script gave them.
///
/// The engine reads them at start; a time that the script did not set is none and stays as the RFC has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// How long a branch may stay without any reply.
    pub no_reply: Option<Duration>,
    /// How long a branch of an INVITE may ring (RFC 3261 section 16.6 step 11, Timer C).
    pub no_final: Option<Duration>,
    /// T1 (RFC 3261 section 17.1.1.1).
    pub t1: Option<Duration>,
    /// T2.
    pub t2: Option<Duration>,
    /// Whether an INVITE gets a 100 by itself.
    pub no_auto_trying: bool,
    /// Which replies of earlier tries do not count: 0 none, 1 and 3 all, 2 those of the latest.
    pub failure_reply_mode: i64,
    /// The name of the attribute that holds contacts for serial forking.
    pub contacts: Vec<u8>,
}

pub(super) static PARAMETERS: [Parameter; 69] = [
    time(
        "fr_timer",
        "How long a branch may stay without any reply; then it counts as answered with 408. Default 32 s.",
    ),
    time(
        "fr_inv_timer",
        "How long an INVITE may ring; then the branch is cancelled and counts as answered with 408. Default over 3 minutes.",
    ),
    time("retr_timer1", "T1, the first retransmission interval and the base of the others. Default 500 ms."),
    time("retr_timer2", "T2, the longest retransmission interval. Default 4 s."),
    Parameter {
        name: "auto_inv_100",
        kind: SettingKind::Int,
        default: "1",
        doc: "Whether an INVITE that is relayed gets a 100 by itself.",
    },
    Parameter {
        name: "contacts_avp",
        kind: SettingKind::Str,
        default: "",
        doc: "The attribute in which t_load_contacts() keeps contacts, as $avp(NAME); any name does.",
    },
    ignored("contact_flows_avp", "Has no effect: further flows of an instance stay with its contact."),
    ignored("xavp_contact", "Has no effect: contacts_avp serves both."),
    ignored("auto_inv_100_reason", "Has no effect: the reason is Trying."),
    ignored("wt_timer", "Has no effect: a finished transaction lingers as long as RFC 3261 section 17.2 says."),
    ignored("delete_timer", "Has no effect: memory is freed when its last user is gone."),
    ignored("retr_timer1p1", "Has no effect: retransmissions double from T1 (RFC 3261 section 17.1)."),
    ignored("retr_timer1p2", "Has no effect: retransmissions double from T1 (RFC 3261 section 17.1)."),
    ignored("retr_timer1p3", "Has no effect: retransmissions double from T1 (RFC 3261 section 17.1)."),
    ignored("noisy_ctimer", "Has no effect: a branch that rings too long is cancelled, never forgotten."),
    ignored("max_inv_lifetime", "Has no effect: fr_inv_timer bounds an INVITE."),
    ignored("max_noninv_lifetime", "Has no effect: fr_timer bounds other requests."),
    ignored(
        "restart_fr_on_each_reply",
        "Has no effect: each provisional reply restarts Timer C (RFC 3261 section 16.7).",
    ),
    Parameter {
        name: "failure_reply_mode",
        kind: SettingKind::Int,
        default: "3",
        doc: "Which replies count when a failure route has tried elsewhere: 0 those of all tries; 1 or 3 those of the new \
              one; 2 all but those of the try that failed. A SER script has them all count, unless it sets this.",
    },
    ignored("pass_provisional_replies", "Has no effect: reply routes see every reply."),
    ignored("aggregate_challenges", "Has no effect: challenges of all branches are merged (RFC 3261 section 16.7)."),
    ignored("unmatched_cancel", "Has no effect: a CANCEL without its INVITE gets 481."),
    ignored("ruri_matching", "Has no effect: transactions match as RFC 3261 section 17.2.3 says."),
    ignored("via1_matching", "Has no effect: transactions match as RFC 3261 section 17.2.3 says."),
    ignored("callid_matching", "Has no effect: transactions match as RFC 3261 section 17.2.3 says."),
    ignored("cancel_b_method", "Has no effect: a CANCEL waits for a provisional reply (RFC 3261 section 9.1)."),
    ignored("reparse_invite", "Has no effect: a CANCEL is made from the INVITE as it was sent."),
    ignored("remap_503_500", "Has no effect: a 503 goes upstream as 500 (RFC 3261 section 16.7)."),
    ignored("local_cancel_reason", "Has no effect."),
    ignored("delayed_reply", "Has no effect: the reply to a failed relay waits for the end of the script."),
    ignored("failure_exec_mode", "Has no effect."),
    ignored("uac_from", "Has no effect: t_uac_send() says From itself."),
    ignored("reply_matching", "Has no effect: replies match as RFC 3261 section 17.1.3 says."),
    ignored("callid_cseq_matching", "Has no effect: transactions match as RFC 3261 section 17.2.3 says."),
    ignored("disable_6xx_block", "Has no effect: t_set_disable_6xx() chooses it for a request."),
    ignored("default_code", "Has no effect: a failed relay says what went wrong."),
    ignored("default_reason", "Has no effect: a failed relay says what went wrong."),
    ignored("reply_408_code", "Has no effect: a request that nobody answered gets 408."),
    ignored("reply_408_reason", "Has no effect: the reason of a 408 is Request Timeout."),
    ignored("relay_100", "Has no effect: a 100 is for one hop (RFC 3261 section 16.7)."),
    ignored("e2e_cancel_reason", "Has no effect: the Reason of a CANCEL is not copied."),
    ignored("fr_timer_avp", "Has no effect: t_set_fr() sets the time of one request."),
    ignored("fr_inv_timer_avp", "Has no effect: t_set_fr() sets the time of one request."),
    ignored("blst_503", "Has no effect: no list of failing peers is kept; dispatcher keeps the state of gateways."),
    ignored("blst_503_def_timeout", "Has no effect: see blst_503."),
    ignored("blst_503_min_timeout", "Has no effect: see blst_503."),
    ignored("blst_503_max_timeout", "Has no effect: see blst_503."),
    ignored("blst_methods_add", "Has no effect: see blst_503."),
    ignored("blst_methods_lookup", "Has no effect: see blst_503."),
    ignored("on_sl_reply", "Has no effect: onreply_route sees replies without transaction too."),
    ignored("unix_tx_timeout", "Has no effect: there is no unix socket of this module."),
    ignored("tw_append", "Has no effect: there is no t_write_req()."),
    ignored("ac_extra_hdrs", "Has no effect: ACK and CANCEL hold what RFC 3261 asks for."),
    ignored("reparse_on_dns_failover", "Has no effect: each copy is written anew."),
    ignored("local_ack_mode", "Has no effect: the ACK to a 2xx goes where RFC 3261 section 13.2.2.4 says."),
    ignored("local_ack_branch_mode", "Has no effect: the ACK to a 2xx has a branch of its own."),
    ignored("faked_reply_prio", "Has no effect: a timeout counts as 408."),
    ignored("dns_reuse_rcv_socket", "Has no effect: the socket that a request came to is used where it fits."),
    ignored("e2e_cancel_hop_by_hop", "Has no effect: a CANCEL is answered at each hop (RFC 3261 section 9.2)."),
    ignored("headers_mode", "Has no effect."),
    ignored("event_callback", "Has no effect: event_route does it."),
    ignored("event_callback_lres_sent", "Has no effect: event_route[tm:local-response-sent] does it."),
    ignored("evcb_local_ack_sent", "Has no effect: event_route does it."),
    ignored("rich_redirect", "Has no effect: a Contact carries q where the target has one."),
    ignored("exec_time_check", "Has no effect: a route that runs for too long is stopped."),
    ignored("reply_relay_mode", "Has no effect."),
    ignored("enable_uac_fr", "Has no effect."),
    ignored("failover_reply_codes", "Has no effect: the next address is tried after 503 and silence (RFC 3263)."),
    ignored("evlreq_mode", "Has no effect."),
];

const fn time(name: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Int, default: "", doc }
}

const fn ignored(name: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Ignored, default: "", doc }
}

/// The attribute for contacts when the script names none; no script can spell it by accident.
const OWN_CONTACTS: &str = "tm contacts";

pub(super) fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let named = setup.text("contacts_avp");
    let contacts = named.trim_start_matches("$avp(").trim_end_matches(')').trim_start_matches("s:");
    Ok(Arc::new(Settings {
        no_reply: duration(setup, "fr_timer")?,
        no_final: duration(setup, "fr_inv_timer")?,
        t1: duration(setup, "retr_timer1")?,
        t2: duration(setup, "retr_timer2")?,
        failure_reply_mode: match setup.dialect {
            Dialect::Ser if !setup.is_set("failure_reply_mode") => 0,
            _ => setup.int("failure_reply_mode"),
        },
        no_auto_trying: setup.int("auto_inv_100") == 0,
        contacts: if contacts.is_empty() { OWN_CONTACTS } else { contacts }.as_bytes().to_vec(),
    }))
}

/// A time: seconds in SER scripts, milliseconds in Kamailio's.
fn duration(setup: &Setup<'_>, name: &'static str) -> Result<Option<Duration>, SetupError> {
    if !setup.is_set(name) {
        return Ok(None);
    }
    let number = setup.int(name);
    let is_good = (1..=MAX_MILLISECONDS).contains(&number);
    let number = u64::try_from(number)
        .ok()
        .filter(|_| is_good)
        .ok_or_else(|| SetupError::Setting { name, cause: format!("must be from 1 to {MAX_MILLISECONDS}") })?;
    // Milliseconds below this would fail every call over UDP before its first retransmission; what
    // such a small number means is seconds, as in scripts older than OpenSER's change of unit.
    let is_seconds = setup.dialect == Dialect::Ser || (name.starts_with("fr_") && number < SECONDS_BELOW);
    Ok(Some(if is_seconds { Duration::from_secs(number) } else { Duration::from_millis(number) }))
}

const MAX_MILLISECONDS: i64 = 86_400_000;
const SECONDS_BELOW: u64 = 400;

#[cfg(test)]
mod tests {
    use super::*;
    use module_api::{Setting, Value};

    fn made(dialect: Dialect, settings: &[(&str, i64)]) -> Result<Settings, SetupError> {
        let settings: Vec<Setting> =
            settings.iter().map(|(name, value)| Setting { name: (*name).into(), value: Value::Int(*value) }).collect();
        let state = crate::testing::make(&super::super::MODULE, &settings, dialect, &|_| None)?;
        let state: Arc<dyn std::any::Any + Send + Sync> = state;
        Ok(state.downcast_ref::<Settings>().expect("tm's state").clone())
    }

    #[test]
    fn ser_counts_seconds_and_kamailio_milliseconds() {
        let settings = [("fr_timer", 15), ("fr_inv_timer", 60_000)];
        assert_eq!(made(Dialect::Ser, &settings[..1]).unwrap().no_reply, Some(Duration::from_secs(15)));
        let kamailio = made(Dialect::Kamailio, &settings).unwrap();
        assert_eq!(kamailio.no_reply, Some(Duration::from_secs(15)));
        assert_eq!(kamailio.no_final, Some(Duration::from_secs(60)));
        assert_eq!(made(Dialect::Kamailio, &[]).unwrap().no_reply, None);
    }

    #[test]
    fn a_time_of_zero_is_refused() {
        assert!(made(Dialect::Ser, &[("fr_timer", 0)]).is_err());
    }
}
