//! Changing single values of headers.

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Call, Function, Outcome, Param, ParamKind, Routes};
use sip_message::{Message, Span};

use super::value::{Address, Which, pieces, values};

const PLACE_AND_VALUE: &[Param] =
    &[Param::required("header", ParamKind::Str), Param::required("value", ParamKind::Format)];
const PLACE: &[Param] = &[Param::required("header", ParamKind::Str)];

const fn change(
    name: &'static str,
    params: &'static [Param],
    doc: &'static str,
    example: &'static str,
    run: fn(&mut Call<'_>) -> Outcome,
) -> Function {
    Function { name, params, routes: Routes::ANY, doc, example, run }
}

pub(super) const APPEND: Function = change(
    "append_hf_value",
    PLACE_AND_VALUE,
    "Adds a value behind others: a header of its own, behind the last value for HEADER[0], behind the n-th for HEADER[n].",
    "append_hf_value(\"Supported[0]\", \"gruu\");",
    |call| add(call, true),
);

pub(super) const INSERT: Function = change(
    "insert_hf_value",
    PLACE_AND_VALUE,
    "Adds a value in front of others: a header of its own, or in front of the n-th value for HEADER[n].",
    "insert_hf_value(\"Supported[1]\", \"gruu\");",
    |call| add(call, false),
);

pub(super) const ASSIGN: Function = change(
    "assign_hf_value",
    PLACE_AND_VALUE,
    "Replaces the first value, the n-th for HEADER[n], or a parameter of it for HEADER[n].PARAM, which is added when it is \
     not there. False when there is no such value.",
    "assign_hf_value(\"Contact[1].expires\", \"60\");",
    |call| {
        let (Some(address), Some(new)) = (Address::parse(&call.text(0)), clean(call, 1)) else { return bad() };
        let message = Arc::clone(&call.context.message);
        let Some(found) = address.one(&message) else { return Outcome::FALSE };
        let edits = &mut call.context.edits;
        match address.param.as_ref().map(|name| (name, found.param(name))) {
            None => edits.replace(found.value.span, new),
            Some((_, Some((_, Some(value))))) => edits.replace(value, new),
            Some((name, Some((whole, None)))) => edits.insert(whole.end, joined(b"=", &new, name, false)),
            Some((name, None)) => edits.insert(found.value.span.end, joined(b"=", &new, name, true)),
        }
        Outcome::TRUE
    },
);

pub(super) const REMOVE: Function = change(
    "remove_hf_value",
    PLACE,
    "Removes the first value, the n-th for HEADER[n], all for HEADER[*], or a parameter of it for HEADER[n].PARAM. False \
     when there is nothing to remove.",
    "remove_hf_value(\"Supported[2]\");",
    |call| {
        let Some(address) = Address::parse(&call.text(0)) else { return bad() };
        let message = Arc::clone(&call.context.message);
        let spans: Vec<Span> = match (&address.param, address.which) {
            (None, Which::All) => message.headers_with_name(&address.header).map(|header| header.field).collect(),
            (None, _) => address.one(&message).map(|found| found.removal()).into_iter().collect(),
            (Some(name), Which::All) => {
                values(&message, &address.header).filter_map(|found| Some(found.param(name)?.0)).collect()
            }
            (Some(name), _) => address.one(&message).and_then(|found| Some(found.param(name)?.0)).into_iter().collect(),
        };
        remove(call, &spans)
    },
);

pub(super) const REMOVE_PARAM: Function = change(
    "remove_hf_value2",
    PLACE,
    "Removes a parameter of a header such as Authorization, whose parameters are separated by commas: HEADER.PARAM.",
    "remove_hf_value2(\"Authorization.opaque\");",
    |call| {
        let Some(address) = Address::parse(&call.text(0)) else { return bad() };
        let message = Arc::clone(&call.context.message);
        let found = credential(&message, &address);
        let span = found.and_then(|found| found.param.map(|(number, _)| found.without(number)));
        remove(call, &span.into_iter().collect::<Vec<_>>())
    },
);

pub(super) const ASSIGN_PARAM: Function = change(
    "assign_hf_value2",
    PLACE_AND_VALUE,
    "Sets a parameter of a header such as Authorization, whose parameters are separated by commas: HEADER.PARAM. It is \
     added when it is not there.",
    "assign_hf_value2(\"Authorization.algorithm\", \"MD5\");",
    |call| {
        let (Some(address), Some(new)) = (Address::parse(&call.text(0)), clean(call, 1)) else { return bad() };
        let message = Arc::clone(&call.context.message);
        let (Some(name), Some(found)) = (&address.param, credential(&message, &address)) else { return Outcome::FALSE };
        match found.param {
            Some((_, value)) => call.context.edits.replace(value, new),
            None => call.context.edits.insert(found.end, [b", ", &name[..], b"=", &new].concat()),
        }
        Outcome::TRUE
    },
);

pub(super) const INCLUDE: Function = change(
    "include_hf_value",
    PLACE_AND_VALUE,
    "Adds a value to a header unless it is listed already.",
    "include_hf_value(\"Supported\", \"path\");",
    |call| {
        let (Some(address), Some(new)) = (Address::parse(&call.text(0)), clean(call, 1)) else { return bad() };
        let message = Arc::clone(&call.context.message);
        if is_listed(&message, &address, &new) {
            return Outcome::TRUE;
        }
        match message.headers_with_name(&address.header).next() {
            Some(header) => {
                let separator: &[u8] = if header.value.is_empty() { b"" } else { b"," };
                call.context.edits.insert(header.value_span.end, [separator, &new].concat());
            }
            None => call.context.edits.append_header(line(&address.header, &new)),
        }
        Outcome::TRUE
    },
);

pub(super) const EXCLUDE: Function = change(
    "exclude_hf_value",
    PLACE_AND_VALUE,
    "Removes a value from a header wherever it is listed; true also when it is not.",
    "exclude_hf_value(\"Supported\", \"100rel\");",
    |call| {
        let Some(address) = Address::parse(&call.text(0)) else { return bad() };
        let (message, unwanted) = (Arc::clone(&call.context.message), call.text(1));
        for header in message.headers_with_name(&address.header) {
            let (gone, kept): (Vec<_>, Vec<_>) =
                header.values().partition(|value| value.text.eq_ignore_ascii_case(unwanted.trim_ascii()));
            match (gone.is_empty(), kept.is_empty()) {
                (true, _) => {}
                (false, true) => call.context.edits.remove(header.field),
                (false, false) => {
                    let kept: Vec<&[u8]> = kept.iter().map(|value| value.text).collect();
                    call.context.edits.replace(header.value_span, kept.join(&b", "[..]));
                }
            }
        }
        Outcome::TRUE
    },
);

pub(super) const EXISTS: Function = change(
    "hf_value_exists",
    PLACE_AND_VALUE,
    "True when a header lists the value, whatever its case.",
    "if (hf_value_exists(\"Supported\", \"path\")) xlog(\"path\\n\");",
    |call| {
        let Some(address) = Address::parse(&call.text(0)) else { return bad() };
        let wanted = call.text(1);
        is_listed(&call.context.message, &address, &wanted).into()
    },
);

fn add(call: &mut Call<'_>, is_behind: bool) -> Outcome {
    let (Some(address), Some(new)) = (Address::parse(&call.text(0)), clean(call, 1)) else { return bad() };
    if address.param.is_some() {
        return Outcome::fail("a value is added, and not a parameter; see assign_hf_value()");
    }
    let message = Arc::clone(&call.context.message);
    let found = match address.which {
        Which::Unnamed | Which::All => None,
        Which::Zero if is_behind => values(&message, &address.header).last(),
        Which::Zero | Which::At(_) => address.one(&message),
    };
    let edits = &mut call.context.edits;
    match (found, address.which) {
        (Some(found), _) if is_behind => edits.insert(found.value.span.end, [b",", &new[..]].concat()),
        (Some(found), _) => edits.insert(found.value.span.start, [&new[..], b","].concat()),
        (None, Which::At(_)) => return Outcome::FALSE,
        (None, _) => {
            let line = line(&address.header, &new);
            let mut others = message.headers_with_name(&address.header).map(|header| header.field);
            match (if is_behind { others.last() } else { others.next() }, is_behind) {
                (Some(field), true) => edits.insert(field.end, line),
                (Some(field), false) => edits.insert(field.start, line),
                (None, true) => edits.append_header(line),
                (None, false) => edits.prepend_header(line),
            }
        }
    }
    Outcome::TRUE
}

fn remove(call: &mut Call<'_>, spans: &[Span]) -> Outcome {
    for span in spans {
        call.context.edits.remove(*span);
    }
    (!spans.is_empty()).into()
}

/// The parameters of a header such as Authorization.
struct Credential {
    /// Where each lies.
    params: Vec<Span>,
    /// The one that is meant, and its value.
    param: Option<(usize, Span)>,
    end: u32,
}

impl Credential {
    /// A parameter with one of its commas.
    fn without(&self, number: usize) -> Span {
        match (number, self.params.get(number + 1)) {
            (_, Some(next)) => Span { start: self.params[number].start, end: next.start },
            (0, None) => self.params[0],
            (number, None) => Span { start: self.params[number - 1].end, end: self.params[number].end },
        }
    }
}

fn credential(message: &Message, address: &Address) -> Option<Credential> {
    let number = if let Which::At(number) = address.which { number - 1 } else { 0 };
    let header = message.headers_with_name(&address.header).nth(number)?;
    let scheme = header.value.iter().position(u8::is_ascii_whitespace)?;
    let text = &header.value[scheme..];
    let (mut params, mut param) = (Vec::new(), None);
    for (start, end) in pieces(text, b',') {
        let piece = &text[start..end];
        let lead = piece.len() - piece.trim_ascii_start().len();
        let at = |from: usize, to: usize| Span::new(scheme + from, scheme + to).shifted(header.value_span.start);
        params.push(at(start + lead, end));
        let Some(equals) = piece.iter().position(|byte| *byte == b'=') else { continue };
        let is_meant =
            address.param.as_ref().is_some_and(|name| piece[..equals].trim_ascii().eq_ignore_ascii_case(name));
        if is_meant {
            param = Some((params.len() - 1, at(start + equals + 1, end)));
        }
    }
    Some(Credential { params, param, end: header.value_span.end })
}

fn is_listed(message: &Message, address: &Address, wanted: &[u8]) -> bool {
    values(message, &address.header).any(|found| found.value.text.eq_ignore_ascii_case(wanted.trim_ascii()))
}

/// An argument that may stand in a header: a line end would smuggle in another.
fn clean(call: &Call<'_>, n: usize) -> Option<Bytes> {
    Some(call.text(n)).filter(|text| super::is_one_line(text))
}

fn line(name: &[u8], value: &[u8]) -> Vec<u8> {
    [name, b": ", value, b"\r\n"].concat()
}

fn joined(equals: &[u8], value: &[u8], name: &[u8], with_name: bool) -> Vec<u8> {
    if with_name { [b";", name, equals, value].concat() } else { [equals, value].concat() }
}

fn bad() -> Outcome {
    Outcome::fail("not of the form HEADER, HEADER[n] or HEADER[n].PARAM, or a value with a line end")
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::{Bench, INVITE};

    const LISTS: &str =
        "Supported: timer, path\r\nSupported: 100rel\r\nX-P: <sip:x@y>;a=1;b=2, <sip:z@y>;c=3\r\nSubject";

    /// Headers of the test's own as they leave, after one call.
    fn after(function: &str, args: &[&str]) -> (i64, Vec<String>) {
        let mut bench = Bench::new(&INVITE.replace("Subject", LISTS));
        let code = bench.run(&MODULE, function, args);
        let written = bench.written();
        let own = written.split("\r\n").filter(|line| line.starts_with("Supported") || line.starts_with("X-"));
        (code, own.map(str::to_owned).collect())
    }

    const S1: &str = "Supported: timer, path";
    const S2: &str = "Supported: 100rel";
    const XP: &str = "X-P: <sip:x@y>;a=1;b=2, <sip:z@y>;c=3";

    // Each as Kamailio 5.6.3 writes it, but for white space behind a comma that it leaves at the beginning.
    #[test]
    fn values_are_added_in_front_and_behind() {
        let check = |function: &str, place: &str, lines: &[&str]| {
            assert_eq!(
                after(function, &[place, "gruu"]),
                (1, lines.iter().map(|l| (*l).to_owned()).collect()),
                "{place}"
            );
        };
        check("append_hf_value", "Supported", &[S1, S2, "Supported: gruu", XP]);
        check("insert_hf_value", "Supported", &["Supported: gruu", S1, S2, XP]);
        check("append_hf_value", "Supported[0]", &[S1, "Supported: 100rel,gruu", XP]);
        check("append_hf_value", "Supported[1]", &["Supported: timer,gruu, path", S2, XP]);
        check("insert_hf_value", "Supported[1]", &["Supported: gruu,timer, path", S2, XP]);
        check("append_hf_value", "X-New", &[S1, S2, XP, "X-New: gruu"]);
        check("include_hf_value", "Supported", &["Supported: timer, path,gruu", S2, XP]);
        check("include_hf_value", "X-New", &[S1, S2, XP, "X-New: gruu"]);
        assert_eq!(after("append_hf_value", &["X-P[1].d", "9"]).0, -1);
        assert_eq!(after("append_hf_value", &["Supported", "a\r\nX-Evil: 1"]).0, -1);
    }

    #[test]
    fn values_are_replaced_and_removed() {
        let check = |function: &str, args: &[&str], lines: &[&str]| {
            assert_eq!(after(function, args), (1, lines.iter().map(|l| (*l).to_owned()).collect()), "{args:?}");
        };
        check("remove_hf_value", &["Supported"], &["Supported: path", S2, XP]);
        check("remove_hf_value", &["Supported[2]"], &["Supported: timer", S2, XP]);
        check("remove_hf_value", &["Supported[3]"], &[S1, XP]);
        check("remove_hf_value", &["Supported[*]"], &[XP]);
        check("remove_hf_value", &["X-P[0].a"], &[S1, S2, "X-P: <sip:x@y>;b=2, <sip:z@y>;c=3"]);
        check("assign_hf_value", &["Supported[1]", "gruu"], &["Supported: gruu, path", S2, XP]);
        check("assign_hf_value", &["X-P[1].a", "7"], &[S1, S2, "X-P: <sip:x@y>;a=7;b=2, <sip:z@y>;c=3"]);
        check("assign_hf_value", &["X-P[0].q", "7"], &[S1, S2, "X-P: <sip:x@y>;a=1;b=2;q=7, <sip:z@y>;c=3"]);
        check("exclude_hf_value", &["Supported", "path"], &["Supported: timer", S2, XP]);
        check("exclude_hf_value", &["Supported", "100rel"], &[S1, XP]);
        check("exclude_hf_value", &["Supported", "nope"], &[S1, S2, XP]);
        assert_eq!(after("remove_hf_value", &["X-P[1].c"]).0, -1);
        assert_eq!(after("assign_hf_value", &["X-New", "7"]).0, -1);
    }

    #[test]
    fn a_listed_value_is_found_whatever_its_case() {
        let exists = |value: &str| after("hf_value_exists", &["Supported", value]).0;
        assert_eq!((exists("path"), exists("PATH"), exists("nope")), (1, 1, -1));
    }

    #[test]
    fn parameters_of_credentials_are_changed_one_by_one() {
        let header = "X-Auth: Digest realm=\"a,b\", nonce=\"n\", opaque=\"o\"\r\nSubject";
        let run = |function: &str, args: &[&str]| {
            let mut bench = Bench::new(&INVITE.replace("Subject", header));
            assert_eq!(bench.run(&MODULE, function, args), 1, "{args:?}");
            bench.written().split("\r\n").find(|line| line.starts_with("X-Auth")).unwrap().to_owned()
        };
        assert_eq!(run("remove_hf_value2", &["X-Auth.nonce"]), "X-Auth: Digest realm=\"a,b\", opaque=\"o\"");
        assert_eq!(run("remove_hf_value2", &["X-Auth.opaque"]), "X-Auth: Digest realm=\"a,b\", nonce=\"n\"");
        let expected = "X-Auth: Digest realm=\"c\", nonce=\"n\", opaque=\"o\"";
        assert_eq!(run("assign_hf_value2", &["X-Auth.realm", "\"c\""]), expected);
        let expected = "X-Auth: Digest realm=\"a,b\", nonce=\"n\", opaque=\"o\", qop=auth";
        assert_eq!(run("assign_hf_value2", &["X-Auth.qop", "auth"]), expected);
    }
}
