//! A table for the terminal and for Markdown.

use std::fmt;

/// Title, heads and rows; the first column is text, the others are figures.
pub(crate) struct Table {
    title: String,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(title: &str, heads: &[&str]) -> Table {
        Table { title: title.to_owned(), rows: vec![heads.iter().map(|head| (*head).to_owned()).collect()] }
    }

    /// Adds a row with a cell for each head.
    pub(crate) fn add(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// The table in Markdown.
    pub(crate) fn to_markdown(&self) -> String {
        let line = |row: &Vec<String>| format!("| {} |\n", row.join(" | "));
        let rule = format!("|---|{}\n", "---:|".repeat(self.rows[0].len() - 1));
        let body: String = self.rows[1..].iter().map(line).collect();
        format!("## {}\n\n{}{rule}{body}", self.title, line(&self.rows[0]))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.title)?;
        for row in &self.rows {
            write!(formatter, "{:<28}", row[0])?;
            for (cell, head) in row[1..].iter().zip(&self.rows[0][1..]) {
                write!(formatter, "{:>width$}", cell, width = head.len().max(9) + 2)?;
            }
            writeln!(formatter)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_aligned_to_the_right_in_markdown() {
        let mut table = Table::new("Calls", &["", "us"]);
        table.add(vec!["relay".into(), "17".into()]);
        assert_eq!(table.to_markdown(), "## Calls\n\n|  | us |\n|---|---:|\n| relay | 17 |\n");
    }
}
