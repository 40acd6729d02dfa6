//! TLS on both sides: certificates by name, client certificates, reload.

mod client;
mod files;
mod server;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls_pki_types::CertificateDer;

pub use client::{TlsClient, TlsClientSettings};
pub use server::{ClientCertificates, TlsServer, TlsServerSettings};

/// A certificate with its key, as PEM files.
#[derive(Clone, Debug, Default)]
pub struct CertificateFiles {
    /// The certificate, then those that sign it.
    pub chain: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Names that it serves; when empty, the DNS names in it. `*.example.org` is understood.
    pub names: Vec<String>,
}

/// Why settings for TLS cannot be used.
#[derive(Debug)]
pub enum TlsError {
    /// The file cannot be read, or holds nothing of what it should.
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The content was read and is not accepted.
    Content {
        /// The file that it came from.
        path: PathBuf,
        /// Why.
        error: rustls::Error,
    },
    /// A server without any certificate.
    NoCertificate,
    /// Nobody's signature is trusted: no file of roots, or none usable in it.
    NoRoots,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::File { path, error } => write!(f, "{}: {error}", path.display()),
            TlsError::Content { path, error } => write!(f, "{}: {error}", path.display()),
            TlsError::NoCertificate => f.write_str("no certificate is set"),
            TlsError::NoRoots => f.write_str("no trusted root certificate was found"),
        }
    }
}

impl std::error::Error for TlsError {}

/// DNS names and URIs in the first of `certificates`, which the handshake has verified.
pub(crate) fn identities(certificates: Option<&[CertificateDer<'_>]>) -> Vec<Box<str>> {
    let Some(certificate) = certificates.and_then(<[_]>::first) else {
        return Vec::new();
    };
    let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else {
        return Vec::new();
    };
    let names = certificate.valid_dns_names();
    names.chain(certificate.valid_uri_names()).map(Box::from).collect()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
