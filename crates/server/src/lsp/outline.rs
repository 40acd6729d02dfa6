//! What a text defines: routes, names of the preprocessor, modules; and the files that it includes.

#![allow(deprecated, reason = "`DocumentSymbol` cannot be made without its field of old")]

use lsp_types::{DocumentSymbol, SymbolKind, Url};
use script::{Piece, PieceKind, pieces};

use super::documents::Documents;
use super::place;

/// Something that a text defines or includes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) kind: NamedKind,
    pub(super) name: String,
    /// What stands with the name: the kind of route, the value of a definition.
    pub(super) detail: String,
    /// The bytes of the name.
    pub(super) start: usize,
    pub(super) end: usize,
    /// Where the whole of it ends.
    pub(super) last: usize,
}

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NamedKind {
    Route,
    Define,
    Module,
    Include,
}

/// Everything that `text` defines or includes, in order.
pub(super) fn outline(text: &str) -> Vec<Named> {
    let (all, _) = pieces("", text);
    let mut found = Vec::new();
    let mut depth = 0_usize;
    for (at, piece) in all.iter().enumerate() {
        match piece.text {
            "{" if piece.kind == PieceKind::Symbol => depth += 1,
            "}" if piece.kind == PieceKind::Symbol => depth = depth.saturating_sub(1),
            _ => {}
        }
        match piece.kind {
            PieceKind::Directive => found.extend(directive(piece)),
            PieceKind::Word if piece.text == "loadmodule" => found.extend(quoted(&all, at, NamedKind::Module)),
            PieceKind::Word if matches!(piece.text, "include_file" | "import_file") => {
                found.extend(quoted(&all, at, NamedKind::Include));
            }
            PieceKind::Word if depth == 0 && piece.text.ends_with("route") => found.extend(route(&all, at)),
            _ => {}
        }
    }
    found
}

/// What a text defines, for the editor's list.
pub(super) fn symbols(documents: &Documents, uri: &Url) -> Option<Vec<DocumentSymbol>> {
    let text = documents.text(uri)?;
    let symbols = outline(&text).into_iter().map(|named| DocumentSymbol {
        name: named.name,
        detail: Some(named.detail).filter(|detail| !detail.is_empty()),
        kind: match named.kind {
            NamedKind::Route => SymbolKind::FUNCTION,
            NamedKind::Define => SymbolKind::CONSTANT,
            NamedKind::Module => SymbolKind::MODULE,
            NamedKind::Include => SymbolKind::FILE,
        },
        tags: None,
        deprecated: None,
        range: place::range(&text, named.start, named.last.max(named.end)),
        selection_range: place::range(&text, named.start, named.end),
        children: None,
    });
    Some(symbols.collect())
}

/// `#!define NAME value`, `#!include_file "x"`.
fn directive(piece: &Piece<'_>) -> Option<Named> {
    let word = piece.text[2..].split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()?;
    let rest = &piece.text[2 + word.len()..];
    let skipped = rest.len() - rest.trim_start().len();
    let start = piece.start + 2 + word.len() + skipped;
    let rest = rest.trim();
    match word {
        "include_file" | "import_file" => {
            let name = rest.trim_matches('"').to_owned();
            let named = Named {
                kind: NamedKind::Include,
                detail: String::new(),
                start,
                end: start + rest.len(),
                last: piece.end(),
                name,
            };
            Some(named)
        }
        _ if word.contains("def") && !matches!(word, "ifdef" | "ifndef") && !word.starts_with("undef") => {
            let name: String = rest
                .trim_start_matches(['"', '/'])
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            let at = start + rest.find(&name).unwrap_or(0);
            let value = rest.split_once(char::is_whitespace).map_or("", |(_, value)| value.trim());
            let end = at + name.len();
            let is_named = !name.is_empty();
            is_named.then(|| Named {
                kind: NamedKind::Define,
                name,
                detail: value.to_owned(),
                start: at,
                end,
                last: piece.end(),
            })
        }
        _ => None,
    }
}

fn quoted(all: &[Piece<'_>], at: usize, kind: NamedKind) -> Option<Named> {
    let text = all[at + 1..].iter().take(2).find(|piece| piece.kind == PieceKind::Text)?;
    let inner = text.text.trim_matches(['"', '\'']);
    let name = match kind {
        NamedKind::Module => inner.rsplit('/').next().unwrap_or(inner).trim_end_matches(".so"),
        _ => inner,
    };
    let (start, end) = (text.start, text.end());
    Some(Named { kind, name: name.to_owned(), detail: String::new(), start, end, last: end })
}

/// `route[NAME] {`, `request_route {`.
fn route(all: &[Piece<'_>], at: usize) -> Option<Named> {
    let word = &all[at];
    let open = all.iter().skip(at + 1).position(|piece| piece.is("{"))? + at + 1;
    let header = &all[at + 1..open];
    let is_header = header.is_empty() || header.first()?.is("[") && header.last()?.is("]");
    if !is_header {
        return None;
    }
    let inner = header.get(1..header.len().saturating_sub(1)).unwrap_or_default();
    let (start, end) = match (inner.first(), inner.last()) {
        (Some(first), Some(last)) => (first.start, last.end()),
        _ => (word.start, word.end()),
    };
    let name = match inner {
        [] => word.text.to_owned(),
        inner => inner.iter().map(|piece| piece.text.trim_matches('"')).collect(),
    };
    let mut depth = 0_usize;
    let close = all[open..].iter().find(|piece| {
        depth += usize::from(piece.is("{"));
        depth -= usize::from(piece.is("}"));
        depth == 0
    });
    let last = close.map_or(end, |piece| piece.end());
    Some(Named { kind: NamedKind::Route, name, detail: word.text.to_owned(), start, end, last })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_definitions_modules_and_includes_are_found() {
        let text = "#!define A 1\nloadmodule \"x/tm.so\"\ninclude_file \"b.cfg\"\nrequest_route { route(X); }\nroute[X] { }\n\
                    event_route[tm:local-request] { }\n";
        let found = outline(text);
        let shown: Vec<_> =
            found.iter().map(|named| (named.kind, named.name.as_str(), named.detail.as_str())).collect();
        let expected = [
            (NamedKind::Define, "A", "1"),
            (NamedKind::Module, "tm", ""),
            (NamedKind::Include, "b.cfg", ""),
            (NamedKind::Route, "request_route", "request_route"),
            (NamedKind::Route, "X", "route"),
            (NamedKind::Route, "tm:local-request", "event_route"),
        ];
        assert_eq!(shown, expected);
    }
}
