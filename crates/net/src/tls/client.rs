//! The client's side: whom it trusts, and what it shows.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{CertificateFiles, TlsError, files, provider};

/// How TLS servers are judged.
#[derive(Clone, Debug)]
pub struct TlsClientSettings {
    /// PEM file of trusted roots; without it the system's.
    pub roots: Option<PathBuf>,
    /// Whether the certificate must be trusted and carry the name.
    pub verify: bool,
    /// Shown to servers that ask.
    pub certificate: Option<CertificateFiles>,
}

impl Default for TlsClientSettings {
    fn default() -> Self {
        TlsClientSettings { roots: None, verify: true, certificate: None }
    }
}

/// Settings for opening TLS connections.
#[derive(Debug)]
pub struct TlsClient {
    config: ArcSwap<ClientConfig>,
    settings: TlsClientSettings,
}

impl TlsClient {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`] names the file that cannot be used.
    pub fn new(settings: TlsClientSettings) -> Result<TlsClient, TlsError> {
        Ok(TlsClient { config: ArcSwap::from_pointee(build(&settings)?), settings })
    }

    /// Reads the same files again, for connections opened from now on.
    ///
    /// # Errors
    /// As [`TlsClient::new`]; what was there stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.config.store(Arc::new(build(&self.settings)?));
        Ok(())
    }

    /// Whether certificates are verified.
    #[must_use]
    pub fn verifies(&self) -> bool {
        self.settings.verify
    }

    /// Opens TLS on a connection. Without a name the certificate must carry the address.
    ///
    /// # Errors
    /// When the handshake fails, or the certificate does not do.
    pub async fn connect(
        &self,
        stream: TcpStream,
        name: Option<&str>,
        address: IpAddr,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = match name {
            Some(name) => ServerName::try_from(name.to_owned())
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?,
            None => ServerName::IpAddress(address.into()),
        };
        let connector = TlsConnector::from(self.config.load_full());
        connector.connect(name, stream).await
    }
}

fn build(settings: &TlsClientSettings) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |error| TlsError::Content { path, error }
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable(Path::new("")))?;
    let builder = if settings.verify {
        builder.with_root_certificates(match &settings.roots {
            Some(path) => files::roots(path)?,
            None => system_roots()?,
        })
    } else {
        let anybody = Arc::new(Anybody(provider));
        builder.dangerous().with_custom_certificate_verifier(anybody)
    };
    let Some(own) = &settings.certificate else {
        return Ok(builder.with_no_client_auth());
    };
    let (chain, key) = files::chain_and_key(own)?;
    builder.with_client_auth_cert(chain, key).map_err(unusable(&own.key))
}

fn system_roots() -> Result<Arc<RootCertStore>, TlsError> {
    let found = SYSTEM_ROOTS.iter().map(Path::new).find(|path| path.exists());
    files::roots(found.ok_or(TlsError::NoRoots)?)
}

/// Where Debian, Red Hat, and Alpine or BSD keep the bundle of trusted roots.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Takes any certificate: the operator has switched verification off. The peer must still have
/// the key that belongs to it.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
