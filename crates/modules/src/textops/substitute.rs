//! `subst()`: expressions in the style of sed, `/pattern/replacement/flags`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use module_api::{Call, Function, Outcome, Param, ParamKind, Routes, Value};
use regex::bytes::{Captures, Regex, RegexBuilder};
use sip_message::{Span, Uri};

use super::search::Part;
use crate::rewrite;

const EXPRESSION: &[Param] = &[Param::required("expression", ParamKind::Str)];

pub(super) const SUBST: Function = Function {
    name: "subst",
    params: EXPRESSION,
    routes: Routes::ANY,
    doc: "Substitutes in the headers and body: /PATTERN/REPLACEMENT/FLAGS with any separator. Flags: g every match, i \
          whatever the case, s the dot matches line ends. In the replacement \\1 to \\9 are groups, \\0 the match, \\u the \
          Request-URI. False without a match.",
    example: "subst('/^Subject:(.*)$/Subject:\\1 (outside)/');",
    run: |call| substitute(call, Part::BehindStartLine),
};

pub(super) const SUBST_BODY: Function = Function {
    name: "subst_body",
    params: EXPRESSION,
    routes: Routes::ANY,
    doc: "As subst(), in the body alone.",
    example: "subst_body('/sendonly/sendrecv/g');",
    run: |call| substitute(call, Part::Body),
};

pub(super) const SUBST_URI: Function = Function {
    name: "subst_uri",
    params: EXPRESSION,
    routes: Routes::ANY,
    doc: "As subst(), on the Request-URI. False without a match, and when the result is no URI.",
    example: "subst_uri('/^sip:00([0-9]+)@(.*)$/sip:+\\1@\\2/');",
    run: |call| {
        let Some(expression) = expression(&call.text(0)) else { return bad() };
        let uri = call.context.target.uri.clone();
        match expression.on(&uri, &uri).filter(|new| Uri::parse(new).is_ok()) {
            Some(new) => {
                call.context.set_uri(new);
                Outcome::TRUE
            }
            None => Outcome::FALSE,
        }
    },
};

pub(super) const SUBST_USER: Function = Function {
    name: "subst_user",
    params: EXPRESSION,
    routes: Routes::ANY,
    doc: "As subst(), on the user of the Request-URI.",
    example: "subst_user('/^00/+/');",
    run: |call| {
        let Some(expression) = expression(&call.text(0)) else { return bad() };
        let uri = call.context.target.uri.clone();
        let Some(user) = Uri::parse(&uri).ok().and_then(|uri| uri.user) else { return Outcome::FALSE };
        let new = expression.on(user, &uri).and_then(|user| rewrite::with_user(&uri, Some(&user)));
        match new {
            Some(new) => {
                call.context.set_uri(new);
                Outcome::TRUE
            }
            None => Outcome::FALSE,
        }
    },
};

pub(super) const SUBST_HF: Function = Function {
    name: "subst_hf",
    params: &[
        Param::required("name", ParamKind::Header),
        Param::required("expression", ParamKind::Str),
        Param::optional("which", ParamKind::Options),
    ],
    routes: Routes::ANY,
    doc: "As subst(), on the values of a header: of all, of the first (f) or the last (l) of that name.",
    example: "subst_hf(\"Subject\", '/^/(outside) /', \"a\");",
    run: |call| {
        let Some(expression) = expression(&call.text(1)) else { return bad() };
        let message = Arc::clone(&call.context.message);
        let name = call.text(0);
        let spans: Vec<Span> = message.headers_with_name(&name).map(|header| header.value_span).collect();
        let spans = match (&call.text(2)[..], spans.len()) {
            (_, 0) => &[][..],
            (b"f", _) => &spans[..1],
            (b"l", count) => &spans[count - 1..],
            _ => &spans[..],
        };
        let uri = call.context.target.uri.clone();
        let changes: Vec<(Span, Bytes)> = spans
            .iter()
            .filter_map(|span| Some((*span, expression.on(message.text(*span), &uri)?)))
            // A value that would end its line would smuggle in a header.
            .filter(|(_, text)| !text.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)))
            .collect();
        let count = changes.len();
        apply(call, changes);
        (count > 0).into()
    },
};

pub(super) const SUBST_V: Function = Function {
    name: "subst_v",
    params: &[
        Param::required("text", ParamKind::Format),
        Param::required("expression", ParamKind::Str),
        Param::required("variable", ParamKind::Output),
    ],
    routes: Routes::ANY,
    doc: "As subst(), on a text; the result goes into a variable. False without a match.",
    example: "subst_v(\"$rU\", '/^00/+/', \"$var(number)\");",
    run: |call| {
        let Some(expression) = expression(&call.text(1)) else { return bad() };
        let uri = call.context.target.uri.clone();
        let Some(new) = expression.on(&call.text(0), &uri) else { return Outcome::FALSE };
        match call.write_output(2, Value::Str(new)) {
            Ok(()) => Outcome::TRUE,
            Err(fault) => Outcome::Fail(fault),
        }
    },
};

fn bad() -> Outcome {
    Outcome::fail("not an expression of the form /pattern/replacement/flags")
}

/// A parsed expression.
pub(crate) struct Expression {
    regex: Regex,
    replacement: Vec<u8>,
    is_global: bool,
}

/// Most matches of one substitution.
const MOST: usize = 1000;

impl Expression {
    fn parse(text: &[u8]) -> Option<Expression> {
        let separator = *text.first()?;
        let (pattern, rest) = until(&text[1..], separator)?;
        let (replacement, flags) = until(rest, separator)?;
        let mut builder = RegexBuilder::new(std::str::from_utf8(&pattern).ok()?);
        // As POSIX expressions with REG_NEWLINE: ^ and $ match at each line.
        builder.multi_line(true).crlf(true).unicode(false).size_limit(1 << 20);
        let mut is_global = false;
        for flag in flags {
            match flag {
                b'g' => is_global = true,
                b'i' => {
                    builder.case_insensitive(true);
                }
                b's' => {
                    builder.dot_matches_new_line(true);
                }
                _ => return None,
            }
        }
        Some(Expression { regex: builder.build().ok()?, replacement, is_global })
    }

    /// The places and texts of a substitution in `text`.
    fn changes(&self, text: &[u8], uri: &[u8]) -> Vec<(usize, usize, Bytes)> {
        let limit = if self.is_global { MOST } else { 1 };
        let found = self.regex.captures_iter(text).take(limit);
        found
            .map(|groups| {
                let whole = groups.get(0).expect("group 0 is the match");
                (whole.start(), whole.end(), self.replacement_for(&groups, uri))
            })
            .collect()
    }

    /// `text` with the substitution made; none without a match.
    pub(crate) fn on(&self, text: &[u8], uri: &[u8]) -> Option<Bytes> {
        let changes = self.changes(text, uri);
        if changes.is_empty() {
            return None;
        }
        let mut out = Vec::with_capacity(text.len() + 32);
        let mut at = 0;
        for (start, end, new) in changes {
            out.extend_from_slice(&text[at..start]);
            out.extend_from_slice(&new);
            at = end;
        }
        out.extend_from_slice(&text[at..]);
        Some(out.into())
    }

    fn replacement_for(&self, groups: &Captures<'_>, uri: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(self.replacement.len() + 32);
        let mut bytes = self.replacement.iter().copied();
        while let Some(byte) = bytes.next() {
            if byte != b'\\' {
                out.push(byte);
                continue;
            }
            match bytes.next() {
                Some(digit @ b'0'..=b'9') => {
                    let group = groups.get(usize::from(digit - b'0'));
                    out.extend_from_slice(group.map_or(&[][..], |group| group.as_bytes()));
                }
                Some(b'u') => out.extend_from_slice(uri),
                Some(b'n') => out.push(b'\n'),
                Some(b'r') => out.push(b'\r'),
                Some(b't') => out.push(b'\t'),
                Some(other) => out.push(other),
                None => out.push(b'\\'),
            }
        }
        out.into()
    }
}

/// Text up to a separator that no backslash precedes, and what follows it.
fn until(text: &[u8], separator: u8) -> Option<(Vec<u8>, &[u8])> {
    let mut out = Vec::new();
    let mut at = 0;
    loop {
        match *text.get(at)? {
            b'\\' if text.get(at + 1) == Some(&separator) => {
                out.push(separator);
                at += 2;
            }
            b'\\' => {
                out.push(b'\\');
                out.push(*text.get(at + 1)?);
                at += 2;
            }
            byte if byte == separator => return Some((out, &text[at + 1..])),
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
}

thread_local! {
    /// Expressions are constants nearly always; each worker compiles each of them once.
    static COMPILED: RefCell<HashMap<Bytes, Arc<Expression>>> = RefCell::new(HashMap::new());
}

/// Computed expressions could be without number.
const MOST_COMPILED: usize = 256;

pub(crate) fn expression(text: &Bytes) -> Option<Arc<Expression>> {
    COMPILED.with_borrow_mut(|compiled| {
        if let Some(known) = compiled.get(text) {
            return Some(Arc::clone(known));
        }
        let expression = Arc::new(Expression::parse(text)?);
        if compiled.len() >= MOST_COMPILED {
            compiled.clear();
        }
        compiled.insert(text.clone(), Arc::clone(&expression));
        Some(expression)
    })
}

fn substitute(call: &mut Call<'_>, part: Part) -> Outcome {
    let Some(expression) = expression(&call.text(0)) else { return bad() };
    let message = Arc::clone(&call.context.message);
    let (start, end) = part.range(&message);
    let uri = call.context.target.uri.clone();
    let changes: Vec<(Span, Bytes)> = expression
        .changes(&message.bytes()[start..end], &uri)
        .into_iter()
        .map(|(from, to, text)| (Span::new(start + from, start + to), text))
        .collect();
    let count = changes.len();
    apply(call, changes);
    (count > 0).into()
}

/// Lists changes as edits; writing corrects Content-Length.
pub(super) fn apply(call: &mut Call<'_>, changes: Vec<(Span, Bytes)>) {
    for (span, text) in changes {
        call.context.edits.replace(span, text);
    }
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::Bench;

    fn on(expression: &str, text: &str) -> Option<String> {
        let expression = Expression::parse(expression.as_bytes()).expect("a good expression");
        expression.on(text.as_bytes(), b"sip:u@h").map(|out| String::from_utf8(out.to_vec()).unwrap())
    }

    #[test]
    fn expressions_replace_groups_and_the_request_uri() {
        assert_eq!(on("/b(.)/\\1\\1/", "abcabc").as_deref(), Some("accabc"));
        assert_eq!(on("/b/X/g", "abcabc").as_deref(), Some("aXcaXc"));
        assert_eq!(on("/B/x/i", "abc").as_deref(), Some("axc"));
        assert_eq!(on("#a/b#\\u#", "a/b").as_deref(), Some("sip:u@h"));
        assert_eq!(on("/a\\/b/x/", "a/b").as_deref(), Some("x"));
        assert_eq!(on("/^b$/x/", "a\r\nb\r\nc").as_deref(), Some("a\r\nx\r\nc"));
        assert_eq!(on("/z/x/", "abc"), None);
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for text in ["", "/a", "/a/b", "/a/b/q", "/(/x/", "/a\\"] {
            assert!(Expression::parse(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn the_request_uri_and_headers_are_substituted() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "subst_user", &["/^b/B/"]), 1);
        assert_eq!(bench.run(&MODULE, "subst_uri", &["/example.com/h/"]), 1);
        assert_eq!(bench.uri(), "sip:Bob@h");
        assert_eq!(bench.run(&MODULE, "subst_uri", &["/^sip/no uri/"]), -1);
        assert_eq!(bench.run(&MODULE, "subst", &["/^Subject: (.*)$/Subject: [\\1]/"]), 1);
        assert_eq!(bench.run(&MODULE, "subst_hf", &["Call-ID", "/$/x/", "a"]), 1);
        let text = bench.written();
        assert!(text.contains("Subject: [lunch]\r\n") && text.contains("198.51.100.7x\r\n"), "{text}");
    }
}
