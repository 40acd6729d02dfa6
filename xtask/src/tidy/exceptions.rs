//! `xtask/tidy.toml`: who may break which rule, and why.

use anyhow::{Context, bail, ensure};

use super::Finding;

/// One `[[exception]]`.
#[derive(Debug, Default)]
struct Exception {
    /// Line of its header, counted from 1.
    line: usize,
    rule: String,
    path: String,
    reason: String,
    is_used: bool,
}

/// The list, which remembers what was needed.
#[derive(Debug)]
pub(super) struct Exceptions(Vec<Exception>);

impl Exceptions {
    /// Reads the subset of TOML that the list needs: `[[exception]]`, `key = "text"`, comments.
    pub(super) fn parse(text: &str) -> anyhow::Result<Exceptions> {
        let mut list: Vec<Exception> = Vec::new();
        for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line == "[[exception]]" {
                list.push(Exception { line: number, ..Exception::default() });
                continue;
            }
            let (key, value) = line.split_once('=').with_context(|| format!("line {number}: not `key = \"text\"`"))?;
            let value = value.trim().strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            let value = value.with_context(|| format!("line {number}: the value is not in quotes"))?.to_owned();
            let exception = list.last_mut().with_context(|| format!("line {number}: before the first exception"))?;
            match key.trim() {
                "rule" => exception.rule = value,
                "path" => exception.path = value,
                "reason" => exception.reason = value,
                key => bail!("line {number}: unknown key `{key}`; there are rule, path and reason"),
            }
        }
        for Exception { line, rule, path, reason, .. } in &list {
            ensure!(!rule.is_empty() && !path.is_empty(), "line {line}: an exception names a rule and a path");
            ensure!(!reason.is_empty(), "line {line}: an exception has a reason");
        }
        Ok(Exceptions(list))
    }

    /// True when the list has an exception for this finding.
    pub(super) fn allow(&mut self, finding: &Finding) -> bool {
        let matches = |exception: &&mut Exception| exception.rule == finding.rule && exception.path == finding.path;
        self.0.iter_mut().find(matches).map(|exception| exception.is_used = true).is_some()
    }

    /// Exceptions that excused nothing: the rule is kept again, and the list should say so.
    pub(super) fn unused(&self) -> impl Iterator<Item = Finding> {
        self.0.iter().filter(|exception| !exception.is_used).map(|exception| Finding {
            path: "xtask/tidy.toml".to_owned(),
            line: exception.line,
            rule: "unused-exception",
            what: format!("{} keeps `{}`; remove the exception", exception.path, exception.rule),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"
        # Comment.
        [[exception]]
        rule = "file-size"
        path = "crates/a/src/lib.rs"
        reason = "One table."
    "#;

    fn finding(path: &str) -> Finding {
        Finding { path: path.into(), line: 0, rule: "file-size", what: String::new() }
    }

    #[test]
    fn an_exception_excuses_its_rule_at_its_path_only() {
        let mut list = Exceptions::parse(LIST).expect("well formed");
        assert!(!list.allow(&finding("crates/b/src/lib.rs")));
        assert!(list.allow(&finding("crates/a/src/lib.rs")));
        assert_eq!(list.unused().count(), 0);
    }

    #[test]
    fn an_exception_that_excuses_nothing_is_found() {
        let list = Exceptions::parse(LIST).expect("well formed");
        let unused: Vec<_> = list.unused().collect();
        assert_eq!((unused[0].line, unused[0].rule), (3, "unused-exception"));
    }

    #[test]
    fn an_exception_without_a_reason_is_refused() {
        let error = Exceptions::parse(&LIST.replace("One table.", "")).expect_err("refused");
        assert_eq!(error.to_string(), "line 3: an exception has a reason");
        assert!(Exceptions::parse("rule = \"x\"").is_err());
        assert!(Exceptions::parse("[[exception]]\nwhy = \"x\"").is_err());
        assert!(Exceptions::parse("[[exception]]\nrule = x").is_err());
    }
}
