//! Where the server keeps its data: one answer for `ser` and `serctl`.

use std::path::{Path, PathBuf};

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

/// The socket in `directory` at which the running server takes commands.
pub(crate) fn control_socket(directory: &Path) -> PathBuf {
    directory.join("control.sock")
}
