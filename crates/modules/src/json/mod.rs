//! JSON texts: modules json and jansson.

mod edit;

use bytes::Bytes;
use module_api::{Call, Function, Module, Outcome, Param, ParamKind, Routes, Value};

/// Fields of JSON texts.
pub static JSON: Module = Module {
    name: "json",
    doc: "Reads fields of JSON texts; {json.parse} and {json.encode} do it in place.",
    functions: &[JSON_GET_FIELD],
    ..Module::EMPTY
};

/// Fields of JSON texts, with numbers as numbers.
pub static JANSSON: Module = Module {
    name: "jansson",
    doc: "Reads and writes fields of JSON texts, numbers as numbers.",
    functions: &[
        JANSSON_GET,
        crate::also("jansson_pv_get", JANSSON_GET),
        JANSSON_ARRAY_SIZE,
        edit::SET,
        edit::APPEND,
        edit::DECODE,
        edit::ENCODE,
    ],
    ..Module::EMPTY
};

const JSON_GET_FIELD: Function = Function {
    name: "json_get_field",
    params: &[
        Param::required("json", ParamKind::Format),
        Param::required("field", ParamKind::Format),
        Param::required("variable", ParamKind::Output),
    ],
    routes: Routes::ANY,
    doc: "Puts a field of a JSON text into a variable, as text: by its name, or by names and numbers of elements such as \
          a.b[0]. False when the text is no JSON or has no such field.",
    example: "if (json_get_field(\"$rb\", \"to\", \"$var(to)\")) xlog(\"$var(to)\\n\");",
    run: |call| match found(call, 0, 1) {
        Some(field) if !field.is_null() => write(call, 2, Value::Str(text(&field))),
        _ => Outcome::FALSE,
    },
};

const PATH_FIRST: &[Param] = &[
    Param::required("path", ParamKind::Format),
    Param::required("json", ParamKind::Format),
    Param::required("variable", ParamKind::Output),
];

const JANSSON_GET: Function = Function {
    name: "jansson_get",
    params: PATH_FIRST,
    routes: Routes::ANY,
    doc: "Puts a field of a JSON text into a variable: whole numbers, true (1) and false (0) as numbers, null as undefined, \
          all else as text. The path is a name, or names and numbers of elements such as a.b[0]. False when the text is no \
          JSON or has no such field.",
    example: "if (jansson_get(\"gateways[0].uri\", \"$var(answer)\", \"$du\")) t_relay();",
    run: |call| match found(call, 1, 0) {
        Some(field) => write(call, 2, value(&field)),
        None => Outcome::FALSE,
    },
};

const JANSSON_ARRAY_SIZE: Function = Function {
    name: "jansson_array_size",
    params: PATH_FIRST,
    routes: Routes::ANY,
    doc: "Puts the number of elements of an array of a JSON text into a variable; an empty path is the text itself. False \
          when there is no such array.",
    example: "jansson_array_size(\"gateways\", \"$var(answer)\", \"$var(n)\");",
    run: |call| match found(call, 1, 0).as_ref().and_then(|field| field.as_array()) {
        Some(list) => write(call, 2, Value::Int(list.len() as i64)),
        None => Outcome::FALSE,
    },
};

/// The field of the text in argument `json` at the path in argument `path`. How deep a text may nest, the parser bounds.
fn found(call: &Call<'_>, json: usize, path: usize) -> Option<serde_json::Value> {
    let root: serde_json::Value = serde_json::from_slice(&call.text(json)).ok()?;
    let path = String::from_utf8(call.text(path).to_vec()).ok()?;
    let steps = path.split(['.', '[', ']']).filter(|step| !step.is_empty());
    let pointer: String = steps.map(|step| format!("/{step}")).collect();
    // A name may hold a dot itself.
    root.get(&path).or_else(|| root.pointer(&pointer)).cloned()
}

fn text(field: &serde_json::Value) -> Bytes {
    match field {
        serde_json::Value::String(text) => text.clone().into(),
        other => other.to_string().into(),
    }
}

fn value(field: &serde_json::Value) -> Value {
    match field {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(is) => Value::Int((*is).into()),
        serde_json::Value::Number(number) if number.is_i64() => Value::Int(number.as_i64().unwrap_or_default()),
        other => Value::Str(text(other)),
    }
}

fn write(call: &mut Call<'_>, n: usize, value: Value) -> Outcome {
    match call.write_output(n, value) {
        Ok(()) => Outcome::TRUE,
        Err(fault) => Outcome::Fail(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::{JANSSON, JSON};
    use crate::testing::{Bench, text, variable};
    use module_api::{Arg, Module, Value};

    const TEXT: &str = "{\"to\": \"bob\", \"a\": {\"b\": [1, {\"c\": 2.5}]}, \"x.y\": true, \"none\": null}";

    fn ask(module: &Module, function: &str, first: &str, second: &str) -> (i64, Option<Value>) {
        let mut bench = Bench::invite();
        let args = [Arg::Value(text(first)), Arg::Value(text(second)), variable("x")];
        let code = bench.run_args(module, function, &args);
        (code, bench.context.vars.first(b"x").cloned())
    }

    #[test]
    fn fields_are_read_as_text() {
        let get = |path: &str| ask(&JSON, "json_get_field", TEXT, path);
        assert_eq!(get("to"), (1, Some(text("bob"))));
        assert_eq!(get("a.b[1].c"), (1, Some(text("2.5"))));
        assert_eq!(get("a.b"), (1, Some(text("[1,{\"c\":2.5}]"))));
        assert_eq!(get("x.y"), (1, Some(text("true"))));
        assert_eq!(get("none"), (-1, None));
        assert_eq!(get("a.z"), (-1, None));
        assert_eq!(ask(&JSON, "json_get_field", "no json", "a"), (-1, None));
        assert_eq!(ask(&JSON, "json_get_field", &"[".repeat(100_000), "a"), (-1, None));
    }

    #[test]
    fn fields_are_read_with_their_types() {
        let get = |path: &str| ask(&JANSSON, "jansson_get", path, TEXT);
        assert_eq!(get("a.b[0]"), (1, Some(Value::Int(1))));
        assert_eq!(get("x.y"), (1, Some(Value::Int(1))));
        assert_eq!(get("to"), (1, Some(text("bob"))));
        assert_eq!(get("a.b[1].c"), (1, Some(text("2.5"))));
        assert_eq!(get("a.b[7]"), (-1, None));
        assert_eq!(ask(&JANSSON, "jansson_array_size", "a.b", TEXT), (1, Some(Value::Int(2))));
        assert_eq!(ask(&JANSSON, "jansson_array_size", "to", TEXT), (-1, None));
        assert_eq!(ask(&JANSSON, "jansson_array_size", "", "[1,2,3]"), (1, Some(Value::Int(3))));
    }
}
