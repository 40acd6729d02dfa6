//! Diagnostics as text for a terminal.

use std::fmt::Write;

use super::{Diagnostic, Diagnostics, Severity};
use crate::source::Span;

pub(super) fn render(diagnostics: &Diagnostics, color: bool) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics.iter() {
        render_one(&mut out, diagnostics, diagnostic, &Palette::new(color));
        out.push('\n');
    }
    out
}

struct Palette {
    error: &'static str,
    warning: &'static str,
    frame: &'static str,
    bold: &'static str,
    end: &'static str,
}

impl Palette {
    fn new(color: bool) -> Palette {
        if color {
            Palette { error: "\x1b[1;31m", warning: "\x1b[1;33m", frame: "\x1b[1;34m", bold: "\x1b[1m", end: "\x1b[0m" }
        } else {
            Palette { error: "", warning: "", frame: "", bold: "", end: "" }
        }
    }
}

fn render_one(out: &mut String, all: &Diagnostics, diagnostic: &Diagnostic, palette: &Palette) {
    let (word, tint) = match diagnostic.severity {
        Severity::Error => ("error", palette.error),
        Severity::Warning => ("warning", palette.warning),
    };
    let (bold, end) = (palette.bold, palette.end);
    write_line(out, format_args!("{tint}{word}[{}]{end}{bold}: {}{end}", diagnostic.code, diagnostic.message));
    let width = gutter_width(all, diagnostic);
    if let Some(span) = diagnostic.span {
        snippet(out, all, &Place { span, label: &diagnostic.label, mark: '^', tint, width }, palette);
    }
    for (span, text) in &diagnostic.notes {
        match span {
            Some(span) => {
                let place = Place { span: *span, label: text, mark: '-', tint: palette.frame, width };
                snippet(out, all, &place, palette);
            }
            None => write_line(out, format_args!("{:width$} {}={end} note: {text}", "", palette.frame)),
        }
    }
    if let Some(help) = &diagnostic.help {
        write_line(out, format_args!("{:width$} {}={end} help: {help}", "", palette.frame));
    }
}

struct Place<'a> {
    span: Span,
    label: &'a str,
    mark: char,
    tint: &'a str,
    width: usize,
}

fn snippet(out: &mut String, all: &Diagnostics, place: &Place<'_>, palette: &Palette) {
    let Place { span, label, mark, tint, width } = *place;
    let position = all.sources.position(span);
    let (frame, end) = (palette.frame, palette.end);
    let path = all.sources.path(span.file);
    let line = all.sources.line(span.file, position.line);
    // Tabs would shift the caret; one blank each keeps columns and text together.
    let shown: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let indent = position.column as usize - 1;
    let text = all.sources.text(span.file);
    let marked = text.get(span.start as usize..span.end as usize).unwrap_or("");
    let on_line = marked.lines().next().unwrap_or("").chars().count().max(1);
    let marks: String = std::iter::repeat_n(mark, on_line).collect();
    write_line(out, format_args!("{:width$}{frame}-->{end} {path}:{}:{}", "", position.line, position.column));
    write_line(out, format_args!("{:width$} {frame}|{end}", ""));
    write_line(out, format_args!("{frame}{:>width$} |{end} {shown}", position.line));
    write_line(out, format_args!("{:width$} {frame}|{end} {:indent$}{tint}{marks}{end} {label}", "", ""));
}

fn gutter_width(all: &Diagnostics, diagnostic: &Diagnostic) -> usize {
    let spans = diagnostic.span.iter().chain(diagnostic.notes.iter().filter_map(|(span, _)| span.as_ref()));
    spans.map(|span| all.sources.position(*span).line.to_string().len()).max().unwrap_or(1)
}

fn write_line(out: &mut String, line: std::fmt::Arguments<'_>) {
    let start = out.len();
    write!(out, "{line}").expect("writing to a string cannot fail");
    let trimmed = out[start..].trim_end().len();
    out.truncate(start + trimmed);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use crate::diagnostic::{Diagnostic, Diagnostics, codes};
    use crate::source::Span;

    fn sample() -> Diagnostics {
        let mut all = Diagnostics::default();
        let file = all.sources.add("ser.cfg", "route {\n\tt_rely();\n}\n".into());
        let span = Span { file, start: 9, end: 15 };
        let diagnostic = Diagnostic::error(codes::UNKNOWN_FUNCTION, span, "unknown function `t_rely`");
        all.push(diagnostic.label("no module has it").suggest("t_rely", ["t_relay"]));
        all
    }

    #[test]
    fn a_finding_shows_its_line_a_caret_and_the_cure() {
        let expected = "error[SCL0201]: unknown function `t_rely`\n \
                        --> ser.cfg:2:2\n  |\n2 |  t_rely();\n  |  ^^^^^^ no module has it\n  \
                        = help: did you mean `t_relay`?\n\n";
        assert_eq!(sample().render(false), expected);
    }

    #[test]
    fn colour_appears_only_when_asked_for() {
        assert!(!sample().render(false).contains('\x1b'));
        assert!(sample().render(true).contains("\x1b[1;31merror[SCL0201]\x1b[0m"));
    }
}
