//! Log lines with variables in them.

use module_api::{
    Call, Dialect, Function, KeyRule, Level, Module, Outcome, Param, ParamKind, Parameter, Routes, Selector,
    SettingKind, Value, Variable,
};

use crate::log_level;

/// Writes log lines in which variables are expanded.
pub static MODULE: Module = Module {
    name: "xlog",
    doc: "Writes log lines in which variables are expanded.",
    parameters: &[
        ignored("buf_size", "4096", "Has no effect: a line is as long as it must be."),
        ignored("prefix", "", "Has no effect: log lines of a script are marked as such by the server."),
        ignored("log_colors", "", "Has no effect: the log carries no colours."),
        ignored("auto_newline", "0", "Has no effect: each line of the log ends by itself."),
        ignored("force_color", "0", "Has no effect: the log carries no colours."),
        ignored("long_format", "0", "Has no effect."),
        ignored("log_facility", "", "Has no effect: where the log goes is a matter of the server's settings."),
        ignored("prefix_mode", "0", "Has no effect."),
    ],
    functions: &[
        XLOG,
        XLOG_AT,
        XLOG_FACILITY,
        crate::also("xlogl", XLOG),
        crate::also("xlogl", XLOG_AT),
        crate::also("xlogm", XLOG_AT),
        fixed("xdbgl", "As xdbg().", "xdbgl(\"$rm from $fu\\n\");", |call| line(call, Level::Debug)),
        fixed("xdbg", "Writes a line at debug level.", "xdbg(\"$rm from $fu\\n\");", |call| line(call, Level::Debug)),
        fixed("xinfo", "Writes a line at info level.", "xinfo(\"$rm from $fu\\n\");", |call| line(call, Level::Info)),
        fixed("xnotice", "Writes a line at notice level.", "xnotice(\"$rm\\n\");", |call| line(call, Level::Notice)),
        fixed("xwarn", "Writes a line as a warning.", "xwarn(\"$rm from $fu\\n\");", |call| line(call, Level::Warning)),
        fixed("xerr", "Writes a line as an error.", "xerr(\"$rm from $fu\\n\");", |call| line(call, Level::Error)),
        fixed("xcrit", "Writes a line as a critical error.", "xcrit(\"$rm\\n\");", |call| line(call, Level::Critical)),
        fixed("xbug", "Writes a line as an alert.", "xbug(\"$rm from $fu\\n\");", |call| line(call, Level::Alert)),
        fixed("xalert", "Writes a line as an alert.", "xalert(\"$rm from $fu\\n\");", |call| line(call, Level::Alert)),
    ],
    variables: &[COLOUR],
    ..Module::EMPTY
};

const COLOUR: Variable = Variable {
    name: "C",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "A colour of a terminal for what follows, as $C(xg); empty, because the log carries no colours.",
    example: "xlog(\"$C(xg)$rm$C(xx)\\n\");",
    read: |_, _| Value::from_static(""),
    write: None,
};

const XLOG: Function = Function {
    name: "xlog",
    params: FORMAT,
    routes: Routes::ANY,
    doc: "Writes a line at error level, with its variables expanded. SER scripts write them with a percent sign: %rm, \
          %fu, %is and so on.",
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
    write(call, level, 0)
}

fn write(call: &mut Call<'_>, level: Level, n: usize) -> Outcome {
    let text = call.text(n);
    let text = if call.dialect() == Dialect::Ser { expand(call, &text) } else { text.to_vec() };
    call.host.log(level, &text);
    Outcome::TRUE
}

/// SER's specifiers: a percent sign and two letters. Those that are none stay as they are.
fn expand(call: &mut Call<'_>, format: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(format.len() + 64);
    let mut rest = format;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let specifier =
            rest.get(1..3).and_then(|letters| SPECIFIERS.iter().find(|(known, _)| known.as_bytes() == letters));
        let length = match (specifier, rest.get(1)) {
            (Some((_, name)), _) => {
                read(call, name).show(&mut out);
                3
            }
            (None, Some(b'%')) => {
                out.push(b'%');
                2
            }
            (None, _) => {
                out.push(b'%');
                1
            }
        };
        rest = &rest[length..];
    }
    out.extend_from_slice(rest);
    out
}

/// Specifiers of SER's xlog and the variables that they stand for.
const SPECIFIERS: [(&str, &str); 17] = [
    ("ct", "ct"),
    ("ci", "ci"),
    ("cs", "cs"),
    ("fu", "fu"),
    ("ft", "ft"),
    ("tu", "tu"),
    ("tt", "tt"),
    ("mi", "mi"),
    ("pp", "pp"),
    ("rm", "rm"),
    ("ru", "ru"),
    ("rs", "rs"),
    ("rr", "rr"),
    ("Ts", "Ts"),
    ("Tf", "Tf"),
    ("is", "si"),
    ("ua", "ua"),
];

fn read(call: &mut Call<'_>, name: &str) -> Value {
    let variable = crate::pv::MODULE.variables.iter().find(|variable| variable.name == name);
    variable.map_or(Value::Null, |variable| (variable.read)(call, &Selector::PLAIN))
}

fn at_level(call: &mut Call<'_>, n: usize) -> Outcome {
    let name = call.text(n);
    let level = log_level::parse(&name, call.dialect()).or_else(|| by_third_letter(&name, call.dialect()));
    write(call, level.unwrap_or(Level::Error), n + 1)
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

    #[test]
    fn ser_writes_variables_with_a_percent_sign() {
        let mut bench = Bench::invite();
        bench.dialect = Dialect::Ser;
        bench.run(&MODULE, "xlog", &["L_ERR", "%rm %ru from %is: 100%% %rs %x %"]);
        assert_eq!(bench.host.logged[0].1, "INVITE sip:bob@example.com from 198.51.100.7: 100% <null> %x %");
    }
}
