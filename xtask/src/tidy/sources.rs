//! Rules for Rust files: size, names, purpose, `unsafe`.

use std::collections::BTreeSet;

use super::Finding;
use super::arrows::Package;
use super::functions::functions;
use super::source::Source;

/// Lines of a file without its tests.
const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 100;
/// Names that say nothing about what a file holds.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "manager", "misc", "impl", "core"];

/// Checks each file for itself.
pub(super) fn check(sources: &[Source<'_>]) -> Vec<Finding> {
    let test_files: BTreeSet<String> = sources.iter().flat_map(test_files_of).collect();
    let mut findings = Vec::new();
    for source in sources {
        findings.extend(name(source));
        findings.extend(purpose(source));
        let is_test_file = source.path.starts_with("tests/")
            || source.path.contains("/tests/")
            || test_files.iter().any(|test| source.path == *test || is_within(source.path, test));
        if !is_test_file {
            findings.extend(size(source));
            findings.extend(function_findings(source));
        }
    }
    findings
}

/// Every crate but `net` forbids `unsafe` at its root.
pub(super) fn check_roots(sources: &[Source<'_>], packages: &[Package]) -> Vec<Finding> {
    let roots = packages.iter().filter(|package| package.name != "net").flat_map(|package| &package.roots);
    let lacks = |root: &&String| {
        !sources.iter().any(|source| source.path == **root && source.code.contains("#![forbid(unsafe_code)]"))
    };
    let finding = |root: &String| Finding {
        path: root.clone(),
        line: 0,
        rule: "forbid-unsafe",
        what: "no `#![forbid(unsafe_code)]`; unsafe code lives in `net` alone".to_owned(),
    };
    roots.filter(lacks).map(finding).collect()
}

fn name(source: &Source<'_>) -> Option<Finding> {
    let parts = source.path.trim_end_matches(".rs").split('/');
    // A script's module is called `core` by the language itself.
    let is_language = |part: &str| part == "core" && source.path.starts_with("crates/modules/");
    let empty = parts.filter(|part| !is_language(part)).find(|part| EMPTY_NAMES.contains(part))?;
    let what = format!("the name `{empty}` says nothing; say what is inside");
    Some(Finding { path: source.path.to_owned(), line: 0, rule: "name", what })
}

fn purpose(source: &Source<'_>) -> Option<Finding> {
    let first = source.text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let what = "does not begin with `//!` and its purpose".to_owned();
    let is_missing = !first.starts_with("//!");
    is_missing.then(|| Finding { path: source.path.to_owned(), line: 1, rule: "purpose", what })
}

fn size(source: &Source<'_>) -> Option<Finding> {
    let lines = source.is_test_line.iter().filter(|is_test| !**is_test).count();
    let what = format!("{lines} lines without tests, at most {FILE_LINES}; split it by what its parts do");
    (lines > FILE_LINES).then(|| Finding { path: source.path.to_owned(), line: 0, rule: "file-size", what })
}

fn function_findings(source: &Source<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for function in functions(source).filter(|function| !source.is_test_line[function.line - 1]) {
        let mut find = |rule, what| {
            findings.push(Finding { path: source.path.to_owned(), line: function.line, rule, what });
        };
        if function.length > FUNCTION_LINES {
            find(
                "function-size",
                format!("`{}` has {} lines, at most {FUNCTION_LINES}", function.name, function.length),
            );
        }
        if function.name.starts_with("get_") {
            find("name", format!("`{}`: without `get_`", function.name));
        }
    }
    findings
}

/// Where the modules lie that a file declares as tests: without `.rs`, as a file or a folder.
fn test_files_of(source: &Source<'_>) -> Vec<String> {
    let stem = source.path.trim_end_matches(".rs");
    let folder = match stem.rsplit_once('/') {
        Some((folder, "mod" | "lib" | "main")) => folder,
        _ => stem,
    };
    source.test_modules.iter().map(|module| format!("{folder}/{module}.rs")).collect()
}

/// True when `path` lies in the folder of the module in the file `module`.
fn is_within(path: &str, module: &str) -> bool {
    path.strip_prefix(module.trim_end_matches(".rs")).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_rules(files: &[(&str, &str)], expected: &[&str]) {
        let sources: Vec<_> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
        let found: Vec<_> = check(&sources).iter().map(|f| format!("{}:{} {}", f.path, f.line, f.rule)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_file_of_601_lines_is_too_long() {
        let lines = |count: usize| format!("//! Purpose.\n{}", "// x\n".repeat(count - 1));
        check_rules(&[("a/src/b.rs", &lines(600))], &[]);
        check_rules(&[("a/src/b.rs", &lines(601))], &["a/src/b.rs:0 file-size"]);
    }

    #[test]
    fn tests_do_not_count() {
        let long = "x();\n".repeat(700);
        let text = format!("//! Purpose.\nfn a() {{}}\n#[cfg(test)]\nmod tests {{\nfn t() {{\n{long}}}\n}}\n");
        check_rules(&[("a/src/b.rs", &text)], &[]);
        let elsewhere = format!("//! Purpose.\nfn t() {{\n{long}}}\n");
        let declared = "//! Purpose.\n#[cfg(test)]\nmod tests;\n";
        check_rules(&[("a/src/b/mod.rs", declared), ("a/src/b/tests.rs", &elsewhere)], &[]);
        check_rules(&[("a/src/b.rs", declared), ("a/src/b/tests/mod.rs", &elsewhere)], &[]);
        check_rules(&[("tests/src/sipp.rs", &elsewhere)], &[]);
    }

    #[test]
    fn a_function_of_101_lines_is_too_long() {
        let function = |lines: usize| format!("//! Purpose.\nfn f() {{\n{}}}\n", "x();\n".repeat(lines - 2));
        check_rules(&[("a/src/b.rs", &function(100))], &[]);
        check_rules(&[("a/src/b.rs", &function(101))], &["a/src/b.rs:2 function-size"]);
    }

    #[test]
    fn names_and_purpose_are_demanded() {
        check_rules(&[("a/src/util.rs", "//! Purpose.\n")], &["a/src/util.rs:0 name"]);
        check_rules(&[("a/src/b.rs", "use c;\n")], &["a/src/b.rs:1 purpose"]);
        check_rules(&[("a/src/b.rs", "//! Purpose.\nfn get_x() {}\n")], &["a/src/b.rs:2 name"]);
    }

    #[test]
    fn each_root_but_that_of_net_forbids_unsafe() {
        let sources = [Source::new("a/src/lib.rs", "//! Says #![forbid(unsafe_code)] only in a comment.")];
        let package = |name: &str| Package {
            name: name.into(),
            dependencies: vec![],
            manifest: String::new(),
            roots: vec!["a/src/lib.rs".into()],
        };
        assert_eq!(check_roots(&sources, &[package("net")]), []);
        assert_eq!(check_roots(&sources, &[package("store")])[0].rule, "forbid-unsafe");
    }
}
