//! Paths that documents mention must exist: a page that points nowhere has stopped telling the truth.

use super::Finding;

/// Folders at the root by which a path in `code` is told from other text with a slash.
const FOLDERS: &[&str] =
    &["bench/", "crates/", "docs/", "examples/", "fuzz/", "testkit/", "tests/", "web/", "xtask/", ".ci/", ".cargo/"];

/// True for hand-written pages: at the root, in `docs/` (not its generated reference), and beside the code.
pub(super) fn is_document(path: &str) -> bool {
    // A changelog speaks about what was, too.
    path.ends_with(".md") && !path.starts_with("docs/reference/") && path != "CHANGELOG.md"
}

/// Checks link targets and paths in `code spans`. `exists` answers for a path from the root.
pub(super) fn check(path: &str, text: &str, exists: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut findings = Vec::new();
    let mut is_block = false;
    for (index, line) in text.lines().enumerate() {
        // Blocks show trees and commands, not claims.
        if line.trim_start().starts_with("```") {
            is_block = !is_block;
        }
        if is_block {
            continue;
        }
        let links = links(line).filter_map(|target| resolve(folder, target)).filter(|target| !exists(target));
        let spans = code_spans(line).filter_map(path_of_span).filter(|path| !exists_around(folder, path, exists));
        for missing in links.chain(spans.map(str::to_owned)) {
            let what = format!("`{missing}` does not exist");
            findings.push(Finding { path: path.to_owned(), line: index + 1, rule: "path", what });
        }
    }
    findings
}

/// True when the path leads somewhere from the page's folder or one above it: a crate's page means the crate's files.
fn exists_around(folder: &str, path: &str, exists: &dyn Fn(&str) -> bool) -> bool {
    let above = std::iter::successors(Some(folder), |folder| folder.rsplit_once('/').map(|(above, _)| above));
    exists(path) || above.filter(|folder| !folder.is_empty()).any(|folder| exists(&format!("{folder}/{path}")))
}

/// Targets of `[text](target)`.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next())
}

/// Texts between single backticks.
fn code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The path from the root that a link means; `None` for other sites, anchors and addresses.
fn resolve(folder: &str, target: &str) -> Option<String> {
    let target = target.split('#').next().unwrap_or_default();
    if target.is_empty() || target.contains(':') {
        return None;
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The path in a code span, without `:line`; `None` when it is something else or a pattern.
fn path_of_span(span: &str) -> Option<&str> {
    let path = span.split(':').next().unwrap_or_default();
    let is_pattern = path.contains(['*', '<', '{', '…', ' ', '$']) || path.contains("NNNN");
    (FOLDERS.iter().any(|folder| path.starts_with(folder)) && !is_pattern).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(path: &str, text: &str, expected: &[(usize, &str)]) {
        let exists = |path: &str| {
            ["docs/life.md", "crates/net", "crates/net/", "README.md", "crates/net/tests/a.rs"].contains(&path)
        };
        let found: Vec<_> = check(path, text, &exists).into_iter().map(|f| (f.line, f.what)).collect();
        let expected: Vec<_> =
            expected.iter().map(|(line, path)| (*line, format!("`{path}` does not exist"))).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn links_lead_from_the_folder_of_the_page() {
        check_text("README.md", "[a](docs/life.md#top) [b](docs/gone.md)", &[(1, "docs/gone.md")]);
        check_text("docs/life.md", "x\n[a](../README.md) [b](README.md)", &[(2, "docs/README.md")]);
        check_text("README.md", "[a](https://example.org/x) [b](#anchor) [c](mailto:a@b)", &[]);
    }

    #[test]
    fn code_spans_that_look_like_paths_are_checked() {
        check_text("README.md", "`crates/net/` `crates/nut/src/lib.rs:7`", &[(1, "crates/nut/src/lib.rs")]);
        check_text("README.md", "`docs/decisions/NNNN-title.md` `crates/*/src` `text/plain` `/etc/ser`", &[]);
    }

    #[test]
    fn code_spans_of_a_crates_page_may_begin_at_the_crate() {
        check_text("crates/net/tests/x/README.md", "`tests/a.rs` `tests/b.rs`", &[(1, "tests/b.rs")]);
        check_text("README.md", "`tests/a.rs`", &[(1, "tests/a.rs")]);
    }

    #[test]
    fn blocks_are_not_claims() {
        check_text("README.md", "```\n[a](gone)\n```\n[b](gone)", &[(4, "gone")]);
    }

    #[test]
    fn generated_pages_and_the_changelog_are_left_out() {
        assert!(is_document("docs/operating.md") && is_document("crates/net/NOTES.md"));
        assert!(!is_document("docs/reference/tm.md") && !is_document("CHANGELOG.md"));
    }
}
