//! Questions about variables.

use module_api::{Arg, Call, Function, Outcome, Param, ParamKind, Routes, Selector, Value};

const VARIABLE: &[Param] = &[Param::required("variable", ParamKind::Output)];

pub(super) const ISSET: Function = Function {
    name: "pv_isset",
    params: VARIABLE,
    routes: Routes::ANY,
    doc: "True when the variable is defined.",
    example: "if (pv_isset(\"$avp(x)\")) exit;",
    run: |call| (!value(call, 0).is_null()).into(),
};

pub(super) const UNSET: Function = Function {
    name: "pv_unset",
    params: VARIABLE,
    routes: Routes::ANY,
    doc: "Makes a variable undefined.",
    example: "pv_unset(\"$avp(x)\");",
    run: |call| match call.write_output(0, Value::Null) {
        Ok(()) => Outcome::TRUE,
        Err(fault) => Outcome::Fail(fault),
    },
};

pub(super) const IS_INT: Function = Function {
    name: "is_int",
    params: VARIABLE,
    routes: Routes::ANY,
    doc: "True when the variable holds a number.",
    example: "if (is_int(\"$var(x)\")) exit;",
    run: |call| matches!(value(call, 0), Value::Int(_)).into(),
};

pub(super) const NOT_EMPTY: Function = Function {
    name: "not_empty",
    params: VARIABLE,
    routes: Routes::ANY,
    doc: "True when the variable holds a string that is not empty.",
    example: "if (not_empty(\"$rU\")) exit;",
    run: |call| matches!(value(call, 0), Value::Str(text) if !text.is_empty()).into(),
};

pub(super) const TYPEOF: Function = Function {
    name: "typeof",
    params: &[Param::required("variable", ParamKind::Output), Param::required("type", ParamKind::Options)],
    routes: Routes::ANY,
    doc: "True when the variable is of the type: int, str, null or nonull.",
    example: "if (typeof(\"$var(x)\", \"str\")) exit;",
    run: |call| {
        let value = value(call, 0);
        match &call.text(1)[..] {
            b"int" => matches!(value, Value::Int(_)).into(),
            b"str" => matches!(value, Value::Str(_)).into(),
            b"null" => value.is_null().into(),
            b"nonull" => (!value.is_null()).into(),
            _ => Outcome::fail("typeof knows int, str, null and nonull"),
        }
    },
};

/// What the variable that argument `n` names holds.
fn value(call: &mut Call<'_>, n: usize) -> Value {
    let dialect = call.dialect();
    match call.arg(n) {
        Some(Arg::Variable(output)) => {
            let selector = Selector { key: output.key.as_ref(), index: output.index };
            let mut inner = Call::new(call.context, call.host, &[], &output.state, dialect);
            (output.variable.read)(&mut inner, &selector)
        }
        Some(Arg::Value(value)) => value.clone(),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::{Bench, text};
    use module_api::{Arg, Value};

    #[test]
    fn types_are_told_apart() {
        let ask = |function: &str, value: Value| Bench::invite().run_args(&MODULE, function, &[Arg::Value(value)]);
        assert_eq!(ask("pv_isset", Value::Null), -1);
        assert_eq!(ask("pv_isset", text("")), 1);
        assert_eq!(ask("not_empty", text("")), -1);
        assert_eq!(ask("is_int", Value::Int(0)), 1);
        assert_eq!(Bench::invite().run_args(&MODULE, "typeof", &[Arg::Value(text("a")), Arg::Value(text("str"))]), 1);
    }
}
