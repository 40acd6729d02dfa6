//! A trace as records that outlive the run, and as lines for people.

use std::fmt::Write;

use module_api::{Arg, Index, Value};

use super::trace::{Event, Happening};
use crate::program::Program;
use crate::source::Span;

/// One step of a run, kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// How many routes had called each other.
    pub depth: usize,
    /// The file of the script; empty where a step belongs to no place.
    pub file: String,
    /// The line, from 1; 0 where a step belongs to no place.
    pub line: u32,
    /// What stands there, in one line.
    pub source: String,
    /// The function or route that it is about.
    pub name: String,
    /// The value, the arguments or the code.
    pub value: String,
}

/// What an [`Entry`] is about; each has the meaning of its [`Happening`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they are those of `Happening`")]
pub enum EntryKind {
    Begin,
    Statement,
    Read,
    Condition,
    Then,
    Else,
    Call,
    Return,
    Wait,
    Finish,
    Assign,
    Enter,
    Leave,
    End,
}

impl EntryKind {
    /// Its name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            EntryKind::Begin => "begin",
            EntryKind::Statement => "statement",
            EntryKind::Read => "read",
            EntryKind::Condition => "condition",
            EntryKind::Then => "then",
            EntryKind::Else => "else",
            EntryKind::Call => "call",
            EntryKind::Return => "return",
            EntryKind::Wait => "wait",
            EntryKind::Finish => "finish",
            EntryKind::Assign => "assign",
            EntryKind::Enter => "enter",
            EntryKind::Leave => "leave",
            EntryKind::End => "end",
        }
    }
}

impl Entry {
    /// Keeps an event.
    pub fn new(event: &Event<'_>) -> Entry {
        let program = event.program;
        let (kind, name, value) = match &event.what {
            Happening::Begin(kind, name) => (EntryKind::Begin, title(kind.as_str(), name), String::new()),
            Happening::Statement => (EntryKind::Statement, String::new(), String::new()),
            Happening::Read(value) => (EntryKind::Read, String::new(), shown(value)),
            Happening::Condition(value) => (EntryKind::Condition, String::new(), value.to_string()),
            Happening::Then => (EntryKind::Then, String::new(), String::new()),
            Happening::Else => (EntryKind::Else, String::new(), String::new()),
            Happening::Call(name, args) => (EntryKind::Call, (*name).to_owned(), arguments(program, args)),
            Happening::Return(name, code) => (EntryKind::Return, (*name).to_owned(), code.to_string()),
            Happening::Wait(name) => (EntryKind::Wait, (*name).to_owned(), String::new()),
            Happening::Finish(name) => (EntryKind::Finish, (*name).to_owned(), String::new()),
            Happening::Assign(value) => (EntryKind::Assign, String::new(), shown(value)),
            Happening::Enter(name) => (EntryKind::Enter, title("route", name), String::new()),
            Happening::Leave(code) => (EntryKind::Leave, String::new(), code.to_string()),
            Happening::End(end) if end.is_dropped => (EntryKind::End, "drop".into(), end.code.to_string()),
            Happening::End(end) => (EntryKind::End, String::new(), end.code.to_string()),
        };
        let span = event.span.unwrap_or_default();
        let has_place = event.span.is_some();
        let sources = program.sources();
        Entry {
            kind,
            depth: event.depth,
            file: if has_place { sources.path(span.file).to_owned() } else { String::new() },
            line: if has_place { sources.position(span).line } else { 0 },
            source: if has_place { source(program, span, kind) } else { String::new() },
            name,
            value,
        }
    }
}

/// Lines for people: one for each statement, and under it what happened there.
pub fn render(entries: &[Entry]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut reads: Vec<&Entry> = Vec::new();
    let mut at = 0;
    while let Some(entry) = entries.get(at) {
        at += 1;
        if entry.kind == EntryKind::Read {
            reads.push(entry);
            continue;
        }
        let indent = "  ".repeat(entry.depth + 1);
        let under = format!("{indent}    ");
        let values = take_reads(&mut reads);
        match entry.kind {
            EntryKind::Begin => lines.push(entry.name.clone()),
            EntryKind::Statement => {
                lines.push(format!("{indent}{}:{}  {}", short(&entry.file), entry.line, entry.source));
            }
            // Of a call alone, the line before says what it came to.
            EntryKind::Condition if follows_its_call(entries, at - 1) => {}
            EntryKind::Condition => lines.push(format!("{under}{} is {}{values}", entry.source, entry.value)),
            EntryKind::Then => lines.push(format!("{under}so the condition holds")),
            EntryKind::Else => lines.push(format!("{under}so the condition does not hold")),
            EntryKind::Call => {
                let call = format!("{under}{}({})", entry.name, entry.value);
                // A call that ran nothing in between shows what it returned in the same line.
                match entries.get(at).filter(|next| next.kind == EntryKind::Return) {
                    Some(next) => {
                        at += 1;
                        lines.push(format!("{call} returned {}", next.value));
                    }
                    None => lines.push(call),
                }
            }
            EntryKind::Return => lines.push(format!("{under}{} returned {}", entry.name, entry.value)),
            EntryKind::Wait => lines.push(format!("{under}{} waits", entry.name)),
            EntryKind::Finish => lines.push(format!("{under}{} ended the script", entry.name)),
            EntryKind::Assign => lines.push(format!("{under}is now {}{values}", entry.value)),
            EntryKind::Enter => lines.push(format!("{indent}{}", entry.name)),
            EntryKind::Leave => lines.push(format!("{indent}  back with {}", entry.value)),
            EntryKind::End if entry.name == "drop" => lines.push("  end: dropped".to_owned()),
            EntryKind::End => lines.push("  end".to_owned()),
            EntryKind::Read => {}
        }
    }
    lines
}

fn follows_its_call(entries: &[Entry], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| entries.get(before));
    before.is_some_and(|before| {
        let rest = entries[at].source.strip_prefix(&before.name);
        before.kind == EntryKind::Return && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('('))
    })
}

fn take_reads(reads: &mut Vec<&Entry>) -> String {
    let mut text = String::new();
    for read in reads.drain(..) {
        let separator = if text.is_empty() { "  (" } else { ", " };
        write!(text, "{separator}{} is {}", read.source, read.value).expect("writing to a string cannot fail");
    }
    if !text.is_empty() {
        text.push(')');
    }
    text
}

fn short(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn title(word: &str, name: &str) -> String {
    let word = word.trim_end_matches("[...]");
    match (word, name) {
        (word, "") => word.to_owned(),
        ("request_route", name) => format!("route[{name}]"),
        (word, name) => format!("{word}[{name}]"),
    }
}

/// What stands at `span`, blanks and line ends as one blank each. Of a statement that holds others, its first line.
fn source(program: &Program, span: Span, kind: EntryKind) -> String {
    const LONGEST: usize = 120;
    let sources = program.sources();
    let text = sources.text(span.file).get(span.start as usize..span.end as usize).unwrap_or("");
    let is_keyword = matches!(text, "if" | "while" | "switch");
    let whole = if is_keyword && kind == EntryKind::Statement {
        sources.line(span.file, sources.position(span).line).trim()
    } else {
        text
    };
    let mut out = bare(&whole.split_whitespace().collect::<Vec<_>>().join(" ")).to_owned();
    if let Some((end, _)) = out.char_indices().nth(LONGEST) {
        out.truncate(end);
        out.push_str(" ...");
    }
    out
}

/// Without parentheses around the whole.
fn bare(text: &str) -> &str {
    let Some(inner) = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) else { return text };
    let mut depth = 0_i32;
    let is_whole = inner.chars().all(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth >= 0
    });
    if is_whole { inner.trim() } else { text }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "$null".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Str(text) => format!("\"{}\"", String::from_utf8_lossy(text).escape_debug()),
    }
}

fn arguments(program: &Program, args: &[Arg]) -> String {
    let one = |arg: &Arg| match arg {
        Arg::Value(value) => shown(value),
        Arg::Regex(regex) => format!("/{}/", regex.as_str()),
        Arg::Route(route) => format!("\"{}\"", program.name(*route)),
        Arg::Variable(output) => {
            let key = output.key.as_ref().map(|key| format!("({})", String::from_utf8_lossy(key))).unwrap_or_default();
            let index = match output.index {
                Index::Default => String::new(),
                Index::At(n) => format!("[{n}]"),
                Index::All => "[*]".to_owned(),
            };
            format!("${}{key}{index}", output.variable.name)
        }
    };
    args.iter().map(one).collect::<Vec<_>>().join(", ")
}
