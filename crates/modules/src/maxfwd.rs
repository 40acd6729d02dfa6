//! The hop count: Max-Forwards (RFC 3261 sections 16.3 and 16.6 step 3).
//!
//! Whatever sends a request on counts the hop itself, script or no script; what is left for these
//! functions is to tell the script when no hop is left.

use module_api::{Function, Module, Outcome, Param, ParamKind, Parameter, Routes, SettingKind};
use sip_message::HeaderName;

/// Guards against loops by counting hops.
pub static MODULE: Module = Module {
    name: "maxfwd",
    doc: "Tells how many hops a request may still take.",
    parameters: &[Parameter {
        name: "max_limit",
        kind: SettingKind::Ignored,
        default: "70",
        doc: "Has no effect: a count leaves one lower than it came, and 70 where there was none (RFC 3261 section 16.6).",
    }],
    functions: &[
        PROCESS,
        crate::also("process_maxfwd", PROCESS),
        crate::also("maxfwd_process", PROCESS),
        IS_LESS,
        crate::also("mf_lowlimit", IS_LESS),
        crate::also("maxfwd_at_least", IS_LESS),
        IS_PRESENT,
        IS_ZERO,
    ],
    ..Module::EMPTY
};

const PROCESS: Function = Function {
    name: "mf_process_maxfwd_header",
    params: &[Param::required("default", ParamKind::Int)],
    routes: Routes::REQUEST,
    doc: "False when the request may take no further hop, or its Max-Forwards cannot be read. Forwarding lowers the \
          count by itself, and gives a request without the header 70 whatever the argument says.",
    example: "if (!mf_process_maxfwd_header(\"10\")) sl_send_reply(\"483\", \"Too Many Hops\");",
    run: |call| match call.context.message.max_forwards() {
        Ok(Some(0)) | Err(_) => Outcome::FALSE,
        Ok(_) => Outcome::TRUE,
    },
};

const IS_LESS: Function = Function {
    name: "is_maxfwd_lt",
    params: &[Param::required("count", ParamKind::Int)],
    routes: Routes::ANY,
    doc: "True when fewer hops are left than the given count. False without the header.",
    example: "if (is_maxfwd_lt(\"16\")) xlog(\"far travelled\\n\");",
    run: |call| {
        let bound = call.int(0).unwrap_or(0);
        match call.context.message.max_forwards() {
            Ok(Some(left)) => (i64::from(left) < bound).into(),
            _ => Outcome::FALSE,
        }
    },
};

const IS_PRESENT: Function = Function {
    name: "mf_is_maxfwd_present",
    params: &[],
    routes: Routes::ANY,
    doc: "True when the request has a Max-Forwards header.",
    example: "if (!mf_is_maxfwd_present()) log(\"no hop count\\n\");",
    run: |call| call.context.message.has(HeaderName::MaxForwards).into(),
};

const IS_ZERO: Function = Function {
    name: "mf_is_maxfwd_zero",
    params: &[],
    routes: Routes::ANY,
    doc: "True when no hop is left.",
    example: "if (mf_is_maxfwd_zero()) sl_send_reply(\"483\", \"Too Many Hops\");",
    run: |call| matches!(call.context.message.max_forwards(), Ok(Some(0))).into(),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, INVITE};

    fn check(value: Option<&str>, code: i64) {
        let line = value.map(|value| format!("Max-Forwards: {value}\r\n")).unwrap_or_default();
        let mut bench = Bench::new(&INVITE.replace("Max-Forwards: 70\r\n", &line));
        assert_eq!(bench.run(&MODULE, "mf_process_maxfwd_header", &["10"]), code, "{value:?}");
    }

    #[test]
    fn only_zero_and_nonsense_stop_a_request() {
        check(Some("70"), 1);
        check(Some("1"), 1);
        check(None, 1);
        check(Some("0"), -1);
        check(Some("many"), -1);
    }

    #[test]
    fn what_is_left_can_be_asked() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "is_maxfwd_lt", &["71"]), 1);
        assert_eq!(bench.run(&MODULE, "is_maxfwd_lt", &["70"]), -1);
        assert_eq!(bench.run(&MODULE, "mf_is_maxfwd_zero", &[]), -1);
        assert_eq!(bench.run(&MODULE, "mf_is_maxfwd_present", &[]), 1);
    }
}
