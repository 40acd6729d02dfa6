//! A certificate for the server under test, made afresh for each run.

use std::fs;
use std::path::{Path, PathBuf};

/// Files of a self-signed certificate; peers trust `certificate` itself.
pub(crate) struct CertificateFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl CertificateFiles {
    /// Writes a certificate for `names` (host names and IP addresses) into `directory`.
    pub(crate) fn create(directory: &Path, names: &[&str]) -> CertificateFiles {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("the names are valid");
        let files = CertificateFiles { certificate: directory.join("certificate.pem"), key: directory.join("key.pem") };
        fs::write(&files.certificate, made.cert.pem()).expect("the directory is writable");
        fs::write(&files.key, made.signing_key.serialize_pem()).expect("the directory is writable");
        files
    }
}
