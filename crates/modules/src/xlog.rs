//! Log lines with variables in them.

use module_api::{Call, Dialect, Function, Level, Module, Outcome, Param, ParamKind, Parameter, Routes, SettingKind};

use crate::log_level;

/// Writes log lines in which variables are expanded.
pub static MODULE: Module = Module {
    name: "xlog",
    doc: "Writes log lines in which variables are expanded.",
    parameters: &[
        ignored("buf_size", "4096", "Has no effect: a line is as long as it must be."),
        ignored("prefix", "", "Has no effect: log lines of a script are marked as such by the server."),
        ignored("force_color", "0", "Has no effect: the log carries no colours."),
        ignored("long_format", "0", "Has no effect."),
        ignored("log_facility", "", "Has no effect: where the log goes is a matter of the server's settings."),
        ignored("prefix_mode", "0", "Has no effect."),
    ],
    functions: &[
        XLOG,
        XLOG_AT,
        XLOG_FACILITY,
        fixed("xdbg", "Writes a line at debug level.", "xdbg(\"$rm from $fu\\n\");", |call| line(call, Level::Debug)),
        fixed("xinfo", "Writes a line at info level.", "xinfo(\"$rm from $fu\\n\");", |call| line(call, Level::Info)),
        fixed("xnotice", "Writes a line at notice level.", "xnotice(\"$rm\\n\");", |call| line(call, Level::Notice)),
        fixed("xwarn", "Writes a line as a warning.", "xwarn(\"$rm from $fu\\n\");", |call| line(call, Level::Warning)),
        fixed("xerr", "Writes a line as an error.", "xerr(\"$rm from $fu\\n\");", |call| line(call, Level::Error)),
        fixed("xcrit", "Writes a line as a critical error.", "xcrit(\"$rm\\n\");", |call| line(call, Level::Critical)),
        fixed("xbug", "Writes a line as an alert.", "xbug(\"$rm from $fu\\n\");", |call| line(call, Level::Alert)),
        fixed("xalert", "Writes a line as an alert.", "xalert(\"$rm from $fu\\n\");", |call| line(call, Level::Alert)),
    ],
    variables: &[],
    make: crate::no_state,
};

const XLOG: Function = Function {
    name: "xlog",
    params: FORMAT,
    routes: Routes::ANY,
    doc: "Writes a line at error level, with its variables expanded.",
    example: "xlog(\"$rm from $fu\\n\");",
    run: |call| line(call, Level::Error),
};

const XLOG_AT: Function = Function {
    name: "xlog",
    params: &[Param::required("level", ParamKind::Str), Param::required("format", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Writes a line at a level, given as a name (L_INFO) or a number, with its variables expanded.",
    example: "xlog(\"L_INFO\", \"$rm from $fu\\n\");",
    run: |call| at_level(call, 0),
};

const XLOG_FACILITY: Function = Function {
    name: "xlog",
    params: &[
        Param::required("facility", ParamKind::Str),
        Param::required("level", ParamKind::Str),
        Param::required("format", ParamKind::Format),
    ],
    routes: Routes::ANY,
    doc: "As xlog(level, format); the facility has no effect.",
    example: "xlog(\"LOG_LOCAL1\", \"L_INFO\", \"$rm from $fu\\n\");",
    run: |call| at_level(call, 1),
};

const FORMAT: &[Param] = &[Param::required("format", ParamKind::Format)];

const fn fixed(
    name: &'static str,
    doc: &'static str,
    example: &'static str,
    run: fn(&mut Call<'_>) -> Outcome,
) -> Function {
    Function { name, params: FORMAT, routes: Routes::ANY, doc, example, run }
}

const fn ignored(name: &'static str, default: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Ignored, default, doc }
}

fn line(call: &mut Call<'_>, level: Level) -> Outcome {
    let text = call.text(0);
    call.host.log(level, &text);
    Outcome::TRUE
}

fn at_level(call: &mut Call<'_>, n: usize) -> Outcome {
    let name = call.text(n);
    let level = log_level::parse(&name, call.dialect()).or_else(|| by_third_letter(&name, call.dialect()));
    let text = call.text(n + 1);
    call.host.log(level.unwrap_or(Level::Error), &text);
    Outcome::TRUE
}

/// SER looked at the third letter alone: `L_ERRR` is an error.
fn by_third_letter(name: &[u8], dialect: Dialect) -> Option<Level> {
    if dialect != Dialect::Ser {
        return None;
    }
    Some(match name.get(2)? {
        b'A' => Level::Alert,
        b'C' => Level::Critical,
        b'E' => Level::Error,
        b'W' => Level::Warning,
        b'N' => Level::Notice,
        b'I' => Level::Info,
        b'D' => Level::Debug,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn a_line_has_the_level_that_the_script_says() {
        let mut bench = Bench::invite();
        bench.run(&MODULE, "xlog", &["a"]);
        bench.run(&MODULE, "xlog", &["L_INFO", "b"]);
        bench.run(&MODULE, "xlog", &["LOG_LOCAL1", "3", "c"]);
        bench.run(&MODULE, "xwarn", &["d"]);
        bench.dialect = Dialect::Ser;
        bench.run(&MODULE, "xlog", &["L_NOTIZ", "e"]);
        let levels: Vec<Level> = bench.host.logged.iter().map(|(level, _)| *level).collect();
        assert_eq!(levels, [Level::Error, Level::Info, Level::Debug, Level::Warning, Level::Notice]);
    }
}
