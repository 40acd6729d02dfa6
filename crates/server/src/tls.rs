//! Certificates for TLS and secure WebSocket: from the command line, else from the script.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use modules::tls::{Profile, Settings};
use net::tls::{
    CertificateFiles, ClientCertificates, TlsClient, TlsClientSettings, TlsError, TlsServer, TlsServerSettings,
};
use script::Settings as ScriptSettings;

use crate::arguments::Arguments;
use crate::core_parameters::given;
use crate::start_modules::Started;

/// What is wanted of TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Towards those who connect to this server.
    server: Profile,
    /// Towards those to whom this server connects.
    client: Profile,
}

impl Wanted {
    /// What the command line says, else module tls, else the core parameters of SER.
    pub(crate) fn of(arguments: &Arguments, settings: &ScriptSettings, started: &Started) -> Wanted {
        let of_module = started.of::<Settings>("tls");
        // A script that switches TLS off has no use for the certificates that it names.
        let is_off = settings.flag("disable_tls") || settings.is_set("enable_tls") && !settings.flag("enable_tls");
        let of_script = match of_module {
            _ if is_off => Settings::default(),
            Some(of_module) => Settings::clone(&of_module),
            None => of_core(settings),
        };
        let mut wanted = Wanted { server: of_script.server, client: of_script.client };
        if arguments.tls_cert.is_some() {
            for profile in [&mut wanted.server, &mut wanted.client] {
                profile.certificate.clone_from(&arguments.tls_cert);
                profile.private_key.clone_from(&arguments.tls_key);
            }
        }
        if arguments.tls_ca.is_some() {
            wanted.server.ca_list.clone_from(&arguments.tls_ca);
            wanted.client.ca_list.clone_from(&arguments.tls_ca);
        }
        if arguments.tls_no_verify {
            wanted.client.verify = Some(false);
        }
        wanted
    }
}

/// The core parameters with which SER told what module tls tells since.
fn of_core(settings: &ScriptSettings) -> Settings {
    let file = |name: &str| given(settings, name).map(PathBuf::from);
    let profile = Profile {
        certificate: file("tls_certificate"),
        private_key: file("tls_private_key"),
        ca_list: file("tls_ca_list"),
        verify: settings.is_set("tls_verify").then(|| settings.flag("tls_verify")),
        require: settings.flag("tls_require_certificate"),
    };
    Settings { server: profile.clone(), client: profile }
}

/// The server's side of TLS; none without a certificate.
///
/// # Errors
/// When a file cannot be read or holds no certificate or key.
pub(crate) fn server(wanted: &Wanted) -> Result<Option<Arc<TlsServer>>> {
    let Some((certificate, key)) = wanted.server.certificate.as_ref().zip(wanted.server.private_key.as_ref()) else {
        return Ok(None);
    };
    let files_of = CertificateFiles { chain: certificate.clone(), key: key.clone(), names: Vec::new() };
    let settings =
        TlsServerSettings { certificates: vec![files_of], client_certificates: client_certificates(&wanted.server) };
    let server = TlsServer::new(settings).with_context(|| files(certificate, key))?;
    Ok(Some(Arc::new(server)))
}

fn client_certificates(profile: &Profile) -> ClientCertificates {
    match &profile.ca_list {
        Some(roots) if profile.require => ClientCertificates::Required(roots.clone()),
        Some(roots) if profile.verify != Some(false) => ClientCertificates::Optional(roots.clone()),
        _ => ClientCertificates::Ignored,
    }
}

/// The client's side of TLS: how peers are checked to which this server connects. None where nothing
/// asks for TLS and this machine trusts nobody, as in a bare container.
///
/// # Errors
/// When the file of trusted certificates cannot be read.
pub(crate) fn client(wanted: &Wanted) -> Result<Option<Arc<TlsClient>>> {
    let profile = &wanted.client;
    let is_wanted = profile.ca_list.is_some() || profile.certificate.is_some();
    let certificate = profile.certificate.clone().zip(profile.private_key.clone());
    let settings = TlsClientSettings {
        roots: profile.ca_list.clone(),
        verify: profile.verify != Some(false),
        certificate: certificate.map(|(chain, key)| CertificateFiles { chain, key, names: Vec::new() }),
    };
    match TlsClient::new(settings) {
        Ok(client) => Ok(Some(Arc::new(client))),
        Err(TlsError::NoRoots) if !is_wanted => Ok(None),
        Err(error) => Err(error).context("cannot set up TLS towards peers"),
    }
}

fn files(certificate: &Path, key: &Path) -> String {
    format!("cannot use the certificate {} with the key {}", certificate.display(), key.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use script::{LoadOptions, Reader};

    struct One(&'static str);

    impl Reader for One {
        fn read(&self, _: &str) -> std::io::Result<String> {
            Ok(format!("{}\nroute {{ break; }}\n", self.0))
        }
    }

    fn wanted(script: &'static str, arguments: &[&str]) -> Wanted {
        let options = LoadOptions { defines: Vec::new(), catalog: modules::catalog(), reader: &One(script) };
        let settings = script::load("t.cfg", &options).configuration.expect("a test's lines are right").settings;
        Wanted::of(&Arguments::parse_from([&["ser"][..], arguments].concat()), &settings, &Started::default())
    }

    #[test]
    fn ser_names_its_certificate_in_core_parameters() {
        let script = "tls_certificate=\"/c.pem\"\ntls_private_key=\"/k.pem\"\ntls_ca_list=\"/r.pem\"\ntls_require_certificate=yes";
        let found = wanted(script, &[]);
        assert_eq!(found.server.certificate.as_deref(), Some(Path::new("/c.pem")));
        assert_eq!(client_certificates(&found.server), ClientCertificates::Required("/r.pem".into()));
        assert_eq!(wanted("disable_tls=yes\ntls_certificate=\"/c.pem\"", &[]).server.certificate, None);
    }

    #[test]
    fn the_command_line_wins() {
        let found = wanted("tls_certificate=\"/c.pem\"", &["--tls-cert", "/own.pem", "--tls-key", "/own.key"]);
        assert_eq!(found.server.certificate.as_deref(), Some(Path::new("/own.pem")));
        assert_eq!(found.client.private_key.as_deref(), Some(Path::new("/own.key")));
        assert_eq!(client_certificates(&found.server), ClientCertificates::Ignored);
    }
}
