//! Certificates for TLS and secure WebSocket, from the command line.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use net::tls::{
    CertificateFiles, ClientCertificates, TlsClient, TlsClientSettings, TlsError, TlsServer, TlsServerSettings,
};

use crate::arguments::Arguments;

/// The server's side of TLS; none without a certificate.
///
/// # Errors
/// When a file cannot be read or holds no certificate or key.
pub(crate) fn server(arguments: &Arguments) -> Result<Option<Arc<TlsServer>>> {
    let (Some(certificate), Some(key)) = (&arguments.tls_cert, &arguments.tls_key) else { return Ok(None) };
    let files_of = CertificateFiles { chain: certificate.clone(), key: key.clone(), names: Vec::new() };
    let settings = TlsServerSettings {
        certificates: vec![files_of],
        client_certificates: arguments.tls_ca.clone().map_or(ClientCertificates::Ignored, ClientCertificates::Optional),
    };
    let server = TlsServer::new(settings).with_context(|| files(certificate, key))?;
    Ok(Some(Arc::new(server)))
}

/// The client's side of TLS: how peers are checked to which this server connects. None where nothing
/// asks for TLS and this machine trusts nobody, as in a bare container.
///
/// # Errors
/// When the file of trusted certificates cannot be read.
pub(crate) fn client(arguments: &Arguments) -> Result<Option<Arc<TlsClient>>> {
    let is_wanted = arguments.tls_ca.is_some() || arguments.tls_cert.is_some();
    let certificate = arguments.tls_cert.clone().zip(arguments.tls_key.clone());
    let settings = TlsClientSettings {
        roots: arguments.tls_ca.clone(),
        verify: !arguments.tls_no_verify,
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
