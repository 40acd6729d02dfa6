//! TLS to a server (RFC 6614): whom it trusts, and what it shows.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::ConfigError;
use crate::peer::TlsFiles;

/// How to open TLS, and the name that the server's certificate must carry.
#[derive(Clone)]
pub(crate) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    pub(crate) fn new(files: &TlsFiles, host: &str) -> Result<Tls, ConfigError> {
        let roots = files.roots.as_deref().ok_or_else(|| {
            ConfigError::Setting(format!("server {host} needs ca=FILE: the authorities that its certificate is from"))
        })?;
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(certificates(roots)?);
        if store.is_empty() {
            return Err(ConfigError::Setting(format!("{}: there is no usable certificate", roots.display())));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let unusable = |error: rustls::Error| ConfigError::Setting(format!("TLS to server {host}: {error}"));
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(unusable)?.with_root_certificates(store);
        let config = match (&files.certificate, &files.key) {
            (Some(chain), Some(key)) => {
                let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
                builder.with_client_auth_cert(certificates(chain)?, key).map_err(unusable)?
            }
            (None, None) => builder.with_no_client_auth(),
            _ => return Err(ConfigError::Setting(format!("server {host} needs cert and key, or neither"))),
        };
        let name = match host.parse::<IpAddr>() {
            Ok(address) => ServerName::IpAddress(address.into()),
            Err(_) => ServerName::try_from(host.to_owned())
                .map_err(|_| ConfigError::Setting(format!("`{host}` is no name of a host")))?,
        };
        Ok(Tls { connector: TlsConnector::from(Arc::new(config)), name })
    }

    pub(crate) async fn connect(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), stream).await
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    found.map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &rustls_pki_types::pem::Error) -> ConfigError {
    ConfigError::Setting(format!("{}: {error}", path.display()))
}
