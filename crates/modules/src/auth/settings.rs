//! What `modparam` can set about authentication.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use module_api::{Parameter, SettingKind, Setup, SetupError, State};
use sip_message::{Message, Method, Uri};
use sip_proto::digest::{Algorithm, Nonces, Uses, ha1};

/// The state of module auth.
pub(crate) struct Authentication {
    /// Makes nonces and knows them again.
    pub(crate) nonces: Nonces,
    /// Knows what nonces have been used for, where that counts.
    pub(super) uses: Option<Mutex<Uses>>,
    /// What challenges offer, most preferred first.
    pub(super) algorithms: Vec<Algorithm>,
    /// What realms begin with that does not count.
    realm_prefix: String,
    /// How Remote-Party-ID is written.
    pub(super) remote_party: crate::rpid::RemoteParty,
}

impl Authentication {
    /// The realm that a script asks for; an empty one means the domain of the side that must prove itself: From, or
    /// To for REGISTER.
    pub(crate) fn realm(&self, message: &Message, asked: &[u8]) -> String {
        let realm = if asked.is_empty() { domain_of_sender(message) } else { asked };
        let realm = match realm.split_at_checked(self.realm_prefix.len()) {
            Some((front, rest)) if front.eq_ignore_ascii_case(self.realm_prefix.as_bytes()) => rest,
            _ => realm,
        };
        String::from_utf8_lossy(realm).into_owned()
    }
}

fn domain_of_sender(message: &Message) -> &[u8] {
    let side = if message.method() == Method::Register { message.to() } else { message.from() };
    side.ok().and_then(|side| Uri::parse(side.uri).ok()).map_or(&[], |uri| uri.host_text)
}

pub(super) static PARAMETERS: [Parameter; 22] = [
    Parameter {
        name: "secret",
        kind: SettingKind::Str,
        default: "",
        doc: "What nonces are signed with; servers that share it know each other's nonces. Random when not given.",
    },
    Parameter {
        name: "nonce_expire",
        kind: SettingKind::Int,
        default: "300",
        doc: "How long a nonce may be used, in seconds.",
    },
    Parameter {
        name: "algorithm",
        kind: SettingKind::Str,
        default: "MD5",
        doc: "The digest algorithms of challenges, most preferred first, between commas: MD5, SHA-256, SHA-512-256.",
    },
    Parameter {
        name: "realm_prefix",
        kind: SettingKind::Str,
        default: "",
        doc: "Taken off the front of realms: with \"sip.\" users of sip.example.com authenticate as those of example.com.",
    },
    ignored("qop", "Has no effect: the flags of a challenge say whether qop is offered."),
    Parameter {
        name: "nonce_count",
        kind: SettingKind::Int,
        default: "0",
        doc: "1: each count (`nc`) of a nonce is good once, whichever order they come in; a replay gets a fresh challenge. \
              A request that is repeated because its reply was lost is one too, unless the script absorbs it before, \
              as with t_check_trans().",
    },
    Parameter {
        name: "one_time_nonce",
        kind: SettingKind::Int,
        default: "0",
        doc: "1: each nonce is good for one request.",
    },
    ignored("protect_contacts", "Has no effect: a nonce does not depend on contacts."),
    ignored("otn_in_flight_no", "Has no effect: nonces that are used once are remembered as others are."),
    ignored("otn_in_flight_order", "Has no effect: nonces that are used once are remembered as others are."),
    ignored("nid_pool_no", "Has no effect: nonces come from no pool."),
    ignored("nonce_auth_max_drift", "Has no effect: a nonce of the future is never good."),
    ignored("auth_checks_register", "Has no effect: a nonce is bound to its realm and time."),
    ignored("auth_checks_no_dlg", "Has no effect: a nonce is bound to its realm and time."),
    ignored("auth_checks_in_dlg", "Has no effect: a nonce is bound to its realm and time."),
    ignored("force_stateless_reply", "Has no effect: a challenge takes the transaction where there is one."),
    ignored("use_domain", "Has no effect."),
    Parameter {
        name: "nc_array_size",
        kind: SettingKind::Int,
        default: "1048576",
        doc: "How many nonces may be in use at a time where they are counted; beyond it a client is challenged again.",
    },
    ignored("nc_array_order", "Has no effect: see nc_array_size."),
    ignored("add_authinfo_hdr", "Has no effect."),
    crate::rpid::PREFIX,
    crate::rpid::SUFFIX,
];

const fn ignored(name: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Ignored, default: "", doc }
}

pub(super) fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let lifetime = u64::try_from(setup.int("nonce_expire")).ok().filter(|seconds| *seconds > 0);
    let lifetime = lifetime.ok_or_else(|| bad("nonce_expire", "must be a number of seconds".into()))?;
    let algorithms = algorithms(setup.text("algorithm").as_bytes());
    let algorithms = algorithms.ok_or_else(|| bad("algorithm", "must be MD5, SHA-256 or SHA-512-256".into()))?;
    let secret = secret(&setup.text("secret"))?;
    let nonces = Nonces::new(secret, Duration::from_secs(lifetime));
    let is_once = setup.int("one_time_nonce") != 0;
    let most = usize::try_from(setup.int("nc_array_size")).ok().filter(|most| *most > 0);
    let most = most.ok_or_else(|| bad("nc_array_size", "must be a number above 0".into()))?;
    let is_counted = is_once || setup.int("nonce_count") != 0;
    let uses = is_counted.then(|| Mutex::new(Uses::new(most, Duration::from_secs(lifetime), is_once)));
    let remote_party = crate::rpid::RemoteParty::new(setup, "rpid");
    let realm_prefix = setup.text("realm_prefix");
    Ok(Arc::new(Authentication { nonces, uses, algorithms, realm_prefix, remote_party }))
}

/// Algorithms between commas; none when one is unknown.
pub(super) fn algorithms(text: &[u8]) -> Option<Vec<Algorithm>> {
    text.split(|byte| *byte == b',').map(|name| Algorithm::from_token(name.trim_ascii())).collect()
}

fn secret(text: &str) -> Result<[u8; 32], SetupError> {
    let mut secret = [0; 32];
    if text.is_empty() {
        getrandom::fill(&mut secret).map_err(|error| SetupError::Unavailable(format!("no random numbers: {error}")))?;
        return Ok(secret);
    }
    // Any text becomes a key of full length; half of the digits are 128 bits, as many as a nonce proves.
    let digits = ha1(Algorithm::Sha256, text.as_bytes(), b"nonce", b"");
    secret.copy_from_slice(&digits.as_bytes()[..32]);
    Ok(secret)
}

fn bad(name: &'static str, cause: String) -> SetupError {
    SetupError::Setting { name, cause }
}
