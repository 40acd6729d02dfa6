//! Transformations: what stands in braces behind a variable, `$(ru{uri.host}{s.len})`.

mod code;
mod data;
mod number;
mod sip;
mod text;

use std::borrow::Cow;

use bytes::Bytes;
use module_api::{Calendar, Value, Zone, calendar};
use regex::bytes::Regex;

use crate::program::Text;

/// One transformation with its arguments.
#[derive(Clone)]
pub(crate) struct Transform {
    run: Action,
    arguments: Box<[Text]>,
}

#[derive(Clone)]
enum Action {
    Plain(&'static Operation),
    Substitute { pattern: Regex, replacement: String, is_global: bool },
}

/// A row of the table: what a script writes, how many arguments it takes, what it does.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    pub(crate) least: usize,
    pub(crate) most: usize,
    run: fn(&Bytes, &[Bytes]) -> Value,
}

const fn op(name: &'static str, least: usize, most: usize, run: fn(&Bytes, &[Bytes]) -> Value) -> Operation {
    Operation { name, least, most, run }
}

impl Transform {
    pub(crate) fn new(operation: &'static Operation, arguments: Vec<Text>) -> Transform {
        Transform { run: Action::Plain(operation), arguments: arguments.into() }
    }

    /// `re.subst` with its rule `/pattern/replacement/flags`.
    pub(crate) fn substitute(rule: &str) -> Result<Transform, String> {
        let (pattern, replacement, flags) =
            crate::lex::split_rule(rule).ok_or("it must look like /pattern/replacement/flags")?;
        let pattern = regex::bytes::RegexBuilder::new(&crate::pattern::translate(&pattern)?)
            .case_insensitive(flags.contains('i'))
            .dot_matches_new_line(flags.contains('s'))
            .size_limit(crate::pattern::SIZE_LIMIT)
            .build()
            .map_err(|error| crate::pattern::explain(&error))?;
        let replacement = crate::lex::back_references(&replacement);
        let run = Action::Substitute { pattern, replacement, is_global: flags.contains('g') };
        Ok(Transform { run, arguments: Box::new([]) })
    }

    /// Whether it has something to say about an undefined value.
    pub(crate) fn accepts_null(&self) -> bool {
        matches!(
            &self.run,
            Action::Plain(operation) if operation.name.starts_with("val.") || operation.name.starts_with("sql.")
        )
    }

    /// Whether it shows a time as clocks on the wall do.
    pub(crate) fn needs_zone(&self) -> bool {
        matches!(&self.run, Action::Plain(operation) if operation.name == "s.ftime")
    }

    /// Shows a time as clocks of that zone do; `render` evaluates arguments.
    pub(crate) fn apply_in(&self, zone: Zone, value: &Value, render: &mut dyn FnMut(&Text) -> Bytes) -> Value {
        let arguments: smallvec::SmallVec<[Bytes; 2]> = self.arguments.iter().map(render).collect();
        date(&value.to_bytes(), &arguments, zone)
    }

    /// Applies it; `render` evaluates arguments.
    pub(crate) fn apply(&self, value: Value, render: &mut dyn FnMut(&Text) -> Bytes) -> Value {
        match &self.run {
            Action::Plain(operation) if operation.name == "val.n0" && value.is_null() => Value::Int(0),
            Action::Plain(operation) if operation.name.starts_with("val.n") && !value.is_null() => value,
            Action::Plain(operation) if operation.name.starts_with("sql.") => data::sql(operation.name, &value),
            Action::Plain(operation) => {
                let arguments: smallvec::SmallVec<[Bytes; 2]> = self.arguments.iter().map(render).collect();
                (operation.run)(&value.to_bytes(), &arguments)
            }
            Action::Substitute { pattern, replacement, is_global } => {
                let text = value.to_bytes();
                let count = if *is_global { 0 } else { 1 };
                let changed = match pattern.replacen(&text, count, replacement.as_bytes()) {
                    Cow::Borrowed(_) => None,
                    Cow::Owned(changed) => Some(changed),
                };
                Value::Str(changed.map_or(text, Bytes::from))
            }
        }
    }
}

/// The operation called `name`.
pub(crate) fn find(name: &str) -> Option<&'static Operation> {
    tables().find(|operation| operation.name == name)
}

/// Every name, for suggestions.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    tables().map(|operation| operation.name).chain(["re.subst"])
}

/// Of any value, so that they are not in the tables of operations on strings.
const SQL: &[Operation] = &[
    op("sql.val", 0, 0, |text, _| data::sql("sql.val", &Value::Str(text.clone()))),
    op("sql.val.int", 0, 0, |text, _| data::sql("sql.val.int", &Value::Str(text.clone()))),
    op("sql.val.str", 0, 0, |text, _| data::sql("sql.val.str", &Value::Str(text.clone()))),
];

fn tables() -> impl Iterator<Item = &'static Operation> {
    text::OPERATIONS
        .iter()
        .chain(code::OPERATIONS)
        .chain(sip::OPERATIONS)
        .chain(data::OPERATIONS)
        .chain(number::OPERATIONS)
        .chain(SQL)
}

/// Seconds since 1970 in a format of strftime().
fn date(text: &Bytes, arguments: &[Bytes], zone: Zone) -> Value {
    let moment = Calendar::at(Value::Str(text.clone()).to_int(), zone);
    Value::Str(calendar::format(&moment, &String::from_utf8_lossy(argument(arguments, 0))).into())
}

/// A piece of `whole` that shares its memory.
fn piece(whole: &Bytes, part: &[u8]) -> Value {
    Value::Str(whole.slice_ref(part))
}

fn number(arguments: &[Bytes], n: usize) -> i64 {
    arguments.get(n).map_or(0, |text| Value::Str(text.clone()).to_int())
}

fn argument(arguments: &[Bytes], n: usize) -> &[u8] {
    arguments.get(n).map_or(&[], |text| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(name: &str, arguments: &[&str], text: &str) -> String {
        let arguments = arguments.iter().map(|text| Text::Constant(Bytes::copy_from_slice(text.as_bytes()))).collect();
        let transform = Transform::new(find(name).unwrap(), arguments);
        let value = transform.apply(Value::Str(Bytes::copy_from_slice(text.as_bytes())), &mut |text| match text {
            Text::Constant(text) => text.clone(),
            Text::Pieces(_) => Bytes::new(),
        });
        let mut out = Vec::new();
        value.show(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn string_operations_follow_the_reference() {
        for (name, arguments, text, expected) in [
            ("s.len", &[][..], "abc", "3"),
            ("s.int", &[], "42x", "0"),
            ("s.int", &[], "42", "42"),
            ("s.toupper", &[], "aBc", "ABC"),
            ("s.tolower", &[], "aBc", "abc"),
            ("s.substr", &["1", "2"], "abcdef", "bc"),
            ("s.substr", &["-2", "0"], "abcdef", "ef"),
            ("s.substr", &["9", "1"], "abc", ""),
            ("s.select", &["1", ","], "a,b,c", "b"),
            ("s.select", &["-1", ","], "a,b,c", "c"),
            ("s.select", &["9", ","], "a,b,c", ""),
            ("s.strip", &["2"], "abc", "c"),
            ("s.striptail", &["2"], "abc", "a"),
            ("s.replace", &["b", "xx"], "abab", "axxaxx"),
            ("s.rm", &["b"], "abab", "aa"),
            ("s.trim", &[], "  a b ", "a b"),
            ("s.count", &["a"], "banana", "3"),
            ("s.before", &["@"], "a@b@c", "a"),
            ("s.rafter", &["@"], "a@b@c", "c"),
            ("s.unquote", &[], "\"a\"", "a"),
            ("s.numeric", &[], "+1-2a3", "123"),
            ("s.selectsw", &["tw", ","], "one,two,three", "two"),
            ("s.ftime", &["%Y-%m-%d"], "1700000000", "2023-11-14"),
            // The next four as Kamailio 5.6.3 prints them.
            ("s.md5", &[], "one,two,three", "9a49d10b77315fd6566946dbb1ee882c"),
            ("s.sha256", &[], "one,two,three", "ff8c81e61ca276a4f7990af8b0966ed85c8ba791bd0b596b887781146f8e01b7"),
            ("s.sha1", &[], "abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            ("s.crc32", &[], "123456789", "cbf43926"),
            ("s.corehash", &[], "alice@example.com", "2920418261"),
            ("s.corehash", &["8"], "alice@example.com", "5"),
            ("s.corehash", &[], "ab", "27998"),
            ("s.selectws", &["1"], "12 34\t 56", "34"),
            ("s.selectws", &["-1"], "12 34\t 56", "56"),
            ("s.selectws", &["3"], "12 34\t 56", ""),
            ("s.encode.7bit", &[], "hello", "E8329BFD06"),
            ("s.decode.7bit", &[], "e8329bfd4697d9ec37", "hellohello"),
            ("urialias.encode", &[], "sip:127.0.0.1:5060;transport=udp", "127.0.0.1~5060~1"),
            ("urialias.encode", &[], "sips:[2001:db8::1]", "[2001:db8::1]~5061~3"),
            ("urialias.decode", &[], "127.0.0.1~5060~2", "sip:127.0.0.1:5060;transport=tcp"),
            ("urialias.decode", &[], "127.0.0.1~5060~9", ""),
            ("json.parse", &["a.b[1]"], "{\"a\": {\"b\": [1, \"x\"]}}", "x"),
            ("json.parse", &["a.b"], "{\"a.b\": 7}", "7"),
            ("json.parse", &["a"], "{\"a\": {\"b\": true}}", "{\"b\":true}"),
            ("json.parse", &["b"], "{\"a\": 1}", "<null>"),
            ("json.parse", &["a"], "no json", "<null>"),
            ("s.encode.base58", &[], "one,two,three", "AHKRZXwPrk24zx3UNx"),
            ("s.prefixes.quoted", &["3"], "1700000000", "'1','17','170'"),
            ("s.decode.base58", &[], "AHKRZXwPrk24zx3UNx", "one,two,three"),
            ("s.escape.crlf", &[], "a\r\nb", "a\\r\\nb"),
            ("s.unescape.crlf", &[], "a\\r\\nb", "a\r\nb"),
            ("s.escape.csv", &[], "a\"b", "\"a\"\"b\""),
            ("s.rmhlws", &[], "a\r\n b", "a b"),
            ("val.jsonqe", &[], "a\"b\n", "\"a\\\"b\\n\""),
            ("sql.val", &[], "it's", "'it''s'"),
            ("sql.val.int", &[], "x", "0"),
            ("sock.host", &[], "tcp:[2001:db8::1]:5060", "[2001:db8::1]"),
            ("sock.port", &[], "udp:192.0.2.1:5060", "5060"),
            ("sock.touri", &[], "udp:192.0.2.1:5060", "sip:192.0.2.1:5060;transport=udp"),
            ("s.encode.hexa", &[], "AZ", "415a"),
            ("s.decode.hexa", &[], "415a", "AZ"),
            ("s.encode.base64", &[], "hello", "aGVsbG8="),
            ("s.decode.base64", &[], "aGVsbG8=", "hello"),
            ("s.escape.user", &[], "a b@c", "a%20b%40c"),
            ("s.unescape.param", &[], "a%20b", "a b"),
        ] {
            assert_eq!(apply(name, arguments, text), expected, "{name} {arguments:?} {text}");
        }
    }

    #[test]
    fn parts_of_uris_and_headers_are_found() {
        let uri = "sips:alice:pw@example.com:5071;transport=tcp;lr?Subject=hi";
        let address = "\"A <x>\" <sip:bob@example.org>;tag=77;q=0.5";
        for (name, arguments, text, expected) in [
            ("uri.user", &[][..], uri, "alice"),
            ("uri.passwd", &[], uri, "pw"),
            ("uri.host", &[], uri, "example.com"),
            ("uri.port", &[], uri, "5071"),
            ("uri.scheme", &[], uri, "sips"),
            ("uri.transport", &[], uri, "tcp"),
            ("uri.params", &[], uri, "transport=tcp;lr"),
            ("uri.param", &["transport"], uri, "tcp"),
            ("uri.host", &[], "sip:[2001:db8::1]:5060", "[2001:db8::1]"),
            ("uri.saor", &[], "sip:bob@example.org:5060;lr", "sip:bob@example.org"),
            ("uri.suri", &[], uri, "sips:alice@example.com:5071;transport=tcp"),
            ("uri.duri", &[], uri, "sips:example.com:5071;transport=tcp"),
            ("uri.tosocket", &[], "sip:example.com:5070;transport=udp;x=1", "udp:example.com:5070"),
            ("uri.rmparam", &["lr"], uri, "sips:alice:pw@example.com:5071;transport=tcp?Subject=hi"),
            ("msrpuri.session", &[], "msrp://a@h:2855/s1;tcp;x=1", "s1"),
            ("msrpuri.params", &[], "msrp://a@h:2855/s1;tcp;x=1", "x=1"),
            ("nameaddr.uri", &[], address, "sip:bob@example.org"),
            ("nameaddr.name", &[], address, "\"A <x>\""),
            ("tobody.tag", &[], address, "77"),
            ("tobody.user", &[], address, "bob"),
            ("tobody.host", &[], address, "example.org"),
            ("tobody.params", &[], address, "tag=77;q=0.5"),
            ("param.value", &["b"], "a=1;b=\"x;y\";c", "x;y"),
            ("param.valueat", &["0"], "a=1;b=2", "1"),
            ("param.name", &["1"], "a=1;b=2", "b"),
            ("param.count", &[], "a=1;b=2;c", "3"),
            ("param.value", &["b", "&"], "a=1&b=2", "2"),
            ("line.at", &["1"], "a\r\nb\r\nc", "b"),
            ("line.sw", &["b"], "ax\r\nby\r\n", "by"),
            ("line.count", &[], "a\nb\n", "2"),
            ("url.querystring", &[], "/a/b?x=1&y=2", "x=1&y=2"),
        ] {
            assert_eq!(apply(name, arguments, text), expected, "{name} {text}");
        }
    }

    #[test]
    fn undefined_is_a_literal_of_sql_too() {
        let literal =
            |name: &str| Transform::new(find(name).unwrap(), Vec::new()).apply(Value::Null, &mut |_| Bytes::new());
        assert_eq!(literal("sql.val"), Value::from_static("NULL"));
        assert_eq!(literal("sql.val.int"), Value::from_static("0"));
        assert_eq!(literal("sql.val.str"), Value::from_static("''"));
    }

    #[test]
    fn substitution_takes_back_references() {
        let transform = Transform::substitute("/^sip:(.*)@(.*)$/\\2!\\1/").unwrap();
        let value = transform.apply(Value::from_static("sip:bob@example.com"), &mut |_| Bytes::new());
        assert_eq!(value, Value::from_static("example.com!bob"));
    }

    #[test]
    fn every_operation_survives_hostile_input() {
        for operation in tables() {
            for text in ["", "<", "\"", "sip:", "@", ";;=", "%", "%z", "\u{0}", "é", "[::", "a=\""] {
                for argument in ["", "-9223372036854775808", "9223372036854775807", "é", "0"] {
                    let arguments = vec![Bytes::from_static(argument.as_bytes()); operation.most];
                    (operation.run)(&Bytes::from_static(text.as_bytes()), &arguments);
                }
            }
        }
    }
}
