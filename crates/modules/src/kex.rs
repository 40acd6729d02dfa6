//! Branch flags, the next hop, and names of this server: what Kamailio keeps outside its core.

use bytes::Bytes;
use module_api::{Call, Function, KeyRule, Module, Outcome, Param, ParamKind, Routes, Target, Value, Variable};
use sip_message::Uri;

use crate::flag_set::{self, FlagSet};

/// Functions of Kamailio's module kex.
pub static MODULE: Module = Module {
    name: "kex",
    doc: "Branch flags, the next hop, and names of this server.",
    functions: &[
        SETBFLAG,
        RESETBFLAG,
        ISBFLAGSET,
        ISDSTURISET,
        SETDSTURI,
        RESETDSTURI,
        SETSFLAG,
        RESETSFLAG,
        ISSFLAGSET,
        SETDEBUG,
        RESETDEBUG,
        IS_MYSELF,
        IS_MYHOST,
        PRINTF,
        crate::also("avp_printf", PRINTF),
    ],
    variables: &[SYSTEM_ID],
    ..Module::EMPTY
};

const SYSTEM_ID: Variable = Variable {
    name: "sruid",
    key: KeyRule::None,
    routes: Routes::ANY,
    doc: "An identifier that nothing else has: another one each time it is read.",
    example: "$avp(call) = $sruid;",
    read: |call, _| {
        let (time, chance) = (call.host.unix_time().as_secs(), call.host.random());
        Value::Str(format!("srid-{time:x}-{chance:016x}").into())
    },
    write: None,
};

const FLAG: &[Param] = &[Param::required("flag", ParamKind::Flag), Param::optional("branch", ParamKind::Int)];

const SETBFLAG: Function = Function {
    name: "setbflag",
    params: FLAG,
    routes: Routes::ANY,
    doc: "Sets a branch flag of the Request-URI (branch 0) or of an added target (from 1).",
    example: "setbflag(6);",
    run: |call| with_flags(call, |flags, bit| *flags |= bit),
};

const RESETBFLAG: Function = Function {
    name: "resetbflag",
    params: FLAG,
    routes: Routes::ANY,
    doc: "Clears a branch flag of the Request-URI (branch 0) or of an added target (from 1).",
    example: "resetbflag(6);",
    run: |call| with_flags(call, |flags, bit| *flags &= !bit),
};

const ISBFLAGSET: Function = Function {
    name: "isbflagset",
    params: FLAG,
    routes: Routes::ANY,
    doc: "True when the branch flag of the Request-URI (branch 0) or of an added target (from 1) is set.",
    example: "if (isbflagset(6)) xlog(\"behind NAT\\n\");",
    run: |call| {
        let mut is_set = false;
        with_flags(call, |flags, bit| is_set = *flags & bit != 0);
        is_set.into()
    },
};

const ISDSTURISET: Function = Function {
    name: "isdsturiset",
    params: &[],
    routes: Routes::ANY,
    doc: "True when a next hop is set.",
    example: "if (!isdsturiset()) $du = \"sip:gateway.example.com\";",
    run: |call| call.context.target.destination.is_some().into(),
};

const SETDSTURI: Function = Function {
    name: "setdsturi",
    params: &[Param::required("uri", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Sets the next hop. False when the text is not a URI.",
    example: "setdsturi(\"sip:192.0.2.7:5080\");",
    run: |call| {
        let uri = call.text(0);
        if Uri::parse(&uri).is_err() {
            return Outcome::FALSE;
        }
        call.context.set_destination(Some(uri));
        Outcome::TRUE
    },
};

const RESETDSTURI: Function = Function {
    name: "resetdsturi",
    params: &[],
    routes: Routes::ANY,
    doc: "Takes the next hop back: the Request-URI decides.",
    example: "resetdsturi();",
    run: |call| {
        call.context.set_destination(None);
        Outcome::TRUE
    },
};

const IS_MYSELF: Function = Function {
    name: "is_myself",
    params: &[Param::required("uri", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "True when the URI, or host with or without port, names this server.",
    example: "if (is_myself(\"$fu\")) xlog(\"one of ours\\n\");",
    run: |call| is_own(call, true),
};

const IS_MYHOST: Function = Function {
    name: "is_myhost",
    params: &[Param::required("uri", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "As is_myself(), whatever the port.",
    example: "if (is_myhost(\"$fd\")) xlog(\"one of ours\\n\");",
    run: |call| is_own(call, false),
};

const PRINTF: Function = Function {
    name: "pv_printf",
    params: &[Param::required("variable", ParamKind::Output), Param::required("format", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Puts text with its variables expanded into a variable.",
    example: "pv_printf(\"$var(x)\", \"$fU calls $rU\");",
    run: |call| {
        let text = call.text(1);
        match call.write_output(0, Value::Str(text)) {
            Ok(()) => Outcome::TRUE,
            Err(fault) => Outcome::Fail(fault),
        }
    },
};

/// The flags of this run of the script.
pub(crate) struct ScriptFlags(pub(crate) u32);

impl FlagSet for ScriptFlags {
    const COUNT: u32 = 32;
    const WRONG: &'static str = "not a flag from 0 to 31";

    fn load(call: &Call<'_>) -> u64 {
        call.context.note::<ScriptFlags>().map_or(0, |flags| flags.0.into())
    }

    fn store(call: &mut Call<'_>, flags: u64) {
        call.context.set_note(ScriptFlags(flags as u32));
    }
}

const SCRIPT_FLAG: &[Param] = &[Param::required("flag", ParamKind::Flag)];

const SETSFLAG: Function = Function {
    name: "setsflag",
    params: SCRIPT_FLAG,
    routes: Routes::ANY,
    doc: "Sets a flag of this run of the script, which does not follow the transaction.",
    example: "setsflag(1);",
    run: flag_set::set::<ScriptFlags>,
};

const RESETSFLAG: Function = Function {
    name: "resetsflag",
    params: SCRIPT_FLAG,
    routes: Routes::ANY,
    doc: "Clears a flag of this run of the script.",
    example: "resetsflag(1);",
    run: flag_set::reset::<ScriptFlags>,
};

const ISSFLAGSET: Function = Function {
    name: "issflagset",
    params: SCRIPT_FLAG,
    routes: Routes::ANY,
    doc: "True when the flag of this run of the script is set.",
    example: "if (issflagset(1)) xlog(\"marked\\n\");",
    run: flag_set::is_set::<ScriptFlags>,
};

const SETDEBUG: Function = Function {
    name: "setdebug",
    params: &[Param::required("level", ParamKind::Int)],
    routes: Routes::ANY,
    doc: "Changes nothing and is true: the log has one level for the whole server, and not one for a request.",
    example: "setdebug(9);",
    run: |_| Outcome::TRUE,
};

const RESETDEBUG: Function = Function {
    name: "resetdebug",
    params: &[],
    routes: Routes::ANY,
    doc: "Changes nothing and is true, as setdebug().",
    example: "resetdebug();",
    run: |_| Outcome::TRUE,
};

fn with_flags(call: &mut Call<'_>, act: impl FnOnce(&mut u32, u32)) -> Outcome {
    let flag = call.int(0).and_then(|flag| u32::try_from(flag).ok()).filter(|flag| *flag < module_api::FLAG_COUNT);
    let branch = usize::try_from(call.int(1).unwrap_or(0)).ok();
    let target: Option<&mut Target> = match branch {
        Some(0) => Some(&mut call.context.target),
        Some(number) => call.context.branches.get_mut(number - 1),
        None => None,
    };
    match (flag, target) {
        (Some(flag), Some(target)) => {
            act(&mut target.flags, 1 << flag);
            Outcome::TRUE
        }
        _ => Outcome::FALSE,
    }
}

fn is_own(call: &Call<'_>, minds_port: bool) -> Outcome {
    let text = call.text(0);
    let has_scheme = text.starts_with(b"sip:") || text.starts_with(b"sips:");
    let uri: Bytes = if has_scheme { text } else { [b"sip:", &text[..]].concat().into() };
    match Uri::parse(&uri) {
        Ok(uri) => {
            let port = uri.port.filter(|_| minds_port);
            call.host.is_myself(uri.host_text, port, uri.transport()).into()
        }
        Err(_) => Outcome::FALSE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn an_identifier_is_never_the_same_twice() {
        let mut bench = Bench::invite();
        let one = bench.read(&MODULE, "sruid", None);
        assert!(one.to_bytes().starts_with(b"srid-"));
        assert_ne!(one, bench.read(&MODULE, "sruid", None));
    }

    #[test]
    fn script_flags_are_kept_for_one_run() {
        let mut bench = Bench::invite();
        bench.run(&MODULE, "setsflag", &["3"]);
        bench.run(&MODULE, "setsflag", &["4"]);
        bench.run(&MODULE, "resetsflag", &["4"]);
        assert_eq!((bench.run(&MODULE, "issflagset", &["3"]), bench.run(&MODULE, "issflagset", &["4"])), (1, -1));
        assert_eq!(bench.context.flags, 0);
    }

    #[test]
    fn branch_flags_belong_to_their_target() {
        let mut bench = Bench::invite();
        bench.context.branches.push(Target::new(Bytes::from_static(b"sip:a@h")));
        assert_eq!(bench.run(&MODULE, "setbflag", &["6"]), 1);
        assert_eq!(bench.run(&MODULE, "isbflagset", &["6", "0"]), 1);
        assert_eq!(bench.run(&MODULE, "isbflagset", &["6", "1"]), -1);
        assert_eq!(bench.run(&MODULE, "setbflag", &["6", "1"]), 1);
        assert_eq!(bench.run(&MODULE, "setbflag", &["6", "2"]), -1);
        assert_eq!(bench.run(&MODULE, "resetbflag", &["6"]), 1);
        assert_eq!(bench.run(&MODULE, "isbflagset", &["6"]), -1);
        assert_eq!(bench.context.branches[0].flags, 64);
    }

    #[test]
    fn names_of_this_server_are_known() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "is_myself", &["sip:x@example.com"]), 1);
        assert_eq!(bench.run(&MODULE, "is_myself", &["example.com:9"]), -1);
        assert_eq!(bench.run(&MODULE, "is_myhost", &["example.com:9"]), 1);
        assert_eq!(bench.run(&MODULE, "is_myself", &["other.org"]), -1);
    }

    #[test]
    fn the_next_hop_is_set_and_taken_back() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "isdsturiset", &[]), -1);
        assert_eq!(bench.run(&MODULE, "setdsturi", &["sip:h"]), 1);
        assert_eq!(bench.run(&MODULE, "isdsturiset", &[]), 1);
        bench.run(&MODULE, "resetdsturi", &[]);
        assert_eq!(bench.run(&MODULE, "isdsturiset", &[]), -1);
    }
}
