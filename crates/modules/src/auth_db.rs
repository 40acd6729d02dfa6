//! Verifying credentials against the table of subscribers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use module_api::{
    Call, Dialect, Fault, Function, Module, Outcome, Param, ParamKind, Parameter, Reply, Routes, SettingKind, Setup,
    SetupError, State, Value,
};
use sip_message::Method;
use sip_proto::digest::Algorithm;
use store::{Credentials, Store};

use crate::auth::{Authentication, Check, Claim, Kind, outcome, realm_or_domain};

/// Verifies credentials against the subscribers in the database.
pub static MODULE: Module = Module {
    name: "auth_db",
    doc: "Verifies credentials against the subscribers in the database.",
    parameters: &[
        Parameter {
            name: "db_url",
            kind: SettingKind::Str,
            default: "",
            doc: "The database; by default ser.db in the data directory.",
        },
        Parameter {
            name: "use_domain",
            kind: SettingKind::Int,
            default: "",
            doc: "1 tells users of different domains apart, the realm being the domain; 0 takes the user of any domain. \
                  Default 1 in SER scripts, else 0.",
        },
        Parameter {
            name: "calculate_ha1",
            kind: SettingKind::Int,
            default: "0",
            doc: "1 uses the clear-text password of a row that has one; without it, and with 0, the stored HA1 counts.",
        },
        Parameter {
            name: "cache_time",
            kind: SettingKind::Int,
            default: "10",
            doc: "How long a row is remembered, in seconds; a changed password counts after that. 0: not at all.",
        },
        ignored("load_credentials", "Has no effect: nothing but the password is read."),
        ignored("password_column", "Has no effect: columns have the names of Kamailio's schema."),
        ignored("password_column_2", "Has no effect: columns have the names of Kamailio's schema."),
        ignored("user_column", "Has no effect: columns have the names of Kamailio's schema."),
        ignored("domain_column", "Has no effect: columns have the names of Kamailio's schema."),
        ignored("rpid_column", "Has no effect: Remote-Party-ID is not written."),
        ignored("use_rpid", "Has no effect: Remote-Party-ID is not written."),
        ignored("version_table", "Has no effect: the version is always checked."),
        ignored("force_generate_avps", "Has no effect."),
    ],
    functions: &[
        WWW,
        crate::also("www_authenticate", WWW),
        crate::also("authorize", WWW),
        PROXY,
        crate::also("proxy_authenticate", PROXY),
        CHECK,
    ],
    variables: &[],
    make,
};

const fn ignored(name: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Ignored, default: "", doc }
}

const PARAMS: &[Param] = &[Param::required("realm", ParamKind::Format), Param::required("table", ParamKind::Str)];

const WWW: Function = Function {
    name: "www_authorize",
    params: PARAMS,
    routes: Routes::REQUEST,
    doc: "Verifies the Authorization header against table \"subscriber\". An empty realm means the domain of From \
          (REGISTER: of To). True when the password is right. Else -2 for a wrong password or an unknown user (nothing \
          tells which), -4 for an old nonce, -5 without credentials for the realm, -1 when the database does not answer; \
          in SER scripts -1, and the last sends a 503 and ends the script.",
    example: "if (!www_authorize(\"example.com\", \"subscriber\")) { www_challenge(\"example.com\", \"1\"); exit; }",
    run: |call| authorize(call, Kind::Www, false),
};

const PROXY: Function = Function {
    name: "proxy_authorize",
    params: PARAMS,
    routes: Routes::REQUEST,
    doc: "As www_authorize(), with the Proxy-Authorization header.",
    example: "if (!proxy_authorize(\"\", \"subscriber\")) { proxy_challenge(\"\", \"1\"); exit; }",
    run: |call| authorize(call, Kind::Proxy, false),
};

const CHECK: Function = Function {
    name: "auth_check",
    params: &[
        Param::required("realm", ParamKind::Format),
        Param::required("table", ParamKind::Str),
        Param::required("flags", ParamKind::Str),
    ],
    routes: Routes::REQUEST,
    doc: "As www_authorize() for REGISTER and proxy_authorize() for everything else. With flag 1 the user must be that of \
          From (REGISTER: of To), else -8.",
    example: "if (!auth_check(\"$fd\", \"subscriber\", \"1\")) { auth_challenge(\"$fd\", \"0\"); exit; }",
    run: |call| {
        let kind = Kind::of(&call.context.message);
        let wants_sender = Value::Str(call.text(2)).to_int() & 1 != 0;
        authorize(call, kind, wants_sender)
    },
};

/// The state of module auth_db.
struct Subscribers {
    auth: Arc<Authentication>,
    store: Store,
    uses_domain: bool,
    prefers_password: bool,
    cache_time: Duration,
    cache: Mutex<HashMap<(String, String), Remembered>>,
}

/// A row as it was read; none remembers that there is no such user, so that both take the same time.
#[derive(Clone)]
struct Remembered {
    row: Option<Arc<Credentials>>,
    since: Instant,
}

/// Names come from whoever sends requests, so what is remembered has a bound.
const MOST_REMEMBERED: usize = 10_000;

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let auth = setup.module::<Authentication>("auth")?;
    let seconds = u64::try_from(setup.int("cache_time"))
        .map_err(|_| SetupError::Setting { name: "cache_time", cause: "must be a number of seconds".into() })?;
    Ok(Arc::new(Subscribers {
        auth,
        store: crate::usrloc::open_store(setup)?,
        // SER told domains apart unless told otherwise; Kamailio does not.
        uses_domain: match setup.is_set("use_domain") {
            true => setup.int("use_domain") != 0,
            false => setup.dialect == Dialect::Ser,
        },
        prefers_password: setup.int("calculate_ha1") != 0,
        cache_time: Duration::from_secs(seconds),
        cache: Mutex::new(HashMap::new()),
    }))
}

fn authorize(call: &mut Call<'_>, kind: Kind, wants_sender: bool) -> Outcome {
    // Neither can be challenged (RFC 3261 section 22.1), so both pass as their INVITE did.
    if matches!(call.context.message.method(), Method::Ack | Method::Cancel) {
        return Outcome::TRUE;
    }
    if &call.text(1)[..] != b"subscriber" {
        return Outcome::fail("subscribers are kept in table \"subscriber\" and no other");
    }
    let subscribers = call.shared_state::<Subscribers>();
    let realm = realm_or_domain(call, &call.text(0));
    let claim = Claim::find(&call.context.message, kind, realm.as_bytes());
    let Some((claim, (user, domain))) = claim.and_then(|claim| claim.user().map(|user| (claim, user))) else {
        return answer(call, Check::Missing);
    };
    // eve@elsewhere must not pass for eve of this realm, whatever her password is there.
    if domain.is_some_and(|domain| !domain.eq_ignore_ascii_case(&realm)) {
        return judge(call, &subscribers, &claim, None, wants_sender);
    }
    let key = (user, realm);
    if let Some(row) = subscribers.remembered(&key, call.host.now()) {
        return judge(call, &subscribers, &claim, row.as_deref(), wants_sender);
    }
    let now = call.host.now();
    let reader = Arc::clone(&subscribers);
    let read = async move { reader.read(key, now).await };
    Outcome::wait(read, move |call, row| match row {
        Ok(row) => judge(call, &subscribers, &claim, row.as_deref(), wants_sender),
        Err(error) => unavailable(call, &error),
    })
}

impl Subscribers {
    fn remembered(&self, key: &(String, String), now: Instant) -> Option<Option<Arc<Credentials>>> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let found = cache.get(key).filter(|found| now.duration_since(found.since) < self.cache_time)?;
        Some(found.row.clone())
    }

    async fn read(&self, key: (String, String), now: Instant) -> Result<Option<Arc<Credentials>>, store::Error> {
        let row = match self.uses_domain {
            true => self.store.credentials(&key.0, &key.1).await?,
            false => self.store.credentials_in_any_domain(&key.0).await?,
        };
        let row = row.map(Arc::new);
        if !self.cache_time.is_zero() {
            let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            if cache.len() >= MOST_REMEMBERED {
                cache.clear();
            }
            cache.insert(key, Remembered { row: row.clone(), since: now });
        }
        Ok(row)
    }

    /// The HA1 of a row that fits the credentials: their algorithm, and whether their user name has a domain.
    fn ha1(&self, row: &Credentials, claim: &Claim) -> Option<String> {
        if self.prefers_password
            && let Some(password) = &row.password
        {
            return claim.ha1_of(password);
        }
        let has_domain = claim.user().is_some_and(|(_, domain)| domain.is_some());
        let stored = match (claim.algorithm()?, has_domain) {
            (Algorithm::Md5, false) => Some(&row.ha1),
            (Algorithm::Md5, true) => Some(&row.ha1b),
            (Algorithm::Sha256, false) => row.ha1_sha256.as_ref(),
            _ => None,
        };
        stored.filter(|ha1| !ha1.is_empty()).cloned()
    }
}

fn judge(
    call: &mut Call<'_>,
    subscribers: &Subscribers,
    claim: &Claim,
    row: Option<&Credentials>,
    wants_sender: bool,
) -> Outcome {
    let ha1 = row.and_then(|row| subscribers.ha1(row, claim));
    let check = claim.judge(call, &subscribers.auth.nonces, ha1.as_deref());
    let is_other = check == Check::Accepted && wants_sender && !claim.is_of_sender(&call.context.message);
    answer(call, if is_other { Check::OtherUser } else { check })
}

fn answer(call: &Call<'_>, check: Check) -> Outcome {
    match (call.dialect(), check) {
        (Dialect::Kamailio, check) => outcome(check),
        (Dialect::Ser, check) => (check == Check::Accepted).into(),
    }
}

/// Nobody is let in while it is not known who they are, and nobody is told that they are wrong.
fn unavailable(call: &mut Call<'_>, error: &store::Error) -> Outcome {
    let cause = error.to_string().into();
    if call.dialect() == Dialect::Kamailio {
        return Outcome::Fail(Fault { code: -1, cause });
    }
    let reply = Reply { code: 503, reason: b"Service Unavailable", headers: b"Retry-After: 10\r\n" };
    let _ = match call.context.transaction {
        Some(_) => call.host.reply(call.context, &reply),
        None => call.host.reply_stateless(call.context, &reply),
    };
    call.host.log(module_api::Level::Error, error.to_string().as_bytes());
    Outcome::Value(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, INVITE, signed};

    /// Runs a call to its end, with a database that knows Alice.
    fn check(user: &str, password: &str, code: i64) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let store = runtime.block_on(async {
            let store = Store::open(":memory:").await.unwrap();
            store.add_subscriber("alice", "example.com", "secret").await.unwrap();
            store
        });
        let auth = crate::testing::make(&crate::auth::MODULE, &[], Dialect::Kamailio, &|_| None).unwrap();
        let auth: Arc<dyn std::any::Any + Send + Sync> = auth;
        let auth: Arc<Authentication> = auth.downcast().unwrap();
        let line = signed("Proxy-Authorization", user, password, "INVITE", &auth.nonces);
        let subscribers = Subscribers {
            auth,
            store,
            uses_domain: true,
            prefers_password: false,
            cache_time: Duration::from_secs(10),
            cache: Mutex::default(),
        };
        let text = INVITE.replace("Subject", &format!("{line}Subject"));
        let mut bench = Bench::with_state(&text, Arc::new(subscribers));
        let args = ["", "subscriber", "1"];
        assert_eq!(bench.run_waiting(&MODULE, "auth_check", &args, &runtime), code, "{user} {password}");
        // The second time nothing is read.
        assert_eq!(bench.run(&MODULE, "auth_check", &args), code, "{user} {password}");
    }

    #[test]
    fn the_right_password_is_accepted() {
        check("alice", "secret", 1);
        check("alice@example.com", "secret", 1);
        check("alice@elsewhere.org", "secret", -2);
    }

    #[test]
    fn an_unknown_user_and_a_wrong_password_look_the_same() {
        check("alice", "guess", -2);
        check("mallory", "guess", -2);
    }
}
