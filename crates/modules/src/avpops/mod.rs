//! Attributes: copied, compared, substituted, and kept in a database.

mod check;
mod database;
mod name;
mod preferences;

use bytes::Bytes;
use module_api::{Call, Function, Level, Module, Outcome, Param, ParamKind, Routes, Target, Value};
use sip_message::Uri;

use crate::rewrite;
use crate::text_variable::TextVariable;
use crate::textops::expression;
use name::{Flags, Named, Which, no_attribute};

/// Attributes of a request.
pub static MODULE: Module = Module {
    name: "avpops",
    doc: "Copies, compares and changes attributes, and keeps those of users in a database.",
    parameters: preferences::PARAMETERS,
    functions: &[
        database::LOAD,
        database::STORE,
        database::DELETE,
        database::QUERY,
        database::QUERY_INTO,
        DELETE,
        PUSH_TO,
        check::CHECK,
        check::OPERATE,
        COPY,
        SUBST,
        SUBST_PV,
        IS_SET,
        PRINT,
    ],
    make: preferences::make,
    ..Module::EMPTY
};

const NAME: Param = Param::required("name", ParamKind::Str);

const DELETE: Function = Function {
    name: "avp_delete",
    params: &[NAME],
    routes: Routes::ANY,
    doc: "Removes the newest value of an attribute; with /g all its values. A letter removes the attributes of a kind: i those \
          named by a number, s the others, a all. False when there was none.",
    example: "avp_delete(\"$avp(tries)/g\");",
    run: |call| {
        let named = match Named::parse(&text_of(call, 0)) {
            Ok(named) => named,
            Err(cause) => return Outcome::fail(format!("avp_delete: {cause}")),
        };
        let names: Vec<Bytes> = named.which.of(&call.context.avps).map(|(name, _)| name.clone()).collect();
        match (&named.which, names.is_empty()) {
            (_, true) => return Outcome::FALSE,
            (Which::One(name), _) if !named.flags.has(b'g') => drop(call.context.avps.pop(name)),
            _ => names.iter().for_each(|name| call.context.avps.remove(name)),
        }
        Outcome::TRUE
    },
};

const COPY: Function = Function {
    name: "avp_copy",
    params: &[Param::required("from", ParamKind::Str), Param::required("to", ParamKind::Str)],
    routes: Routes::ANY,
    doc: "Copies the newest value of an attribute to another. Flags behind the second: g all values (their order is \
          reversed), d removes them from the first, n turns them into numbers, s into texts. False when there is none.",
    example: "avp_copy(\"$avp(old)\", \"$avp(new)/gd\");",
    run: |call| {
        let (from, to) = (Which::parse(&text_of(call, 0)).and_then(Which::one), Named::parse(&text_of(call, 1)));
        let Some(from) = from else { return Outcome::fail(no_attribute(&text_of(call, 0))) };
        let Ok(Named { which: Which::One(to), flags }) = to else {
            return Outcome::fail(no_attribute(&text_of(call, 1)));
        };
        let most = if flags.has(b'g') { usize::MAX } else { 1 };
        let values: Vec<Value> = call.context.avps.all(&from).take(most).cloned().collect();
        if values.is_empty() {
            return Outcome::FALSE;
        }
        if flags.has(b'd') {
            match flags.has(b'g') {
                true => call.context.avps.remove(&from),
                false => drop(call.context.avps.pop(&from)),
            }
        }
        let is_done = values.into_iter().all(|value| {
            let value = match (flags.has(b'n'), flags.has(b's')) {
                (true, _) => Value::Int(value.to_int()),
                (_, true) => Value::Str(value.to_bytes()),
                _ => value,
            };
            call.context.avps.push(to.clone(), value)
        });
        if is_done { Outcome::TRUE } else { Outcome::fail("avp_copy: there are too many attributes") }
    },
};

const PUSH_TO: Function = Function {
    name: "avp_pushto",
    params: &[Param::required("destination", ParamKind::Str), Param::required("name", ParamKind::Str)],
    routes: Routes::ANY,
    doc: "Puts the value of an attribute or another variable into the Request-URI ($ru, $ru/username, $ru/domain), the next hop \
          ($du) or a new branch ($br; with /g a branch for each value). False when there is none, or it does not fit there.",
    example: "avp_pushto(\"$ru/domain\", \"$avp(backup_domain)\");",
    run: push_to,
};

fn push_to(call: &mut Call<'_>) -> Outcome {
    let source = text_of(call, 1);
    let (name, flags) = source.split_once('/').unwrap_or((&source, ""));
    let values: Vec<Bytes> = match Which::parse(name) {
        Some(Which::One(name)) if source.starts_with("$avp(") || !source.starts_with('$') => {
            call.context.avps.all(&name).map(Value::to_bytes).collect()
        }
        _ => match TextVariable::parse(name) {
            Ok(variable) => {
                Some(variable.read(call)).filter(|value| !value.is_null()).iter().map(Value::to_bytes).collect()
            }
            Err(cause) => return Outcome::fail(format!("avp_pushto: {cause}")),
        },
    };
    let Some(first) = values.first().cloned() else { return Outcome::FALSE };
    let all = Flags::parse(flags).is_some_and(|flags| flags.has(b'g'));
    let uri = call.context.target.uri.clone();
    let is_uri = |text: &Bytes| Uri::parse(text).is_ok() && rewrite::is_clean(text);
    let new = match text_of(call, 0).as_str() {
        "$ru" => Some(first).filter(is_uri),
        "$ru/username" => rewrite::with_user(&uri, Some(&first)),
        "$ru/domain" => rewrite::with_host(&uri, &first),
        "$du" => {
            let is_good = is_uri(&first);
            if is_good {
                call.context.set_destination(Some(first));
            }
            return is_good.into();
        }
        "$br" => {
            let wanted = values.into_iter().take(if all { usize::MAX } else { 1 }).filter(is_uri);
            let added: Vec<Bytes> = wanted.collect();
            let is_good = !added.is_empty();
            let fits = added.into_iter().all(|uri| crate::core::append(call.context, Target::new(uri)));
            return (is_good && fits).into();
        }
        other => {
            return Outcome::fail(format!(
                "avp_pushto: `{other}` is none of $ru, $ru/username, $ru/domain, $du and $br"
            ));
        }
    };
    match new {
        Some(uri) => {
            call.context.set_uri(uri);
            Outcome::TRUE
        }
        None => Outcome::FALSE,
    }
}

const SUBST: Function = Function {
    name: "avp_subst",
    params: &[Param::required("names", ParamKind::Str), Param::required("expression", ParamKind::Str)],
    routes: Routes::ANY,
    doc: "Substitutes in the value of an attribute as subst() does: \"$avp(a)\", or \"$avp(a)/$avp(b)\" for a result of its \
          own, with flags behind another slash: g all values, d removes the first attribute. False without a match.",
    example: "avp_subst(\"$avp(number)/$avp(short)\", \"/^00//\");",
    run: |call| {
        let expression = call.text(1);
        substitute(call, &expression)
    },
};

const SUBST_PV: Function = Function {
    name: "avp_subst_pv",
    params: &[Param::required("names", ParamKind::Str), Param::required("expression", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "As avp_subst(), with variables in the expression.",
    example: "avp_subst_pv(\"$avp(number)\", \"/^$var(prefix)//\");",
    run: |call| {
        let expression = call.text(1);
        substitute(call, &expression)
    },
};

fn substitute(call: &mut Call<'_>, text: &Bytes) -> Outcome {
    let names = text_of(call, 0);
    let mut parts = names.splitn(3, '/');
    let mut attribute = || parts.next().filter(|part| !part.is_empty());
    let (from, to, flags) = (attribute(), attribute(), parts.next().unwrap_or_default());
    let Some(from) = from.and_then(Which::parse).and_then(Which::one) else {
        return Outcome::fail(format!("avp_subst: {}", no_attribute(&names)));
    };
    // `$avp(a)/g` has flags where another attribute could stand.
    let (to, flags) = match to {
        Some(short) if !short.starts_with('$') && !short.contains(':') && flags.is_empty() => (None, short),
        to => (to, flags),
    };
    let to = match to.map(|to| Which::parse(to).and_then(Which::one)) {
        Some(None) => return Outcome::fail(format!("avp_subst: {}", no_attribute(&names))),
        Some(to) => to,
        None => None,
    };
    let (Some(expression), Some(flags)) = (expression(text), Flags::parse(flags)) else {
        return Outcome::fail("avp_subst: not an expression of the form /pattern/replacement/flags");
    };
    let uri = call.context.target.uri.clone();
    let values: Vec<Value> = call.context.avps.all(&from).cloned().collect();
    let most = if flags.has(b'g') { values.len() } else { 1 };
    let changed: Vec<Option<Bytes>> =
        values.iter().map(|value| expression.on(&value.to_bytes(), &uri)).take(most).collect();
    if changed.iter().all(Option::is_none) {
        return Outcome::FALSE;
    }
    let avps = &mut call.context.avps;
    match &to {
        None => {
            for (at, new) in changed.into_iter().enumerate() {
                if let Some(new) = new {
                    avps.set_at(&from, at, Value::Str(new));
                }
            }
        }
        Some(to) => {
            // Oldest first, so that they stand in the same order.
            let is_done = changed.into_iter().rev().flatten().all(|new| avps.push(to.clone(), Value::Str(new)));
            if !is_done {
                return Outcome::fail("avp_subst: there are too many attributes");
            }
            if flags.has(b'd') {
                avps.remove(&from);
            }
        }
    }
    Outcome::TRUE
}

const IS_SET: Function = Function {
    name: "is_avp_set",
    params: &[NAME],
    routes: Routes::ANY,
    doc: "True when an attribute has a value. Flags: n a number, s a text, e an empty text or 0.",
    example: "if (is_avp_set(\"$avp(callee)/s\")) xlog(\"$avp(callee)\\n\");",
    run: |call| {
        let named = match Named::parse(&text_of(call, 0)) {
            Ok(named) => named,
            Err(cause) => return Outcome::fail(format!("is_avp_set: {cause}")),
        };
        let Some((_, value)) = named.which.of(&call.context.avps).next() else { return Outcome::FALSE };
        let is_text = matches!(value, Value::Str(_));
        let is_empty = matches!(value, Value::Int(0)) || value.to_bytes().is_empty();
        let fits = |letter, is_so: bool| !named.flags.has(letter) || is_so;
        (fits(b'n', !is_text) && fits(b's', is_text) && fits(b'e', is_empty)).into()
    },
};

const PRINT: Function = Function {
    name: "avp_print",
    params: &[],
    routes: Routes::ANY,
    doc: "Writes every attribute to the log.",
    example: "avp_print();",
    run: |call| {
        let lines: Vec<Vec<u8>> = call
            .context
            .avps
            .iter()
            .map(|(name, value)| [b"avp ", &name[..], b" = ", &value.to_bytes()].concat())
            .collect();
        lines.iter().for_each(|line| call.host.log(Level::Notice, line));
        Outcome::TRUE
    },
};

/// Argument `n` as it was written.
fn text_of(call: &Call<'_>, n: usize) -> String {
    String::from_utf8_lossy(&call.text(n)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, INVITE, started, text};

    fn bench(attributes: &[(&str, Value)]) -> Bench {
        let mut bench = Bench::with_state(INVITE, started(&MODULE, &[]));
        for (name, value) in attributes {
            bench.context.avps.push(Bytes::copy_from_slice(name.as_bytes()), value.clone());
        }
        bench
    }

    fn all(bench: &Bench, name: &str) -> Vec<Value> {
        bench.context.avps.all(name.as_bytes()).cloned().collect()
    }

    #[test]
    fn attributes_are_deleted_one_by_one_or_all_of_a_kind() {
        let mut bench = bench(&[("a", Value::Int(1)), ("a", Value::Int(2)), ("i:7", Value::Int(3)), ("b", text("x"))]);
        assert_eq!(bench.run(&MODULE, "avp_delete", &["$avp(a)"]), 1);
        assert_eq!(all(&bench, "a"), [Value::Int(1)]);
        assert_eq!(bench.run(&MODULE, "avp_delete", &["$avp(a)/g"]), 1);
        assert_eq!(bench.run(&MODULE, "avp_delete", &["$avp(a)/g"]), -1);
        assert_eq!(bench.run(&MODULE, "avp_delete", &["i"]), 1);
        assert_eq!((all(&bench, "i:7").len(), all(&bench, "b").len()), (0, 1));
    }

    #[test]
    fn attributes_are_copied_and_moved() {
        let mut bench = bench(&[("a", Value::Int(1)), ("a", text("2"))]);
        assert_eq!(bench.run(&MODULE, "avp_copy", &["$avp(a)", "$avp(b)/n"]), 1);
        assert_eq!(all(&bench, "b"), [Value::Int(2)]);
        assert_eq!(bench.run(&MODULE, "avp_copy", &["$avp(a)", "$avp(c)/gd"]), 1);
        assert_eq!((all(&bench, "a"), all(&bench, "c")), (vec![], vec![Value::Int(1), text("2")]));
        assert_eq!(bench.run(&MODULE, "avp_copy", &["$avp(a)", "$avp(c)"]), -1);
    }

    #[test]
    fn values_are_pushed_into_the_message() {
        let mut bench = bench(&[("d", text("backup.example")), ("t", text("sip:x@192.0.2.9")), ("w", text("no uri"))]);
        assert_eq!(bench.run(&MODULE, "avp_pushto", &["$ru/domain", "$avp(d)"]), 1);
        assert_eq!(bench.run(&MODULE, "avp_pushto", &["$ru/username", "$fU"]), 1);
        assert_eq!(bench.uri(), "sip:alice@backup.example");
        assert_eq!(bench.run(&MODULE, "avp_pushto", &["$du", "$avp(t)"]), 1);
        assert_eq!(bench.context.target.destination.as_deref(), Some(&b"sip:x@192.0.2.9"[..]));
        assert_eq!(bench.run(&MODULE, "avp_pushto", &["$br", "$avp(t)/g"]), 1);
        assert_eq!(bench.context.branches.len(), 1);
        assert_eq!(bench.run(&MODULE, "avp_pushto", &["$ru", "$avp(w)"]), -1);
        assert_eq!(bench.run(&MODULE, "avp_pushto", &["$ru", "$avp(none)"]), -1);
    }

    #[test]
    fn values_are_substituted() {
        let mut bench = bench(&[("a", text("0049")), ("a", text("0033")), ("b", text("x"))]);
        assert_eq!(bench.run(&MODULE, "avp_subst", &["$avp(a)", "/^00/+/"]), 1);
        assert_eq!(all(&bench, "a"), [text("+33"), text("0049")]);
        assert_eq!(bench.run(&MODULE, "avp_subst", &["$avp(a)/$avp(c)/g", "/[0-9]+$/n/"]), 1);
        assert_eq!(all(&bench, "c"), [text("+n"), text("n")]);
        assert_eq!(bench.run(&MODULE, "avp_subst", &["$avp(a)/g", "/3/4/g"]), 1);
        assert_eq!(all(&bench, "a"), [text("+44"), text("0049")]);
        assert_eq!(bench.run(&MODULE, "avp_subst", &["$avp(b)", "/y/z/"]), -1);
        assert_eq!(bench.run(&MODULE, "avp_subst", &["$avp(b)", "/y"]), -1);
    }

    #[test]
    fn it_is_known_what_is_set() {
        let mut bench = bench(&[("n", Value::Int(0)), ("s", text("x"))]);
        let mut is_set = |name: &str| bench.run(&MODULE, "is_avp_set", &[name]) == 1;
        assert!(is_set("$avp(n)") && is_set("$avp(n)/n") && is_set("$avp(n)/e") && !is_set("$avp(n)/s"));
        assert!(is_set("$avp(s)/s") && !is_set("$avp(s)/e") && !is_set("$avp(t)"));
        assert_eq!(bench.run(&MODULE, "avp_print", &[]), 1);
        assert_eq!(bench.host.logged.len(), 2);
    }
}
