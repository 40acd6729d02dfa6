//! `ser fmt`: scripts in one layout.

use std::fs::{self, File};
use std::io::{IsTerminal, Read, Write, stderr, stdin};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use script::Reader;

use crate::load::Files;

/// Options of `ser fmt`.
#[derive(Debug, Clone, Args)]
pub(crate) struct FmtArguments {
    /// Scripts to format in place; `-` formats standard input to standard output
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Change nothing, name the files that would change, and fail when there are any
    #[arg(long)]
    check: bool,
}

/// Formats every file. The exit code is 1 when one cannot be read, or with --check would change.
///
/// # Errors
/// When a file cannot be read or written.
pub(crate) fn run(arguments: &FmtArguments) -> Result<ExitCode> {
    let mut is_good = true;
    for file in &arguments.files {
        is_good &= one(file, arguments.check)?;
    }
    Ok(ExitCode::from(u8::from(!is_good)))
}

fn one(file: &Path, is_check: bool) -> Result<bool> {
    let is_piped = file == Path::new("-");
    let before = if is_piped {
        let mut text = String::new();
        stdin().read_to_string(&mut text).context("cannot read standard input")?;
        text
    } else {
        read_utf8(file)?
    };
    let after = match script::format(&file.to_string_lossy(), &before) {
        Ok(after) => after,
        Err(diagnostics) => {
            eprint!("{}", diagnostics.render(stderr().is_terminal()));
            return Ok(false);
        }
    };
    match (is_check, is_piped) {
        (true, _) => {
            let is_same = before == after;
            if !is_same {
                println!("{}", file.display());
            }
            return Ok(is_same);
        }
        (false, true) => print!("{after}"),
        (false, false) if before != after => replace(file, &after)?,
        (false, false) => {}
    }
    Ok(true)
}

/// A script in another encoding would come back in this one: it is left to its owner to convert it first.
fn read_utf8(file: &Path) -> Result<String> {
    let text = Files.read(&file.to_string_lossy()).with_context(|| format!("cannot read {}", file.display()))?;
    let is_same = fs::metadata(file).is_ok_and(|metadata| metadata.len() == text.len() as u64);
    anyhow::ensure!(is_same, "{} is not UTF-8; convert it first, as with iconv", file.display());
    Ok(text)
}

/// Puts `text` in the place of the file at once, so that a full disk leaves the old one.
fn replace(file: &Path, text: &str) -> Result<()> {
    // A link stays a link: what it leads to is replaced.
    let target = fs::canonicalize(file).with_context(|| format!("cannot find {}", file.display()))?;
    let new = target.with_extension("ser-fmt");
    let written = || -> std::io::Result<()> {
        let mut out = File::create(&new)?;
        out.set_permissions(fs::metadata(&target)?.permissions())?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        fs::rename(&new, &target)
    };
    written().inspect_err(|_| drop(fs::remove_file(&new))).with_context(|| format!("cannot write {}", file.display()))
}
