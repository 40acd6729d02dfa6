//! Configurations in the style of both eras load, against the modules that there are.
//!
//! Where a module or a part of one is not there yet, `corpus/not_yet.txt` says so; any other error is one.
#![allow(clippy::disallowed_methods, reason = "configurations are read from the file system")]

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use script::{LoadOptions, Loaded, Reader, Severity, load};

struct Files;

impl Reader for Files {
    fn read(&self, path: &str) -> io::Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
    }

    fn environment(&self, name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn load_file(path: &Path, defines: &[&str]) -> Loaded {
    let defines = defines.iter().map(|name| ((*name).to_owned(), None)).collect();
    load(&path.to_string_lossy(), &LoadOptions { defines, catalog: modules::catalog(), reader: &Files })
}

/// Whether an error may be: because a module is absent, or is being built. `not_yet.txt` names both.
fn is_excused(error: &str, not_yet: &str) -> bool {
    not_yet.lines().filter(|line| !line.starts_with('#')).any(|line| match line.strip_prefix("unfinished ") {
        Some(module) => error.contains(&format!("module `{module}`")),
        None => line == error,
    })
}

/// Errors of a configuration that nothing excuses.
fn unexcused(path: &Path, defines: &[&str]) -> Vec<String> {
    let not_yet = fs::read_to_string(folder().join("not_yet.txt")).unwrap();
    let loaded = load_file(path, defines);
    let errors = loaded.diagnostics.iter().filter(|found| found.severity == Severity::Error);
    errors
        .map(|found| format!("{} {}", found.code, found.message))
        .filter(|line| !is_excused(line, &not_yet))
        .map(|line| format!("{} {defines:?}: {line}", path.display()))
        .collect()
}

fn configurations(era: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder().join(era)).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 8, "{paths:?}");
    paths
}

#[track_caller]
fn check(era: &str) {
    let errors: Vec<String> = configurations(era).iter().flat_map(|path| unexcused(path, &[])).collect();
    assert!(
        errors.is_empty(),
        "{}\nWhere a module is not finished, its line (code and text) belongs into tests/corpus/not_yet.txt.",
        errors.join("\n")
    );
}

#[test]
fn configurations_of_ser_load() {
    check("ser");
}

#[test]
fn configurations_of_kamailio_load() {
    check("kamailio");
}

#[test]
fn the_dialect_of_each_is_recognised() {
    use module_api::Dialect;
    for (era, dialect) in [("ser", Dialect::Ser), ("kamailio", Dialect::Kamailio)] {
        for path in configurations(era) {
            assert_eq!(load_file(&path, &[]).dialect, dialect, "{}", path.display());
        }
    }
}

/// The peer's own file, where its package puts it: with nothing defined, with each of its switches, with all of them.
#[test]
fn the_installed_kamailio_cfg_loads_with_each_of_its_switches() {
    let path = Path::new("/etc/kamailio/kamailio.cfg");
    let text = fs::read_to_string(path).expect("package kamailio is there; tests/peers/install installs it");
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let switches: BTreeSet<&str> = words.filter(|word| word.starts_with("WITH_") && word.len() > 5).collect();
    assert!(switches.len() >= 20, "{switches:?}");
    let all: Vec<&str> = switches.iter().copied().collect();
    let mut errors = unexcused(path, &[]);
    for switch in &all {
        // What needs a database asks for its URL.
        errors.extend(unexcused(path, &["WITH_MYSQL", switch]));
    }
    errors.extend(unexcused(path, &all));
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}
