//! Questions about variables.

use module_api::{Arg, Call, Function, Outcome, Param, ParamKind, Routes, Selector, Value};

use crate::text_variable::Template;

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

pub(super) const EVALX: Function = Function {
    name: "pv_evalx",
    params: &[Param::required("variable", ParamKind::Output), Param::required("text", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Expands the variables of a text, then the variables that the outcome names, and puts that into a variable; a row of \
          a table may so name $rU. The second time $var, $avp, $hdr and the plain ones of the message are known; with \
          another it is false.",
    example: "pv_evalx(\"$var(prefix)\", \"$sht(prefixes=>$rd)\");",
    run: |call| {
        let text = call.text(1);
        let Ok(text) = std::str::from_utf8(&text) else { return Outcome::fail("pv_evalx: the text is not UTF-8") };
        let value = match Template::parse(text) {
            Ok(template) => Value::Str(template.fill(call)),
            Err(cause) => return Outcome::fail(format!("pv_evalx: {cause}")),
        };
        match call.write_output(0, value) {
            Ok(()) => Outcome::TRUE,
            Err(fault) => Outcome::Fail(fault),
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
    use crate::testing::{Bench, text, variable};
    use module_api::{Arg, Value};

    #[test]
    fn a_text_that_names_variables_is_expanded_again() {
        let mut bench = Bench::invite();
        let mut evaluate = |pattern: &str| {
            let code = bench.run_args(&MODULE, "pv_evalx", &[variable("x"), Arg::Value(text(pattern))]);
            (code, bench.read(&MODULE, "var", Some("x")))
        };
        assert_eq!(evaluate("<$rU>"), (1, text("<bob>")));
        assert_eq!(evaluate("$shv(x)"), (-1, text("<bob>")));
        assert_eq!(evaluate("plain"), (1, text("plain")));
    }

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
