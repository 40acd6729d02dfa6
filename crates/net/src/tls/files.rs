//! Reading certificates and keys from PEM files.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{CertificateFiles, TlsError};

/// Chain and key, checked to belong together.
pub(super) fn certified_key(files: &CertificateFiles, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let (chain, key) = chain_and_key(files)?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| TlsError::Content { path: files.key.clone(), error })
}

pub(super) fn chain_and_key(
    files: &CertificateFiles,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = certificates(&files.chain)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| file_error(&files.key, error))?;
    Ok((chain, key))
}

/// Trusted roots. Single ones that cannot be used are passed over, as systems ship such.
pub(super) fn roots(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(certificates(path)?);
    if store.is_empty() {
        return Err(TlsError::NoRoots);
    }
    Ok(Arc::new(store))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|error| file_error(path, error));
    let found = found?;
    if found.is_empty() {
        return Err(file_error(path, pem::Error::NoItemsFound));
    }
    Ok(found)
}

fn file_error(path: &Path, error: pem::Error) -> TlsError {
    TlsError::File {
        path: path.to_owned(),
        error: match error {
            pem::Error::Io(error) => error,
            other => io::Error::new(io::ErrorKind::InvalidData, other),
        },
    }
}
