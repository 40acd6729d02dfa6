//! The server as a user agent client: other names in From and To, credentials for peers, requests of its own.

mod auth;
mod registration;
mod replace;
mod request;

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Event, Module, Parameter, SettingKind, Setup, SetupError, State};

pub(crate) use replace::restore_within;

/// What the server does in the name of its users towards other servers.
pub static MODULE: Module = Module {
    name: "uac",
    doc: "Changes From and To and restores them, gives credentials to peers that ask for them, sends requests, and registers \
          this server with others.",
    parameters: &PARAMETERS,
    functions: &[
        replace::FROM,
        replace::FROM_URI,
        replace::TO,
        replace::TO_URI,
        replace::RESTORE_FROM,
        replace::RESTORE_TO,
        auth::AUTH,
        crate::also("uac_auth_mode", auth::AUTH),
        request::SEND,
        registration::LOOKUP,
        registration::LOOKUP_URI,
        registration::STATUS,
        registration::REQUEST_TO,
        registration::ENABLE,
        registration::DISABLE,
        registration::REFRESH,
        registration::SEND_REGISTER,
        registration::SEND_UNREGISTER,
    ],
    commands: &registration::COMMANDS,
    variables: &[request::FIELDS],
    events: &[Event {
        name: "uac:reply",
        doc: "When the final reply to a request of uac_req_send() has come, whose $uac_req(evroute) was 1. \
              $uac_req(evcode) is its status, $uac_req(evtype) 1 for a reply and 2 for none. The message is made up.",
    }],
    make,
    ..Module::EMPTY
};

/// Settings, as the script gave them.
pub(crate) struct Settings {
    /// Whether From and To are restored by themselves.
    restores: bool,
    credentials: Vec<auth::Account>,
    user_attribute: Bytes,
    realm_attribute: Bytes,
    password_attribute: Bytes,
    registrations: Option<Arc<registration::Registrations>>,
}

static PARAMETERS: [Parameter; 28] = [
    text(
        "restore_mode",
        "auto",
        "How From and To are restored: auto in replies and later requests, manual by uac_restore_from() and uac_restore_to(), none not.",
    ),
    ignored("rr_from_store_param"),
    ignored("rr_to_store_param"),
    Parameter {
        name: "credential",
        kind: SettingKind::List,
        default: "",
        doc: "Credentials for a realm, as user:realm:password; may be given several times.",
    },
    text("auth_username_avp", "", "The $avp that holds the user for uac_auth()."),
    text("auth_realm_avp", "", "The $avp that holds the realm for uac_auth(); empty answers any."),
    text("auth_password_avp", "", "The $avp that holds the password for uac_auth()."),
    ignored("restore_passwd"),
    ignored("restore_dlg"),
    ignored("restore_from_avp"),
    ignored("restore_to_avp"),
    ignored("default_socket"),
    ignored("event_callback"),
    ignored("force_socket"),
    ignored("auth_proxy"),
    ignored("reg_aor_attr"),
    registration::PARAMETERS[0],
    registration::PARAMETERS[1],
    registration::PARAMETERS[2],
    registration::PARAMETERS[3],
    registration::PARAMETERS[4],
    registration::PARAMETERS[5],
    registration::PARAMETERS[6],
    registration::PARAMETERS[7],
    registration::PARAMETERS[8],
    registration::PARAMETERS[9],
    registration::PARAMETERS[10],
    registration::PARAMETERS[11],
];

const fn text(name: &'static str, default: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Str, default, doc }
}

const fn ignored(name: &'static str) -> Parameter {
    Parameter {
        name,
        kind: SettingKind::Ignored,
        default: "",
        doc: "Has no effect: the Record-Route remembers what was changed.",
    }
}

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let mode = setup.text("restore_mode");
    if !matches!(mode.as_str(), "auto" | "manual" | "none") {
        let cause = format!("`{mode}` is none of auto, manual and none");
        return Err(SetupError::Setting { name: "restore_mode", cause });
    }
    let credentials = setup.list("credential").iter().map(auth::Account::parse).collect::<Option<_>>();
    let credentials = credentials
        .ok_or_else(|| SetupError::Setting { name: "credential", cause: "must be user:realm:password".into() })?;
    let attribute = |name: &str| {
        let text = setup.text(name);
        Bytes::copy_from_slice(
            text.trim_start_matches("$avp(").trim_end_matches(')').trim_start_matches("s:").as_bytes(),
        )
    };
    Ok(Arc::new(Settings {
        restores: mode == "auto",
        credentials,
        user_attribute: attribute("auth_username_avp"),
        realm_attribute: attribute("auth_realm_avp"),
        password_attribute: attribute("auth_password_avp"),
        registrations: registration::make(setup)?,
    }))
}
