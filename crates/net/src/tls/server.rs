//! The server's side: certificates by name, replaced while connections live.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{CertificateFiles, TlsError, files, identities, provider};

/// What a TLS listener presents and demands.
#[derive(Clone, Debug, Default)]
pub struct TlsServerSettings {
    /// The first is shown to clients that name no server or an unknown one.
    pub certificates: Vec<CertificateFiles>,
    /// Whether clients show certificates.
    pub client_certificates: ClientCertificates,
}

/// Whether clients show certificates; those must be signed by the roots in the PEM file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum ClientCertificates {
    /// None is asked for.
    #[default]
    Ignored,
    /// A client may come without; a wrong certificate ends the handshake.
    Optional(PathBuf),
    /// A client without one is refused.
    Required(PathBuf),
}

/// Certificates of a listener.
#[derive(Debug)]
pub struct TlsServer {
    config: ArcSwap<ServerConfig>,
    settings: ArcSwap<TlsServerSettings>,
}

impl TlsServer {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`] names the file that cannot be used.
    pub fn new(settings: TlsServerSettings) -> Result<TlsServer, TlsError> {
        let config = build(&settings)?;
        Ok(TlsServer { config: ArcSwap::from_pointee(config), settings: ArcSwap::from_pointee(settings) })
    }

    /// Reads the same files again: new connections get what they say now, open ones stay.
    ///
    /// # Errors
    /// As [`TlsServer::new`]; what was there stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.config.store(Arc::new(build(&self.settings.load())?));
        Ok(())
    }

    /// As [`TlsServer::reload`] with other settings.
    ///
    /// # Errors
    /// As [`TlsServer::new`]; what was there stays in use.
    pub fn replace(&self, settings: TlsServerSettings) -> Result<(), TlsError> {
        self.config.store(Arc::new(build(&settings)?));
        self.settings.store(Arc::new(settings));
        Ok(())
    }

    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.config.load_full()).accept(stream).await
    }
}

fn build(settings: &TlsServerSettings) -> Result<ServerConfig, TlsError> {
    let provider = provider();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Content { path: PathBuf::new(), error })?;
    let builder = match &settings.client_certificates {
        ClientCertificates::Ignored => builder.with_no_client_auth(),
        ClientCertificates::Optional(path) | ClientCertificates::Required(path) => {
            let roots = files::roots(path)?;
            let mut verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
            if matches!(settings.client_certificates, ClientCertificates::Optional(_)) {
                verifier = verifier.allow_unauthenticated();
            }
            builder.with_client_cert_verifier(verifier.build().map_err(|_| TlsError::NoRoots)?)
        }
    };
    let mut by_name = ByName { exact: HashMap::new(), default: None };
    for files in &settings.certificates {
        by_name.add(files, files::certified_key(files, &provider)?);
    }
    if by_name.default.is_none() {
        return Err(TlsError::NoCertificate);
    }
    Ok(builder.with_cert_resolver(Arc::new(by_name)))
}

/// Certificates by the name that the client asks for (SNI, RFC 6066 section 3).
#[derive(Debug)]
struct ByName {
    /// Names in lower case, wildcards as they are written.
    exact: HashMap<String, Arc<CertifiedKey>>,
    default: Option<Arc<CertifiedKey>>,
}

impl ByName {
    fn add(&mut self, files: &CertificateFiles, key: CertifiedKey) {
        let key = Arc::new(key);
        let inside = identities(Some(&key.cert));
        let names: Vec<&str> = if files.names.is_empty() {
            inside.iter().map(|name| &**name).collect()
        } else {
            files.names.iter().map(String::as_str).collect()
        };
        for name in names {
            // Two certificates for one name: the first, as for the default.
            let entry = self.exact.entry(name.to_ascii_lowercase());
            entry.or_insert_with(|| Arc::clone(&key));
        }
        self.default.get_or_insert(key);
    }

    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        self.exact.get(&name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.exact.get(&format!("*.{parent}"))
        })
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.find(name));
        named.or(self.default.as_ref()).cloned()
    }
}
