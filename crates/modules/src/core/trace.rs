//! Lines for the log.

use module_api::{Function, Level, Outcome, Param, ParamKind, Routes};

use crate::log_level;

pub(super) const LOG: Function = Function {
    name: "log",
    params: &[Param::required("text", ParamKind::Str)],
    routes: Routes::ANY,
    doc: "Writes text to the log at debug level. Variables in it are not expanded; xlog() does that.",
    example: "log(\"a request came\\n\");",
    run: |call| {
        let text = call.text(0);
        call.host.log(Level::Debug, &text);
        Outcome::TRUE
    },
};

pub(super) const LOG_AT: Function = Function {
    name: "log",
    params: &[Param::required("level", ParamKind::Str), Param::required("text", ParamKind::Str)],
    routes: Routes::ANY,
    doc: "Writes text to the log. The level is a number, -3 (SER) or -5 (Kamailio) being the loudest, or a name like \
          L_ERR.",
    example: "log(1, \"a request came\\n\");",
    run: |call| {
        let level = log_level::parse(&call.text(0), call.dialect()).unwrap_or(Level::Debug);
        let text = call.text(1);
        call.host.log(level, &text);
        Outcome::TRUE
    },
};

pub(super) const ERROR: Function = Function {
    name: "error",
    params: &[Param::required("code", ParamKind::Str), Param::required("text", ParamKind::Str)],
    routes: Routes::ANY,
    doc: "Writes a code and a text to the log as an error. It sends nothing.",
    example: "error(\"500\", \"database gone\");",
    run: |call| {
        let line = [&call.text(0)[..], b" ", &call.text(1)].concat();
        call.host.log(Level::Error, &line);
        Outcome::TRUE
    },
};

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::Bench;
    use module_api::Dialect;

    #[test]
    fn a_level_counts_on_its_familys_scale() {
        let mut bench = Bench::invite();
        bench.run(&MODULE, "log", &["$ru stays"]);
        bench.run(&MODULE, "log", &["1", "one"]);
        bench.dialect = Dialect::Ser;
        bench.run(&MODULE, "log", &["1", "one"]);
        let expected =
            [(Level::Debug, "$ru stays".into()), (Level::Notice, "one".into()), (Level::Warning, "one".into())];
        assert_eq!(bench.host.logged, expected);
    }
}
