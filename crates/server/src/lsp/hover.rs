//! What a name means: the documentation from the tables that the checker reads.

use lsp_types::{Hover, HoverContents, MarkupContent, MarkupKind, Position, Url};
use module_api::{Function, Module, Param, Variable};
use script::{CORE_PARAMETERS, CoreParameter, Piece, PieceKind, pieces};

use super::definition::files;
use super::documents::Documents;
use super::outline::{NamedKind, outline};
use super::place;

/// What to show for what stands at `position`.
pub(super) fn hover(documents: &Documents, uri: &Url, position: Position) -> Option<Hover> {
    let text = documents.text(uri)?;
    let (all, _) = pieces("", &text);
    let byte = place::byte(&text, position);
    let at = place::piece_at(&all, byte)?;
    let piece = all[at];
    let value = match piece.kind {
        PieceKind::Word => word(documents, uri, &all, at)?,
        PieceKind::Variable => variable_text(piece.text)?,
        PieceKind::Text => match variable_at(piece.text, byte.saturating_sub(piece.start)) {
            Some(variable) => variable_text(variable)?,
            None => in_quotes(&all, at)?,
        },
        _ => return None,
    };
    Some(Hover {
        contents: HoverContents::Markup(MarkupContent { kind: MarkupKind::Markdown, value }),
        range: Some(place::range(&text, piece.start, piece.end())),
    })
}

fn word(documents: &Documents, uri: &Url, all: &[Piece<'_>], at: usize) -> Option<String> {
    let name = all[at].text;
    let next = all.get(at + 1);
    for (_, text) in files(documents, uri) {
        if let Some(found) = outline(&text).into_iter().find(|one| one.kind == NamedKind::Define && one.name == name) {
            return Some(format!("```\n#!define {name} {}\n```", found.detail));
        }
    }
    if next.is_some_and(|next| next.is("=")) {
        return CORE_PARAMETERS.iter().find(|one| one.name == name || one.aliases.contains(&name)).map(core_parameter);
    }
    let functions = functions(name);
    if functions.is_empty() {
        // Operands of old (`method`, `src_ip`) are variables of module core.
        return variables()
            .find(|(module, one)| module.name == "core" && one.name == name)
            .map(|(module, one)| format!("```\n{}\n```\nmodule {}\n\n{}", one.name, module.name, one.doc));
    }
    Some(functions.iter().map(|(module, one)| function_text(module, one)).collect::<Vec<_>>().join("\n\n---\n\n"))
}

/// A module behind `loadmodule`, a parameter behind `modparam`.
fn in_quotes(all: &[Piece<'_>], at: usize) -> Option<String> {
    let name = all[at].text.trim_matches(['"', '\'']);
    let before = |n: usize| at.checked_sub(n).and_then(|at| all.get(at));
    let is_loaded = before(1).is_some_and(|piece| piece.is_word("loadmodule"));
    if is_loaded || before(2).is_some_and(|piece| piece.is_word("modparam")) {
        let name = name.rsplit('/').next().unwrap_or(name).trim_end_matches(".so");
        return modules::catalog()
            .iter()
            .find(|module| module.name == name)
            .map(|module| format!("**module {}**\n\n{}", module.name, module.doc));
    }
    let module = before(2).filter(|_| before(4).is_some_and(|piece| piece.is_word("modparam")))?;
    let modules_named = module.text.trim_matches(['"', '\'']);
    let is_meant = |module: &&&Module| modules_named.split('|').any(|one| one == module.name);
    let module = modules::catalog().iter().find(is_meant)?;
    let parameter = module.parameters.iter().find(|one| one.name == name)?;
    let default = if parameter.default.is_empty() { "none" } else { parameter.default };
    Some(format!("**{}** of module {}, default `{default}`\n\n{}", parameter.name, module.name, parameter.doc))
}

/// The signature and documentation of a function.
pub(super) fn function_text(module: &Module, function: &Function) -> String {
    let signature = signature(function);
    format!("```\n{signature}\n```\nmodule {}\n\n{}\n\n```\n{}\n```", module.name, function.doc, function.example)
}

/// `name(one, [two])`.
pub(super) fn signature(function: &Function) -> String {
    let shown = |param: &Param| if param.optional { format!("[{}]", param.name) } else { param.name.to_owned() };
    format!("{}({})", function.name, function.params.iter().map(shown).collect::<Vec<_>>().join(", "))
}

/// Every function of that name, with its module.
pub(super) fn functions(name: &str) -> Vec<(&'static Module, &'static Function)> {
    let of = |module: &&'static Module| module.functions.iter().map(|function| (*module, function)).collect::<Vec<_>>();
    modules::catalog().iter().flat_map(of).filter(|(_, one)| one.name == name).collect()
}

/// Every variable, with its module.
pub(super) fn variables() -> impl Iterator<Item = (&'static Module, &'static Variable)> {
    modules::catalog().iter().flat_map(|module| module.variables.iter().map(|one| (*module, one)))
}

/// The variable in a string that byte `at` lies in.
fn variable_at(text: &str, at: usize) -> Option<&str> {
    let start = text.get(..=at.min(text.len().saturating_sub(1)))?.rfind('$')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '(' | ':');
    text[start..at.max(start)].chars().all(is_name).then(|| &text[start..])
}

fn variable_text(text: &str) -> Option<String> {
    let bare = text.trim_start_matches(['$', '(']);
    let name = bare.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()?;
    let (module, found) = variables().find(|(_, one)| one.name == name)?;
    let access = if found.write.is_some() { "read and written" } else { "read only" };
    Some(format!(
        "```\n${}\n```\nmodule {}, {access}\n\n{}\n\n```\n{}\n```",
        found.name, module.name, found.doc, found.example
    ))
}

fn core_parameter(one: &CoreParameter) -> String {
    let default = if one.default.is_empty() { "none" } else { one.default };
    let unit = if one.unit.is_empty() { String::new() } else { format!(", in {}", one.unit) };
    format!("**{}**, default `{default}`{unit}\n\n{}", one.name, one.doc)
}
