//! What the operating system allows the process: open files, core files.

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use script::Settings;

/// Asks for what the script wants: `open_files_limit` and `disable_core_dump`.
///
/// # Errors
/// The system does not allow so many open files.
pub(crate) fn set(settings: &Settings) -> Result<()> {
    if let Ok(wanted @ 1..) = u64::try_from(settings.int("open_files_limit")) {
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).context("the bound of open files is not to be had")?;
        let refused = || format!("open_files_limit: the system does not allow {wanted} open files, but {most}");
        setrlimit(Resource::RLIMIT_NOFILE, wanted, most.max(wanted)).with_context(refused)?;
    }
    if settings.flag("disable_core_dump") {
        // Lowering a bound is always allowed.
        setrlimit(Resource::RLIMIT_CORE, 0, 0).context("core files cannot be turned off")?;
    }
    Ok(())
}
