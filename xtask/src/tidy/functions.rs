//! Functions of a file: where they begin, how they are called, how long they are.

use super::source::{Source, end_of_item, line_of};

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function<'a> {
    pub(super) name: &'a str,
    /// Line of the word `fn`, counted from 1.
    pub(super) line: usize,
    /// Lines from the word `fn` to the closing brace.
    pub(super) length: usize,
}

/// Functions in the order of the file, those of tests as well. Declarations without a body are left out.
pub(super) fn functions<'a>(source: &'a Source<'_>) -> impl Iterator<Item = Function<'a>> {
    let code = &source.code;
    code.match_indices("fn ").filter_map(move |(start, _)| {
        let follows_a_word = code[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '#');
        let name = code[start + 3..].split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
        // `fn (…)` is a type.
        if follows_a_word || name.is_empty() {
            return None;
        }
        let end = end_of_item(code, start);
        let (line, last) = (line_of(code, start), line_of(code, end - 1));
        code[..end].ends_with('}').then_some(Function { name, line, length: last - line + 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_have_name_line_and_length() {
        let text = "trait T {\n  fn declared(&self);\n  fn given(&self) {\n    x();\n  }\n}\n\
                    type F = fn (u8) -> u8;\npub async fn later(a: [u8; 2]) -> Option<fn (u8)> { None }\n";
        let source = Source::new("x.rs", text);
        let found: Vec<_> = functions(&source).collect();
        let given = Function { name: "given", line: 3, length: 3 };
        assert_eq!(found, [given, Function { name: "later", line: 8, length: 1 }]);
    }
}
