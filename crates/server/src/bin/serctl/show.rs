//! Results for people and for programs.

use std::io::Write;

use anyhow::{Context, Result};
use serde_json::Value;

/// Prints what a command returned: indented JSON for programs; for people a table where it is one, else lines.
///
/// # Errors
/// When standard output takes nothing.
pub(crate) fn print_result(result: &Value, json: bool) -> Result<()> {
    let text =
        if json { serde_json::to_string_pretty(result).context("cannot write JSON")? + "\n" } else { readable(result) };
    std::io::stdout().lock().write_all(text.as_bytes()).context("cannot print")
}

/// For people.
pub(crate) fn readable(result: &Value) -> String {
    if let Some((columns, rows)) = table(result) {
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        return as_table(&columns, &rows);
    }
    let mut out = String::new();
    lines(result, 0, &mut out);
    out
}

/// Columns and rows, when it is a list of structs with the same plain fields.
fn table(result: &Value) -> Option<(Vec<String>, Vec<Vec<String>>)> {
    let list = result.as_array()?;
    let columns: Vec<String> = list.first()?.as_object()?.keys().cloned().collect();
    let row = |item: &Value| {
        let fields = item.as_object()?;
        let is_plain = fields.values().all(|value| !value.is_array() && !value.is_object());
        (is_plain && fields.keys().eq(columns.iter())).then(|| fields.values().map(plain).collect())
    };
    let rows: Option<Vec<Vec<String>>> = list.iter().map(row).collect();
    Some((columns, rows?))
}

fn lines(value: &Value, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Null => {}
        Value::Array(items) => items.iter().for_each(|item| lines(item, depth, out)),
        Value::Object(fields) => {
            for (name, value) in fields {
                if value.is_array() || value.is_object() {
                    *out += &format!("{indent}{}:\n", printable(name));
                    lines(value, depth + 1, out);
                } else {
                    *out += &format!("{indent}{}: {}\n", printable(name), printable(&plain(value)));
                }
            }
        }
        // A text of several lines is one of ours: a help text.
        Value::String(text) => text.lines().for_each(|line| *out += &format!("{indent}{}\n", printable(line))),
        value => *out += &format!("{indent}{}\n", plain(value)),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        value => value.to_string(),
    }
}

/// What phones sent must not command the terminal. Tabs separate columns of SER's own lists.
pub(crate) fn printable(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\t', "?")
}

/// Prints rows, as a table or as JSON.
///
/// # Errors
/// When standard output takes nothing.
pub(crate) fn print(columns: &[&str], rows: &[Vec<String>], json: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let text = if json { as_json(columns, rows)? } else { as_table(columns, rows) };
    out.write_all(text.as_bytes()).context("cannot print")
}

fn as_json(columns: &[&str], rows: &[Vec<String>]) -> Result<String> {
    let object = |row: &Vec<String>| {
        let fields = columns.iter().zip(row);
        fields.map(|(name, value)| (name.replace(' ', "_"), serde_json::Value::from(value.as_str()))).collect()
    };
    let objects: Vec<serde_json::Map<String, serde_json::Value>> = rows.iter().map(object).collect();
    Ok(serde_json::to_string_pretty(&objects).context("cannot write JSON")? + "\n")
}

fn as_table(columns: &[&str], rows: &[Vec<String>]) -> String {
    // What phones sent must not command the terminal.
    let printable = |cell: &String| cell.replace(char::is_control, "?");
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(printable).collect()).collect();
    let width = |n: usize| {
        let cells = rows.iter().map(|row| row[n].chars().count());
        cells.chain([columns[n].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    let body = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(line(columns.to_vec())).chain(body).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_alike_structs_is_a_table_and_all_else_are_lines() {
        let value = |text: &str| serde_json::from_str::<Value>(text).expect("it is JSON");
        assert_eq!(readable(&value(r#"[{"IDX": 0, "DSC": "worker 0"}]"#)), "IDX  DSC\n0    worker 0\n");
        let nested = r#"{"AoR": "alice", "Contacts": [{"Contact": {"Address": "sip:a\u001b@h", "Expires": 5}}]}"#;
        assert_eq!(
            readable(&value(nested)),
            "AoR: alice\nContacts:\n  Contact:\n    Address: sip:a?@h\n    Expires: 5\n"
        );
        assert_eq!(readable(&value(r#"["0\t7\tlog", 3]"#)), "0\t7\tlog\n3\n");
        assert_eq!(readable(&Value::Null), "");
    }

    #[test]
    fn what_a_phone_sent_does_not_command_the_terminal() {
        assert_eq!(as_table(&["user agent"], &[vec!["\u{1b}]0;x\u{7}\u{9b}J".to_owned()]]), "user agent\n?]0;x??J\n");
    }

    #[test]
    fn tables_align_and_json_names_its_fields() {
        let rows = [vec!["alice".to_owned(), "example.com".to_owned()], vec!["b".to_owned(), "x".to_owned()]];
        assert_eq!(as_table(&["user", "domain"], &rows), "user   domain\nalice  example.com\nb      x\n");
        let json = as_json(&["expires in s"], &[vec!["5".to_owned()]]).expect("strings are JSON");
        assert_eq!(json, "[\n  {\n    \"expires_in_s\": \"5\"\n  }\n]\n");
    }
}
