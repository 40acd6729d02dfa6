//! Questions about strings.

use std::cell::RefCell;
use std::collections::HashMap;

use bytes::Bytes;
use module_api::{Call, Function, Outcome, Param, ParamKind, Routes};
use regex::bytes::{Regex, RegexBuilder};

const TWO: &[Param] = &[Param::required("text", ParamKind::Format), Param::required("other", ParamKind::Format)];
const LIST: &[Param] = &[
    Param::required("text", ParamKind::Format),
    Param::required("list", ParamKind::Format),
    Param::required("separator", ParamKind::Str),
];

pub(super) const STARTS_WITH: Function = Function {
    name: "starts_with",
    params: TWO,
    routes: Routes::ANY,
    doc: "True when the first string begins with the second.",
    example: "if (starts_with(\"$rU\", \"00\")) strip(2);",
    run: |call| call.text(0).starts_with(&call.text(1)).into(),
};

pub(super) const ENDS_WITH: Function = Function {
    name: "ends_with",
    params: TWO,
    routes: Routes::ANY,
    doc: "True when the first string ends with the second.",
    example: "if (ends_with(\"$rd\", \".example.com\")) xlog(\"ours\\n\");",
    run: |call| call.text(0).ends_with(&call.text(1)).into(),
};

pub(super) const IN_LIST: Function = Function {
    name: "in_list",
    params: LIST,
    routes: Routes::ANY,
    doc: "True when the string is an element of the list.",
    example: "if (in_list(\"$rU\", \"100,101,102\", \",\")) xlog(\"a service\\n\");",
    run: |call| in_list(call, |text, element| text == element),
};

pub(super) const IN_LIST_PREFIX: Function = Function {
    name: "in_list_prefix",
    params: LIST,
    routes: Routes::ANY,
    doc: "True when the string begins with an element of the list.",
    example: "if (in_list_prefix(\"$rU\", \"0900,0190\", \",\")) exit;",
    run: |call| in_list(call, |text, element| !element.is_empty() && text.starts_with(element)),
};

pub(super) const CMP_STR: Function = Function {
    name: "cmp_str",
    params: TWO,
    routes: Routes::ANY,
    doc: "True when two strings are equal.",
    example: "if (cmp_str(\"$rd\", \"$fd\")) xlog(\"same domain\\n\");",
    run: |call| (call.text(0) == call.text(1)).into(),
};

pub(super) const CMP_ISTR: Function = Function {
    name: "cmp_istr",
    params: TWO,
    routes: Routes::ANY,
    doc: "True when two strings are equal but for the case of ASCII letters.",
    example: "if (cmp_istr(\"$rd\", \"$fd\")) xlog(\"same domain\\n\");",
    run: |call| call.text(0).eq_ignore_ascii_case(&call.text(1)).into(),
};

pub(super) const STR_FIND: Function = Function {
    name: "str_find",
    params: TWO,
    routes: Routes::ANY,
    doc: "True when the first string contains the second.",
    example: "if (str_find(\"$ua\", \"scanner\")) drop;",
    run: |call| contains(&call.text(0), &call.text(1)).into(),
};

pub(super) const STR_IFIND: Function = Function {
    name: "str_ifind",
    params: TWO,
    routes: Routes::ANY,
    doc: "True when the first string contains the second, whatever the case of ASCII letters.",
    example: "if (str_ifind(\"$ua\", \"scanner\")) drop;",
    run: |call| contains(&call.text(0).to_ascii_lowercase(), &call.text(1).to_ascii_lowercase()).into(),
};

pub(super) const STR_ANY_IN: Function = Function {
    name: "str_any_in",
    params: TWO,
    routes: Routes::ANY,
    doc: "True when a character of the first string stands in the second.",
    example: "if (str_any_in(\"$rU\", \"*#\")) xlog(\"a code\\n\");",
    run: |call| {
        let set = call.text(1);
        call.text(0).iter().any(|byte| set.contains(byte)).into()
    },
};

pub(super) const STR_ALL_IN: Function = Function {
    name: "str_all_in",
    params: TWO,
    routes: Routes::ANY,
    doc: "True when every character of the first string stands in the second.",
    example: "if (str_all_in(\"$rU\", \"+0123456789\")) xlog(\"a number\\n\");",
    run: |call| {
        let (text, set) = (call.text(0), call.text(1));
        (!text.is_empty() && text.iter().all(|byte| set.contains(byte))).into()
    },
};

pub(super) const SEARCH_STR: Function = Function {
    name: "search_str",
    params: &[Param::required("text", ParamKind::Format), Param::required("pattern", ParamKind::Regex)],
    routes: Routes::ANY,
    doc: "True when the pattern matches the string.",
    example: "if (search_str(\"$ua\", \"^sip\")) drop;",
    run: |call| match call.regex(1) {
        Some(regex) => regex.is_match(&call.text(0)).into(),
        None => Outcome::FALSE,
    },
};

fn in_list(call: &Call<'_>, is_hit: impl Fn(&[u8], &[u8]) -> bool) -> Outcome {
    let (text, list, separator) = (call.text(0), call.text(1), call.text(2));
    let Some(separator) = separator.first() else { return Outcome::fail("the separator is empty") };
    list.split(|byte| byte == separator).any(|element| is_hit(&text, element.trim_ascii())).into()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}

thread_local! {
    /// Expressions are constants nearly always; each worker compiles each of them once.
    static COMPILED: RefCell<HashMap<Bytes, Regex>> = RefCell::new(HashMap::new());
}

/// Computed expressions could be without number.
const MOST_COMPILED: usize = 256;

/// A regular expression that only the call knows.
pub(super) fn regex(text: &Bytes) -> Option<Regex> {
    COMPILED.with_borrow_mut(|compiled| {
        if let Some(known) = compiled.get(text) {
            return Some(known.clone());
        }
        let regex =
            RegexBuilder::new(std::str::from_utf8(text).ok()?).unicode(false).size_limit(1 << 20).build().ok()?;
        if compiled.len() >= MOST_COMPILED {
            compiled.clear();
        }
        compiled.insert(text.clone(), regex.clone());
        Some(regex)
    })
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::Bench;

    #[test]
    fn characters_are_looked_for_in_a_set() {
        let ask = |function: &str, text: &str, set: &str| Bench::invite().run(&MODULE, function, &[text, set]);
        assert_eq!((ask("str_any_in", "abc", "xbz"), ask("str_any_in", "abc", "xyz")), (1, -1));
        assert_eq!((ask("str_all_in", "abc", "xcbaz"), ask("str_all_in", "abc", "ab")), (1, -1));
    }

    #[test]
    fn strings_are_compared() {
        let cases: [(&str, &[&str], i64); 9] = [
            ("starts_with", &["0049", "00"], 1),
            ("ends_with", &["a.example.com", ".example.com"], 1),
            ("in_list", &["101", "100, 101", ","], 1),
            ("in_list", &["10", "100,101", ","], -1),
            ("in_list_prefix", &["0900123", "0190,0900", ","], 1),
            ("cmp_str", &["a", "A"], -1),
            ("cmp_istr", &["a", "A"], 1),
            ("str_find", &["abc", "bc"], 1),
            ("str_ifind", &["abc", "BD"], -1),
        ];
        for (function, args, code) in cases {
            assert_eq!(Bench::invite().run(&MODULE, function, args), code, "{function} {args:?}");
        }
    }
}
