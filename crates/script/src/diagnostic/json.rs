//! Diagnostics as JSON, for editors and scripts.

use std::fmt::Write;

use super::{Diagnostic, Diagnostics, Severity};
use crate::source::Span;

pub(super) fn to_json(all: &Diagnostics) -> String {
    let items: Vec<String> = all.iter().map(|diagnostic| object(all, diagnostic)).collect();
    format!("[{}]", items.join(","))
}

fn object(all: &Diagnostics, diagnostic: &Diagnostic) -> String {
    let severity = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut fields = vec![
        format!("\"code\":\"{}\"", diagnostic.code),
        format!("\"severity\":\"{severity}\""),
        format!("\"message\":{}", quote(&diagnostic.message)),
    ];
    fields.extend(diagnostic.span.map(|span| place(all, span)));
    if !diagnostic.label.is_empty() {
        fields.push(format!("\"label\":{}", quote(&diagnostic.label)));
    }
    if let Some(help) = &diagnostic.help {
        fields.push(format!("\"help\":{}", quote(help)));
    }
    let notes: Vec<String> = diagnostic.notes.iter().map(|(span, text)| note(all, *span, text)).collect();
    if !notes.is_empty() {
        fields.push(format!("\"notes\":[{}]", notes.join(",")));
    }
    format!("{{{}}}", fields.join(","))
}

fn note(all: &Diagnostics, span: Option<Span>, text: &str) -> String {
    let place = span.map(|span| format!(",{}", place(all, span))).unwrap_or_default();
    format!("{{\"message\":{}{place}}}", quote(text))
}

fn place(all: &Diagnostics, span: Span) -> String {
    let start = all.sources.position(span);
    let end = all.sources.position(span.after());
    format!(
        "\"file\":{},\"line\":{},\"column\":{},\"end_line\":{},\"end_column\":{}",
        quote(all.sources.path(span.file)),
        start.line,
        start.column,
        end.line,
        end.column
    )
}

fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if (c as u32) < 0x20 => {
                write!(out, "\\u{:04x}", c as u32).expect("writing to a string cannot fail");
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use crate::diagnostic::{Diagnostic, Diagnostics, codes};
    use crate::source::Span;

    #[test]
    fn every_finding_becomes_an_object_with_its_place() {
        let mut all = Diagnostics::default();
        let file = all.sources.add("a\"b.cfg", "x\nfoo();\n".into());
        all.push(Diagnostic::warning(codes::UNREACHABLE, Span { file, start: 2, end: 5 }, "never runs"));
        assert_eq!(
            all.to_json(),
            r#"[{"code":"SCL0301","severity":"warning","message":"never runs","file":"a\"b.cfg","line":2,"column":1,"end_line":2,"end_column":4}]"#
        );
    }
}
