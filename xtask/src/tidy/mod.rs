//! The house rules that neither the compiler nor clippy knows: sizes, names, arrows, and documents that tell the truth.
//!
//! Each rule is a pure function from texts to findings; this file reads the repository and prints. An exception is a
//! line in `xtask/tidy.toml` with its reason, and an exception that nothing needs any more is a finding too.

mod arrows;
mod documents;
mod exceptions;
mod functions;
mod source;
mod sources;
mod words;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};

use exceptions::Exceptions;
use source::Source;

/// A breach of a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    /// Counted from 1; 0 is the file as a whole.
    line: usize,
    rule: &'static str,
    /// What is wrong and what would be right.
    what: String,
}

/// A file under version control, read.
struct File {
    /// From the repository's root, with `/`.
    path: String,
    text: String,
}

/// Checks the repository that this program was built from.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let root = root()?;
    let files = tracked_files(&root)?;
    let listed = std::fs::read_to_string(root.join("xtask/tidy.toml")).context("xtask/tidy.toml")?;
    let mut exceptions = Exceptions::parse(&listed).context("xtask/tidy.toml")?;
    let mut findings = all_findings(&root, &files)?;
    findings.retain(|finding| !exceptions.allow(finding));
    findings.extend(exceptions.unused());
    findings.sort();
    for Finding { path, line, rule, what } in &findings {
        println!("{path}:{line}: {what} [{rule}]");
    }
    println!("tidy: {} files, {} findings", files.len(), findings.len());
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn all_findings(root: &Path, files: &[File]) -> anyhow::Result<Vec<Finding>> {
    let packages = arrows::packages(&cargo_metadata(root)?, root)?;
    let mut findings = arrows::check(&packages);
    findings.extend(arrows::check_bans(files));
    let rust: Vec<&File> = files.iter().filter(|file| file.path.ends_with(".rs")).collect();
    let sources: Vec<Source> = rust.iter().map(|file| Source::new(&file.path, &file.text)).collect();
    findings.extend(sources::check(&sources));
    findings.extend(sources::check_roots(&sources, &packages));
    let exists = |path: &str| root.join(path).exists();
    for file in files {
        findings.extend(words::check(&file.path, &file.text));
        if documents::is_document(&file.path) {
            findings.extend(documents::check(&file.path, &file.text, &exists));
        }
    }
    Ok(findings)
}

fn root() -> anyhow::Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(here.parent().context("xtask lies in the repository")?.to_owned())
}

/// Text files that git knows or would know: also what is not committed yet, but nothing ignored.
fn tracked_files(root: &Path) -> anyhow::Result<Vec<File>> {
    let listing = output(
        Command::new("git").args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root),
    )?;
    let mut files = Vec::new();
    for path in listing.split('\0').filter(|path| !path.is_empty()) {
        // Deleted but not yet committed, or not text: nothing to say about either.
        if let Ok(text) = std::fs::read_to_string(root.join(path)) {
            files.push(File { path: path.to_owned(), text });
        }
    }
    Ok(files)
}

fn cargo_metadata(root: &Path) -> anyhow::Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    output(Command::new(cargo).args(["metadata", "--no-deps", "--format-version=1", "--offline"]).current_dir(root))
}

fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
