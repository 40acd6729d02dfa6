//! Writes the reference of every module: `cargo xtask reference`.
//!
//! The pages are made of the tables that the checker and the machine work with, so they cannot drift from the code.
//! `--check` writes nothing and fails when a page is not what it would be.
#![forbid(unsafe_code)]

mod render;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> io::Result<ExitCode> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference");
    let pages = render::pages(modules::catalog(), &control::server_commands().collect::<Vec<_>>());
    let stale = stale(&folder, &pages)?;
    if std::env::args().any(|argument| argument == "--check") {
        stale.iter().for_each(|name| eprintln!("docs/reference/{name} is not current; run `cargo xtask reference`"));
        return Ok(if stale.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    std::fs::create_dir_all(&folder)?;
    for name in &stale {
        match pages.get(name) {
            Some(page) => std::fs::write(folder.join(name), page)?,
            // Of a module that is no more.
            None => std::fs::remove_file(folder.join(name))?,
        }
    }
    println!("docs/reference: {} pages, {} changed", pages.len(), stale.len());
    Ok(ExitCode::SUCCESS)
}

/// Names of pages that differ from what lies in the folder, are missing there, or should not be there.
fn stale(folder: &Path, pages: &BTreeMap<String, String>) -> io::Result<Vec<String>> {
    let is_current = |name: &String| std::fs::read_to_string(folder.join(name)).is_ok_and(|text| text == pages[name]);
    let mut stale: Vec<String> = pages.keys().filter(|name| !is_current(name)).cloned().collect();
    for path in listing(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".md") && !pages.contains_key(&name) {
            stale.push(name);
        }
    }
    Ok(stale)
}

fn listing(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
