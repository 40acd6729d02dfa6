//! Where a name is defined: routes, names of the preprocessor, included files.

use lsp_types::{GotoDefinitionResponse, Location, Position, Range, Url};
use script::{Piece, PieceKind, pieces};

use super::documents::{Documents, path_of, uri_of};
use super::outline::{Named, NamedKind, outline};
use super::place;

/// Where what stands at `position` is defined.
pub(super) fn definition(documents: &Documents, uri: &Url, position: Position) -> Option<GotoDefinitionResponse> {
    let text = documents.text(uri)?;
    let byte = place::byte(&text, position);
    let is_here = |named: &&Named| named.start <= byte && byte <= named.end;
    if let Some(include) = outline(&text).iter().filter(|named| named.kind == NamedKind::Include).find(is_here) {
        return included(uri, &include.name);
    }
    let (all, _) = pieces("", &text);
    let at = place::piece_at(&all, byte)?;
    let name = name_at(&all[at], byte)?;
    let kind = route_kind(&all, at);
    let mut found = Vec::new();
    for (file, text) in files(documents, uri) {
        let is_wanted = |named: &&Named| match named.kind {
            NamedKind::Route => {
                named.name == name && kind.is_some_and(|kind| named.detail.ends_with(kind) || named.detail == kind)
            }
            NamedKind::Define => named.name == name && kind.is_none(),
            NamedKind::Module | NamedKind::Include => false,
        };
        let range = |named: &Named| place::range(&text, named.start, named.end);
        let here: Vec<Named> = outline(&text).iter().filter(is_wanted).cloned().collect();
        found.extend(here.iter().map(|named| Location { uri: file.clone(), range: range(named) }));
    }
    (!found.is_empty()).then_some(GotoDefinitionResponse::Array(found))
}

/// The document and every file that it includes, with their texts.
pub(super) fn files(documents: &Documents, uri: &Url) -> Vec<(Url, String)> {
    let sources = documents.load(uri).diagnostics.sources;
    let files = sources.files().filter_map(|file| Some((uri_of(sources.path(file))?, sources.text(file).to_owned())));
    let mut files: Vec<_> = files.collect();
    if files.is_empty() {
        files.extend(documents.text(uri).map(|text| (uri.clone(), text)));
    }
    files
}

/// The word at `byte`, in a string or preprocessor line the one around it.
fn name_at(piece: &Piece<'_>, byte: usize) -> Option<String> {
    match piece.kind {
        PieceKind::Word | PieceKind::Number => Some(piece.text.to_owned()),
        PieceKind::Text => Some(piece.text.trim_matches(['"', '\'']).to_owned()),
        PieceKind::Directive => {
            let at = byte.checked_sub(piece.start)?;
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let start = piece.text[..at].rfind(|c| !is_word(c)).map_or(0, |found| found + 1);
            let length = piece.text[start..].find(|c| !is_word(c)).unwrap_or(piece.text.len() - start);
            Some(piece.text[start..start + length].to_owned()).filter(|name| !name.is_empty())
        }
        _ => None,
    }
}

/// The kind of route that a call at this argument names; none where it names none.
fn route_kind(all: &[Piece<'_>], at: usize) -> Option<&'static str> {
    if !all.get(at.checked_sub(1)?)?.is("(") {
        return None;
    }
    match all.get(at.checked_sub(2)?)?.text {
        "route" => Some("route"),
        "t_on_failure" | "t_on_negative" => Some("failure_route"),
        "t_on_reply" => Some("onreply_route"),
        "t_on_branch" => Some("branch_route"),
        _ => None,
    }
}

fn included(uri: &Url, name: &str) -> Option<GotoDefinitionResponse> {
    let folder = path_of(uri).rsplit_once('/').map(|(folder, _)| folder.to_owned()).unwrap_or_default();
    let candidates = [name.to_owned(), format!("{folder}/{name}")];
    let path = candidates.iter().find(|path| std::path::Path::new(path).is_file())?;
    let location = Location { uri: uri_of(path)?, range: Range::default() };
    Some(GotoDefinitionResponse::Scalar(location))
}
