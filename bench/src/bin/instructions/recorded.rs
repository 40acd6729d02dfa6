//! The counts that were recorded last, to notice what has become dearer.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, bail};

/// Compilers and machines differ by a few in a hundred; a copy or an allocation more on a hot path shows beyond.
const MARGIN_PERCENT: u64 = 10;

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("instructions.txt")
}

/// Name and instructions of each workload, as recorded.
pub(crate) fn read() -> anyhow::Result<Vec<(String, u64)>> {
    let file = file();
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let read = |line: &str| {
        let (name, count) = line.split_once(' ').with_context(|| format!("no workload and its count: {line}"))?;
        Ok((name.to_owned(), count.trim().parse().with_context(|| format!("no number: {line}"))?))
    };
    lines.map(read).collect()
}

pub(crate) fn write(counts: &[(&'static str, u64)]) -> anyhow::Result<()> {
    let mut text = String::from(
        "# Instructions of each workload: `make record-instructions` writes them, `make test` compares.\n",
    );
    for (name, count) in counts {
        writeln!(text, "{name:<10}{count}")?;
    }
    fs::write(file(), &text)?;
    print!("{text}");
    Ok(())
}

/// Fails where something has become dearer than the margin allows, or was never recorded.
pub(crate) fn check(counts: &[(&'static str, u64)], recorded: &[(String, u64)]) -> anyhow::Result<()> {
    let is_too_dear = |name: &str, count: u64| {
        let before = recorded.iter().find(|(recorded, _)| recorded == name);
        before.is_none_or(|(_, before)| count * 100 > before * (100 + MARGIN_PERCENT))
    };
    let dear: Vec<&str> =
        counts.iter().filter(|(name, count)| is_too_dear(name, *count)).map(|(name, _)| *name).collect();
    if !dear.is_empty() {
        bail!(
            "more than {MARGIN_PERCENT} % dearer than recorded, or not recorded: {}. `instructions --profile NAME` shows where; \
             if it is worth it, `make record-instructions` and say why in the commit",
            dear.join(", ")
        );
    }
    println!("no workload is more than {MARGIN_PERCENT} % dearer than recorded");
    Ok(())
}

/// The difference in percent, with its sign.
pub(crate) fn change(before: u64, now: u64) -> String {
    format!("{:+.1} %", (now as f64 / before as f64 - 1.0) * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_become_dearer_than_the_margin_fails_and_what_is_new_must_be_recorded() {
        let recorded = [("call".to_owned(), 1000)];
        assert!(check(&[("call", 1100)], &recorded).is_ok());
        assert!(check(&[("call", 1101)], &recorded).is_err());
        assert!(check(&[("call", 10)], &recorded).is_ok());
        assert!(check(&[("other", 1)], &recorded).is_err());
        assert_eq!(change(1000, 1101), "+10.1 %");
    }
}
