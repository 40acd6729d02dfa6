//! The table of subscribers: opened at start, read through what is remembered of it.

use std::sync::Arc;
use std::time::Duration;

use module_api::{Call, Dialect, Level, Outcome, Parameter, SettingKind, Setup, SetupError, State};
use sip_proto::digest::Algorithm;
use store::{Cause, Credentials, Error, Store};

use super::rows::{Key, Rows};
use crate::auth::{Authentication, Claim};

/// The state of module auth_db.
pub(super) struct Subscribers {
    pub(super) auth: Arc<Authentication>,
    pub(super) store: Store,
    pub(super) uses_domain: bool,
    pub(super) prefers_password: bool,
    pub(super) rows: Rows,
}

pub(super) static PARAMETERS: [Parameter; 13] = [
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
        doc: "1 tells users of different domains apart, the realm being the domain; 0 takes the user of any domain \
              where the realm has none of that name. Default 1 in SER scripts, else 0.",
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
        doc: "How long a row counts without being read again, in seconds; a changed password counts after that. \
              A database that is away lets in whom it knew before, however long ago.",
    },
    column("password_column", "ha1", "Has the name of Kamailio's schema: ha1, or password with calculate_ha1."),
    column("password_column_2", "ha1b", "Has the name of Kamailio's schema: ha1b."),
    column("user_column", "username", "Has the name of Kamailio's schema: username."),
    column("domain_column", "domain", "Has the name of Kamailio's schema: domain."),
    column("load_credentials", "", "Must be empty: nothing but what verifies a user is read."),
    ignored("rpid_column", "Has no effect: Remote-Party-ID is not written."),
    ignored("use_rpid", "Has no effect: Remote-Party-ID is not written."),
    ignored("version_table", "Has no effect: the version is always checked."),
    ignored("force_generate_avps", "Has no effect."),
];

const fn ignored(name: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Ignored, default: "", doc }
}

const fn column(name: &'static str, default: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Str, default, doc }
}

/// Longest wait for a row. Well below the time after which the server gives a parked request up: what is remembered
/// must still be of use then.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let auth = setup.module::<Authentication>("auth")?;
    let prefers_password = setup.int("calculate_ha1") != 0;
    check_columns(setup, prefers_password)?;
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
        prefers_password,
        rows: Rows::new(Duration::from_secs(seconds)),
    }))
}

/// Another column than the script means would verify other people than it means.
fn check_columns(setup: &Setup<'_>, prefers_password: bool) -> Result<(), SetupError> {
    let names = [
        ("password_column", "ha1"),
        ("password_column_2", "ha1b"),
        ("user_column", "username"),
        ("domain_column", "domain"),
        ("load_credentials", ""),
    ];
    for (name, only) in names {
        let given = setup.text(name);
        let is_password = prefers_password && name == "password_column" && given == "password";
        if given != only && !is_password {
            let cause = match only {
                "" => format!("`{given}` is not read from the table; remove the line"),
                only => format!("the column is `{only}`, not `{given}`; remove the line"),
            };
            return Err(SetupError::Setting { name, cause });
        }
    }
    Ok(())
}

impl Subscribers {
    /// The HA1 that fits the credentials: of their algorithm, and of a user name with or without domain.
    ///
    /// Does the same work whether or not there is a row, so that time does not tell either.
    pub(super) fn ha1(&self, row: Option<&Credentials>, claim: &Claim) -> Option<String> {
        let password = row.and_then(|row| row.password.as_deref());
        let made = if self.prefers_password { claim.ha1_of(password.unwrap_or_default()) } else { None };
        let row = row?;
        if self.prefers_password && password.is_some() {
            return made;
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

    async fn read(&self, key: &Key) -> Result<Option<Arc<Credentials>>, Error> {
        let query = async {
            match self.store.credentials(&key.user, &key.domain).await? {
                None if !key.is_strict => self.store.credentials_in_any_domain(&key.user).await,
                row => Ok(row),
            }
        };
        let answer = tokio::time::timeout(PATIENCE, query).await;
        answer.unwrap_or(Err(Error::Unavailable(Cause::Deadline(PATIENCE)))).map(|row| row.map(Arc::new))
    }
}

/// Goes on with the row of `key`, at once where it is remembered and else after reading it.
pub(super) fn with_row(
    call: &mut Call<'_>,
    key: Key,
    then: impl FnOnce(&mut Call<'_>, Result<Option<Arc<Credentials>>, Error>) -> Outcome + Send + 'static,
) -> Outcome {
    if !key.can_exist() {
        return then(call, Ok(None));
    }
    let subscribers = call.shared_state::<Subscribers>();
    if let Some(row) = subscribers.rows.at_hand(&key, call.host.now()) {
        return then(call, Ok(row));
    }
    let reader = Arc::clone(&subscribers);
    let read = async move {
        let answer = reader.read(&key).await;
        (key, answer)
    };
    Outcome::wait(read, move |call, (key, answer)| {
        let now = call.host.now();
        let answer = match answer {
            Ok(row) => {
                subscribers.rows.remember(key, row.as_ref(), now);
                Ok(row)
            }
            Err(error) => match subscribers.rows.database_is_away(&key, now) {
                Some(row) => {
                    let text = format!("subscribers cannot be read, a row read before counts: {error}");
                    call.host.log(Level::Warning, text.as_bytes());
                    Ok(Some(row))
                }
                None => Err(error),
            },
        };
        then(call, answer)
    })
}
