//! Certificates and what is demanded of peers, as scripts and their profile files say it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use module_api::{Module, Parameter, SettingKind, Setup, SetupError, State};

/// TLS: where certificates are, and what is demanded of peers.
pub static MODULE: Module = Module {
    name: "tls",
    doc: "Certificates for TLS and secure WebSocket, and what is demanded of peers. What the command line says wins.",
    parameters: &[
        text(
            "config",
            "",
            "File with profiles: [server:default] and [client:default] with the parameters below; a relative path starts at \
             the working directory.",
        ),
        text("certificate", "", "File with the certificate chain of this server, in PEM."),
        text("private_key", "", "File with the key of the certificate, in PEM."),
        text("ca_list", "", "File with the certificates that peers are checked against, in PEM."),
        number(
            "verify_certificate",
            "0",
            "1 checks the certificates of peers: of servers always, of clients where they show one.",
        ),
        number("require_certificate", "0", "1 refuses clients that show no certificate."),
        text("tls_method", "TLSv1.2+", "Accepted; TLS 1.2 and 1.3 are spoken, older versions never."),
        ignored("verify_depth"),
        ignored("verify_client"),
        ignored("private_key_password"),
        ignored("ca_path"),
        ignored("crl"),
        ignored("cipher_list"),
        ignored("connection_timeout"),
        ignored("engine"),
        ignored("engine_config"),
        ignored("engine_algorithms"),
        ignored("provider_quirks"),
        ignored("provider_quirks_config"),
        ignored("tls_log"),
        ignored("tls_debug"),
        ignored("session_cache"),
        ignored("session_id"),
        ignored("tls_disable_compression"),
        ignored("ssl_release_buffers"),
        ignored("ssl_freelist_max_len"),
        ignored("ssl_max_send_fragment"),
        ignored("ssl_read_ahead"),
        ignored("send_close_notify"),
        ignored("con_ct_wq_max"),
        ignored("ct_wq_max"),
        ignored("ct_wq_blk_size"),
        ignored("tls_force_run"),
        ignored("low_mem_threshold1"),
        ignored("low_mem_threshold2"),
        ignored("renegotiation"),
        ignored("event_callback"),
        ignored("rand_engine"),
        ignored("init_mode"),
        ignored("key_password_mode"),
        ignored("keylog_mode"),
        ignored("keylog_file"),
        ignored("keylog_peer"),
        ignored("xavp_cfg"),
    ],
    make,
    ..Module::EMPTY
};

/// What the script says about TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Towards those who connect to this server.
    pub server: Profile,
    /// Towards those to whom this server connects.
    pub client: Profile,
}

/// One side of TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// File with the certificate chain.
    pub certificate: Option<PathBuf>,
    /// File with its key.
    pub private_key: Option<PathBuf>,
    /// File with the certificates that peers are checked against.
    pub ca_list: Option<PathBuf>,
    /// Whether certificates of peers are checked; none: as the side has it by default.
    pub verify: Option<bool>,
    /// Whether a peer must show one.
    pub require: bool,
}

const fn text(name: &'static str, default: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Str, default, doc }
}

const fn number(name: &'static str, default: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Int, default, doc }
}

const fn ignored(name: &'static str) -> Parameter {
    Parameter {
        name,
        kind: SettingKind::Ignored,
        default: "",
        doc: "Has no effect: concerns a library that is not used here.",
    }
}

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let given = |name: &str| Some(PathBuf::from(setup.text(name))).filter(|path| !path.as_os_str().is_empty());
    let profile = Profile {
        certificate: given("certificate"),
        private_key: given("private_key"),
        ca_list: given("ca_list"),
        verify: setup.is_set("verify_certificate").then(|| setup.int("verify_certificate") != 0),
        require: setup.int("require_certificate") != 0,
    };
    let mut settings = Settings { server: profile.clone(), client: profile };
    if let Some(path) = given("config") {
        let wrong = |cause: String| SetupError::Setting { name: "config", cause };
        let content = std::fs::read_to_string(&path)
            .map_err(|error| wrong(format!("cannot read {}: {error}", path.display())))?;
        read_profiles(&content, &mut settings).map_err(|cause| wrong(format!("{}: {cause}", path.display())))?;
    }
    if settings.server.certificate.is_some() != settings.server.private_key.is_some() {
        let cause = "a certificate and its private_key go together: one of them is missing".to_owned();
        return Err(SetupError::Setting { name: "certificate", cause });
    }
    Ok(Arc::new(settings))
}

/// Reads a file of profiles. Those of single addresses and names are passed over.
fn read_profiles(content: &str, settings: &mut Settings) -> Result<(), String> {
    #[derive(Clone, Copy)]
    enum Section {
        Server,
        Client,
        Other,
    }
    let mut section = Section::Other;
    for (n, line) in content.lines().enumerate() {
        let line = line.split('#').next().unwrap_or("").trim();
        if line.is_empty() {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = match name.trim() {
                "server:default" => Section::Server,
                "client:default" => Section::Client,
                _ => Section::Other,
            };
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            return Err(format!("line {}: expected [PROFILE] or name = value", n + 1));
        };
        let (name, value) = (name.trim(), value.trim().trim_matches('"'));
        let profile = match section {
            Section::Server => &mut settings.server,
            Section::Client => &mut settings.client,
            Section::Other => continue,
        };
        let flag = || match value.to_ascii_lowercase().as_str() {
            "yes" | "on" | "true" | "1" => Ok(true),
            "no" | "off" | "false" | "0" => Ok(false),
            _ => Err(format!("line {}: `{name}` must be yes or no", n + 1)),
        };
        let file = || Some(Path::new(value).to_owned()).filter(|_| !value.is_empty());
        match name {
            "certificate" => profile.certificate = file(),
            "private_key" => profile.private_key = file(),
            "ca_list" => profile.ca_list = file(),
            "verify_certificate" => profile.verify = Some(flag()?),
            "require_certificate" => profile.require = flag()?,
            // Versions, ciphers and the like: see the parameters that have no effect.
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use module_api::{Dialect, Setting};

    fn set(name: &str, value: &str) -> Setting {
        Setting { name: name.into(), value: testing::text(value) }
    }

    #[test]
    fn profiles_of_both_sides_are_read() {
        let content = "# a comment\n[server:default]\nmethod = TLSv1.2+\nverify_certificate = no\n\
                       private_key = /etc/key.pem\ncertificate = /etc/cert.pem # here\n\
                       [client:default]\nverify_certificate = yes\nca_list = \"/etc/roots.pem\"\n\
                       [server:192.0.2.1:5061]\ncertificate = /etc/other.pem\n";
        let mut settings = Settings::default();
        read_profiles(content, &mut settings).unwrap();
        assert_eq!(settings.server.certificate.as_deref(), Some(Path::new("/etc/cert.pem")));
        assert_eq!(settings.server.verify, Some(false));
        assert_eq!(settings.client.verify, Some(true));
        assert_eq!(settings.client.ca_list.as_deref(), Some(Path::new("/etc/roots.pem")));
        assert_eq!(
            read_profiles("[server:default]\nverify_certificate = perhaps", &mut settings).unwrap_err(),
            "line 2: `verify_certificate` must be yes or no"
        );
        assert!(read_profiles("[server:default]\nnonsense", &mut settings).is_err());
    }

    #[test]
    fn a_certificate_needs_its_key() {
        let make = |settings: &[Setting]| testing::make(&MODULE, settings, Dialect::Kamailio, &|_| None);
        assert!(make(&[set("certificate", "/c.pem"), set("private_key", "/k.pem")]).is_ok());
        assert!(make(&[set("certificate", "/c.pem")]).is_err());
        assert!(make(&[set("config", "/no/such/tls.cfg")]).is_err());
        assert!(make(&[]).is_ok());
    }
}
