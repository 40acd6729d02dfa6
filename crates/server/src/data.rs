//! Where the server keeps its data.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The directory for data: `given`, else `$XDG_DATA_HOME/ser`, else `~/.local/share/ser`, else `/var/lib/ser`.
pub(crate) fn directory(given: Option<&Path>) -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    given
        .map(Path::to_owned)
        .or_else(|| variable("XDG_DATA_HOME").map(|dir| dir.join("ser")))
        .or_else(|| variable("HOME").map(|dir| dir.join(".local/share/ser")))
        .unwrap_or_else(|| PathBuf::from("/var/lib/ser"))
}

/// The database in `directory`.
pub(crate) fn database(directory: &Path) -> PathBuf {
    directory.join("ser.db")
}

/// Makes `directory`, readable by its owner alone: it holds password hashes.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn prepare(directory: &Path) -> Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(directory).with_context(|| format!("cannot make the data directory {}", directory.display()))
}
