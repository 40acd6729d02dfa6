//! A directory that is gone when its owner is: where modules keep data in a trial.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A new and empty directory of this process.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes one under the system's directory for temporary files, readable by its owner alone.
    ///
    /// # Errors
    /// When none can be made there.
    pub(crate) fn new() -> Result<Scratch> {
        let base = std::env::temp_dir();
        // Somebody else may have made a directory of that name: nothing of theirs is used.
        for number in 0..1000 {
            let path = base.join(format!("ser-{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Scratch(path)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("cannot make {}", path.display())),
            }
        }
        bail!("cannot make a directory for temporary files in {}", base.display())
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed lies among temporary files and does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_them_are_different_and_go_with_their_owners() {
        let (one, two) = (Scratch::new().expect("there is room"), Scratch::new().expect("there is room"));
        assert_ne!(one.path(), two.path());
        let path = one.path().to_owned();
        std::fs::write(path.join("file"), "x").expect("it can be written");
        drop(one);
        assert!(!path.exists());
        assert!(two.path().exists());
    }
}
