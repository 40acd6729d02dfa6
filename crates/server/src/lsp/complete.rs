//! What may stand at a place: functions, variables, parameters, modules, routes, names of the preprocessor.

use lsp_types::{CompletionItem, CompletionItemKind, Documentation, MarkupContent, MarkupKind, Position, Url};
use module_api::KeyRule;
use script::{CORE_PARAMETERS, Piece, PieceKind, pieces};

use super::definition::files;
use super::documents::Documents;
use super::outline::{Named, NamedKind, outline};
use super::{hover, place};

/// Everything that may stand at `position`; the editor picks by what is typed.
pub(super) fn complete(documents: &Documents, uri: &Url, position: Position) -> Vec<CompletionItem> {
    let Some(text) = documents.text(uri) else { return Vec::new() };
    let byte = place::byte(&text, position);
    let (all, _) = pieces("", &text[..byte]);
    let line = text[..byte].rsplit('\n').next().unwrap_or_default();
    let names: Vec<Named> = files(documents, uri).iter().flat_map(|(_, text)| outline(text)).collect();
    match place_kind(&all, line) {
        Where::Variable => variables(),
        Where::ModuleName => {
            modules::catalog().iter().map(|module| plain(module.name, CompletionItemKind::MODULE, module.doc)).collect()
        }
        Where::ModuleParameter(module) => parameters(&module),
        Where::Route(kind) => routes(&names, kind),
        Where::Directive => {
            DIRECTIVES.iter().map(|(name, doc)| plain(name, CompletionItemKind::KEYWORD, doc)).collect()
        }
        Where::TopLevel => [settings(), defines(&names)].concat(),
        Where::Route_ => [functions(), keywords(), defines(&names)].concat(),
    }
}

enum Where {
    Variable,
    ModuleName,
    ModuleParameter(String),
    /// The name of a route of this kind.
    Route(&'static str),
    Directive,
    TopLevel,
    /// Among the statements of a route.
    Route_,
}

/// What the place behind the last of these pieces is.
fn place_kind(all: &[Piece<'_>], line: &str) -> Where {
    let is_open = |text: &str| line.matches('"').count() % 2 == 1 && line.contains(text);
    if line.trim_start().starts_with("#!") {
        return Where::Directive;
    }
    if is_open("loadmodule") {
        return Where::ModuleName;
    }
    if is_open("modparam") {
        let parts: Vec<&str> = line.split('"').collect();
        return match parts.len() {
            ..=2 => Where::ModuleName,
            _ => Where::ModuleParameter(parts[1].to_owned()),
        };
    }
    let tail = line.rsplit([' ', '\t', ',', '!']).next().unwrap_or_default();
    let calls = [
        ("t_on_failure(", "failure_route"),
        ("t_on_reply(", "onreply_route"),
        ("t_on_branch(", "branch_route"),
        ("route(", "route"),
    ];
    if let Some((_, kind)) =
        calls.iter().find(|(call, _)| tail.rsplit_once(call).is_some_and(|(_, rest)| !rest.contains(')')))
    {
        return Where::Route(kind);
    }
    let last_dollar = line.rfind('$').map(|at| &line[at + 1..]);
    if last_dollar.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '(')) {
        return Where::Variable;
    }
    let depth = all.iter().filter(|piece| piece.is("{")).count() as i64
        - all.iter().filter(|piece| piece.is("}")).count() as i64;
    let is_in_route = depth > 0 || all.last().is_some_and(|piece| piece.kind == PieceKind::Symbol && piece.text == "{");
    if is_in_route { Where::Route_ } else { Where::TopLevel }
}

fn plain(name: &str, kind: CompletionItemKind, doc: &str) -> CompletionItem {
    let markup = MarkupContent { kind: MarkupKind::Markdown, value: doc.to_owned() };
    CompletionItem {
        label: name.to_owned(),
        kind: Some(kind),
        documentation: (!doc.is_empty()).then_some(Documentation::MarkupContent(markup)),
        ..CompletionItem::default()
    }
}

fn functions() -> Vec<CompletionItem> {
    let mut items: Vec<CompletionItem> = Vec::new();
    for module in modules::catalog() {
        for function in module.functions {
            let item = plain(function.name, CompletionItemKind::FUNCTION, &hover::function_text(module, function));
            let detail = Some(format!("{} (module {})", hover::signature(function), module.name));
            items.push(CompletionItem { detail, ..item });
        }
    }
    items
}

fn variables() -> Vec<CompletionItem> {
    let item = |(module, one): (&module_api::Module, &module_api::Variable)| {
        let key = if one.key == KeyRule::Required { "()" } else { "" };
        let item = plain(&format!("${}{key}", one.name), CompletionItemKind::VARIABLE, one.doc);
        // Without the mark, which has been typed, and which editors do not count to the word.
        let insert_text = Some(one.name.to_owned());
        CompletionItem {
            insert_text,
            filter_text: Some(one.name.to_owned()),
            detail: Some(format!("module {}", module.name)),
            ..item
        }
    };
    hover::variables().filter(|(module, _)| module.name != "core").map(item).collect()
}

fn parameters(module: &str) -> Vec<CompletionItem> {
    let meant = modules::catalog().iter().filter(|one| module.split('|').any(|name| name == one.name));
    meant.flat_map(|one| one.parameters).map(|one| plain(one.name, CompletionItemKind::PROPERTY, one.doc)).collect()
}

fn routes(names: &[Named], kind: &str) -> Vec<CompletionItem> {
    let routes = names.iter().filter(|one| one.kind == NamedKind::Route && one.detail == kind && one.name != kind);
    routes.map(|one| plain(&one.name, CompletionItemKind::FUNCTION, "")).collect()
}

fn defines(names: &[Named]) -> Vec<CompletionItem> {
    let defines = names.iter().filter(|one| one.kind == NamedKind::Define);
    defines.map(|one| plain(&one.name, CompletionItemKind::CONSTANT, &one.detail)).collect()
}

fn settings() -> Vec<CompletionItem> {
    let words = ["loadmodule", "modparam", "route", "request_route", "failure_route", "onreply_route", "branch_route"];
    let words = words.iter().chain(&["onsend_route", "event_route", "include_file", "import_file"]);
    let mut items: Vec<_> = words.map(|word| plain(word, CompletionItemKind::KEYWORD, "")).collect();
    items.extend(CORE_PARAMETERS.iter().map(|one| plain(one.name, CompletionItemKind::PROPERTY, one.doc)));
    items
}

fn keywords() -> Vec<CompletionItem> {
    let words = ["if", "else", "while", "switch", "case", "default", "return", "exit", "drop", "break", "route"];
    words.iter().map(|word| plain(word, CompletionItemKind::KEYWORD, "")).collect()
}

const DIRECTIVES: &[(&str, &str)] = &[
    ("define", "`#!define NAME value`: NAME stands for the value from here on."),
    ("trydef", "As `define`, unless NAME is defined."),
    ("redef", "As `define`, in place of an earlier definition."),
    ("undef", "NAME stands for nothing any more."),
    ("ifdef", "What follows counts when NAME is defined, up to `#!else` or `#!endif`."),
    ("ifndef", "What follows counts when NAME is not defined, up to `#!else` or `#!endif`."),
    ("ifexp", "What follows counts when the expression is true."),
    ("else", "The other half of a condition."),
    ("endif", "The end of a condition."),
    ("subst", "`#!subst \"/from/to/flags\"`: replaces text in the strings that follow."),
    ("substdef", "`#!substdef \"/NAME/value/\"`: as subst, and defines NAME."),
    ("include_file", "Reads another file here."),
    ("import_file", "Reads another file here, if there is one."),
];
