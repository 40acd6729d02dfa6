//! Runs the directives: definitions, conditions, included files, substitutions.

use super::Marker;
use super::define::Defines;
use super::directive::Directive;
use super::expression;
use super::lexer::{Item, Lexer};
use super::substitute::Substitution;
use super::token::{Kind, Token, is_keyword};
use crate::diagnostic::{Diagnostic, Diagnostics, codes};
use crate::source::{FileId, Reader, SourceMap, Span};

/// The whole script as one list of tokens.
pub(crate) struct Preprocessed {
    pub(crate) tokens: Vec<Token>,
    pub(crate) marker: Option<Marker>,
    /// Whether a directive other than a marker occurs: only Kamailio has them.
    pub(crate) uses_directives: bool,
    /// What is defined at the end, with its text.
    pub(crate) defines: Vec<(String, String)>,
}

/// Reads `path` and all that it includes.
pub(crate) fn preprocess(
    path: &str,
    defines: &[(String, Option<String>)],
    reader: &dyn Reader,
    diagnostics: &mut Diagnostics,
) -> Preprocessed {
    let mut state = Preprocessor {
        reader,
        diagnostics,
        defines: Defines::predefined(defines),
        substitutions: Vec::new(),
        tokens: Vec::new(),
        conditions: Vec::new(),
        marker: None,
        uses_directives: false,
        asked: Vec::new(),
        depth: 0,
    };
    match reader.read(path) {
        Ok(text) => state.file(path, text),
        Err(error) => state.diagnostics.push(Diagnostic {
            span: None,
            ..Diagnostic::error(codes::UNREADABLE, Span::default(), format!("cannot read {path}: {error}"))
        }),
    }
    let end = state.tokens.last().map(|token| token.span.after()).unwrap_or_default();
    state.tokens.push(Token { kind: Kind::End, text: String::new(), span: end, is_glued: false });
    super::unused::check(&state.defines, &state.asked, state.diagnostics);
    let defines = state.defines.all();
    Preprocessed { tokens: state.tokens, marker: state.marker, uses_directives: state.uses_directives, defines }
}

struct Preprocessor<'a> {
    reader: &'a dyn Reader,
    diagnostics: &'a mut Diagnostics,
    defines: Defines,
    substitutions: Vec<Substitution>,
    tokens: Vec<Token>,
    conditions: Vec<Condition>,
    marker: Option<Marker>,
    uses_directives: bool,
    /// Names that `#!ifdef` and `#!ifndef` asked for, with the place.
    asked: Vec<(String, Span)>,
    depth: usize,
}

/// An open `#!ifdef`.
struct Condition {
    span: Span,
    holds: bool,
    has_else: bool,
}

/// How deep files include each other, and definitions expand.
const DEPTH_LIMIT: usize = 10;
/// How many tokens a script may have after expansion.
const TOKEN_LIMIT: usize = 2_000_000;

impl Preprocessor<'_> {
    fn file(&mut self, path: &str, text: String) {
        if self.diagnostics.sources.len() >= SourceMap::LIMIT {
            return;
        }
        let file = self.diagnostics.sources.add(path, text);
        let text = self.diagnostics.sources.text(file).to_owned();
        let outer = std::mem::take(&mut self.conditions);
        self.run(&mut Lexer::new(file, &text));
        for open in std::mem::replace(&mut self.conditions, outer) {
            let found = Diagnostic::error(codes::UNBALANCED_IFDEF, open.span, "this condition is never closed")
                .label("different number of preprocessor directives: no `#!endif` belongs to it")
                .help("add a line `#!endif`");
            let found = self
                .endif_comments(file)
                .into_iter()
                .fold(found, |found, span| found.note(Some(span), "text behind a directive makes this line a comment"));
            self.diagnostics.push(found);
        }
    }

    /// Lines that look like `#!else` or `#!endif` but are comments because of the text behind.
    fn endif_comments(&self, file: FileId) -> Vec<Span> {
        let text = self.diagnostics.sources.text(file);
        let mut found = Vec::new();
        for word in ["#!endif", "#!else"] {
            for (at, _) in text.match_indices(word) {
                let rest = text[at + word.len()..].lines().next().unwrap_or("");
                if rest.starts_with([' ', '\t']) && !rest.trim().is_empty() && found.len() < 3 {
                    found.push(Span { file, start: at as u32, end: (at + word.len()) as u32 });
                }
            }
        }
        found
    }

    fn run(&mut self, lexer: &mut Lexer<'_>) {
        loop {
            let item = if self.conditions.last().is_some_and(|condition| !condition.holds) {
                lexer.next_condition().map(Item::Directive)
            } else {
                lexer.next(self.diagnostics)
            };
            match item {
                None => return,
                Some(Item::Directive(directive)) => self.directive(&directive),
                Some(Item::Token(token)) if token.is_word("include_file") || token.is_word("import_file") => {
                    let name = lexer.next(self.diagnostics);
                    match name {
                        Some(Item::Token(name)) if name.kind == Kind::Text => {
                            self.include(&name.text, token.text == "import_file", name.span);
                        }
                        _ => self.bad(token.span, "the name of a file must follow, in quotes"),
                    }
                }
                Some(Item::Token(token)) => self.token(token),
            }
        }
    }

    fn token(&mut self, mut token: Token) {
        if self.tokens.len() >= TOKEN_LIMIT {
            return self.too_deep(token.span, "the script has too many tokens once its definitions are expanded");
        }
        if token.kind == Kind::Word && !is_keyword(&token.text) && self.defines.has(&token.text) {
            return self.expand(&token);
        }
        if matches!(token.kind, Kind::Text | Kind::Variable) {
            for rule in &self.substitutions {
                if let std::borrow::Cow::Owned(changed) = rule.apply(&token.text) {
                    token.text = changed;
                }
            }
        }
        if token.kind == Kind::Text {
            self.note_loaded_module(&token.text);
        }
        self.tokens.push(token);
    }

    /// `loadmodule "x.so"` defines `MOD_x`.
    fn note_loaded_module(&mut self, path: &str) {
        let mut before = self.tokens.iter().rev().filter(|token| !token.is("("));
        if before.next().is_some_and(|token| token.is_word("loadmodule") || token.is_word("loadmodulex")) {
            let name = format!("MOD_{}", crate::syntax::module_name(path));
            self.defines.set(&name, String::new(), None);
        }
    }

    fn expand(&mut self, token: &Token) {
        if self.depth >= DEPTH_LIMIT {
            let text = format!("the definition of `{}` leads back to itself", token.text);
            return self.too_deep(token.span, &text);
        }
        let Some(define) = self.defines.find(&token.text) else { return };
        let value = define.value.clone();
        let first = self.tokens.len();
        self.depth += 1;
        let mut lexer = Lexer::at_place(token.span, &value);
        while let Some(item) = lexer.next(self.diagnostics) {
            if let Item::Token(inner) = item {
                self.token(inner);
            }
        }
        self.depth -= 1;
        if let Some(head) = self.tokens.get_mut(first) {
            head.is_glued = token.is_glued;
        }
    }

    fn too_deep(&mut self, span: Span, text: &str) {
        self.diagnostics.push(Diagnostic::error(codes::TOO_DEEP, span, text));
    }

    fn bad(&mut self, span: Span, text: impl Into<String>) {
        self.diagnostics.push(Diagnostic::error(codes::BAD_DIRECTIVE, span, text));
    }

    fn directive(&mut self, directive: &Directive) {
        let rest = directive.rest.as_str();
        match directive.name {
            "KAMAILIO" => return self.marker = Some(Marker::Kamailio),
            "SER" => return self.marker = Some(Marker::Ser),
            "MAXCOMPAT" => return self.marker = Some(Marker::MaxCompat),
            _ => self.uses_directives = true,
        }
        match directive.name {
            "ifdef" | "ifndef" | "ifexp" => self.open(directive),
            "else" => self.turn(directive.span),
            "endif" => self.close(directive.span),
            "include_file" | "import_file" => {
                let name = rest.trim_matches(['"', '\'']).to_owned();
                self.include(&name, directive.name == "import_file", directive.span);
            }
            "subst" => self.substitute(directive, Substitution::parse(unquote(rest))),
            "substdef" | "substdefs" => self.substitute_and_define(directive),
            _ => self.define(directive),
        }
    }

    fn open(&mut self, directive: &Directive) {
        // Inside a skipped part nothing is evaluated; the pair only has to be counted.
        let is_skipping = self.conditions.last().is_some_and(|condition| !condition.holds);
        let name = directive.rest.split_whitespace().next().unwrap_or("");
        if directive.name != "ifexp" {
            self.asked.push((name.to_owned(), directive.span));
        }
        let holds = !is_skipping
            && match directive.name {
                "ifdef" => self.defines.has(name),
                "ifndef" => !self.defines.has(name),
                _ => match expression::evaluate(&directive.rest, &self.defines) {
                    Ok(value) => value.is_true(),
                    Err(cause) => {
                        self.bad(directive.span, format!("this expression cannot be read: {cause}"));
                        false
                    }
                },
            };
        self.conditions.push(Condition { span: directive.span, holds, has_else: false });
    }

    fn turn(&mut self, span: Span) {
        let outer_holds = match self.conditions.len() {
            0 => return self.unpaired(span, "`#!else` without `#!ifdef`"),
            1 => true,
            n => self.conditions[n - 2].holds,
        };
        let Some(condition) = self.conditions.last_mut() else { return };
        if condition.has_else {
            let opened = condition.span;
            let found = Diagnostic::error(codes::UNBALANCED_IFDEF, span, "a second `#!else` for one condition");
            return self.diagnostics.push(found.note(Some(opened), "the condition begins here"));
        }
        condition.has_else = true;
        condition.holds = !condition.holds && outer_holds;
    }

    fn close(&mut self, span: Span) {
        if self.conditions.pop().is_none() {
            self.unpaired(span, "`#!endif` without `#!ifdef`");
        }
    }

    fn unpaired(&mut self, span: Span, text: &str) {
        self.diagnostics.push(
            Diagnostic::error(codes::UNBALANCED_IFDEF, span, text)
                .label("different number of preprocessor directives")
                .help("remove it, or add the `#!ifdef` that it belongs to"),
        );
    }

    fn include(&mut self, name: &str, may_be_missing: bool, span: Span) {
        if self.depth >= DEPTH_LIMIT {
            return self.too_deep(span, "files include each other without end, or more than ten deep");
        }
        let beside = self.diagnostics.sources.path(span.file).rsplit_once('/').map(|(folder, _)| folder.to_owned());
        let mut result = self.reader.read(name).map(|text| (name.to_owned(), text));
        if let (Err(_), Some(folder), false) = (&result, beside, name.starts_with('/')) {
            let path = format!("{folder}/{name}");
            if let Ok(text) = self.reader.read(&path) {
                result = Ok((path, text));
            }
        }
        self.depth += 1;
        match result {
            Ok((path, text)) => self.file(&path, text),
            Err(_) if may_be_missing => {}
            Err(error) => {
                self.diagnostics
                    .push(Diagnostic::error(codes::UNREADABLE, span, format!("cannot read {name}: {error}")).help(
                    "paths start at the working directory, then at the folder of this file; `import_file` does without",
                ))
            }
        }
        self.depth -= 1;
    }

    fn substitute(&mut self, directive: &Directive, rule: Result<Substitution, String>) {
        match rule {
            Ok(rule) => self.substitutions.push(rule),
            Err(cause) => self.bad(directive.span, format!("this rule cannot be read: {cause}")),
        }
    }

    /// `#!substdef "/NAME/value/"`: replaces NAME in strings, and defines it.
    fn substitute_and_define(&mut self, directive: &Directive) {
        let Some((name, value, _)) = super::substitute::split(unquote(&directive.rest)) else {
            return self.bad(directive.span, "this rule cannot be read: it must look like \"/NAME/value/\"");
        };
        let value = self.expand_functions(&value);
        self.substitute(directive, Substitution::literal(&name, &value));
        let value = if directive.name == "substdefs" { format!("\"{value}\"") } else { value };
        self.defines.set(&name, value, Some(directive.span));
    }

    /// `$def(NAME)` and `$env(NAME)` in a substituted value.
    fn expand_functions(&self, value: &str) -> String {
        let mut out = value.to_owned();
        for (head, is_env) in [("$def(", false), ("$env(", true)] {
            while let Some(start) = out.find(head) {
                let Some(length) = out[start..].find(')') else { break };
                let name = out[start + head.len()..start + length].to_owned();
                let found = if is_env {
                    self.reader.environment(&name)
                } else {
                    self.defines.find(&name).map(|define| define.value.clone())
                };
                out.replace_range(start..=start + length, &found.unwrap_or_default().replace(head, ""));
            }
        }
        out
    }

    fn define(&mut self, directive: &Directive) {
        let (name, value) = directive.rest.split_once(char::is_whitespace).unwrap_or((&directive.rest, ""));
        let (name, environment) = name.split_once('=').unwrap_or((name, name));
        if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return self.bad(directive.span, format!("a name must follow `#!{}`", directive.name));
        }
        let span = Some(directive.span);
        match directive.name {
            "define" => self.define_once(name, value.trim(), directive.span),
            "trydef" if self.defines.has(name) => {}
            "trydef" | "redef" => self.defines.set(name, value.trim().to_owned(), span),
            "undef" | "tryundef" => {
                if !self.defines.remove(name) && directive.name == "undef" {
                    let found = Diagnostic::error(codes::UNDEFINED, directive.span, format!("`{name}` is not defined"));
                    self.diagnostics.push(found.suggest(name, self.defines.names()));
                }
            }
            "defexp" | "defexps" => match expression::evaluate(value, &self.defines) {
                Ok(result) => {
                    let text = result.into_text();
                    let text = if directive.name == "defexps" { format!("\"{text}\"") } else { text };
                    self.defines.set(name, text, span);
                }
                Err(cause) => self.bad(directive.span, format!("this expression cannot be read: {cause}")),
            },
            _ => self.define_environment(directive, name, environment),
        }
    }

    fn define_once(&mut self, name: &str, value: &str, span: Span) {
        if let Some(earlier) = self.defines.find(name) {
            let found = Diagnostic::error(codes::REDEFINED, span, format!("`{name}` is defined already"))
                .help("`#!redef` replaces a definition, `#!trydef` keeps the first");
            let found = match earlier.span {
                Some(earlier) => found.note(Some(earlier), "first defined here"),
                None => found.note(None, "it comes from the command line or from a module"),
            };
            return self.diagnostics.push(found);
        }
        self.defines.set(name, value.to_owned(), Some(span));
    }

    fn define_environment(&mut self, directive: &Directive, name: &str, variable: &str) {
        let is_quoted = directive.name.ends_with('s');
        match self.reader.environment(variable) {
            Some(value) => {
                let value = if is_quoted { format!("\"{value}\"") } else { value };
                self.defines.set(name, value, Some(directive.span));
            }
            None if directive.name.starts_with("try") => {}
            None => self.diagnostics.push(
                Diagnostic::error(
                    codes::UNDEFINED,
                    directive.span,
                    format!("environment variable {variable} is not set"),
                )
                .help("set it, or use `#!trydefenv`"),
            ),
        }
    }
}

fn unquote(text: &str) -> &str {
    let without = |quote: char| text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    without('"').or_else(|| without('\'')).unwrap_or(text)
}
