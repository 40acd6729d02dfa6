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
    /// The name of the attribute that holds contacts for serial forking.
    pub contacts: Vec<u8>,
}

pub(super) static PARAMETERS: [Parameter; 32] = [
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
    ignored("contact_flows_avp", "Has no effect: outbound flows are not kept apart."),
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
    ignored("failure_reply_mode", "Has no effect: the best reply of all branches is chosen."),
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
    ignored("uac_from", "Has no effect: the server originates no requests of its own."),
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
