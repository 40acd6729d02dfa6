//! What is wrong with a script: place, cause and cure.

pub mod codes;
mod json;
mod render;
mod suggest;

pub use codes::Code;
pub(crate) use suggest::{closest, is_slip};

use crate::source::{SourceMap, Span};

/// Whether a script can run in spite of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The script does not load.
    Error,
    /// It loads, and probably does not do what its author meant.
    Warning,
}

/// One finding.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// Its stable number.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// Where; none when it concerns no place in a file.
    pub span: Option<Span>,
    /// What is wrong, in one line.
    pub message: String,
    /// What to say at the caret.
    pub label: String,
    /// Related places.
    pub notes: Vec<(Option<Span>, String)>,
    /// The cure.
    pub help: Option<String>,
}

impl Diagnostic {
    pub(crate) fn error(code: Code, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            code,
            severity: Severity::Error,
            span: Some(span),
            message: message.into(),
            label: String::new(),
            notes: Vec::new(),
            help: None,
        }
    }

    pub(crate) fn warning(code: Code, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, span, message) }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Diagnostic {
        self.label = label.into();
        self
    }

    pub(crate) fn note(mut self, span: Option<Span>, text: impl Into<String>) -> Diagnostic {
        self.notes.push((span, text.into()));
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// As [`Diagnostic::suggest`], for names that a script writes with `$`.
    pub(crate) fn suggest_variable<'a>(self, name: &str, known: impl IntoIterator<Item = &'a str>) -> Diagnostic {
        match closest(name, known) {
            Some(candidate) => self.help(format!("did you mean `${candidate}`?")),
            None => self,
        }
    }

    /// Adds "did you mean" where something is close enough to `name`.
    pub(crate) fn suggest<'a>(self, name: &str, known: impl IntoIterator<Item = &'a str>) -> Diagnostic {
        match closest(name, known) {
            Some(candidate) => self.help(format!("did you mean `{candidate}`?")),
            None => self,
        }
    }
}

/// Everything found in one script, in the order of the files.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    /// The files, for places.
    pub sources: SourceMap,
    items: Vec<Diagnostic>,
}

impl Diagnostics {
    /// How many findings are kept; a broken script often has one cause.
    const LIMIT: usize = 200;

    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        let is_known = self.items.iter().any(|item| item.code == diagnostic.code && item.span == diagnostic.span);
        if self.items.len() < Self::LIMIT && !is_known {
            self.items.push(diagnostic);
        }
    }

    pub(crate) fn sort(&mut self) {
        self.items.sort_by_key(|item| item.span.map_or((0, 0), |span| (span.file.0, span.start)));
    }

    /// Whether the script cannot run.
    pub fn has_errors(&self) -> bool {
        self.items.iter().any(|item| item.severity == Severity::Error)
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The findings.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.items.iter()
    }

    /// Text for a terminal: file, line, column, the line itself, a caret, notes and the cure.
    pub fn render(&self, color: bool) -> String {
        render::render(self, color)
    }

    /// One JSON array of objects, for programs.
    pub fn to_json(&self) -> String {
        json::to_json(self)
    }
}
