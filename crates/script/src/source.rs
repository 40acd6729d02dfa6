//! The files that a script consists of, and places in them.

use std::io;
use std::net::IpAddr;

/// What loading needs from outside: files, environment and names. The crate itself touches neither disk nor network.
pub trait Reader {
    /// The text of a file. Octets that are not UTF-8 are the reader's to replace.
    ///
    /// # Errors
    /// When it cannot be read; the text of the error goes into the diagnostic.
    fn read(&self, path: &str) -> io::Result<String>;

    /// An environment variable, for `#!defenv` and `$env(...)` in substitutions.
    fn environment(&self, _name: &str) -> Option<String> {
        None
    }

    /// The addresses of a host name that the script compares an address with.
    fn resolve(&self, _host: &str) -> Vec<IpAddr> {
        Vec::new()
    }
}

/// Names a file of a [`SourceMap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FileId(pub(crate) u16);

/// A range of bytes in one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// The first byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// From the start of `self` to the end of `last`, when both lie in one file.
    pub(crate) fn to(self, last: Span) -> Span {
        if self.file == last.file && last.end >= self.start { Span { end: last.end, ..self } } else { self }
    }

    /// The empty place behind it.
    pub(crate) fn after(self) -> Span {
        Span { start: self.end, ..self }
    }
}

/// Line and column, both from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

/// Every file that was read for one script.
#[derive(Debug, Clone, Default)]
pub struct SourceMap {
    files: Vec<SourceFile>,
}

#[derive(Debug, Clone)]
struct SourceFile {
    path: String,
    text: String,
    line_starts: Vec<u32>,
}

impl SourceMap {
    /// How many files one script may consist of.
    pub(crate) const LIMIT: usize = 1024;

    pub(crate) fn add(&mut self, path: &str, text: String) -> FileId {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at as u32 + 1);
        let line_starts = std::iter::once(0).chain(newlines).collect();
        let id = FileId(self.files.len().min(usize::from(u16::MAX)) as u16);
        self.files.push(SourceFile { path: path.to_owned(), text, line_starts });
        id
    }

    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// Every file, in the order in which they were read.
    pub fn files(&self) -> impl Iterator<Item = FileId> {
        (0..self.files.len()).map(|n| FileId(n as u16))
    }

    /// The path of a file as it was asked for.
    pub fn path(&self, file: FileId) -> &str {
        self.files.get(usize::from(file.0)).map_or("", |file| &file.path)
    }

    /// The text of a file.
    pub fn text(&self, file: FileId) -> &str {
        self.files.get(usize::from(file.0)).map_or("", |file| &file.text)
    }

    /// Where a span begins.
    pub fn position(&self, span: Span) -> Position {
        let Some(file) = self.files.get(usize::from(span.file.0)) else { return Position { line: 1, column: 1 } };
        let line = file.line_starts.partition_point(|start| *start <= span.start).max(1);
        let start = file.line_starts[line - 1] as usize;
        let before = file.text.get(start..span.start as usize).unwrap_or("");
        Position { line: line as u32, column: before.chars().count() as u32 + 1 }
    }

    /// The text of line `line`, without its end.
    pub(crate) fn line(&self, file: FileId, line: u32) -> &str {
        let Some(file) = self.files.get(usize::from(file.0)) else { return "" };
        let start = file.line_starts.get(line as usize - 1).map_or(file.text.len(), |start| *start as usize);
        let end = file.line_starts.get(line as usize).map_or(file.text.len(), |start| *start as usize);
        file.text.get(start..end).unwrap_or("").trim_end_matches(['\n', '\r'])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let mut map = SourceMap::default();
        let file = map.add("a.cfg", "route {\n  é x\n}".into());
        let span = Span { file, start: 13, end: 14 };
        assert_eq!(map.position(span), Position { line: 2, column: 5 });
        assert_eq!(map.line(file, 2), "  é x");
    }
}
