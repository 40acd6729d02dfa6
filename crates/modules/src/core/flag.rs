//! Message flags.

use bytes::Bytes;
use module_api::{Arg, Call, Function, Outcome, Param, ParamKind, Routes, Value};

const FLAG: &[Param] = &[Param::required("flag", ParamKind::Flag)];

pub(super) const SETFLAG: Function = Function {
    name: "setflag",
    params: FLAG,
    routes: Routes::ANY,
    doc: "Sets a message flag, a number from 0 to 31 or a declared name. Flags follow the transaction.",
    example: "setflag(1);",
    run: |call| set(call, true),
};

pub(super) const RESETFLAG: Function = Function {
    name: "resetflag",
    params: FLAG,
    routes: Routes::ANY,
    doc: "Clears a message flag.",
    example: "resetflag(1);",
    run: |call| set(call, false),
};

pub(super) const ISFLAGSET: Function = Function {
    name: "isflagset",
    params: FLAG,
    routes: Routes::ANY,
    doc: "True when the message flag is set.",
    example: "if (isflagset(1)) log(\"flag 1 is set\\n\");",
    run: |call| flag(call).is_some_and(|flag| call.context.has_flag(flag)).into(),
};

const ATTRIBUTE_FLAG: &[Param] =
    &[Param::required("attribute", ParamKind::Output), Param::required("flag", ParamKind::Options)];

pub(super) const SETAVPFLAG: Function = Function {
    name: "setavpflag",
    params: ATTRIBUTE_FLAG,
    routes: Routes::ANY,
    doc: "Sets a flag of an attribute, a name that avpflags declares. It follows the transaction.",
    example: "setavpflag($avp(caller), \"kept\");",
    run: |call| {
        let name = attribute_flag(call);
        call.context.avps.replace(name, Value::Int(1));
        Outcome::TRUE
    },
};

pub(super) const RESETAVPFLAG: Function = Function {
    name: "resetavpflag",
    params: ATTRIBUTE_FLAG,
    routes: Routes::ANY,
    doc: "Clears a flag of an attribute.",
    example: "resetavpflag($avp(caller), \"kept\");",
    run: |call| {
        let name = attribute_flag(call);
        call.context.avps.remove(&name);
        Outcome::TRUE
    },
};

pub(super) const ISAVPFLAGSET: Function = Function {
    name: "isavpflagset",
    params: ATTRIBUTE_FLAG,
    routes: Routes::ANY,
    doc: "True when the flag of the attribute is set.",
    example: "if (isavpflagset($avp(caller), \"kept\")) exit;",
    run: |call| call.context.avps.first(&attribute_flag(call)).is_some().into(),
};

/// Where the flag of an attribute is kept: no attribute of a script has such a name.
fn attribute_flag(call: &Call<'_>) -> Bytes {
    let key = match call.arg(0) {
        Some(Arg::Variable(output)) => output.key.clone().unwrap_or_default(),
        _ => Bytes::new(),
    };
    [b"\0flag\0", &key[..], b"\0", &call.text(1)].concat().into()
}

fn set(call: &mut Call<'_>, on: bool) -> Outcome {
    match flag(call) {
        Some(flag) => {
            call.context.set_flag(flag, on);
            Outcome::TRUE
        }
        None => Outcome::FALSE,
    }
}

fn flag(call: &Call<'_>) -> Option<u32> {
    let flag = u32::try_from(call.int(0)?).ok()?;
    (flag < module_api::FLAG_COUNT).then_some(flag)
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::Bench;

    #[test]
    fn a_flag_is_set_until_it_is_reset() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "isflagset", &["31"]), -1);
        assert_eq!(bench.run(&MODULE, "setflag", &["31"]), 1);
        assert_eq!(bench.run(&MODULE, "isflagset", &["31"]), 1);
        assert_eq!(bench.run(&MODULE, "resetflag", &["31"]), 1);
        assert_eq!(bench.run(&MODULE, "isflagset", &["31"]), -1);
    }

    #[test]
    fn there_is_no_flag_32() {
        assert_eq!(Bench::invite().run(&MODULE, "setflag", &["32"]), -1);
        assert_eq!(Bench::invite().run(&MODULE, "setflag", &["-1"]), -1);
    }
}
