//! `$xavp`, `$xavu`, `$xavi`: structured attributes.

use bytes::Bytes;
use module_api::{
    Attributes, Call, Content, Fault, Index, KeyRule, Record, RecordKind, Routes, Selector, Value, Variable,
};

use super::header::nth;

pub(super) const XAVP: Variable = Variable {
    name: "xavp",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "A structured attribute that follows the transaction: $xavp(name=>field). Assigning without an index makes a \
          new record, with one it changes that record: $xavp(name[0]=>field). The newest record is read; [n] takes \
          another, $null removes.",
    example: "$xavp(caller=>id) = $fU;",
    read: |call, selector| read(call, selector, RecordKind::Stacked),
    write: Some(|call, selector, value| write(call, selector, value, RecordKind::Stacked)),
};
pub(super) const XAVI: Variable = Variable {
    name: "xavi",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "As $xavp, with names in which case does not count.",
    example: "$xavi(Caller=>Id) = $fU;",
    read: |call, selector| read(call, selector, RecordKind::Folded),
    write: Some(|call, selector, value| write(call, selector, value, RecordKind::Folded)),
};
pub(super) const XAVU: Variable = Variable {
    name: "xavu",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "A structured attribute with one value for each name: assigning replaces.",
    example: "$xavu(caller=>id) = $fU;",
    read: |call, selector| read(call, selector, RecordKind::Unique),
    write: Some(|call, selector, value| write(call, selector, value, RecordKind::Unique)),
};

/// `name[n]=>field[m]`.
struct Path {
    name: Bytes,
    index: Index,
    field: Option<(Bytes, Index)>,
}

fn path(selector: &Selector<'_>) -> Option<Path> {
    let key = selector.key?;
    let (name, field) = match key.windows(2).position(|pair| pair == b"=>") {
        Some(at) => (key.slice(..at), Some(key.slice(at + 2..))),
        None => (key.clone(), None),
    };
    let (name, mut index) = step(&name)?;
    let field = match field {
        Some(field) => {
            let (field, mut field_index) = step(&field)?;
            // An index behind the whole, `$(xavp(a=>b)[1])`, is the field's.
            if field_index == Index::Default {
                field_index = selector.index;
            }
            Some((field, field_index))
        }
        None => {
            if index == Index::Default {
                index = selector.index;
            }
            None
        }
    };
    Some(Path { name, index, field })
}

fn step(text: &Bytes) -> Option<(Bytes, Index)> {
    let text = text.slice_ref(text.trim_ascii());
    let Some(open) = text.iter().position(|byte| *byte == b'[') else { return Some((text, Index::Default)) };
    let inner = text[open + 1..].strip_suffix(b"]")?.trim_ascii();
    let index = match inner {
        b"*" => Index::All,
        number => Index::At(std::str::from_utf8(number).ok()?.parse().ok()?),
    };
    Some((text.slice(..open), index))
}

fn place(count: usize, index: Index) -> Option<usize> {
    match index {
        Index::Default | Index::All => nth(count, 0),
        Index::At(n) => nth(count, n),
    }
}

fn read(call: &Call<'_>, selector: &Selector<'_>, kind: RecordKind) -> Value {
    let Some(path) = path(selector) else { return Value::Null };
    let records = &call.context.records;
    let at = place(records.all(kind, &path.name).count(), path.index);
    let Some(record) = at.and_then(|at| records.all(kind, &path.name).nth(at)) else { return Value::Null };
    let Some((field, index)) = path.field else {
        return match &record.content {
            Content::Plain(value) => value.clone(),
            Content::Fields(_) => Value::from_static("<<xavp>>"),
        };
    };
    let Some(fields) = record.fields() else { return Value::Null };
    let field = own_name(fields, kind, &field);
    if index == Index::All {
        let all: Vec<Bytes> = fields.all(&field).map(Value::to_bytes).collect();
        return if all.is_empty() { Value::Null } else { Value::Str(all.join(&b", "[..]).into()) };
    }
    let at = place(fields.all(&field).count(), index);
    at.and_then(|at| fields.all(&field).nth(at)).cloned().unwrap_or_default()
}

/// The name as the record spells it, where case does not count.
fn own_name(fields: &Attributes, kind: RecordKind, name: &Bytes) -> Bytes {
    if kind != RecordKind::Folded {
        return name.clone();
    }
    let mut names = fields.iter().map(|(own, _)| own);
    names.find(|own| own.eq_ignore_ascii_case(name)).unwrap_or(name).clone()
}

fn write(call: &mut Call<'_>, selector: &Selector<'_>, value: Value, kind: RecordKind) -> Result<(), Fault> {
    let path = path(selector).ok_or_else(|| fault("the name must look like name=>field"))?;
    let records = &mut call.context.records;
    let count = records.all(kind, &path.name).count();
    let replaces = kind == RecordKind::Unique || path.index == Index::All;
    let Some((field, field_index)) = path.field else {
        if value.is_null() {
            match path.index {
                Index::At(n) => drop(nth(count, n).and_then(|at| records.remove_at(kind, &path.name, at))),
                Index::Default if kind != RecordKind::Unique => drop(records.remove_at(kind, &path.name, 0)),
                Index::Default | Index::All => drop(records.remove(kind, &path.name)),
            }
            return Ok(());
        }
        if replaces {
            records.remove(kind, &path.name);
        }
        if let Index::At(n) = path.index {
            let record = nth(count, n).and_then(|at| records.all_mut(kind, &path.name).nth(at));
            record.ok_or_else(|| fault("there is no such record"))?.content = Content::Plain(value);
            return Ok(());
        }
        return pushed(records.push(kind, Record::plain(path.name, value)));
    };
    let at = match path.index {
        // Without an index a value goes into a record of its own; only what is there can be removed.
        Index::Default if kind == RecordKind::Unique || value.is_null() => nth(count, 0),
        Index::Default | Index::All => None,
        Index::At(n) => nth(count, n),
    };
    if let Some(at) = at {
        let record = records.all_mut(kind, &path.name).nth(at).expect("counted above");
        return set_field(record.fields_mut(), kind, field, field_index, value);
    }
    if value.is_null() {
        return Ok(());
    }
    if !matches!(path.index, Index::Default | Index::At(0)) {
        return Err(fault("there is no such record"));
    }
    let mut record = Record::empty(path.name);
    record.fields_mut().push(field, value);
    pushed(records.push(kind, record))
}

fn set_field(fields: &mut Attributes, kind: RecordKind, name: Bytes, index: Index, value: Value) -> Result<(), Fault> {
    let name = own_name(fields, kind, &name);
    match (index, value) {
        (Index::Default, Value::Null) if kind != RecordKind::Unique => drop(fields.pop(&name)),
        (Index::Default | Index::All, Value::Null) => fields.remove(&name),
        (Index::All, value) => fields.replace(name, value),
        (Index::Default, value) if kind == RecordKind::Unique => fields.replace(name, value),
        (Index::Default, value) => return pushed(fields.push(name, value)),
        (Index::At(n), value) => {
            let at = nth(fields.all(&name).count(), n);
            if !at.is_some_and(|at| fields.set_at(&name, at, value)) {
                return Err(fault("there is no such field"));
            }
        }
    }
    Ok(())
}

fn pushed(had_room: bool) -> Result<(), Fault> {
    if had_room { Ok(()) } else { Err(fault("there are too many of them")) }
}

fn fault(cause: &'static str) -> Fault {
    Fault { code: -1, cause: cause.into() }
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, text};

    #[test]
    fn two_assignments_make_two_records_and_an_index_extends_one() {
        let mut bench = Bench::invite();
        bench.write(&MODULE, "xavp", Some("a=>b"), Value::Int(1));
        bench.write(&MODULE, "xavp", Some("a=>c"), Value::Int(2));
        assert_eq!(bench.read(&MODULE, "xavp", Some("a=>b")), Value::Null);
        assert_eq!(bench.read(&MODULE, "xavp", Some("a[1]=>b")), Value::Int(1));
        bench.write(&MODULE, "xavp", Some("a[0]=>d"), text("x"));
        assert_eq!(bench.read(&MODULE, "xavp", Some("a=>c")), Value::Int(2));
        assert_eq!(bench.read(&MODULE, "xavp", Some("a=>d")), text("x"));
    }

    #[test]
    fn null_removes_a_field_or_a_record() {
        let mut bench = Bench::invite();
        bench.write(&MODULE, "xavp", Some("a=>b"), Value::Int(1));
        bench.write(&MODULE, "xavp", Some("a[0]=>c"), Value::Int(2));
        bench.write(&MODULE, "xavp", Some("a[0]=>b"), Value::Null);
        assert_eq!(bench.read(&MODULE, "xavp", Some("a=>b")), Value::Null);
        assert_eq!(bench.read(&MODULE, "xavp", Some("a=>c")), Value::Int(2));
        bench.write(&MODULE, "xavp", Some("a"), Value::Null);
        assert_eq!(bench.read(&MODULE, "xavp", Some("a=>c")), Value::Null);
    }

    #[test]
    fn a_unique_attribute_is_replaced_and_a_folded_one_ignores_case() {
        let mut bench = Bench::invite();
        bench.write(&MODULE, "xavu", Some("a=>b"), Value::Int(1));
        bench.write(&MODULE, "xavu", Some("a=>c"), Value::Int(2));
        bench.write(&MODULE, "xavu", Some("a=>b"), Value::Int(3));
        assert_eq!(bench.read(&MODULE, "xavu", Some("a=>b")), Value::Int(3));
        assert_eq!(bench.read(&MODULE, "xavu", Some("a=>c")), Value::Int(2));
        bench.write(&MODULE, "xavi", Some("X-Own=>Name"), Value::Int(1));
        assert_eq!(bench.read(&MODULE, "xavi", Some("x-own=>NAME")), Value::Int(1));
    }

    #[test]
    fn a_plain_value_needs_no_field() {
        let mut bench = Bench::invite();
        bench.write(&MODULE, "xavp", Some("a"), text("v"));
        assert_eq!(bench.read(&MODULE, "xavp", Some("a")), text("v"));
        assert_eq!(bench.read(&MODULE, "xavp", Some("a=>b")), Value::Null);
    }
}
