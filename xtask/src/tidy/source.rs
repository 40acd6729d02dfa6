//! A Rust file, prepared for questions that need no grammar: comments and literals blanked, tests set apart.
//!
//! A parser would know more and weigh more (`syn` with spans, and every new syntax waits for it). Braces and keywords
//! outside of comments and literals are enough to measure a function.

/// A file and what was found out about it.
pub(super) struct Source<'a> {
    pub(super) path: &'a str,
    pub(super) text: &'a str,
    /// `text` with comments and the insides of literals as spaces; lines and offsets are the same.
    pub(super) code: String,
    /// For each line, whether it belongs to an item under `#[cfg(test)]`.
    pub(super) is_test_line: Vec<bool>,
    /// Names of modules in other files that are tests only: `#[cfg(test)] mod battery;`.
    pub(super) test_modules: Vec<String>,
}

impl<'a> Source<'a> {
    /// Prepares a file.
    pub(super) fn new(path: &'a str, text: &'a str) -> Source<'a> {
        let code = blank(text);
        let mut is_test_line = vec![false; text.lines().count()];
        let mut test_modules = Vec::new();
        for (start, marker) in code.match_indices("#[cfg(test)]") {
            let item = start + marker.len();
            let end = end_of_item(&code, item);
            let (first, last) = (line_of(&code, start), line_of(&code, end.saturating_sub(1)));
            is_test_line[first - 1..last.min(text.lines().count())].fill(true);
            test_modules.extend(module_elsewhere(&code[item..end]));
        }
        Source { path, text, code, is_test_line, test_modules }
    }
}

/// Number of the line that holds byte `offset`, counted from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Byte after the item that begins at `start`: after its `;` or its closing brace.
pub(super) fn end_of_item(code: &str, start: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, byte) in code.bytes().enumerate().skip(start) {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' if depth <= 1 => return offset + 1,
            b'}' | b')' | b']' => depth = depth.saturating_sub(1),
            b';' if depth == 0 => return offset + 1,
            _ => {}
        }
    }
    code.len()
}

/// `name` when the item is `mod name;`, with any visibility.
fn module_elsewhere(item: &str) -> Option<String> {
    let words: Vec<_> = item.trim_end().strip_suffix(';')?.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "mod")?;
    words.get(at + 1).map(|name| (*name).to_owned())
}

/// The text with every byte of comments and literals replaced by a space; line ends stay.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => find(bytes, at, b"\n"),
            b'/' if bytes[at..].starts_with(b"/*") => end_of_block_comment(bytes, at),
            b'"' => end_of_string(bytes, at),
            b'r' if !follows_a_word(bytes, at) => end_of_raw_string(bytes, at).unwrap_or(at),
            b'\'' => end_of_character(text, at).unwrap_or(at),
            _ => at,
        };
        out[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at = end.max(at + 1);
    }
    String::from_utf8(out).unwrap_or_default()
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> usize {
    bytes[from..].windows(what.len()).position(|window| window == what).map_or(bytes.len(), |found| from + found)
}

/// Block comments nest.
fn end_of_block_comment(bytes: &[u8], start: usize) -> usize {
    let (mut depth, mut at) = (0, start);
    while at < bytes.len() {
        match &bytes[at..bytes.len().min(at + 2)] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" if depth == 1 => return at + 2,
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    bytes.len()
}

fn end_of_string(bytes: &[u8], quote: usize) -> usize {
    let mut at = quote + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// `r"…"`, `r#"…"#`; also after `b` or `c`. `None` for raw identifiers and plain words.
fn end_of_raw_string(bytes: &[u8], start: usize) -> Option<usize> {
    let hashes = bytes[start + 1..].iter().take_while(|byte| **byte == b'#').count();
    let quote = start + 1 + hashes;
    if bytes.get(quote) != Some(&b'"') {
        return None;
    }
    let mut closing = vec![b'#'; hashes + 1];
    closing[0] = b'"';
    Some((find(bytes, quote + 1, &closing) + closing.len()).min(bytes.len()))
}

fn follows_a_word(bytes: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).map(|before| bytes[before]);
    // The `b` and `c` of `br"…"` and `cr"…"` are part of the literal, unless they end a longer word.
    let is_prefix = matches!(before, Some(b'b' | b'c')) && !at.checked_sub(2).is_some_and(|i| is_word(bytes[i]));
    before.is_some_and(is_word) && !is_prefix
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// A character literal; `None` for a lifetime.
fn end_of_character(text: &str, quote: usize) -> Option<usize> {
    let mut rest = text[quote + 1..].char_indices();
    let (_, first) = rest.next()?;
    if first == '\\' {
        rest.next();
        return rest.find(|(_, c)| *c == '\'').map(|(offset, _)| quote + 2 + offset);
    }
    rest.next().filter(|(_, c)| *c == '\'').map(|(offset, _)| quote + 2 + offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_blank(text: &str, expected: &str) {
        assert_eq!(blank(text), expected, "{text}");
    }

    #[test]
    fn comments_and_literals_become_spaces() {
        check_blank("a // }\nb", "a     \nb");
        check_blank("a /* { /* } */ */ b", "a                 b");
        check_blank(r#"f("}\"{", x)"#, "f(      , x)");
        check_blank(r##"f(br#"}"{"#)"##, "f(b        )");
        check_blank("r#fn('{', '\\'', '\\u{7b}')", "r#fn(   ,     ,         )");
        check_blank("f(\"a\n}\")", "f(  \n  )");
    }

    #[test]
    fn lifetimes_and_words_that_end_in_r_stay() {
        check_blank("fn f<'a>(x: &'a str, y: &'static [u8])", "fn f<'a>(x: &'a str, y: &'static [u8])");
        check_blank("for\"{\"", "for   ");
    }

    #[test]
    fn multibyte_characters_keep_the_offsets() {
        check_blank("'ö' \"€\" x", "           x");
        assert_eq!("'ö' \"€\" x".len(), 12);
    }

    #[test]
    fn items_under_cfg_test_are_test_lines() {
        let text = "fn a() {}\n#[cfg(test)]\nmod battery;\n#[cfg(test)]\nmod tests {\n fn b() { '}'; }\n}\nfn c() {}\n";
        let source = Source::new("x.rs", text);
        assert_eq!(source.is_test_line, [false, true, true, true, true, true, true, false]);
        assert_eq!(source.test_modules, ["battery"]);
    }

    #[test]
    fn an_item_ends_at_its_semicolon_or_its_closing_brace() {
        assert_eq!(end_of_item("use a::{b, c}; x", 0), 13);
        assert_eq!(end_of_item("fn f(a: [u8; 2]) { { } } x", 0), 24);
    }
}
