//! JSON texts changed and made: `jansson_set()`, `jansson_append()`, and records as JSON.

use bytes::Bytes;
use module_api::{Attributes, Call, Content, Function, Outcome, Param, ParamKind, Record, RecordKind, Routes, Value};
use serde_json::{Map, Value as Json};

const EDIT: &[Param] = &[
    Param::required("type", ParamKind::Format),
    Param::required("path", ParamKind::Format),
    Param::required("value", ParamKind::Format),
    Param::required("variable", ParamKind::Output),
];

pub(super) const SET: Function = Function {
    name: "jansson_set",
    params: EDIT,
    routes: Routes::ANY,
    doc: "Sets a field of the JSON text in a variable, which may be empty at first. The type is string, integer, real, object, \
          array, true, false or null. The path is made of names and numbers of elements such as a.b[0]; what it lacks is made, \
          an element right behind the last too. False, and nothing changes, when the value is not of the type, or the path \
          leads through something else than objects and arrays.",
    example: "jansson_set(\"integer\", \"caller.tries\", \"3\", \"$var(note)\");",
    run: |call| edit(call, false),
};

pub(super) const APPEND: Function = Function {
    name: "jansson_append",
    params: EDIT,
    routes: Routes::ANY,
    doc: "As jansson_set(), with the value put behind the last element of the array at the path. An object joins an object \
          field by field. An empty path is the text itself.",
    example: "jansson_append(\"string\", \"gateways\", \"sip:gw1.example.com\", \"$var(note)\");",
    run: |call| edit(call, true),
};

pub(super) const DECODE: Function = Function {
    name: "jansson_xdecode",
    params: &[Param::required("json", ParamKind::Format), Param::required("record", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Makes a record of a JSON object: $xavp(RECORD=>FIELD). Whole numbers, true (1) and false (0) become numbers, null is \
          left out, and objects and arrays within it stay JSON texts; of a field that is an array of plain values each becomes a \
          value of the field. False when the text is no JSON object.",
    example: "if (jansson_xdecode(\"$rb\", \"note\")) xlog(\"$xavp(note=>to)\\n\");",
    run: |call| {
        let Ok(Json::Object(fields)) = serde_json::from_slice(&call.text(0)) else { return Outcome::FALSE };
        let mut attributes = Attributes::default();
        for (name, value) in &fields {
            let name = Bytes::copy_from_slice(name.as_bytes());
            match value {
                Json::Null => {}
                Json::Array(list) if list.iter().all(|item| !item.is_object() && !item.is_array()) => {
                    // The newest value comes first.
                    for item in list.iter().rev() {
                        attributes.push(name.clone(), super::value(item));
                    }
                }
                value => {
                    attributes.push(name, super::value(value));
                }
            }
        }
        let record = Record { name: call.text(1), content: Content::Fields(attributes) };
        call.context.records.push(RecordKind::Stacked, record).into()
    },
};

pub(super) const ENCODE: Function = Function {
    name: "jansson_xencode",
    params: &[Param::required("record", ParamKind::Format), Param::required("variable", ParamKind::Output)],
    routes: Routes::ANY,
    doc: "Makes a JSON object of the newest record of that name: a field with one value is a string or a number, one with \
          several an array. False when there is none.",
    example: "if (jansson_xencode(\"note\", \"$var(json)\")) xlog(\"$var(json)\\n\");",
    run: |call| {
        let name = call.text(0);
        let newest = call.context.records.all(RecordKind::Stacked, &name).next();
        let Some(fields) = newest.and_then(Record::fields) else { return Outcome::FALSE };
        let mut object: Map<String, Json> = Map::new();
        for (name, value) in fields.iter() {
            let value = match value {
                Value::Null => Json::Null,
                Value::Int(number) => Json::from(*number),
                other => Json::from(String::from_utf8_lossy(&other.to_bytes()).into_owned()),
            };
            let name = String::from_utf8_lossy(name).into_owned();
            match object.remove(&name) {
                None => object.insert(name, value),
                Some(Json::Array(mut list)) => {
                    list.push(value);
                    object.insert(name, Json::Array(list))
                }
                Some(first) => object.insert(name, Json::Array(vec![first, value])),
            };
        }
        super::write(call, 1, Value::Str(Json::Object(object).to_string().into()))
    },
};

/// Longest JSON text that is kept in a variable.
const LONGEST: usize = 1 << 20;

fn edit(call: &mut Call<'_>, appends: bool) -> Outcome {
    let (kind, path, value) = (call.text(0), call.text(1), call.text(2));
    let Some(value) = of_type(&kind, &value) else {
        return Outcome::fail(format!("the value is not of type `{}`", String::from_utf8_lossy(&kind)));
    };
    let Some(steps) = steps(&path) else { return Outcome::fail("the path must look like a.b[0]") };
    let before = match call.read_output(3) {
        Value::Str(text) => text,
        // A $var that was never set reads as 0.
        _ => Bytes::new(),
    };
    let text = before.trim_ascii();
    // The first element says what an empty text becomes.
    let mut root = match text {
        b"" if matches!(steps.first(), Some(Step::Element(_))) || (steps.is_empty() && !value.is_object()) => {
            Json::Array(Vec::new())
        }
        b"" => Json::Object(Map::new()),
        text => match serde_json::from_slice(text) {
            Ok(root) => root,
            Err(_) => return Outcome::fail("the variable holds no JSON"),
        },
    };
    if !put(&mut root, &steps, value, appends) {
        return Outcome::FALSE;
    }
    let text = root.to_string();
    if text.len() > LONGEST {
        return Outcome::fail("the JSON text becomes too long");
    }
    super::write(call, 3, Value::Str(text.into()))
}

enum Step {
    Field(String),
    Element(usize),
}

fn steps(path: &[u8]) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    for part in std::str::from_utf8(path).ok()?.split('.').filter(|part| !part.is_empty()) {
        let (name, elements) = part.split_at(part.find('[').unwrap_or(part.len()));
        if !name.is_empty() {
            steps.push(Step::Field(name.to_owned()));
        }
        for element in elements.split('[').skip(1) {
            steps.push(Step::Element(element.strip_suffix(']')?.trim().parse().ok()?));
        }
    }
    Some(steps)
}

fn of_type(kind: &[u8], value: &Bytes) -> Option<Json> {
    let text = std::str::from_utf8(value).ok()?;
    match kind {
        b"string" | b"str" => Some(Json::from(text)),
        b"integer" | b"int" => text.trim().parse::<i64>().ok().map(Json::from),
        b"real" => text.trim().parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(Json::Number),
        b"object" | b"obj" => serde_json::from_str(text).ok().filter(Json::is_object),
        b"array" => serde_json::from_str(text).ok().filter(Json::is_array),
        b"true" => Some(Json::Bool(true)),
        b"false" => Some(Json::Bool(false)),
        b"null" => Some(Json::Null),
        _ => None,
    }
}

/// Puts a value where the steps lead to, or behind the last element there. False when they lead nowhere.
fn put(root: &mut Json, steps: &[Step], value: Json, appends: bool) -> bool {
    let mut place = root;
    for (n, step) in steps.iter().enumerate() {
        let fresh = || match steps.get(n + 1) {
            Some(Step::Element(_)) => Json::Array(Vec::new()),
            Some(Step::Field(_)) => Json::Object(Map::new()),
            None if appends && !value.is_object() => Json::Array(Vec::new()),
            None if appends => Json::Object(Map::new()),
            None => Json::Null,
        };
        place = match (step, place) {
            (Step::Field(name), Json::Object(fields)) => fields.entry(name.clone()).or_insert_with(fresh),
            (Step::Element(at), Json::Array(list)) => {
                if *at == list.len() {
                    list.push(fresh());
                }
                match list.get_mut(*at) {
                    Some(element) => element,
                    None => return false,
                }
            }
            _ => return false,
        };
    }
    match (appends, place, value) {
        (false, place, value) => *place = value,
        (true, Json::Array(list), value) => list.push(value),
        (true, Json::Object(fields), Json::Object(more)) => fields.extend(more),
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::JANSSON;
    use crate::testing::{Bench, text, variable};
    use module_api::{Arg, Value};

    fn run(bench: &mut Bench, function: &str, args: [&str; 3]) -> (i64, String) {
        let args = [Arg::Value(text(args[0])), Arg::Value(text(args[1])), Arg::Value(text(args[2])), variable("x")];
        let code = bench.run_args(&JANSSON, function, &args);
        let value = bench.context.vars.first(b"x").cloned().unwrap_or(Value::Null);
        (code, String::from_utf8(value.to_bytes().to_vec()).unwrap())
    }

    #[test]
    fn a_text_is_built_field_by_field() {
        let mut bench = Bench::invite();
        for (function, args, expected) in [
            ("jansson_set", ["string", "to", "bob"], r#"{"to":"bob"}"#),
            ("jansson_set", ["integer", "n", "3"], r#"{"n":3,"to":"bob"}"#),
            ("jansson_set", ["int", "a.b[0]", "1"], r#"{"a":{"b":[1]},"n":3,"to":"bob"}"#),
            ("jansson_append", ["true", "a.b", ""], r#"{"a":{"b":[1,true]},"n":3,"to":"bob"}"#),
            ("jansson_append", ["obj", "a", "{\"c\":null}"], r#"{"a":{"b":[1,true],"c":null},"n":3,"to":"bob"}"#),
            ("jansson_set", ["null", "a", ""], r#"{"a":null,"n":3,"to":"bob"}"#),
            ("jansson_set", ["real", "n", "2.5"], r#"{"a":null,"n":2.5,"to":"bob"}"#),
        ] {
            let (code, made) = run(&mut bench, function, args);
            let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            assert_eq!((code, read(&made)), (1, read(expected)), "{args:?}");
        }
        let mut bench = Bench::invite();
        assert_eq!(run(&mut bench, "jansson_append", ["string", "", "a"]), (1, r#"["a"]"#.to_owned()));
        assert_eq!(run(&mut bench, "jansson_set", ["string", "[1]", "b"]), (1, r#"["a","b"]"#.to_owned()));
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let mut bench = Bench::invite();
        run(&mut bench, "jansson_set", ["array", "a", "[1]"]);
        for (function, args) in [
            ("jansson_set", ["integer", "n", "x"]),
            ("jansson_set", ["object", "n", "[1]"]),
            ("jansson_set", ["number", "n", "1"]),
            ("jansson_set", ["string", "a[7]", "x"]),
            ("jansson_set", ["string", "a.b", "x"]),
            ("jansson_set", ["string", "a[x]", "x"]),
            ("jansson_append", ["string", "a[0]", "x"]),
        ] {
            assert_eq!(run(&mut bench, function, args), (-1, r#"{"a":[1]}"#.to_owned()), "{args:?}");
        }
    }

    #[test]
    fn records_are_made_of_objects_and_objects_of_records() {
        let mut bench = Bench::invite();
        let args = [r#"{"to": "bob", "n": 2, "list": [1, "x"], "deep": {"a": 1}, "none": null}"#, "r"];
        assert_eq!(bench.run(&JANSSON, "jansson_xdecode", &args), 1);
        let args = [Arg::Value(text("r")), variable("x")];
        assert_eq!(bench.run_args(&JANSSON, "jansson_xencode", &args), 1);
        let made = bench.context.vars.first(b"x").unwrap().to_bytes();
        let made: serde_json::Value = serde_json::from_slice(&made).unwrap();
        assert_eq!(made, serde_json::json!({"to": "bob", "n": 2, "list": [1, "x"], "deep": "{\"a\":1}"}));
        assert_eq!(bench.run(&JANSSON, "jansson_xdecode", &["[1]", "r"]), -1);
        let args = [Arg::Value(text("absent")), variable("x")];
        assert_eq!(bench.run_args(&JANSSON, "jansson_xencode", &args), -1);
    }
}
