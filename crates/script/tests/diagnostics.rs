//! Each script in `diagnostics/` is told what its `.expected` file says. `BLESS=1` writes these files.
#![allow(clippy::disallowed_methods, reason = "golden files are read and written")]

mod world;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use world::{Files, load_files};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics")
}

fn scripts() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut scripts: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "cfg")).collect();
    scripts.sort();
    scripts
}

fn render(path: &Path) -> String {
    let files = Files::one(&fs::read_to_string(path).unwrap()).and("loop.cfg", "include_file \"loop.cfg\"\n");
    load_files(&files, &[]).diagnostics.render(false)
}

#[test]
fn each_script_is_told_what_is_expected() {
    for path in scripts() {
        let told = render(&path);
        let expected = path.with_extension("expected");
        if std::env::var_os("BLESS").is_some() {
            fs::write(&expected, &told).unwrap();
        }
        assert_eq!(told, fs::read_to_string(&expected).unwrap_or_default(), "{}", path.display());
    }
}

#[test]
fn every_code_has_a_script() {
    let told: String = scripts().iter().map(|path| render(path)).collect();
    let missing: BTreeSet<String> =
        script::codes::ALL.iter().map(|(code, _)| code.to_string()).filter(|code| !told.contains(code)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
