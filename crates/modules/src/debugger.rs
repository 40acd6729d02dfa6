//! Looking into a request from its script.

use module_api::{Call, Function, Level, Module, Outcome, Param, ParamKind, Routes, Value};

use crate::log_level;
use crate::setting::ignored;

/// Looking into a request from its script.
pub static MODULE: Module = Module {
    name: "debugger",
    doc: "Shows messages and variables in the log. Statements are traced with the server's own means.",
    parameters: &[
        ignored("cfgtrace", TRACE),
        ignored("cfgtrace_format", TRACE),
        ignored("breakpoint", TRACE),
        ignored("log_level", "Has no effect: dumps name their level."),
        ignored("log_level_name", "Has no effect: dumps name their level."),
        ignored("log_facility", "Has no effect."),
        ignored("log_prefix", TRACE),
        ignored("log_assign", TRACE),
        ignored("mod_hash_size", LEVELS),
        ignored("mod_level_mode", LEVELS),
        ignored("mod_level", LEVELS),
        ignored("mod_facility_mode", LEVELS),
        ignored("mod_facility", LEVELS),
        ignored("cfgtest", TRACE),
        ignored("cfgpkgcheck", "Has no effect: memory looks after itself."),
        ignored("step_usleep", TRACE),
        ignored("step_loops", TRACE),
        ignored("reset_msgid", "Has no effect."),
    ],
    functions: &[BREAKPOINT, PV_DUMP, SIP_MSG],
    ..Module::EMPTY
};

const TRACE: &str = "Has no effect: `ser explain` shows the path of a message through a script.";
const LEVELS: &str = "Has no effect: the log has one level for the whole server.";

const BREAKPOINT: Function = Function {
    name: "dbg_breakpoint",
    params: &[Param::required("mode", ParamKind::Str)],
    routes: Routes::ANY,
    doc: "Writes to the log that the script came by, and goes on: a server that carries calls is not stopped.",
    example: "dbg_breakpoint(\"1\");",
    run: |call| {
        let line = format!(
            "breakpoint {} in {}: {}",
            String::from_utf8_lossy(&call.text(0)),
            call.context.kind.as_str(),
            String::from_utf8_lossy(call.context.message.text(call.context.message.start_line()))
        );
        call.host.log(Level::Notice, line.as_bytes());
        Outcome::TRUE
    },
};

const PV_DUMP: Function = Function {
    name: "dbg_pv_dump",
    params: &[Param::optional("mask", ParamKind::Int), Param::optional("level", ParamKind::Str)],
    routes: Routes::ANY,
    doc: "Writes the variables that are set to the log, as JSON: 1 or 2 the $avp, 8 the $var, 31 all, which is usual.",
    example: "dbg_pv_dump(30, \"L_ALERT\");",
    run: |call| {
        let mask = call.int(0).unwrap_or(31);
        let mut text = String::from("{");
        for (bits, name, values) in [(3, "$avp", &call.context.avps), (8, "$var", &call.context.vars)] {
            if mask & bits == 0 {
                continue;
            }
            for (key, value) in values.iter().filter(|(key, _)| !key.starts_with(b"\0")) {
                let separator = if text.len() > 1 { "," } else { "" };
                let shown = format!("{name}({})", String::from_utf8_lossy(key));
                text += &format!("{separator}{}:{}", quoted(&shown), json(value));
            }
        }
        text.push('}');
        log(call, 1, text.as_bytes())
    },
};

const SIP_MSG: Function = Function {
    name: "dbg_sip_msg",
    params: &[Param::optional("level", ParamKind::Str), Param::optional("facility", ParamKind::Str)],
    routes: Routes::ANY,
    doc: "Writes the message to the log, as it came and, where the script has changed it, as it would leave.",
    example: "dbg_sip_msg(\"L_ERR\");",
    run: |call| {
        let mut text = b"the message as it came:\n".to_vec();
        text.extend_from_slice(call.context.message.bytes());
        if !call.context.edits.is_empty() {
            text.extend_from_slice(b"\nas it would leave:\n");
            sip_message::write(&call.context.message, &[&call.context.edits], &mut text);
        }
        log(call, 0, &text)
    },
};

/// Writes to the log at the level that argument `n` names, else as a notice.
fn log(call: &mut Call<'_>, n: usize, text: &[u8]) -> Outcome {
    let level = if call.arg_count() > n { log_level::parse(&call.text(n), call.dialect()) } else { None };
    call.host.log(level.unwrap_or(Level::Notice), text);
    Outcome::TRUE
}

fn json(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Int(number) => number.to_string(),
        Value::Str(text) => quoted(&String::from_utf8_lossy(text)),
    }
}

/// Text as a string of JSON (RFC 8259 section 7).
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out += &format!("\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, text};

    #[test]
    fn variables_are_shown_as_json() {
        let mut bench = Bench::invite();
        bench.context.avps.push("a".into(), text("x\"\n"));
        bench.context.avps.push("\0own".into(), Value::Int(1));
        bench.context.vars.replace("n".into(), Value::Int(7));
        bench.run(&MODULE, "dbg_pv_dump", &[]);
        bench.run(&MODULE, "dbg_pv_dump", &["8", "L_ERR"]);
        let expected = r#"{"$avp(a)":"x\"\u000a","$var(n)":7}"#;
        assert_eq!(bench.host.logged[0], (Level::Notice, expected.to_owned()));
        assert_eq!(bench.host.logged[1], (Level::Error, r#"{"$var(n)":7}"#.to_owned()));
    }

    #[test]
    fn a_message_is_shown_with_its_changes() {
        let mut bench = Bench::invite();
        bench.context.edits.append_header("X-New: 1\r\n");
        bench.run(&MODULE, "dbg_sip_msg", &[]);
        bench.run(&MODULE, "dbg_breakpoint", &["here"]);
        assert!(
            bench.host.logged[0].1.contains("as it would leave:\nINVITE") && bench.host.logged[0].1.contains("X-New")
        );
        assert_eq!(bench.host.logged[1].1, "breakpoint here in request_route: INVITE sip:bob@example.com SIP/2.0");
    }
}
