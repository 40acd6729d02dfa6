//! Which lines of a script the tests have reached.

use std::collections::BTreeMap;
use std::fmt::Write;

use script::trace::EntryKind;

use crate::simulate::Stage;
use crate::simulate::record::Note;

/// How often each line with a statement was reached, by file and line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Coverage(BTreeMap<String, BTreeMap<u32, u64>>);

impl Coverage {
    /// Adds what happened on a stage.
    pub(super) fn add(&mut self, stage: &Stage) {
        let sources = stage.program.sources();
        for span in stage.program.statements() {
            self.line(sources.path(span.file), sources.position(span).line);
        }
        for note in stage.record.notes() {
            if let Note::Step(entry) = note
                && entry.kind == EntryKind::Statement
            {
                *self.line(&entry.file, entry.line) += 1;
            }
        }
    }

    fn line(&mut self, file: &str, line: u32) -> &mut u64 {
        self.0.entry(file.to_owned()).or_default().entry(line).or_default()
    }

    /// A line for each file: the share of lines that were reached, and those that were not.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        for (file, lines) in &self.0 {
            let reached = lines.values().filter(|count| **count > 0).count();
            let share = 100.0 * reached as f64 / lines.len().max(1) as f64;
            let missed: Vec<u32> = lines.iter().filter(|(_, count)| **count == 0).map(|(line, _)| *line).collect();
            let total = lines.len();
            write!(out, "coverage: {file}: {share:.1}% ({reached} of {total} lines)").expect("a string takes it");
            if !missed.is_empty() {
                write!(out, "; not reached: {}", ranges(&missed, lines)).expect("a string takes it");
            }
            out.push('\n');
        }
        out
    }

    /// As `lcov` and `genhtml` read it.
    pub(super) fn lcov(&self) -> String {
        let mut out = String::new();
        for (file, lines) in &self.0 {
            out.push_str(&format!("TN:\nSF:{file}\n"));
            for (line, count) in lines {
                out.push_str(&format!("DA:{line},{count}\n"));
            }
            let reached = lines.values().filter(|count| **count > 0).count();
            out.push_str(&format!("LF:{}\nLH:{reached}\nend_of_record\n", lines.len()));
        }
        out
    }

    /// For each file, how many lines there are and which were not reached.
    pub(super) fn json(&self) -> serde_json::Value {
        let files = self.0.iter().map(|(file, lines)| {
            let missed: Vec<u32> = lines.iter().filter(|(_, count)| **count == 0).map(|(line, _)| *line).collect();
            serde_json::json!({"file": file, "lines": lines.len(), "not_reached": missed})
        });
        files.collect()
    }
}

/// `12, 18-20`: lines between which no other statement stands are one range.
fn ranges(missed: &[u32], lines: &BTreeMap<u32, u64>) -> String {
    let mut parts: Vec<(u32, u32)> = Vec::new();
    for line in missed {
        match parts.last_mut() {
            Some((_, end)) if lines.range(*end + 1..*line).next().is_none() => *end = *line,
            _ => parts.push((*line, *line)),
        }
    }
    let shown = parts.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") });
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Coverage {
        let lines = [(3, 2), (5, 0), (9, 0), (10, 1), (12, 0)];
        Coverage([("a.cfg".to_owned(), BTreeMap::from(lines))].into())
    }

    #[test]
    fn lines_that_were_not_reached_are_listed_as_ranges() {
        assert_eq!(sample().text(), "coverage: a.cfg: 40.0% (2 of 5 lines); not reached: 5-9, 12\n");
    }

    #[test]
    fn lcov_has_a_line_for_each_statement() {
        let expected = "TN:\nSF:a.cfg\nDA:3,2\nDA:5,0\nDA:9,0\nDA:10,1\nDA:12,0\nLF:5\nLH:2\nend_of_record\n";
        assert_eq!(sample().lcov(), expected);
    }
}
