//! What the checker finds, as the editor shows it.

use std::collections::HashMap;

use lsp_types::{Diagnostic, DiagnosticRelatedInformation, DiagnosticSeverity, Location, NumberOrString, Range, Url};
use script::{Diagnostics, Severity, Span, codes};

use super::documents::{Documents, uri_of};
use super::place;

/// What is wrong with the script that `uri` is, by file: with that file always, with those that it includes when
/// something is.
pub(super) fn diagnose(documents: &Documents, uri: &Url) -> Vec<(Url, Vec<Diagnostic>)> {
    let all = documents.load(uri).diagnostics;
    let mut by_file: HashMap<Url, Vec<Diagnostic>> = HashMap::from([(uri.clone(), Vec::new())]);
    let is_fragment = documents.text(uri).is_some_and(|text| !text.contains("route"));
    for found in all.iter() {
        // A file that another includes is no script by itself.
        if is_fragment && found.code == codes::NO_MAIN_ROUTE {
            continue;
        }
        let place = found.span.and_then(|span| place_of(&all, span));
        let (file, range) = place.unwrap_or_else(|| (uri.clone(), Range::default()));
        by_file.entry(file).or_default().push(shown(&all, found, range));
    }
    by_file.into_iter().collect()
}

fn shown(all: &Diagnostics, found: &script::Diagnostic, range: Range) -> Diagnostic {
    let mut message = found.message.clone();
    for more in [Some(&found.label).filter(|label| !label.is_empty()), found.help.as_ref()].into_iter().flatten() {
        message.push('\n');
        message.push_str(more);
    }
    let mut related = Vec::new();
    for (span, text) in &found.notes {
        match span.and_then(|span| place_of(all, span)) {
            Some((uri, range)) => {
                let location = Location { uri, range };
                related.push(DiagnosticRelatedInformation { location, message: text.clone() });
            }
            None => message.push_str(&format!("\n{text}")),
        }
    }
    Diagnostic {
        range,
        severity: Some(match found.severity {
            Severity::Error => DiagnosticSeverity::ERROR,
            Severity::Warning => DiagnosticSeverity::WARNING,
        }),
        code: Some(NumberOrString::String(found.code.to_string())),
        source: Some("ser".to_owned()),
        message,
        related_information: (!related.is_empty()).then_some(related),
        ..Diagnostic::default()
    }
}

fn place_of(all: &Diagnostics, span: Span) -> Option<(Url, Range)> {
    let text = all.sources.text(span.file);
    Some((uri_of(all.sources.path(span.file))?, place::range(text, span.start as usize, span.end as usize)))
}
