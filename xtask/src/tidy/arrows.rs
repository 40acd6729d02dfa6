//! Which crate may depend on which. Arrows point down only.

use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

use super::{File, Finding};

/// A crate of the workspace.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) name: String,
    /// Names of what its product depends on: not what only its tests or its build need.
    pub(super) dependencies: Vec<String>,
    /// Path of its `Cargo.toml`.
    pub(super) manifest: String,
    /// Paths of the root files of its library and programs.
    pub(super) roots: Vec<String>,
}

/// The arrows, top to bottom; a crate may also use what those below it use.
const ARROWS: &[(&str, &[&str])] = &[
    ("server", &["control", "load", "testkit", "modules", "engine", "store", "net"]),
    // What makes load is a client: it shares nothing with the server that it measures but messages and sockets.
    ("load", &["net", "sip-proto"]),
    // The simulated network: tests run on it, and so do `ser explain` and `ser test`.
    ("testkit", &["engine", "modules"]),
    ("engine", &["script", "net", "sip-proto"]),
    // Commands and statistics are tables of `module-api`.
    ("control", &["module-api"]),
    ("modules", &["module-api", "store", "radius"]),
    ("script", &["module-api"]),
    ("module-api", &["sip-proto"]),
    ("sip-proto", &["sip-message"]),
    ("sip-message", &[]),
    // These know no SIP messages.
    ("net", &[]),
    ("store", &[]),
    ("radius", &[]),
];

/// Crates without a product: tests, measurements, chores. They may use everything, and nothing may use them.
const WORKSHOP: &[&str] = &["tests", "bench", "xtask"];

/// Crates that do no input or output and read no clock, and crates of others that would let them.
const PURE: &[&str] = &["sip-message", "sip-proto", "module-api", "script"];
const IMPURE: &[&str] = &["tokio", "mio", "libc", "nix", "socket2", "rustix", "sqlx", "hickory-resolver", "getrandom"];

/// Checks every dependency that a product has.
pub(super) fn check(packages: &[Package]) -> Vec<Finding> {
    packages.iter().flat_map(|package| package.dependencies.iter().filter_map(|to| judge(package, to))).collect()
}

/// Each pure crate bans clocks, sockets, files and threads, all with the same list: clippy reads the nearest
/// `clippy.toml` only, so the list is copied.
pub(super) fn check_bans(files: &[File]) -> Vec<Finding> {
    let manifest = |name: &str| format!("crates/{name}/clippy.toml");
    let text = |path: &str| files.iter().find(|file| file.path == path).map(|file| &*file.text);
    let first = text(&manifest(PURE[0]));
    let judge = |path: String| {
        let what = match text(&path) {
            None => "is missing: a pure crate bans clocks, sockets, files and threads".to_owned(),
            found if found != first => format!("differs from {}", manifest(PURE[0])),
            _ => return None,
        };
        Some(Finding { path, line: 0, rule: "pure", what })
    };
    PURE.iter().map(|name| manifest(name)).filter_map(judge).collect()
}

fn judge(package: &Package, to: &str) -> Option<Finding> {
    let from = &*package.name;
    let is_ours = |name: &str| is_known(name) || WORKSHOP.contains(&name);
    let (rule, what) = if WORKSHOP.contains(&from) {
        return None;
    } else if !is_known(from) {
        ("arrow", format!("crate `{from}` has no place in the arrows; a new crate needs a rule that it enforces"))
    } else if is_ours(to) && !is_below(from, to) {
        ("arrow", format!("`{from}` must not depend on `{to}`: arrows point down only"))
    } else if PURE.contains(&from) && IMPURE.contains(&to) {
        ("pure", format!("`{from}` does no input or output, so it cannot need `{to}`"))
    } else {
        return None;
    };
    Some(Finding { path: package.manifest.clone(), line: 0, rule, what })
}

fn is_known(name: &str) -> bool {
    ARROWS.iter().any(|(from, _)| *from == name)
}

/// True when arrows lead from one crate to the other. The table has no circle: its lines are in order.
fn is_below(from: &str, to: &str) -> bool {
    let direct = ARROWS.iter().find(|(name, _)| *name == from).map_or(&[][..], |(_, below)| below);
    direct.iter().any(|below| *below == to || is_below(below, to))
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
}

#[derive(Deserialize)]
struct MetadataPackage {
    name: String,
    manifest_path: String,
    dependencies: Vec<MetadataDependency>,
    targets: Vec<MetadataTarget>,
}

#[derive(Deserialize)]
struct MetadataDependency {
    name: String,
    kind: Option<String>,
}

#[derive(Deserialize)]
struct MetadataTarget {
    kind: Vec<String>,
    src_path: String,
}

/// Reads what `cargo metadata --no-deps` printed.
pub(super) fn packages(metadata: &str, root: &Path) -> anyhow::Result<Vec<Package>> {
    let metadata: Metadata = serde_json::from_str(metadata).context("output of cargo metadata")?;
    let within = |path: &str| Path::new(path).strip_prefix(root).unwrap_or(Path::new(path)).display().to_string();
    let is_product = |target: &&MetadataTarget| target.kind.iter().any(|kind| kind == "lib" || kind == "bin");
    let package = |package: MetadataPackage| Package {
        name: package.name,
        dependencies: package.dependencies.into_iter().filter(|d| d.kind.is_none()).map(|d| d.name).collect(),
        manifest: within(&package.manifest_path),
        roots: package.targets.iter().filter(is_product).map(|target| within(&target.src_path)).collect(),
    };
    Ok(metadata.packages.into_iter().map(package).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_arrow(from: &str, to: &str, expected: Option<&str>) {
        let package = Package {
            name: from.into(),
            dependencies: vec![to.into()],
            manifest: format!("crates/{from}/Cargo.toml"),
            roots: vec![],
        };
        assert_eq!(check(&[package]).first().map(|finding| finding.rule), expected, "{from} -> {to}");
    }

    #[test]
    fn arrows_lead_down_also_over_several_steps() {
        check_arrow("server", "sip-message", None);
        check_arrow("engine", "module-api", None);
        check_arrow("script", "sip-message", None);
    }

    #[test]
    fn modules_see_neither_net_nor_engine_nor_script() {
        for below in ["net", "engine", "script"] {
            check_arrow("modules", below, Some("arrow"));
        }
    }

    #[test]
    fn net_and_store_know_no_sip() {
        check_arrow("net", "sip-message", Some("arrow"));
        check_arrow("store", "sip-proto", Some("arrow"));
        check_arrow("sip-message", "sip-proto", Some("arrow"));
    }

    #[test]
    fn a_crate_without_a_place_is_found_and_workshop_crates_are_free() {
        check_arrow("common", "bytes", Some("arrow"));
        check_arrow("tests", "engine", None);
        check_arrow("engine", "testkit", Some("arrow"));
    }

    #[test]
    fn pure_crates_have_no_runtime() {
        check_arrow("sip-proto", "tokio", Some("pure"));
        check_arrow("sip-proto", "bytes", None);
        check_arrow("net", "tokio", None);
    }

    #[test]
    fn pure_crates_ban_the_same_things() {
        let file = |name: &str, text: &str| File { path: format!("crates/{name}/clippy.toml"), text: text.into() };
        let mut files = vec![file("sip-message", "x"), file("sip-proto", "x"), file("module-api", "x")];
        assert_eq!(check_bans(&files)[0].what, "is missing: a pure crate bans clocks, sockets, files and threads");
        files.push(file("script", "y"));
        assert_eq!(check_bans(&files)[0].what, "differs from crates/sip-message/clippy.toml");
        files[3].text = "x".into();
        assert_eq!(check_bans(&files), []);
    }

    #[test]
    fn what_only_tests_need_is_no_arrow() {
        let metadata = r#"{"packages": [{"name": "store", "manifest_path": "/r/crates/store/Cargo.toml",
            "dependencies": [{"name": "sqlx", "kind": null}, {"name": "testkit", "kind": "dev"}],
            "targets": [{"kind": ["lib"], "src_path": "/r/crates/store/src/lib.rs"},
                        {"kind": ["test"], "src_path": "/r/crates/store/tests/a.rs"}]}]}"#;
        let packages = packages(metadata, Path::new("/r")).expect("well formed");
        assert_eq!(packages[0].dependencies, ["sqlx"]);
        assert_eq!(packages[0].manifest, "crates/store/Cargo.toml");
        assert_eq!(packages[0].roots, ["crates/store/src/lib.rs"]);
    }
}
