//! Definitions that nothing uses, and questions for names that look like a misspelt one.

use super::define::Defines;
use crate::diagnostic::{Diagnostic, Diagnostics, codes, is_slip};
use crate::source::{FileId, Span};

/// Reports them once the whole script has been read.
pub(super) fn check(defines: &Defines, asked: &[(String, Span)], diagnostics: &mut Diagnostics) {
    let mut found = Vec::new();
    for (name, span) in defines.of_script() {
        // In the text and not in the tokens: a use in a part that is skipped this time counts.
        if uses(name, diagnostics) <= 1 {
            let text = format!("`{name}` is defined and never used");
            found.push(Diagnostic::warning(codes::UNUSED_DEFINE, span, text));
        }
    }
    for (name, span) in asked {
        if defines.has(name) || uses(name, diagnostics) > 1 {
            continue;
        }
        if let Some((meant, _)) = defines.of_script().find(|(known, _)| is_slip(name, known)) {
            let text = format!("nothing defines `{name}`");
            let warning = Diagnostic::warning(codes::UNDEFINED, *span, text).help(format!("did you mean `{meant}`?"));
            found.push(warning);
        }
    }
    for diagnostic in found {
        diagnostics.push(diagnostic);
    }
}

/// How often a name stands in the files of the script as a word.
fn uses(name: &str, diagnostics: &Diagnostics) -> usize {
    let sources = &diagnostics.sources;
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    let mut count = 0;
    for file in 0..sources.len() {
        let text = sources.text(FileId(file as u16));
        count += text
            .match_indices(name)
            .filter(|(at, _)| {
                !is_part(text[..*at].chars().next_back()) && !is_part(text[at + name.len()..].chars().next())
            })
            .take(2)
            .count();
    }
    count
}
