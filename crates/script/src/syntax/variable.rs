//! `$ru`, `$hdr(Subject)`, `$(ru{uri.host})`, and text with such variables in it.

/// A variable taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VariableTree {
    pub(crate) name: String,
    pub(crate) key: Option<String>,
    pub(crate) index: Option<String>,
    /// `{class.operation,argument,...}`, in order.
    pub(crate) transformations: Vec<TransformationTree>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TransformationTree {
    /// `s.len`.
    pub(crate) name: String,
    pub(crate) arguments: Vec<String>,
}

/// A piece of a format string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    /// A variable as written, `$` included.
    Variable(String),
}

/// How many bytes the variable at the start of `text` takes.
pub(crate) fn variable_length(text: &str) -> Option<usize> {
    let rest = text.strip_prefix('$')?;
    if rest.starts_with('(') {
        return balanced(rest, '(', ')').map(|length| 1 + length);
    }
    let name = name_length(rest);
    if name == 0 {
        return None;
    }
    let behind = &rest[name..];
    let key = if behind.starts_with('(') { balanced(behind, '(', ')')? } else { 0 };
    Some(1 + name + key)
}

/// The length of a name: a word, `?`, or one of the few with a dot in them.
fn name_length(text: &str) -> usize {
    if text.starts_with('?') {
        return 1;
    }
    let word = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let takes_dot = DOTTED.contains(&&text[..word]);
    if !takes_dot || !text[word..].starts_with('.') {
        return word;
    }
    let tail = &text[word + 1..];
    let length = tail.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(tail.len());
    if length == 0 { word } else { word + 1 + length }
}

/// The length of a bracketed text, brackets included. Quotes are not special: scripts use them in neither place.
fn balanced(text: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
            if depth == 0 {
                return Some(at + c.len_utf8());
            }
        }
    }
    None
}

/// Takes a variable apart.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse_variable(text: &str) -> Result<VariableTree, String> {
    let inner = text.strip_prefix('$').ok_or("a variable begins with `$`")?;
    let inner = match inner.strip_prefix('(') {
        Some(inner) => inner.strip_suffix(')').ok_or("a `)` is missing")?.trim(),
        None => inner,
    };
    let end = name_length(inner);
    if end == 0 {
        return Err("a name must follow `$`".into());
    }
    let mut tree = VariableTree { name: inner[..end].to_owned(), key: None, index: None, transformations: Vec::new() };
    let mut rest = inner[end..].trim_start();
    if rest.starts_with('(') {
        let length = balanced(rest, '(', ')').ok_or("a `)` is missing")?;
        tree.key = Some(rest[1..length - 1].trim().to_owned());
        rest = rest[length..].trim_start();
    }
    if rest.starts_with('[') {
        let length = balanced(rest, '[', ']').ok_or("a `]` is missing")?;
        tree.index = Some(rest[1..length - 1].trim().to_owned());
        rest = rest[length..].trim_start();
    }
    while rest.starts_with('{') {
        let length = balanced(rest, '{', '}').ok_or("a `}` is missing")?;
        tree.transformations.push(parse_transformation(&rest[1..length - 1]));
        rest = rest[length..].trim_start();
    }
    if rest.is_empty() { Ok(tree) } else { Err(format!("`{rest}` behind it means nothing")) }
}

fn parse_transformation(text: &str) -> TransformationTree {
    let (name, arguments) = text.split_once(',').map_or((text, None), |(name, rest)| (name, Some(rest)));
    let name = name.trim().to_owned();
    // The rule of `re.subst` may itself contain commas.
    let arguments = match arguments {
        None => Vec::new(),
        Some(rest) if name == "re.subst" => vec![rest.to_owned()],
        Some(rest) => split_arguments(rest),
    };
    TransformationTree { name, arguments }
}

/// Splits at commas outside of parentheses.
fn split_arguments(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0_usize;
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().expect("never empty").push(c);
    }
    parts
}

/// Splits a format string into text and variables. `$$` is a dollar sign, as is one with no name behind it.
pub(crate) fn parse_text(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with("$$") {
            plain.push('$');
            rest = &rest[2..];
        } else if let Some(length) = variable_length(rest) {
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Variable(rest[..length].to_owned()));
            rest = &rest[length..];
        } else {
            plain.push('$');
            rest = &rest[1..];
        }
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    pieces
}

/// Names that continue behind a dot; behind others a dot is text, as in `"to $rU."`.
const DOTTED: &[&str] = &["ruri", "from", "to", "err", "f", "t", "fr", "tr", "fd", "td", "g"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_index_and_transformations_are_told_apart() {
        let tree = parse_variable("$(hdr(Via)[-1]{s.select,0,;}{s.len})").unwrap();
        assert_eq!((tree.name.as_str(), tree.key.as_deref(), tree.index.as_deref()), ("hdr", Some("Via"), Some("-1")));
        assert_eq!(tree.transformations[0].arguments, ["0", ";"]);
        assert_eq!(tree.transformations[1].name, "s.len");
        assert_eq!(parse_variable("$(ru{re.subst,/a,b/c/})").unwrap().transformations[0].arguments, ["/a,b/c/"]);
        assert!(parse_variable("$(ru").is_err());
        assert!(parse_variable("$(ru)x").is_err());
    }

    #[test]
    fn text_is_cut_at_variables_and_doubled_dollars_are_one() {
        let text = |text: &str| Piece::Text(text.into());
        let variable = |text: &str| Piece::Variable(text.into());
        assert_eq!(
            parse_text("a $ru. $(fu{uri.user})$$ $ 5"),
            [text("a "), variable("$ru"), text(". "), variable("$(fu{uri.user})"), text("$ $ 5")]
        );
        assert_eq!(parse_text("$sht(a=>$ci)"), [variable("$sht(a=>$ci)")]);
    }
}
