//! The secret of this server, which outlives its process.
//!
//! What the server hands out and must know again after a restart, flow tokens and temporary GRUUs, is sealed under it.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use module_api::{Setup, SetupError};

const FILE: &str = "server.secret";
const LENGTH: usize = 32;

/// What the setting says, so that several servers can share it, else the secret in the data directory, which is made
/// when there is none. Where there is no such directory it lasts as long as the process.
pub(crate) fn of_setting(setup: &Setup<'_>, setting: &'static str) -> Result<Vec<u8>, SetupError> {
    let given = setup.text(setting);
    if !given.is_empty() {
        return Ok(given.into_bytes());
    }
    if !setup.data_dir.is_dir() {
        return fresh().map(Vec::from);
    }
    let file = setup.data_dir.join(FILE);
    of_file(&file).map_err(|error| SetupError::Unavailable(format!("{}: {error}", file.display())))
}

fn fresh() -> Result<[u8; LENGTH], SetupError> {
    let mut secret = [0; LENGTH];
    getrandom::fill(&mut secret).map_err(|error| SetupError::Unavailable(format!("no random numbers: {error}")))?;
    Ok(secret)
}

fn of_file(file: &Path) -> io::Result<Vec<u8>> {
    match fs::read(file) {
        Ok(secret) if secret.len() >= LENGTH => return Ok(secret),
        Ok(_) => return Err(io::Error::other("is shorter than a secret is; remove it for a new one")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let secret = fresh().map_err(|error| io::Error::other(error.to_string()))?;
    // Written whole under a name of its own: of two servers that start at once both must end with the same one.
    let own = file.with_extension(format!("secret.{}", std::process::id()));
    let mut options = fs::OpenOptions::new();
    let written = options.write(true).create(true).truncate(true).mode(0o600).open(&own).and_then(|mut out| {
        out.write_all(&secret)?;
        out.sync_all()
    });
    let linked = written.and_then(|()| fs::hard_link(&own, file));
    // What cannot be removed harms nobody.
    let _ = fs::remove_file(&own);
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => fs::read(file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    #[test]
    fn the_secret_is_made_once_and_kept_from_others() {
        use std::os::unix::fs::PermissionsExt;
        let scratch = Scratch::new(&[]);
        let file = scratch.path(FILE);
        let first = of_file(Path::new(&file)).unwrap();
        assert_eq!(first.len(), LENGTH);
        assert_eq!(of_file(Path::new(&file)).unwrap(), first);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let other = Scratch::new(&[]);
        assert_ne!(of_file(Path::new(&other.path(FILE))).unwrap(), first);
    }

    #[test]
    fn a_secret_that_was_cut_short_is_an_error() {
        let scratch = Scratch::new(&[(FILE, "short")]);
        assert!(of_file(Path::new(&scratch.path(FILE))).is_err());
    }
}
