//! Functions on structured attributes: `xavp_rm()`, `xavp_params_explode()` and their kin.

use bytes::Bytes;
use module_api::{Call, Content, Function, Level, Outcome, Param, ParamKind, Record, RecordKind, Routes, Value};

use super::header::nth;

pub(super) const REMOVE: Function = remove(
    "xavp_rm",
    RecordKind::Stacked,
    "Removes the newest record of that name. False when there is none.",
    "xavp_rm(\"caller\");",
);
pub(super) const REMOVE_FOLDED: Function =
    remove("xavi_rm", RecordKind::Folded, "As xavp_rm(), for $xavi.", "xavi_rm(\"Caller\");");
pub(super) const REMOVE_ALL: Function = Function {
    run: |call| (call.context.records.remove(RecordKind::Stacked, &call.text(0)) > 0).into(),
    ..function(
        "xavp_rm_all",
        NAME,
        "Removes every record of that name. False when there is none.",
        "xavp_rm_all(\"caller\");",
    )
};
pub(super) const REMOVE_ALL_FOLDED: Function = Function {
    run: |call| (call.context.records.remove(RecordKind::Folded, &call.text(0)) > 0).into(),
    ..function("xavi_rm_all", NAME, "As xavp_rm_all(), for $xavi.", "xavi_rm_all(\"Caller\");")
};
pub(super) const FROM_VARIABLES: Function = Function {
    run: from_variables,
    ..function(
        "pv_var_to_xavp",
        &[Param::required("variable", ParamKind::Format), Param::required("name", ParamKind::Format)],
        "Copies $var(variable), or every $var where * is given, into fields of a new record of that name. False when there \
         is none.",
        "pv_var_to_xavp(\"*\", \"kept\");",
    )
};
pub(super) const TO_VARIABLES: Function = Function {
    run: |call| {
        let name = call.text(0);
        let newest = call.context.records.all(RecordKind::Stacked, &name).next();
        let Some(fields) = newest.and_then(Record::fields) else { return Outcome::FALSE };
        let fields: Vec<(Bytes, Value)> = fields.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        // A field may have several values, the newest first: it is the one that the variable keeps.
        for (name, value) in fields.into_iter().rev() {
            call.context.vars.replace(name, value);
        }
        Outcome::TRUE
    },
    ..function(
        "pv_xavp_to_var",
        NAME,
        "Copies each field of the newest record of that name into the $var of the field's name. False when there is none.",
        "pv_xavp_to_var(\"kept\");",
    )
};
pub(super) const CHILD_REMOVE: Function = Function {
    run: |call| child_remove(call, RecordKind::Stacked),
    ..function("xavp_child_rm", FIELD, "Removes the newest value of a field.", "xavp_child_rm(\"caller\", \"id\");")
};
pub(super) const CHILD_REMOVE_FOLDED: Function = Function {
    run: |call| child_remove(call, RecordKind::Folded),
    ..function("xavi_child_rm", FIELD, "As xavp_child_rm(), for $xavi.", "xavi_child_rm(\"Caller\", \"Id\");")
};
pub(super) const CHILD_SET_TEXT: Function = Function {
    run: |call| child_set(call, RecordKind::Stacked, false),
    ..function(
        "xavp_child_sets",
        CHILD,
        "Sets a field of the newest record to a string.",
        "xavp_child_sets(\"caller\", \"id\", \"$fU\");",
    )
};
pub(super) const CHILD_SET_NUMBER: Function = Function {
    run: |call| child_set(call, RecordKind::Stacked, true),
    ..function(
        "xavp_child_seti",
        CHILD,
        "Sets a field of the newest record to a number.",
        "xavp_child_seti(\"caller\", \"n\", \"1\");",
    )
};
pub(super) const CHILD_SET_TEXT_FOLDED: Function = Function {
    run: |call| child_set(call, RecordKind::Folded, false),
    ..function(
        "xavi_child_sets",
        CHILD,
        "As xavp_child_sets(), for $xavi.",
        "xavi_child_sets(\"Caller\", \"Id\", \"$fU\");",
    )
};
pub(super) const CHILD_SET_NUMBER_FOLDED: Function = Function {
    run: |call| child_set(call, RecordKind::Folded, true),
    ..function(
        "xavi_child_seti",
        CHILD,
        "As xavp_child_seti(), for $xavi.",
        "xavi_child_seti(\"Caller\", \"N\", \"1\");",
    )
};
pub(super) const EXPLODE: Function = Function {
    run: |call| explode(call, RecordKind::Stacked, b';'),
    ..function(
        "xavp_params_explode",
        LIST,
        "Makes a record of a list such as a=1;b=2: each parameter becomes a field.",
        "xavp_params_explode(\"a=1;b=2\", \"list\");",
    )
};
pub(super) const EXPLODE_UNIQUE: Function = Function {
    run: |call| explode(call, RecordKind::Unique, b';'),
    ..function(
        "xavu_params_explode",
        LIST,
        "As xavp_params_explode(), for $xavu.",
        "xavu_params_explode(\"a=1;b=2\", \"list\");",
    )
};
pub(super) const EXPLODE_AT: Function = Function {
    run: |call| {
        let separator = call.text(1).first().copied().unwrap_or(b';');
        let (text, name) = (call.text(0), call.text(2));
        add(call, RecordKind::Stacked, name, fields_of(&text, separator))
    },
    ..function(
        "xavp_xparams_explode",
        &[
            Param::required("list", ParamKind::Format),
            Param::required("separator", ParamKind::Format),
            Param::required("name", ParamKind::Format),
        ],
        "As xavp_params_explode(), with a separator of one's own.",
        "xavp_xparams_explode(\"a=1&b=2\", \"&\", \"list\");",
    )
};
pub(super) const IMPLODE: Function = Function {
    run: |call| implode(call, RecordKind::Stacked, false),
    ..function(
        "xavp_params_implode",
        INTO,
        "Writes the newest record as a=1;b=2; into a variable.",
        "xavp_params_implode(\"list\", \"$var(x)\");",
    )
};
pub(super) const IMPLODE_QUOTED: Function = Function {
    run: |call| implode(call, RecordKind::Stacked, true),
    ..function(
        "xavp_params_implode_qval",
        INTO,
        "As xavp_params_implode(), with each value in quotes.",
        "xavp_params_implode_qval(\"list\", \"$var(x)\");",
    )
};
pub(super) const IMPLODE_UNIQUE: Function = Function {
    run: |call| implode(call, RecordKind::Unique, false),
    ..function(
        "xavu_params_implode",
        INTO,
        "As xavp_params_implode(), for $xavu.",
        "xavu_params_implode(\"list\", \"$var(x)\");",
    )
};
pub(super) const LIST_EXPLODE: Function = Function {
    run: list_explode,
    ..function(
        "xavp_slist_explode",
        &[
            Param::required("list", ParamKind::Format),
            Param::required("separator", ParamKind::Format),
            Param::required("mode", ParamKind::Options),
            Param::required("name", ParamKind::Format),
        ],
        "Makes a plain value of each item of a list; mode t cuts white space at the ends.",
        "xavp_slist_explode(\"a,b\", \",\", \"t\", \"item\");",
    )
};
pub(super) const COPY: Function = Function {
    run: copy_record,
    ..function(
        "xavp_copy",
        &[
            Param::required("from", ParamKind::Format),
            Param::required("index", ParamKind::Int),
            Param::required("to", ParamKind::Format),
            Param::optional("to_index", ParamKind::Int),
        ],
        "Copies a record: as the newest of another name, or with an index in the place of one of them.",
        "xavp_copy(\"target\", \"0\", \"kept\");",
    )
};
pub(super) const SHIFT: Function = Function {
    run: |call| {
        let (name, n) = (call.text(0), call.int(1).unwrap_or(0));
        let records = &mut call.context.records;
        let count = records.all(RecordKind::Stacked, &name).count();
        let Some(mut moves) = nth(count, n) else { return Outcome::FALSE };
        while moves > 0 {
            // The newest becomes the oldest, so that the next one is read first.
            let mut all: Vec<Record> =
                std::iter::from_fn(|| records.remove_at(RecordKind::Stacked, &name, 0)).collect();
            all.rotate_left(1);
            for record in all.into_iter().rev() {
                records.push(RecordKind::Stacked, record);
            }
            moves -= 1;
        }
        Outcome::TRUE
    },
    ..function(
        "xavp_lshift",
        &[Param::required("name", ParamKind::Format), Param::required("count", ParamKind::Int)],
        "Moves the newest records of that name behind the oldest, so many times.",
        "xavp_lshift(\"target\", \"1\");",
    )
};
pub(super) const PRINT: Function =
    print("pv_xavp_print", RecordKind::Stacked, "Writes all $xavp to the log.", "pv_xavp_print();");
pub(super) const PRINT_UNIQUE: Function =
    print("pv_xavu_print", RecordKind::Unique, "Writes all $xavu to the log.", "pv_xavu_print();");
pub(super) const PRINT_FOLDED: Function =
    print("pv_xavi_print", RecordKind::Folded, "Writes all $xavi to the log.", "pv_xavi_print();");

const NAME: &[Param] = &[Param::required("name", ParamKind::Format)];
const FIELD: &[Param] = &[Param::required("name", ParamKind::Format), Param::required("field", ParamKind::Format)];
const CHILD: &[Param] = &[
    Param::required("name", ParamKind::Format),
    Param::required("field", ParamKind::Format),
    Param::required("value", ParamKind::Format),
];
const LIST: &[Param] = &[Param::required("list", ParamKind::Format), Param::required("name", ParamKind::Format)];
const INTO: &[Param] = &[Param::required("name", ParamKind::Format), Param::required("into", ParamKind::Output)];

const fn function(name: &'static str, params: &'static [Param], doc: &'static str, example: &'static str) -> Function {
    Function { name, params, routes: Routes::ANY, doc, example, run: |_| Outcome::FALSE }
}

const fn remove(name: &'static str, kind: RecordKind, doc: &'static str, example: &'static str) -> Function {
    let run: fn(&mut Call<'_>) -> Outcome = match kind {
        RecordKind::Folded => {
            |call| call.context.records.remove_at(RecordKind::Folded, &call.text(0), 0).is_some().into()
        }
        _ => |call| call.context.records.remove_at(RecordKind::Stacked, &call.text(0), 0).is_some().into(),
    };
    Function { run, ..function(name, NAME, doc, example) }
}

const fn print(name: &'static str, kind: RecordKind, doc: &'static str, example: &'static str) -> Function {
    let run: fn(&mut Call<'_>) -> Outcome = match kind {
        RecordKind::Stacked => |call| log_all(call, RecordKind::Stacked),
        RecordKind::Unique => |call| log_all(call, RecordKind::Unique),
        RecordKind::Folded => |call| log_all(call, RecordKind::Folded),
    };
    Function { run, ..function(name, &[], doc, example) }
}

fn log_all(call: &mut Call<'_>, kind: RecordKind) -> Outcome {
    let mut lines = Vec::new();
    for record in call.context.records.iter(kind) {
        let mut line = record.name.to_vec();
        match &record.content {
            Content::Plain(value) => {
                line.extend_from_slice(b" = ");
                value.show(&mut line);
            }
            Content::Fields(fields) => {
                for (name, value) in fields.iter() {
                    line.extend_from_slice(&[b" ", &name[..], b"="].concat());
                    value.show(&mut line);
                }
            }
        }
        lines.push(line);
    }
    for line in lines {
        call.host.log(Level::Notice, &line);
    }
    Outcome::TRUE
}

fn child_remove(call: &mut Call<'_>, kind: RecordKind) -> Outcome {
    let (name, field) = (call.text(0), call.text(1));
    let Some(record) = call.context.records.all_mut(kind, &name).next() else { return Outcome::FALSE };
    let fields = record.fields_mut();
    let own = fields.iter().map(|(own, _)| own).find(|own| is_same(kind, own, &field)).cloned();
    own.and_then(|own| fields.pop(&own)).is_some().into()
}

fn is_same(kind: RecordKind, a: &[u8], b: &[u8]) -> bool {
    if kind == RecordKind::Folded { a.eq_ignore_ascii_case(b) } else { a == b }
}

fn child_set(call: &mut Call<'_>, kind: RecordKind, is_number: bool) -> Outcome {
    let (name, field, text) = (call.text(0), call.text(1), Value::Str(call.text(2)));
    let value = if is_number { Value::Int(text.to_int()) } else { text };
    let records = &mut call.context.records;
    if let Some(record) = records.all_mut(kind, &name).next() {
        record.fields_mut().replace(field, value);
        return Outcome::TRUE;
    }
    let mut record = Record::empty(name);
    record.fields_mut().replace(field, value);
    records.push(kind, record).into()
}

fn explode(call: &mut Call<'_>, kind: RecordKind, separator: u8) -> Outcome {
    let (text, name) = (call.text(0), call.text(1));
    add(call, kind, name, fields_of(&text, separator))
}

/// Names and values of a list of parameters; quotes protect separators and are no part of the value.
fn fields_of(text: &Bytes, separator: u8) -> Vec<(Bytes, Value)> {
    let mut fields = Vec::new();
    let mut rest: &[u8] = text;
    while !rest.is_empty() {
        let mut is_quoted = false;
        let end = rest.iter().position(|byte| {
            is_quoted ^= *byte == b'"';
            *byte == separator && !is_quoted
        });
        let item = rest[..end.unwrap_or(rest.len())].trim_ascii();
        rest = end.map_or(&[][..], |end| &rest[end + 1..]);
        if item.is_empty() {
            continue;
        }
        let (name, value) = match item.iter().position(|byte| *byte == b'=') {
            Some(at) => (item[..at].trim_ascii(), item[at + 1..].trim_ascii()),
            None => (item, &[][..]),
        };
        let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        fields.push((Bytes::copy_from_slice(name), Value::Str(Bytes::copy_from_slice(value))));
    }
    fields
}

fn add(call: &mut Call<'_>, kind: RecordKind, name: Bytes, fields: Vec<(Bytes, Value)>) -> Outcome {
    if fields.is_empty() {
        return Outcome::FALSE;
    }
    let mut record = Record::empty(name);
    for (field, value) in fields {
        if !record.fields_mut().push(field, value) {
            return Outcome::fail("the list has too many parameters");
        }
    }
    if kind == RecordKind::Unique {
        call.context.records.remove(kind, &record.name);
    }
    call.context.records.push(kind, record).into()
}

fn implode(call: &mut Call<'_>, kind: RecordKind, is_quoted: bool) -> Outcome {
    let name = call.text(0);
    let Some(fields) = call.context.records.all(kind, &name).next().and_then(Record::fields) else {
        return Outcome::FALSE;
    };
    let mut out = Vec::new();
    for (name, value) in fields.iter().collect::<Vec<_>>().into_iter().rev() {
        out.extend_from_slice(name);
        let value = value.to_bytes();
        if is_quoted {
            out.extend_from_slice(&[b"=\"", &value[..], b"\";"].concat());
        } else if value.is_empty() {
            out.push(b';');
        } else {
            out.extend_from_slice(&[b"=", &value[..], b";"].concat());
        }
    }
    match call.write_output(1, Value::Str(out.into())) {
        Ok(()) => Outcome::TRUE,
        Err(fault) => Outcome::Fail(fault),
    }
}

fn from_variables(call: &mut Call<'_>) -> Outcome {
    let (wanted, name) = (call.text(0), call.text(1));
    let mut record = Record::empty(name);
    let vars = call.context.vars.iter().filter(|(own, _)| wanted == "*" || **own == wanted);
    let vars: Vec<(Bytes, Value)> = vars.map(|(own, value)| (own.clone(), value.clone())).collect();
    if vars.is_empty() {
        return Outcome::FALSE;
    }
    for (own, value) in vars {
        record.fields_mut().replace(own, value);
    }
    call.context.records.push(RecordKind::Stacked, record).into()
}

fn list_explode(call: &mut Call<'_>) -> Outcome {
    let (text, separator, mode, name) = (call.text(0), call.text(1), call.text(2), call.text(3));
    let Some(separator) = separator.first().copied() else { return Outcome::fail("the separator is empty") };
    let is_trimmed = mode.contains(&b't');
    let items: Vec<&[u8]> = text.split(|byte| *byte == separator).collect();
    // From the end, so that the first item is the newest and read first.
    for item in items.into_iter().rev() {
        let item = if is_trimmed { item.trim_ascii() } else { item };
        let record = Record::plain(name.clone(), Value::Str(text.slice_ref(item)));
        if !call.context.records.push(RecordKind::Stacked, record) {
            return Outcome::fail("the list has too many items");
        }
    }
    Outcome::TRUE
}

fn copy_record(call: &mut Call<'_>) -> Outcome {
    let (from, to) = (call.text(0), call.text(2));
    let (index, target) = (call.int(1).unwrap_or(0), call.int(3));
    let records = &mut call.context.records;
    let count = records.all(RecordKind::Stacked, &from).count();
    let found = nth(count, index).and_then(|at| records.all(RecordKind::Stacked, &from).nth(at));
    let Some(mut record) = found.cloned() else { return Outcome::FALSE };
    record.name = to.clone();
    let Some(target) = target else { return records.push(RecordKind::Stacked, record).into() };
    let count = records.all(RecordKind::Stacked, &to).count();
    match nth(count, target).and_then(|at| records.all_mut(RecordKind::Stacked, &to).nth(at)) {
        Some(place) => {
            *place = record;
            Outcome::TRUE
        }
        None => Outcome::FALSE,
    }
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, text};

    #[test]
    fn a_list_becomes_a_record_of_its_parameters() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "xavp_params_explode", &["a=1;b=\"x;y\";lr", "p"]), 1);
        assert_eq!(bench.read(&MODULE, "xavp", Some("p=>a")), text("1"));
        assert_eq!(bench.read(&MODULE, "xavp", Some("p=>b")), text("x;y"));
        assert_eq!(bench.read(&MODULE, "xavp", Some("p=>lr")), text(""));
        assert_eq!(bench.run(&MODULE, "xavp_xparams_explode", &["a=1&b=2", "&", "q"]), 1);
        assert_eq!(bench.read(&MODULE, "xavp", Some("q=>b")), text("2"));
        assert_eq!(bench.run(&MODULE, "xavp_params_explode", &["", "r"]), -1);
    }

    #[test]
    fn variables_are_kept_in_a_record_and_taken_from_it() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "pv_var_to_xavp", &["*", "kept"]), -1);
        bench.write(&MODULE, "var", Some("a"), text("x"));
        bench.write(&MODULE, "var", Some("b"), Value::Int(7));
        assert_eq!(bench.run(&MODULE, "pv_var_to_xavp", &["b", "one"]), 1);
        assert_eq!(bench.run(&MODULE, "pv_var_to_xavp", &["*", "kept"]), 1);
        assert_eq!(bench.read(&MODULE, "xavp", Some("one=>a")), Value::Null);
        assert_eq!(bench.read(&MODULE, "xavp", Some("kept=>a")), text("x"));
        bench.write(&MODULE, "var", Some("a"), text("y"));
        bench.write(&MODULE, "var", Some("b"), Value::Int(8));
        assert_eq!(bench.run(&MODULE, "pv_xavp_to_var", &["kept"]), 1);
        assert_eq!(bench.read(&MODULE, "var", Some("a")), text("x"));
        assert_eq!(bench.read(&MODULE, "var", Some("b")), Value::Int(7));
        assert_eq!(bench.run(&MODULE, "pv_xavp_to_var", &["none"]), -1);
        bench.write(&MODULE, "xavi", Some("Caller=>Id"), text("1"));
        assert_eq!(bench.run(&MODULE, "xavi_rm_all", &["caller"]), 1);
        assert_eq!(bench.run(&MODULE, "xavi_rm_all", &["caller"]), -1);
    }

    #[test]
    fn fields_and_records_are_set_and_removed() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "xavp_rm", &["a"]), -1);
        assert_eq!(bench.run(&MODULE, "xavp_child_sets", &["a", "b", "x"]), 1);
        assert_eq!(bench.run(&MODULE, "xavp_child_seti", &["a", "n", "7"]), 1);
        assert_eq!(bench.read(&MODULE, "xavp", Some("a=>n")), Value::Int(7));
        assert_eq!(bench.run(&MODULE, "xavp_child_rm", &["a", "b"]), 1);
        assert_eq!(bench.run(&MODULE, "xavp_child_rm", &["a", "b"]), -1);
        assert_eq!(bench.run(&MODULE, "xavp_rm", &["a"]), 1);
        assert_eq!(bench.read(&MODULE, "xavp", Some("a=>n")), Value::Null);
    }

    #[test]
    fn items_of_a_list_are_read_in_their_order() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "xavp_slist_explode", &["a, b,c", ",", "t", "i"]), 1);
        assert_eq!(bench.read(&MODULE, "xavp", Some("i")), text("a"));
        assert_eq!(bench.read(&MODULE, "xavp", Some("i[1]")), text("b"));
        assert_eq!(bench.run(&MODULE, "xavp_lshift", &["i", "1"]), 1);
        assert_eq!(bench.read(&MODULE, "xavp", Some("i")), text("b"));
        assert_eq!(bench.read(&MODULE, "xavp", Some("i[2]")), text("a"));
    }

    #[test]
    fn a_record_is_copied_to_another_name() {
        let mut bench = Bench::invite();
        bench.run(&MODULE, "xavp_params_explode", &["a=1", "p"]);
        assert_eq!(bench.run(&MODULE, "xavp_copy", &["p", "0", "q"]), 1);
        assert_eq!(bench.read(&MODULE, "xavp", Some("q=>a")), text("1"));
        assert_eq!(bench.run(&MODULE, "xavp_copy", &["p", "0", "q", "5"]), -1);
    }
}
